"""Snakemake in a folder of a test, and its config."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent.parent


def snakemake(folder: Path, *words: str, timeout: int = 600) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in a folder, with the console scripts of this environment on PATH."""
    places = [os.environ.get("NEXTHAM_BIN"), str(Path(sys.executable).parent), os.environ["PATH"]]
    path = os.pathsep.join(place for place in places if place)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *words]
    env = {**os.environ, "PATH": path}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=timeout, check=False)


def change(folder: Path, **sections: dict) -> None:
    values = yaml.safe_load((folder / "config.yaml").read_text())
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
