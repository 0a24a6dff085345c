"""What a run did: bytes, the funnel of losses, and time lines of contacts, queue and storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..units import bytes_text
from .style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    KIND_COLOURS,
    ORANGE,
    SKY,
    VERMILION,
    byte_scale,
    byte_ticks,
    legend,
    plain,
    say,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
        legend(ax, columns=len(by_kind))
    else:
        say(ax, "nothing was radiated")
    return plain(ax, grid="x")


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
        byte_ticks(ax)
    ax.set_xlabel("transfer-frame bytes, logarithmic")
    return plain(ax, grid="x")


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
    return plain(ax, grid="x")


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
        legend(ax, columns=2)
    else:
        say(ax, "no contact was booked")
    return plain(ax, grid="y")


def bytes_over_time(ax: Axes, time_s: NDArray[np.float64], size_bytes: NDArray[np.float64], what: str) -> Axes:
    """Bytes on board over time; ``what`` names them on the axis. [B]"""
    scale, unit = byte_scale(float(size_bytes.max(initial=0.0)))
    days, peaks = _peaks(time_s / 86400.0, size_bytes / scale)
    ax.fill_between(days, peaks, step="post", color=ORANGE, alpha=0.35, linewidth=0)
    ax.step(days, peaks, where="post", color=ORANGE, linewidth=1.0)
    ax.set_ylabel(f"{what} [{unit}]")
    ax.set_ylim(0.0, None if size_bytes.any() else 1.0)
    return plain(ax, grid="y")


def waiting_tiles(ax: Axes, time_s: NDArray[np.float64], tiles: NDArray[np.float64]) -> Axes:
    """Tiles that wait for the processor, over time. [-]"""
    days, peaks = _peaks(time_s / 86400.0, tiles)
    ax.fill_between(days, peaks, step="post", color=GREEN, alpha=0.35, linewidth=0)
    ax.step(days, peaks, where="post", color=GREEN, linewidth=1.0)
    ax.set_ylabel("waiting for\ncompute [tiles]")
    ax.set_ylim(0.0, None if tiles.any() else 1.0)
    return plain(ax, grid="y")


def _peaks(
    days: NDArray[np.float64], values: NDArray[np.float64], bins: int = 400
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Largest value in each of some equal spans of time: a figure shows no more, and its file stays small."""
    if len(days) <= bins:
        return days, values
    span = np.minimum(((days - days[0]) / max(float(np.ptp(days)), 1e-12) * bins).astype(np.int64), bins - 1)
    first = np.flatnonzero(np.diff(span, prepend=-1))
    return days[first], np.maximum.reduceat(values, first)


def timeline(
    axes: Sequence[Axes],
    contacts: Mapping[str, NDArray[np.float64]],
    queue: Mapping[str, NDArray[np.float64]],
    *,
    days: float,
    start: str,
) -> Sequence[Axes]:
    """Contacts, bytes that wait for the link, storage in use and tiles that wait for compute, on one axis of time.

    Parameters
    ----------
    axes
        Four, from top to bottom.
    contacts
        Booked ones: ``aos_s``, ``los_s`` [s], ``capacity_bytes``, ``air_bytes`` [B], each of shape (c,).
    queue
        Samples: ``time_s`` [s], ``queued_bytes``, ``storage_bytes`` [B], ``waiting_tiles`` [-], each of shape (k,).
    days
        Length of the axis. [d]
    start
        When it begins, for its label.
    """
    middle_s = 0.5 * (contacts["aos_s"] + contacts["los_s"])
    contact_use(axes[0], middle_s, contacts["capacity_bytes"], contacts["air_bytes"])
    bytes_over_time(axes[1], queue["time_s"], queue["queued_bytes"], "waiting for\nthe link")
    bytes_over_time(axes[2], queue["time_s"], queue["storage_bytes"], "storage\nin use")
    waiting_tiles(axes[3], queue["time_s"], queue["waiting_tiles"])
    for ax in axes[:-1]:
        ax.set_xlim(0.0, days)
        ax.tick_params(labelbottom=False)
    axes[-1].set_xlim(0.0, days)
    axes[-1].set_xlabel(f"days since {start} [d]")
    return axes
