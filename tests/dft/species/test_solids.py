"""Every shipped element in a compound: its orbitals' bands against plane waves in the same potential."""

import numpy as np
import pytest
from scipy.linalg import eigh

from nextham.dft.species.generate import gth, pseudo_atom
from nextham.dft.species.generate.configuration import split_valence
from nextham.dft.species.generate.crystal import Crystal, PlaneWaves, bloch_sums, transform
from nextham.dft.species.generate.orbitals import reference_waves
from nextham.dft.species.generate.radial import Mesh
from nextham.dft.species.source import embedded_species

MEV = 27211.386
FCC = 0.5 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
Q_MAX = 8.0  # bohr⁻¹: 64 Ry at most, the same for both sides
ZINCBLENDE, ROCKSALT = 0.25, 0.5
# First and second element, place of the second, cubic lattice constant in Å.
COMPOUNDS = [
    ("B", "N", ZINCBLENDE, 3.615),
    ("Si", "C", ZINCBLENDE, 4.360),
    ("Al", "P", ZINCBLENDE, 5.463),
    ("Ga", "As", ZINCBLENDE, 5.653),
    ("In", "Sb", ZINCBLENDE, 6.479),
    ("Ga", "Bi", ZINCBLENDE, 6.324),
    ("Mg", "O", ROCKSALT, 4.212),
    ("Na", "F", ROCKSALT, 4.630),
    ("Na", "H", ROCKSALT, 4.880),
    ("Na", "Cl", ROCKSALT, 5.640),
    ("Na", "I", ROCKSALT, 6.470),
    ("Ge", "Te", ROCKSALT, 5.980),
    ("Sn", "Se", ROCKSALT, 6.000),
    ("Pb", "S", ROCKSALT, 5.936),
    ("Tl", "Br", ROCKSALT, 6.580),
]


def orbitals_of(name):
    """{l: R (n_zeta, n)} of a shipped .orb file."""
    found = {}
    for block in (
        embedded_species().files_of(name).orb.read_text().split("Type                   L                   N")[1:]
    ):
        words = block.split()
        found.setdefault(int(words[1]), []).append([float(x) for x in words[3:]])
    return {l: np.array(rows) for l, rows in found.items()}


def atom_of(name):
    potential = gth.potential(name)
    _, valence = split_valence(potential.number, potential.valence)
    return pseudo_atom.solve(potential, {l: count for (_, l), count in valence.items()})


def errors(compound):
    """Errors of all occupied bands and of the lowest empty one at Γ, X and L, meV."""
    first, second, place, a_ang = compound
    cell = FCC * a_ang / 0.529177
    atoms = (atom_of(first), atom_of(second))
    crystal = Crystal(cell, np.array([[0.0] * 3, [place] * 3]) @ cell, atoms)
    q_max = max(reference_waves(atom.potential, Q_MAX) for atom in atoms)
    radials = [
        {l: transform(Mesh(7.0), functions, l, q_max) for l, functions in orbitals_of(name).items()}
        for name in (first, second)
    ]
    waves, n = PlaneWaves(crystal, q_max), int(crystal.n_electrons) // 2
    found = []
    for k in ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.5, 0.5)):
        states = waves.states(np.array(k), n + 1)
        blocks = [
            bloch_sums(crystal, states.waves, site, l, radial).reshape(len(states.waves), -1)
            for site, shells in enumerate(radials)
            for l, radial in shells.items()
        ]
        a = np.concatenate(blocks, axis=1)
        bands = eigh(a.conj().T @ states.hamiltonian @ a, a.conj().T @ a, eigvals_only=True)
        found.append((bands[: n + 1] - states.energies) * MEV)
    return np.array(found)[:, :n], np.array(found)[:, n]


@pytest.mark.slow
@pytest.mark.parametrize("compound", COMPOUNDS, ids=lambda c: c[0] + c[1])
def test_occupied_bands_are_near_those_of_plane_waves(compound):
    occupied, empty = errors(compound)
    assert occupied.min() > -1e-3
    assert empty.min() > -1e-3
    assert occupied.mean() < 100.0
    assert empty.mean() < 300.0


def test_the_compounds_hold_every_element_of_the_set():
    assert set(embedded_species().elements) == {name for compound in COMPOUNDS for name in compound[:2]}
