"""Where a spacecraft is, what it looks at, and when it is lit: SGP4 in the Earth-fixed frame.

The only module that imports skyfield, and that only when a propagator is built.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import geodesy, tle
from .errors import OrbitError, RunError
from .geodesy import Floats
from .scenario.models import Orbit
from .units import utc_text

_DAY_S = 86400.0
_J2000_JD = 2451545.0
#: Instants at which a new propagator is tried, evenly spread over the run.
_TRIALS = 33
#: Accuracy of every edge that is solved for (AOS, LOS, TCA, shadow). [s]
EDGE_TOLERANCE_S = 1e-4


@lru_cache(maxsize=1)
def _timescale() -> Any:
    from skyfield.api import load

    # builtin: the Earth-orientation table inside the package; nothing is downloaded.
    return load.timescale(builtin=True)


def solve_edges_s(margin: Callable[..., Floats], low_s: Floats, high_s: Floats, *args: NDArray[Any]) -> Floats:
    """Times at which a function of time is zero, all at once, one in each bracket, shape (n,). [s]

    Parameters
    ----------
    margin
        Function of times and of ``args``, elementwise over shape (n,).
    low_s, high_s
        Brackets: the function has opposite signs at the two ends, shape (n,). [s]

    Raises
    ------
    RunError
        A bracket holds no sign change: a defect of the caller.
    """
    if not len(low_s):
        return np.zeros(0)
    from scipy.optimize.elementwise import find_root

    found = find_root(margin, (low_s, high_s), args=args, tolerances={"xatol": EDGE_TOLERANCE_S, "xrtol": 0.0})
    if not np.all(found.success):
        raise RunError(f"{int(np.sum(~found.success))} of {len(low_s)} edges in time were not found: a defect.")
    return np.asarray(found.x, dtype=np.float64)


class Propagator:
    """The orbit of one spacecraft, with time in seconds since the scenario's start (UTC days of 86400 s).

    Build it with ``from_config``. Every method takes an array of times of any shape and returns arrays that
    begin with that shape.

    Notes
    -----
    SGP4 (WGS-72) gives TEME; turned by the Greenwich mean sidereal time of 1982 with UT1, this is the ITRF but
    for polar motion (10 m on the ground), which is left out. A leap second inside the run is not counted; none
    was inserted after 2016.

    References
    ----------
    D. A. Vallado et al., "Revisiting Spacetrack Report #3", AIAA 2006-6753, appendix C (TEME to ITRF).
    """

    def __init__(self, satrec: Any, start: datetime) -> None:
        from sgp4.api import jday

        self.satrec = satrec
        self.start = start
        utc = start.astimezone(UTC)
        self._jd, self._fraction = jday(
            utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second + utc.microsecond * 1e-6
        )
        begin = _timescale().from_datetime(utc)
        self._tt_whole, self._tt_fraction = float(begin.whole), float(begin.tt_fraction)

    @classmethod
    def from_config(cls, orbit: Orbit, start: datetime, folder: Path, duration_s: float) -> Propagator:
        """Propagator of a scenario's orbit, tried over the whole run.

        Parameters
        ----------
        orbit
            Element set, file of sets, or a circular orbit.
        start
            First instant of the run, UTC.
        folder
            Folder of the scenario, where ``tle_file`` is looked for.
        duration_s
            Length of the run; elements must be young enough, and SGP4 must work, over all of it. [s]

        Raises
        ------
        OrbitError
            The elements are malformed, too old or too new, or cannot be propagated.

        Notes
        -----
        A circular orbit has the stated mean semi-major axis (of Brouwer's theory, as SGP4 uses it) less
        6378.137 km, eccentricity 0, no drag (a spacecraft that keeps its station), and stands at its ascending
        node at the start. LTAN is local mean solar time there. Nothing checks that the plane keeps its LTAN:
        that is so only at the sun-synchronous inclination.
        """
        elements = tle.read(orbit, folder)
        if elements is None:
            propagator = cls(_circular(orbit, start), start)
        else:
            from sgp4.api import Satrec

            tle.check_age(elements, start, duration_s, orbit.max_element_age)
            propagator = cls(Satrec.twoline2rv(elements.line1, elements.line2), start)
        propagator._teme(np.linspace(0.0, duration_s, _TRIALS))
        return propagator

    @property
    def period_s(self) -> float:
        """Orbital period, from the mean motion of the elements. [s]"""
        return float(120.0 * np.pi / self.satrec.no_kozai)

    def _teme(self, time_s: Floats) -> tuple[Floats, Floats]:
        flat = np.ascontiguousarray(time_s, dtype=np.float64).ravel()
        if not np.all(np.isfinite(flat)):
            raise RunError("a position was asked for at a time that is not finite: a defect.")
        error, position_km, velocity_kmps = self.satrec.sgp4_array(
            np.full(len(flat), self._jd), self._fraction + flat / _DAY_S
        )
        if error.any() or not np.isfinite(position_km).all():
            from sgp4.api import SGP4_ERRORS

            k = int(np.argmax((error != 0) | ~np.isfinite(position_km).all(axis=-1)))
            reason = SGP4_ERRORS.get(int(error[k]), "the position is not a number")
            raise OrbitError(
                f"the orbit cannot be propagated to {utc_text(self.start, float(flat[k]))}: SGP4 says '{reason}' "
                f"(error {int(error[k])}); use other elements, or an earlier and shorter run."
            )
        return position_km.reshape(*time_s.shape, 3), velocity_kmps.reshape(*time_s.shape, 3)

    def _sidereal(self, time_s: Floats) -> tuple[Floats, Floats]:
        """Greenwich mean sidereal angle and its rate. [rad, rad/s]"""
        from skyfield.sgp4lib import theta_GMST1982

        moment = _timescale().tt_jd(self._tt_whole, self._tt_fraction + time_s / _DAY_S)
        angle_rad, rate_rad_per_day = theta_GMST1982(moment.whole, moment.ut1_fraction)
        return np.asarray(angle_rad), np.asarray(rate_rad_per_day / _DAY_S)

    def itrf(self, time_s: ArrayLike) -> tuple[Floats, Floats]:
        """Position and velocity relative to the turning Earth, ITRF, shape (..., 3). [km, km/s]

        Raises
        ------
        OrbitError
            SGP4 fails at one of the times; the message has its reason and the instant.
        """
        time = np.asarray(time_s, dtype=np.float64)
        position_km, velocity_kmps = self._teme(time)
        angle_rad, rate = self._sidereal(time)
        geodesy.rotate_z_in_place(angle_rad, position_km, velocity_kmps)
        velocity_kmps[..., 0] += rate * position_km[..., 1]
        velocity_kmps[..., 1] -= rate * position_km[..., 0]
        return position_km, velocity_kmps

    def subpoints(self, time_s: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Geodetic latitude, longitude and height of the spacecraft on WGS-84, each shape (...). [deg, deg, km]"""
        return geodesy.itrf_to_geodetic(self.itrf(time_s)[0])

    def line_of_sight_ground(
        self, time_s: ArrayLike, along_deg: ArrayLike, cross_deg: ArrayLike
    ) -> tuple[Floats, Floats]:
        """Latitude and longitude of the ground in a direction, NaN where it misses the Earth. [deg]

        Parameters
        ----------
        time_s, along_deg, cross_deg
            Broadcast together. The line of sight is (tan along, tan cross, 1) in the pointing frame: z to the
            Earth's centre (not to the sub-satellite point), y opposite to the orbital angular momentum, x close
            to the velocity. A positive cross angle looks to the right of the flight. [s, deg, deg]
        """
        position_km, velocity_kmps = self.itrf(time_s)
        # The angular momentum is that of the inertial motion, here in Earth-fixed axes.
        _, rate = self._sidereal(np.asarray(time_s, dtype=np.float64))
        inertial_kmps = velocity_kmps.copy()
        inertial_kmps[..., 0] -= rate * position_km[..., 1]
        inertial_kmps[..., 1] += rate * position_km[..., 0]
        z = -geodesy.unit(position_km)
        y = -geodesy.unit(np.cross(position_km, inertial_kmps))
        along = np.tan(np.radians(along_deg))[..., None]
        cross = np.tan(np.radians(cross_deg))[..., None]
        sight = along * np.cross(y, z) + cross * y + z
        return geodesy.ground_point(*np.broadcast_arrays(position_km, sight))

    def plane_normal_itrf(self, time_s: ArrayLike) -> Floats:
        """Direction of the angular momentum of the osculating orbit, in ITRF axes, shape (..., 3). [-]"""
        time = np.asarray(time_s, dtype=np.float64)
        # Of the inertial motion: the velocity relative to the turning Earth belongs to another plane.
        normal = geodesy.unit(np.cross(*self._teme(time)))
        return geodesy.rotate_z(normal, self._sidereal(time)[0])

    def sun_itrf_km(self, time_s: ArrayLike) -> Floats:
        """Geocentric position of the Sun, good to 0.01 deg (``geodesy.sun_of_date_km``), ITRF, shape (..., 3). [km]"""
        time = np.asarray(time_s, dtype=np.float64)
        days = (self._jd - _J2000_JD) + (self._fraction + time / _DAY_S)
        return geodesy.rotate_z(geodesy.sun_of_date_km(days), self._sidereal(time)[0])

    def sun_elevation_deg(self, lat_deg: ArrayLike, lon_deg: ArrayLike, time_s: ArrayLike) -> Floats:
        """Elevation of the Sun's centre at ground points on WGS-84, without refraction, shape (...). [deg]"""
        return geodesy.look_angles(self.sun_itrf_km(time_s), lat_deg, lon_deg)[0]

    def _shadow_margin_km(self, time_s: Floats) -> Floats:
        return geodesy.shadow_margin_km(self.itrf(time_s)[0], self.sun_itrf_km(time_s))

    def sunlit(self, time_s: ArrayLike) -> NDArray[np.bool_]:
        """Whether the spacecraft sees the Sun's centre past a spherical Earth, shape (...)."""
        return np.asarray(self._shadow_margin_km(np.asarray(time_s, dtype=np.float64)) >= 0.0)

    def eclipses(self, start_s: float, end_s: float) -> list[tuple[float, float]]:
        """Entry and exit of every shadow passage, in time order, cut at the ends of the span. [s]

        Notes
        -----
        Point Sun, spherical Earth of the equatorial radius (see ``geodesy.shadow_margin_km``). Edges are solved
        to 0.1 ms. A passage shorter than the 30 s grid shows as a minimum of the margin between two samples
        and is looked for there, so a dawn-dusk orbit that only touches the shadow is not missed.
        """
        if end_s <= start_s:
            return []
        grid_s = np.linspace(start_s, end_s, max(3, int(np.ceil((end_s - start_s) / 30.0)) + 1))
        margin_km = self._shadow_margin_km(grid_s)
        # Within half a step of 15 s the margin moves by less than 8 km/s * 15 s from its sampled minimum.
        low = 1 + np.flatnonzero(
            (margin_km[1:-1] <= margin_km[:-2]) & (margin_km[1:-1] < margin_km[2:]) & (margin_km[1:-1] < 150.0)
        )
        low = low[margin_km[low] >= 0.0]
        if len(low):
            from scipy.optimize.elementwise import find_minimum

            found = find_minimum(self._shadow_margin_km, (grid_s[low - 1], grid_s[low], grid_s[low + 1]))
            grid_s = np.concatenate([grid_s, np.atleast_1d(found.x)])
            margin_km = np.concatenate([margin_km, np.atleast_1d(found.f_x)])
            order = np.argsort(grid_s, kind="stable")
            grid_s, margin_km = grid_s[order], margin_km[order]
        dark = margin_km < 0.0
        change = np.flatnonzero(dark[1:] != dark[:-1])
        edges_s = solve_edges_s(self._shadow_margin_km, grid_s[change], grid_s[change + 1])
        bounds = ([float(start_s)] if dark[0] else []) + edges_s.tolist() + ([float(end_s)] if dark[-1] else [])
        return list(zip(bounds[0::2], bounds[1::2], strict=True))


def _circular(orbit: Orbit, start: datetime) -> Any:
    """SGP4 record of a circular orbit that is at its ascending node at the start."""
    from sgp4.api import WGS72, Satrec, jday
    from sgp4.earth_gravity import wgs72
    from skyfield.sgp4lib import theta_GMST1982

    if orbit.altitude_km is None or orbit.inclination_deg is None or orbit.ltan is None:
        raise OrbitError("the orbit needs altitude_km, inclination_deg and ltan, or an element set.")
    inclination_rad = np.radians(orbit.inclination_deg)
    # SGP4 is given Kozai's mean motion and derives Brouwer's, whose semi-major axis is the stated one. This is
    # the inverse of that step (Vallado 2006, initl), a fixed point that contracts by J2 each round.
    wanted = wgs72.xke * (wgs72.radiusearthkm / (geodesy.EQUATORIAL_RADIUS_KM + orbit.altitude_km)) ** 1.5
    d1 = 0.75 * wgs72.j2 * (3.0 * np.cos(inclination_rad) ** 2 - 1.0)
    kozai = wanted
    for _ in range(20):
        axis = (wgs72.xke / kozai) ** (2.0 / 3.0)
        delta = d1 / axis**2
        axis *= 1.0 - delta**2 - delta * (1.0 / 3.0 + 134.0 * delta**2 / 81.0)
        kozai = wanted * (1.0 + d1 / axis**2)
    utc = start.astimezone(UTC)
    jd, fraction = jday(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second + utc.microsecond * 1e-6)
    moment = _timescale().from_datetime(utc)
    sidereal_rad, _ = theta_GMST1982(moment.whole, moment.ut1_fraction)
    hours, minutes = (int(part) for part in orbit.ltan.split(":"))
    # Local mean time is UTC plus the longitude, so the node stands (LTAN - UTC) east of Greenwich.
    node_rad = sidereal_rad + 2.0 * np.pi * ((hours + minutes / 60.0) / 24.0 - (fraction % 1.0))
    satrec = Satrec()
    satrec.sgp4init(
        WGS72, "i", 0, jd - 2433281.5 + fraction,  # days since 1949-12-31 00:00
        0.0, 0.0, 0.0, 0.0, 0.0, inclination_rad, 0.0, kozai, node_rad % (2.0 * np.pi),
    )  # fmt: skip
    return satrec
