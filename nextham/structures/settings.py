"""Which crystals are built, and how they are perturbed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CrystalSettings(BaseModel):
    """Crystals of known prototypes, ideal and perturbed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prototypes: dict[str, dict[str, float | None]] = Field(
        default={},
        description="Prototype (Strukturbericht symbol, e.g. B3, or AFLOW label): formula: lattice constant a of the "
        "conventional cell in Å, to which the prototype is scaled; null predicts the volume from bond lengths.",
    )
    perturbed: int = Field(
        default=1, ge=0, description="Strained and rattled copies of each, beside the ideal crystal."
    )
    strain: float = Field(
        default=0.03, ge=0, lt=0.3, description="Standard deviation of each component of the symmetric strain."
    )
    rattle_ang: float = Field(
        default=0.05, ge=0, lt=0.5, description="Standard deviation of each coordinate's displacement."
    )
    seed: int = Field(default=0, ge=0, description="Seed of strains and displacements.")

    def ids(self) -> list[str]:
        """Return the ids of all crystals: formula, prototype, 0 for the ideal one or the number of the copy.

        >>> CrystalSettings(prototypes={"B3": {"GaAs": 5.653}, "B1": {"NaCl": 5.64}}).ids()
        ['GaAs-B3-0', 'GaAs-B3-1', 'NaCl-B1-0', 'NaCl-B1-1']
        """
        return [id_of(f, p, n) for p, formulas in self.prototypes.items() for f in formulas for n in self.copies]

    @property
    def copies(self) -> range:
        """Numbers of the copies of each crystal; 0 is the ideal one."""
        return range(self.perturbed + 1)


def id_of(formula: str, prototype: str, copy: int) -> str:
    """Return the id of a crystal; a prime in a Strukturbericht symbol becomes a p."""
    return f"{formula}-{prototype.replace(chr(39), 'p')}-{copy}"
