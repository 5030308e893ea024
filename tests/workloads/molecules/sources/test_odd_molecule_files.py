"""Well-formed molecule files with contents that are not molecules."""

from __future__ import annotations

import io
import re
import zipfile

import numpy as np
import pytest

from wattlaw.core.errors import DataError
from wattlaw.workloads.molecules.sources.molecule_files import read_molecules

SDF = """water


  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 O   0  0
    0.9600    0.0000    0.0000 H   0  0
   -0.2400    0.9300    0.0000 H   0  0
  1  2  1  0
  1  3  1  0
M  END
> <energy>
-2.5

$$$$
"""
BOND = "  1  3  1  0\n"


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (SDF.replace("$$$$\n", "", 1), "a second molecule begins before a line"),
        (SDF.replace("  3  2", "  3 -2"), "Cannot convert ' -2'"),
        (SDF.replace("  3  2", "  3  1"), "on line 9"),
        (SDF.replace("  3  2", "  3  3").replace("M  END\n", ""), "truncated"),
        (SDF.replace("  3  2", "  3  3"), "Bond line too short"),
        (SDF.replace(BOND, "  3  3  1  0\n"), "a bond of an atom with itself"),
        (SDF.replace("    0.9600", "      1e99"), "Cannot process coordinates"),
    ],
)
def test_a_contradictory_molecule_of_an_sdf_is_named_and_the_others_are_read(
    tmp_path, odd, message
):
    path = tmp_path / "some.sdf"
    path.write_text(SDF + odd + SDF * 2)
    with pytest.raises(DataError, match=rf"some\.sdf, line 15 .molecule 1.: .*{message}"):
        read_molecules(path)
    assert read_molecules(path, "skip").skipped == 1


@pytest.mark.parametrize(
    "columns", ["pos:R:2", "species:S:2", "forces:R:-3", "forces:R:6", "charge:R:0"]
)
def test_a_column_of_the_wrong_width_in_extended_xyz_is_named(tmp_path, columns):
    name = columns.split(":")[0]
    whole = "species:S:1:pos:R:3:forces:R:3:charge:R:1"
    odd = re.sub(rf"{name}:.:\d", columns, whole)
    path = tmp_path / "some.xyz"
    path.write_text(
        "".join(
            f"1\nProperties={kind} energy=-1\nO 0 0 0 1 2 3 4 5 6 7 8 9\n" for kind in (whole, odd)
        )
    )
    with pytest.raises(
        DataError, match=rf"some\.xyz, line 4 .frame 1.: .*property {name} of -?\d columns"
    ):
        read_molecules(path)
    assert read_molecules(path, "skip").skipped == 1


def test_an_unreadable_table_next_to_an_sdf_is_named(tmp_path):
    (tmp_path / "some.sdf").write_text(SDF)
    (tmp_path / "some.sdf.csv").write_text("a" * 200_000 + ",energy\n1,2\n")
    with pytest.raises(DataError, match=r"some\.sdf\.csv: not a table"):
        read_molecules(tmp_path / "some.sdf")


FRAMES = {
    "R": np.zeros((4, 3, 3)),
    "z": np.array([8, 1, 1]),
    "E": np.zeros(4),
    "F": np.zeros((4, 3, 3)),
}
MOLECULES = {"R": np.zeros((6, 3)), "Z": np.array([8, 1, 1] * 2), "N": np.array([3, 3])}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({**FRAMES, "R": np.array(5.0)}, r"positions of shape \(\)"),
        ({**FRAMES, "z": np.array(["O", "H", "H"])}, "its array z is text"),
        ({**FRAMES, "z": np.array([np.nan, 1, 1])}, "unknown element 0"),
        ({**MOLECULES, "R": np.zeros(5)}, r"positions of shape \(5,\)"),
        ({**MOLECULES, "N": np.array(["x", "y"])}, "its array N is text"),
        ({**MOLECULES, "N": np.array([np.nan, 3])}, "for 3 atoms"),
    ],
)
def test_arrays_of_the_wrong_type_are_named(tmp_path, arrays, message):
    path = tmp_path / "some.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=rf"some\.npz.*{message}"):
        read_molecules(path)


def test_an_archive_without_arrays_is_named(tmp_path):
    path, packed = tmp_path / "some.npz", io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("R.npy", b"x")
    path.write_bytes(packed.getvalue())
    with pytest.raises(DataError, match=r"some\.npz: its arrays are none"):
        read_molecules(path)
