"""Named small systems: made-up ones, and real ABACUS runs from examples/."""

from __future__ import annotations

import os

# Before numpy and torch start: on such small matrices threads wait for each other, badly so on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from functools import cache
from pathlib import Path

import hypothesis
import pytest

from nextham.core import LCAOSystem, OrbitalBasis
from nextham.dft.engine import RunResult
from nextham.testing import magnetic, synthetic_system, zincblende

# their doctests would be looked for under one name
collect_ignore_glob = ["conftest.py", "*/conftest.py"]

# The same examples at each run, however slow the machine; `pytest --hypothesis-profile default` looks for new ones.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
hypothesis.settings.load_profile("steady")

EXAMPLES = Path(__file__).parent.parent / "examples" / "abacus-runs"


@cache
def read_example(name: str) -> RunResult:
    """Read a recorded run once per test session, e.g. ``"AlSb-zb-0"``."""
    from nextham.dft.abacus.reader import read_run

    return read_run(EXAMPLES / f"case-{name}.tar.xz", id=name)


@pytest.fixture(scope="session")
def example() -> Callable[[str], RunResult]:
    return read_example


@pytest.fixture(scope="session")
def alsb() -> LCAOSystem:
    """A real system with f orbitals and strong spin-orbit coupling."""
    return read_example("AlSb-zb-1").system


@pytest.fixture(scope="session")
def synthetic() -> LCAOSystem:
    """A made-up time-reversal symmetric system with f orbitals."""
    return synthetic_system(zincblende(rattle_ang=0.1), OrbitalBasis.parse("Ga:2s2p2d1f As:2s2p1d"))


@pytest.fixture(scope="session")
def synthetic_magnetic(synthetic: LCAOSystem) -> LCAOSystem:
    """A made-up system whose Hamiltonian breaks time reversal."""
    return magnetic(synthetic)
