"""Numbers out of text, many at a time: the inner loop of the CSR reader.

Eight digits are decoded at once inside one 64-bit word (three multiplications; the idea is D. Lemire's, "Quickly
parsing eight digits", 2018), a real number is an integer mantissa over a power of ten. Both are exact below 2^53 and
10^22, so that one division rounds correctly. Anything else goes to numpy's own, slower, text conversion.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_PAD: Final = 16  # bytes of space before and after a section, so that words may reach over its ends
_ASCII_ZEROS: Final = np.uint64(0x3030303030303030)
_PAIR: Final = np.uint64(0x000000FF000000FF)
_MAX_DECIMALS: Final = 14  # mantissas of 15 digits stay below 2^53
_POWERS: Final = 10.0 ** np.arange(23)  # exact in float64
_BRACKETS: Final = bytes.maketrans(b"(,)", b"   ")


def _exponent_table() -> NDArray[np.int16]:
    """Value of two digits by their 16-bit word (first digit in the low byte), -1 where they are not digits."""
    table = np.full(2**16, -1, dtype=np.int16)
    tens, ones = np.divmod(np.arange(100), 10)
    table[(tens + 48) | ((ones + 48) << 8)] = np.arange(100)
    return table


_EXPONENTS: Final = _exponent_table()


def reals(section: bytes | memoryview, count: int) -> NDArray[np.float64]:
    """Return the ``count`` numbers of a section of reals or of ``(re,im)`` tokens, correctly rounded.

    Raises:
        ValueError: if the section holds another number of numbers, or something else.
    """
    fast = _fixed_point(_padded(section), count)
    if fast is not None:
        return fast
    words = bytes(section).translate(_BRACKETS).split()
    if len(words) != count:
        raise ValueError(f"{len(words)} numbers where {count} are due")
    return np.array(words, dtype=np.bytes_).astype(np.float64) if words else np.zeros(0)


def integers(section: bytes | memoryview, count: int) -> NDArray[np.int64]:
    """Return the ``count`` non-negative integers of a section, at most eight digits each.

    Raises:
        ValueError: if the section holds another number of integers, or something else.
    """
    text = _padded(section)
    digit = text >= 48
    if np.count_nonzero(text > 32) != np.count_nonzero(digit):
        raise ValueError("something that is not a non-negative integer")
    edges = np.flatnonzero(digit[1:] != digit[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    if len(starts) != count:
        raise ValueError(f"{len(starts)} integers where {count} are due")
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    length = ends - starts
    if length.max() > 8:
        raise ValueError("an integer of more than eight digits")
    value, good = _digits(_words(text)[ends - 8], length)
    if not good:
        raise ValueError("something that is not a non-negative integer")
    return value.astype(np.int64)


def _fixed_point(text: NDArray[np.uint8], count: int) -> NDArray[np.float64] | None:
    """Decode numbers that all read ``[-]d.ddde±dd`` with equally many decimals; None if they do not."""
    e = np.flatnonzero(text == ord("e"))
    if len(e) != count or count == 0:
        return None
    decimals = int(e[0]) - 1 - int(np.flatnonzero(text[: e[0]] == ord("."))[-1:].sum())
    if not 1 <= decimals <= _MAX_DECIMALS or e[0] - decimals < _PAD + 2:
        return None
    words = _words(text)
    mantissa, good = _digits(words[e - 8], min(decimals, 8))
    if decimals > 8:
        high, fine = _digits(words[e - 16], decimals - 8)
        mantissa, good = mantissa + high * np.uint64(10**8), good and fine
    lead = text[e - decimals - 2] - np.uint8(48)
    tail = np.ndarray((len(text) - 3,), dtype="<u4", buffer=text.data, strides=(1,))[e + 1]  # ±, two digits, delimiter
    size, sign, after = _EXPONENTS[(tail >> 8) & 0xFFFF], tail & 0xFF, tail >> 24
    negative, before = sign == ord("-"), text[e - decimals - 3]
    shaped = (
        good
        and lead.max() <= 9
        and before.max() < ord(".")  # one digit before the point: a sign or a delimiter precedes it
        and size.min() >= 0
        and (text[e - decimals - 1] == ord(".")).all()
        and (negative | (sign == ord("+"))).all()
        and _delimited(after)
        and np.count_nonzero(text > 32) == _ink(len(e), decimals, before, after)
    )
    if not shaped:
        return None
    mantissa = mantissa + lead * np.uint64(10**decimals)
    power = np.where(negative, size, -size) + decimals
    value = mantissa.astype(np.float64) / _POWERS[np.clip(power, 0, 22)]
    odd = np.flatnonzero((power < 0) | (power > 22))
    if len(odd):
        first = e[odd] - decimals - 2
        window = np.lib.stride_tricks.sliding_window_view(text, decimals + 6)[first]
        value[odd] = window.view(f"S{decimals + 6}")[:, 0].astype(np.float64)
    signed: NDArray[np.float64] = np.where(before == ord("-"), -value, value)
    return signed


def _ink(count: int, decimals: int, before: NDArray[Any], after: NDArray[Any]) -> int:
    """Return how many bytes the numbers fill, with signs and brackets: any other byte is foreign."""
    brackets = 3 * count // 2 if after[0] == ord(",") else 0
    return count * (decimals + 6) + int(np.count_nonzero(before == ord("-"))) + brackets


def _delimited(after: NDArray[Any]) -> bool:
    """Tell whether the bytes after the exponents are what plain reals or ``(re,im)`` tokens have there."""
    if after[0] == ord(","):
        return len(after) % 2 == 0 and bool((after[::2] == ord(",")).all() and (after[1::2] == ord(")")).all())
    return bool((after <= 32).all())


def _digits(words: NDArray[np.uint64], length: int | NDArray[np.int64]) -> tuple[NDArray[np.uint64], bool]:
    """Return the integers that end the 8-byte words, ``length`` digits each, and whether all were digits."""
    cut = (8 - np.asarray(length)).astype(np.uint64) * np.uint64(8)
    full = ((words ^ _ASCII_ZEROS) >> cut) << cut  # bytes before the number become leading zeros
    sixes = np.uint64(0x0606060606060606)
    good = not np.any(((full + sixes) | full) & np.uint64(0xF0F0F0F0F0F0F0F0))
    pairs = full * np.uint64(10) + (full >> np.uint64(8))
    first = (pairs & _PAIR) * np.uint64(100 + (1000000 << 32))
    second = ((pairs >> np.uint64(16)) & _PAIR) * np.uint64(1 + (10000 << 32))
    return (first + second) >> np.uint64(32), good


def _padded(section: bytes | memoryview) -> NDArray[np.uint8]:
    text = np.full(len(section) + 2 * _PAD, 32, dtype=np.uint8)
    text[_PAD:-_PAD] = np.frombuffer(section, dtype=np.uint8)
    return text


def _words(text: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Every 8 consecutive bytes as one little-endian word, whatever the alignment."""
    return np.ndarray((len(text) - 7,), dtype="<u8", buffer=text.data, strides=(1,))
