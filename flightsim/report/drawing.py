"""Matplotlib figures as SVG of the page, in its colours, with heading, caption and source."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from .. import plotting
from ..plotting import style
from . import markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.0,
    "text.color": plotting.INK,
    "axes.edgecolor": plotting.INK,
    "axes.labelcolor": plotting.INK,
    "xtick.color": plotting.INK,
    "ytick.color": plotting.INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
#: Colours that are too dark, or too bright, for a dark page follow it instead.
_PAGE_COLOURS = {
    style.BLUE: "found", style.VERMILION: "missed", style.GREEN: "level", style.GREY: "quiet", style.PAPER: "page",
}  # fmt: skip
_WIDTH_IN = 5.6


def draw(name: str, height_in: float, paint: Callable[[Figure], Any], width_in: float = _WIDTH_IN) -> str:
    """SVG element of a matplotlib figure, ids prefixed with its name so that several fit into one page."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'xlink:href="#{name}-')
    # Dark and light pages: what was drawn in ink takes the colour of the text around it.
    svg = svg.replace(plotting.INK, "currentColor")
    for colour, name_of_page in _PAGE_COLOURS.items():
        svg = svg.replace(colour, f"var(--{name_of_page})")
    # The page scales the drawing to its column; the viewBox keeps the proportions.
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1
    )


def described(content: str, name: str, words: str) -> str:
    """The same markup, its first SVG with words for those who do not see it."""
    label = f"{name}-alternative"
    content = content.replace("<svg", f"<svg role='img' aria-labelledby='{label}'", 1)
    at = content.index(">", content.index("<svg")) + 1
    return f"{content[:at]}<title id='{label}'>{escape(words)}</title>{content[at:]}"


def figure(name: str, title: str, content: str, caption: str, *paths: str, words: str = "") -> str:
    """A figure with heading, caption and source; ``words`` describe its first SVG."""
    content = described(content, name, words) if words else content
    drawn = f"<figure id='figure-{name}'>{content}<figcaption>{markup.explained(caption)}</figcaption></figure>"
    return markup.section(title, drawn + markup.source(*paths), level=3)


__all__ = ["draw", "figure"]
