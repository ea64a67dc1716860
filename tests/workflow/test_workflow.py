"""The workflow itself: what it plans, what stops it, and one small run from end to end."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from running_snakemake import ROOT, change, snakemake

from nextham.config import Config, json_schema
from nextham.core import OrbitalBasis
from nextham.data.ledger import Ledger
from nextham.data.store import Store
from nextham.data.writer import StoreWriter
from nextham.dft.species.source import embedded_species
from nextham.exceptions import InputError
from nextham.model.settings import ModelSettings
from nextham.testing import synthetic_system, zincblende

SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"


@pytest.fixture
def default(tmp_path):
    """A working folder with the default config."""
    shutil.copy(ROOT / "config.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def folder(default):
    """A working folder with the default config, but the recorded runs as source."""
    values = yaml.safe_load((default / "config.yaml").read_text())
    values["source"] = {
        "kind": "abacus-runs",
        "paths": [str(ROOT / "examples" / "abacus-runs")],
        "chunk_size": 6,
    }
    (default / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return default


BORON_NITRIDE = "BN\n3.616\n0 .5 .5\n.5 0 .5\n.5 .5 0\nB N\n1 1\nDirect\n0 0 0\n.25 .25 .25\n"


def make_plan(folder):
    """Plan as the job does, so that a dry run shows the jobs of the chunks."""
    words = ["campaign", "plan", "results", "--config", "config.yaml"]
    done = subprocess.run(
        [sys.executable, "-c", "from nextham.cli import main; main()", *words], cwd=folder, check=True
    )
    assert done.returncode == 0


def test_default_config_is_valid_and_complete():
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    config = Config.parse(values)
    assert (config.source.kind, config.engine) == ("prototypes", "lcao")
    elements = {e for id in config.source.items() for e in re.findall("[A-Z][a-z]?", id.split("-")[0])}
    assert elements <= set(embedded_species().elements)
    assert len(elements) >= 20


def test_committed_schema_is_the_current_one():
    assert SCHEMA.read_text() == json_schema(), "run: nextham config --schema > workflow/schemas/config.schema.json"


def test_every_knob_is_described():
    schema = json.loads(json_schema())
    sections = {"config": schema, **schema["$defs"]}
    knobs = [(where, key, knob) for where, each in sections.items() for key, knob in each.get("properties", {}).items()]
    assert len(knobs) > 30
    assert [f"{where}.{key}" for where, key, knob in knobs if not knob.get("description")] == []


def test_dry_run_plans_the_main_job(default):
    plan = snakemake(default, "-n")
    assert plan.returncode == 0, plan.stderr
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)$", plan.stdout, re.M))
    assert jobs["crystals"] == jobs["plan"] == "1"  # the jobs of chunks are known when there is a plan
    assert {"dataset", "split", "train", "predict", "score", "report_page", "all"} <= set(jobs)


def test_dry_run_plans_the_leaderboard(default):
    plan = snakemake(default, "-n", "benchmark")
    assert plan.returncode == 0, plan.stderr
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)$", plan.stdout, re.M))
    assert (jobs["entry"], jobs["leaderboard"], jobs["report_page"]) == ("3", "1", "1")
    assert re.search(
        r"input: \S+/benchmark/models/nextham-tiny.yml, results/scores/model.json, results/model", plan.stdout
    )
    change(default, benchmark={"card": "mine.yml"})
    plan = snakemake(default, "-n", "benchmark")
    assert "mine.yml" in plan.stdout + plan.stderr  # missing, and named


def test_dry_run_plans_the_import_of_runs(folder):
    plan = snakemake(folder, "-n")
    assert plan.returncode == 0, plan.stderr
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)$", plan.stdout, re.M))
    assert (jobs["plan"], jobs["score"]) == ("1", "3")
    assert {"dataset", "split", "train", "predict", "report_page", "all"} <= set(jobs)
    make_plan(folder)
    plan = snakemake(folder, "-n")
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)$", plan.stdout, re.M))
    assert jobs["chunk"] == "3"  # of six runs at most
    assert "plan" not in jobs


@pytest.mark.parametrize("engine", ["lcao", "abacus"])
def test_crystals_go_to_the_engine_of_the_config(folder, engine):
    (folder / "crystals").mkdir()
    for k in range(3):
        (folder / "crystals" / f"BN-{k}.vasp").write_text(BORON_NITRIDE)
    change(
        folder,
        source={"kind": "structures", "paths": ["crystals"], "chunk_size": 2},
        species={"source": "embedded"},
        abacus={"omp_threads": 2, "command": "srun -n {tasks} abacus"},
        campaign={"cores": 4, "chunk_minutes": 60 if engine == "lcao" else 0.5},
    )
    values = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(values | {"engine": engine}))
    make_plan(folder)
    plan = snakemake(folder, "-n", "-p", "--cores", "8", "dataset_only")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    commands = re.findall(r"nextham campaign compute (\S+) (\d+) --cores (\d+) ", plan.stdout)
    resources = set(re.findall(r"tasks=(\d), cpus_per_task=(\d), mpi=(\w*),", plan.stdout))
    if engine == "lcao":  # two chunks, of two structures and of one
        assert sorted(commands) == [("results", "00000", "2"), ("results", "00001", "1")]
        assert resources == {("1", "2", ""), ("1", "1", "")}
    else:  # each takes longer than a job should: one job each, two ranks of two threads
        assert sorted(commands) == [("results", f"0000{k}", "4") for k in range(3)]
        assert resources == {("2", "2", "srun")}


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"source": {"chunksize": 4}}, "config.yaml: source.chunksize is not a setting; did you mean chunk_size?"),
        ({"sauce": {"kind": "x"}}, "config.yaml: sauce is not a setting; did you mean source?"),
        ({"source": {"chunk_size": 0}}, "config.yaml: source.chunk_size: Input should be greater than or equal to 1"),
        ({"source": {"paths": ["nowhere"]}}, "source.paths: there is no nowhere"),
        (
            {"benchmark": {"subset": "tset"}},
            "benchmark.subset is 'tset', but the split has train, val, test; name one of them",
        ),
    ],
)
def test_a_bad_config_stops_the_dry_run(folder, section, sentence):
    change(folder, **section)
    plan = snakemake(folder, "-n")
    assert plan.returncode != 0
    assert sentence in plan.stdout + plan.stderr


def test_species_that_cannot_be_used_stop_the_dry_run(folder):
    (folder / "BN.vasp").touch()
    (folder / "mine").mkdir()
    change(folder, source={"kind": "structures", "paths": ["BN.vasp"]}, species={"source": "mine"})
    plan = snakemake(folder, "-n")
    assert plan.returncode != 0
    sentence = "there is no lock mine/species.lock.json; check and lock the files with: nextham species lock mine"
    assert sentence in plan.stdout + plan.stderr


def test_species_of_the_config():
    crystals = {"source": {"kind": "prototypes"}}
    assert Config.parse({"species": {"source": "nowhere"}}).species_sha256() == ""  # runs are imported
    assert Config.parse(crystals).species_sha256() == embedded_species().sha256
    named = {"engine": "abacus", "abacus": {"pseudo_dir": ".", "orbital_dir": "."}}
    assert Config.parse(crystals | named).species_sha256() == ""
    with pytest.raises(InputError) as caught:
        Config.parse(named | {"species": {"source": "embedded"}})
    assert str(caught.value) == (
        "config.yaml: species.source and abacus.pseudo_dir, abacus.orbital_dir name two places for species; "
        "keep one of them"
    )
    assert Config.parse({**named, "engine": "lcao", "species": {"source": "embedded"}})
    with pytest.raises(InputError, match=r"species.sauce is not a setting; did you mean source\?"):
        Config.parse({"species": {"sauce": "x"}})


def test_an_empty_source_is_an_error(tmp_path):
    config = Config.parse({"source": {"paths": [str(tmp_path)]}})
    with pytest.raises(InputError, match=r"source.paths: .* holds no abacus runs"):
        config.source.items()


def test_the_one_allowed_lint(folder):
    found = snakemake(folder, "--lint").stderr
    kinds = set(re.findall(r"^    \* ([^:]+):$", found, re.M))
    assert kinds <= {"Specify a conda environment or container for each rule."}, found


def test_a_section_travels_as_one_line_of_json():
    config = Config()
    assert json.loads(Config.parse({"split": {"seed": 3}}).section("split")) == {"seed": 3}
    assert json.loads(config.section("store", "checks")) == {"store": {}, "checks": {}}


def test_small_run_from_prototypes_to_a_dataset(default):
    """Real DFT of two crystals, and one element that no species set has: it goes to the ledger."""
    crystals = {"A4": {"Si": 5.431}, "A2": {"Fe": 2.87}}
    change(
        default,
        source={"crystals": {"prototypes": crystals, "perturbed": 1}},
        lcao={"kspacing_inv_bohr": 0.5, "ecutwfc_ry": 40},
    )
    done = snakemake(default, "--cores", "2", "dataset_only")
    assert done.returncode == 0, done.stdout + done.stderr
    store = Store(default / "results" / "dataset")
    assert sorted(store.ids) == ["Si-A4-0", "Si-A4-1"]
    assert store["Si-A4-1"].meta[0].converged
    assert store.provenance("Si-A4-1").source == "prototype A4"
    failed = [e for e in Ledger(default / "results" / "dataset" / "ledger.jsonl").entries() if not e.ok]
    assert sorted(e.id for e in failed) == ["Fe-A2-0", "Fe-A2-1"]
    assert "Fe" in failed[0].message


def test_small_run_from_runs_to_report(folder):
    """Five runs, one of them broken: it goes to the ledger and the rest reaches the report."""
    runs = folder / "runs"
    runs.mkdir()
    for name in ("BeS-zb-0", "BeS-zb-1", "NaCl-rs-0", "NaCl-rs-1"):
        archive = f"case-{name}.tar.xz"
        shutil.copy(ROOT / "examples" / "abacus-runs" / archive, runs / archive)
    (runs / "case-broken.tar.xz").write_bytes(b"not an archive")
    values = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({**values, "results": "my results"}, sort_keys=False))
    change(
        folder,
        source={"paths": ["runs"], "chunk_size": 3},
        split={"fractions": {"train": 0.5, "val": 0.25, "test": 0.25}},
        train={"epochs": 2},
    )
    done = snakemake(folder, "--cores", "2", "all", "benchmark")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (folder / "my results" / "report" / "index.html").read_text()
    assert "Gauge MAE" in page
    assert json.loads((folder / "my results" / "report" / "scores.json").read_text())
    board = json.loads((folder / "my results" / "leaderboard" / "leaderboard.json").read_text())
    lines = {line["name"]: line for line in board["rankings"][0]["lines"]}
    assert set(lines) == {"NextHAM tiny", "H0", "zero"}
    assert lines["NextHAM tiny"]["origin"] == "reproduced"
    assert lines["NextHAM tiny"]["parameters"] > 0
    ledger = (folder / "my results" / "dataset" / "ledger.jsonl").read_text()
    assert "broken" in ledger
    assert "nothing to be done" in snakemake(folder, "-n", "all", "benchmark").stdout.lower()


def test_a_preset_and_what_refines_it_travel_together():
    model = Config.parse({"model": {"preset": "small", "channels": 16}}).section("model")
    assert json.loads(model)["channels"] == 16
    assert ModelSettings.model_validate_json(model).lmax == ModelSettings(preset="small").lmax


def test_the_materials_project_is_a_source(default):
    """What is in the cache needs no network: two structures fetched before come to the campaign."""
    from fake_materials_project import FakeClient, document

    from nextham.structures.mp.fetch import fetch
    from nextham.structures.settings import MaterialsProjectSettings

    (default / "ids.txt").write_text("mp-1\nmp-2\nmp-404\nmp-3\n")
    query = {"ids_from": [str(default / "ids.txt")], "cache": str(default / "cache")}
    client = FakeClient([document("mp-1"), document("mp-2"), document("mp-3", ("Si", "C"), 4.36)])
    fetch(MaterialsProjectSettings.model_validate(query), lambda: client)
    values = yaml.safe_load((default / "config.yaml").read_text())
    prepare = {"unique": True, "filters": {"known_species": True}}
    values["source"] = {"kind": "materials-project", "materials_project": query, "prepare": prepare}
    (default / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    plan = snakemake(default, "-n")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    done = snakemake(default, "--cores", "1", "results/campaign/planned")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((default / "results" / "crystals.json").read_text())
    assert [each["id"] for each in report["crystals"]] == ["mp-1", "mp-3"]
    assert report["reasons"] == {"unknown id": 1, "duplicate": 1}
    rows = json.loads((default / "results" / "campaign" / "plan.json").read_text())
    assert sum(row["n"] for row in rows.values()) == 2


def test_finished_stores_are_a_source(default):
    """Nothing is planned or computed: what was imported elsewhere is packed, split and looked at."""
    basis = OrbitalBasis.parse("Ga:1s1p As:1s1p")
    systems = [
        synthetic_system(zincblende(rattle_ang=0.02 * k), basis, id=f"mp-{k}", cutoff_ang=4.0, seed=k) for k in range(6)
    ]
    for name, part in (("a", systems[:4]), ("b", systems[4:])):
        with StoreWriter(default / name) as writer:
            for system in part:
                writer.add(system)
    values = yaml.safe_load((default / "config.yaml").read_text())
    values["source"] = {"kind": "stores", "paths": ["a", f"file://{default}/b"]}
    (default / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    plan = snakemake(default, "-n")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)$", plan.stdout, re.M))
    assert {"dataset", "split", "train", "predict", "score", "report_page", "all"} <= set(jobs)
    assert not {"crystals", "plan", "chunk"} & set(jobs)
    done = snakemake(default, "--cores", "1", "dataset_only")
    assert done.returncode == 0, done.stdout + done.stderr
    dataset = Store(default / "results" / "dataset")
    assert dataset.ids == tuple(f"mp-{k}" for k in range(6))
    assert dataset.checksum("mp-5") == Store(default / "b").checksum("mp-5")
    assert "nothing to be done" in snakemake(default, "-n", "dataset_only").stdout.lower()
    with StoreWriter(default / "b", overwrite=True) as writer:
        writer.add(systems[5])
    assert "dataset" in snakemake(default, "-n", "dataset_only", "-q", "rules").stdout


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"kind": "stores"}, "source.paths: examples/abacus-runs does not exist"),
        ({"kind": "stores", "paths": ["."]}, "source.paths: . is not a store: it has no store.json"),
        ({"kind": "stores", "paths": ["ftp://x/y"]}, "ftp://x/y: ftp is not a way to a store; there are file, http"),
        (
            {"kind": "stores", "paths": ["results/dataset"]},
            "source.paths has results/dataset, which is in the results folder, where this workflow replaces it",
        ),
        ({"kind": "materials-project"}, "the query is empty, which would be the whole Materials Project"),
        (
            {"kind": "materials-project", "materials_project": {"ids_from": ["nowhere.txt"]}},
            "there is no list of ids nowhere.txt",
        ),
        (
            {"kind": "materials-project", "materials_project": {"elements": ["Xx"]}},
            "config.yaml: source.materials_project.elements.0: 'Xx' is not an element symbol",
        ),
        ({"kind": "structures", "paths": ["nowhere"]}, "source.paths: there is no nowhere"),
    ],
)
def test_a_source_that_cannot_be_asked_stops_the_dry_run(default, source, sentence):
    values = yaml.safe_load((default / "config.yaml").read_text())
    (default / "config.yaml").write_text(yaml.safe_dump(values | {"source": source}, sort_keys=False))
    plan = snakemake(default, "-n")
    assert plan.returncode != 0
    assert sentence in plan.stdout + plan.stderr


def test_files_are_made_ready_only_where_it_is_asked(tmp_path):
    (tmp_path / "Si").mkdir()
    (tmp_path / "Si" / "POSCAR").touch()
    source = {"kind": "structures", "paths": [str(tmp_path)]}
    assert not Config.parse({"source": source}).source.built
    assert Config.parse({"source": source}).source.items() == [str(tmp_path / "Si" / "POSCAR")]
    assert Config.parse({"source": source | {"prepare": {"primitive": True}}}).source.built
    assert not Config.parse({"source": {"prepare": {"primitive": True}}}).source.built  # runs are imported
    filters = {"prepare": {"filters": {"known_species": True}}}
    with pytest.raises(
        InputError, match=r"source\.prepare\.filters count the orbitals of species\.source; name a locked"
    ):
        Config.parse(
            {"source": source | filters, "engine": "abacus", "abacus": {"pseudo_dir": ".", "orbital_dir": "."}}
        )
