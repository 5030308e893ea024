"""The studies that are planned but not built yet: one study per paper of the group whose work
wattlaw repeats.
"""

from __future__ import annotations

from typing import NamedTuple


class PlannedStudy(NamedTuple):
    """A study to come: its public name, its paper, and the question that it will ask again."""

    name: str
    paper: str
    question: str


PLANNED = (
    PlannedStudy(
        "resource-usage",
        "arXiv 2201.12423 (HPEC 2022), resource usage for efficient distributed deep learning",
        "How do time and energy scale with devices, power cap and clock limit?",
    ),
    PlannedStudy(
        "litmatter",
        "arXiv 2112.03364 and Nature Machine Intelligence 2023, neural scaling of chemical models",
        "How do graph networks scale over devices, data and parameters?",
    ),
    PlannedStudy(
        "prime-time",
        "arXiv 2112.04977, bringing atomistic deep learning to prime time",
        "What limits training on molecules here: data, model size, devices or integration?",
    ),
    PlannedStudy(
        "projection",
        "arXiv 2111.07140, pseudo projection operators for noise removal",
        "Which method removes which noise from music best?",
    ),
    PlannedStudy(
        "supercloud",
        "arXiv 2108.02037 and 2204.05839, the MIT Supercloud data set and its challenge",
        "What do a cluster's jobs use, and what would a power cap save?",
    ),
    PlannedStudy(
        "video",
        "arXiv 2008.09037, a comparison of models for video action recognition",
        "Which of fourteen models recognises actions best for its training time and energy?",
    ),
    PlannedStudy(
        "nowcasting",
        "arXiv 2008.08062, UNet for precipitation nowcasting",
        "How do energy and skill of a UNet change with its size and precision?",
    ),
    PlannedStudy(
        "fabrics",
        "arXiv 2008.08057, network fabrics for data-distributed training",
        "Does a faster network fabric shorten training, or are the fabrics equivalent?",
    ),
)
"""``accelerators-2020`` and ``accelerators-2021``, the other two, are built."""
