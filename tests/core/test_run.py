"""The record of a run is read back as written, or refused with a one-line error."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlaw.core.errors import DamagedRunError, NewerFormatError, RecordError
from wattlaw.core.reading import Note, Reading, estimated, measured, missing, quantile, spread
from wattlaw.core.run import FORMAT, Machine, Run, decode_run, encode_run
from wattlaw.core.run_folder import SUMMARY, attempts, new_attempt, read_run, scan, write_run
from wattlaw.core.setting import Setting

FULL = os.environ.get("DEPTH") == "full"

RUN = Run(
    setting=Setting("schnet", devices_per_node=2, options={"lr": 0.1, "compile": True}),
    trial="schnet-4f0c9a17be21-r0",
    sweep="demo",
    repeat=1,
    machine=Machine("cpu", "Xeon", 1, 2, "Xeon"),
    labels={"partition": "short"},
    quantities={
        "step_time_s": spread([0.1, 0.11, 0.12], "steps of all ranks"),
        "cpu_energy_j": estimated(12.5, "linear CPU power model"),
        "gpu_energy_j": missing("no GPU on this machine"),
    },
    warnings=(Note("few-cores", "2 processes on 1 core"),),
)

FORMAT_1 = Path(__file__).with_name("summary-format-1.json")

texts = st.text(max_size=8)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
readings = st.builds(
    Reading,
    numbers,
    st.sampled_from(["measured", "estimated", "missing"]),
    texts,
    numbers,
    numbers,
    st.none() | st.integers(0, 9),
)


@given(
    st.dictionaries(texts, readings, max_size=4),
    st.lists(st.builds(Note, texts, texts), max_size=3),
    st.dictionaries(texts, texts, max_size=3),
)
def test_a_run_is_read_back_as_it_was_written(quantities: dict, notes: list, labels: dict):
    run = msgspec.structs.replace(RUN, quantities=quantities, warnings=tuple(notes), labels=labels)
    assert decode_run(encode_run(run), "summary.json") == run


def test_a_summary_of_format_1_is_still_read():
    """The file was written by wattlaw 0.1.0 and must not change."""
    run = decode_run(FORMAT_1.read_bytes(), str(FORMAT_1))
    assert run == RUN
    assert FORMAT >= 1


def test_an_unknown_field_of_the_same_format_is_ignored():
    values = json.loads(encode_run(RUN)) | {"mood": "good"}
    assert decode_run(json.dumps(values).encode(), "x") == RUN


def test_a_summary_states_its_format_even_if_it_is_the_default():
    assert json.loads(encode_run(RUN))["format"] == FORMAT


@pytest.mark.parametrize("changes", [{}, {"setting": {"workload": 3}}, {"quantities": [1, 2]}])
def test_a_newer_format_is_named_with_the_way_to_read_it(changes: dict):
    values = json.loads(encode_run(RUN)) | {"format": FORMAT + 1, "wattlaw": "7.0"} | changes
    with pytest.raises(
        NewerFormatError, match=r"has format 2, written by wattlaw 7\.0; .*pip install -U wattlaw"
    ):
        decode_run(json.dumps(values).encode(), "x")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_half_written_summary_is_damaged(share: float):
    data = encode_run(RUN)
    with pytest.raises(DamagedRunError, match=r"^there/summary\.json is damaged: "):
        decode_run(data[: int(share * len(data))], "there/summary.json")


def test_damaged_bytes_give_a_run_or_a_one_line_error():
    """Flipped, cut, doubled and swapped bytes. A damaged value may still be valid."""
    rng, data, messages = random.Random(0), encode_run(RUN), []
    for _ in range(10_000 if FULL else 200):
        try:
            decode_run(_damage(rng, data), "x")
        except RecordError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert not [line for line in messages if "\n" in line or not line.startswith("x ")]


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b'{"n":1e999}']
)
def test_bytes_that_are_not_a_summary_are_a_one_line_error(data: bytes):
    with pytest.raises(DamagedRunError) as caught:
        decode_run(data, "x")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def _damage(rng: random.Random, data: bytes) -> bytes:
    spoilt = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(max(1, len(spoilt)))
        match rng.randrange(5):
            case 0:
                spoilt[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del spoilt[at:]
            case 2:
                del spoilt[at : at + rng.randint(1, 40)]
            case 3:
                spoilt[at:at] = spoilt[at : at + rng.randint(1, 40)]
            case 4:
                spoilt[at:at] = rng.choice(
                    [b"{", b"}", b'"', b"null", b"1e999", b"[[", b"\x00", b"-", b"\\u"]
                )
    return bytes(spoilt)


def test_missing_is_never_zero():
    assert RUN.reading("gpu_energy_j").value is None
    assert RUN.reading("never_heard_of") == missing("not recorded")
    assert measured(float("nan"), "rapl").status == "missing"
    assert estimated(float("inf"), "model").status == "missing"
    assert spread([float("nan")]).value is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1))
def test_a_quantile_is_within_its_values(values: list[float], q: float):
    ordered = sorted(values)
    assert ordered[0] <= quantile(ordered, q) <= ordered[-1]


def test_a_trial_is_done_if_and_only_if_its_summary_is_there(tmp_path: Path):
    trial = tmp_path / "demo" / RUN.trial
    assert new_attempt(trial).name == "attempt-1"
    assert scan(tmp_path).unfinished == [trial]
    assert new_attempt(trial).name == "attempt-2"
    (trial / "attempt-²").mkdir()
    assert [a.name for a in attempts(trial)] == ["attempt-1", "attempt-2"]
    write_run(trial, RUN)
    found = scan(tmp_path)
    assert (found.summaries, found.unfinished) == ([trial / SUMMARY], [])
    assert read_run(trial / SUMMARY) == RUN


def test_a_scan_ignores_what_is_not_a_run(tmp_path: Path):
    (tmp_path / "demo" / ".hidden" / "attempt-1").mkdir(parents=True)
    (tmp_path / "demo" / "notes").mkdir()
    (tmp_path / "demo" / "loop").symlink_to(tmp_path)
    (tmp_path / "demo" / "nowhere").symlink_to(tmp_path / "none")
    (tmp_path / "README").touch()
    found = scan(tmp_path)
    assert found == ([], [], [], [])
    with pytest.raises(RecordError, match="is a file; a folder of runs is needed"):
        scan(tmp_path / "README")
