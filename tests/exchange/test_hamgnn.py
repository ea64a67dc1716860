"""HamGNN's graphs against the run and against the conventions, written down a second time."""

import numpy as np
import pytest

from nextham.core import OrbitalBasis
from nextham.exceptions import InputError
from nextham.exchange.hamgnn import graph_of, nao_max_of, write_graphs
from nextham.physics.spin import to_spin_blocks
from nextham.units import BOHR_ANG, HARTREE_EV

# nao_max 27: s1 s2 s3 s4 p1 p2 d1 d2 f1; ABACUS has m = 0, 1, -1, 2, -2, ... and (-1)^m
FIRST = {0: [0, 1, 2, 3], 1: [4, 7], 2: [10, 15], 3: [20]}
THEIR_M = [0, 1, -1, 2, -2, 3, -3]


def places_and_signs(shells):
    found, count = [], dict.fromkeys(range(4), 0)
    for l in shells:
        for m in range(-l, l + 1):
            found.append((FIRST[l][count[l]] + THEIR_M.index(m), (-1.0) ** m))
        count[l] += 1
    place, sign = zip(*found, strict=True)
    return np.array(place), np.array(sign)


@pytest.fixture(scope="module")
def graph(alsb):
    return graph_of(alsb, 27)


def test_every_block_stands_where_hamgnn_looks_for_it(graph, alsb):
    keys = np.column_stack([graph["edge_index"].T, graph["cell_shift"]]).tolist()
    edges = {tuple(key): e for e, key in enumerate(keys)}
    assert len(edges) == graph["edge_index"].shape[1] == 2 * (~alsb.pairs.onsite).sum()
    for name, (real, imaginary), unit in (
        ("hamiltonian", ("Hon", "iHon"), HARTREE_EV),
        ("h0", ("Hon0", "iHon0"), HARTREE_EV),
    ):
        matrix = alsb.operator(name)
        spins = to_spin_blocks(matrix.values)
        for p, ((i, j), R) in enumerate(zip(alsb.pairs.ij.tolist(), alsb.pairs.R.tolist(), strict=True)):
            on = alsb.pairs.onsite[p]
            row = i if on else edges[i, j, *R]
            fields = [field if on else field.replace("on", "off") for field in (real, imaginary)]
            padded = (graph[fields[0]][row] + 1j * graph[fields[1]][row]).reshape(2, 27, 2, 27)
            n_i, n_j = alsb.n_orb[[i, j]]
            block = spins[:, matrix.block_ptr[p] : matrix.block_ptr[p + 1]].reshape(2, 2, n_i, n_j)
            (a, sa), (b, sb) = (places_and_signs(alsb.basis.shells(int(alsb.numbers[x]))) for x in (i, j))
            there = padded[:, a][:, :, :, b].transpose(0, 2, 1, 3) * sa[:, None] * sb
            np.testing.assert_allclose(there, block / unit, atol=3e-7)
            assert np.count_nonzero(padded) <= 4 * n_i * n_j


def test_inverse_edges_lengths_and_overlaps(graph, alsb):
    i, j = graph["edge_index"]
    back = graph["inv_edge_idx"]
    np.testing.assert_array_equal(graph["edge_index"][::-1], graph["edge_index"][:, back])
    np.testing.assert_array_equal(graph["cell_shift"], -graph["cell_shift"][back])
    vectors = graph["pos"][j] + graph["nbr_shift"] - graph["pos"][i]
    np.testing.assert_allclose(
        np.sort(np.linalg.norm(vectors, axis=1))[::2] * BOHR_ANG, np.sort(alsb.distances[~alsb.pairs.onsite]), rtol=1e-5
    )
    np.testing.assert_allclose(
        graph["Son"].reshape(-1, 27, 27).diagonal(axis1=1, axis2=2).sum(1), alsb.n_orb, rtol=1e-5
    )
    np.testing.assert_array_equal(graph["overlap"], np.concatenate([graph["Son"], graph["Soff"]]))
    np.testing.assert_array_equal(
        graph["Soff"].reshape(-1, 27, 27).swapaxes(1, 2), graph["Soff"][back].reshape(-1, 27, 27)
    )


def test_a_spinless_system_has_real_fields_alone(alsb):
    scalar = alsb.with_operator("h0", alsb.operators["h0"][:1])
    scalar = scalar.with_operator("hamiltonian", 1.01 * alsb.operators["h0"][:1])
    graph = graph_of(scalar, 27)
    assert not [key for key in graph if key.startswith("i") and key != "inv_edge_idx"]
    np.testing.assert_array_equal(graph["hamiltonian"], np.concatenate([graph["Hon"], graph["Hoff"]]))
    assert graph["Hon"].shape == (2, 27 * 27)


def test_padding():
    parse = OrbitalBasis.parse
    assert nao_max_of([parse("Si:2s2p1d")]) == 13
    assert nao_max_of([parse("Si:2s2p1d"), parse("Na:4s2p1d")]) == 27
    assert nao_max_of([parse("Al:4s4p1d")]) == 40
    with pytest.raises(InputError, match="HamGNN has no room for the 5s1p of Si"):
        nao_max_of([parse("Si:5s1p")])


def test_the_file_is_what_hamgnn_loads(graph, tmp_path):
    write_graphs({"a": graph, "b": graph}, tmp_path / "graph_data.npz")
    with np.load(tmp_path / "graph_data.npz", allow_pickle=True) as file:  # written a line above
        graphs = file["graph"].item()
    assert list(graphs) == [0, 1]
    assert {key: value.dtype for key, value in graphs[1].items()} == {k: v.dtype for k, v in graph.items()}
    assert (tmp_path / "structures.txt").read_text() == "a\nb\n"
