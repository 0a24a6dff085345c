"""The generated world as scenes of a flight: the same pixels everywhere, truth that fits them, nothing leaking."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

import flightsim as fs
from flightsim.domain import SCHEMA_IDS, Look
from flightsim.errors import InputError
from flightsim.scenes.synthetic import view
from flightsim.scenes.synthetic.biomes import region_of
from flightsim.scenes.synthetic.sampling import sample_pairs, sample_world
from flightsim.scenes.synthetic.sun import sun_angles
from flightsim.world import prepare

SETTINGS = ["duration=2d", "targets.count=14", "scenes.use=synthetic", "payload.use=spectral", "payload.with={}"]


@pytest.fixture(scope="module")
def world():
    return prepare(fs.load_scenario("statistical", [*SETTINGS, "policy={use: threshold}"]))


@pytest.fixture(scope="module")
def sampled():
    return sample_world(20, 3, region="test", prevalence=0.1, tile_px=64)


def test_the_sun_stands_where_the_orbit_says(world):
    plan = world.plan
    elevation, azimuth = sun_angles(plan.start_unix_s + plan.time_s, plan.lat_deg, plan.lon_deg)
    # The plan's elevation comes from skyfield's ephemeris-free Sun; the series here is good to 0.01 deg.
    assert np.max(np.abs(elevation - plan.sun_elevation_deg)) < 0.1
    assert np.all((azimuth >= 0) & (azimuth < 360))


def test_the_sun_is_in_the_south_at_noon_north_of_the_tropics():
    elevation, azimuth = sun_angles(1782043200.0, 50.0, 0.0)  # 2026-06-21T12:00Z
    assert elevation == pytest.approx(90.0 - 50.0 + 23.44, abs=0.2)
    assert azimuth == pytest.approx(180.0, abs=2.0)


def test_pixels_are_the_same_in_another_process_and_in_any_order(world):
    rows = [5, 40, 3, len(world.plan) - 1]
    mine = {row: world.scenes.pair(row).after.image.pixels() for row in rows}
    code = (
        "import sys, hashlib, flightsim as fs\n"
        "from flightsim.world import prepare\n"
        f"world = prepare(fs.load_scenario('statistical', {[*SETTINGS, 'policy={use: threshold}']!r}))\n"
        f"for row in {rows[::-1]!r}:\n"
        "    pair = world.scenes.pair(row)\n"
        "    print(row, hashlib.sha256(pair.after.image.pixels().tobytes()).hexdigest(), pair.after.image.digest(),\n"
        "          hashlib.sha256(pair.before.image.pixels().tobytes()).hexdigest())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    import hashlib

    for line in done.stdout.splitlines():
        row, pixels, recipe, before = line.split()
        pair = world.scenes.pair(int(row))
        assert hashlib.sha256(mine[int(row)].tobytes()).hexdigest() == pixels
        assert pair.after.image.digest() == recipe
        assert hashlib.sha256(pair.before.image.pixels().tobytes()).hexdigest() == before


def test_a_source_travels_to_a_worker_and_shows_the_same(world):
    copy = pickle.loads(pickle.dumps(world.scenes))
    assert np.array_equal(copy.pair(7).after.image.pixels(), world.scenes.pair(7).after.image.pixels())


def test_equal_recipes_are_equal_pictures_and_unequal_ones_are_not(world):
    digests = [world.scenes.pair(row).after.image.digest() for row in range(len(world.plan))]
    assert len(set(digests)) == len(digests)
    one, other = (world.scenes.pair(row).after.image.pixels() for row in (0, 1))
    assert not np.array_equal(one, other)


def test_a_place_is_the_same_place_on_every_date(sampled):
    source, plan, truth = sampled
    quiet = np.flatnonzero(~truth.changed.any(axis=1) & truth.visible)[::37][:8]
    for row in quiet.tolist():
        pair = source.pair(row)
        before, after = (image.pixels()[3].astype(float).ravel() for image in (pair.before.image, pair.after.image))
        other = source.pair((row + 640) % len(plan)).after.image.pixels()[3].astype(float).ravel()
        same, different = np.corrcoef(before, after)[0, 1], np.corrcoef(after, other)[0, 1]
        assert same > different


def test_truth_masks_say_what_the_labels_say(sampled):
    source, _, truth = sampled
    rows = np.flatnonzero((truth.changed & truth.labelled).any(axis=1))
    assert len(rows) >= 10
    for row in rows[:25].tolist():
        for column, schema in enumerate(truth.schemas):
            mask = source.change_mask(row, schema)
            # Hot spots are small: they count from a tenth of the shares on.
            share = (0.0 if mask is None else float(mask.mean())) * (10.0 if schema == "thermal_hotspot" else 1.0)
            if truth.labelled[row, column] and truth.changed[row, column]:
                assert share >= 0.01
            if truth.labelled[row, column] and not truth.changed[row, column]:
                assert share <= 0.002


def test_stated_and_met_prevalence_agree(sampled):
    _, _, truth = sampled
    positive = (truth.changed & truth.labelled).sum() / truth.labelled.sum()
    assert 0.04 < positive < 0.2  # stated 0.1; clusters of events scatter it widely in 20 blocks


def test_every_event_shows_in_its_mask(sampled):
    """Pixels inside the mask differ between the dates more than those outside, in the median over events."""
    source, _, truth = sampled
    ratios = []
    for row, column in np.argwhere(truth.changed & truth.labelled & truth.visible[:, None])[:40].tolist():
        pair, mask = source.pair(row), source.change_mask(row, truth.schemas[column])
        before, after = (image.reflectance() for image in (pair.before.image, pair.after.image))
        if np.isnan(before).any() or np.isnan(after).any():
            continue  # the edge of the swath
        difference = np.max(np.abs(after - before), axis=0)
        if mask.mean() < 0.9:
            ratios.append(np.median(difference[mask]) / max(np.median(difference[~mask]), 1e-3))
    assert np.median(ratios) > 1.5


def test_a_second_look_shows_the_place_at_its_own_time(world):
    row = 11
    look = Look(float(world.plan.time_s[row]) + 86400.0, 10.0, 12.0, 40.0)
    pair, later = world.scenes.pair(row), world.scenes.pair_at(row, look)
    assert later.before.image.digest() == pair.before.image.digest()
    assert later.after.image.digest() != pair.after.image.digest()
    assert later.after.id == f"{world.plan.place_id[row]}@{int(look.time_s)}"
    assert isinstance(world.scenes.visible_at(row, look), bool)


def test_regions_keep_training_and_testing_apart():
    for region in ("train", "test"):
        _, plan, _ = sample_world(6, 1, region=region, tile_px=32)
        middles = {(round(float(a), 3), round(float(b), 3)) for a, b in zip(plan.lat_deg, plan.lon_deg, strict=True)}
        wrong = [place for place in middles if region_of(*place) != region]
        # A block of 10 km may straddle the edge of a region; its middle does not.
        assert len(wrong) < 0.5 * len(middles)


def test_samples_of_a_kind_show_it():
    for pair, truth, row in sample_pairs(6, 5, kind="vegetation_stress", tile_px=64):
        assert truth.changed[row, SCHEMA_IDS.index("vegetation_stress")]
        assert pair.after.image.shape == (6, 64, 64)
    for _, truth, row in sample_pairs(6, 5, kind="quiet", tile_px=64):
        assert not truth.changed[row].any()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("spacecraft.camera.bands=[B02, B05]", "camera.bands has 'B05'; scenes 'synthetic' have B02"),
        ("spacecraft.camera.tile_px=1024", "tile_px is 1024; .* 32 to 512"),
        ("spacecraft.camera.gsd_m=300", "gsd_m is 300 m; .* 3 to 60 m"),
        ("spacecraft.camera.bits=4", "bits is 4; .* 8 to 16"),
        ("scenes.with={positive_fraction: 0.001}", "negative_fraction is 0.002; it must not exceed"),
    ],
)
def test_a_camera_that_the_world_cannot_serve_is_told(setting, words):
    with pytest.raises(InputError, match=words):
        prepare(fs.load_scenario("statistical", [*SETTINGS, "policy={use: threshold}", setting]))


def test_an_unknown_region_lists_the_known():
    with pytest.raises(InputError, match=r"region is 'mars'; allowed are train, validation, test, any"):
        sample_world(2, 1, region="mars")


def test_what_lies_beyond_the_swath_hides_as_a_cloud_does(sampled):
    source, plan, truth = sampled
    cut = 0
    for row in range(len(plan)):
        pair = source.pair(row)
        shares = [view.no_data_share(*source._place(row), shot) for shot in (source._before[row], source._after[row])]
        if max(shares) > 0.6:
            assert not truth.visible[row]
        if max(shares) > 0 and cut < 4:
            cut += 1
            for image, share in zip((pair.before.image, pair.after.image), shares, strict=True):
                assert np.isnan(image.reflectance()[0]).mean() == pytest.approx(share)
    assert cut
