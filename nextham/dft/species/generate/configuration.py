"""Ground-state electron configurations of main-group atoms."""

from __future__ import annotations

from nextham.exceptions import InputError

Shell = tuple[int, int]  # (n, l)
LETTERS = "spdf"
_MAX_NUMBER = 86


def configuration(number: int) -> dict[Shell, float]:
    """Return the electrons of each shell of a neutral atom, filled in Madelung's order n + l, then n.

    Right for every main-group element; the d and f metals that break the rule are not generated.

    >>> configuration(6)
    {(1, 0): 2.0, (2, 0): 2.0, (2, 1): 2.0}
    """
    if not 1 <= number <= _MAX_NUMBER:
        raise InputError(f"atomic number {number} is outside 1 to {_MAX_NUMBER}")
    order = sorted(((n, l) for n in range(1, 8) for l in range(min(n, 4))), key=lambda shell: (sum(shell), shell[0]))
    shells: dict[Shell, float] = {}
    left = float(number)
    for shell in order:
        if left <= 0:
            break
        shells[shell] = min(left, 2.0 * (2 * shell[1] + 1))
        left -= shells[shell]
    return shells


def split_valence(number: int, valence: int) -> tuple[dict[Shell, float], dict[Shell, float]]:
    """Return (core, valence) shells: the valence is the outermost n and must hold ``valence`` electrons.

    Raises:
        InputError: if the outermost shells hold another number of electrons.
    """
    shells = configuration(number)
    outer = max(n for n, _ in shells)
    inner = {shell: count for shell, count in shells.items() if shell[0] < outer}
    kept = {shell: count for shell, count in shells.items() if shell[0] == outer}
    if round(sum(kept.values())) != valence:
        raise InputError(
            f"atomic number {number} has {sum(kept.values()):g} electrons in its outermost shells, "
            f"not the {valence} of the pseudopotential; only such potentials are generated"
        )
    return inner, kept


def first_valence_n(core: dict[Shell, float], l: int) -> int:
    """Return n of the lowest shell of angular momentum l above the core.

    >>> first_valence_n({(1, 0): 2.0, (2, 0): 2.0, (2, 1): 6.0}, 1)
    3
    """
    return max((n for n, inner in core if inner == l), default=l) + 1


def ionised(shells: dict[Shell, float], charge: float) -> dict[Shell, float]:
    """Return the shells with ``charge`` electrons taken from the highest n, then the highest l."""
    left = dict(shells)
    for shell in sorted(left, reverse=True):
        taken = min(charge, left[shell])
        left[shell] -= taken
        charge -= taken
    return left
