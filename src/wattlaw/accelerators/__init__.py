"""Floor 5: the catalogue of AI accelerators, what they promise per watt, and what they deliver."""
