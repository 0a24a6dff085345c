"""Relief carved by running water: ridges, valleys and drainage of a periodic square, made once per process.

Plain fractal hills give themselves away: they have as many pits as peaks and no valley leads anywhere. Here uplift and
rivers work against each other until every slope drains, by the stream-power law solved implicitly down the tree of
flow.

References
----------
J. Braun, S. D. Willett, "A very efficient O(n), implicit and parallel method to solve the stream power equation
governing fluvial incision and landscape evolution", Geomorphology 180-181, 2013.
A. D. Nobre et al., "Height Above the Nearest Drainage", Journal of Hydrology 404, 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .ground import Plane
from .noise import SIDE as _NOISE_SIDE
from .noise import box_blur, fractal

#: Rows and columns of the relief. [texel]
SIDE = 512
#: Exponent of drainage area in the stream-power law (Braun and Willett 2013: 0.4 to 0.5).
_AREA_EXPONENT = 0.45
#: Drained texels from which a channel counts as a stream that holds water, engineering value.
_STREAM_AREA = 900.0

_STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


@dataclass(frozen=True)
class Relief:
    """Periodic fields of shape (SIDE, SIDE)."""

    height: Plane  # zero mean, unit deviation [-]
    above_stream: Plane  # height above the nearest stream downhill, in the same unit [-]
    flow: Plane  # logarithm of the drained area, zero mean and unit deviation [-]


def _downhill(height: Plane) -> tuple[NDArray[np.int64], Plane]:
    """Index of the steepest lower neighbour (itself in a pit) and the distance to it."""
    n = height.shape[0]
    index = np.arange(n * n).reshape(n, n)
    best = np.zeros_like(height)
    receiver = index.copy()
    distance = np.ones_like(height)
    for dy, dx in _STEPS:
        length = np.float32(np.hypot(dy, dx))
        slope = (height - np.roll(height, (-dy, -dx), (0, 1))) / length
        better = slope > best
        np.copyto(best, slope, where=better)
        np.copyto(receiver, np.roll(index, (-dy, -dx), (0, 1)), where=better)
        distance[better] = length
    return receiver.ravel(), distance.ravel()


def _levels(receiver: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cells by the number of steps down to their outlet, outlets first."""
    depth = (receiver != np.arange(receiver.size)).astype(np.int32)
    far = receiver
    while (gained := depth[far]).any():
        depth = depth + gained
        far = far[far]
    order = np.argsort(depth, kind="stable")
    return np.split(order, np.cumsum(np.bincount(depth))[:-1])


def _drained(receiver: NDArray[np.int64], levels: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Cells that drain through each cell, itself included."""
    area = np.ones(receiver.size)
    for cells in reversed(levels[1:]):
        np.add.at(area, receiver[cells], area[cells])
    return area


def _carve(height: Plane, outlet: NDArray[np.bool_], hardness: Plane, rounds: int, strength: float) -> Plane:
    """Height after rounds of uplift and incision; outlets stay at zero."""
    fixed = outlet.ravel()
    soft = (strength / hardness).ravel()
    for _ in range(rounds):
        receiver, distance = _downhill(height)
        receiver[fixed] = np.flatnonzero(fixed)
        levels = _levels(receiver)
        area = _drained(receiver, levels)
        cut = soft * (area**_AREA_EXPONENT).astype(np.float32) / distance
        flat = height.ravel() + np.float32(1.0)
        flat[fixed] = 0.0
        for cells in levels[1:]:
            flat[cells] = (flat[cells] + cut[cells] * flat[receiver[cells]]) / (1.0 + cut[cells])
        height = flat.reshape(height.shape).astype(np.float32)
    return height


def _roots(receiver: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the way downhill from each cell ends."""
    while True:
        further = receiver[receiver]
        if np.array_equal(further, receiver):
            return receiver
        receiver = further


@cache
def relief() -> Relief:
    """The relief of the generated world; every call gives the same read-only arrays."""
    coarse = _NOISE_SIDE // 256
    trunk = fractal("trunk", 3.6, 1024, 60)[::coarse, ::coarse]
    rough = fractal("uplift", 2.6)[::coarse, ::coarse]
    hardness = np.exp(0.5 * fractal("hardness", 2.8)[::coarse, ::coarse])
    slope = np.hypot(*np.gradient(trunk))
    height = _carve(40.0 * np.abs(trunk) + 2.0 * rough, np.abs(trunk) < 0.75 * slope, hardness, 24, 0.10)

    fine = _NOISE_SIDE // SIDE
    height = np.kron(height, np.ones((2, 2), dtype=np.float32))
    height = box_blur(height, 1) + 0.4 * fractal("uplift", 2.6)[::fine, ::fine]
    trunk = fractal("trunk", 3.6, 1024, 60)[::fine, ::fine]
    outlet = np.abs(trunk) < 0.75 * np.hypot(*np.gradient(trunk))
    hardness = np.exp(0.5 * fractal("hardness", 2.8)[::fine, ::fine])
    height = _carve(height, outlet, hardness, 6, 0.13)

    receiver, _ = _downhill(height)
    receiver[outlet.ravel()] = np.flatnonzero(outlet)
    area = _drained(receiver, _levels(receiver))
    root = _roots(receiver)
    drains = outlet.ravel()[root]
    to_stream = np.where(outlet.ravel() | (area > _STREAM_AREA), np.arange(receiver.size), receiver)
    above = height - height.ravel()[_roots(to_stream)].reshape(height.shape)
    # Basins without an outlet are high plains, not flood plains: what lies in them is far above any stream.
    above = np.where(drains.reshape(height.shape), above, height - height.ravel()[root].reshape(height.shape) + 0.6)
    deviation = height.std()
    # A line of single texels would come out as beads.
    flow = box_blur(np.log(area).reshape(height.shape).astype(np.float32), 1)
    fields = (
        (height - height.mean()) / deviation,
        box_blur(np.maximum(above, 0.0) / deviation, 1),
        (flow - flow.mean()) / flow.std(),
    )
    for field in fields:
        field.setflags(write=False)
    return Relief(*(np.asarray(field, dtype=np.float32) for field in fields))
