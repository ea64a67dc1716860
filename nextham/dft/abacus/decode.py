"""Numbers out of text, many at a time: the inner loop of the CSR reader."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_BRACKETS: Final = bytes.maketrans(b"(,)", b"   ")
_MAX_DIGITS: Final = 8  # of an index


def reals(section: bytes | memoryview, count: int) -> NDArray[np.float64]:
    """Return the ``count`` numbers of a section of reals or of ``(re,im)`` tokens, correctly rounded.

    Raises:
        ValueError: if the section holds another number of numbers, or something else.
    """
    from nextham.dft.abacus.kernels import scan_reals

    out = np.empty(count)
    if scan_reals(np.frombuffer(section, dtype=np.uint8), out):
        return out
    words = bytes(section).translate(_BRACKETS).split()  # rare forms of numbers, and what is none
    if len(words) != count:
        raise ValueError(f"{len(words)} numbers where {count} are due")
    return np.array(words, dtype=np.bytes_).astype(np.float64) if words else np.zeros(0)


def integers(section: bytes | memoryview, count: int) -> NDArray[np.int64]:
    """Return the ``count`` non-negative integers of a section, at most eight digits each.

    Raises:
        ValueError: if the section holds another number of integers, or something else.
    """
    from nextham.dft.abacus.kernels import scan_integers

    out = np.empty(count, dtype=np.int64)
    found, longest, clean = scan_integers(np.frombuffer(section, dtype=np.uint8), out)
    if not clean:
        raise ValueError("something that is not a non-negative integer")
    if found != count:
        raise ValueError(f"{found} integers where {count} are due")
    if longest > _MAX_DIGITS:
        raise ValueError("an integer of more than eight digits")
    return out
