"""Made-up species as real UPF and .orb files: smooth, short-ranged, quick to integrate; no physics in their numbers."""

from pathlib import Path

import numpy as np
from scipy.special import erf

from nextham.core import Structure
from nextham.dft.lcao.settings import LCAOSettings

MESH = np.arange(1001) * 0.01


def upf_text(symbol="Si", *, z=4.0, scale=1.0, relativistic=True, core=True, lmax=1, mesh=MESH):
    r = mesh
    core_radius = 0.7 * scale
    safe = np.where(r > 0, r, 1.0)
    local = np.where(
        r > 0, -2 * z * erf(r / (np.sqrt(2) * core_radius)) / safe, -4 * z / np.sqrt(2 * np.pi) / core_radius
    )
    density = r**2 * np.exp(-(r**2) / (1.1 * scale) ** 2)
    density *= z / (density.sum() * 0.01)
    channels = [(0, 0.5)] + [(l, l + s) for l in range(1, lmax + 1) for s in (-0.5, 0.5)]
    end = np.clip(1 - (r / 2.5) ** 2, 0, None) ** 2
    betas = [r ** (l + 1) * np.exp(-((r / (0.9 * scale)) ** 2)) * end for l, _ in channels]
    d = np.diag([1.0 + 0.3 * k for k in range(len(channels))])

    def numbers(tag, values, extra=""):
        return f"<{tag} {extra}>\n" + "\n".join(f"{v:.12e}" for v in np.ravel(values)) + f"\n</{tag}>\n"

    so = "T" if relativistic else "F"
    text = '<UPF version="2.0.1">\n<PP_INFO>\n a < b & free text\n</PP_INFO>\n'
    text += f'<PP_HEADER element="{symbol}" pseudo_type="NC" is_ultrasoft="F" is_paw="F" has_so="{so}" '
    text += f'core_correction="{"T" if core else "F"}" functional="PBE" z_valence="{z}" mesh_size="{len(r)}" '
    text += f'number_of_proj="{len(channels)}"/>\n<PP_MESH>\n' + numbers("PP_R", r)
    text += numbers("PP_RAB", np.full(len(r), 0.01)) + "</PP_MESH>\n" + numbers("PP_LOCAL", local)
    if core:
        text += numbers("PP_NLCC", 0.2 * np.exp(-((r / 0.5) ** 2)))
    text += "<PP_NONLOCAL>\n"
    for k, ((l, _), beta) in enumerate(zip(channels, betas, strict=True), start=1):
        text += numbers(f"PP_BETA.{k}", beta, f'angular_momentum="{l}"')
    text += numbers("PP_DIJ", d) + "</PP_NONLOCAL>\n" + numbers("PP_RHOATOM", density)
    if relativistic:
        rows = [f'<PP_RELBETA.{k} lll="{l}" jjj="{j}"/>' for k, (l, j) in enumerate(channels, start=1)]
        text += "<PP_SPIN_ORB>\n" + "\n".join(rows) + "\n</PP_SPIN_ORB>\n"
    return text + "</UPF>\n"


def orb_text(symbol="Si", *, shells=(0, 0, 1, 2), scale=1.0, cutoff=5.0):
    r = np.arange(round(cutoff / 0.01) + 1) * 0.01
    fade = np.where(r < cutoff, (1 - (r / cutoff) ** 2) ** 3, 0.0)
    counts = [shells.count(l) for l in range(max(shells) + 1)]
    text = f"Element   {symbol}\nEnergy Cutoff(Ry)   20\nRadius Cutoff(a.u.)  {cutoff}\nLmax   {max(shells)}\n"
    text += "".join(f"Number of {'SPDFG'[l]}orbital-->  {n}\n" for l, n in enumerate(counts))
    text += f"SUMMARY  END\n\nMesh   {len(r)}\ndr    0.01\n"
    for l, count in enumerate(counts):
        for n in range(count):
            chi = r**l * np.exp(-(((0.75 - 0.35 * n) / scale * r) ** 2)) * fade
            text += f"   Type   L   N\n   0   {l}   {n}\n" + "\n".join(f"{v:.14e}" for v in chi) + "\n"
    return text


SPECIES = {"Si": {"z": 4.0, "scale": 1.1}, "C": {"z": 4.0, "scale": 0.9}}
SHELLS = {"Si": (0, 0, 1, 2), "C": (0, 1)}


def write_species(folder: Path) -> LCAOSettings:
    """Write the files of two elements; return settings that make a calculation of a second."""
    for name, what in SPECIES.items():
        (folder / f"{name}.upf").write_text(upf_text(name, core=name == "Si", **what))
        (folder / f"{name}.orb").write_text(orb_text(name, shells=SHELLS[name], scale=what["scale"]))
    return LCAOSettings(
        pseudo_dir=str(folder), orbital_dir=str(folder), ecutwfc_ry=10.0, kmesh=(2, 1, 1), box_edge_bohr=2.0
    )


def cell_of_two(a_ang: float = 3.1) -> Structure:
    """Return a skewed cell with one atom of each element, no symmetry."""
    cell = a_ang * np.array([[1.0, 0.05, 0.0], [0.1, 1.02, 0.0], [0.0, 0.08, 0.97]])
    return Structure.from_fractional(["Si", "C"], [[0.02, 0.03, 0.05], [0.53, 0.46, 0.55]], cell)
