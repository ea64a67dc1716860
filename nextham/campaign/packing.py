"""Structures into chunks of equal cost."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence


def packed(costs: Sequence[float], *, capacity: float, most: int) -> list[list[int]]:
    """Return the numbers of items in as few chunks as hold them, of about equal cost.

    The longest go first, each to the chunk with least so far (Graham, SIAM J. Appl. Math. 17, 416 (1969)): the longest
    chunk is then at most 4/3 of the best there is.

    Args:
        costs: of each item, not negative.
        capacity: cost of a chunk on average, at most.
        most: items of a chunk, at most.

    >>> packed([5, 1, 1, 1, 1, 1], capacity=5, most=10)
    [[0], [1, 2, 3, 4, 5]]
    """
    if not costs:
        return []
    n = max(math.ceil(sum(costs) / capacity), math.ceil(len(costs) / most))
    chunks: list[list[int]] = [[] for _ in range(min(n, len(costs)))]
    room = [(0.0, 0, k) for k in range(len(chunks))]  # a heap: cost and items so far, number of the chunk
    for item in sorted(range(len(costs)), key=lambda item: (-costs[item], item)):
        cost, _, k = heapq.heappop(room)
        chunks[k].append(item)
        if len(chunks[k]) < most:
            heapq.heappush(room, (cost + costs[item], len(chunks[k]), k))
    return sorted(sorted(chunk) for chunk in chunks)
