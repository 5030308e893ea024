"""Floor 6: figures and the self-contained HTML page; one file a section.

``wattlaw.report(runs, "report.html")`` calls ``report``: this package and that function share a name.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from wattlaw.core.plugins import need

need("jinja2", "the report")

from wattlaw.report.page import report, write_report  # noqa: E402

__all__ = ["report", "write_report"]


class _Callable(ModuleType):
    def __call__(self, *args: Any, **named: Any) -> Any:
        return report(*args, **named)


# importing a submodule binds its package over the public function of the same name
sys.modules[__name__].__class__ = _Callable
