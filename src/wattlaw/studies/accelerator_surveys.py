"""The accelerator surveys of 2020 and 2021: what was on offer per watt, what is today, and what
devices achieve.

The surveys plot the peak performance of accelerators against their peak power. The study counts the
catalogue's edition of the survey's year as the survey's table was counted, draws that year's figure
and today's, and compares the peaks with what devices achieved in MLPerf Training and, from the
scale ``laptop`` on, on this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, ClassVar

from wattlaw.accelerators.catalogue.achieved import AchievedShare, achieved_all, mlperf_achieved
from wattlaw.accelerators.catalogue.catalogue import built_in, representative
from wattlaw.accelerators.catalogue.survey import (
    SurveyCounts,
    counts,
    diff,
    edition,
    frontier,
    surveys,
)
from wattlaw.core.reading import Reading
from wattlaw.core.run import Run
from wattlaw.core.units import counted, show
from wattlaw.runner.node_devices import NodeDevices
from wattlaw.studies.result import PublishedValue, StudyFinding, StudyResult, show_value
from wattlaw.studies.role import Study, StudyInputs, SweepValues

if TYPE_CHECKING:
    from wattlaw.studies.accelerator_survey_page import SurveyData

NAMES = {"accelerators-2020": "Accelerators2020", "accelerators-2021": "Accelerators2021"}

QUANTITIES = {
    "rows": ("accelerators", ""),
    "with_peak_and_power": ("accelerators with peak and power", ""),
    "chip": ("chips", ""),
    "card": ("cards", ""),
    "system": ("systems", ""),
    "inference": ("for inference", ""),
    "training": ("for training", ""),
    "at_least_1_t": ("of at least 1 TOPS/W", ""),
    "at_least_10_t": ("of at least 10 TOPS/W", ""),
    "at_least_100_t": ("of at least 100 TOPS/W", ""),
    "median_op_per_joule": ("median efficiency", "OPS/W"),
    "pareto_points": ("accelerators on the Pareto frontier", ""),
}
"""Counts of a survey: key -> (text, unit)."""

BENCHMARK_NAMES = {"resnet": "ResNet-50", "bert": "BERT-large"}


class AcceleratorSurvey(Study):
    """A survey of accelerators, counted again, drawn beside today's, and compared with what devices
    achieve.
    """

    scales = ("tiny", "laptop", "node")
    year: ClassVar[int]
    published: ClassVar[dict[str, float]]
    arxiv: ClassVar[str]

    def sweep(self, node: NodeDevices, scale: str) -> SweepValues | None:
        """Return trials that measure this machine's own rate; the scale ``tiny`` trains nothing."""
        if scale == "tiny":
            return None
        preset = "base" if scale == "node" else "tiny"
        over: dict[str, list[object]] = {"workload": ["resnet50", "bert-base"], "devices": [1]}
        if node.gpus:
            over["precision"] = ["fp32", "bf16"]
        if scale == "node":
            over["devices"] = list(dict.fromkeys([1, max(1, len(node.gpus))]))
        return {
            "name": self.name,
            "repeats": 3,
            "time_limit_s": 300.0,
            "setting": {"preset": preset, "warmup_steps": 5, "stop": {"seconds": 10.0}},
            "over": over,
        }

    def analyse(self, inputs: StudyInputs) -> StudyResult:
        # drawing needs the extra [report], which listing and estimating studies do without
        from wattlaw.studies import accelerator_survey_page as page

        data = page.SurveyData(
            year=self.year,
            then=edition(self.year),
            now=representative(built_in().entries),
            achieved=[r for r in mlperf_achieved() if r.share_of_peak.value is not None],
            own=achieved_all(inputs.runs),
        )
        then, now = counts(data.then), counts(data.now)
        tables = (
            page.count_table(self.year, _counts_beside(then, now)),
            page.frontier_table(data),
            page.change_table(self.year),
        )
        return StudyResult(
            answer=_answer(data, then),
            work=_work(inputs.runs, len(data.achieved)),
            findings=(*_count_findings(self.year, then), *_share_findings(data)),
            published=tuple(self._published_values()),
            figures=tuple(page.survey_figures(data)),
            tables=tables,
            meaning=_meaning(data, then),
        )

    def _published_values(self) -> list[PublishedValue]:
        source = f"counted in the table that the survey of {self.year} published ({self.arxiv})"
        found = []
        for key, value in self.published.items():
            _, unit = QUANTITIES[key]
            found.append(
                PublishedValue(key=key, value=value, unit=unit, kind="derived", source=source)
            )
        return found


class Accelerators2020(AcceleratorSurvey):
    """The survey of 2020."""

    name = "accelerators-2020"
    title = "Accelerators: the survey of 2020, and today"
    paper = "Survey of Machine Learning Accelerators, arXiv 2009.00993 (HPEC 2020)"
    question = (
        "What performance per watt did accelerators offer in 2020, and what has changed since?"
    )
    year = 2020
    arxiv = "arXiv 2009.00993"
    published: ClassVar = {
        "rows": 83,
        "with_peak_and_power": 83,
        "chip": 48,
        "card": 19,
        "system": 16,
        "inference": 59,
        "training": 24,
        "at_least_1_t": 31,
        "at_least_10_t": 6,
        "at_least_100_t": 0,
        "median_op_per_joule": 667e9,
        "pareto_points": 9,
    }


class Accelerators2021(AcceleratorSurvey):
    """The survey of 2021, which also compares measured benchmarks with peaks."""

    name = "accelerators-2021"
    title = "Accelerators: the survey of 2021, and today"
    paper = "AI Accelerator Survey and Trends, arXiv 2109.08957 (HPEC 2021)"
    question = (
        "What performance per watt did accelerators offer in 2021, how much of their peak do they "
        "reach in benchmarks, and what has changed since?"
    )
    year = 2021
    arxiv = "arXiv 2109.08957"
    published: ClassVar = {
        "rows": 102,
        "with_peak_and_power": 102,
        "chip": 52,
        "card": 27,
        "system": 23,
        "inference": 73,
        "training": 29,
        "at_least_1_t": 40,
        "at_least_10_t": 6,
        "at_least_100_t": 0,
        "median_op_per_joule": 725e9,
        "pareto_points": 11,
    }


def flat_counts(found: SurveyCounts) -> dict[str, float]:
    """Return the counts of a survey by the keys of ``QUANTITIES``."""
    return {
        "rows": found.rows,
        "with_peak_and_power": found.with_peak_and_power,
        **found.form_factor,
        **found.use,
        "at_least_1_t": found.at_least["1 T"],
        "at_least_10_t": found.at_least["10 T"],
        "at_least_100_t": found.at_least["100 T"],
        "median_op_per_joule": found.median_op_per_joule or 0.0,
        "pareto_points": found.pareto_points,
    }


def _counts_beside(then: SurveyCounts, now: SurveyCounts) -> list[list[str]]:
    """Return a row per count: its text, its value then, its value now."""
    before, after = flat_counts(then), flat_counts(now)
    rows = []
    for key, (text, unit) in QUANTITIES.items():
        rows.append([text, show_value(before[key], unit), show_value(after[key], unit)])
    return rows


def _count_findings(year: int, then: SurveyCounts) -> list[StudyFinding]:
    how = f"counted in the catalogue's edition of {year}"
    found = []
    for key, value in flat_counts(then).items():
        text, unit = QUANTITIES[key]
        found.append(StudyFinding(key=key, text=text, value=value, unit=unit, how=how))
    return found


def _share_findings(data: SurveyData) -> list[StudyFinding]:
    """Return the share of peak in MLPerf Training, by benchmark and round, and on this machine."""
    found = []
    for (workload, source), shares in _shares_by_round(data.achieved).items():
        text = f"share of peak of {BENCHMARK_NAMES[workload]}, {_round_name(source)}, median"
        how = (
            f"{len(shares)} single-node results of MLPerf Training over the datasheet's 16-bit peak"
        )
        key = f"share_{workload}_{source.removeprefix('mlperf ')}"
        finding = StudyFinding(
            key=key, text=text, value=median(shares), unit="%", status="estimated", how=how
        )
        found.append(finding)
    return [*found, *_own_findings(data.own)]


def _own_findings(own: Sequence[AchievedShare]) -> list[StudyFinding]:
    if not own:
        how = "the scale tiny trains nothing; run the scale laptop"
        text = "share of peak on this machine"
        return [StudyFinding(key="own_share", text=text, value=None, status="missing", how=how)]
    groups: dict[tuple[str, str, int], list[AchievedShare]] = {}
    for row in own:
        groups.setdefault((row.workload, row.precision, row.devices), []).append(row)
    found = []
    for (workload, precision, devices), rows in groups.items():
        setting = f"{workload}, {precision}, {counted(devices, 'device')}"
        identity = f"{workload}_{precision}_{devices}"
        rates = [r.achieved_flop_per_s for r in rows]
        text = f"operations per second and device on this machine, {setting}"
        how = f"counted operations over measured time on {rows[0].device}"
        found.append(_own_finding(f"own_rate_{identity}", text, rates, "FLOP/s", how))
        shares = [r.share_of_peak for r in rows]
        text = f"share of peak on this machine, {setting}"
        found.append(_own_finding(f"own_share_{identity}", text, shares, "%", shares[0].how))
    return found


def _own_finding(
    key: str, text: str, readings: Sequence[Reading], unit: str, how: str
) -> StudyFinding:
    """Return the median of readings as a finding; missing with the reason of the first."""
    known = [r.value for r in readings if r.value is not None]
    if not known:
        why = readings[0].how
        return StudyFinding(key=key, text=text, value=None, unit=unit, status="missing", how=why)
    return StudyFinding(key=key, text=text, value=median(known), unit=unit, how=how)


def _shares_by_round(rows: Sequence[AchievedShare]) -> dict[tuple[str, str], list[float]]:
    groups: dict[tuple[str, str], list[float]] = {}
    for row in sorted(rows, key=lambda r: (r.workload, r.source)):
        groups.setdefault((row.workload, row.source), []).append(row.share_of_peak.value or 0.0)
    return groups


def _round_name(source: str) -> str:
    return source.replace("mlperf", "MLPerf Training")


def _answer(data: SurveyData, then: SurveyCounts) -> tuple[str, ...]:
    newer = counts(data.newer)
    before, after = then.median_op_per_joule or 0.0, newer.median_op_per_joule or 0.0
    shares = [median(v) for v in _shares_by_round(data.achieved).values()]
    return (
        f"In {data.year} the median accelerator offered {show(before, 'OPS/W')}. The {newer.rows} "
        f"accelerators of the catalogue that are newer offer {show(after, 'OPS/W')}.",
        f"In single-node MLPerf Training, devices reached {100 * min(shares):.0f} to "
        f"{100 * max(shares):.0f} % of their 16-bit peak (medians of a benchmark and round).",
    )


def _meaning(data: SurveyData, then: SurveyCounts) -> tuple[str, ...]:
    newer = counts(data.newer)
    then_share = then.at_least["1 T"] / then.with_peak_and_power
    newer_share = newer.at_least["1 T"] / newer.with_peak_and_power
    front_then, front_now = frontier(data.then)[-1], frontier(data.now)[-1]
    latest = surveys()[-1]
    kinds = [change.change for change in diff(data.year, latest)]
    return (
        f"{100 * then_share:.0f} % of the accelerators of {data.year} offered at least 1 TOPS/W, "
        f"and {100 * newer_share:.0f} % of the newer ones do. The rows mix precisions: an int8 "
        "accelerator for inference and an fp16 accelerator for training are not comparable, so "
        "medians of different years describe what was listed, not the progress of one kind of "
        "device.",
        "The highest peak on the Pareto frontier grew from "
        f"{show(front_then.peak_op_per_s or 0, 'OPS')} ({front_then.label}) to "
        f"{show(front_now.peak_op_per_s or 0, 'OPS')} ({front_now.label}).",
        f"Of the listings of {data.year}, {kinds.count('gone')} are gone from the survey of "
        f"{latest}, and {kinds.count('new')} are new.",
        "A datasheet's peak is an upper bound. Choose a device by what it achieves on a workload "
        "like yours: `wattlaw accelerators choose`.",
    )


def _work(runs: Sequence[Run], results: int) -> str:
    catalogue = (
        f"The study counted the catalogue and compared {results} MLPerf results with datasheets."
    )
    if not runs:
        return f"{catalogue} At the scale tiny it trains nothing."
    failed = sum(run.state == "failed" for run in runs)
    return f"{catalogue} It also ran {len(runs)} trials on this machine, {failed} failed."
