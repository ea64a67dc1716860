"""What people and machines read first of a published store: data card, citation, licence."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

from nextham import __version__
from nextham.console import size_text
from nextham.data.columns import COLUMNS
from nextham.data.index import LICENSE, SPLITS
from nextham.data.splits import Split
from nextham.data.store import Store
from nextham.data.summary import store_facts

_HUB_LICENSES: Final = {  # names that the hub knows, by SPDX id
    name.lower(): name
    for name in ("cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc0-1.0", "mit", "apache-2.0")
} | {"odbl-1.0": "odbl", "bsd-3-clause": "bsd-3-clause", "pddl-1.0": "pddl"}
_CLASSES: Final = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
_ORCID: Final = r"https://orcid\.org/\d{4}-\d{4}-\d{4}-\d{3}[\dX]"


class CardSettings(BaseModel):
    """What the publisher says of a dataset; the rest is counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$", description="Short name; by default the folder's."
    )
    title: str = Field(default="", description="Title in one line.")
    description: str = Field(default="", description="What the data are and what they are for, a few sentences.")
    license: str = Field(default="", description="SPDX id of the data's licence, such as CC-BY-4.0.")
    authors: tuple[str, ...] = Field(
        default=(), description="'Family, Given' of persons, or the name of a group; an ORCID address may follow."
    )
    version: str = Field(default="1.0.0", description="Version of the data.")
    date: str = Field(
        default_factory=lambda: time.strftime("%Y-%m-%d", time.gmtime()),
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="When it was published, YYYY-MM-DD; by default today.",
    )
    url: str = Field(
        default="", description="Where it will be: https://..., s3://... or hf://datasets/ORGANISATION/NAME."
    )
    doi: str = Field(default="", pattern=r"^(10\.\d{4,}/\S+)?$", description="DOI, such as 10.5281/zenodo.123.")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        if url and not re.match(r"(https?|s3|hf)://", url):
            raise ValueError("must begin with https://, s3:// or hf://")
        return url.rstrip("/")

    @property
    def page(self) -> str:
        """Where people look the dataset up."""
        if self.doi:
            return f"https://doi.org/{self.doi}"
        return re.sub(r"^hf://", "https://huggingface.co/", self.url) if self.url else ""


def citation(card: CardSettings) -> str:
    """Return CITATION.cff."""
    found: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use these data, please cite them.",
        "type": "dataset",
        "title": card.title or card.name,
        "authors": [_author(author) for author in card.authors] or [{"name": f"The authors of {card.name}"}],
        "version": card.version,
        "date-released": card.date,
    }
    found |= {"abstract": card.description} if card.description else {}
    found |= {"license": card.license} if card.license else {}
    found |= {"doi": card.doi} if card.doi else {}
    found |= {"url": card.page} if card.page.startswith("http") else {}
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=100)


def _author(text: str) -> dict[str, str]:
    orcid = re.search(_ORCID, text)
    name = re.sub(rf"\s*<?({_ORCID})?>?\s*$", "", text).strip()
    family, comma, given = (part.strip() for part in name.partition(","))
    who = {"family-names": family, "given-names": given} if comma else {"name": name}
    return who | ({"orcid": orcid[0]} if orcid else {})


def cite_as(card: CardSettings) -> str:
    """Return the citation in one line."""
    who = "; ".join(re.sub(rf"\s*<?{_ORCID}>?", "", author) for author in card.authors)
    parts = (who, f"{card.title or card.name}, version {card.version} ({card.date[:4]})", card.page)
    return ". ".join(part for part in parts if part)


def license_text(card: CardSettings) -> str:
    """Return what stands in LICENSE where the publisher hands over no file."""
    return (
        f"SPDX-License-Identifier: {card.license}\n\n{card.title or card.name} is published under {card.license}:\n"
        f"https://spdx.org/licenses/{card.license}.html\n"
    )


def data_card(store: Store, card: CardSettings, splits: Mapping[str, Split], size: int) -> str:
    """Return README.md: the hub's YAML header, and a page for people."""
    header = yaml.safe_dump(_header(card, len(store)), sort_keys=False, allow_unicode=True, width=100)
    facts = store_facts(store)
    sections = (
        f"# {card.title or card.name}",
        card.description,
        _contents(store, facts, size),
        _use(card, splits),
        _splits(splits),
        _origin(store, facts),
        "## Manifest\n\n`manifest.parquet` has one row per structure.\n\n"
        + _table(("column", "meaning"), [(f"`{name}`", COLUMNS.get(name, "")) for name in store.manifest.columns]),
        f"## Licence and citation\n\n{_licence(store, card)}\n\n> {cite_as(card)}\n\n"
        "`CITATION.cff` has it for reference managers.",
        f"Published with nextham {__version__}.",
    )
    return f"---\n{header}---\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def _header(card: CardSettings, n: int) -> dict[str, Any]:
    known = _HUB_LICENSES.get(card.license.lower())
    header: dict[str, Any] = {"license": known or ("other" if card.license else "unknown")}
    if card.license and not known:
        header |= {"license_name": card.license.lower(), "license_link": LICENSE}
    return header | {
        "pretty_name": card.title or card.name,
        "task_categories": ["graph-ml"],
        "tags": ["chemistry", "materials-science", "density-functional-theory", "hamiltonian", "spin-orbit-coupling"],
        "size_categories": [next((name for limit, name in _CLASSES if n < limit), "n>1M")],
        "configs": [{"config_name": "manifest", "data_files": [{"split": "train", "path": "manifest.parquet"}]}],
    }


def _contents(store: Store, facts: Mapping[str, Any], size: int) -> str:
    table = store.manifest
    rows = [
        ("structures", f"{len(store)}"),
        ("elements", f"{len(facts['elements'])}: {' '.join(facts['elements'])}"),
        ("atoms in a cell", _span(table["n_atoms"])),
        ("orbitals of a cell", _span(table["n_orb"])),
        ("operators", "; ".join(f"{n} x {names}" for names, n in facts["operators"].items())),
        ("H0", facts["H0 definition"] or "-"),
        ("orbital basis", facts["orbital basis"]),
        ("passed all checks", f"{facts['certified']}"),
        ("size", f"{size_text(size)} in {len(store.shards)} shards"),
    ]
    return (
        "Matrices S(R), H0(R) and H(R) of crystals in a basis of numerical atomic orbitals, with spin-orbit coupling; "
        "energies in eV, lengths in Å.\n\n" + _table(("", ""), rows)
    )


def _span(column: Any) -> str:
    return f"{column.min()} to {column.max()}, median {column.median():g}"


def _use(card: CardSettings, splits: Mapping[str, Split]) -> str:
    address = card.url or "ADDRESS"
    which = f"--split {min(splits)} --subset test" if splits else "--elements Si,O"
    return f"""## Use

```
pip install 'nextham[remote]'
nextham download {address} -o data
nextham download {address} -o part {which}
nextham verify data
```

```python
from nextham.data.store import Store

store = Store("{address}")  # or Store("data"); only what is read is fetched
system = store[0]  # S, H0 and H of one structure
store.manifest.query("n_atoms < 10")  # one row per structure, pandas
```

Without nextham: `shard-*.zarr` are Zarr v3 groups, `store.json` describes units, orbital order and signs.
`sha256sum -c SHA256SUMS` checks every file; `files.json` lists them for programs."""


def _splits(splits: Mapping[str, Split]) -> str:
    rows = [
        (f"`{SPLITS}/{name}.json`", subset, str(len(ids)), f"`{split.sha256[subset][:16]}`")
        for name, split in sorted(splits.items())
        for subset, ids in split.ids.items()
    ]
    return "## Splits\n\n" + _table(("file", "subset", "structures", "sha256 of the ids"), rows) if rows else ""


def _origin(store: Store, facts: Mapping[str, Any]) -> str:
    ledger = store.ledger
    text = "## How it was made\n\n" + ", ".join(f"{n} x {name or 'unknown'}" for name, n in facts["engine"].items())
    text += "; magnetism: " + ", ".join(f"{n} x {name or 'unknown'}" for name, n in facts["magnetism"].items()) + "."
    if facts["certified without"]:
        text += " Checks that could not be made: "
        text += ", ".join(f"{name} ({n})" for name, n in facts["certified without"].items()) + "."
    if ledger is not None:
        failed = {cause: n for cause, n in ledger.summary().items() if cause != "ok"}
        text += " Of what was tried, failed: " + (", ".join(f"{n} x {c}" for c, n in failed.items()) or "nothing")
        text += "; `ledger.jsonl` has every structure with the reason."
    return text


def _licence(store: Store, card: CardSettings) -> str:
    own = f"{card.license}, see `{LICENSE}`." if card.license else "The publisher names no licence: ask before reuse."
    sources = Counter(str(name) for name in store.manifest.get("licence", []) if name)
    if not sources:
        return own
    return (
        f"{own} Licences of the crystals' sources: " + ", ".join(f"{name} ({n})" for name, n in sources.items()) + "."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
