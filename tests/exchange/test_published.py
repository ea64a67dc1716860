"""Files of the published code against the run that they were made of, and every way in which they can be wrong."""

import lzma
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from published_files import directed, published_fields, write

from nextham.core import SpinLayout
from nextham.data.checks import certify
from nextham.dft.engine import Cause, RunError
from nextham.exchange.published.reader import Reading, read_published
from nextham.exchange.published.run import PublishedRun
from nextham.physics.spin import to_spin_blocks
from nextham.physics.symmetry import rehomed

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def fields(alsb):
    return published_fields(alsb)


@pytest.fixture(scope="module")
def good(fields, tmp_path_factory):
    return write(fields, tmp_path_factory.mktemp("published") / "case-AlSb.pth")


def largest_error(found, run):
    """Of each operator over the pairs that were found, all of which the run must have."""
    assert (run.pairs.index_of(found.pairs) >= 0).all()
    common = run.on(found.pairs)
    return {
        name: np.abs(to_spin_blocks(found.operators[name]) - to_spin_blocks(common.operators[name])).max()
        for name in found.operators
    }


def changed(fields, **new):
    names = {"cell": 1, "positions": 2, "n_k": 5, "k": 6, "waves": 7, "vectors": 12, "source": 13, "names": 15}
    names |= {"h0": 18, "overlap": 19, "mask": 20, "correction": 21}
    out = list(fields)
    for name, value in new.items():
        out[names[name]] = value
    return out


def nearest_edge(fields):
    length = fields[12].norm(dim=1)
    return int(torch.argmin(torch.where(length > 0.1, length, torch.inf)))


def refusal(content, path, cause, **how):
    write(content, path)
    with pytest.raises(RunError) as raised:
        read_published(path, reading=Reading(**how))
    assert raised.value.cause is cause, raised.value
    assert str(raised.value).count(". ") == 0  # one sentence
    return str(raised.value)


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_run_to_single_precision(good, alsb):
    system = read_published(good).system
    meta = system.meta[0]
    assert system.ids == ("AlSb",)
    assert system.basis == alsb.basis
    np.testing.assert_array_equal(system.numbers, alsb.numbers)
    np.testing.assert_allclose(system.positions, alsb.positions, atol=5e-7)
    error = largest_error(system, alsb)
    assert error["overlap"] < 6e-8
    assert max(error["h0"], error["hamiltonian"]) < meta.precision_ev < 3e-5
    left_out = np.setdiff1d(np.arange(alsb.pairs.n_pairs), alsb.pairs.index_of(system.pairs))
    assert len(left_out)
    assert alsb.distances[left_out].min() > 8.0
    assert meta.pair_cutoff_ang == 8.0
    assert meta.notes == "energies were made with 1 Ry = 13.605698 eV"
    assert (meta.magnetism, meta.h0_definition, meta.source) == ("nonmagnetic", "atomic-density-step0", good.name)
    assert SpinLayout.of(system.operators["h0"]) is SpinLayout.TIME_REVERSAL


def test_it_passes_the_checks(good):
    certificate = certify(read_published(good).system)
    assert {"labels", "hermitian", "support", "time-reversal", "overlap-positive"} <= set(certificate.passed)


@pytest.mark.parametrize("rydberg", [13.6, 13.6057, 13.605698, 13.605693122994])
def test_the_rydberg_is_read_off_the_numbers(alsb, tmp_path, rydberg):
    system = read_published(write(published_fields(alsb, rydberg=rydberg), tmp_path / "x.pth")).system
    error = largest_error(system, alsb)
    assert max(error["h0"], error["hamiltonian"]) < system.meta[0].precision_ev
    noted = system.meta[0].notes.partition("1 Ry = ")[2].partition(" eV")[0]
    assert float(noted or 13.605693122994) == pytest.approx(rydberg, abs=1e-6)


def test_energies_of_no_one_rydberg_need_a_word(fields, tmp_path, alsb):
    off = changed(fields, h0=fields[18] * 1.0003)
    path = tmp_path / "x.pth"
    text = refusal(off, path, Cause.INCONSISTENT)
    assert "products of no one constant); name the number with --rydberg-ev" in text
    other = changed(fields, h0=fields[18] / 13.6056980659 * 13.6)
    assert "H0 and H - H0 were made with different ones" in refusal(other, path, Cause.INCONSISTENT)
    write(off, path)
    assert read_published(path, reading=Reading(rydberg_ev=13.605698)).system.meta[0].notes.endswith("13.605698 eV")


def test_the_file_that_the_published_converter_itself_wrote(example, tmp_path):
    """The on-site blocks and nearest neighbours of its file of a recorded run; see published_files.py for all pairs."""
    with lzma.open(HERE / "BeS-zb-1-near.pth.xz") as packed:
        path = tmp_path / "case-BeS-zb-1.pth"
        path.write_bytes(packed.read())
    with pytest.raises(RunError, match="its wave functions are not those of its blocks"):  # of all pairs
        read_published(path)
    fields = torch.load(path, weights_only=True)
    system = read_published(
        write(changed(fields, n_k=torch.tensor(0), k=fields[6][:0], waves=fields[7][:0]), path)
    ).system
    run = example("BeS-zb-1").system
    error = largest_error(system, run)
    assert error["overlap"] < 6e-8
    assert max(error["h0"], error["hamiltonian"]) < 8e-6
    assert system.pairs.n_pairs == 6  # two atoms and four bonds


@pytest.mark.slow
def test_whole_files_of_the_published_converter(example):
    """NEXTHAM_PUBLISHED_PTH names a folder in which the published run_convert.py converted runs of examples/."""
    folder = os.environ.get("NEXTHAM_PUBLISHED_PTH")
    if not folder:
        pytest.skip("NEXTHAM_PUBLISHED_PTH names no folder of converted runs")
    for name in ("AlSb-zb-1", "BaF2-fl-1", "MgO-rs-1"):
        system = read_published(Path(folder) / f"case-{name}.pth").system
        error = largest_error(system, example(name).system)
        assert error["overlap"] < 6e-8
        assert max(error["h0"], error["hamiltonian"]) < system.meta[0].precision_ev


def test_the_converters_intermediate_file_in_rydberg(fields, tmp_path, alsb):
    folder = tmp_path / "case-AlSb"
    folder.mkdir()
    h0, correction = (fields[k] / 13.6056980659 for k in (18, 21))
    data = [h0, fields[19], fields[20], *fields[12:16], "output.pth"]
    path = write((data, [correction]), folder / "input_inference.pth")
    with pytest.raises(RunError, match=r"has no lattice: it stands in wfc.pth") as raised:
        read_published(path)
    assert raised.value.cause is Cause.MISSING_FILE
    write(tuple(fields[1:8]), folder / "wfc.pth")
    system = read_published(path).system
    assert system.ids == ("AlSb",)
    assert system.meta[0].notes == "energies were in Ry"
    assert max(largest_error(system, alsb).values()) < 3e-5


def test_the_fermi_level_beside_it(fields, tmp_path):
    path = write(fields, tmp_path / "x.pth")
    assert read_published(path).system.meta[0].fermi_energy_ev is None
    write(7.25, tmp_path / "efermi_x.pth")
    assert read_published(path).system.meta[0].fermi_energy_ev == 7.25


# --- labels -----------------------------------------------------------------------------------------------------------


def images(system, cells):
    """Positions outside the home cell, and a system whose R counts from the folded ones all the same."""
    return system.positions + np.array(cells) @ system.cells[0]


def test_all_atoms_outside_alike_are_mended(alsb, tmp_path):
    outside = images(alsb, [[-1, 0, 2], [-1, 0, 2]])
    system = read_published(write(published_fields(alsb, positions=outside), tmp_path / "x.pth")).system
    assert max(largest_error(system, alsb).values()) < 3e-5
    np.testing.assert_allclose(system.positions, alsb.positions, atol=2e-6)


def test_unfolded_positions_are_refused_with_the_reason_or_cut_where_the_first_pair_is_missing(alsb, tmp_path):
    fields = published_fields(alsb, positions=images(alsb, [[0, 0, 0], [1, 0, 0]]))
    path = tmp_path / "x.pth"
    text = refusal(fields, path, Cause.INCONSISTENT)
    nearest = float(text.partition("the nearest at ")[2].partition(" Å")[0])
    assert "the converter looked for neighbours around atoms outside the cell" in text
    system = read_published(path, reading=Reading(least_cutoff_ang=nearest - 0.05)).system
    assert max(largest_error(system, alsb).values()) < 3e-5
    assert system.meta[0].pair_cutoff_ang == pytest.approx(nearest, abs=1e-3)
    assert system.meta[0].notes.endswith("R counted from other images of the atoms than the stated positions")
    due = alsb.distances[np.any([alsb.operator(n).support for n in alsb.operators], axis=0)] < nearest - 1e-3
    assert system.pairs.n_pairs == due.sum()
    certificate = certify(system)
    assert certificate.skipped["overlap-positive"].startswith("pairs beyond")
    assert certificate.overlap_min < 0


def test_images_that_no_fold_gives_are_found_by_the_overlaps(alsb, tmp_path):
    """Like an atom that rounding to single precision puts on the other side of the border."""
    other = rehomed(alsb, [[0, 0, 0], [0, -1, 0]])  # its blocks count from an image that is not folded
    fields = published_fields(other, positions=alsb.positions, cutoff=30.0)
    system = read_published(write(fields, tmp_path / "x.pth")).system
    assert max(largest_error(system.on(alsb.pairs), alsb).values()) < 3e-5
    assert "other images" in system.meta[0].notes


def test_other_positions_are_refused(fields, alsb, tmp_path):
    moved = alsb.positions + np.array([[0, 0, 0], [0.3, -0.2, 0.1]])
    text = refusal(published_fields(alsb, positions=moved), tmp_path / "x.pth", Cause.INCONSISTENT)
    assert "no two-centre integrals along any vectors between these atoms" in text


def test_another_orbital_order_is_refused(fields, tmp_path):
    order = torch.arange(54)
    order[[4, 5, 31, 32]] = order[[5, 4, 32, 31]]  # x and y of the first p shell
    wrong = {name: fields[k][:, order][:, :, order] for name, k in (("h0", 18), ("overlap", 19), ("correction", 21))}
    text = refusal(changed(fields, **wrong), tmp_path / "x.pth", Cause.INCONSISTENT)
    assert "no two-centre integrals" in text


def test_another_spin_layout_is_refused(fields, tmp_path):
    order = torch.arange(54).reshape(27, 2).T.reshape(-1)  # spin fastest
    wrong = {name: fields[k][:, order][:, :, order] for name, k in (("h0", 18), ("overlap", 19), ("correction", 21))}
    refusal(changed(fields, **wrong), tmp_path / "x.pth", Cause.INCONSISTENT)
    swapped = torch.cat([torch.arange(27, 54), torch.arange(27)])  # spin down first: S cannot tell, the waves can
    wrong = {name: fields[k][:, swapped][:, :, swapped] for name, k in (("h0", 18), ("correction", 21))}
    text = refusal(changed(fields, **wrong), tmp_path / "x.pth", Cause.INCONSISTENT)
    assert "its wave functions fit its blocks better with ↑ and ↓ exchanged" in text


# --- files that are no such files -------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("wrap", [torch.save, None])
def test_code_in_a_file_is_not_run(tmp_path, monkeypatch, wrap):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pth"
    if wrap is not None:
        wrap([Bomb()], path)
    else:
        path.write_bytes(pickle.dumps([Bomb()]))
    with pytest.raises(RunError) as raised:
        read_published(path)
    assert raised.value.cause is (Cause.BAD_INPUT if wrap else Cause.TRUNCATED)
    assert not (tmp_path / "exploded").exists()
    if wrap is not None:
        assert "names posix.system; its contents are a program, not numbers, and are not opened" in str(raised.value)


def test_cut_short_missing_or_compressed(good, tmp_path):
    path = tmp_path / "x.pth"
    with pytest.raises(RunError, match="there is no"):
        read_published(path)
    path.write_bytes(good.read_bytes()[:-1000])
    with pytest.raises(RunError, match=r"is cut short or was not written by torch\.save"):
        read_published(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"0" * 100000)
    with pytest.raises(RunError, match="holds compressed parts"):
        read_published(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/other", b"0")
    with pytest.raises(RunError, match="cannot be read"):
        read_published(path)


def test_other_lists(fields, tmp_path):
    path = tmp_path / "x.pth"
    assert "not a list of 22 fields" in refusal({"a": 1}, path, Cause.BAD_INPUT)
    assert "not a list of 22 fields" in refusal(fields[:-1], path, Cause.BAD_INPUT)
    of_inference = ["x", fields[18], *fields[12:16], fields[18], fields[20]]
    assert "is an input of the published inference" in refusal(of_inference, path, Cause.BAD_INPUT)


def test_wrong_shapes_and_types(fields, tmp_path):
    path = tmp_path / "x.pth"
    wrong = {
        "h0": fields[18].to(torch.complex128),
        "overlap": fields[19][:, :26],
        "mask": fields[20][1:],
        "cell": torch.zeros(2, 3),
        "source": fields[13].double(),
        "vectors": 7,
        "names": fields[15][1:],
        "waves": fields[7][:, 1:],
    }
    for name, value in wrong.items():
        text = refusal(changed(fields, **{name: value}), path, Cause.BAD_INPUT)
        assert "get it from its source again" in text
    assert "has an edge of atom 7, but 2 positions" in refusal(
        changed(fields, source=torch.full_like(fields[13], 7)), path, Cause.BAD_INPUT
    )
    assert "two element symbols for each edge" in refusal(
        changed(fields, names=[7] * len(fields[15])), path, Cause.BAD_INPUT
    )
    names = [("Al", "Xx") if pair == ("Al", "Sb") else pair for pair in fields[15]]
    assert "calls atom 1" in refusal(changed(fields, names=names), path, Cause.BAD_INPUT)
    names = [tuple("Xx" if s == "Sb" else s for s in pair) for pair in fields[15]]
    assert "names an unknown element" in refusal(changed(fields, names=names), path, Cause.BAD_INPUT)


def test_numbers_that_are_none(fields, tmp_path):
    path = tmp_path / "x.pth"
    h0 = fields[18].clone()
    h0[0, 0, 0] = float("nan")
    refusal(changed(fields, h0=h0), path, Cause.NOT_FINITE, rydberg_ev=13.605698)
    positions = fields[2].clone()
    positions[0, 0] = float("inf")
    assert "positions holds numbers that are not finite" in refusal(
        changed(fields, positions=positions), path, Cause.NOT_FINITE
    )


def test_blocks_that_contradict_each_other(fields, tmp_path):
    path = tmp_path / "x.pth"
    mask = fields[20].clone()
    mask[3] = 1
    assert "the masks of its edges disagree" in refusal(changed(fields, mask=mask), path, Cause.INCONSISTENT)
    mask = fields[20].clone()
    mask[:, 4] = mask[:, :, 4] = 0  # one p orbital
    assert "cuts a shell" in refusal(changed(fields, mask=mask), path, Cause.INCONSISTENT)
    overlap = fields[19].clone()
    overlap[nearest_edge(fields)] *= 1.01
    assert "is not Hermitian" in refusal(changed(fields, overlap=overlap), path, Cause.INCONSISTENT)
    vectors = fields[12].clone()
    vectors[3] += 0.4
    assert "an edge vector differs by" in refusal(changed(fields, vectors=vectors), path, Cause.INCONSISTENT)
    twice = [
        torch.cat([f, f[:1]]) if torch.is_tensor(f) and len(f.shape) and len(f) == len(fields[12]) else f
        for f in fields
    ]
    twice[15] = [*fields[15], fields[15][0]]
    assert "two edges are one pair of atoms" in refusal(twice, path, Cause.INCONSISTENT)


def test_a_missing_partner_is_seen(alsb, fields, tmp_path):
    keep = torch.ones(len(fields[12]), dtype=torch.bool)
    keep[nearest_edge(fields)] = False
    out = [f[keep] if torch.is_tensor(f) and len(f.shape) and len(f) == len(keep) else f for f in fields]
    out[15] = [pair for pair, kept in zip(fields[15], keep.tolist(), strict=True) if kept]
    assert "is not Hermitian" in refusal(out, tmp_path / "x.pth", Cause.INCONSISTENT)


def test_memory_is_bounded(good, monkeypatch):
    def greedy(*_, **__):
        return np.ones(2 * 10**8)

    assert PublishedRun("AlSb", good, memory_gb=1.0).read().system.ids == ("AlSb",)
    monkeypatch.setattr("nextham.exchange.published.run.read_published", greedy)
    with pytest.raises(RunError) as raised:
        PublishedRun("AlSb", good, memory_gb=1.0).read()
    assert raised.value.cause is Cause.OUT_OF_MEMORY
    assert "takes more than 1 GB; allow more with --memory-gb" in str(raised.value)


def test_fingerprints_tell_contents_and_ways_of_reading(good, fields, tmp_path):
    one = PublishedRun("a", good)
    assert one.fingerprint() == PublishedRun("b", good).fingerprint()
    assert one.fingerprint() != PublishedRun("a", good, Reading(rydberg_ev=13.6)).fingerprint()
    other = write(changed(fields, overlap=fields[19] * 2), tmp_path / good.name)
    assert PublishedRun("a", other).fingerprint() != one.fingerprint()
    other.write_bytes(b"no archive")
    assert PublishedRun("a", other).fingerprint() == ""


def test_directed_blocks_of_the_test_are_adjoint(alsb):
    blocks = directed(alsb)
    for (i, j, R), block in list(blocks.items())[:20]:
        back = blocks[j, i, tuple(-r for r in R)]
        np.testing.assert_array_equal(block["h0"], back["h0"].transpose(2, 3, 0, 1).conj())
