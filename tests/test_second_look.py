"""Second looks: when a place can be seen again, and what becomes of a tile that is looked at twice."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import flightsim as fs
from flightsim import records, wire
from flightsim.capture import plan_captures
from flightsim.conformance.data import observations, picture_pairs
from flightsim.domain import Action, Decision, Look, Observation, Plan, TilePair, VerdictStatus
from flightsim.geodesy import geodetic_to_itrf
from flightsim.metrics import compute_metrics
from flightsim.orbit import Propagator
from flightsim.perception import GatedScenes
from flightsim.recorder import ACTIONS
from flightsim.scenario.models import Radio, Scenario
from flightsim.scenes.sizes import HIDDEN_CLOUD_FRACTION
from flightsim.second_look import Opportunities, Opportunity, SecondLooks
from flightsim.sizing import Sizer
from payload.confusion import Confusion
from payload.perfect_eye import PerfectEye
from policy.process import ProcessPolicy
from policy.second_look import SecondLook, SecondLookConfig
from policy.threshold import Threshold, ThresholdConfig

from .factories import record_of, sizes_of, truth_of
from .worlds import contact, mission, plan_at

DAY_S = 86400.0
FAST = 10e6
EVENT, NULL, HIDDEN = VerdictStatus.EVENT, VerdictStatus.NULL, VerdictStatus.UNCLASSIFIABLE


def look(time_s: float) -> Look:
    return Look(time_s, 11.0, 12.0, 40.0)


class Written:
    """Opportunities written by hand: the same times for every row, or times by row."""

    def __init__(self, times_s: Any, planned: bool = False) -> None:
        self.times_s, self.planned = times_s, planned

    def of(self, row: int) -> list[Opportunity]:
        times = self.times_s[row] if isinstance(self.times_s, dict) else self.times_s
        return [Opportunity(look(time_s), self.planned) for time_s in times]


class Again:
    """Looks again whenever it may, and then sends one product."""

    def __init__(self, action: Action = Action.TILE, **settings: Any) -> None:
        self.then, self.settings = Decision(action), settings
        self.seen: list[Observation] = []

    def decide(self, seen: Observation) -> Decision:
        self.seen.append(seen)
        return Decision(Action.REIMAGE, **self.settings) if Action.REIMAGE in seen.costs_bytes else self.then


class Stubborn:
    """Asks for a second look, on offer or not."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def decide(self, seen: Observation) -> Decision:
        return Decision(Action.REIMAGE, **self.settings)


# ------------------------------------------------------------------------------------------- when


def scenario(**changes: Any) -> Scenario:
    camera = {"cadence_s": 60, "max_roll_deg": 30, **changes.pop("camera", {})}
    craft = {"orbit": {"altitude_km": 510, "inclination_deg": 97.44, "ltan": "22:30"}, "camera": camera}
    data: dict[str, Any] = {
        "name": "again", "start": datetime(2026, 6, 2, tzinfo=UTC), "duration": "3d", "spacecraft": craft,
        "targets": {"count": 60, "lat_range_deg": [52, 70]}, "stations": [{"name": "a", "lat_deg": 70, "lon_deg": 20}],
    }  # fmt: skip
    return Scenario.model_validate({**data, **changes})


def planned(what: Scenario) -> tuple[Plan, list[Propagator], Opportunities]:
    orbits = [Propagator.from_config(craft.orbit, what.start, Path("."), what.horizon_s) for craft in what.craft]
    plan = plan_captures(what, orbits, ())
    return plan, orbits, Opportunities(plan, orbits, [craft.camera for craft in what.craft], what.duration_s)


@pytest.fixture(scope="module")
def north() -> tuple[Scenario, Plan, Propagator, Opportunities]:
    what = scenario()
    plan, orbits, found = planned(what)
    return what, plan, orbits[0], found


def searched(what: Scenario, plan: Plan, orbit: Propagator, row: int, every_s: float = 5.0) -> tuple[list[float], int]:
    """Times at which a place can be seen, and how many more conflict with the plan: by sampling the propagator.

    Shares no geometry with the module: law of cosines, minima of samples, then denser samples.
    """
    camera = what.craft[0].camera
    lat, lon = plan.lat_deg[row], plan.lon_deg[row]

    def off_nadir_deg(time_s: np.ndarray) -> np.ndarray:
        craft = np.asarray(orbit.itrf(time_s)[0])
        target = geodetic_to_itrf(lat, lon)
        a, b, c = (np.linalg.norm(x, axis=-1) for x in (craft, craft - target, target))
        angle = np.degrees(np.arccos(np.clip((a * a + b * b - c * c) / (2 * a * b), -1, 1)))
        return np.where(b * b + c * c < a * a, angle, 180.0)  # beyond the horizon there is nothing to see

    grid = np.arange(0.0, what.duration_s, every_s)
    coarse = off_nadir_deg(grid)
    low = np.flatnonzero((coarse[1:-1] <= coarse[:-2]) & (coarse[1:-1] < coarse[2:]) & (coarse[1:-1] < 60.0)) + 1
    times, conflicts = [], 0
    for middle in grid[low]:
        for step in (every_s / 20, every_s / 500):
            near = middle + step * np.arange(-25, 26)
            middle = near[np.argmin(off_nadir_deg(near))]
        sun = float(orbit.sun_elevation_deg(np.array([lat]), np.array([lon]), np.array([middle]))[0])
        if off_nadir_deg(np.array([middle]))[0] > camera.max_roll_deg or sun < camera.min_sun_elevation_deg:
            continue
        here = np.abs(plan.time_s - middle) < 0.5
        elsewhere = (np.abs(plan.time_s - middle) < camera.cadence_s) & (plan.area != plan.area[row])
        if elsewhere.any() and not (here & (plan.place_key == plan.place_key[row])).any():
            conflicts += 1
        else:
            times.append(float(middle))
    return times, conflicts


def test_opportunities_are_those_of_a_search_through_samples_of_the_orbit(
    north: tuple[Scenario, Plan, Propagator, Opportunities],
) -> None:
    what, plan, orbit, found = north
    rows = np.unique(plan.area, return_index=True)[1][::2]
    conflicts = 0
    for row in rows.tolist():
        expected, lost = searched(what, plan, orbit, row)
        chances = found.of(row)
        assert [chance.look.time_s for chance in chances] == pytest.approx(expected, abs=0.02)
        conflicts += lost
    assert conflicts > 3, "nothing conflicted: the test would not see a missing rule"


def test_a_look_beside_the_plan_keeps_its_distance_and_one_within_it_is_the_very_shot(
    north: tuple[Scenario, Plan, Propagator, Opportunities],
) -> None:
    what, plan, _, found = north
    camera = what.craft[0].camera
    beside = within = 0
    for row in range(len(plan)):
        for chance in found.of(row):
            seen = chance.look
            assert 0.0 <= seen.time_s < what.duration_s
            assert seen.off_nadir_deg <= camera.max_roll_deg
            assert seen.sun_elevation_deg >= camera.min_sun_elevation_deg
            same = (plan.time_s == seen.time_s) & (plan.place_key == plan.place_key[row])
            assert same.any() == chance.planned
            within += chance.planned
            if not chance.planned:
                beside += 1
                others = plan.time_s[plan.area != plan.area[row]]
                assert np.abs(others - seen.time_s).min() >= camera.cadence_s
    assert within > 100
    # Losers of agility that are free after all are rare: exposures of a visit last a second and a half.
    assert beside < within


def test_every_nominal_shot_is_an_opportunity_of_its_place(
    north: tuple[Scenario, Plan, Propagator, Opportunities],
) -> None:
    _, plan, _, found = north
    for row in range(len(plan)):
        assert float(plan.time_s[row]) in [chance.look.time_s for chance in found.of(row)]


def test_opportunities_do_not_depend_on_the_order_in_which_they_are_asked(
    north: tuple[Scenario, Plan, Propagator, Opportunities],
) -> None:
    what, plan, orbit, found = north
    other = Opportunities(plan, [orbit], [what.craft[0].camera], what.duration_s)
    for row in reversed(range(len(plan))):
        assert other.of(row) == found.of(row)


def test_places_of_a_wide_area_are_searched_one_by_one_and_agree(tmp_path: Path) -> None:
    ring = [[20.0, 64.0], [21.5, 64.0], [21.5, 64.12], [20.0, 64.12], [20.0, 64.0]]
    file = tmp_path / "wide.geojson"
    file.write_text(
        '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"name":"wide"},'
        f'"geometry":{{"type":"Polygon","coordinates":[{ring}]}}}}]}}'
    )
    what = scenario(duration="1d", targets={"use": str(file), "land": False}, camera={"max_roll_deg": 45})
    plan, orbits, found = planned(what)
    assert np.ptp(plan.lon_deg) > 1.2
    for row in (0, len(plan) // 2, len(plan) - 1):
        expected, _ = searched(what, plan, orbits[0], row)
        assert [chance.look.time_s for chance in found.of(row)] == pytest.approx(expected, abs=0.02)


def test_a_strip_mapper_has_no_second_look() -> None:
    plan, _, found = planned(scenario(camera={"plan": "strip"}, duration="3h", targets={"land": False}))
    assert len(plan)
    assert found.of(0) == ()


# ------------------------------------------------------------------------------------------- what becomes of a tile


def cloudy_world(policy: Any, **changes: Any) -> Any:
    """32 tiles of one day under cloud, all of which can be seen again on the next two days."""
    times = [1000.0 + 10.0 * k for k in range(32)]
    options: dict[str, Any] = {
        "opportunities": Written([500.0, DAY_S + 5000.0, 2 * DAY_S + 5000.0], planned=True),
        "clouds": 0.6, "prevalence": 0.4, "payload": PerfectEye(PerfectEye.Config()), "horizon_s": 4 * DAY_S,
        "seed": 4,
    }  # fmt: skip
    contacts = [contact(DAY_S, 300.0, FAST), contact(3 * DAY_S, 300.0, FAST)]
    return mission(policy, times, contacts, **{**options, **changes})


def test_a_clouded_tile_is_seen_on_a_clear_day_and_delivered_under_the_later_pictures_name() -> None:
    policy = SecondLook(SecondLookConfig(unsure_from=0.0, unsure_to=0.0, thumbnail_from=0.5))
    once = cloudy_world(Threshold(ThresholdConfig(thumbnail_from=0.5)))
    twice = cloudy_world(policy)
    hidden = ~once.record.truth.visible
    cleared = np.flatnonzero(hidden & twice.record.seen_visible)
    assert 3 <= len(cleared) < hidden.sum(), "the draw of clouds makes this test empty"
    record = twice.record
    assert (record.looks == np.where(hidden, 2, 1)).all()
    assert record.looked_s[hidden] == pytest.approx(DAY_S + 5000.0)
    assert record.looked_s[~hidden] == pytest.approx(record.plan.time_s[~hidden])
    positives = 0
    for row in cleared.tolist():
        assert {v.status for v in once.record.verdicts[row]} == {HIDDEN}
        statuses = [v.status for v in record.verdicts[row]]
        assert statuses == [EVENT if changed else NULL for changed in record.truth.changed[row]]
        assert {v.tile_id for v in record.verdicts[row]} == {record.picture_id(row)}
        assert record.picture_id(row) == f"{record.plan.place_id[row]}@{int(DAY_S + 5000.0)}"
        if record.truth.changed[row].any():
            positives += 1
            assert record.delivered_s[row] > 3 * DAY_S
            assert record.thumbnail_px[row] == 128
    assert positives
    # The plan, the truth and the population are those of the nominal shots.
    assert (record.truth.visible == once.record.truth.visible).all()
    assert (record.truth.changed == once.record.truth.changed).all()


def test_the_ground_reads_the_picture_that_was_delivered() -> None:
    from flightsim.belief import PERFECT, Products
    from flightsim.runfolder import ground_verdict_lines, tiles_table

    record = cloudy_world(Again()).record
    readable = Products.of_record(record, PERFECT).readable
    assert (readable == record.seen_visible).all()
    assert (readable != record.truth.visible).any()
    lines = ground_verdict_lines(record)
    assert len(lines) == 32
    assert all(f"@{int(DAY_S + 5000.0)}" in line for line in lines)
    table = tiles_table(record)
    assert table["looks"].to_pylist() == [2] * 32
    assert table["looked_s"].to_pylist() == pytest.approx([DAY_S + 5000.0] * 32)
    assert table["tile_id"].to_pylist() == list(record.plan.tile_ids)


def test_a_tile_that_is_looked_at_twice_ends_once() -> None:
    flown = cloudy_world(Again())
    assert flown.states() == {"delivered": 32}
    assert len(flown.kinds("tile_ended")) == 32
    for kind in ("tile_captured", "look_planned", "tile_reimaged"):
        assert len(flown.kinds(kind)) == 32
    for kind in ("tile_processed", "tile_decided"):
        assert len(flown.kinds(kind)) == 64
    assert len(flown.record.items) == 32
    times = [event["t_s"] for event in flown.events]
    assert times == sorted(times)
    assert {event["look_s"] for event in flown.kinds("look_planned")} == {DAY_S + 5000.0}
    assert [event["tile"] for event in flown.kinds("tile_reimaged")] == list(flown.record.plan.tile_ids)


def test_latency_and_lateness_count_from_the_nominal_shot() -> None:
    late = cloudy_world(Again(), deadline_s=1.5 * DAY_S)
    assert late.states() == {"late": 32}
    ages = [event["age_s"] for event in late.kinds("item_delivered")]
    # Delivered two days after the second look, three after the nominal one.
    assert min(ages) > 2.9 * DAY_S
    assert all(item.captured_s < 2000.0 for item in late.record.items)


def test_compute_and_energy_are_charged_for_each_look() -> None:
    once = cloudy_world("bent_pipe", payload=Confusion(Confusion.Config(tpr=0.9, fpr=0.1)), clouds=0.0)
    eye = Confusion(Confusion.Config(tpr=0.9, fpr=0.1))
    options: dict[str, Any] = {"payload": eye, "clouds": 0.0, "seconds_per_question": 2.0}
    single = cloudy_world(Again(), max_looks=1, **options)
    double = cloudy_world(Again(), **options)
    assert once.record.compute_s.sum() == 0.0
    assert (single.record.compute_s == 14.0).all()
    assert (double.record.compute_s == 28.0).all()
    assert double.record.energy_j == 2 * single.record.energy_j == 2 * 32 * 7


def one_tile(policy: Any, **changes: Any) -> Any:
    options: dict[str, Any] = {"opportunities": Written([DAY_S]), "horizon_s": 3 * DAY_S}
    return mission(policy, [0.0], [contact(2 * DAY_S, 300.0, FAST)], **{**options, **changes})


def test_the_raw_capture_is_freed_while_a_tile_waits_unless_it_is_kept() -> None:
    """A raw capture is 100 kB, a tile 80 kB."""
    assert one_tile(Again(), storage_bytes=150_000).states() == {"delivered": 1}
    kept = one_tile(Again(keep=True), storage_bytes=150_000)
    assert kept.states() == {"dropped_full": 1}
    assert "no room for the raw capture of the second look" in kept.kinds("tile_lost")[0]["why"]
    assert kept.record.looks[0] == 1
    assert kept.record.looked_s[0] == 0.0
    assert any("100,000 B of raw captures were still kept" in note for note in kept.record.notes)
    assert one_tile(Again(keep=True), storage_bytes=300_000).states() == {"delivered": 1}


def test_a_picture_that_never_found_room_was_not_taken() -> None:
    flown = one_tile(Again(), storage_bytes=50_000)
    assert flown.record.looks[0] == 0
    assert np.isnan(flown.record.looked_s[0])


def test_a_second_look_can_be_lost_for_want_of_a_processor() -> None:
    options: dict[str, Any] = {"schemas": ("flood_extent",), "horizon_s": 1.5 * DAY_S}
    # The first look takes until 0.6 d, the second would take until 1.6 d.
    slow = mission(Again(), [0.0], [], opportunities=Written([DAY_S]), seconds_per_question=0.6 * DAY_S, **options)
    assert slow.states() == {"not_processed": 1}
    assert [event["why"] for event in slow.kinds("tile_lost")] == ["still waiting for the processor when the run ended"]
    assert slow.record.compute_s[0] == 0.6 * DAY_S
    busy = mission(
        Again(), [0.0, DAY_S - 1.0], [], opportunities=Written({0: [DAY_S], 1: []}), seconds_per_question=100.0,
        queue_limit=0, **options,
    )  # fmt: skip
    assert [event["why"] for event in busy.kinds("tile_lost")] == ["the compute queue is full"]
    assert busy.states() == {"incomplete": 1, "not_processed": 1}


def test_a_lost_second_look_counts_as_decided_and_never_as_sent() -> None:
    truth = truth_of([[True], [True]])
    record = record_of(truth, actions=[Action.REIMAGE, Action.TILE], delivered_s=[np.nan, 1000.0])
    values = compute_metrics(
        record, sizes_of(2), {"flood_extent": (0.9, 0.1)}, fs.load_scenario("statistical").evaluation.reader, 1
    )
    assert values["funnel"]["processed"] == 2
    assert values["funnel"]["sent"] == 1


# ------------------------------------------------------------------------------------------- what is on offer


def test_the_policy_is_told_when_the_next_look_would_be_and_how_many_there_were() -> None:
    policy = Again()
    one_tile(policy, opportunities=Written([-5.0, 0.0, 4.0, DAY_S, 2 * DAY_S]), max_looks=3)
    assert [(seen.looks, seen.next_look_s) for seen in policy.seen] == [(1, DAY_S), (2, 2 * DAY_S), (3, None)]
    assert [Action.REIMAGE in seen.costs_bytes for seen in policy.seen] == [True, True, False]
    assert [seen.pair.after.captured_s for seen in policy.seen] == [0.0, DAY_S, 2 * DAY_S]
    assert {seen.pair.before for seen in policy.seen} == {policy.seen[0].pair.before}
    assert policy.seen[1].pair.after.gsd_m == 11.0


def test_a_second_look_costs_no_bytes() -> None:
    costs = []

    class Asking:
        def decide(self, seen: Observation) -> Decision:
            costs.append(dict(seen.costs_bytes))
            return Decision(Action.NOTHING)

    one_tile(Asking())
    assert costs[0][Action.REIMAGE] == 0
    assert costs[0][Action.TILE] > 80_000


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"opportunities": None}, "'reimage', which is not on offer (next_look_s is None after 1 of"),
        ({"opportunities": Written([])}, "not on offer (next_look_s is None after 1 of this member's pictures)"),
        ({"opportunities": Written([0.0, 8.9])}, "on offer are nothing, verdict, thumbnail, tile"),
        ({"max_looks": 1}, "not on offer (next_look_s is None after 1 of"),
    ],
)
def test_where_no_look_is_possible_the_policy_is_told_and_its_wish_is_a_fault(changes: Any, words: str) -> None:
    policy = Again()
    one_tile(policy, **changes)
    assert policy.seen[0].next_look_s is None
    flown = one_tile(Stubborn(), **changes)
    assert words in flown.kinds("policy_failed")[0]["why"]
    assert flown.record.policy_failed[0]
    assert not flown.kinds("look_planned")
    assert flown.record.action[0] != ACTIONS.index(Action.REIMAGE)


def test_a_look_after_the_decision_expires_is_impossible() -> None:
    flown = one_tile(Stubborn(expires_s=DAY_S - 1.0))
    assert "expires_s is 86399 s, and the next look is at 86400 s" in flown.kinds("policy_failed")[0]["why"]
    assert not flown.kinds("tile_reimaged")
    assert one_tile(Again(expires_s=DAY_S)).states() == {"delivered": 1}


def test_the_last_picture_is_the_last() -> None:
    flown = one_tile(Stubborn(), opportunities=Written([DAY_S * k for k in (0.5, 1.0, 1.2, 1.5)]), max_looks=3)
    assert flown.record.looks[0] == 3
    assert "after 3 of this member's pictures" in flown.kinds("policy_failed")[0]["why"]


def test_the_camera_makes_one_second_look_at_a_time() -> None:
    """Two places that are not of one area, seen 5 s apart; the camera needs 9 s."""
    chances = Written({0: [DAY_S, 1.5 * DAY_S], 1: [DAY_S + 5.0, 1.6 * DAY_S], 2: [DAY_S + 9.0]})
    flown = mission(Again(), [0.0, 10.0, 20.0], [], opportunities=chances, horizon_s=3 * DAY_S)
    assert flown.record.looked_s.tolist() == [DAY_S, 1.6 * DAY_S, DAY_S + 9.0]


def test_tiles_of_one_area_share_a_pointing_and_planned_looks_need_none() -> None:
    chances = {0: [DAY_S], 1: [DAY_S + 0.2], 2: [DAY_S + 0.4]}
    plan = replace(plan_at([0.0, 1.0, 2.0]), area=np.array([0, 0, 1], dtype=np.int32), areas=("x", "y"))
    flown = mission(Again(), [0.0] * 3, [], plan=plan, opportunities=Written(chances), horizon_s=2 * DAY_S)
    assert flown.record.looked_s.tolist() == [DAY_S, DAY_S + 0.2, 2.0]
    free = mission(Again(), [0.0] * 3, [], plan=plan, opportunities=Written(chances, True), horizon_s=2 * DAY_S)
    assert free.record.looked_s.tolist() == [DAY_S, DAY_S + 0.2, DAY_S + 0.4]


@pytest.mark.parametrize("policy", ["threshold", "budgeted", "bent_pipe", "verdicts_only", "uniform"])
def test_a_policy_that_never_looks_again_meets_the_same_world_with_and_without_second_looks(policy: str) -> None:
    with_looks = cloudy_world(policy, clouds=0.4)
    without = cloudy_world(policy, clouds=0.4, opportunities=None)
    assert with_looks.events == without.events
    assert (with_looks.record.looks == 1).all()
    assert with_looks.record.picture_id(3) == with_looks.record.plan.tile_id(3)


# ------------------------------------------------------------------------------------------- pictures and verdicts


@pytest.fixture(scope="module")
def cloudy() -> Any:
    from flightsim.world import prepare

    return prepare(fs.load_scenario("statistical", ["duration=4d", "targets.count=30"]))


def test_a_second_look_at_a_nominal_shot_is_that_picture(cloudy: Any) -> None:
    plan, scenes = cloudy.plan, cloudy.scenes
    checked = 0
    for row in range(0, len(plan), 7):
        for chance in cloudy.opportunities.of(row):
            if not chance.planned:
                continue
            (same,) = np.flatnonzero((plan.time_s == chance.look.time_s) & (plan.place_key == plan.place_key[row]))
            again = scenes.pair_at(row, chance.look)
            assert again.before == scenes.pair(row).before
            assert again.after == scenes.pair(int(same)).after
            assert scenes.visible_at(row, chance.look) == cloudy.truth.visible[same]
            for kind, size in (("tile", None), ("thumbnail", 128)):
                assert scenes.product_bytes_at(row, chance.look, kind, size) == scenes.product_bytes(same, kind, size)
            checked += same != row
    assert checked > 20


def test_clouds_of_a_second_look_are_those_of_its_day(cloudy: Any) -> None:
    hidden = [
        [cloudy.scenes.visible_at(row, look(day * DAY_S + 40_000.0)) for day in range(200)]
        for row in range(0, len(cloudy.plan), 64)
    ]
    share = 1.0 - np.mean(hidden)
    # Half of the sky on average; a tile counts as hidden above 0.6.
    assert share == pytest.approx(np.mean(~cloudy.truth.visible), abs=0.12)
    row = 0
    clear = look(0.0)
    same_day = {cloudy.scenes.visible_at(row, replace(clear, time_s=t)) for t in (100.0, 50_000.0, 86_399.0)}
    assert len(same_day) == 1
    assert HIDDEN_CLOUD_FRACTION == 0.6


def test_the_eye_draws_anew_for_a_second_picture_and_the_same_each_time() -> None:
    eye = Confusion(Confusion.Config(tpr=0.6, fpr=0.4))
    first, again = (cloudy_world(Again(), payload=eye, clouds=0.0) for _ in range(2))
    once = cloudy_world(Again(), payload=eye, clouds=0.0, max_looks=1)
    assert first.record.verdicts == again.record.verdicts
    changed = sum(
        [v.status for v in first.record.verdicts[row]] != [v.status for v in once.record.verdicts[row]]
        for row in range(32)
    )
    assert changed > 16


def test_a_payload_that_raises_at_the_second_picture_is_told_then() -> None:
    class Fragile(Confusion):
        def assess_many(self, pairs: Any, schemas: Any, **rest: Any) -> Any:
            if any(pair.after.captured_s > DAY_S for pair in pairs):
                raise RuntimeError("no memory for a second picture")
            return super().assess_many(pairs, schemas, **rest)

    flown = cloudy_world(Again(), payload=Fragile(Fragile.Config(tpr=0.9, fpr=0.1)))
    failed = flown.kinds("payload_failed")
    assert len(failed) == 32
    assert min(event["t_s"] for event in failed) >= DAY_S + 5000.0
    assert {v.status for v in flown.record.verdicts[0]} == {VerdictStatus.INVALID}


class Pictures:
    """Scenes with pixels: quiet at first, something else at every later look."""

    has_pixels = True

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.cases = picture_pairs()

    def _named(self, pair: TilePair, row: int, name: str, time_s: float) -> TilePair:
        after = replace(pair.after, id=name, place_id=self.plan.place_id[row], captured_s=time_s, cloud_fraction=None)
        return TilePair(pair.before, after)

    def pair(self, row: int) -> TilePair:
        return self._named(self.cases["quiet"], row, self.plan.tile_id(row), float(self.plan.time_s[row]))

    def pair_at(self, row: int, seen: Look) -> TilePair:
        return self._named(self.cases["flooded"], row, self.plan.look_id(row, seen.time_s), seen.time_s)

    def raw_bytes(self, row: int) -> int:
        return 1000


def test_products_of_a_second_look_are_made_of_its_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTSIM_CACHE", str(tmp_path))
    plan = plan_at([100.0])
    told: list[tuple[int, str]] = []

    def estimate(pair: TilePair) -> float:
        return 0.25 if pair.after.captured_s < DAY_S else 0.75

    scenes: Any = GatedScenes(Pictures(plan), estimate, lambda row, why: told.append((row, why)))  # type: ignore[arg-type]
    looks = SecondLooks(scenes, plan, None, 1, Written([DAY_S]), [9.0], [2])  # type: ignore[arg-type]
    sizer = Sizer(scenes, plan, Radio(), looks)
    before = {action: sizer.product(0, action, None, ()) for action in (Action.THUMBNAIL, Action.TILE)}
    assert looks.pair(0).after.cloud_fraction == 0.25
    looks.take(0, looks.book(0, 100.0, 1))
    assert looks.pair(0).after.cloud_fraction == 0.75
    assert not told
    for action, old in before.items():
        new = sizer.product(0, action, None, ())
        assert new.size_bytes != old.size_bytes
        file = sizer.file(0, action, None, ())
        assert len(file) == new.size_bytes
        tile_id, _, picture = records.decode_product(file)
        assert tile_id == f"{plan.place_id[0]}@{int(DAY_S)}"
        # What references compare with stays the nominal picture.
        nominal = sizer.picture(0, action)
        assert picture != nominal
        assert sizer.picture_bytes(0, action) == len(nominal)
        assert sizer.picture_bytes_all(action).tolist() == [len(nominal)]


def test_several_spacecraft_keep_their_names_in_the_ids_of_second_looks() -> None:
    plan = replace(plan_at([0.0, 1.0]), spacecraft=("a", "b"), craft=np.array([0, 1], dtype=np.int16))
    assert plan.look_id(1, 99.9) == f"{plan.place_id[1]}@99/b"
    assert plan.look_id(0, float(plan.time_s[0])) == plan.tile_id(0)


# ------------------------------------------------------------------------------------------- policies


AGAIN = {Action.NOTHING: 0, Action.VERDICT: 96, Action.THUMBNAIL: 4_700, Action.TILE: 131_000, Action.REIMAGE: 0}


def saw(statuses: list[Any], confidence: float | None, **changes: Any) -> Observation:
    usual = observations()["one event"]
    reasons = {HIDDEN: "cloud"}
    verdicts = tuple(
        replace(
            usual.verdicts[k], status=status, reason=reasons.get(status, ""),
            confidence=confidence if status in (EVENT, NULL) else None,
        )
        for k, status in enumerate(statuses)
    )  # fmt: skip
    options: dict[str, Any] = {"next_look_s": 80_000.0, "costs_bytes": AGAIN}
    return replace(usual, verdicts=verdicts, **{**options, **changes})


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        (saw([HIDDEN] * 7, None), Action.REIMAGE),
        (saw([EVENT, NULL], 0.5), Action.REIMAGE),
        (saw([EVENT, NULL], 0.29), Action.VERDICT),
        (saw([EVENT, NULL], 0.7), Action.THUMBNAIL),
        (saw([EVENT, HIDDEN], 0.9), Action.THUMBNAIL),
        (saw([NULL, NULL], 0.5), Action.NOTHING),
        (saw([EVENT, NULL], None), Action.REIMAGE),
        (
            saw([HIDDEN] * 7, None, next_look_s=None, costs_bytes=observations()["one event"].costs_bytes),
            Action.VERDICT,
        ),
        (saw([HIDDEN] * 7, None, next_look_s=600.0 + 5 * DAY_S), Action.REIMAGE),
        (saw([HIDDEN] * 7, None, next_look_s=601.0 + 5 * DAY_S), Action.VERDICT),
    ],
)
def test_second_look_looks_again_where_the_first_says_too_little(seen: Observation, action: Action) -> None:
    assert SecondLook(SecondLookConfig()).decide(seen).action is action


def test_only_cloud_is_worth_the_wait_and_only_if_wanted() -> None:
    policy = SecondLook(SecondLookConfig())
    dark = saw([HIDDEN], None)
    dark = replace(dark, verdicts=tuple(replace(v, reason="no_data") for v in dark.verdicts))
    assert policy.decide(dark).action is Action.VERDICT
    assert SecondLook(SecondLookConfig(cloud=False)).decide(saw([HIDDEN], None)).action is Action.VERDICT


def test_an_unsure_no_is_looked_at_again_where_that_is_wanted_and_something_was_seen() -> None:
    unsure = saw([NULL, NULL], 0.6)
    assert SecondLook(SecondLookConfig(null_below=0.6)).decide(unsure).action is Action.NOTHING
    policy = SecondLook(SecondLookConfig(null_below=0.61))
    assert policy.decide(unsure).action is Action.REIMAGE
    blind = replace(unsure, verdicts=tuple(replace(v, reason="bands", confidence=0.5) for v in unsure.verdicts))
    assert policy.decide(blind).action is Action.NOTHING
    assert policy.decide(saw([NULL, NULL], None)).action is Action.NOTHING


def test_a_falling_band_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"unsure_from is 0.8 and unsure_to 0.2; the band must not fall"):
        SecondLookConfig(unsure_from=0.8, unsure_to=0.2)


@pytest.mark.parametrize("case", ["can look again", "hidden, can look again", "looked again"])
def test_the_new_fields_travel(case: str) -> None:
    seen = observations()[case]
    far = wire.observation_from_json(wire.loads(wire.dumps(wire.observation_to_json(seen))))
    assert (far.next_look_s, far.looks) == (seen.next_look_s, seen.looks)
    assert far == seen


def test_a_policy_in_another_process_can_look_again(tmp_path: Path) -> None:
    file = tmp_path / "again.py"
    file.write_text(
        textwrap.dedent(
            """
            from flightsim.domain import Action, Decision
            from flightsim.protocols import EmptyConfig

            class Patient:
                Config = EmptyConfig

                def __init__(self, config):
                    pass

                def decide(self, seen):
                    if seen.next_look_s is not None and seen.looks == 1:
                        return Decision(Action.REIMAGE, reason=f"at {seen.next_look_s:.0f}")
                    return Decision(Action.TILE)
            """
        )
    )
    policy = ProcessPolicy.for_file(file, "Patient")
    try:
        flown = one_tile(policy)
    finally:
        policy.close()
    assert [event["action"] for event in flown.kinds("tile_decided")] == ["reimage", "tile"]
    assert flown.kinds("tile_decided")[0]["reason"] == "at 86400"
    assert flown.states() == {"delivered": 1}


# ------------------------------------------------------------------------------------------- whole runs


SMALL = ["duration=3d", "targets.count=12", "targets.lat_range_deg=[55, 70]", "start=2026-06-02T00:00:00Z"]


def test_a_run_looks_again_and_never_after_captures_stop() -> None:
    what = fs.load_scenario("statistical", SMALL)
    result = fs.run(what, policy="second_look", write=False)
    record = result.record
    assert record.event_counts["tile_reimaged"] == record.event_counts["look_planned"] == len(record.second_looks) > 50
    assert (record.looked_s[record.looks == 2] > record.plan.time_s[record.looks == 2]).all()
    assert record.looked_s.max() < what.duration_s
    assert sum(result.metrics["stages"].values()) == len(record.plan)
    # The population is that of the plan.
    other = fs.run(what, policy="threshold", write=False)
    assert result.metrics["population"] == other.metrics["population"]
    assert result.metrics["quality"]["bent_pipe_unlimited"] == other.metrics["quality"]["bent_pipe_unlimited"]


def test_revisit_shows_what_a_second_look_changes() -> None:
    """The shipped comparison, without pixels for speed: same population, better F1, and every change accounted for."""
    from benchmarks.revisit import changed_members, fly_both, moved

    plain = ("scenes.use=sizes", "payload.use=confusion", "policy.use=second_look")
    world, runs = fly_both(3, plain)
    first, second = runs["threshold"], runs["second_look"]
    assert first.metrics["population"] == second.metrics["population"]
    truth = world.truth
    right = [int(((run.ground.policy.yes == truth.changed) & truth.labelled).sum()) for run in (first, second)]
    changed = changed_members(first, second)
    assert right[1] - right[0] == changed["wrong, now right"] - changed["right, now wrong"]
    assert changed["  of them clouded at first, clear at the second look"] > 20
    assert second.metrics["quality"]["ground"]["f1"] > first.metrics["quality"]["ground"]["f1"] + 0.05
    assert sum(moved(first, second).values()) == (first.record.state != second.record.state).sum()


def test_the_order_of_hash_tables_changes_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, flightsim as fs; from pathlib import Path\n"
        f"fs.run(fs.load_scenario('statistical', {SMALL!r}), policy='second_look', out=Path(sys.argv[1]))"
    )
    digests = set()
    for seed in ("0", "1"):
        folder = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", code, str(folder)], check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        )
        names = ("events.jsonl", "metrics.json", "ground/verdicts.jsonl")
        digests.add(hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest())
    assert len(digests) == 1
