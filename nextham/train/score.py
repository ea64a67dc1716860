"""How good a network is on structures with labels."""

from __future__ import annotations

import dataclasses

import torch

from nextham.model.network import NextHAM
from nextham.train.loader import Loader
from nextham.train.loss import aligned_errors, gauge_mae
from nextham.train.settings import TrainSettings


@dataclasses.dataclass(frozen=True)
class Score:
    """Macro means over structures, meV."""

    mae_mev: float  # overall Gauge MAE: the mean modulus over the four spin blocks
    h0_mev: float  # the same of H0
    p_mev: float  # mean |C† E(k) C| among the levels P; 0 without spectra
    pq_mev: float  # between P and the levels above
    q_mev: float  # and among those

    @property
    def skill(self) -> float:
        """1 - MAE / MAE of H0."""
        return 1 - self.mae_mev / self.h0_mev

    def objective(self, options: TrainSettings) -> float:
        """Return what decides which checkpoint is best: the loss in full force with the Gauge MAE, without traces."""
        levels = options.p_weight * self.p_mev + options.pq_weight * self.pq_mev + options.q_weight * self.q_mev
        return 2 * self.mae_mev + levels

    def metrics(self) -> dict[str, float]:
        """Return the numbers under the names that checkpoints and logs use."""
        return {
            "val_mev": self.mae_mev,
            "val_h0_mev": self.h0_mev,
            "val_skill": self.skill,
            "val_p_mev": self.p_mev,
            "val_pq_mev": self.pq_mev,
            "val_q_mev": self.q_mev,
        }


def evaluate(network: NextHAM, loader: Loader, device: torch.device) -> Score:
    """Return the score of a network on every structure of a loader."""
    network.eval()
    rows: list[tuple[float, ...]] = []
    with torch.no_grad():
        for sample in loader.all():
            moved = sample.to(device)
            batch = moved.batch
            if batch.target is None or batch.h0_error is None:
                raise ValueError("only batches with labels can be scored")
            error = network(batch, traces=False).correction - batch.target
            found, prior = gauge_mae(error, batch).tolist(), gauge_mae(batch.h0_error, batch).tolist()
            levels = [[0.0] * 3] * len(found)
            if moved.spectra:
                parts = zip(moved.spectra, aligned_errors(error, batch), strict=True)
                levels = [spectrum.errors(e[0]).tolist() for spectrum, e in parts]
            # half: the loss is half the sum over the four spin blocks, the score their mean
            rows += [(a / 2, b / 2, *means) for a, b, means in zip(found, prior, levels, strict=True)]
    return Score(*(1e3 * sum(column) / len(rows) for column in zip(*rows, strict=True)))
