"""What a picture looks like, in numbers: level, colour, grain, edges. One flat mapping of floats a tile.

Texture is measured on planes of unit deviation, so that a linear stretch changes none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Plane = NDArray[np.float32]

#: A plane whose deviation is below this share of its level is flat: its texture is all zeros. [-]
FLAT = 1e-6
#: Scales of the band-pass filters, standard deviation of the finer Gaussian. [px]
SCALES_PX = (0.7, 1.4, 2.8, 5.6)
LAGS_PX = (1, 2, 4, 8, 16)


@lru_cache(maxsize=8)
def _rings(rows: int, cols: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], Plane]:
    """Frequency of each ring, ring and angle of each coefficient, and the Hann window."""
    fy, fx = np.meshgrid(np.fft.fftfreq(rows), np.fft.fftfreq(cols), indexing="ij")
    radius = np.hypot(fy, fx)
    step = 1.0 / min(rows, cols)
    ring = np.rint(radius / step).astype(np.int64)
    count = int(0.5 / step) + 1
    frequency = np.arange(count) * step
    window = np.outer(np.hanning(rows), np.hanning(cols)).astype(np.float32)
    return frequency, np.minimum(ring, count), np.arctan2(fy, fx), window


def spectrum(plane: Plane) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Radially averaged power of a plane: frequency [cycles/px], power, and the power by angle (18 sectors).

    The sectors take frequencies between 0.05 and 0.35 cycles/px, each ring weighted alike.
    """
    frequency, ring, angle, window = _rings(*plane.shape)
    power = np.abs(np.fft.fft2((plane - plane.mean()) * window)) ** 2
    total = np.bincount(ring.ravel(), power.ravel(), len(frequency) + 1)[:-1]
    number = np.bincount(ring.ravel(), minlength=len(frequency) + 1)[:-1]
    mean = total / np.maximum(number, 1)
    inside = (ring >= 0.05 * min(plane.shape)) & (ring <= 0.35 * min(plane.shape))
    level = mean[np.minimum(ring, len(mean) - 1)][inside]
    sector = (np.mod(angle[inside], np.pi) / np.pi * 18).astype(int) % 18
    share = np.bincount(sector, power[inside] / np.maximum(level, 1e-30), 18) / np.maximum(
        np.bincount(sector, minlength=18), 1
    )
    return frequency, mean, share


def spectral_slope(frequency: NDArray[np.float64], power: NDArray[np.float64]) -> float:
    """Exponent a of power ~ frequency^a, by least squares on logarithms between 0.03 and 0.35 cycles/px. [-]"""
    used = (frequency >= 0.03) & (frequency <= 0.35) & (power > 0)
    return float(np.polyfit(np.log(frequency[used]), np.log(power[used]), 1)[0]) if used.sum() > 2 else 0.0


def _kurtosis(values: NDArray[np.float32]) -> float:
    centred = values - values.mean()
    variance = float((centred**2).mean())
    return float((centred**4).mean()) / variance**2 if variance > 1e-12 else 3.0


def _skewness(values: NDArray[np.float32]) -> float:
    centred = values - values.mean()
    variance = float((centred**2).mean())
    return float((centred**3).mean()) / variance**1.5 if variance > 1e-12 else 0.0


def _log(value: float) -> float:
    return float(np.log10(max(value, 1e-6)))


def _standard(plane: Plane) -> Plane:
    deviation = float(plane.std())
    if deviation <= FLAT * max(1e-3, abs(float(plane.mean()))):
        return np.zeros_like(plane, dtype=np.float32)
    return ((plane - plane.mean()) / deviation).astype(np.float32)


def texture(plane: Plane) -> dict[str, float]:
    """Grain, edges and their directions, of one plane brought to unit deviation. [-]"""
    p = _standard(plane)
    found: dict[str, float] = {"skew": _skewness(p), "kurtosis": _log(_kurtosis(p))}
    frequency, power, sectors = spectrum(p)
    found["spectrum_slope"] = spectral_slope(frequency, power)
    total = float(power[1:].sum()) or 1.0
    for name, low, high in (("low", 0.0, 0.04), ("middle", 0.04, 0.15), ("high", 0.15, 0.3), ("finest", 0.3, 0.51)):
        found[f"spectrum_{name}"] = _log(
            float(power[1:][(frequency[1:] >= low) & (frequency[1:] < high)].sum()) / total
        )
    found["spectrum_uneven"] = _log(float(sectors.max() / max(float(sectors.mean()), 1e-9))) if p.any() else 0.0
    for lag in LAGS_PX:
        found[f"autocorrelation_{lag}"] = 0.5 * float((p[lag:] * p[:-lag]).mean() + (p[:, lag:] * p[:, :-lag]).mean())
    lags = np.array([0, *LAGS_PX], dtype=float)
    curve = np.array([float((p * p).mean()), *[found[f"autocorrelation_{lag}"] for lag in LAGS_PX]])
    below = np.flatnonzero(curve < np.exp(-1.0))
    first = int(below[0]) if len(below) and curve[0] > 0 else 0
    found["autocorrelation_length_px"] = (
        float(np.interp(-np.exp(-1.0), -curve[first - 1 : first + 1], lags[first - 1 : first + 1]))
        if first
        else float(LAGS_PX[-1])
    )
    smooth = [ndimage.gaussian_filter(p, scale) for scale in SCALES_PX]
    for k, scale in enumerate(SCALES_PX):
        band = (p if k == 0 else smooth[k - 1]) - smooth[k]
        found[f"band_{scale}_deviation"] = _log(float(band.std()))
        found[f"band_{scale}_kurtosis"] = _log(_kurtosis(band))
        found[f"band_{scale}_skew"] = _skewness(band)
    north, east = np.gradient(smooth[0])
    steep = np.hypot(north, east)
    quantiles = np.quantile(steep, [0.05, 0.5, 0.95, 0.99])
    found["gradient_mean"] = _log(float(steep.mean()))
    found["gradient_kurtosis"] = _log(_kurtosis(np.concatenate([north.ravel(), east.ravel()])))
    found["gradient_tail"] = _log(float(quantiles[3] / max(quantiles[1], 1e-6)))
    found["gradient_quiet"] = _log(float(quantiles[0] / max(quantiles[2], 1e-6)))
    mean = ndimage.uniform_filter(p, 5)
    local = np.sqrt(np.maximum(ndimage.uniform_filter(p * p, 5) - mean * mean, 0.0))
    spread = np.quantile(local, [0.05, 0.5, 0.95])
    found["local_deviation_quiet"] = _log(float(spread[0]))
    found["local_deviation_patchy"] = _log(float(spread[2] / max(float(spread[1]), 1e-6)))
    found.update(_edges(north, east, steep))
    return found


def _edges(north: Plane, east: Plane, steep: Plane) -> dict[str, float]:
    """How straight the edges are, and whether they meet at right angles."""
    found = {}
    strong = steep >= np.quantile(steep, 0.9)
    for scale in (1.5, 4.0):
        jxx, jyy, jxy = (ndimage.gaussian_filter(part, scale) for part in (east * east, north * north, east * north))
        coherence = np.hypot(jxx - jyy, 2 * jxy) / np.maximum(jxx + jyy, 1e-9)
        found[f"edge_straight_{scale}"] = float(coherence[strong].mean())
    weight = float(steep.sum()) or 1.0
    angle = np.arctan2(north, east)
    for fold in (2, 4):
        found[f"edge_fold_{fold}"] = float(np.abs((steep * np.exp(1j * fold * angle)).sum())) / weight
    return found


def features(planes: NDArray[np.float32], bands: Sequence[str]) -> dict[str, float]:
    """All numbers of one tile.

    Parameters
    ----------
    planes
        Samples, shape (bands, rows, columns), display numbers or reflectance; no missing ones.
    bands
        Sentinel-2 names of the bands; B02, B03 and B04 must be among them.
    """
    planes = np.asarray(planes, dtype=np.float32)
    index = {name: k for k, name in enumerate(bands)}
    visible = planes[[index[name] for name in ("B04", "B03", "B02")]]
    light = visible.mean(axis=0)
    level, deviation = max(float(light.mean()), 1e-6), max(float(light.std()), 1e-6)
    found = {f"light.{name}": value for name, value in texture(light).items()}
    found["light.contrast"] = _log(deviation / level)
    for name in ("B08", "B11"):
        if name in index:
            found.update({f"{name}.{key}": value for key, value in texture(planes[index[name]]).items()})
    fine = planes - np.stack([ndimage.gaussian_filter(plane, 1.4) for plane in planes])
    for k, name in enumerate(bands):
        plane = planes[k]
        low, middle, high = np.quantile(plane, [0.05, 0.5, 0.95])
        found[f"colour.{name}.mean"] = float(plane.mean()) / level
        found[f"colour.{name}.deviation"] = _log(float(plane.std()) / deviation)
        found[f"colour.{name}.q05"] = (float(low) - level) / deviation
        found[f"colour.{name}.q50"] = (float(middle) - level) / deviation
        found[f"colour.{name}.q95"] = (float(high) - level) / deviation
        found[f"colour.{name}.fine"] = _log(float(fine[k].std()) / max(float(plane.std()), 1e-6))
        for other in range(k):
            pair = f"{bands[other]}-{name}"
            found[f"correlation.{pair}"] = correlation(planes[other], plane)
            found[f"correlation.fine.{pair}"] = correlation(fine[other], fine[k])
    return found


def correlation(a: Plane, b: Plane) -> float:
    """Pearson correlation of two planes; 0 where one is flat. [-]"""
    a, b = _standard(a), _standard(b)
    return float((a * b).mean())
