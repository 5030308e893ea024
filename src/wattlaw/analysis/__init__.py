"""Runs in, findings out: groups, fits, predictions, comparisons, prices."""
