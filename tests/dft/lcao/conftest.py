"""Tables of made-up species do not go to the user's cache."""

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    before = os.environ.get("NEXTHAM_CACHE")
    if before is None:
        os.environ["NEXTHAM_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["NEXTHAM_CACHE"]
