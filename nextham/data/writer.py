"""StoreWriter: a store appears whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nextham.core import BlockMatrix, LCAOSystem, OrbitalBasis
from nextham.data.certificate import Certificate
from nextham.data.layout import ABOUT, LEDGER, MANIFEST, description
from nextham.data.ledger import Ledger
from nextham.data.settings import StoreSettings
from nextham.exceptions import InputError, WriteError
from nextham.files import clear_leftovers, partial_of, put_in_place

if TYPE_CHECKING:
    from nextham.data.record import Record


class StoreWriter:
    """Write a store: it appears under its name when all of it is on disk, or not at all.

        with StoreWriter("results/dataset/store") as writer:
            writer.add(system, certificate=certificate)

    Until then everything goes to a hidden folder beside it, which an exception removes.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        settings: StoreSettings = StoreSettings(),  # noqa: B008  (frozen)
        overwrite: bool = False,
        allow_empty: bool = False,
    ) -> None:
        """Args: path: the store; settings: how to write; overwrite: replace a store; allow_empty: of no structure."""
        self.path = Path(path)
        self.settings = settings
        self._overwrite = overwrite
        self._allow_empty = allow_empty
        self._basis = OrbitalBasis({})
        self._h0_definition: str | None = None
        self._ids: set[str] = set()
        self._waiting: list[Record] = []
        self._shards: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []
        self._partial = partial_of(self.path)

    def __enter__(self) -> Self:
        try:
            clear_leftovers(self.path)
            self._check_target()
            self._partial.mkdir(parents=True)
        except OSError as error:
            raise WriteError.of(self.path, error) from error
        return self

    @property
    def ledger(self) -> Ledger:
        """The ledger that becomes part of the store; it is lost with the store if writing fails."""
        return Ledger(self._partial / LEDGER)

    def add(
        self,
        system: LCAOSystem,
        *,
        certificate: Certificate | None = None,
        correction: BlockMatrix | None = None,
    ) -> None:
        """Add one structure.

        Args:
            system: one structure with its operators.
            certificate: what the checks measured.
            correction: H - H0 of a prediction whose system carries neither.

        Raises:
            InputError: if its id is in the store, or its H0 definition or orbital basis is not the store's.
            WriteError: if the structures so far cannot be written; the store is then lost.
        """
        from nextham.data.record import encode

        self.add_record(encode(system, self.settings, certificate=certificate, correction=correction))

    def add_record(self, record: Record) -> None:
        """Add one structure as another store holds it."""
        from nextham.data.manifest import manifest_row

        facts = manifest_row(record, shard=self._shard_name, row=len(self._waiting))
        self._check_record(record)
        self._rows.append(facts)
        self._ids.add(record.id)
        self._waiting.append(record)
        full = len(self._waiting) >= self.settings.structures_per_shard
        if full or sum(r.nbytes for r in self._waiting) >= self.settings.shard_raw_mb * 1e6:
            self._flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except OSError as refused:
            raise WriteError.of(self.path, refused) from refused
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def _check_target(self) -> None:
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return
        if not self._overwrite:
            raise InputError(f"{self.path} exists already; choose another name or pass --overwrite")
        if not (self.path / ABOUT).is_file():
            raise InputError(f"{self.path} is not a store, so it is not overwritten; choose another name")

    def _check_record(self, record: Record) -> None:
        if not record.id:
            raise InputError(f"a structure {record.structure.formula} has no id; a store needs one")
        if record.id in self._ids:
            raise InputError(f"{record.id} is in {self.path} already; ids must differ")
        try:
            basis = self._basis | record.basis
        except InputError as error:
            raise InputError(f"{record.id} does not fit into {self.path}: {error} basis in a store") from None
        definition = record.meta.h0_definition
        if self._h0_definition not in (None, definition):
            raise InputError(
                f"{record.id} has the H0 definition {definition!r}, the structures before it in {self.path} have "
                f"{self._h0_definition!r}; write them to two stores"
            )
        self._basis, self._h0_definition = basis, definition

    @property
    def _shard_name(self) -> str:
        return f"shard-{len(self._shards):05d}.zarr"

    def _flush(self) -> None:
        if not self._waiting:
            return
        from nextham.data.checksums import content_of
        from nextham.data.shard_write import write_shard

        name = self._shard_name
        try:
            write_shard(self._partial / name, self._waiting, self.settings)
            size, digest = content_of(self._partial / name)
        except Exception as error:  # of the store, not of the structure that filled the shard
            raise WriteError.of(self.path, error) from error
        ids = [record.id for record in self._waiting]
        self._shards.append({"name": name, "bytes": size, "sha256": digest, "ids": ids})
        self._waiting = []

    def _finish(self) -> None:
        from nextham.data.manifest import write_manifest

        self._flush()
        if not self._shards and not self._allow_empty:
            causes = ", ".join(f"{n} x {cause}" for cause, n in self.ledger.summary().items())
            raise InputError(f"there is no structure to write to {self.path}" + (f" ({causes})" if causes else ""))
        write_manifest(self._rows, self._partial / MANIFEST)
        about = description(self._basis, self._h0_definition or "", self.settings) | {"shards": self._shards}
        (self._partial / ABOUT).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
        put_in_place(self._partial, self.path)
