"""Truth of the generated world: history by key, masks, labels, fields, and prevalence stated against met."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from flightsim.domain import SCHEMA_IDS, Plan
from flightsim.grid import grid_of
from flightsim.scenario.models import Targets
from flightsim.scenes.synthetic import states, truth
from flightsim.scenes.synthetic.events import DAY_S, KINDS, Kind
from flightsim.scenes.synthetic.ground import Biome, Block, Window
from flightsim.scenes.synthetic.history import CAP, History
from flightsim.scenes.synthetic.landscape import Terrain
from flightsim.scenes.synthetic.painting import paint
from flightsim.scenes.synthetic.siting import WEIGHTS
from flightsim.scenes.synthetic.states import State
from flightsim.verdicts import validate_body

from .handmade_land import HandmadeTerrain, quiet
from .test_synthetic_events import at_stage, situation

_BIOMES = tuple(Biome)


def plan_over(
    places: list[tuple[float, float]], visits: tuple[tuple[float, float], ...], tile_px: int = 64, gsd_m: float = 20.0
) -> tuple[Plan, list[Block], np.ndarray]:
    """Every tile of the block of each place at each visit, (day, days since the reference), in time order."""
    grid = grid_of(gsd_m, tile_px)
    blocks, parts = [], []
    for number, (lat_deg, lon_deg) in enumerate(places):
        row, col = (int(v) for v in grid.cell_of(lat_deg, lon_deg))
        middle = [float(v) for v in grid.block_centre_of(row, col)]
        blocks.append(Block(int(grid.block_keys(row, col)), *middle, tile_px, gsd_m, 7))
        rows, cols = grid.block_cells(row, col)
        for day, gap in visits:
            time_s = np.full(64, (day + 0.01 * number) * DAY_S)
            parts.append((time_s, time_s - gap * DAY_S, rows, cols, np.full(64, number)))
    time_s, before_s, rows, cols, block_of = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(time_s, kind="stable")
    time_s, before_s, rows, cols, block_of = (a[order] for a in (time_s, before_s, rows, cols, block_of))
    n = len(time_s)
    lat, lon = grid.centre_of(rows, cols)
    plan = Plan(
        spacecraft=("sat",),
        craft=np.zeros(n, np.int16),
        time_s=time_s,
        before_s=before_s,
        place_id=[grid.place_id(r, c) for r, c in zip(rows.tolist(), cols.tolist(), strict=True)],
        place_key=grid.place_keys(rows, cols),
        block_key=grid.block_keys(rows, cols),
        block_row=(rows % 8).astype(np.int16),
        block_col=(cols % 8).astype(np.int16),
        lat_deg=lat,
        lon_deg=lon,
        gsd_m=np.full(n, gsd_m),
        off_nadir_deg=np.zeros(n),
        sun_elevation_deg=np.full(n, 45.0),
        area=np.zeros(n, np.int32),
        areas=("somewhere",),
    )
    return plan, blocks, block_of


_VISITS = ((10.0, 40.0), (14.0, 4.0))


def handmade(block: Block) -> HandmadeTerrain:
    """Handmade land whose biome follows from the block's key."""
    return HandmadeTerrain(block, _BIOMES[block.key % len(_BIOMES)])


def history_of(schemas: tuple[str, ...] = SCHEMA_IDS, count: int = 24, **targets: object) -> tuple[Plan, History]:
    """A history over some handmade blocks."""
    plan, blocks, block_of = plan_over([(2.0 * k - 20.0, 7.0 * k) for k in range(count)], _VISITS)
    return plan, History(plan, blocks, block_of, Targets(**targets), schemas, 7, ground=handmade)


# -------------------------------------------------------------------- history


def test_events_do_not_depend_on_who_asks_first_or_for_what():
    _, one = history_of()
    _, other = history_of(schemas=("flood_extent",))
    forwards = [one.events(k) for k in range(24)]
    backwards = [other.events(k) for k in reversed(range(24))][::-1]
    assert forwards == backwards
    assert sum(map(len, forwards)) > 50
    assert len({event.key for events in forwards for event in events}) == sum(map(len, forwards))


def test_another_process_meets_the_same_events():
    _, history = history_of(count=3)
    text = repr([history.events(k) for k in range(3)])
    script = "from tests.test_synthetic_truth import history_of\n_, h = history_of(count=3)\n"
    script += "print(repr([h.events(k) for k in (2, 0, 1)][1:] + [h.events(2)]))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == text


def test_lasting_events_begin_after_the_oldest_reference_and_passing_ones_may_be_there_already():
    plan, history = history_of()
    assert history.epoch_s == plan.before_s.min()
    found = [event for k in range(24) for event in history.events(k)]
    lasting = [event for event in found if event.end_s == inf]
    assert min(event.onset_s for event in lasting) >= history.epoch_s
    passing = [event for event in found if event.end_s < inf]
    assert any(event.onset_s < history.epoch_s < event.end_s for event in passing)
    assert max(event.onset_s for event in found) <= history.horizon_s
    for event in found:
        assert event.end_s >= event.onset_s + 2 * event.growth_s or event.end_s == inf


def test_events_lie_in_their_block_and_where_their_biome_allows():
    _, history = history_of()
    for k, block in enumerate(history.blocks):
        for event in history.events(k):
            assert event.block_key == block.key
            assert 0 <= event.row_px < block.side_px
            assert 0 <= event.col_px < block.side_px
            assert WEIGHTS[event.kind][handmade(block).biome] > 0


def test_nothing_stated_nothing_happens():
    plan, history = history_of(prevalence={"default": 0.0})
    assert all(history.events(k) == () for k in range(24))
    changed, labelled = truth.plan_truth(plan, history, lambda k: handmade(history.blocks[k]))
    assert not changed.any()
    assert labelled.all()


def test_what_no_place_can_host_is_told_and_the_rest_carries_on():
    plan, blocks, block_of = plan_over([(1.0 * k, 20.0) for k in range(6)], _VISITS)
    jungle = History(
        plan, blocks, block_of, Targets(), SCHEMA_IDS, 7, ground=lambda b: HandmadeTerrain(b, Biome.RAINFOREST)
    )
    assert jungle.shortfall.keys() >= {"ice_extent", "urban_delta"}
    assert jungle.shortfall["ice_extent"] == jungle.shortfall["urban_delta"] == 0.0
    # Nothing but wildfire glows here, and more of it would overfill vegetation_stress with scars.
    assert jungle.shortfall.keys() <= {"ice_extent", "urban_delta", "thermal_hotspot"}
    assert not jungle.surplus
    assert jungle.expected["vegetation_stress"] == pytest.approx(0.03, rel=0.02)


def test_more_than_the_cap_is_not_forced_and_is_told():
    _, history = history_of(prevalence={"default": 0.9})
    for schema in SCHEMA_IDS:
        assert history.shortfall[schema] == history.expected[schema] <= CAP + 0.1
    # What few places can host stays below the cap on average over all of them.
    assert history.expected["ice_extent"] < 0.5 * CAP


def test_longer_stated_durations_make_passing_events_last_longer():
    def lasts(days: float) -> float:
        _, history = history_of(event_duration=f"{days:g}d")
        floods = [e for k in range(24) for e in history.events(k) if e.kind is Kind.FLOOD]
        return float(np.median([e.end_s - e.onset_s for e in floods]))

    assert lasts(20.0) == pytest.approx(2.0 * lasts(10.0), rel=0.3)


def test_stated_prevalence_is_met_over_a_large_plan():
    """The generator's own land, 48 blocks; tolerance: events come in clusters, some 50 a schema."""
    rng = np.random.default_rng(5)
    places = list(zip(rng.uniform(-50, 75, 48).tolist(), rng.uniform(-180, 180, 48).tolist(), strict=True))
    plan, blocks, block_of = plan_over(places, ((10.0, 40.0), (14.0, 4.0)))
    history = History(plan, blocks, block_of, Targets(prevalence={"default": 0.04}), SCHEMA_IDS, 7)
    kept: dict[int, Terrain] = {}
    changed, labelled = truth.plan_truth(plan, history, lambda k: kept.setdefault(k, Terrain(blocks[k])))
    met = changed.mean(axis=0)
    for schema, share in zip(SCHEMA_IDS, met.tolist(), strict=True):
        print(f"{schema}: stated 0.04, expected {history.expected[schema]:.4f}, met {share:.4f}")
    assert set(history.shortfall) <= {"ice_extent"}  # ice is rare on the generated Earth as well
    expected = np.array([history.expected[schema] for schema in SCHEMA_IDS])
    assert met.sum() == pytest.approx(expected.sum(), rel=0.2)
    assert (np.abs(met / expected - 1.0) < 0.5).all()
    assert not (changed & ~labelled).any()


# -------------------------------------------------------------------- masks


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_is_an_event_of_its_schemas_in_one_direction(kind):
    terrain, event, land = situation(kind)
    found = truth.change([event], land, terrain.block, event.onset_s - 1.0, at_stage(event, 1.0))
    for schema in KINDS[kind].event_of:
        assert found.masks[schema].sum() > 15
        assert found.direction(schema) in ("increase", "decrease")
    for schema in set(SCHEMA_IDS) - KINDS[kind].event_of:
        assert not found.masks[schema].any()
        assert found.direction(schema) is None
    for schema in set(SCHEMA_IDS) - KINDS[kind].event_of - KINDS[kind].ambiguous:
        assert not found.ambiguous[schema].any()
    for schema in SCHEMA_IDS:
        assert not (found.masks[schema] & found.ambiguous[schema]).any()


@pytest.mark.parametrize("kind", list(Kind))
def test_equal_dates_and_settled_times_are_no_change(kind):
    terrain, event, land = situation(kind)
    moment = at_stage(event, 0.6)
    assert not truth.change([event], land, terrain.block, moment, moment).changed.any()
    if event.end_s == inf:
        late = event.onset_s + 10 * event.growth_s
        found = truth.change([event], land, terrain.block, late, late + 50 * DAY_S)
        assert not found.changed.any()
        assert not truth.differs(event, late, late + 50 * DAY_S)


@pytest.mark.parametrize("kind", list(Kind))
def test_masks_lie_where_the_pictures_surface_differs(kind):
    """Truth and painting, each asked on its own."""
    terrain, event, land = situation(kind)
    before_s, after_s = at_stage(event, 0.4), at_stage(event, 0.9)
    surfaces = [quiet(land), quiet(land)]
    for surface, time_s in zip(surfaces, (before_s, after_s), strict=True):
        paint([event], land, terrain.block, time_s, surface)
    differs = np.zeros(land.window.shape, dtype=bool)
    for plane in ("cover", "vigour", "turbidity", "heat"):
        differs |= getattr(surfaces[0], plane) != getattr(surfaces[1], plane)
    found = truth.change([event], land, terrain.block, before_s, after_s)
    np.testing.assert_array_equal(differs, found.before != found.after)
    assert not (found.changed.any(axis=0) & ~differs).any()


@pytest.mark.parametrize(
    ("kind", "schema", "growing"),
    [
        (Kind.FLOOD, "flood_extent", "increase"),
        (Kind.POND_FILL, "wetland_change", "increase"),
        (Kind.ICE_FORMATION, "ice_extent", "increase"),
        (Kind.ICE_BREAKUP, "ice_extent", "decrease"),
        (Kind.DROUGHT, "vegetation_stress", "decrease"),
        (Kind.GAS_FLARE, "thermal_hotspot", "increase"),
    ],
)
def test_what_recedes_changes_the_other_way(kind, schema, growing):
    terrain, event, land = situation(kind)
    opposite = {"increase": "decrease", "decrease": "increase"}[growing]
    full = event.end_s - event.recede_s
    up = truth.change([event], land, terrain.block, event.onset_s, full)
    down = truth.change([event], land, terrain.block, full, event.end_s)
    assert (up.direction(schema), down.direction(schema)) == (growing, opposite)
    np.testing.assert_array_equal(up.masks[schema], down.masks[schema])


def test_fire_is_seen_to_go_out_and_its_scar_stays():
    terrain, event, land = situation(Kind.WILDFIRE)
    out = truth.change([event], land, terrain.block, at_stage(event, 0.7), at_stage(event, 5.0))
    assert out.direction("thermal_hotspot") == "decrease"
    assert out.direction("vegetation_stress") == "decrease"
    later = truth.change([event], land, terrain.block, at_stage(event, 5.0), at_stage(event, 9.0))
    assert not later.changed.any()


def test_masks_of_neighbouring_tiles_are_those_of_the_place_as_a_whole():
    terrain, event, _ = situation(Kind.FOREST_CLEARING)
    row, col = int(event.row_px), int(event.col_px)
    block, before_s, after_s = terrain.block, event.onset_s, at_stage(event, 1.0)
    left, right = Window(row - 40, col - 80, 80, 80), Window(row - 40, col, 80, 80)
    whole = Window(row - 40, col - 80, 80, 160)
    masks = [
        truth.change([event], terrain.land(w), block, before_s, after_s).masks["vegetation_stress"]
        for w in (left, right, whole)
    ]
    assert masks[0].any()
    assert masks[1].any()
    np.testing.assert_array_equal(np.concatenate(masks[:2], axis=1), masks[2])


# -------------------------------------------------------------------- labels


def made_change(schema: str, changed_px: int, unclear_px: int, side: int = 100) -> truth.Change:
    """A change of so many pixels of one schema."""
    shape = (len(SCHEMA_IDS), side, side)
    changed, unclear = np.zeros(shape, bool), np.zeros(shape, bool)
    k = SCHEMA_IDS.index(schema)
    changed[k].ravel()[:changed_px] = True
    unclear[k].ravel()[changed_px : changed_px + unclear_px] = True
    codes = np.zeros((side, side), np.uint8)
    return truth.Change((), 0.0, 1.0, codes, codes, changed, unclear, changed.astype(np.int8))


@pytest.mark.parametrize(
    ("changed_px", "unclear_px", "positive", "labelled"),
    [
        (0, 0, False, True),
        (20, 0, False, True),  # 0.2 % is quiet
        (21, 0, False, False),
        (99, 0, False, False),
        (100, 0, True, True),  # 1 % is an event
        (100, 5000, True, True),
        (10, 10, False, True),
        (10, 11, False, False),
        (0, 5000, False, False),  # only ambiguous: no label
    ],
)
def test_labels_by_share_of_the_tile(changed_px, unclear_px, positive, labelled):
    found = truth.labels(made_change("flood_extent", changed_px, unclear_px), ("flood_extent", "ice_extent"))
    assert found[0].tolist() == [positive, False]
    assert found[1].tolist() == [labelled, True]


def test_a_tenth_of_the_share_is_a_hot_spot():
    for count, positive, labelled in ((2, False, True), (3, False, False), (9, False, False), (10, True, True)):
        found = truth.labels(made_change("thermal_hotspot", count, 0), ("thermal_hotspot",))
        assert (found[0].item(), found[1].item()) == (positive, labelled)


def test_a_flood_leaves_the_wetland_question_without_a_label():
    terrain, event, land = situation(Kind.FLOOD)
    found = truth.change([event], land, terrain.block, event.onset_s, at_stage(event, 1.0))
    positive, labelled = truth.labels(found, SCHEMA_IDS)
    answers = dict(zip(SCHEMA_IDS, zip(positive.tolist(), labelled.tolist(), strict=True), strict=True))
    assert answers["flood_extent"] == (True, True)
    assert answers["wetland_change"] == (False, False)
    assert answers["ice_extent"] == (False, True)


def test_a_clearing_may_be_construction_but_no_town():
    terrain, event, land = situation(Kind.FOREST_CLEARING)
    found = truth.change([event], land, terrain.block, event.onset_s, at_stage(event, 1.0))
    positive, labelled = truth.labels(found, ("vegetation_stress", "construction_progress", "urban_delta"))
    assert positive.tolist() == [True, False, False]
    assert labelled.tolist() == [True, False, True]


# -------------------------------------------------------------------- fields


@pytest.mark.parametrize("kind", list(Kind))
def test_fields_fit_the_schema_and_agree_with_the_mask(kind):
    terrain, event, land = situation(kind)
    for before_s, after_s in ((event.onset_s, at_stage(event, 1.0)), (at_stage(event, 1.0), event.onset_s)):
        found = truth.change([event], land, terrain.block, before_s, after_s)
        for schema in SCHEMA_IDS:
            body = truth.fields(schema, found, land, terrain.block.gsd_m)
            if schema not in KINDS[kind].event_of:
                assert body is None
                continue
            validate_body(schema, body)
            mask = found.masks[schema]
            assert body["fraction_of_tile"] == pytest.approx(mask.mean(), abs=1e-4)
            assert body["changed_area_ha"] == pytest.approx(mask.sum() * 0.01, abs=0.01)
            left, top, right, bottom = (round(v * mask.shape[0]) for v in body["box"])
            assert mask[top:bottom, left:right].sum() == mask.sum()
            assert mask[top, :].any()
            assert mask[bottom - 1, :].any()
            assert mask[:, left].any()
            assert mask[:, right - 1].any()


def test_fields_name_the_cause():
    terrain, event, land = situation(Kind.BURN_SCAR)
    found = truth.change([event], land, terrain.block, event.onset_s, at_stage(event, 1.0))
    assert truth.fields("vegetation_stress", found, land, 10.0)["burned"] is True
    terrain, event, land = situation(Kind.FOREST_CLEARING)
    found = truth.change([event], land, terrain.block, event.onset_s, at_stage(event, 1.0))
    assert truth.fields("vegetation_stress", found, land, 10.0)["burned"] is False
    terrain, event, land = situation(Kind.CONSTRUCTION_SITE)
    bared = truth.change([event], land, terrain.block, event.onset_s, at_stage(event, 0.35))
    assert truth.fields("construction_progress", bared, land, 10.0)["kind"] == "bare_ground"
    built = truth.change([event], land, terrain.block, at_stage(event, 0.5), at_stage(event, 1.0))
    assert truth.fields("construction_progress", built, land, 10.0)["kind"] == "structures"


def test_water_and_ice_are_counted_before_and_after():
    terrain, event, land = situation(Kind.FLOOD)
    found = truth.change([event], land, terrain.block, event.onset_s, at_stage(event, 1.0))
    body = truth.fields("flood_extent", found, land, 10.0)
    usual = states.WATER[land.cover].mean()
    assert body["water_fraction_before"] == pytest.approx(usual, abs=1e-4)
    assert body["water_fraction_after"] == pytest.approx(usual + body["fraction_of_tile"], abs=2e-4)
    terrain, event, land = situation(Kind.GLACIER_RETREAT)
    found = truth.change([event], land, terrain.block, event.onset_s, at_stage(event, 1.0))
    body = truth.fields("ice_extent", found, land, 10.0)
    assert body["ice_fraction_before"] - body["ice_fraction_after"] == pytest.approx(body["fraction_of_tile"], abs=2e-4)
    assert body["front_retreat_px"] > 10


def test_hot_pixels_are_those_that_glow_in_the_picture():
    terrain, event, land = situation(Kind.LAVA)
    moments = (at_stage(event, 0.4), at_stage(event, 0.9))
    found = truth.change([event], land, terrain.block, *moments)
    body = truth.fields("thermal_hotspot", found, land, 10.0)
    for name, time_s in zip(("hot_pixels_before", "hot_pixels"), moments, strict=True):
        surface = quiet(land)
        paint([event], land, terrain.block, time_s, surface)
        assert body[name] == np.count_nonzero(surface.heat)


def test_nothing_changed_has_no_fields():
    terrain, event, land = situation(Kind.LAVA)
    found = truth.change([event], land, terrain.block, 0.0, 0.0)
    assert truth.fields("thermal_hotspot", found, land, 10.0) is None


# -------------------------------------------------------------------- a whole plan


def test_plan_truth_is_what_each_shot_gives_on_its_own():
    plan, history = history_of(count=10)
    changed, labelled = truth.plan_truth(plan, history, lambda k: handmade(history.blocks[k]))
    assert changed.any()
    for row in range(0, len(plan), 7):
        k = int(history.block_of[row])
        block = history.blocks[k]
        window = block.tile(int(plan.block_row[row]), int(plan.block_col[row]))
        found = truth.change(
            history.events(k), handmade(block).land(window), block, float(plan.before_s[row]), float(plan.time_s[row])
        )
        positive, has_label = truth.labels(found, SCHEMA_IDS)
        np.testing.assert_array_equal(changed[row], positive)
        np.testing.assert_array_equal(labelled[row], has_label)


def test_plan_truth_can_be_told_other_times_of_the_references():
    plan, history = history_of(count=4)
    ground = lambda k: handmade(history.blocks[k])  # noqa: E731
    same, labelled = truth.plan_truth(plan, history, ground, before_s=plan.time_s)
    assert not same.any()
    assert labelled.all()
    told, _ = truth.plan_truth(plan, history, ground, before_s=plan.before_s)
    assert (told == truth.plan_truth(plan, history, ground)[0]).all()


def test_land_is_made_only_where_something_can_have_changed():
    plan, history = history_of(count=12, prevalence={"default": 0.002})
    asked = []

    def ground(k: int) -> HandmadeTerrain:
        asked.append(k)
        return handmade(history.blocks[k])

    truth.plan_truth(plan, history, ground)
    assert 0 < len(asked) < 0.15 * len(plan)


def test_a_river_that_turns_muddy_is_no_flood():
    terrain, event, land = situation(Kind.FLOOD)
    found = truth.change([event], land, terrain.block, event.onset_s, at_stage(event, 1.0))
    muddy = np.isin(found.after, [State.FLOOD_RIVER, State.FLOOD_PLUME])
    assert muddy.any()
    assert not found.changed[:, muddy].any()
    assert not found.unclear[:, muddy].any()


def test_a_second_event_over_the_first_hides_no_loss_that_was_there():
    """A site on a clearing is construction; the forest had gone before."""
    terrain, event, land = situation(Kind.FOREST_CLEARING)
    site = replace(event, kind=Kind.CONSTRUCTION_SITE, key=9, onset_s=event.onset_s + 90 * DAY_S, radius_px=22.0)
    before_s, after_s = site.onset_s, at_stage(site, 1.0)
    found = truth.change([event, site], land, terrain.block, before_s, after_s)
    assert found.direction("construction_progress") == "increase"
    assert not found.masks["vegetation_stress"].any()
