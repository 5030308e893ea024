"""From telemetry and steps to the quantities and warnings of a summary."""
