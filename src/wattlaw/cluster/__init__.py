"""Whole clusters and single jobs: what was requested, what was used."""
