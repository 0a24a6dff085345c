"""Light, clouds and camera of the generated world."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from flightsim.scenes.synthetic import camera, clouds
from flightsim.scenes.synthetic.ground import Biome, Cover, Window
from flightsim.scenes.synthetic.landscape import Terrain
from flightsim.scenes.synthetic.view import MARGIN_PX, Shot, padded, picture

from .test_synthetic_land import block_of

SHOT = Shot(0.0, 200.0, 200, 52.0, 150.0, 3.0, 0.0, 77)


def scene(biome=Biome.TEMPERATE_FOREST, shot=SHOT, number=0, tile=(3, 4), events=None):
    block = block_of(biome, number)
    return picture(Terrain(block), block.tile(*tile), shot, events)


def as_reflectance(samples):
    return samples * np.float32(camera.reflectance_step())


def test_a_picture_has_its_shape_and_no_zero_but_no_data():
    shown = scene()
    assert shown.samples.shape == (6, 128, 128)
    assert shown.samples.dtype == np.uint16
    assert not shown.no_data.any()
    assert not shown.cloud.any()
    assert shown.samples.min() >= 1
    assert shown.samples.max() <= 4095


def test_the_edge_of_the_swath_is_zero_in_every_band_and_nothing_else_is():
    """About one shot in a hundred has it."""
    block = block_of(Biome.DESERT, tile_px=32)
    terrain = Terrain(block)
    land = terrain.land(padded(block.tile(0, 0)))
    cut = 0
    for key in range(600):
        shown = picture(terrain, block.tile(0, 0), replace(SHOT, key=key), land=land)
        np.testing.assert_array_equal(shown.samples == 0, np.broadcast_to(shown.no_data, shown.samples.shape))
        cut += bool(shown.no_data.any())
    assert 1 <= cut <= 15


def test_same_pixels_in_another_process():
    code = (
        "import hashlib\n"
        "from tests.test_synthetic_camera import *\n"
        "print(hashlib.sha256(scene(Biome.COAST, replace(SHOT, cloud_fraction=0.4)).samples.tobytes()).hexdigest())\n"
    )
    scene(Biome.POLAR)
    here = scene(Biome.COAST, replace(SHOT, cloud_fraction=0.4))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(here.samples.tobytes()).hexdigest()


def test_two_shots_of_a_place_agree_and_two_places_do_not():
    one, two = scene(), scene(shot=replace(SHOT, key=5, day=210, day_of_year=210.0))
    other = scene(number=1)
    pair = [np.corrcoef(one.samples[3].ravel(), x.samples[3].ravel())[0, 1] for x in (two, other)]
    assert pair[0] > 0.85
    assert abs(pair[1]) < 0.45
    assert not np.array_equal(one.samples, two.samples), "noise, gain and registration differ from shot to shot"


def test_land_made_once_serves_both_dates():
    block = block_of(Biome.CROPLAND)
    terrain, window = Terrain(block), block.tile(2, 2)
    land = terrain.land(padded(window))
    np.testing.assert_array_equal(
        picture(terrain, window, SHOT, land=land).samples, picture(terrain, window, SHOT).samples
    )
    with pytest.raises(ValueError, match="must be of padded"):
        picture(terrain, window, SHOT, land=terrain.land(window))
    with pytest.raises(ValueError, match="every pixel"):
        picture(terrain, Window(0, 0, 32, 32, 2), SHOT)


def test_events_change_the_surface_and_not_the_land():
    def burn(land, surface):
        surface.cover[40:90, 40:90] = Cover.CHAR

    quiet, burned = scene(), scene(events=burn)
    low = as_reflectance(burned.samples)[3, 45:75, 45:75].mean()
    assert low < 0.5 * as_reflectance(quiet.samples)[3, 45:75, 45:75].mean()
    np.testing.assert_array_equal(quiet.samples[:4, 100:], burned.samples[:4, 100:])


def test_fire_saturates_b12_and_not_the_visible():
    def fire(land, surface):
        surface.heat[60:70, 60:70] = 0.3

    shown = scene(events=fire)
    hot = (slice(57, 61), slice(57, 61))
    assert (shown.samples[5][hot] == 4095).all()
    assert (as_reflectance(shown.samples)[0][hot] < 0.3).all()


def test_smoke_veils_blue_more_than_infrared():
    def smoke(land, surface):
        surface.smoke[:] = 1.0

    clear, veiled = (as_reflectance(scene(events=e).samples).mean(axis=(1, 2)) for e in (None, smoke))
    assert veiled[0] > 2.0 * clear[0]
    assert abs(veiled[5] / clear[5] - 1.0) < 0.35


@pytest.mark.parametrize("fraction", [0.1, 0.35, 0.8])
def test_cloud_share_of_a_block_is_the_fraction_given(fraction):
    errors = []
    for number in range(4):
        block = block_of(Biome.RAINFOREST, number)
        alpha, _ = clouds.cover(block, Window(0, 0, 1024, 1024), 3, fraction, 50.0, 150.0)
        errors.append(float((alpha > clouds.cloudy(block, 3)).mean()) - fraction)
    assert max(abs(e) for e in errors) < 0.03


def test_share_follows_the_picture():
    block = block_of(Biome.RAINFOREST)
    for col in range(8):
        window = block.tile(2, col)
        shown = picture(Terrain(block), window, replace(SHOT, cloud_fraction=0.4))
        assert clouds.share(block, window, SHOT.day, 0.4) == pytest.approx(shown.cloud.mean(), abs=0.06)


def test_no_and_full_cloud():
    block = block_of(Biome.RAINFOREST)
    window = block.tile(0, 0)
    assert clouds.share(block, window, 1, 0.0) == 0.0
    assert clouds.share(block, window, 1, 1.0) == 1.0
    assert scene(Biome.RAINFOREST, replace(SHOT, cloud_fraction=1.0)).cloud.all()


@pytest.mark.parametrize("azimuth_deg", [0.0, 90.0, 150.0, 225.0])
def test_shadows_lie_away_from_the_sun(azimuth_deg):
    """The shadow's field is the cloud's, moved by height over tan(elevation), away from the Sun."""
    block = block_of(Biome.RAINFOREST)
    elevation_deg = 45.0
    alpha, shadow = clouds.cover(block, Window(0, 0, 1024, 1024), 3, 0.3, elevation_deg, azimuth_deg)
    away_px = clouds.sky(block, 3).height_m / np.tan(np.radians(elevation_deg)) / block.gsd_m
    # A Sun in the east (90 degrees) throws shadows to the west: to smaller columns.
    down = round(np.cos(np.radians(azimuth_deg)) * away_px)
    right = -round(np.sin(np.radians(azimuth_deg)) * away_px)
    moved = np.roll(alpha, (down, right), (0, 1))
    assert np.corrcoef(moved.ravel(), shadow.ravel())[0, 1] > 0.98


def test_shadow_darkens_and_cloud_brightens():
    shot = replace(SHOT, cloud_fraction=0.3)
    block = next(b for n in range(8) if clouds.sky(b := block_of(Biome.RAINFOREST, n), shot.day).name == "cumulus")
    terrain, window = Terrain(block), Window(0, 0, 512, 512)
    clear, cloudy = picture(terrain, window, SHOT), picture(terrain, window, shot)
    alpha, shadow = clouds.cover(block, window, shot.day, 0.3, 52.0, 150.0)
    ratio = cloudy.samples[3] / clear.samples[3]
    assert np.median(ratio[(shadow > 0.9) & (alpha == 0.0)]) < 0.5
    assert np.median((cloudy.samples[0] / clear.samples[0])[alpha > 0.9]) > 4.0


def test_slopes_facing_the_sun_are_brighter():
    block = block_of(Biome.MOUNTAIN)
    land = Terrain(block).land(block.tile(3, 3))
    east, west = (camera.illumination(land, 40.0, azimuth) for azimuth in (90.0, 270.0))
    rising_east = land.slope_east > 0.1
    assert (west[rising_east] > east[rising_east]).mean() > 0.99


def test_point_spread_keeps_the_sum_and_moves_by_the_shift():
    spot = np.zeros((1, 21, 21), dtype=np.float32)
    spot[0, 10, 10] = 1.0
    seen = camera.blur(spot, (0.4, -0.3), camera.PSF_PX)[0]
    row, col = np.mgrid[2:19, 2:19]
    assert seen.sum() == pytest.approx(1.0, abs=1e-3)
    assert (seen * row).sum() == pytest.approx(10.4, abs=0.05)
    assert (seen * col).sum() == pytest.approx(9.7, abs=0.05)


def test_coarse_bands_keep_their_place():
    """A ramp goes through the 20 m detour unchanged, within the arithmetic."""
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32), (2, 40, 40)).copy()
    back = camera.double(camera.halve(ramp))
    np.testing.assert_allclose(back, ramp[:, 2:-2, 2:-2], atol=1e-4)


def test_noise_has_the_size_of_the_signal_to_noise_ratio():
    flat = np.full((4, 128, 128), 0.31, dtype=np.float32)
    camera.add_noise(flat, slice(0, 4), 9)
    assert flat[1].std() == pytest.approx(0.31 / 249.0, rel=0.1)
    assert abs(np.corrcoef(flat[0].ravel(), flat[1].ravel())[0, 1]) < 0.05


def test_digital_numbers():
    step = camera.reflectance_step(12)
    shown = camera.digitise(np.array([0.0, step, 0.5, 1.25, 2.0], dtype=np.float32), 12)
    assert shown.tolist() == [1, 1, round(0.5 / step), 4094, 4095]


def test_margin_is_even_for_the_20_m_grid():
    assert MARGIN_PX % 2 == 0
