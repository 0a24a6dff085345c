"""Passes of odd orbits and stations, and the independence of the span's ends. Plain cases: test_contacts.py."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flightsim import geodesy
from flightsim.domain import ContactWindow
from flightsim.errors import OrbitError
from flightsim.orbit import Propagator
from flightsim.passes import GRID_STEP_S, find_passes
from flightsim.scenario.models import Orbit, Station
from flightsim.windows import windows_of

HERE = Path(__file__).parent
DAY_S = 86400.0
START = datetime(2026, 10, 2, tzinfo=UTC)
STATIONS = (
    Station(name="North Pole", lat_deg=90.0, lon_deg=0.0, elevation_mask_deg=5),
    Station(name="South Pole", lat_deg=-90.0, lon_deg=0.0, altitude_m=2835, elevation_mask_deg=5),
    Station(name="Quito", lat_deg=0.0, lon_deg=-78.5, altitude_m=2850, elevation_mask_deg=10),
    Station(name="Date line", lat_deg=52.0, lon_deg=180.0, elevation_mask_deg=0),
    Station(name="High mask", lat_deg=47.0, lon_deg=8.0, altitude_m=500, elevation_mask_deg=60),
)


def orbit_of(revolutions_per_day: float, inclination_deg: float, eccentricity: float) -> Propagator:
    """An orbit from mean elements, without drag."""
    from sgp4.api import WGS72, Satrec, jday

    satrec = Satrec()
    day, fraction = jday(2026, 10, 2, 0, 0, 0.0)
    satrec.sgp4init(
        WGS72, "i", 0, day + fraction - 2433281.5, 0.0, 0.0, 0.0, eccentricity, np.radians(270.0),
        np.radians(inclination_deg), 0.3, revolutions_per_day * 2.0 * np.pi / 1440.0, 1.0,
    )  # fmt: skip
    return Propagator(satrec, START)


#: Orbits whose passes are unlike those of a polar low orbit.
ORBITS = {
    "low, 300 km": (15.9, 51.6, 0.001),
    "equatorial": (15.2, 0.05, 0.001),
    "retrograde": (14.5, 144.0, 0.01),
    "Molniya": (2.006, 63.4, 0.72),
    "medium": (2.006, 55.0, 0.01),
    "geosynchronous, inclined": (1.0027, 40.0, 0.001),
    "geostationary": (1.0027, 0.01, 0.0001),
}


@pytest.mark.parametrize("name", ORBITS)
def test_passes_are_those_of_a_plain_scan(name: str) -> None:
    orbit = orbit_of(*ORBITS[name])
    found = find_passes(orbit, "sat", STATIONS, 0.0, 2 * DAY_S)
    time_s = np.arange(0.0, 2 * DAY_S + 1.0, 5.0)
    position_km = orbit.itrf(time_s)[0]
    for station in STATIONS:
        height_deg = geodesy.look_angles(position_km, station.lat_deg, station.lon_deg, station.altitude_m / 1e3)[0]
        seen = np.zeros(len(time_s), dtype=bool)
        for window in (w for w in found if w.station == station.name):
            inside = (time_s >= window.aos_s) & (time_s <= window.los_s)
            assert not (seen & inside).any()
            seen |= inside
            # No sample of the pass lies above its highest point. SGP4's velocity, which says where that is, is not
            # quite the derivative of its position; seen from a high orbit that is up to 1e-5 deg.
            assert height_deg[inside].max(initial=-90.0) <= window.max_elevation_deg + 1e-4
            assert window.aos_s <= window.tca_s <= window.los_s
        np.testing.assert_array_equal(seen, height_deg >= station.elevation_mask_deg)


def test_a_station_in_constant_view_has_one_pass_that_the_span_cuts_at_both_ends() -> None:
    still = orbit_of(*ORBITS["geostationary"])
    # Under the spacecraft it is up all the time, on the other side of the Earth never.
    lat_deg, lon_deg, _ = still.subpoints(np.array([0.0]))
    below = Station(name="below", lat_deg=float(lat_deg[0]), lon_deg=float(lon_deg[0]))
    behind = below.model_copy(update={"name": "behind", "lon_deg": (below.lon_deg + 360.0) % 360.0 - 180.0})
    (found,) = find_passes(still, "sat", (behind, below), 100.0, DAY_S)
    assert (found.station, found.aos_s, found.los_s) == ("below", 100.0, DAY_S)
    assert found.truncated_start
    assert found.truncated_end


def instants(windows: list[ContactWindow], begin_s: float, end_s: float) -> NDArray[np.float64]:
    """AOS, highest point and LOS of the whole passes between two times, by station and time, shape (n, 3). [s]"""
    inside = [w for w in windows if begin_s < w.aos_s and w.los_s < end_s]
    return np.array([(w.aos_s, w.tca_s, w.los_s) for w in sorted(inside, key=lambda w: (w.station, w.aos_s))])


@pytest.mark.parametrize("begin_s", [0.37, 59.0, 3600.123, 40000.0])
def test_windows_do_not_depend_on_where_the_span_begins(begin_s: float) -> None:
    orbit = Propagator.from_config(Orbit(altitude_km=510, inclination_deg=97.44, ltan="22:30"), START, HERE, 3 * DAY_S)
    stations = [station.model_copy(update={"elevation_mask_deg": 5.0}) for station in STATIONS]
    mine, theirs = (
        instants(find_passes(orbit, "sat", stations, first_s, last_s), begin_s, 2 * DAY_S)
        for first_s, last_s in ((0.0, 2 * DAY_S), (begin_s, 2 * DAY_S + 777.0))
    )
    assert len(mine) == len(theirs) > 50
    # AOS and LOS are corrected on SGP4, to some microseconds. The highest point is that of the cubics.
    np.testing.assert_allclose(mine[:, [0, 2]], theirs[:, [0, 2]], rtol=0, atol=1e-5)
    np.testing.assert_allclose(mine[:, 1], theirs[:, 1], rtol=0, atol=5e-3)


def test_a_pass_far_shorter_than_the_step_is_found() -> None:
    orbit = orbit_of(*ORBITS["low, 300 km"])
    station = STATIONS[4]
    found = find_passes(orbit, "sat", [station.model_copy(update={"elevation_mask_deg": 5.0})], 0.0, 5 * DAY_S)
    top = max(found, key=lambda w: w.max_elevation_deg)
    narrow = station.model_copy(update={"elevation_mask_deg": top.max_elevation_deg - 0.01})
    (short,) = find_passes(orbit, "sat", [narrow], 0.0, 5 * DAY_S)
    assert 0.0 < short.duration_s < GRID_STEP_S / 20.0
    assert short.aos_s < top.tca_s < short.los_s


def test_windows_from_columns_are_those_made_one_by_one() -> None:
    columns: dict[str, list[Any]] = {
        "spacecraft": ["a", "a"], "station": ["x", "y"], "aos_s": [1.0, 2.0], "tca_s": [3.0, 4.0], "los_s": [5.0, 6.0],
        "max_elevation_deg": [7.0, 8.0], "truncated_end": [False, True],
    }  # fmt: skip
    made = windows_of(**columns)
    single = [ContactWindow(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    # repr: windows hold arrays, which == compares element by element.
    assert [repr(window) for window in made] == [repr(window) for window in single]
    assert windows_of(**{name: [] for name in columns}) == []
    with pytest.raises(TypeError, match="station"):
        windows_of(**{name: column for name, column in columns.items() if name != "station"})
    with pytest.raises(TypeError, match="color"):
        windows_of(**columns, color=[1, 2])
    with pytest.raises(ValueError, match="shorter"):
        windows_of(**{**columns, "los_s": [5.0]})


def test_a_spacecraft_that_decays_within_the_span_is_one_clear_error() -> None:
    lines = (
        "1 99999U 26001A   26275.00000000  .10000000  00000-0  30000-1 0  9993",
        "2 99999  51.6000 100.0000 0005000  90.0000 270.0000 16.45000000    16",
    )
    from sgp4.api import Satrec

    orbit = Propagator(Satrec.twoline2rv(*lines), START)
    with pytest.raises(OrbitError, match=r"cannot be propagated to .*SGP4 says"):
        find_passes(orbit, "sat", STATIONS, 0.0, 60 * DAY_S)
