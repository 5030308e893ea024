"""Statistics that several laws share: posterior samples, intervals of ratios, value of information."""
