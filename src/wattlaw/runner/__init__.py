"""Carries out trials and sweeps."""
