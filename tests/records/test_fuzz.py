"""A damaged summary is either used in every command or named and left out."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.conftest import FULL
from tests.factory import make_run

import wattlaw
from wattlaw.analysis.compare import compare
from wattlaw.core.quantities import all_quantities
from wattlaw.core.run import encode_run
from wattlaw.core.run_folder import SUMMARY
from wattlaw.records import compact, exported
from wattlaw.records.settings_table import reading_of, tabulate

ODD = [
    None,
    0,
    -1,
    0.0,
    -0.0,
    1e308,
    -1e308,
    5e-324,
    2**63,
    2**70,
    -(2**70),
    "",
    "\x00",
    "∞",
    "x" * 5000,
    [],
    {},
    True,
]
ODD += [
    [[]],
    {"value": 0},
    {"value": -1, "low": 0, "high": 0},
    {"a": {"b": []}},
    "measured",
    "failed",
    1.5,
]


def spoil(rng: random.Random, whole: object) -> object:
    """Replace or remove a random value in a tree of JSON values."""
    if isinstance(whole, dict) and whole and rng.random() < 0.85:
        name = rng.choice(sorted(whole))
        if rng.random() < 0.1:
            return {k: v for k, v in whole.items() if k != name}
        return whole | {name: spoil(rng, whole[name])}
    if isinstance(whole, list) and whole and rng.random() < 0.7:
        at = rng.randrange(len(whole))
        return [*whole[:at], spoil(rng, whole[at]), *whole[at + 1 :]]
    return rng.choice(ODD)


def test_a_damaged_summary_is_used_or_named_and_the_others_are_loaded(tmp_path: Path):
    rng = random.Random(1)
    count = 10_000 if FULL else 200
    whole = json.loads(encode_run(make_run(2, 1)))
    for number in range(count):
        spoilt = whole
        for _ in range(rng.randint(1, 3)):
            spoilt = spoil(rng, spoilt)
        folder = tmp_path / "demo" / f"schnet-{number:012d}-r0"
        folder.mkdir(parents=True)
        (folder / SUMMARY).write_text(json.dumps(spoilt))
    runs = wattlaw.load_runs(tmp_path, on_damaged="ignore")
    assert len(runs) + len(runs.damaged) == count
    assert len(runs) > count / 20
    assert len(runs.damaged) > count / 20
    assert not [d for d in runs.damaged if "\n" in d.reason or not d.reason.startswith(str(d.path))]
    for run in runs:
        for name in all_quantities():
            reading_of(run, name)
    assert tabulate(runs).rows
    compare(runs, runs, list(all_quantities()))
    for format in ("csv", "json", "parquet"):
        assert exported(runs, format)
    (written,) = compact(tmp_path)
    assert written.runs == len(runs)
    assert wattlaw.load_runs(tmp_path, on_damaged="ignore") == runs
