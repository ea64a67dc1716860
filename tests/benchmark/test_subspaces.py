"""Errors in the reference's eigenvectors against plain loops, and against the training loss."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from bench_oracle_levels import plain_subspaces
from bench_predictions import noisy
from nextham_bench.metrics.gauge_mae import gauge_errors
from nextham_bench.metrics.levels import solved
from nextham_bench.metrics.subspaces import SubspaceErrors, subspace_errors
from nextham_bench.tasks import tasks

from nextham.core import BlockMatrix, LCAOSystem
from nextham.physics import subspace
from nextham.physics.align import aligned
from nextham.physics.bands import eigenproblem
from nextham.physics.spin import spin_scalar

K = [
    (a / 2 + 0.11, b / 2 + 0.23, c / 2 + 0.37) for a, b, c in itertools.product(range(2), repeat=3)
]  # as in docs/benchmark.md


def measured(system: LCAOSystem, model: BlockMatrix, fermi: float) -> SubspaceErrors:
    shifts = gauge_errors(system, model).shifts
    return subspace_errors(system, {"model": model}, shifts, fermi_ev=fermi)["model"]


@pytest.mark.parametrize("kind", ["synthetic", "magnetic", "real"])
def test_every_number_equals_plain_loops(kind: str, request: pytest.FixtureRequest, example) -> None:
    names = {"synthetic": "synthetic", "magnetic": "synthetic_magnetic"}
    system = example("Si-dia-1").system if kind == "real" else request.getfixturevalue(names[kind])
    system = system.with_meta(n_electrons=20.0) if kind != "real" else system
    fermi = solved(system, {}).fermi - (0.0 if kind == "real" else 8.0)  # the made-up levels end below E_F + 10 eV
    model = noisy(system)
    found = measured(system, model, fermi)
    mu = gauge_errors(system, model).shifts["model"]
    plain = plain_subspaces(system, model, mu=mu, fermi=fermi, ks=K)
    assert (found.p, found.pq, found.q) == tuple(pytest.approx(x, rel=1e-6) for x in plain)


def test_the_training_loss_finds_the_same_at_the_same_k(example) -> None:
    from nextham.train.spectral import Spectrum

    system = example("AlP-zb-1").system  # distorted: at Γ, which training takes too, nothing is degenerate
    model = noisy(system)
    spectrum = Spectrum.of(system, n_k=5, cut_ev=tasks().subspaces.cut_ev, seed=3)
    error, _ = aligned(model - system.operator("hamiltonian"), system.operator("overlap"))
    trained = spectrum.errors(torch.tensor(error.values[0].real))
    k = Spectrum.k_points(system.ids[0], n_k=5, seed=3)
    fermi = system.meta[0].fermi_energy_ev
    assert fermi is not None
    found = measured_at(system, model, fermi, k)
    np.testing.assert_allclose(trained.numpy(), found, rtol=1e-9)


def measured_at(system: LCAOSystem, model: BlockMatrix, fermi: float, k: np.ndarray) -> list[float]:
    """The benchmark's number at other k than its own."""
    shifts = gauge_errors(system, model).shifts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subspace, "k_points", lambda mesh, offset: k)
        found = subspace_errors(system, {"model": model}, shifts, fermi_ev=fermi)["model"]
    return [found.p or 0.0, found.pq or 0.0, found.q or 0.0]


def test_a_multiple_of_the_overlap_is_no_error(alsb: LCAOSystem) -> None:
    found = measured(alsb, alsb.operator("hamiltonian") + 2.0 * alsb.operator("overlap"), 7.0)
    assert max(found.p or 0, found.pq or 0, found.q or 0) < 1e-9


def test_without_levels_above_there_is_no_q(alsb: LCAOSystem) -> None:
    found = measured(alsb, noisy(alsb), 1e6)
    assert found.p is not None
    assert found.pq is found.q is None


def test_no_level_is_degenerate_where_eigenvectors_are_taken(example) -> None:
    """Eigenvectors of degenerate levels are not unique: in a perfect crystal at Γ the means would not be either."""
    task = tasks().subspaces
    for name in ("Si-dia-0", "AlSb-zb-0", "NaCl-rs-0"):
        system = example(name).system
        scalar = system.with_operator("hamiltonian", spin_scalar(system.operator("hamiltonian")).values)
        energies = eigenproblem(scalar, subspace.k_points(task.mesh, task.offset)).energies[:, ::2]  # one of each spin
        assert np.diff(energies, axis=1).min() > 1e-5, name
