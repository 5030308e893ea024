"""Adds a meter, a workload and an importer to wattlaw."""
