"""What the quiet ground looks like on a day: leaves, crops, snow, tide, rain and muddy water."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ... import rng
from .ground import Biome, Block, Cover, Land, Plane, Surface
from .noise import fractal, sample
from .parcels import draw_number
from .spectra import CLOUDED, CLOUDED_AT, GREEN, MUDDY, SENESCENT, SHALLOW, SNOW, VARIATION, VEGETATED, WET

_C = Cover
_B = Biome
_YEAR_DAYS = 365.25
#: Crop calendars: sowing to harvest as a share of the growing year, by crop. Engineering values in the manner of
#: winter cereals, maize, late maize, oilseed, late vegetables and meadow.
_CROPS = np.array(
    [(0.02, 0.52), (0.22, 0.70), (0.30, 0.82), (0.10, 0.60), (0.40, 0.95), (0.00, 1.00)], dtype=np.float32
)


def summer(lat_deg: float, day_of_year: float) -> float:
    """Warmth of the season, 0 in the coldest weeks and 1 in the warmest. [-]

    The warmest day lags the solstice by a month (day 202 in the north, 19 in the south).
    """
    warmest = 202.0 if lat_deg >= 0.0 else 19.0
    return float(0.5 + 0.5 * np.cos(2.0 * np.pi * (day_of_year - warmest) / _YEAR_DAYS))


def _growing_year(lat_deg: float, day_of_year: float) -> float:
    """Share of the growing year gone by, 0 at midwinter. [-]"""
    start = 19.0 if lat_deg >= 0.0 else 202.0
    return float(((day_of_year - start) % _YEAR_DAYS) / _YEAR_DAYS)


@lru_cache(maxsize=512)
def _draws(block: Block, name: str, number: int, count: int) -> Plane:
    """Numbers of a block in [0, 1), shape (count,). [-] Kept, since all tiles and dates of a block ask for them."""
    return rng.uniform_at(block.seed, f"synthetic/{name}", np.uint64(block.key), number, np.arange(count)).astype(
        np.float32
    )


def _year(day: int) -> int:
    return int(np.floor(day / _YEAR_DAYS))


def _greenness(land: Land, surface: Surface, block: Block, day_of_year: float, day: int) -> Plane:
    """Green share of vegetated covers, shape of the window; above 1 in lush spots. [-]"""
    away = abs(block.lat_deg)
    warm = summer(block.lat_deg, day_of_year)
    jitter = _draws(block, "season", day // 12, 4) - 0.5
    year_jitter = _draws(block, "year", _year(day), 4) - 0.5
    seasonal = float(np.clip((away - 8.0) / 30.0, 0.0, 1.0))
    leafy = float(np.clip((warm - 0.30) * 3.2 + 0.4 * year_jitter[0], 0.0, 1.0))
    # Grass greens early and dries in a hot late summer; in the dry tropics it follows the rains instead.
    rain = float(0.5 + 0.5 * np.cos(2.0 * np.pi * (day_of_year - (220.0 if block.lat_deg >= 0 else 37.0)) / _YEAR_DAYS))
    dry_biome = land.biome in (_B.SAVANNA, _B.DESERT)
    wetness = rain if dry_biome or away < 24.0 else float(np.clip(1.15 - 0.6 * max(warm - 0.55, 0.0) * 2, 0, 1))
    grass = float(np.clip((0.25 + 0.75 * min(1.0, warm * 1.8)) * (0.35 + 0.65 * wetness), 0.1, 1.0))
    if dry_biome:
        grass = 0.08 + 0.8 * rain
    share = np.ones(len(Cover), dtype=np.float32)
    share[_C.BROADLEAF] = 1.0 - seasonal * (1.0 - leafy)
    if land.biome is _B.SAVANNA:
        share[_C.BROADLEAF] = 0.35 + 0.65 * rain
    share[_C.CONIFER] = 0.75 + 0.25 * warm
    share[_C.GRASS] = grass
    share[_C.SHRUB] = 0.35 + 0.5 * grass
    share[_C.MARSH] = 0.15 + 0.85 * (leafy if away > 24.0 else 0.6 + 0.4 * rain)
    share[_C.CROP] = 0.0
    share = share + np.float32(0.06) * jitter[0] * (share > 0)
    green = share.take(surface.cover)
    crop = surface.cover == _C.CROP
    if crop.any():
        np.copyto(green, _crop_greenness(land, block, day_of_year, day), where=crop)
    # Leaf, litter and soil share a pixel: this grain turns the spectrum, it does not only scale it.
    spread = (
        np.float32(0.05) * land.grain[2]
        + np.float32(0.09) * land.grain[3]
        + _MIXED.take(surface.cover) * _own_grain(land, block, 6)
    )
    return np.asarray(np.clip(green * (1.0 + spread), 0.0, 1.25) * surface.vigour, dtype=np.float32)


def _own_grain(land: Land, block: Block, number: int) -> Plane:
    """A texture of unit deviation that no other band has. [-]"""
    down, right = 1024.0 * _draws(block, "own", number, 2)
    return sample(fractal("own", 1.8), land.window, (float(down), float(right)))


def _crop_greenness(land: Land, block: Block, day_of_year: float, day: int) -> Plane:
    """Green share of the fields by their own sowing and harvest, another crop each year."""
    at = draw_number(land.parcel)
    table = _crop_table(block, _year(day), day_of_year)
    return np.asarray(table.take(at))


@lru_cache(maxsize=256)
def _crop_table(block: Block, year: int, day_of_year: float) -> Plane:
    """Green share of 4096 fields on a day, shape (4096,). [-]"""
    warm = summer(block.lat_deg, day_of_year)
    gone = _growing_year(block.lat_deg, day_of_year)
    kind = rng.hash_at(block.seed, "synthetic/crop", np.uint64(block.key), year, np.arange(4096))
    draw = (kind >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    shift = (((kind >> np.uint64(20)) & np.uint64(1023)).astype(np.float32) / 1023.0 - 0.5) * 0.10
    tropical = abs(block.lat_deg) < 24.0
    crop = _CROPS[np.minimum((draw * len(_CROPS)).astype(np.int64), len(_CROPS) - 1)]
    begin, end = crop[:, 0] + shift, crop[:, 1] + shift
    phase = np.float32((gone * 2.0) % 1.0 if tropical else gone)
    along = (phase - begin) / (end - begin)
    bell = np.clip(np.minimum(along * 3.2, (1.0 - along) * 4.0), 0.0, 1.0)
    lush = 0.75 + 0.3 * (((kind >> np.uint64(8)) & np.uint64(255)).astype(np.float32) / 255.0)
    floor = 0.05 + 0.15 * draw * (1.0 if tropical else warm)
    return np.asarray(np.maximum(bell * lush, floor), dtype=np.float32)


def snow_line_m(lat_deg: float, day_of_year: float) -> float:
    """Height above which quiet ground is white. [m]

    Engineering fit: the zero-degree height at 6.5 K/km over a sea-level mean of 27 - 0.0075 lat^2 with a seasonal swing
    that grows with latitude, lowered by 3 K for snow that has fallen and not melted.
    """
    warm = 2.0 * summer(lat_deg, day_of_year) - 1.0
    away = abs(lat_deg)
    sea_level_c = 27.0 - 0.0075 * away**2 + warm * min(0.24 * away, 15.0)
    return (sea_level_c + 3.0) / 6.5e-3


def quiet_surface(land: Land, block: Block, day_of_year: float, day: int) -> Surface:
    """The ground of a day without any event.

    Parameters
    ----------
    land, block
        The place.
    day_of_year, day
        Of the season, and counted from the scenario's start (negative before it).

    Notes
    -----
    Water rises and falls within quiet bounds: the tide on a coast, and a slow wander of ponds and rivers of a few
    decimetres; turbidity follows rain of the past days.
    """
    shape = land.window.shape
    cover = land.cover.copy()
    wander = _draws(block, "level", day // 10, 3)
    level_m = 0.25 * float(wander[0] - 0.5)
    if land.biome is _B.COAST:
        level_m += 1.1 * float(_draws(block, "tide", day, 1)[0] - 0.5)
    edge = np.abs(land.above_water_m) < 1.0
    if edge.any():
        uncovered = edge & (land.cover == _C.WATER) & (land.above_water_m > level_m)
        cover[uncovered] = _C.MUD
        covered = edge & (land.above_water_m > 0.0) & (land.above_water_m < level_m) & (land.cover != _C.ICE)
        cover[covered] = _C.WATER
    muddy = float(_draws(block, "turbid", day // 6, 1)[0])
    always = float(_draws(block, "turbid/always", 0, 1)[0])
    base = 0.45 * muddy**5 + 0.4 * always**4
    if land.biome is _B.RAINFOREST:
        base += 0.22
    elif land.biome is not _B.WETLAND:
        base *= 0.25 if land.biome in (_B.COAST, _B.POLAR) else 0.6
    # Waves stir the bottom near the shore.
    stirred = 0.35 * muddy * np.exp(np.minimum(land.above_water_m, 0.0) * np.float32(0.8))
    turbidity = stirred * np.clip(0.6 + 0.5 * land.grain[3], 0.0, 1.5) + (
        np.float32(base) + np.float32(0.15 * base) * land.grain[2]
    )
    turbidity = np.clip(turbidity, 0.0, 1.0)
    return Surface(
        cover,
        np.ones(shape, dtype=np.float32),
        turbidity.astype(np.float32),
        np.zeros(shape, dtype=np.float32),
        np.zeros(shape, dtype=np.float32),
    )


def reflectance(land: Land, surface: Surface, block: Block, day_of_year: float, day: int) -> Plane:
    """Surface reflectance of a flat ground under no air, shape (6, rows, columns), from 0 to 1.3. [-]

    What hot ground glows is no reflectance; the camera adds it (``camera.air``).
    """
    cover = surface.cover
    # NumPy casts a byte index anew in every take; one cast serves them all.
    codes = cover.astype(np.intp)
    green = _greenness(land, surface, block, day_of_year, day)
    grown = VEGETATED.take(codes) > 0
    # Covers that never green keep one spectrum, whatever the vigour.
    green = np.where(grown, green, np.float32(1.0))
    own = _draws(block, "tone", 0, 12) - 0.5
    amplitude = VARIATION.take(codes)
    speckle = _CRISP.take(codes) * land.grain[0] + 0.42 * land.grain[1] + 0.35 * land.grain[2] + 0.8 * land.grain[3]
    # Shadow makes fine dark marks; nothing makes as many bright ones.
    texture = 1.0 + amplitude * (speckle - 0.18 * speckle * speckle + 0.15)
    swir_tone = np.zeros(1, dtype=np.float32)
    if land.parcel.any():
        tone = _draws(block, "parcel/tone", 0, 4096) - 0.5
        number, tilled = draw_number(land.parcel), (land.parcel > 0) & _TILLED.take(codes)
        texture = texture * (1.0 + 0.6 * tone.take(number) * tilled)
        swir_tone = (_draws(block, "parcel/swir", 1, 4096) - 0.5).take(number) * tilled
    np.clip(texture, 0.35, 2.2, out=texture)
    hue = 0.10 * land.grain[1] * amplitude / 0.12
    own_share = 0.42 * amplitude
    wet = float(_draws(block, "rain", day // 3, 1)[0]) ** 3
    bare = np.clip(1.0 - green, 0.0, 1.0)
    bare[~grown & (GREEN[:, 3].take(codes) < 0.08)] = 0.0
    damp = np.where(grown, bare, _DAMP.take(codes)) * np.float32(wet)

    deep = (cover == _C.WATER) | (cover == _C.TURBID_WATER)
    any_water = bool(deep.any())
    if any_water:
        depth_m = np.clip(-land.above_water_m, 0.0, 20.0)
        shallow = np.exp(np.float32(-0.55) * depth_m) * (1.0 - surface.turbidity) * deep * np.float32(0.6)
        clouded = np.minimum(surface.turbidity * np.float32(1.0 / CLOUDED_AT), 1.0) * (cover == _C.WATER)
        brown = (
            np.maximum(surface.turbidity - np.float32(CLOUDED_AT), 0.0) * np.float32(1.0 / (1.0 - CLOUDED_AT)) * deep
        )
    snow = _snow(land, surface, block, day_of_year, day)
    out = np.empty((6, *cover.shape), dtype=np.float32)
    for band in range(6):
        plane = _GREENING[band].take(codes)
        plane *= green
        plane += _DRY[band].take(codes)
        tint = 1.0 + np.float32(0.16) * own[band] + np.float32((-0.5, -0.2, 0.3, 0.6, 0.2, 0.0)[band]) * hue
        plane *= texture * (tint + own_share * _own_grain(land, block, band))
        if band > 3:
            plane *= 1.0 + np.float32(0.5) * swir_tone
        plane *= 1.0 - np.float32(1.0 - WET[band]) * damp
        if any_water:
            plane += shallow * (SHALLOW[band] - plane)
            plane += clouded * (CLOUDED[band] - plane)
            plane += brown * (MUDDY[band] - plane)
        if snow is not None:
            plane += snow * (SNOW[band] - plane)
        out[band] = plane
    np.clip(out, 0.0005, 1.3, out=out)
    return out


def _snow(land: Land, surface: Surface, block: Block, day_of_year: float, day: int) -> Plane | None:
    """Share of the pixel under snow; None where there is none in the window. [-]"""
    line = snow_line_m(block.lat_deg, day_of_year)
    line += 900.0 * float(_draws(block, "snow", day // 8, 1)[0] - 0.5)
    rise = (land.elevation_m - np.float32(line)) * np.float32(1.0 / 220.0)
    if float(rise.max()) < -1.2:
        return None
    patchy = (
        0.45 * land.grain[1]
        + 0.35 * land.grain[2]
        - 0.8 * np.clip(np.hypot(land.slope_east, land.slope_north) - 0.6, 0.0, 1.0)
    )
    share = np.clip(0.5 + rise + patchy, 0.0, 1.0) * _HOLDS_SNOW.take(surface.cover)
    share = share * np.clip(1.0 - 8.0 * surface.heat, 0.0, 1.0)
    return np.asarray(share, dtype=np.float32)


def _table(values: dict[Cover, float], other: float) -> Plane:
    return np.array([values.get(cover, other) for cover in Cover], dtype=np.float32)


#: Reflectance without green, and what full green adds, shape (bands, covers). [-]
_DRY = np.ascontiguousarray(SENESCENT.T)
_GREENING = np.ascontiguousarray((GREEN - SENESCENT).T)
#: Deviation of the leafy share from pixel to pixel. Engineering, after the NIR of EuroSAT chips.
_MIXED = _table({_C.CONIFER: 0.10, _C.BROADLEAF: 0.08, _C.SHRUB: 0.08, _C.MARSH: 0.10}, 0.03)
#: Covers that keep the tone of their field: not what floods, buildings or fire have laid over it.
_TILLED = np.isin(np.arange(len(Cover)), [_C.CROP, _C.GRASS, _C.SOIL, _C.SHRUB])
#: Share of the finest texture: crowns and roofs differ from pixel to pixel, a field hardly does. After the correlation
#: of neighbouring pixels in EuroSAT chips: 0.60 to 0.85 in forest, 0.90 to 0.96 in fields.
_CRISP = _table(
    {_C.CONIFER: 0.45, _C.BROADLEAF: 0.45, _C.SHRUB: 0.4, _C.ROOF_BRIGHT: 0.4, _C.ROOF_DARK: 0.4, _C.ROOF_TILE: 0.4,
     _C.CONCRETE: 0.6, _C.STREET: 0.5, _C.SLASH: 0.7, _C.LAVA: 0.6, _C.CROP: 0.15, _C.SOIL: 0.2, _C.GRASS: 0.2,
     _C.SAND: 0.3, _C.WATER: 0.2, _C.TURBID_WATER: 0.2, _C.FIRN: 0.3, _C.ICE: 0.4},
    0.35,
)  # fmt: skip
#: How much of a cover snow hides: crowns stand out of it, roofs and streets are cleared, water takes none.
_HOLDS_SNOW = _table(
    {_C.CONIFER: 0.16, _C.BROADLEAF: 0.36, _C.SHRUB: 0.75, _C.WATER: 0.0, _C.TURBID_WATER: 0.0, _C.SEA_ICE: 0.6,
     _C.ICE: 0.8, _C.STREET: 0.25, _C.ROOF_BRIGHT: 0.6, _C.ROOF_DARK: 0.6, _C.ROOF_TILE: 0.6, _C.CONCRETE: 0.5},
    0.97,
)  # fmt: skip
#: How much rain darkens a cover that never greens.
_DAMP = _table(
    {_C.SOIL: 1.0, _C.SAND: 0.7, _C.LATERITE: 0.8, _C.ROCK: 0.4, _C.TAILINGS: 0.7, _C.SLASH: 0.7, _C.CHAR: 0.3,
     _C.STREET: 0.3, _C.CONCRETE: 0.3, _C.ROOF_TILE: 0.3, _C.SALT: 0.5},
    0.0,
)  # fmt: skip
