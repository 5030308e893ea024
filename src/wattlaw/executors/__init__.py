"""Where trials run, one file per executor; ``claims`` says which process carries out which trial."""
