"""Bytes against F1: the main figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from ..units import bytes_text
from .style import BLUE, GREY, INK, SERIES, VERMILION, byte_ticks, legend, plain, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float | None]


def bytes_and_f1(
    ax: Axes,
    run: Point,
    references: Mapping[str, Point],
    no_vlm: Sequence[Point],
    *,
    days: float,
    capacity_bytes: float = 0.0,
    f1_unlimited: float | None = None,
    interval: tuple[float, float] | None = None,
    curves: Mapping[str, Sequence[Point]] | None = None,
    hindsight: Sequence[Point] = (),
    real: Point | None = None,
    pass_bytes: float = 0.0,
    columns: int = 3,
) -> Axes:
    """F1 on the ground over radiated bytes per day: this run, the bent pipes, the no-VLM senders and their envelope.

    Parameters
    ----------
    run, references, no_vlm
        Pairs of radiated bytes [B] and F1 [-]; a pair without bytes or F1 has no place on this logarithmic axis.
    days
        Length of the run, for bytes per day. [d]
    capacity_bytes, f1_unlimited
        Of all booked contacts [B], and of the bent pipe with an unlimited link [-]; drawn as rules.
    interval
        Of the run's F1, from clusters resampled for run and references together. [-]
    curves
        Swept policies by name.
    hindsight
        Bounds from after the run; their upper envelope is drawn.
    real
        The same policy on real images, as an open marker.
    pass_bytes
        What an average booked contact carries, for a second axis of booked passes a day. [B]
    columns
        Of the legend.
    """
    from matplotlib.ticker import FuncFormatter

    others = _known(no_vlm)
    if others:
        size, f1 = (np.array(values) for values in zip(*others, strict=True))
        ax.plot(size / days, f1, ".", color=GREY, markersize=2.5, label="no-VLM senders")
        ax.step(size / days, np.maximum.accumulate(f1), where="post", color=GREY, linewidth=1, label="best of them")
    above = _known(hindsight)
    if above:
        size, f1 = (np.array(values) for values in zip(*above, strict=True))
        ax.step(size / days, np.maximum.accumulate(f1), where="post", color=INK, linewidth=1, label="hindsight bound")
    for (name, points), (colour, marker, line) in zip((curves or {}).items(), cycle(SERIES[1:]), strict=False):
        swept = _known(points)
        x, y = [size / days for size, _ in swept], [f1 for _, f1 in swept]
        ax.plot(x, y, marker=marker, color=colour, linestyle=line, markersize=3, label=name)
    for (name, (size_bytes, value)), marker in zip(references.items(), cycle("s^DvP"), strict=False):
        if size_bytes > 0 and value is not None:
            ax.plot([size_bytes / days], [value], marker, color=BLUE, markersize=5, label=name, linestyle="none")
    if real is not None and real[0] > 0 and real[1] is not None:
        ax.plot(
            [real[0] / days], [real[1]], "*", markerfacecolor="none", markeredgecolor=VERMILION, markersize=10,
            label="on real images", linestyle="none",
        )  # fmt: skip
    if run[0] > 0 and run[1] is not None:
        if interval is not None:
            ax.vlines(run[0] / days, *interval, color=VERMILION, linewidth=1.5)
        ax.plot([run[0] / days], [run[1]], "*", color=VERMILION, markersize=10, label="this run", linestyle="none")
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
    if not ax.lines:
        say(ax, "nothing with a defined F1 was radiated")
        return plain(ax, grid="both")
    ax.set_xscale("log")
    byte_ticks(ax)
    if pass_bytes > 0:
        top: Any = ax.secondary_xaxis(
            "top",
            functions=(lambda size: np.asarray(size) / pass_bytes, lambda passes: np.asarray(passes) * pass_bytes),
        )
        top.xaxis.set_major_formatter(FuncFormatter(lambda passes, _: f"{passes:g}"))
        top.set_xlabel("booked passes per day, logarithmic [-]")
        top.spines["top"].set_linewidth(0.6)
        ax.legend(
            loc="upper left", bbox_to_anchor=(-0.12, -0.2), ncols=columns, frameon=False, borderaxespad=0.0,
            labelspacing=0.4,
        )  # fmt: skip
    else:
        legend(ax, columns=columns)
    return plain(ax, grid="both")


def _known(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Points that have a place on the axes, by rising bytes."""
    return sorted((size, f1) for size, f1 in points if size > 0 and f1 is not None)
