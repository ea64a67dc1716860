"""Reading a card: every problem in one sentence with its key and line."""

from __future__ import annotations

import types
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from nextham.exceptions import InputError
from nextham_bench.submission.card import Card
from nextham_bench.submission.yaml_file import YamlFile


def read_card(path: Path) -> Card:
    """Read a card.

    Raises:
        InputError: with the first problem, its key and line, and how many more there are.
    """
    card, problems = look_at_card(path)
    if card is None:
        more = f" (and {len(problems) - 1} more; nextham-bench validate lists all)" if len(problems) > 1 else ""
        raise InputError(problems[0] + more)
    return card


def look_at_card(path: Path) -> tuple[Card | None, list[str]]:
    """Return a card, or none and what is wrong with it, one sentence each."""
    try:
        file = YamlFile.read(path)
    except InputError as error:
        return None, [str(error)]
    try:
        return Card.model_validate(file.values), []
    except ValidationError as error:
        found = error.errors(include_url=False)
    wrong_inside = {problem["loc"][:n] for problem in found for n in range(len(problem["loc"]))}
    told = [problem for problem in found if problem["loc"] not in wrong_inside or problem["type"] != "too_short"]
    return None, [_sentence(problem, file) for problem in sorted(told, key=lambda p: file.line(p["loc"]))]


def _sentence(problem: Any, file: YamlFile) -> str:
    loc = problem["loc"]
    key = ".".join(str(part + 1 if isinstance(part, int) else part) for part in loc)
    return f"{file.path}, line {file.line(loc)}: {_said(problem, key)}"


def _said(problem: Any, key: str) -> str:
    kind, value = problem["type"], str(problem["input"])[:60]
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if kind == "extra_forbidden":
        near = get_close_matches(str(problem["loc"][-1]), _keys_at(problem["loc"][:-1]), n=1)
        message = " is not a key of a card" + (f"; did you mean {near[0]}?" if near else "; remove it")
    elif kind == "missing":
        message = " is missing; add it"
    elif problem["input"] is None:
        message = " is empty; fill it in"
    elif kind == "string_type":
        message = f" must be text; put it in quotes: {value!r}"
    elif kind == "too_short":
        message = " is an empty list; name at least one"
    elif kind == "value_error":
        message = f": {message}"
    else:
        message = f" must be {message}, not {value!r}"
    return f"{key}{message}" if key else message.removeprefix(": ")


def _keys_at(loc: tuple[str | int, ...]) -> list[str]:
    """Return the keys that may stand at a place of a card."""
    model: type[BaseModel] = Card
    for part in loc:
        if isinstance(part, int):
            continue
        inner = _model_in(model.model_fields[part].annotation) if part in model.model_fields else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the part of a card that an annotation such as ``tuple[Author, ...] | None`` is about."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {Union, types.UnionType, tuple}:
        return next((found for found in map(_model_in, get_args(annotation)) if found), None)
    return None
