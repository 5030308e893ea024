"""Files are written completely or not at all; system errors are one-line errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from wattlaw.core.errors import RecordError
from wattlaw.core.files import explained, make_folder, write_whole

TRY = """
import os, resource, sys
from pathlib import Path
from wattlaw.core.errors import RecordError
from wattlaw.core.files import make_folder, write_whole
from wattlaw.core.run_folder import read_run, scan
{before}
try:
    {do}
except RecordError as error:
    print(error)
"""


def try_it(do: str, path: Path, before: str = "", wrapper: tuple[str, ...] = ()) -> str:
    words = [*wrapper, sys.executable, "-c", TRY.format(do=do, before=before), str(path)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike that of pytest."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_file_is_replaced_as_a_whole(tmp_path: Path):
    path = tmp_path / "summary.json"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["summary.json"]


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "summary.json"
    path.write_bytes(b"old")
    kill = "os.fsync = lambda number: os.kill(os.getpid(), 9)"
    words = [
        sys.executable,
        "-c",
        TRY.format(before=kill, do="write_whole(Path(sys.argv[1]), b'new')"),
        str(path),
    ]
    assert subprocess.run(words, check=False).returncode == -9
    assert path.read_bytes() == b"old"


def test_a_full_disk_is_a_one_line_error_and_loses_nothing(open_folder: Path):
    path = open_folder / "summary.json"
    do = "write_whole(Path(sys.argv[1]), bytes(100_000))"
    mount = f"mount -t tmpfs -o size=16k none {open_folder}; echo -n old > {path}"
    mount += f'; "$@"; cat {path}; ls -A {open_folder}'
    small_disk = (
        "unshare",
        "--mount",
        *([] if os.geteuid() == 0 else ["--map-root-user"]),
        "sh",
        "-ec",
        mount,
        "-",
    )
    if subprocess.run([*small_disk, "true"], capture_output=True, check=False).returncode == 0:
        reason = try_it(do, path, wrapper=small_disk)
        assert (
            reason
            == f"no space left for {path}; free some or choose another folder with -o\noldsummary.json"
        )
    path.write_bytes(b"old")
    reason = try_it(do, path, before="resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))")
    assert reason.startswith(f"{path} would exceed the largest file allowed here")
    assert path.read_bytes() == b"old"
    assert os.listdir(open_folder) == ["summary.json"]


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ("write_whole(Path(sys.argv[1]) / 'summary.json', b'x')", "no permission to write"),
        ("make_folder(Path(sys.argv[1]) / 'runs')", "no permission to write"),
        ("read_run(Path(sys.argv[1]) / 'closed' / 'summary.json')", "no permission to read"),
        ("scan(Path(sys.argv[1]) / 'closed')", "no permission to read"),
    ],
)
def test_a_missing_permission_is_a_one_line_error(open_folder: Path, do: str, message: str):
    (open_folder / "closed").mkdir(mode=0o700)
    (open_folder / "closed" / "summary.json").touch()
    if os.geteuid() == 0:
        before = "os.setuid(65534)"
    else:
        before = ""
        (open_folder / "closed").chmod(0)
        open_folder.chmod(0o555)
    reason = try_it(do, open_folder, before)
    open_folder.chmod(0o755)
    (open_folder / "closed").chmod(0o700)
    assert reason.startswith(f"{message} {open_folder}")
    assert "\n" not in reason


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="is in the way: a folder is needed there"):
        make_folder(tmp_path / "file")
    with pytest.raises(RecordError, match="is a folder; a file is needed there"):
        write_whole(tmp_path, b"x")
    with pytest.raises(RecordError, match="there is no"), explained(tmp_path / "none", "read"):
        (tmp_path / "none").read_bytes()
