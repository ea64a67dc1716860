"""Cards: what they must say, and every mistake in one sentence with its key and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from board_cases import Case, card_values
from nextham_bench.cli import app
from nextham_bench.submission.card import Card, json_schema
from nextham_bench.submission.card_file import look_at_card, read_card
from nextham_bench.submission.yaml_file import MAX_BYTES
from typer.testing import CliRunner

from nextham.exceptions import InputError

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "benchmark" / "models").glob("*.yml"))
GOOD = """\
name: Model
version: "1.0"
authors:
  - name: A. Person
licence: MIT
date: 2026-11-28
command: python predict.py
"""


def problems(folder: Path, text: str) -> list[str]:
    path = folder / "card.yml"
    path.write_text(text)
    card, found = look_at_card(path)
    assert (card is None) == bool(found)
    return [sentence.removeprefix(f"{path}, ").removeprefix(f"{path} ") for sentence in found]


def test_the_schema_in_the_repository_is_the_one_of_the_code() -> None:
    path = ROOT / "benchmark" / "schemas" / "card.schema.json"
    assert json.loads(path.read_text()) == json_schema(), (
        "run: nextham-bench schema card > benchmark/schemas/card.schema.json"
    )
    assert json.loads(CliRunner().invoke(app, ["schema", "card"]).output) == json_schema()


def test_the_shipped_cards_fit_the_schema() -> None:
    names = {path.stem for path in SHIPPED}
    assert {"zero", "h0", "nextham-tiny", "nextham-small", "ablation-full"} <= names
    for path in SHIPPED:
        card = read_card(path)
        values = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # every value as text, dates too
        jsonschema.validate(values, json_schema())
        assert card.baseline or card.command
    assert len({read_card(path).title for path in SHIPPED}) == len(SHIPPED)


def test_every_study_and_preset_of_the_workflow_has_a_card() -> None:
    from nextham.model.settings import PRESETS
    from nextham.studies import ABLATIONS

    names = {path.stem for path in SHIPPED}
    assert {f"nextham-{preset}" for preset in PRESETS} | {f"ablation-{name}" for name in ABLATIONS} <= names


def test_a_whole_card_is_read(case: Case, tmp_path: Path) -> None:
    card = read_card(case.card("good", tmp_path, notes="two\nlines"))
    assert card == Card.model_validate(card_values(case.scores["good"]) | {"notes": "two\nlines"})
    assert card.cost is not None
    assert card.cost.inference.total_s == 1.75
    assert card.lacking() == []


def test_what_a_ranked_model_must_say(tmp_path: Path) -> None:
    (tmp_path / "card.yml").write_text(GOOD)
    assert read_card(tmp_path / "card.yml").lacking() == [
        f"the card says no {key}, which a ranked model needs"
        for key in ("training_sets", "parameters", "cost", "predictions")
    ]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("licence: MIT", "license: MIT", "line 5: license is not a key of a card; did you mean licence?"),
        ("licence: MIT", "licence: MIT\nqwertz: 1", "line 6: qwertz is not a key of a card; remove it"),
        ("name: A. Person", "nam: A. Person", "line 4: authors.1.nam is not a key of a card; did you mean name?"),
        ('version: "1.0"', "version: 1.0", "line 2: version must be text; put it in quotes: '1.0'"),
        ("licence: MIT\n", "", "line 1: licence is missing; add it"),
        ("licence: MIT", "licence:", "line 5: licence is empty; fill it in"),
        ("date: 2026-11-28", "date: 2026-11-31", "line 6: date must be a valid date"),
        ("date: 2026-11-28", "date: soon", "line 6: date must be a valid date"),
        ("name: Model", "name: ''", "line 1: name: it must be one line of text"),
        ("name: Model", 'name: "a\\u202eb"', "line 1: name: it holds the character U+202E, which does not print"),
        ("name: Model", 'name: "a\\nb"', "line 1: name: it must be one line of text, not 'a\\nb'"),
        ("name: Model", f"name: {'x' * 61}", "line 1: name"),
        ("licence: MIT", "licence: MIT\nurl: javascript:alert(1)", "line 6: url: it must be an address that starts"),
        ("licence: MIT", "licence: MIT\nparameters: many", "line 6: parameters must be a valid integer, not 'many'"),
        ("licence: MIT", "licence: MIT\nparameters: true", "line 6: parameters must be a valid integer, not 'True'"),
        ("licence: MIT", "licence: MIT\nparameters: -1", "line 6: parameters must be greater than or equal to 0"),
        (
            "licence: MIT",
            "licence: MIT\npredictions:\n- sha256: AB",
            "line 7: predictions.1.sha256: it must be",
        ),
        ("  - name: A. Person", "  []", "line 3: authors is an empty list; name at least one"),
        ("command: python predict.py", 'command: ""', "line 1: command is empty"),
        ("name: Model", "name: Model\nname: Other", "line 2: name stands here twice; keep one"),
        ("name: Model", "name: &a Model", "line 1: aliases (& and *) are not allowed; write the value out"),
        ("name: Model", "name: !!python/object/apply:os.system [ls]", "line 1: tags such as tag:yaml.org,2002:python"),
        ("name: Model", "name: [" + 20 * "[" + 21 * "]", "line 1: lists and keys are nested more than 12 deep"),
        ("name: Model", "name: [Model", "line 2 is not valid YAML: "),
        ("name: Model", "name: a: b", "line 1 is not valid YAML: mapping values are not allowed here"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_line(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    found = problems(tmp_path, GOOD.replace(old, new, 1))
    assert any(one.startswith(sentence) for one in found), found
    assert not any("\n" in one for one in found)


def test_all_mistakes_are_told_and_the_first_stops_a_reader(tmp_path: Path) -> None:
    text = GOOD.replace("licence", "license").replace('"1.0"', "1.0")
    assert len(problems(tmp_path, text)) == 3  # unknown, missing, no text
    with pytest.raises(InputError, match=r"licence is missing; add it \(and 2 more;"):
        read_card(tmp_path / "card.yml")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no keys; start from the one that nextham-bench template writes"),
        (b"- a\n- b\n", "holds no keys"),
        (b"name: \xff", "is not UTF-8 text (byte 6); save it as UTF-8"),
        (b"a" * (MAX_BYTES + 1), f"a card has at most {MAX_BYTES}; shorten it"),
    ],
)
def test_files_that_are_no_cards(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "card.yml"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_card(path)
    assert sentence in str(error.value)
    with pytest.raises(InputError, match="there is no file"):
        read_card(tmp_path / "x.yml")


def test_a_baseline_has_nothing_to_train(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, GOOD + "baseline: h0\ntraining_sets: [{name: x}]\n")
    assert "a baseline has no training_sets, checkpoint or predictions" in found


def test_billion_laughs_are_not_expanded(tmp_path: Path) -> None:
    lines: list[Any] = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]" for n in range(1, 40))]
    (found,) = problems(tmp_path, "\n".join(lines))
    assert "aliases" in found
