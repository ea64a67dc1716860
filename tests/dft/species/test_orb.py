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
        (lambda t: t.replace("Sorbital-->  2", "Sorbital-->  3"), "it announces 5 orbitals and holds 4"),
        (lambda t: t.replace("Sorbital-->  2", "Sorbital-->  999999999"), "announces 1000000001 orbitals and holds 4"),
        (lambda t: t.replace("Sorbital-->  2", f"Sorbital-->  {'9' * 5000}"), "9, which is not a whole number below"),
        (lambda t: t.replace("Sorbital-->  2", "Sorbital-->  1"), "it announces 3 orbitals and holds 4"),
        (lambda t: t.replace("   0   0   1\n", "   0   0   0\n"), "lacks the orbital with L = 0, N = 1"),
        (lambda t: t.replace("   0   0   1\n", "   0   0.5   1\n"), "not a number"),
        (lambda t: t.replace("Mesh", "Mush"), "is not an .orb file: it has no line with Mesh and its value"),
        (lambda t: t.replace("Element", "Elephant"), "is not an .orb file: it has no line with Element and its value"),
        (lambda t: t.replace("Mesh   501", "Mesh   -5"), "has Mesh -5, which is not a whole number"),
        (lambda t: t.replace("Mesh   501", "Mesh   4"), "an orbital has 501 of 4 values"),
        (lambda t: t.replace("dr    0.01", "dr    .."), r"has dr \.\., which is not a number"),
        (lambda t: t.replace("dr    0.01", "dr    0"), "has dr 0, which is no step"),
        (lambda t: t.replace("dr    0.01", "dr    1e400"), "has dr 1e400, which is not a number"),
        (lambda t: t.replace("dr    0.01", "dr    0.02"), "5, which is not where Mesh and dr end, 10"),
        (lambda t: t.replace("Cutoff(Ry)   20", "Cutoff(Ry)   --"), r"Energy Cutoff\(Ry\) --, which is not a number"),
        (lambda t: t.replace("0.00000000000000e+00", "nonsense"), "not a number"),
        (lambda t: t.replace("0.00000000000000e+00", "nan"), "zero or not finite"),
    ],
)
def test_broken_orbitals(files, change, message):
    with pytest.raises(InputError, match=message) as caught:
        read_orb(files("", change(orb_text()))[1])
    assert str(caught.value).endswith("; fetch the file again")


def test_older_heads_without_arrow_lengths_or_radius_are_read(files):
    text = orb_text().replace("orbital-->", "orbital---->").replace("Radius Cutoff(a.u.)  5.0\n", "")
    assert read_orb(files("", text)[1]).shells == (0, 0, 1, 2)


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
