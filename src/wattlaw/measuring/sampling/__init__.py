"""Reads meters at a fixed rate and writes telemetry."""
