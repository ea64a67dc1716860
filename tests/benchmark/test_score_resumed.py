"""Many structures: scores that were stopped go on, in any number of processes, and say what is wrong with which."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr
from bench_predictions import noisy
from nextham_bench import score as scoring
from nextham_bench.kept import Kept
from nextham_bench.measure import Measured, measured
from nextham_bench.schema import Coverage, DataRecord, Scores, read_scores
from nextham_bench.score import Request, score, score_to, summarised

from nextham.core import LCAOSystem, OrbitalBasis
from nextham.data.store import Store, StoreWriter
from nextham.exceptions import InputError, NexthamError, WriteError
from nextham.testing import synthetic_system, zincblende

N = 5


def crystal(n: int) -> LCAOSystem:
    basis = OrbitalBasis.parse("Ga:1s1p As:1s1p")
    system = synthetic_system(zincblende(rattle_ang=0.05), basis, id=f"GaAs-{n}", seed=n, cutoff_ang=4.0)
    return system.with_meta(n_electrons=8.0)


def predicted(system: LCAOSystem, *, seed: int) -> LCAOSystem:
    return system.without("overlap", "h0").with_operator("hamiltonian", noisy(system, seed=seed).values)


@pytest.fixture
def request_of(tmp_path: Path) -> Request:
    systems = [crystal(n) for n in range(N)]
    write(tmp_path / "reference", systems)
    write(tmp_path / "prediction", [predicted(s, seed=n) for n, s in enumerate(systems)])
    return Request(reference=tmp_path / "reference", prediction=tmp_path / "prediction")


def write(path: Path, systems: list[LCAOSystem]) -> None:
    with StoreWriter(path, overwrite=True, allow_empty=True) as writer:
        for system in systems:
            writer.add(system)


def counted(monkeypatch: pytest.MonkeyPatch, *, stop_after: int | None = None) -> list[str]:
    """Count what is measured, and stop as a killed process would: between two structures."""
    seen: list[str] = []
    plain = scoring._measure

    def measure(request: Request, id: str) -> Measured | str:
        if stop_after is not None and len(seen) == stop_after:
            raise KeyboardInterrupt
        seen.append(id)
        return plain(request, id)

    monkeypatch.setattr(scoring, "_measure", measure)
    return seen


def test_a_score_that_was_stopped_goes_on_and_is_the_same_to_the_last_bit(
    request_of: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = score_to(request_of, tmp_path / "plain.json")
    out, kept = tmp_path / "deep" / "scores.json", tmp_path / "deep" / "scores.json.measured.jsonl"
    with monkeypatch.context() as patch:
        counted(patch, stop_after=2)
        with pytest.raises(KeyboardInterrupt):
            score_to(request_of, out)
    assert not out.exists()
    assert len(kept.read_text().splitlines()) == 2
    with kept.open("a") as file:
        file.write(kept.read_text()[:300])  # a line that was cut off by the end of its process
    seen = counted(monkeypatch)
    again = score_to(request_of, out)
    assert seen == [f"GaAs-{n}" for n in range(2, N)]
    assert "scoring (2 of 5 are measured): 3/3 (100 %)" in capsys.readouterr().err
    assert again == plain
    assert out.read_bytes() == (tmp_path / "plain.json").read_bytes()
    assert sorted(p.name for p in out.parent.iterdir()) == ["scores.json"]


def test_processes_change_no_bit(request_of: Request) -> None:
    assert score(dataclasses.replace(request_of, jobs=2)) == score(request_of)


@pytest.mark.slow
def test_a_killed_command_goes_on(request_of: Request, tmp_path: Path) -> None:
    """The real thing: SIGKILL in the middle of a command with two processes."""
    out = tmp_path / "scores.json"
    words = ["score", "--reference", request_of.reference, "--prediction", request_of.prediction, "-j", "2", "-o", out]
    code = "from nextham_bench.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stderr=subprocess.DEVNULL)
    kept = tmp_path / "scores.json.measured.jsonl"
    while process.poll() is None and not (kept.exists() and kept.stat().st_size):
        os.sched_yield()
    process.kill()
    process.wait()
    score_to(request_of, out)
    assert read_scores(out) == score(dataclasses.replace(request_of))
    assert not kept.exists()


@pytest.mark.parametrize("change", ["prediction", "reference", "fermi level", "bands", "definitions"])
def test_what_changed_is_measured_again(
    request_of: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    kept = tmp_path / "kept.jsonl"
    with Kept(kept) as file:
        score(request_of, kept=file)
    systems = [crystal(n) for n in range(N)]
    expected = ["GaAs-3"]
    if change == "prediction":
        write(request_of.prediction, [predicted(s, seed=9 if n == 3 else n) for n, s in enumerate(systems)])
    elif change == "reference":
        systems[3] = systems[3].with_operator("h0", systems[3].operators["h0"] * 1.01)
        write(request_of.reference, systems)
    elif change == "fermi level":
        systems[3] = systems[3].with_meta(fermi_energy_ev=0.1)
        write(request_of.reference, systems)
    elif change == "bands":
        request_of, expected = dataclasses.replace(request_of, bands=False), [f"GaAs-{n}" for n in range(N)]
    else:
        other = scoring.tasks().model_copy(update={"metric_version": "0.0"})
        monkeypatch.setattr(scoring, "tasks", lambda: other)
        expected = [f"GaAs-{n}" for n in range(N)]
    seen = counted(monkeypatch)
    with Kept(kept) as file:
        again = score(request_of, kept=file)
    assert seen == expected
    assert again == score(request_of)


def test_another_protocol_and_name_need_no_new_measurement(
    request_of: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Kept(tmp_path / "kept.jsonl") as kept:
        score(request_of, kept=kept)
        seen = counted(monkeypatch)
        paper = score(dataclasses.replace(request_of, protocol="paper", name="mine", jobs=1), kept=kept)
    assert seen == []
    assert (paper.protocol, paper.name) == ("paper", "mine")


def test_kept_numbers_come_back_bit_by_bit(tmp_path: Path) -> None:
    system = crystal(0)
    one = measured(system, noisy(system))
    with Kept(tmp_path / "kept.jsonl") as kept:
        kept.add("a", one)
        assert kept.get("a") == one
    with Kept(tmp_path / "kept.jsonl") as kept:
        assert "a" in kept
        assert "b" not in kept
        assert kept.get("a") == one


def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(
    request_of: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = counted(monkeypatch)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path, why in (
        (tmp_path / "file" / "scores.json", "a file is where a folder is needed; choose another place"),
        (tmp_path / "folder", "a folder is where a file is needed; choose another name"),
    ):
        with pytest.raises(WriteError) as error:
            score_to(request_of, path)
        assert str(error.value) == f"{path} cannot be written: {why}"
    assert seen == []


def test_changed_numbers_are_refused(request_of: Request) -> None:
    """A submission whose numbers somebody changed after it was written."""
    assert request_of.prediction is not None
    shard = zarr.open_group(request_of.prediction / "shard-00000.zarr", mode="r+")
    values = shard["hamiltonian"]
    values[10] = values[10] + 1e-3
    text = f"{request_of.prediction}: the numbers of GaAs-0 are not those that were written (their checksum is another)"
    with pytest.raises(InputError) as error:
        score(request_of)
    assert str(error.value) == f"{text}; fetch or pack it again"
    partial_score = score(dataclasses.replace(request_of, allow_partial=True))
    assert list(partial_score.coverage.refused) == ["GaAs-0"]
    assert partial_score.coverage.refused["GaAs-0"].startswith(text)
    assert partial_score.partial
    assert partial_score.headline.n_structures == partial_score.coverage.n_scored == N - 1
    assert "GaAs-0" not in {row.id for row in partial_score.structures}


def test_one_bad_structure_is_named_and_as_a_part_left_out(request_of: Request) -> None:
    systems = [predicted(crystal(n), seed=n) for n in range(N)]
    values = np.array(systems[2].operators["hamiltonian"])
    values[0, 5] = np.inf
    systems[2] = systems[2].with_operator("hamiltonian", values)
    assert request_of.prediction is not None
    write(request_of.prediction, systems)
    with pytest.raises(InputError) as error:
        score(request_of)
    assert str(error.value) == "the prediction of GaAs-2 has 1 values that are not finite numbers (NaN or infinite)"
    found = score(dataclasses.replace(request_of, allow_partial=True))
    assert found.coverage.refused == {"GaAs-2": str(error.value)}
    write(request_of.prediction, [systems[2]])
    with pytest.raises(InputError, match="none of the 1 structures can be scored: the prediction of GaAs-2 has 1 val"):
        score(dataclasses.replace(request_of, allow_partial=True))


def test_numbers_that_are_nan(request_of: Request) -> None:
    systems = [predicted(crystal(n), seed=n) for n in range(N)]
    values = np.array(systems[2].operators["hamiltonian"])
    values[0, 5] = np.nan
    assert request_of.prediction is not None
    write(request_of.prediction, [*systems[:2], systems[2].with_operator("hamiltonian", values), *systems[3:]])
    with pytest.raises(InputError, match=r"the hamiltonian of GaAs-2 cannot be read .* \(numbers are missing or NaN\)"):
        score(request_of)


def test_a_prediction_without_a_hamiltonian(request_of: Request) -> None:
    assert request_of.prediction is not None
    write(request_of.prediction, [crystal(n).without("hamiltonian") for n in range(N)])
    with pytest.raises(InputError) as error:
        score(request_of)
    assert str(error.value) == (
        "the prediction of GaAs-0 holds neither a hamiltonian nor a correction, only overlap, h0"
    )


def test_an_id_that_a_store_lists_twice(request_of: Request) -> None:
    assert request_of.prediction is not None
    about = json.loads((request_of.prediction / "store.json").read_text())
    about["shards"][0]["ids"][1] = "GaAs-0"
    (request_of.prediction / "store.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"store.json lists an id twice; pack the store again"):
        score(request_of)


def test_a_process_that_dies_says_which_structure_it_was_at(
    request_of: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_measure", partial(die_at, "GaAs-3"))
    with pytest.raises(NexthamError) as error:
        score_to(dataclasses.replace(request_of, jobs=2), tmp_path / "scores.json")
    assert str(error.value) == (
        "the process that scored GaAs-3 was ended, most likely for want of memory; start again with fewer --jobs, "
        "it goes on"
    )
    assert (tmp_path / "scores.json.measured.jsonl").exists()


def die_at(victim: str, request: Request, id: str) -> Measured | str:
    if id == victim:
        os.kill(os.getpid(), 9)
    return measured(Store(request.reference)[id], Store(request.reference)[id].operator("h0"), bands=False)


def test_one_structure_and_an_exact_h0(tmp_path: Path) -> None:
    """No interval, no skill, no division by zero."""
    system = crystal(0)
    exact = system.with_operator("h0", system.operators["hamiltonian"])
    write(tmp_path / "reference", [exact])
    found = score(Request(reference=tmp_path / "reference", baseline="h0"))
    assert found.headline.overall.skill is None
    assert found.headline.overall.h0.macro_mev == found.headline.overall.model.macro_mev == 0
    assert set(found.headline.intervals.values()) == {None}
    assert found.bands is not None
    assert found.bands.model.mean_mev == 0
    assert set(found.bands.intervals.values()) == {None}
    assert Scores.model_validate_json(found.model_dump_json()) == found


def test_an_exact_h0_among_others_keeps_skill_and_interval(tmp_path: Path) -> None:
    systems = [crystal(n) for n in range(12)]
    systems[0] = systems[0].with_operator("h0", systems[0].operators["hamiltonian"])
    write(tmp_path / "reference", systems)
    found = score(Request(reference=tmp_path / "reference", baseline="h0", bands=False))
    assert found.headline.overall.skill == 0
    interval = found.headline.intervals["skill"]
    assert interval is not None
    assert interval.low == interval.high == 0


def test_an_empty_store(tmp_path: Path, request_of: Request) -> None:
    write(tmp_path / "empty", [])
    with pytest.raises(InputError) as error:
        score(Request(reference=tmp_path / "empty", baseline="h0"))
    assert str(error.value) == f"{tmp_path / 'empty'} holds no structures; there is nothing to score"
    with pytest.raises(InputError, match="the prediction has none of the 5 structures to be scored"):
        score(dataclasses.replace(request_of, prediction=tmp_path / "empty", allow_partial=True))


N_MANY = 300


def test_memory_does_not_grow_with_what_is_measured(tmp_path: Path) -> None:
    """A structure costs what its line of scores.json does: 3,000 of them some 50 MB, whatever their size."""
    one = measured(crystal(0), noisy(crystal(0)))
    request = Request(reference=tmp_path / "reference", baseline="h0")
    records = (DataRecord(name="r", sha256="", n_structures=N_MANY), None)
    with Kept(tmp_path / "kept.jsonl") as kept:
        for n in range(N_MANY):
            kept.add(str(n), dataclasses.replace(one, id=f"GaAs-{n}"))
        tracemalloc.start()
        found = summarised(
            (kept.get(str(n)) for n in range(N_MANY)),
            request=request,
            records=records,
            coverage=Coverage(n_wanted=N_MANY, n_scored=N_MANY),
        )
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert found.headline.n_structures == len(found.structures) == N_MANY
    assert found.headline.overall.model.macro_mev == pytest.approx(
        found.structures[0].overall_mev["full"]["model"], rel=1e-12
    )
    assert peak < 16e3 * N_MANY, f"{peak / N_MANY:.0f} bytes a structure"
