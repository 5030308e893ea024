"""Floor 2: many runs at once: the index, queries, exports."""
