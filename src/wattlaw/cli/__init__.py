"""Floor 8: one file a command group; parses, calls once, prints."""
