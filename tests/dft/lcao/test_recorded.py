"""Every element of every block of recorded ABACUS runs: S, H0, converged H, levels and total energy.

Needs the pseudopotentials and orbitals of those runs: NEXTHAM_PPORB names a folder with pseudo/ and orbital/.
NEXTHAM_RUNS names a folder with other runs (case-*/ or case-*.tar.xz) than those in examples/.
On CUDA: -m "slow and gpu".
"""

import os
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from nextham.core import SpinLayout
from nextham.dft.abacus.reader import read_run
from nextham.dft.lcao.engine import LCAOEngine
from nextham.dft.lcao.settings import LCAOSettings
from nextham.physics.spin import narrowed
from nextham.units import RYDBERG_EV

pytestmark = pytest.mark.slow

PPORB = os.environ.get("NEXTHAM_PPORB", "")
RUNS = Path(os.environ.get("NEXTHAM_RUNS", Path(__file__).parents[3] / "examples" / "abacus-runs"))
NAMES = sorted({p.name.removeprefix("case-").removesuffix(".tar.xz") for p in RUNS.glob("case-*")})


def case(name):
    folder = RUNS / f"case-{name}"
    return folder if folder.is_dir() else RUNS / f"case-{name}.tar.xz"


def stru_text(path):
    if path.is_dir():
        return (path / "abacus_scf" / "STRU").read_text()
    with tarfile.open(path) as archive:
        member = next(m for m in archive if m.name.endswith("abacus_scf/STRU"))
        return archive.extractfile(member).read().decode()


CASES = [
    *(pytest.param((name, "cpu"), id=name) for name in NAMES),
    *(pytest.param((name, "cuda"), id=f"{name}-cuda", marks=pytest.mark.gpu) for name in NAMES),
]


@pytest.fixture(scope="module", params=CASES)
def both(request, tmp_path_factory):
    """The recorded run, and what the engine makes of its structure with the same settings."""
    if not PPORB:
        pytest.skip("NEXTHAM_PPORB does not name a folder with pseudo/ and orbital/")
    name, device = request.param
    if device == "cuda":
        request.getfixturevalue("cuda")
    path = case(name)
    recorded = read_run(path, id=name)
    orbitals = {name.split("_")[0]: name for name in re.findall(r"\S+\.orb", stru_text(path))}
    meta = recorded.system.meta[0]
    settings = LCAOSettings(
        pseudo_dir=f"{PPORB}/pseudo",
        orbital_dir=f"{PPORB}/orbital",
        orbitals=orbitals,
        kmesh=meta.kmesh,
        device=device,
    )
    made = LCAOEngine(settings).scf(recorded.system.structure(), id=name, folder=tmp_path_factory.mktemp("run"))
    return recorded, made


def differences(both, operator):
    """Return |difference| (n_spin_components, n_values) on the union of both pair lists, in Ry (S: 1)."""
    a, b = (r.system for r in both)
    pairs = a.pairs.union(b.pairs)
    one, two = a.operator(operator).on(pairs).values, b.operator(operator).on(pairs).values
    if operator == "overlap":
        return np.abs(one - two)
    return np.abs(narrowed(one, SpinLayout.TIME_REVERSAL)[0] - two) / RYDBERG_EV


def test_pairs(both):
    """ABACUS leaves numbers below 1e-10 Ry out of its text, and so pairs that barely touch."""
    recorded, made = (r.system for r in both)
    assert made.pairs.union(recorded.pairs) == made.pairs
    for name in ("overlap", "h0"):
        known = recorded.operator("h0").on(made.pairs).support
        more = [made.operator(name).block(int(p)) for p in np.flatnonzero(~known)]
        assert all(np.abs(block).max() < 1e-10 * RYDBERG_EV for block in more)


def test_overlap(both):
    assert differences(both, "overlap").max() <= 1e-8


def test_h0(both):
    d = differences(both, "h0")
    assert d.max() <= 5e-8
    assert d[1:].max() <= 1e-9  # spin-orbit coupling


def test_hamiltonian(both):
    d = differences(both, "hamiltonian")
    assert d.max() <= 5e-6
    assert d.mean() <= 1e-8
    assert d[1:].max() <= 1e-9


def test_levels(both):
    recorded, made = both
    wanted = recorded.levels
    if wanted is None:
        pytest.skip("the recorded run has no levels in its log")
    n = np.array(made.system.meta[0].kmesh)
    index = {tuple(np.rint(k * n).astype(int) % n): q for q, k in enumerate(made.levels.k)}
    worst = 0.0
    for k, energies in zip(wanted.k, wanted.energies, strict=True):
        own = index.get(tuple(np.rint(k * n).astype(int) % n), index.get(tuple(np.rint(-k * n).astype(int) % n)))
        worst = max(worst, np.abs(made.levels.energies[own][: len(energies)] - energies).max())
    assert worst < 1e-4  # eV


def test_total_energy(both):
    recorded, made = (r.system.meta[0].total_energy_ev for r in both)
    assert made == pytest.approx(recorded, abs=1e-5)  # 1e-8 without mixed_precision
