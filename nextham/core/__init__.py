"""The nouns: immutable values made of numpy arrays. No I/O, no torch."""

from nextham.core.blocks import BlockGroup, BlockMatrix, SpinLayout
from nextham.core.elements import atomic_number, symbol
from nextham.core.orbitals import OrbitalBasis
from nextham.core.pairs import PairList
from nextham.core.structure import Structure
from nextham.core.system import OPERATORS, LCAOSystem, Provenance

__all__ = [
    "OPERATORS",
    "BlockGroup",
    "BlockMatrix",
    "LCAOSystem",
    "OrbitalBasis",
    "PairList",
    "Provenance",
    "SpinLayout",
    "Structure",
    "atomic_number",
    "symbol",
]
