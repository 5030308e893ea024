"""Trained models as files, and a force field in ASE."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wattlaw.core.errors import DataError, UntrustedError, UsageError
from wattlaw.workloads.base import Workload
from wattlaw.workloads.molecules.models.force_fields import SchNetForces
from wattlaw.workloads.molecules.models.schnet import SchNetQM9
from wattlaw.workloads.molecules.sources.trajectories import toy_frames
from wattlaw.workloads.saved import restore, save

pytest.importorskip("safetensors")


def trained(steps: int) -> tuple[SchNetForces, torch.nn.Module]:
    workload = SchNetForces("tiny")
    torch.manual_seed(0)
    model = workload.model()
    optimiser = workload.optimiser(model.parameters())
    data = workload.data("train")
    for step in range(steps):
        optimiser.zero_grad()
        batch = workload.collate([data[(step * 8 + k) % len(data)] for k in range(8)])
        workload.loss(model, batch).backward()
        optimiser.step()
    return workload, model.eval()


def test_a_saved_model_is_loaded_bit_for_bit_with_its_options(tmp_path):
    workload = SchNetQM9("tiny", {"target": "gap"})
    model = workload.model().eval()
    save(tmp_path / "model.safetensors", "schnet", workload, model)
    again = restore(tmp_path / "model.safetensors")
    assert again.workload.chosen == workload.chosen
    data = workload.data("valid")
    batch = workload.collate([data[k] for k in range(4)])
    assert torch.equal(model(batch), again.model(batch))


class Tied(Workload):
    """Two layers that share one weight."""

    def model(self):
        layers = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
        layers[1].weight = layers[0].weight
        return layers

    def data(self, split):
        return []

    def loss(self, model, batch):
        return model(batch).mean()


def test_a_model_with_a_shared_weight_still_shares_it_after_loading(tmp_path):
    model = Tied().model()
    save(tmp_path / "tied.safetensors", f"{__name__}:Tied", Tied(), model)
    again = restore(tmp_path / "tied.safetensors", trust=Tied).model
    assert again[1].weight is again[0].weight
    assert torch.equal(again[0].weight, model[0].weight)


def test_a_class_named_in_a_file_is_imported_only_if_the_file_is_trusted(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("raise SystemExit('the planted code ran')\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "planted.safetensors"
    for name in ("planted:Model", "os:system", "subprocess:Popen"):
        save(path, name, Tied(), Tied().model())
        with pytest.raises(UntrustedError, match=f"its workload is {name}"):
            restore(path)


def test_even_a_trusted_name_must_be_a_workload(tmp_path):
    path = tmp_path / "call.safetensors"
    save(path, "subprocess:Popen", Tied(), Tied().model())
    with pytest.raises(UsageError, match="is not a subclass of wattlaw"):
        restore(path, trust=True)


@pytest.mark.parametrize("origin", ["", "{", '{"workload": 3}'])
def test_damaged_metadata_is_named(tmp_path, origin):
    from safetensors.torch import save_file

    metadata = {"wattlaw_format": "1", "origin": origin}
    save_file({"w": torch.zeros(1)}, tmp_path / "odd.safetensors", metadata=metadata)
    with pytest.raises(DataError, match="its metadata is damaged"):
        restore(tmp_path / "odd.safetensors")


def test_a_file_that_is_not_a_model_is_named(tmp_path):
    (tmp_path / "some.safetensors").write_bytes(b"nothing of the kind")
    for name in ("some.safetensors", "none.safetensors"):
        with pytest.raises(DataError, match=name):
            restore(tmp_path / name)


def test_ase_gets_the_models_energy_and_forces(tmp_path):
    ase = pytest.importorskip("ase")
    from wattlaw.workloads.molecules.models.ase_calculator import ForceFieldCalculator

    workload, model = trained(2)
    save(tmp_path / "field.safetensors", "schnet-forces", workload, model)
    sample = workload.data("train")[0]
    atoms = ase.Atoms(
        numbers=sample.molecule.numbers.numpy(), positions=sample.molecule.positions.numpy()
    )
    atoms.calc = ForceFieldCalculator.load(tmp_path / "field.safetensors")
    _, forces = model(workload.collate([sample]))
    assert np.allclose(atoms.get_forces(), forces.detach().numpy(), atol=1e-4)
    assert np.isfinite(atoms.get_potential_energy())
    atoms.pbc = True
    with pytest.raises(UsageError, match="pbc"):
        atoms.get_potential_energy()


@pytest.mark.full
def test_energy_drifts_by_less_than_1_mev_per_atom_in_half_a_picosecond(tmp_path):
    ase = pytest.importorskip("ase")
    from ase import units
    from ase.md.verlet import VelocityVerlet

    from wattlaw.workloads.molecules.models.ase_calculator import ForceFieldCalculator

    workload, model = trained(400)
    frame = toy_frames(1, seed=5)[0]
    atoms = ase.Atoms(numbers=frame.numbers, positions=frame.positions)
    atoms.calc = ForceFieldCalculator(model.double(), workload.cutoff)
    spread = np.sqrt(atoms.get_masses() * units.kB * 100)[:, None]
    atoms.set_momenta(np.random.default_rng(0).normal(size=(len(atoms), 3)) * spread)
    totals = []
    run = VelocityVerlet(atoms, 0.25 * units.fs)
    run.attach(lambda: totals.append(atoms.get_total_energy()))
    run.run(2000)
    # energy oscillates with the fastest bond, so the drift is that of the mean
    assert abs(np.mean(totals[-500:]) - np.mean(totals[:500])) / len(atoms) < 1e-3


def test_a_force_field_refuses_elements_that_were_not_in_its_training_data(tmp_path):
    ase = pytest.importorskip("ase")
    from wattlaw.workloads.molecules.models.ase_calculator import ForceFieldCalculator

    workload, model = trained(1)
    save(tmp_path / "field.safetensors", "schnet-forces", workload, model)
    gold = ase.Atoms("Au2", positions=[[0, 0, 0], [2.5, 0, 0]])
    gold.calc = ForceFieldCalculator.load(tmp_path / "field.safetensors")
    with pytest.raises(UsageError, match="trained on H, C, O and cannot predict Au"):
        gold.get_potential_energy()


@pytest.mark.parametrize(
    ("symbols", "places", "message"),
    [
        (
            "CH",
            [[0, 0, 0], [0, 0, float("nan")]],
            "a position is not finite: the molecule has flown apart",
        ),
        ("CH", [[0, 0, 0], [0, 0, float("inf")]], "a position is not finite"),
        ("", np.zeros((0, 3)), "at least one atom"),
    ],
)
def test_a_force_field_refuses_what_is_not_a_molecule(symbols, places, message):
    ase = pytest.importorskip("ase")
    from wattlaw.workloads.molecules.models.ase_calculator import ForceFieldCalculator

    atoms = ase.Atoms(symbols, positions=places)
    atoms.calc = ForceFieldCalculator(SchNetForces("tiny").model(), SchNetForces.cutoff)
    with pytest.raises(UsageError, match=message):
        atoms.get_potential_energy()
