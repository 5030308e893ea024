"""What `make test` runs: style, types, floors, tests. DEPTH=full adds the slow ones and requires every part."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
STATIC = [
    ["ruff", "format", "--check", "src", "tests", "bench", "tools", "examples"],
    ["ruff", "check", "src", "tests", "bench", "tools", "examples"],
    ["mypy"],
    ["lint-imports"],
]


def main() -> int:
    failed = [" ".join(words) for words in STATIC if run([*tool(words[0]), *words[1:]])]
    if "--only-static" not in sys.argv:
        workers = os.environ.get("WATTLAW_TEST_WORKERS", "2")
        if run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-n",
                workers,
                "--dist",
                "worksteal",
                "-rfEs",
                "--durations",
                "10",
            ]
        ):
            failed.append("pytest")
    if failed:
        print("failed: " + ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


def tool(name: str) -> list[str]:
    return [str(Path(sys.executable).parent / name)]


def run(words: list[str]) -> int:
    print("+ " + " ".join(words), flush=True)
    return subprocess.run(words, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
