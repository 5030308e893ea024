"""Where trials run, one file per executor; ``claims`` says which process runs which trial."""
