"""Choosing an accelerator: a roofline fitted to measured devices, and candidates ranked by it."""
