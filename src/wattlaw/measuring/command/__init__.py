"""Measures any command: runs it unchanged and reports its cost."""
