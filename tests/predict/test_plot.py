"""The figure of predicted bands."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextham.exceptions import InputError
from nextham.predict.plot import _drawn, bands_file, check_bands, plot_bands


def test_every_format_is_a_whole_file(synthetic, tmp_path):
    for suffix, begin in ((".html", b"<!doctype html>"), (".png", b"\x89PNG"), (".svg", b"<?xml")):
        path = tmp_path / f"bands{suffix}"
        plot_bands(synthetic, path)
        assert path.read_bytes().startswith(begin)
    assert "<h1>Bands of synthetic</h1>\n<svg" in (tmp_path / "bands.html").read_text()
    assert len(list(tmp_path.iterdir())) == 3


def test_energies_count_from_the_highest_filled_level(alsb):
    axes = _drawn(alsb).axes[0]
    assert axes.get_title() == "AlSb, gap 0.38 eV"
    assert axes.get_ylabel() == "energy above the highest filled level (eV)"
    levels = [line.get_ydata() for line in axes.lines if line.get_color() == "#0072b2" and len(line.get_ydata())]
    filled = levels[: round(alsb.meta[0].n_electrons)]
    assert max(y.max() for y in filled) == pytest.approx(0.0, abs=1e-9)
    assert min(y.min() for y in levels[len(filled) :]) == pytest.approx(0.38, abs=0.05)


def test_names_and_what_is_refused(synthetic, tmp_path):
    assert bands_file(Path("a/b.png"), "GaAs", alone=True) == Path("a/b.png")
    with pytest.raises(InputError, match=r"bands cannot be drawn to b.pdf; call it \*.html, \*.png, \*.svg"):
        check_bands(Path("b.pdf"))
    with pytest.raises(InputError, match=r"synthetic: bands of .* spin orbitals need about"):
        plot_bands(synthetic, tmp_path / "b.png", max_memory_gb=1e-6)
    assert not list(tmp_path.iterdir())
