"""A satellite over ground targets: interpolated positions, viewing geometry, overflights.

Positions are ITRF in kilometres, targets lie on the WGS-84 ellipsoid at height 0, times are seconds since the start of
the scenario. Off-nadir is the angle at the satellite between the directions to the Earth's centre and to the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .geodesy import EQUATORIAL_RADIUS_KM, FLATTENING, geodetic_to_itrf, geodetic_up

Floats = NDArray[np.float64]

#: Knots of the interpolated orbit. [s] Cubic Hermite pieces of 60 s are within 0.5 m of the knots' orbit in LEO.
STEP_S = 60.0
#: Knots of the interpolated Sun. [s] Its declination and the equation of time are straight over half an hour.
SUN_STEP_S = 1800.0
#: Slack of the coarse search in central angle: half a knot of the fastest orbit, and the Earth's turning. [deg]
_SLACK_DEG = 3.0
#: Values of (targets x knots) that are held at once.
_CHUNK = 4_000_000


class Flies(Protocol):
    """What is asked of an orbit; ``orbit.Propagator`` offers it."""

    @property
    def period_s(self) -> float:
        """Orbital period. [s]"""
        ...

    def itrf(self, time_s: NDArray[np.float64]) -> tuple[Floats, Floats]:
        """Position and velocity in ITRF, each shape (n, 3). [km, km/s]"""
        ...

    def sun_elevation_deg(self, lat_deg: Floats, lon_deg: Floats, time_s: Floats) -> Floats:
        """Elevation of the Sun's centre without refraction, shape (n,). [deg]"""
        ...


def geocentric_radius_km(unit_z: Floats) -> Floats:
    """Distance of the ellipsoid from the Earth's centre where a geocentric unit vector has this z. [km]"""
    return np.asarray(EQUATORIAL_RADIUS_KM / np.sqrt(1.0 + unit_z**2 * (1.0 / (1.0 - FLATTENING) ** 2 - 1.0)))


def geodetic_of_directions(unit: Floats) -> tuple[Floats, Floats]:
    """Geodetic latitude and longitude where geocentric directions, shape (n, 3), meet the ellipsoid. [deg]"""
    horizontal = np.hypot(unit[..., 0], unit[..., 1])
    lat = np.degrees(np.arctan2(unit[..., 2], (1.0 - FLATTENING) ** 2 * horizontal))
    return lat, np.degrees(np.arctan2(unit[..., 1], unit[..., 0]))


@dataclass(frozen=True)
class View:
    """How targets are seen, each shape (n,)."""

    off_nadir_deg: Floats
    slant_range_km: Floats
    elevation_deg: Floats
    """Of the satellite above the target's horizon. [deg]"""
    nadir_range_km: Floats
    """From the satellite to the ellipsoid, towards the Earth's centre. [km]"""

    def gsd_m(self, nadir_gsd_m: float) -> Floats:
        """Ground sample distance, the geometric mean of along and across track. [m]

        Notes
        -----
        Both grow with slant range over nadir range; the one in the direction of sight is also stretched by one over
        the sine of the elevation. Engineering model of a camera with constant angular resolution.
        """
        oblique = np.sqrt(np.maximum(np.sin(np.radians(self.elevation_deg)), 1e-6))
        return np.asarray(nadir_gsd_m * self.slant_range_km / self.nadir_range_km / oblique)


def view(position_km: Floats, target_km: Floats, normal: Floats) -> View:
    """Geometry of satellites at ITRF positions over targets with ellipsoid normals, all shape (n, 3)."""
    sight = target_km - position_km
    slant = np.linalg.norm(sight, axis=-1)
    radius = np.linalg.norm(position_km, axis=-1)
    # atan2 of cross and dot keeps its digits near nadir, where acos loses half of them.
    across = np.linalg.norm(np.cross(sight, position_km), axis=-1)
    towards = -np.sum(sight * position_km, axis=-1)
    height = -np.sum(sight * normal, axis=-1)
    return View(
        off_nadir_deg=np.degrees(np.arctan2(across, towards)),
        slant_range_km=slant,
        elevation_deg=np.degrees(np.arcsin(np.clip(height / slant, -1.0, 1.0))),
        nadir_range_km=radius - geocentric_radius_km(position_km[..., 2] / radius),
    )


class GroundTrack:
    """Positions of a spacecraft and of the Sun over an interval, interpolated: fast for millions of times."""

    def __init__(self, propagator: Flies, start_s: float, end_s: float) -> None:
        """Propagate once on knots that reach two steps beyond both ends. [s]"""
        self.period_s = float(propagator.period_s)
        self.start_s, self.end_s = start_s, end_s
        count = int(np.ceil((end_s - start_s) / STEP_S)) + 5
        self.knot_s = start_s + STEP_S * (np.arange(count, dtype=np.float64) - 2.0)
        self.knot_km, self.knot_kmps = propagator.itrf(self.knot_s)
        suns = int(np.ceil((self.knot_s[-1] - self.knot_s[0]) / SUN_STEP_S)) + 2
        self._sun_s = self.knot_s[0] + SUN_STEP_S * np.arange(suns, dtype=np.float64)
        # The sine of the Sun's elevation at three places is its direction: Greenwich, 90 deg east, north pole.
        x, y, z = (
            np.sin(np.radians(propagator.sun_elevation_deg(np.full(suns, lat), np.full(suns, lon), self._sun_s)))
            for lat, lon in ((0.0, 0.0), (0.0, 90.0), (90.0, 0.0))
        )
        self._sun_lat = np.arctan2(z, np.hypot(x, y))
        self._sun_lon = np.unwrap(np.arctan2(y, x))

    def _pieces(self, time_s: Floats) -> tuple[NDArray[np.int64], Floats]:
        place = (time_s - self.knot_s[0]) / STEP_S
        index = np.clip(place.astype(np.int64), 0, len(self.knot_s) - 2)
        return index, (place - index)[..., None]

    def position_km(self, time_s: Floats) -> Floats:
        """Position in ITRF, shape (n, 3). [km]"""
        k, u = self._pieces(time_s)
        v = 1.0 - u
        return np.asarray(
            (1.0 + 2.0 * u) * v * v * self.knot_km[k]
            + (3.0 - 2.0 * u) * u * u * self.knot_km[k + 1]
            + STEP_S * u * v * (v * self.knot_kmps[k] - u * self.knot_kmps[k + 1])
        )

    def velocity_kmps(self, time_s: Floats) -> Floats:
        """Velocity relative to the turning Earth in ITRF, shape (n, 3). [km/s]"""
        k, u = self._pieces(time_s)
        v = 1.0 - u
        return np.asarray(
            6.0 * u * v / STEP_S * (self.knot_km[k + 1] - self.knot_km[k])
            + v * (1.0 - 3.0 * u) * self.knot_kmps[k]
            + u * (3.0 * u - 2.0) * self.knot_kmps[k + 1]
        )

    def sun_elevation_deg(self, normal: Floats, time_s: Floats) -> Floats:
        """Elevation of the Sun's centre where the ellipsoid's normal is so, shape (n,), without refraction. [deg]"""
        lat = np.interp(time_s, self._sun_s, self._sun_lat)
        lon = np.interp(time_s, self._sun_s, self._sun_lon)
        horizontal = normal[..., 0] * np.cos(lon) + normal[..., 1] * np.sin(lon)
        sine = normal[..., 2] * np.sin(lat) + horizontal * np.cos(lat)
        return np.asarray(np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0))))

    def nearest(self, target_km: Floats, max_off_nadir_deg: float) -> tuple[NDArray[np.int64], Floats]:
        """Target and time of every least off-nadir that may be within a limit, shape (k,) each, by target and time.

        Parameters
        ----------
        target_km
            ITRF positions of the targets, shape (m, 3).
        max_off_nadir_deg
            Limit; a few minima just above it are returned too. [deg]

        Notes
        -----
        Off-nadir grows with the central angle between satellite and target up to the horizon, and a low orbit has one
        least central angle a revolution. So one matrix product over all targets and knots finds the candidates; a
        parabola through the cosine places them, and the cosine of off-nadir is then refined.
        """
        radius = np.linalg.norm(self.knot_km, axis=1)
        ground = np.linalg.norm(target_km, axis=1)
        ratio = radius.max() / ground.min()
        sine = min(ratio * np.sin(np.radians(max_off_nadir_deg)), 1.0)
        horizon = np.degrees(np.arccos(1.0 / ratio))
        widest = horizon if sine >= 1.0 else min(np.degrees(np.arcsin(sine)) - max_off_nadir_deg, horizon)
        least = np.cos(np.radians(min(widest + _SLACK_DEG, 89.0)))
        knots, targets = self.knot_km / radius[:, None], target_km / ground[:, None]
        which: list[NDArray[np.int64]] = []
        when: list[Floats] = []
        per = max(1, _CHUNK // len(knots))
        for start in range(0, len(targets), per):
            cosine = targets[start : start + per] @ knots.T
            middle = cosine[:, 1:-1]
            peak = (middle >= cosine[:, :-2]) & (middle > cosine[:, 2:]) & (middle > least)
            row, knot = np.nonzero(peak)
            before, at, after = cosine[row, knot], cosine[row, knot + 1], cosine[row, knot + 2]
            which.append(row + start)
            when.append(self.knot_s[knot + 1] + 0.5 * STEP_S * (before - after) / (before - 2.0 * at + after))
        target = np.concatenate(which) if which else np.zeros(0, dtype=np.int64)
        time_s = np.concatenate(when) if when else np.zeros(0)
        return target, self.refine(target_km[target], time_s)

    def refine(self, target_km: Floats, time_s: Floats) -> Floats:
        """Times of least off-nadir near given times, shape (n,); targets shape (n, 3). [s]"""
        for half_s in (4.0, 2.0, 1.0):
            before, at, after = (self._cosine(target_km, time_s + shift) for shift in (-half_s, 0.0, half_s))
            curvature = before - 2.0 * at + after
            step = np.where(
                curvature < 0.0, 0.5 * half_s * (before - after) / np.where(curvature < 0.0, curvature, 1.0), 0.0
            )
            time_s = time_s + np.clip(step, -30.0, 30.0)
        return time_s

    def _cosine(self, target_km: Floats, time_s: Floats) -> Floats:
        position = self.position_km(time_s)
        sight = target_km - position
        dot = -np.sum(sight * position, axis=-1)
        return np.asarray(dot / np.sqrt(np.sum(sight * sight, axis=-1) * np.sum(position * position, axis=-1)))


@dataclass(frozen=True)
class Overflights:
    """Intervals in which targets can be imaged, in order of target and time, each shape (k,)."""

    target: NDArray[np.int64]
    """Index of the target. [-]"""
    start_s: Floats
    end_s: Floats
    time_s: Floats
    """Least off-nadir. [s]"""
    min_off_nadir_deg: Floats
    truncated_start: NDArray[np.bool_]
    truncated_end: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.target)


def find_overflights(
    propagator: Flies, lat_deg: ArrayLike, lon_deg: ArrayLike, max_off_nadir_deg: float, start_s: float, end_s: float
) -> Overflights:
    """Overflights of targets: off-nadir at most the limit and the satellite above the target's horizon.

    Parameters
    ----------
    propagator
        The orbit.
    lat_deg, lon_deg
        WGS-84 geodetic positions of the targets at height 0, shape (m,). [deg]
    max_off_nadir_deg
        Largest angle at the satellite between the Earth's centre and the target. [deg]
    start_s, end_s
        The search interval; an overflight under way at an end is cut there and marked. [s]

    Notes
    -----
    For orbits below 2000 km: one overflight a revolution at most. No terrain, no light time, no refraction.
    """
    lat, lon = np.atleast_1d(lat_deg), np.atleast_1d(lon_deg)
    # A quarter of a revolution off its middle, an overflight is over: search and bracket that far beyond the ends.
    quarter_s = 0.25 * propagator.period_s
    track = GroundTrack(propagator, start_s - 2.0 * quarter_s, end_s + 2.0 * quarter_s)
    points, up = geodetic_to_itrf(lat, lon), geodetic_up(lat, lon)
    target, time_s = track.nearest(points, max_off_nadir_deg)

    def seen(rows: NDArray[np.int64], at_s: Floats) -> tuple[NDArray[np.bool_], Floats]:
        geometry = view(track.position_km(at_s), points[rows], up[rows])
        within = (geometry.off_nadir_deg <= max_off_nadir_deg) & (geometry.elevation_deg > 0.0)
        return within, geometry.off_nadir_deg

    good = seen(target, time_s)[0] & (time_s > start_s - quarter_s) & (time_s < end_s + quarter_s)
    target, time_s = target[good], time_s[good]
    least_deg = seen(target, time_s)[1]
    edges = []
    for sign in (-1.0, 1.0):
        inside, outside = time_s.copy(), time_s + sign * quarter_s
        for _ in range(45):
            middle = 0.5 * (inside + outside)
            within = seen(target, middle)[0]
            inside, outside = np.where(within, middle, inside), np.where(within, outside, middle)
        edges.append(inside)
    begin, end = edges
    meets = (end > start_s) & (begin < end_s)
    order = np.flatnonzero(meets)[np.lexsort((begin[meets], target[meets]))]
    begin, end, target, time_s = begin[order], end[order], target[order], time_s[order]
    cut_start, cut_end = begin < start_s, end > end_s
    outside_middle = (time_s < start_s) | (time_s > end_s)
    nearest_s = np.clip(time_s, start_s, end_s)
    return Overflights(
        target=target,
        start_s=np.maximum(begin, start_s),
        end_s=np.minimum(end, end_s),
        time_s=nearest_s,
        min_off_nadir_deg=np.where(outside_middle, seen(target, nearest_s)[1], least_deg[order]),
        truncated_start=cut_start,
        truncated_end=cut_end,
    )
