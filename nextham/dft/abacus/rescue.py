"""What is tried where ABACUS's self-consistency does not converge: slower mixing, more steps, more smearing."""

from __future__ import annotations

from typing import Any, Final

from nextham.dft.abacus.log import density_errors
from nextham.dft.abacus.run import Job
from nextham.dft.abacus.settings import AbacusSettings
from nextham.dft.engine import Attempt

_MIXINGS: Final[tuple[dict[str, Any], ...]] = (
    {"mixing_type": "broyden", "mixing_beta": 0.2},
    {"mixing_type": "pulay", "mixing_beta": 0.05},
)
_MORE_STEPS: Final = 2  # slower mixing needs more


def rescue_ladder(settings: AbacusSettings) -> list[AbacusSettings]:
    """Return the settings of each try, the given ones first; only the last may change what comes out."""
    rungs = [settings]
    if not settings.rescue:
        return rungs
    steps = {"scf_nmax": _MORE_STEPS * settings.scf_nmax}
    for mixing in _MIXINGS:
        if settings.mixing_beta is None or mixing["mixing_beta"] < settings.mixing_beta:
            rungs.append(settings.model_copy(update=mixing | steps))
    if settings.rescue_smearing_sigma_ry is not None:
        wider = {"smearing_sigma_ry": settings.rescue_smearing_sigma_ry}
        rungs.append(settings.model_copy(update=_MIXINGS[0] | steps | wider))
    return rungs


def attempt_of(settings: AbacusSettings, job: Job, outcome: str) -> Attempt:
    """Return what one try was and how it ended, for the ledger."""
    log = job.folder / job.log
    errors = density_errors(log.read_text(errors="replace")) if log.is_file() else []
    tried = {key: getattr(settings, key) for key in ("mixing_type", "mixing_beta", "smearing_sigma_ry", "scf_nmax")}
    reached = {"steps": len(errors), "drho": errors[-1]} if errors else {}
    return {**tried, **reached, "outcome": str(outcome)}
