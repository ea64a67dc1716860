"""A reference of three crystals, predictions of known quality, and cards that fit them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import yaml
from bench_predictions import noisy
from nextham_bench.schema import Scores, write_scores
from nextham_bench.score import Request, score

from nextham.core import LCAOSystem, OrbitalBasis
from nextham.data.splits import Split
from nextham.data.store import StoreWriter
from nextham.testing import synthetic_system, zincblende

IDS = ("GaAs-0", "GaAs-1", "GaAs-2")
EVIL = '<script>alert("1")</script>'


def crystal(n: int) -> LCAOSystem:
    basis = OrbitalBasis.parse("Ga:1s1p As:1s1p1d")
    system = synthetic_system(zincblende(rattle_ang=0.02), basis, id=f"GaAs-{n}", seed=n, cutoff_ang=3.5)
    return system.with_meta(n_electrons=8.0)


@dataclasses.dataclass(frozen=True)
class Case:
    """Stores, a split of all but the last crystal, and scores of that subset."""

    folder: Path
    reference: Path
    split: Path
    predictions: dict[str, Path]
    scores: dict[str, Scores]  # "good", "fair", "h0", "zero"

    def scores_file(self, which: str, folder: Path, **changes: Any) -> Path:
        """Write scores, changed or not, to a file."""
        path = folder / f"{which}.scores.json"
        write_scores(self.scores[which].model_copy(update=changes), path)
        return path

    def card(self, which: str, folder: Path, **changes: Any) -> Path:
        """Write the card of a prediction; a change to None removes the key."""
        values = card_values(self.scores[which]) | changes
        path = folder / f"{which}.yml"
        path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}, sort_keys=False))
        return path


def card_values(scores: Scores) -> dict[str, Any]:
    assert scores.prediction is not None
    assert scores.split is not None
    return {
        "schema_version": "1",
        "name": scores.name,
        "version": "1.0",
        "authors": [{"name": "A. Person", "affiliation": "Somewhere", "orcid": "0000-0002-1825-0097"}],
        "licence": "MIT",
        "date": "2026-11-28",
        "command": "python predict.py",
        "training_sets": [{"name": "crystals", "n_structures": 10}],
        "parameters": 1234567,
        "cost": {
            "training": {"hardware": "1 x GPU", "device_hours": 2.5},
            "inference": {"hardware": "2 cores", "h0_s": 1.5, "model_s": 0.25},
        },
        "predictions": [{"sha256": scores.prediction.sha256, "split_sha256": scores.split.sha256}],
    }


def make_case(folder: Path) -> Case:
    systems = [crystal(n) for n in range(len(IDS))]
    with StoreWriter(folder / "reference") as writer:
        for system in systems:
            writer.add(system)
    split = folder / "split.json"
    Split({"train": IDS[2:], "test": IDS[:2]}).save(split)
    predictions, scores = {}, {}
    for seed, (name, fraction, noise) in enumerate((("good", 0.9, 2e-4), ("fair", 0.5, 1e-3))):
        predictions[name] = folder / name
        with StoreWriter(folder / name) as writer:
            for system in systems[:2]:
                values = noisy(system, fraction=fraction, scale_ev=noise, seed=seed).values
                writer.add(system.without("overlap", "h0").with_operator("hamiltonian", values))
        request = Request(reference=folder / "reference", prediction=folder / name, split=split, name=name)
        scores[name] = score(request)
    for name in ("h0", "zero"):
        scores[name] = score(Request(reference=folder / "reference", baseline=name, split=split, bands=name == "h0"))
    return Case(folder, folder / "reference", split, predictions, scores)


def edited(path: Path, **changes: Any) -> Path:
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path
