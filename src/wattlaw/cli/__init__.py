"""One file a command group; parses, calls once, prints."""
