"""The quiet generated land: the same for everyone, without seams, and with the seasons of its hemisphere."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from flightsim.land import is_land
from flightsim.scenes.synthetic import spectra
from flightsim.scenes.synthetic.biomes import biome_of, region_of
from flightsim.scenes.synthetic.ground import Biome, Block, Cover, Window
from flightsim.scenes.synthetic.landscape import Terrain
from flightsim.scenes.synthetic.noise import SIDE, fractal, sample
from flightsim.scenes.synthetic.relief import relief
from flightsim.scenes.synthetic.seasons import quiet_surface, reflectance, snow_line_m, summer

LATITUDE = {
    Biome.RAINFOREST: -4.0, Biome.TEMPERATE_FOREST: 46.0, Biome.BOREAL: 61.0, Biome.SAVANNA: 14.0,
    Biome.CROPLAND: 46.0, Biome.DESERT: 25.0, Biome.WETLAND: 47.0, Biome.COAST: 40.0, Biome.URBAN: 46.0,
    Biome.MOUNTAIN: 46.0, Biome.POLAR: 75.0, Biome.VOLCANIC: 46.0,
}  # fmt: skip


def block_of(biome, number=0, lat_deg=None, tile_px=128, gsd_m=10.0):
    """A block of the biome; the key is the first that has it."""
    lat_deg = LATITUDE[biome] if lat_deg is None else lat_deg
    for key in range(100_000 * (number + 1), 100_000 * (number + 2)):
        if biome_of(lat_deg, 20.0, key, 1) is biome:
            return Block(key, lat_deg, 20.0, tile_px, gsd_m, 1)
    raise AssertionError(f"no block of {biome} at {lat_deg} deg")


def ground(block, day_of_year=200.0, window=None, day=None):
    land = Terrain(block).land(window or block.tile(3, 4))
    day = int(day_of_year) if day is None else day
    return land, reflectance(land, quiet_surface(land, block, day_of_year, day), block, day_of_year, day)


def ndvi(planes):
    return (planes[3] - planes[2]) / (planes[3] + planes[2])


@pytest.mark.parametrize("biome", list(Biome))
def test_every_biome_gives_land_with_sane_reflectance(biome):
    block = block_of(biome)
    land, planes = ground(block)
    assert land.biome is biome
    assert set(np.unique(land.cover)) <= set(Cover)
    assert planes.dtype == np.float32
    assert planes.shape == (6, 128, 128)
    assert planes.min() >= 0.0
    assert planes.max() <= 1.3
    assert np.isfinite(land.elevation_m).all()
    assert land.settled.min() >= 0.0
    assert land.settled.max() <= 1.0
    wet = np.isin(land.cover, [Cover.WATER, Cover.SEA_ICE])
    assert (land.above_water_m[wet] <= 0.0).all()


@pytest.mark.parametrize("biome", [Biome.CROPLAND, Biome.MOUNTAIN, Biome.COAST, Biome.URBAN])
def test_neighbouring_windows_show_the_same_ground(biome):
    """Where two windows overlap they agree; a pixel may differ where a level is met to the last bit."""
    block = block_of(biome)
    terrain = Terrain(block)
    whole = terrain.land(Window(256, 256, 256, 256))
    part = terrain.land(Window(320, 300, 128, 128))
    inner = (slice(64, 192), slice(44, 172))
    np.testing.assert_allclose(part.elevation_m, whole.elevation_m[inner], atol=0.01 * whole.elevation_m.std())
    np.testing.assert_allclose(part.above_water_m, whole.above_water_m[inner], atol=0.05)
    assert np.mean(part.grain == whole.grain[:, 64:192, 44:172]) > 0.999
    same = part.cover == whole.cover[inner]
    assert same[2:-2, 2:-2].mean() > 0.999


@pytest.mark.parametrize("biome", [Biome.TEMPERATE_FOREST, Biome.DESERT, Biome.SAVANNA])
def test_tiles_join_without_a_seam(biome):
    """The step across the border of two tiles is no larger than steps inside them."""
    block = block_of(biome)
    terrain = Terrain(block)
    rows = []
    for col in (3, 4):
        land = terrain.land(block.tile(5, col))
        rows.append(reflectance(land, quiet_surface(land, block, 180.0, 180), block, 180.0, 180))
    inside = np.abs(np.diff(np.concatenate([rows[0], rows[1]], axis=2), axis=2)).mean(axis=(0, 1))
    assert inside[127] < inside[100:155].max() * 1.2


def test_a_whole_block_at_a_step_shows_the_same_place():
    block = block_of(Biome.COAST)
    terrain = Terrain(block)
    quick = terrain.land(Window(0, 0, 128, 128, 8))
    full = terrain.land(Window(0, 0, 1024, 1024))
    assert np.corrcoef(quick.elevation_m.ravel(), full.elevation_m[::8, ::8].ravel())[0, 1] > 0.99
    assert ((quick.above_water_m < 0) == (full.above_water_m[::8, ::8] < 0)).mean() > 0.99


@pytest.mark.parametrize("tile_px", [32, 64, 256, 512])
def test_other_tile_sizes(tile_px):
    block = block_of(Biome.CROPLAND, tile_px=tile_px)
    land, planes = ground(block)
    assert planes.shape == (6, tile_px, tile_px)
    assert np.isfinite(planes).all()
    assert planes.std() > 0.01
    assert land.parcel.max() > 0


def test_same_land_in_another_process_and_order():
    code = (
        "import hashlib\n"
        "from tests.test_synthetic_land import *\n"
        "block = block_of(Biome.CROPLAND)\n"
        "print(hashlib.sha256(ground(block)[1].tobytes()).hexdigest())\n"
    )
    import hashlib

    ground(block_of(Biome.POLAR), 30.0)
    here = hashlib.sha256(ground(block_of(Biome.CROPLAND))[1].tobytes()).hexdigest()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == here


def test_two_places_differ_and_two_weeks_do_not():
    block = block_of(Biome.TEMPERATE_FOREST)
    one = ground(block, 200.0)[1][3].ravel()
    later = ground(block, 212.0)[1][3].ravel()
    other = ground(block_of(Biome.TEMPERATE_FOREST, 1), 200.0)[1][3].ravel()
    assert np.corrcoef(one, later)[0, 1] > 0.9
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.4


def by_cover(cover, biome, day_of_year=190.0):
    values = []
    for number in range(6):
        land, planes = ground(block_of(biome, number), day_of_year)
        where = (land.cover == cover) & (land.above_water_m != 0)
        values.append(ndvi(planes)[where])
    values = np.concatenate(values)
    assert values.size > 200, "the biome must show the cover for the test to mean anything"
    return float(np.median(values))


def test_ndvi_of_classes_lies_in_published_ranges():
    """Ranges of MODIS and Sentinel-2 climatologies (e.g. Tucker 1979; Weier and Herring, NASA EO, 2000)."""
    assert 0.7 < by_cover(Cover.BROADLEAF, Biome.TEMPERATE_FOREST) < 0.95
    assert 0.6 < by_cover(Cover.CONIFER, Biome.BOREAL) < 0.92
    assert 0.05 < by_cover(Cover.SAND, Biome.DESERT) < 0.3
    assert -0.8 < by_cover(Cover.WATER, Biome.COAST) < 0.05
    assert 0.15 < by_cover(Cover.CROP, Biome.CROPLAND) < 0.9


@pytest.mark.parametrize("lat_deg", [46.0, -40.0])
def test_summer_is_greener_than_winter_in_both_hemispheres(lat_deg):
    warm, cold = (195.0, 15.0) if lat_deg > 0 else (15.0, 195.0)
    assert summer(lat_deg, warm) > 0.9
    assert summer(lat_deg, cold) < 0.1
    for number in range(3):
        block = block_of(Biome.CROPLAND, number, lat_deg)
        land, green = ground(block, warm)
        _, brown = ground(block, cold)
        grown = land.above_water_m > 1.0
        assert ndvi(green)[grown].mean() > ndvi(brown)[grown].mean() + 0.1


def test_rainforest_stays_green():
    block = block_of(Biome.RAINFOREST)
    means = [ndvi(ground(block, day)[1]).mean() for day in (15.0, 105.0, 195.0, 285.0)]
    assert max(means) - min(means) < 0.15


def test_snow_falls_in_winter_and_on_heights():
    assert snow_line_m(61.0, 200.0) > 1500.0 > 0.0 > snow_line_m(61.0, 20.0)
    assert snow_line_m(0.0, 100.0) > 4000.0
    block = block_of(Biome.BOREAL)
    assert ground(block, 20.0)[1][1].mean() > 2.0 * ground(block, 200.0)[1][1].mean()


def test_fields_grow_another_crop_next_year():
    block = block_of(Biome.CROPLAND)
    land, one = ground(block, 160.0, day=160)
    _, again = ground(block, 160.0, day=160)
    _, next_year = ground(block, 160.0, day=160 + 366)
    field = land.parcel > 0
    np.testing.assert_array_equal(one, again)
    assert np.abs(ndvi(one) - ndvi(next_year))[field].mean() > 0.1


def test_tide_moves_the_shore_and_stays_small():
    block = block_of(Biome.COAST)
    terrain = Terrain(block)
    land = next(
        land for row in range(8) for col in range(8)
        if 0.1 < ((land := terrain.land(block.tile(row, col))).above_water_m < 0).mean() < 0.9
    )  # fmt: skip
    wet = [np.mean(quiet_surface(land, block, 200.0, day).cover == Cover.WATER) for day in range(20)]
    assert 0.0 < max(wet) - min(wet) < 0.15


def test_no_region_is_for_training_and_for_testing():
    rng = np.random.default_rng(1)
    lat, lon = rng.uniform(-90, 90, 4000), rng.uniform(-180, 180, 4000)
    names = {}
    for a, o in zip(lat, lon, strict=True):
        cell = (int((a + 90) // 15), int((o + 180) // 15))
        names.setdefault(cell, set()).add(region_of(a, o))
    assert all(len(found) == 1 for found in names.values())
    counts = Counter(next(iter(found)) for found in names.values())
    assert set(counts) == {"train", "validation", "test"}
    assert counts["train"] > counts["test"] > 20


def test_every_biome_is_met_over_land_in_training_and_testing():
    rng = np.random.default_rng(2)
    lat = np.degrees(np.arcsin(rng.uniform(-0.95, 0.99, 12000)))
    lon = rng.uniform(-180, 180, 12000)
    on_land = is_land(lat, lon)
    counts = {"train": Counter(), "test": Counter(), "validation": Counter()}
    for key, (a, o) in enumerate(zip(lat[on_land], lon[on_land], strict=True)):
        counts[region_of(a, o)][biome_of(float(a), float(o), key, 3)] += 1
    for part in ("train", "test"):
        assert min(counts[part][biome] for biome in Biome) >= 5, counts[part]


def test_longitude_wraps():
    assert region_of(10.0, 190.0) == region_of(10.0, -170.0)
    assert biome_of(10.0, 190.0, 5, 1) is biome_of(10.0, -170.0, 5, 1)


def test_noise_has_the_slope_it_says():
    field = fractal("test", 2.5)
    power = np.abs(np.fft.fft2(field)) ** 2
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None, :])
    bands = [(0.01, 0.02), (0.1, 0.2)]
    level = [power[(frequency > low) & (frequency < high)].mean() for low, high in bands]
    assert np.log(level[0] / level[1]) / np.log(10.0) == pytest.approx(2.5, abs=0.1)
    assert field.mean() == pytest.approx(0.0, abs=1e-4)
    assert field.std() == pytest.approx(1.0, abs=1e-3)


def test_enlarged_windows_join():
    field = fractal("test", 2.5)
    whole = sample(field, Window(0, 0, 64, 200), (1000.0, 990.0), 2.5)
    part = sample(field, Window(0, 100, 64, 100), (1000.0, 990.0), 2.5)
    assert np.abs(whole[:, 100:] - part).max() < 0.05


def test_water_runs_downhill_everywhere_on_the_relief():
    """Few pits: after erosion nearly every texel has a lower neighbour."""
    height = relief().height
    lower = np.zeros(height.shape, dtype=bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            lower |= np.roll(height, (dy, dx), (0, 1)) < height
    assert lower.mean() > 0.985
    assert relief().above_stream.min() >= 0.0


def test_glow_of_fire_saturates_the_short_wave_infrared_first():
    """Planck at 1100 K: 6.0 kW m-2 sr-1 um-1 at 2.19 um, by hand with c1L = 1.191e8 and c2 = 14388 um K."""
    added = spectra.glow()
    by_hand = 0.95 * np.pi * 1.191043e8 / 2.19**5 / np.expm1(14387.77 / (2.19 * 1100.0)) / 85.3
    assert added[5] == pytest.approx(by_hand, rel=0.01)
    assert added[5] > added[4] > 100.0 * added[3]
