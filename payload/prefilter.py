"""The quality gate: is there anything to see in a pair of pictures?

It answers one of the reasons of ``UnclassifiableReason``, or that the pair can be looked at, with an estimate of the
cloud cover that a policy may see. Pixels under cloud or without data are masked out of what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import fft, ndimage

from flightsim.domain import TilePair, UnclassifiableReason
from flightsim.protocols import PluginConfig

from .indices import Mask, Plane, View, box_mean

Share = Annotated[float, Field(ge=0, le=1)]


class GateConfig(PluginConfig):
    """Limits of the quality gate, as shares of a picture's pixels unless said otherwise."""

    max_no_data: Share = 0.3
    """Most pixels without data. [-]"""
    max_saturated: Share = 0.3
    """Most pixels at full scale in every band. [-]"""
    max_cloud: Share = 0.3
    """Most pixels under cloud, in either picture. [-]"""
    max_shift_px: Annotated[float, Field(ge=1, le=64)] = 3.0
    """Shift between the pictures from which on they count as misregistered. [px]"""


@dataclass(frozen=True)
class Gate:
    """What the gate found. ``reason`` is None where the pair can be looked at."""

    reason: UnclassifiableReason | None
    cloud_before: float
    """Cloud cover of the reference picture, of the pixels with data. [-]"""
    cloud_after: float
    """Cloud cover of the new picture, of the pixels with data. [-]"""
    valid: Mask
    """Pixels with data and without cloud in both pictures, shape (rows, columns)."""
    shift_px: tuple[int, int] = (0, 0)
    """Rows and columns by which the new picture lies off; (0, 0) where no shift stands out. [px]"""


def gate_pair(pair: TilePair, config: GateConfig | None = None) -> Gate:
    """The gate's answer for a pair with pixels in both pictures.

    Raises
    ------
    ValueError
        A picture is missing, or the two have different sizes.
    """
    if pair.before is None or pair.before.image is None or pair.after.image is None:
        raise ValueError(f"tile '{pair.after.id}' has no pair of pictures; the quality gate needs both.")
    return gate(View.of(pair.before.image), View.of(pair.after.image), config or GateConfig())


def gate(before: View, after: View, config: GateConfig) -> Gate:
    """The gate's answer for two pictures of one size.

    Notes
    -----
    Order: no data, dark, saturated, cloud, misregistered. Without a short-wave infrared band cloud and bright ground
    (salt, snow, ice) look alike, so what is white in both pictures counts as ground where its texture is the same
    in both. A picture of one band is never called cloudy.
    """
    if before.shape != after.shape:
        raise ValueError(f"the reference has {before.shape} pixels, the new picture {after.shape}.")
    views = (before, after)
    clouds = _clouds(before, after)
    covers = [
        float((cloud & ~view.no_data).sum() / max(1, np.count_nonzero(~view.no_data)))
        for cloud, view in zip(clouds, views, strict=True)
    ]
    valid = ~(before.no_data | after.no_data | clouds[0] | clouds[1])

    def answer(reason: UnclassifiableReason | None, shift: tuple[int, int] = (0, 0)) -> Gate:
        return Gate(reason, covers[0], covers[1], valid, shift)

    if any(view.no_data.mean() > config.max_no_data for view in views):
        return answer(UnclassifiableReason.NO_DATA)
    if any(is_dark(view) for view in views):
        return answer(UnclassifiableReason.DARK)
    if any(view.full_scale.mean() > config.max_saturated for view in views):
        return answer(UnclassifiableReason.SATURATED)
    # Clouds of the two pictures add up: a place can be compared only where both are clear.
    if max(covers) > config.max_cloud or valid.mean() < 1 - max(config.max_cloud, config.max_no_data) - 0.2:
        return answer(UnclassifiableReason.CLOUD if max(covers) > 0 else UnclassifiableReason.NO_DATA)
    shift = find_shift(before.brightness, after.brightness)
    if float(np.hypot(*shift)) >= config.max_shift_px:
        return answer(UnclassifiableReason.MISREGISTERED, shift)
    return answer(None, shift)


def is_dark(view: View) -> bool:
    """Whether hardly a pixel is lit: the 99th percentile of the brightest band is below 0.02 (reflectance) or 0.04.

    Water and shadow reflect 0.01 to 0.05 in daylight, so a lit picture has brighter pixels somewhere.
    """
    lit = view.stack.max(axis=0)[~view.no_data]
    return lit.size > 0 and float(np.percentile(lit, 99)) < (0.02 if view.calibrated else 0.04)


def cloud_mask(view: View) -> Mask:
    """Pixels that look like cloud in one picture, shape (rows, columns); bright ground may be among them.

    Notes
    -----
    Reflectance with red, green, blue and near infrared: Fmask's tests for potential cloud (whiteness, haze, NIR to
    SWIR ratio, NDVI, NDSI) and a brightness floor of 0.18 in the visible, in place of Fmask's scene statistics, which
    a tile is too small for. Snow (NDSI above 0.4, dark at 1.6 um) is no cloud. Cirrus: B10 above 0.01.
    Display values: all bands at least 0.75 and within 0.15 of each other, and blue no darker than red by more than
    0.03: droplets scatter blue and red alike and the air adds blue, while sand and playa are redder. Objects narrower
    than 5 px are dropped: they are roofs and sand banks. Missed are thin cloud, its
    shadow, and cloud over snow in RGB; wide pale concrete is mistaken for cloud.

    References
    ----------
    Zhu, Woodcock, "Object-based cloud and cloud shadow detection in Landsat imagery", Remote Sensing of Environment
    118 (2012), 83-94, eq. 1-5. Zhu, Wang, Woodcock, same journal 159 (2015), 269-277: Sentinel-2 and the cirrus band.
    Braaten, Cohen, Yang, same journal 169 (2015), 128-138: brightness in green for pictures without thermal bands.
    """
    if len(view.planes) == 1:
        return np.zeros(view.shape, dtype=bool)
    if view.calibrated and view.rgb:
        found = _spectral_cloud(view)
    elif view.calibrated:
        found = (view.stack.min(axis=0) > 0.3) & (np.ptp(view.stack, axis=0) < 0.25 * view.stack.max(axis=0))
    else:
        found = (view.stack.min(axis=0) >= 0.75) & (np.ptp(view.stack, axis=0) <= 0.15)
        if view.has("B02", "B04"):
            found &= view["B02"] >= view["B04"] - 0.03
    return _without_small(found & ~view.no_data)


def _spectral_cloud(view: View) -> Mask:
    blue, green, red = view["B02"], view["B03"], view["B04"]
    mean = np.maximum((blue + green + red) / 3, np.float32(1e-3))
    whiteness = (np.abs(blue - mean) + np.abs(green - mean) + np.abs(red - mean)) / mean
    found = (mean > 0.18) & (whiteness < 0.7) & (blue - 0.5 * red - 0.08 > 0)
    nir = view.nir
    if nir is not None:
        found &= view.ratio(nir, "B04") < 0.8
        if view.has("B11"):
            found &= (view[nir] > 0.75 * view["B11"]) & ~snow_mask(view)
        if view.has("B12"):
            found &= view["B12"] > 0.03
    if view.has("B10"):
        found |= view["B10"] > 0.01
    return np.asarray(found)


def snow_mask(view: View) -> Mask:
    """Snow and ice by the normalised difference snow index, shape (rows, columns); none without B03 and B11.

    References
    ----------
    Dozier, "Spectral signature of alpine snow cover from the Landsat Thematic Mapper", Remote Sensing of Environment
    28 (1989), 9-22; Hall, Riggs, Salomonson, same journal 54 (1995), 127-140: NDSI > 0.4, NIR > 0.11.
    """
    if not view.has("B03", "B11"):
        return np.zeros(view.shape, dtype=bool)
    found = view.ratio("B03", "B11") > 0.4
    if not view.calibrated:
        # Display values have no absolute scale, but every stretch shows snow in the upper half of its range.
        found &= view["B03"] > 0.5
    bright = view[view.nir] if view.nir is not None else view["B03"]
    # Cloud of ice crystals reaches NDSI 0.4 too, but stays bright at 1.6 um.
    return np.asarray(found & (bright > 0.11) & (view["B11"] < 0.2))


def snow_laden(view: View) -> Mask:
    """Snow in the open, under trees and in shadow, shape (rows, columns). Wider than ``snow_mask``; needs B02 to B11.

    Notes
    -----
    Snow among plants keeps a positive NDSI while bare plants have none (-0.3 to -0.6), and green above 0.1 tells it
    from dark targets. Snow in shadow is dark but as bright in the near infrared as in the visible, and lit by the
    blue sky; water loses the near infrared, and turbid water, which does so less, is red.

    References
    ----------
    Klein, Hall, Riggs, "Improving snow cover mapping in forests through the use of a canopy reflectance model",
    Hydrological Processes 12 (1998), 1723-1744: snow in forest lies below NDSI 0.4, green above 0.1.
    """
    nir = view.nir
    if nir is None or not view.has("B02", "B03", "B04", "B11"):
        return snow_mask(view)
    green, far = view["B03"], view["B11"]
    blue = view["B02"] > 0.9 * view["B04"]
    open_ = (green > far) & (green > 0.1) & (view[nir] > 0.11)
    shaded = (green > 2.33 * far) & (view[nir] > 0.6 * green)  # NDSI above 0.4
    white = snow_mask(view) & (blue | (view.brightness > 0.3))
    return np.asarray(white | (blue & (open_ | shaded)))


def _without_small(mask: Mask) -> Mask:
    if not mask.any():
        return mask
    # Box erosion and dilation as a threshold on box means: separable, so the cost does not grow with the width.
    core = box_mean(mask.astype(np.float32), 5) > 0.999
    return np.asarray((box_mean(core.astype(np.float32), 7) > 1e-3) & mask)


def _clouds(before: View, after: View) -> tuple[Mask, Mask]:
    """Cloud masks of both pictures, freed of bright ground where the bands alone cannot tell it from cloud."""
    first, second = cloud_mask(before), cloud_mask(after)
    both = first & second
    if (before.calibrated and before.has("B11", "B03")) or np.count_nonzero(both) < 64:
        return first, second
    if _correlation(_detail(before.brightness), _detail(after.brightness), both) > 0.3:
        return first & ~both, second & ~both
    return first, second


def _detail(plane: Plane) -> Plane:
    """What is finer than 9 px, clipped at three robust deviations so that single glints do not rule."""
    fine = plane - box_mean(plane, 9)
    spread = float(np.mean(np.abs(fine))) * 3.0
    return np.asarray(np.clip(fine, -spread, spread))


def _correlation(a: Plane, b: Plane, where: Mask) -> float:
    """Pearson correlation over some pixels, 0 where either is flat. [-]"""
    first, second = a[where].astype(np.float64), b[where].astype(np.float64)
    first, second = first - first.mean(), second - second.mean()
    bottom = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum() / bottom) if bottom > 1e-9 else 0.0


def find_shift(before: Plane, after: Plane) -> tuple[int, int]:
    """Rows and columns by which the second picture lies off the first; (0, 0) where no shift stands out. [px]

    Notes
    -----
    Phase correlation of fine detail proposes a shift of at most a quarter of the picture, and the plain correlation
    of the detail must confirm it: at least 0.5 when shifted back, and 0.25 better than unshifted. So neither another
    season nor a real change reads as a shift: they lower both.

    References
    ----------
    Kuglin, Hines, "The phase correlation image alignment method", Proc. IEEE Int. Conf. on Cybernetics and Society
    (1975), 163-165.
    """
    first, second = _detail(before), _detail(after)
    rows, cols = first.shape
    shape = (fft.next_fast_len(rows, real=True), fft.next_fast_len(cols, real=True))
    window = np.hanning(rows)[:, None] * np.hanning(cols)[None, :]
    cross = np.conj(fft.rfft2(first * window, shape)) * fft.rfft2(second * window, shape)
    surface: NDArray[np.float64] = fft.irfft2(cross / np.maximum(np.abs(cross), 1e-12), shape)
    surface = ndimage.uniform_filter(surface, 3, mode="wrap")
    far_r, far_c = rows // 4, cols // 4
    surface[far_r + 1 : shape[0] - far_r, :] = -1
    surface[:, far_c + 1 : shape[1] - far_c] = -1
    top = int(surface.argmax())
    down, across = divmod(top, shape[1])
    down, across = (down - shape[0] if down > far_r else down), (across - shape[1] if across > far_c else across)
    if (down, across) == (0, 0):
        return 0, 0
    fixed = first[max(0, -down) : rows - max(0, down), max(0, -across) : cols - max(0, across)]
    moved = second[max(0, down) : rows + min(0, down), max(0, across) : cols + min(0, across)]
    everywhere = np.ones(fixed.shape, dtype=bool)
    shifted = _correlation(fixed, moved, everywhere)
    still = _correlation(first, second, np.ones(first.shape, dtype=bool))
    return (down, across) if shifted >= 0.5 and shifted - still >= 0.25 else (0, 0)
