"""What Slurm says: the environment of a job, its nodes, its accounting."""
