"""Figures and the self-contained HTML page; one file a section."""

from __future__ import annotations

from wattlaw.core.plugins import need

# every part of the report draws with it; asked for here, its lack is one clear line
need("jinja2", "the report")
