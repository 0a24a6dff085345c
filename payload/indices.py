"""What pixels say in numbers: band access, indices, thresholds, normalisation between dates, patches.

Plain functions of arrays. Band names are Sentinel-2's; arrays of one band have shape (rows, columns).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flightsim.domain import ImageRef

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

_VISIBLE = ("B02", "B03", "B04")
#: 8-neighbourhood.
_AROUND = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class View:
    """One picture as float planes. Calibrated planes are reflectance [-]; others are display values from 0 to 1."""

    planes: dict[str, Plane]
    calibrated: bool
    no_data: Mask  # pixels without any sample
    full_scale: Mask  # pixels at the top of the range in every band

    @classmethod
    def of(cls, image: ImageRef) -> View:
        """Read a picture once."""
        samples = image.pixels()
        top = np.iinfo(samples.dtype).max
        reflectance = image.reflectance()
        no_data, full_scale = ~samples.any(axis=0), (samples == top).all(axis=0)
        if reflectance is None:
            scaled = samples.astype(np.float32) / np.float32(top)
        else:
            no_data |= ~np.isfinite(reflectance).all(axis=0)
            scaled = np.nan_to_num(reflectance, nan=0.0)
        planes = {name: scaled[k] for k, name in enumerate(image.bands)}
        return cls(planes, reflectance is not None, no_data | _constant_border(samples, top), full_scale)

    def has(self, *names: str) -> bool:
        """Whether all these bands are there."""
        return all(name in self.planes for name in names)

    def __getitem__(self, name: str) -> Plane:
        return self.planes[name]

    @property
    def nir(self) -> str | None:
        """Name of the near-infrared band: B08, else B8A."""
        return next((name for name in ("B08", "B8A") if name in self.planes), None)

    @property
    def rgb(self) -> bool:
        """Whether red, green and blue are there."""
        return self.has(*_VISIBLE)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        rows, cols = self.no_data.shape
        return rows, cols

    @cached_property
    def stack(self) -> NDArray[np.float32]:
        """All planes, shape (bands, rows, columns)."""
        return np.stack(list(self.planes.values()))

    @cached_property
    def brightness(self) -> Plane:
        """Mean of the visible bands; of all bands where none is visible. [-]"""
        names = [name for name in _VISIBLE if name in self.planes] or list(self.planes)
        return np.asarray(sum(self.planes[name] for name in names) / np.float32(len(names)), dtype=np.float32)

    def ratio(self, first: str, second: str) -> Plane:
        """Normalised difference (a - b) / (a + b), 0 where both are dark. [-]"""
        return normalised_difference(self.planes[first], self.planes[second])


def normalised_difference(a: Plane, b: Plane) -> Plane:
    """(a - b) / (a + b), 0 where the sum is not positive. [-]"""
    total = a + b
    return np.asarray(np.where(total > 1e-6, (a - b) / np.maximum(total, np.float32(1e-6)), np.float32(0)))


def excess_green(view: View) -> Plane:
    """Excess green of the chromatic coordinates, 2g - r - b with r + g + b = 1. [-]

    References
    ----------
    Woebbecke, Meyer, Von Bargen, Mortensen, "Color indices for weed identification under various soil, residue, and
    lighting conditions", Transactions of the ASAE 38 (1995), 259-269.
    """
    red, green, blue = view["B04"], view["B03"], view["B02"]
    # 2g - r - b = 3g - 1; a floor of the sum keeps the noise of black pixels from looking green.
    return np.asarray(3 * green / np.maximum(red + green + blue, np.float32(0.03)) - 1)


def _constant_border(samples: NDArray[Any], top: int) -> Mask:
    """Fill around a picture: whole rows or columns from an edge inwards that hold one and the same value."""
    first = samples[:, :1, :1]
    blank = np.zeros(samples.shape[1:], dtype=bool)
    corners = ((0, 0), (0, -1), (-1, 0), (-1, -1))
    for r, c in corners:
        first = samples[:, r, c][:, None, None]
        # Cheap test first: fill makes the corner's neighbours equal to it; saturation is told apart elsewhere.
        near = samples[:, : 2 if r == 0 else None, : 2 if c == 0 else None][:, -2 if r else 0 :, -2 if c else 0 :]
        if (near != first).any() or (first == top).all():
            continue
        same = (samples == first).all(axis=0)
        for axis in (0, 1):
            lines = same.all(axis=1 - axis)
            if (r, c)[axis]:
                lines = np.logical_and.accumulate(lines[::-1])[::-1]
            else:
                lines = np.logical_and.accumulate(lines)
            blank |= lines[:, None] if axis == 0 else lines[None, :]
    return blank


def otsu(values: NDArray[np.float32], bins: int = 128) -> tuple[float, float]:
    """Otsu's threshold, and the share of the variance that it explains. [same as values, -]

    The share (between-class over total variance, 0 to 1) says whether there are two classes at all; a uniform or
    normal spread gives about 0.64 to 0.75.

    References
    ----------
    Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9 (1979), 62-66.
    """
    if values.size < 2:
        return 0.0, 0.0
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
    if high - low < 1e-6:
        return low, 0.0
    counts, edges = np.histogram(np.clip(values, low, high), bins=bins, range=(low, high))
    middle = (edges[:-1] + edges[1:]) / 2
    weight = counts.cumsum() / counts.sum()
    mean = (counts * middle).cumsum() / counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean[-1] * weight - mean) ** 2 / (weight * (1 - weight))
    between = np.nan_to_num(between, nan=0.0, posinf=0.0)
    best = int(between.argmax())
    variance = float((counts * (middle - mean[-1]) ** 2).sum() / counts.sum())
    return float(edges[best + 1]), float(between[best] / variance) if variance > 0 else 0.0


def robust_spread(values: NDArray[np.float32]) -> tuple[float, float]:
    """Median, and 1.4826 times the median absolute deviation (the standard deviation of normal data)."""
    if values.size == 0:
        return 0.0, 0.0
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle)))


def match_brightness(before: Plane, after: Plane, valid: Mask) -> Plane:
    """The "after" plane on the scale of the "before" plane: medians and spreads made equal. [same as before]

    Notes
    -----
    Relative radiometric normalisation by robust location and scale. It removes haze, Sun angle and a season that
    moves the whole picture, and holds while less than half of the pixels have changed.

    References
    ----------
    Schott, Salvaggio, Volchok, "Radiometric scene normalization using pseudoinvariant features", Remote Sensing of
    Environment 26 (1988), 1-16: mean and deviation of features that did not change; here medians of all pixels.
    """
    centre_b, spread_b = robust_spread(before[valid])
    centre_a, spread_a = robust_spread(after[valid])
    gain = spread_b / spread_a if spread_a > 1e-6 and spread_b > 1e-6 else 1.0
    # A gain beyond these bounds means that the pictures hardly have anything in common.
    return np.asarray((after - centre_a) * min(max(gain, 0.25), 4.0) + centre_b, dtype=np.float32)


def box_mean(plane: Plane, size_px: int) -> Plane:
    """Mean over a square window. [same as plane]"""
    return np.asarray(ndimage.uniform_filter(plane, size_px, mode="nearest"))


def local_deviation(plane: Plane, size_px: int) -> Plane:
    """Standard deviation over a square window. [same as plane]"""
    mean = box_mean(plane, size_px)
    return np.asarray(np.sqrt(np.maximum(box_mean(plane * plane, size_px) - mean * mean, 0)))


def compact(mask: Mask, least_px: int) -> Mask:
    """The mask without thin edges (a 3 x 3 opening) and without patches smaller than ``least_px``."""
    if np.count_nonzero(mask) < least_px:
        return np.zeros_like(mask)
    opened = ndimage.binary_opening(mask, _AROUND)
    return large_patches(opened, least_px)


def large_patches(mask: Mask, least_px: int) -> Mask:
    """The connected patches (8-neighbourhood) of at least ``least_px`` pixels."""
    if not mask.any():
        return mask
    labels, count = ndimage.label(mask, _AROUND)
    keep = np.bincount(labels.ravel(), minlength=count + 1) >= least_px
    keep[0] = False
    return np.asarray(keep[labels])


def largest_patch(mask: Mask) -> Mask:
    """The largest connected patch (8-neighbourhood); none of an empty mask."""
    labels, count = ndimage.label(mask, _AROUND)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def mostly(mask: Mask, sure: Mask) -> Mask:
    """The connected patches of the mask (8-neighbourhood) of which at least half is sure."""
    labels, count = ndimage.label(mask, _AROUND)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = 2 * np.bincount(labels[sure], minlength=count + 1) >= sizes
    keep[0] = False
    return np.asarray(keep[labels])


def grown(mask: Mask) -> Mask:
    """The mask and the 8 neighbours of its pixels."""
    return np.asarray(ndimage.binary_dilation(mask, _AROUND))


def corners_of(mask: Mask) -> Iterator[float]:
    """Left, top, right and bottom of a mask's box as fractions of the picture. [-]"""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    high, wide = mask.shape
    yield round(float(cols[0]) / wide, 4)
    yield round(float(rows[0]) / high, 4)
    yield round(float(cols[-1] + 1) / wide, 4)
    yield round(float(rows[-1] + 1) / high, 4)


_CELLS = (
    ("north_west", "north", "north_east"),
    ("west", "centre", "east"),
    ("south_west", "south", "south_east"),
)


def cell_of(mask: Mask) -> str:
    """Cell of the 3 x 3 grid in which the middle of a mask lies."""
    rows, cols = np.nonzero(mask)
    high, wide = mask.shape
    row, col = (float(rows.mean()) + 0.5) / high, (float(cols.mean()) + 0.5) / wide
    return _CELLS[min(int(3 * row), 2)][min(int(3 * col), 2)]
