"""`wattlaw measure -- CMD...`: time and energy of any command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlaw.cli.flags import refuse
from wattlaw.cli.output import say, say_warnings
from wattlaw.core.errors import nearest

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from wattlaw.core.reading import Note, Reading
    from wattlaw.core.run import Run
    from wattlaw.measuring.command.measure_command import MeasuredCommand, Watching
    from wattlaw.measuring.reduce.device_use import DeviceUse
    from wattlaw.measuring.sampling.host_sampler import HostSampler

NAMES = {"measure": "measure"}

Row = dict[str, object]
"""One device or boundary: the columns of ``--csv`` and the keys of an item of ``--json``."""

_DEVICE_FIELDS = (
    "mean_power_w",
    "max_power_w",
    "utilisation",
    "memory_peak_bytes",
    "temperature_c",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "throttled_share",
    "pcie_received_bytes",
    "pcie_sent_bytes",
    "nvlink_received_bytes",
    "nvlink_sent_bytes",
)

_TOTALS = (
    "cpu_time_s",
    "cpu_utilisation",
    "memory_peak_bytes",
    "gpu_utilisation",
    "gpu_memory_peak_bytes",
    "gpu_energy_j",
    "cpu_energy_j",
    "dram_energy_j",
    "node_energy_j",
    "gpu_mean_power_w",
    "gpu_max_power_w",
    "gpu_temperature_c",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "pcie_received_bytes",
    "pcie_sent_bytes",
    "nvlink_received_bytes",
    "nvlink_sent_bytes",
    "steps",
    "samples",
    "samples_per_s",
    "step_time_s",
)


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="Run a command and measure its time and energy.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Keep the whole record in this folder, as a run.",
)
@click.option("--name", help="Name of the command in the record; by default its program's name.")
@click.option("--hz", default=10.0, show_default=True, help="Readings per second, 0.1 to 100.")
@click.option(
    "--gpus",
    help="Indices or UUIDs of the GPUs to read, such as 0,1; by default all that it may use.",
)
@click.option("--power-cap-w", type=float, help="Power cap of the GPUs while it runs, W.")
@click.option("--sm-clock-mhz", type=float, help="Limit of the GPUs' SM clock while it runs, MHz.")
@click.option(
    "--memory-clock-mhz", type=float, help="Limit of the GPUs' memory clock while it runs, MHz."
)
@click.option(
    "--prometheus",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve the live values on this port of 127.0.0.1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the devices as CSV.")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="Write the JSON or CSV to this file instead of stdout.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print no table.")
def measure(
    command: tuple[str, ...],
    out: Path | None,
    name: str | None,
    hz: float,
    gpus: str | None,
    power_cap_w: float | None,
    sm_clock_mhz: float | None,
    memory_clock_mhz: float | None,
    prometheus: int | None,
    as_json: bool,
    as_csv: bool,
    to: Path | None,
    quiet: bool,
) -> None:
    """Run a command and measure its time, and energy, power, utilisation and memory of each device.

    Put the command after --. Its output, terminal, signals and exit code pass through unchanged;
    the table goes to stderr.

    \b
    wattlaw measure -- python train.py
    wattlaw measure -o runs/mine --name bert -- torchrun --nproc-per-node 4 train.py
    wattlaw measure --json --to cost.json -- srun python train.py
    """
    from wattlaw.core.files import check_file
    from wattlaw.measuring.command.measure_command import measure_command
    from wattlaw.measuring.command.run_command import end_like_command

    _check(command)
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other; choose one")
    if to is not None:
        check_file(to)  # before hours of measuring
    if out is None and name is not None:
        refuse(["name"], "without --out, the folder that keeps the record")
    limits = {
        "power_cap_w": power_cap_w,
        "sm_clock_mhz": sm_clock_mhz,
        "memory_clock_mhz": memory_clock_mhz,
    }
    found = measure_command(
        command,
        folder=out,
        name=name,
        hz=hz,
        gpus=_gpus(gpus),
        limits=limits,
        watching=None if prometheus is None else _prometheus_server(prometheus),
    )
    if found.run is None:  # the first task of this step prints the result for all nodes
        raise click.exceptions.Exit(end_like_command(found.exit_code))
    rows = device_rows(found, found.run)
    failure = ""
    if as_csv:
        failure = _write(_csv(rows), to)
    elif as_json or to is not None:
        failure = _write(_json(rows, totals(found, found.run), found.run.warnings), to)
    if not quiet or failure:
        for line in table(found, found.run, rows):
            say(line)
        say_warnings(found.run.warnings)
    if failure:
        say(f"wattlaw: {failure}")
    raise click.exceptions.Exit(end_like_command(found.exit_code) or (1 if failure else 0))


def device_rows(found: MeasuredCommand, run: Run) -> list[Row]:
    """Return one row for each device, and one for each boundary that no device measures."""
    from wattlaw.measuring.reduce.device_use import BOUNDARIES

    devices = found.summary.devices if found.summary else ()
    rows = [_device_row(device) for device in devices]
    for boundary in BOUNDARIES:
        if all(device.boundary != boundary for device in devices):
            rows.append(_boundary_row(boundary, run, found.elapsed_s))
    return rows


def totals(found: MeasuredCommand, run: Run) -> Row:
    """Return elapsed time, exit code, and each quantity of the whole command with its status."""
    quantities = {name: run.quantities[name] for name in _TOTALS if name in run.quantities}
    return {
        "elapsed_s": found.elapsed_s,
        "exit_code": found.exit_code,
        "quantities": quantities,
    }


def table(found: MeasuredCommand, run: Run, rows: Sequence[Row]) -> list[str]:
    """Return the lines of the table for a person."""
    from wattlaw.core.units import show, show_time
    from wattlaw.measuring.command.run_command import describe_exit

    ending = f"   ({describe_exit(found.exit_code)})" if found.exit_code else ""
    lines = [f"elapsed      {show_time(found.elapsed_s)}{ending}"]
    lines += [_device_line(row) for row in rows]
    cpu_time = _shown(run.reading("cpu_time_s"), show_time)
    memory = _shown(run.reading("memory_peak_bytes"), lambda value: show(value, "B"))
    lines.append(f"job          CPU time {cpu_time}, peak memory {memory}")
    utilisation = run.reading("cpu_utilisation").value
    if utilisation is not None:
        lines.append(f"machine      cores busy {utilisation:.0%}, by all of its processes")
    steps = run.reading("steps").value
    if steps:
        step_time = _shown(run.reading("step_time_s"), show_time)
        lines.append(f"steps        {steps:g}, {step_time} per step")
    return lines


def _check(command: tuple[str, ...]) -> None:
    """Raise UsageError without a command, or with an unknown option before it."""
    if not command:
        raise click.UsageError(
            "no command; put it after --, such as `wattlaw measure -- python train.py`"
        )
    if command[0].startswith("-"):
        options: list[str] = []
        for parameter in click.get_current_context().command.params:
            options += [o for o in parameter.opts if o.startswith("--")]
        hint = nearest(command[0], options)
        raise click.UsageError(
            f"unknown option {command[0]} before the command; put the command after --; {hint}"
        )


def _gpus(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [gpu.strip() for gpu in text.split(",") if gpu.strip()]


def _prometheus_server(port: int) -> Watching:
    from wattlaw.integrations.prometheus import serving

    def serve(sampler: HostSampler) -> AbstractContextManager[object]:
        return serving(port, sampler.live, lambda: sampler.host.devices, sampler.host.host)

    return serve


def _device_row(device: DeviceUse) -> Row:
    row: Row = {
        "device": device.device,
        "boundary": device.boundary,
        "name": device.name,
        "uuid": device.uuid,
        "host": device.host,
    }
    use = {name: getattr(device, name) for name in _DEVICE_FIELDS}
    return row | _energy_cells(device.energy) | use


def _boundary_row(boundary: str, run: Run, elapsed_s: float) -> Row:
    energy = run.reading(f"{boundary}_energy_j")
    power = None
    if energy.value is not None and elapsed_s > 0:
        power = energy.value / elapsed_s
    device = "job" if energy.status == "estimated" else ""
    row: Row = {"device": device, "boundary": boundary, "name": "", "uuid": "", "host": ""}
    use = {**dict.fromkeys(_DEVICE_FIELDS), "mean_power_w": power}
    return row | _energy_cells(energy) | use


def _energy_cells(reading: Reading) -> Row:
    return {"energy_j": reading.value, "status": reading.status, "reason": reading.how}


def _device_line(row: Mapping[str, object]) -> str:
    from wattlaw.core.units import show

    label = row["boundary"] if row["device"] in ("", "job") else row["device"]
    use = _use_words(row)
    energy = row["energy_j"]
    if not isinstance(energy, (int, float)):
        rest = f", {', '.join(use)}   [{row['reason']}]" if use else f": {row['reason']}"
        return f"{label:<12} energy missing{rest}"
    text = show(energy, "J")
    if row["status"] != "estimated":
        return f"{label:<12} {', '.join([text, *use])}"
    return f"{label:<12} {', '.join([f'{text} (estimated)', *use])}   [{row['reason']}]"


def _use_words(row: Mapping[str, object]) -> list[str]:
    from wattlaw.core.units import show

    values = {name: v for name, v in row.items() if isinstance(v, (int, float))}
    words = []
    for name, unit, prefix in (
        ("mean_power_w", "W", "mean "),
        ("max_power_w", "W", "max "),
        ("memory_peak_bytes", "B", "memory "),
        ("temperature_c", "°C", ""),
        ("sm_clock_mhz", "MHz", "SM "),
    ):
        if name in values:
            words.append(prefix + show(values[name], unit))
    if "utilisation" in values:
        words.append(f"busy {values['utilisation']:.0%}")
    if values.get("throttled_share"):
        words.append(f"throttled {values['throttled_share']:.0%}")
    for link in ("PCIe", "NVLink"):
        sent = values.get(f"{link.lower()}_sent_bytes")
        received = values.get(f"{link.lower()}_received_bytes")
        if sent is not None and received is not None:
            words.append(f"{link} {show(sent, 'B')} out, {show(received, 'B')} in")
    return words


def _shown(reading: Reading, show_value: Callable[[float], str]) -> str:
    if reading.value is None:
        return f"missing: {reading.how}"
    return show_value(reading.value)


def _csv(rows: Sequence[Row]) -> bytes:
    """Return rows as CSV; an empty cell was not read."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _json(rows: Sequence[Row], overall: Row, warnings: Sequence[Note]) -> bytes:
    import msgspec

    from wattlaw import __version__

    whole = {
        "wattlaw": __version__,
        "kind": "measure",
        "items": rows,
        "overall": overall,
        "warnings": warnings,
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def _write(data: bytes, to: Path | None) -> str:
    """Write the document; return the error message instead of raising it.

    The table and the command's exit code are needed whatever happens here.
    """
    from wattlaw.core.errors import RecordError
    from wattlaw.core.files import explained, write_whole

    try:
        if to is None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif to.exists() and not to.is_file():
            with explained(to):
                to.write_bytes(data)  # a pipe or a device, which a rename would replace
        else:
            write_whole(to, data)
    except RecordError as error:
        return str(error)
    return ""
