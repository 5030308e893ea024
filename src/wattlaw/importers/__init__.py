"""Reads the records of other programs as runs; one file for each source."""
