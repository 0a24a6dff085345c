"""Figures of one run: each function draws on the axes that it is given and returns them.

Colours are those of Okabe and Ito ("Color universal design", 2008), told apart with every common kind of colour
vision; no figure relies on colour alone. Text and rules are drawn in ``INK``, which the report turns into the
page's own text colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .units import bytes_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#010203"
BLUE, SKY, GREEN, ORANGE, VERMILION, PURPLE = "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7"
GREY = "#8c8c8c"

#: One colour a product, the same in every figure.
KIND_COLOURS = {
    "verdict": BLUE,
    "thumbnail": ORANGE,
    "crop": PURPLE,
    "mask": SKY,
    "tile": VERMILION,
}
FUNNEL_LABELS = {
    "planned": "planned",
    "captured": "captured",
    "processed": "reached a decision",
    "sent": "decided to send",
    "delivered_in_time": "delivered in time",
    "true_positive": "true positive",
}


def bytes_by_kind(ax: Axes, by_kind: Mapping[str, float]) -> Axes:
    """One stacked bar: radiated bytes of each kind of product. [B]"""
    scale, unit = byte_scale(sum(by_kind.values()))
    left = 0.0
    for kind, size in by_kind.items():
        label = f"{kind}, {bytes_text(size)}"
        ax.barh(
            0, size / scale, left=left, color=KIND_COLOURS.get(kind, GREY), label=label, edgecolor=INK, linewidth=0.6
        )
        left += size / scale
    ax.set_yticks([])
    ax.set_ylim(-0.5, 0.5)
    ax.set_xlabel(f"radiated transfer-frame bytes [{unit}]")
    if by_kind:
        ax.set_xlim(0.0, left * 1.02)
        _legend(ax, columns=len(by_kind))
    else:
        _say(ax, "nothing was radiated")
    return _plain(ax, grid="x")


def bytes_compared(ax: Axes, sizes: Mapping[str, float]) -> Axes:
    """Byte totals as dots on one logarithmic axis, first on top; zeros are named instead of drawn. [B]"""
    names = list(sizes)
    drawn = [size for size in sizes.values() if size > 0]
    for row, size in enumerate(sizes.values()):
        y = len(names) - 1 - row
        if size > 0:
            ax.plot([size], [y], "o", color=VERMILION if row == 0 else BLUE, markersize=8)
            ax.annotate(bytes_text(size), (size, y), xytext=(9, 0), textcoords="offset points", va="center")
        else:
            ax.annotate("0 B, off this axis", (0.02, y), xycoords=("axes fraction", "data"), va="center")
    ax.set_yticks(range(len(names)), names[::-1])
    ax.set_ylim(-0.6, len(names) - 0.4)
    if drawn:
        ax.set_xscale("log")
        ax.set_xlim(min(drawn) / 2.0, max(drawn) * 6.0)
        _byte_ticks(ax)
    ax.set_xlabel("transfer-frame bytes, logarithmic")
    return _plain(ax, grid="x")


def funnel(ax: Axes, steps: Mapping[str, int]) -> Axes:
    """Tiles left after each step, as bars that start at zero. [-]"""
    names = [FUNNEL_LABELS.get(name, name) for name in steps]
    values = list(steps.values())
    y = np.arange(len(values))[::-1]
    ax.barh(y, values, color=SKY, edgecolor=INK, linewidth=0.6)
    for at, value in zip(y, values, strict=True):
        share = f" ({value / values[0]:.1%})" if values[0] else ""
        ax.annotate(f"{value:,}{share}", (value, at), xytext=(5, 0), textcoords="offset points", va="center")
    ax.set_yticks(y, names)
    ax.set_xlim(0.0, max(1.0, max(values, default=0)) * 1.25)
    ax.set_xlabel("tiles [-]")
    return _plain(ax, grid="x")


def bytes_and_f1(
    ax: Axes,
    run: tuple[float, float | None],
    references: Mapping[str, tuple[float, float | None]],
    no_vlm: Sequence[tuple[float, float | None]],
    *,
    days: float,
    capacity_bytes: float = 0.0,
    f1_unlimited: float | None = None,
) -> Axes:
    """F1 on the ground over radiated bytes per day: this run, the bent pipes, the no-VLM senders and their envelope.

    Parameters
    ----------
    run, references, no_vlm
        Pairs of radiated bytes [B] and F1 [-]; a pair without bytes or F1 has no place on this logarithmic axis.
    days
        Length of the run, for bytes per day. [d]
    """
    others = sorted((size, f1) for size, f1 in no_vlm if size > 0 and f1 is not None)
    if others:
        size, f1 = (np.array(values) for values in zip(*others, strict=True))
        ax.plot(size / days, f1, ".", color=GREY, markersize=4, label="no-VLM senders")
        ax.step(size / days, np.maximum.accumulate(f1), where="post", color=GREY, linewidth=1, label="best of them")
    markers = iter("s^DvP")
    for name, (size_bytes, value) in references.items():
        marker = next(markers)
        if size_bytes > 0 and value is not None:
            ax.plot([size_bytes / days], [value], marker, color=BLUE, markersize=8, label=name, linestyle="none")
    if run[0] > 0 and run[1] is not None:
        ax.plot([run[0] / days], [run[1]], "*", color=VERMILION, markersize=15, label="this run", linestyle="none")
    else:
        score = "F1 undefined" if run[1] is None else f"F1 {run[1]:.2f}"
        ax.text(0.02, 0.04, f"this run: {bytes_text(run[0])}, {score}, off these axes", transform=ax.transAxes)
    if capacity_bytes > 0:
        ax.axvline(capacity_bytes / days, color=INK, linewidth=0.8, linestyle="--", label="capacity")
    if f1_unlimited is not None:
        ax.axhline(f1_unlimited, color=INK, linewidth=0.8, linestyle=":", label="F1 with unlimited link")
    ax.set_ylim(0.0, 1.02)
    ax.set_ylabel("F1 on the ground [-]")
    ax.set_xlabel("radiated transfer-frame bytes per day, logarithmic")
    if ax.lines:
        ax.set_xscale("log")
        _byte_ticks(ax)
        _legend(ax, columns=3)
    else:
        _say(ax, "nothing with a defined F1 was radiated")
    return _plain(ax, grid="both")


def contact_use(
    ax: Axes, mid_s: NDArray[np.float64], capacity_bytes: NDArray[np.float64], air_bytes: NDArray[np.float64]
) -> Axes:
    """Booked contacts as bars in time: what each could carry, and what it did. [B]"""
    scale, unit = byte_scale(float(capacity_bytes.max(initial=0.0)))
    days = mid_s / 86400.0
    span = float(np.ptp(days)) if len(days) > 1 else 1.0
    width = max(span / 150.0, 0.01)
    ax.bar(days, capacity_bytes / scale, width, facecolor="none", edgecolor=INK, linewidth=0.8, label="capacity")
    ax.bar(days, air_bytes / scale, width, color=BLUE, label="radiated")
    ax.set_ylabel(f"per contact [{unit}]")
    ax.set_ylim(0.0, None if capacity_bytes.any() else 1.0)
    if len(days):
        _legend(ax, columns=2)
    else:
        _say(ax, "no contact was booked")
    return _plain(ax, grid="y")


def bytes_over_time(ax: Axes, time_s: NDArray[np.float64], size_bytes: NDArray[np.float64], what: str) -> Axes:
    """Bytes on board over time; ``what`` names them on the axis. [B]"""
    scale, unit = byte_scale(float(size_bytes.max(initial=0.0)))
    days, peaks = _peaks(time_s / 86400.0, size_bytes / scale)
    ax.fill_between(days, peaks, step="post", color=ORANGE, alpha=0.35, linewidth=0)
    ax.step(days, peaks, where="post", color=ORANGE, linewidth=1.0)
    ax.set_ylabel(f"{what} [{unit}]")
    ax.set_ylim(0.0, None if size_bytes.any() else 1.0)
    return _plain(ax, grid="y")


def waiting_tiles(ax: Axes, time_s: NDArray[np.float64], tiles: NDArray[np.float64]) -> Axes:
    """Tiles that wait for the processor, over time. [-]"""
    days, peaks = _peaks(time_s / 86400.0, tiles)
    ax.fill_between(days, peaks, step="post", color=GREEN, alpha=0.35, linewidth=0)
    ax.step(days, peaks, where="post", color=GREEN, linewidth=1.0)
    ax.set_ylabel("waiting for\ncompute [tiles]")
    ax.set_ylim(0.0, None if tiles.any() else 1.0)
    return _plain(ax, grid="y")


def _peaks(
    days: NDArray[np.float64], values: NDArray[np.float64], bins: int = 400
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Largest value in each of some equal spans of time: a figure shows no more, and its file stays small."""
    if len(days) <= bins:
        return days, values
    span = np.minimum(((days - days[0]) / max(float(np.ptp(days)), 1e-12) * bins).astype(np.int64), bins - 1)
    first = np.flatnonzero(np.diff(span, prepend=-1))
    return days[first], np.maximum.reduceat(values, first)


def byte_scale(size_bytes: float) -> tuple[float, str]:
    """Scale and unit that keep a size readable on an axis."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= scale:
            return scale, unit
    return 1.0, "B"


def _byte_ticks(ax: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.xaxis.set_major_locator(LogLocator(10.0, numticks=8))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: bytes_text(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _legend(ax: Axes, columns: int) -> None:
    """Legend above the axes, so that it hides no data."""
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False, borderaxespad=0.2)


def _say(ax: Axes, text: str) -> None:
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center")


def _plain(ax: Axes, grid: Any) -> Axes:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.grid(visible=True, axis=grid, color=INK, alpha=0.15, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


__all__ = [
    "FUNNEL_LABELS", "INK", "KIND_COLOURS", "byte_scale", "bytes_and_f1", "bytes_by_kind", "bytes_compared",
    "bytes_over_time", "contact_use", "funnel", "waiting_tiles",
]  # fmt: skip
