"""What is minimised: the numbers, their gradients through μ, and what the errors of levels are for."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from small_training import MODEL, fit, system

from nextham.core import LCAOSystem
from nextham.model.batch import Batch
from nextham.model.network import Output
from nextham.model.vocabulary import Vocabulary
from nextham.physics.align import aligned
from nextham.physics.errors import moduli
from nextham.train.loss import Losses, Measure, aligned_errors, gauge_mae, trace_targets
from nextham.train.sample import Builder, Sample
from nextham.train.settings import FitSettings, TrainSettings


def batch_of(systems: list[LCAOSystem]) -> Batch:
    joined = LCAOSystem.concat(systems)
    return Batch.build(joined, Vocabulary(joined.basis), settings=MODEL, dtype=torch.float64, labels=True)


def owner(batch: Batch) -> torch.Tensor:
    """The structure of each value."""
    return torch.arange(len(batch.n_values)).repeat_interleave(torch.tensor(batch.n_values))


def test_loss_is_the_benchmarks_gauge_mae():
    systems = [system("a"), system("b")]
    batch = batch_of(systems)
    found = gauge_mae(-batch.target, batch)
    for k, one in enumerate(systems):
        error, _ = aligned(one.operator("h0") - one.operator("hamiltonian"), one.operator("overlap"))
        weight = error.pairs.multiplicity[error.pair_of_value]
        expected = (moduli(error)[2] * weight).sum() / weight.sum() / 4
        assert found[k].item() / 2 == pytest.approx(expected, rel=1e-12)


def test_loss_does_not_feel_an_energy_shift_nor_does_its_gradient():
    batch = batch_of([system("a"), system("b")])
    error = (batch.target * 0.3).requires_grad_()
    shift = torch.tensor([0.7, -0.2], dtype=torch.float64)[owner(batch)] * batch.overlap[None]
    assert (gauge_mae(error + shift, batch) - gauge_mae(error, batch)).abs().max() < 1e-12
    gauge_mae(error, batch).sum().backward()
    assert abs((error.grad * shift).sum()) < 1e-12


def test_trace_targets_are_traces_of_shell_pairs():
    one = system("a")
    batch = batch_of([one])
    group = batch.onsite.groups[0]
    block = batch.target[0, group.index[0]].reshape(9, 9)  # Ga: s, p, d
    starts = [0, 1, 4, 9]
    expected = [(block[a:b, c:d] ** 2).sum() for a, b in pairwise(starts) for c, d in pairwise(starts)]
    assert trace_targets(batch)[0][0].tolist() == pytest.approx([float(e) for e in expected])


LEVELS = {"p_weight": 0.3, "pq_weight": 0.2, "q_weight": 0.1, "p_cut_ev": 1.0, "k_pool": 3}
FORMS = list(product(("mae", "mse", "huber"), ("real-space", "all-terms")))


def known(id: str) -> LCAOSystem:
    """A crystal whose Fermi level is on record, so that there are levels Q."""
    return system(id).with_meta(fermi_energy_ev=0.0)


def sample_of(*systems: LCAOSystem, settings: FitSettings) -> Sample:
    build = Builder(Vocabulary(LCAOSystem.concat(list(systems)).basis), settings)
    return Sample(Batch.joined([build.batch(s) for s in systems]), tuple(build.spectrum(s) for s in systems))


def measured(sample: Sample, correction: torch.Tensor, settings: FitSettings, *, share: float = 0.7) -> Losses:
    n_k = len(sample.spectra[0].phase)
    measure = Measure(settings.train, 1.0)
    return measure.losses(Output(correction, None), sample, k_at=torch.arange(n_k), share=share)


@pytest.mark.parametrize(("real_loss", "shift"), FORMS)
def test_gradient_of_the_loss_is_that_of_finite_differences(real_loss, shift):
    settings = fit(real_loss=real_loss, shift=shift, real_scale_mev=40.0, precision="float64", **LEVELS)
    sample = sample_of(known("a"), known("b"), settings=settings)
    rng = torch.Generator().manual_seed(0)
    n = len(sample.batch.overlap)
    x = (0.1 * torch.randn(n, generator=rng, dtype=torch.float64)).requires_grad_()

    assert all(min(s.low.sum(), s.high.sum()) > 10 for s in sample.spectra)

    def loss(correction: torch.Tensor) -> torch.Tensor:
        return measured(sample, correction, settings).total(settings.train, share=0.7)

    loss(x).backward()
    s, which = sample.batch.overlap, owner(sample.batch)
    along = [torch.randn(n, generator=rng, dtype=torch.float64), s * (which == 0), s * torch.rand_like(s)]
    for direction in along:
        h = 1e-7 * direction
        with torch.no_grad():
            change = float(loss(x + h) - loss(x - h)) / 2e-7
        assert change == pytest.approx(float((x.grad * direction).sum()), rel=1e-6, abs=1e-4)
    # the second direction is an energy shift of one structure: μ follows it, so nothing may change
    assert abs(float((x.grad * along[1]).sum())) < 1e-8
    with torch.no_grad():
        assert float(loss(x + 3.0 * along[1]) - loss(x)) == pytest.approx(0, abs=1e-8)


def test_forms_of_the_real_space_loss():
    settings = [fit(real_loss=form, real_scale_mev=100.0, **LEVELS) for form in ("mae", "mse", "huber")]
    sample = sample_of(known("a"), settings=settings[0])
    correction = torch.zeros_like(sample.batch.target)
    mae, mse, huber = (measured(sample, correction, one) for one in settings)
    e = 1e3 * aligned_errors(-sample.batch.target, sample.batch)[0][0].abs()
    weight = sample.batch.multiplicity / sample.batch.multiplicity.sum()
    assert torch.equal(mae.real, mae.gauge_mae_mev)
    assert torch.equal(mse.gauge_mae_mev, mae.gauge_mae_mev)
    assert float(mse.real) == pytest.approx(float((weight * e**2).sum() / 200))
    expected = (weight * torch.where(e < 100, e**2 / 200, e - 50)).sum()
    assert 0 < int((e > 100).sum()) < len(e)
    assert float(huber.real) == pytest.approx(float(expected))


def test_shift_over_all_terms_minimises_their_squares():
    settings = fit(shift="all-terms", real_loss="mse", real_scale_mev=1e3, **LEVELS)
    sample = sample_of(known("a"), settings=settings)
    error = 0.05 * torch.randn(len(sample.batch.overlap), generator=torch.Generator().manual_seed(1)).double()
    found = measured(sample, error + sample.batch.target, settings)

    def squares(mu: float) -> float:
        left = error - mu * sample.batch.overlap
        weight = sample.batch.multiplicity / sample.batch.multiplicity.sum()
        m = sample.spectra[0].projected(left).abs() ** 2
        parts = [t[:, :, None] * t[:, None, :] for t in (sample.spectra[0].low, sample.spectra[0].high)]
        levels = [(m * part).sum() / part.sum() for part in parts]
        return float((weight * left**2).sum() + 0.7 * (0.3 * levels[0] + 0.1 * levels[1]))

    at = np.linspace(-0.1, 0.1, 3)
    a, b, _ = np.polyfit(at, [squares(mu) for mu in at], 2)  # a parabola in μ
    left = error + b / (2 * a) * sample.batch.overlap
    weight = sample.batch.multiplicity / sample.batch.multiplicity.sum()
    assert float(found.real) == pytest.approx(float(1e3 * (weight * left**2).sum() / 2), rel=1e-9)
    levels = 1e3 * sample.spectra[0].errors(left)
    assert torch.stack([found.p_mev, found.pq_mev, found.q_mev]).tolist() == pytest.approx(levels.tolist(), rel=1e-9)


def test_parts_of_a_batch_give_its_losses():
    settings = fit(**LEVELS)
    crystals = [known(id) for id in "abc"]
    whole = sample_of(*crystals, settings=settings)
    correction = 0.1 * torch.randn(len(whole.batch.overlap), generator=torch.Generator().manual_seed(2)).double()
    first, *rest = correction.split(whole.batch.n_values)
    parts = [(crystals[:1], first), (crystals[1:], torch.cat(rest))]
    found = [measured(sample_of(*some, settings=settings), x, settings) for some, x in parts]
    joined, expected = Losses.joined(found), measured(whole, correction, settings)
    for name in ("gauge_mae_mev", "real", "p_mev", "pq_mev", "q_mev"):
        assert torch.allclose(getattr(joined, name), getattr(expected, name), rtol=1e-12)


def test_at_equal_real_space_error_the_loss_of_levels_lowers_their_errors(alsb):
    """A free correction of a real crystal, fitted with and without the errors of levels."""
    sample = sample_of(alsb, settings=FitSettings(train=TrainSettings(k_pool=6, precision="float64")))

    def path(**options: float) -> np.ndarray:
        settings = FitSettings(train=TrainSettings(**options))
        x = torch.zeros_like(sample.batch.target).requires_grad_()
        optimizer = torch.optim.Adam([x], lr=3e-4)
        rows = []
        for _ in range(100):
            found = measured(sample, x, settings, share=1.0)
            rows.append([float(t.detach()) for t in (found.gauge_mae_mev[0], found.p_mev, found.pq_mev)])
            optimizer.zero_grad()
            found.total(settings.train, share=1.0).backward()
            optimizer.step()
        return np.array(rows)

    plain, both = path(p_weight=0.0, pq_weight=0.0), path()
    for mae in (0.6 * plain[0, 0], 0.5 * plain[0, 0]):
        without, with_levels = ([np.interp(-mae, -p[:, 0], p[:, c]) for c in (1, 2)] for p in (plain, both))
        assert with_levels[0] < 0.6 * without[0]
        assert with_levels[1] < 0.6 * without[1]
