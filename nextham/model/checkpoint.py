"""Checkpoints that describe themselves: weights in safetensors, everything else in JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from nextham import __version__
from nextham.console import first_problem
from nextham.core import OrbitalBasis, Provenance, symbol
from nextham.exceptions import InputError
from nextham.files import whole
from nextham.model.network import NextHAM
from nextham.model.settings import ModelSettings
from nextham.model.statistics import Statistics
from nextham.model.vocabulary import Vocabulary

SCHEMA_VERSION: Final = 1
_UNITS: Final = {"energy": "eV", "length": "angstrom"}
_OPTIONAL: Final = ("species",)  # of the card's fields: older checkpoints lack them
_CARD, _WEIGHTS = "checkpoint.json", "model.safetensors"


@dataclasses.dataclass(frozen=True)
class Card:
    """What a checkpoint says about itself besides its weights."""

    settings: ModelSettings
    basis: OrbitalBasis
    h0_definition: str
    dataset_sha256: str = ""  # of the training records
    split_sha256: dict[str, str] = dataclasses.field(default_factory=dict)
    training: dict[str, Any] = dataclasses.field(default_factory=dict)  # settings of the training
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    species: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # element: checksums trained with
    code_version: str = __version__

    def check_h0(self, h0_definition: str, where: str) -> None:
        """Raise InputError unless a store's H0 is the one that the model corrects."""
        if h0_definition != self.h0_definition:
            raise InputError(
                f"{where} has the H0 definition {h0_definition!r}, but the checkpoint corrects "
                f"{self.h0_definition!r}; compute H0 that way or train on this definition"
            )


def species_of(meta: Provenance) -> dict[str, str]:
    """Return short checksums of each element's pseudopotential and orbitals, where both are known.

    >>> files = {"pseudopotentials": {"Si": "Si.upf@sha256:0123456789abcdef"}, "orbitals": {"Si": "Si.orb@sha256:f0"}}
    >>> species_of(Provenance(id="Si", **files))
    {'Si': 'UPF 0123456789ab and ORB f0'}
    """
    known = {}
    for element in sorted(meta.pseudopotentials.keys() & meta.orbitals.keys()):
        parts = [files[element].partition("@sha256:")[2][:12] for files in (meta.pseudopotentials, meta.orbitals)]
        if all(parts):
            known[element] = f"UPF {parts[0]} and ORB {parts[1]}"
    return known


def build(card: Card, *, statistics: Statistics | None = None) -> NextHAM:
    """Return the network of a card with fresh weights; the statistics may come with the weights."""
    vocabulary = Vocabulary(card.basis, card.settings.target)
    return NextHAM(card.settings, vocabulary, statistics or Statistics.blank(vocabulary))


def save(path: str | Path, weights: dict[str, torch.Tensor], card: Card) -> None:
    """Write a checkpoint folder, which replaces an older one when it is whole."""
    with whole(Path(path)) as part:
        part.mkdir(parents=True)
        save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, str(part / _WEIGHTS))
        (part / _CARD).write_text(json.dumps(_described(card, weights), indent=1, ensure_ascii=False) + "\n")


def load(path: str | Path) -> tuple[NextHAM, Card]:
    """Return the network with its weights, ready to predict, and its card.

    Raises:
        InputError: if the folder is not a whole checkpoint of a version and of units that this program reads.
    """
    path = Path(path)
    card = read_card(path)
    try:
        weights = load_file(str(path / _WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path / _WEIGHTS} cannot be read ({error}); copy or train the checkpoint again") from None
    kinds = {v.dtype for k, v in weights.items() if k.startswith("blocks.")}
    model = build(card).to(kinds.pop() if len(kinds) == 1 else torch.float32)
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise InputError(
            f"{path / _WEIGHTS} does not fit the settings in {_CARD}; copy or train the checkpoint again"
        ) from None
    return model.eval(), card


def read_card(path: str | Path) -> Card:
    """Return a checkpoint's card without its weights.

    Raises:
        InputError: if it is missing, damaged, or of another version or other units.
    """
    file = Path(path) / _CARD
    if not file.is_file():
        raise InputError(f"{path} is not a checkpoint: it has no {_CARD}; give the folder best or last of a training")
    try:
        content = json.loads(file.read_text())
        version, units = content["schema_version"], content["units"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged ({error}); copy or train the checkpoint again") from None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path} is a checkpoint of version {version}, this program reads version {SCHEMA_VERSION}; "
            f"use nextham {content.get('code_version', 'that wrote it')} or train again"
        )
    if units != _UNITS:
        raise InputError(f"{file} gives the units {units}, this program works in {_UNITS}; convert the checkpoint")
    try:
        settings = ModelSettings.model_validate(content["settings"])
        fields = [f.name for f in dataclasses.fields(Card) if f.name not in ("settings", "basis")]
        given = {name: content[name] for name in fields if name in content or name not in _OPTIONAL}
        return Card(settings, OrbitalBasis.parse(content["basis"]), **given)
    except ValidationError as error:
        raise InputError(f"{file}: settings.{first_problem(error, ModelSettings)}") from None
    except (KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged ({error}); copy or train the checkpoint again") from None


def weights_sha256(path: str | Path) -> str:
    """Return the checksum of a checkpoint's weights."""
    return hashlib.sha256((Path(path) / _WEIGHTS).read_bytes()).hexdigest()


def _described(card: Card, weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    content = {f.name: getattr(card, f.name) for f in dataclasses.fields(Card)}
    content |= {"settings": card.settings.model_dump(mode="json"), "basis": str(card.basis)}
    about = {
        "schema_version": SCHEMA_VERSION,
        "units": _UNITS,
        "elements": [symbol(z) for z in card.basis],
        "n_numbers": sum(v.numel() for v in weights.values()),
    }
    return about | content
