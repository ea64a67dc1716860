"""One case for all tests of submissions and boards."""

from __future__ import annotations

import pytest
from board_cases import Case, make_case


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(tmp_path_factory.mktemp("board"))
