"""What may change under a half-finished campaign, and what is refused with its reason."""

from __future__ import annotations

import json

import pytest
from fake_engine import calls
from made_campaign import RESULTS, assignment, planned, run

from nextham.campaign.asking import set_aside
from nextham.campaign.folder import CampaignFolder
from nextham.campaign.recipe import Recipe, check_version, keep_recipe
from nextham.config import Config
from nextham.dft.abacus.settings import AbacusSettings
from nextham.dft.lcao.settings import LCAOSettings
from nextham.exceptions import InputError

WAYS_OUT = (
    "Put it back, name another results folder, or set the chunks aside and begin again: "
    "nextham campaign restart results"
)


def refusal(**config):
    with pytest.raises(InputError) as caught:
        Config.parse({"source": {"kind": "structures", "paths": ["crystals"]}, **config}).work().check()
    return str(caught.value)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"lcao": {"ecutwfc_ry": 60}}, "lcao.ecutwfc_ry was 100.0 and is now 60.0"),
        ({"lcao": {"h0_definition": "core"}}, "lcao.h0_definition was atomic-density-step0 and is now core"),
        ({"checks": {"band_tolerance_ev": 0.01}}, "checks.band_tolerance_ev was 0.0001 and is now 0.01"),
        ({"store": {"fraction_bits": None}}, "store.fraction_bits was 34 and is now unset"),
        ({"engine": "abacus", "species": {"source": "embedded"}}, "engine was lcao and is now abacus"),
        ({"source": {"kind": "abacus-runs"}}, "engine was lcao and is now none"),
    ],
)
def test_what_numbers_follow_from_is_refused_with_finished_chunks(place, config, words):
    run(planned("a"))
    assert refusal(**config) == f"results holds 1 chunks that were computed otherwise: {words}. {WAYS_OUT}"


def test_before_anything_is_computed_everything_may_change(place):
    planned("a")
    assignment(lcao={"ecutwfc_ry": 60}).check()
    planned("a", lcao={"ecutwfc_ry": 60})
    run(planned(lcao={"ecutwfc_ry": 60}), lcao={"ecutwfc_ry": 60})
    assert "lcao.ecutwfc_ry was 60.0 and is now 100.0" in refusal()


def test_how_fast_and_whether_numbers_come_may_change_and_computes_nothing_again(place):
    run(planned("a", "b"))
    lcao = {"scf_nmax": 200, "mixing_beta": 0.2, "rescue": False, "max_memory_gb": 99}
    plan = planned("a", "b", "c", lcao=lcao, cores=7, max_attempts=9, runs="keep")
    assert run(plan, "00001", lcao=lcao).computed == 1
    assert plan.folder.receipt("00000").is_file()
    plan.folder.receipt("00000").unlink()
    assert run(plan, lcao=lcao).computed == 0
    assert sorted(calls()) == ["a", "b", "c"]


def test_every_key_is_a_knob_or_changes_the_recipe():
    for engine, settings in (("lcao", LCAOSettings), ("abacus", AbacusSettings)):
        keys = set(settings.model_fields) - set(settings.species_keys)
        assert settings.knobs <= keys
        kept = {key.partition(".")[2] for key in Recipe.of(engine, assignment().settings).settings if "." in key}
        assert keys - settings.knobs <= kept


def test_other_species_files_of_an_element_are_refused_and_new_elements_are_not(tmp_path):
    folder, old = CampaignFolder(tmp_path), Recipe({"engine": "x"}, {"Si": "1"})
    keep_recipe(folder, old)
    folder.chunk("00000").parent.mkdir(parents=True)
    folder.chunk("00000").write_text("{}")
    folder.store("00000").mkdir(parents=True)
    keep_recipe(folder, Recipe({"engine": "x"}, {"Ge": "2"}))
    assert json.loads(folder.recipe.read_text())["species"] == {"Si": "1", "Ge": "2"}
    with pytest.raises(InputError, match="the species files of Si are others"):
        keep_recipe(folder, Recipe({"engine": "x"}, {"Si": "3"}))


def test_another_version_of_the_engine_is_refused_unless_told(tmp_path):
    folder = CampaignFolder(tmp_path / "results")
    check_version(folder, "abacus", "3.8.1", mixed=False)
    check_version(folder, "abacus", "3.8.1", mixed=False)
    check_version(folder, "abacus", "3.10.0", mixed=True)
    with pytest.raises(InputError) as caught:
        check_version(folder, "abacus", "", mixed=False)
    assert str(caught.value) == (
        f"{tmp_path}/results was begun with abacus 3.8.1, but the one here is abacus of unknown version: use the "
        "former, or set campaign.mixed_versions: true to go on with both, or begin again: "
        f"nextham campaign restart {tmp_path}/results"
    )


def test_a_restart_sets_everything_aside_and_deletes_nothing(place):
    run(planned("a"))
    aside = set_aside(CampaignFolder(RESULTS))
    assert aside.name == "before-1"
    assert (aside / "chunks" / "00000" / "store.json").is_file()
    assignment(lcao={"ecutwfc_ry": 60}).check()
    assert run(planned(lcao={"ecutwfc_ry": 60}), lcao={"ecutwfc_ry": 60}).computed == 1
    assert set_aside(CampaignFolder(RESULTS)).name == "before-2"
    with pytest.raises(InputError, match="results holds no campaign"):
        set_aside(CampaignFolder(RESULTS))
