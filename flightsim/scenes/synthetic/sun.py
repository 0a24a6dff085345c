"""Where the Sun stands over a place, for light and shadows in pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Seconds from 1970-01-01T00:00 to 2000-01-01T12:00 UTC, the epoch of the series.
_J2000_UNIX_S = 946728000.0


def sun_angles(
    unix_s: ArrayLike, lat_deg: ArrayLike, lon_deg: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Elevation above the horizon and azimuth from north over east, in the broadcast shape. [deg]

    Notes
    -----
    Low-precision series, good to 0.01 degrees between 1950 and 2050, without refraction. UTC stands in for UT1 and
    for terrestrial time.

    References
    ----------
    The Astronomical Almanac, section C, "Low precision formulas for the Sun's coordinates"; Michalsky, "The
    Astronomical Almanac's algorithm for approximate solar position", Solar Energy 40 (1988), 227-235.
    """
    seconds, lat, lon = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (unix_s, lat_deg, lon_deg)))
    days = (seconds - _J2000_UNIX_S) / 86400.0
    mean_longitude = np.radians(280.460 + 0.9856474 * days)
    anomaly = np.radians(357.528 + 0.9856003 * days)
    longitude = mean_longitude + np.radians(1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    obliquity = np.radians(23.439 - 4e-7 * days)
    ascension = np.arctan2(np.cos(obliquity) * np.sin(longitude), np.cos(longitude))
    declination = np.arcsin(np.sin(obliquity) * np.sin(longitude))
    sidereal_h = 6.697375 + 0.0657098242 * days + np.mod(seconds, 86400.0) / 3600.0
    hour_angle = np.radians(15.0 * sidereal_h + lon) - ascension
    phi = np.radians(lat)
    up = np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour_angle)
    east = -np.cos(declination) * np.sin(hour_angle)
    north = np.cos(phi) * np.sin(declination) - np.sin(phi) * np.cos(declination) * np.cos(hour_angle)
    return np.degrees(np.arcsin(np.clip(up, -1.0, 1.0))), np.mod(np.degrees(np.arctan2(east, north)), 360.0)
