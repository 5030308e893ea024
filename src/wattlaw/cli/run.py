"""`wattlaw run`: one setting, a few repeats."""

from __future__ import annotations

import json
from typing import Any

import click

from wattlaw.cli.output import OneOf
from wattlaw.core.errors import SettingError
from wattlaw.core.setting import OptionValue

NAMES = {"run": "run"}


def parse_option(text: str) -> tuple[str, OptionValue]:
    """Return a ``name=value`` pair; numbers and true/false become what they look like."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingError(f"option {text!r} is not of the form name=value")
    try:
        known = json.loads(value)
    except json.JSONDecodeError:
        known = value
    return name, known if isinstance(known, str | int | float | bool) else value


def parse_target(text: str) -> dict[str, Any]:
    """Return "mae_mev below 60" as a table of stop.target."""
    words = text.split()
    if len(words) != 3 or words[1] not in ("below", "above"):
        raise SettingError(
            f'target {text!r} is not of the form "mae_mev below 60" or "top1 above 0.9"'
        )
    try:
        return {"metric": words[0], words[1]: float(words[2])}
    except ValueError:
        raise SettingError(f"target {text!r}: {words[2]!r} is no number") from None


@click.command(short_help="Run one setting of a workload.")
@click.argument("workload")
@click.option("--preset", help="Size of the workload, such as tiny or base.")
@click.option("--devices", type=int, help="Devices in all, one process each.")
@click.option("--batch-per-device", "--batch", type=int, help="Samples a device and step.")
@click.option("--precision", type=OneOf(["fp32", "tf32", "bf16", "fp16"]))
@click.option("--device-type", type=OneOf(["auto", "cpu", "cuda"]))
@click.option("--power-cap-w", type=float, help="Power limit to set on each device, W.")
@click.option("--sm-clock-mhz", type=float, help="Clock limit to set on each device, MHz.")
@click.option(
    "--memory-clock-mhz", type=float, help="Memory clock limit to set on each device, MHz."
)
@click.option("--seed", type=int)
@click.option("--steps", type=int, help="Steps to measure.  [default: 100]")
@click.option("--epochs", type=float, help="Epochs to measure.")
@click.option("--seconds", type=float, help="Seconds to measure.")
@click.option("--target", help='Stop at a metric of the valid part, such as "mae_mev below 60".')
@click.option("--save-model", is_flag=True, help="Save the trained model in the attempt's folder.")
@click.option("--warmup-steps", type=int, help="First steps that no figure uses.")
@click.option(
    "--data", help="What is learnt from: a file or folder, or generated; see docs/workloads.md."
)
@click.option(
    "--on-bad", type=OneOf(["fail", "skip"]), help="Leave bad records of the data out, or not."
)
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the workload."
)
@click.option("--repeats", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--time-limit-s", type=float, help="A trial is stopped and recorded as failed after so long."
)
@click.option(
    "--hz", type=float, default=10.0, show_default=True, help="Readings a second of every meter."
)
@click.option("-o", "--out", default="runs", show_default=True, help="Folder of all runs.")
@click.option("--name", default="run", show_default=True, help="Folder of these runs within it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(
    workload: str, options: tuple[str, ...], repeats: int, time_limit_s: float | None, hz: float, out: str, name: str,
    target: str | None, save_model: bool, as_json: bool, **fields: Any,
) -> None:  # fmt: skip
    """Run one setting of WORKLOAD: a name from `wattlaw list workloads` or file:Class of your own."""
    from wattlaw.cli.sweep import run_with_display, show_runs

    stop: dict[str, Any] = {
        n: v for n in ("steps", "epochs", "seconds") if (v := fields.pop(n)) is not None
    }
    if target is not None:
        stop = {**(stop or {"steps": 100}), "target": parse_target(target)}
    setting = {n: v for n, v in fields.items() if v is not None}
    setting |= {"workload": workload, **dict(parse_option(o) for o in options)}
    if save_model:
        setting["save_model"] = True
    if stop:
        setting["stop"] = stop
    values = {"name": name, "repeats": repeats, "hz": hz, "setting": setting}
    if time_limit_s is not None:
        values["time_limit_s"] = time_limit_s
    runs = run_with_display(values, out, is_retry=True)
    show_runs(runs, as_json, out)
