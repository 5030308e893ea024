"""Decisions: which setting to run, how large its gain is, and how likely its constraint holds."""
