"""Each way an ABACUS job fails is told apart, in one sentence."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nextham.dft.abacus.failures import Outcome, UnknownCalculationError, diagnose
from nextham.dft.abacus.run import Job, run_job
from nextham.dft.engine import Cause, RunError
from nextham.workers import began

FAKE = Path(__file__).parents[2] / "fake_abacus.py"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "x" / "abacus_scf"
    path.mkdir(parents=True)
    (path / "INPUT").write_text("INPUT_PARAMETERS\ncalculation get_hs\nscf_nmax 100\n")
    return path


def run(folder, mode, *, timeout_s=60.0, must_converge=False):
    job = Job("si", "SCF run", folder, "OUT.ABACUS/running_scf.log", timeout_s, must_converge=must_converge)
    return run_job(job, [sys.executable, str(FAKE), mode])


@pytest.mark.parametrize(
    ("mode", "cause", "sentence"),
    [
        (
            "crash",
            Cause.CRASHED,
            "si: the SCF run in {} crashed with exit status 174: "
            "'forrtl: severe (174): SIGSEGV, segmentation fault occurred'; see abacus.out and abacus.err there",
        ),
        (
            "killed",
            Cause.KILLED,
            "si: the SCF run in {} was killed by signal 9 (SIGKILL), most often for want of memory; "
            "run it again with more memory or time",
        ),
        (
            "mpi-killed",
            Cause.KILLED,
            "si: the SCF run in {} was killed by signal 9 (SIGKILL), most often for want of memory; "
            "run it again with more memory or time",
        ),
        (
            "segfault",
            Cause.CRASHED,
            "si: the SCF run in {} crashed with signal 11 (SIGSEGV): 'no message'; see abacus.out and abacus.err there",
        ),
        ("oom", Cause.KILLED, "si: the SCF run in {} ran out of memory; give it more, or fewer processes"),
        ("no-space", Cause.DISK_FULL, "si: the disk of {} is full; free space there and run again"),
        (
            "no-upf",
            Cause.MISSING_FILE,
            'si: ABACUS refused the SCF run in {}: "Couldn\'t find pseudopotential file."; '
            "change what it names in the settings",
        ),
        (
            "silent-refusal",
            Cause.BAD_INPUT,
            "si: ABACUS refused the SCF run in {}: 'ecutwfc should be positive'; change what it names in the settings",
        ),
        (
            "silent",
            Cause.CRASHED,
            "si: the SCF run in {} wrote no log although it ended with status 0; see abacus.out there",
        ),
    ],
)
def test_failure_is_told_apart(folder, mode, cause, sentence):
    with pytest.raises(RunError) as error:
        run(folder, mode)
    assert error.value.cause is cause
    assert str(error.value) == sentence.format(folder)


def test_unknown_calculation_is_a_kind_of_its_own(folder):
    with pytest.raises(UnknownCalculationError, match="The parameter calculation must be"):
        run(folder, "no-get-hs")


def test_timeout_ends_the_job_and_its_children(folder):
    with pytest.raises(RunError) as error:
        run(folder, "hang", timeout_s=1.0)
    assert error.value.cause is Cause.TIMEOUT
    assert (
        str(error.value)
        == f"si: the SCF run in {folder} was stopped after 1 s; raise its timeout or give it more cores"
    )
    pid = int((folder / "child.pid").read_text())
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            return
        time.sleep(0.1)
    os.kill(pid, 9)
    pytest.fail("the child of a job that was stopped still runs")


def test_what_a_killed_program_left_running_is_ended_before_the_next_run(folder):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    note = {"host": socket.gethostname(), "pid": other.pid, "began": began(other.pid)}
    (folder / "nextham-process.json").write_text(json.dumps(note))
    with pytest.raises(RunError):
        run(folder, "silent")
    assert other.wait(timeout=10) == -9


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"began": 1}, {"pid": "x"}])
def test_a_process_that_is_not_the_one_noted_is_left_alone(folder, change):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as other:
        note = {"host": socket.gethostname(), "pid": other.pid, "began": began(other.pid), **change}
        (folder / "nextham-process.json").write_text(json.dumps(note))
        with pytest.raises(RunError):
            run(folder, "silent")
        assert other.poll() is None
        other.kill()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone tells a child that its parent died")
def test_a_run_ends_with_the_program_that_started_it(folder):
    script = (
        "import sys\nfrom pathlib import Path\nfrom nextham.dft.abacus.run import Job, run_job\n"
        "folder = Path(sys.argv[1])\nrun_job(Job('si', 'SCF run', folder, 'log', 60.0), sys.argv[2:])\n"
    )
    program = subprocess.Popen([sys.executable, "-c", script, str(folder), "sleep", "60"])
    noted = folder / "nextham-process.json"
    wait_until(lambda: noted.is_file() and noted.read_text().endswith("\n"))
    pid = json.loads(noted.read_text())["pid"]
    program.kill()
    program.wait()
    wait_until(lambda: began(pid) is None)


def wait_until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def outcome(tmp_path, **changes):
    values = {
        "id": "si",
        "what": "SCF run",
        "folder": tmp_path,
        "returncode": 0,
        "seconds": 1.0,
        "printed": "",
        "log": " charge density convergence is achieved\n",
        "free_bytes": 10**10,
        "must_converge": True,
    }
    return Outcome(**(values | changes))


def test_good_run_has_no_error(tmp_path):
    assert diagnose(outcome(tmp_path)) is None
    assert diagnose(outcome(tmp_path, log=" #SCF IS CONVERGED#\n")) is None


@pytest.mark.parametrize("message", [" !! convergence has not been achieved @_@", " !!SCF IS NOT CONVERGED!!"])
@pytest.mark.parametrize("returncode", [0, 1])
def test_unconverged(tmp_path, message, returncode):
    log = f" Density error is 0.5\n Density error is 0.003\n{message}\n"
    error = diagnose(outcome(tmp_path, log=log, returncode=returncode))
    assert error.cause is Cause.UNCONVERGED
    assert str(error) == (
        f"si: the SCF run in {tmp_path} did not converge in 2 steps (density error 0.003); "
        "raise scf_nmax or lower mixing_beta"
    )
    assert error.log_tail.splitlines()[-1] == message


def test_one_step_run_need_not_converge(tmp_path):
    log = " !! convergence has not been achieved @_@\n"
    assert diagnose(outcome(tmp_path, log=log, must_converge=False)) is None


def test_log_that_stops_early(tmp_path):
    error = diagnose(outcome(tmp_path, log=" Density error is 0.5\n"))
    assert error.cause is Cause.TRUNCATED
    assert str(error) == f"si: the log of the SCF run in {tmp_path} ends before the SCF does; run it again"
    assert diagnose(outcome(tmp_path, log=" x\n", free_bytes=0)).cause is Cause.DISK_FULL


def test_batch_time_limit(tmp_path):
    printed = "slurmstepd: error: *** STEP 1.0 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***"
    error = diagnose(outcome(tmp_path, returncode=143, printed=printed))
    assert error.cause is Cause.KILLED
    assert "reached the time limit of the batch job" in str(error)


def test_unread_key_is_named(tmp_path):
    notice = "NOTICE\n !!!!!!!!!!!!!!!\n\n Bad parameter, please check the input parameters\n CHECK IN FILE : x\n"
    printed = " THE PARAMETER NAME 'out_mull' IS NOT USED!\n" + notice
    error = diagnose(outcome(tmp_path, returncode=1, printed=printed, log=""))
    assert error.cause is Cause.BAD_INPUT
    assert "THE PARAMETER NAME 'out_mull' IS NOT USED!" in str(error)


def test_missing_program_in_the_middle_of_the_words(folder):
    if shutil.which("env") is None:
        pytest.skip("needs env")
    job = Job("si", "H0 run", folder, "OUT.ABACUS/running_get_hs.log", 10.0)
    with pytest.raises(RunError, match="crashed with exit status 127"):
        run_job(job, ["env", "no-such-abacus"])
