"""Figures of accelerators: peak against power, trends over the years, share of peak achieved."""
