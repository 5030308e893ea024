"""Floor 3: other people's records read as runs, one file each."""
