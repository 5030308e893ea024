"""``wattlaw rank``: rank configurations early, and show what that would have saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wattlaw.cli.output import emit_json, json_option, say, say_warnings
from wattlaw.cli.tables import print_table
from wattlaw.core.units import show

if TYPE_CHECKING:
    from wattlaw.advice.early_stopping import EarlyRanking, Rankings
    from wattlaw.core.reading import Reading

NAMES = {"rank": "rank"}


@click.command(short_help="Rank configurations by the beginning of their training.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--after",
    "shares",
    type=float,
    multiple=True,
    help="Share of the training to rank by; by default 0.1, 0.2 and 0.5.",
)
@click.option("--keep", type=int, help="Configurations that continue then; by default half.")
@click.option(
    "--by",
    default="loss",
    show_default=True,
    help="What the final ranking uses: loss, or a quantity such as valid_top1.",
)
@json_option
def rank(folder: Path, shares: tuple[float, ...], keep: int | None, by: str, as_json: bool) -> None:
    """Rank the configurations of each workload in DIR by the losses of their first steps.

    Each ranking is compared with the final one, with the time and energy that stopping the other
    configurations would have saved.
    """
    from wattlaw.advice.early_stopping import SHARES
    from wattlaw.advice.early_stopping import rank as rank_runs

    found = rank_runs(folder, shares or SHARES, keep, by)
    if as_json:
        emit_json("rank", found.rankings, {"configurations": found.configurations}, found.notes)
        return
    _print(found, by)
    say("Spearman: 1 is the final ranking, 0 is chance, −1 the reverse")
    say_warnings(found.notes)


def _print(found: Rankings, by: str) -> None:
    for search in {tuple(r.search.items()): r.search for r in found.rankings}.values():
        rows = [r for r in found.rankings if r.search == search]
        last = [c for c in found.configurations if c.search == search]
        title = f"{', '.join(search.values())}: {len(last)} configurations, {rows[0].kept} continue"
        columns = ["after", "score", "Spearman", "best continues", "time saved", "energy saved"]
        print_table(columns, [_row(r) for r in rows], title=title)
        places = []
        for c in last:
            early = _early(c.words, rows)
            places.append([str(c.place), c.words, f"{c.value:.4g}", str(c.runs), early])
        then = ", ".join(f"{100 * r.after:g}" for r in rows if r.score == rows[0].score)
        print_table(
            ["place", "configuration", by, "runs", f"place by {rows[0].score} after {then} %"],
            places,
        )


def _row(found: EarlyRanking) -> list[str]:
    spearman = "all tie" if found.spearman is None else f"{found.spearman:.2f}"
    best = "yes" if found.best_kept else "no"
    time = f"{show(found.time_saved_s, 's')} ({100 * found.time_saved_share:.0f} %)"
    energy = _energy(found.energy_saved_j, found.energy_saved_share)
    return [f"{100 * found.after:g} %", found.score, spearman, best, time, energy]


def _energy(saved: Reading, share: float | None) -> str:
    if saved.value is None:
        return f"missing: {saved.how}"
    text = f"{show(saved.value, 'J')} ({100 * (share or 0):.0f} %)"
    return f"{text}, estimated" if saved.status == "estimated" else text


def _early(words: str, rows: list[EarlyRanking]) -> str:
    # the place by the first score after each share
    same_score = [row for row in rows if row.score == rows[0].score]
    return ", ".join(str(row.ranking.index(words) + 1) for row in same_score)
