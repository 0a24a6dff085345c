"""Geometry of the Earth, the Sun and a line of sight, as functions of arrays.

Positions are kilometres in the Earth-fixed ITRF unless the name says otherwise; latitude and longitude are
WGS-84 geodetic, east positive. A vector is the last axis of an array, so every function takes any leading shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

#: Equatorial radius and flattening of WGS-84. [km, -] (NGA.STND.0036, version 1.0.0, 2014, table 3.1)
EQUATORIAL_RADIUS_KM = 6378.137
FLATTENING = 1.0 / 298.257223563
#: Astronomical unit. [km] (IAU 2012 resolution B2)
ASTRONOMICAL_UNIT_KM = 149597870.7

_POLAR_RADIUS_KM = EQUATORIAL_RADIUS_KM * (1.0 - FLATTENING)
_ECCENTRICITY_2 = FLATTENING * (2.0 - FLATTENING)


def dot(a: Floats, b: Floats) -> Floats:
    """Scalar product over the last axis."""
    return np.asarray(np.einsum("...i,...i->...", a, b))


def unit(a: Floats) -> Floats:
    """Vectors of length one, in the direction of the given ones. [-]"""
    return np.asarray(a / np.linalg.norm(a, axis=-1, keepdims=True))


def geodetic_up(lat_deg: ArrayLike, lon_deg: ArrayLike) -> Floats:
    """Normal of the ellipsoid (the local vertical) in ITRF, shape (..., 3). [-]"""
    lat, lon = np.broadcast_arrays(np.radians(lat_deg), np.radians(lon_deg))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def geodetic_to_itrf(lat_deg: ArrayLike, lon_deg: ArrayLike, height_km: ArrayLike = 0.0) -> Floats:
    """Position of a point given by geodetic latitude, longitude and height, ITRF, shape (..., 3). [km]"""
    up = geodetic_up(lat_deg, lon_deg)
    normal_km = EQUATORIAL_RADIUS_KM / np.sqrt(1.0 - _ECCENTRICITY_2 * up[..., 2] ** 2)
    height = np.asarray(height_km, dtype=np.float64)
    position_km = up * (normal_km + height)[..., None]
    position_km[..., 2] -= _ECCENTRICITY_2 * normal_km * up[..., 2]
    return position_km


def itrf_to_geodetic(position_km: Floats) -> tuple[Floats, Floats, Floats]:
    """Geodetic latitude, longitude in [-180, 180) and height of positions (ITRF), each shape (...). [deg, deg, km]

    Notes
    -----
    Three rounds of Bowring's iteration on the parametric latitude: better than 1e-9 deg from the surface to
    40000 km, poles included.

    References
    ----------
    B. R. Bowring, "Transformation from spatial to geographical coordinates", Survey Review 23 (181), 1976.
    """
    x, y, z = position_km[..., 0], position_km[..., 1], position_km[..., 2]
    axis_km = np.hypot(x, y)
    second_2 = _ECCENTRICITY_2 / (1.0 - _ECCENTRICITY_2)
    parametric = np.arctan2(z, axis_km * (1.0 - FLATTENING))
    for _ in range(3):
        lat = np.arctan2(
            z + second_2 * _POLAR_RADIUS_KM * np.sin(parametric) ** 3,
            axis_km - _ECCENTRICITY_2 * EQUATORIAL_RADIUS_KM * np.cos(parametric) ** 3,
        )
        parametric = np.arctan2((1.0 - FLATTENING) * np.sin(lat), np.cos(lat))
    normal_km = EQUATORIAL_RADIUS_KM / np.sqrt(1.0 - _ECCENTRICITY_2 * np.sin(lat) ** 2)
    # This form of the height has no division by cos(lat), which fails at the poles.
    height_km = axis_km * np.cos(lat) + z * np.sin(lat) - EQUATORIAL_RADIUS_KM**2 / normal_km
    lon_deg = np.mod(np.degrees(np.arctan2(y, x)) + 180.0, 360.0) - 180.0
    return np.degrees(lat), lon_deg, height_km


def look_angles(
    position_km: Floats, lat_deg: ArrayLike, lon_deg: ArrayLike, height_km: ArrayLike = 0.0
) -> tuple[Floats, Floats, Floats]:
    """Elevation, azimuth (from north over east, [0, 360)) and slant range of positions. [deg, deg, km]

    Parameters
    ----------
    position_km
        What is looked at, ITRF, shape (..., 3). [km]
    lat_deg, lon_deg, height_km
        Where one stands, broadcast against the leading shape of ``position_km``. [deg, deg, km]

    Notes
    -----
    Geometric: above the plane normal to the ellipsoid; no refraction, no light time, no terrain.
    """
    up = geodetic_up(lat_deg, lon_deg)
    lon = np.radians(lon_deg)
    away_km = position_km - geodetic_to_itrf(lat_deg, lon_deg, height_km)
    range_km = np.linalg.norm(away_km, axis=-1)
    rise_km = dot(away_km, up)
    east_km = -np.sin(lon) * away_km[..., 0] + np.cos(lon) * away_km[..., 1]
    # north = up x east; its z component is cos(lat).
    lat = np.radians(lat_deg)
    north_km = np.cos(lat) * away_km[..., 2] - np.sin(lat) * (
        np.cos(lon) * away_km[..., 0] + np.sin(lon) * away_km[..., 1]
    )
    elevation_deg = np.degrees(np.arctan2(rise_km, np.hypot(east_km, north_km)))
    azimuth_deg = np.mod(np.degrees(np.arctan2(east_km, north_km)), 360.0)
    return elevation_deg, azimuth_deg, range_km


def ground_point(position_km: Floats, sight: Floats) -> tuple[Floats, Floats]:
    """Latitude and longitude where a line of sight first meets the ellipsoid, NaN where it misses. [deg]

    Parameters
    ----------
    position_km
        Where the line starts, outside the Earth, ITRF, shape (..., 3). [km]
    sight
        Direction, any length, shape (..., 3). [-]
    """
    # Scaled so that the ellipsoid becomes the unit sphere.
    scale = np.array([EQUATORIAL_RADIUS_KM, EQUATORIAL_RADIUS_KM, _POLAR_RADIUS_KM])
    start, along = position_km / scale, sight / scale
    a, b, c = dot(along, along), dot(start, along), dot(start, start) - 1.0
    root = b * b - a * c
    hit = (root >= 0.0) & (b < 0.0)
    distance = (-b - np.sqrt(np.where(hit, root, 0.0))) / a
    lat_deg, lon_deg, _ = itrf_to_geodetic(position_km + sight * distance[..., None])
    return np.where(hit, lat_deg, np.nan), np.where(hit, lon_deg, np.nan)


def sun_of_date_km(days_since_j2000: ArrayLike) -> Floats:
    """Geocentric apparent Sun in the mean equator and equinox of date, shape (..., 3). [km]

    Parameters
    ----------
    days_since_j2000
        Days since 2000-01-01 12:00, UT1 or TT alike at this precision. [d]

    Notes
    -----
    Good to 0.01 deg and 0.0003 au between 1950 and 2050; nutation (0.005 deg) is left out. 0.01 deg is 0.2 s
    on the edge of a shadow in low Earth orbit.

    References
    ----------
    The Astronomical Almanac, section C, "Low precision formulas for the Sun's coordinates".
    """
    n = np.asarray(days_since_j2000, dtype=np.float64)
    anomaly = np.radians(357.528 + 0.9856003 * n)
    longitude = np.radians(280.460 + 0.9856474 * n + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2.0 * anomaly))
    obliquity = np.radians(23.439 - 4.0e-7 * n)
    distance_km = ASTRONOMICAL_UNIT_KM * (1.00014 - 0.01671 * np.cos(anomaly) - 0.00014 * np.cos(2.0 * anomaly))
    direction = np.stack(
        [np.cos(longitude), np.cos(obliquity) * np.sin(longitude), np.sin(obliquity) * np.sin(longitude)], axis=-1
    )
    return np.asarray(direction * distance_km[..., None])


def rotate_z(vector: Floats, angle_rad: ArrayLike) -> Floats:
    """The same vectors seen in axes turned by an angle about z, shape (..., 3)."""
    turned = np.array(vector, dtype=np.float64)
    rotate_z_in_place(angle_rad, turned)
    return turned


def rotate_z_in_place(angle_rad: ArrayLike, *vectors: Floats) -> None:
    """Replace vectors, shape (..., 3) each, by what they are in axes turned by one angle about z."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    for vector in vectors:
        x, y = vector[..., 0], vector[..., 1]
        vector[..., 0], vector[..., 1] = cos * x + sin * y, cos * y - sin * x


def shadow_margin_km(position_km: Floats, sun_km: Floats) -> Floats:
    """How far a position is from the Earth's shadow, negative inside it, shape (...). [km]

    Zero exactly on the edge and smooth across it, so that its roots are the entries and exits.

    Notes
    -----
    Point Sun and a spherical Earth of the equatorial radius, the model of skyfield's ``is_sunlit``. An umbra
    begins 4 to 7 s later in low Earth orbit; the oblate Earth moves an edge by up to 13 s in polar orbits.
    """
    towards = unit(sun_km - position_km)
    distance_2 = dot(position_km, position_km)
    tangent_km = np.sqrt(np.maximum(distance_2 - EQUATORIAL_RADIUS_KM**2, 0.0))
    return np.asarray(dot(position_km, towards) + tangent_km)
