"""The files of an attempt: hosts, steps, telemetry, pauses, the record."""
