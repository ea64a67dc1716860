"""What a split leaks: structures outside the training set that stand in it too, nearly the same or perturbed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from nextham.exceptions import InputError

DUPLICATE: Final = "duplicate"
COPY: Final = "copy"
COPIES_ARE_MEANT: Final = ("ood-strain",)  # lists that hold strained copies of trained crystals
_NAMED: Final = 5  # in an error


@dataclasses.dataclass(frozen=True)
class Leak:
    """A structure of one list and the nearest of another, which a model was fitted to or chosen by."""

    subset: str
    id: str
    reference: str  # the other list
    reference_id: str
    kind: str  # "duplicate", or "copy": the same crystal, strained, rattled or in a supercell
    rms_ang: float | None  # distance of the sites, cells brought to one shape; None: none was found
    volume_ratio: float  # per atom, to the one of the reference

    def __str__(self) -> str:
        distance = "" if self.rms_ang is None else f", {self.rms_ang:.3f} Å"
        return f"{self.id} of {self.subset} is a {self.kind} of {self.reference_id} of {self.reference}{distance}"


@dataclasses.dataclass(frozen=True)
class Audit:
    """The leaks of a split: of each structure that has any, the worst to each other list."""

    compared: Mapping[str, int]  # structures of each list
    tolerances: Mapping[str, float]  # of what counts as a duplicate
    leaks: tuple[Leak, ...] = ()

    @property
    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """How many structures of each list leak: list, other list, kind."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for (subset, reference, kind), n in Counter((x.subset, x.reference, x.kind) for x in self.leaks).items():
            found.setdefault(subset, {}).setdefault(reference, {})[kind] = n
        return found

    @property
    def serious(self) -> tuple[Leak, ...]:
        """Leaks that a careful split does not have: all but copies where they are meant."""
        return tuple(x for x in self.leaks if x.kind == DUPLICATE or x.subset not in COPIES_ARE_MEANT)

    def refuse(self) -> None:
        """Refuse a split that leaks.

        Raises:
            InputError: naming the structures.
        """
        if not self.serious:
            return
        named = "; ".join(map(str, self.serious[:_NAMED]))
        more = f"; and {len(self.serious) - _NAMED} more" if len(self.serious) > _NAMED else ""
        raise InputError(
            f"the split leaks, {len(self.serious)} pairs: {named}{more}; draw it with group: geometry, which keeps "
            "copies of a crystal together, or do without --strict"
        )

    def lines(self) -> list[str]:
        """Return what is told of it, a line for each pair of lists."""
        found = []
        for subset, of in self.counts.items():
            for reference, kinds in of.items():
                told = " and ".join(f"{n} {_PLURAL[kind] if n > 1 else kind}" for kind, n in sorted(kinds.items()))
                found.append(f"leakage: {subset} has {told} of structures in {reference}")
        return found or ["leakage: no structure stands in two lists, perturbed or not"]

    def as_dict(self) -> dict[str, Any]:
        """Return what is stored of it."""
        return {
            "structures": dict(self.compared),
            "tolerances": dict(self.tolerances),
            "counts": self.counts,
            "pairs": [dataclasses.asdict(leak) for leak in self.leaks],
        }

    @classmethod
    def of_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return an audit as it was stored."""
        leaks = tuple(Leak(**pair) for pair in content["pairs"])
        return cls(dict(content["structures"]), dict(content["tolerances"]), leaks)

    def within(self, lists: Mapping[str, Sequence[str]]) -> Audit:
        """Return what is left of it in a split whose lists are parts of the old ones."""
        held = {name: set(ids) for name, ids in lists.items()}
        kept = [
            leak
            for leak in self.leaks
            if leak.id in held.get(leak.subset, ()) and leak.reference_id in held.get(leak.reference, ())
        ]
        return Audit({name: len(ids) for name, ids in lists.items()}, self.tolerances, tuple(kept))


_PLURAL: Final = {DUPLICATE: "duplicates", COPY: "perturbed copies"}
