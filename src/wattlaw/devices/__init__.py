"""Meters that read devices and controls that limit them, one file each."""
