"""AbacusEngine runs, reads and repeats only what it must; the program is a stand-in that replays a recorded run."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shlex
import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from nextham.dft.abacus import binding, driver, probe
from nextham.dft.abacus.driver import AbacusEngine
from nextham.dft.abacus.probe import Build, find_build
from nextham.dft.abacus.settings import AbacusSettings, Launcher
from nextham.dft.abacus.stru import read_stru
from nextham.dft.engine import Cause, RunError
from nextham.exceptions import InputError

FAKE = Path(__file__).parents[2] / "fake_abacus.py"
ARCHIVE = Path(__file__).parents[3] / "examples" / "abacus-runs" / "case-BeS-zb-0.tar.xz"
SHELLS = {"Be": (7, "4s1p"), "S": (7, "2s2p1d")}


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """A recorded case and the crystal it was made from."""
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    case = next(folder.iterdir())
    return case, read_stru(case / "abacus_scf" / "STRU").structure


@pytest.fixture
def engine(tmp_path, recorded):
    """Return an engine whose program behaves as the mode says."""
    for name, (radius, shells) in SHELLS.items():
        (tmp_path / f"{name}.upf").write_text(f"<UPF of {name}>\n")
        counts = "".join(
            f"Number of {s.upper()}orbital--> {n}\n" for n, s in zip(shells[::2], shells[1::2], strict=True)
        )
        (tmp_path / f"{name}_gga_{radius}au_100Ry_{shells}.orb").write_text(f"Radius Cutoff(a.u.) {radius}\n{counts}")

    def make(mode, **changes):
        values = {
            "command": shlex.join([sys.executable, str(FAKE), mode, str(recorded[0])]),
            "pseudo_dir": str(tmp_path),
            "orbital_dir": str(tmp_path),
            "kspacing_inv_bohr": 0.20,
        }
        return AbacusEngine(AbacusSettings(**(values | changes)))

    return make


def calls(folder):
    return [line.split() for line in (folder / "fake-calls.txt").read_text().splitlines()]


def test_scf_gives_the_recorded_system(engine, recorded, tmp_path, example):
    result = engine("replay", omp_threads=2).scf(recorded[1], id="BeS", folder=tmp_path / "BeS")
    expected = example("BeS-zb-0").system
    assert result.levels is not None
    for name in ("overlap", "h0", "hamiltonian"):
        np.testing.assert_array_equal(result.system.operators[name], expected.operators[name])
    meta = result.system.meta[0]
    assert (meta.id, meta.engine, meta.engine_version, meta.magnetism) == ("BeS", "abacus", "3.9.0", "nonmagnetic")
    assert meta.converged
    assert calls(tmp_path / "BeS") == [["get_hs", "100", "2"], ["scf", "100", "2"]]


def test_h0_alone(engine, recorded, tmp_path):
    result = engine("replay").h0(recorded[1], id="BeS", folder=tmp_path / "BeS")
    assert set(result.system.operators) == {"overlap", "h0"}
    assert not (tmp_path / "BeS" / "abacus_scf").exists()


def test_without_get_hs_h0_comes_from_one_step(engine, recorded, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(driver, "_WITHOUT_GET_HS", set())
    made = engine("no-get-hs")
    first = made.h0(recorded[1], id="BeS", folder=tmp_path / "a")
    pickle.loads(pickle.dumps(engine("no-get-hs"))).h0(recorded[1], id="BeS", folder=tmp_path / "b")
    assert [c[:2] for c in calls(tmp_path / "a")] == [["get_hs", "100"], ["scf", "1"]]
    assert [c[:2] for c in calls(tmp_path / "b")] == [["scf", "1"]]
    assert "does not know calculation get_hs; H0 comes from scf_nmax 1 instead" in caplog.text
    driver._WITHOUT_GET_HS.clear()
    engine("no-get-hs").h0(recorded[1], id="BeS", folder=tmp_path / "a")  # a new process finds it finished
    assert len(calls(tmp_path / "a")) == 2
    direct = engine("replay").h0(recorded[1], id="BeS", folder=tmp_path / "c")
    np.testing.assert_array_equal(first.system.operators["h0"], direct.system.operators["h0"])


def test_get_hs_alone_fails_where_the_build_lacks_it(engine, recorded, tmp_path):
    with pytest.raises(RunError, match="The parameter calculation must be"):
        engine("no-get-hs", h0_route="get_hs").h0(recorded[1], id="BeS", folder=tmp_path / "a")


def test_finished_runs_are_not_repeated(engine, recorded, tmp_path):
    made, folder = engine("replay"), tmp_path / "BeS"
    made.h0(recorded[1], id="BeS", folder=folder)
    made.scf(recorded[1], id="BeS", folder=folder)
    made.scf(recorded[1], id="BeS", folder=folder)
    assert len(calls(folder)) == 2
    engine("replay", scf_thr=1e-7).scf(recorded[1], id="BeS", folder=folder)  # other inputs
    assert len(calls(folder)) == 4


def test_failed_scf_keeps_h0(engine, recorded, tmp_path):
    folder = tmp_path / "BeS"
    with pytest.raises(RunError) as error:
        engine("unconverged").scf(recorded[1], id="BeS", folder=folder)
    assert error.value.cause is Cause.UNCONVERGED
    assert "convergence has not been achieved" in error.value.log_tail
    engine("replay").scf(recorded[1], id="BeS", folder=folder)
    assert [c[:2] for c in calls(folder)] == [["get_hs", "100"], *[["scf", n] for n in ("100", "200", "200", "100")]]


def test_slower_mixing_is_tried_where_the_scf_does_not_converge(engine, recorded, tmp_path):
    folder = tmp_path / "BeS"
    result = engine("slow-mixing").scf(recorded[1], id="BeS", folder=folder)
    assert result.system.meta[0].converged
    tried = [(a["mixing_type"], a["mixing_beta"], a["scf_nmax"], a["outcome"]) for a in result.attempts]
    assert tried == [
        ("broyden", None, 100, "unconverged"),
        ("broyden", 0.2, 200, "unconverged"),
        ("pulay", 0.05, 200, "converged"),
    ]
    assert "mixing_beta     0.05" in (folder / "abacus_scf" / "INPUT").read_text()
    engine("slow-mixing").scf(recorded[1], id="BeS", folder=folder)
    assert len(calls(folder)) == 4  # the rung that converged is found finished


def test_what_converges_by_no_mixing_is_told_with_all_that_was_tried(engine, recorded, tmp_path):
    made = engine("unconverged", rescue_smearing_sigma_ry=0.05)
    with pytest.raises(RunError) as error:
        made.scf(recorded[1], id="BeS", folder=tmp_path / "BeS")
    assert [a["smearing_sigma_ry"] for a in error.value.attempts] == [0.015, 0.015, 0.015, 0.05]
    assert {a["outcome"] for a in error.value.attempts} == {"unconverged"}
    assert error.value.attempts[0]["steps"] > 3
    with pytest.raises(RunError) as error:
        engine("unconverged", rescue=False).scf(recorded[1], id="BeS", folder=tmp_path / "other")
    assert len(error.value.attempts) == 1


def test_other_failures_are_not_tried_again(engine, recorded, tmp_path):
    folder = tmp_path / "BeS"
    engine("replay").h0(recorded[1], id="BeS", folder=folder)
    with pytest.raises(RunError) as error:
        engine("segfault").scf(recorded[1], id="BeS", folder=folder)
    assert [a["outcome"] for a in error.value.attempts] == ["crashed"]
    assert len(calls(folder)) == 2


def test_tasks_in_the_command_are_one_rank_unless_told(recorded, engine):
    words = shlex.join([sys.executable, str(FAKE), "replay", str(recorded[0])])
    settings = engine("replay", command=f"env RANKS={{tasks}} {words}").settings
    assert "RANKS=1" in settings.command
    assert AbacusSettings(command="srun -n {tasks} abacus").with_tasks(8).command == "srun -n 8 abacus"


def test_half_a_matrix_is_told_and_run_again(engine, recorded, tmp_path):
    folder = tmp_path / "BeS"
    with pytest.raises(RunError) as error:
        engine("half-matrix").scf(recorded[1], id="BeS", folder=folder)
    assert error.value.cause is Cause.TRUNCATED
    assert engine("replay").scf(recorded[1], id="BeS", folder=folder).system.meta[0].converged


def test_half_a_matrix_on_a_full_disk(engine, recorded, tmp_path, monkeypatch):
    made, folder = engine("half-matrix"), tmp_path / "BeS"
    monkeypatch.setattr("nextham.dft.abacus.driver.disk_is_full", lambda free: True)
    with pytest.raises(RunError) as error:
        made.scf(recorded[1], id="BeS", folder=folder)
    assert error.value.cause is Cause.DISK_FULL
    assert str(error.value) == f"BeS: the disk of {folder} is full; free space there and run again"


@pytest.mark.parametrize(
    ("number", "cause", "sentence"),
    [
        (errno.ENOSPC, Cause.DISK_FULL, "BeS: the disk of {} is full; free space there and run again"),
        (
            errno.EACCES,
            Cause.BAD_INPUT,
            "BeS: the inputs cannot be written to {}: Permission denied; name another folder for the runs",
        ),
    ],
)
def test_inputs_that_cannot_be_written(engine, recorded, tmp_path, monkeypatch, *, number, cause, sentence):
    def fail(self, folder):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("nextham.dft.abacus.inputs.RunInputs.write", fail)
    with pytest.raises(RunError) as error:
        engine("replay").h0(recorded[1], id="BeS", folder=tmp_path / "BeS")
    assert error.value.cause is cause
    assert str(error.value) == sentence.format(tmp_path / "BeS" / "abacus_geths")


def test_half_a_log(engine, recorded, tmp_path):
    with pytest.raises(RunError) as error:
        engine("half-log").scf(recorded[1], id="BeS", folder=tmp_path / "BeS")
    assert error.value.cause is Cause.TRUNCATED


def test_runs_of_others_are_left_alone(engine, recorded, tmp_path):
    shutil.copytree(recorded[0], tmp_path / "BeS")
    with pytest.raises(RunError) as error:
        engine("replay").h0(recorded[1], id="BeS", folder=tmp_path / "BeS")
    assert str(error.value) == (
        f"BeS: {tmp_path}/BeS/abacus_geths holds a run that was not started here; "
        "import it with nextham import-abacus or name another folder for the runs"
    )
    assert (tmp_path / "BeS" / "abacus_geths" / "OUT.ABACUS").is_dir()


def test_the_record_says_how_it_was_run(engine, recorded, tmp_path):
    engine("replay").h0(recorded[1], id="BeS", folder=tmp_path / "BeS")
    record = json.loads((tmp_path / "BeS" / "abacus_geths" / "nextham-run.json").read_text())
    assert record["task"] == "get_hs"
    assert record["finished"] is True
    assert record["abacus"] == "3.9.0.1"


def test_no_program_is_told_before_anything_runs(engine):
    with pytest.raises(InputError) as error:
        engine("replay", command="no-such-abacus -x")
    assert str(error.value) == (
        "there is no program 'no-such-abacus' on PATH; install ABACUS (conda-forge: abacus), load its module, "
        "or name it with command: /path/to/abacus"
    )


def test_launcher_without_program_is_told(engine):
    with pytest.raises(InputError, match="does not start ABACUS: 'mpirun was unable to find the specified executable"):
        engine("no-program")


def test_missing_folders_are_told_first(engine):
    with pytest.raises(InputError, match="pseudo_dir: there is no folder /no/such"):
        engine("replay", pseudo_dir="/no/such")


@pytest.mark.parametrize(
    ("version", "decimals"),
    [("3.9.0.17", False), ("3.10.1", False), ("3.11.0-beta6", True), ("4.0", True), ("", False)],
)
def test_only_new_builds_take_decimals(version, decimals):
    assert Build(("abacus",), version, Launcher.COMMAND).takes_decimals is decimals


def make_binding(folder, *, driver=True):
    """Make a package shaped like ABACUS's pyabacus, whose driver writes the log where the real one does."""
    package = folder / "pyabacus"
    (package / "driver").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "_core.py").write_text("")
    (package / "driver" / "__init__.py").write_text("")
    if driver:
        (package / "driver" / "_driver_pack.py").write_text(
            "import subprocess, sys\n"
            "from pathlib import Path\n"
            "class PyDriver:\n"
            "    def run(self, *, input_dir, output_dir, calculate_force, calculate_stress, verbosity, **files):\n"
            "        assert not any(files.values()) and not calculate_force and verbosity == 1\n"
            f"        subprocess.run([sys.executable, {str(FAKE)!r}, 'replay', (Path(__file__).parents[2] / 'case')"
            ".read_text()], check=True)\n"
            "        log = Path(output_dir, 'running_scf.log')\n"
            "        log.rename(log.with_name('running.log'))\n"
        )
    return folder


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    def put(folder):
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PYTHONPATH", str(folder))
        for name in [n for n in sys.modules if n.split(".")[0] == "pyabacus"]:
            monkeypatch.delitem(sys.modules, name)

    find_build.cache_clear()
    yield put
    find_build.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] == "pyabacus"]:
        del sys.modules[name]


def test_the_binding_runs_jobs_too(engine, recorded, tmp_path, on_path):
    library = make_binding(tmp_path / "lib")
    (library / "case").write_text(str(recorded[0]))
    on_path(library)
    made = engine("replay", command="no-such-abacus")
    assert made.build.launcher is Launcher.PYABACUS
    result = made.scf(recorded[1], id="BeS", folder=tmp_path / "BeS")
    assert result.system.meta[0].converged
    assert [c[:2] for c in calls(tmp_path / "BeS")] == [["scf", "1"], ["scf", "100"]]
    assert "out_mat_hs2     1 12" in (tmp_path / "BeS" / "abacus_scf" / "INPUT").read_text()


def test_a_binding_without_driver_is_told(engine, tmp_path, on_path):
    on_path(make_binding(tmp_path / "lib", driver=False))
    with pytest.raises(InputError, match="this pyabacus has no compiled driver"):
        engine("replay", launcher="pyabacus")


def test_no_binding_is_told(engine, on_path):
    with pytest.raises(InputError) as error:
        engine("replay", launcher="pyabacus")
    assert str(error.value) == (
        "launcher: pyabacus cannot be used: ABACUS's Python binding (pyabacus) is not installed; build it from "
        "python/pyabacus of its source tree"
    )


def test_the_package_of_the_same_name_is_told_apart(engine, on_path, monkeypatch):
    class Tausand:
        metadata = {"Summary": "Built to use with Tausand Abacus coincidence counters"}  # noqa: RUF012

    monkeypatch.setattr(binding, "distribution", lambda name: Tausand)
    with pytest.raises(InputError, match="PyPI's driver of Tausand coincidence counters, another package"):
        engine("replay", launcher="pyabacus")


def test_a_build_is_asked_once(engine, monkeypatch):
    find_build.cache_clear()
    asked = []
    ask = probe._ask
    monkeypatch.setattr(probe, "_ask", lambda words: asked.append(words) or ask(words))
    engine("replay")
    engine("replay")
    assert len(asked) == 1
    assert engine("replay").build.version == "3.9.0.1"


@pytest.mark.abacus
def test_real_abacus_agrees_with_the_recorded_run(recorded, tmp_path, example):
    """With PSEUDO_DIR and ORBITAL_DIR in the environment: the files that the recorded run names."""
    if shutil.which("abacus") is None or not {"PSEUDO_DIR", "ORBITAL_DIR"} <= set(os.environ):
        pytest.skip("needs an abacus on PATH, and PSEUDO_DIR and ORBITAL_DIR in the environment")
    settings = AbacusSettings(
        pseudo_dir=os.environ["PSEUDO_DIR"], orbital_dir=os.environ["ORBITAL_DIR"], kspacing_inv_bohr=0.20
    )
    result = AbacusEngine(settings).scf(recorded[1], id="BeS", folder=tmp_path / "BeS")
    expected = example("BeS-zb-0").system
    for name, tolerance in (("overlap", 1e-7), ("h0", 1e-5), ("hamiltonian", 1e-3)):  # 8 decimals; the SCF's threshold
        difference = (result.system.operator(name) - expected.operator(name)).values
        assert np.abs(difference).max() < tolerance, name
