"""Locked folders of species: what gets into a lock, and what is told when files and lock part."""

import json
import shutil

import pytest
from made_up_species import orb_text, upf_text

from nextham.dft.abacus.settings import AbacusSettings
from nextham.dft.engine import Cause, RunError
from nextham.dft.lcao.settings import LCAOSettings
from nextham.dft.settings import SpeciesSettings
from nextham.dft.species.files import NamedFolders
from nextham.dft.species.lock import LOCK, read_lock, write_lock
from nextham.dft.species.locking import lock_folder
from nextham.dft.species.source import embedded_species, locked_species, open_source
from nextham.exceptions import InputError


@pytest.fixture
def folder(tmp_path):
    """Two elements: Si in sub-folders, C in the folder itself."""
    place = tmp_path / "my species"
    (place / "pseudo").mkdir(parents=True)
    (place / "orbital").mkdir()
    (place / "pseudo" / "Si_ONCV_PBE-1.0.UPF").write_text(upf_text("Si"))
    (place / "orbital" / "Si_gga_5au_20Ry_2s1p1d.orb").write_text(orb_text("Si"))
    (place / "C.upf").write_text(upf_text("C"))
    (place / "C.orb").write_text(orb_text("C", shells=(0, 1)))
    (place / "README.md").write_text("not a species")
    (place / "pseudo" / "deeper").mkdir()
    (place / "pseudo" / "deeper" / "Ge.upf").write_text("not looked at")
    return place


@pytest.fixture
def locked(folder):
    lock, skipped = lock_folder(folder)
    assert skipped == {}
    write_lock(folder / LOCK, lock)
    return locked_species(str(folder))


def failure(source, *symbols):
    with pytest.raises(RunError) as caught:
        source.files(symbols, id="s-1")
    return caught.value.cause, str(caught.value)


def test_a_lock_holds_relative_paths_and_what_the_files_say(locked):
    table = json.loads((locked.folder / LOCK).read_text())
    assert table["schema_version"] == 1
    assert list(table["elements"]) == ["C", "Si"]
    silicon = table["elements"]["Si"]
    assert silicon["upf"]["path"] == "pseudo/Si_ONCV_PBE-1.0.UPF"
    assert silicon["orb"]["path"] == "orbital/Si_gga_5au_20Ry_2s1p1d.orb"
    facts = {key: value for key, value in silicon.items() if key not in ("upf", "orb")}
    assert facts == {
        "valence": 4.0,
        "has_so": True,
        "functional": "PBE",
        "orbitals": "2s1p1d",
        "radius_bohr": 5.0,
        "cutoff_ry": 20.0,
    }


def test_files_of_a_structure_stand_in_the_order_of_its_elements(locked):
    found = locked.files(["Si", "C", "Si"], id="x")
    assert [(name, f.upf.name, f.orb.name) for name, f in found.items()] == [
        ("Si", "Si_ONCV_PBE-1.0.UPF", "Si_gga_5au_20Ry_2s1p1d.orb"),
        ("C", "C.upf", "C.orb"),
    ]


def test_the_hash_knows_contents_not_places(locked, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "C.upf").rename(tmp_path / "elsewhere" / "pseudo" / "C.upf")
    moved, _ = lock_folder(tmp_path / "elsewhere")
    assert moved.sha256 == locked.sha256
    (folder / "C.orb").write_text(orb_text("C", shells=(0, 0, 1)))
    assert lock_folder(folder)[0].sha256 != locked.sha256


def test_a_lock_may_lie_elsewhere(folder, tmp_path):
    write_lock(tmp_path / "mine.json", lock_folder(folder)[0])
    assert locked_species(str(folder), tmp_path / "mine.json").elements == ["C", "Si"]
    (folder / "C.upf").unlink()
    _, sentence = failure(locked_species(str(folder), str(tmp_path / "mine.json")), "C")
    assert sentence.endswith(f"lock again: nextham species lock '{folder}' -o {tmp_path}/mine.json")


BAD_FILES = {
    "Ge.upf": (upf_text("Ge", relativistic=False), "Ge.upf is scalar-relativistic; spin-orbit coupling needs a fully "),
    "As.upf": (upf_text("As").replace('"PBE"', '"PBESOL"'), "As.upf was made with PBESOL; a PBE pseudopotential is "),
    "P.upf": (upf_text("P")[:2000], "P.upf is cut short or damaged"),
    "S.upf": (upf_text("Se"), "S.upf is of Se, but it is named for S"),
    "O.orb": (orb_text("F"), "O.orb is of F, but it is named for O"),
    "N.orb": ("Element   N\n", "N.orb is not an .orb file"),
    "x.orb": (orb_text("Xx"), "x.orb: 'Xx' is not an element symbol"),
    "y.orb": (
        orb_text("N").replace("Energy Cutoff(Ry)   20", "Energy Cutoff(Ry)   2e"),
        "y.orb has Energy Cutoff(Ry) 2e, which",
    ),
}


def test_files_that_cannot_be_used_are_skipped_with_their_reason(folder):
    for name, (text, _) in BAD_FILES.items():
        (folder / name).write_text(text)
    (folder / "Al.upf").symlink_to("nowhere")
    lock, skipped = lock_folder(folder)
    assert list(lock.elements) == ["C", "Si"]
    assert set(skipped) == set(BAD_FILES)
    for name, (_, reason) in BAD_FILES.items():
        assert skipped[name].startswith(reason)
        assert str(folder) not in skipped[name]
    assert lock.incomplete["O"] == "no UPF file and no usable .orb file: O.orb is of F, but it is named for O"


def test_an_element_needs_both_files(folder):
    (folder / "Po.upf").write_text(upf_text("Po"))
    (folder / "Po_2.upf").write_text(upf_text("Po"))  # several, but none could be used anyway
    (folder / "Fe.orb").write_text(orb_text("Fe"))
    lock, skipped = lock_folder(folder)
    assert (lock.incomplete, skipped) == ({"Fe": "no UPF file", "Po": "no .orb file"}, {})
    write_lock(folder / LOCK, lock)
    assert failure(locked_species(str(folder)), "Si", "Po", "Ti", "Fe") == (
        Cause.MISSING_FILE,
        f"s-1: the locked species of {folder} lack Fe (no UPF file), Po (no .orb file), Ti (no UPF and no .orb file); "
        f"add what is missing, then lock again: nextham species lock '{folder}'",
    )


def test_of_several_files_one_must_be_chosen(folder):
    (folder / "orbital" / "Si_large.orb").write_text(orb_text("Si", shells=(0, 0, 1, 1, 2)))
    (folder / "C_soft.upf").write_text(upf_text("C", scale=1.2))
    with pytest.raises(InputError) as caught:
        lock_folder(folder)
    assert str(caught.value) == (
        f"{folder} holds several files of one kind (C: C.upf, C_soft.upf; Si: orbital/Si_gga_5au_20Ry_2s1p1d.orb, "
        "orbital/Si_large.orb); choose of each, e.g. --choose C=C.upf "
        "--choose Si=orbital/Si_gga_5au_20Ry_2s1p1d.orb"
    )
    lock, _ = lock_folder(folder, ["C=C.upf", "Si=Si_large.orb"])
    assert lock.elements["Si"].orb.path == "orbital/Si_large.orb"
    assert lock.elements["Si"].orbitals == "2s2p1d"
    assert lock.elements["C"].upf.path == "C.upf"


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ("Si", "--choose Si is not of the form ELEMENT=FILE, e.g. Ga=Ga_gga_8au_100Ry_2s2p2d1f.orb"),
        ("Si=no.orb", "--choose Si=no.orb: {folder} holds no such file"),
        ("Si=C.orb", "--choose Si=C.orb: C.orb is of C"),
        ("Si=../my species/C.orb", "--choose Si=../my species/C.orb: {folder} holds no such file"),
        ("Ge=Ge.upf", "--choose Ge=Ge.upf: Ge.upf is scalar-relativistic; spin-orbit coupling needs a fully"),
    ],
)
def test_a_choice_that_cannot_be(folder, choice, sentence):
    (folder / "Ge.upf").write_text(upf_text("Ge", relativistic=False))
    with pytest.raises(InputError) as caught:
        lock_folder(folder, [choice])
    assert str(caught.value).startswith(sentence.format(folder=folder))


def test_nothing_to_lock(tmp_path):
    with pytest.raises(InputError, match=r"and its direct sub-folders hold no \.upf or \.orb file"):
        lock_folder(tmp_path)
    (tmp_path / "Si.upf").write_text(upf_text("Si", relativistic=False))
    with pytest.raises(InputError, match=r"no element with a usable .* the first reason: Si.upf is scalar-relativ"):
        lock_folder(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        lock_folder(tmp_path / "Si.upf")


def test_a_changed_or_lost_file_is_told_and_the_rest_can_be_used(locked, folder):
    assert locked.files(["C"], id="x")
    path = folder / "C.orb"
    before = locked.lock.elements["C"].orb.sha256
    path.write_text(path.read_text() + "\n")
    now = lock_folder(folder)[0].elements["C"].orb.sha256
    mend = f"restore it, or lock again: nextham species lock '{folder}'"
    assert failure(locked, "Si", "C") == (
        Cause.BAD_INPUT,
        f"s-1: {path} has changed since it was locked (its SHA-256 is {now[:12]}, the lock has {before[:12]}); {mend}",
    )
    path.unlink()
    assert failure(locked, "C")[1] == f"s-1: {path} of the species lock is gone; {mend}"
    assert locked.files(["Si"], id="x")


@pytest.mark.parametrize("path", ["/etc/passwd", "../C.upf", "pseudo/../../C.upf", "", "C:\\C.upf", "a\\..\\..\\C.upf"])
def test_a_lock_names_nothing_outside_its_folder(locked, folder, path):
    table = json.loads((folder / LOCK).read_text())
    table["elements"]["C"]["upf"]["path"] = path
    (folder / LOCK).write_text(json.dumps(table))
    with pytest.raises(InputError) as caught:
        locked_species(str(folder))
    assert str(caught.value) == (
        f"species.source: {folder}/{LOCK} is not a species lock of version 1 (elements.C.upf.path: {path!r} is not a "
        f"path within the folder of the species); make it anew with: nextham species lock '{folder}'"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Invalid JSON: EOF while parsing"),
        ("[]", "Input should be an object"),
        ('{"schema_version": 2}', "schema_version: Input should be 1"),
        ('{"elemnts": {}}', "elemnts is not a setting; did you mean elements?"),
        ('{"elements": {"Xx": {}}}', "'Xx' is not an element symbol"),
        ('{"elements": {"Si": {}}}', "elements.Si.upf: Field required"),
    ],
)
def test_a_broken_lock_is_told(folder, text, reason):
    (folder / LOCK).write_text(text)
    with pytest.raises(InputError) as caught:
        read_lock(folder / LOCK)
    assert str(caught.value).startswith(f"{folder}/{LOCK} is not a species lock of version 1 (")
    assert reason in str(caught.value)


def test_a_folder_without_lock_and_no_folder(folder):
    with pytest.raises(InputError) as caught:
        locked_species(str(folder))
    assert str(caught.value) == (
        f"species.source: there is no lock {folder}/{LOCK}; "
        f"check and lock the files with: nextham species lock '{folder}'"
    )
    with pytest.raises(InputError) as caught:
        locked_species("embeded")
    assert str(caught.value) == (
        "species.source: there is no folder embeded; name one, or embedded for the set that ships with nextham"
    )


def test_what_each_engine_uses_by_default(folder):
    embedded = SpeciesSettings(source="embedded")
    assert open_source(SpeciesSettings(), LCAOSettings()) == embedded_species()
    assert open_source(embedded, AbacusSettings()) == embedded_species()
    with pytest.raises(InputError, match=r"pseudo_dir is not set; .* or set species.source in place of both folders"):
        open_source(SpeciesSettings(), AbacusSettings())
    named = AbacusSettings(pseudo_dir=str(folder), orbital_dir=str(folder))
    assert open_source(SpeciesSettings(), named) == NamedFolders(named)


@pytest.mark.parametrize(
    ("species", "recipe", "sentence"),
    [
        (
            {"source": "embedded"},
            LCAOSettings(pseudo_dir="a", orbitals={"Si": "b"}),
            "species.source and lcao.pseudo_dir, lcao.orbitals name two places for species; keep one of them",
        ),
        (
            {"source": "somewhere"},
            AbacusSettings(orbital_dir="a"),
            "species.source and abacus.orbital_dir name two places for species; keep one of them",
        ),
        ({"lock": "x"}, LCAOSettings(), "species.lock is the lock of a folder; name the folder in species.source"),
        (
            {"source": "embedded", "lock": "x"},
            LCAOSettings(),
            "species.lock is the lock of a folder; name the folder in species.source",
        ),
    ],
)
def test_two_places_are_refused_with_both_keys(species, recipe, sentence):
    with pytest.raises(InputError) as caught:
        open_source(SpeciesSettings(**species), recipe)
    assert str(caught.value) == sentence
