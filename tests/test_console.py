"""What both command lines share: errors in one sentence, progress, settings."""

from __future__ import annotations

import errno
import os
import warnings

import pytest
from pydantic import BaseModel, ConfigDict, Field

from nextham import console
from nextham.console import load_settings, run, track
from nextham.exceptions import InputError

END = {
    errno.ENOSPC: "the disk is full; make room and start the command again",
    errno.EDQUOT: "the disk is full; make room and start the command again",
    errno.EACCES: "permission denied; choose another place or change the permissions",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another place",
    errno.EMFILE: "Too many open files; check the path",
}


@pytest.mark.parametrize("number", END)
@pytest.mark.parametrize("place", ["out/x", None])
def test_one_sentence_and_exit_status_1(capsys, number, place):
    def app() -> None:
        raise OSError(number, os.strerror(number), *([place] if place else []))

    with pytest.raises(SystemExit) as stopped:
        run(app, "nextham")
    assert stopped.value.code == 1
    assert capsys.readouterr().err == f"nextham: {'out/x: ' if place else ''}{END[number]}\n"


def test_a_package_of_an_extra_is_named_with_its_extra(capsys):
    def app() -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    with pytest.raises(SystemExit) as stopped:
        run(app, "nextham")
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "nextham: this command needs the package torch: pip install 'nextham[train]'\n"


def test_a_missing_package_that_should_be_there_is_our_fault():
    def app() -> None:
        raise ModuleNotFoundError("No module named 'numpyy'", name="numpyy")

    with pytest.raises(ModuleNotFoundError):
        run(app, "nextham")


def test_a_warning_is_one_sentence_without_code(capsys):
    run(lambda: warnings.showwarning(UserWarning("batches are cut"), UserWarning, "file.py", 3), "nextham")
    assert capsys.readouterr().err == "nextham: warning: batches are cut\n"


def test_progress_without_a_terminal_is_lines(capsys):
    assert list(track([1, 2, 3], "reading")) == [1, 2, 3]
    said = capsys.readouterr().err
    assert "reading: 3/3 (100 %)" in said
    assert "ETA" in said


def test_progress_of_work_whose_steps_are_not_known(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.meter("training") as tell:
        for seconds, done in ((1, 0.5), (10, 0.6), (12, 0.65), (20, 0.9)):
            now[0] = seconds
            tell(done, f"epoch {seconds}")
    assert capsys.readouterr().err.splitlines() == [
        "training, epoch 10: 60.0 %, 10 s, ETA 40 s",
        "training, epoch 20: 90.0 %, 20 s, ETA 5 s",
    ]


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    cutoff_ang: float = Field(default=5.0, gt=0)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    graph: Inner = Inner()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("graph: {cutof_ang: 3}", "graph.cutof_ang is not a setting; did you mean cutoff_ang?"),
        ("{grph: {}}", "the given settings: grph is not a setting; did you mean graph?"),
        ("graph: {cutoff_ang: -1}", "graph.cutoff_ang: Input should be greater than 0"),
        ("nowhere.yaml", "there is no settings file nowhere.yaml"),
        ("{graph: [", "the given settings is not valid YAML"),
    ],
)
def test_settings_are_refused_with_the_key(text, sentence):
    with pytest.raises(InputError) as refused:
        load_settings(Outer, text)
    assert sentence in str(refused.value)


def test_settings_from_a_file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("graph:\n  cutoff_ang: 3\n")
    assert load_settings(Outer, str(path)).graph.cutoff_ang == 3
    assert load_settings(Outer, None) == Outer()


def test_settings_written_out_need_no_braces():
    assert load_settings(Inner, "cutoff_ang: 3").cutoff_ang == 3


@pytest.mark.parametrize(("chosen", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_while_they_wait_unless_told_otherwise(monkeypatch, chosen, policy):
    monkeypatch.setenv("OMP_WAIT_POLICY", chosen or "")
    if chosen is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    seen = []
    run(lambda: seen.append(os.environ["OMP_WAIT_POLICY"]), "nextham")
    assert seen == [policy]
