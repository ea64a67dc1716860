"""A submission from the empty template to a checked one, by numpy and zarr alone; and all that can be wrong with it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zarr
from bench_predictions import noisy
from board_cases import IDS, Case, card_values, crystal
from nextham_bench.cli import app
from nextham_bench.score import Request, score
from nextham_bench.submission.folder import Submission
from nextham_bench.submission.seal import seal
from nextham_bench.submission.template import Template, write_template
from nextham_bench.submission.validate import Findings, validate
from nextham_bench.submission.validate import Request as Check
from typer.testing import CliRunner

from nextham.core import BlockMatrix, LCAOSystem, SpinLayout
from nextham.data.store import Store, StoreWriter
from nextham.data.verify import verify
from nextham.exceptions import InputError
from nextham.testing import magnetic
from nextham.units import RYDBERG_EV

DOCS = Path(__file__).parents[2] / "docs" / "submitting.md"


def predicted(system: LCAOSystem, rows: int) -> BlockMatrix:
    """The Hamiltonian that is predicted; one row is a correction without spin."""
    if rows > 1:
        return noisy(system)
    h0 = system.operator("h0")
    return h0 + h0.with_values((noisy(system) - h0).values[:1])


def blocks_of(system: LCAOSystem, operator: str, rows: int) -> list[np.ndarray[Any, Any]]:
    matrix = predicted(system, rows)
    matrix = (matrix - system.operator("h0") if operator == "correction" else matrix).with_layout(
        SpinLayout.FULL if rows == 8 else SpinLayout.TIME_REVERSAL
    )
    found = [matrix.block(p) for p in range(matrix.pairs.n_pairs)]
    if rows == 8:
        return [np.stack([block.real, block.imag], axis=1).reshape(8, *block.shape[1:]) for block in found]
    return [block[:rows] for block in found]


def filled(folder: Path, systems: dict[str, LCAOSystem], operator: str, rows: int) -> None:
    """Run the program that the template's README shows."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert "nextham" not in code
    assert set(re.findall(r"^import (\w+)", code, re.M)) == {"json", "numpy", "zarr"}
    seen = []

    def predict(id: str, numbers, positions, cell, ij, R):
        system = systems[id]
        np.testing.assert_array_equal(numbers, system.numbers)
        np.testing.assert_allclose(positions[ij[:, 1]] + R @ cell - positions[ij[:, 0]], system.vectors)
        seen.append(id)
        return blocks_of(system, operator, rows)

    exec(code, {"predict": predict})  # the text of our own README
    assert set(seen) == set(systems)


def fill_in(card: Path, case: Case) -> None:
    """Fill in the template's card as a person would, line by line; the sha256 is the seal's."""
    values = card_values(case.scores["good"])
    text = card.read_text()
    for key in ("name", "version", "licence", "date", "command"):
        text = re.sub(rf"^{key}:(?= )", f"{key}: {json.dumps(values[key])}", text, count=1, flags=re.M)
    text = text.replace("  - name:", "  - name: A. Person").replace("parameters:  ", "parameters: 12 ")
    text = re.sub(r"hardware:.*", "hardware: two cores", text)
    for key in ("device_hours", "h0_s", "model_s"):
        text = text.replace(f"{key}: ", f"{key}: 1.5 ")
    card.write_text(text)


@pytest.mark.parametrize(
    ("operator", "spin", "rows"),
    [("correction", None, 1), ("hamiltonian", None, 4), ("correction", "full", 8)],
)
def test_from_the_template_to_a_score(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: str, spin: str | None, rows: int
) -> None:
    words = ["template", "--reference", case.reference, "--split", case.split, "--operator", operator]
    words += ["-o", tmp_path / "s"]
    words += ["--spin", spin] if spin else []
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    monkeypatch.chdir(tmp_path / "s")
    systems = {id: Store(case.reference)[id] for id in IDS[:2]}
    filled(Path(), systems, operator, rows)
    fill_in(Path("card.yml"), case)
    before = Path("card.yml").read_text()
    result = CliRunner().invoke(app, ["seal", "."])
    assert result.exit_code == 0, result.output
    sha256 = re.search(r"sha256 ([0-9a-f]{64})", result.output)
    assert sha256 is not None
    after = Path("card.yml").read_text()
    assert yaml.safe_load(after)["predictions"][0]["sha256"] == sha256[1]
    split = json.loads(case.split.read_text())["sha256"]["test"]
    assert yaml.safe_load(after)["predictions"][0]["split_sha256"] == split
    assert after.replace(f' "{sha256[1]}"', "").replace('"', "") == before.replace('"', "")  # and nothing else
    assert verify(Store("prediction")) == []
    words = ["validate", ".", "--reference", case.reference, "--split", case.split]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert "2 structures, nothing wrong" in result.output
    by_hand = score(Request(reference=case.reference, prediction=Path("prediction"), split=case.split, bands=False))
    with StoreWriter("plain") as writer:
        for system in systems.values():
            writer.add(system.without("overlap", "h0").with_operator("hamiltonian", predicted(system, rows).values))
    plain = score(Request(reference=case.reference, prediction=Path("plain"), split=case.split, bands=False))
    overall = by_hand.headline.overall.model.macro_mev
    assert overall == pytest.approx(plain.headline.overall.model.macro_mev, abs=1e-6)


def test_the_program_of_the_docs(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert not re.search(r"^\s*(from|import) nextham", code, re.M)
    monkeypatch.chdir(tmp_path)
    Path("DATASET").symlink_to(case.reference)
    Path("split.json").symlink_to(case.split)
    systems = {id: Store(case.reference)[id] for id in IDS[:2]}

    def predict(id: str, **geometry: Any) -> list[np.ndarray[Any, Any]]:
        np.testing.assert_array_equal(geometry["pair_ij"], systems[id].pairs.ij)
        return [block[0] for block in blocks_of(systems[id], "correction", 1)]

    exec(code, {"predict": predict})  # the text of our own docs
    write_template(Path("card"), Template())
    shutil.copy("card/card.yml", "mine")
    fill_in(Path("mine/card.yml"), case)
    seal(Submission.at(Path("mine")))
    assert findings(Path("mine"), case).problems == ()
    scores = score(Request(reference=case.reference, prediction=Path("mine/prediction"), split=case.split, bands=False))
    assert (scores.headline.overall.skill or 0) > 0.2


def test_a_template_needs_no_hamiltonian_and_fits_magnetic_data(case: Case, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "inputs") as writer:
        writer.add(magnetic(crystal(0)).without("hamiltonian"))
    n = write_template(tmp_path / "s", Template(reference=tmp_path / "inputs", operator="hamiltonian"))
    assert n == 1
    group = zarr.open_group(tmp_path / "s" / "prediction" / "shard-00000.zarr", mode="r")
    assert group["hamiltonian_rows"][:].tolist() in ([0b10101001], [0b11111111])
    n = write_template(tmp_path / "f", Template(reference=tmp_path / "inputs", spin=SpinLayout.FULL))
    group = zarr.open_group(tmp_path / "f" / "prediction" / "shard-00000.zarr", mode="r")
    assert group["correction_rows"][:].tolist() == [0b11111111]
    assert np.isnan(group["correction"][:]).all()


def test_a_card_alone(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["template", "-o", str(tmp_path / "s")])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["README.md", "card.yml"]
    with pytest.raises(InputError, match="exists already; choose another name"):
        write_template(tmp_path / "s", Template())


# --- what can be wrong ---------------------------------------------------------------------------------------------


@pytest.fixture
def submission(case: Case, tmp_path: Path) -> Path:
    folder = tmp_path / "sub"
    folder.mkdir()
    shutil.copytree(case.predictions["good"], folder / "prediction")
    case.card("good", folder).rename(folder / "card.yml")
    return folder


def findings(submission: Path, case: Case, **settings: Any) -> Findings:
    return validate(Check(submission=Submission.at(submission), reference=case.reference, split=case.split, **settings))


def rewritten(submission: Path, case: Case, change: Callable[[dict[str, LCAOSystem]], list[LCAOSystem]]) -> None:
    """Replace the prediction by another of the same card."""
    systems = {id: crystal(n) for n, id in enumerate(IDS)}
    own = {id: s.without("overlap", "h0").with_operator("hamiltonian", noisy(s).values) for id, s in systems.items()}
    with StoreWriter(submission / "prediction", overwrite=True) as writer:
        for system in change(own):
            writer.add(system)


def test_a_good_submission(submission: Path, case: Case) -> None:
    found = findings(submission, case)
    assert found.problems == ()
    assert found.n_structures == found.n_read == 2
    assert found.sha256 == case.scores["good"].prediction.sha256  # type: ignore[union-attr]
    found = findings(submission, case, sample=1)
    assert (found.problems, found.n_read) == ((), 1)
    assert found.remarks == ("the numbers of 1 of 2 structures were read; --all reads every one",)


def test_all_problems_are_told_at_once(submission: Path, case: Case) -> None:
    (submission / "card.yml").write_text("name: x\nnam: y\n")
    rewritten(submission, case, lambda s: [s[IDS[0]]])
    found = findings(submission, case)
    assert len(found.problems) > 5
    assert found.problems[-1] == (
        "the prediction does not cover the 2 structures to be scored: 1 missing (GaAs-1); "
        "complete it, or score what there is with --allow-partial (not ranked)"
    )
    words = ["validate", submission, "--reference", case.reference, "--split", case.split]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 1
    assert result.output.count("problem: ") == len(found.problems)
    result = CliRunner().invoke(app, [str(word) for word in [*words, "--json"]])
    assert result.exit_code == 1
    assert json.loads(result.stdout[result.stdout.index("{") :])["problems"] == list(found.problems)


def scaled(factor: float) -> Callable[[dict[str, LCAOSystem]], list[LCAOSystem]]:
    def change(systems: dict[str, LCAOSystem]) -> list[LCAOSystem]:
        return [s.with_operator("hamiltonian", factor * s.operators["hamiltonian"]) for s in list(systems.values())[:2]]

    return change


def moved(systems: dict[str, LCAOSystem]) -> list[LCAOSystem]:
    import dataclasses

    first, second, _ = systems.values()
    return [first, dataclasses.replace(second, positions=second.positions + 0.01)]


def renamed(systems: dict[str, LCAOSystem]) -> list[LCAOSystem]:
    first, second, third = systems.values()
    return [first, second, third.with_meta(id="Other-7")]


def nan(systems: dict[str, LCAOSystem]) -> list[LCAOSystem]:
    first, second, _ = systems.values()
    values = np.array(second.operators["hamiltonian"])
    values[0, 7] = np.nan
    return [first, second.with_operator("hamiltonian", values)]


def reordered(systems: dict[str, LCAOSystem]) -> list[LCAOSystem]:
    """P shells as x, y, z in place of y, z, x."""
    out = []
    for system in list(systems.values())[:2]:
        matrix = system.operator("hamiltonian")
        values = np.array(matrix.values)
        for group in matrix.groups:
            n_i, n_j = group.index.shape[1:]
            rows, columns = ([0, 3, 1, 2, *range(4, n)] for n in (n_i, n_j))
            values[:, group.index] = np.array(matrix.values)[:, group.index[:, rows][:, :, columns]]
        out.append(system.with_operator("hamiltonian", values))
    return out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (scaled(1 / RYDBERG_EV), "the prediction is in Rydberg (1/13.6 of the reference) in 2 of 2 structures"),
        (scaled(2 * RYDBERG_EV), "the prediction is 27.2 times the reference, converted from Hartree twice"),
        (reordered, "the prediction is with p as x, y, z (PySCF) in 2 of 2 structures"),
        (moved, "the prediction of GaAs-1 is of another structure: positions differ by up to 0.01 Å"),
        (renamed, "the prediction does not cover the 2 structures to be scored: 1 extra (Other-7)"),
        (nan, "the hamiltonian of GaAs-1 cannot be read from shard-00000.zarr (numbers are missing or NaN)"),
    ],
)
def test_a_wrong_prediction(
    submission: Path, case: Case, change: Callable[[dict[str, LCAOSystem]], list[LCAOSystem]], sentence: str
) -> None:
    rewritten(submission, case, change)
    found = findings(submission, case)
    assert any(sentence in problem for problem in found.problems), found.problems
    assert not any("\n" in problem for problem in found.problems)


def test_numbers_changed_behind_the_checksum(submission: Path, case: Case) -> None:
    group = zarr.open_group(submission / "prediction" / "shard-00000.zarr", mode="r+")
    group["hamiltonian"][3] = 0.5
    found = findings(submission, case)
    assert any("the numbers of GaAs-0 are not those that were written" in problem for problem in found.problems)
    assert "if you wrote the numbers yourself, nextham-bench seal writes their checksums" in found.remarks
    seal(Submission.at(submission))
    assert findings(submission, case).problems == ()


def test_another_prediction_than_the_card_names(submission: Path, case: Case) -> None:
    rewritten(submission, case, lambda systems: list(systems.values())[:2])
    (problem,) = findings(submission, case).problems
    assert re.match(r"the prediction has the sha256 [0-9a-f]{64}, the card names [0-9a-f]{12}...; fetch", problem)


def test_another_subset_than_the_card_names(submission: Path, case: Case) -> None:
    card = yaml.safe_load((submission / "card.yml").read_text())
    card["predictions"][0]["split_sha256"] = "0" * 64
    (submission / "card.yml").write_text(yaml.safe_dump(card))
    (problem,) = findings(submission, case).problems
    assert f"the card says that the prediction is of the ids with the sha256 {'0' * 64}, but it is checked" in problem
    del card["predictions"][0]["split_sha256"]
    (submission / "card.yml").write_text(yaml.safe_dump(card))
    assert findings(submission, case).problems == ()  # the hash of the records says which they are


def test_h0_itself_is_remarked(submission: Path, case: Case) -> None:
    with StoreWriter(submission / "prediction", overwrite=True) as writer:
        for n in range(2):
            system = crystal(n)
            bare = system.without("overlap", "h0", "hamiltonian")
            writer.add(bare, correction=0.0 * system.operator("overlap"))
    seal(Submission.at(submission))
    assert findings(submission, case).remarks == ("the prediction is H0 itself: every correction is zero",)


def test_a_reference_without_hamiltonians(submission: Path, case: Case, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "inputs") as writer:
        for n in range(len(IDS)):
            writer.add(crystal(n).without("hamiltonian"))
    request = Check(submission=Submission.at(submission), reference=tmp_path / "inputs", split=case.split)
    assert validate(request).problems == ()


def test_checking_and_scoring_load_no_model(submission: Path, case: Case) -> None:
    checked = ["validate", submission, "--reference", case.reference, "--split", case.split]
    scored = ["score", "--reference", case.reference, "--prediction", submission / "prediction", "--split", case.split]
    scored += ["--no-bands", "-o", submission / "scores.json"]
    for words in (checked, scored):
        code = (
            "import sys\nfrom nextham_bench.cli import app\n"
            f"app({[str(word) for word in words]!r}, standalone_mode=False)\n"
            "assert not {'torch', 'e3nn', 'nextham.model', 'nextham.predict', 'nextham.dft'} & set(sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_what_is_not_a_submission(submission: Path, case: Case, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no card .*; name the card itself, or make one with nextham-bench"):
        Submission.at(tmp_path)
    shutil.rmtree(submission / "prediction")
    (problem,) = findings(submission, case).problems
    assert problem == f"{submission}/prediction does not exist; give the folder that a command wrote with -o"
