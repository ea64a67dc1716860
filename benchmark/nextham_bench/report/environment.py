"""Pages: one template language, one style, one script; nothing is fetched and no other script runs."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nextham_bench.terminal import counted, mev, percent


class Download(NamedTuple):
    """A file that the page carries in itself."""

    name: str
    content: str

    @property
    def href(self) -> str:
        """The file as a data address."""
        kind = _KINDS.get(self.name.rpartition(".")[2], "text/plain")
        return f"data:{kind};base64,{base64.b64encode(self.content.encode()).decode()}"

    @property
    def size(self) -> str:
        """How large the file is, in words."""
        n = len(self.content.encode())
        return f"{n / 1e6:.1f} MB" if n >= 1e6 else f"{max(1, round(n / 1e3))} kB"


_KINDS: Final = {"csv": "text/csv", "json": "application/json", "md": "text/markdown"}


def render(template: str, **content: Any) -> str:
    """Return a page from a template of this package; every text in it is escaped.

    Figures must be marked with :func:`figure`.
    """
    style, script = _asset("style.css"), _asset("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    own = {"style": Markup(style), "script": Markup(script), "policy": policy}  # noqa: S704  # our own files
    return _environment().get_template(template).render(**own, **content)


def figure(svg: str | None) -> Markup | None:
    """Mark a figure that this package drew as markup."""
    return None if svg is None else Markup(svg)  # noqa: S704  # our own SVG, its texts are escaped


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nextham_bench", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "mev": mev, "counted": counted}
    return environment


def _asset(name: str) -> str:
    return files("nextham_bench.report").joinpath(name).read_text(encoding="utf-8")
