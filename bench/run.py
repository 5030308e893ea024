"""Run one benchmark, or all, and print one JSON line with its ratio and spread for each.

Run with `make bench NAME=planning` or `python bench/run.py planning`. Without a name, all run.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(name: str) -> int:
    """Run a benchmark by its name, or "all"; return the exit status."""
    if name in ("-h", "--help"):
        print(__doc__)
        return 0
    known = sorted(
        p.stem for p in HERE.glob("*.py") if p.stem != "run" and not p.stem.startswith("_")
    )
    if name != "all" and name not in known:
        names = ", ".join(known)
        print(f"unknown benchmark {name!r}; choose one of {names}, all", file=sys.stderr)
        return 2
    sys.path.insert(0, str(HERE))
    for each in known if name == "all" else [name]:
        # imported by name, so that the processes of a pool find its functions
        module = importlib.import_module(each)
        print(json.dumps({"bench": each, **module.main()}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1] if len(sys.argv) > 1 else "all"))
