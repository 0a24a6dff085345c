"""Cluster bootstrap: against an independent implementation, its coverage, and where it must give up."""

import numpy as np
import pytest

from flightsim import rng
from flightsim.resampling import bootstrap, cluster_sums, resampled_sums


def ratio(x):
    with np.errstate(divide="ignore", invalid="ignore"):
        return x[:, 0] / x[:, 1]


def test_cluster_sums_add_up_in_the_order_of_ids():
    values = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    assert cluster_sums(values, np.array([7, 3, 7])).tolist() == [[2.0, 20.0], [5.0, 50.0]]


def test_a_resample_draws_as_many_clusters_as_there_are():
    sums = np.column_stack([np.ones(17), np.arange(17.0)])
    drawn = resampled_sums(sums, rng.stream(1, "t"), 300)
    assert np.all(drawn[:, 0] == 17)
    # Mean of the resamples is the total: 8 * 17, within four standard errors of 300 resamples.
    assert drawn[:, 1].mean() == pytest.approx(136.0, abs=4 * np.sqrt(17 * 24.0 / 300))


def test_blocks_do_not_change_the_distribution(monkeypatch):
    sums = rng.stream(2, "t").random((50, 2))
    whole = resampled_sums(sums, rng.stream(1, "t"), 400)
    monkeypatch.setattr("flightsim.resampling._BLOCK_CELLS", 500)
    blocks = resampled_sums(sums, rng.stream(1, "t"), 400)
    assert np.allclose(whole, blocks)


def test_bca_agrees_with_scipy():
    """Independent source: scipy.stats.bootstrap, BCa, same statistic; both have Monte Carlo error."""
    from scipy import stats

    generator = rng.stream(5, "t")
    top = generator.exponential(1.0, 60)
    bottom = top * 0.5 + generator.exponential(1.0, 60)
    own = bootstrap(np.column_stack([top, bottom]), {"r": ratio}, rng.stream(1, "t"), 20_000)["r"]
    other = stats.bootstrap(
        (top, bottom), lambda a, b, axis=-1: a.sum(axis) / b.sum(axis), paired=True, vectorized=True,
        n_resamples=20_000, method="BCa", rng=np.random.default_rng(1),
    )  # fmt: skip
    low, high = other.confidence_interval
    assert own.method == "bca"
    # The 2.5 % quantile of 20,000 resamples has a standard error of about 2 % of the interval's width.
    assert own.as_list() == pytest.approx([low, high], abs=0.06 * (high - low))
    assert own.standard_error == pytest.approx(other.standard_error, rel=0.05)


def test_coverage_is_about_what_is_claimed():
    generator = rng.stream(9, "t")
    inside = 0
    for trial in range(200):
        sizes = generator.poisson(5.0, 60) + 1.0
        hits = generator.binomial(sizes.astype(int), 0.3)
        interval = bootstrap(np.column_stack([hits, sizes]), {"r": ratio}, rng.stream(trial, "b"), 400)["r"]
        inside += interval.low <= 0.3 <= interval.high
    # Nominal 95 %, 200 trials: four standard errors are 6 %.
    assert inside / 200 == pytest.approx(0.95, abs=0.062)


def test_a_difference_is_paired():
    generator = rng.stream(3, "t")
    noise = generator.random(80) * 100
    sums = np.column_stack([noise + 1.0, noise])
    found = bootstrap(sums, {"gain": lambda x: x[:, 0] - x[:, 1], "one": lambda x: x[:, 0]}, rng.stream(1, "t"))
    assert found["gain"].as_list() is None  # always 80: no spread at all
    assert found["gain"].reason == "every resample gives the same value"
    assert found["one"].high - found["one"].low > 100


def test_undefined_estimates_and_resamples_give_a_reason_instead_of_numbers():
    assert bootstrap(np.zeros((40, 2)), {"r": ratio}, rng.stream(1, "t"))["r"].reason == "the estimate is undefined"
    rare = np.zeros((40, 2))
    rare[0] = 1.0
    found = bootstrap(rare, {"r": ratio}, rng.stream(1, "t"))["r"]
    assert found.as_list() is None
    assert "undefined in 3" in found.reason  # (1 - 1/40)^40 is 36 %


def test_a_jackknife_without_an_answer_falls_back_to_percentiles_and_says_so():
    sums = np.column_stack([np.r_[1.0, np.zeros(29)], np.ones(30)])
    values = bootstrap(sums, {"r": lambda x: np.where(x[:, 1] < 30, np.nan, x[:, 0])}, rng.stream(1, "t"))["r"]
    assert values.method == "percentile"
    assert values.low == 0.0


def test_the_same_seed_gives_the_same_interval():
    sums = rng.stream(1, "x").random((40, 2))
    first, second = (bootstrap(sums, {"r": ratio}, rng.stream(4, "b"))["r"] for _ in range(2))
    assert first == second
