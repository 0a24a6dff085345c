"""Where it happened: land, ground track, stations, areas and tiles by what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .style import BLUE, GREY, INK, SERIES, SKY, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Spacing of the land that is drawn: half a degree is a tenth of a millimetre at a column's width. [deg]
_LAND_STEP_DEG = 0.5
#: So many marks are kept as a picture inside a vector file, or it grows by 100 B a tile.
_MANY = 100


def ground_map(
    ax: Axes,
    tiles: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    *,
    track: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    stations: Mapping[str, tuple[float, float]] | None = None,
    areas: Sequence[tuple[float, float]] = (),
    columns: int = 2,
) -> Axes:
    """Map of the Earth in plain latitude and longitude.

    Parameters
    ----------
    tiles
        Latitudes and longitudes of tiles by outcome, drawn in this order. [deg]
    track
        Sub-satellite points in order of time. [deg]
    stations, areas
        Latitude and longitude of ground stations by name, and of the centres of areas. [deg]
    columns
        Of the legend.
    """
    from matplotlib.patheffects import withStroke

    from ..land import is_land

    lat = np.arange(90.0 - _LAND_STEP_DEG / 2, -90.0, -_LAND_STEP_DEG)
    lon = np.arange(-180.0 + _LAND_STEP_DEG / 2, 180.0, _LAND_STEP_DEG)
    land = is_land(lat[:, None], lon[None, :])
    shade = np.ones((*land.shape, 4))
    shade[land] = (0.86, 0.86, 0.84, 1.0)
    shade[~land] = (0.0, 0.0, 0.0, 0.0)
    ax.imshow(shade, aspect="equal", extent=(-180.0, 180.0, -90.0, 90.0), interpolation="nearest", zorder=0)
    if track is not None and len(track[0]):
        # A line may not cross the whole map where the longitude wraps.
        y, x = (np.asarray(part, dtype=float) for part in track)
        cut = np.flatnonzero(np.abs(np.diff(x)) > 180.0) + 1
        ax.plot(
            np.insert(x, cut, np.nan), np.insert(y, cut, np.nan), color=SKY, linewidth=0.4, alpha=0.8, zorder=1,
            label="ground track",
        )  # fmt: skip
    if len(areas):
        y, x = np.array(areas, dtype=float).T
        ax.plot(x, y, "s", markerfacecolor="none", markeredgecolor=INK, markeredgewidth=0.5, markersize=6, zorder=2,
                label="area")  # fmt: skip
    for (name, (y, x)), (colour, marker, _) in zip(tiles.items(), _marks(), strict=False):
        ax.plot(
            x, y, marker, color=colour, markersize=2.5, markeredgewidth=0.0, linestyle="none", zorder=3,
            label=f"{name} ({len(x):,})", rasterized=len(x) > _MANY,
        )  # fmt: skip
    for k, (name, (y_deg, x_deg)) in enumerate((stations or {}).items()):
        ax.plot([x_deg], [y_deg], "^", color=INK, markersize=4, zorder=4, label=None if k else "station")
        side = "right" if x_deg > 120.0 else "left" if x_deg < -120.0 else "center"
        ax.annotate(
            name, (x_deg, y_deg), xytext=(0, -8), textcoords="offset points", fontsize="small", ha=side, zorder=5,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
        )  # fmt: skip
    ax.set_xlim(-180.0, 180.0)
    ax.set_ylim(-90.0, 90.0)
    ax.set_aspect("equal")
    ax.set_xticks(range(-180, 181, 60))
    ax.set_yticks(range(-90, 91, 30))
    ax.set_xlabel("longitude [deg]")
    ax.set_ylabel("latitude [deg]")
    ax.grid(visible=True, color=INK, alpha=0.12, linewidth=0.4)
    ax.set_axisbelow(True)
    legend(ax, columns=columns)
    return ax


def _marks() -> list[tuple[str, str, str]]:
    """Grey first, for what is most and matters least; then the series' colours."""
    return [(GREY, ".", ""), *[mark for mark in SERIES if mark[0] not in (BLUE, SKY)], SERIES[0]]
