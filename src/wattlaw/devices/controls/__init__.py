"""The controls, one file each; a new one is one new file that declares its NAMES."""
