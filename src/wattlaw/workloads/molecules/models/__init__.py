"""Networks on molecules, one file per family, and their layers."""
