"""Towns, villages and the roads between them: where they lie in a block, and what a pixel of them is covered with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ... import rng
from .ground import Biome, Block, Codes, Cover, Plane
from .parcels import Division

_C = Cover


def _mixture(shares: dict[Cover, float]) -> Codes:
    """Table of 256 covers in given shares."""
    names = list(shares)
    weights = np.cumsum([shares[name] for name in names])
    which = np.searchsorted(weights / weights[-1], (np.arange(256) + 0.5) / 256.0)
    return np.array(names, dtype=np.uint8)[which]


#: What lots are covered with, by density (rows: fringe, suburb, core) and style. Engineering values.
_STYLES: dict[str, tuple[dict[Cover, float], ...]] = {
    "temperate": (
        {_C.GRASS: 0.50, _C.BROADLEAF: 0.18, _C.ROOF_TILE: 0.13,
         _C.ROOF_DARK: 0.10, _C.STREET: 0.06, _C.SOIL: 0.03},
        {_C.GRASS: 0.22, _C.BROADLEAF: 0.17, _C.ROOF_TILE: 0.19,
         _C.ROOF_DARK: 0.23, _C.STREET: 0.14, _C.ROOF_BRIGHT: 0.025},
        {_C.ROOF_DARK: 0.36, _C.ROOF_TILE: 0.13, _C.STREET: 0.24,
         _C.CONCRETE: 0.12, _C.ROOF_BRIGHT: 0.05, _C.BROADLEAF: 0.10},
    ),
    "tropical": (
        {_C.GRASS: 0.36, _C.BROADLEAF: 0.28, _C.ROOF_TILE: 0.08,
         _C.ROOF_BRIGHT: 0.06, _C.LATERITE: 0.14, _C.SHRUB: 0.08},
        {_C.GRASS: 0.18, _C.BROADLEAF: 0.18, _C.ROOF_TILE: 0.15,
         _C.ROOF_BRIGHT: 0.13, _C.LATERITE: 0.16, _C.ROOF_DARK: 0.20},
        {_C.ROOF_DARK: 0.32, _C.ROOF_BRIGHT: 0.16, _C.STREET: 0.20,
         _C.CONCRETE: 0.14, _C.ROOF_TILE: 0.13, _C.BROADLEAF: 0.05},
    ),
    "dry": (
        {_C.SOIL: 0.46, _C.SAND: 0.24, _C.CONCRETE: 0.10,
         _C.SHRUB: 0.10, _C.ROOF_TILE: 0.10},
        {_C.SOIL: 0.26, _C.CONCRETE: 0.24, _C.SAND: 0.16,
         _C.ROOF_BRIGHT: 0.10, _C.STREET: 0.12, _C.ROOF_TILE: 0.12},
        {_C.CONCRETE: 0.30, _C.ROOF_BRIGHT: 0.16, _C.STREET: 0.22,
         _C.ROOF_DARK: 0.16, _C.SOIL: 0.12, _C.SHRUB: 0.04},
    ),
}  # fmt: skip
_DRY = {Biome.DESERT}
_TROPICAL = {Biome.RAINFOREST, Biome.SAVANNA}
#: Towns per block of 10 km (mean), and median radius of a town. [m] Engineering values.
_TOWNS: dict[Biome, tuple[float, float]] = {
    Biome.RAINFOREST: (0.8, 250.0), Biome.TEMPERATE_FOREST: (4.0, 350.0), Biome.BOREAL: (0.6, 300.0),
    Biome.SAVANNA: (3.0, 280.0), Biome.CROPLAND: (8.0, 350.0), Biome.DESERT: (0.8, 450.0), Biome.WETLAND: (1.5, 280.0),
    Biome.COAST: (5.0, 550.0), Biome.URBAN: (7.0, 2000.0), Biome.MOUNTAIN: (1.5, 250.0), Biome.POLAR: (0.05, 150.0),
    Biome.VOLCANIC: (1.0, 250.0),
}  # fmt: skip


class Settlements:
    """The towns and roads of a block."""

    def __init__(self, block: Block, biome: Biome) -> None:
        key = np.uint64(block.key)
        draw = rng.uniform_at(block.seed, "synthetic/towns", key, np.arange(160))
        side = float(block.side_px)
        mean, radius_m = _TOWNS[biome]
        area = (side * block.gsd_m / 10240.0) ** 2
        wanted = mean * area
        count = int(min(wanted + (draw[0] - 0.5) * 2.0 * np.sqrt(max(wanted, 0.25)) + 0.5, 24.0))
        place = draw[8 : 8 + 3 * 24].reshape(3, 24)[:, : max(count, 0)]
        self.x = (place[0] * side).astype(np.float32)
        self.y = (place[1] * side).astype(np.float32)
        # Many villages, few towns: sizes of places are skewed.
        self.radius = (radius_m * np.exp(1.4 * (place[2] - 0.5) * 2.0) / block.gsd_m).astype(np.float32)
        self.tropical = abs(block.lat_deg) < 24.0 or biome in _TROPICAL
        style = "dry" if biome in _DRY else "tropical" if self.tropical else "temperate"
        self.table = np.stack([_mixture(shares) for shares in _STYLES[style]]).ravel()
        metre = 1.0 / block.gsd_m
        length = 4 * block.side_px + 128
        self.half = length // 2
        lots = [
            Division.cut(length, max(size * metre, 1.0), 0.45, block.seed, f"synthetic/lots/{name}", block.key)
            for name, size in (("u", 26.0), ("v", 31.0))
        ]
        streets = [
            Division.cut(length, max(size * metre, 3.0), 0.35, block.seed, f"synthetic/streets/{name}", block.key)
            for name, size in (("u", 85.0 + 60.0 * draw[1]), ("v", 120.0 + 90.0 * draw[2]))
        ]
        self.lot_u, self.lot_v = lots
        self.street_u, self.street_v = streets
        self.white = (rng.hash_at(block.seed, "synthetic/lots", key, np.arange(256 * 256)) & np.uint64(255)).astype(
            np.uint8
        )
        self.roads = self._roads(block, biome, draw[100:])

    def _roads(self, block: Block, biome: Biome, draw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Segments from (x0, y0) to (x1, y1) with half width and kind, shape (n, 6). [px]"""
        rows: list[tuple[float, ...]] = []
        side = float(block.side_px)
        minor = 4.0 / block.gsd_m
        for k in range(len(self.x)):
            far = np.hypot(self.x - self.x[k], self.y - self.y[k])
            for other in np.argsort(far)[1:3]:
                if other > k or far[other] > 0:
                    rows.append((self.x[k], self.y[k], self.x[other], self.y[other], minor, 0.0))
        through = {Biome.URBAN: 3, Biome.CROPLAND: 2, Biome.COAST: 1, Biome.TEMPERATE_FOREST: 1}.get(biome, 0)
        if biome in (Biome.SAVANNA, Biome.DESERT, Biome.BOREAL, Biome.RAINFOREST) and draw[0] < 0.5:
            through = 1
        for k in range(through):
            a, b = draw[4 + 2 * k], draw[5 + 2 * k]
            ends = (0.0, a * side, side, b * side) if draw[12 + k] < 0.5 else (a * side, 0.0, b * side, side)
            rows.append((*ends, (9.0 if k == 0 else 6.0) / block.gsd_m, 1.0))
        return np.array(rows, dtype=np.float32).reshape(-1, 6)

    def settled(self, x: Plane, y: Plane, ragged: Plane) -> Plane:
        """1 in the core of a town, falling to 0 outside; ``ragged`` is a field of unit deviation. [-]"""
        answer = np.zeros(x.shape, dtype=np.float32)
        low_x, high_x, low_y, high_y = x.min(), x.max(), y.min(), y.max()
        for town_x, town_y, radius in zip(self.x, self.y, self.radius, strict=True):
            gap_x = max(low_x - town_x, town_x - high_x, 0.0)
            gap_y = max(low_y - town_y, town_y - high_y, 0.0)
            if gap_x * gap_x + gap_y * gap_y > (2.2 * radius) ** 2:
                continue
            away = np.sqrt((x - town_x) ** 2 + (y - town_y) ** 2) / radius
            np.maximum(answer, np.clip(1.25 - away + 0.28 * ragged, 0.0, 1.0), out=answer)
        return answer

    def build(self, cover: Codes, where: NDArray[np.bool_], settled: Plane, u: Plane, v: Plane) -> None:
        """Cover the settled part of a window with lots, streets, parks and large halls."""
        at = np.flatnonzero(where)
        iu = np.clip((u.ravel()[at] + self.half).astype(np.int32), 0, 2 * self.half - 1)
        iv = np.clip((v.ravel()[at] + self.half).astype(np.int32), 0, 2 * self.half - 1)
        density = settled.ravel()[at]
        ward = (self.street_u.number.take(iu) * 37 + self.street_v.number.take(iv) * 101) & 65535
        kind = self.white.take(ward)
        lot = (self.lot_u.number.take(iu) * 263 + self.lot_v.number.take(iv) * 71) & 65535
        # In some wards a lot is a hall or a yard, several times a house in size.
        hall = (kind < 26) & (density > 0.3)
        lot = np.where(hall, (ward * 7 + (self.street_u.share.take(iu) * 2.99).astype(np.int32)) & 65535, lot)
        draw = self.white.take(lot)
        # Wards differ: leafy ones, dense ones.
        level = np.clip((density * 2.6 + (kind.astype(np.float32) - 128.0) * 0.005).astype(np.int32), 0, 2)
        code = self.table.take(level * 256 + draw)
        code = np.where(hall, _HALL.take(draw), code)
        park = (kind > 240) & (density > 0.15)
        code = np.where(park, np.where(draw < 120, np.uint8(_C.GRASS), np.uint8(_C.BROADLEAF)), code)
        street = np.zeros(at.shape, dtype=bool)
        for lines, index in ((self.street_u, iu), (self.street_v, iv)):
            # Every fourth or so is an avenue.
            wide = np.where(lines.number.take(index) % 4 == 0, np.float32(1.05), np.float32(0.5))
            street |= lines.edge_px.take(index) < wide
        code = np.where(street & (density > 0.12), np.uint8(_C.STREET), code)
        cover.ravel()[at] = code

    def pave(self, cover: Codes, dry: NDArray[np.bool_], x: Plane, y: Plane, minor: Cover) -> None:
        """Draw the roads of the block that cross a window; bridges are left out where roads are narrow."""
        low_x, high_x, low_y, high_y = x.min() - 3, x.max() + 3, y.min() - 3, y.max() + 3
        for x0, y0, x1, y1, half, kind in self.roads:
            if max(x0, x1) < low_x or min(x0, x1) > high_x or max(y0, y1) < low_y or min(y0, y1) > high_y:
                continue
            dx, dy = x1 - x0, y1 - y0
            length = np.float32(max(np.hypot(dx, dy), 1.0))
            off = np.abs((x - x0) * (dy / length) - (y - y0) * (dx / length))
            along = (x - x0) * (dx / length) + (y - y0) * (dy / length)
            line = (off < max(half, 0.5)) & (along > 0) & (along < length)
            if kind > 0:
                cover[line] = Cover.STREET if half > 0.8 else Cover.CONCRETE
            else:
                cover[line & dry] = minor


_HALL = _mixture({_C.ROOF_BRIGHT: 0.20, _C.CONCRETE: 0.28, _C.ROOF_DARK: 0.32, _C.STREET: 0.20})
