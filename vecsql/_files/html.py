"""The text of an HTML page: what a reader sees, a line for each block, blank lines between them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from vecsql._base.errors import FormatError

_UNSEEN = frozenset({"head", "script", "style", "template", "noscript", "svg", "math", "object",
                     "iframe", "canvas", "audio", "video", "select", "datalist"})  # fmt: skip
_BLOCKS = frozenset({"address", "article", "aside", "blockquote", "body", "details", "dialog",
                     "div", "dl", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2",
                     "h3", "h4", "h5", "h6", "header", "hgroup", "hr", "main", "nav", "ol", "p",
                     "pre", "search", "section", "summary", "table", "ul"})  # fmt: skip
_LINES = frozenset({"br", "caption", "dd", "dt", "legend", "li", "option", "tr"})
_CELLS = frozenset({"td", "th"})

# Elements that end by themselves, and so do not lie inside each other.
_SHALLOW = frozenset({"area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li",
                      "link", "meta", "option", "p", "param", "source", "tbody", "td", "tfoot",
                      "th", "thead", "tr", "track", "wbr"})  # fmt: skip
_DEEPEST = 2000  # elements inside each other, for each of which a parser looks at all around it
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w-]{2,40})", re.IGNORECASE)


def charset(data: bytes) -> str | None:
    """The encoding that the head of a page names."""
    found = _CHARSET.search(data[:2048])
    return found[1].decode("ascii", "replace") if found else None


def html_text(page: str, name: str) -> tuple[str, dict[str, Any]]:
    """Returns the text of a page and what its head says of it: the title, the language.

    Raises `FormatError` where the parser is not installed, and for a page that is too deep.
    """
    from vecsql._files.source import extra  # with what it imports, no part of `import vecsql`

    try:
        parser = extra("selectolax.lexbor")
    except FormatError as e:
        raise FormatError(f"{name}: {e}") from e
    open_elements: Counter[str] = Counter()
    depth = 0
    for closing, tag in _TAG.findall(page.lower()):
        if tag in _SHALLOW or (closing and not open_elements[tag]):
            continue
        step = -1 if closing else 1
        open_elements[tag] += step
        depth += step
        if depth > _DEEPEST:
            raise FormatError(f"{name} has more than {_DEEPEST:,} elements inside each other")
    tree = parser.LexborHTMLParser(page)
    meta: dict[str, Any] = {}
    title = tree.css_first("title")
    if title is not None and title.text().strip():
        meta["title"] = " ".join(title.text().split())
    language = (tree.root.attributes.get("lang") or "") if tree.root is not None else ""
    if language.strip():
        meta["lang"] = language.strip()
    return _seen(tree.root), meta


def _seen(root: Any) -> str:
    """The text in document order; blank lines around blocks, tabs between cells."""
    out = _Lines()
    node, preformatted = root, 0
    while node is not None:
        tag = node.tag
        if tag == "-text":
            out.add(node.text_content or "", preformatted > 0)
        elif tag in _BLOCKS:
            out.end(blank=True)
        elif tag in _LINES:
            out.end(blank=False)
        preformatted += tag == "pre"
        if node.child is not None and tag not in _UNSEEN:
            node = node.child
            continue
        while node is not None:  # leave elements until one has a sibling
            tag = node.tag
            preformatted -= tag == "pre"
            if tag in _BLOCKS:
                out.end(blank=True)
            elif tag in _LINES:
                out.end(blank=False)
            elif tag in _CELLS:
                out.add("\t", True)
            if node.next is not None:
                node = node.next
                break
            node = node.parent
    return out.text()


class _Lines:
    """Collects text in lines."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []

    def add(self, text: str, as_it_is: bool) -> None:
        """Adds to the line; white space is one space, unless it is preformatted."""
        self._line.append(text if as_it_is else re.sub(r"[ \t\n\r\f]+", " ", text))

    def end(self, blank: bool) -> None:
        """Ends the line, if anything is on it."""
        line = "".join(self._line)
        line = line.rstrip() if "\n" in line else re.sub(r" {2,}", " ", line).strip()
        self._line = []
        if line.strip():
            self._lines.append(line)
        if blank and self._lines and self._lines[-1]:
            self._lines.append("")

    def text(self) -> str:
        """All lines."""
        self.end(blank=False)
        return "\n".join(self._lines).strip("\n") + "\n" if self._lines else ""
