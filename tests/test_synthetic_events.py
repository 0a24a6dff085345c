"""Events of the generated world: how they grow, what they may touch, and that picture and state agree."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from flightsim.domain import SCHEMA_IDS
from flightsim.scenes.synthetic import states
from flightsim.scenes.synthetic.events import DAY_S, KINDS, Event, Kind
from flightsim.scenes.synthetic.forms import FORMS, flood_crest_m
from flightsim.scenes.synthetic.ground import Biome, Cover, Land, Window
from flightsim.scenes.synthetic.painting import Scene, crop, paint, touches
from flightsim.scenes.synthetic.siting import SCORES, WEIGHTS, Look, look_window, sites
from flightsim.scenes.synthetic.states import ROWS, State
from flightsim.scenes.synthetic.works import WORKS

from .handmade_land import HandmadeTerrain, block_of, quiet

_SIDE = 200


def situation(kind: Kind, first_key: int = 5) -> tuple[HandmadeTerrain, Event, Land]:
    """A full-grown event of a kind where it fits, in the biome where it is most at home, and the land around it."""
    biome = max(WEIGHTS[kind], key=lambda one: WEIGHTS[kind][one])
    for key in range(first_key, first_key + 80):
        block = block_of(key)
        terrain = HandmadeTerrain(block, biome)
        window = look_window(block)
        found = sites(kind, Look(block, terrain.land(window)))
        if found is None:
            continue
        cell = found.draw(0.37)
        row, col = divmod(int(found.cells[cell]), window.cols)
        row_px, col_px = window.top + window.step * row, window.left + window.step * col
        angle = float(found.angles_rad[cell])
        spec = KINDS[kind]
        event = Event(
            kind,
            block.key,
            1000 + key,
            5 * DAY_S,
            spec.growth_days * DAY_S,
            inf if spec.duration_days == inf else (5 + spec.duration_days) * DAY_S,
            row_px,
            col_px,
            spec.radius_m / block.gsd_m,
            0.7 if np.isnan(angle) else angle,
        )
        return terrain, event, terrain.land(Window(row_px - _SIDE // 2, col_px - _SIDE // 2, _SIDE, _SIDE))
    raise AssertionError(f"no handmade block hosts {kind}")


def at_stage(event: Event, share: float) -> float:
    """Time at a share of the growth. [s]"""
    return event.onset_s + share * event.growth_s


@pytest.mark.parametrize("kind", list(Kind))
def test_stage_grows_smoothly_and_what_passes_recedes(kind):
    _, event, _ = situation(kind)
    assert event.stage(event.onset_s - 1.0) == 0.0
    growing = [event.stage(at_stage(event, x)) for x in np.linspace(0.0, 1.0, 40)]
    assert growing == sorted(growing)
    assert max(np.diff(growing)) < 0.05
    assert growing[-1] == pytest.approx(1.0)
    if event.end_s == inf:
        assert event.stage(event.onset_s + 1e9) == 1.0
        assert not event.receding(event.onset_s + 1e9)
    else:
        falling = [event.stage(t) for t in np.linspace(event.end_s - event.recede_s, event.end_s, 40)]
        assert falling == sorted(falling, reverse=True)
        assert falling[-1] == 0.0
        assert event.receding(event.end_s - 0.5 * event.recede_s)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_a_form_a_place_and_schemas_that_exist(kind):
    assert (kind in FORMS) != (kind in WORKS)
    assert kind in SCORES
    assert any(weight > 0 for weight in WEIGHTS[kind].values())
    spec = KINDS[kind]
    assert spec.owner in spec.event_of
    assert spec.event_of | spec.ambiguous <= set(SCHEMA_IDS)
    assert not spec.event_of & spec.ambiguous


def test_every_schema_is_answered_by_some_kind():
    assert {schema for spec in KINDS.values() for schema in spec.event_of} == set(SCHEMA_IDS)


@pytest.mark.parametrize("kind", list(Kind))
def test_states_mean_no_more_than_the_table_of_kinds_says(kind):
    _, event, land = situation(kind)
    scene = Scene([event], land, block_of())
    times = [at_stage(event, x) for x in (0.3, 0.7, 1.0, 1.7)]
    if event.end_s < inf:
        times.append(event.end_s - 0.4 * event.recede_s)
    sure, perhaps = set(), set()
    for code in np.unique([scene.codes(t) for t in times]).tolist():
        if code == State.UNTOUCHED:
            continue
        for schema, level in {**ROWS[State(code)].on_plants, **ROWS[State(code)].meaning}.items():
            (sure if abs(level) >= 2 else perhaps).add(schema)
    spec = KINDS[kind]
    assert sure == spec.event_of
    assert perhaps <= spec.event_of | spec.ambiguous


def test_every_state_is_in_the_table():
    assert set(ROWS) == set(State) - {State.UNTOUCHED}
    assert max(State) < 64  # truth packs two of them into twelve bits


@pytest.mark.parametrize("kind", list(Kind))
def test_surface_changes_exactly_where_the_state_says(kind):
    terrain, event, land = situation(kind)
    for share in (0.5, 1.0):
        before, after = quiet(land), quiet(land)
        codes = paint([event], land, terrain.block, at_stage(event, share), after)
        differs = np.zeros(codes.shape, dtype=bool)
        for plane in ("cover", "vigour", "turbidity", "heat"):
            differs |= getattr(before, plane) != getattr(after, plane)
        np.testing.assert_array_equal(differs, codes > 0)
    assert np.count_nonzero(codes) > 40
    # A few hectares to some hundred, within reach.
    assert 0.3 < np.count_nonzero(codes) * 0.01 < 400.0
    down, east = np.nonzero(codes)
    far = np.hypot(down + land.window.top - event.row_px, east + land.window.left - event.col_px)
    assert far.max() <= 1.5 * event.reach_px


@pytest.mark.parametrize("kind", list(Kind))
def test_surface_stays_without_events_before_onset_and_after_the_end(kind):
    terrain, event, land = situation(kind)
    moments = [event.onset_s - 1.0] + ([event.end_s + 1.0] if event.end_s < inf else [])
    for time_s in moments:
        before, after = quiet(land), quiet(land)
        assert not paint([event], land, terrain.block, time_s, after).any()
        for plane in ("cover", "vigour", "turbidity", "heat", "smoke"):
            np.testing.assert_array_equal(getattr(before, plane), getattr(after, plane))


@pytest.mark.parametrize("kind", list(Kind))
def test_later_contains_earlier_while_it_grows(kind):
    _, event, land = situation(kind)
    scene = Scene([event], land, block_of())
    masks = [scene.codes(at_stage(event, x)) > 0 for x in (0.3, 0.5, 0.7, 1.0)]
    for early, late in itertools.pairwise(masks):
        assert not (early & ~late).any()
    assert masks[0].sum() < masks[-1].sum()


def test_passing_event_recedes_over_the_pixels_it_grew_over():
    _, event, land = situation(Kind.ICE_FORMATION)
    scene = Scene([event], land, block_of())
    full = scene.codes(at_stage(event, 1.0)) > 0
    half = scene.codes(event.end_s - 0.5 * event.recede_s) > 0
    assert 0 < half.sum() < full.sum()
    assert not (half & ~full).any()


_HOSTS = {
    Kind.FLOOD: ~states.ICE,
    Kind.POND_DRY: states.WATER,
    Kind.POND_FILL: ~(states.WATER | states.ICE),
    Kind.GLACIER_RETREAT: states.GLACIER,
    Kind.ICE_BREAKUP: states.FLOATING,
    Kind.ICE_FORMATION: states.WATER,
    Kind.LAVA: ~(states.WATER | states.ICE),
    Kind.WILDFIRE: states.FUEL,
    Kind.GAS_FLARE: ~(states.WATER | states.ICE | states.BUILT),
    Kind.BURN_SCAR: states.FUEL,
    Kind.DIEBACK: states.TREES,
    Kind.DROUGHT: states.OPEN_PLANTS,
    Kind.FOREST_CLEARING: states.TREES,
    Kind.TOWN_GROWTH: ~(states.WATER | states.ICE | states.BUILT),
    Kind.CONSTRUCTION_SITE: ~(states.WATER | states.ICE | states.BUILT),
    Kind.MINING_PIT: ~(states.ICE | states.BUILT),
}


@pytest.mark.parametrize("kind", list(Kind))
def test_events_touch_only_what_can_host_them(kind):
    """Wherever an event is put, whatever lies there."""
    for number, biome in enumerate(Biome):
        block = block_of(40 + number)
        land = HandmadeTerrain(block, biome).land(Window(300, 400, 160, 160))
        _, event, _ = situation(kind)
        event = replace(event, row_px=380.0, col_px=480.0)
        codes = Scene([event], land, block).codes(at_stage(event, 1.0))
        assert _HOSTS[kind][land.cover[codes > 0]].all()


def test_no_flood_above_its_crest_and_low_ground_first():
    _, event, land = situation(Kind.FLOOD)
    scene = Scene([event], land, block_of())
    flooded = np.isin(scene.codes(at_stage(event, 1.0)), [State.FLOOD_MUDDY, State.FLOOD_SHALLOW])
    assert land.above_water_m[flooded].max() < flood_crest_m(event)
    early = np.isin(scene.codes(at_stage(event, 0.4)), [State.FLOOD_MUDDY, State.FLOOD_SHALLOW])
    assert land.above_water_m[early].mean() < land.above_water_m[flooded].mean()
    # Existing water may turn muddy, but is never called flooded.
    assert not states.WATER[land.cover[flooded]].any()


@pytest.mark.parametrize("kind", list(Kind))
def test_states_continue_across_the_tiles_of_a_block(kind):
    terrain, event, _ = situation(kind)
    top, left = int(event.row_px) - 64, int(event.col_px) - 64
    block, time_s = terrain.block, at_stage(event, 0.8)

    def states_of(window: Window):
        # One land cut up, so that only the events are under test.
        whole = terrain.land(Window(top, left, 128, 128))
        rows = slice(window.top - top, window.top - top + window.rows)
        cols = slice(window.left - left, window.left - left + window.cols)
        return Scene([event], crop(whole, rows, cols), block).codes(time_s)

    whole = states_of(Window(top, left, 128, 128))
    halves = [states_of(Window(top, left + 64 * k, 128, 64)) for k in (0, 1)]
    quarters = [[states_of(Window(top + 64 * j, left + 64 * k, 64, 64)) for k in (0, 1)] for j in (0, 1)]
    assert whole.any()
    np.testing.assert_array_equal(whole, np.concatenate(halves, axis=1))
    np.testing.assert_array_equal(whole, np.block(quarters))


def test_fire_glows_while_it_burns_then_leaves_a_scar():
    _, event, land = situation(Kind.WILDFIRE)
    block = block_of()
    hot = []
    for share in (0.4, 0.8, 1.3, 2.5):
        surface = quiet(land)
        codes = paint([event], land, block, at_stage(event, share), surface)
        hot.append(int(np.count_nonzero(surface.heat)))
    assert hot[0] > 0
    assert hot[1] > 0
    assert hot[3] == 0
    assert np.count_nonzero(codes) > 100


def test_smoke_drifts_beyond_the_fire_and_only_while_it_burns():
    _, event, land = situation(Kind.WILDFIRE)
    surface = quiet(land)
    codes = paint([event], land, block_of(), at_stage(event, 0.7), surface)
    assert (surface.smoke[codes == 0] > 0.05).any()
    assert (surface.smoke >= 0).all()
    late = quiet(land)
    paint([event], land, block_of(), at_stage(event, 3.0), late)
    assert not late.smoke.any()


def test_later_event_lies_over_earlier_one_whatever_the_order_given():
    _, event, land = situation(Kind.FOREST_CLEARING)
    site = replace(event, kind=Kind.CONSTRUCTION_SITE, key=77, onset_s=event.onset_s + 60 * DAY_S, radius_px=25.0)
    time_s = event.onset_s + 400 * DAY_S
    both = Scene([event, site], land, block_of()).codes(time_s)
    alone = Scene([site], land, block_of()).codes(time_s)
    assert alone.any()
    np.testing.assert_array_equal(both[alone > 0], alone[alone > 0])
    np.testing.assert_array_equal(both, Scene([site, event], land, block_of()).codes(time_s))


def test_touches_is_never_too_narrow():
    _, event, _ = situation(Kind.MINING_PIT)
    away = Window(int(event.row_px + event.reach_px) + 2, int(event.col_px), 20, 20)
    assert not touches(event, away)
    assert touches(event, replace(away, top=away.top - 4))


@pytest.mark.parametrize("kind", list(Kind))
def test_no_site_where_a_block_offers_nothing(kind):
    """A bare salt flat hosts nothing that needs water, plants, ice or people."""
    block = block_of()
    land = HandmadeTerrain(block, Biome.DESERT).land(look_window(block))
    bare = replace(
        land,
        cover=np.full_like(land.cover, Cover.SALT),
        above_water_m=np.full_like(land.above_water_m, 30.0),
        biome=max(WEIGHTS[kind], key=lambda one: WEIGHTS[kind][one]),
    )
    found = sites(kind, Look(block, bare))
    on_bare_ground = {Kind.LAVA, Kind.GAS_FLARE, Kind.CONSTRUCTION_SITE, Kind.MINING_PIT}
    assert (found is not None) == (kind in on_bare_ground)


@pytest.mark.parametrize("kind", list(Kind))
def test_no_site_in_a_biome_without_weight(kind):
    block = block_of()
    for biome in set(Biome) - set(WEIGHTS[kind]):
        land = HandmadeTerrain(block, biome).land(look_window(block))
        assert sites(kind, Look(block, land)) is None
