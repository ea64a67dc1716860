"""The benchmark table in the terminal and in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.table import Table

from nextham_bench.schema import Columns, Scores

BLOCK_NAMES = {"uu": "↑↑", "ud": "↑↓", "du": "↓↑", "dd": "↓↓"}
_SMALL_MEV = 5e-4
_LEVELS = {
    "occupied_mev": "occupied bands",
    "path_mev": "standard path",
    "gap_mev": "gap",
    "fermi_mev": "Fermi level",
    "soc_splitting_mev": "spin-orbit splitting at Γ",
    "dos_mev": "DOS",
}


def mev(value: float) -> str:
    """Return an error in meV as the tables print it.

    >>> mev(5.2134), mev(0.0000123), mev(0.0)
    ('5.213', '<0.001', '0')
    """
    if value == 0:
        return "0"
    return f"{value:.3f}" if value >= _SMALL_MEV else "<0.001"


def percent(value: float | None) -> str:
    """Return a skill or share in percent.

    >>> percent(0.4567), percent(None)
    ('45.7 %', '–')
    """
    return "–" if value is None else f"{100 * value:.1f} %"


def p_text(p: float | None) -> str:
    """Return a p value as tables print it.

    >>> p_text(0.0312), p_text(1e-4), p_text(None)
    ('0.031', '<0.001', '–')
    """
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def count(n: int | None) -> str:
    """Return a large count in short.

    >>> count(1229130), count(950), count(23_000), count(None)
    ('1.23 M', '950', '23 k', '–')
    """
    if n is None:
        return "–"
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if n >= size:
            return f"{n / size:.3g} {letter}"
    return str(n)


def counted(n: int, what: str) -> str:
    """Return a number of things.

    >>> counted(1, "structure"), counted(3, "structure")
    ('1 structure', '3 structures')
    """
    return f"{n} {what}{'s' * (n != 1)}"


def escaped(text: str) -> str:
    r"""Return a text that stays text in Markdown.

    >>> print(escaped("a|b <i>*x*"))
    a\|b &lt;i&gt;\*x\*
    """
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|*_\[\]`!#$~])", r"\\\1", plain)


def rows(scores: Scores, protocol: str | None = None) -> list[tuple[str, str, str, str, str]]:
    """Return the lines of the table: block, zero, h0, model (real / imaginary, macro means in meV) and skill."""
    table = scores.gauge_mae[protocol or scores.protocol]  # type: ignore[index]
    out = []
    for block, name in BLOCK_NAMES.items():
        both = table.spin_blocks[block]  # type: ignore[index]
        pairs = (
            f"{mev(getattr(both.real, c).macro_mev)} / {mev(getattr(both.imag, c).macro_mev)}"
            for c in ("zero", "h0", "model")
        )
        zero, h0, model = pairs
        out.append((name, zero, h0, model, percent(both.real.skill)))
    out.append(_line("overall", table.overall))
    return out


def _line(name: str, columns: Columns) -> tuple[str, str, str, str, str]:
    zero, h0, model = (mev(getattr(columns, c).macro_mev) for c in ("zero", "h0", "model"))
    return name, zero, h0, model, percent(columns.skill)


def table(scores: Scores) -> Table:
    """Return the headline table for the terminal."""
    gauge = scores.headline
    warning = ", partial: not ranked" if scores.partial else ""
    title = f"{scores.name}: Gauge MAE, real / imaginary, meV, macro mean of {gauge.n_structures} structures"
    out = Table(title=f"{title} (protocol {scores.protocol}{warning})", title_justify="left")
    out.add_column("block")
    for name in ("zero", "h0", "model", "skill"):
        out.add_column(name, justify="right")
    for line in rows(scores):
        out.add_row(*line)
    return out


def sentences(scores: Scores) -> list[str]:
    """Return what the table leaves out: intervals, levels, spectra and structures that were refused."""
    out = []
    skill, low_high = scores.headline.overall.skill, scores.headline.intervals["skill"]
    if skill is not None and low_high is not None:
        confidence = f"{100 * low_high.confidence:.0f} % interval over structures"
        out.append(f"skill {percent(skill)}, {percent(low_high.low)} to {percent(low_high.high)} ({confidence})")
    if scores.bands is not None:
        model, h0 = scores.bands.model, scores.bands.h0
        out.append(
            f"band error {model.mean_mev:.1f} meV (h0 {h0.mean_mev:.1f}), "
            + ", ".join(
                f"{percent(share)} of structures below {limit} meV" for limit, share in model.shares_below.items()
            )
            + f", ghost states in {percent(model.ghost_share)} of structures (h0 {percent(h0.ghost_share)})"
        )
        numbers = (f"{name} {_both(getattr(model, key), getattr(h0, key))}" for key, name in _LEVELS.items())
        out.append("errors in meV: " + ", ".join(numbers))
        parts = zip(("P", "PQ", "Q"), model.subspace, h0.subspace, strict=True)
        out.append(
            "in the reference's eigenvectors, meV: " + ", ".join(f"{n} {_both(m[1], h[1])}" for n, m, h in parts)
        )
    if scores.optics is not None:
        one = scores.optics
        out.append(
            f"optical conductivity, relative distance: {_share(one.model)} (h0 {_share(one.h0)}), {one.n_structures} "
            f"structures, {one.n_skipped} without; not ranked"
        )
    if refused := scores.coverage.refused:
        first, why = next(iter(refused.items()))
        out.append(f"{len(refused)} structures cannot be scored, such as {first}: {why}")
    return out


def _both(model: float | None, h0: float | None) -> str:
    return f"{_one(model)} (h0 {_one(h0)})"


def _one(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def markdown(scores: Sequence[Scores]) -> str:
    """Return every score's headline table in Markdown."""
    parts = []
    for one in scores:
        note = " Partial: not ranked." if one.partial else ""
        parts += [
            f"**{escaped(one.name)}**, {one.headline.n_structures} structures, protocol `{one.protocol}`: "
            f"Gauge MAE in meV, real / imaginary, macro mean.{note}",
            "",
            "| block | zero | h0 | model | skill |",
            "|---|---:|---:|---:|---:|",
            *(f"| {' | '.join(line)} |" for line in rows(one)),
            "",
            *(f"{sentence[0].upper()}{sentence[1:]}.\n" for sentence in sentences(one)),
        ]
    return "\n".join(parts).rstrip() + "\n"
