"""Intervals by resampling clusters: paired, BCa, from sums per cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
#: Below so many clusters that hold a positive no interval is stated: the bootstrap's tails are not to be trusted.
MIN_POSITIVE_CLUSTERS = 30
#: Largest share of resamples in which the statistic may be undefined (no positive drawn) before none is stated.
_MAX_UNDEFINED = 0.05
#: Cells of one block of resample counts; keeps the memory below some 32 MB.
_BLOCK_CELLS = 4_000_000

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, or the reason why there is none. ``standard_error`` is that of the resamples."""

    low: float | None
    high: float | None
    method: str = ""
    reason: str = ""
    standard_error: float | None = None

    def as_list(self) -> list[float] | None:
        """``[low, high]``, or None."""
        return None if self.low is None or self.high is None else [self.low, self.high]


def cluster_sums(values: NDArray[np.float64], cluster: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums of the columns of ``values`` (n, k) over each cluster, shape (clusters, k), in the order of cluster ids."""
    _, index = np.unique(cluster, return_inverse=True)
    index = index.ravel()
    size = int(index.max(initial=-1)) + 1
    return np.stack([np.bincount(index, weights=column, minlength=size) for column in values.T], axis=1)


def resampled_sums(
    sums: NDArray[np.float64], generator: np.random.Generator, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """Totals of so many resamples of the clusters with replacement, shape (resamples, k)."""
    clusters = len(sums)
    totals = np.empty((resamples, sums.shape[1]))
    step = max(1, _BLOCK_CELLS // max(1, clusters))
    for first in range(0, resamples, step):
        rows = min(step, resamples - first)
        drawn = generator.integers(0, clusters, size=(rows, clusters), dtype=np.int32)
        drawn += np.arange(rows, dtype=np.int32)[:, None] * np.int32(clusters)
        counts = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        totals[first : first + rows] = counts.astype(np.float64) @ sums
    return totals


def bootstrap(
    sums: NDArray[np.float64],
    statistics: Mapping[str, Statistic],
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Interval of each statistic; all of them share every resample, so differences and ratios are paired.

    Parameters
    ----------
    sums
        Totals per cluster, shape (clusters, k).
    statistics
        Functions from totals (m, k) to values (m,), NaN where undefined.

    Notes
    -----
    Bias-corrected and accelerated percentiles, the acceleration from the jackknife over clusters. Where that is
    degenerate (all resamples on one side of the estimate, or no spread in the jackknife) the plain percentiles are
    given and the method says so.

    References
    ----------
    Efron, "Better bootstrap confidence intervals", JASA 82 (1987), 171-185, equation 2.3 and section 7.
    """
    total = sums.sum(axis=0, keepdims=True)
    drawn = resampled_sums(sums, generator, resamples)
    left_out = total - sums
    return {
        name: _interval(float(statistic(total)[0]), statistic(drawn), statistic(left_out), level)
        for name, statistic in statistics.items()
    }


def _interval(
    estimate: float, replicates: NDArray[np.float64], jackknife: NDArray[np.float64], level: float
) -> Interval:
    if not np.isfinite(estimate):
        return Interval(None, None, reason="the estimate is undefined")
    defined = replicates[np.isfinite(replicates)]
    if len(defined) < (1.0 - _MAX_UNDEFINED) * len(replicates):
        share = 1.0 - len(defined) / len(replicates)
        return Interval(None, None, reason=f"undefined in {share:.0%} of the resamples")
    if float(np.ptp(defined)) <= 1e-12 * max(1.0, abs(estimate)):  # rounding is no spread
        return Interval(None, None, reason="every resample gives the same value")
    error = float(np.std(defined, ddof=1))
    tails = np.array([0.5 * (1.0 - level), 0.5 * (1.0 + level)])
    method = "percentile"
    # Resamples that tie with the estimate count half, as with any discrete statistic.
    below = float(np.mean(defined < estimate) + 0.5 * np.mean(defined == estimate))
    known = jackknife[np.isfinite(jackknife)]
    spread = known.mean() - known if len(known) else np.zeros(0)
    scale = float((spread**2).sum())
    if 0.0 < below < 1.0 and scale > 1e-24 * max(1.0, estimate**2) and len(known) == len(jackknife):
        normal = NormalDist()
        bias = normal.inv_cdf(below)
        acceleration = float((spread**3).sum()) / (6.0 * scale**1.5)
        shifted = np.array([bias + normal.inv_cdf(tail) for tail in tails])
        bottom = 1.0 - acceleration * shifted
        if np.all(bottom > 0.0):
            tails = np.array([normal.cdf(bias + z / b) for z, b in zip(shifted, bottom, strict=True)])
            method = "bca"
    low, high = np.quantile(defined, tails)
    return Interval(float(low), float(high), method, standard_error=error)


__all__ = ["MIN_POSITIVE_CLUSTERS", "RESAMPLES", "Interval", "bootstrap", "cluster_sums", "resampled_sums"]
