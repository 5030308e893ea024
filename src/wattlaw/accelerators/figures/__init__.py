"""Figures of accelerators: peak against power, trends over the years, share of peak achieved."""

from __future__ import annotations

from wattlaw.core.plugins import need

# every file of this package draws with Altair; one clear error here replaces one in each of them
need("altair", "drawing accelerators")
