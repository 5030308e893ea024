"""What each named warning means and what to do about it, in words for a reader of the report."""

from __future__ import annotations

from markupsafe import Markup, escape

MEANINGS: dict[str, tuple[str, str]] = {
    # of the laws
    "too few repeats": (
        "With one or two repeats the scatter between runs is hardly known, so intervals are wide or missing.",
        "Run at least 3 repeats: repeats = 3 in the sweep file.",
    ),
    "few repeats": (
        "Some sizes were run fewer than 3 times; their interval leans on the scatter of the others.",
        "Run at least 3 repeats of every setting.",
    ),
    "one setting": (
        "Advice compares settings, and there is only one.",
        "Sweep a second number of devices or batch size.",
    ),
    "no probability": (
        "How surely the bound on the slowdown holds is unknown without repeats.",
        "Run at least 3 repeats.",
    ),
    "no law": (
        "These runs do not suffice for a law.",
        "Two sizes give a speed-up, three an exponent: add values to [over] in the sweep file.",
    ),
    "no advice": (
        "No setting can be recommended from these runs.",
        "Run at least two settings that record their time, or name what to minimise.",
    ),
    "failed runs": (
        "Trials that failed are left out of every figure.",
        "See “What failed”; `wattlaw sweep retry` runs them again.",
    ),
    "runs left out": (
        "Some runs did not record the quantity in question.",
        "See their status in the table of settings.",
    ),
    "weak scaling": (
        "The batch per device is fixed, so a step of N devices does N times the work.",
        "Compare the time per sample rather than the time per step.",
    ),
    "damaged run": (
        "A run's file is broken or half-written; it is left out.",
        "Delete its folder and resume the sweep to run it again.",
    ),
    "faster than ideal": (
        "More devices cannot do more than their share of the work: the runs with fewer were disturbed, or the "
        "smaller memory of one device or cache held them back.",
        "See whether the machine was steady, and run the sweep again on a quiet one.",
    ),
    # of the steps
    "unstable steps": (
        "Step times scatter or drift within a run, so their median depends on when one looks.",
        "Close other programs, lengthen the warm-up (warmup_steps), or run more steps.",
    ),
    "few steps": (
        "A median of so few steps can be off by chance.",
        "Run more steps: stop = { steps = 100 }.",
    ),
    "ranks missing": (
        "Some processes left no measured steps, so the rate counts too few samples.",
        "Look at the trial's output files; run it again.",
    ),
    "oversubscribed": (
        "More processes than cores: they take turns, so this is no speed-up of real devices.",
        "Run fewer processes, or ask for more cores.",
    ),
    # of the meters
    "no energy meter": (
        "Nothing measures energy on this machine; energies are estimates, and advice speaks of time.",
        "`wattlaw doctor` says what would measure it, and which permission is missing.",
    ),
    "counter disagrees": (
        "The device's energy counter and its sampled power tell different energies.",
        "Prefer longer runs; compare `wattlaw runs show` of this trial.",
    ),
    "counter went back": (
        "An energy counter fell, by a reset or an overflow; the gap was bridged.",
        "Repeat the run if it happens often.",
    ),
    "window short": (
        "The measured window is short against how often the device updates its reading.",
        "Run more steps, so that the window lasts seconds.",
    ),
    "device lost": (
        "A device stopped answering before the window ended.",
        "Look at the driver's log; its energy for this run is too small or missing.",
    ),
    "throttled": (
        "The device held its clocks down, for heat or power.",
        "Cool it, or set a cap on purpose, and run again.",
    ),
    "other process on device": (
        "Someone else used the device; time and energy are shared with them.",
        "Run on a device of your own.",
    ),
    "clock jump": (
        "The machine's UTC clock was set during the run; durations use another clock and stand.",
        "Nothing, unless you compare with logs of other machines.",
    ),
    "sampler lost": (
        "The process that reads the meters stopped or never ran on a host.",
        "Energy and utilisation of that host are incomplete; run the trial again.",
    ),
    "sampling trouble": (
        "A meter gave an error now and then.",
        "See the message; readings in between are missing, not zero.",
    ),
}


def clipped(text: str, most: int = 240) -> str:
    """Return a text that is not longer than a few lines."""
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " …"


def coded(text: str) -> Markup:
    """Return text as markup, what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))


def plain(name: str) -> str:
    """Return a warning's name in words: "window_short" is "window short"."""
    return name.replace("_", " ").replace("-", " ")


def meaning(name: str) -> tuple[str, str]:
    """Return what a warning means and what to do; empty for one that is not known here."""
    return MEANINGS.get(plain(name), ("", ""))
