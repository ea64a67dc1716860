"""YAML from strangers: plain values of bounded size and depth, and the line of each key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from nextham.exceptions import InputError

MAX_BYTES: Final = 65_536
_MAX_DEPTH: Final = 12
Key = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """A safe loader that leaves dates as text: a wrong one is then a problem of its key, with a line."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclasses.dataclass(frozen=True)
class YamlFile:
    """The values of a YAML file, and where they stand."""

    path: Path
    text: str
    values: dict[str, Any]
    spans: Mapping[Key, tuple[int, int]]  # key: where its value starts and ends in the text
    lines: Mapping[Key, int]  # key: line, from 1

    def line(self, key: Key) -> int:
        """Return the line of a key; of one that is not there, the line of what it should stand in."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)

    @classmethod
    def read(cls, path: Path) -> YamlFile:
        """Read a file as plain values.

        Raises:
            InputError: if it is missing, too large, no YAML mapping, or uses aliases, tags or a key twice.
        """
        text = _text(path)
        try:
            _check_events(text, path)
            loader = _Loader(text)
            node = loader.get_single_node()
            values = loader.construct_document(node) if node is not None else None
        except InputError:
            raise
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f", line {mark.line + 1}" if mark else ""
            raise InputError(f"{path}{where} is not valid YAML: {error.problem or error.context}") from None
        except (yaml.YAMLError, ValueError) as error:
            raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
        if not isinstance(values, dict) or node is None:
            raise InputError(f"{path} holds no keys; start from the one that nextham-bench template writes")
        spans: dict[Key, tuple[int, int]] = {}
        lines: dict[Key, int] = {}
        _walk(node, (), path, spans, lines)
        return cls(path, text, values, spans, lines)


def _text(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise InputError(f"{path} has {size} bytes, a card has at most {MAX_BYTES}; shorten it")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _check_events(text: str, path: Path) -> None:
    """Refuse what makes a small file large or deep, before anything is built of it."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise InputError(f"{path}, line {line}: aliases (& and *) are not allowed; write the value out")
        tag = getattr(event, "tag", None)
        if tag and not tag.startswith("tag:yaml.org,2002:str"):
            raise InputError(f"{path}, line {line}: tags such as {tag} are not allowed; write plain values")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise InputError(f"{path}, line {line}: lists and keys are nested more than {_MAX_DEPTH} deep")


def _walk(node: yaml.Node, key: Key, path: Path, spans: dict[Key, tuple[int, int]], lines: dict[Key, int]) -> None:
    spans[key] = (node.start_mark.index, node.end_mark.index)
    lines.setdefault(key, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner = (*key, str(name.value))
            if inner in lines:
                raise InputError(f"{path}, line {name.start_mark.line + 1}: {name.value} stands here twice; keep one")
            lines[inner] = name.start_mark.line + 1
            _walk(value, inner, path, spans, lines)
    elif isinstance(node, yaml.SequenceNode):
        for k, value in enumerate(_items(node)):
            _walk(value, (*key, k), path, spans, lines)


def _items(node: yaml.SequenceNode) -> Sequence[yaml.Node]:
    found: Sequence[yaml.Node] = node.value
    return found
