"""Which ABACUS a command starts: found, asked for its version once, remembered."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from nextham.dft.abacus import binding
from nextham.dft.abacus.settings import Launcher
from nextham.exceptions import InputError

_VERSION = re.compile(r"ABACUS version v?(\S+)")
_ASK_TIMEOUT_S = 300.0  # a batch system may let srun wait


@dataclasses.dataclass(frozen=True)
class Build:
    """One ABACUS: the words that start it, and what it can do."""

    words: tuple[str, ...]
    version: str  # as it prints it, e.g. "3.9.0.17"; empty where it does not say
    launcher: Launcher  # command or pyabacus

    @property
    def may_have_get_hs(self) -> bool:
        """Whether ``calculation get_hs`` is worth a try; whether it is there shows when it is run."""
        return self.launcher is Launcher.COMMAND  # pyabacus's driver refuses every value but scf and its kin

    @property
    def takes_decimals(self) -> bool:
        """Whether ``out_mat_hs2`` takes the number of decimals as a second value (3.11 on, and so the binding)."""
        if self.launcher is Launcher.PYABACUS:
            return True
        numbers = re.match(r"(\d+)\.(\d+)", self.version)
        return numbers is not None and (int(numbers[1]), int(numbers[2])) >= (3, 11)

    def __str__(self) -> str:
        return f"ABACUS {self.version or 'of unknown version'} ({shlex.join(self.words)})"


@lru_cache(maxsize=8)
def find_build(command: str, launcher: Launcher) -> Build:
    """Return the ABACUS that a command starts, or the one behind ABACUS's Python binding.

    Raises:
        InputError: if there is none.
    """
    if launcher is Launcher.PYABACUS:
        return _pyabacus()
    words = tuple(shlex.split(command))
    path = shutil.which(words[0])
    if path is not None:
        return _ask((str(Path(path).absolute()), *_absolute(words[1:])))
    if launcher is Launcher.AUTO and binding.why_unusable() is None:
        return _pyabacus()
    raise InputError(
        f"there is no program {words[0]!r} on PATH; install ABACUS (conda-forge: abacus), load its module, "
        f"or name it with command: /path/to/abacus"
    )


def _absolute(words: tuple[str, ...]) -> list[str]:
    """Return the words with relative paths of programs made absolute: a job runs in a folder of its own."""
    return [str(Path(word).absolute()) if "/" in word and Path(word).is_file() else word for word in words]


def _pyabacus() -> Build:
    reason = binding.why_unusable()
    if reason is not None:
        raise InputError(f"launcher: pyabacus cannot be used: {reason}")
    return Build((sys.executable, "-m", binding.__name__), "", Launcher.PYABACUS)


def _ask(words: tuple[str, ...]) -> Build:
    with tempfile.TemporaryDirectory() as empty:  # a build that does not know --version looks for an INPUT
        try:
            done = subprocess.run(
                [*words, "--version"],
                cwd=empty,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_ASK_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{shlex.join(words)} --version gave no answer in {_ASK_TIMEOUT_S:.0f} s; check the command"
            ) from None
        except OSError as error:
            raise InputError(f"{shlex.join(words)} cannot be started: {error.strerror}; check the command") from None
    match = _VERSION.search(done.stdout)
    if match is None and _never_reached_abacus(done):
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1].strip()
        raise InputError(f"{shlex.join(words)} does not start ABACUS: {last!r}; check the command")
    return Build(words, match[1] if match else "", Launcher.COMMAND)


def _never_reached_abacus(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether ``--version`` failed before ABACUS: one that does not know the word still names itself."""
    return done.returncode != 0 and not re.search(r"abacus", done.stdout, re.IGNORECASE)
