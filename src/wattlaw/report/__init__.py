"""The report: sections and figures as one self-contained HTML page."""

from __future__ import annotations

from wattlaw.core.plugins import need

# all of the report needs it; asking here gives one clear message
need("jinja2", "the report")
