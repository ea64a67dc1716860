"""nextham train, finetune and predict as a user runs them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from nextham.cli import app
from nextham.data.splits import Split
from nextham.data.store import Store, StoreWriter
from nextham.exceptions import InputError

SETTINGS = json.dumps(
    {
        "model": {"channels": 4, "lmax": 2, "n_blocks": 1, "n_heads": 2, "width": 16},
        "train": {"epochs": 1, "device": "cpu"},
    }
)


@pytest.fixture
def place(synthetic, tmp_path):
    with StoreWriter(tmp_path / "store") as writer:
        for id in ("a", "b", "c"):
            writer.add(synthetic.with_meta(id=id))
    Split({"train": ("a",), "val": ("b",), "test": ("c",)}).save(tmp_path / "split.json")
    return tmp_path


def nextham(*words: object) -> str:
    result = CliRunner().invoke(app, [str(w) for w in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_train_then_predict(place):
    words = ("train", place / "store", "--split", place / "split.json", "-o", place / "run", "--settings", SETTINGS)
    assert "parameters" in nextham(*words, "--dry-run")
    assert not (place / "run").exists()
    assert "val_skill" in nextham(*words)
    assert "val_skill" in nextham(*words, "--resume")
    model = ("--checkpoint", place / "run" / "best")
    nextham("predict", place / "store", *model, "-o", place / "test", "--split", place / "split.json")
    nextham("predict", place / "store", *model, "-o", place / "two", "--id", "a", "--id", "b")
    nextham("predict", place / "store", *model, "-o", place / "all")
    assert Store(place / "test").ids == ("c",)
    assert Store(place / "two").ids == ("a", "b")
    assert len(Store(place / "all")) == 3


def test_finetune_goes_on_from_a_checkpoint(place):
    lists = ("--split", place / "split.json")
    nextham("train", place / "store", *lists, "-o", place / "run", "--settings", SETTINGS)
    words = ("finetune", place / "store", "--checkpoint", place / "run" / "best", *lists, "-o", place / "on")
    settings = ("--settings", json.dumps({"train": {"epochs": 1, "device": "cpu", "learning_rate": 1e-4}}))
    assert "activations of the largest batch" in nextham(*words, *settings, "--dry-run")
    assert not (place / "on").exists()
    assert "val_skill" in nextham(*words, *settings)
    assert "val_skill" in nextham(*words, *settings, "--resume")
    nextham("predict", place / "store", "--checkpoint", place / "on" / "best", "-o", place / "all")
    with pytest.raises(InputError, match="holds a training already"):
        nextham(*words, *settings)


def test_misspelt_setting_names_the_near_one(place):
    with pytest.raises(InputError, match=r"train\.epoch is not a setting; did you mean epochs\?"):
        nextham(
            *("train", place / "store", "--split", place / "split.json", "-o", place / "run"),
            *("--settings", '{"train": {"epoch": 3}}'),
        )
