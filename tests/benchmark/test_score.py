"""nextham-bench score on stores: one command in, scores.json out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from bench_oracle import plain_errors
from bench_predictions import noisy
from nextham_bench.cli import app
from nextham_bench.schema import Scores, json_schema, read_scores
from nextham_bench.score import Request, score
from typer.testing import CliRunner

from nextham.core import BlockMatrix, LCAOSystem, OrbitalBasis
from nextham.data.splits import Split
from nextham.data.store import StoreWriter
from nextham.exceptions import InputError, WriteError
from nextham.testing import synthetic_system, zincblende
from nextham.units import RYDBERG_EV

SCHEMA = Path(__file__).parents[2] / "benchmark" / "schemas" / "scores.schema.json"
BASES = {"GaAs": "Ga:2s2p1d As:2s2p1d", "AlP": "Al:2s2p1d P:2s2p", "ZnS": "Zn:2s1p1d S:2s2p1d"}


@dataclasses.dataclass(frozen=True)
class Stores:
    folder: Path
    reference: Path
    prediction: Path  # Hamiltonians
    corrections: Path
    systems: dict[str, LCAOSystem]
    predicted: dict[str, BlockMatrix]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    folder = tmp_path_factory.mktemp("stores")
    systems, predicted = {}, {}
    for n, (formula, basis) in enumerate(BASES.items()):
        first, second = (word.split(":")[0] for word in basis.split())
        crystal = zincblende(first, second, rattle_ang=0.05)
        system = synthetic_system(crystal, OrbitalBasis.parse(basis), id=f"{formula}-0", seed=n, cutoff_ang=4.5)
        systems[system.ids[0]] = system.with_meta(n_electrons=16.0)
        predicted[system.ids[0]] = noisy(system, seed=n)
    paths = {name: folder / name for name in ("reference", "prediction", "corrections")}
    write(paths["reference"], systems.values())
    write(paths["prediction"], [only(systems[id], p) for id, p in predicted.items()])
    with StoreWriter(paths["corrections"]) as writer:
        for id, p in predicted.items():
            bare = systems[id].without("overlap", "h0", "hamiltonian")
            writer.add(bare, correction=p - systems[id].operator("h0"))
    return Stores(folder, **paths, systems=systems, predicted=predicted)


def write(path: Path, systems) -> Path:
    with StoreWriter(path, overwrite=True) as writer:
        for system in systems:
            writer.add(system)
    return path


def only(system: LCAOSystem, prediction: BlockMatrix) -> LCAOSystem:
    return system.without("overlap", "h0").with_operator("hamiltonian", prediction.values)


def refusal(request_of) -> str:
    with pytest.raises(InputError) as error:
        score(request_of())
    return str(error.value)


def test_the_command_writes_scores_that_plain_loops_and_the_schema_agree_with(stores: Stores) -> None:
    out = stores.folder / "scores.json"
    words = ["score", "--reference", stores.reference, "--prediction", stores.prediction, "-o", out, "--name", "ours"]
    result = CliRunner().invoke(app, [str(w) for w in words])
    assert result.exit_code == 0, result.output
    assert "overall" in result.output
    assert "↑↑" in result.output
    assert "spin-orbit splitting at Γ" in " ".join(result.output.split())
    written = json.loads(out.read_text())
    jsonschema.validate(written, json.loads(SCHEMA.read_text()))
    scores = read_scores(out)
    for protocol in ("full", "paper"):
        plain = [plain_errors(s, stores.predicted[id], protocol=protocol) for id, s in stores.systems.items()]
        table = scores.gauge_mae[protocol]
        assert table.overall.model.macro_mev == pytest.approx(1000 * np.mean([p["overall"] for p in plain]))
        for b, block in enumerate(("uu", "ud", "du", "dd")):
            real, imag = 1000 * np.mean([p["table"][b] for p in plain], axis=0)
            assert table.spin_blocks[block].real.model.macro_mev == pytest.approx(real)
            assert table.spin_blocks[block].imag.model.macro_mev == pytest.approx(imag)
    low_high = scores.headline.intervals["overall"]
    assert low_high.low <= scores.headline.overall.model.macro_mev <= low_high.high
    assert scores.bands is not None
    assert scores.bands.model.mean_mev == pytest.approx(np.mean([r.bands["model"].mean_mev for r in scores.structures]))
    assert set(scores.worst) == set(stores.systems)
    assert not scores.partial
    assert scores.name == "ours"


def test_corrections_and_hamiltonians_score_alike(stores: Stores) -> None:
    a = score(Request(reference=stores.reference, prediction=stores.prediction))
    b = score(Request(reference=stores.reference, prediction=stores.corrections))
    for protocol in ("full", "paper"):
        assert b.gauge_mae[protocol].overall.model.macro_mev == pytest.approx(
            a.gauge_mae[protocol].overall.model.macro_mev, abs=1e-6
        )
    assert b.bands.model.mean_mev == pytest.approx(a.bands.model.mean_mev, abs=1e-5)
    assert a.reference.sha256 == b.reference.sha256
    assert a.prediction.sha256 != b.prediction.sha256


def test_baselines(stores: Stores) -> None:
    h0 = score(Request(reference=stores.reference, baseline="h0", bands=False))
    assert h0.headline.overall.skill == 0
    assert h0.prediction is None
    assert h0.bands is None
    zero = score(Request(reference=stores.reference, baseline="zero", bands=False))
    assert zero.headline.overall.model == zero.headline.overall.zero
    assert zero.headline.overall.zero == h0.headline.overall.zero


def test_a_split_chooses_the_structures(stores: Stores) -> None:
    path = stores.folder / "split.json"
    Split({"train": ("GaAs-0",), "test": ("AlP-0", "ZnS-0")}).save(path)
    scores = score(Request(reference=stores.reference, prediction=stores.prediction, split=path, bands=False))
    assert {row.id for row in scores.structures} == {"AlP-0", "ZnS-0"}
    assert scores.split.subset == "test"
    assert scores.coverage.n_wanted == 2
    Split({"test": ("AlP-0", "Si-0")}).save(path)
    text = refusal(lambda: Request(reference=stores.reference, prediction=stores.prediction, split=path))
    assert text == (
        f"{path} names 1 structures of test that {stores.reference} does not hold, such as Si-0; "
        "the split belongs to another dataset"
    )


def test_a_partial_prediction_is_refused_or_marked(stores: Stores, tmp_path: Path) -> None:
    some = [only(stores.systems[id], stores.predicted[id]) for id in ("AlP-0", "ZnS-0")]
    path = write(tmp_path / "some", some)
    request = Request(reference=stores.reference, prediction=path, bands=False)
    assert refusal(lambda: request) == (
        "the prediction does not cover the 3 structures to be scored: 1 missing (GaAs-0); "
        "complete it, or score what there is with --allow-partial (not ranked)"
    )
    scores = score(dataclasses.replace(request, allow_partial=True))
    assert scores.partial
    assert scores.coverage.missing == ("GaAs-0",)
    assert scores.headline.n_structures == 2


def test_a_prediction_in_rydberg_is_recognised(stores: Stores, tmp_path: Path) -> None:
    systems = [only(stores.systems[id], p * (1 / RYDBERG_EV)) for id, p in stores.predicted.items()]
    path = write(tmp_path / "rydberg", systems)
    text = refusal(lambda: Request(reference=stores.reference, prediction=path, bands=False))
    assert text == (
        "the prediction is in Rydberg (1/13.6 of the reference) in 3 of 3 structures; "
        "stores hold eV, in the order and signs of docs/conventions.md"
    )


def test_one_of_prediction_and_baseline_is_needed(stores: Stores) -> None:
    text = refusal(lambda: Request(reference=stores.reference))
    assert text == "give either --prediction STORE or --baseline zero|h0"


def test_the_schema_in_the_repository_is_the_one_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema(), (
        "run: nextham-bench schema > benchmark/schemas/scores.schema.json"
    )


def test_files_that_are_no_scores(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    with pytest.raises(InputError, match=r"there is no scores file .*; make one with nextham-bench score"):
        read_scores(path)
    path.write_text('{"schema_version": "2",')
    with pytest.raises(InputError, match=r"scores.json is not JSON \(.*, line 1\)"):
        read_scores(path)
    path.write_text('{"schema_version": "9"}')
    with pytest.raises(InputError, match="not a scores file of schema version 2: schema_version: Input should be '2'"):
        read_scores(path)


def test_json_on_standard_output(stores: Stores) -> None:
    words = ["score", "--reference", stores.reference, "--baseline", "h0", "--no-bands", "--json"]
    result = CliRunner().invoke(app, [*map(str, words), "-o", str(stores.folder / "h0.json")])
    assert Scores.model_validate_json(result.stdout).baseline == "h0"


def test_scores_in_a_place_that_cannot_be_written(stores: Stores) -> None:
    (stores.folder / "file").touch()
    path = stores.folder / "file" / "scores.json"
    words = ("score", "--reference", stores.reference, "--baseline", "h0", "--no-bands", "-o", path)
    result = CliRunner().invoke(app, [str(w) for w in words])
    assert isinstance(result.exception, WriteError)
    assert str(result.exception) == (
        f"{path} cannot be written: a file is where a folder is needed; choose another place"
    )
