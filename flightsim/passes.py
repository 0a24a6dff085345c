"""Passes of a spacecraft over ground stations: AOS, highest point and LOS of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import geodesy
from .geodesy import Floats
from .orbit import EDGE_TOLERANCE_S, Propagator
from .scenario.models import Station
from .windows import ContactWindow, windows_of

#: Largest step between SGP4 positions; a cubic through two of them and their velocities is within 6 m of SGP4 in
#: low Earth orbit (step^4 / 384 times the fourth derivative of the motion), 25 m at a perigee of 200 km. [s]
GRID_STEP_S = 120.0
#: Newton's steps end below this: the next would be some 1e-5 s, and a last one is made on SGP4 itself. [s]
_SETTLED_S = 0.05
#: Halving a step so often leaves less than a microsecond.
_ROUNDS = 60
#: Corrections on SGP4 larger than this belong to passes that graze the mask; their edges are solved again. [s]
_GRAZING_S = 0.02

_Sites = NDArray[np.intp]
#: A value and its rate.
_Slope = tuple[Floats, Floats]


class _Instants(NamedTuple):
    """Times, each for its station, and the elevation there; all shape (n,). [s, -, deg]"""

    time_s: Floats
    site: _Sites
    elevation_deg: Floats

    def joined(self, more: _Instants) -> _Instants:
        return _Instants(*(np.concatenate(pair) for pair in zip(self, more, strict=True)))


class _Sky:
    """The spacecraft as stations see it: SGP4 on a grid, cubics in between.

    Notes
    -----
    Functions of time and station that are zero where elevation meets the mask (``over_mask``) and where elevation is
    highest or lowest (``climb``), each with its rate. Neither holds an angle: with d from station to spacecraft and
    the station's vertical u, sin(elevation) = d.u / |d|.
    """

    def __init__(self, propagator: Propagator, stations: Sequence[Station], start_s: float, end_s: float) -> None:
        lat_deg, lon_deg, height_m, mask_deg = (
            np.array([getattr(station, name) for station in stations])
            for name in ("lat_deg", "lon_deg", "altitude_m", "elevation_mask_deg")
        )
        self.propagator = propagator
        self.mask_deg, self.sine = mask_deg, np.sin(np.radians(mask_deg))
        self.up = geodesy.geodetic_up(lat_deg, lon_deg)
        self.place_km = geodesy.geodetic_to_itrf(lat_deg, lon_deg, height_m / 1000.0)
        self.steps = max(1, math.ceil((end_s - start_s) / GRID_STEP_S))
        self.start_s, self.step_s = start_s, (end_s - start_s) / self.steps
        self.grid_s = np.linspace(start_s, end_s, self.steps + 1)
        self.position_km, self.velocity_kmps = propagator.itrf(self.grid_s)
        #: Over the horizontal plane of each station, shape (stations, points). [km]
        self.height_km = self.up @ self.position_km.T
        self.height_km -= geodesy.dot(self.up, self.place_km)[:, None]

    def near(self) -> tuple[_Sites, _Sites]:
        """Stations and points of the grid around which the spacecraft may rise, ordered by station, then time.

        What is above the mask is at least as high over a station's horizontal plane as a point on the mask at the
        least radius of the orbit. Between two points that height exceeds the higher of theirs by at most
        step^2 / 8 times the largest acceleration. Steps too low for that stay below the mask; the ends of all others
        are given, and some more.
        """
        gained_kmps = np.diff(self.velocity_kmps, axis=0)
        # Means over the steps: within one, the acceleration changes by less than a hundredth of itself.
        bulge_km = 1.05 * self.step_s / 8.0 * np.sqrt(np.max(geodesy.dot(gained_kmps, gained_kmps)))
        radius_km = np.sqrt(np.min(geodesy.dot(self.position_km, self.position_km))) - bulge_km
        site_2 = geodesy.dot(self.place_km, self.place_km)
        # Of the station's radius along the sight; the vertical leans from it by little more than the flattening.
        along_km = np.sqrt(site_2) * (self.sine + 1.01 * geodesy.FLATTENING)
        range_km = np.sqrt(along_km**2 + np.maximum(radius_km**2 - site_2, 0.0)) - along_km
        close = self.height_km >= (self.sine * range_km - bulge_km)[:, None]
        around = close.copy()
        around[:, 1:] |= close[:, :-1]
        around[:, :-1] |= close[:, 1:]
        site, point = np.divmod(np.flatnonzero(around), around.shape[1])
        return site, point

    def on_grid(self, site: _Sites, point: _Sites) -> tuple[Floats, Floats]:
        """``over_mask`` and ``climb`` at points of the grid, without their rates. [km, km^3/s]"""
        # Of d = r - s the products d.d and d.v, from those of r and v with themselves and with all stations.
        r, v, s = self.position_km, self.velocity_kmps, self.place_km
        square = geodesy.dot(r, r)[point] - 2.0 * (s @ r.T)[site, point] + geodesy.dot(s, s)[site]
        along = geodesy.dot(r, v)[point] - (s @ v.T)[site, point]
        height = self.height_km[site, point]
        return height - self.sine[site] * np.sqrt(square), (self.up @ v.T)[site, point] * square - height * along

    def cubic(self, time_s: Floats) -> tuple[Floats, Floats, Floats]:
        """Position, velocity and acceleration between the points of the grid, shape (n, 3). [km, km/s, km/s2]"""
        where = (time_s - self.start_s) / self.step_s
        k = np.clip(where.astype(np.intp), 0, self.steps - 1)
        x = (where - k)[:, None]
        p0, p1 = (self.position_km.take(at, axis=0) for at in (k, k + 1))
        m0, m1 = (self.velocity_kmps.take(at, axis=0) * self.step_s for at in (k, k + 1))
        # p0 + m0 x + b x^2 + a x^3, the cubic of Hermite.
        b = 3.0 * (p1 - p0) - 2.0 * m0 - m1
        a = 2.0 * (p0 - p1) + m0 + m1
        return (
            p0 + x * (m0 + x * (b + x * a)),
            (m0 + x * (2.0 * b + x * 3.0 * a)) / self.step_s,
            (2.0 * b + x * 6.0 * a) / self.step_s**2,
        )

    def over_mask_at(self, position_km: Floats, velocity_kmps: Floats, site: _Sites) -> _Slope:
        """Range times (sin(elevation) - sin(mask)), and its rate, of given positions. [km, km/s]"""
        up, sine = self.up.take(site, axis=0), self.sine[site]
        away_km = position_km - self.place_km.take(site, axis=0)
        range_km = np.sqrt(geodesy.dot(away_km, away_km))
        over_km = geodesy.dot(away_km, up) - sine * range_km
        rate_kmps = geodesy.dot(velocity_kmps, up) - sine * geodesy.dot(away_km, velocity_kmps) / range_km
        return over_km, rate_kmps

    def over_mask(self, time_s: Floats, site: _Sites) -> _Slope:
        """The same on the cubics. [km, km/s]"""
        position_km, velocity_kmps, _ = self.cubic(time_s)
        return self.over_mask_at(position_km, velocity_kmps, site)

    def over_mask_exactly(self, time_s: Floats, site: _Sites) -> _Slope:
        """The same on SGP4 itself. [km, km/s]"""
        return self.over_mask_at(*self.propagator.itrf(time_s), site)

    def climb_at(self, position_km: Floats, velocity: Floats, acceleration: Floats, site: _Sites) -> _Slope:
        """A number with the sign of the elevation's rate (range^3 times that of its sine), and its rate."""
        away, up = position_km - self.place_km.take(site, axis=0), self.up.take(site, axis=0)
        height, rise = geodesy.dot(away, up), geodesy.dot(velocity, up)
        square, along = geodesy.dot(away, away), geodesy.dot(away, velocity)
        bend = geodesy.dot(velocity, velocity) + geodesy.dot(away, acceleration)
        return (
            rise * square - height * along,
            geodesy.dot(acceleration, up) * square + rise * along - height * bend,
        )

    def climb(self, time_s: Floats, site: _Sites) -> _Slope:
        """The same on the cubics."""
        return self.climb_at(*self.cubic(time_s), site)

    def above_at(self, point: int) -> _Instants:
        """Stations that see the spacecraft at a point of the grid."""
        position_km, every = self.position_km[point], np.arange(len(self.up))
        over_km, _ = self.over_mask_at(position_km, self.velocity_kmps[point], every)
        site = every[over_km >= 0.0]
        return _Instants(np.full(len(site), self.grid_s[point]), site, self.elevation_deg(position_km, site))

    def elevation_deg(self, position_km: Floats, site: _Sites) -> Floats:
        """Elevation of positions. [deg]"""
        away_km = position_km - self.place_km[site]
        sine = geodesy.dot(away_km, self.up[site]) / np.sqrt(geodesy.dot(away_km, away_km))
        return np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0)))


class _Brackets(NamedTuple):
    """Spans of time in which a function changes sign, its values at both ends, and the station of each."""

    low_s: Floats
    high_s: Floats
    low: Floats
    high: Floats
    site: _Sites


def _roots_s(function: Callable[[Floats, _Sites], _Slope], where: _Brackets, settled_s: float = _SETTLED_S) -> Floats:
    """Zeros by Newton's method, kept inside the brackets by bisection, until a step is that small. [s]"""
    low_s, high_s, rising = where.low_s.copy(), where.high_s.copy(), where.low < where.high
    root_s = low_s + (high_s - low_s) * where.low / (where.low - where.high)
    todo = np.arange(len(root_s))
    for _ in range(_ROUNDS):
        if not len(todo):
            break
        time_s = root_s[todo]
        value, rate = function(time_s, where.site[todo])
        early = (value < 0.0) == rising[todo]
        low_s[todo] = np.where(early, time_s, low_s[todo])
        high_s[todo] = np.where(early, high_s[todo], time_s)
        with np.errstate(divide="ignore", invalid="ignore"):
            better_s = time_s - value / rate
        inside = (better_s >= low_s[todo]) & (better_s <= high_s[todo])
        root_s[todo] = np.where(inside, better_s, (low_s[todo] + high_s[todo]) / 2.0)
        todo = todo[np.abs(root_s[todo] - time_s) > settled_s]
    return root_s


def _edges_s(sky: _Sky, where: _Brackets) -> Floats:
    """AOS and LOS in brackets: on the cubics, then corrected on SGP4. [s]"""
    edge_s = _roots_s(sky.over_mask, where)
    value, rate = sky.over_mask_exactly(edge_s, where.site)
    with np.errstate(divide="ignore", invalid="ignore"):
        better_s = np.clip(edge_s - value / rate, where.low_s, where.high_s)
    hard = ~(np.abs(better_s - edge_s) < _GRAZING_S) | ((rate > 0.0) != (where.high > where.low))
    better_s[hard] = _roots_s(sky.over_mask_exactly, _Brackets(*(column[hard] for column in where)), EDGE_TOLERANCE_S)
    return better_s


def find_passes(
    propagator: Propagator, spacecraft_name: str, stations: Sequence[Station], start_s: float, end_s: float
) -> list[ContactWindow]:
    """Every time that a spacecraft is above the mask of a station, ordered by AOS, then station.

    Parameters
    ----------
    propagator
        The orbit.
    spacecraft_name
        Goes into the windows.
    stations
        On WGS-84, each with its altitude and mask.
    start_s, end_s
        Span; a pass under way at an end is cut there and flagged. [s]

    Raises
    ------
    OrbitError
        SGP4 fails within the span.

    Notes
    -----
    Elevation is geometric, above the plane normal to the ellipsoid: no refraction, no light time, no terrain.
    SGP4 runs once on a grid of two minutes for all stations. In low Earth orbit the elevation has one maximum and one
    minimum a revolution, some 45 minutes apart, so the sign of its rate brackets every maximum alone, and a pass that
    peaks a hundredth of a degree over the mask for two seconds between two points is found like any other. All
    extremes are solved together on the cubics, then all AOS and LOS, which one step of Newton's method on SGP4 itself
    then corrects (by a millisecond or so; edges that graze the mask are solved on SGP4 altogether). So windows do not
    depend on where the span begins.
    """
    if end_s <= start_s or not stations:
        return []
    sky = _Sky(propagator, stations, float(start_s), float(end_s))
    site, point = sky.near()
    over, climb = sky.on_grid(site, point)
    step = np.flatnonzero((np.diff(point) == 1) & (site[1:] == site[:-1]))
    low_s, high_s, site = sky.grid_s[point[step]], sky.grid_s[point[step + 1]], site[step]
    is_top = climb[step] > 0.0
    # A maximum may stick out of the mask between two points, a minimum may dip below it.
    turn = np.flatnonzero(
        (is_top != (climb[step + 1] > 0.0)) & (is_top | (np.minimum(over[step], over[step + 1]) >= 0.0))
    )
    turns = _Brackets(low_s[turn], high_s[turn], climb[step[turn]], climb[step[turn] + 1], site[turn])
    turn_s = _roots_s(sky.climb, turns)
    turn_km, turn_kmps = propagator.itrf(turn_s)
    turn_over, _ = sky.over_mask_at(turn_km, turn_kmps, turns.site)
    # One step on SGP4, which moves the time by hundredths of a second and the elevation by nothing.
    value, rate = sky.climb_at(turn_km, turn_kmps, sky.cubic(turn_s)[2], turns.site)
    turn_s = np.clip(turn_s - value / rate, turns.low_s, turns.high_s)

    # Each step is cut at its extreme; where there is none, the second part is empty.
    knots_s = np.stack([low_s, high_s, high_s], axis=1)
    knots = np.stack([over[step], over[step + 1], over[step + 1]], axis=1)
    knots_s[turn, 1], knots[turn, 1] = turn_s, turn_over
    row, part = np.nonzero((knots[:, 1:] >= 0.0) != (knots[:, :-1] >= 0.0))
    edges = _Brackets(knots_s[row, part], knots_s[row, part + 1], knots[row, part], knots[row, part + 1], site[row])
    edge_s, rises = _edges_s(sky, edges), edges.high > edges.low

    aos, los = (_Instants(edge_s[k], edges.site[k], sky.mask_deg[edges.site[k]]) for k in (rises, ~rises))
    inside = is_top[turn] & (turn_over >= 0.0)
    top_site = turns.site[inside]
    tops = _Instants(turn_s[inside], top_site, sky.elevation_deg(turn_km[inside], top_site))
    return _windows(sky, spacecraft_name, stations, aos, los, tops)


def _windows(
    sky: _Sky, spacecraft_name: str, stations: Sequence[Station], aos: _Instants, los: _Instants, tops: _Instants
) -> list[ContactWindow]:
    """Windows in the order of their AOS, then station."""
    begins, ends = sky.above_at(0), sky.above_at(sky.steps)
    starts, stops = begins.joined(aos), los.joined(ends)
    # By station, then time, each AOS meets its LOS.
    first, last = np.lexsort((starts.time_s, starts.site)), np.lexsort((stops.time_s, stops.site))
    site, aos_s, los_s = starts.site[first], starts.time_s[first], stops.time_s[last]

    # Highest is a maximum, or an end of the span. A touch of the mask may have no maximum but for rounding: its AOS.
    points = starts.joined(ends).joined(tops)
    # One number that rises with station and time finds the window of each point.
    length_s = float(sky.grid_s[-1] - sky.grid_s[0]) + 1.0
    owner = np.searchsorted(site * length_s + aos_s, points.site * length_s + points.time_s, side="right") - 1
    by_owner = np.lexsort((points.elevation_deg, owner))
    best = by_owner[np.searchsorted(owner[by_owner], np.arange(len(site)), side="right") - 1]

    # What touches the mask, or an end of the span, is nothing that a contact could be.
    long_enough = los_s - aos_s > EDGE_TOLERANCE_S
    names = [station.name for station in stations]
    rank = np.unique(names, return_inverse=True)[1]
    kept = np.lexsort((rank[site], aos_s))
    kept = kept[long_enough[kept]]
    return windows_of(
        spacecraft=[spacecraft_name] * len(kept),
        station=[names[k] for k in site[kept].tolist()],
        aos_s=aos_s[kept].tolist(),
        tca_s=points.time_s[best[kept]].tolist(),
        los_s=los_s[kept].tolist(),
        max_elevation_deg=points.elevation_deg[best[kept]].tolist(),
        truncated_start=(first[kept] < len(begins.site)).tolist(),
        truncated_end=(last[kept] >= len(los.site)).tolist(),
    )
