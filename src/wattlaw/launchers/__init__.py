"""Where a trial's processes are started, one file each."""
