"""Charge, modes and temperature of a spacecraft over time, with eclipses behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .style import BLUE, GREEN, INK, ORANGE, PAPER, VERMILION, legend, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HOUR_S = 3600.0
#: Eclipses that can still be told apart in a figure as wide as a page: 4 px each with its sunlight.
_MOST_ECLIPSES = 250
#: Distance of two labels beside an axis, as a share of its height. [-]
_LABEL_GAP = 0.085
#: Name, colour and height of each mode: the worse, the taller, so that colour is not the only sign.
_MODES = (("nominal", GREEN, 0.34), ("low_power", ORANGE, 0.67), ("safe", VERMILION, 1.0))


def spans(time_s: NDArray[np.float64], holds: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Begin and end of each time in which something holds, given from each of the times to the next. [s]"""
    on = np.concatenate([[False], holds[:-1], [False]])
    edges = np.flatnonzero(on[1:] != on[:-1])
    return [(float(time_s[a]), float(time_s[b])) for a, b in edges.reshape(-1, 2).tolist()]


def charge(
    ax: Axes, time_s: NDArray[np.float64], state_of_charge: NDArray[np.float64], limits: Mapping[str, float]
) -> Axes:
    """State of charge over hours, its lowest value and the limits of the modes.

    Parameters
    ----------
    time_s
        Of the rows of ``power.parquet``, between which the charge is linear, shape (n,). [s]
    state_of_charge
        Shape (n,). [-]
    limits
        State of charge by what happens there. [-]
    """
    ax.plot(time_s / _HOUR_S, state_of_charge, color=BLUE, linewidth=1.2)
    ax.set_ylim(0.0, 1.02)
    _extreme(ax, time_s, state_of_charge, int(np.argmin(state_of_charge)), "lowest {:.2f}", -1)
    _limits(ax, limits, "{:.2f}")
    ax.set_ylabel("state of charge [-]")
    return plain(ax, grid="y")


def temperature(
    ax: Axes, time_s: NDArray[np.float64], temperature_c: NDArray[np.float64], limits: Mapping[str, float]
) -> Axes:
    """Temperature over hours, its highest value and the limits of the payload computer and the battery.

    Parameters
    ----------
    time_s
        Of the rows of ``power.parquet``, shape (n,). [s]
    temperature_c
        Shape (n,). [deg C]
    limits
        Temperature by what happens there. [deg C]
    """
    ax.plot(time_s / _HOUR_S, temperature_c, color=VERMILION, linewidth=1.2)
    shown = [float(temperature_c.min()), float(temperature_c.max()), *limits.values()]
    room = 0.08 * max(1.0, max(shown) - min(shown))
    ax.set_ylim(min(shown) - room, max(shown) + room)
    _extreme(ax, time_s, temperature_c, int(np.argmax(temperature_c)), "highest {:.0f} °C", 1)
    _limits(ax, limits, "{:g}")
    ax.set_ylabel("temperature [°C]")
    return plain(ax, grid="y")


def modes(ax: Axes, time_s: NDArray[np.float64], mode: Sequence[str] | NDArray[np.str_]) -> Axes:
    """Bands of the modes over hours; those that were never entered stand in the legend alone.

    Parameters
    ----------
    mode
        ``nominal``, ``low_power`` or ``safe`` from each time to the next, shape (n,).
    """
    names = np.asarray(mode)
    for name, colour, height in _MODES:
        bars = [(a / _HOUR_S, (b - a) / _HOUR_S) for a, b in spans(time_s, names == name)]
        ax.broken_barh(bars, (0.0, height), facecolor=colour, linewidth=0, label=name.replace("_", " "))
    ax.set_ylim(0.0, 1.0)
    ax.set_yticks([])
    ax.set_ylabel("mode", rotation=0, ha="right", va="center")
    legend(ax, columns=3)
    return plain(ax, grid="x")


def eclipses(axes: Sequence[Axes], time_s: NDArray[np.float64], sunlit: NDArray[np.bool_]) -> bool:
    """Shade the eclipses behind some axes; not if they would run together, which it tells."""
    found = spans(time_s, ~sunlit)
    if len(found) > _MOST_ECLIPSES:
        return False
    for ax in axes:
        for begin_s, end_s in found:
            ax.axvspan(begin_s / _HOUR_S, end_s / _HOUR_S, color=INK, alpha=0.1, linewidth=0, zorder=0)
    return True


def _extreme(ax: Axes, time_s: NDArray[np.float64], values: NDArray[np.float64], at: int, text: str, side: int) -> None:
    """Mark one value and write it above (1) or below (-1)."""
    x, y = float(time_s[at]) / _HOUR_S, float(values[at])
    share = (time_s[at] - time_s[0]) / max(1e-9, float(time_s[-1] - time_s[0]))
    ax.plot([x], [y], "o", color=INK, markersize=4)
    low, high = ax.get_ylim()
    if side < 0 and (y - low) / (high - low) < _LABEL_GAP:  # no room below
        side = 1
    ax.annotate(
        text.format(y), (x, y), xytext=(0, 6 * side), textcoords="offset points", zorder=5,
        ha="left" if share < 0.1 else "right" if share > 0.9 else "center", va="bottom" if side > 0 else "top",
        bbox={"boxstyle": "square,pad=0.1", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.8},
    )  # fmt: skip


def _limits(ax: Axes, limits: Mapping[str, float], number: str) -> None:
    """Lines with their meaning to the right of the axes; equal ones share a label, near ones are moved apart."""
    at: dict[float, list[str]] = {}
    for name, value in sorted(limits.items(), key=lambda item: item[1]):
        at.setdefault(value, []).append(name)
    low, high = ax.get_ylim()
    y = -1.0
    for value, names in at.items():
        ax.axhline(value, color=INK, linewidth=0.7, linestyle=(0, (5, 3)))
        y = max(y + _LABEL_GAP, (value - low) / (high - low))
        label = f"{number.format(value)}  {', '.join(names)}"
        ax.annotate(label, (1.008, y), xycoords="axes fraction", va="center", ha="left", fontsize="small")


__all__ = ["charge", "eclipses", "modes", "spans", "temperature"]
