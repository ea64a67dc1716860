"""How ABACUS is run: every knob, with defaults that give a time-reversal symmetric H0."""

from __future__ import annotations

import shlex
from enum import StrEnum
from typing import ClassVar, Final

from pydantic import Field, field_validator, model_validator

from nextham.dft.settings import Positive, RecipeSettings

TASKS: Final = "{tasks}"  # in a command: the number of MPI ranks


class Magnetism(StrEnum):
    """The moments of the density that H0 and the SCF start from."""

    NONMAGNETIC = "nonmagnetic"  # a moment in the xy plane: keeps ABACUS from choosing one, drops out of the density
    AUTOSET = "autoset"  # all moments zero in STRU: many builds then put sqrt(3) Bohr magnetons on every atom
    MOMENTS = "moments"  # along z, by element


class H0Route(StrEnum):
    """How H0 is obtained; both write the same numbers."""

    AUTO = "auto"  # get_hs, and scf1 where the build refuses it
    GET_HS = "get_hs"  # calculation get_hs: no diagonalisation
    SCF1 = "scf1"  # scf_nmax 1 with one k point: H(R) of the first step is built from the atomic densities


class Launcher(StrEnum):
    """What runs a job."""

    AUTO = "auto"  # the command where it is found, else ABACUS's own Python binding
    COMMAND = "command"
    PYABACUS = "pyabacus"


class AbacusSettings(RecipeSettings):
    """How ABACUS is run."""

    section: ClassVar[str] = "abacus"
    knobs: ClassVar[frozenset[str]] = frozenset({
        "command", "launcher", "omp_threads", "scf_nmax", "mixing_type", "mixing_beta", "rescue", "ks_solver",
        "h0_route", "timeout_h0_s", "timeout_scf_s",
    })  # fmt: skip

    command: str = Field(
        default="abacus",
        description="Words that start ABACUS, e.g. 'mpirun -n 16 abacus'; no shell reads them. {tasks} is the number "
        "of MPI ranks: of a large structure in a campaign as many as its job has, else 1.",
    )
    launcher: Launcher = Field(
        default=Launcher.AUTO,
        description="command, pyabacus (ABACUS's own Python binding), or auto: the command if it is found.",
    )
    omp_threads: int = Field(default=1, ge=1, description="OMP_NUM_THREADS of each process.")
    magnetism: Magnetism = Field(
        default=Magnetism.NONMAGNETIC,
        description="nonmagnetic (time-reversal symmetric H0), autoset (ABACUS's own choice) or moments.",
    )
    moments_bohr_magneton: dict[str, float] = Field(
        default_factory=dict, description="Element: starting moment along z; with magnetism moments only."
    )
    smearing_method: str = Field(default="gauss", description="ABACUS's smearing_method.")
    scf_nmax: int = Field(default=100, ge=2, description="Most SCF steps.")
    mixing_type: str = Field(default="broyden", description="ABACUS's mixing_type.")
    mixing_beta: Positive | None = Field(default=None, description="Charge mixing; none leaves ABACUS's default.")
    ks_solver: str | None = Field(
        default=None,
        description="Eigensolver; none leaves it to ABACUS: genelpa if it was built with ELPA, else scalapack_gvx.",
    )
    h0_route: H0Route = Field(default=H0Route.AUTO, description="get_hs, scf1 or auto: get_hs where the build has it.")
    matrix_decimals: int = Field(
        default=12, ge=8, le=16, description="Decimals of the matrix files where the build can choose (3.11 on)."
    )
    timeout_h0_s: Positive = Field(default=7200.0, description="An H0 run is stopped after this long.")
    timeout_scf_s: Positive = Field(default=86400.0, description="An SCF run is stopped after this long.")

    @property
    def takes_tasks(self) -> bool:
        """Whether the command says where the number of ranks goes."""
        return TASKS in self.command

    def with_tasks(self, tasks: int) -> AbacusSettings:
        """Return the settings with a command for so many ranks."""
        return self.model_copy(update={"command": self.command.replace(TASKS, str(tasks))})

    @field_validator("command")
    @classmethod
    def _splits_into_words(cls, value: str) -> str:
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"{value!r} cannot be split into words: {error}") from None
        if not words:
            raise ValueError("the command is empty")
        return value

    @model_validator(mode="after")
    def _moments_belong(self) -> AbacusSettings:
        if self.moments_bohr_magneton and self.magnetism != Magnetism.MOMENTS:
            raise ValueError("moments_bohr_magneton are read with magnetism: moments only")
        if self.magnetism == Magnetism.MOMENTS and not any(self.moments_bohr_magneton.values()):
            raise ValueError("magnetism: moments needs moments_bohr_magneton, e.g. {Fe: 2.5}")
        return self
