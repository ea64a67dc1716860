"""Sizes and words that the linters do not see."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted(path for folder in ("nextham", "benchmark") for path in (ROOT / folder).rglob("*.py"))
UNSAFE = re.compile(r"pickle\.load|yaml\.load\(|shell=True|(?<![.\w])eval\(")
LOCAL = re.compile(r"(?<![\w.}~-])/(?:work|tmp|home)\b")  # a path of somebody's machine


def committed() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_modules_are_short():
    long = {str(path.relative_to(ROOT)): lines(path) for path in CODE if lines(path) > 300}
    tests = {str(path.relative_to(ROOT)): lines(path) for path in (ROOT / "tests").rglob("*.py") if lines(path) > 400}
    assert long | tests == {}


def test_no_word_that_runs_what_a_file_says():
    assert [str(path.relative_to(ROOT)) for path in CODE if UNSAFE.search(path.read_text())] == []


def test_no_path_of_one_machine():
    found = []
    for path in committed():
        content = path.read_bytes()
        if b"\0" not in content and (match := LOCAL.search(content.decode(errors="replace"))):
            found.append(f"{path.relative_to(ROOT)}: {match[0]}")
    assert found == []
