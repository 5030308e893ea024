"""Measures a command of the user."""
