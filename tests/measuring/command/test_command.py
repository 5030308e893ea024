"""wattlaw measure -- CMD: the command behaves as without wattlaw, and its cost is measured."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wattlaw
from wattlaw.measuring.command.run_command import signal_witness

MEASURE = [sys.executable, "-m", "wattlaw", "measure"]


def run(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MEASURE, *words], capture_output=True, text=True, timeout=60, **more)


def test_output_input_and_exit_code_pass_through() -> None:
    done = run("--", "sh", "-c", "cat; echo words >&2; exit 7", input="numbers")
    assert (done.returncode, done.stdout) == (7, "numbers")
    assert done.stderr.startswith("words\n")
    assert "elapsed" in done.stderr
    assert "exit code 7" in done.stderr


def test_wattlaw_ends_by_the_same_signal_as_its_command() -> None:
    assert run("-q", "--", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    assert run("-q", "--", "sh", "-c", "kill -KILL $$").returncode == -signal.SIGKILL


def test_only_the_command_decides_how_to_handle_a_signal() -> None:
    script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    job = subprocess.Popen(
        [*MEASURE, "-q", "--", "sh", "-c", script], stdout=subprocess.PIPE, text=True
    )
    assert job.stdout
    assert job.stdout.readline() == "ready\n"
    job.terminate()
    assert job.communicate(timeout=30)[0] == "caught\n"
    assert job.returncode == 5


_COUNTING = """
import signal, time
found = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda number, frame: found.append(signal.Signals(number).name))
print("ready", flush=True)
seen = 0
while seen < 6:
    time.sleep(0.3)
    new = found[seen:]
    if new:
        print(new, flush=True)
        seen += len(new)
"""


def test_a_signal_reaches_the_command_once_whether_sent_to_wattlaw_or_to_its_group() -> None:
    words = [*MEASURE, "-q", "--", sys.executable, "-c", _COUNTING]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as job:
        try:
            assert job.stdout
            assert job.stdout.readline() == "ready\n"
            for send in (os.kill, os.killpg):
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
                    send(job.pid, number)
                    assert job.stdout.readline() == f"['{number.name}']\n"
            assert job.wait(30) == 0
        finally:
            # otherwise a failure would wait for the command forever
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)


def test_a_signal_to_the_group_does_not_suppress_later_signals() -> None:
    with signal_witness() as witness:
        assert witness
        assert not witness.saw(signal.SIGTERM)
        os.kill(witness.pid, signal.SIGTERM)
        assert witness.saw(signal.SIGTERM)
        until = time.monotonic() + 30
        while witness.saw(signal.SIGTERM):
            assert time.monotonic() < until
        assert not witness.saw(signal.SIGINT)


def test_ctrl_c_on_the_terminal_is_for_the_command() -> None:
    script = "import time\ntry:\n    print('ready', flush=True)\n    time.sleep(30)\nexcept KeyboardInterrupt:\n    exit(9)"
    main, other = os.openpty()
    job = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *MEASURE, "--", sys.executable, "-c", script],
        stdin=other,
        stdout=other,
        stderr=other,
    )
    os.close(other)
    found = b""
    while b"ready" not in found:
        found += os.read(main, 1000)
    os.write(main, b"\x03")
    assert job.wait(30) == 9
    while b"elapsed" not in found:
        found += os.read(main, 1000)
    os.close(main)


def test_the_command_sees_the_terminal() -> None:
    main, other = os.openpty()
    job = subprocess.Popen([*MEASURE, "-q", "--", "sh", "-c", "test -t 0 && test -t 1 && echo terminal"],
                           stdin=other, stdout=other, stderr=other)  # fmt: skip
    os.close(other)
    assert job.wait(30) == 0
    assert b"terminal" in os.read(main, 100)
    os.close(main)


def test_json_names_every_boundary_with_its_status(trace) -> None:
    replay = {**os.environ, "WATTLAW_REPLAY": str(trace(300, 30))}
    done = run("-q", "--json", "--", "sleep", "1", env=replay)
    found = json.loads(done.stdout)
    assert found["kind"] == "measure"
    assert found["overall"]["exit_code"] == 0
    elapsed = found["overall"]["elapsed_s"]
    by_boundary = {i["boundary"]: i for i in found["items"]}
    assert by_boundary["gpu"]["energy_j"] == pytest.approx(300 * elapsed, abs=300 * 0.03)
    assert by_boundary["gpu"]["status"] == "measured"
    assert by_boundary["cpu"]["status"] == "estimated"
    assert by_boundary["node"]["status"] == "missing"
    assert by_boundary["node"]["energy_j"] is None
    assert by_boundary["node"]["reason"]


def test_csv_goes_to_a_file_and_leaves_stdout_to_the_command(tmp_path: Path) -> None:
    done = run("--csv", "--to", str(tmp_path / "cost.csv"), "--", "echo", "mine")
    assert done.stdout == "mine\n"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "cost.csv").read_text())))
    assert {r["boundary"] for r in rows} == {"gpu", "cpu", "dram", "node"}


def test_a_file_that_cannot_be_written_is_refused_before_the_command_runs(tmp_path: Path) -> None:
    for to in ("/proc/nope.json", str(tmp_path / "no" / "x.json"), str(tmp_path)):
        done = run("--to", to, "--", "sh", "-c", "echo ran; exit 4")
        assert (done.returncode, done.stdout) == (2, "")
        assert to in done.stderr
    done = run("--json", "--csv", "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (2, "")
    assert "choose one" in done.stderr


def test_a_deleted_file_loses_neither_the_table_nor_the_exit_code(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    words = ["-q", "--to", str(folder / "cost.json"), "--", "sh", "-c"]
    done = run(*words, f"rmdir {folder}; exit 4")
    assert done.returncode == 4
    assert "elapsed" in done.stderr
    assert "there is no" in done.stderr
    folder.mkdir()
    assert run(*words, f"rmdir {folder}").returncode == 1
    assert run("-q", "--to", "/dev/stdout", "--", "true").stdout.startswith("{")


def test_an_unobserved_value_is_missing_and_not_0() -> None:
    document = json.loads(run("-q", "--json", "--", "true").stdout)
    for name in ("cpu_time_s", "memory_peak_bytes"):
        reading = document["overall"]["quantities"][name]
        assert reading.get("value") or (reading["status"] == "missing" and reading["how"])


def test_a_process_without_a_waiting_parent_is_counted_by_its_samples() -> None:
    burn = "import time\nwhile time.process_time() < 1: pass"
    script = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {burn!r}], stdout=subprocess.PIPE).stdout.read()\n"
        "time.sleep(1)"
    )
    quantities = json.loads(run("-q", "--json", "--", sys.executable, "-c", script).stdout)[
        "overall"
    ]["quantities"]
    assert quantities["cpu_time_s"]["value"] > 0.1
    assert quantities["cpu_time_s"]["how"].startswith("at least: ")
    assert quantities["cpu_energy_j"]["value"] == pytest.approx(
        7.5 * quantities["cpu_time_s"]["value"]
    )


def test_processes_that_outlive_the_command_are_named() -> None:
    script = "sleep 30 >/dev/null 2>&1 & echo $!"
    done = run("--", "sh", "-c", script)
    pid = int(done.stdout)
    os.kill(pid, signal.SIGKILL)
    assert (
        f"processes_left: the command has ended, but one of its processes is still running ({pid})"
        in done.stderr
    )


def test_the_cores_of_the_machine_have_their_own_line() -> None:
    lines = run("--", "sleep", "1").stderr.splitlines()
    (job,) = [line for line in lines if line.startswith("job ")]
    (machine,) = [line for line in lines if line.startswith("machine ")]
    assert "busy" not in job
    assert "cores busy" in machine


def test_a_kept_record_is_a_run_like_any_other(tmp_path: Path) -> None:
    done = run(
        "-o",
        str(tmp_path / "mine"),
        "--name",
        "busy",
        "--",
        sys.executable,
        "-c",
        "sum(range(10**7))",
    )
    assert done.returncode == 0
    (measured,) = wattlaw.load_runs(tmp_path / "mine")
    assert measured.setting.workload == "busy"
    assert measured.reading("cpu_time_s").value > 0.05
    assert measured.reading("elapsed_s").value > 0.05


def test_windows_inside_the_command_count_its_steps(tmp_path: Path) -> None:
    script = (
        "import time, wattlaw\n"
        "with wattlaw.measure('inner', name='x') as m:\n"
        "    for _ in range(12): time.sleep(0.02); m.step(samples=3)\n"
    )
    done = run("-o", "outer", "--", sys.executable, "-c", script, cwd=tmp_path)
    assert done.returncode == 0
    (inner,) = wattlaw.load_runs(tmp_path / "inner")
    assert inner.reading("samples").value == 36


def test_a_missing_command_is_named_as_wrong_usage() -> None:
    done = run("--", "no-such-command")
    assert (done.returncode, done.stderr) == (2, "wattlaw: command not found: 'no-such-command'\n")


def test_a_script_without_a_shebang_runs_as_from_a_shell(
    tmp_path: Path,
) -> None:
    script = tmp_path / "job"
    script.write_text("echo $1; exit 3\n")
    script.chmod(0o755)
    done = run("-q", "--", str(script), "a b")
    assert (done.returncode, done.stdout) == (3, "a b\n")


def test_a_shebang_with_a_missing_program_is_an_error(tmp_path: Path) -> None:
    script = tmp_path / "job"
    script.write_text("#!/no/such/python\n")
    script.chmod(0o755)
    done = run("-q", "--", str(script))
    assert done.returncode == 2
    assert "first line" in done.stderr


def test_arguments_that_are_not_text_reach_the_command_and_the_record(tmp_path: Path) -> None:
    done = subprocess.run(
        [*MEASURE, "-q", "-o", str(tmp_path), "--", "printf", "%s", b"\xff"],
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, b"\xff")
    (kept,) = wattlaw.load_runs(tmp_path)
    assert kept.setting.command == r"printf %s '\xff'"


def test_the_command_gets_the_environment_of_the_caller() -> None:
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    found = run("-q", "--", "env", env=given).stdout.splitlines()
    assert {line.partition("=")[0] for line in found} == {*given, "WATTLAW_SAMPLER"}


def test_a_deleted_working_folder_does_not_stop_a_measurement(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    words = f'cd "{gone}" && rmdir "{gone}" && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", words, "sh", *MEASURE, "-q", "-o", str(tmp_path / "runs"), "--", "echo", "on"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "on\n")


def test_nohup_still_ignores_hangups() -> None:
    quiet = subprocess.Popen(
        [
            "sh",
            "-c",
            'trap "" HUP; exec "$@"',
            "sh",
            *MEASURE,
            "-q",
            "--",
            "sh",
            "-c",
            "echo ready; sleep 0.5; echo end",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert quiet.stdout
    assert quiet.stdout.readline() == "ready\n"
    quiet.send_signal(signal.SIGHUP)
    assert quiet.communicate(timeout=30)[0] == "end\n"
    assert quiet.returncode == 0


def test_doctor_lists_what_is_measured_and_how_to_enable_the_rest() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wattlaw", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["kind"] == "doctor"
    assert {i["status"] for i in found["items"]} <= {"measured", "estimated", "missing"}
    assert all(i["how"] for i in found["items"])
    assert "CPU energy" in {i["what"] for i in found["items"]}


def test_measuring_leaves_no_process_and_no_folder_behind(tmp_path: Path) -> None:
    here = {**os.environ, "TMPDIR": str(tmp_path)}
    for _ in range(3):
        assert run("-q", "--", "true", env=here).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_the_command_runs_even_if_no_file_can_be_written() -> None:
    words = [
        "sh",
        "-c",
        'ulimit -f 0; exec "$@"',
        "sh",
        *MEASURE,
        "--",
        "sh",
        "-c",
        "echo ran; exit 3",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (3, "ran\n"), done.stderr
    assert "elapsed" in done.stderr
