"""Force fields: SchNet or PaiNN gives the energy of a geometry, and forces are minus its gradient.

Sums over neighbours are their own transposes (see ``pairs``), so the second derivatives that
training on forces needs consist of the same fused sums.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from wattlaw.workloads.base import Options, Split, Workload
from wattlaw.workloads.cache import Array
from wattlaw.workloads.data_options import (
    GENERATED_NOTE,
    OPTIONS,
    parse_data_options,
    skipped_records,
)
from wattlaw.workloads.molecules.graphs.batches import (
    ConcatenatedMolecules,
    Molecule,
    Molecules,
    SelectedSamples,
    batch_molecules,
    concatenate,
    rows_of,
    take_rows,
)
from wattlaw.workloads.molecules.graphs.pairs import Graph, spread, sum_molecules
from wattlaw.workloads.molecules.models.painn import PaiNN, PaiNNSize
from wattlaw.workloads.molecules.models.schnet import SchNetSize, TrainableSchNet
from wattlaw.workloads.molecules.sources.targets import split_indices
from wattlaw.workloads.molecules.sources.trajectories import Frame, ethanol, read_frames, toy_frames

VERSION = 2
NAMES = {"schnet-forces": "SchNetForces", "painn-forces": "PaiNNForces"}

METRICS = {
    "energy_mae_mev": {
        "title": "mean absolute error of energies",
        "unit": "meV",
        "better": "less",
        "heading": "energy MAE",
    },
    "force_mae_mev_per_angstrom": {
        "title": "mean absolute error of forces",
        "unit": "meV/Å",
        "better": "less",
        "heading": "force MAE",
    },
}

ENERGY_WEIGHT, FORCE_WEIGHT = 0.05, 0.95
"""Weights of the two squared errors in the loss, as in LitMatter."""

GENERATED_FRAMES = 512
"""Geometries of the toy potential if data=generated."""


class LabelledFrame(NamedTuple):
    """A sample: a geometry, with its energy as the ``target``, and its forces (N, 3)."""

    molecule: Molecule
    forces: Tensor


class Frames(Dataset[LabelledFrame]):
    """Geometries with energies less their ``mean``, in eV, and forces, in eV/Å."""

    def __init__(self, frames: Sequence[Frame], mean: float, cutoff: float) -> None:
        self.molecules = Molecules(
            np.concatenate([frame.numbers for frame in frames]),
            np.concatenate([frame.positions for frame in frames]),
            np.array([len(frame.numbers) for frame in frames]),
            np.array([frame.energy - mean for frame in frames]),
            cutoff,
        )
        self.forces = torch.from_numpy(np.concatenate([frame.forces for frame in frames]))

    def __len__(self) -> int:
        return len(self.molecules)

    def __getitem__(self, index: int) -> LabelledFrame:
        starts = self.molecules.atom_starts
        forces = self.forces[starts[index] : starts[index + 1]]
        return LabelledFrame(self.molecules[index], forces)

    def __getitems__(self, indices: Sequence[int]) -> SelectedSamples:
        return SelectedSamples(self, indices)

    def concatenated(self, indices: Array) -> tuple[ConcatenatedMolecules, Tensor]:
        """Return some geometries one after another, and their forces."""
        rows, _ = rows_of(self.molecules.atom_starts, indices)
        return self.molecules.concatenated(indices), take_rows(self.forces, rows)


class EnergyAndForces(nn.Module):
    """A network of energies that also gives forces, minus the gradient of the energy."""

    def __init__(self, energies: nn.Module) -> None:
        super().__init__()
        self.energies = energies

    def forward(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """Return energies (B,) in eV and forces (A, 3) in eV/Å."""
        with torch.enable_grad():
            positions = graph.positions.detach().requires_grad_()
            ends, starts = spread(positions, graph, to_ends=True).chunk(2)
            vectors = ends - starts
            moved = dataclasses.replace(
                graph, positions=positions, distance=vectors.norm(dim=1), apart=vectors, grid=None
            )
            energy = self.energies(moved)
            (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=self.training)
        return energy, -gradient


class ForceField(Workload):
    """A network is trained on energies and forces of ethanol, by GFN2-xTB.

    Options: ``data``, a file with energies and forces, or "generated" for a toy potential;
    ``on_bad``, "fail" or "skip"; ``energy_unit`` of the file, "" for the one that it states or its
    kind implies.
    """

    presets = ("tiny", "base")
    batch: ClassVar = {"tiny": 8, "base": 8}
    options: ClassVar = {**OPTIONS, "energy_unit": ""}
    cutoff = 5.0
    is_second_order = True

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        super().__init__(preset, options)
        self.data_options = parse_data_options(self.chosen)

    def data(self, split: Split) -> Dataset[LabelledFrame]:
        frames = self._frames()
        parts = split_indices(len(frames))
        train = [frames[k] for k in parts["train"]]
        mean = float(np.mean([frame.energy for frame in train]))
        elements = np.unique(np.concatenate([frame.numbers for frame in train]))
        self.learnt = {"elements": elements.tolist()}
        return Frames([frames[k] for k in parts[split]], mean, self.cutoff)

    def _frames(self) -> list[Frame]:
        self.notes = []
        if self.data_options.is_generated:
            self.notes = [GENERATED_NOTE]
            return toy_frames(GENERATED_FRAMES)
        path = self.data_options.path
        if path is None:
            return ethanol()
        energy_unit = str(self.chosen["energy_unit"])
        frames, loaded = read_frames(path, self.data_options.on_bad, energy_unit)
        skipped = skipped_records(path, loaded.skipped, len(frames), loaded.first_fault)
        self.notes = [*skipped, *loaded.notes]
        return frames

    def collate(self, samples: Sequence[LabelledFrame]) -> Graph:
        if isinstance(samples, SelectedSamples):
            molecules, forces = samples.concatenated()
        else:
            molecules = concatenate([sample.molecule for sample in samples])
            forces = torch.cat([sample.forces for sample in samples])
        graph = batch_molecules(molecules, self.cutoff)
        return graph.with_features(forces, graph.bonds)

    def loss(self, model: nn.Module, batch: Graph) -> Tensor:
        energy, forces = model(batch)
        # the mean over molecules, so that halves of a batch average to the whole
        by_atom = (forces - batch.atoms).square().mean(1)
        sizes = batch.starts.diff()
        by_molecule = sum_molecules(by_atom[:, None], batch).squeeze(1) / sizes
        energy_loss = (energy - batch.target).square().mean()
        loss: Tensor = ENERGY_WEIGHT * energy_loss + FORCE_WEIGHT * by_molecule.mean()
        return loss

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=3e-3 if self.preset == "tiny" else 3e-4)

    def evaluate(self, model: nn.Module, batches: Iterable[Graph]) -> dict[str, float]:
        """Return the mean absolute errors of energies, meV, and of forces, meV/Å."""
        energies, forces = [], []
        for batch in batches:
            energy, force = model(batch)
            energies.append((energy.detach() - batch.target).abs())
            forces.append((force.detach() - batch.atoms).abs().flatten())
        return {
            "energy_mae_mev": 1000 * float(torch.cat(energies).mean()),
            "force_mae_mev_per_angstrom": 1000 * float(torch.cat(forces).mean()),
        }


class SchNetForces(ForceField):
    """SchNet as a force field."""

    sizes: ClassVar = {
        "tiny": SchNetSize(32, 32, 2, 16, 5.0, None),
        "base": SchNetSize(128, 128, 4, 32, 5.0, None),
    }

    def model(self) -> nn.Module:
        return EnergyAndForces(TrainableSchNet(self.sizes[self.preset]))


class PaiNNForces(ForceField):
    """PaiNN as a force field."""

    sizes: ClassVar = {"tiny": PaiNNSize(32, 2), "base": PaiNNSize(128, 3)}

    def model(self) -> nn.Module:
        return EnergyAndForces(PaiNN(self.sizes[self.preset], self.cutoff))
