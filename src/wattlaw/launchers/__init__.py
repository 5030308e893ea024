"""Floor 3: where a trial's processes are started, one file each."""
