"""A simple land for tests of what happens on it: hills, a lake or glacier, woods, fields and a town, by biome."""

from __future__ import annotations

import numpy as np

from flightsim.rng import uniform_at
from flightsim.scenes.synthetic.ground import Biome, Block, Cover, Land, Surface, Window
from flightsim.scenes.synthetic.noise import fractal, sample

_WOODS = {
    Biome.RAINFOREST: (Cover.BROADLEAF, -1.2),
    Biome.TEMPERATE_FOREST: (Cover.BROADLEAF, -0.5),
    Biome.BOREAL: (Cover.CONIFER, -0.5),
    Biome.SAVANNA: (Cover.BROADLEAF, 1.0),
    Biome.CROPLAND: (Cover.BROADLEAF, 1.2),
    Biome.WETLAND: (Cover.MARSH, 0.0),
    Biome.MOUNTAIN: (Cover.CONIFER, 0.0),
    Biome.VOLCANIC: (Cover.CONIFER, 0.2),
    Biome.URBAN: (Cover.BROADLEAF, 0.9),
    Biome.COAST: (Cover.BROADLEAF, 0.5),
}


class HandmadeTerrain:
    """Land of a block of any biome that is asked for."""

    def __init__(self, block: Block, biome: Biome) -> None:
        self.block, self.biome = block, biome

    def land(self, window: Window) -> Land:
        """The land of a window."""
        draw = 1024.0 * uniform_at(self.block.seed, "handmade", self.block.key, np.arange(8))
        broad = sample(fractal("handmade-broad", 3.4), window, (draw[0], draw[1]))
        wood = sample(fractal("handmade-wood", 2.8, 300.0), window, (draw[2], draw[3]))
        grain = np.stack(
            [sample(fractal(f"handmade-grain-{k}", 1.6, 60.0), window, (draw[4], draw[5])) for k in range(4)]
        )
        row = window.top + window.step * np.arange(window.rows)[:, None] + np.zeros(window.shape)
        col = window.left + window.step * np.arange(window.cols)[None, :] + np.zeros(window.shape)
        side = self.block.side_px
        height = (8.0 * broad + 6.0 + 6.0 * np.abs(row / side - 0.5)).astype(np.float32)
        biome = self.biome
        cover = np.full(window.shape, Cover.GRASS, dtype=np.uint8)
        parcel = np.zeros(window.shape, dtype=np.int32)
        if biome in (Biome.CROPLAND, Biome.COAST):
            parcel = (1 + (row // 24) * 1000 + col // 30).astype(np.int32)
            cover[parcel % 5 > 0] = Cover.CROP
        if biome is Biome.DESERT:
            cover[:] = Cover.SAND
        if biome is Biome.VOLCANIC:
            height = (60.0 + 30.0 * broad - 0.1 * np.hypot(row - side / 2, col - side / 2)).astype(np.float32) + 100.0
        if biome in _WOODS:
            kind, threshold = _WOODS[biome]
            cover[wood > threshold] = kind
        settled = np.clip(1.3 - np.hypot(row - 0.6 * side, col - 0.45 * side) / (0.22 * side), 0, 1).astype(np.float32)
        if biome is not Biome.URBAN:
            settled *= 0.0
        cover[settled > 0.3] = Cover.ROOF_TILE
        water = height < 0
        if biome is Biome.POLAR:
            cover[:] = Cover.ROCK
            tongue = np.abs(col / side - 0.5) < 0.25 + 0.04 * broad
            cover[tongue & (row / side + 0.03 * wood > 0.4)] = Cover.ICE
            sea = row / side + 0.02 * wood <= 0.4
            height = np.where(sea, -3.0 - 20.0 * (0.4 - row / side), 4.0 + 40.0 * (row / side - 0.4)).astype(np.float32)
            cover[sea] = Cover.WATER
            cover[sea & (row / side < 0.22)] = Cover.SEA_ICE
        else:
            cover[water] = Cover.WATER
        down, east = np.gradient(height) if min(window.shape) > 1 else (0 * height, 0 * height)
        scale = np.float32(1.0 / (self.block.gsd_m * window.step))
        return Land(
            biome=biome,
            window=window,
            elevation_m=height + 20.0,
            slope_east=(east * scale).astype(np.float32),
            slope_north=(-down * scale).astype(np.float32),
            above_water_m=height,
            cover=cover,
            parcel=parcel,
            settled=settled,
            grain=grain.astype(np.float32),
        )


def quiet(land: Land) -> Surface:
    """The surface without any event, in the growing season."""
    zero = np.zeros(land.window.shape, dtype=np.float32)
    return Surface(land.cover.copy(), np.ones_like(zero), zero + np.float32(0.05), zero.copy(), zero.copy())


def block_of(key: int = 5, tile_px: int = 128, gsd_m: float = 10.0) -> Block:
    """A block somewhere."""
    return Block(key, 12.0, 30.0, tile_px, gsd_m, 3)
