"""Several processes and hosts in one record: who makes it, and samplers on every node."""
