"""How much two pictures of a quiet place differ: real pairs beside generated pairs of the same dates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .realism_features import correlation
from .realism_generated import Generator
from .realism_tiles import SOURCES, Picture, like, side_needed

#: Cases in which nothing happened.
QUIET = (
    "nochange-lausanne-2026",
    "nochange-outback-2026",
    "nochange-kansas-2024-2025",
    "season-kansas-2024",
)


def shift_px(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Length of the shift between two planes by phase correlation, to a tenth of a pixel. [px]

    References
    ----------
    Foroosh, Zerubia, Berthod, "Extension of phase correlation to subpixel registration", IEEE Transactions on Image
    Processing 11(3), 2002: with c(0) and c(1) the peak and its neighbour, the shift is c(1) / (c(1) + c(0)).
    """
    window = np.outer(np.hanning(before.shape[0]), np.hanning(before.shape[1]))
    cross = np.fft.fft2((before - before.mean()) * window) * np.conj(np.fft.fft2((after - after.mean()) * window))
    surface = np.fft.ifft2(cross / np.maximum(np.abs(cross), 1e-12)).real
    peak = np.array(np.unravel_index(int(surface.argmax()), surface.shape))
    found = []
    for axis in (0, 1):
        size = surface.shape[axis]
        line = np.take(surface, peak[1 - axis], axis=1 - axis)
        at, top = int(peak[axis]), float(line[peak[axis]])
        side = max((-1, 1), key=lambda step, line=line, at=at, size=size: line[(at + step) % size])
        beside = max(float(line[(at + side) % size]), 0.0)
        whole = at - size if at > size // 2 else at
        found.append(whole + side * beside / max(beside + top, 1e-12))
    return float(np.hypot(*found))


def difference(before: NDArray[np.float32], after: NDArray[np.float32]) -> dict[str, float]:
    """What changed between two RGB tiles of one place, shape (3, rows, columns)."""
    lights = [tile.mean(axis=0) for tile in (before, after)]
    fine = [light - ndimage.gaussian_filter(light, 1.4) for light in lights]
    level = [light - light.mean() for light in lights]
    slope = float((level[0] * level[1]).mean() / max(float((level[0] ** 2).mean()), 1e-9))
    left = level[1] - slope * level[0]
    spread = max(float(level[1].std()), 1e-6)
    return {
        "correlation": correlation(*lights),
        "correlation, fine": correlation(*fine),
        "contrast after/before": float(level[1].std()) / max(float(level[0].std()), 1e-6),
        "brightness after/before": float(lights[1].mean()) / max(float(lights[0].mean()), 1e-6),
        "unexplained share": float(left.std()) / spread,
        "pixels off by 2 sd": float((np.abs(left) > 2 * spread).mean()),
        "shift [px]": shift_px(*lights),
    }


def pair_lines(generator: Generator, pictures: Sequence[Picture], seed: int) -> list[str]:
    """A table: quantiles of each measure over the tiles of each quiet case, real and generated."""
    lines = [f"{'case':28s} {'measure':24s} {'real':>24s} {'generated':>24s}"]
    for case in QUIET:
        both = {picture.date: picture for picture in pictures if picture.source.case == case}
        if set(both) != {"before", "after"}:
            lines.append(f"{case:28s} has not both dates, SKIPPED")
            continue
        first, second = both["before"], both["after"]
        shared = sorted(set(first.cells) & set(second.cells))
        real = [difference(first.tiles[first.cells.index(k)], second.tiles[second.cells.index(k)]) for k in shared]
        number = [source.case for source in SOURCES].index(case)
        sides = []
        for picture in (first, second):
            side = side_needed(picture.source, picture.tiles.shape[-1])
            tiles = generator.tiles(picture, 12, side, seed * 100 + number)
            sides.append(like([planes for planes, _ in tiles], generator.bands, picture))
        made = [difference(a, b) for a, b in zip(*sides, strict=True)]
        for k, measure in enumerate(real[0]):
            shown = [
                " ".join(f"{value:7.3f}" for value in np.quantile([row[measure] for row in rows], [0.1, 0.5, 0.9]))
                for rows in (real, made)
            ]
            lines.append(f"{case if k == 0 else '':28s} {measure:24s} {shown[0]:>24s} {shown[1]:>24s}")
    return lines
