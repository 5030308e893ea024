"""Reads meters at a fixed rate, and writes their readings."""
