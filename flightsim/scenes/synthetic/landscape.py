"""The quiet land of a block: relief, water, cover, fields and settlements, as pure functions of block and window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ... import rng
from .biomes import biome_of
from .ground import Biome, Block, Cover, Land, Plane, Window
from .noise import fractal, sample
from .parcels import Parcels, ParcelSystem, draw_number
from .relief import SIDE as RELIEF_SIDE
from .relief import relief
from .settlements import Settlements

_C = Cover
_B = Biome
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Recipe:
    """What makes a biome, ranges drawn per block. Engineering values, set by eye against pictures."""

    relief_m: tuple[float, float]  # deviation of the height
    wood: tuple[float, float]  # threshold of woods in deviations: -2 nearly all, +2 nearly none
    farm: tuple[float, float]  # the same for farmed land
    river: tuple[float, float]  # depth of rivers in deviations of height above the stream; 0 dry
    lake: tuple[float, float]  # threshold of lakes in deviations: -3 none, -1 many
    open_cover: Cover  # between woods and fields
    second_cover: Cover  # in patches among it
    conifer: tuple[float, float]  # share of conifers in the woods
    tracks: float  # share of the land with forest or field tracks
    fill: tuple[float, float] = (0.1, 0.6)  # depth to which valleys are filled to flats, in deviations of height


_RECIPES: dict[Biome, Recipe] = {
    _B.RAINFOREST: Recipe((6, 45), (-2.6, -1.2), (1.2, 2.8), (0.03, 0.12), (-3.2, -2.2),
        _C.GRASS, _C.SHRUB, (0, 0), 0.2),
    _B.TEMPERATE_FOREST: Recipe((15, 90), (-1.1, 0.1), (-0.2, 1.3), (0.015, 0.06), (-3.2, -1.9),
        _C.GRASS, _C.SHRUB, (0.1, 0.8), 0.8),
    _B.BOREAL: Recipe((5, 35), (-1.1, -0.1), (2.2, 3.5), (0.015, 0.05), (-2.1, -0.9),
        _C.MARSH, _C.SHRUB, (0.75, 1.0), 0.4),
    _B.SAVANNA: Recipe((4, 25), (0.3, 1.4), (0.2, 1.8), (0.01, 0.03), (-3.4, -2.6),
        _C.GRASS, _C.SHRUB, (0, 0), 0.5),
    _B.CROPLAND: Recipe((3, 14), (1.1, 2.4), (-3.0, -1.8), (0.01, 0.05), (-3.4, -2.3),
        _C.GRASS, _C.SHRUB, (0, 0.5), 0.4),
    _B.DESERT: Recipe((20, 140), (2.6, 3.5), (2.2, 3.6), (0, 0), (-4, -3.4),
        _C.SAND, _C.ROCK, (0, 0), 0.2, (0.3, 2.2)),
    _B.WETLAND: Recipe((1.5, 6), (0.4, 1.6), (-1.8, 2.0), (0.06, 0.16), (-1.5, -0.7),
        _C.MARSH, _C.GRASS, (0, 0.3), 0.2),
    _B.COAST: Recipe((5, 40), (-0.2, 1.2), (-1.0, 1.0), (0.01, 0.05), (-3.4, -2.3),
        _C.GRASS, _C.SHRUB, (0, 0.5), 0.5),
    _B.URBAN: Recipe((3, 22), (0.4, 1.6), (-1.5, 0.4), (0.02, 0.07), (-3.4, -2.3),
        _C.GRASS, _C.SHRUB, (0, 0.4), 0.4),
    _B.MOUNTAIN: Recipe((130, 300), (-0.9, 0.5), (1.2, 2.8), (0.01, 0.03), (-3.4, -2.2),
        _C.GRASS, _C.ROCK, (0.5, 1.0), 0.4, (0.05, 0.5)),
    _B.POLAR: Recipe((90, 260), (9, 10), (9, 10), (0, 0), (-3.4, -2.0),
        _C.ROCK, _C.ROCK, (1, 1), 0.0),
    _B.VOLCANIC: Recipe((60, 180), (-0.4, 0.8), (1.4, 2.8), (0.0, 0.02), (-4, -3),
        _C.SHRUB, _C.GRASS, (0.2, 0.8), 0.3),
}  # fmt: skip


class Terrain:
    """A block's land. Making one draws its numbers; ``land`` makes the pixels of a window.

    Parameters
    ----------
    block
        The block; equal blocks give equal land in every process.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self.biome = biome_of(block.lat_deg, block.lon_deg, block.key, block.seed)
        self._draw = rng.uniform_at(block.seed, "synthetic/terrain", np.uint64(block.key), np.arange(128))
        recipe = _RECIPES[self.biome]
        self.recipe = recipe
        self.metre = 1.0 / block.gsd_m
        # At 10 m the relief's texel is 20 m; larger blocks see it enlarged, so that no block shows it twice.
        self.zoom = max(2.0, block.side_px / RELIEF_SIDE) * (1.0 + 1.5 * float(self._draw[28]) ** 2)
        self.fill = self._between(29, recipe.fill)
        self.broad = max(1.0, block.side_px / 1024.0)
        self.relief_m = self._between(0, recipe.relief_m)
        self.wood = self._between(1, recipe.wood)
        self.farm = self._between(2, recipe.farm)
        self.river = self._between(3, recipe.river)
        self.lake = self._between(4, recipe.lake)
        self.conifer = self._between(5, recipe.conifer)
        self.base_m = 20.0 + 600.0 * float(self._draw[6]) ** 2
        self.base_m += {_B.MOUNTAIN: 1200.0, _B.POLAR: -100.0, _B.COAST: -10.0}.get(self.biome, 0.0)
        self.sea = self.biome is _B.COAST or (self.biome is _B.POLAR and self._draw[7] < 0.7)
        angle = float(self._draw[8]) * np.pi
        old_world = self._draw[9] < 0.6
        sizes = (230.0, 340.0) if old_world else (800.0, 800.0)
        self.systems = [
            ParcelSystem(
                block,
                name,
                angle + turn if old_world else 0.02 * angle,
                (sizes[0] * self.metre, sizes[1] * self.metre),
                0.4 if old_world else 0.03,
                4 if old_world else 3,
                0.0 if old_world or self._draw[10] < 0.5 else 0.6,
            )
            for name, turn in (("first", 0.0), ("second", 0.5 + 0.6 * float(self._draw[11])))
        ]
        self.warp_px = float(14.0 if old_world else 1.0)
        self.settlements = Settlements(block, self.biome)
        fate = rng.uniform_at(block.seed, "synthetic/parcel", np.uint64(block.key), np.arange(4096))
        self._parcel_draw = fate.astype(np.float32)

    def _between(self, number: int, bounds: tuple[float, float]) -> float:
        low, high = bounds
        return float(low + (high - low) * self._draw[number])

    def _offset(self, number: int) -> tuple[float, float]:
        """Where the block lies in a periodic field of noise. [texel]"""
        draw = self._draw[40 + 2 * number], self._draw[41 + 2 * number]
        return float(np.floor(draw[0] * 1024.0)), float(np.floor(draw[1] * 1024.0))

    def _noise(
        self, name: str, number: int, slope: float, window: Window, zoom: float = 1.0, shortest_px: float = 0.0
    ) -> Plane:
        return sample(fractal(name, slope, shortest_px=shortest_px), window, self._offset(number), zoom)

    def land(self, window: Window) -> Land:
        """The land of a window; the same pixels whatever window of the block shows them."""
        wide = Window(
            window.top - window.step, window.left - window.step, window.rows + 2, window.cols + 2, window.step
        )
        carved = relief()
        place = self._offset(0)
        height = sample(carved.height, wide, place, self.zoom)
        detail = sample(carved.height, wide, self._offset(1), 0.75 * self.zoom)
        inner = (slice(1, -1), slice(1, -1))
        flow = sample(carved.flow, window, place, self.zoom)
        grain = np.stack(
            [
                self._noise("grain0", 2, 1.0, window),
                self._noise("grain1", 3, 1.9, window),
                self._noise("grain2", 4, 2.5, window),
                self._noise("grain3", 5, 3.0, window, self.broad),
            ]
        )
        patches = self._noise("patches", 6, 2.9, window, self.broad, 5.0)
        rough = self._noise("rough", 7, 2.2, window, shortest_px=4.5)

        rise = sample(carved.above_stream, wide, place, self.zoom)
        above = rise[inner]
        # Sediment fills valleys to flats; where little, slopes meet in a V.
        stream = height - rise
        broad = sample(fractal("sway", 3.6), wide, self._offset(8), self.broad)
        flat = np.float32(self.fill) * np.clip(1.0 + 0.8 * broad, 0.0, 2.5)
        height = stream + np.sqrt(rise * rise + 0.25 * flat * flat) + 0.5 * np.maximum(flat - rise, 0.0)
        detail = detail * np.clip(rise / (flat + 0.15), 0.15, 1.0)
        water_m = self._water(window, above, height[inner], rough)
        height = height + np.float32(0.16) * detail
        elevation = np.float32(self.relief_m) * height + np.float32(self.base_m)
        per_m = np.float32(0.5 / (self.block.gsd_m * window.step))
        slope_east = (elevation[1:-1, 2:] - elevation[1:-1, :-2]) * per_m
        slope_north = (elevation[:-2, 1:-1] - elevation[2:, 1:-1]) * per_m

        x = np.arange(window.cols, dtype=np.float32) * window.step + window.left
        y = np.arange(window.rows, dtype=np.float32)[:, None] * window.step + window.top
        sway = self._noise("sway", 8, 3.6, window, self.broad)
        x = x + np.float32(self.warp_px) * sway
        y = y - np.float32(self.warp_px) * grain[3]

        land = Land(
            self.biome, window, elevation[inner], slope_east, slope_north, water_m,
            np.empty(window.shape, dtype=np.uint8), np.zeros(window.shape, dtype=np.int32),
            np.zeros(window.shape, dtype=np.float32), grain,
        )  # fmt: skip
        wild = _WILD.get(self.biome)
        if wild is None:
            self._tended(land, patches, rough, flow, sway, x, y)
        else:
            wild(self, land, patches, rough, flow, height[inner])
            self._tracks(land, rough, patches)
        settled = np.maximum(self.settlements.settled(x, y, rough), land.settled) * (water_m > 0.4)
        land.settled[:] = settled
        built = settled > 0.08
        if built.any():
            u, v = self.systems[0].turn(x, y)
            self.settlements.build(land.cover, built, settled, u, v)
            land.parcel[built] = 0
        dry = water_m > 0.0
        bend = self._noise("bend", 13, 4.0, window, self.broad)
        bent = np.float32(40.0) * bend
        self.settlements.pave(
            land.cover, dry, x + bent, y - bent, _C.LATERITE if self.settlements.tropical else _C.STREET
        )
        wet = water_m <= 0.0
        land.cover[wet] = _C.WATER
        land.parcel[wet] = 0
        if self.biome is _B.POLAR:
            self._glacier(land, patches, rough, height[inner])
        return land

    def _water(self, window: Window, above: Plane, height: Plane, rough: Plane) -> Plane:
        """Height above the nearest river, lake or sea at its usual level. [m]"""
        metres = np.float32(max(self.relief_m, 8.0))
        water_m = (above - np.float32(self.river)) * metres if self.river > 0 else (above + np.float32(0.05)) * metres
        if self.lake > -3.2:
            bowl = self._noise("bowls", 9, 2.7, window, shortest_px=9.0) + np.float32(0.05) * rough
            np.minimum(water_m, (bowl - np.float32(self.lake)) * 12.0, out=water_m)
        if self.sea:
            shore = self._noise("shore", 10, 3.4, window, self.broad, 7.0)
            level = np.float32(-0.25 + 0.6 * float(self._draw[12]))
            np.minimum(water_m, (shore + np.float32(0.05) * height - level) * np.float32(25.0), out=water_m)
        return water_m

    def _tended(self, land: Land, patches: Plane, rough: Plane, flow: Plane, sway: Plane, x: Plane, y: Plane) -> None:
        """Woods, meadows and fields, where people and rain have both been at work."""
        recipe, cover = self.recipe, land.cover
        grain = land.grain
        steep = np.hypot(land.slope_east, land.slope_north)
        cover[:] = recipe.open_cover
        cover[0.8 * rough + 0.5 * patches > 0.7] = recipe.second_cover

        # Farm: on gentle ground, in one of two orientations; woods take their edges from parcels where there are any.
        near_stream = np.clip(1.0 - land.above_water_m / np.float32(0.18 * self.relief_m + 2.0), 0.0, 1.0)
        farmed = grain[3] - 8.0 * np.clip(steep - 0.2, 0.0, 1.0) > np.float32(self.farm)
        woods = patches + 0.14 * rough + 1.2 * near_stream + 2.0 * np.clip(steep - 0.2, 0.0, 0.6)
        wooded = woods > np.float32(self.wood)
        leafy = rough * 0.6 + patches * 0.4 + 0.6 * near_stream > np.float32(2.4 * self.conifer - 1.2)
        tree = np.where(leafy, np.uint8(_C.BROADLEAF), np.uint8(_C.CONIFER))
        if farmed.any():
            parcels = self._parcels(sway, x, y)
            draw = self._parcel_draw.take(draw_number(parcels.number))
            wood_parcel = draw > 0.93
            # A clearing follows its fields' borders: nine tenths of a parcel's fate is one draw for all of it.
            farmed &= ~wooded | (draw < 0.35)
            meadow = draw > 0.80
            cover[farmed] = _C.CROP
            cover[farmed & meadow] = _C.GRASS
            np.copyto(cover, tree, where=farmed & wood_parcel)
            land.parcel[:] = np.where(farmed & ~wood_parcel, parcels.number, 0)
            cover[farmed & parcels.corner] = _C.GRASS
            if self._hedges:
                hedge = farmed & (parcels.border_px < 0.9) & (rough > -0.2)
                np.copyto(cover, np.uint8(_C.BROADLEAF), where=hedge)
                land.parcel[hedge] = 0
            lane = farmed & (parcels.border_px < 0.5) & (grain[2] > 0.1)
            cover[lane] = _C.LATERITE if self.settlements.tropical else _C.SOIL
            land.parcel[lane] = 0
            land.settled[farmed & parcels.yard] = 0.3
            # Fields are textured along their furrows, not like wild ground.
            np.copyto(land.grain[1], 0.6 * grain[1] + 0.8 * parcels.furrow, where=farmed)
            wooded &= ~farmed
        np.copyto(cover, tree, where=wooded)
        if self.biome is _B.WETLAND or self.biome is _B.BOREAL:
            marsh = (land.above_water_m < np.float32(1.2 + 0.8 * self.relief_m * 0.05)) & (land.parcel == 0)
            cover[marsh & (rough > -0.9)] = _C.MARSH
        if self.biome is _B.COAST:
            beach = (land.above_water_m < 0.2 + 1.6 * np.clip(patches + 0.4, 0.0, 2.0)) & (land.above_water_m > -0.3)
            cover[beach] = _C.SAND if self._draw[13] < 0.6 else _C.MUD
            land.parcel[beach] = 0
        elif self.biome in (_B.RAINFOREST, _B.SAVANNA, _B.TEMPERATE_FOREST):
            bar = (land.above_water_m < 0.5 * (rough + patches - 0.9)) & (land.above_water_m > -0.3)
            cover[bar] = _C.SAND
            land.parcel[bar] = 0
        if self.biome is _B.SAVANNA:
            cover[(cover == _C.GRASS) & (land.parcel == 0) & (grain[0] + grain[1] > 1.9)] = _C.BROADLEAF
            cover[(cover == _C.GRASS) & (land.parcel == 0) & (0.8 * rough + 0.5 * patches + 0.2 * grain[2] > 1.6)] = (
                _C.LATERITE
            )
        self._tracks(land, rough, patches)

    @property
    def _hedges(self) -> bool:
        return bool(self._draw[14] < 0.4) and self.biome not in (_B.SAVANNA, _B.DESERT)

    def _parcels(self, sway: Plane, x: Plane, y: Plane) -> Parcels:
        """The parcels of a window, in the orientation that holds on each side of a line through the block."""
        first, second = self.systems
        other = sway > np.float32(2.0 * self._draw[15] - 0.6)
        if not other.any():
            return first.at(*first.turn(x, y))
        if other.all():
            return second.at(*second.turn(x, y))
        one, two = first.at(*first.turn(x, y)), second.at(*second.turn(x, y))
        return Parcels(
            np.where(other, two.number + (1 << 29), one.number),
            np.where(other, two.border_px, one.border_px),
            np.where(other, two.pivot, one.pivot),
            np.where(other, two.corner, one.corner),
            np.where(other, two.yard, one.yard),
            np.where(other, two.furrow, one.furrow),
        )

    def _tracks(self, land: Land, rough: Plane, patches: Plane) -> None:
        """Forest and field tracks along contour lines, as they are dug."""
        share = self.recipe.tracks
        if share == 0.0 or land.window.step > 1:
            return
        wander = np.float32(0.45) * sample(fractal("tracks", 3.4, 600.0, 26.0), land.window, self._offset(11))
        x = np.arange(land.window.cols, dtype=np.float32) + land.window.left
        y = np.arange(land.window.rows, dtype=np.float32)[:, None] + land.window.top
        # A trend makes long lines of what would be rings.
        run = np.pi * self._draw[26]
        apart = np.float32(1.0 / (60.0 + 110.0 * self._draw[27]))
        field = wander + apart * (x * np.float32(np.cos(run)) + y * np.float32(np.sin(run)))
        down, right = field[2:, 1:-1] - field[:-2, 1:-1], field[1:-1, 2:] - field[1:-1, :-2]
        steep = 0.5 * np.sqrt(down * down + right * right) + np.float32(1e-4)
        spacing = np.float32(1.0)
        # A level line one pixel wide: the step from it in units of the step from pixel to pixel.
        off = np.abs((field[1:-1, 1:-1] / spacing) % 1.0 - 0.5) * spacing
        line = np.zeros(land.window.shape, dtype=bool)
        line[1:-1, 1:-1] = off < 0.5 * steep
        line &= patches - 0.5 * land.grain[3] < np.float32(3.0 * share - 1.8)
        line &= (land.parcel == 0) & (land.above_water_m > 1.0)
        land.cover[line] = _C.LATERITE if self.settlements.tropical and self._draw[25] < 0.5 else _C.SOIL

    def _desert(self, land: Land, patches: Plane, rough: Plane, flow: Plane, height: Plane) -> None:
        """Sand, rock and gravel, dry rivers with shrubs along them, dunes or a salt flat."""
        cover, grain = land.cover, land.grain
        steep = np.hypot(land.slope_east, land.slope_north)
        red = self._draw[16] < 0.4
        cover[:] = _C.LATERITE if red and self._draw[17] < 0.6 else _C.SAND
        cover[patches + 0.4 * rough > np.float32(1.2 - 2.0 * self._draw[18])] = _C.SOIL
        cover[steep + 0.05 * rough > 0.22] = _C.ROCK
        wadi = land.above_water_m < np.float32(0.075 * self.relief_m) * (1.0 + 0.3 * grain[2])
        cover[wadi & (patches < 1.0)] = _C.SAND if self._draw[19] < 0.9 else _C.SALT
        shrubs = (flow > 0.9) & (flow < 2.0) & (grain[0] + grain[2] > np.float32(-0.2 + 1.2 * self._draw[20]))
        cover[shrubs] = _C.SHRUB
        if self._draw[21] < 0.3:
            cover[(grain[3] < -1.1) & (steep < 0.12)] = _C.SALT

    def _mountain(self, land: Land, patches: Plane, rough: Plane, flow: Plane, height: Plane) -> None:
        """Woods below, meadows and scree above, snow that stays and small glaciers on top."""
        cover, grain = land.cover, land.grain
        steep = np.hypot(land.slope_east, land.slope_north)
        zone = height + 0.18 * rough
        tree_line = np.float32(self.wood + 0.2)
        cover[:] = _C.ROCK
        cover[(zone < tree_line + 1.0) & (steep + 0.08 * grain[1] < 0.62)] = _C.GRASS
        wooded = (zone + 0.25 * patches < tree_line) & (steep < 1.1 + 0.2 * rough)
        leafy = zone < np.float32(-1.3)
        cover[wooded] = _C.CONIFER
        cover[wooded & leafy] = _C.BROADLEAF
        cover[(flow + 0.4 * grain[1] > 2.6) & ~wooded] = _C.ROCK
        valley = (land.above_water_m < 0.10 * self.relief_m) & (steep < 0.22) & (zone < tree_line - 0.3)
        cover[valley & (rough < 0.9)] = _C.GRASS
        high = zone - 0.6 * np.clip(steep - 0.5, 0, 2)
        cover[high > np.float32(1.5)] = _C.FIRN
        cover[(high > 0.9) & (high <= 1.5) & (flow + 0.4 * patches > 1.0)] = _C.ICE

    def _volcanic(self, land: Land, patches: Plane, rough: Plane, flow: Plane, height: Plane) -> None:
        """Flows of lava of several ages over scrub and forest, ash around the vent."""
        cover, grain = land.cover, land.grain
        cover[:] = _C.SHRUB
        cover[patches + 0.3 * rough > np.float32(self.wood)] = _C.BROADLEAF
        cover[(grain[2] > 0.9)] = _C.GRASS
        tongue = land.grain[3] + 0.25 * rough
        cover[tongue > 0.25] = _C.LAVA
        cover[(tongue > 0.25) & (grain[2] + 0.6 * patches > 0.8)] = _C.SHRUB
        cover[(height > 1.3) & (rough < 1.0)] = _C.ROCK

    def _polar(self, land: Land, patches: Plane, rough: Plane, flow: Plane, height: Plane) -> None:
        """Bare rock and moss; the ice is laid over it afterwards."""
        cover = land.cover
        cover[:] = _C.ROCK
        cover[(land.above_water_m < 0.2 * self.relief_m) & (rough > 0.3)] = _C.GRASS
        cover[(flow > 2.4)] = _C.MUD

    def _glacier(self, land: Land, patches: Plane, rough: Plane, height: Plane) -> None:
        """Ice in the valleys with a front, in water where a fjord reaches it; firn above, sea ice before it."""
        cover, above = land.cover, land.above_water_m
        line = np.float32(1.2 * self._draw[22] - 1.0)
        thick = 0.9 - land.above_water_m / np.float32(self.relief_m) + 0.5 * (land.grain[3] - line)
        ice = (thick > 0.55 + 0.05 * rough) & (land.grain[3] + 0.06 * rough > line)
        cover[ice] = _C.ICE
        firn = height + 0.25 * land.grain[3] + 0.15 * rough > np.float32(0.4 + 1.2 * self._draw[23])
        cover[firn & (above > 0.0)] = _C.FIRN
        afloat = (above <= 0.0) & ~ice
        cover[afloat & (land.grain[2] + 0.5 * rough > np.float32(0.4 + 2.0 * self._draw[24]))] = _C.SEA_ICE


_WILD = {
    _B.DESERT: Terrain._desert,
    _B.MOUNTAIN: Terrain._mountain,
    _B.VOLCANIC: Terrain._volcanic,
    _B.POLAR: Terrain._polar,
}
