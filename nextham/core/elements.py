"""Element symbols and atomic numbers (IUPAC names; nothing else about an element lives here)."""

from __future__ import annotations

from nextham.exceptions import InputError

_TABLE = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr
Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd
In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf
Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm
Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
_SYMBOLS = tuple(_TABLE.split())
_NUMBERS = {name: z for z, name in enumerate(_SYMBOLS, start=1)}


def symbol(number: int) -> str:
    """Element symbol of an atomic number.

    >>> symbol(14)
    'Si'
    """
    if not 1 <= number <= len(_SYMBOLS):
        raise InputError(f"there is no element with atomic number {number}")
    return _SYMBOLS[number - 1]


def atomic_number(name: str) -> int:
    """Atomic number of an element symbol.

    >>> atomic_number("Si")
    14
    """
    if name not in _NUMBERS:
        raise InputError(f"{name!r} is not an element symbol")
    return _NUMBERS[name]
