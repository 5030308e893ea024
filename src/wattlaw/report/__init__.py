"""Floor 6: figures and the self-contained page, one file a section."""
