"""A recorded run, unpacked: once per session to read, and a copy per test to break."""

from __future__ import annotations

import shutil

import pytest
from abacus_files import unpacked


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    return unpacked("BeS-zb-0", tmp_path_factory.mktemp("reader"))


@pytest.fixture
def case(original, tmp_path):
    return shutil.copytree(original, tmp_path / "case-BeS")
