"""Write one shard: a Zarr v3 group that holds the records of up to some hundred structures end to end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from nextham import __version__
from nextham.core._arrays import offsets
from nextham.data.layout import SCHEMA_VERSION
from nextham.data.record import STORED, Record
from nextham.data.settings import StoreSettings


def write_shard(path: Path, records: Sequence[Record], settings: StoreSettings) -> None:
    """Write records as a new Zarr group."""
    about = [record.about for record in records]
    attributes = {"schema_version": SCHEMA_VERSION, "code_version": __version__, "records": about}
    group = zarr.create_group(path, zarr_format=3, attributes=attributes)
    structures = [record.structure for record in records]
    index: dict[str, NDArray[Any]] = {
        "atom_ptr": offsets([len(s) for s in structures]),
        "pair_ptr": offsets([r.pairs.n_pairs for r in records]),
        "numbers": np.concatenate([s.numbers for s in structures]).astype(np.int16),
        "positions": np.concatenate([s.positions for s in structures]),
        "cells": np.stack([s.cell for s in structures]),
        "pair_ij": np.concatenate([r.pairs.ij for r in records]).astype(np.int32),
        "pair_R": np.concatenate([r.pairs.R for r in records]).astype(np.int32),
    }
    for name, array in index.items():
        _write(group, name, array, settings)
    for name in STORED:
        held = [record.stored.get(name) for record in records]
        if any(held):
            masks = np.array([rows.mask if rows else 0 for rows in held], dtype=np.int16)
            _write(group, f"{name}_rows", masks, settings)
            _write(group, name, np.concatenate([rows.values.ravel() for rows in held if rows]), settings)


def _write(group: zarr.Group, name: str, values: NDArray[Any], settings: StoreSettings) -> None:
    rest = values.shape[1:]
    chunk = max(1, min(settings.chunk_numbers, len(values)))
    per_file = min(-(-len(values) // chunk), settings.file_mb * 2**20 // (8 * chunk)) or 1
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(chunk, *rest),
        shards=(chunk * per_file, *rest),
        compressors=[_codec(values.dtype.itemsize, settings), Crc32cCodec()],
        fill_value=np.nan if values.dtype.kind == "f" else np.iinfo(values.dtype).min,  # tells a missing file
    )
    array[...] = values


def _codec(itemsize: int, settings: StoreSettings) -> BloscCodec:
    """Zstd over bytes sorted by significance: the low bytes of rounded numbers are zero."""
    return BloscCodec(cname="zstd", clevel=settings.zstd_level, shuffle="shuffle", typesize=itemsize)
