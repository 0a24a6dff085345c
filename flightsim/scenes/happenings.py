"""What happens on the ground: events by place and time, clouds by place and day.

A world without pixels still has places and a history. An event has an onset, lasts, and covers a patch of tiles
within its 8x8 block; the same event is met by every shot, every policy and every payload. All draws are keyed by
block, time bin and schema, so nothing depends on the order in which shots are asked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..domain import Plan
from ..rng import uniform_at

_SIDE = 8
#: Cloud cover is U-shaped: mostly clear or mostly overcast. Sum of the two Beta parameters, engineering value.
_CLOUD_CONCENTRATION = 0.6


def _rank_table() -> NDArray[np.int64]:
    """Order of the cells of a block around a centre, on a torus, shape (8, 8); 0 is the centre itself.

    The torus keeps the coverage the same for cells at the edge of a block.
    """
    offset = np.arange(_SIDE)
    offset = np.minimum(offset, _SIDE - offset)
    squared = offset[:, None] ** 2 + offset[None, :] ** 2
    order = np.lexsort((np.arange(_SIDE * _SIDE), squared.ravel()))
    rank = np.empty(_SIDE * _SIDE, dtype=np.int64)
    rank[order] = np.arange(_SIDE * _SIDE)
    return rank.reshape(_SIDE, _SIDE)


_RANK = _rank_table()


def exposure_s(plan: Plan, event_duration_s: float) -> NDArray[np.float64]:
    """Time in which an onset makes a change between "before" and "after" that is still there, shape (n,). [s]"""
    return np.minimum(event_duration_s, plan.time_s - plan.before_s)


def event_rate(plan: Plan, prevalence: float, event_duration_s: float, event_tiles: float) -> float:
    """Events per block and second at which the expected share of changed shots is ``prevalence``. [1/s]

    Notes
    -----
    A shot with exposure w is changed with probability 1 - exp(-rate w event_tiles / 64): Poisson onsets, each
    covering the cell with probability event_tiles / 64. Solved by bisection over the plan's own exposures.
    """
    if prevalence <= 0.0 or not len(plan):
        return 0.0
    weight = exposure_s(plan, event_duration_s) * mean_patch_tiles(event_tiles) / _SIDE**2
    low, high = 0.0, 1.0 / weight[weight > 0].min() * 50.0 if np.any(weight > 0) else 1.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if np.mean(-np.expm1(-middle * weight)) < prevalence:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def changed(
    plan: Plan, schema_id: str, prevalence: float, event_duration_s: float, event_tiles: float, seed: int
) -> NDArray[np.bool_]:
    """Whether each shot's pair shows an event of the schema, shape (n,).

    True where an event covers the cell, began after the "before" picture and still lasts at the "after" picture.
    """
    answer = np.zeros(len(plan), dtype=bool)
    rate = event_rate(plan, prevalence, event_duration_s, event_tiles)
    if rate == 0.0:
        return answer
    expected = rate * event_duration_s
    # Inverse of the Poisson distribution by table: scipy.stats would cost half a second at import.
    counts = np.arange(int(expected + 12.0 * np.sqrt(expected) + 25.0))
    log_terms = counts * np.log(expected) - expected - np.concatenate([[0.0], np.cumsum(np.log(counts[1:]))])
    cumulative = np.cumsum(np.exp(log_terms))

    earliest = plan.time_s - exposure_s(plan, event_duration_s)
    last_bin = np.floor(plan.time_s / event_duration_s).astype(np.int64)
    name = f"event/{schema_id}"
    for back in (0, 1):
        bin_index = last_bin - back
        pairs, inverse = np.unique(
            np.stack([plan.block_key.view(np.int64), bin_index], axis=1), axis=0, return_inverse=True
        )
        inverse = inverse.ravel()
        block, epoch = pairs[:, 0].view(np.uint64), pairs[:, 1]
        number = np.searchsorted(cumulative, uniform_at(seed, name + "/count", block, epoch))
        for k in range(int(number.max(initial=0))):
            rows = np.flatnonzero(number[inverse] > k)
            where = inverse[rows]
            draw = [
                uniform_at(seed, f"{name}/{part}", block, epoch, k)[where] for part in ("onset", "row", "col", "size")
            ]
            onset_s = (epoch[where] + draw[0]) * event_duration_s
            d_row = (plan.block_row[rows] - np.floor(draw[1] * _SIDE).astype(np.int64)) % _SIDE
            d_col = (plan.block_col[rows] - np.floor(draw[2] * _SIDE).astype(np.int64)) % _SIDE
            size = _patch_tiles(draw[3], event_tiles)
            covers = _RANK[d_row, d_col] < size
            in_time = (onset_s > earliest[rows]) & (onset_s <= plan.time_s[rows])
            answer[rows[covers & in_time]] = True
    return answer


def _patch_range(event_tiles: float) -> tuple[float, float]:
    """Ends of the uniform number whose whole part is the tiles of an event, from about 1 to 2 event_tiles - 1."""
    largest = min(2.0 * event_tiles - 1.0, float(_SIDE**2))
    smallest = 2.0 * event_tiles - largest
    return smallest, largest + 1.0


def _patch_tiles(uniform: NDArray[np.float64], event_tiles: float) -> NDArray[np.int64]:
    """Tiles of an event, 1 to 64, from a uniform number. [-]"""
    low, high = _patch_range(event_tiles)
    return np.floor(low + uniform * (high - low)).astype(np.int64).clip(1, _SIDE**2)


def mean_patch_tiles(event_tiles: float) -> float:
    """Mean of ``_patch_tiles``: ``event_tiles`` itself where twice that is whole, else a little off. [-]"""

    def below(x: float) -> float:
        """Integral of floor from 0 to x."""
        whole = np.floor(x)
        return float(whole * (whole - 1.0) / 2.0 + whole * (x - whole))

    low, high = _patch_range(event_tiles)
    return (below(high) - below(low)) / (high - low)


def cloud_fraction(plan: Plan, mean_fraction: float, seed: int) -> NDArray[np.float64]:
    """True cloud cover of each shot's tile, shape (n,). [-]"""
    return cloud_fraction_at(plan.block_key, plan.place_key, plan.time_s, mean_fraction, seed)


def cloud_fraction_at(
    block_key: NDArray[np.uint64],
    place_key: NDArray[np.uint64],
    time_s: NDArray[np.float64],
    mean_fraction: float,
    seed: int,
) -> NDArray[np.float64]:
    """True cloud cover of tiles at some times, shape (n,). [-]

    Notes
    -----
    The tiles of a block scatter by +-0.1 around the block's cover of the day.
    """
    day = np.floor(time_s / 86400.0).astype(np.int64)
    block = block_cloud_fraction(block_key, day, mean_fraction, seed)
    scatter = 0.2 * (uniform_at(seed, "cloud/tile", place_key, day) - 0.5)
    return np.asarray(np.clip(block + scatter * np.sqrt(block * (1.0 - block)) * 2.0, 0.0, 1.0))


def block_cloud_fraction(
    block_key: NDArray[np.uint64], day: NDArray[np.int64], mean_fraction: float, seed: int
) -> NDArray[np.float64]:
    """True cloud cover of blocks on UTC-counted days of the scenario, shape (n,). [-]

    Notes
    -----
    A block has one cloud cover per day, Beta distributed with the stated mean. Engineering model: no fronts, no
    diurnal cycle, no correlation between blocks.
    """
    if mean_fraction <= 0.0:
        return np.zeros(len(day))
    if mean_fraction >= 1.0:
        return np.ones(len(day))
    from scipy.special import betaincinv

    uniform = uniform_at(seed, "cloud/block", block_key, day)
    alpha = mean_fraction * _CLOUD_CONCENTRATION
    return np.asarray(betaincinv(alpha, _CLOUD_CONCENTRATION - alpha, uniform))
