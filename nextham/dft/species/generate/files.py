"""UPF 2.0.1 and .orb text, as ABACUS and the embedded engine read them (Rydberg and Bohr).

One attribute list to a tag on one line and every value separated by white space: ABACUS reads no more XML
than that. A zero is written as 0, which keeps the long empty tails of projectors small.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextham.dft.species.generate.configuration import LETTERS, first_valence_n, split_valence
from nextham.dft.species.generate.gth import Channel, Potential
from nextham.dft.species.generate.orbitals import Orbitals
from nextham.dft.species.generate.pseudo_atom import PseudoAtom, share
from nextham.dft.species.generate.radial import Mesh

Array = NDArray[np.float64]

MESH: Final = Mesh(15.0)  # ABACUS integrates to 15 bohr, and wants an odd number of points
_HARTREE_RY = 2.0
_FINE, _COARSE = "%.10e", "%.6e"  # potential, projectors, density; atomic wave functions, which only start others
_ORBITAL = "%.12e"


@dataclass(frozen=True, eq=False)
class Projector:
    """One beta function of a fully relativistic file.

    Attributes:
        l, j: angular momenta.
        values: r β(r) on MESH, (n,).
        strength: diagonal D, Rydberg.
    """

    l: int
    j: float
    values: Array
    strength: float


def projectors(potential: Potential) -> list[Projector]:
    """Return orthonormal projectors that make D diagonal, ordered by l, then strength, then j.

    Each (l, j) has its own set: the p_i are orthonormalised (p = L q, L L^T their overlap) and
    L^T (h + k <L·S>) L is diagonalised.
    """
    found = []
    for channel in potential.channels:
        total = [0.5] if channel.l == 0 else [channel.l - 0.5, channel.l + 0.5]
        sets = [_diagonal(channel, j) for j in total]
        found += [one[i] for i in range(len(channel.h)) for one in sets]
    return found


def _diagonal(channel: Channel, j: float) -> list[Projector]:
    functions = channel.projectors(MESH.r) * MESH.r
    lower = np.linalg.cholesky((functions * MESH.w) @ functions.T)
    strengths, vectors = np.linalg.eigh(lower.T @ channel.coupling(j) @ lower)
    betas = vectors.T @ np.linalg.solve(lower, functions)
    peak = np.argmax(np.abs(betas), axis=1)
    betas = betas * np.sign(betas[np.arange(len(betas)), peak])[:, None]
    order = np.argsort(-np.abs(strengths), kind="stable")
    return [Projector(channel.l, j, betas[i], float(_HARTREE_RY * strengths[i])) for i in order]


def upf_text(atom: PseudoAtom, notes: Iterable[str]) -> str:
    """Return the UPF of a solved spin-orbit pseudo-atom; notes go to its information block."""
    potential, betas, waves = atom.potential, projectors(atom.potential), _wave_functions(atom)
    n, r = MESH.n, MESH.r
    lines = ['<UPF version="2.0.1">', "<PP_INFO>", *notes, "</PP_INFO>", _header(atom, len(betas), len(waves))]
    lines += ["<PP_MESH>", _block("PP_R", r, "%g"), _block("PP_RAB", np.full(n, MESH.step), "%g"), "</PP_MESH>"]
    lines += [_block("PP_LOCAL", _HARTREE_RY * potential.local(r), _FINE), "<PP_NONLOCAL>"]
    for i, beta in enumerate(betas, start=1):
        end = int(np.nonzero(beta.values)[0][-1]) + 2  # the first point that is zero, counted from one
        attributes = f'angular_momentum="{beta.l}" cutoff_radius_index="{end}" cutoff_radius="{r[end - 1]:.4f}"'
        lines.append(_block(f"PP_BETA.{i}", beta.values, _FINE, f'index="{i}" {attributes}'))
    lines += [_block("PP_DIJ", np.diag([beta.strength for beta in betas]), "%.12e"), "</PP_NONLOCAL>", "<PP_PSWFC>"]
    for i, (principal, (l, _), electrons, values) in enumerate(waves, start=1):
        attributes = f'label="{principal}{LETTERS[l].upper()}" l="{l}" occupation="{electrons:.6f}" n="{principal}"'
        lines.append(_block(f"PP_CHI.{i}", values, _COARSE, f'index="{i}" {attributes}'))
    lines += ["</PP_PSWFC>", _block("PP_RHOATOM", 4.0 * np.pi * r**2 * atom.density[:n], _FINE), "<PP_SPIN_ORB>"]
    for i, beta in enumerate(betas, start=1):
        lines.append(f'<PP_RELBETA.{i} index="{i}" lll="{beta.l}" jjj="{beta.j:.1f}"/>')
    for i, (principal, (l, j), _, _) in enumerate(waves, start=1):
        lines.append(f'<PP_RELWFC.{i} index="{i}" lchi="{l}" jchi="{j:.1f}" nn="{principal}"/>')
    return "\n".join([*lines, "</PP_SPIN_ORB>", "</UPF>"]) + "\n"


def _wave_functions(atom: PseudoAtom) -> list[tuple[int, tuple[int, float], float, Array]]:
    """(n, (l, j), electrons, r R) of the occupied levels, by l and j."""
    core, _ = split_valence(atom.potential.number, atom.potential.valence)
    found = []
    for (l, j), functions in sorted(atom.orbitals.items(), key=str):
        electrons = atom.occupations[l] * share((l, j))
        if electrons and j is not None:
            found.append((first_valence_n(core, l), (l, j), electrons, functions[0, : MESH.n] * MESH.r))
    return found


def _header(atom: PseudoAtom, n_projectors: int, n_waves: int) -> str:
    values = {
        "generated": "NextHAM species generator",
        "author": "NextHAM",
        "date": "",
        "comment": "",
        "element": atom.potential.element,
        "pseudo_type": "NC",
        "relativistic": "full",
        "is_ultrasoft": "F",
        "is_paw": "F",
        "is_coulomb": "F",
        "has_so": "T",
        "has_wfc": "F",
        "has_gipaw": "F",
        "core_correction": "F",
        "functional": "PBE",
        "z_valence": f"{atom.potential.valence:.4f}",
        "total_psenergy": f"{_HARTREE_RY * atom.total_energy:.10E}",
        "rho_cutoff": f"{MESH.radius:.6f}",
        "l_max": max(c.l for c in atom.potential.channels),
        "l_local": -1,
        "mesh_size": MESH.n,
        "number_of_wfc": n_waves,
        "number_of_proj": n_projectors,
    }
    return "<PP_HEADER\n" + "\n".join(f'{key}="{value}"' for key, value in values.items()) + "/>"


def _block(tag: str, values: Array, form: str, attributes: str = "") -> str:
    """One tag with its numbers, four to a line."""
    flat = values.ravel()
    extra = f" {attributes}" if attributes else ""
    return "\n".join([f'<{tag} type="real" size="{flat.size}" columns="4"{extra}>', *_rows(flat, form), f"</{tag}>"])


def _rows(values: Array, form: str) -> list[str]:
    words = ["0" if value == 0.0 else form % value for value in values]
    return [" ".join(words[i : i + 4]) for i in range(0, len(words), 4)]


def orb_text(element: str, orbitals: Orbitals) -> str:
    """Return the .orb file of an element: R(r) of every l and zeta."""
    rule, mesh = "-" * 75, orbitals.mesh
    lines = [
        rule,
        f"Element                     {element}",
        f"Energy Cutoff(Ry)           {orbitals.cutoff_ry:g}",
        f"Radius Cutoff(a.u.)         {mesh.radius:g}",
        f"Lmax                        {max(orbitals.functions)}",
    ]
    for l, functions in sorted(orbitals.functions.items()):
        lines.append(f"Number of {LETTERS[l].upper()}orbital-->       {len(functions)}")
    lines += [
        rule,
        "SUMMARY  END",
        "",
        f"Mesh                        {mesh.n}",
        f"dr                          {mesh.step:g}",
    ]
    for l, functions in sorted(orbitals.functions.items()):
        for zeta, values in enumerate(functions):
            lines.append("                Type                   L                   N")
            lines.append(f"{0:20d}{l:20d}{zeta:20d}")
            lines += _rows(values, _ORBITAL)
    return "\n".join(lines) + "\n"
