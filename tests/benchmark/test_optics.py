"""Optical conductivities and levels by pyatb against plain sums over transitions."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from bench_oracle import directed, spinor
from bench_predictions import noisy
from nextham_bench import pyatb_process
from nextham_bench.metrics.bands import ReferenceFacts, reference_facts
from nextham_bench.metrics.levels import solved
from nextham_bench.metrics.optics import optics_errors, relative_distance
from nextham_bench.pyatb_process import Optics, check_pyatb, spectra
from nextham_bench.score import Request, score
from nextham_bench.tasks import tasks

from nextham.core import LCAOSystem
from nextham.data.store import StoreWriter
from nextham.exceptions import InputError
from nextham.physics.bands import eigenproblem

OPTICS = Optics(mesh=(2, 2, 2), omega_ev=(0.0, 10.0), step_ev=0.1, broadening_ev=0.2, n_occupied=8)
E2_HBAR = 1.602176634e-19**2 / 1.054571817e-34  # S


@pytest.fixture(scope="module")
def pyatb() -> None:
    try:
        check_pyatb()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def alp(example) -> LCAOSystem:
    return example("AlP-zb-0").system


def plain_sigma(system: LCAOSystem, omega: np.ndarray) -> np.ndarray:
    """Re σ_xx: |v_nm|² / E_mn times Lorentzians at ±E_mn, n filled, m empty; v = ∂H - E_n ∂S + i (E_n - E_m) A."""
    start = np.concatenate([[0], np.cumsum(system.n_orb)])
    n, x, a = int(start[-1]), system.positions[:, 0], system.cells[0][:, 0]
    h, s = (directed(system.operator(name)) for name in ("hamiltonian", "overlap"))

    def at(blocks: dict, factor: Callable[[int, int, tuple], complex]) -> np.ndarray:
        full = np.zeros((2, n, 2, n), dtype=complex)
        for (i, j, R), four in blocks.items():
            rows, columns = (slice(start[atom], start[atom + 1]) for atom in (i, j))
            full[:, rows, :, columns] += factor(i, j, R) * spinor(four).reshape(2, four.shape[1], 2, four.shape[2])
        return full.reshape(2 * n, 2 * n)

    found = np.zeros(len(omega))
    for k in itertools.product((0.0, 0.5), repeat=3):

        def phase(R: tuple, k: tuple = k) -> complex:
            return np.exp(2j * np.pi * np.dot(k, R))

        energies, C = scipy.linalg.eigh(at(h, lambda i, j, R: phase(R)), at(s, lambda i, j, R: phase(R)))
        dH, dS = (at(blocks, lambda i, j, R: 1j * np.dot(R, a) * phase(R)) for blocks in (h, s))
        A = at(s, lambda i, j, R: (x[i] + x[j] + np.dot(R, a)) / 2 * phase(R))
        dH, dS, A = (C.conj().T @ matrix @ C for matrix in (dH, dS, A))
        v = dH - energies[:, None] * dS + 1j * (energies[:, None] - energies) * A
        np.testing.assert_allclose(v, v.conj().T, atol=1e-8)
        for filled, empty in itertools.product(range(8), range(8, 2 * n)):
            gap = energies[empty] - energies[filled]
            if gap < 1.5 * omega[-1]:  # pyatb leaves out what is higher
                lorentzians = sum(0.2 / ((gap + sign * omega) ** 2 + 0.2**2) for sign in (1, -1))
                found += abs(v[filled, empty]) ** 2 / gap * lorentzians
    volume = abs(np.linalg.det(system.cells[0])) * 1e-10  # Å: v is in eV Å
    return E2_HBAR / volume * found / 8


@pytest.mark.usefixtures("pyatb")
def test_levels_and_conductivity_equal_plain_ones(alp: LCAOSystem) -> None:
    k = np.array([[0.1, 0.2, -0.3], [0.5, 0.0, 0.25]])
    hamiltonians = {"one": alp.operator("hamiltonian"), "two": alp.operator("h0")}
    found = spectra(alp, hamiltonians, k, optics=OPTICS)
    for name, matrix in hamiltonians.items():
        own = eigenproblem(alp.with_operator("hamiltonian", matrix.values), k).energies
        np.testing.assert_allclose(found.levels[name], own, atol=1e-8)
    sigma = found.sigma_xx["one"].real
    plain = plain_sigma(alp, np.arange(len(sigma)) * OPTICS.step_ev)
    np.testing.assert_allclose(sigma, plain, atol=1e-3 * plain.max())


def facts_of(system: LCAOSystem) -> ReferenceFacts:
    return reference_facts(solved(system, {}))


@pytest.mark.usefixtures("pyatb")
def test_distances_of_a_structure(alp: LCAOSystem) -> None:
    settings = tasks().model_copy(update={"optics": tasks().optics.model_copy(update={"mesh": (2, 2, 2)})})
    h, h0 = alp.operator("hamiltonian"), alp.operator("h0")
    moved = h + 0.8 * alp.operator("overlap")
    found = optics_errors(alp, {"h0": h0, "model": moved}, facts_of(alp), settings=settings)
    assert found.skipped is None
    assert found.model == pytest.approx(0, abs=1e-9)  # an energy shift changes nothing
    assert found.h0 is not None
    assert found.h0 > 0.01
    assert found.bands_max_mev is not None
    assert found.bands_max_mev < 1e-5


def test_the_distance_is_relative() -> None:
    reference = np.array([1.0, 2.0, 3.0, 2.0]) + 5j
    assert relative_distance(1.1 * reference, reference) == pytest.approx(0.1)
    assert relative_distance(reference.real + 0j, reference) == 0
    assert relative_distance(reference, 0 * reference) is None


def test_metals_and_singular_overlaps_have_none_and_say_so(alp: LCAOSystem) -> None:
    columns = {"h0": alp.operator("h0"), "model": alp.operator("h0")}
    metal = dataclasses.replace(facts_of(alp), gap=0.01)
    assert optics_errors(alp, columns, metal).skipped == ("a gap of 0.010 eV is no insulator's, 0.05 eV are asked for")
    singular = dataclasses.replace(facts_of(alp), overlap_min=1e-7)
    assert optics_errors(alp, columns, singular).skipped == "S(k) is nearly singular, and pyatb filters nothing"


@pytest.fixture
def without_pyatb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyatb_process, "find_spec", lambda name: None)
    check_pyatb.cache_clear()
    yield
    check_pyatb.cache_clear()


@pytest.mark.usefixtures("without_pyatb")
def test_without_pyatb_a_score_with_optics_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        score(Request(reference=tmp_path, baseline="h0", optics=True))
    assert str(error.value) == (
        "optical conductivities need pyatb, which there is for Linux on x86_64: pip install 'nextham[pyatb]'"
    )
    with pytest.raises(InputError, match="optical conductivities need the energy levels; leave out --no-bands"):
        Request(reference=tmp_path, baseline="h0", optics=True, bands=False)


def test_without_an_mpi_library_it_says_so_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text("raise ImportError('libmpi.so.40: cannot open shared object file')\n")
    monkeypatch.setattr(pyatb_process, "_CHILD", child)
    monkeypatch.setattr(pyatb_process, "find_spec", lambda name: object())
    check_pyatb.cache_clear()
    with pytest.raises(InputError) as error:
        check_pyatb()
    assert str(error.value).startswith("pyatb cannot be imported (exit status 1: ")
    assert "libmpi.so.40: cannot open shared object file); it needs an MPI library: " in str(error.value)
    check_pyatb.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("pyatb")
def test_a_score_with_optics_leaves_nothing_behind(alp: LCAOSystem, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with StoreWriter(tmp_path / "reference") as writer:
        writer.add(alp)
    with StoreWriter(tmp_path / "prediction") as writer:
        writer.add(alp.without("overlap", "h0").with_operator("hamiltonian", noisy(alp).values))
    found = score(Request(reference=tmp_path / "reference", prediction=tmp_path / "prediction", optics=True))
    assert found.optics is not None
    assert (found.optics.n_structures, found.optics.n_skipped) == (1, 0)
    row = found.structures[0].optics
    assert row is not None
    assert (found.optics.h0, found.optics.model) == (row.h0, row.model)
    assert found.optics.program.startswith("pyatb ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["prediction", "reference"]
