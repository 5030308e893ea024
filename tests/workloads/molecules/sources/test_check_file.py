"""``data check`` and ``run`` agree on a file and on its units, cells, elements and columns."""

from __future__ import annotations

import numpy as np
import pytest

from wattlaw.core.errors import DataError
from wattlaw.workloads.language.chemgpt import ChemGPT
from wattlaw.workloads.molecules.models.pna import PNAMolecules
from wattlaw.workloads.molecules.sources.check_file import check_file
from wattlaw.workloads.molecules.sources.energy_units import BOHR_ANGSTROM, HARTREE_EV
from wattlaw.workloads.molecules.sources.molecule_files import read_molecules
from wattlaw.workloads.molecules.sources.trajectories import read_frames

WATER = np.array([[0.0, 0.0, 0.1], [0.0, 0.8, -0.5], [0.0, -0.8, -0.5]])


def water(comment: str) -> str:
    rows = [
        " ".join([symbol, *map(str, row)])
        for symbol, row in zip("OHH", WATER.tolist(), strict=True)
    ]
    return "\n".join(["3", comment, *rows, ""])


PERIODIC = ["{T T T}", "'T T T'", '"T,T,T"', '"T F F"', "T", "[True, True, True]"]


@pytest.mark.parametrize("pbc", PERIODIC)
def test_a_periodic_cell_is_refused_in_every_notation(tmp_path, pbc):
    path = tmp_path / "a.xyz"
    cell = 'Lattice="20 0 0 0 20 0 0 0 20" Properties=species:S:1:pos:R:3 energy=-2078.5'
    path.write_text(water(f"{cell} pbc={pbc}"))
    with pytest.raises(DataError, match="a periodic cell"):
        read_molecules(path)
    assert "a periodic cell" in check_file(path).faults[0].fault
    path.write_text(water(f'{cell} pbc="F F F"'))
    assert check_file(path).molecules == 1


def test_total_energies_in_another_unit_are_not_labelled_ev(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("".join(water(f"energy={-76.4 - k / 1000}") for k in range(3)))
    with pytest.raises(DataError, match="set energy_unit=hartree") as refusal:
        read_molecules(path)
    found = check_file(path)
    assert (found.energy_unit, found.molecules, len(found.faults)) == ("", 3, 1)
    assert found.faults[0].fault in str(refusal.value)
    found = check_file(path, "hartree")
    assert (found.energy_unit, found.faults) == ("hartree", [])


def test_a_file_without_energies_has_no_unit_of_energy(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(water("it's water") * 4)
    found = check_file(path)
    assert (found.molecules, found.energy_unit, found.numbers) == (4, "", {})


def test_energies_in_ev_are_not_read_as_kcal_per_mol(tmp_path):
    path = tmp_path / "a.npz"
    frames = np.repeat(WATER[None], 3, 0)
    np.savez(path, z=[8, 1, 1], R=frames, E=np.full(3, -2078.5), F=np.zeros_like(frames))
    with pytest.raises(DataError, match="a total energy in eV, but was read as kcal/mol"):
        read_molecules(path)
    found = check_file(path)
    assert (found.energy_unit, len(found.faults)) == ("", 1)
    assert read_molecules(path, energy_unit="eV").records[0].values["energy"] == -2078.5


def test_every_property_of_schnetpack_has_its_own_unit(tmp_path):
    ase = pytest.importorskip("ase")
    path = tmp_path / "a.db"
    with pytest.importorskip("ase.db").connect(path) as base:
        for _ in range(3):
            data = {
                "energy": np.array([-76.4]),
                "forces": np.full((3, 3), 0.01),
                "gap": np.array([500.0]),
                "mu": np.array([1.5]),
            }
            base.write(ase.Atoms([8, 1, 1], WATER), data=data)
        units = {"energy": "Hartree", "forces": "Hartree/Bohr", "gap": "meV", "mu": "Debye"}
        base.metadata = {"_property_unit_dict": units, "_distance_unit": "Ang"}
    frames, loaded = read_frames(path)
    assert loaded.energy_unit == "hartree"
    assert frames[0].energy == pytest.approx(-76.4 * HARTREE_EV)
    assert frames[0].forces[0, 0] == pytest.approx(0.01 * HARTREE_EV / BOHR_ANGSTROM)
    assert loaded.records[0].values["gap"] == pytest.approx(0.5)
    assert loaded.records[0].values["mu"] == 1.5
    with pytest.importorskip("ase.db").connect(path) as base:
        base.metadata = {"_property_unit_dict": {"energy": "Hartree", "forces": "Rydberg/Bohr"}}
    with pytest.raises(DataError, match=r"a\.db: its unit of forces is Rydberg/Bohr"):
        read_frames(path)


def test_lengths_in_bohr_become_angstrom(tmp_path):
    path = tmp_path / "a.npz"
    frames = np.repeat(WATER[None], 3, 0) / BOHR_ANGSTROM
    arrays = {"z": [8, 1, 1], "R": frames, "E": np.full(3, -76.4), "F": np.ones_like(frames)}
    np.savez(path, e_unit="hartree", r_unit="Bohr", **arrays)
    frame = read_frames(path)[0][0]
    np.testing.assert_allclose(frame.positions, WATER, atol=1e-6)
    assert frame.forces[0, 0] == pytest.approx(HARTREE_EV / BOHR_ANGSTROM)


def test_every_element_up_to_oganesson_is_known(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("3\nuranium dioxide\nU 0 0 0\nO 0 0 1.8\nO 0 0 -1.8\n1\n\nOg 0 0 0\n")
    found = check_file(path)
    assert (found.elements, found.faults) == ({"O": 2, "U": 1, "Og": 1}, [])


def test_one_bad_file_of_a_folder_is_skipped(tmp_path):
    for k in range(1, 5):
        (tmp_path / f"a{k}.xyz").write_text(water("energy=-2078.5"))
    (tmp_path / "a0.xyz").write_text(water("energy=-2078.5").replace("3", "3,", 1))
    with pytest.raises(DataError, match=r"a0\.xyz: not a known format"):
        read_molecules(tmp_path)
    found = read_molecules(tmp_path, "skip")
    assert (len(found.records), found.skipped) == (4, 1)
    (fault,) = check_file(tmp_path).faults
    assert (fault.record, fault.fault in found.first_fault) == ("a0.xyz", True)


def test_a_list_of_smiles_may_begin_with_a_bracketed_atom(tmp_path):
    pytest.importorskip("selfies")
    path = tmp_path / "a.smi"
    path.write_text("[Na+].[Cl-] salt\n" + "CCO\nCCC\n" * 500)
    found = check_file(path)
    assert (found.kind, found.molecules) == ("list of SMILES (only heavy atoms are counted)", 1001)
    assert (found.faults, found.elements["Na"]) == ([], 1)
    workload = ChemGPT("tiny", {"data": str(path)})
    workload.data("train")
    assert workload.notes == []


@pytest.mark.parametrize("first", ["smiles,logP,logP", "smiles,logP,smiles"])
def test_two_columns_with_the_same_name_are_refused(tmp_path, first):
    path = tmp_path / "a.csv"
    path.write_text(first + "\nCCO,1.0,2.0\nCCC,1.0,2.0\nCCN,1.0,2.0\n")
    name = first.split(",")[2]
    for read in (check_file, lambda p: PNAMolecules("tiny", {"data": str(p)}).data("train")):
        with pytest.raises(DataError, match=f"two columns are named {name}; rename one"):
            read(path)


def test_thiophene_has_four_hydrogens_and_rdkit_prints_nothing_to_stderr(tmp_path, capfd):
    path = tmp_path / "a.csv"
    path.write_text("smiles,logP\nc1ccsc1,1\nC1CC,1\n[H+],1\nCC(C)(C)(C)C,1\n")
    found = check_file(path)
    assert [fault.record for fault in found.faults] == ["line 3", "line 5"]
    workload = PNAMolecules("tiny", {"data": str(path), "on_bad": "skip"})
    graphs, _, _ = workload._graphs()
    assert graphs[0].hydrogens.sum() == 4
    assert [note.name for note in workload.notes] == ["bad_records", "molecule_warnings"]
    assert "[H+]" in workload.notes[1].message
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


V3000 = """methane
  made by hand 3D

  0  0  0     0  0            999 V3000
M  V30 BEGIN CTAB
M  V30 COUNTS 5 4 0 0 0
M  V30 BEGIN ATOM
M  V30 1 C 0 0 0 0
M  V30 2 H 0.63 0.63 0.63 0
M  V30 3 H -0.63 -0.63 0.63 0
M  V30 4 H -0.63 0.63 -0.63 0
M  V30 5 H 0.63 -0.63 -0.63 0
M  V30 END ATOM
M  V30 BEGIN BOND
M  V30 1 1 1 2
M  V30 2 1 1 3
M  V30 3 1 1 4
M  V30 4 1 1 5
M  V30 END BOND
M  V30 END CTAB
M  END
> <energy>
-2.5

$$$$
"""


def test_an_sdf_of_version_v3000_is_read(tmp_path):
    path = tmp_path / "a.sdf"
    path.write_text(V3000)
    (record,) = read_molecules(path).records
    assert record.numbers.tolist() == [6, 1, 1, 1, 1]
    assert record.bonds.tolist() == [[0, k, 1] for k in range(1, 5)]
    assert record.values == {"energy": -2.5}
    assert (check_file(path).bonds, check_file(path).faults) == (1, [])
