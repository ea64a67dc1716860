"""Numbers out of text, many at a time: the inner loop of the CSR reader.

Eight digits are decoded at once inside one 64-bit word (three multiplications; the idea is D. Lemire's, "Quickly
parsing eight digits", 2018), a real number is an integer mantissa over a power of ten. Both are exact below 2^53 and
10^22, so that one division rounds correctly. Anything else goes to numpy's own, slower, text conversion.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_PAD: Final = 16  # bytes of space before and after a section, so that words may reach over its ends
_ASCII_ZEROS: Final = np.uint64(0x3030303030303030)
_PAIR: Final = np.uint64(0x000000FF000000FF)
_BYTE: Final = np.uint64(0xFF)
_NIBBLE: Final = np.uint64(0xF)
_MIN_DECIMALS: Final = 3
_MAX_DECIMALS: Final = 14  # mantissas of 15 digits stay below 2^53
_BRACKETS: Final = bytes.maketrans(b"(,)", b"   ")


def _scales() -> dict[int, NDArray[np.float64]]:
    """By decimals d: what divides the mantissa, 10^(d - exponent), by the key of _exponent_key; nan where inexact."""
    tables = {}
    for decimals in range(_MIN_DECIMALS, _MAX_DECIMALS + 1):
        table = np.full(512, np.nan)
        for positive, tens, ones in np.ndindex(2, 10, 10):
            power = decimals - (10 * tens + ones) * (1 if positive else -1)
            if 0 <= power <= 22:  # 10^22 is the last that float64 holds exactly
                table[256 * positive + 16 * tens + ones] = 10.0**power
        tables[decimals] = table
    return tables


_SCALES: Final = _scales()


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
    value, good = _digits(_eight_before(text, ends), length)
    if not good:
        raise ValueError("something that is not a non-negative integer")
    return value.astype(np.int64)


def _fixed_point(text: NDArray[np.uint8], count: int) -> NDArray[np.float64] | None:
    """Decode numbers that all read ``[-]d.ddde±dd`` with equally many decimals; None if they do not."""
    e = np.flatnonzero(text == ord("e"))
    if len(e) != count or count == 0:
        return None
    decimals = int(e[0]) - 1 - int(np.flatnonzero(text[: e[0]] == ord("."))[-1:].sum())
    if not _MIN_DECIMALS <= decimals <= _MAX_DECIMALS or e[0] - decimals < _PAD + 2:
        return None
    before, last = _sixteen_before(text, e + 5)  # "-d.ddddd" and "ddde-dd," of eight decimals
    mantissa, good = _digits((before >> np.uint64(24)) | (last << np.uint64(40)), min(decimals, 8))
    if decimals > 8:
        high, fine = _digits(_eight_before(text, e - 8), decimals - 8)
        mantissa, good = mantissa + high * np.uint64(10**8), good and fine
        before = _eight_before(text, e - decimals + 5)
    # Three bytes: sign or delimiter, digit, point; and four: sign, two digits, delimiter.
    head = (before >> np.uint64(max(0, 8 * (8 - decimals)))) & np.uint64(0xFFFFFF)
    tail = last >> np.uint64(32)
    negative = (head & _BYTE) == ord("-")
    if not (good and _shaped(head, tail) and np.count_nonzero(text > 32) == _ink(decimals, negative, tail)):
        return None
    mantissa += ((head >> np.uint64(8)) & _NIBBLE) * np.uint64(10**decimals)
    value = mantissa.astype(np.float64) / _SCALES[decimals].take(_exponent_key(tail))
    value.view(np.uint64)[:] |= negative.astype(np.uint64) << np.uint64(63)
    odd = np.flatnonzero(np.isnan(value))
    if len(odd):
        window = np.lib.stride_tricks.sliding_window_view(text, decimals + 7)[e[odd] - decimals - 3]
        words = window.view(f"S{decimals + 7}")[:, 0]
        value[odd] = np.char.lstrip(words, b" (,\n").astype(np.float64)
    return value


def _exponent_key(tail: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Sign and the two digits of the exponents as 256 (+) or 0 (-), plus 16 tens, plus ones."""
    sign = (tail & np.uint64(2)) << np.uint64(7)  # "+" is 0x2b, "-" is 0x2d
    key: NDArray[np.uint64] = sign | ((tail >> np.uint64(4)) & np.uint64(0xF0)) | ((tail >> np.uint64(16)) & _NIBBLE)
    return key.astype(np.intp)


def _shaped(head: NDArray[np.uint64], tail: NDArray[np.uint64]) -> bool:
    """Tell whether what surrounds the decimals of each number is that of ``d.ddde±dd`` with a delimiter."""
    after = tail >> np.uint64(24)
    if after[0] == ord(","):
        delimited = len(after) % 2 == 0 and (after[::2] == ord(",")).all() and (after[1::2] == ord(")")).all()
    else:
        delimited = after.max() <= 32
    return bool(
        delimited
        and (head & _BYTE).max() < ord(".")
        and _all_match(head, 0xFFF000, 0x2E3000, 0x000600)
        and _all_match(tail, 0xF0F0F9, 0x303029, 0x060600)  # "+" or "-" (")" and "/" as well, which nobody writes)
    )


def _all_match(words: NDArray[np.uint64], mask: int, pattern: int, six: int) -> bool:
    """Tell whether all words have a bit pattern, and still have it with 6 added to each digit (then it is <= 9)."""
    bits, due = np.uint64(mask), np.uint64(pattern)
    wrong = ((words & bits) ^ due) | (((words + np.uint64(six)) & bits) ^ due)
    return int(np.bitwise_or.reduce(wrong)) == 0


def _ink(decimals: int, negative: NDArray[np.bool_], tail: NDArray[np.uint64]) -> int:
    """Return how many bytes the numbers fill, with signs and brackets: any other byte is foreign."""
    count = len(tail)
    brackets = 3 * count // 2 if tail[0] >> np.uint64(24) == ord(",") else 0
    return count * (decimals + 6) + int(np.count_nonzero(negative)) + brackets


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
    """Copy a section between spaces, aligned to words of 8 bytes."""
    text = np.full((len(section) + 2 * _PAD + 7) // 8 * 8, 32, dtype=np.uint8)
    text[_PAD : _PAD + len(section)] = np.frombuffer(section, dtype=np.uint8)
    return text


def _sixteen_before(text: NDArray[np.uint8], end: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the 16 bytes that end before each position as two little-endian words."""
    words = text.view("<u8")
    after = end >> 3
    right = ((end & 7) << 3).astype(np.uint64)
    left = np.uint64(64) - right  # a shift by 64 gives 0
    middle = words.take(after - 1)
    return (words.take(after - 2) >> right) | (middle << left), (middle >> right) | (words.take(after) << left)


def _eight_before(text: NDArray[np.uint8], end: NDArray[np.int64]) -> NDArray[np.uint64]:
    return _sixteen_before(text, end)[1]
