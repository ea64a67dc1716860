"""Campaigns in a folder of the test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; what is computed is computed in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nextham.campaign.chunk._APART", False)
    return tmp_path
