"""Measures commands and code blocks: samplers, files, totals, limits."""
