"""A user's own command as a workload."""
