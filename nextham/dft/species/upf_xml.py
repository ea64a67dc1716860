"""The XML of a UPF 2 file: tags, attributes and arrays, with errors that name file and key."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextham.exceptions import InputError


def document(text: str, path: Path) -> ET.Element:
    """Parse the XML without its free-text head, which often is not XML; documents with a DTD are refused."""
    if not re.search(r"<UPF\s[^>]*version\s*=\s*[\"']2", text):
        raise InputError(f"{path} is not a UPF file of version 2; convert it, e.g. with upf tools of Quantum ESPRESSO")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path} holds a document type declaration, which no UPF file needs; it is not read")
    body = re.sub(r"<PP_INFO\b.*?</PP_INFO\s*>", "", text, count=1, flags=re.DOTALL)
    try:
        return ET.fromstring(body)  # noqa: S314  (entities are refused above)
    except ET.ParseError as error:
        raise InputError(f"{path} is cut short or damaged ({error}); fetch the file again") from None


class Tag:
    """The attributes of one XML tag, with errors that name the file."""

    def __init__(self, element: ET.Element, path: Path) -> None:
        self._attributes = {name.lower(): value.strip() for name, value in element.attrib.items()}
        self._where = f"{path}: {element.tag}"

    def word(self, name: str, default: str | None = None) -> str:
        """Return an attribute as it stands."""
        if name not in self._attributes and default is None:
            raise InputError(f"{self._where} has no attribute {name}; the file is damaged or not a UPF 2 file")
        return self._attributes.get(name, default or "")

    def flag(self, name: str) -> bool:
        """Return an attribute that is true or false; false where it is missing."""
        return self.word(name, "F").strip(".").lower() in ("t", "true")

    def real(self, name: str) -> float:
        """Return an attribute that is a finite number."""
        try:
            value = float(self.word(name).replace("D", "E").replace("d", "e"))
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise InputError(
                f"{self._where} has {name}={self.word(name)!r}, which is not a number; fetch the file again"
            )
        return value

    def integer(self, name: str, least: int, most: int) -> int:
        """Return an attribute that is a whole number between bounds."""
        value = self.real(name)
        if not least <= value <= most or value != round(value):
            raise InputError(
                f"{self._where} has {name}={self.word(name)!r}, which is not a whole number from {least} to {most}; "
                "fetch the file again"
            )
        return round(value)


def child(parent: ET.Element, tag: str, path: Path) -> ET.Element:
    """Return a section."""
    found = parent.find(tag)
    if found is None:
        raise InputError(f"{path} has no {tag} section; it is cut short or not a UPF 2 file")
    return found


def values(parent: ET.Element, tag: str, count: int | None, path: Path) -> NDArray[np.float64]:
    """Return the numbers of a section: as many as ``count``, where it is known."""
    words = (child(parent, tag, path).text or "").split()
    if count is not None and len(words) != count:
        raise InputError(f"{path}: {tag} holds {len(words)} numbers where {count} are due; fetch the file again")
    try:
        found = np.array(words, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: {tag} holds a word that is not a number ({error}); fetch the file again") from None
    if not np.isfinite(found).all():
        raise InputError(f"{path}: {tag} holds a number that is not finite; fetch the file again")
    return found
