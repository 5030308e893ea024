"""Floor 4: carries out trials and sweeps."""
