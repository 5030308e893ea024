"""Slurm: the environment of a job, its queue, its accounting."""
