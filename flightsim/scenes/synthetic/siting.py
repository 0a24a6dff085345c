"""Where a kind of event can happen: a coarse look at a block, scored, and the place drawn from the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...grid import BLOCK
from .events import Kind
from .ground import Biome, Block, Cover, Land, Plane, Window
from .seasons import summer
from .states import BUILT, FLOATING, FUEL, GLACIER, ICE, OPEN_PLANTS, PLANTS, TREES, WATER

#: Samples along each side of a block in the coarse look. A sample stands for an eighth of a tile.
SIDE = 64


def look_window(block: Block) -> Window:
    """The whole block, thinned to ``SIDE`` samples a side."""
    step = max(block.side_px // SIDE, 1)
    side = block.side_px // step
    return Window(step // 2, step // 2, side, side, step)


@dataclass(frozen=True)
class Look:
    """A coarse look at a block, and what can be read from it."""

    block: Block
    land: Land

    def near(self, plane: NDArray[np.bool_] | Plane, radius_m: float) -> Plane:
        """Share of a mask (or mean of a plane) within a square of about that half side. [-]"""
        half = round(radius_m / (self.block.gsd_m * self.land.window.step))
        size = 2 * max(half, 1) + 1
        return np.asarray(ndimage.uniform_filter(plane.astype(np.float32), size, mode="nearest"))

    def has(self, members: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Samples whose cover is one of a group."""
        return np.asarray(members[self.land.cover])

    @cached_property
    def gentle(self) -> NDArray[np.bool_]:
        """Ground on which people build."""
        land = self.land
        flat = np.maximum(np.abs(land.slope_east), np.abs(land.slope_north)) < 0.2
        return flat & ~self.has(WATER | ICE | BUILT)


def _flood(look: Look) -> Plane:
    land = look.land
    low = (land.above_water_m >= 0) & (land.above_water_m < 3.0) & ~look.has(WATER | ICE)
    # Low ground beside water; the middle of the event may lie on the water itself.
    return look.near(low, 450.0) * (look.near(look.has(WATER), 350.0) > 0.01) * (look.near(low, 450.0) > 0.15)


def _pond_dry(look: Look) -> Plane:
    water = look.has(WATER)
    shallow = water & (look.land.above_water_m > -3.0)
    # Ponds and lakes, not the open sea.
    return look.near(shallow, 250.0) * (look.near(water, 2500.0) < 0.6) * (look.near(shallow, 250.0) > 0.08)


def _pond_fill(look: Look) -> Plane:
    land = look.land
    low = (land.above_water_m >= 0) & (land.above_water_m < 1.8) & look.has(PLANTS | _SOFT)
    return look.near(low, 300.0) ** 2 * (look.near(look.has(WATER), 350.0) > 0.01) * (look.near(low, 300.0) > 0.3)


_SOFT = np.isin(np.arange(256), [Cover.MUD, Cover.MARSH, Cover.SOIL, Cover.SALT, Cover.SAND])


def _glacier(look: Look) -> Plane:
    ice = look.near(look.has(GLACIER), 400.0)
    # The edge of a body of ice, low down where it ends.
    body = look.near(look.has(GLACIER), 1500.0)
    edge = np.clip(1.0 - 3.0 * np.abs(ice - 0.5), 0.0, 1.0) * (body > 0.2)
    low = np.exp(-np.maximum(look.land.above_water_m, 0.0) / 60.0)
    return np.asarray(edge * (0.1 + low))


def _breakup(look: Look) -> Plane:
    share = look.near(look.has(FLOATING), 500.0)
    return np.asarray(share * (share > 0.25))


def _freeze(look: Look) -> Plane:
    share = look.near(look.has(WATER), 450.0)
    return np.asarray(share * (share > 0.2))


def _lava(look: Look) -> Plane:
    land = look.land
    # Vents sit high, where there is a slope to run down.
    rank = (land.elevation_m - land.elevation_m.min()) / max(float(np.ptp(land.elevation_m)), 1.0)
    return np.asarray(np.clip(rank - 0.3, 0, 1) ** 2 * ~look.has(WATER | ICE), dtype=np.float32)


def _share(members: NDArray[np.bool_], radius_m: float, least: float) -> Callable[[Look], Plane]:
    """Places around which at least so much of the ground has such cover."""

    def score(look: Look) -> Plane:
        share = look.near(look.has(members), radius_m)
        return np.asarray(share * (share > least))

    return score


def _town(look: Look) -> Plane:
    settled = look.land.settled
    around = look.near(settled, 400.0)
    edge = (around > 0.06) * (settled < 0.6) * np.clip(1.2 - np.abs(around - 0.3) * 2.0, 0.1, 1.0)
    open_ground = look.near(look.gentle, 300.0)
    return np.asarray(edge * open_ground * (open_ground > 0.35))


def _site(look: Look) -> Plane:
    open_ground = look.near(look.gentle, 250.0)
    near_people = 0.15 + look.near(look.land.settled, 1500.0)
    return open_ground * near_people * (open_ground > 0.6)


def _mine(look: Look) -> Plane:
    open_ground = look.near(look.gentle | look.has(np.isin(np.arange(256), [Cover.ROCK, Cover.SAND])), 350.0)
    by_water = look.near(look.has(WATER), 350.0) > 0.01
    away = look.land.settled < 0.1
    return open_ground * (open_ground > 0.4) * away * np.where(by_water, 1.0, 0.4)


def _flare(look: Look) -> Plane:
    open_ground = look.near(look.gentle, 150.0)
    return open_ground * (open_ground > 0.7) * (look.land.settled < 0.1)


SCORES: Mapping[Kind, Callable[[Look], Plane]] = {
    Kind.FLOOD: _flood,
    Kind.POND_DRY: _pond_dry,
    Kind.POND_FILL: _pond_fill,
    Kind.GLACIER_RETREAT: _glacier,
    Kind.ICE_BREAKUP: _breakup,
    Kind.ICE_FORMATION: _freeze,
    Kind.LAVA: _lava,
    Kind.WILDFIRE: _share(FUEL, 400.0, 0.5),
    Kind.GAS_FLARE: _flare,
    Kind.BURN_SCAR: _share(FUEL, 350.0, 0.5),
    Kind.DIEBACK: _share(TREES, 350.0, 0.4),
    Kind.DROUGHT: _share(OPEN_PLANTS, 350.0, 0.4),
    Kind.FOREST_CLEARING: _share(TREES, 350.0, 0.5),
    Kind.TOWN_GROWTH: _town,
    Kind.CONSTRUCTION_SITE: _site,
    Kind.MINING_PIT: _mine,
}

#: How often a kind happens in a biome, relative to the other kinds of its schema and the other biomes; 0 where it is
#: absent. Engineering values; what a block does not offer (no lake, no town) its own look settles.
WEIGHTS: Mapping[Kind, Mapping[Biome, float]] = {
    # Rivers rise wherever it rains; deserts and ice sheets have none.
    Kind.FLOOD: {
        Biome.RAINFOREST: 1.0, Biome.TEMPERATE_FOREST: 0.7, Biome.BOREAL: 0.5, Biome.SAVANNA: 0.9, Biome.CROPLAND: 1.3,
        Biome.WETLAND: 1.2, Biome.COAST: 0.8, Biome.URBAN: 1.0, Biome.MOUNTAIN: 0.4, Biome.VOLCANIC: 0.2,
    },
    # Lakes fall in dry seasons; the open sea and ice do not.
    Kind.POND_DRY: {
        Biome.WETLAND: 1.5, Biome.BOREAL: 0.6, Biome.TEMPERATE_FOREST: 0.5, Biome.SAVANNA: 1.0, Biome.CROPLAND: 0.8,
        Biome.RAINFOREST: 0.4, Biome.URBAN: 0.4, Biome.MOUNTAIN: 0.3, Biome.DESERT: 0.3, Biome.COAST: 0.3,
    },
    Kind.POND_FILL: {
        Biome.WETLAND: 1.5, Biome.BOREAL: 0.6, Biome.TEMPERATE_FOREST: 0.5, Biome.SAVANNA: 0.8, Biome.CROPLAND: 0.7,
        Biome.RAINFOREST: 0.6, Biome.URBAN: 0.3, Biome.MOUNTAIN: 0.2, Biome.COAST: 0.4,
    },
    Kind.GLACIER_RETREAT: {Biome.POLAR: 1.0, Biome.MOUNTAIN: 1.0},
    Kind.ICE_BREAKUP: {Biome.POLAR: 1.2, Biome.BOREAL: 0.6, Biome.COAST: 0.3},
    # Open water freezes where winters are hard; temperate lakes do so too rarely to be told from a bug.
    Kind.ICE_FORMATION: {Biome.POLAR: 1.0, Biome.BOREAL: 1.0, Biome.MOUNTAIN: 0.4},
    Kind.LAVA: {Biome.VOLCANIC: 4.0},
    Kind.WILDFIRE: {
        Biome.SAVANNA: 1.5, Biome.BOREAL: 1.0, Biome.TEMPERATE_FOREST: 0.7, Biome.RAINFOREST: 0.5, Biome.MOUNTAIN: 0.6,
        Biome.COAST: 0.5, Biome.VOLCANIC: 0.4, Biome.CROPLAND: 0.2, Biome.URBAN: 0.2,
    },
    # Oil and gas fields: deserts, taiga, coasts, deltas, tundra.
    Kind.GAS_FLARE: {
        Biome.DESERT: 1, Biome.BOREAL: 0.5, Biome.WETLAND: 0.5, Biome.COAST: 0.5, Biome.SAVANNA: 0.3,
        Biome.CROPLAND: 0.25, Biome.POLAR: 0.15, Biome.RAINFOREST: 0.15, Biome.URBAN: 0.25,
    },
    Kind.BURN_SCAR: {
        Biome.SAVANNA: 1.2, Biome.TEMPERATE_FOREST: 0.5, Biome.BOREAL: 0.5, Biome.RAINFOREST: 0.4, Biome.CROPLAND: 0.3,
        Biome.COAST: 0.5, Biome.MOUNTAIN: 0.5, Biome.VOLCANIC: 0.3, Biome.WETLAND: 0.3,
    },
    Kind.DIEBACK: {
        Biome.BOREAL: 1.0, Biome.TEMPERATE_FOREST: 1.0, Biome.MOUNTAIN: 0.8, Biome.RAINFOREST: 0.3, Biome.COAST: 0.4,
        Biome.VOLCANIC: 0.5, Biome.URBAN: 0.3,
    },
    Kind.DROUGHT: {
        Biome.CROPLAND: 0.5, Biome.SAVANNA: 1.2, Biome.COAST: 0.6, Biome.TEMPERATE_FOREST: 0.4, Biome.WETLAND: 0.4,
        Biome.URBAN: 0.5, Biome.VOLCANIC: 0.3, Biome.MOUNTAIN: 0.3,
    },
    Kind.FOREST_CLEARING: {
        Biome.RAINFOREST: 1.8, Biome.BOREAL: 1.0, Biome.TEMPERATE_FOREST: 1.0, Biome.MOUNTAIN: 0.4, Biome.SAVANNA: 0.4,
        Biome.VOLCANIC: 0.4, Biome.CROPLAND: 0.3, Biome.COAST: 0.4, Biome.URBAN: 0.3,
    },
    # Towns grow where towns are.
    Kind.TOWN_GROWTH: {
        Biome.URBAN: 3.0, Biome.CROPLAND: 1.0, Biome.COAST: 1.0, Biome.SAVANNA: 0.8, Biome.TEMPERATE_FOREST: 0.6,
        Biome.DESERT: 0.4, Biome.RAINFOREST: 0.3, Biome.WETLAND: 0.3, Biome.MOUNTAIN: 0.2, Biome.BOREAL: 0.2,
    },
    Kind.CONSTRUCTION_SITE: {
        Biome.URBAN: 2.5, Biome.CROPLAND: 1.2, Biome.COAST: 0.8, Biome.TEMPERATE_FOREST: 0.6, Biome.SAVANNA: 0.5,
        Biome.DESERT: 0.5, Biome.RAINFOREST: 0.2, Biome.BOREAL: 0.3, Biome.WETLAND: 0.2, Biome.MOUNTAIN: 0.2,
    },
    # Gold along tropical rivers, open pits in dry and cold lands.
    Kind.MINING_PIT: {
        Biome.RAINFOREST: 1.5, Biome.DESERT: 1.0, Biome.BOREAL: 0.5, Biome.SAVANNA: 0.7, Biome.MOUNTAIN: 0.6,
        Biome.TEMPERATE_FOREST: 0.3, Biome.CROPLAND: 0.2, Biome.VOLCANIC: 0.3,
    },
}  # fmt: skip


def season(kind: Kind, land: Biome, lat_deg: float, day_of_year: float) -> float:
    """How often a kind happens at a time of the year, relative to its usual rate. [-]

    Fires run and grass fails when it is dry, and outside the tropics in the warm half of the year; what is brown
    already can neither be seen to burn nor to fade. Ice forms in the cold and breaks up in the warm half.
    """
    warm = summer(lat_deg, day_of_year)
    tropical = abs(lat_deg) < 24.0 or land is Biome.SAVANNA
    # The rains of the tropics culminate a month after the summer of their side (seasons.quiet_surface).
    wet = summer(lat_deg, day_of_year - 18.0)
    if kind in (Kind.WILDFIRE, Kind.BURN_SCAR):
        return 1.1 - wet if tropical else 0.1 + 0.9 * warm
    if kind in (Kind.DROUGHT, Kind.DIEBACK):
        return 0.1 + 0.9 * (wet if tropical else warm)
    if kind is Kind.ICE_FORMATION:
        return 1.05 - warm
    if kind is Kind.ICE_BREAKUP:
        return 0.1 + 0.9 * warm
    return 1.0


@dataclass(frozen=True)
class Sites:
    """The places of a block where a kind can happen, to be drawn from."""

    cells: NDArray[np.int64]  # indices of the look's samples
    cumulative: NDArray[np.float64]  # their summed scores, the last is 1
    angles_rad: NDArray[np.float32]  # direction of each, NaN where any will do
    side: int  # samples along each side of the look

    def near_tiles(self, radius_tiles: float) -> NDArray[np.float64]:
        """Chance that an event's middle lies within a tile or so far from it, by (row from north, column). [-]"""
        score = np.zeros(self.side**2)
        score[self.cells] = np.diff(self.cumulative, prepend=0.0)
        summed = np.pad(score.reshape(self.side, self.side), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
        edges = np.arange(BLOCK + 1) / BLOCK * self.side
        margin = radius_tiles * self.side / BLOCK
        low = np.clip(np.rint(edges[:-1] - margin), 0, self.side).astype(np.int64)
        high = np.clip(np.rint(edges[1:] + margin), 0, self.side).astype(np.int64)
        return np.asarray(
            summed[high[:, None], high] - summed[low[:, None], high] - summed[high[:, None], low]
            + summed[low[:, None], low]
        )  # fmt: skip

    def draw(self, uniform: float) -> int:
        """Index into ``cells`` for a uniform number."""
        return min(int(np.searchsorted(self.cumulative, uniform, side="right")), len(self.cells) - 1)


def sites(kind: Kind, look: Look) -> Sites | None:
    """Where a kind can happen in a block; None where nowhere."""
    if WEIGHTS[kind].get(look.land.biome, 0.0) == 0.0:
        return None
    score = np.maximum(np.asarray(SCORES[kind](look), dtype=np.float64), 0.0)
    # Events belong to one block: the rim would cut them off.
    rim = look.land.window.rows // 20
    inner = np.zeros_like(score)
    inner[rim:-rim, rim:-rim] = score[rim:-rim, rim:-rim]
    score = inner
    cells = np.flatnonzero(score > 1e-3)
    if len(cells) < 4:
        return None
    summed = np.cumsum(score.ravel()[cells])
    return Sites(cells, summed / summed[-1], _angles(kind, look)[cells], score.shape[0])


def _angles(kind: Kind, look: Look) -> NDArray[np.float32]:
    """Direction in which an event at each sample runs, from east to south, NaN for any. [rad]"""
    if kind is Kind.LAVA:  # down the slope; rows count southwards
        east, south = -look.near(look.land.slope_east, 400.0), look.near(look.land.slope_north, 400.0)
    elif kind is Kind.GLACIER_RETREAT:  # into the ice
        south, east = _gradient(look.near(look.has(GLACIER), 700.0))
    elif kind is Kind.TOWN_GROWTH:  # out of town
        south, east = _gradient(-look.near(look.land.settled, 500.0))
    else:
        return np.full(look.land.cover.size, np.nan, dtype=np.float32)
    return np.asarray(np.arctan2(south, east), dtype=np.float32).ravel()


def _gradient(plane: Plane) -> tuple[Plane, Plane]:
    """Rise per sample southwards and eastwards."""
    south, east = np.gradient(plane)
    return np.asarray(south), np.asarray(east)
