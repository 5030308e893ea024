"""The catalogue of AI accelerators, what they promise per watt, and what they deliver."""
