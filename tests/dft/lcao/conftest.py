"""Tables of made-up species do not go to the user's cache; tests on CUDA are skipped where there is none."""

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


@pytest.fixture(scope="session")
def cuda():
    """Settings that compute on CUDA."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return {"device": "cuda"}
