"""The South Atlantic Anomaly: when a spacecraft is inside, and for how much of the time.

The anomaly is the region where the inner radiation belt reaches low orbits, so that most upsets of memory and most
resets of computers fall into it. Its default shape is an ellipse on the map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .errors import InputError
from .geodesy import Floats
from .light import Spans, spans_below, total_s
from .orbit import Propagator

_DAY_S = 86400.0


@dataclass(frozen=True)
class Anomaly:
    """A region of the map, an ellipse in geodetic latitude and longitude.

    Raises
    ------
    InputError
        The ellipse reaches over a pole or around the Earth, or has no extent.

    Notes
    -----
    The region does not depend on height, date or particle energy. Real ones widen with height and with falling
    energy and drift westward by some 0.3 deg a year; between 400 and 900 km the default is an engineering estimate.

    References
    ----------
    Centre and half-axes: this project's model notes, section 5 (engineering estimate). The region that they stand for
    is mapped in J. R. Heirtzler, "The future of the South Atlantic anomaly and implications for radiation damage in
    space", J. Atmos. Sol.-Terr. Phys. 64, 2002.
    """

    lat_deg: float = -25.0
    lon_deg: float = -45.0
    half_lat_deg: float = 22.0
    half_lon_deg: float = 45.0

    def __post_init__(self) -> None:
        if not (self.half_lat_deg > 0.0 and abs(self.lat_deg) + self.half_lat_deg <= 90.0):
            raise InputError(
                f"half_lat_deg is {self.half_lat_deg:g} at lat_deg {self.lat_deg:g}; it must be above 0, and the "
                "ellipse must end before the poles."
            )
        if not 0.0 < self.half_lon_deg < 180.0:
            raise InputError(f"half_lon_deg is {self.half_lon_deg:g}; it must lie in (0, 180).")
        if not -360.0 <= self.lon_deg <= 360.0:
            raise InputError(f"lon_deg is {self.lon_deg:g}; it must lie in [-360, 360].")

    def margin(self, lat_deg: ArrayLike, lon_deg: ArrayLike) -> Floats:
        """Distance from the edge in half-axes, negative inside, continuous around the Earth, shape (...). [-]"""
        north = (np.asarray(lat_deg, dtype=np.float64) - self.lat_deg) / self.half_lat_deg
        east = (np.mod(np.asarray(lon_deg, dtype=np.float64) - self.lon_deg + 180.0, 360.0) - 180.0) / self.half_lon_deg
        return np.asarray(np.hypot(north, east) - 1.0)


def crossings(propagator: Propagator, start_s: float, end_s: float, anomaly: Anomaly | None = None) -> Spans:
    """Entry and exit of every crossing of the anomaly by the sub-satellite point, cut at the ends of the span. [s]

    Parameters
    ----------
    start_s, end_s
        The span. [s]
    anomaly
        The region; None is the default ellipse.
    """
    region = anomaly or Anomaly()

    def margin(time_s: Floats) -> Floats:
        lat_deg, lon_deg, _ = propagator.subpoints(time_s)
        return region.margin(lat_deg, lon_deg)

    return spans_below(margin, start_s, end_s)


@dataclass(frozen=True)
class Exposure:
    """What a span holds of the anomaly."""

    share: float
    """Share of the time inside, 0 to 1. [-]"""
    crossings_per_day: float
    """Crossings over the length of the span; those that an end cuts count as whole ones. [1/d]"""
    mean_s: float
    """Mean length of a crossing; 0 where there is none. [s]"""
    longest_s: float
    """Longest crossing; 0 where there is none. [s]"""


def exposure(propagator: Propagator, start_s: float, end_s: float, anomaly: Anomaly | None = None) -> Exposure:
    """Share of time in the anomaly, and how often and how long it is crossed.

    Raises
    ------
    InputError
        The span is empty.
    """
    if end_s <= start_s:
        raise InputError(f"the span ends at {end_s:g} s, not after its start at {start_s:g} s; a share needs a length.")
    spans = crossings(propagator, start_s, end_s, anomaly)
    lengths_s = [end - begin for begin, end in spans]
    return Exposure(
        share=total_s(spans) / (end_s - start_s),
        crossings_per_day=len(spans) / ((end_s - start_s) / _DAY_S),
        mean_s=total_s(spans) / len(spans) if spans else 0.0,
        longest_s=max(lengths_s, default=0.0),
    )
