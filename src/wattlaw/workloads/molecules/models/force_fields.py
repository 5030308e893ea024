"""Force fields: a network gives the energy of a geometry, and forces are its gradient. SchNet and PaiNN learn both.

The sums over neighbours are their own transposes (see ``pairs``), so the derivative of a derivative that training on
forces needs is made of the same fused sums.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from wattlaw.workloads.base import Split, Workload
from wattlaw.workloads.data_options import (
    GENERATED_NOTE,
    OPTIONS,
    parse_data_options,
    skipped_records,
)
from wattlaw.workloads.molecules.graphs.batches import (
    Joined,
    Molecule,
    Molecules,
    Picked,
    batch_molecules,
    join,
    rows_of,
    taken,
)
from wattlaw.workloads.molecules.graphs.pairs import Graph, spread, sum_molecules
from wattlaw.workloads.molecules.models.painn import PaiNN
from wattlaw.workloads.molecules.models.painn import Size as PaiNNSize
from wattlaw.workloads.molecules.models.schnet import Size, TrainableSchNet
from wattlaw.workloads.molecules.sources.targets import splits
from wattlaw.workloads.molecules.sources.trajectories import Frame, ethanol, made, read_frames

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
"""Weights of the two squared errors in the loss, as LitMatter has them."""

MADE = 512
"""Geometries that are made where data=generated."""


class Sample(NamedTuple):
    """A geometry with its energy (in the molecule's ``target``) and its forces (N, 3)."""

    molecule: Molecule
    forces: Tensor


class Frames(Dataset[Sample]):
    """Geometries with energies, less their mean, and forces."""

    def __init__(self, frames: Sequence[Frame], mean: float, cutoff: float) -> None:
        self.molecules = Molecules(
            np.concatenate([f.numbers for f in frames]),
            np.concatenate([f.positions for f in frames]),
            np.array([len(f.numbers) for f in frames]),
            np.array([f.energy - mean for f in frames]),
            cutoff,
        )
        self.forces = torch.from_numpy(np.concatenate([f.forces for f in frames]))

    def __len__(self) -> int:
        return len(self.molecules)

    def __getitem__(self, index: int) -> Sample:
        starts = self.molecules.atom_starts
        return Sample(self.molecules[index], self.forces[starts[index] : starts[index + 1]])

    def __getitems__(self, indices: Sequence[int]) -> Picked:
        return Picked(self, indices)

    def joined(self, indices: np.ndarray[Any, Any]) -> tuple[Joined, Tensor]:
        """Return some geometries one after another, and their forces."""
        rows, _ = rows_of(self.molecules.atom_starts, indices)
        return self.molecules.joined(indices), taken(self.forces, rows)


class EnergyAndForces(nn.Module):
    """A network of energies, asked for forces too: forces are minus the energy's gradient."""

    def __init__(self, energies: nn.Module) -> None:
        super().__init__()
        self.energies = energies

    def forward(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """Return energies (B,) in eV and forces (A, 3) in eV/Å."""
        with torch.enable_grad():
            places = graph.positions.detach().requires_grad_()
            ends, starts = spread(places, graph, to_ends=True).chunk(2)
            apart = ends - starts
            moved = dataclasses.replace(
                graph, positions=places, distance=apart.norm(dim=1), apart=apart, grid=None
            )
            energy = self.energies(moved)
            (slope,) = torch.autograd.grad(energy.sum(), places, create_graph=self.training)
        return energy, -slope


class ForceField(Workload):
    """A network learns energies and forces of ethanol, by GFN2-xTB.

    Options: ``data``, a file with energies and forces, or "generated" for a toy potential; ``on_bad``, "fail" or
    "skip"; ``energy_unit`` of the file, "" for its kind's own.
    """

    presets = ("tiny", "base")
    batch: ClassVar = {"tiny": 8, "base": 8}
    options: ClassVar = {**OPTIONS, "energy_unit": ""}
    cutoff = 5.0
    is_second_order = True

    def __init__(self, preset: str = "base", options: Any = None) -> None:
        super().__init__(preset, options)
        self.data_options = parse_data_options(self.chosen)

    def data(self, split: Split) -> Dataset[Sample]:
        frames = self._frames()
        parts = splits(len(frames))
        mean = float(np.mean([frames[k].energy for k in parts["train"]]))
        self.learnt = {
            "elements": np.unique(
                np.concatenate([frames[k].numbers for k in parts["train"]])
            ).tolist()
        }
        return Frames([frames[k] for k in parts[split]], mean, self.cutoff)

    def _frames(self) -> list[Frame]:
        self.notes = [GENERATED_NOTE] if self.data_options.is_generated else []
        if self.data_options.path is None:
            return made(MADE) if self.data_options.is_generated else ethanol()
        frames, given = read_frames(
            self.data_options.path, self.data_options.on_bad, str(self.chosen["energy_unit"])
        )
        self.notes = skipped_records(
            self.data_options.path, given.skipped, len(frames), given.first_fault
        )
        return frames

    def collate(self, samples: Sequence[Sample]) -> Graph:
        if isinstance(samples, Picked):
            molecules, forces = samples.joined()
        else:
            molecules, forces = (
                join([s.molecule for s in samples]),
                torch.cat([s.forces for s in samples]),
            )
        graph = batch_molecules(molecules, self.cutoff)
        return graph.with_features(forces, graph.bonds)

    def loss(self, model: nn.Module, batch: Graph) -> Tensor:
        energy, forces = model(batch)
        # the mean over molecules, so that halves of a batch average to the whole
        by_atom = (forces - batch.atoms).square().mean(1)
        sizes = batch.starts.diff()
        by_molecule = sum_molecules(by_atom[:, None], batch).squeeze(1) / sizes
        loss: Tensor = (
            ENERGY_WEIGHT * (energy - batch.target).square().mean()
            + FORCE_WEIGHT * by_molecule.mean()
        )
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
        "tiny": Size(32, 32, 2, 16, 5.0, None),
        "base": Size(128, 128, 4, 32, 5.0, None),
    }

    def model(self) -> nn.Module:
        return EnergyAndForces(TrainableSchNet(self.sizes[self.preset]))


class PaiNNForces(ForceField):
    """PaiNN as a force field."""

    sizes: ClassVar = {"tiny": PaiNNSize(32, 2), "base": PaiNNSize(128, 3)}

    def model(self) -> nn.Module:
        return EnergyAndForces(PaiNN(self.sizes[self.preset], self.cutoff))
