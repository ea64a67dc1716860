"""PBE of an unpolarised density, written once for arrays of numpy (real or complex) and torch; Hartree units.

J. P. Perdew, K. Burke, M. Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996), with the electron gas of J. P. Perdew, Y. Wang,
Phys. Rev. B 45, 13244 (1992). Only energies are written down: who needs a potential differentiates them.
"""

from __future__ import annotations

import dataclasses
import math
from types import ModuleType
from typing import Any, Final

_KAPPA: Final = 0.804
_MU: Final = 0.2195149727645171
_BETA: Final = 0.06672455060314922


@dataclasses.dataclass(frozen=True)
class Gas:
    """The two constants of the correlation that programs write with different digits."""

    amplitude: float  # A of Perdew and Wang
    gamma: float  # γ of PBE


@dataclasses.dataclass(frozen=True)
class Functional:
    """Energies per electron.

    Attributes:
        xp: the library of the arrays, numpy or torch.
        gas: constants.
    """

    xp: ModuleType
    gas: Gas

    def local(self, n: Any) -> Any:
        """Return ε_x + ε_c of the uniform gas of a density."""
        return -0.75 * (3.0 / math.pi) ** (1.0 / 3.0) * n ** (1.0 / 3.0) + self._correlation(n)

    def pbe(self, n: Any, slope2: Any, slope2_c: Any) -> Any:
        """Return ε_x F(s²) + ε_c + H(t²).

        Args:
            n: densities above 0.
            slope2: |∇n|² that exchange sees.
            slope2_c: and that correlation sees; programs set thresholds of their own.
        """
        gamma = self.gas.gamma
        k_fermi = (3.0 * math.pi**2 * n) ** (1.0 / 3.0)
        s2 = slope2 / (4.0 * k_fermi**2 * n**2)
        exchange = -3.0 * k_fermi / (4.0 * math.pi) * (1.0 + _KAPPA - _KAPPA / (1.0 + _MU * s2 / _KAPPA))
        local = self._correlation(n)
        t2 = slope2_c / (4.0 * (4.0 * k_fermi / math.pi) * n**2)
        a = _BETA / gamma / (self.xp.exp(-local / gamma) - 1.0)
        ratio = (1.0 + a * t2) / (1.0 + a * t2 + (a * t2) ** 2)
        return exchange + local + gamma * self.xp.log(1.0 + _BETA / gamma * t2 * ratio)

    def _correlation(self, n: Any) -> Any:
        """Return ε_c of the unpolarised gas."""
        rs = (3.0 / (4.0 * math.pi * n)) ** (1.0 / 3.0)
        a, alpha, b1, b2, b3, b4 = self.gas.amplitude, 0.21370, 7.5957, 3.5876, 1.6382, 0.49294
        root = self.xp.sqrt(rs)
        series = 2.0 * a * (b1 * root + b2 * rs + b3 * rs * root + b4 * rs**2)
        return -2.0 * a * (1.0 + alpha * rs) * self.xp.log(1.0 + 1.0 / series)
