"""One file per command group; parses, calls once, prints."""
