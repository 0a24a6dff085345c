"""Fractal fields of the generated world: a bank made once per process, and cheap windows into it.

A field is periodic, 1024 pixels a side. A block sees it through an offset of its own, so that tiles of a block join
without seams and a window costs a slice. Larger forms are the same fields seen enlarged, by cubic B-splines as two
matrix products.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ... import rng
from .ground import Plane, Window

#: Rows and columns of a field. [px]
SIDE = 1024
#: Steps to a texel in which windows are placed. [-]
_FINE = 1024.0
#: Multiplications up to which OpenBLAS uses one thread (GEMM_MULTITHREAD_THRESHOLD, 4, times 65536).
_ONE_THREAD = 4 * 65536


@cache
def fractal(name: str, slope: float, longest_px: float = SIDE, shortest_px: float = 0.0) -> Plane:
    """Periodic field of zero mean and unit deviation whose power falls as frequency to the minus ``slope``.

    Parameters
    ----------
    name
        Fields of other names are independent of each other.
    slope
        Exponent of the spectral density over the plane: 0 white, 2 rough, 3 and more smooth. [-]
    longest_px, shortest_px
        Wavelengths kept. [px]
    """
    white = rng.stream(0, f"synthetic/noise/{name}").standard_normal((SIDE, SIDE), dtype=np.float32)
    row = fft.fftfreq(SIDE).astype(np.float32)[:, None]
    col = fft.rfftfreq(SIDE).astype(np.float32)[None, :]
    frequency = np.hypot(row, col)
    frequency[0, 0] = 1.0
    gain = frequency ** np.float32(-slope / 2.0)
    gain[frequency < 0.999 / longest_px] = 0.0
    if shortest_px > 0.0:
        gain *= np.exp(-((frequency * shortest_px) ** 4))
    gain[0, 0] = 0.0
    field: Plane = fft.irfft2(fft.rfft2(white) * gain, s=(SIDE, SIDE)).astype(np.float32)
    field -= field.mean()
    field /= field.std()
    field.setflags(write=False)
    return field


@lru_cache(maxsize=64)
def _spline(count: int, first: float, stride: float) -> Plane:
    """Matrix of cubic B-spline weights from ``count`` samples' neighbourhood to the samples. [-]

    ``first`` lies in [1, 2): where the first sample falls among the rows the matrix takes.
    """
    at = first + stride * np.arange(count)
    base = np.floor(at).astype(np.int64)
    t = (at - base).astype(np.float32)
    weights = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
    matrix = np.zeros((count, int(base[-1]) + 3), dtype=np.float32)
    rows = np.arange(count)
    for k, weight in enumerate(weights):
        matrix[rows, base - 1 + k] = weight
    return matrix


def _axis(first: int, count: int, step: int, offset: float, zoom: float, side: int) -> tuple[NDArray[np.int64], Plane]:
    """Texels that an axis of a window needs, and the weights that make samples of them."""
    # Exact in binary, so that every window of a block falls on the same texels and tiles share the cached matrices.
    stride = max(round(_FINE / zoom), 1) / _FINE
    start = first * stride + round(offset * _FINE) / _FINE
    whole = int(np.floor(start))
    matrix = _spline(count, 1.0 + start - whole, step * stride)
    texels = (whole - 1 + np.arange(matrix.shape[1])) % side
    return texels, matrix


def sample(
    field: Plane, window: Window, offset: tuple[float, float], zoom: float = 1.0, zoom_cols: float | None = None
) -> Plane:
    """A window of a periodic field, shape of the window. [-]

    Parameters
    ----------
    field
        Square periodic field.
    offset
        Row and column of the field at the block's north-west corner. [texel]
    zoom, zoom_cols
        Pixels that a texel covers, along rows and (if given, else the same) along columns. At 1 the field is
        read texel by texel; the offset is then rounded down.
    """
    side = field.shape[0]
    zoom_cols = zoom if zoom_cols is None else zoom_cols
    if zoom == 1.0 and zoom_cols == 1.0:
        top = (window.top + int(offset[0])) % side
        left = (window.left + int(offset[1])) % side
        bottom, right = top + window.rows * window.step, left + window.cols * window.step
        if bottom <= side and right <= side:
            return field[top : bottom : window.step, left : right : window.step]
        if window.step == 1 and window.rows <= side and window.cols <= side:
            return _wrapped(field, top, left, window.rows, window.cols)
        rows = np.arange(top, bottom, window.step) % side
        cols = np.arange(left, right, window.step) % side
        return np.asarray(field.take(rows, axis=0).take(cols, axis=1))
    rows, down = _axis(window.top, window.rows, window.step, offset[0], zoom, side)
    cols, across = _axis(window.left, window.cols, window.step, offset[1], zoom_cols, side)
    return _product(_product(down, field.take(rows, axis=0).take(cols, axis=1)), across.T)


def _wrapped(field: Plane, top: int, left: int, rows: int, cols: int) -> Plane:
    """A window across the border of a periodic field, from up to four slices: half the time of two takes."""
    side = field.shape[0]
    out = np.empty((rows, cols), dtype=field.dtype)
    over, beyond = min(rows, side - top), min(cols, side - left)
    out[:over, :beyond] = field[top : top + over, left : left + beyond]
    out[over:, :beyond] = field[: rows - over, left : left + beyond]
    out[:over, beyond:] = field[top : top + over, : cols - beyond]
    out[over:, beyond:] = field[: rows - over, : cols - beyond]
    return out


def _product(a: Plane, b: Plane) -> Plane:
    """Matrix product in parts so small that OpenBLAS keeps them on one thread.

    Its threads wait spinning: where another process has the second core, a product of 0.03 ms takes 2 ms.
    """
    rows = max(1, _ONE_THREAD // (a.shape[1] * b.shape[1]))
    if rows >= len(a):
        return np.asarray(a @ b)
    out = np.empty((len(a), b.shape[1]), dtype=np.float32)
    for k in range(0, len(a), rows):
        np.matmul(a[k : k + rows], b, out=out[k : k + rows])
    return out


def box_blur(field: Plane, half: int) -> Plane:
    """Mean over a square of ``2 half + 1`` pixels of a periodic field. [-]"""
    for axis in (0, 1):
        field = np.mean([np.roll(field, k, axis) for k in range(-half, half + 1)], axis=0, dtype=np.float32)
    return field
