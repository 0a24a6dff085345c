from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flightsim import capture
from flightsim.areas import ScenePlace
from flightsim.capture import find_overflights, plan_captures, uplinked_rows
from flightsim.domain import Plan
from flightsim.errors import InputError
from flightsim.geodesy import geodetic_to_itrf, geodetic_up
from flightsim.grid import Grid
from flightsim.ground_track import GroundTrack, view
from flightsim.land import is_land
from flightsim.orbit import Propagator
from flightsim.scenario.models import Orbit, References, Scenario

from .conftest import shared

START = datetime(2026, 10, 2, tzinfo=UTC)
DAY_S = 86400.0
ORBIT = {"altitude_km": 510, "inclination_deg": 97.44, "ltan": "22:30"}


def scenario(**changes: Any) -> Scenario:
    craft = {"orbit": ORBIT, "camera": changes.pop("camera", {}), "references": changes.pop("references", {})}
    data: dict[str, Any] = {
        "name": "test",
        "start": START,
        "duration": "3d",
        "stations": [{"name": "a", "lat_deg": 0, "lon_deg": 0}],
    }
    return Scenario.model_validate({"spacecraft": craft, **data, **changes})


def fly(what: Scenario, places: list[ScenePlace] | None = None) -> tuple[Plan, list[Propagator]]:
    orbits = [Propagator.from_config(craft.orbit, what.start, Path("."), what.horizon_s) for craft in what.craft]
    return plan_captures(what, orbits, places), orbits


def off_nadir_deg(orbit: Propagator, lat_deg: Any, lon_deg: Any, time_s: Any) -> np.ndarray:
    """Angle at the satellite between the Earth's centre and the target, by the law of cosines: no code shared."""
    craft = np.asarray(orbit.itrf(np.asarray(time_s))[0])
    target = geodetic_to_itrf(lat_deg, lon_deg)
    a, b, c = (np.linalg.norm(x, axis=-1) for x in (craft, craft - target, target))
    return np.degrees(np.arccos(np.clip((a * a + b * b - c * c) / (2 * a * b), -1, 1)))


@pytest.fixture(scope="module")
def week() -> tuple[Plan, Propagator]:
    plan, orbits = fly(scenario(duration="7d", seed=2))
    return plan, orbits[0]


@pytest.fixture(scope="module")
def strip() -> tuple[Plan, Propagator]:
    plan, orbits = fly(scenario(camera={"plan": "strip", "cadence_s": 0.5, "swath_km": 5.12}, duration="6h"))
    return plan, orbits[0]


# ------------------------------------------------------------------------------------------- overflights


def test_overflights_agree_with_the_reference() -> None:
    """Orekit 13.1.9, checked there with satkit and brahe: edges within 1.5 s, a one-to-one list.

    The reference's least off-nadir comes from samples: it lies above the true least, by less than 0.15 deg.
    """
    data = json.loads(shared("reference/ground.json").read_text(encoding="utf-8"))
    start = datetime.fromisoformat(data["start"])
    window = data["overflight_window"]
    begin_s, end_s = ((datetime.fromisoformat(window[key]) - start).total_seconds() for key in ("start", "end"))
    lat, lon = ([place[key] for place in data["targets"]] for key in ("lat_deg", "lon_deg"))
    found = []
    for satellite in data["satellites"]:
        orbit = Propagator.from_config(
            Orbit(tle=(satellite["line1"], satellite["line2"])), start, Path("."), end_s + DAY_S
        )
        over = find_overflights(orbit, lat, lon, window["max_off_nadir_deg"], begin_s, end_s)
        for k in range(len(over)):
            name = data["targets"][over.target[k]]["id"]
            found.append((satellite["id"], name, over.start_s[k], over.end_s[k], over.min_off_nadir_deg[k]))
    answers = sorted(data["overflights"], key=lambda one: (one["sat"], one["target"], one["start"]))
    assert len(found) == len(answers)
    for (craft, place, first_s, last_s, least_deg), wanted in zip(sorted(found), answers, strict=True):
        assert (craft, place) == (wanted["sat"], wanted["target"])
        assert first_s == pytest.approx((datetime.fromisoformat(wanted["start"]) - start).total_seconds(), abs=1.5)
        assert last_s == pytest.approx((datetime.fromisoformat(wanted["end"]) - start).total_seconds(), abs=1.5)
        assert wanted["min_off_nadir_deg"] - 0.15 < least_deg < wanted["min_off_nadir_deg"] + 0.02


def test_no_overflight_is_missed_or_made_up(week: tuple[Plan, Propagator]) -> None:
    """Against every second of a day: the sampled intervals and the found ones are the same to a second."""
    orbit = week[1]
    time_s = np.arange(0.0, DAY_S, 1.0)
    for lat, lon, limit in ((48.14, 11.58, 45.0), (-77.85, 166.7, 30.0), (89.9, 0.0, 60.0), (5.0, 179.99, 60.0)):
        over = find_overflights(orbit, lat, lon, limit, 0.0, DAY_S)
        up = geodetic_up(lat, lon)
        position = orbit.itrf(time_s)[0]
        above = (position - geodetic_to_itrf(lat, lon)) @ up > 0
        inside = (off_nadir_deg(orbit, lat, lon, time_s) <= limit) & above
        edge = np.flatnonzero(np.diff(np.concatenate([[0], inside.view(np.int8), [0]])))
        assert len(over) == len(edge) // 2
        assert np.allclose(over.start_s, edge[0::2], atol=1.01)
        assert np.allclose(over.end_s, edge[1::2] - 1, atol=1.01)
        for k in range(len(over)):
            fine_s = np.arange(over.start_s[k], over.end_s[k], 0.05)
            least = off_nadir_deg(orbit, lat, lon, fine_s).min()
            assert over.min_off_nadir_deg[k] == pytest.approx(least, abs=0.02)


def test_the_horizon_ends_an_overflight_before_the_limit_does() -> None:
    """From 1500 km the horizon is 54 deg off nadir: with a limit of 60 deg the satellite rises and sets instead."""
    high = Orbit(altitude_km=1500, inclination_deg=97.44, ltan="22:30")
    orbit = Propagator.from_config(high, START, Path("."), 2 * DAY_S)
    over = find_overflights(orbit, 48.14, 11.58, 60.0, 0.0, DAY_S)
    assert len(over) > 4
    up = geodetic_up(48.14, 11.58)
    for edge_s in (over.start_s, over.end_s):
        whole = edge_s[~(over.truncated_start | over.truncated_end)]
        sight = orbit.itrf(whole)[0] - geodetic_to_itrf(48.14, 11.58)
        assert np.allclose(np.degrees(np.arcsin(sight @ up / np.linalg.norm(sight, axis=1))), 0.0, atol=1e-3)
        assert np.all(off_nadir_deg(orbit, 48.14, 11.58, whole) < 58.0)


def test_an_overflight_under_way_is_cut_and_marked(week: tuple[Plan, Propagator]) -> None:
    orbit = week[1]
    whole = find_overflights(orbit, 48.14, 11.58, 45.0, 0.0, DAY_S)
    middle_s = float(whole.time_s[0])
    for start_s, end_s, flags in ((middle_s + 5, DAY_S, (True, False)), (0.0, middle_s - 5, (False, True))):
        part = find_overflights(orbit, 48.14, 11.58, 45.0, start_s, end_s)
        k = 0 if flags[0] else -1
        assert (bool(part.truncated_start[k]), bool(part.truncated_end[k])) == flags
        assert part.start_s[k] == pytest.approx(max(whole.start_s[0], start_s), abs=1e-3)
        assert part.end_s[k] == pytest.approx(min(whole.end_s[0], end_s), abs=1e-3)
        assert start_s <= part.time_s[k] <= end_s
        assert part.min_off_nadir_deg[k] > whole.min_off_nadir_deg[0]


def test_the_interpolated_track_is_the_orbit(week: tuple[Plan, Propagator]) -> None:
    """Position to a metre, speed to a centimetre a second, the Sun to 0.01 deg, at times between the knots."""
    orbit = week[1]
    track = GroundTrack(orbit, 0.0, DAY_S)
    time_s = np.linspace(0.0, DAY_S, 2777)
    position, velocity = orbit.itrf(time_s)
    assert np.abs(track.position_km(time_s) - position).max() < 1e-3
    assert np.abs(track.velocity_kmps(time_s) - velocity).max() < 1e-4
    lat, lon = np.linspace(-90, 90, 2777), np.linspace(-180, 900, 2777)
    sun = track.sun_elevation_deg(geodetic_up(lat, lon), time_s)
    assert np.abs(sun - orbit.sun_elevation_deg(lat, lon, time_s)).max() < 0.01


def test_view_of_a_sphere_by_hand() -> None:
    """Nadir at the equator from 510 km; and a target on the horizon has elevation 0."""
    craft = np.array([[6888.137, 0.0, 0.0]])
    nadir = view(craft, geodetic_to_itrf(np.array([0.0]), np.array([0.0])), geodetic_up([0.0], [0.0]))
    assert nadir.off_nadir_deg[0] == 0.0
    assert nadir.elevation_deg[0] == pytest.approx(90.0)
    assert nadir.slant_range_km[0] == pytest.approx(510.0)
    assert nadir.gsd_m(10.0)[0] == pytest.approx(10.0)
    lon = np.degrees(np.arccos(6378.137 / 6888.137))
    edge = view(craft, geodetic_to_itrf(np.array([0.0]), np.array([lon])), geodetic_up([0.0], [lon]))
    assert edge.elevation_deg[0] == pytest.approx(0.0, abs=1e-6)
    assert edge.off_nadir_deg[0] == pytest.approx(90.0 - lon, abs=1e-6)


# ----------------------------------------------------------------------------------------- targets plan


def test_every_tile_is_lit_on_land_and_within_roll_by_the_propagator(week: tuple[Plan, Propagator]) -> None:
    plan, orbit = week
    assert len(plan) > 1000
    angle = off_nadir_deg(orbit, plan.lat_deg, plan.lon_deg, plan.time_s)
    assert np.allclose(angle, plan.off_nadir_deg, atol=1e-3)
    assert angle.max() <= 25.0 + 1e-3
    sun = orbit.sun_elevation_deg(plan.lat_deg, plan.lon_deg, plan.time_s)
    assert np.allclose(sun, plan.sun_elevation_deg, atol=0.01)
    assert sun.min() >= 10.0 - 0.01
    assert is_land(plan.lat_deg, plan.lon_deg).all()
    assert np.all((plan.time_s >= 0) & (plan.time_s < 7 * DAY_S))
    assert np.all(np.diff(plan.time_s) >= 0)


@pytest.mark.parametrize("sun_deg", [25.0, 45.0])
def test_the_lowest_sun_is_a_sharp_border(sun_deg: float) -> None:
    """Many areas at many hours, so that tiles lie close to the limit on its lit side and none beyond."""
    what = scenario(targets={"count": 500}, camera={"min_sun_elevation_deg": sun_deg, "max_roll_deg": 50})
    plan, orbits = fly(what)
    sun = orbits[0].sun_elevation_deg(plan.lat_deg, plan.lon_deg, plan.time_s)
    assert sun_deg - 0.01 <= sun.min() < sun_deg + 0.5


def test_from_a_high_orbit_no_tile_lies_beyond_the_horizon() -> None:
    """From 1900 km the horizon is 50.4 deg off nadir, within a roll of 60 deg."""
    craft = {"orbit": {**ORBIT, "altitude_km": 1900}, "camera": {"max_roll_deg": 60, "min_sun_elevation_deg": -90}}
    plan, orbits = fly(scenario(spacecraft=craft, duration="1d", targets={"count": 300}))
    sight = orbits[0].itrf(plan.time_s)[0] - geodetic_to_itrf(plan.lat_deg, plan.lon_deg)
    height_km = np.sum(sight * geodetic_up(plan.lat_deg, plan.lon_deg), axis=1)
    assert height_km.min() > 0.0
    assert 49.0 < plan.off_nadir_deg.max() < 50.7


def test_sea_tiles_of_an_area_are_left_out_and_counted(tmp_path: Path) -> None:
    """A box over the Bay of Naples: half sea."""
    box = [[14.0, 40.6], [14.6, 40.6], [14.6, 41.0], [14.0, 41.0], [14.0, 40.6]]
    (tmp_path / "a.json").write_text(json.dumps({"type": "Polygon", "coordinates": [box]}), encoding="utf-8")
    wet, dry = (
        fly(scenario(targets={"use": str(tmp_path / "a.json"), "land": land}, camera={"max_roll_deg": 45}))[0]
        for land in (False, True)
    )
    assert is_land(dry.lat_deg, dry.lon_deg).all()
    assert 0.2 < len(dry) / len(wet) < 0.8
    ashore = is_land(wet.lat_deg, wet.lon_deg)
    assert set(dry.place_key.tolist()) == set(wet.place_key[ashore].tolist())
    assert "sea" not in wet.skipped
    assert dry.skipped["sea"] >= np.sum(~ashore)
    assert len(dry) + sum(dry.skipped.values()) == len(wet) + sum(wet.skipped.values())


def test_a_tile_is_exposed_at_its_own_least_off_nadir(week: tuple[Plan, Propagator]) -> None:
    plan, orbit = week
    here = off_nadir_deg(orbit, plan.lat_deg, plan.lon_deg, plan.time_s)
    for shift_s in (-1.0, -0.1, 0.1, 1.0):
        there = off_nadir_deg(orbit, plan.lat_deg, plan.lon_deg, plan.time_s + shift_s)
        assert np.all(there > here - 1e-5)


def test_tiles_of_an_overflight_follow_the_track(week: tuple[Plan, Propagator]) -> None:
    """Descending passes meet the northern row first; 7 rows of 1.28 km at 7.1 km/s take 1.27 s."""
    plan, orbit = week
    first = plan.area[0]
    rows = np.flatnonzero((plan.area == first) & (plan.time_s < plan.time_s[0] + 60.0))
    assert len(rows) == 64
    lat = orbit.subpoints(plan.time_s[rows])[0]
    north_to_south = lat[-1] < lat[0]
    column = rows[plan.block_col[rows] == 3]
    assert np.all(np.diff(plan.lat_deg[column]) < 0) == north_to_south
    assert np.ptp(plan.time_s[column]) == pytest.approx(7 * 1.28 / 7.1, rel=0.1)


def test_every_overflight_is_planned_or_counted(week: tuple[Plan, Propagator]) -> None:
    plan, orbit = week
    what = scenario(duration="7d", seed=2)
    found = capture.areas_of(what.targets, Grid(1280.0), 2)
    over = find_overflights(orbit, found.centre_lat_deg, found.centre_lon_deg, 25.0, 0.0, 7 * DAY_S)
    whole = ~(over.truncated_start | over.truncated_end)
    assert len(plan) + sum(plan.skipped.values()) == pytest.approx(64 * np.sum(whole), abs=64)
    assert plan.skipped["dark"] > 0


def test_a_revisit_meets_the_same_place_and_ids_do_not_repeat(week: tuple[Plan, Propagator]) -> None:
    plan = week[0]
    ids = list(plan.place_id)
    assert len(set(ids)) == 36 * 64
    again = len(ids) - len(set(ids))
    assert again > 1000
    assert len({plan.tile_id(row) for row in range(len(plan))}) == len(plan)
    where: dict[str, tuple[float, float]] = {}
    for row, name in enumerate(ids):
        spot = (float(plan.lat_deg[row]), float(plan.lon_deg[row]))
        assert where.setdefault(name, spot) == spot
    assert plan.tile_id(0) == f"{ids[0]}@{int(plan.time_s[0])}"


def test_the_same_scenario_gives_the_same_plan_and_ids_outlive_the_seed() -> None:
    point = {"count": 3, "lat_range_deg": (30.0, 60.0)}
    one, two = (fly(scenario(targets=point))[0] for _ in range(2))
    assert one.time_s.tobytes() == two.time_s.tobytes()
    assert list(one.place_id) == list(two.place_id)
    other = fly(scenario(targets=point, seed=1))[0]
    assert set(one.place_id).isdisjoint(other.place_id)


def test_a_seed_does_not_move_the_areas_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text('{"type": "Point", "coordinates": [11.58, 48.14]}', encoding="utf-8")
    plans = []
    for seed in (0, 9):
        what = scenario(seed=seed, targets={"use": str(tmp_path / "a.geojson")}, camera={"max_roll_deg": 45})
        plans.append(fly(what)[0])
    assert len(plans[0]) > 0
    assert list(plans[0].place_id) == list(plans[1].place_id)
    assert plans[0].areas == ("a-001",)


def test_more_roll_and_less_sun_never_lose_a_tile_but_to_agility() -> None:
    base, wide, dusk = (
        fly(scenario(camera=camera, duration="2d", targets={"count": 60}))[0]
        for camera in (
            {"cadence_s": 0.001},
            {"cadence_s": 0.001, "max_roll_deg": 40},
            {"cadence_s": 0.001, "min_sun_elevation_deg": -90},
        )
    )
    seen = {base.tile_id(row) for row in range(len(base))}
    assert seen < {wide.tile_id(row) for row in range(len(wide))}
    assert seen < {dusk.tile_id(row) for row in range(len(dusk))}
    assert "dark" not in dusk.skipped


def test_gsd_grows_with_the_angle(week: tuple[Plan, Propagator]) -> None:
    """At 25 deg off nadir from 510 km: range 569 km and elevation 62.8 deg, so 10 x 569/510 / sqrt(sin) = 11.8 m."""
    plan = week[0]
    order = np.argsort(plan.off_nadir_deg)
    assert np.corrcoef(plan.off_nadir_deg, plan.gsd_m)[0, 1] > 0.9
    assert plan.gsd_m[order[0]] == pytest.approx(10.0, abs=0.05)
    assert plan.gsd_m[plan.off_nadir_deg > 24.5].mean() == pytest.approx(11.8, abs=0.1)


def test_a_slow_spacecraft_takes_the_area_nearer_to_nadir() -> None:
    """Cadence of a minute among many areas: no two visits within it, and each lost one lost to a better neighbour."""
    quick, slow = (
        fly(scenario(camera={"cadence_s": cadence}, duration="1d", targets={"count": 700}))[0]
        for cadence in (1e-3, 60.0)
    )

    def visits(plan: Plan) -> list[tuple[float, int, float]]:
        order = np.lexsort((plan.time_s, plan.area))
        cut = np.flatnonzero((np.diff(plan.area[order]) != 0) | (np.diff(plan.time_s[order]) > 600)) + 1
        parts = np.split(order, cut)
        return [(plan.time_s[p].mean(), int(plan.area[p[0]]), plan.off_nadir_deg[p].mean()) for p in parts]

    kept, every = visits(slow), visits(quick)
    times = np.sort([time for time, _, _ in kept])
    # Means over a visit's tiles: 2 s of slack where roll or Sun cut an area.
    assert np.diff(times).min() > 58.0
    assert slow.skipped["agility"] > quick.skipped.get("agility", 0)
    kept_keys = {(area, round(time / 600)) for time, area, _ in kept}
    lost = [one for one in every if (one[1], round(one[0] / 600)) not in kept_keys]
    assert len(lost) > 20
    for time, _, angle in lost:
        assert any(abs(time - other) < 62.0 and best < angle + 0.7 for other, _, best in kept)


# ------------------------------------------------------------------------------------------- strip plan


def test_a_strip_is_lit_land_under_the_track(strip: tuple[Plan, Propagator]) -> None:
    plan, orbit = strip
    assert len(plan) > 5000
    assert plan.areas == ()
    assert np.all(plan.area == -1)
    assert is_land(plan.lat_deg, plan.lon_deg).all()
    sun = orbit.sun_elevation_deg(plan.lat_deg, plan.lon_deg, plan.time_s)
    assert sun.min() >= 10.0 - 0.01
    # Half of the swath and half of a cell's diagonal: 2.56 + 0.91 km at 510 to 535 km height.
    angle = off_nadir_deg(orbit, plan.lat_deg, plan.lon_deg, plan.time_s)
    assert angle.max() < np.degrees(np.arctan(3.5 / 505.0))
    assert np.allclose(angle, plan.off_nadir_deg, atol=1e-3)
    assert np.allclose(np.mod(plan.time_s / 0.5 + 1e-9, 1.0), 0.0, atol=1e-6)


def test_every_frame_of_a_strip_is_planned_or_counted(strip: tuple[Plan, Propagator]) -> None:
    plan = strip[0]
    assert len(plan) + sum(plan.skipped.values()) == 4 * 6 * 3600 * 2
    assert set(plan.skipped) == {"dark", "sea", "overlap"}


def test_a_strip_takes_a_cell_once_a_pass(strip: tuple[Plan, Propagator]) -> None:
    plan, orbit = strip
    order = np.lexsort((plan.time_s, plan.place_key))
    same = np.diff(plan.place_key[order].astype(np.int64)) == 0
    gap_s = np.diff(plan.time_s[order])[same]
    assert np.all(gap_s >= 0.5 * orbit.period_s)


def test_strip_tiles_are_side_by_side_across_the_track(strip: tuple[Plan, Propagator]) -> None:
    plan = strip[0]
    time, count = np.unique(plan.time_s, return_counts=True)
    full = time[count == 4]
    assert len(full) > 100
    for when in full[::50]:
        rows = np.flatnonzero(plan.time_s == when)
        spots = geodetic_to_itrf(plan.lat_deg[rows], plan.lon_deg[rows])
        apart = np.linalg.norm(spots[:, None] - spots[None, :], axis=-1)
        assert 3 * 1.28 - 2.0 < apart.max() < 3 * 1.28 + 2.0


def test_strip_and_targets_name_the_same_ground_alike(strip: tuple[Plan, Propagator]) -> None:
    plan = strip[0]
    grid = Grid(1280.0)
    for row in range(0, len(plan), 997):
        cell = grid.cell_of(plan.lat_deg[row], plan.lon_deg[row])
        assert plan.place_id[row] == grid.place_id(int(cell[0]), int(cell[1]))


def test_a_strip_in_the_dark_is_empty_and_says_why() -> None:
    plan = fly(scenario(camera={"plan": "strip", "min_sun_elevation_deg": 89.9}, duration="3h"))[0]
    assert len(plan) == 0
    assert len(list(plan.place_id)) == 0
    assert plan.skipped == {"dark": 8 * 1200}


def test_too_long_a_plan_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "MAX_SHOTS", 50)
    for camera in ({"plan": "strip"}, {}):
        with pytest.raises(
            InputError, match=r"the plan has more than 50 shots; shorten duration, or take larger tiles"
        ):
            fly(scenario(camera=camera, duration="1d"))


def test_a_chunk_border_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for camera in ({"plan": "strip"}, {}):
        whole = fly(scenario(camera=camera, duration="1d"))[0]
        with monkeypatch.context() as patch:
            patch.setattr(capture, "_CHUNK", 100)
            parts = fly(scenario(camera=camera, duration="1d"))[0]
        assert np.array_equal(whole.place_key, parts.place_key)
        assert np.array_equal(whole.time_s, parts.time_s)
        assert whole.skipped == parts.skipped


# ------------------------------------------------------------------------- reference store, several craft


def test_before_is_the_previous_visit_or_the_store() -> None:
    visit = fly(scenario(references={"age": "30d"}))[0]
    never = fly(scenario(references={"age": "30d", "refresh": "never"}))[0]
    assert np.all(never.before_s == -30 * DAY_S)
    last: dict[str, float] = {}
    again = 0
    for row, place in enumerate(visit.place_id):
        assert visit.before_s[row] == last.get(place, -30 * DAY_S)
        again += place in last
        last[place] = float(visit.time_s[row])
    assert again > 100
    assert np.all(visit.before_s < visit.time_s)


def test_uplinked_rows_are_counted_once_a_spacecraft() -> None:
    one = {"name": "a", "orbit": ORBIT}
    two = {"name": "b", "orbit": {**ORBIT, "ltan": "10:30"}}
    plan = fly(scenario(spacecraft=[one, two]))[0]
    each = [len(set(np.array(plan.place_id)[plan.craft == k])) for k in (0, 1)]
    uplink = References(source="uplink")
    for craft, places in enumerate(each):
        rows = uplinked_rows(plan, uplink, craft)
        assert len(rows) == places > 0
        assert len({plan.place_id[row] for row in rows}) == places
        assert (plan.craft[rows] == craft).all()
        assert (plan.before_s[rows] < 0.0).all(), "the first shot of a place is the one that needs the uplink"
        assert not len(uplinked_rows(plan, References(), craft))


def test_several_spacecraft_share_the_areas_but_neither_stores_nor_ids() -> None:
    twins = [{"name": name, "orbit": ORBIT} for name in ("a", "b")]
    plan = fly(scenario(spacecraft=twins))[0]
    alone = fly(scenario())[0]
    assert plan.spacecraft == ("a", "b")
    assert len(plan) == 2 * len(alone)
    assert np.all(np.diff(plan.time_s) >= 0)
    for k in (0, 1):
        mine = plan.craft == k
        assert np.array_equal(plan.time_s[mine], alone.time_s)
        assert np.array_equal(plan.before_s[mine], alone.before_s)
        assert np.array_equal(plan.place_key[mine], alone.place_key)
    assert len({plan.tile_id(row) for row in range(len(plan))}) == len(plan)
    assert plan.tile_id(0).endswith("/a")


def test_cameras_of_other_sizes_see_the_same_areas_on_grids_of_their_own() -> None:
    crafts = [{"name": str(gsd), "orbit": ORBIT, "camera": {"gsd_m": gsd}} for gsd in (10.0, 5.0)]
    plan = fly(scenario(spacecraft=crafts))[0]
    ids = np.array(plan.place_id)
    assert all(name.startswith("g1280/") for name in ids[plan.craft == 0])
    assert all(name.startswith("g640/") for name in ids[plan.craft == 1])
    assert set(plan.area[plan.craft == 0]) & set(plan.area[plan.craft == 1])
    assert np.intersect1d(plan.place_key[plan.craft == 0], plan.place_key[plan.craft == 1]).size == 0


def test_a_visit_to_an_archive_place_takes_all_its_slices() -> None:
    """Two cases at one spot need no slew between them, so neither crowds out the other."""
    places = [
        ScenePlace("farm", 47.0, 9.0, (3, 1, 2), ("a", "b", "c")),
        ScenePlace("farm-again", 47.0, 9.0, (0,)),
        ScenePlace("sea", 0.0, 0.0, (4,)),
    ]
    what = scenario(duration="7d", targets={"use": "archive"}, scenes={"use": "archive"}, camera={"max_roll_deg": 40})
    plan = fly(what, places)[0]
    assert plan.areas == ("farm", "farm-again", "sea")
    ids = np.array(plan.place_id)
    for name, row in (("farm/a", 3), ("farm/b", 1), ("farm/c", 2), ("farm-again", 0), ("sea", 4)):
        mine = ids == name
        assert mine.sum() >= 2
        assert np.all(plan.scene_row[mine] == row)
    assert np.array_equal(plan.time_s[ids == "farm/a"], plan.time_s[ids == "farm-again"])
    assert "agility" not in plan.skipped
