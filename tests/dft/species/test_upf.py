import re

import numpy as np
import pytest
from made_up_species import MESH, upf_text

from nextham.dft.species.upf import read_upf, simpson_weights
from nextham.exceptions import InputError


def of_section(text, tag, change):
    """A text with other words in one section."""
    head, opening, body, rest = re.fullmatch(rf"(.*)(<{tag} [^>]*>)(.*?)(</{tag}>.*)", text, re.DOTALL).groups()
    return head + opening + " ".join(change(body.split())) + rest


@pytest.fixture
def write(tmp_path):
    def put(text, name="Si.upf"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return put


def test_reads_what_the_file_says(write):
    p = read_upf(write(upf_text()))
    assert (p.number, p.z_valence, p.has_so, p.functional) == (14, 4.0, True, "PBE")
    assert [(b.l, b.j) for b in p.projectors] == [(0, 0.5), (1, 0.5), (1, 1.5)]
    assert np.allclose(p.coupling, np.diag([1.0, 1.3, 1.6]))
    assert p.rho_core is not None
    assert repr(p) == "Pseudopotential(Z=14, 4 electrons, fully relativistic)"
    assert (p.rho_atom * simpson_weights(p.rab)).sum() == pytest.approx(4.0, rel=1e-6)


def test_even_mesh_loses_its_last_point_and_integrals_end_past_15_bohr(write):
    assert len(read_upf(write(upf_text(mesh=MESH[:1000]))).r) == 999
    long = read_upf(write(upf_text(mesh=np.arange(1801) * 0.01)))
    assert long.n_integrals % 2 == 1
    assert long.r[long.n_integrals - 1] == pytest.approx(15.01, abs=0.011)


def test_projectors_end_where_abacus_ends_them(write):
    p = read_upf(write(upf_text()))
    for b in p.projectors:
        assert len(b.r_beta) % 2 == 1
        assert len(b.r_beta) < len(p.r)
    assert p.projector_cutoff == pytest.approx(2.5, abs=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[: len(t) // 2], "is cut short or damaged"),
        (lambda t: t.replace('version="2.0.1"', 'version="1.0"'), "is not a UPF file of version 2"),
        (lambda t: t.replace("<PP_HEADER", "<!DOCTYPE x>\n<PP_HEADER"), "document type declaration"),
        (lambda t: t.replace('is_paw="F"', 'is_paw="T"'), "is ultrasoft or PAW"),
        (lambda t: t.replace('mesh_size="1001"', 'mesh_size="2001"'), "holds 1001 numbers where 2001 are due"),
        (lambda t: t.replace('element="Si"', 'element="Xx"'), "'Xx' is not an element symbol"),
        (lambda t: t.replace('lll="1" jjj="0.5"', 'lll="2" jjj="1.5"'), "PP_BETA.2 has l = 1"),
        (lambda t: t.replace("PP_RHOATOM", "PP_RHO"), "has no PP_RHOATOM section"),
        (lambda t: t.replace('z_valence="4.0"', 'z_valence="four"'), "which is not a number"),
        (lambda t: t.replace("<PP_NONLOCAL>", "<PP_NON>").replace("</PP_NONLOCAL>", "</PP_NON>"), "holds 0 projectors"),
        (lambda t: of_section(t, "PP_BETA.1", lambda words: []), "PP_BETA.1 is empty or zero"),
        (lambda t: of_section(t, "PP_BETA.1", lambda words: ["0"] * len(words)), "PP_BETA.1 is empty or zero"),
        (lambda t: of_section(t, "PP_RHOATOM", lambda words: ["0"] * len(words)), "PP_RHOATOM holds 0 electrons"),
        (lambda t: of_section(t, "PP_R", lambda words: words[::-1]), "PP_R does not ascend from 0"),
        (lambda t: of_section(t, "PP_RAB", lambda words: ["0.02"] * len(words)), "PP_RAB is not the derivative"),
        (lambda t: of_section(t, "PP_LOCAL", lambda words: ["1e999", *words[1:]]), "a number that is not finite"),
        (lambda t: of_section(t, "PP_LOCAL", lambda words: words[:-1]), "holds 1000 numbers where 1001 are due"),
        (lambda t: of_section(t, "PP_LOCAL", lambda words: [*words, "0"]), "holds 1002 numbers where 1001 are due"),
        (lambda t: of_section(t, "PP_DIJ", lambda words: ["1", "5", *words[2:]]), "PP_DIJ is not symmetric"),
        (lambda t: of_section(t, "PP_DIJ", lambda words: [*"150510001"]), "couples projectors of different l or j"),
    ],
)
def test_broken_files_are_told_in_one_sentence(write, change, message):
    with pytest.raises(InputError, match=message):
        read_upf(write(change(upf_text())))


HEADER_SENTENCES = {
    "z_valence": [
        ("13", "PP_LOCAL ends as the potential of a charge of 4"),
        ("5", "PP_LOCAL ends as the potential of a charge of 4"),
        *((value, "which is not a whole number from 1 to 14") for value in ("300", "-3", "0", "4.5")),
        *((value, "which is not a number") for value in ("nan", "1e400")),
    ],
    "mesh_size": [(value, "which is not a whole number from 11") for value in ("-5", "0", "1", "1e30", "1000.5")],
    "number_of_proj": [
        *((value, "which is not a whole number from 0 to 1000") for value in ("-1", "1e9", "2.5")),
        *((value, "which is not a number") for value in ("nan", "1e400")),
        *((value, f"number_of_proj={value}, but PP_NONLOCAL holds 3 projectors") for value in ("0", "2", "99")),
    ],
    "angular_momentum": [(value, "which is not a whole number from 0 to 6") for value in ("0.5", "-1", "7")],
    "jjj": [(value, "j is l \\+ 1/2 or l - 1/2") for value in ("-0.5", "1.5", "0.7")],
}


@pytest.mark.parametrize(
    ("key", "value", "message"), [(key, *case) for key, cases in HEADER_SENTENCES.items() for case in cases]
)
def test_impossible_attributes_are_told_with_their_key(write, key, value, message):
    text = re.sub(f'{key}="[^"]*"', f'{key}="{value}"', upf_text(), count=1)
    with pytest.raises(InputError, match=f"Si.upf: .*{message}") as caught:
        read_upf(write(text))
    assert "fetch the file again" in str(caught.value)


def test_a_density_cut_by_the_mesh_is_no_damage(write):
    # PseudoDojo's As ends at 6 Bohr and lacks 0.6 % of its electrons.
    text = of_section(upf_text(), "PP_RHOATOM", lambda words: [f"{0.97 * float(word)}" for word in words])
    assert read_upf(write(text)).z_valence == 4


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="there is no pseudopotential file"):
        read_upf(tmp_path / "Si.upf")
