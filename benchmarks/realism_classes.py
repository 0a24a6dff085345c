"""Reflectance per band and class of ground, real beside generated, by the same simple index rules on both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .realism_classifier import distances
from .realism_tiles import SIX

CLASSES = ("cloud", "snow_ice", "water", "forest", "crop_grass", "built", "soil", "other")
#: Pixels that a class needs on both sides to be printed.
LEAST_PX = 400


def dark_subtracted(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reflectance with the darkest visible and infrared level of the scene at 0.005, shape as given, bands second.

    Notes
    -----
    Dark-object subtraction, which brings top-of-atmosphere and surface products nearer to each other. Only the
    visible bands are shifted: in the infrared the air adds next to nothing.
    Chavez, "An improved dark-object subtraction technique for atmospheric scattering correction of multispectral
    data", Remote Sensing of Environment 24 (1988).
    """
    out = planes.copy()
    for k in range(3):
        out[:, k] -= float(np.quantile(planes[:, k], 0.002)) - 0.005
    return out


def classes(planes: NDArray[np.float32]) -> NDArray[np.int64]:
    """Class of each pixel, number in ``CLASSES``; planes of shape (tiles, 6, rows, columns), reflectance.

    The limits are those in common use for Sentinel-2 indices (NDSI 0.4, MNDWI 0, NDVI 0.6 and 0.35), the rest are
    engineering values; what matters is that both sides are cut alike.
    """
    blue, green, red, nir, swir, _ = (np.maximum(planes[:, k], 1e-4) for k in range(6))
    ndvi, mndwi, ndsi = (nir - red) / (nir + red), (green - swir) / (green + swir), (green - swir) / (green + swir)
    rules = (
        (blue > 0.22) & (ndsi < 0.4) & (blue / red > 0.8) & (swir > 0.15),
        (ndsi > 0.4) & (green > 0.25) & (nir > 0.11),
        (mndwi > 0.0) & (nir < 0.2),
        (ndvi > 0.6) & (swir < 0.2) & (red < 0.06),
        ndvi > 0.35,
        (blue / red > 0.72) & (red > 0.05),
        (swir > 0.1) & (ndvi < 0.35),
    )
    return np.select(rules, np.arange(len(rules)), default=len(rules))


def class_lines(real: NDArray[np.float32], made: NDArray[np.float32], bands: Sequence[str] = SIX) -> list[str]:
    """A table: share of each class, and per band mean, deviation, 5/50/95 % and distances, real and generated."""
    sides = [np.moveaxis(part, 1, -1).reshape(-1, len(bands)) for part in (real, made)]
    found = [classes(part).reshape(-1) for part in (real, made)]
    lines = [
        f"{'class':11s} {'band':4s} {'real mean':>9s} {'sd':>6s} {'q05':>6s} {'q50':>6s} {'q95':>6s}   "
        f"{'made mean':>9s} {'sd':>6s} {'q05':>6s} {'q50':>6s} {'q95':>6s}   {'KS':>5s} {'W1/sd':>6s}"
    ]
    random = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        picked = [side[cls == number] for side, cls in zip(sides, found, strict=True)]
        shares = [len(part) / len(side) for part, side in zip(picked, sides, strict=True)]
        lines.append(f"{name:11s} share real {shares[0]:.3f}, generated {shares[1]:.3f}")
        if min(len(part) for part in picked) < LEAST_PX:
            continue
        picked = [part[random.permutation(len(part))[:20000]] for part in picked]
        for k, band in enumerate(bands):
            texts = []
            for part in picked:
                low, middle, high = np.quantile(part[:, k], [0.05, 0.5, 0.95])
                texts.append(f"{part[:, k].mean():9.3f} {part[:, k].std():6.3f} {low:6.3f} {middle:6.3f} {high:6.3f}")
            ones = [np.ones(len(part)) for part in picked]
            ks, w1 = distances(picked[0][:, k].astype(float), ones[0], picked[1][:, k].astype(float), ones[1])
            lines.append(f"{'':11s} {band:4s} {texts[0]}   {texts[1]}   {ks:5.2f} {w1:6.2f}")
        matrices = [np.corrcoef(part.T)[np.triu_indices(len(bands), 1)] for part in picked]
        gap = np.abs(matrices[0] - matrices[1])
        lines.append(f"{'':11s} band correlations differ by {gap.mean():.2f} on average, {gap.max():.2f} at most")
    return lines
