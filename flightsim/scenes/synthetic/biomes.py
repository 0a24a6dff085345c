"""Which landscape lies where, and which part of the world is for training and which for testing."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ... import rng
from .ground import Biome

#: Side of a region of the split between training and testing. [deg]
REGION_DEG = 15.0
#: Shares of the regions of the world for training, validation and testing, engineering value.
_SPLIT = (("train", 0.6), ("validation", 0.15), ("test", 0.25))
#: Side of a zone in which one main landscape prevails. [deg]
_ZONE_DEG = 2.5

_B = Biome
#: Shares of landscapes by climate belt. Engineering values in the order of the biome map of Olson et al.,
#: "Terrestrial ecoregions of the world", BioScience 51(11), 2001; each kind that carries events is made common enough
#: to be met, so cities, coasts and volcanoes are more frequent here than on Earth.
_BELTS: dict[str, tuple[tuple[Biome, float], ...]] = {
    "wet_tropics": ((_B.RAINFOREST, 0.50), (_B.SAVANNA, 0.10), (_B.CROPLAND, 0.13), (_B.WETLAND, 0.09),
                    (_B.COAST, 0.07), (_B.URBAN, 0.05), (_B.MOUNTAIN, 0.03), (_B.VOLCANIC, 0.03)),
    "dry_tropics": ((_B.SAVANNA, 0.45), (_B.CROPLAND, 0.22), (_B.DESERT, 0.10), (_B.WETLAND, 0.06),
                    (_B.COAST, 0.05), (_B.URBAN, 0.06), (_B.MOUNTAIN, 0.03), (_B.VOLCANIC, 0.03)),
    "desert": ((_B.DESERT, 0.66), (_B.SAVANNA, 0.09), (_B.CROPLAND, 0.07), (_B.COAST, 0.05),
               (_B.URBAN, 0.05), (_B.MOUNTAIN, 0.05), (_B.VOLCANIC, 0.03)),
    "temperate": ((_B.TEMPERATE_FOREST, 0.27), (_B.CROPLAND, 0.37), (_B.WETLAND, 0.07), (_B.COAST, 0.07),
                  (_B.URBAN, 0.09), (_B.MOUNTAIN, 0.07), (_B.SAVANNA, 0.04), (_B.VOLCANIC, 0.02)),
    "boreal": ((_B.BOREAL, 0.60), (_B.WETLAND, 0.13), (_B.MOUNTAIN, 0.10), (_B.COAST, 0.06),
               (_B.CROPLAND, 0.05), (_B.URBAN, 0.03), (_B.VOLCANIC, 0.03)),
    "polar": ((_B.POLAR, 0.72), (_B.MOUNTAIN, 0.12), (_B.COAST, 0.08), (_B.WETLAND, 0.06), (_B.VOLCANIC, 0.02)),
}  # fmt: skip

#: Dry belts on land: south, north, west, east. [deg] Boxes by hand about the BWh and BWk classes
#: (Beck et al., "Present and future Koeppen-Geiger climate classification maps", Scientific Data 5, 2018).
_DRY = (
    (14.0, 33.0, -18.0, 60.0),  # Sahara and Arabia
    (24.0, 38.0, 60.0, 75.0),  # Iran to the Indus
    (36.0, 47.0, 54.0, 110.0),  # Central Asia and Gobi
    (-33.0, -19.0, 114.0, 142.0),  # Australia
    (-30.0, -14.0, 11.0, 22.0),  # Namib and Kalahari
    (-30.0, -5.0, -82.0, -67.0),  # Atacama and the coast of Peru
    (24.0, 40.0, -120.0, -102.0),  # Sonora and the Great Basin
    (-50.0, -35.0, -71.0, -64.0),  # Patagonia
)
_ICE = ((60.0, 84.0, -60.0, -20.0), (-90.0, -61.0, -180.0, 180.0))  # Greenland, Antarctica


def _inside(boxes: tuple[tuple[float, float, float, float], ...], lat_deg: float, lon_deg: float) -> bool:
    return any(south <= lat_deg < north and west <= lon_deg < east for south, north, west, east in boxes)


def _belt(lat_deg: float, lon_deg: float) -> str:
    """Climate belt of a place, from latitude and the dry belts alone."""
    if _inside(_ICE, lat_deg, lon_deg):
        return "polar"
    if _inside(_DRY, lat_deg, lon_deg):
        return "desert"
    away = abs(lat_deg)
    for limit_deg, belt in ((10.0, "wet_tropics"), (24.0, "dry_tropics"), (55.0, "temperate"), (68.0, "boreal")):
        if away < limit_deg:
            return belt
    return "polar"


@lru_cache(maxsize=65536)
def biome_of(lat_deg: float, lon_deg: float, key: int, seed: int) -> Biome:
    """The landscape of a block.

    Parameters
    ----------
    lat_deg, lon_deg
        Middle of the block, WGS-84. [deg]
    key, seed
        Of the block; half of the blocks follow their zone's main landscape, the others draw their own.

    Notes
    -----
    Climate belts by latitude with dry belts by hand, shares per belt (``_BELTS``). No elevation model of the Earth:
    mountains lie where the draw puts them.
    """
    lon_deg = (lon_deg + 180.0) % 360.0 - 180.0
    # The belts' edges waver by a few degrees, or they would show as parallels on a map.
    zone = (int(np.floor(lat_deg / _ZONE_DEG)), int(np.floor(lon_deg / _ZONE_DEG)))
    waver, of_zone = rng.uniform_at(seed, "synthetic/biome/zone", zone[0], zone[1], np.arange(2))
    own, which = rng.uniform_at(seed, "synthetic/biome/block", np.uint64(key), np.arange(2))
    belt = _BELTS[_belt(lat_deg + 6.0 * (float(waver) - 0.5), lon_deg)]
    draw = float(of_zone) if which < 0.5 else float(own)
    total = 0.0
    for biome, share in belt:
        total += share
        if draw < total:
            return biome
    return belt[-1][0]


def region_of(lat_deg: float, lon_deg: float) -> str:
    """Whether a place belongs to "train", "validation" or "test"; the same for every seed and scenario.

    Notes
    -----
    Regions of 15 degrees are dealt out by a hash of their name, so that no place on which a model learned lies
    within the region of a place on which it is tested.
    """
    row = int(np.floor((lat_deg + 90.0) / REGION_DEG))
    col = int(np.floor(((lon_deg + 180.0) % 360.0) / REGION_DEG))
    draw = float(rng.uniform_at(0, "synthetic/region", rng.keys_of([f"region {row} {col}"]))[0])
    total = 0.0
    for name, share in _SPLIT:
        total += share
        if draw < total:
            return name
    return _SPLIT[-1][0]
