"""Which structures are one: every answer against pymatgen's StructureMatcher on every pair, nothing left out."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from nextham.core import Structure
from nextham.structures.generate import build
from nextham.structures.matching import COPY, DUPLICATE, Matcher, Pool, duplicates, reduced
from nextham.structures.settings import CrystalSettings, MatchSettings

FORMULAS = {
    "B1": {"NaCl": 5.64, "SnSb": 6.13},
    "B2": {"NaCl": 3.45},
    "B3": {"SiC": 4.36, "NaCl": 6.1},
    "B4": {"SiC": 3.08},
    "A4": {"C": 3.567},
    "A9": {"C": 2.461},
    "C33": {"Bi2Se3": 4.138},
    "E2_1": {"NaMgF3": 3.955},
}
WIDE = MatchSettings(length=0.04, angle_deg=3.0, volume=0.08, site=0.05)


def turned(structure: Structure, seed: int) -> Structure:
    """The same crystal turned, shifted, with its atoms in another order and another cell."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.linalg.det(q))
    basis = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) if seed % 2 else np.eye(3)
    order = rng.permutation(len(structure))
    positions = (structure.positions + rng.uniform(0, 4, 3)) @ q
    return Structure(structure.numbers[order], positions[order], basis @ structure.cell @ q)


@pytest.fixture(scope="module")
def crystals() -> dict[str, Structure]:
    """Crystals and copies of all kinds: turned, nearly the same, strained and rattled, in supercells."""
    found: dict[str, Structure] = {}
    for strain, rattle, label in ((0.02, 0.05, "p"), (0.003, 0.01, "q"), (0.0005, 0.001, "r")):
        settings = CrystalSettings(
            prototypes=FORMULAS, perturbed=2, supercells={"1x2x1": 1}, strain=strain, rattle_ang=rattle
        )
        found |= {f"{each.id}{label}": each.structure for each in build(settings).found}
    ideal = {id: each for id, each in found.items() if id.endswith("-0p")}
    found |= {f"{id}t{seed}": turned(each, seed) for seed in (0, 1) for id, each in ideal.items()}
    return {id: each for id, each in found.items() if not id.endswith(("-0q", "-0r"))}


def matched(a: Structure, b: Structure, settings: MatchSettings) -> bool:
    """Whether pymatgen finds that two structures are one, by its own reduction; and have one volume per atom."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(
        ltol=settings.length, stol=settings.site, angle_tol=settings.angle_deg, scale=False, primitive_cell=False
    )
    if abs(np.log(b.volume / len(b) * len(a) / a.volume)) > settings.volume:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(matcher.fit(plain(a), plain(b)))


def plain(structure: Structure):
    from pymatgen.core.structure import Structure as Crystal

    crystal = Crystal(structure.cell, structure.numbers.tolist(), structure.fractional)
    return crystal.get_reduced_structure().get_primitive_structure(tolerance=0.02)


@pytest.mark.parametrize("settings", [MatchSettings(), WIDE])
def test_the_cheap_comparison_loses_no_pair(crystals, settings):
    pool = Pool(crystals, Matcher(settings))
    kept = {(ids[i], ids[j]) for ids in pool.of_composition.values() for i, j in pool.candidates(ids)}
    pairs = [pair for ids in pool.of_composition.values() for pair in itertools.combinations(ids, 2)]
    near = {pair for pair in pairs if pool.matcher.is_duplicate(*map(pool.reduced, pair))}
    assert near <= kept
    assert len(near) >= 20  # it is no empty test
    assert len(kept) < len(pairs)


def test_duplicates_are_those_of_every_pair_matched(crystals):
    expected: dict[str, str] = {}
    for j, other in enumerate(crystals):
        for one in list(crystals)[:j]:
            if one not in expected and matched(crystals[one], crystals[other], MatchSettings()):
                expected[other] = one
                break
    assert duplicates(crystals, MatchSettings()) == expected
    assert {id for id in crystals if id[-2:] in ("t0", "t1")} <= expected.keys()
    assert not [id for id in expected if id.endswith("p")]  # strained and rattled copies are other structures
    assert len([id for id in expected if id.endswith("r")]) >= 10


def test_copies_are_told_from_other_crystals(crystals):
    matcher = Matcher()
    of = {id: reduced(each) for id, each in crystals.items()}
    some = [id for id in crystals if id.endswith("p")]
    for a, b in itertools.combinations(some, 2):
        if a.split("-")[0] == b.split("-")[0]:
            same = a.rsplit("-", 1)[0] == b.rsplit("-", 1)[0]
            assert matcher.is_copy(of[a], of[b]) == same, (a, b)


def test_how_near_two_structures_are(crystals):
    matcher = Matcher()
    ideal = reduced(crystals["SnSb-B1-0p"])
    exact = matcher.near(ideal, reduced(crystals["SnSb-B1-0pt1"]))
    assert exact is not None
    assert exact.kind == DUPLICATE
    assert exact.rms_ang == pytest.approx(0, abs=1e-6)
    assert exact.volume_ratio == pytest.approx(1, abs=1e-6)
    copy = matcher.near(ideal, reduced(crystals["SnSb-B1-1p"]))
    assert copy is not None
    assert copy.kind == COPY
    assert 0.01 < copy.rms_ang < 0.2
    larger = matcher.near(ideal, reduced(crystals["SnSb-B1-3p"]))
    assert larger is not None
    assert larger.kind == COPY
    assert matcher.near(reduced(crystals["SiC-B3-0p"]), reduced(crystals["SiC-B4-0p"])) is None


def test_a_rattle_of_known_size_is_measured():
    """Two atoms moved apart along their bond by 0.06 Å: each is 0.03 Å from where the mean puts it."""
    cell = 4.0 * np.eye(3)
    one = Structure(np.array([55, 17]), np.array([[0, 0, 0], [2.0, 2, 2]]), cell)
    other = Structure(np.array([55, 17]), np.array([[0, 0, 0], [2.06, 2, 2]]), cell)
    near = Matcher().near(reduced(one), reduced(other))
    assert near is not None
    assert near.rms_ang == pytest.approx(0.03, abs=1e-6)
