from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flightsim import geodesy, tle
from flightsim.errors import OrbitError
from flightsim.orbit import Propagator
from flightsim.scenario.models import Orbit

from .conftest import shared

HERE = Path(__file__).parent
DAY_S = 86400.0
START = datetime(2026, 10, 2, tzinfo=UTC)
LINE_1 = "1 40697U 15028A   26274.29857647 -.00000002  00000+0  15863-4 0  9990"
LINE_2 = "2 40697  98.5653 347.6046 0001070  85.9280 274.2026 14.30818852588907"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def from_lines(line1: str, line2: str, start: datetime = START, duration_s: float = DAY_S, **more: Any) -> Propagator:
    return Propagator.from_config(Orbit(tle=(line1, line2), **more), start, HERE, duration_s)


def circular(altitude_km: float = 510.0, inclination_deg: float = 97.44, ltan: str = "22:30") -> Propagator:
    orbit = Orbit(altitude_km=altitude_km, inclination_deg=inclination_deg, ltan=ltan)
    return Propagator.from_config(orbit, START, HERE, 7 * DAY_S)


def with_checksum(line: str) -> str:
    return line[:68] + str(tle.checksum(line))


def reference(name: str) -> tuple[dict[str, Any], dict[str, Propagator], datetime]:
    """A reference file, its satellites, and the instant that is time zero."""
    data = json.loads(shared(f"reference/{name}.json").read_text())
    start = utc(data["start"] if "start" in data else data["window"]["start"])
    craft = {s["id"]: from_lines(s["line1"], s["line2"], start, 3 * DAY_S) for s in data["satellites"]}
    return data, craft, start


def ground_distance_m(a: tuple[Any, Any], b: tuple[Any, Any]) -> Any:
    return 1000.0 * np.linalg.norm(geodesy.geodetic_to_itrf(*a) - geodesy.geodetic_to_itrf(*b), axis=-1)


def columns(rows: list[dict[str, Any]], *names: str) -> list[Any]:
    return [np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=float) for name in names]


# Independent references (Orekit 13.1.9; satkit and brahe agree within 1.1 m). Tolerances are those of the files.


def test_subpoints_and_sun_against_orekit() -> None:
    data, craft, start = reference("ground")
    limits = data["tolerance"]
    for name, propagator in craft.items():
        rows = [row for row in data["subpoints"] if row["sat"] == name]
        assert len(rows) >= 10
        time_s = np.array([(utc(row["t"]) - start).total_seconds() for row in rows])
        lat, lon, height, sun = columns(rows, "lat_deg", "lon_deg", "height_km", "sun_elevation_deg")
        ours = propagator.subpoints(time_s)
        assert ground_distance_m(ours[:2], (lat, lon)).max() < limits["subpoint_m"]
        assert 1000.0 * np.abs(ours[2] - height).max() < limits["height_m"]
        assert np.abs(propagator.sun_elevation_deg(lat, lon, time_s) - sun).max() < limits["sun_elevation_deg"]


def test_geocentric_latitude_would_be_noticed() -> None:
    # The sanity entry of the reference: the spherical shortcut is off by kilometres.
    data, craft, start = reference("ground")
    row = data["subpoints"][1]
    position_km, _ = craft[row["sat"]].itrf((utc(row["t"]) - start).total_seconds())
    geocentric_deg = np.degrees(np.arcsin(position_km[2] / np.linalg.norm(position_km)))
    wrong_m = ground_distance_m((geocentric_deg, row["lon_deg"]), (row["lat_deg"], row["lon_deg"]))
    assert wrong_m > 100 * data["tolerance"]["subpoint_m"]


def test_lines_of_sight_against_orekit() -> None:
    data, craft, start = reference("ground")
    limits = data["tolerance"]
    corners = 0
    for footprint in data["footprints"]:
        time_s = (utc(footprint["t"]) - start).total_seconds()
        along, cross, lat, lon = columns(footprint["points"], "along_deg", "cross_deg", "lat_deg", "lon_deg")
        ours = craft[footprint["sat"]].line_of_sight_ground(time_s, along, cross)
        missed = np.isnan(lat)
        assert missed.any()
        np.testing.assert_array_equal(np.isnan(ours[0]), missed)
        wrong_m = ground_distance_m(ours, (lat, lon))[~missed]
        allowed_m = np.where(
            np.hypot(along, cross)[~missed] <= 30.0, limits["footprint_m"], limits["footprint_m_beyond_30deg"]
        )
        assert (wrong_m < allowed_m).all()
        # The corners of a tile 2.2 deg wide, whatever the order in which the file goes round.
        centre = ground_distance_m(ours_at(craft[footprint["sat"]], time_s, 0.0, 0.0), footprint["tile_2p2deg_centre"])
        assert centre < limits["footprint_m"]
        mine = ours_at(craft[footprint["sat"]], time_s, [1.1, 1.1, -1.1, -1.1], [1.1, -1.1, -1.1, 1.1])
        for corner in footprint["tile_2p2deg_corners"]:
            assert ground_distance_m(mine, tuple(corner)).min() < limits["footprint_m"]
            corners += 1
    assert corners == 4 * len(data["footprints"])


def ours_at(propagator: Propagator, time_s: float, along: Any, cross: Any) -> tuple[Any, Any]:
    return propagator.line_of_sight_ground(time_s, np.asarray(along), np.asarray(cross))


def test_eclipses_against_the_same_shadow_model() -> None:
    data, craft, start = reference("eclipse")
    end_s = (utc(data["window"]["end"]) - start).total_seconds()
    for row in data["satellites"]:
        ours = craft[row["id"]].eclipses(0.0, end_s)
        wanted = [tuple((utc(e[k]) - start).total_seconds() for k in ("entry", "exit"))
                  for e in row["intervals"]["sun_centre"]]  # fmt: skip
        assert len(ours) == len(wanted) == row["counts"]["sun_centre"]
        assert np.abs(np.array(ours) - np.array(wanted)).max() < data["tolerance"]["same_model_s"]
        fraction = sum(exit_s - entry_s for entry_s, exit_s in ours) / end_s
        assert abs(fraction - row["eclipse_fraction"]["sun_centre"]) < data["tolerance"]["eclipse_fraction_abs"]


def test_the_frame_agrees_with_skyfields_own_satellite() -> None:
    from skyfield.api import EarthSatellite, load
    from skyfield.framelib import itrs

    timescale = load.timescale(builtin=True)
    time_s = np.linspace(0.0, 3 * DAY_S, 50)
    begin = timescale.from_datetime(START)
    at = EarthSatellite(LINE_1, LINE_2, ts=timescale).at(
        timescale.tt_jd(begin.whole, begin.tt_fraction + time_s / DAY_S)
    )
    position, velocity = at.frame_xyz_and_velocity(itrs)
    ours_km, ours_kmps = from_lines(LINE_1, LINE_2, duration_s=3 * DAY_S).itrf(time_s)
    # Its route is through GCRS with IAU 2000 nutation; the two differ by metres.
    np.testing.assert_allclose(ours_km, position.km.T, atol=0.01)
    np.testing.assert_allclose(ours_kmps, velocity.km_per_s.T, atol=1e-4)


# Properties of the world.


def test_geodetic_and_back() -> None:
    lat, lon, height = np.meshgrid(
        [-90, -89.999, -45, 0, 1e-6, 60, 90], [-180, -10, 0, 90, 179.9], [0, 0.4, 600, 36000]
    )
    position_km = geodesy.geodetic_to_itrf(lat, lon, height)
    back = geodesy.itrf_to_geodetic(position_km)
    np.testing.assert_allclose(back[0], lat, atol=1e-9)
    np.testing.assert_allclose(back[2], height, atol=1e-6)
    inner = np.abs(lat) < 90
    np.testing.assert_allclose(back[1][inner], lon[inner], atol=1e-9)


def test_looking_straight_up_and_to_the_four_winds() -> None:
    lat, lon = 48.0, 11.0
    here = geodesy.geodetic_to_itrf(lat, lon, 0.5)
    up = geodesy.geodetic_up(lat, lon)
    east = geodesy.unit(np.cross([0.0, 0.0, 1.0], up))
    north = np.cross(up, east)
    elevation, _, distance = geodesy.look_angles(here + 700.0 * up, lat, lon, 0.5)
    assert elevation == pytest.approx(90.0, abs=1e-6)
    assert distance == pytest.approx(700.0)
    for direction, azimuth in ((north, 0.0), (east, 90.0), (-north, 180.0), (-east, 270.0)):
        found = geodesy.look_angles(here + 10.0 * direction + 10.0 * up, lat, lon, 0.5)
        assert found[0] == pytest.approx(45.0)
        assert (found[1] - azimuth + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-9)


def test_velocity_is_the_derivative_of_position() -> None:
    propagator = circular()
    time_s = np.linspace(0.0, DAY_S, 40)
    before, after = propagator.itrf(time_s - 0.5)[0], propagator.itrf(time_s + 0.5)[0]
    # SGP4's own velocity leaves out small terms; 2 m/s in 7.5 km/s would be a wrong frame.
    np.testing.assert_allclose(propagator.itrf(time_s)[1], after - before, atol=5e-4)


def test_positions_do_not_depend_on_how_they_are_asked_for() -> None:
    propagator = circular()
    time_s = np.linspace(0.0, 6000.0, 12)
    together = propagator.itrf(time_s)[0]
    assert propagator.itrf(time_s.reshape(3, 4))[0].shape == (3, 4, 3)
    np.testing.assert_array_equal(propagator.itrf(time_s.reshape(3, 4))[0].reshape(-1, 3), together)
    np.testing.assert_array_equal(propagator.itrf(time_s[5])[0], together[5])


def test_the_edge_of_the_shadow_separates_light_from_dark() -> None:
    edges = np.array(circular().eclipses(0.0, DAY_S))
    inner = edges[(edges[:, 0] > 0.0) & (edges[:, 1] < DAY_S)]
    assert len(inner) >= 14
    propagator = circular()
    assert propagator.sunlit(inner[:, 0] - 0.01).all()
    assert not propagator.sunlit(inner[:, 0] + 0.01).any()
    assert not propagator.sunlit(inner[:, 1] - 0.01).any()
    assert propagator.sunlit(inner[:, 1] + 0.01).all()


def test_an_eclipse_under_way_is_cut_at_the_ends_of_the_span() -> None:
    propagator = circular()
    entry_s, exit_s = propagator.eclipses(0.0, DAY_S)[3]
    assert propagator.eclipses(entry_s + 10.0, exit_s - 10.0) == [(entry_s + 10.0, exit_s - 10.0)]
    assert propagator.eclipses(exit_s + 10.0, exit_s + 100.0) == []
    assert propagator.eclipses(5.0, 5.0) == []


def test_an_eclipse_between_two_samples_of_the_grid_is_found() -> None:
    # A dawn-dusk plane at the end of its eclipse season only touches the shadow.
    orbit = Orbit(altitude_km=1000.0, inclination_deg=99.48, ltan="06:00")
    propagator = Propagator.from_config(orbit, START + timedelta(days=108), HERE, DAY_S)
    entry_s, exit_s = min(propagator.eclipses(0.0, DAY_S), key=lambda edges: edges[1] - edges[0])
    assert 5.0 < exit_s - entry_s < 25.0
    seconds = np.arange(np.floor(entry_s) - 60.0, exit_s + 60.0, 0.5)
    dark_s = seconds[~propagator.sunlit(seconds)]
    assert dark_s[0] == pytest.approx(entry_s, abs=0.5)
    assert dark_s[-1] == pytest.approx(exit_s, abs=0.5)
    # Samples every 30 s, one 2 s before the entry and so the next after the exit.
    begin_s = entry_s - 2.0 - 300.0
    np.testing.assert_allclose(propagator.eclipses(begin_s, begin_s + 600.0), [(entry_s, exit_s)], atol=1e-3)


@pytest.mark.parametrize(("altitude_km", "inclination_deg"), [(300.0, 51.6), (510.0, 97.44), (1200.0, 10.0)])
def test_circular_orbit_has_the_stated_axis_inclination_and_node(altitude_km: float, inclination_deg: float) -> None:
    propagator = circular(altitude_km, inclination_deg, "10:30")
    # Semi-major axis of Brouwer's theory, as SGP4 derived it from what it was given.
    axis_km = propagator.satrec.a * propagator.satrec.radiusearthkm
    assert axis_km - geodesy.EQUATORIAL_RADIUS_KM == pytest.approx(altitude_km, abs=1e-3)
    lat, lon, height = propagator.subpoints(np.array([0.0, 10.0]))
    # It stands at its ascending node; SGP4's short-period terms move it by less than 0.2 deg.
    assert abs(lat[0]) < 0.2
    assert lat[1] > lat[0]
    local_hours = (lon[0] / 15.0 + (START - START.replace(hour=0)).total_seconds() / 3600.0) % 24.0
    assert local_hours == pytest.approx(10.5, abs=0.02)
    assert np.abs(height - altitude_km).max() < 25.0
    lats, _, _ = propagator.subpoints(np.arange(0.0, 6500.0, 5.0))
    assert np.abs(lats).max() == pytest.approx(min(inclination_deg, 180.0 - inclination_deg), abs=0.3)


def test_sun_synchronous_orbit_keeps_its_local_time() -> None:
    propagator = circular()
    time_s = np.arange(0.0, 7 * DAY_S, 10.0)
    lat, lon, _ = propagator.subpoints(time_s)
    up = np.flatnonzero((lat[:-1] < 0.0) & (lat[1:] >= 0.0))
    local_hours = np.unwrap((lon[up] / 15.0 + time_s[up] / 3600.0) % 24.0, period=24.0)
    # 97.44 deg is rounded: the node may drift by a minute in the week, not more.
    assert np.ptp(local_hours) * 60.0 < 1.5
    assert abs(local_hours[0] - 22.5) * 60.0 < 1.5


def test_period_is_the_time_between_nodes_within_the_drift_of_perigee() -> None:
    propagator = circular()
    lat = propagator.subpoints(np.arange(0.0, DAY_S, 1.0))[0]
    nodes_s = np.flatnonzero((lat[:-1] < 0.0) & (lat[1:] >= 0.0))
    assert np.diff(nodes_s).mean() == pytest.approx(propagator.period_s, rel=2e-3)


# What a user can get wrong.


def test_shipped_sets_are_read_by_name() -> None:
    for name, number in (("SENTINEL-2A", 40697), ("SENTINEL-2B", 42063), ("SENTINEL-2C", 60989)):
        propagator = Propagator.from_config(Orbit(tle_file="sentinel2.tle", name=name), START, HERE, DAY_S)
        assert propagator.satrec.satnum == number
        assert propagator.subpoints(0.0)[2] == pytest.approx(795.0, abs=20.0)
    Propagator.from_config(Orbit(tle_file="sentinel2", name="SENTINEL-2A"), START, HERE, DAY_S)


def test_a_file_beside_the_scenario_wins_over_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "sentinel2.tle").write_text(f"# mine\n0 MINE\n{LINE_1}\n{LINE_2}\n")
    elements = tle.read(Orbit(tle_file="sentinel2.tle"), tmp_path)
    assert elements is not None
    assert elements.name == "MINE"
    assert elements.epoch == datetime(2026, 10, 1, 7, 9, 57, 7008, UTC)


@pytest.mark.parametrize(
    ("orbit", "words"),
    [
        (Orbit(tle_file="sentinel2.tle", name="SENTINEL-2D"), "SENTINEL-2A, SENTINEL-2B, SENTINEL-2C; did you mean"),
        (Orbit(tle_file="sentinel2.tle"), "holds 3 sets; add name: one of SENTINEL-2A"),
        (Orbit(tle_file="sentinel.tle"), r"neither a file beside the scenario nor a shipped one \(sentinel2\)"),
        (Orbit(tle_file="empty.tle"), "holds no two-line element set"),
        (Orbit(tle_file="half.tle"), "names 'HALF' without two lines"),
        (Orbit(tle_file="twice.tle"), "two element sets named '40697'"),
        (Orbit(tle_file="latin.tle"), "cannot be read"),
    ],
)
def test_faults_of_element_files(tmp_path: Path, orbit: Orbit, words: str) -> None:
    (tmp_path / "empty.tle").write_text("# nothing\n")
    (tmp_path / "half.tle").write_text(f"HALF\nOTHER\n{LINE_1}\n{LINE_2}\n")
    (tmp_path / "twice.tle").write_text(f"{LINE_1}\n{LINE_2}\n" * 2)
    (tmp_path / "latin.tle").write_bytes(b"\xe9\xff\n")
    with pytest.raises(OrbitError, match=words):
        Propagator.from_config(orbit, START, tmp_path, DAY_S)


@pytest.mark.parametrize(
    ("line1", "line2", "words"),
    [
        (LINE_1[:-1] + "3", LINE_2, "checksum of line 1 is 3, but its digits give 0"),
        (LINE_1, LINE_2.replace("347.6046", "347.6047"), "checksum of line 2 is 7, but its digits give 8"),
        (LINE_1[:-1], LINE_2, "line 1 has 68 characters"),
        (LINE_1, LINE_2 + "0", "line 2 has 70 characters"),
        (LINE_2, LINE_1, "line 1 is not in the columns"),
        (LINE_1.replace("26274.2985", "26274x2985"), LINE_2, "line 1 is not in the columns"),
        (LINE_1, with_checksum(LINE_2.replace("40697", "40698")), "two catalogue numbers, 40697 and 40698"),
        (LINE_1, with_checksum(LINE_2.replace(" 98.5653", "198.5653")), r"inclination is 198.5653 deg; it must lie in"),
        (with_checksum(LINE_1.replace("26274", "26400")), LINE_2, "the epoch is day 400"),
    ],
)
def test_malformed_elements_are_refused(line1: str, line2: str, words: str) -> None:
    with pytest.raises(OrbitError, match=words):
        from_lines(line1, line2)


def test_any_single_wrong_digit_is_noticed() -> None:
    for number, line in enumerate((LINE_1, LINE_2)):
        for column, character in enumerate(line[:68]):
            if character.isdigit():
                lines = [LINE_1, LINE_2]
                lines[number] = line[:column] + str((int(character) + 1) % 10) + line[column + 1 :]
                with pytest.raises(OrbitError):
                    tle.checked(*lines)


def test_stale_and_future_elements_are_refused_with_their_age() -> None:
    with pytest.raises(OrbitError, match=r"are 40\.7 d old at the start and 41\.7 d at the end .* allowed are 30 d"):
        from_lines(LINE_1, LINE_2, start=datetime(2026, 11, 11, tzinfo=UTC))
    with pytest.raises(OrbitError, match=r"are -40\.3 d old at the start"):
        from_lines(LINE_1, LINE_2, start=datetime(2026, 8, 22, tzinfo=UTC))
    # A run that grows out of the allowed age is refused as well, and a raised limit lets it pass.
    with pytest.raises(OrbitError, match=r"0\.7 d old at the start and 35\.7 d at the end.*max_element_age"):
        from_lines(LINE_1, LINE_2, duration_s=35 * DAY_S)
    from_lines(LINE_1, LINE_2, duration_s=35 * DAY_S, max_element_age="40d")


def test_a_decayed_spacecraft_is_refused_in_sgp4s_own_words() -> None:
    line1 = with_checksum(LINE_1.replace(" 15863-4", " 99999-1"))
    line2 = with_checksum(LINE_2.replace("14.30818852", "16.30000000"))
    with pytest.raises(OrbitError, match=r"cannot be propagated to 2026-10-.*SGP4 says '.*' \(error \d\)"):
        from_lines(line1, line2, duration_s=20 * DAY_S)


def test_importing_flightsim_loads_neither_skyfield_nor_scipy() -> None:
    code = (
        "import sys, flightsim.orbit, flightsim.contacts, flightsim.link, flightsim.stations\n"
        "print([m for m in ('skyfield', 'scipy', 'sgp4', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE.parent)
    assert done.stdout.strip() == "[]"
