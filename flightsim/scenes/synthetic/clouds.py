"""Clouds over a block and their shadows: one field per block and day, so that tiles join and truth is cheap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ... import rng
from .ground import Block, Plane, Window
from .noise import fractal, sample

#: Rows and columns at which a block's field is looked at to find the threshold of a given cover.
_LOOK = 96


@dataclass(frozen=True)
class Sky:
    """The clouds of a block on a day."""

    offset: tuple[float, float]
    zoom: tuple[float, float]  # along rows and columns; cirrus is drawn out
    slope: float
    softness: float  # deviations of the field from the first wisp to full thickness
    thickest: float  # largest opacity [-]
    height_m: float
    detail: float
    name: str


@lru_cache(maxsize=4096)
def sky(block: Block, day: int) -> Sky:
    """What kind of clouds a block has on a day. Engineering values for cumulus, stratus and cirrus."""
    draw = rng.uniform_at(block.seed, "synthetic/sky", np.uint64(block.key), day, np.arange(8))
    offset = (float(np.floor(draw[0] * 1024.0)), float(np.floor(draw[1] * 1024.0)))
    broad = max(1.0, block.side_px / 1024.0)
    if draw[2] < 0.45:
        return Sky(
            offset,
            (broad, broad),
            3.0,
            0.4 + 0.5 * float(draw[3]),
            1.0,
            800.0 + 1500.0 * float(draw[4]),
            0.20,
            "cumulus",
        )
    if draw[2] < 0.8:
        return Sky(
            offset,
            (broad, broad),
            3.4,
            0.6 + 1.0 * float(draw[3]),
            1.0,
            1500.0 + 3000.0 * float(draw[4]),
            0.12,
            "stratus",
        )
    stretch = (broad, 3.0 * broad) if draw[5] < 0.5 else (2.5 * broad, broad)
    return Sky(
        offset, stretch, 2.9, 1.6, 0.35 + 0.45 * float(draw[3]), 7000.0 + 4000.0 * float(draw[4]), 0.15, "cirrus"
    )


def _field(kind: Sky, window: Window) -> Plane:
    body = sample(fractal("cloud", kind.slope), window, kind.offset, *kind.zoom)
    return np.asarray(body + np.float32(kind.detail) * sample(fractal("wisps", 2.3), window, kind.offset))


@lru_cache(maxsize=4096)
def _threshold(block: Block, day: int, fraction: float) -> float:
    """Level of the field above which a share ``fraction`` of the block lies."""
    step = max(1, block.side_px // _LOOK)
    count = block.side_px // step
    field = _field(sky(block, day), Window(0, 0, count, count, step))
    return float(np.quantile(field, 1.0 - fraction))


def _opacity(block: Block, window: Window, day: int, fraction: float) -> Plane:
    kind = sky(block, day)
    if fraction >= 1.0:
        field = _field(kind, window)
        return np.asarray(np.clip(0.9 + 0.1 * field, 0.75, 1.0), dtype=np.float32)
    level = np.float32(_threshold(block, day, fraction))
    # Half opacity stands at the threshold, so the share above CLOUDY is the share asked for.
    rise = (_field(kind, window) - level) / np.float32(kind.softness) + np.float32(0.5)
    np.clip(rise, 0.0, 1.0, out=rise)
    rise *= rise * (3.0 - 2.0 * rise)
    rise *= np.float32(kind.thickest)
    return rise


def cloudy(block: Block, day: int) -> float:
    """Opacity from which a pixel counts as cloud on this day: half of what the sky's clouds reach. [-]"""
    return 0.5 * sky(block, day).thickest


def cover(
    block: Block, window: Window, day: int, fraction: float, sun_elevation_deg: float, sun_azimuth_deg: float
) -> tuple[Plane, Plane]:
    """Opacity of clouds and depth of their shadows over a window, each of its shape. [-]

    Parameters
    ----------
    block, window, day
        Where and when; all windows of a block and day see one field.
    fraction
        Share of the block under cloud. [-]
    sun_elevation_deg, sun_azimuth_deg
        Azimuth from north by east. Shadows fall away from the Sun by height over the tangent of the elevation.
    """
    if fraction <= 0.0:
        none = np.zeros(window.shape, dtype=np.float32)
        return none, none
    alpha = _opacity(block, window, day, fraction)
    away_px = sky(block, day).height_m / np.tan(np.radians(max(sun_elevation_deg, 5.0))) / block.gsd_m
    azimuth = np.radians(sun_azimuth_deg)
    # What shades a pixel stands toward the Sun from it: north is up, so a Sun in the north is at smaller rows.
    up, right = round(float(np.cos(azimuth) * away_px)), round(float(np.sin(azimuth) * away_px))
    sunward = Window(window.top - up, window.left + right, window.rows, window.cols, window.step)
    return alpha, _opacity(block, sunward, day, fraction)


def share(block: Block, window: Window, day: int, fraction: float) -> float:
    """Share of a window under cloud, for truth, from every fourth pixel. [-]"""
    if fraction <= 0.0:
        return 0.0
    if fraction >= 1.0:
        return 1.0
    thin = 4 * window.step
    quick = Window(window.top, window.left, max(window.rows // 4, 1), max(window.cols // 4, 1), thin)
    return float(np.mean(_opacity(block, quick, day, fraction) > cloudy(block, day)))


def light(
    block: Block, window: Window, day: int, alpha: Plane, sun_elevation_deg: float, sun_azimuth_deg: float
) -> Plane:
    """How bright the clouds' tops are relative to a flat top: lit flanks, shaded flanks and small tufts. [-]"""
    if not alpha.any():
        return alpha
    azimuth = np.radians(sun_azimuth_deg)
    kind = sky(block, day)
    steps = round(float(np.cos(azimuth) * 3.0)), round(float(np.sin(azimuth) * 3.0))
    sunward = Window(window.top - steps[0], window.left + steps[1], window.rows, window.cols, window.step)
    body = _field(kind, window)
    flank = body - _field(kind, sunward)
    low = np.float32(0.5 / np.tan(np.radians(max(sun_elevation_deg, 15.0))))
    return np.asarray(np.clip(0.86 + 0.10 * body + low * flank, 0.35, 1.35), dtype=np.float32)
