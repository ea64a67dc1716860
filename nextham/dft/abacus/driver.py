"""AbacusEngine: structures through ABACUS to systems."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nextham.core import Structure
from nextham.dft.abacus.failures import UnknownCalculationError, disk_is_full
from nextham.dft.abacus.inputs import OUT, RunInputs, Task, make_inputs
from nextham.dft.abacus.probe import Build, find_build
from nextham.dft.abacus.reader import H0_FOLDER, SCF_FOLDER, read_run
from nextham.dft.abacus.rescue import attempt_of, rescue_ladder
from nextham.dft.abacus.run import Job, run_job
from nextham.dft.abacus.settings import AbacusSettings, H0Route
from nextham.dft.engine import Attempt, Cause, RunError, RunResult
from nextham.dft.settings import SpeciesSettings
from nextham.dft.species.source import SpeciesSource, open_source

_RECORD: Final = "nextham-run.json"  # what was started in a run folder, and whether it ended well

_WITHOUT_GET_HS: Final[set[Build]] = set()  # learnt once in a process: engines are pickled for each structure

_log = logging.getLogger(__name__)


class AbacusEngine:
    """Runs ABACUS: H0 first, then the SCF, in ``abacus_geths/`` and ``abacus_scf/`` of a structure's folder.

    A run that ended well is not repeated: a second call with the same inputs and the same ABACUS reads
    its files again.
    """

    name = "abacus"

    def __init__(self, settings: AbacusSettings, species: SpeciesSource | None = None) -> None:
        """Find ABACUS and the species before anything is run.

        Args:
            settings: how it is run.
            species: where each element's files come from; by default as the settings name them.

        Raises:
            InputError: if there is no such command or folder.
        """
        self.settings = settings.with_tasks(1) if settings.takes_tasks else settings
        self.species = species or open_source(SpeciesSettings(), settings)
        self.build: Build = find_build(self.settings.command, self.settings.launcher)

    @property
    def version(self) -> str:
        """Of ABACUS, as it says itself; empty where it does not."""
        return self.build.version

    def fingerprint(self, structure: Structure, *, id: str) -> str:
        """Return nothing: finished runs are read again by this engine."""
        return ""

    def h0(self, structure: Structure, *, id: str, folder: Path) -> RunResult:
        """Make S and H0; files go to ``folder/abacus_geths``.

        Raises:
            RunError: if the run fails.
        """
        self._run_h0(structure, id=id, folder=folder)
        return _read(id, h0=folder / H0_FOLDER)

    def scf(self, structure: Structure, *, id: str, folder: Path) -> RunResult:
        """Make S, H0 and the converged H; files go to ``folder/abacus_geths`` and ``folder/abacus_scf``.

        Raises:
            RunError: if a run fails or does not converge.
        """
        self._run_h0(structure, id=id, folder=folder)
        attempts = self._run_scf(structure, id=id, folder=folder)
        result = _read(id, h0=folder / H0_FOLDER, scf=folder / SCF_FOLDER)
        return dataclasses.replace(result, attempts=attempts)

    def _run_h0(self, structure: Structure, *, id: str, folder: Path) -> None:
        tasks = _h0_tasks(self.settings.h0_route, self.build)
        runs = [self._run_of(task, structure, id=id, folder=folder / H0_FOLDER) for task in tasks]
        if any(run.finished for run in runs):
            return
        for run in runs:
            try:
                run.execute(self.build)
                return
            except UnknownCalculationError:
                if run is runs[-1]:
                    raise
                _log.warning("%s does not know calculation get_hs; H0 comes from scf_nmax 1 instead", self.build)
                _WITHOUT_GET_HS.add(self.build)

    def _run_scf(self, structure: Structure, *, id: str, folder: Path) -> tuple[Attempt, ...]:
        """Run the SCF until it converges; return the settings tried where the first ones did not do."""
        rungs = rescue_ladder(self.settings)
        place = folder / SCF_FOLDER
        runs = [self._run_of(Task.SCF, structure, id=id, folder=place, settings=rung) for rung in rungs]
        if any(run.finished for run in runs):
            return ()
        attempts: list[Attempt] = []
        for rung, run in zip(rungs, runs, strict=True):
            try:
                seconds = run.execute(self.build)
            except RunError as error:
                attempts.append(attempt_of(rung, run.job, error.cause))
                if error.cause is Cause.UNCONVERGED and run is not runs[-1]:
                    _log.warning("%s; trying again with slower mixing", error)
                    continue
                error.attempts = tuple(attempts)
                raise
            attempts.append({**attempt_of(rung, run.job, "converged"), "seconds": round(seconds, 1)})
            break
        return tuple(attempts) if len(attempts) > 1 else ()

    def _run_of(
        self, task: Task, structure: Structure, *, id: str, folder: Path, settings: AbacusSettings | None = None
    ) -> _Run:
        settings = settings or self.settings
        scf = task is Task.SCF
        decimals = settings.matrix_decimals if self.build.takes_decimals else None
        job = Job(
            id=id,
            what="SCF run" if scf else "H0 run",
            folder=folder,
            log=task.log,
            timeout_s=settings.timeout_scf_s if scf else settings.timeout_h0_s,
            omp_threads=settings.omp_threads,
            must_converge=scf,
        )
        inputs = make_inputs(structure, settings, task, species=self.species, id=id, decimals=decimals)
        return _Run(job, inputs, {"task": task.value, "input_sha256": inputs.sha256, "abacus": self.build.version})


@dataclasses.dataclass(frozen=True)
class _Run:
    """One run of a structure, to be done or done."""

    job: Job
    inputs: RunInputs
    facts: Mapping[str, str]  # what makes it this run and no other

    @property
    def finished(self) -> bool:
        """Whether its folder holds this very run, ended well."""
        try:
            record = json.loads((self.job.folder / _RECORD).read_text())
        except (OSError, ValueError):
            return False
        return bool(record.get("finished")) and all(record.get(key) == value for key, value in self.facts.items())

    def execute(self, build: Build) -> float:
        """Run it and return its wall time, s."""
        folder, id = self.job.folder, self.job.id
        try:
            _make_room(folder, id=id)
            _write_record(folder, self.facts)
            self.inputs.write(folder)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise RunError(
                    Cause.DISK_FULL, f"{id}: the disk of {folder} is full; free space there and run again"
                ) from None
            text = f"{id}: the inputs cannot be written to {folder}: {error.strerror}; name another folder for the runs"
            raise RunError(Cause.BAD_INPUT, text) from None
        seconds = run_job(self.job, build.words)
        _write_record(folder, {**self.facts, "finished": True, "wall_time_s": round(seconds, 3)})
        return seconds


def _h0_tasks(route: H0Route, build: Build) -> tuple[Task, ...]:
    if route is H0Route.GET_HS:
        return (Task.GET_HS,)
    if route is H0Route.SCF1 or not build.may_have_get_hs or build in _WITHOUT_GET_HS:
        return (Task.SCF1,)
    return (Task.GET_HS, Task.SCF1)


def _read(id: str, *, h0: Path, scf: Path | None = None) -> RunResult:
    """Read finished runs; where their files are of no use the next call runs them again."""
    try:
        return read_run(id=id, h0_dir=h0, scf_dir=scf)
    except RunError as error:
        for folder in filter(None, (h0, scf)):
            _write_record(folder, {"unusable": str(error)})
        if error.cause is Cause.TRUNCATED and disk_is_full(shutil.disk_usage(h0).free):
            text = f"{id}: the disk of {h0.parent} is full; free space there and run again"
            raise RunError(Cause.DISK_FULL, text, log_tail=error.log_tail) from error
        raise


def _make_room(folder: Path, *, id: str) -> None:
    """Make a folder ready for a run; what an earlier run of ours left there goes, nobody else's files do."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / OUT
    if not out.exists():
        return
    if not (folder / _RECORD).exists():
        raise RunError(
            Cause.BAD_INPUT,
            f"{id}: {folder} holds a run that was not started here; import it with nextham import-abacus "
            f"or name another folder for the runs",
        )
    shutil.rmtree(out)


def _write_record(folder: Path, facts: Mapping[str, Any]) -> None:
    temporary = folder / f"{_RECORD}.part"
    temporary.write_text(json.dumps(dict(facts), indent=2) + "\n")
    temporary.replace(folder / _RECORD)
