"""Measures any command: runs it as if alone, and reports its cost."""
