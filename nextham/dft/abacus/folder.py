"""Run folders of ABACUS: INPUT, STRU, OUT.<suffix> and what lies in them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from nextham.dft.abacus.log import RunLog, parse_levels, read_log
from nextham.dft.abacus.stru import StruFile, read_stru
from nextham.dft.engine import Cause, RunError
from nextham.physics.bands import Levels

# By spin: every generation's name of a matrix file, oldest first; g1 is the first ionic step of 3.11.
_MATRIX_NAMES: Final = {
    "H": ("data-HR-sparse_SPIN{old}.csr", "hrs{new}_nao.csr", "hrs{new}g1_nao.csr"),
    "S": ("data-SR-sparse_SPIN{old}.csr", "srs{new}_nao.csr", "srs{new}g1_nao.csr", "sr_nao.csr"),
}
_LEVELS: Final = ("eig_occ.txt", "eig.txt")
_LOGS: Final = ("running_scf.log", "running_get_hs.log", "running_get_h0.log")


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """One run of ABACUS that has ended."""

    path: Path

    @cached_property
    def parameters(self) -> Mapping[str, str]:
        """Keys of INPUT, completed by ABACUS's own echo with its defaults where it left one."""
        own = read_input(self.path / "INPUT")
        echo = self._out(own) / "INPUT"
        return {**(read_input(echo) if echo.is_file() else {}), **own}

    @property
    def out(self) -> Path:
        """The folder OUT.<suffix>."""
        return self._out(self.parameters)

    def _out(self, parameters: Mapping[str, str]) -> Path:
        named = self.path / f"OUT.{parameters.get('suffix', 'ABACUS')}"
        if named.is_dir():
            return named
        found = sorted(p for p in self.path.glob("OUT.*") if p.is_dir())
        if len(found) != 1:
            raise RunError(
                Cause.MISSING_FILE,
                f"{self.path} has {len(found) or 'no'} folder{'s' * (len(found) > 1)} OUT.*, not {named.name}; "
                "name the folder of one finished run",
            )
        return found[0]

    @cached_property
    def stru(self) -> StruFile:
        """The crystal."""
        latname = self.parameters.get("latname", "none")
        if latname not in ("none", "user_defined_lattice"):
            raise RunError(
                Cause.BAD_INPUT, f"{self.path / 'INPUT'}: latname {latname} is not supported; write LATTICE_VECTORS"
            )
        return read_stru(self.path / self.parameters.get("stru_file", "STRU"))

    @cached_property
    def log(self) -> RunLog:
        """The log of the run."""
        return read_log(self.log_path)

    @property
    def log_path(self) -> Path:
        """Where it is."""
        for name in _LOGS:
            if (self.out / name).is_file():
                return self.out / name
        raise RunError(Cause.MISSING_FILE, f"there is no {' or '.join(_LOGS[:2])} in {self.out}; run the job again")

    @cached_property
    def levels(self) -> Levels | None:
        """The energies that the run printed: in a file of their own, else in the log."""
        for name in _LEVELS:
            if (self.out / name).is_file():
                lattice = self.stru.cell_bohr / self.stru.lat0_bohr
                return parse_levels((self.out / name).read_text(errors="replace"), lattice)
        return self.log.levels

    def matrix(self, kind: str, *, spin: int = 0) -> Path | None:
        """Return the path of H(R) ("H") or S(R) ("S") of a spin, None if there is no such file."""
        names = [name.format(old=spin, new=spin + 1) for name in _MATRIX_NAMES[kind]]
        found = [self.out / name for name in names if (self.out / name).is_file()]
        if len(found) > 1:
            raise RunError(
                Cause.INCONSISTENT,
                f"{self.out} has both {found[0].name} and {found[1].name}; keep the one of this run alone",
            )
        return found[0] if found else None

    def required_matrix(self, kind: str) -> Path:
        """Return the path of H(R) or S(R).

        Raises:
            RunError: if there is none.
        """
        path = self.matrix(kind)
        if path is None:
            old = _MATRIX_NAMES[kind][0].format(old=0)
            new = _MATRIX_NAMES[kind][1].format(new=1)
            raise RunError(
                Cause.MISSING_FILE, f"there is no {kind}(R) in {self.out} ({old} or {new}); run with out_mat_hs2 1"
            )
        return path

    @property
    def n_spin(self) -> int:
        """The nspin of the run: lspinorb and noncolin force it to 4."""
        keys = self.parameters
        if any(truthy(keys.get(key, "0")) for key in ("lspinorb", "noncolin")):
            return 4
        return int(keys.get("nspin", "1"))

    @property
    def spinor(self) -> bool:
        """Whether rows of the matrices are spinors."""
        return self.n_spin == 4

    @property
    def sha256(self) -> str:
        """Hash of INPUT, STRU and KPT (where there is one) together."""
        digest = hashlib.sha256()
        for name in ("INPUT", "STRU", "KPT"):
            file = self.path / name
            if file.is_file():
                digest.update(f"{name}\0".encode() + file.read_bytes() + b"\0")
        return digest.hexdigest()

    def species_file(self, name: str, key: str) -> Path | None:
        """Return a pseudopotential or orbital file by the folder that INPUT names (key), None where it is not."""
        for folder in (self.path / self.parameters.get(key, "."), self.path):
            if name and (folder / name).is_file():
                return folder / name
        return None


def truthy(value: str) -> bool:
    """Tell whether ABACUS reads the value of a switch in INPUT as on.

    >>> [truthy(word) for word in ("1", ".true.", "Yes", "0")]
    [True, True, True, False]
    """
    return value.split(maxsplit=1)[0].strip(".").lower() in ("1", "true", "t", "yes", "y") if value.strip() else False


def read_input(path: Path) -> dict[str, str]:
    """Return the keys and values of an INPUT file.

    Raises:
        RunError: if it is missing.
    """
    if not path.is_file():
        raise RunError(Cause.MISSING_FILE, f"there is no {path}; a run folder holds INPUT, STRU and OUT.*")
    values = {}
    for raw in path.read_text(errors="replace").splitlines():
        words = raw.partition("#")[0].partition("//")[0].split(None, 1)
        if len(words) == 2:
            values[words[0].lower()] = words[1].strip()
    return values
