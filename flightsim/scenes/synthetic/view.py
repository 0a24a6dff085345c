"""One picture of one window: the ground of the day, what events did to it, light, air, clouds and camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ... import rng
from . import camera, clouds
from .ground import Block, Cover, Land, Plane, Surface, Window
from .landscape import Terrain
from .seasons import quiet_surface, reflectance

#: Pixels rendered around a window: two for the point spread, two for whole-pixel misregistration; even, so that the
#: 20 m bands keep their phase.
MARGIN_PX = 6
#: Share of shots that the edge of the swath cuts. Engineering.
_EDGE_SHARE = 0.01
#: Deviation of the registration error, and share of shots with one of 1 to 2 px. [px, -] Engineering, after the
#: multi-temporal registration of S2 (0.3 px at 95 %, ESA Data Quality Report) with room for a small spacecraft.
_SHIFT_PX = 0.15
_BAD_SHIFT_SHARE = 0.02
#: Deviation of a band's gain error (S2: 3 % absolute, ESA User Handbook).
_GAIN_ERROR = 0.015

_WET = np.zeros(len(Cover), dtype=bool)
_WET[[Cover.WATER, Cover.TURBID_WATER, Cover.SEA_ICE]] = True


@dataclass(frozen=True, slots=True)
class Shot:
    """One exposure: when, in which light, from where. ``key`` tells shots apart that share all the rest."""

    time_s: float
    day_of_year: float
    day: int
    sun_elevation_deg: float
    sun_azimuth_deg: float
    off_nadir_deg: float
    cloud_fraction: float
    key: int


@dataclass(frozen=True)
class Picture:
    """Digital numbers of six bands, with what hides the ground; 0 is no data."""

    samples: NDArray[np.uint16]  # (6, rows, columns)
    cloud: NDArray[np.bool_]  # (rows, columns)
    no_data: NDArray[np.bool_]  # (rows, columns)


def picture(
    terrain: Terrain,
    window: Window,
    shot: Shot,
    events: Callable[[Land, Surface], None] | None = None,
    land: Land | None = None,
    bits: int = camera.BITS,
) -> Picture:
    """What the camera returns of a window.

    Parameters
    ----------
    terrain, window, shot
        Where, when and how; the window's ``step`` must be 1.
    events
        Alters the surface in place before it is lit.
    land
        ``terrain.land(padded(window))`` if the caller has it already, as for the second date of a pair.
    bits
        Significant bits of a sample. [-]

    Raises
    ------
    ValueError
        The window skips pixels, or ``land`` is of another window.
    """
    if window.step != 1:
        raise ValueError(f"window.step is {window.step}; a picture has every pixel, so it must be 1")
    wide = padded(window)
    if land is None:
        land = terrain.land(wide)
    elif land.window != wide:
        raise ValueError(f"land is of {land.window}; it must be of padded(window), {wide}")
    block = terrain.block
    draw = _draws(block, shot)
    surface = quiet_surface(land, block, shot.day_of_year, shot.day)
    if events is not None:
        events(land, surface)
    scene = reflectance(land, surface, block, shot.day_of_year, shot.day)
    sun = (shot.sun_elevation_deg, shot.sun_azimuth_deg)
    alpha, shadow = clouds.cover(block, wide, shot.day, shot.cloud_fraction, *sun)
    haze = float(rng.uniform_at(block.seed, "synthetic/haze", np.uint64(block.key), shot.day))
    haze = -0.10 + 0.28 * haze + 0.6 * haze**10
    camera.air(
        scene, land, sun, shot.off_nadir_deg, haze, _WET.take(surface.cover), alpha, shadow,
        clouds.sky(block, shot.day).name == "cirrus", clouds.light(block, wide, shot.day, alpha, *sun),
        surface.smoke, surface.heat,
    )  # fmt: skip
    planes = _expose(scene, draw, shot.key)
    no_data = _edge(window.shape, draw)
    samples = camera.digitise(planes, bits)
    if no_data.any():
        samples[:, no_data] = 0
    m = MARGIN_PX
    return Picture(samples, alpha[m:-m, m:-m] > clouds.cloudy(block, shot.day), no_data)


def _draws(block: Block, shot: Shot) -> NDArray[np.float64]:
    """Uniform numbers of a shot, shape (24,). [-]"""
    return rng.uniform_at(block.seed, "synthetic/shot", np.uint64(shot.key), np.arange(24))


def no_data_share(block: Block, window: Window, shot: Shot) -> float:
    """Share of a picture that lies beyond the edge of the swath, for truth. [-]"""
    return float(_edge(window.shape, _draws(block, shot)).mean())


def padded(window: Window) -> Window:
    """The window with the margin that the camera needs."""
    m = MARGIN_PX
    return Window(window.top - m, window.left - m, window.rows + 2 * m, window.cols + 2 * m)


def _expose(scene: Plane, draw: NDArray[np.float64], key: int) -> Plane:
    """Through optics and detectors: shape (6, rows, columns) without the margin."""
    shift = np.sqrt(-2.0 * np.log(1.0 - draw[0])) * _SHIFT_PX
    if draw[1] < _BAD_SHIFT_SHARE:
        shift = 1.0 + draw[2]
    angle = 2.0 * np.pi * draw[3]
    down, right = float(shift * np.sin(angle)), float(shift * np.cos(angle))
    whole = round(down), round(right)
    part = down - whole[0], right - whole[1]
    gain = np.asarray(1.0 + _GAIN_ERROR * 2.0 * (draw[4:10] - 0.5) * 1.7, dtype=np.float32)
    rows, cols = scene.shape[1] - 2 * MARGIN_PX, scene.shape[2] - 2 * MARGIN_PX

    m = MARGIN_PX - 2
    top, left = m - whole[0], m - whole[1]
    fine = camera.blur(scene[:4, top : top + rows + 4, left : left + cols + 4], part, camera.PSF_PX)
    fine *= gain[:4, None, None]
    camera.add_noise(fine, slice(0, 4), key)

    # The 20 m bands: pixels twice as wide, shifted by half as many of them.
    coarse = camera.halve(scene[4:])
    coarse = camera.blur(coarse, (0.5 * down, 0.5 * right), camera.PSF_PX)
    coarse *= gain[4:, None, None]
    camera.add_noise(coarse, slice(4, 6), key)
    planes = np.empty((6, rows, cols), dtype=np.float32)
    planes[:4] = fine
    planes[4:] = camera.double(coarse)[:, :rows, :cols]
    return planes


def _edge(shape: tuple[int, int], draw: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the swath does not reach: beyond a slanting line, on a small share of shots."""
    if draw[10] >= _EDGE_SHARE:
        return np.zeros(shape, dtype=bool)
    # Sentinel-2 like tracks cross the grid at about 12 degrees from north.
    lean = 0.21 if draw[11] < 0.5 else -0.21
    rows, cols = shape
    line = (0.1 + 0.8 * draw[12]) * cols + lean * (np.arange(rows)[:, None] - rows / 2)
    col = np.arange(cols)[None, :]
    return np.asarray(col > line if draw[13] < 0.5 else col < line)
