"""Structures with their ids and where they come from, and what became of those that were left out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

from nextham.core import Structure
from nextham.structures.identity import on_grid, structure_sha256


@dataclasses.dataclass(frozen=True)
class Sourced:
    """A structure, rounded to what is written of it, with its id and where it comes from."""

    id: str
    structure: Structure
    source: str = ""  # "Materials Project mp-149", "prototype B3", the name of a file
    licence: str = ""  # SPDX, e.g. "CC-BY-4.0"; empty: not known
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)  # e.g. database, parent

    def __post_init__(self) -> None:
        object.__setattr__(self, "structure", on_grid(self.structure))
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))

    @cached_property
    def sha256(self) -> str:
        """Hash of the crystal, see :func:`structure_sha256`."""
        return structure_sha256(self.structure)

    def noted(self, **facts: str) -> Sourced:
        """Return the same with more facts."""
        return dataclasses.replace(self, facts={**self.facts, **facts})

    def as_dict(self) -> dict[str, Any]:
        """Return what is listed of it, as JSON values."""
        structure = self.structure
        found = {
            "id": self.id,
            "formula": structure.formula,
            "atoms": len(structure),
            "volume_ang3": round(structure.volume, 3),
            "source": self.source,
            "licence": self.licence,
            "sha256": self.sha256,
        }
        return found | dict(self.facts)


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A structure that is not used, and why."""

    id: str
    reason: str  # a word to count by, e.g. "duplicate"
    message: str  # the sentence for people


@dataclasses.dataclass(frozen=True)
class Gathered:
    """The structures of a source, and those that were left out."""

    found: tuple[Sourced, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def reasons(self) -> dict[str, int]:
        """How many were left out for each reason, most frequent first."""
        return dict(Counter(each.reason for each in self.left_out).most_common())

    def and_then(self, found: Iterable[Sourced], left_out: Iterable[LeftOut]) -> Gathered:
        """Return what a further step kept, with what it left out beside what earlier ones did."""
        return Gathered(tuple(found), (*self.left_out, *left_out))
