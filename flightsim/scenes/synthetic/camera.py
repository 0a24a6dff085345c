"""Light, air and camera: from reflectance of the ground to digital numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ... import rng
from .ground import Land, Plane, Window
from .noise import fractal, sample
from .spectra import SMOKE, SMOKE_THICKNESS, glow

#: Largest reflectance that the camera tells apart; snow and cloud edges facing the Sun lie above 1. Engineering.
_FULL_SCALE = 1.25
#: Significant bits of Sentinel-2's detectors (ESA, Sentinel-2 User Handbook, 2015).
BITS = 12
#: Signal to noise at the reference radiance. Required of S2 MSI: 154, 168, 142, 174, 100, 100 (ESA, Sentinel-2 User
#: Handbook, 2015); the instrument does about half as well again (F. Gascon et al., "Copernicus Sentinel-2A Calibration
#: and Products Validation Status", Remote Sensing 9(6), 584, 2017). Engineering values of that order; then the
#: reflectance that the reference radiance means under a Sun at 45 degrees.
_SNR = np.array([214.0, 249.0, 230.0, 221.0, 159.0, 167.0])
_REFERENCE = np.array([0.29, 0.31, 0.31, 0.44, 0.07, 0.08])
#: Share of the noise's variance at the reference that does not depend on light. Engineering.
_READ_SHARE = 0.2
#: Deviation of the point spread of a 10 m band, in pixels: MTF 0.19 at Nyquist (S2 MSI: 0.15 to 0.30 required).
PSF_PX = 0.58
#: Light from the sky, slopes and clouds around over direct light, by band. Engineering: skylight after the 6S code
#: (Vermote et al. 1997), and in the infrared enough that shadows stay at a fifth, as they do on S2 pictures.
_DIFFUSE = np.array([0.36, 0.29, 0.23, 0.20, 0.15, 0.13], dtype=np.float32)
#: Path reflectance that remains per unit of haze after the climatological correction on board. Engineering.
_HAZE = np.array([0.050, 0.038, 0.027, 0.016, 0.004, 0.002], dtype=np.float32)
#: Cloud reflectance, thick water cloud, and the share of it that an ice cloud has. Engineering, after S2 scenes.
CLOUD = np.array([0.72, 0.72, 0.73, 0.74, 0.52, 0.40], dtype=np.float32)
CIRRUS = np.array([1.0, 1.0, 1.0, 0.95, 0.60, 0.48], dtype=np.float32)


def reflectance_step(bits: int = BITS) -> float:
    """Reflectance between two digital numbers. [-] Number 0 is no data, the largest is saturation."""
    return float(_FULL_SCALE / (2**bits - 2))


def illumination(land: Land, sun_elevation_deg: float, sun_azimuth_deg: float) -> Plane:
    """Direct light on sloping ground relative to flat ground, shape of the window. [-]

    Notes
    -----
    Cosine of incidence over that on the flat; ground turned away gets none. No cast shadows of mountains.
    """
    elevation, azimuth = np.radians(max(sun_elevation_deg, 8.0)), np.radians(sun_azimuth_deg)
    toward = np.float32(np.sin(azimuth)) * land.slope_east + np.float32(np.cos(azimuth)) * land.slope_north
    light = 1.0 - toward * np.float32(1.0 / np.tan(elevation))
    light /= np.sqrt(1.0 + land.slope_east**2 + land.slope_north**2)
    return np.asarray(np.clip(light, 0.0, 2.2), dtype=np.float32)


def air(
    scene: Plane,
    land: Land,
    sun: tuple[float, float],
    off_nadir_deg: float,
    haze: float,
    water: NDArray[np.bool_],
    alpha: Plane,
    shadow: Plane,
    icy: bool,
    cloud_light: Plane,
    smoke: Plane,
    heat: Plane,
) -> None:
    """Light the ground, add its glow, cover it with smoke, clouds and haze; alters ``scene`` (6, rows, columns).

    ``haze`` is what the onboard correction leaves, about -0.15 to 1. [-]
    """
    direct = illumination(land, *sun)
    direct[water] = 1.0
    lit = direct * (1.0 - np.float32(0.92) * shadow) if shadow.any() else direct
    longer = np.float32(1.0 / np.cos(np.radians(min(off_nadir_deg, 60.0))))
    # Backward and forward scattering look brighter and darker; a gain is all that a tile of a kilometre can show.
    gain = np.float32(1.0 - 0.0015 * off_nadir_deg)
    cloudy = bool(alpha.any())
    smoky = bool(smoke.any())
    hot = bool(heat.any())
    # Digital numbers mean reflectance under this Sun, so the same glow counts for more under a low one.
    glowing = glow() / np.float32(np.sin(np.radians(max(sun[0], 8.0))))
    for band in range(6):
        share = _DIFFUSE[band]
        plane = scene[band]
        plane *= (lit + share) * (gain / (1.0 + share))
        plane *= np.float32(1.0 - 0.35 * haze * _HAZE[band] * 4.0)
        plane += np.float32(haze) * _HAZE[band] * longer
        if hot:
            plane += heat * glowing[band]
        if smoky:
            seen = np.exp(-smoke * SMOKE_THICKNESS[band] * longer)
            plane += (1.0 - seen) * (SMOKE[band] - plane)
        if cloudy:
            white = CLOUD[band] * (CIRRUS[band] if icy else np.float32(1.0))
            plane += alpha * (white * cloud_light - plane)


def _kernel(shift_px: float, sigma_px: float) -> NDArray[np.float32]:
    """Five weights of a Gaussian that also shifts by up to one pixel."""
    at = np.arange(-2, 3) - shift_px
    weights = np.exp(-0.5 * (at / sigma_px) ** 2)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def blur(planes: Plane, shift: tuple[float, float], sigma_px: float) -> Plane:
    """Planes through a point spread, moved down and right by ``shift`` pixels; two pixels fewer on every side."""
    for axis, move in ((1, shift[0]), (2, shift[1])):
        weights = _kernel(move, sigma_px)
        count = planes.shape[axis] - 4
        parts = [planes[(slice(None),) * axis + (slice(k, k + count),)] for k in range(5)]
        # Weights run against the axis: a scene moved down shows what lay above.
        total = parts[2] * weights[2]
        for k in (0, 1, 3, 4):
            if weights[4 - k] > 1e-4:
                total += parts[k] * weights[4 - k]
        planes = total
    return planes


def noise_levels() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Variance of noise at no light, and its growth with reflectance, each of shape (6,). [-]"""
    variance = (_REFERENCE / _SNR) ** 2
    return (
        np.asarray(_READ_SHARE * variance, dtype=np.float32),
        np.asarray((1.0 - _READ_SHARE) * variance / _REFERENCE, dtype=np.float32),
    )


def add_noise(planes: Plane, bands: slice, key: int) -> None:
    """Shot and read noise, keyed by the shot; alters ``planes``."""
    field = fractal("detector", 0.0)
    window = Window(0, 0, *planes.shape[1:])
    read, growth = noise_levels()
    draw = rng.hash_at(0, "synthetic/detector", np.uint64(key), np.arange(6)[bands])
    for plane, bits, still, rising in zip(planes, draw, read[bands], growth[bands], strict=True):
        at = float(bits & np.uint64(1023)), float((bits >> np.uint64(10)) & np.uint64(1023))
        deviation = np.maximum(plane, np.float32(0.0))
        deviation *= rising
        deviation += still
        np.sqrt(deviation, out=deviation)
        deviation *= sample(field, window, at)
        plane += deviation


def halve(planes: Plane) -> Plane:
    """Means of two by two pixels. [-]"""
    rows = planes[:, 0::2] + planes[:, 1::2]
    return np.asarray((rows[:, :, 0::2] + rows[:, :, 1::2]) * np.float32(0.25))


def double(planes: Plane) -> Plane:
    """Twice the rows and columns by linear interpolation; one coarse pixel is lost on every side."""
    for axis in (1, 2):
        n = planes.shape[axis]
        here = (slice(None),) * axis

        middle, before, after = (planes[(*here, slice(a, n - 2 + a))] for a in (1, 0, 2))
        pair = np.stack([0.75 * middle + 0.25 * before, 0.75 * middle + 0.25 * after], axis=axis + 1)
        shape = list(middle.shape)
        shape[axis] *= 2
        planes = pair.reshape(shape)
    return planes


def digitise(planes: Plane, bits: int = BITS) -> NDArray[np.uint16]:
    """Digital numbers from 1 to 2**bits - 1, of the shape of the argument. [-]"""
    top = np.float32(2**bits - 1)
    scaled = planes * np.float32(1.0 / reflectance_step(bits)) + np.float32(0.5)
    return np.clip(scaled, 1.0, top, out=scaled).astype(np.uint16)
