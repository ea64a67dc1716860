"""croissant.json: the description of a dataset that search engines and loaders of machine learning read.

After the format specification 1.0, http://mlcommons.org/croissant/1.0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from nextham.data.cards import CardSettings, cite_as
from nextham.data.columns import COLUMNS
from nextham.data.index import FileEntry
from nextham.data.layout import MANIFEST

if TYPE_CHECKING:
    from nextham.data.store import Store

_FORMATS: Final = {
    "parquet": "application/x-parquet",
    "json": "application/json",
    "jsonl": "application/jsonlines",
    "md": "text/markdown",
    "cff": "application/yaml",
}
_TYPES: Final = {"i": "sc:Integer", "u": "sc:Integer", "f": "sc:Float", "b": "sc:Boolean"}
_CR: Final = [
    "citeAs",
    "column",
    "equivalentProperty",
    "extract",
    "field",
    "fileProperty",
    "fileObject",
    "fileSet",
    "format",
    "includes",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "separator",
    "source",
    "subField",
    "transform",
]
_CONTEXT: Final = {name: f"cr:{name}" for name in _CR} | {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}


def croissant(store: Store, card: CardSettings, files: Sequence[FileEntry]) -> str:
    """Return croissant.json of a store with these files beside its shards."""
    found: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": card.name,
        "description": card.description or f"{card.title or card.name}: DFT Hamiltonians of {len(store)} crystals.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "citeAs": cite_as(card),
        "creator": [_creator(author) for author in card.authors or (f"The authors of {card.name}",)],
        "datePublished": card.date,
        "license": f"https://spdx.org/licenses/{card.license}.html" if card.license else "unknown",
        "url": card.page or ".",
        "version": card.version,
        "distribution": [*(_file(entry) for entry in files), *(_shard(shard) for shard in store.shards)],
        "recordSet": [_structures(store)],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _creator(author: str) -> dict[str, str]:
    return {"@type": "sc:Person" if "," in author else "sc:Organization", "name": author}


def _file(entry: FileEntry) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": entry.path,
        "name": entry.path,
        "contentSize": f"{entry.size} B",
        "contentUrl": entry.path,
        "encodingFormat": _FORMATS.get(entry.path.rpartition(".")[2], "text/plain"),
        "sha256": entry.sha256,
    }


def _shard(shard: dict[str, Any]) -> dict[str, Any]:
    name = shard["name"]
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": f"Zarr v3 group of {len(shard['ids'])} structures, {shard['bytes']} bytes; sha256 in store.json",
        "encodingFormat": "application/vnd+zarr",
        "includes": f"{name}/**",
    }


def _structures(store: Store) -> dict[str, Any]:
    table = store.manifest
    return {
        "@type": "cr:RecordSet",
        "@id": "structures",
        "name": "structures",
        "description": "One row per structure; shard and row say where its operators are.",
        "key": {"@id": "structures/id"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"structures/{column}",
                "name": column,
                "description": COLUMNS.get(column, column),
                "dataType": _TYPES.get(table[column].dtype.kind, "sc:Text"),
                "source": {"fileObject": {"@id": MANIFEST}, "extract": {"column": column}},
            }
            for column in table.columns
        ],
    }
