"""A stand-in for an engine, quick and with made-up numbers; the id of a structure says how it behaves.

``python tests/fake_engine.py RECIPE WORDS...`` is ``nextham WORDS...`` with it; another RECIPE is another calculation.
A line with the id is added to ``calls.txt`` in the working folder for each calculation; slow ones take $FAKE_SLOW_S.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from nextham.cli import engine, main
from nextham.core import OrbitalBasis, Structure
from nextham.dft.engine import Cause, RunError, RunResult
from nextham.testing import synthetic_system, zincblende

CALLS = Path("calls.txt")
_BASIS = OrbitalBasis.parse("Ga:1s1p As:1s1p")
_CELL = "\n".join(" ".join(f"{x:.6f}" for x in row) for row in zincblende().cell)


@dataclasses.dataclass(frozen=True)
class FakeEngine:
    """Computes by what the id holds: slow, killed, crash, unconverged or once (killed the first time).

    Any other is computed at once.
    """

    recipe: str
    name: str = "fake"

    @property
    def version(self) -> str:
        return os.environ.get("FAKE_VERSION", "1.0")

    def fingerprint(self, structure: Structure, *, id: str) -> str:
        numbers = np.round(structure.positions, 6).tobytes()
        return hashlib.sha256(f"{self.recipe} {structure.formula}".encode() + numbers).hexdigest()

    def h0(self, structure: Structure, *, id: str, folder: Path) -> RunResult:
        return RunResult(self.scf(structure, id=id, folder=folder).system.without("hamiltonian"))

    def scf(self, structure: Structure, *, id: str, folder: Path) -> RunResult:
        folder.mkdir(parents=True, exist_ok=True)
        before = calls()
        note(id)
        if "slow" in id:
            time.sleep(float(os.environ.get("FAKE_SLOW_S", "0.1")))
        if "killed" in id or ("once" in id and id not in before):
            os.kill(os.getpid(), signal.SIGKILL)
        elif "crash" in id:
            os._exit(3)
        elif "unconverged" in id:
            raise RunError(Cause.UNCONVERGED, f"{id}: the SCF did not converge", log_tail="drho 0.1")
        return RunResult(synthetic_system(structure, _BASIS, id=id, cutoff_ang=4.0))


def write_crystals(folder: Path, *ids: str) -> None:
    """Write one structure file for each id."""
    folder.mkdir(exist_ok=True)
    for k, id in enumerate(ids):
        (folder / f"{id}.vasp").write_text(f"x\n1\n{_CELL}\nGa As\n1 1\nDirect\n0 0 0\n{0.25 + k / 1000:.4f} .25 .25\n")


def note(id: str) -> None:
    """Note that a crystal is computed."""
    with CALLS.open("a") as file:
        file.write(f"{id}\n")


def calls() -> list[str]:
    """Return the ids computed so far."""
    return CALLS.read_text().split() if CALLS.is_file() else []


if __name__ == "__main__":
    made = FakeEngine(sys.argv.pop(1))
    engine.engine_of = lambda *_: made
    main()
