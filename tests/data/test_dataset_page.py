"""The page on the format says what is on disk: its snippet runs and gives the numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextham.core import OrbitalBasis, SpinLayout
from nextham.data.record import STORED
from nextham.data.shard import INDEX
from nextham.data.store import Store, StoreWriter
from nextham.testing import magnetic, synthetic_system, zincblende

PAGE = Path(__file__).parents[2] / "docs" / "dataset.md"


def test_the_snippet_reads_h(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    basis = OrbitalBasis.parse("Ga:2s2p1d As:1s1p")
    first = magnetic(synthetic_system(zincblende(), basis, id="first", cutoff_ang=4.0))
    second = synthetic_system(zincblende(rattle_ang=0.1), basis, id="second", cutoff_ang=4.0, seed=1)
    with StoreWriter(tmp_path / "results" / "dataset") as writer:
        writer.add(first)
        writer.add(second)
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code is not None
    for k, id in enumerate(("first", "second")):
        names: dict[str, Any] = {}
        exec(code[1].replace('k = "results/dataset", 0', f'k = "results/dataset", {k}'), names)
        expected = Store("results/dataset")[id].operator("hamiltonian").with_layout(SpinLayout.FULL)
        np.testing.assert_array_equal(names["h"], expected.values)


def test_the_page_names_every_array() -> None:
    page = PAGE.read_text()
    assert [name for name in (*INDEX, *STORED) if f"`{name}`" not in page] == []
