"""Parts of a page that needs nothing but itself: no script, no font, no picture from elsewhere.

Text becomes :data:`Html` through :func:`text` or one of the elements below, all of which escape
what they are given; the type keeps the two apart.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Sequence
from html import escape
from io import BytesIO
from typing import NewType

from matplotlib.figure import Figure

Html = NewType("Html", str)
"""Markup that is safe to put on a page as it is."""

NOTHING = Html("")


def text(plain: object) -> Html:
    """Plain text, escaped."""
    return Html(escape(str(plain)))


def joined(parts: Iterable[Html]) -> Html:
    """One after the other."""
    return Html("".join(parts))


def element(tag: str, *content: Html, **attributes: str) -> Html:
    """An element; ``class_`` is the attribute ``class``."""
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items()
    )
    return Html(f"<{tag}{named}>{joined(content)}</{tag}>")


def paragraph(plain: str, class_: str = "") -> Html:
    """A paragraph of plain text."""
    return element("p", text(plain), **({"class_": class_} if class_ else {}))


def section(title: str, *content: Html, anchor: str = "") -> Html:
    """A heading with what stands below it; ``anchor`` is where links find it."""
    attributes = {"id": anchor} if anchor else {}
    return element("section", element("h2", text(title)), *content, **attributes)


def cell(plain: object, class_: str = "") -> Html:
    """A cell of a table's body."""
    return element("td", text(plain), **({"class_": class_} if class_ else {}))


def row(*cells: Html, class_: str = "") -> Html:
    """A row of a table."""
    return element("tr", *cells, **({"class_": class_} if class_ else {}))


def table(
    headings: Sequence[str],
    rows: Iterable[Html],
    *,
    words: Collection[int] = (),
    caption: str = "",
    foot: Html = NOTHING,
    class_: str = "",
) -> Html:
    """A table of rows (:func:`row`); one that is too wide scrolls by itself.

    ``words`` are the columns that hold words and not figures; their headings get the class
    ``text``.
    """
    titles = (
        element("th", text(name), scope="col", **({"class_": "text"} if column in words else {}))
        for column, name in enumerate(headings)
    )
    parts = [element("caption", text(caption))] if caption else []
    parts += [element("thead", row(*titles)), element("tbody", *rows)]
    parts += [element("tfoot", foot)] if foot else []
    whole = element("table", *parts, **({"class_": class_} if class_ else {}))
    return element("div", whole, class_="scroll")


def png(figure: Figure, dpi: float | None = None) -> bytes:
    """A figure as a picture: the same bytes for the same figure."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi="figure" if dpi is None else dpi)
    return content.getvalue()


def picture(content: bytes, alt: str, caption: str = "") -> Html:
    """A PNG inside the page; ``alt`` says what can be seen on it to those who cannot."""
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    below = [element("figcaption", text(caption))] if caption else []
    image = Html(f'<img src="{source}" alt="{escape(alt)}">')
    return element("figure", image, *below)


def page(title: str, style: str, *content: Html) -> str:
    """The whole document; ``style`` is trusted CSS."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body>{joined(content)}</body></html>\n"
    )
