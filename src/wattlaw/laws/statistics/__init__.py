"""Statistics that several laws share."""
