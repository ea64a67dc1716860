"""Texts of a card: short, printable, and refused with a sentence instead of a pattern."""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Any, Final

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

# Control characters, line separators, and marks that turn the direction of what follows them.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclasses.dataclass(frozen=True)
class Like:
    """Annotates a printable text that a pattern matches."""

    pattern: str
    what: str  # "it must be ..."

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}

    def _check(self, text: str) -> str:
        if found := _UNPRINTABLE.search(text):
            raise ValueError(f"it holds the character U+{ord(found[0]):04X}, which does not print; remove it")
        if not re.fullmatch(self.pattern, text):
            said = f", not {text[:60]!r}" if text else ""
            raise ValueError(f"it must be {self.what}{said}")
        return text


Line = Annotated[str, Like(r"[^\n\t]*\w[^\n\t]*", "one line of text"), Field(max_length=200)]
Name = Annotated[str, Like(r"[^\n\t]*\w[^\n\t]*", "one line of text"), Field(max_length=60)]
Text = Annotated[str, Like(r"[\s\S]*", "text"), Field(max_length=4000)]
Sha256 = Annotated[str, Like(r"[0-9a-f]{64}", "a sha256: 64 hexadecimal digits in lower case")]
Url = Annotated[str, Like(r"https?://[^\s<>\"']+", "an address that starts with https://"), Field(max_length=500)]
Orcid = Annotated[str, Like(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]", "an ORCID iD such as 0000-0002-1825-0097")]
