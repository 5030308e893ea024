"""Generated samples have the sizes, lengths and numbers of neighbours of real ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wattlaw.workloads.language.gpt2 import GPT2Workload
from wattlaw.workloads.molecules.graphs.molecular_graphs import degree_histogram
from wattlaw.workloads.molecules.graphs.pairs import find_pairs
from wattlaw.workloads.molecules.sources.generated import (
    RandomMolecules,
    random_graphs,
    random_molecules,
)
from wattlaw.workloads.molecules.sources.qm9 import QM9Table, qm9, qm9_smiles
from wattlaw.workloads.molecules.sources.smiles import read_smiles
from wattlaw.workloads.vision.resnet import ResNet50

COUNT = 1024


PAIRS = {4.0: (112.9, 33.9), 5.0: (140.5, 44.2), 10.0: (157.9, 51.9)}
"""Mean and standard deviation of the pairs per molecule within a distance, Å, over all of QM9."""


@pytest.fixture(scope="module")
def molecules() -> RandomMolecules:
    return random_molecules(COUNT)


def pairs(molecules: RandomMolecules | QM9Table, cutoff: float) -> tuple[float, float]:
    found = np.diff(find_pairs(molecules.positions, molecules.atoms, cutoff).starts)
    return float(found.mean()), float(found.std())


def test_generated_molecules_have_the_sizes_of_qm9(molecules):
    assert molecules.atoms.mean() == pytest.approx(18.03, rel=0.02)
    assert molecules.atoms.std() == pytest.approx(2.95, rel=0.1)
    assert 3 <= molecules.atoms.min() <= molecules.atoms.max() <= 29


@pytest.mark.parametrize("cutoff", PAIRS)
def test_generated_molecules_have_the_neighbour_counts_of_qm9(molecules, cutoff):
    mean, deviation = pairs(molecules, cutoff)
    assert mean == pytest.approx(PAIRS[cutoff][0], rel=0.05)
    assert deviation == pytest.approx(PAIRS[cutoff][1], rel=0.1)


@pytest.mark.full
def test_the_stated_figures_of_qm9_hold_for_the_whole_data_set():
    table = qm9()
    assert (table.atoms.mean(), table.atoms.std()) == pytest.approx((18.03, 2.95), abs=0.02)
    for cutoff, expected in PAIRS.items():
        assert pairs(table, cutoff) == pytest.approx(expected, abs=0.1)


def test_generated_molecules_have_no_overlapping_atoms(molecules):
    assert find_pairs(molecules.positions, molecules.atoms, 10.0).distance.min() > 0.9


def test_generated_formulas_have_the_degrees_of_qm9():
    mine = degree_histogram(random_graphs(COUNT))
    real = degree_histogram(read_smiles(*qm9_smiles(2048)[0]))
    shares = [found[:5] / found.sum() for found in (np.pad(mine, (0, 5)), np.pad(real, (0, 5)))]
    assert np.abs(shares[0] - shares[1]).max() < 0.05


def test_generated_text_has_rare_and_common_tokens_of_the_vocabulary():
    workload = GPT2Workload("base", {"data": "generated"})
    data = workload.data("train")
    assert data[0].shape == (1025,)
    tokens = torch.stack([data[k] for k in range(64)])
    assert tokens.min() >= 0
    assert tokens.max() < 50257
    # by Zipf's law the hundred most common of 50,257 tokens are about 40 % of a text
    assert float((tokens < 100).float().mean()) == pytest.approx(
        np.log(101) / np.log(50258), abs=0.02
    )
    assert len(tokens.unique()) > 5000


def test_generated_images_have_the_layout_of_those_from_a_folder():
    sample = ResNet50("base", {"data": "generated"}).data("train")[0]
    assert sample["pixels"].shape == (3, 224, 224)
    assert float(sample["pixels"].std()) == pytest.approx(1, abs=0.05)
    assert ResNet50("tiny", {"data": "generated"}).data("train")[0]["pixels"].shape == (1, 8, 8)
