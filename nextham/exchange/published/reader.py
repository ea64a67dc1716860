"""Files of the published converters to systems: padding, order, sign, unit, spin and labels end here."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nextham.core import BlockMatrix, LCAOSystem, OrbitalBasis, PairList, Provenance, SpinLayout, Structure, symbol
from nextham.core._arrays import offsets
from nextham.dft.abacus.provenance import H0_DEFINITION
from nextham.dft.directed import Atoms, Directed, hermitian
from nextham.dft.engine import Cause, RunError, RunResult
from nextham.exchange.orders import OPENMX, Placed
from nextham.exchange.positions import at_home, cells_of, complete_up_to
from nextham.exchange.published.layout import N_PADDED, SHELLS, PublishedFile, open_published
from nextham.exchange.published.rydberg import enough, rydberg_of
from nextham.exchange.published.waves import check_waves
from nextham.physics.spin import TIME_REVERSAL_NOISE_EV, from_spin_blocks, narrowed, narrowest
from nextham.units import RYDBERG_EV

CUTOFF_ANG: Final = 8.0  # the published converters keep nearer pairs alone
_ROUNDING: Final = 2.0**-24  # relative, of a number in single precision
_OVERLAP_NOISE: Final = 1e-6  # of what S may not have: imaginary and spin-dependent parts
_WHOLE: Final = 1e-3  # distance of an R from an integer
_EDGES_AT_ONCE: Final = 256
_AGAIN: Final = "convert the run again, or import the run itself with import-abacus"


@dataclasses.dataclass(frozen=True)
class Reading:
    """How files are read."""

    rydberg_ev: float | None = None  # eV per Ry that the energies were made with; None: found out
    least_cutoff_ang: float = CUTOFF_ANG  # a file without gaps up to here is taken, cut where the first pair is missing


def published_id(path: Path) -> str:
    """Return the structure id that a file is named after, or its folder where it has the name of every such file.

    >>> published_id(Path("data/mp-149.pth")), published_id(Path("case-7/input_inference.pth"))
    ('mp-149', '7')
    """
    name = path.resolve().parent.name if path.name.startswith("input_inference") else path.stem
    return name.removeprefix("case-")


def read_published(path: str | Path, *, id: str = "", reading: Reading = Reading()) -> RunResult:
    """Read S, H0 and H of one structure from a file of the published converters.

    Args:
        path: a ``.pth``; ``efermi_<name>`` beside it is read too if it is there.
        id: structure id; by default the file's name.
        reading: what is taken for granted.

    Raises:
        RunError: if the file is damaged, holds code, does not belong together, or lacks pairs.
    """
    id = id or published_id(Path(path))
    try:
        return RunResult(_Reader(open_published(Path(path)), id, reading).system())
    except RunError as error:
        raise RunError(error.cause, f"{id}: {error}") from error


class _Reader:
    """One file on its way to a system."""

    def __init__(self, file: PublishedFile, id: str, reading: Reading) -> None:
        self.file, self.id, self.reading = file, id, reading
        self.notes: list[str] = []
        self.shells = _Shells(file)
        self.atoms = Atoms(self.shells.basis, file.numbers)

    def system(self) -> LCAOSystem:
        R, off = cells_of(self.file.cell, self.file.positions, self.file.ij, self.file.vectors)
        if off > _WHOLE:
            raise self._odd(f"an edge vector differs by {off:.3f} of a lattice vector from its atoms' positions")
        keys = np.hstack([self.file.ij, R])
        if len(np.unique(keys, axis=0)) < len(keys):
            raise self._odd("two edges are one pair of atoms and one lattice vector")
        operators = self._operators(R)
        pairs = operators["overlap"].pairs
        largest = max(float(np.abs(operators[name].values).max()) for name in ("h0", "hamiltonian"))
        meta = Provenance(id=self.id, precision_ev=4 * _ROUNDING * largest)
        structure = Structure(self.file.numbers, self.file.positions, self.file.cell)
        values = {name: matrix.values for name, matrix in operators.items()}
        labelled = LCAOSystem.single(structure, self.shells.basis, pairs, values, meta)
        system, n_missing = self._without_gaps(self._at_home(labelled))
        if self.file.waves is not None and not n_missing:
            check_waves(labelled, self.file.waves, self.shells.places, f"{self.file.path}")
        return self._described(system)

    def _operators(self, R: NDArray[np.int64]) -> dict[str, BlockMatrix]:
        """S, and H0 and H in eV, on the file's own labels, in the narrowest exact spin layout."""
        overlap, h0, correction = self.shells.blocks(("overlap", "h0", "correction"))
        unit = self._unit(h0, correction)
        h0, h = h0 * unit, (h0 + correction) * unit
        found = {}
        for name, values in (("overlap", overlap), ("h0", h0), ("hamiltonian", h)):
            if not np.isfinite(values).all():
                text = f"{self.file.path}: the {name} holds numbers that are not finite; {_AGAIN}"
                raise RunError(Cause.NOT_FINITE, text)
            tolerance = (8 * _ROUNDING * max(1.0, float(np.abs(values).max(initial=0.0))), 0.0)
            where = f"the {name} of {self.file.path}"
            matrix = hermitian(Directed(self.file.ij, R, values), self.atoms, where, mend=_AGAIN, tolerance=tolerance)
            noise = _OVERLAP_NOISE if name == "overlap" else 0.0
            found[name] = matrix.with_values(narrowest(matrix.values, noise)[0])
        if found["overlap"].layout is not SpinLayout.SCALAR:
            raise self._odd("S is not real and equal for both spins")
        return found

    def _unit(self, *energies: NDArray[Any]) -> float:
        """What makes the file's energies eV."""
        if self.file.in_rydberg:
            self.notes.append("energies were in Ry")
            return RYDBERG_EV
        stated = self.reading.rydberg_ev or self._found_rydberg()
        if abs(stated - RYDBERG_EV) > 1e-9:
            self.notes.append(f"energies were made with 1 Ry = {stated:.8g} eV")
        return RYDBERG_EV / stated

    def _found_rydberg(self) -> float:
        bits = [bits for name in ("h0", "correction") if enough(bits := self.shells.bits(name))]
        constants = [rydberg_of(numbers) for numbers in bits]
        if constants and constants[0] is not None and len(set(constants)) == 1:
            return constants[0]
        why = "there are too few of them" if not bits else "they are products of no one constant"
        if None not in constants and bits:
            why = "H0 and H - H0 were made with different ones"
        raise self._odd(
            f"the last bits of its energies do not tell how many eV its converter took for 1 Ry ({why})",
            mend="name the number with --rydberg-ev",
        )

    def _at_home(self, labelled: LCAOSystem) -> LCAOSystem:
        found = at_home(labelled)
        if found is None:
            raise self._odd(
                "its overlaps are no two-centre integrals along any vectors between these atoms; lattice, positions "
                "or orbital order are not those of its blocks"
            )
        if found[1]:
            self.notes.append("R counted from other images of the atoms than the stated positions")
        return found[0]

    def _without_gaps(self, system: LCAOSystem) -> tuple[LCAOSystem, int]:
        """Cut the pairs where the first is missing, if that is far enough; also return how many are."""
        radius, n_missing = complete_up_to(system, CUTOFF_ANG)
        if n_missing and radius < self.reading.least_cutoff_ang:
            raise self._odd(
                f"{n_missing} pairs nearer than {CUTOFF_ANG:g} Å are missing, the nearest at {radius:.3f} Å: the "
                "converter looked for neighbours around atoms outside the cell",
                mend=f"convert the run again with folded positions, or take what is left with --least-cutoff-ang "
                f"{np.floor(radius * 10) / 10:g} or less",
            )
        keep = np.any([system.operator(name).support for name in system.operators], axis=0)  # not what is zero
        if n_missing:
            keep &= system.distances < radius
        kept = PairList.of_one(system.pairs.ij[keep], system.pairs.R[keep])
        return system.on(kept).with_meta(pair_cutoff_ang=round(radius, 6)), n_missing

    def _described(self, system: LCAOSystem) -> LCAOSystem:
        odd = {name: narrowed(system.operators[name], SpinLayout.TIME_REVERSAL)[1] for name in ("hamiltonian", "h0")}
        magnetism = {name: "nonmagnetic" if size <= TIME_REVERSAL_NOISE_EV else "unknown" for name, size in odd.items()}
        of_h0 = magnetism["h0"]
        return system.with_meta(
            source=self.file.path.name,
            engine="abacus",
            h0_definition=H0_DEFINITION,
            magnetism=magnetism["hamiltonian"],
            h0_magnetism=of_h0 if of_h0 != magnetism["hamiltonian"] else "",
            fermi_energy_ev=self.file.fermi_energy_ev,
            notes="; ".join(self.notes),
        )

    def _odd(self, text: str, *, mend: str = _AGAIN) -> RunError:
        return RunError(Cause.INCONSISTENT, f"{self.file.path}: {text}; {mend}")


class _Shells:
    """Which orbitals of the padded blocks are real, and the blocks without the rest, in house order."""

    def __init__(self, file: PublishedFile) -> None:
        self._file = file
        ends = offsets([2 * l + 1 for l in SHELLS])
        self.held: dict[int, NDArray[np.bool_]] = {}  # element: (27,) which padded orbitals it has
        shells = {}
        for atom, z in enumerate(file.numbers.tolist()):
            if z in self.held:
                continue
            own = np.flatnonzero((file.ij == atom).all(axis=1) & (np.abs(file.vectors).max(axis=1) < _WHOLE))
            if not len(own):
                raise RunError(Cause.INCONSISTENT, f"{file.path}: atom {atom} has no on-site block; {_AGAIN}")
            held = file.mask[int(own[0])].numpy().diagonal()[:N_PADDED] != 0
            parts = [held[a:b] for a, b in itertools.pairwise(ends)]
            whole = [bool(part.all()) for part in parts]
            if whole != [bool(part.any()) for part in parts]:
                raise RunError(Cause.INCONSISTENT, f"{file.path}: the mask of {symbol(z)} cuts a shell; {_AGAIN}")
            self.held[z] = held
            shells[z] = [l for l, full in zip(SHELLS, whole, strict=True) if full]
        self.basis = OrbitalBasis(shells)

    @property
    def places(self) -> dict[int, NDArray[np.int64]]:
        """Element: where its orbitals, in house order, stand among the 27."""
        found = {}
        for z, held in self.held.items():
            placed: Placed = OPENMX.of(self.basis.shells(z))
            found[z] = np.flatnonzero(held)[placed.index]
        return found

    def bits(self, name: str, *, at_most: int = 20000) -> NDArray[np.float32]:
        """Some numbers of an operator as the file has them, spread over its edges."""
        tensor = getattr(self._file, name)
        chosen = np.unique(np.linspace(0, len(tensor) - 1, 64).astype(int))
        numbers = np.concatenate([tensor[int(e)].numpy().view(np.float32).reshape(-1) for e in chosen])
        numbers = numbers[numbers != 0]
        step = max(1, len(numbers) // at_most)
        return np.asarray(numbers[::step])

    def blocks(self, names: tuple[str, ...]) -> list[NDArray[np.complex128]]:
        """Pauli components (4, n_values) of operators, blocks of the edges end to end."""
        file, places = self._file, self.places
        n_orb = self.basis.n_orb_of(file.numbers)
        start = offsets(n_orb[file.ij].prod(axis=1))
        out = [np.empty((4, start[-1]), dtype=np.complex128) for _ in names]
        elements = file.numbers[file.ij]
        for z_i, z_j in np.unique(elements, axis=0).tolist():
            rows, columns = places[z_i], places[z_j]
            due = np.outer(self.held[z_i], self.held[z_j])
            edges = np.flatnonzero((elements == (z_i, z_j)).all(axis=1))
            for some in np.array_split(edges, -(-len(edges) // _EDGES_AT_ONCE)):
                mask = file.mask[some].numpy().reshape(-1, 2, N_PADDED, 2, N_PADDED) != 0
                if (mask != due[None, None, :, None, :]).any():
                    raise RunError(Cause.INCONSISTENT, f"{file.path}: the masks of its edges disagree; {_AGAIN}")
                to = start[some][:, None] + np.arange(len(rows) * len(columns))
                for values, name in zip(out, names, strict=True):
                    padded = getattr(file, name)[some].numpy().reshape(-1, 2, N_PADDED, 2, N_PADDED)
                    spins = padded[:, :, rows][..., columns].transpose(1, 3, 0, 2, 4).reshape(4, len(some), -1)
                    values[:, to] = from_spin_blocks(spins.astype(np.complex128))
        return out
