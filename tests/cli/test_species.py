"""The ``species`` commands."""

import pytest
import typer
from typer.testing import CliRunner

from nextham.cli import species
from nextham.exceptions import InputError


@pytest.fixture
def app():
    made = typer.Typer()
    species.register(made)
    return made


def test_list_shows_every_element_with_its_splitting(app):
    result = CliRunner().invoke(app, ["species", "list"])
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert sum(line.split()[2:3] == ["2s2p1d"] for line in lines) == 25
    assert any(line.startswith("Te") and "5p" in line for line in lines)


def test_build_writes_files_that_the_engine_can_use(app, tmp_path):
    result = CliRunner().invoke(app, ["species", "build", "H", "-o", str(tmp_path)])
    assert result.exit_code == 0
    assert "1 species in" in result.stdout
    assert (tmp_path / "H.upf").read_text().startswith('<UPF version="2.0.1">')


def test_a_wrong_symbol_is_told_before_anything_is_built(app, tmp_path):
    result = CliRunner().invoke(app, ["species", "build", "H", "Xx", "-o", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert not list(tmp_path.iterdir())
