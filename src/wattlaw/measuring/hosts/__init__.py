"""Several hosts in one measurement: clock offsets, samplers on nodes, merging."""
