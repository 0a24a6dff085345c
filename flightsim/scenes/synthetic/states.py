"""The states that events leave pixels in: how each looks, and what it answers to each question.

One code a pixel is all that painting and truth share, so the picture and its label cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...domain import SCHEMA_IDS
from .ground import Cover


class State(IntEnum):
    """What an event has made of a pixel; 0 is untouched, all are below 64."""

    UNTOUCHED = 0
    FLOOD_MUDDY = 1
    FLOOD_SHALLOW = 2
    FLOOD_RIVER = 3  # the water that was there, now muddy
    FLOOD_SILT = 4  # wet ground that the flood has left
    POND_MUD = 5
    POND_CRACKED = 6
    FILL_WATER = 7
    FILL_MARSH = 8
    GLACIER_WATER = 9
    GLACIER_TILL = 10
    BREAKUP_WATER = 11
    NEW_ICE = 12
    LAVA_FRONT = 13
    LAVA_CHANNEL = 14
    LAVA_CRACKED = 15  # crust with glowing cracks
    LAVA_CRUST = 16
    FIRE_FRONT = 17
    FIRE_EMBERS = 18
    BURN_SEVERE = 19
    BURN_MODERATE = 20
    BURN_LIGHT = 21
    FLARE_FLAME = 22
    FLARE_PAD = 23
    DIEBACK_LIGHT = 24
    DIEBACK_MODERATE = 25
    DIEBACK_SEVERE = 26
    DROUGHT_LIGHT = 27
    DROUGHT_MODERATE = 28
    DROUGHT_SEVERE = 29
    CUT_SLASH = 30
    CUT_SOIL = 31
    CUT_TRACK = 32
    TOWN_PLOT = 33  # bared, not yet built on
    TOWN_STREET = 34
    TOWN_BRIGHT = 35
    TOWN_DARK = 36
    TOWN_TILE = 37
    TOWN_YARD = 38
    SITE_SOIL = 39
    SITE_TRACK = 40
    SITE_PAD = 41
    SITE_ROOF = 42
    MINE_GROUND = 43
    MINE_BENCH = 44
    MINE_SPOIL = 45
    MINE_POND = 46
    MINE_RIVER = 47  # the water that was there, muddy from washing
    FLOOD_PLUME = 48  # the water that was there, somewhat muddy


#: Keeps the cover; -1 keeps the turbidity.
_KEEP = 255

Meaning = Mapping[str, int]

_NOTHING: Meaning = MappingProxyType({})
_FLOOD: Meaning = {"flood_extent": 2, "wetland_change": 1}
_FILL: Meaning = {"wetland_change": 2, "flood_extent": 1}
_DRY: Meaning = {"wetland_change": -2, "flood_extent": -1}
_LOSS: Meaning = {"vegetation_stress": -2}
_LAKE: Meaning = {"ice_extent": -2, "wetland_change": 1, "flood_extent": 1}
_PAD: Meaning = {"construction_progress": 3, "urban_delta": 1}
_HALL: Meaning = {"construction_progress": 4, "urban_delta": 1}
_HOT: Meaning = {"thermal_hotspot": 2}
_HOT_LOSS: Meaning = {"thermal_hotspot": 2, "vegetation_stress": -2}
_CUT: Meaning = {"vegetation_stress": -2, "construction_progress": 1}
_TOWN: Meaning = {"urban_delta": 2, "construction_progress": 1}
_PERHAPS_LOSS: Meaning = {"vegetation_stress": -1}


class Row(NamedTuple):
    """One state: its look, and its level for each schema.

    ``instead`` is the cover where ``cover`` lies there already, so that a state always shows. ``vigour`` multiplies
    what is there. Levels: 2 and more, or -2 and less, answer the question (the sign is the direction, unlike numbers
    are unlike states of it); 1 and -1 may; 0 is nothing. ``on_plants`` holds where plants grew before.
    """

    state: State
    cover: int
    instead: int
    vigour: float
    turbidity: float
    heat: float
    meaning: Meaning
    on_plants: Meaning = _NOTHING


_S, _C = State, Cover
#: Heat is the share of the pixel that glows: some per cent already outshine sunlit ground at 2.2 um (Dozier,
#: "A method for satellite identification of surface temperature fields of subpixel resolution", Remote Sensing of
#: Environment 11, 1981). The other numbers are engineering values.
_ROWS = (
    Row(_S.FLOOD_MUDDY, _C.TURBID_WATER, _C.WATER, 1.0, 0.75, 0.0, _FLOOD, _PERHAPS_LOSS),
    Row(_S.FLOOD_SHALLOW, _C.TURBID_WATER, _C.WATER, 1.0, 0.4, 0.0, _FLOOD, _PERHAPS_LOSS),
    Row(_S.FLOOD_RIVER, _KEEP, _KEEP, 1.0, 0.85, 0.0, {}),
    Row(_S.FLOOD_PLUME, _KEEP, _KEEP, 1.0, 0.45, 0.0, {}),
    Row(_S.FLOOD_SILT, _C.MUD, _C.SOIL, 0.7, -1.0, 0.0, {"wetland_change": 1}, _PERHAPS_LOSS),
    Row(_S.POND_MUD, _C.MUD, _C.SOIL, 1.0, -1.0, 0.0, _DRY),
    Row(_S.POND_CRACKED, _C.SOIL, _C.MUD, 1.0, -1.0, 0.0, _DRY),
    Row(_S.FILL_WATER, _C.WATER, _C.WATER, 1.0, 0.15, 0.0, _FILL, _PERHAPS_LOSS),
    Row(_S.FILL_MARSH, _C.MARSH, _C.MUD, 0.9, 0.1, 0.0, _FILL, _PERHAPS_LOSS),
    Row(_S.GLACIER_WATER, _C.WATER, _C.TURBID_WATER, 1.0, 0.25, 0.0, _LAKE),
    Row(_S.GLACIER_TILL, _C.TAILINGS, _C.ROCK, 1.0, -1.0, 0.0, {"ice_extent": -2}),
    Row(_S.BREAKUP_WATER, _C.WATER, _C.TURBID_WATER, 1.0, 0.05, 0.0, {"ice_extent": -2}),
    Row(_S.NEW_ICE, _C.SEA_ICE, _C.ICE, 1.0, -1.0, 0.0, {"ice_extent": 2}),
    Row(_S.LAVA_FRONT, _C.LAVA, _C.CHAR, 0.0, -1.0, 0.35, _HOT, _PERHAPS_LOSS),
    Row(_S.LAVA_CHANNEL, _C.LAVA, _C.CHAR, 0.0, -1.0, 0.25, _HOT, _PERHAPS_LOSS),
    Row(_S.LAVA_CRACKED, _C.LAVA, _C.CHAR, 0.0, -1.0, 0.06, _HOT, _PERHAPS_LOSS),
    Row(_S.LAVA_CRUST, _C.LAVA, _C.CHAR, 0.0, -1.0, 0.0, {}, _PERHAPS_LOSS),
    Row(_S.FIRE_FRONT, _C.CHAR, _C.SOIL, 0.3, -1.0, 0.18, _HOT_LOSS),
    Row(_S.FIRE_EMBERS, _C.CHAR, _C.SOIL, 0.0, -1.0, 0.05, _HOT_LOSS),
    Row(_S.BURN_SEVERE, _C.CHAR, _C.SOIL, 0.0, -1.0, 0.0, _LOSS),
    Row(_S.BURN_MODERATE, _KEEP, _KEEP, 0.2, -1.0, 0.0, _LOSS),
    Row(_S.BURN_LIGHT, _KEEP, _KEEP, 0.45, -1.0, 0.0, _LOSS),
    Row(_S.FLARE_FLAME, _C.CONCRETE, _C.SOIL, 0.0, -1.0, 0.2, {**_HOT, "construction_progress": 1}, _PERHAPS_LOSS),
    Row(_S.FLARE_PAD, _C.CONCRETE, _C.SOIL, 0.0, -1.0, 0.0, {"construction_progress": 1}, _PERHAPS_LOSS),
    Row(_S.DIEBACK_LIGHT, _KEEP, _KEEP, 0.7, -1.0, 0.0, _PERHAPS_LOSS),
    Row(_S.DIEBACK_MODERATE, _KEEP, _KEEP, 0.35, -1.0, 0.0, _LOSS),
    Row(_S.DIEBACK_SEVERE, _KEEP, _KEEP, 0.05, -1.0, 0.0, {"vegetation_stress": -3}),
    Row(_S.DROUGHT_LIGHT, _KEEP, _KEEP, 0.7, -1.0, 0.0, _PERHAPS_LOSS),
    Row(_S.DROUGHT_MODERATE, _KEEP, _KEEP, 0.4, -1.0, 0.0, _LOSS),
    Row(_S.DROUGHT_SEVERE, _KEEP, _KEEP, 0.15, -1.0, 0.0, {"vegetation_stress": -3}),
    Row(_S.CUT_SLASH, _C.SLASH, _C.SOIL, 0.2, -1.0, 0.0, _CUT),
    Row(_S.CUT_SOIL, _C.SOIL, _C.SLASH, 0.1, -1.0, 0.0, _CUT),
    Row(_S.CUT_TRACK, _C.LATERITE, _C.SOIL, 0.0, -1.0, 0.0, _CUT),
    # "Bare soil alone is no urban growth" (urban_delta); it may be construction.
    Row(_S.TOWN_PLOT, _C.SOIL, _C.LATERITE, 0.0, -1.0, 0.0, {"construction_progress": 1}, _PERHAPS_LOSS),
    Row(_S.TOWN_STREET, _C.STREET, _C.CONCRETE, 0.0, -1.0, 0.0, _TOWN, _PERHAPS_LOSS),
    Row(_S.TOWN_BRIGHT, _C.ROOF_BRIGHT, _C.CONCRETE, 0.0, -1.0, 0.0, _TOWN, _PERHAPS_LOSS),
    Row(_S.TOWN_DARK, _C.ROOF_DARK, _C.CONCRETE, 0.0, -1.0, 0.0, _TOWN, _PERHAPS_LOSS),
    Row(_S.TOWN_TILE, _C.ROOF_TILE, _C.CONCRETE, 0.0, -1.0, 0.0, _TOWN, _PERHAPS_LOSS),
    Row(_S.TOWN_YARD, _C.GRASS, _C.SOIL, 0.6, -1.0, 0.0, _TOWN, _PERHAPS_LOSS),
    Row(_S.SITE_SOIL, _C.SOIL, _C.LATERITE, 0.0, -1.0, 0.0, {"construction_progress": 2}, _PERHAPS_LOSS),
    Row(_S.SITE_TRACK, _C.LATERITE, _C.SOIL, 0.0, -1.0, 0.0, {"construction_progress": 2}, _PERHAPS_LOSS),
    Row(_S.SITE_PAD, _C.CONCRETE, _C.STREET, 0.0, -1.0, 0.0, _PAD, _PERHAPS_LOSS),
    Row(_S.SITE_ROOF, _C.ROOF_BRIGHT, _C.ROOF_DARK, 0.0, -1.0, 0.0, _HALL, _PERHAPS_LOSS),
    Row(_S.MINE_GROUND, _C.LATERITE, _C.SOIL, 0.0, -1.0, 0.0, {"construction_progress": 2}, _PERHAPS_LOSS),
    Row(_S.MINE_BENCH, _C.ROCK, _C.TAILINGS, 0.0, -1.0, 0.0, {"construction_progress": 2}, _PERHAPS_LOSS),
    Row(_S.MINE_SPOIL, _C.TAILINGS, _C.ROCK, 0.0, -1.0, 0.0, {"construction_progress": 2}, _PERHAPS_LOSS),
    Row(
        _S.MINE_POND, _C.TURBID_WATER, _C.WATER, 0.0, 0.9, 0.0,
        {"construction_progress": 2, "wetland_change": 1, "flood_extent": 1}, _PERHAPS_LOSS,
    ),
    Row(_S.MINE_RIVER, _KEEP, _KEEP, 1.0, 0.9, 0.0, {}),
)  # fmt: skip

ROWS: Mapping[State, Row] = {row.state: row for row in _ROWS}


def _column(name: str, empty: float) -> NDArray[np.float32]:
    column = np.full(256, empty, dtype=np.float32)
    for row in _ROWS:
        column[row.state] = getattr(row, name)
    column.setflags(write=False)
    return column


#: Columns of the table by code, shape (256,).
COVER = _column("cover", _KEEP).astype(np.uint8)
INSTEAD = _column("instead", _KEEP).astype(np.uint8)
VIGOUR = _column("vigour", 1.0)
TURBIDITY = _column("turbidity", -1.0)
HEAT = _column("heat", 0.0)
KEEPS = COVER == _KEEP


def _levels(on_plants: bool) -> NDArray[np.int8]:
    table = np.zeros((len(SCHEMA_IDS), 256), dtype=np.int8)
    for row in _ROWS:
        meaning = {**row.on_plants, **row.meaning} if on_plants else row.meaning
        for schema, level in meaning.items():
            table[SCHEMA_IDS.index(schema), row.state] = level
    return table


#: Level of each code for each schema on ground without and with plants, shape (2, schemas, 256).
LEVELS = np.stack([_levels(False), _levels(True)])
LEVELS.setflags(write=False)


def _covers(*members: Cover) -> NDArray[np.bool_]:
    table = np.zeros(256, dtype=bool)
    table[list(members)] = True
    table.setflags(write=False)
    return table


#: Kinds of cover, truth by code, shape (256,).
PLANTS = _covers(_C.CONIFER, _C.BROADLEAF, _C.SHRUB, _C.GRASS, _C.CROP, _C.MARSH)
TREES = _covers(_C.CONIFER, _C.BROADLEAF)
OPEN_PLANTS = _covers(_C.SHRUB, _C.GRASS)
FUEL = _covers(_C.CONIFER, _C.BROADLEAF, _C.SHRUB, _C.GRASS)
WATER = _covers(_C.WATER, _C.TURBID_WATER)
ICE = _covers(_C.ICE, _C.FIRN, _C.SEA_ICE)
FLOATING = _covers(_C.SEA_ICE)
#: Firn is where a glacier gains; it ends where there is bare ice.
GLACIER = _covers(_C.ICE)
BUILT = _covers(_C.ROOF_BRIGHT, _C.ROOF_DARK, _C.ROOF_TILE, _C.STREET, _C.CONCRETE)
