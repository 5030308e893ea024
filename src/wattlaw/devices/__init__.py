"""Floor 2: meters that read devices and controls that limit them, one file each."""
