"""Pictures brought to another number of pixels by area-weighted means."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def overlaps(size: int, wanted: int) -> NDArray[np.float32]:
    """Share of each old pixel in each new one along one axis, shape (wanted, size); rows sum to 1. [-]"""
    edges = np.linspace(0.0, size, wanted + 1)
    old = np.arange(size, dtype=np.float64)
    low = np.maximum(edges[:-1, None], old[None, :])
    high = np.minimum(edges[1:, None], old[None, :] + 1.0)
    share = np.maximum(high - low, 0.0)
    return np.asarray(share / share.sum(axis=1, keepdims=True), dtype=np.float32)


def area_mean(samples: NDArray[Any], rows: int, cols: int) -> NDArray[Any]:
    """A picture (bands, old rows, old columns) with so many rows and columns; 0 in all bands is no data.

    Notes
    -----
    A new pixel is the mean of what it covers, weighted by area, over the pixels that have data; it has none where
    less than half of it has. Nothing is cropped or padded, so the ground covered stays the same and the ground
    sample distance changes. Where the picture is enlarged, neighbours repeat: no detail is made up.
    """
    if samples.shape[1:] == (rows, cols):
        return samples
    down, across = overlaps(samples.shape[1], rows), overlaps(samples.shape[2], cols)
    valid = samples.any(axis=0).astype(np.float32)
    weight = down @ valid @ across.T
    total = np.stack([down @ (plane.astype(np.float32) * valid) @ across.T for plane in samples])
    mean = total / np.maximum(weight, np.float32(1e-6))
    # A dark pixel with data must not become no data by rounding: at least one digital number in the first band.
    out = np.rint(mean).astype(samples.dtype)
    known = weight >= 0.5
    out[0, known & ~out.any(axis=0)] = 1
    out[:, ~known] = 0
    return out
