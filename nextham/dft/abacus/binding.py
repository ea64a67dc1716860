"""ABACUS's own Python binding as the runner of a job: ``python -m nextham.dft.abacus.binding`` in a run folder.

The binding (pyabacus, built from ABACUS's tree, python/pyabacus) runs ABACUS inside the process and ends
the process where ABACUS gives up, so that a job gets a process of its own. The package of the same name on
PyPI drives coincidence counters of Tausand and has nothing to do with it.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_OUT: Final = Path("OUT.ABACUS")
_ALIEN = (
    "the installed pyabacus is PyPI's driver of Tausand coincidence counters, another package; "
    "uninstall it and build ABACUS's own from python/pyabacus of its source tree"
)


def why_unusable() -> str | None:
    """Return why the binding cannot run jobs, or None if it can."""
    if (reason := _why_absent()) is not None:
        return reason
    if _find("pyabacus.driver._driver_pack") is None:
        return "this pyabacus has no compiled driver (pyabacus.driver._driver_pack); build it from a newer ABACUS"
    return None


def why_no_integrals() -> str | None:
    """Return why the binding cannot give two-centre integrals, or None if it can."""
    if (reason := _why_absent()) is not None:
        return reason
    try:
        nao = importlib.import_module("pyabacus.ModuleNAO")
    except ImportError as error:
        return f"this pyabacus cannot be loaded ({error}); build it again from python/pyabacus of ABACUS's source tree"
    if hasattr(nao, "TwoCenterIntegrator"):
        return None
    return "this pyabacus has no ModuleNAO.TwoCenterIntegrator; build it from ABACUS 3.8 or newer"


def _why_absent() -> str | None:
    """Return why there is no binding of ABACUS, None if there is one."""
    if _find("pyabacus") is None:
        try:
            alien = "Tausand" in (distribution("pyabacus").metadata["Summary"] or "")
        except PackageNotFoundError:
            alien = False
        absent = "ABACUS's Python binding (pyabacus) is not installed; build it from python/pyabacus of its source tree"
        return _ALIEN if alien else absent
    if _find("pyabacus._core") is None and _find("pyabacus.ModuleNAO") is None:
        return _ALIEN
    return None


def main() -> None:
    """Run the inputs of the current folder and leave the files where the executable leaves them."""
    driver = importlib.import_module("pyabacus.driver._driver_pack").PyDriver()
    driver.run(
        input_dir=".",
        input_file="",
        stru_file="",
        kpt_file="",
        pseudo_dir="",
        orbital_dir="",
        output_dir=str(_OUT),
        calculate_force=False,
        calculate_stress=False,
        verbosity=1,
    )
    # The driver sends ABACUS's log to running.log; the executable calls it running_scf.log.
    log = _OUT / "running.log"
    if log.is_file() and log.stat().st_size:
        log.replace(_OUT / "running_scf.log")


def _find(name: str) -> object | None:
    try:
        return find_spec(name)
    except ImportError:
        return None


if __name__ == "__main__":
    main()
