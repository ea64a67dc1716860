"""DeepH's folders: round trips to the last bit, and their conventions written down a second time, by hand."""

import json
import shutil

import h5py
import numpy as np
import pytest
import scipy.linalg

from nextham.core import SpinLayout
from nextham.dft.engine import Cause, RunError
from nextham.exceptions import InputError
from nextham.exchange.deeph.export import export_deeph
from nextham.exchange.deeph.layout import Kind, kind_of
from nextham.exchange.deeph.reader import read_deeph
from nextham.exchange.deeph.run import deeph_runs
from nextham.physics.bands import eigenproblem
from nextham.physics.spin import to_spin_blocks
from nextham.physics.symmetry import rehomed

KINDS = list(Kind)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def folder(alsb, tmp_path, kind):
    export_deeph(alsb, tmp_path / "AlSb", kind=kind)
    return tmp_path / "AlSb"


def assert_same(a, b, within=0.0):
    assert a.pairs == b.pairs
    assert a.basis == b.basis
    np.testing.assert_allclose(a.positions, b.positions, atol=1e-14)
    for name in b.operators:
        assert np.abs(to_spin_blocks(a.operators[name]) - to_spin_blocks(b.operators[name])).max() <= within


def test_round_trip_of_a_real_system_with_f_orbitals_is_exact(folder, alsb, kind):
    assert kind_of(folder) is kind
    found = read_deeph(folder).system
    assert_same(found, alsb, within=2e-14)
    meta = found.meta[0]
    assert (meta.id, meta.engine, meta.magnetism) == ("AlSb", kind.value, "nonmagnetic")
    assert meta.fermi_energy_ev == alsb.meta[0].fermi_energy_ev
    assert {len(found.operators[name]) for name in ("h0", "hamiltonian")} == {4}
    assert SpinLayout.of(found.operators["overlap"]) is SpinLayout.SCALAR


def test_round_trip_of_a_magnetic_and_of_a_spinless_system(alsb, tmp_path, kind):
    values = np.zeros((4, alsb.operators["h0"].shape[1]), dtype=complex)
    values[0], values[3] = alsb.operators["h0"][0], 0.01 * alsb.operators["h0"][0]
    magnetic = alsb.with_operator("hamiltonian", values)
    export_deeph(magnetic, tmp_path / "magnetic", kind=kind)
    found = read_deeph(tmp_path / "magnetic").system
    assert_same(found, magnetic, within=2e-14)
    assert (found.meta[0].magnetism, found.meta[0].h0_magnetism) == ("unknown", "nonmagnetic")
    scalar = alsb.without("h0").with_operator("hamiltonian", alsb.operators["h0"][:1])
    export_deeph(scalar, tmp_path / "scalar", kind=kind)
    assert_same(read_deeph(tmp_path / "scalar").system, scalar)
    name = "hamiltonians.h5" if kind is Kind.PACK else "hamiltonian.h5"
    with h5py.File(tmp_path / "scalar" / name) as file:
        assert file[next(iter(file)) if kind is Kind.PACK else "entries"].dtype == np.float64


def test_pack_folder_by_deephs_own_formula(alsb, tmp_path):
    """H(k) = Σ_R H(R) e^(2πi k·R) of the datasets, spin blocks inside each, as DeepH-pack's dense_calc.py has it."""
    folder = tmp_path / "x"
    export_deeph(alsb, folder, kind=Kind.PACK)
    shells = [list(map(int, line.split())) for line in (folder / "orbital_types.dat").read_text().splitlines()]
    sizes = [sum(2 * l + 1 for l in ls) for ls in shells]
    start, n = np.cumsum([0, *sizes]), sum(sizes)
    k = np.array([0.1, -0.3, 0.2])
    h, s = np.zeros((2 * n, 2 * n), complex), np.zeros((2 * n, 2 * n), complex)
    with h5py.File(folder / "hamiltonians.h5") as hs, h5py.File(folder / "overlaps.h5") as ss:
        assert set(hs) == set(ss)
        for key in hs:
            *R, i, j = json.loads(key)
            i, j = i - 1, j - 1
            phase = np.exp(2j * np.pi * np.dot(k, R))
            a, b = hs[key][()], ss[key][()]
            for p in range(2):
                rows = p * n + start[i] + np.arange(sizes[i])
                s[np.ix_(rows, p * n + start[j] + np.arange(sizes[j]))] += phase * b
                for q in range(2):
                    part = a[p * sizes[i] :, q * sizes[j] :][: sizes[i], : sizes[j]]
                    h[np.ix_(rows, q * n + start[j] + np.arange(sizes[j]))] += phase * part
    levels = scipy.linalg.eigvalsh(h, s)
    np.testing.assert_allclose(levels[:30], eigenproblem(alsb, k[None]).energies[0, :30], atol=1e-9)
    cell = np.loadtxt(folder / "lat.dat").T
    np.testing.assert_array_equal(cell, alsb.cells[0])
    np.testing.assert_allclose(cell @ np.loadtxt(folder / "rlat.dat"), 2 * np.pi * np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(np.loadtxt(folder / "site_positions.dat").T, alsb.positions)
    listed = set(map(tuple, np.loadtxt(folder / "R_list.dat", dtype=int).tolist()))
    assert listed == set(map(tuple, np.concatenate([alsb.pairs.R, -alsb.pairs.R]).tolist()))


def test_p_orbitals_are_x_y_z_in_one_and_y_z_x_in_the_other(alsb, tmp_path):
    """⟨s | p⟩ of two atoms is a vector along the line between them."""
    pair = int(np.argsort(np.where(alsb.pairs.onsite, np.inf, alsb.distances))[0])
    (i, j), R = alsb.pairs.ij[pair].tolist(), alsb.pairs.R[pair].tolist()
    along = alsb.vectors[pair] / alsb.distances[pair]
    first_p = alsb.basis.shells(int(alsb.numbers[j])).count(0)
    for kind, axes in ((Kind.PACK, [0, 1, 2]), (Kind.DOCK, [1, 2, 0])):
        export_deeph(alsb, tmp_path / kind, kind=kind)
        if kind is Kind.PACK:
            with h5py.File(tmp_path / kind / "overlaps.h5") as file:
                block = file[f"[{R[0]}, {R[1]}, {R[2]}, {i + 1}, {j + 1}]"][()]
        else:
            with h5py.File(tmp_path / kind / "overlap.h5") as file:
                row = file["atom_pairs"][:].tolist().index([*R, i, j])
                begin, end = file["chunk_boundaries"][row : row + 2]
                block = file["entries"][begin:end].reshape(file["chunk_shapes"][row])
        vector = block[0, first_p : first_p + 3]
        direction = vector / np.linalg.norm(vector)
        np.testing.assert_allclose(np.abs(direction @ along[axes]), 1.0, atol=1e-6)


def test_atoms_of_one_element_may_stand_apart(alsb, tmp_path):
    from nextham.physics.symmetry import permuted, supercell

    mixed = permuted(supercell(alsb, (2, 1, 1)), [0, 2, 1, 3])
    order = [0, 1, 3, 2] if len(set(mixed.numbers[:2].tolist())) == 1 else [0, 1, 2, 3]
    mixed = permuted(mixed, order).with_meta(id="mixed")
    export_deeph(mixed, tmp_path / "x", kind=Kind.DOCK)
    assert_same(read_deeph(tmp_path / "x").system, mixed, within=2e-14)


def test_energies_made_with_another_rydberg(folder, alsb):
    found = read_deeph(folder, rydberg_ev=13.605698).system
    expected = alsb.operators["h0"][0] * (13.605693122994 / 13.605698)
    np.testing.assert_allclose(found.operators["h0"][0], expected, rtol=1e-12, atol=1e-12)
    assert found.meta[0].notes == "energies were made with 1 Ry = 13.605698 eV"


def test_shells_in_another_order_come_into_house_order(alsb, tmp_path):
    export_deeph(alsb, tmp_path / "x", kind=Kind.DOCK)
    info = json.loads((tmp_path / "x" / "info.json").read_text())
    sb = info["elements_orbital_map"]["Sb"]
    assert sb[:3] == [0, 0, 1]
    info["elements_orbital_map"]["Sb"] = [1, *sb[:2], *sb[3:]]  # the first p shell comes first
    (tmp_path / "x" / "info.json").write_text(json.dumps(info))
    order = np.array([2, 3, 4, 0, 1])
    for name in ("overlap", "hamiltonian", "hamiltonian_h0"):
        with h5py.File(tmp_path / "x" / f"{name}.h5", "r+") as file:
            entries, n_spin = file["entries"][()], 1 if name == "overlap" else 2
            for k, (*_, i, j) in enumerate(file["atom_pairs"][:].tolist()):
                begin, end = file["chunk_boundaries"][k : k + 2]
                block = entries[begin:end].reshape(file["chunk_shapes"][k]).copy()
                for axis, atom in ((0, i), (1, j)):
                    if alsb.numbers[atom] == 51:
                        n = block.shape[axis] // n_spin
                        index = np.concatenate([s * n + np.r_[order, 5:n] for s in range(n_spin)])
                        block = np.take(block, index, axis=axis)
                entries[begin:end] = block.reshape(-1)
            file["entries"][...] = entries
    assert_same(read_deeph(tmp_path / "x").system, alsb, within=2e-14)


def test_positions_outside_the_cell(alsb, tmp_path, kind):
    export_deeph(rehomed(alsb, [[0, 0, 0], [1, -1, 0]]), tmp_path / "x", kind=kind)
    found = read_deeph(tmp_path / "x").system
    np.testing.assert_allclose(found.positions, alsb.positions, atol=1e-12)
    assert found.pairs == alsb.pairs
    assert np.abs(found.operators["h0"] - alsb.operators["h0"]).max() < 1e-12


# --- what is wrong ----------------------------------------------------------------------------------------------------


def refusal(folder, cause):
    with pytest.raises(RunError) as raised:
        read_deeph(folder)
    assert raised.value.cause is cause, raised.value
    return str(raised.value)


def test_incomplete_folders(folder, kind):
    matrix = folder / ("overlaps.h5" if kind is Kind.PACK else "overlap.h5")
    content = matrix.read_bytes()
    matrix.unlink()
    assert "there is no" in refusal(folder, Cause.MISSING_FILE)
    matrix.write_bytes(content[: len(content) // 2])
    assert "cannot be read as HDF5" in refusal(folder, Cause.TRUNCATED)
    matrix.write_bytes(content)
    (folder / "info.json").write_text("{")
    assert "is not JSON" in refusal(folder, Cause.BAD_INPUT)
    (folder / "info.json").write_text("[]")
    assert "is no JSON object" in refusal(folder, Cause.BAD_INPUT)
    (folder / "info.json").unlink()
    assert "is no folder of DeepH" in refusal(folder, Cause.MISSING_FILE)


def test_broken_text(alsb, tmp_path):
    folder = tmp_path / "x"
    export_deeph(alsb, folder, kind=Kind.PACK)
    keep = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name, text, cause, words in (
        ("lat.dat", "1 2 x", Cause.BAD_INPUT, "is no table of numbers"),
        ("element.dat", "13\n", Cause.INCONSISTENT, "has 2 positions, 1 elements"),
        ("element.dat", "51\n51\n", Cause.INCONSISTENT, "has two sets of shells"),
        ("orbital_types.dat", "0 p\n0 1\n", Cause.BAD_INPUT, "are no shells"),
        ("orbital_types.dat", "0 1\n0 1\n", Cause.INCONSISTENT, "but the shells and spin make"),
        ("lat.dat", "1 0 0\n0 1 0\n1 1 0\n", Cause.BAD_INPUT, "span no volume"),
        ("site_positions.dat", "0 1\n0 1\n0 1.2\n", Cause.INCONSISTENT, "no two-centre integrals"),
    ):
        (folder / name).write_text(text)
        assert words in refusal(folder, cause)
        (folder / name).write_bytes(keep[name])
    assert read_deeph(folder).system.ids == ("x",)


def test_broken_blocks(alsb, tmp_path):
    folder = tmp_path / "x"
    export_deeph(alsb, folder, kind=Kind.PACK)
    path = folder / "hamiltonians.h5"
    content = path.read_bytes()

    def change(edit):
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            edit(file)

    def drop(file):
        key = next(k for k in file if json.loads(k)[:3] != [0, 0, 0])
        del file[key]

    def poison(file):
        file["[0, 0, 0, 1, 1]"][0, 0] = np.nan

    def rename(file):
        file.move("[0, 0, 0, 1, 1]", "block")

    def elsewhere(file):
        file.move("[0, 0, 0, 1, 1]", "[0, 0, 0, 1, 7]")

    change(drop)
    assert "is not Hermitian" in refusal(folder, Cause.INCONSISTENT)
    change(poison)
    assert "not a finite number" in refusal(folder, Cause.NOT_FINITE)
    change(rename)
    assert 'is no block "[Rx, Ry, Rz, i, j]"' in refusal(folder, Cause.BAD_INPUT)
    change(elsewhere)
    assert "names an atom that is not there" in refusal(folder, Cause.INCONSISTENT)


def test_broken_chunks(alsb, tmp_path):
    folder = tmp_path / "x"
    export_deeph(alsb, folder, kind=Kind.DOCK)
    path = folder / "hamiltonian.h5"
    content = path.read_bytes()
    with h5py.File(path, "r+") as file:
        del file["chunk_shapes"]
    assert "has no chunk_shapes" in refusal(folder, Cause.BAD_INPUT)
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        file["chunk_boundaries"][1] += 1
    assert "disagree in number" in refusal(folder, Cause.INCONSISTENT)
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        file["atom_pairs"][1] = file["atom_pairs"][0]
    assert "lists a pair twice" in refusal(folder, Cause.INCONSISTENT)


def test_a_list_of_pairs_that_would_fill_the_memory(alsb, tmp_path):
    from nextham.exchange.deeph.run import DeephRun

    export_deeph(alsb, tmp_path / "x", kind=Kind.DOCK)
    with h5py.File(tmp_path / "x" / "overlap.h5", "r+") as file:
        del file["atom_pairs"]
        file.create_dataset("atom_pairs", shape=(10**9, 5), dtype="i8", chunks=(10**6, 5))  # none is on disk
    with pytest.raises(RunError) as raised:
        DeephRun("x", tmp_path / "x", memory_gb=1.0).read()
    assert raised.value.cause is Cause.OUT_OF_MEMORY
    assert "takes more than 1 GB; allow more with --memory-gb" in str(raised.value)


def test_which_folders_are_meant(folder, tmp_path):
    assert [run.id for run in deeph_runs([tmp_path])] == ["AlSb"] == [run.id for run in deeph_runs([folder])]
    shutil.copytree(folder, tmp_path / "two")
    assert [run.id for run in deeph_runs([tmp_path])] == ["AlSb", "two"]
    with pytest.raises(InputError, match="--id names one structure, but 2 folders are given"):
        deeph_runs([tmp_path], id="x")
    with pytest.raises(InputError, match="there is no folder"):
        deeph_runs([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is no folder of DeepH and holds none"):
        deeph_runs([tmp_path / "empty"])
    (tmp_path / "two" / "info.json").write_text("{}")
    one, two = deeph_runs([tmp_path])[:2]
    assert one.fingerprint() == one.fingerprint() != two.fingerprint()
