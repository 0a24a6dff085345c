"""The world without pixels: stated prevalence, place memory, clouds."""

import numpy as np
import pytest

from flightsim.domain import Plan
from flightsim.scenes import happenings


def plan_of(blocks=600, visits=3, gap_days=3.0, age_days=30.0):
    """Every cell of some blocks, imaged several times."""
    n = blocks * 64
    block = np.repeat(np.arange(blocks, dtype=np.uint64), 64)
    cell = np.tile(np.arange(64), blocks)
    time = np.concatenate([np.full(n, (v + 0.5) * gap_days * 86400.0) for v in range(visits)])
    before = np.concatenate([np.full(n, -age_days * 86400.0), time[: n * (visits - 1)]])
    tile = lambda a: np.tile(a, visits)  # noqa: E731
    zeros = np.zeros(n * visits)
    return Plan(
        spacecraft=("s",), craft=np.zeros(n * visits, dtype=np.int16), time_s=time, before_s=before,
        place_id=tuple(f"p{k}" for k in range(n)) * visits,
        place_key=tile(block * np.uint64(64) + cell.astype(np.uint64)), block_key=tile(block),
        block_row=tile((cell // 8).astype(np.int16)), block_col=tile((cell % 8).astype(np.int16)),
        lat_deg=zeros, lon_deg=zeros, gsd_m=zeros + 10, off_nadir_deg=zeros, sun_elevation_deg=zeros + 40,
        area=np.zeros(n * visits, dtype=np.int32), areas=("a",),
    )  # fmt: skip


@pytest.mark.parametrize("prevalence", [0.001, 0.03, 0.33])
@pytest.mark.parametrize("tiles", [1.0, 1.3, 6.0])
def test_the_realised_share_is_the_stated_one(prevalence, tiles):
    plan = plan_of()
    shares = [
        happenings.changed(plan, "flood_extent", prevalence, 10 * 86400.0, tiles, seed).mean() for seed in range(4)
    ]
    # Events are Poisson and cover about `tiles` cells: variance of the share is about prevalence * tiles / n.
    sigma = np.sqrt(prevalence * 2 * tiles / (4 * len(plan) / 3))
    assert abs(np.mean(shares) - prevalence) < 5 * sigma


def test_no_prevalence_no_events():
    assert not happenings.changed(plan_of(20), "flood_extent", 0.0, 86400.0, 6.0, 1).any()


def test_a_shot_has_the_same_truth_whatever_else_is_asked():
    plan = plan_of(50)
    whole = happenings.changed(plan, "ice_extent", 0.1, 10 * 86400.0, 6.0, 3)
    rate = happenings.event_rate(plan, 0.1, 10 * 86400.0, 6.0)
    assert rate > 0
    order = np.random.default_rng(0).permutation(len(plan))
    shuffled = Plan(
        **{
            name: (
                getattr(plan, name)[order]
                if isinstance(getattr(plan, name), np.ndarray) and len(getattr(plan, name)) == len(plan)
                else getattr(plan, name)
            )
            for name in plan.__dataclass_fields__
            if name != "place_id"
        },
        place_id=tuple(plan.place_id[k] for k in order),
    )
    again = happenings.changed(shuffled, "ice_extent", 0.1, 10 * 86400.0, 6.0, 3)
    assert np.array_equal(again, whole[order])


def test_a_refreshed_reference_sees_an_event_once():
    plan = plan_of(300, visits=2, gap_days=2.0)
    changed = happenings.changed(plan, "flood_extent", 0.05, 30 * 86400.0, 6.0, 5)
    first, second = changed[: len(plan) // 2], changed[len(plan) // 2 :]
    # Long events that were seen at the first visit are in the second visit's reference: only new onsets count.
    assert second.sum() < 0.3 * first.sum()
    assert (first & second).mean() < 0.2 * first.mean()


def test_events_are_patches():
    plan = plan_of(400, visits=1)
    changed = happenings.changed(plan, "flood_extent", 0.05, 10 * 86400.0, 6.0, 2).reshape(400, 64)
    per_block = changed.sum(axis=1)
    assert per_block[per_block > 0].mean() > 4.0
    assert (per_block == 0).mean() > 0.3


def test_cloud_has_the_stated_mean_and_is_shared_by_a_block():
    plan = plan_of(3000, visits=1)
    cloud = happenings.cloud_fraction(plan, 0.4, 11)
    assert abs(cloud.mean() - 0.4) < 0.03
    assert cloud.min() >= 0.0
    assert cloud.max() <= 1.0
    within = cloud.reshape(3000, 64).std(axis=1).mean()
    assert within < 0.1 < cloud.reshape(3000, 64).mean(axis=1).std()
    assert not happenings.cloud_fraction(plan, 0.0, 11).any()


@pytest.mark.parametrize("tiles", [1.0, 1.3, 2.5, 6.0, 33.3, 40.0, 64.0])
def test_the_mean_size_of_an_event_is_known_exactly(tiles):
    sizes = happenings._patch_tiles((np.arange(400_000) + 0.5) / 400_000, tiles)
    assert sizes.min() >= 1
    assert sizes.max() <= 64
    assert happenings.mean_patch_tiles(tiles) == pytest.approx(sizes.mean(), rel=1e-3)
    if (2 * tiles).is_integer():
        assert happenings.mean_patch_tiles(tiles) == tiles
