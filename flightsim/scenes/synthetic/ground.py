"""The types of the generated world: blocks, windows into them, the land that stays and the surface of one instant.

A block of 8x8 tiles is one continuous landscape; a tile is a window into it. Rows count from the north, columns from
the west, in pixels of the block. A window may reach beyond its block (margins of a sensor's point spread).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from ...grid import BLOCK

#: Bands of the generated world, in this order in every array of reflectance. Sentinel-2 MSI; centres 492, 560, 665,
#: 833, 1610 and 2190 nm (ESA, Sentinel-2 MSI spectral responses, S2-SRF, COPE-GSEG-EOPG-TN-15-0007).
BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")

Plane = NDArray[np.float32]
Codes = NDArray[np.uint8]


class Biome(StrEnum):
    """What kind of landscape a block is."""

    RAINFOREST = "rainforest"
    TEMPERATE_FOREST = "temperate_forest"
    BOREAL = "boreal"
    SAVANNA = "savanna"
    CROPLAND = "cropland"
    DESERT = "desert"
    WETLAND = "wetland"
    COAST = "coast"
    URBAN = "urban"
    MOUNTAIN = "mountain"
    POLAR = "polar"
    VOLCANIC = "volcanic"


class Cover(IntEnum):
    """What the ground is covered with, one code a pixel."""

    CONIFER = 0
    BROADLEAF = 1
    SHRUB = 2
    GRASS = 3
    CROP = 4
    SOIL = 5
    SAND = 6
    ROCK = 7
    LATERITE = 8
    WATER = 9
    TURBID_WATER = 10
    MARSH = 11
    MUD = 12
    ICE = 13
    FIRN = 14
    SEA_ICE = 15
    ROOF_BRIGHT = 16
    ROOF_DARK = 17
    ROOF_TILE = 18
    STREET = 19
    CONCRETE = 20
    CHAR = 21
    LAVA = 22
    SLASH = 23  # felled wood and bared litter
    TAILINGS = 24
    SALT = 25


@dataclass(frozen=True, slots=True)
class Block:
    """A block of 8x8 tiles: one continuous landscape. ``lat_deg`` and ``lon_deg`` are those of its middle."""

    key: int
    lat_deg: float
    lon_deg: float
    tile_px: int
    gsd_m: float
    seed: int

    @property
    def side_px(self) -> int:
        """Rows and columns of the block. [px]"""
        return BLOCK * self.tile_px

    def tile(self, block_row: int, block_col: int, margin_px: int = 0) -> Window:
        """Window of a tile; ``block_row`` counts cells from the south, ``block_col`` from the west."""
        top = (BLOCK - 1 - block_row) * self.tile_px - margin_px
        side = self.tile_px + 2 * margin_px
        return Window(top, block_col * self.tile_px - margin_px, side, side)


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of a block. ``step`` takes every so many pixels, for quick looks at a whole block. [px]"""

    top: int
    left: int
    rows: int
    cols: int
    step: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of arrays over the window."""
        return self.rows, self.cols


@dataclass(frozen=True)
class Land:
    """What stays of a place over years, arrays of shape (rows, columns) of a window."""

    biome: Biome
    window: Window
    elevation_m: Plane
    slope_east: Plane  # rise over run [-]
    slope_north: Plane  # rise over run [-]
    above_water_m: Plane  # height above the nearest lake, river or sea at its usual level; negative is its depth [m]
    cover: Codes  # Cover at its usual state, in the growing season
    parcel: NDArray[np.int32]  # number of the field, 0 outside fields
    settled: Plane  # 1 in the core of a settlement, falling to 0 outside [-]
    grain: NDArray[np.float32]  # (4, rows, columns) independent fractal textures of unit deviation [-]


@dataclass
class Surface:
    """The ground at one instant, before light, air and camera: what events alter. Arrays of shape (rows, columns)."""

    cover: Codes
    vigour: Plane  # 1 healthy, 0 dead vegetation; scales the green of vegetated covers [-]
    turbidity: Plane  # 0 clear, 1 muddy water [-]
    heat: Plane  # share of the pixel that glows at about 1100 K [-]
    smoke: Plane  # optical thickness of smoke at B02 [-]
