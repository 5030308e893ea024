"""How the ranks of a trial start, one file per launcher."""
