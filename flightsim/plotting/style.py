"""Colours, marks and helpers that all figures share.

Colours are those of Okabe and Ito ("Color universal design", 2008), told apart with every common kind of colour
vision; no figure relies on colour alone. Text and rules are drawn in ``INK``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..units import bytes_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#010203"
BLUE, SKY, GREEN, ORANGE, VERMILION, PURPLE = "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7"
GREY = "#8c8c8c"
#: What a label lies on, where it may cover a line.
PAPER = "#fdfefd"
#: For series without a colour of their own, each with its marker and line.
SERIES = (
    (BLUE, "o", "-"), (ORANGE, "s", "--"), (GREEN, "D", "-."), (PURPLE, "^", ":"), (SKY, "v", "-"), (INK, "P", "--"),
)  # fmt: skip

#: One colour a product, the same in every figure.
KIND_COLOURS = {
    "verdict": BLUE,
    "thumbnail": ORANGE,
    "crop": PURPLE,
    "mask": SKY,
    "tile": VERMILION,
}
#: Width of a column in most journals. [mm]
COLUMN_MM = 85.0
_MM_PER_INCH = 25.4


def size_in(width_mm: float = COLUMN_MM, height_mm: float = 60.0) -> tuple[float, float]:
    """Size of a figure for ``figsize``. [inch]"""
    return width_mm / _MM_PER_INCH, height_mm / _MM_PER_INCH


def paper(**changes: Any) -> AbstractContextManager[None]:
    """Matplotlib settings for a figure one column wide, as a context: 7 pt text, thin rules, reproducible SVG."""
    import matplotlib

    settings: Mapping[Any, Any] = {
        "font.size": 7.0,
        "axes.labelsize": 7.0,
        "axes.titlesize": 7.5,
        "legend.fontsize": 6.5,
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6.5,
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.0,
        "lines.markersize": 4.0,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.minor.width": 0.4,
        "ytick.minor.width": 0.4,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "xtick.minor.size": 1.5,
        "ytick.minor.size": 1.5,
        "legend.handlelength": 1.8,
        "legend.columnspacing": 1.2,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "figure.constrained_layout.use": True,
        "svg.hashsalt": "flightsim",
        **changes,
    }
    return matplotlib.rc_context(dict(settings))


def byte_scale(size_bytes: float) -> tuple[float, str]:
    """Scale and unit that keep a size readable on an axis."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= scale:
            return scale, unit
    return 1.0, "B"


def byte_ticks(ax: Axes) -> None:
    """Powers of ten on the x axis, written as bytes."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.xaxis.set_major_locator(LogLocator(10.0, numticks=8))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: bytes_text(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def legend(ax: Axes, columns: int) -> None:
    """Legend above the axes, so that it hides no data."""
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False, borderaxespad=0.2)


def say(ax: Axes, text: str) -> None:
    """A sentence where there is nothing to draw."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center")


def plain(ax: Axes, grid: Any) -> Axes:
    """Two rules instead of four, and a light grid."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.grid(visible=True, axis=grid, color=INK, alpha=0.15, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax
