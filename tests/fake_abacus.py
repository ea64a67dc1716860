# ruff: noqa: T201
"""A stand-in for ABACUS: replays a recorded run, or fails as the real one does.

``python tests/fake_abacus.py MODE [CASE]``: CASE is an unpacked recorded case with abacus_geths/ and
abacus_scf/; MODE is ``replay`` or one of the failures below. A line is added to ``fake-calls.txt`` beside
the run folder's parent for each run.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

VERSION = "v3.9.0.1"
NOTICE = """
 !!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!
                         NOTICE
 !!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!


 {text}
 CHECK IN FILE : OUT.ABACUS/warning.log

 !!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!
                         NOTICE
 !!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!
"""
OUT = Path("OUT.ABACUS")
CALCULATIONS = "The parameter calculation must be 'scf', 'relax', 'md', 'nscf', 'get_S' or 'gen_bessel'!"


def parameters() -> dict[str, str]:
    lines = Path("INPUT").read_text().splitlines()[1:]
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line.strip()}


def refuse(text: str, status: int = 1) -> None:
    print(NOTICE.format(text=text))
    sys.exit(status)


def replay(case: Path) -> None:
    values = parameters()
    h0 = values["calculation"] == "get_hs" or values["scf_nmax"] == "1"
    shutil.copytree(case / ("abacus_geths" if h0 else "abacus_scf") / OUT, OUT, dirs_exist_ok=True)
    if values["calculation"] == "scf" and h0:
        (OUT / "running_get_hs.log").rename(OUT / "running_scf.log")


def cut_matrix() -> None:
    path = OUT / "data-HR-sparse_SPIN0.csr"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit_log(old: str, new: str) -> None:
    path = OUT / "running_scf.log"
    text = path.read_text()
    path.write_text(text[: text.index(old)] + new)


def scf_of(mode: str, case: Path) -> None:
    """Fail in the SCF only."""
    replay(case)
    if parameters()["calculation"] != "scf":
        return
    converged = " charge density convergence is achieved"
    if mode == "unconverged" or (mode == "slow-mixing" and float(parameters().get("mixing_beta", 1)) > 0.1):
        edit_log(converged, " !! convergence has not been achieved @_@\n")
    elif mode == "half-log":
        edit_log(converged, "")
    elif mode == "half-matrix":
        cut_matrix()


MESSAGES = {  # mode: what goes to standard error, exit status
    "crash": ("forrtl: severe (174): SIGSEGV, segmentation fault occurred", 174),
    "mpi-killed": ("mpirun noticed that process rank 0 with PID 77 on node n1 exited on signal 9 (Killed).", 137),
    "oom": ("slurmstepd: error: Detected 1 oom_kill event in StepId=1.0.", 1),
    "no-space": ("write failed: No space left on device", 1),
}
NOTICES = {  # mode: what a refusal says, exit status; builds before 3.6 end one with status 0
    "no-upf": ("Couldn't find pseudopotential file.", 1),
    "silent-refusal": ("ecutwfc should be positive", 0),
}
SIGNALS = {"killed": signal.SIGKILL, "segfault": signal.SIGSEGV}


def fail(mode: str, case: Path) -> None:
    OUT.mkdir(exist_ok=True)
    if mode in MESSAGES:
        text, status = MESSAGES[mode]
        print(text, file=sys.stderr)
        sys.exit(status)
    elif mode in NOTICES:
        refuse(*NOTICES[mode])
    elif mode in SIGNALS:
        os.kill(os.getpid(), SIGNALS[mode])
    elif mode == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path("child.pid").write_text(str(child.pid))
        time.sleep(60)
    elif mode == "no-get-hs":
        if parameters()["calculation"] == "get_hs":
            refuse(CALCULATIONS)
        replay(case)
    elif mode != "silent":
        scf_of(mode, case)


def main() -> None:
    mode, *rest = sys.argv[1:]
    case = Path(rest[0]) if rest and rest[0] != "--version" else Path()
    if "--version" in rest:
        if mode == "no-program":
            print("mpirun was unable to find the specified executable file abacus", file=sys.stderr)
            sys.exit(134)
        print(f"ABACUS version {VERSION}")
        return
    with (Path("..") / "fake-calls.txt").open("a") as calls:
        calls.write(f"{parameters()['calculation']} {parameters()['scf_nmax']} {os.environ['OMP_NUM_THREADS']}\n")
    replay(case) if mode == "replay" else fail(mode, case)


if __name__ == "__main__":
    main()
