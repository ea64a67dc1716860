"""Compiled inner loops of the matrix reader; importing them takes a moment, so that only readers do.

A real number is an integer mantissa times a power of ten. Below 2^53 and 10^22 both are exact in float64, and one
operation rounds correctly (W. D. Clinger, "How to read floating point numbers accurately", 1990); beyond, the product
is formed in twice the precision and kept where its error cannot change the rounding (A. Ziv, 1991).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

_LAST_POWER: Final = 280  # both halves of 10^±280 times a mantissa are normal numbers
_MAX_DIGITS: Final = 18  # of a mantissa, which stays below 2^63
_EXACT_POWER: Final = 22
_EXACT_MANTISSA: Final = 2**53
_SPLIT: Final = 2.0**27 + 1
_ZIV: Final = 2.0**-98  # relative, above the error of a product in twice the precision
_TENS: Final = [Fraction(10) ** p for p in range(-_LAST_POWER, _LAST_POWER + 1)]
_HIGH: Final = np.array([float(x) for x in _TENS])
_LOW: Final = np.array([float(x - Fraction(float(x))) for x in _TENS])

_F = TypeVar("_F", bound=Callable[..., Any])


def _compiled(function: _F) -> _F:
    """Compile on the first call, or take what an earlier process compiled; other threads run meanwhile."""
    try:
        return cast(_F, numba.njit(nogil=True, cache=True, error_model="numpy")(function))
    except RuntimeError:  # no folder for a cache can be written, neither here nor at the user's
        return cast(_F, numba.njit(nogil=True, error_model="numpy")(function))


def _inlined(function: _F) -> _F:
    """Compile as part of each function that calls it."""
    return cast(_F, numba.njit(error_model="numpy", inline="always")(function))


@_compiled
def _byte(text: NDArray[np.uint8], at: int) -> int:
    """Return one byte; an unsigned index spares the test for places counted from the end."""
    return np.int64(text[np.uint64(at)])  # type: ignore[return-value]


@_compiled
def _is_gap(c: int) -> bool:
    """Tell white space and the marks of ``(re,im)``."""
    return c == 32 or 9 <= c <= 13 or 40 <= c <= 41 or c == 44


@_compiled
def _is_digit(c: int) -> bool:
    return 48 <= c <= 57


@_compiled
def _scaled(mantissa: int, power: int) -> float:
    """Return mantissa × 10^power correctly rounded, NaN where that is not certain."""
    if mantissa < _EXACT_MANTISSA and -_EXACT_POWER <= power <= _EXACT_POWER:
        if power < 0:
            return mantissa / float(_HIGH[_LAST_POWER - power])
        return mantissa * float(_HIGH[_LAST_POWER + power])
    if mantissa == 0:
        return 0.0
    if not -_LAST_POWER <= power <= _LAST_POWER:
        return np.nan
    high, low = float(_HIGH[power + _LAST_POWER]), float(_LOW[power + _LAST_POWER])
    m = float(mantissa)
    rest = float(mantissa - int(m))
    a = m * _SPLIT - (m * _SPLIT - m)  # T. J. Dekker's exact product: m high = product + error
    b = high * _SPLIT - (high * _SPLIT - high)
    c, d = m - a, high - b
    product = m * high
    error = ((a * b - product) + a * d + c * b) + c * d
    error += m * low + rest * high
    slack = product * _ZIV
    if product + (error - slack) == product + (error + slack):
        return product + error
    return np.nan


@_compiled
def _eight_digits(text: NDArray[np.uint8], at: int) -> int:
    """Return the number of the eight digits from a position, -1 where they are not eight: no step awaits another."""
    a, b, c, d = _byte(text, at) - 48, _byte(text, at + 1) - 48, _byte(text, at + 2) - 48, _byte(text, at + 3) - 48
    e, f, g, h = _byte(text, at + 4) - 48, _byte(text, at + 5) - 48, _byte(text, at + 6) - 48, _byte(text, at + 7) - 48
    if (a | b | c | d | e | f | g | h) < 0 or max(a, b, c, d, e, f, g, h) > 9:
        return -1
    return ((a * 10 + b) * 100 + (c * 10 + d)) * 10000 + ((e * 10 + f) * 100 + (g * 10 + h))


@_inlined
def _digits(text: NDArray[np.uint8], at: int, value: int) -> tuple[int, int]:
    """Append the digits from a position to a number; return it and where they end."""
    eight = _eight_digits(text, at) if at + 8 <= len(text) else -1
    if eight >= 0:
        value = value * 100_000_000 + eight
        at += 8
    while at < len(text) and _is_digit(_byte(text, at)):
        value = value * 10 + (_byte(text, at) - 48)
        at += 1
    return value, at


@_inlined
def _real(text: NDArray[np.uint8], begin: int) -> tuple[float, int]:
    """Decode ``[-]digits[.digits][e[±]digits]``: return the number, NaN where it is none, and where it ends."""
    end = len(text)
    negative = _byte(text, begin) == 45
    start = begin + 1 if negative else begin
    mantissa, at = 0, start
    while at < end and _is_digit(_byte(text, at)):
        mantissa = mantissa * 10 + (_byte(text, at) - 48)
        at += 1
    n_digits, power = at - start, 0
    if at < end and _byte(text, at) == 46:
        start = at + 1
        mantissa, at = _digits(text, start, mantissa)
        power = start - at
        n_digits -= power
    if n_digits == 0 or n_digits > _MAX_DIGITS:
        return np.nan, at
    if at < end and _byte(text, at) | 32 == 101:
        sign = _byte(text, at + 1) if at + 1 < end else 0
        start = at + 2 if 43 <= sign <= 45 and sign != 44 else at + 1
        exponent, at = 0, start
        while at < end and _is_digit(_byte(text, at)):
            exponent = exponent * 10 + (_byte(text, at) - 48)
            at += 1
        if not 1 <= at - start <= 4:
            return np.nan, at
        power += -exponent if sign == 45 else exponent
    value = _scaled(mantissa, power)
    return (-value if negative else value), at


@_compiled
def scan_reals(text: NDArray[np.uint8], out: NDArray[np.float64]) -> bool:
    """Decode decimal numbers between white space, brackets and commas; False unless they are exactly as many as due.

    False, too, for what is not plainly ``[-]digits[.digits][e[±]digits]``, or cannot be rounded with certainty.
    """
    at, found, end = 0, 0, len(text)
    while True:
        while at < end and _is_gap(_byte(text, at)):
            at += 1
        if at == end or found == len(out):
            return at == end and found == len(out)
        value, at = _real(text, at)
        if np.isnan(value) or (at < end and not _is_gap(_byte(text, at))):
            return False
        out[found] = value
        found += 1


@_compiled
def scan_integers(text: NDArray[np.uint8], out: NDArray[np.int64]) -> tuple[int, int, bool]:
    """Decode non-negative integers; return how many there are, digits of the longest, and whether all else is space."""
    at, found, longest, end = 0, 0, 0, len(text)
    while True:
        while at < end and _byte(text, at) <= 32:
            at += 1
        if at == end:
            return found, longest, True
        value, begin = 0, at
        while at < end and 48 <= _byte(text, at) <= 57:
            value = value * 10 + (_byte(text, at) - 48)
            at += 1
        if at < end and _byte(text, at) > 32:
            return found, longest, False
        longest = max(longest, at - begin)
        if found < len(out):
            out[found] = value
        found += 1


@_compiled
def rows_of(pointers: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return the row of each of the n elements; n + 1 numbers where the row pointers are not those of n elements."""
    rows = np.empty(n, dtype=np.int64)
    good = pointers[0] == 0 and pointers[-1] == n
    for row in range(len(pointers) - 1):
        begin, end = pointers[row], pointers[row + 1]
        if not (good and 0 <= begin <= end <= n):
            return np.empty(n + 1, dtype=np.int64)
        rows[begin:end] = row
    return rows


@_compiled
def dense_blocks(
    entries: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]],
    rows: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
    n_orb: NDArray[np.int64],
    n_spin: int,
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Put the elements of one R into dense blocks of the pairs of atoms that they touch.

    Args:
        entries: row, column and value of each.
        rows: atom, place in the atom and sign of each row, of which ``n_spin`` in turn are one orbital.
        n_orb: of each atom.
        n_spin: 1, or 2 where row 2μ + s has the spin s.

    Returns:
        The pairs i * n_atoms + j, ascending, and their blocks end to end, (n_spin², n_values): spin s, s' is row
        n_spin s + s'.
    """
    r, c, values = entries
    atom, place, sign = rows
    n_atoms = len(n_orb)
    start = np.full(n_atoms * n_atoms, -1)
    for e in range(len(r)):
        start[atom[r[e]] * n_atoms + atom[c[e]]] = 0
    pairs = np.flatnonzero(start == 0)
    total = 0
    for pair in pairs:
        start[pair] = total
        total += n_orb[pair // n_atoms] * n_orb[pair % n_atoms]
    out = np.zeros((n_spin * n_spin, total), dtype=values.dtype)
    for e in range(len(r)):
        i, j = atom[r[e]], atom[c[e]]
        at = start[i * n_atoms + j] + place[r[e]] * n_orb[j] + place[c[e]]
        out[n_spin * (r[e] % n_spin) + c[e] % n_spin, at] = values[e] * (sign[r[e]] * sign[c[e]])
    return pairs, out


@_compiled
def hermitian_mean(
    values: NDArray[Any],
    starts: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    shape: NDArray[np.int64],
    tolerance: tuple[float, float],
) -> tuple[NDArray[Any], int, int, float]:
    """Return the mean of each block and the adjoint of its conjugate, and where they differ most.

    Args:
        values: (n_components, n) blocks end to end.
        starts: of each pair's block, of its conjugate's (-1 where there is none: zero), and of the result.
        shape: (n_pairs, 2) orbitals of i and j.
        tolerance: allowed difference: absolute, and relative to the largest component.

    Returns:
        The means, how many numbers differ more than allowed, and pair and difference of the worst of them.
    """
    forward, backward, first = starts
    n_components = len(values)
    out = np.empty((n_components, first[-1]), dtype=values.dtype)
    n_bad, worst, largest = 0, -1, 0.0
    for p in range(len(shape)):
        n_i, n_j = shape[p]
        for a in range(n_i):
            for b in range(n_j):
                gap, size = 0.0, 0.0
                for s in range(n_components):
                    one = values[s, forward[p] + a * n_j + b] if forward[p] >= 0 else values[s, 0] * 0
                    two = values[s, backward[p] + b * n_i + a] if backward[p] >= 0 else values[s, 0] * 0
                    two = np.conj(two)
                    gap = max(gap, ((one - two) * np.conj(one - two)).real)
                    size = max(size, (one * np.conj(one)).real)
                    out[s, first[p] + a * n_j + b] = (one + two) / 2
                if gap > tolerance[0] ** 2:  # squares so far: roots of a few alone
                    gap = np.sqrt(gap)
                    if gap > tolerance[0] + tolerance[1] * np.sqrt(size):
                        n_bad += 1
                        if gap > largest:
                            worst, largest = p, gap
    return out, n_bad, worst, largest
