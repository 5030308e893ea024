"""`make bench NAME=…`: runs one benchmark, or all, and prints a JSON line with its ratio and spread for each."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(name: str) -> int:
    known = sorted(
        p.stem for p in HERE.glob("*.py") if p.stem != "run" and not p.stem.startswith("_")
    )
    if name != "all" and name not in known:
        print(f"no benchmark {name!r}; valid: {', '.join(known)}, all", file=sys.stderr)
        return 2
    sys.path.insert(0, str(HERE))
    for each in known if name == "all" else [name]:
        # by name, so that processes of a pool find its functions too
        module = importlib.import_module(each)
        print(json.dumps({"bench": each, **module.main()}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1] if len(sys.argv) > 1 else "all"))
