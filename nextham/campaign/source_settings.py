"""Where the structures of a dataset come from, as the config says it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from nextham.data.layout import ABOUT
from nextham.data.remote import located
from nextham.exceptions import InputError
from nextham.structures.files import structure_files
from nextham.structures.mp.fetch import asked_ids
from nextham.structures.settings import CrystalSettings, MaterialsProjectSettings, PrepareSettings

_ARCHIVES: Final = (".tar", ".tar.xz", ".tar.gz")


class SourceSettings(BaseModel):
    """Where the dataset comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["abacus-runs", "prototypes", "structures", "materials-project", "stores"] = Field(
        default="abacus-runs",
        description="abacus-runs: finished ABACUS runs are imported; prototypes: crystals are built on the spot, "
        "structures: they are read from files, materials-project: they are fetched; and computed by the engine. "
        "stores: datasets that are finished, e.g. imported or published ones, are taken as they are.",
    )
    paths: tuple[str, ...] = Field(
        default=("examples/abacus-runs",),
        description="Run folders, archives of them or structure files, or folders that hold them; of stores their "
        "folders or addresses; not for prototypes.",
    )
    crystals: CrystalSettings = Field(
        default_factory=CrystalSettings, description="Which crystals are built where kind is prototypes."
    )
    materials_project: MaterialsProjectSettings = Field(
        default_factory=MaterialsProjectSettings, description="What is fetched where kind is materials-project."
    )
    prepare: PrepareSettings = Field(
        default_factory=PrepareSettings,
        description="What is done to structures before they are computed.",
    )
    chunk_size: int = Field(
        default=64, ge=1, description="Structures per job, at most; campaign.chunk_minutes makes jobs of equal length."
    )

    @property
    def built(self) -> bool:
        """Whether the crystals have to be made before they can be planned: they come to RESULTS/crystals.extxyz.

        They are built or fetched, or read from files and then reduced, filtered or perturbed.
        """
        if self.kind == "structures":
            return self.prepare != PrepareSettings()
        return self.kind in ("prototypes", "materials-project")

    @property
    def computed(self) -> bool:
        """Whether an engine computes what the source names."""
        return self.kind not in ("abacus-runs", "stores")

    def items(self) -> list[str]:
        """Return what the source names, each once: runs or files sorted, ids of crystals, lists of ids, stores.

        Raises:
            InputError: if a path does not exist or holds nothing of the kind, or no crystal is named.
        """
        if self.kind == "prototypes":
            return self._ids()
        if self.kind == "materials-project":
            asked_ids(self.materials_project)  # refuses what cannot be asked
            return sorted(self.materials_project.ids_from)
        if self.kind == "structures":
            try:
                return sorted(map(str, structure_files(self.paths)))
            except InputError as error:
                raise InputError(f"source.paths: {error}") from None
        if self.kind == "stores":
            return self._stores()
        return self._runs()

    def asked(self) -> str:
        """Return what `nextham structures` is asked for, as one line of JSON."""
        keys = {"kind", "paths", "crystals", "materials_project", "prepare"}
        return self.model_dump_json(exclude_unset=True, include=keys)

    def _ids(self) -> list[str]:
        ids = self.crystals.ids()
        if not ids and not self.crystals.decorate:
            raise InputError("source.crystals.prototypes is empty; name crystals, e.g. {B3: {GaAs: 5.653}}")
        return ids

    def _runs(self) -> list[str]:
        found: list[str] = []
        for path in map(Path, self.paths):
            if not path.exists():
                raise InputError(f"source.paths: there is no {path}")
            here = [path] if _is_run(path) else sorted(p for p in path.iterdir() if _is_run(p))
            if not here:
                raise InputError(f"source.paths: {path} holds no abacus runs")
            found += [str(p) for p in here]
        return sorted(set(found))

    def _stores(self) -> list[str]:
        """Return folders and addresses; what is behind these is looked at when it is packed."""
        found = []
        for text in self.paths:
            place = located(text)
            if isinstance(place, Path) and not (place / ABOUT).is_file():
                what = f"is not a store: it has no {ABOUT}" if place.exists() else "does not exist"
                raise InputError(f"source.paths: {place} {what}")
            found.append(str(place) if isinstance(place, Path) else text)
        return list(dict.fromkeys(found))

    def listing(self) -> str:
        """Return a hash of names, sizes and times of the files, none of which is read; of prototypes, of their ids.

        Raises:
            InputError: as of items.
        """
        digest = hashlib.sha256()
        for name in self.items():
            paths = [] if self.kind == "prototypes" else [Path(name, each) for each in ("", "abacus_scf", ABOUT)]
            states = [path.stat() for path in paths if path.exists()]
            digest.update(f"{name} {[(state.st_size, state.st_mtime_ns) for state in states]}\n".encode())
        return digest.hexdigest()


def _is_run(path: Path) -> bool:
    return (path / "abacus_scf").is_dir() or path.name.endswith(_ARCHIVES)
