"""``wattlaw accelerators``: tables, figures and choices from the catalogue of accelerators."""
