from __future__ import annotations

import numpy as np
import pytest
import torch

from nextham.data.store import Store, StoreWriter
from nextham.exceptions import InputError
from nextham.model import checkpoint
from nextham.model.settings import ModelSettings
from nextham.predict import predict, predicted


@pytest.fixture
def made(synthetic, tmp_path):
    card = checkpoint.Card(ModelSettings(lmax=2, n_blocks=1), synthetic.basis, "synthetic")
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "model", checkpoint.build(card).state_dict(), card)
    with StoreWriter(tmp_path / "store") as writer:
        writer.add(synthetic)
        writer.add(synthetic.with_meta(id="other"))
    return tmp_path


def test_prediction_store_holds_h0_plus_the_correction(made, synthetic):
    predict(Store(made / "store"), made / "model", out=made / "out", ids=["other"])
    store = Store(made / "out")
    assert store.ids == ("other",)
    assert store.operators_of("other") == ("hamiltonian",)
    model, _ = checkpoint.load(made / "model")
    expected = predicted(synthetic, model).operators["hamiltonian"]
    assert (
        np.abs(store["other"].operators["hamiltonian"] - expected).max() < 2e-6
    )  # the network is float32 and the store rounds its inputs
    assert store.provenance("other").engine == "nextham"
    assert store.provenance("other").scf_steps is None


def test_other_h0_definition_is_refused(made, synthetic):
    with StoreWriter(made / "foreign") as writer:
        writer.add(synthetic.with_meta(h0_definition="something else"))
    with pytest.raises(InputError, match="foreign has the H0 definition 'something else', but the checkpoint corrects"):
        predict(Store(made / "foreign"), made / "model", out=made / "out", ids=["synthetic"])
    assert not (made / "out").exists()


def test_nothing_to_predict_is_refused(made):
    with pytest.raises(
        InputError, match="there is no structure to predict; name a subset of the split that is not empty"
    ):
        predict(Store(made / "store"), made / "model", out=made / "out", ids=[])
