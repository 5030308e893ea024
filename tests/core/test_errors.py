"""The one-line summary of an error, and suggestions for unknown names."""

from __future__ import annotations

import pytest

from wattlaw.core.errors import nearest, reason

TRACE = 'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\nRuntimeError: no good\nsecond line'
ENDED = "rank 0 ended with exit code 1; the end of its output:"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TRACE, "RuntimeError: no good"),
        (f"{ENDED}\n{TRACE}", "rank 0 ended with exit code 1: RuntimeError: no good"),
        (f"{ENDED}\nepoch 1\nout of memory\n", "rank 0 ended with exit code 1: out of memory"),
        (ENDED, "rank 0 ended with exit code 1"),
        ("Traceback (most recent call last):\n  frame\nmine.Stop: enough", "mine.Stop: enough"),
        ("time limit of 1 s passed\n", "time limit of 1 s passed"),
        ("", ""),
    ],
)
def test_an_error_is_summarised_by_the_line_that_describes_it(error: str, words: str):
    assert reason(error) == words


def test_the_most_similar_of_many_valid_names_are_suggested():
    names = [f"alpha{i}" for i in range(50)] + ["zebra-one"]
    assert "zebra-one" in nearest("zzz-bra-x", names)
    assert "(39 more)" in nearest("zzz-bra-x", names)
