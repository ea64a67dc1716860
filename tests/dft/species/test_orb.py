import numpy as np
import pytest
from made_up_species import orb_text, upf_text

from nextham.core import OrbitalBasis
from nextham.dft.species.orb import read_orb
from nextham.dft.species.species import basis_of, load_species
from nextham.dft.species.upf import simpson_weights
from nextham.exceptions import InputError


@pytest.fixture
def files(tmp_path):
    def put(upf, orb):
        (tmp_path / "Si.upf").write_text(upf)
        (tmp_path / "Si.orb").write_text(orb)
        return tmp_path / "Si.upf", tmp_path / "Si.orb"

    return put


def test_orbitals_are_read_in_order_and_normalised(files):
    o = read_orb(files("", orb_text())[1])
    assert (o.number, o.shells, o.cutoff, o.n_orb) == (14, (0, 0, 1, 2), 5.0, 10)
    norms = (simpson_weights(np.full(501, 0.01)) * (o.chi * o.r) ** 2).sum(axis=1)
    assert np.allclose(norms, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[: 2 * len(t) // 3], "is cut short"),
        (lambda t: t.replace("Sorbital-->  2", "Sorbital-->  3"), "the one with L = 0, N = 2 is missing"),
        (lambda t: t.replace("Mesh", "Mush"), "is not an .orb file"),
        (lambda t: t.replace("0.00000000000000e+00", "nonsense"), "not a number"),
    ],
)
def test_broken_orbitals(files, change, message):
    with pytest.raises(InputError, match=message):
        read_orb(files("", change(orb_text()))[1])


def test_species_belong_together(files):
    upf, orb = files(upf_text(), orb_text())
    species = load_species("Si", upf, orb)
    assert basis_of({14: species}) == OrbitalBasis.parse("Si:2s1p1d")
    assert repr(species) == "Species(Si, 4 electrons, Si:2s1p1d)"
    assert load_species("Si", upf, orb) is species


@pytest.mark.parametrize(
    ("upf", "orb", "message"),
    [
        (upf_text(relativistic=False), orb_text(), "scalar-relativistic; spin-orbit coupling needs a fully"),
        (upf_text("Ge"), orb_text(), "Si.upf is of Ge, but it is named for Si"),
        (upf_text(), orb_text("C"), "Si.orb is of C, but it is named for Si"),
        (upf_text().replace("PBE", "LDA"), orb_text(), "was made with LDA"),
    ],
)
def test_species_that_do_not(files, upf, orb, message):
    with pytest.raises(InputError, match=message):
        load_species("Si", *files(upf, orb))
