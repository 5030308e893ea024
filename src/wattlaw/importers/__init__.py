"""Other people's records read as runs, one file each."""
