"""``wattlaw predict``: time, energy and cost of a setting that was not run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlaw.cli.flags import refuse
from wattlaw.cli.output import emit_json, json_option, runs_in, say, say_warnings
from wattlaw.cli.tables import print_table
from wattlaw.core.errors import UsageError
from wattlaw.core.quantities import quantity
from wattlaw.core.units import show

if TYPE_CHECKING:
    from wattlaw.analysis.predict import Prediction
    from wattlaw.core.findings import Interval

NAMES = {"predict": "predict"}


@click.command(short_help="Predict a setting that was not run.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--devices", type=int, required=True, help="Devices of all nodes, up to 100000.")
@click.option(
    "--nodes", type=int, help="Nodes; by default with as many devices per node as in the runs."
)
@click.option(
    "--batch",
    "batch_per_device",
    type=int,
    help="Samples per device and step; by default as in the run with the most devices.",
)
@click.option("--power-cap-w", type=float, help="Power cap of each device, W.")
@click.option(
    "--samples",
    default="1",
    show_default=True,
    help='Samples to train, or "target" for as many as the target of the runs takes.',
)
@click.option("--price-per-device-hour", type=float, help="In any currency.")
@click.option("--price-per-kwh", type=float, help="In the same currency.")
@click.option(
    "--pue",
    type=float,
    default=1.0,
    show_default=True,
    help="Power usage effectiveness of the site.",
)
@click.option(
    "--step-spread",
    type=float,
    default=0.0,
    help="Relative spread of the step times of one device, if known.",
)
@click.option(
    "--message-bytes", type=float, help="Size of the gradient, if only one device was run."
)
@click.option("--link-bytes-per-s", type=float, help="Bandwidth of the slowest link.")
@click.option(
    "--extrapolate",
    is_flag=True,
    help="Predict even if the interval is wider than a factor of two.",
)
@json_option
def predict(
    folder: Path, samples: str, extrapolate: bool, as_json: bool, **options: float | None
) -> None:
    """Predict a setting from the runs in DIR, with 90 % intervals."""
    from wattlaw.analysis.predict import PredictionRequest
    from wattlaw.analysis.predict import predict as predict_runs

    given = {name: value for name, value in options.items() if value is not None}
    request = PredictionRequest(samples=_samples(samples), **given)  # type: ignore[arg-type]
    found = predict_runs(runs_in(folder), request, extrapolate)
    if not any("ring" in prediction.forms for prediction in found):
        refuse(
            ["message_bytes", "link_bytes_per_s"],
            "if several device counts were run, because their communication was measured",
        )
    if as_json:
        emit_json("predict", found, warnings=dict.fromkeys(n for p in found for n in p.warnings))
        return
    rows = [_row(p, name, value) for p in found for name, value in p.quantities.items()]
    print_table(["group", "quantity", "predicted", "90 % interval", "beyond the runs"], rows)
    say("weights of the laws over devices: " + "; ".join(dict.fromkeys(map(_forms, found))))
    say_warnings(n for p in found for n in p.warnings)


def _samples(text: str) -> float | None:
    if text == "target":
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--samples {text!r}: give a number of samples or target") from None


def _forms(found: Prediction) -> str:
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.forms.items())


_UNITS = {"time_s": "s", "energy_j": "J", "cost": "", "device_hours": "h"}


def _row(found: Prediction, name: str, value: Interval) -> list[str]:
    from wattlaw.analysis.groups import group_title

    unit = _UNITS[name] if name in _UNITS else quantity(name).unit
    ends = f"{show(value.low or 0.0, unit)} … {show(value.high or 0.0, unit)}"
    return [
        group_title(found.group),
        name,
        show(value.value, unit),
        ends,
        found.extrapolated or "no",
    ]
