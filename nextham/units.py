"""Units: eV and Å inside, converted once in each engine's parser.

CODATA 2018 (https://physics.nist.gov/cuu/Constants/). An engine's own constants stand under the
engine's name and serve one purpose: reading the eV and Å that this engine printed.
"""

from __future__ import annotations

from typing import Final

BOHR_ANG: Final = 0.529177210903
HARTREE_EV: Final = 27.211386245988
RYDBERG_EV: Final = HARTREE_EV / 2

# ABACUS 3.x, source_base/constants.h: eV in its logs and Å in its STRU were made with these.
ABACUS_RYDBERG_EV: Final = 13.605698
ABACUS_BOHR_ANG: Final = 0.529177
