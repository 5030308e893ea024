"""Studies: the question of a paper, run again on this machine; one file per study."""
