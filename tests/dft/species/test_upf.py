import numpy as np
import pytest
from made_up_species import MESH, upf_text

from nextham.dft.species.upf import read_upf, simpson_weights
from nextham.exceptions import InputError


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
    ],
)
def test_broken_files_are_told_in_one_sentence(write, change, message):
    with pytest.raises(InputError, match=message):
        read_upf(write(change(upf_text())))


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="there is no pseudopotential file"):
        read_upf(tmp_path / "Si.upf")
