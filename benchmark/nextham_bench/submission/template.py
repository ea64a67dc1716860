"""The empty submission of a split: a card to fill in, and a store that lacks nothing but the predicted numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from nextham.console import track
from nextham.core import Provenance, SpinLayout
from nextham.exceptions import InputError
from nextham.files import whole
from nextham_bench.submission.card import CARD_FILE
from nextham_bench.submission.folder import STORE_FOLDER, chosen_ids

if TYPE_CHECKING:
    from nextham.data.record import Record
    from nextham.data.store import Store

Operator = Literal["correction", "hamiltonian"]
_MASKS: Final = {SpinLayout.SCALAR: 0b1, SpinLayout.TIME_REVERSAL: 0b10101001, SpinLayout.FULL: 0b11111111}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Template:
    """What the empty submission is for."""

    reference: Path | None = None  # without it, the card alone is written
    split: Path | None = None
    subset: str = "test"
    operator: Operator = "correction"
    spin: SpinLayout | None = None  # which Pauli components are predicted; None: those that the operator needs


def write_template(folder: Path, template: Template) -> int:
    """Write card, README and, with a reference, the skeleton of the prediction store; return its structures.

    The skeleton has the ids, atoms, basis and pairs of the reference. Its numbers are NaN, which every reader
    takes as missing, until somebody writes them.

    Raises:
        InputError: if the folder exists, or the reference does not hold the split.
    """
    if folder.exists():
        raise InputError(f"{folder} exists already; choose another name")
    if template.reference is None:
        with whole(folder) as part:
            part.mkdir()
            _write_texts(part, template, 0, "")
        return 0
    from nextham.data.store import Store, StoreWriter

    reference = Store(template.reference)
    ids, split_sha256 = chosen_ids(reference, template.split, template.subset)
    mask = _MASKS[template.spin or _needed(reference, ids, template.operator)]
    with whole(folder) as part:
        part.mkdir()
        with StoreWriter(part / STORE_FOLDER) as writer:
            for id in track(ids, f"writing {folder}"):
                writer.add_record(_empty(reference.record(id), template.operator, mask))
        _write_texts(part, template, mask, split_sha256)
    return len(ids)


def _needed(reference: Store, ids: Sequence[str], operator: Operator) -> SpinLayout:
    """Return the layout that any structure's H needs; a correction without magnetism is spin-independent."""
    magnetic = any("h0" in reference.operators_of(id) and _is_full(reference, id) for id in ids)
    if magnetic:
        return SpinLayout.FULL
    return SpinLayout.SCALAR if operator == "correction" else SpinLayout.TIME_REVERSAL


def _is_full(reference: Store, id: str) -> bool:
    return SpinLayout.of(reference.read(id, ("h0",)).operator("h0").values) is SpinLayout.FULL


def _empty(record: Record, operator: Operator, mask: int) -> Record:
    from nextham.data.record import Rows, rows_of_mask

    bare = record.system(())
    n_values = int((bare.basis.n_orb_of(bare.numbers)[bare.pairs.ij]).prod(axis=1).sum())
    rows = Rows(mask, np.full((len(rows_of_mask(mask)), n_values), np.nan))
    meta = Provenance(id=record.id, h0_definition=record.meta.h0_definition)
    return dataclasses.replace(
        record, meta=meta, stored={operator: rows}, certificate=None, dropped_ev=0.0, rounding=0.0
    )


def _write_texts(folder: Path, template: Template, mask: int, split_sha256: str) -> None:
    from jinja2 import Environment, StrictUndefined

    here = files("nextham_bench.submission")
    card = here.joinpath("card_template.yml").read_text(encoding="utf-8")
    (folder / CARD_FILE).write_text(card.replace(" SPLIT_SHA256", f" {split_sha256}".rstrip()), encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)  # noqa: S701  # Markdown
    chosen = "" if template.split is None else f" --split {template.split.name} --subset {template.subset}"
    text = environment.from_string(here.joinpath("readme.md.j2").read_text(encoding="utf-8")).render(
        template=template, chosen=chosen, n_rows=mask.bit_count(), mask=mask, store=STORE_FOLDER, card=CARD_FILE
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
