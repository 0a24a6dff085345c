"""Sunlight on a spacecraft, and access to ground targets: beta angle, local time of the node, eclipses, windows.

Times are seconds since the scenario's start, vectors are ITRF. Every interval is a pair (begin, end) whose edges are
roots of a smooth margin, solved on exact SGP4 positions; none is missed because it is shorter than the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike

from . import geodesy, ground_track
from .errors import InputError
from .geodesy import EQUATORIAL_RADIUS_KM, FLATTENING, Floats
from .orbit import Propagator, solve_edges_s

Spans = list[tuple[float, float]]

#: Radius of the Sun. [km] (the usual 696000 km of shadow models, Montenbruck and Gill 2000; with the 695700 km of
#: IAU 2015 resolution B3 an edge moves by 2 ms)
SUN_RADIUS_KM = 696000.0
#: Step of the grid on which margins are sampled before their extremes and edges are solved. [s] A margin in low Earth
#: orbit has at most one minimum and one maximum within some ten minutes, so each is alone in its bracket.
GRID_STEP_S = 30.0
#: Inclination to the equator below which a node is not defined. [-] (sine; 0.006 deg, SGP4's own noise there)
_FLAT = 1e-4


class ShadowModel(Enum):
    """What counts as eclipse."""

    POINT_SUN = "point-sun"
    """The Sun's centre is behind a sphere of the equatorial radius; that of ``Propagator.eclipses``."""
    CYLINDER = "cylinder"
    """Inside the cylinder that parallel rays leave behind that sphere."""
    UMBRA = "umbra"
    """The Sun's whole disc is behind that sphere."""
    PENUMBRA = "penumbra"
    """A part of the Sun's disc is behind that sphere."""
    UMBRA_OBLATE = "umbra-oblate"
    """The Sun's whole disc is behind the WGS-84 ellipsoid."""
    PENUMBRA_OBLATE = "penumbra-oblate"
    """A part of the Sun's disc is behind the WGS-84 ellipsoid."""


#: Which part of the Sun's half-angle is added to the limb's: the disc is gone, or touched; none where it is halved.
_DISC = {
    ShadowModel.UMBRA: -1.0,
    ShadowModel.PENUMBRA: 1.0,
    ShadowModel.UMBRA_OBLATE: -1.0,
    ShadowModel.PENUMBRA_OBLATE: 1.0,
}
_OBLATE = (ShadowModel.UMBRA_OBLATE, ShadowModel.PENUMBRA_OBLATE)


# Intervals ------------------------------------------------------------------------------------------------------------


def spans_below(
    margin: Callable[[Floats], Floats], start_s: float, end_s: float, reach: float = np.inf, step_s: float = GRID_STEP_S
) -> Spans:
    """Intervals in which a continuous function of time is negative, in order, cut at the ends of the span. [s]

    Parameters
    ----------
    margin
        Elementwise over times, shape (n,), defined two steps beyond both ends.
    start_s, end_s
        The span; empty where the end is not after the start. [s]
    reach
        Samples at least so far from zero are not searched for a crossing between them.
    step_s
        Grid; between two extremes of the function there must lie more than two steps. [s]

    Notes
    -----
    A minimum that dips below zero between two samples, and a maximum that rises above it, are solved first; then all
    edges at once. The grid reaches beyond the span, so that an extreme next to an end is bracketed too.
    """
    if end_s <= start_s:
        return []
    count = max(2, int(np.ceil((end_s - start_s) / step_s)))
    step_s = (end_s - start_s) / count
    time_s = start_s + step_s * np.arange(-2.0, count + 3.0)
    value = margin(time_s)
    for sign in (1.0, -1.0):
        time_s, value = _with_extremes(margin, time_s, value, sign, reach)
    inside = value < 0.0
    change = np.flatnonzero(inside[1:] != inside[:-1])
    edges = solve_edges_s(margin, time_s[change], time_s[change + 1]).tolist()
    bounds = ([-np.inf] if inside[0] else []) + edges + ([np.inf] if inside[-1] else [])
    spans = zip(bounds[0::2], bounds[1::2], strict=True)
    cut = [(max(float(begin), float(start_s)), min(float(end), float(end_s))) for begin, end in spans]
    return [(begin, end) for begin, end in cut if end > begin]


def _with_extremes(
    margin: Callable[[Floats], Floats], time_s: Floats, value: Floats, sign: float, reach: float
) -> tuple[Floats, Floats]:
    """The samples with those minima (sign 1) or maxima (sign -1) that may cross zero between two of them."""
    middle, before, after = sign * value[1:-1], sign * value[:-2], sign * value[2:]
    k = 1 + np.flatnonzero((middle <= before) & (middle < after) & (middle >= 0.0) & (middle < reach))
    if not len(k):
        return time_s, value
    from scipy.optimize.elementwise import find_minimum

    found = find_minimum(lambda at_s: sign * margin(at_s), (time_s[k - 1], time_s[k], time_s[k + 1]))
    time_s = np.concatenate([time_s, found.x])
    order = np.argsort(time_s, kind="stable")
    return time_s[order], np.concatenate([value, sign * found.f_x])[order]


def intersection(*of: Spans) -> Spans:
    """Times that are in all lists of intervals, each in order and without overlaps. [s]"""
    common = list(of[0])
    for other in of[1:]:
        met = [(max(a, c), min(b, d)) for a, b in common for c, d in other if c < b and a < d]
        common = [(begin, end) for begin, end in met if end > begin]
    return common


def total_s(spans: Sequence[tuple[float, float]]) -> float:
    """Sum of the lengths of intervals. [s]"""
    return float(sum(end - begin for begin, end in spans))


# The plane and the Sun ------------------------------------------------------------------------------------------------


def beta_deg(propagator: Propagator, time_s: ArrayLike) -> Floats:
    """Angle of the Sun above the orbital plane, positive on the side of the angular momentum, shape (...). [deg]

    Notes
    -----
    Plane of the osculating orbit: the short-period terms of J2 move it by some 0.01 deg within a revolution.

    References
    ----------
    D. A. Vallado, Fundamentals of Astrodynamics and Applications, 4th ed., 2013, section 5.3.
    """
    time = np.asarray(time_s, dtype=np.float64)
    sine = geodesy.dot(propagator.plane_normal_itrf(time), geodesy.unit(propagator.sun_itrf_km(time)))
    return np.asarray(np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0))))


def _node_lon_deg(propagator: Propagator, time_s: Floats) -> Floats:
    """Longitude of the ascending node, NaN in the equator's plane. [deg]"""
    normal = propagator.plane_normal_itrf(time_s)
    # The node's direction is z x normal.
    lon_deg = np.degrees(np.arctan2(normal[..., 0], -normal[..., 1]))
    return np.where(np.hypot(normal[..., 0], normal[..., 1]) < _FLAT, np.nan, lon_deg)


def node_mean_time_h(propagator: Propagator, time_s: ArrayLike) -> Floats:
    """Local mean solar time of the ascending node (LTAN), in [0, 24), NaN for an equatorial orbit, shape (...). [h]

    Notes
    -----
    UTC plus the longitude of the node over 15 deg an hour: UTC stands for UT1, at most 0.9 s off.
    """
    time = np.asarray(time_s, dtype=np.float64)
    begin = propagator.start.astimezone(UTC)
    utc_h = begin.hour + begin.minute / 60.0 + (begin.second + begin.microsecond * 1e-6 + time) / 3600.0
    return np.asarray(np.mod(utc_h + _node_lon_deg(propagator, time) / 15.0, 24.0))


def node_true_time_h(propagator: Propagator, time_s: ArrayLike) -> Floats:
    """Local true solar time of the ascending node, in [0, 24), NaN for an equatorial orbit, shape (...). [h]

    Notes
    -----
    12 h where the node's meridian is that of the Sun. It differs from the mean time by the equation of time, 16 min
    at most.
    """
    time = np.asarray(time_s, dtype=np.float64)
    sun = propagator.sun_itrf_km(time)
    sun_lon_deg = np.degrees(np.arctan2(sun[..., 1], sun[..., 0]))
    return np.asarray(np.mod(12.0 + (_node_lon_deg(propagator, time) - sun_lon_deg) / 15.0, 24.0))


# Shadow ---------------------------------------------------------------------------------------------------------------


def _angle(a: Floats, b: Floats) -> Floats:
    """Angle between vectors, exact for small and large ones. [rad]"""
    return np.asarray(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), geodesy.dot(a, b)))


def _limb_rad(position_km: Floats, towards: Floats) -> Floats:
    """Angle at positions between the Earth's centre and the limb of WGS-84 on the side of a direction. [rad]

    Scaled so that the ellipsoid is the unit sphere, planes stay planes and tangents stay tangents: the limb lies in
    the plane of the Earth's centre, the position and the direction.
    """
    scale = EQUATORIAL_RADIUS_KM * np.array([1.0, 1.0, 1.0 - FLATTENING])
    away = position_km / scale
    along = geodesy.unit(away)
    side = towards / scale
    side = side - geodesy.dot(side, along)[..., None] * along
    length = np.linalg.norm(side, axis=-1, keepdims=True)
    # Straight behind the Earth every side is as good: take the one towards the pole, or x at the pole itself.
    other = np.where(np.abs(along[..., 2:]) < 0.9, np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]))
    other = other - geodesy.dot(other, along)[..., None] * along
    # Lengths are of unit vectors over kilometres of the Earth's radius.
    side = geodesy.unit(np.where(length > 1e-12 / EQUATORIAL_RADIUS_KM, side, other))
    inverse = 1.0 / np.linalg.norm(away, axis=-1, keepdims=True)
    limb_km = scale * (inverse * along + np.sqrt(np.maximum(1.0 - inverse**2, 0.0)) * side)
    return _angle(limb_km - position_km, -position_km)


def _disc_and_limb(
    position_km: Floats, sun_km: Floats, oblate: bool, parallel: bool = False
) -> tuple[Floats, Floats, Floats]:
    """Separation of Sun and Earth's centre, half-angle of the Earth on that side, half-angle of the Sun. [rad]"""
    away_km = sun_km - position_km
    distance_km = np.linalg.norm(away_km, axis=-1)
    separation = _angle(sun_km if parallel else away_km, -position_km)
    if oblate:
        limb = _limb_rad(position_km, away_km / distance_km[..., None])
    else:
        radius_km = np.linalg.norm(position_km, axis=-1)
        limb = np.arcsin(np.minimum(EQUATORIAL_RADIUS_KM / radius_km, 1.0))
    return separation, limb, np.arcsin(SUN_RADIUS_KM / distance_km)


def shadow_margin_deg(position_km: Floats, sun_km: Floats, model: ShadowModel) -> Floats:
    """Angle of the Sun outside the edge of a shadow, negative in eclipse, shape (...). [deg]

    Parameters
    ----------
    position_km, sun_km
        Spacecraft and Sun, ITRF, shape (..., 3). [km]
    model
        Which shadow.

    Notes
    -----
    Separation of the centres of Sun and Earth, less the Earth's half-angle on the Sun's side, less or plus the Sun's
    half-angle. No atmosphere: refraction and extinction, which change an edge by seconds, are left out. The limb of
    the oblate Earth is taken in the plane of spacecraft, Earth's centre and Sun.

    References
    ----------
    O. Montenbruck, E. Gill, Satellite Orbits, 2000, section 3.4.2.
    """
    separation, limb, disc = _disc_and_limb(position_km, sun_km, model in _OBLATE, model is ShadowModel.CYLINDER)
    return np.asarray(np.degrees(separation - limb - _DISC.get(model, 0.0) * disc))


def eclipses(propagator: Propagator, start_s: float, end_s: float, model: ShadowModel = ShadowModel.POINT_SUN) -> Spans:
    """Entry and exit of every passage through a shadow, in time order, cut at the ends of the span. [s]"""

    def margin(time_s: Floats) -> Floats:
        return shadow_margin_deg(propagator.itrf(time_s)[0], propagator.sun_itrf_km(time_s), model)

    return spans_below(margin, start_s, end_s)


def eclipse_fraction(
    propagator: Propagator, start_s: float, end_s: float, model: ShadowModel = ShadowModel.POINT_SUN
) -> float:
    """Share of a span that is spent in a shadow, 0 to 1. [-]

    Raises
    ------
    InputError
        The span is empty.
    """
    return total_s(eclipses(propagator, start_s, end_s, model)) / _length_s(start_s, end_s)


def _length_s(start_s: float, end_s: float) -> float:
    if end_s <= start_s:
        raise InputError(f"the span ends at {end_s:g} s, not after its start at {start_s:g} s; a share needs a length.")
    return end_s - start_s


def sun_share(propagator: Propagator, time_s: ArrayLike, oblate: bool = True) -> Floats:
    """Share of the Sun's disc that the spacecraft sees past the Earth, 0 to 1, shape (...). [-]

    Parameters
    ----------
    oblate
        The WGS-84 ellipsoid covers the Sun, else the sphere of the equatorial radius.

    Notes
    -----
    0 in the umbra, 1 outside the penumbra, between them the area of two overlapping circles, the Earth's with its
    half-angle on the Sun's side. A disc of even brightness: limb darkening and the atmosphere are left out.

    References
    ----------
    O. Montenbruck, E. Gill, Satellite Orbits, 2000, equations 3.85 to 3.87, 3.92 to 3.94.
    """
    time = np.asarray(time_s, dtype=np.float64)
    c, b, a = _disc_and_limb(propagator.itrf(time)[0], propagator.sun_itrf_km(time), oblate)
    # Clipped to where the circles cross, each formula is finite; outside, the cases below decide.
    c_met = np.clip(c, np.abs(b - a), a + b)
    x = (c_met**2 + a**2 - b**2) / (2.0 * c_met)
    # Heron's product and atan2 keep the digits that a**2 - x**2 and acos lose where the circles only touch.
    product = (a + b + c_met) * (a + b - c_met) * (b - a + c_met) * (a - b + c_met)
    y = np.sqrt(np.maximum(product, 0.0)) / (2.0 * c_met)
    covered = sum(
        radius**2 * (turn - np.sin(turn) * np.cos(turn))
        for radius, turn in ((a, np.arctan2(y, x)), (b, np.arctan2(y, c_met - x)))
    )
    share = np.clip(1.0 - covered / (np.pi * a**2), 0.0, 1.0)
    return np.asarray(np.where(c >= a + b, 1.0, np.where(c <= b - a, 0.0, share)))


# Access ---------------------------------------------------------------------------------------------------------------


def target_view(propagator: Propagator, lat_deg: float, lon_deg: float, time_s: ArrayLike) -> ground_track.View:
    """Off-nadir angle, elevation and ranges at a ground point over time, each shape (...).

    Parameters
    ----------
    lat_deg, lon_deg
        WGS-84 geodetic, height 0. [deg]

    Notes
    -----
    Off-nadir is at the spacecraft, from the Earth's centre; the incidence angle at the ground is 90 deg less the
    elevation. Where the elevation is negative the Earth is in between.
    """
    position_km = propagator.itrf(time_s)[0]
    point = np.broadcast_to(geodesy.geodetic_to_itrf(lat_deg, lon_deg), position_km.shape)
    up = np.broadcast_to(geodesy.geodetic_up(lat_deg, lon_deg), position_km.shape)
    return ground_track.view(position_km, point, up)


def incidence_deg(propagator: Propagator, lat_deg: float, lon_deg: float, time_s: ArrayLike) -> Floats:
    """Angle at a ground point between the vertical and the spacecraft, above 90 deg below the horizon, (...). [deg]"""
    return np.asarray(90.0 - target_view(propagator, lat_deg, lon_deg, time_s).elevation_deg)


def access_windows(
    propagator: Propagator,
    lat_deg: float,
    lon_deg: float,
    max_off_nadir_deg: float,
    start_s: float,
    end_s: float,
    min_sun_elevation_deg: float = -90.0,
    min_elevation_deg: float = 0.0,
) -> Spans:
    """Intervals in which a ground target can be imaged, in order, cut at the ends of the span. [s]

    Parameters
    ----------
    lat_deg, lon_deg
        The target, WGS-84 geodetic at height 0. [deg]
    max_off_nadir_deg
        Largest angle at the spacecraft from the Earth's centre to the target, in (0, 90]. [deg]
    min_sun_elevation_deg
        Lowest Sun at the target; -90 takes images at night. [deg]
    min_elevation_deg
        Lowest spacecraft above the target's horizon, in [0, 90). [deg]

    Raises
    ------
    InputError
        A limit or the target is out of range.

    Notes
    -----
    No terrain, no refraction, no light time. For orbits below 2000 km.
    """
    for name, value, allowed, fine in (
        ("lat_deg", lat_deg, "[-90, 90]", -90.0 <= lat_deg <= 90.0),
        ("lon_deg", lon_deg, "[-360, 360]", -360.0 <= lon_deg <= 360.0),
        ("max_off_nadir_deg", max_off_nadir_deg, "(0, 90]", 0.0 < max_off_nadir_deg <= 90.0),
        ("min_sun_elevation_deg", min_sun_elevation_deg, "[-90, 90]", -90.0 <= min_sun_elevation_deg <= 90.0),
        ("min_elevation_deg", min_elevation_deg, "[0, 90)", 0.0 <= min_elevation_deg < 90.0),
    ):
        if not fine:
            raise InputError(f"{name} is {value:g}; it must lie in {allowed}.")

    def below_horizon_deg(time_s: Floats) -> Floats:
        return min_elevation_deg - target_view(propagator, lat_deg, lon_deg, time_s).elevation_deg

    def too_oblique_deg(time_s: Floats) -> Floats:
        return target_view(propagator, lat_deg, lon_deg, time_s).off_nadir_deg - max_off_nadir_deg

    def too_dark_deg(time_s: Floats) -> Floats:
        return min_sun_elevation_deg - propagator.sun_elevation_deg(lat_deg, lon_deg, time_s)

    spans = spans_below(below_horizon_deg, start_s, end_s)
    # Off-nadir is small over the antipode too; only within line of sight does it say anything. It grows with the
    # distance to the target, so one pass has one minimum, and no maximum but where it ends.
    spans = [part for begin, end in spans for part in spans_below(too_oblique_deg, begin, end)]
    if min_sun_elevation_deg > -90.0 and spans:
        spans = intersection(spans, spans_below(too_dark_deg, start_s, end_s))
    return spans
