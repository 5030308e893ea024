"""Trajectories generated with GFN2-xTB, and the shipped one."""

from __future__ import annotations

import numpy as np
import pytest

from wattlaw.core.errors import SettingError, UsageError
from wattlaw.workloads.molecules.sources import xtb
from wattlaw.workloads.molecules.sources.trajectories import ETHANOL, ethanol, read_frames

needs_tblite = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("tblite") is None, reason="needs tblite"
)
SHORT = xtb.TrajectoryPlan(frames=5, every=4, settle=8, seed=3)


def test_the_shipped_trajectory_has_the_format_of_rmd17():
    read, about = read_frames(ETHANOL)
    assert (len(read), about.skipped, about.kind) == (1200, 0, ".npz of rMD17")
    assert all(a.energy == pytest.approx(b.energy) for a, b in zip(read, ethanol(), strict=True))
    assert sorted(read[0].numbers.tolist()) == [1] * 6 + [6, 6, 8]


def test_the_shipped_trajectory_has_the_energy_of_ethanol_at_500_kelvin():
    frames = ethanol()
    energies = np.array([f.energy for f in frames])
    # each of 21 vibrations has a mean potential energy of ½·k·T above the minimum
    assert energies.mean() - energies.min() == pytest.approx(
        21 / 2 * xtb.BOLTZMANN_EV * 500, rel=0.5
    )
    assert np.abs(np.mean([f.forces.sum(0) for f in frames])) < 1e-3


@needs_tblite
def test_shipped_labels_equal_those_of_gfn2_xtb():
    for frame in ethanol()[::400]:
        energy, forces = xtb.energy_and_forces(frame.numbers, frame.positions.astype(float))
        assert energy == pytest.approx(frame.energy, abs=1e-4)
        assert np.allclose(forces, frame.forces, atol=1e-3)


@needs_tblite
def test_forces_equal_the_negative_gradient_of_the_energy():
    frame = ethanol()[0]
    places = frame.positions.astype(float)
    _, forces = xtb.energy_and_forces(frame.numbers, places)
    for atom, axis in [(0, 0), (2, 1), (8, 2)]:
        ends = []
        for sign in (1, -1):
            moved = places.copy()
            moved[atom, axis] += sign * 1e-3
            ends.append(xtb.energy_and_forces(frame.numbers, moved)[0])
        assert forces[atom, axis] == pytest.approx((ends[1] - ends[0]) / 2e-3, abs=2e-3)


@needs_tblite
def test_a_seed_gives_the_same_trajectory_and_another_gives_another(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    reported: list[int] = []
    first = xtb.make_trajectory_file("CCO", SHORT, on_frame=reported.append)
    assert reported == [1, 2, 3, 4, 5]
    xtb.make_trajectory_file("CCO", SHORT, on_frame=reported.append)
    assert len(reported) == 5, "it is made once"
    again = xtb.make_trajectory_file("CCO", SHORT, tmp_path / "again.npz")
    other = xtb.make_trajectory_file("CCO", SHORT._replace(seed=4))
    mine, same, different = (read_frames(path)[0] for path in (first, again, other))
    assert all(np.array_equal(a.forces, b.forces) for a, b in zip(mine, same, strict=True))
    assert not np.array_equal(mine[0].forces, different[0].forces)


def test_an_impossible_plan_or_molecule_is_refused():
    frame = ethanol()[0]
    for wrong in ({"frames": 0}, {"temperature_k": 0.0}, {"step_fs": 50.0}):
        with pytest.raises(SettingError, match="no trajectory"):
            xtb.trajectory(frame.numbers, frame.positions, xtb.TrajectoryPlan(**wrong))
    with pytest.raises(UsageError, match="neither a file nor a SMILES of QM9"):
        xtb.starting_geometry("CCOX")
