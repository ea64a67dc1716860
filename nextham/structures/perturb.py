"""Copies of a crystal: strained and rattled, in its own cell or in a supercell; the same for the same id and seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from nextham.core import Structure
from nextham.structures.settings import PerturbSettings
from nextham.structures.sourced import Sourced


def copies(ideal: Sourced, settings: PerturbSettings, *, family: str) -> Iterator[Sourced]:
    """Yield the copies of a crystal, numbered from 1: those of its own cell, then those of supercells.

    Args:
        ideal: the crystal.
        settings: how many, and how much.
        family: what their ids begin with.
    """
    for number, repeats in enumerate(settings.cells, start=1):
        id = f"{family}-{number}"
        facts = {**ideal.facts, "parent": ideal.id}
        structure = ideal.structure
        if repeats is not None:
            structure = structure.repeated(repeats).grouped()
            facts["supercell"] = "x".join(map(str, repeats))
        yield Sourced(id, perturbed(structure, settings, id=id), ideal.source, ideal.licence, facts)


def perturbed(structure: Structure, settings: PerturbSettings, *, id: str) -> Structure:
    """Return a strained and rattled copy; the same for the same id, seed and amplitudes.

    Every component of the symmetric strain and of the displacements is drawn from a normal distribution.
    """
    digest = hashlib.sha256(f"{settings.seed} {id}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, dtype="<u4"))
    strain = rng.normal(scale=settings.strain, size=(3, 3))
    deformation = np.eye(3) + (strain + strain.T) / 2
    shifts = rng.normal(scale=settings.rattle_ang, size=structure.positions.shape)
    shifts -= shifts.mean(axis=0)  # the whole crystal stays where it is
    return Structure(structure.numbers, structure.positions @ deformation + shifts, structure.cell @ deformation)
