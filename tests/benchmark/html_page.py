"""What every page must be: whole, offline, readable without eyes, and free of any script but ours."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "hr", "input", "path", "use", "rect", "image", "circle", "line"}
OWN = ("#", "data:image/png;base64,", "data:text/csv;base64,", "data:application/json;base64,")
OWN += ("data:text/markdown;base64,",)


class Page(HTMLParser):
    """Collects what a browser would fetch and run, and what a screen reader would say."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.addresses: list[str] = []  # what is loaded or followed
        self.labels: list[str] = []
        self.unlabelled: list[str] = []
        self.ids: list[str] = []
        self.scripts: list[str] = []
        self.handlers: list[str] = []  # onclick and the like
        self.policy = ""
        self.downloads: dict[str, str] = {}
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")
        self._look(tag, dict(attrs))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look(tag, dict(attrs))

    def _look(self, tag: str, attrs: dict[str, str | None]) -> None:
        self.handlers += [name for name in attrs if name.startswith("on")]
        self.addresses += [v or "" for k, v in attrs.items() if k in {"href", "src", "xlink:href", "action", "data"}]
        if tag in {"svg", "img"}:
            label = attrs.get("aria-label") or attrs.get("alt")
            (self.labels if label else self.unlabelled).append(label or tag)
        if attrs.get("id"):
            self.ids.append(str(attrs["id"]))
        if attrs.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(attrs["content"])
        if attrs.get("download"):
            content = str(attrs["href"]).partition(";base64,")[2]
            self.downloads[str(attrs["download"])] = base64.b64decode(content).decode()

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif not self.open or self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        """All that is read on the page."""
        return " ".join(" ".join(self.text).split())


def checked(text: str, *, links: tuple[str, ...] = ()) -> Page:
    """Return a page once it is seen to be whole, offline and safe.

    Args:
        text: the HTML.
        links: addresses that a reader may follow.
    """
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert page.open == []
    assert 'name="viewport"' in text
    assert len(page.ids) == len(set(page.ids))
    assert page.unlabelled == []
    assert page.handlers == []
    others = {a for a in page.addresses if not a.startswith(OWN)}
    assert others == set(links)
    assert not re.search(r"@import|url\((?!#)", text)
    targets = {address[1:] for address in page.addresses if address.startswith("#")}
    assert targets <= set(page.ids)
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert page.policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    )
    return page
