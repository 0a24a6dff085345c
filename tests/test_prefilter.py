"""The quality gate: what it refuses, and what it must let pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from flightsim.domain import UnclassifiableReason
from flightsim.rng import stream
from flightsim.scenes.archive import Archive
from payload.indices import View
from payload.prefilter import GateConfig, cloud_mask, find_shift, gate, gate_pair, snow_laden, snow_mask

from .conftest import shared
from .pictures import SIX, Picture, ground, pair_of

CONFIG = GateConfig()


def rgb(seed: str = "a", level: float = 90.0) -> np.ndarray:
    """A textured display picture, far from white and black."""
    field = ndimage.gaussian_filter(stream(0, seed).standard_normal((3, 96, 96)), (0, 2, 2))
    return np.clip(level + 150 * field, 1, 200).astype(np.uint8)


def reason(before: np.ndarray, after: np.ndarray, bands: tuple[str, ...] = ("B04", "B03", "B02")) -> str | None:
    found = gate(View.of(Picture(before, bands)), View.of(Picture(after, bands)), CONFIG)
    return None if found.reason is None else str(found.reason)


def test_a_clear_pair_passes_and_all_of_it_counts():
    found = gate(View.of(Picture(rgb())), View.of(Picture(rgb())), CONFIG)
    assert found.reason is None
    assert found.valid.all()
    assert (found.cloud_before, found.cloud_after, found.shift_px) == (0.0, 0.0, (0, 0))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda p: np.where(np.arange(96) < 40, 0, p), "no_data"),
        (lambda p: np.where(np.arange(96) < 40, 17, p), "no_data"),  # fill of another value than 0
        (lambda p: np.where(np.arange(96) < 40, 255, p), "saturated"),
        (lambda p: np.where(np.arange(96) < 40, 220, p), "cloud"),
        (lambda p: (p // 32).astype(p.dtype), "dark"),
        (lambda p: np.roll(p, (7, -4), (1, 2)), "misregistered"),
    ],
)
def test_each_fault_is_named_in_either_picture(which, spoil, expected):
    pair = [rgb(), rgb()]
    pair[which] = spoil(pair[which]).astype(np.uint8)
    # A value of 220 over whole columns from the corner is fill as well as white: give it the unrest of a cloud.
    if expected == "cloud":
        unrest = stream(1, "cloud").integers(-6, 6, pair[which].shape)
        pair[which] = np.where(np.arange(96) < 40, pair[which] + unrest, pair[which]).astype(np.uint8)
    assert reason(*pair) == expected
    assert expected in tuple(UnclassifiableReason)


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_a_little_of_it_is_masked_and_no_reason_to_refuse(share):
    after = rgb()
    after[:, :, : int(96 * share)] = 0
    found = gate(View.of(Picture(rgb())), View.of(Picture(after)), CONFIG)
    assert found.reason is None
    assert found.valid.mean() == pytest.approx(1 - share, abs=0.02)


@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (-5, 2), (0, -11), (8, 9)])
def test_a_shift_is_measured_to_the_pixel(shift):
    scene = ndimage.gaussian_filter(stream(0, "shift").standard_normal((140, 140)), 1.5).astype(np.float32)
    first = scene[20:116, 20:116]
    second = scene[20 - shift[0] : 116 - shift[0], 20 - shift[1] : 116 - shift[1]]
    noise = 0.03 * stream(1, "noise").standard_normal(second.shape)
    assert find_shift(first, (second * 0.8 + 0.1 + noise).astype(np.float32)) == shift


@pytest.mark.parametrize("seed", range(8))
def test_two_different_places_are_no_shift(seed):
    first, second = (
        ndimage.gaussian_filter(stream(seed, name).standard_normal((96, 96)), 1.5).astype(np.float32) for name in "ab"
    )
    assert find_shift(first, second) == (0, 0)


def six(**covers: float) -> View:
    return View.of(Picture(ground("prefilter", covers), SIX))


def test_with_infrared_cloud_is_seen_and_snow_soil_and_water_are_not():
    assert cloud_mask(six(cloud=1.0)).mean() > 0.95
    for cover in ("ice", "soil", "water", "mud_water", "street", "crop", "forest", "rock", "char"):
        assert cloud_mask(six(**{cover: 1.0})).mean() < 0.01, cover
    assert snow_mask(six(ice=1.0)).mean() > 0.99
    assert snow_mask(six(cloud=1.0)).mean() < 0.01


def test_snow_under_trees_and_in_shadow_is_seen_and_water_is_not():
    trees = np.array([[ground("laden", {"forest": 1.0}), ground("laden", {"ice": 1.0})]], dtype=float)[0]
    laden = View.of(Picture((0.65 * trees[0] + 0.35 * trees[1]).astype(np.uint16), SIX))
    assert snow_mask(laden).mean() < 0.05
    assert snow_laden(laden).mean() > 0.95
    sky = np.array([0.22, 0.19, 0.16, 0.14, 0.1, 0.1])[:, None, None]
    dim = View.of(Picture((trees[1] * sky).astype(np.uint16), SIX))
    assert snow_laden(dim).mean() > 0.95
    for cover in ("water", "mud_water", "forest", "crop", "soil", "street", "roof", "char"):
        assert snow_laden(six(**{cover: 1.0})).mean() < 0.01, cover


def test_cloud_cover_is_measured_within_a_few_percent():
    view = six(forest=0.55, cloud=0.45)
    assert cloud_mask(view).mean() == pytest.approx(0.45, abs=0.06)


def test_white_ground_that_stays_is_no_cloud_and_white_that_moves_is():
    texture = ndimage.gaussian_filter(stream(0, "salt").standard_normal((96, 96)), 1)
    salt = np.clip(225 + 40 * texture, 192, 254)[None].repeat(3, axis=0).astype(np.uint8)
    assert reason(salt, salt) is None
    other = ndimage.gaussian_filter(stream(1, "salt").standard_normal((96, 96)), 1)
    moved = np.clip(225 + 40 * other, 192, 254)[None].repeat(3, axis=0).astype(np.uint8)
    assert reason(salt, moved) == "cloud"


def test_roofs_and_single_bands_are_no_cloud():
    roofs = rgb()
    roofs[:, 10:90:8, 10:90:8] = 240
    roofs[:, 11:90:8, 10:90:8] = 240
    assert cloud_mask(View.of(Picture(roofs))).sum() == 0
    white = np.full((1, 64, 64), 240, np.uint8) + stream(0, "w").integers(0, 9, (1, 64, 64), dtype=np.uint8)
    assert reason(white, white, ("PAN",)) is None


def test_both_pictures_are_needed_and_of_one_size():
    with pytest.raises(ValueError, match="tile 't' has no pair of pictures"):
        gate_pair(pair_of(None, Picture(rgb())))
    with pytest.raises(ValueError, match=r"the reference has \(96, 96\) pixels, the new picture \(95, 96\)"):
        gate(View.of(Picture(rgb())), View.of(Picture(rgb()[:, 1:])), CONFIG)


def test_the_real_pairs_unusable_ones_are_caught_and_no_other():
    source = Archive(Archive.Config(path=str(shared("data"))), Path("."))
    found = {pair.after.place_id: gate_pair(pair) for pair in source.pairs()}
    refused = {name: str(one.reason) for name, one in found.items() if one.reason is not None}
    assert refused == {
        "quality-amazon-clouds": "cloud",
        "quality-tokyo-white": "saturated",
        "quality-lima-cloud-nodata": "no_data",
    }
    assert found["quality-lima-cloud-nodata"].cloud_before > 0.95
    assert all(one.cloud_after < 0.1 for name, one in found.items() if not name.startswith("quality-"))


def test_cloud_agrees_with_another_detector_on_a_real_scene():
    # Reference: the five-class model of ukis-csmask (DLR), itself no truth; its cloud share is 0.189. Two detectors
    # differ at rims and in thin cloud, so 5 percentage points and an overlap of 0.7 are asked, not more.
    arrays = np.load(shared("data/cloudseg-sentinel2/stack.npz"))
    bands = ("B02", "B03", "B04", "B08", "B11", "B12")
    mine = cloud_mask(View.of(Picture(np.moveaxis(arrays["img"], 2, 0), bands)))
    theirs = arrays["msk"][..., 0] == 4
    assert mine.mean() == pytest.approx(0.189, abs=0.05)
    assert (mine & theirs).sum() / (mine | theirs).sum() > 0.7
