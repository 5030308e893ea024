"""Power caps and clock limits: set, guarded, restored."""
