"""Molecule files: recognised by content, read as by ASE, and named when they are damaged."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from wattlaw.core.errors import DataError, WattlawError
from wattlaw.core.plugins import WORKLOADS, load
from wattlaw.workloads.molecules.graphs.molecular_graphs import graph_of_geometry
from wattlaw.workloads.molecules.models.nnconv import NNConvQM9
from wattlaw.workloads.molecules.models.pna import PNAMolecules
from wattlaw.workloads.molecules.models.schnet import SchNetQM9
from wattlaw.workloads.molecules.sources.energy_units import HARTREE_EV, KCAL_EV
from wattlaw.workloads.molecules.sources.molecule_files import open_molecules, read_molecules
from wattlaw.workloads.molecules.sources.molecule_record import MoleculeRecord
from wattlaw.workloads.molecules.sources.property_data import load_property
from wattlaw.workloads.molecules.sources.qm9 import qm9, qm9_smiles
from wattlaw.workloads.molecules.sources.qm9_bonds import qm9_bonds
from wattlaw.workloads.molecules.sources.smiles import read_smiles
from wattlaw.workloads.molecules.sources.trajectories import ETHANOL, ethanol, read_frames

EXAMPLES = 5 * settings().max_examples
"""Number of examples for readers of arbitrary bytes, more than for other properties."""

GDB = """5
gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t\
0.044749\t-40.47893\t-40.476062\t-40.475117\t-40.498597\t6.469
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 0.002150416\t-0.0060313176\t 0.0019761204\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 2.765748*^-4\t 0.133922
H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923
1341.307\t1341.3284\t1341.365\t1562.6731\t1562.7453\t3038.3205\t3151.6034\t3151.6788\t3151.7078
C\tC
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""

SDF = """ethene
  made by hand

  6  5  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.6650 C   0  0
    0.0000    0.0000   -0.6650 C   0  0
    0.0000    0.9230    1.2380 H   0  0
    0.0000   -0.9230    1.2380 H   0  0
    0.0000    0.9230   -1.2380 H   0  0
    0.0000   -0.9230   -1.2380 H   0  0
  1  2  2  0
  1  3  1  0
  1  4  1  0
  2  5  1  0
  2  6  1  0
M  END
> <energy>
-2.5

$$$$
"""


@pytest.fixture(scope="module")
def atoms():
    ase = pytest.importorskip("ase")
    calculators = pytest.importorskip("ase.calculators.singlepoint")
    found = []
    for frame in ethanol()[:4]:
        one = ase.Atoms(numbers=frame.numbers, positions=frame.positions)
        one.calc = calculators.SinglePointCalculator(one, energy=frame.energy, forces=frame.forces)
        found.append(one)
    return found


@pytest.mark.parametrize("name", ["frames.xyz", "frames.extxyz", "frames.db", "frames.json"])
def test_files_written_by_ase_are_read_as_the_same_frames(tmp_path, atoms, name):
    if name.endswith("xyz"):
        pytest.importorskip("ase.io").write(tmp_path / name, atoms, format="extxyz")
    else:
        with pytest.importorskip("ase.db").connect(tmp_path / name) as base:
            for one in atoms:
                base.write(one, gap=1.5)
    read, about = read_frames(tmp_path / name)
    assert (len(read), about.skipped, about.energy_unit) == (4, 0, "eV")
    for mine, other in zip(read, atoms, strict=True):
        assert mine.energy == pytest.approx(other.get_potential_energy(), rel=1e-7)
        assert np.allclose(mine.forces, other.get_forces(), atol=1e-6)
        assert np.allclose(mine.positions, other.positions, atol=1e-6)
        assert mine.numbers.tolist() == other.numbers.tolist()


def test_a_schnetpack_data_set_is_read_in_its_own_units(tmp_path, atoms):
    path = tmp_path / "set.db"
    with pytest.importorskip("ase.db").connect(path) as base:
        for one in atoms:
            bare = one.copy()
            data = {
                "energy": np.array([one.get_potential_energy() / KCAL_EV]),
                "forces": one.get_forces() / KCAL_EV,
            }
            base.write(bare, data=data)
        base.metadata = {"_property_unit_dict": {"energy": "kcal/mol"}, "_distance_unit": "Ang"}
    read, about = read_frames(path)
    assert about.energy_unit == "kcal/mol"
    assert read[1].energy == pytest.approx(atoms[1].get_potential_energy())
    assert np.allclose(read[1].forces, atoms[1].get_forces(), atol=1e-5)


def test_a_periodic_cell_is_refused_as_a_molecule(tmp_path, atoms):
    one = atoms[0].copy()
    one.set_cell([9, 9, 9])
    one.pbc = True
    for name in ("cell.xyz", "cell.db", "cell.json"):
        pytest.importorskip("ase.io").write(
            tmp_path / name, one, **({"format": "extxyz"} if "xyz" in name else {})
        )
        with pytest.raises(DataError, match="periodic"):
            read_molecules(tmp_path / name)


def test_raw_qm9_is_read_from_a_file_a_folder_and_an_archive(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for k in range(3):
        (folder / f"dsgdb9nsd_00000{k}.xyz").write_text(GDB)
    with tarfile.open(tmp_path / "raw.tar.bz2", "w:bz2") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    (tmp_path / "all.xyz").write_text(GDB * 3)
    for place in (folder, tmp_path / "raw.tar.bz2", tmp_path / "all.xyz"):
        given = read_molecules(place)
        assert "QM9" in given.kind
        assert len(given.records) == 3
        assert given.records[0].numbers.tolist() == [6, 1, 1, 1, 1]
        assert given.records[0].positions[2, 2] == pytest.approx(2.765748e-4)
        assert given.records[0].values["u0"] == pytest.approx(-40.47893 * HARTREE_EV)
        assert given.records[0].values["mu"] == 0.0


def test_the_sdf_of_qm9_takes_its_properties_from_the_table_in_the_same_folder(tmp_path):
    (tmp_path / "gdb9.sdf").write_text(SDF * 3)
    (tmp_path / "gdb9.sdf.csv").write_text("mol_id,mu,u0,u298\n" + "gdb_1,0.0,-78.5,-78.4\n" * 3)
    given = read_molecules(tmp_path / "gdb9.sdf")
    assert given.records[2].values["u0"] == pytest.approx(-78.5 * HARTREE_EV)
    (tmp_path / "gdb9.sdf").write_text(SDF * 2)
    with pytest.raises(DataError, match=r"ends after 2 molecules, but .* has 3 rows"):
        read_molecules(tmp_path / "gdb9.sdf")


def test_nnconv_takes_the_orders_of_bonds_from_an_sdf(tmp_path):
    (tmp_path / "some.sdf").write_text(SDF * 5)
    workload = NNConvQM9("tiny", {"data": str(tmp_path / "some.sdf"), "target": "energy"})
    sample = workload.data("train")[0]
    # the first pair is the double bond of 1.33 Å; no bond is estimated from its length
    assert sample.bonds[0] == 2
    assert workload.notes == []
    assert sample.features[0].tolist() == [0, 1, 0, 0, 0, 6, 0, 0, 1, 0, 2]


def test_bonds_of_qm9_equal_those_of_its_smiles_and_the_rest_are_reported():
    workload = NNConvQM9("tiny")
    data = workload.data("train")
    assert data.estimated < 0.01 * len(data)
    valence = {1: 1, 6: 4, 7: 3, 8: 2, 9: 1}
    right = total = 0
    for k in range(128):
        molecule, _, bonds = data[k]
        order = np.array([0.0, 1.0, 2.0, 3.0, 1.5])[bonds.numpy()]
        found = np.zeros(len(molecule.numbers))
        np.add.at(found, molecule.first.numpy(), order)
        np.add.at(found, molecule.second.numpy(), order)
        for z, bound in zip(molecule.numbers.tolist(), found.tolist(), strict=True):
            total += 1
            right += bound == valence[z]
    # the others are charged or aromatic
    assert right / total > 0.97


def test_an_npz_of_qm9_is_read_one_molecule_at_a_time(tmp_path):
    frames = ethanol()[:5]
    np.savez(
        tmp_path / "qm9_eV.npz",
        R=np.concatenate([f.positions for f in frames]),
        Z=np.concatenate([f.numbers for f in frames]),
        N=np.array([9] * 5),
        id=np.arange(5),
        U0=np.array([-4200.0 - k for k in range(5)]),
        mu=np.arange(5.0),
    )
    known = load_property(
        SchNetQM9("tiny", {"data": str(tmp_path / "qm9_eV.npz")}).data_options, "u0", "", None
    )
    assert known.values.tolist() == [-4200.0, -4201.0, -4202.0, -4203.0, -4204.0]
    assert (known.unit, known.is_extensive, known.atoms.tolist()) == ("eV", True, [9] * 5)


def test_energies_in_an_unusual_unit_are_noticed_and_the_unit_may_be_given(tmp_path):
    frames = ethanol()[:3]
    path = tmp_path / "wrong.npz"
    # the total energy of ethanol is about -155 hartree
    np.savez(path, z=frames[0].numbers, R=np.stack([f.positions for f in frames]),
             E=np.array([-154.1, -154.2, -154.0]), F=np.stack([f.forces for f in frames]))  # fmt: skip
    with pytest.raises(DataError, match=r"total energy in hartree.*energy_unit=hartree"):
        read_frames(path)
    read, _ = read_frames(path, energy_unit="hartree")
    assert read[0].energy == pytest.approx(-154.1 * HARTREE_EV)
    assert np.allclose(read[0].forces, frames[0].forces * HARTREE_EV, rtol=1e-6)
    assert read_frames(path, energy_unit="kcal/mol")[0][0].energy == pytest.approx(-154.1 * KCAL_EV)


BAD_FILES = {
    "empty.xyz": (b"", "is empty"),
    "text.xyz": (b"hello\nworld\n", "begins with 'hello'"),
    "table.csv": (b"smiles,logP\nCCO,1\n", "a table of SMILES has no geometries"),
    "bytes.db": (bytes(range(1, 256)), "neither text"),
    "list.json": (b'{"a": 1}', "known are|Known are"),
    "cut.npz": (ETHANOL.read_bytes()[:5000], "not a complete .npz"),
    "cut.sdf": (SDF[:200].encode(), "truncated"),
    "cut.xyz": (GDB[:300].encode(), "truncated"),
    "no-numbers.sdf": (SDF.replace("0.6650 C", "0.66x0 C").encode(), "line 1 .molecule 0."),
    "element.sdf": (SDF.replace(" C ", " Qq").encode(), "unknown element Qq"),
    "bond.sdf": (
        SDF.replace("  1  2  2", "  1  9  2").encode(),
        "a bond to an atom that does not exist",
    ),
    "count.xyz": (
        b"1\n\nH 0 0 0\nmany\n\nH 0 0 0\n",
        "line 4 .frame 1.: expected a number of atoms",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_broken_file_is_named_with_its_fault(tmp_path, name):
    content, fault = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}.*({fault})"):
        read_molecules(tmp_path / name)


def test_a_missing_file_and_a_database_without_molecules_are_named(tmp_path):
    import sqlite3

    with pytest.raises(DataError, match=r"none\.xyz: no such file"):
        read_molecules(tmp_path / "none.xyz")
    base = sqlite3.connect(tmp_path / "other.db")
    base.execute("CREATE TABLE songs (name TEXT)")
    base.commit()
    base.close()
    with pytest.raises(DataError, match="not an ASE database"):
        read_molecules(tmp_path / "other.db")


def test_a_file_format_is_recognised_by_content_and_not_by_name(tmp_path):
    for name, content, kind in [
        ("a.txt", SDF.encode(), "SDF"),
        ("b.sdf", GDB.encode(), "raw XYZ of QM9"),
        ("c.xyz", ETHANOL.read_bytes(), ".npz of rMD17"),
        ("d", b"\n1\n\nH 0 0 0\n", "XYZ"),
    ]:
        (tmp_path / name).write_bytes(content)
        assert open_molecules(tmp_path / name).kind == kind


def test_skipped_records_are_counted_in_a_warning(tmp_path):
    path = tmp_path / "some.sdf"
    path.write_text(SDF * 4 + SDF.replace(" C ", " Qq"))
    workload = SchNetQM9("tiny", {"data": str(path), "target": "energy", "on_bad": "skip"})
    assert (
        len(workload.data("train")) + len(workload.data("valid")) + len(workload.data("test")) == 4
    )
    assert [n.name for n in workload.notes] == ["bad_records"]
    assert (
        "skipped 1 of 5 records; the first: line 81 (molecule 4): not a valid SDF record: unknown element Qq"
        in workload.notes[0].message
    )


def test_an_unknown_target_lists_the_targets_of_the_file(tmp_path):
    (tmp_path / "some.sdf").write_text(SDF * 4)
    with pytest.raises(DataError, match="no number u0; it has energy"):
        SchNetQM9("tiny", {"data": str(tmp_path / "some.sdf")}).data("train")


def test_two_samples_cannot_be_split_into_three_parts(tmp_path):
    (tmp_path / "some.sdf").write_text(SDF * 2)
    with pytest.raises(DataError, match="at least 3 are needed"):
        SchNetQM9("tiny", {"data": str(tmp_path / "some.sdf"), "target": "energy"}).data("train")


def as_npz() -> bytes:
    frames = ethanol()[:2]
    file = io.BytesIO()
    np.savez(file, z=frames[0].numbers, R=np.stack([f.positions for f in frames]), E=np.zeros(2),
             F=np.stack([f.forces for f in frames]))  # fmt: skip
    return file.getvalue()


def read_or_refused(path, on_bad: str) -> list[MoleculeRecord]:
    """Return the records of a file, or none if it was refused with an error that names it."""
    refusal = ""
    try:
        return read_molecules(path, on_bad).records
    except WattlawError as error:
        refusal = str(error)
    assert str(path) in refusal
    return []


WHOLE = {"sdf": SDF.encode(), "gdb": GDB.encode(), "npz": as_npz()}


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_a_damaged_file_gives_valid_molecules_or_an_error_that_names_it(tmp_path, kind, data):
    whole = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    for on_bad in ("fail", "skip"):
        for record in read_or_refused(path, on_bad):
            assert len(record.numbers) > 0
            assert record.numbers.min() > 0
            assert np.isfinite(record.positions).all()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(b"\x1f0")
@example(b"9" * 5000)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_with_the_name_of_the_file(tmp_path, content):
    path = tmp_path / "any"
    path.write_bytes(content)
    assert all(len(record.numbers) > 0 for record in read_or_refused(path, "fail"))


@pytest.mark.parametrize("name", ["schnet", "dimenet++", "nnconv", "painn-forces"])
def test_every_model_of_geometries_trains_on_a_file(tmp_path, name, atoms):
    pytest.importorskip("ase.io").write(tmp_path / "frames.xyz", atoms, format="extxyz")
    options = {"data": str(tmp_path / "frames.xyz")} | (
        {} if "forces" in name else {"target": "energy"}
    )
    workload = load(WORKLOADS, name)("tiny", options)
    data = workload.data("train")
    loss = workload.loss(workload.model(), workload.collate([data[0], data[1]]))
    loss.backward()
    assert np.isfinite(float(loss.detach()))


def test_pna_takes_the_bonds_of_a_file_with_geometries(tmp_path):
    (tmp_path / "ethene.sdf").write_text(SDF * 4)
    workload = PNAMolecules("tiny", {"data": str(tmp_path / "ethene.sdf"), "target": "energy"})
    batch = workload.collate([workload.data("train")[k] for k in range(2)])
    assert batch.numbers.tolist() == [0, 0, 0, 0]
    assert (batch.first.tolist(), batch.second.tolist(), batch.bonds.tolist()) == (
        [0, 2],
        [1, 3],
        [1, 1],
    )
    assert workload.notes == []
    (tmp_path / "methane.xyz").write_text(GDB)
    for name in "abc":
        (tmp_path / f"{name}.xyz").write_text(GDB)
    workload = PNAMolecules("tiny", {"data": str(tmp_path), "target": "gap"})
    assert len(workload.collate([workload.data("train")[0]]).first) == 0
    assert [n.name for n in workload.notes] == ["estimated_bonds"]


def test_heavy_atoms_and_bonds_of_a_geometry_equal_those_of_its_smiles():
    table, texts, bonds = qm9(300), qm9_smiles(300)[0], qm9_bonds(300)
    ends = np.cumsum(table.atoms)[:-1]
    same = 0
    graphs = read_smiles(*texts)
    numbers_of, positions_of = np.split(table.numbers, ends), np.split(table.positions, ends)
    for numbers, positions, own, text, graph in zip(
        numbers_of, positions_of, bonds, texts, graphs, strict=True
    ):
        if own is not None:
            assert summary(graph_of_geometry(numbers, positions, own)) == summary(graph), text
        _, bonds_of = summary(graph_of_geometry(numbers, positions, None))
        same += [bond[:2] for bond in bonds_of] == [bond[:2] for bond in summary(graph)[1]]
    assert same > 0.95 * len(texts), "bonds can be found from distances"


def summary(graph):
    """Return the elements of a molecule with their hydrogens, and its bonds, both sorted."""
    bonds = [
        (*sorted((int(graph.numbers[a]), int(graph.numbers[b]))), int(kind))
        for a, b, kind in graph.bonds
    ]
    atoms = zip(graph.numbers.tolist(), graph.hydrogens.tolist(), strict=True)
    return sorted(atoms), sorted(bonds)


@pytest.mark.parametrize(
    "comment",
    [
        'Properties=species:S:1:pos:R:3:forces:R:3 energy=-309.5 pbc="F F F"',
        "energy=-1e-3 gap=.5 charge=-1",
        "name=a energy=1.2.3 u0=5",
        'energy="-1.5" pbc=[F,F,F]',
    ],
)
def test_a_comment_line_of_xyz_is_parsed_as_ase_does(tmp_path, comment):
    parsed = pytest.importorskip("ase.io.extxyz").key_val_str_to_dict(comment)
    numbers = {name: float(v) for name, v in parsed.items() if isinstance(v, np.number)}
    (tmp_path / "a.xyz").write_text(f"1\n{comment}\nH 0 0 0 0 0 0\n")
    assert read_molecules(tmp_path / "a.xyz", energy_unit="eV").records[0].values == numbers
