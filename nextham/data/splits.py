"""Splits: named lists of structure ids, with a checksum of each, and what they leak."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Self

from nextham.data.audit import Audit
from nextham.exceptions import InputError
from nextham.files import read_list, whole

OOD: Final = "ood-"  # lists outside the distribution of the training set begin with it; they may share structures


@dataclasses.dataclass(frozen=True)
class Split:
    """Named lists of structure ids, no id in two of them; but lists ``ood-...`` may share ids among each other.

    >>> split = Split({"train": ("GaAs-0", "GaAs-1"), "test": ("Si-0",)})
    >>> split["test"], split.of("GaAs-1")
    (('Si-0',), 'train')
    """

    ids: Mapping[str, tuple[str, ...]]
    stores: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)  # of lists of another store
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # how it was drawn, as JSON values
    audit: Audit | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", {name: tuple(ids) for name, ids in self.ids.items()})
        seen: dict[str, str] = {}
        for name, ids in self.ids.items():
            if twice := len(ids) - len(set(ids)):
                first = next(id for id, n in Counter(ids).items() if n > 1)
                more = f" (and {twice - 1} more)" if twice > 1 else ""
                raise InputError(f"the split lists {first}{more} twice, in {name}; list each id once")
            for id in ids:
                other = seen.get(id)
                if other is not None and not self._may_share(name, other):
                    raise InputError(f"the split lists {id} twice, in {other} and {name}; list each id once")
                seen.setdefault(id, name)
        if unknown := self.stores.keys() - self.ids.keys():
            raise InputError(f"the split names a store of {min(unknown)}, which is none of its lists")

    def _may_share(self, name: str, other: str) -> bool:
        """Whether two lists may have an id in common: two outside the distribution, or test and one of other runs."""
        if name.startswith(OOD) and other.startswith(OOD):
            return True
        return (name in self.stores or other in self.stores) and not {name, other} & {"train", "val"}

    def __getitem__(self, name: str) -> tuple[str, ...]:
        if name not in self.ids:
            raise InputError(f"there is no split {name!r}; there are {', '.join(self.ids)}")
        return self.ids[name]

    def of(self, id: str) -> str | None:
        """Return the name of the (first) list that holds an id, None if none does."""
        return next((name for name, ids in self.ids.items() if id in ids), None)

    @property
    def sha256(self) -> dict[str, str]:
        """Checksum of each list: its sorted ids, one a line."""
        return {name: sha256_of_ids(ids) for name, ids in self.ids.items()}

    def checked(self, store_ids: Collection[str], where: str) -> Self:
        """Return the split itself if a store holds every id; lists of other stores do not count.

        Raises:
            InputError: if an id is not there.
        """
        known = set(store_ids)
        for name, ids in self.ids.items():
            if name in self.stores:
                continue
            if missing := [id for id in ids if id not in known]:
                near = get_close_matches(missing[0], list(known), n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
                raise InputError(f"split {name} lists {missing[0]}{more}, which {where} does not hold{hint}")
        return self

    def audited(self, audit: Audit) -> Split:
        """Return the split with what it leaks."""
        return dataclasses.replace(self, audit=audit)

    def save(self, path: str | Path) -> None:
        """Write JSON with ids and checksums; the file appears whole or not at all."""
        path = Path(path)
        content: dict[str, Any] = {"splits": {name: list(ids) for name, ids in self.ids.items()}}
        content["sha256"] = self.sha256
        extra = {"stores": {name: dict(of) for name, of in self.stores.items()}, "about": dict(self.about)}
        content |= {name: value for name, value in extra.items() if value}
        if self.audit is not None:
            content["audit"] = self.audit.as_dict()
        with whole(path) as part:
            part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a split.

        Raises:
            InputError: if the file is missing or damaged, an id is listed twice, or a checksum does not agree.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"there is no split file {path}")
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            lists = {str(name): tuple(map(str, ids)) for name, ids in content["splits"].items()}
            said = dict(content["sha256"])
            stores = {str(name): dict(of) for name, of in content.get("stores", {}).items()}
            about = dict(content.get("about", {}))
            audit = Audit.of_dict(content["audit"]) if "audit" in content else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is not a split file ({error}); make one with nextham split") from None
        try:
            split = cls(lists, stores, about, audit)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        for name, digest in split.sha256.items():
            if said.get(name) != digest:
                raise InputError(f"{path}: the ids of {name} do not agree with their sha256; make the split again")
        return split


def sha256_of_ids(ids: Collection[str]) -> str:
    """Return the checksum of a set of ids, whatever their order."""
    return hashlib.sha256("".join(f"{id}\n" for id in sorted(ids)).encode()).hexdigest()


def read_ids(path: Path) -> tuple[str, ...]:
    """Return the ids of a text file, one a line; empty lines and what follows a # do not count.

    Raises:
        InputError: if there is no such file.
    """
    return tuple(read_list(path, "ids"))
