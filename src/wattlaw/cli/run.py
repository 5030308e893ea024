"""`wattlaw run`: one setting with a few repeats."""

from __future__ import annotations

import json

import click

from wattlaw.cli.output import OneOf
from wattlaw.core.errors import SettingError
from wattlaw.core.setting import OptionValue

NAMES = {"run": "run"}


def parse_option(text: str) -> tuple[str, OptionValue]:
    """Return a ``name=value`` pair; numbers, true and false are converted. Raises SettingError."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingError(f"option {text!r} is not of the form name=value")
    try:
        parsed = json.loads(value)
    except json.JSONDecodeError:
        return name, value
    return name, parsed if isinstance(parsed, str | int | float | bool) else value


def parse_target(text: str) -> dict[str, str | float]:
    """Return "mae_mev below 60" as the table of stop.target. Raises SettingError."""
    words = text.split()
    if len(words) != 3 or words[1] not in ("below", "above"):
        raise SettingError(
            f'target {text!r} is not of the form "mae_mev below 60" or "top1 above 0.9"'
        )
    metric, direction, value = words
    try:
        return {"metric": metric, direction: float(value)}
    except ValueError:
        raise SettingError(f"target {text!r}: {value!r} is not a number") from None


@click.command(short_help="Run one setting of a workload.")
@click.argument("workload")
@click.option("--preset", help="Size of the workload, such as tiny or base.")
@click.option("--devices", type=int, help="Total number of devices, one process each.")
@click.option("--batch-per-device", "--batch", type=int, help="Samples per device and step.")
@click.option("--precision", type=OneOf(["fp32", "tf32", "bf16", "fp16"]))
@click.option("--device-type", type=OneOf(["auto", "cpu", "cuda"]))
@click.option("--power-cap-w", type=float, help="Power cap to set on each device, W.")
@click.option("--sm-clock-mhz", type=float, help="Clock limit to set on each device, MHz.")
@click.option(
    "--memory-clock-mhz", type=float, help="Memory clock limit to set on each device, MHz."
)
@click.option("--seed", type=int)
@click.option("--steps", type=int, help="Steps to measure.  [default: 100]")
@click.option("--epochs", type=float, help="Epochs to measure.")
@click.option("--seconds", type=float, help="Seconds to measure.")
@click.option(
    "--target", help='Stop when a metric of the valid split is reached, such as "mae_mev below 60".'
)
@click.option("--save-model", is_flag=True, help="Save the trained model in the attempt folder.")
@click.option("--warmup-steps", type=int, help="First steps, which no result includes.")
@click.option(
    "--data", help="Training data: a file or folder, or generated; see docs/workloads.md."
)
@click.option(
    "--on-bad",
    type=OneOf(["fail", "skip"]),
    help="Whether to fail at bad records of the data, or to skip them.",
)
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the workload."
)
@click.option("--repeats", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--time-limit-s",
    type=float,
    help="A trial is stopped and recorded as failed after this time, s.",
)
@click.option(
    "--hz", type=float, default=10.0, show_default=True, help="Readings per second of every meter."
)
@click.option("-o", "--out", default="runs", show_default=True, help="Folder of all runs.")
@click.option(
    "--name", default="run", show_default=True, help="Name of the folder of these runs within it."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(
    workload: str,
    options: tuple[str, ...],
    repeats: int,
    time_limit_s: float | None,
    hz: float,
    out: str,
    name: str,
    target: str | None,
    save_model: bool,
    as_json: bool,
    steps: int | None,
    epochs: float | None,
    seconds: float | None,
    **fields: object,
) -> None:
    """Run one setting of WORKLOAD: a name from `wattlaw list workloads`, or your own file:Class."""
    from wattlaw.cli.sweep import run_with_display, show_runs

    setting = {field: value for field, value in fields.items() if value is not None}
    setting |= {"workload": workload, **dict(map(parse_option, options))}
    lengths = {"steps": steps, "epochs": epochs, "seconds": seconds}
    stop: dict[str, object] = {unit: n for unit, n in lengths.items() if n is not None}
    if target is not None:
        stop = {**(stop or {"steps": 100}), "target": parse_target(target)}
    if stop:
        setting["stop"] = stop
    if save_model:
        setting["save_model"] = True
    values = {"name": name, "repeats": repeats, "hz": hz, "setting": setting}
    if time_limit_s is not None:
        values["time_limit_s"] = time_limit_s
    show_runs(run_with_display(values, out, is_retry=True), as_json, out)
