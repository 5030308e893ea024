"""Where molecules come from: files, data sets, trajectories, molecules drawn at random."""
