"""The files in an attempt's folder: those of hosts and those of ranks."""
