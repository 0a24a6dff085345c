"""Forms of the works of people: clearings, quarters, sites, mines, flares. ``forms`` says what a form is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...rng import uniform_at
from .events import Event, Kind
from .forms import NEVER, Form, Frame
from .ground import Biome, Codes, Plane
from .states import BUILT, ICE, TREES, WATER, State

#: Where rivers carry gold through forest and bush.
_PLACER_BIOMES = (Biome.RAINFOREST, Biome.SAVANNA, Biome.BOREAL)


def _lattice(event: Event, name: str, first: NDArray[np.int64], second: NDArray[np.int64]) -> Plane:
    """Uniform number of each cell of a lattice, in the broadcast shape of the cell numbers. [-]"""
    top, left = int(first.min()), int(second.min())
    rows, cols = np.arange(top, int(first.max()) + 1), np.arange(left, int(second.max()) + 1)
    table = uniform_at(0, f"synthetic/event/{name}", event.key, rows[:, None], cols[None, :]).astype(np.float32)
    return table.ravel().take((first - top) * len(cols) + (second - left))


def _cells(plane: Plane, size: float) -> tuple[NDArray[np.int64], Plane]:
    """Number of the cell that each pixel lies in, and where in it, 0 to 1."""
    scaled = plane / np.float32(size)
    number = np.floor(scaled)
    return number.astype(np.int64), scaled - number


def _ground(frame: Frame) -> NDArray[np.bool_]:
    """Ground on which works can begin: dry, free of ice, not built on, not steep."""
    land = frame.land
    steep = np.maximum(np.abs(land.slope_east), np.abs(land.slope_north)) > 0.35
    return ~(WATER[land.cover] | ICE[land.cover] | BUILT[land.cover] | steep)


# -------------------------------------------------------------------- clearing


def _cut_blocks(frame: Frame) -> tuple[Plane, NDArray[np.bool_]]:
    """Rectangular cut blocks with strips of forest left between them, felled one after the other."""
    event = frame.event
    size = 0.42 + 0.2 * event.draw("size")
    row, in_row = _cells(frame.along, size)
    width = size * (0.6 + 0.6 * event.draw("form"))
    col, in_col = _cells(frame.across, width)
    turn = _lattice(event, "block", row, col)
    inside = (in_row > 0.07) & (in_row < 0.93) & (in_col > 0.07) & (in_col < 0.93)
    # Whole blocks are cut or left: a block counts by where its middle lies.
    middle = np.hypot(frame.along + size * (0.5 - in_row), frame.across + width * (0.5 - in_col))
    cut = inside & (turn < 0.75) & (middle < 0.9)
    # Within its block, felling goes from one side to the other.
    return 0.05 + 0.65 * turn / 0.75 + 0.25 * in_row, cut


def _fishbone(frame: Frame) -> tuple[Plane, NDArray[np.bool_]]:
    """A road into the forest and strips at right angles to it."""
    event = frame.event
    along, aside = frame.along, np.abs(frame.across)
    road = (aside < frame.px(12.0) / event.radius_px) & (np.abs(along) < 1.15)
    pitch = 0.30 + 0.10 * event.draw("pitch")
    number, inside = _cells(along, pitch)
    side = (frame.across > 0).astype(np.int64)
    length = 0.25 + 0.75 * _lattice(event, "length", number, side)
    width = 0.35 + 0.25 * _lattice(event, "width", number, side)
    strip = (inside < width) & (aside < length * (1 + 0.08 * frame.noise(1))) & (np.abs(along) < 1.1)
    stage = np.clip((along + 1.15) / 2.3, 0, 1) * 0.5
    return np.where(road, stage, stage + 0.06 + 0.4 * aside), strip | road


def _irregular(frame: Frame) -> tuple[Plane, NDArray[np.bool_]]:
    """A clearing that eats into the forest with a ragged edge."""
    outline = frame.distance + 0.28 * frame.noise(1) + 0.06 * frame.noise(2, fine=True)
    return 0.08 + 0.9 * np.maximum(outline, 0), outline < 1


def forest_clearing(frame: Frame) -> Form:
    """Felled trees in blocks, fishbone strips or a ragged patch; slash, then bared soil, and a track."""
    event = frame.event
    style = event.draw("style")
    stage, inside = (_cut_blocks if style < 0.45 else _fishbone if style < 0.7 else _irregular)(frame)
    inside = inside & TREES[frame.land.cover] & (frame.distance < 1.5)
    arrival = frame.arrival(stage, inside)
    dries = 0.15 + 0.6 * frame.patches(3)
    wander = 0.04 * np.sin(5 * frame.along)
    track = np.abs(frame.across - wander) < frame.px(7.0, 0.6) / event.radius_px

    def at(time_s: float) -> Codes:
        since = event.stage(time_s) - arrival
        codes = np.where(since >= 0, np.uint8(State.CUT_SLASH), np.uint8(0))
        codes[since > dries] = State.CUT_SOIL
        codes[track & (since >= 0)] = State.CUT_TRACK
        return np.asarray(codes)

    return at


# -------------------------------------------------------------------- town


def town_growth(frame: Frame) -> Form:
    """A quarter on a street grid: streets first, then bared plots that fill with roofs and yards."""
    event, land = frame.event, frame.land
    radius = event.radius_px
    along, across = frame.along * radius, frame.across * radius  # [px]
    # Blocks of 90 to 130 m by 50 to 70 m between streets of one pixel or 8 m, plots of about 25 m.
    long_side = frame.px(90.0 + 40.0 * event.draw("long"), 6.0)
    short_side = frame.px(50.0 + 20.0 * event.draw("short"), 4.0)
    street = frame.px(8.0)
    plot = frame.px(26.0, 2.0)
    block_row, in_row = _cells(along, long_side)
    block_col, in_col = _cells(across, short_side)
    streets = (in_row * long_side < street) | (in_col * short_side < street)
    plot_row, in_plot = _cells(along, plot)
    plot_col, beside = _cells(across, plot)
    kind = _lattice(event, "plot", plot_row, plot_col)
    roof = (in_plot < 0.72) & (beside < 0.78) & (kind < 0.86)

    outline = frame.distance + 0.20 * frame.noise(1)
    turn = _lattice(event, "block", block_row, block_col)
    # The quarter grows away from the town: the angle points outwards.
    stage = 0.08 + 0.40 * np.clip((frame.along + 1) / 2, 0, 1) + 0.22 * turn
    inside = _ground(frame) & (outline < 1) & (frame.distance < 1.3) & (turn < 0.93)
    arrival = frame.arrival(stage, inside)
    wait = 0.10 + 0.18 * _lattice(event, "wait", plot_row, plot_col)

    # One style of roof prevails in a quarter.
    bright, dark = (0.55, 0.75) if event.draw("style") < 0.5 else (0.2, 0.4)
    finish = np.full(land.window.shape, State.TOWN_YARD, dtype=np.uint8)
    tone = _lattice(event, "tone", plot_row, plot_col)
    finish[roof] = State.TOWN_TILE
    finish[roof & (tone < dark)] = State.TOWN_DARK
    finish[roof & (tone < bright)] = State.TOWN_BRIGHT
    finish[streets] = State.TOWN_STREET

    def at(time_s: float) -> Codes:
        since = event.stage(time_s) - arrival
        codes = np.where(since >= 0, np.uint8(State.TOWN_PLOT), np.uint8(0))
        done = (since > wait) | (streets & (since >= 0))
        codes[done] = finish[done]
        return np.asarray(codes)

    return at


# -------------------------------------------------------------------- sites and pits


def construction_site(frame: Frame) -> Form:
    """Bared soil with tracks, then pads of concrete, then long halls."""
    event = frame.event
    wide = 0.55 + 0.35 * event.draw("wide")
    along, across = frame.along, frame.across
    edge = 0.03 * frame.noise(1, fine=True)
    inside = _ground(frame) & (np.abs(along) + edge < 1) & (np.abs(across) + edge < wide)
    stage = 0.04 + 0.36 * np.clip((along + 1) / 2, 0, 1) + 0.05 * frame.patches(2)
    arrival = frame.arrival(stage, inside)
    lot = 0.55 + 0.25 * event.draw("lot")
    row, in_row = _cells(along + 1, lot)
    col, in_col = _cells(across + wide, lot * 0.7)
    used = _lattice(event, "lot", row, col)
    pad = (in_row > 0.14) & (in_row < 0.90) & (in_col > 0.18) & (in_col < 0.88) & (used < 0.8)
    hall = (in_row > 0.20) & (in_row < 0.84) & (in_col > 0.26) & (in_col < 0.80) & (used < 0.65)
    track = (in_row < frame.px(9.0) / (lot * event.radius_px)) | (
        in_col < frame.px(9.0) / (0.7 * lot * event.radius_px)
    )
    pads_at = 0.20 + 0.25 * used

    def at(time_s: float) -> Codes:
        since = event.stage(time_s) - arrival
        codes = np.where(since >= 0, np.uint8(State.SITE_SOIL), np.uint8(0))
        codes[track & (since >= 0)] = State.SITE_TRACK
        codes[pad & (since > pads_at)] = State.SITE_PAD
        codes[hall & (since > pads_at + 0.15)] = State.SITE_ROOF
        return np.asarray(codes)

    return at


def _open_pit(frame: Frame) -> tuple[Plane, Codes, Plane]:
    """Benches that go down in rings, spoil beside, water at the bottom: arrival, last state, stage of the water."""
    rings = np.hypot(frame.along / 0.75, frame.across / 0.58) + 0.07 * frame.noise(1)
    heap = np.hypot((frame.along + 0.1) / 0.85, (frame.across - 0.75) / 0.42) + 0.14 * frame.noise(2)
    final = np.full(frame.land.window.shape, State.MINE_GROUND, dtype=np.uint8)
    bench = np.floor(rings * 7.0).astype(np.int64) % 2 == 0
    final[bench] = State.MINE_BENCH
    # The haul road breaks the rings.
    ramp = np.abs(frame.across - 0.35 * frame.along - 0.02) < frame.px(14.0) / frame.event.radius_px
    final[ramp & (frame.along > 0)] = State.MINE_GROUND
    final[(heap < 1) & (rings >= 1)] = State.MINE_SPOIL
    arrival = np.where(rings < 1, 0.06 + 0.85 * rings, np.where(heap < 1, 0.15 + 0.75 * heap, NEVER))
    water = np.where(rings < 0.24, np.float32(0.72), NEVER)
    return arrival, final, water


def _placer(frame: Frame) -> tuple[Plane, Codes, Plane]:
    """Washed ground along a river: bared laterite with muddy ponds in it."""
    outline = frame.distance + 0.30 * frame.noise(1)
    arrival = np.where(outline < 1, 0.08 + 0.45 * np.maximum(outline, 0) + 0.4 * frame.patches(2), NEVER)
    final = np.full(frame.land.window.shape, State.MINE_GROUND, dtype=np.uint8)
    grain = frame.noise(3, fine=True)
    final[grain < -0.9] = State.MINE_SPOIL
    water = np.where(grain > 0.55, arrival + 0.12, NEVER)
    return arrival, final, water


def mining_pit(frame: Frame) -> Form:
    """An open pit with benches and spoil; by water, washed ground with ponds, and the water muddy."""
    event, land = frame.event, frame.land
    placer = land.biome in _PLACER_BIOMES and event.draw("placer") < 0.65
    stage, final, water = (_placer if placer else _open_pit)(frame)
    arrival = frame.arrival(stage, _ground(frame) & (frame.distance < 1.4))
    river = WATER[land.cover] & (frame.reach < 1.2) & (frame.distance < 1.4) & placer

    def at(time_s: float) -> Codes:
        stage_now = event.stage(time_s)
        dug = arrival <= stage_now
        codes = np.where(dug, final, np.uint8(0))
        codes[dug & (water <= stage_now)] = State.MINE_POND
        if stage_now > 0:
            codes[river] = State.MINE_RIVER
        return np.asarray(codes)

    return at


def gas_flare(frame: Frame) -> Form:
    """A handful of flames on small pads."""
    event = frame.event
    radius = event.radius_px
    pitch = frame.px(75.0, 5.0)
    row, in_row = _cells(frame.along * radius, pitch)
    col, in_col = _cells(frame.across * radius, pitch)
    lit = _lattice(event, "stack", row, col)
    # The stack at the middle always burns, or some flares would have none.
    lit = np.where((row == 0) & (col == 0), np.float32(0), lit)
    from_stack = np.hypot(in_row - 0.5, in_col - 0.5) * np.float32(pitch)  # [px]
    flame, pad = frame.px(20.0, 1.6), frame.px(34.0, 2.4)
    inside = _ground(frame) & (lit < 0.5) & (frame.distance < 1.0)
    stage = np.where(from_stack < flame, 0.05 + 0.5 * lit, np.where(from_stack < pad, 0.03, NEVER))
    arrival = frame.arrival(stage.astype(np.float32), inside)
    hot = from_stack < flame

    def at(time_s: float) -> Codes:
        codes = np.where(arrival <= event.stage(time_s), np.uint8(State.FLARE_PAD), np.uint8(0))
        codes[hot & (codes > 0)] = State.FLARE_FLAME
        return np.asarray(codes)

    return at


WORKS: dict[Kind, Callable[[Frame], Form]] = {
    Kind.FOREST_CLEARING: forest_clearing,
    Kind.TOWN_GROWTH: town_growth,
    Kind.CONSTRUCTION_SITE: construction_site,
    Kind.MINING_PIT: mining_pit,
    Kind.GAS_FLARE: gas_flare,
}
