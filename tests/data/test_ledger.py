"""The ledger survives kills, and several processes may write to it."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from nextham.data.ledger import Ledger
from nextham.exceptions import InputError


def test_events_come_back_in_order(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "run" / "ledger.jsonl")
    assert ledger.entries() == []
    ledger.failure("Fe", "scf", "unconverged", "Fe did not converge", log_tail="a\nb", attempts=[{"mixing_beta": 0.1}])
    ledger.success("GaAs", "scf", scf_steps=12)
    ledger.success("Fe", "scf", scf_steps=80)
    first, second, third = ledger.entries()
    assert (first.id, first.ok, first.cause, first.message) == ("Fe", False, "unconverged", "Fe did not converge")
    assert first.log_tail == "a\nb"
    assert first.attempts == ({"mixing_beta": 0.1},)
    assert second.facts == {"scf_steps": 12}
    assert first.time <= second.time <= third.time
    assert ledger.summary() == {"ok": 2}  # Fe was mended
    assert ledger.last()["Fe"] == third


def test_a_line_cut_off_by_a_kill_costs_that_line_alone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.success("a", "scf")
    ledger.success("b", "scf")
    ledger.path.write_text(ledger.path.read_text()[:-20])
    assert [entry.id for entry in ledger.entries()] == ["a"]
    ledger.success("c", "scf")
    assert [entry.id for entry in ledger.entries()] == ["a", "c"]


def test_a_foreign_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"structure": "a"}\n')
    with pytest.raises(InputError) as raised:
        Ledger(path).entries()
    assert str(raised.value) == f"{path}, line 1 is not an event of a ledger; remove it"


def test_lines_of_two_processes_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_write, [path, path], ["a", "b"]))
    assert len(Ledger(path).entries()) == 100


def _write(path: Path, name: str) -> None:
    for k in range(50):
        Ledger(path).success(f"{name}{k}", "scf", note="x" * 2000)
