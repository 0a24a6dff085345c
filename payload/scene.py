"""What the rules work on: limits, the two pictures of a place, and quantities that several rules share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from flightsim.protocols import PluginConfig

from . import indices
from .indices import Mask, Plane, View
from .prefilter import snow_laden, snow_mask

#: Share of the light that is left, at most, in shade, the partial shade of a thin cloud included. [-] [E]
_SHADE = np.float32(0.8)

Share = Annotated[float, Field(gt=0, le=1)]


class RuleConfig(PluginConfig):
    """Limits of the rules."""

    flood_fraction: Share = 0.01
    """Least share of the tile that became water, or dry. [-]"""
    wetland_fraction: Share = 0.01
    """The same for wetland_change. [-]"""
    ice_fraction: Share = 0.03
    """Least share of the tile that gained or lost ice. [-]"""
    hot_pixels: Annotated[int, Field(ge=1)] = 4
    """Least number of new (or extinct) hot pixels in patches of at least two. [px]"""
    vegetation_fraction: Share = 0.005
    """Least share of the tile with damaged vegetation; 0.8 ha of a tile of 128 px at 10 m. [-]"""
    structure_fraction: Share = 0.02
    """Least share of the tile with new ground or structures (construction_progress). [-]"""
    urban_fraction: Share = 0.02
    """Least share of the tile that became built-up. [-]"""
    ndvi_drop: Annotated[float, Field(gt=0, le=2)] = 0.2
    """Fall of NDVI beyond that of the tile. [-]"""
    dnbr: Annotated[float, Field(gt=0, le=2)] = 0.27
    """Burn ratio difference of at least moderate-low severity (Key and Benson 2006: 0.27). [-]"""
    dominance: Annotated[float, Field(ge=1)] = 2.0
    """How many times the change in one direction must exceed that in the other; jitter goes both ways. [-]"""
    least_patch_px: Annotated[int, Field(ge=1)] = 25
    """Smallest patch that counts, for all but hot spots. [px]"""


@dataclass(frozen=True)
class Finding:
    """What a rule measured."""

    strength: float
    mask: Mask
    direction: str
    severity: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """Two pictures of a place, the pixels that count, and quantities that several rules share."""

    before: View
    after: View
    valid: Mask
    config: RuleConfig

    @property
    def views(self) -> tuple[View, View]:
        """Before and after."""
        return self.before, self.after

    def has(self, *names: str) -> bool:
        """Whether both pictures have all these bands."""
        return self.before.has(*names) and self.after.has(*names)

    @cached_property
    def nir(self) -> str | None:
        """Name of the near-infrared band of both pictures."""
        return self.before.nir if self.before.nir == self.after.nir else None

    def share(self, mask: Mask) -> float:
        """Share of the valid pixels. [-]"""
        return float(np.count_nonzero(mask & self.valid)) / max(1, int(np.count_nonzero(self.valid)))

    @cached_property
    def water(self) -> tuple[Mask, Mask, Mask] | None:
        """Water before, water after, and pixels whose change of index is clear; None without bands for it."""
        found = [water_index(view, self.valid) for view in self.views]
        if found[0] is None or found[1] is None:
            return None
        (first, snow_before), (second, snow_after) = found[0], found[1]
        wet = (first > 0) & ~snow_before, (second > 0) & ~snow_after
        clear = np.abs(second - first) >= 0.1
        if self.absolute:
            # Shaded ground and snow lie near the threshold or above it. What came or went is water where at least
            # half of a patch takes in nearly all light beyond the visible; its rims may be mixed.
            wet_first, wet_second = (open_water(view) for view in self.views)
            sure = (wet_first & ~wet[1]) | (wet_second & ~wet[0])
            clear &= ~self.snow_or_shade & ~self.near_new_snow
            return *wet, indices.mostly(clear & (wet[0] ^ wet[1]), sure)
        return *wet, clear & ~snow_before & ~snow_after

    @cached_property
    def absolute(self) -> bool:
        """Whether both pictures are reflectance with green, red, near infrared and the band at 1.6 um."""
        calibrated = self.before.calibrated and self.after.calibrated
        return calibrated and self.nir is not None and self.has("B03", "B04", "B11")

    @cached_property
    def snow_or_shade(self) -> Mask:
        """Pixels with snow in either picture, or whose light fell in one of them alone; none without reflectance.

        Notes
        -----
        Shade: near infrared and 1.6 um both below ``_SHADE`` of the other picture's, within a factor of 2 of one
        another and green within 3, for skylight is blue. So the ground loses light and keeps its spectral shape. Water
        takes 1.6 um down ten times as far as green; char takes near infrared down and leaves 1.6 um.

        References
        ----------
        Zhu, Woodcock, Remote Sensing of Environment 118 (2012), 83-94: shadow is a fall of near infrared and 1.6 um.
        """
        if not self.absolute:
            return np.zeros(self.before.shape, dtype=bool)
        return self._snow[0] | self._snow[1] | shade(self.before, self.after, self.nir or "")

    @cached_property
    def _snow(self) -> tuple[Mask, Mask]:
        return snow_laden(self.before), snow_laden(self.after)

    @cached_property
    def near_new_snow(self) -> Mask:
        """Windows of 31 px of which a fiftieth has snow, whiter than any water, in one picture alone."""
        white = [snow & (view.brightness > 0.25) for snow, view in zip(self._snow, self.views, strict=True)]
        new = white[0] ^ white[1]
        return indices.box_mean(new.astype(np.float32), 31) > 0.02 if new.any() else new

    @cached_property
    def unlike(self) -> Mask:
        """Where texture says nothing of the ground: a tenth of 15 px in snow, shade or cloud, or new snow within 31 px.

        Thin snow lies in furrows and along hedges, where it draws edges well beyond what is white enough to be told.
        """
        if not self.absolute:
            return np.zeros(self.before.shape, dtype=bool)
        veiled = self.snow_or_shade | ~self.valid
        return self.near_new_snow | (indices.box_mean(veiled.astype(np.float32), 15) > 0.1)

    @cached_property
    def ndvi(self) -> tuple[Plane, Plane] | None:
        """NDVI before and after, smoothed over 3 px against misregistration."""
        if self.nir is None or not self.has("B04"):
            return None
        first, second = (indices.box_mean(view.ratio(self.nir, "B04"), 3) for view in self.views)
        return first, second

    @cached_property
    def edges(self) -> tuple[Plane, Plane]:
        """Clipped gradient of the logarithm of brightness in a 15 px window, before and after; 1 is the tile's median.

        Gradients are clipped at 4 times the median. So the rim of a lake, a field or a burn, which crosses a window as
        one line 3 px wide, brings it to 0.2 x 4 + 0.8 = 1.6 at most, and streets, which fill it, up to 4.
        Gradients after are scaled by up to a factor of 2 to the median before, against haze and Sun. The median is
        taken as 0.01 per px at least: one 8-bit step at a display value of 0.4.
        """
        slopes = []
        for view in self.views:
            down, across = np.gradient(np.log(view.brightness + np.float32(0.05)))
            slopes.append(np.hypot(down, across))
        typical = [max(float(np.median(slope[self.valid])), 0.01) for slope in slopes]
        scale = min(max(typical[0] / typical[1], 0.5), 2.0)
        first, second = (
            indices.box_mean(np.minimum(slope * np.float32(gain / typical[0]), np.float32(4)), 15)
            for slope, gain in zip(slopes, (1.0, scale), strict=True)
        )
        return first, second

    def new_texture(self, times: float = 2.0) -> tuple[Mask, Mask]:
        """Where windows became ``times`` as steep as the tile's usual and as they were themselves; and the reverse."""
        first, second = self.edges
        land = self.valid
        if self.water is not None:
            # Waves, glint and mud are texture too.
            land = land & ~self.water[0] & ~self.water[1]
        usual, least = np.float32(1), np.float32(times)
        rough, plain = second > least * np.maximum(first, usual), first > least * np.maximum(second, usual)
        if self.absolute and self.ndvi is not None:
            # Rims of thin cloud and of its shadow are texture, but the plants below stay green.
            rough, plain = rough & (self.ndvi[1] < 0.4), plain & (self.ndvi[0] < 0.4)
            land = land & ~self.unlike
        return rough & land, plain & land

    def one_way(self, gained: Mask, lost: Mask, least_fraction: float) -> tuple[float, Mask, str]:
        """Strength, mask and direction of a change that must be large enough and mostly in one direction."""
        gained = indices.compact(gained & self.valid, self.config.least_patch_px)
        lost = indices.compact(lost & self.valid, self.config.least_patch_px)
        gain, loss = self.share(gained), self.share(lost)
        mask, direction = (gained, "increase") if gain >= loss else (lost, "decrease")
        large, small = max(gain, loss), min(gain, loss)
        strength = large / least_fraction
        if small > 0:
            strength = min(strength, large / (self.config.dominance * small))
        return strength, mask, direction


def open_water(view: View) -> Mask:
    """Pixels as dark beyond the visible as water is: NIR below 0.15, 1.6 um below 0.08, and MNDWI above NDVI.

    References
    ----------
    Zou et al., "Divergent trends of open-surface water body area in the contiguous United States from 1984 to 2016",
    PNAS 115 (2018), 3810-3815: MNDWI > NDVI tells water from wet or shaded plants.
    """
    nir = view[view.nir or ""]
    dark = (nir < 0.15) & (view["B11"] < 0.08)
    # (a - b) / (a + b) orders as a / b: green / B11 > NIR / red.
    return np.asarray(dark & (view["B03"] * view["B04"] > nir * view["B11"]))


def shade(first: View, second: View, nir: str) -> Mask:
    """Pixels that kept their spectral shape and lost light, in either picture. See ``Scene.snow_or_shade``."""
    least = np.float32(1e-3)
    kept_nir = np.maximum(second[nir], least) / np.maximum(first[nir], least)
    kept_far = np.maximum(second["B11"], least) / np.maximum(first["B11"], least)
    kept_green = np.maximum(second["B03"], least) / np.maximum(first["B03"], least)
    alike = (kept_nir < 2 * kept_far) & (kept_far < 2 * kept_nir)
    fell = (np.maximum(kept_nir, kept_far) < _SHADE) & (kept_green < np.minimum(3 * kept_far, np.float32(0.9)))
    rose = (np.minimum(kept_nir, kept_far) > 1 / _SHADE) & (3 * kept_green > kept_far) & (kept_green > 1 / 0.9)
    return np.asarray(alike & (fell | rose))


def water_index(view: View, valid: Mask) -> tuple[Plane, Mask] | None:
    """Water index less its threshold (positive is water), shape (rows, columns), and the snow in it. [-]

    Notes
    -----
    MNDWI where there is a band at 1.6 um, else NDWI. The threshold is Otsu's where the histogram has two classes (at
    least 0.75 of the variance between them) and lies between -0.1 and 0.3 (display values: -0.3 and 0.3, for they have
    no absolute scale), else zero, the authors' own. Visible bands
    alone: dark (below 0.3 of the display range), smooth, and blue no less than red; turbid water is missed there.

    References
    ----------
    McFeeters, International Journal of Remote Sensing 17 (1996), 1425-1432 (NDWI). Xu, same journal 27 (2006),
    3025-3033 (MNDWI). Ji, Zhang, Wylie, Photogrammetric Engineering and Remote Sensing 75 (2009), 1307-1317: the
    threshold shifts with the mixture of the pixel.
    """
    snow = np.zeros(view.shape, dtype=bool)
    if view.has("B03", "B11"):
        index = view.ratio("B03", "B11")
        # Snow has the same index, but no water is as bright, however turbid.
        snow = snow_mask(view) & (view.brightness > 0.3)
    elif view.has("B03") and view.nir is not None:
        index = view.ratio("B03", view.nir)
    elif view.rgb:
        smooth = indices.local_deviation(view.brightness, 5) < 0.02
        wet = smooth & (view.brightness < 0.3) & (view["B02"] >= view["B04"])
        return np.where(wet & (indices.excess_green(view) < 0.05), np.float32(0.5), np.float32(-0.5)), snow
    else:
        return None
    threshold, explained = indices.otsu(index[valid & ~snow])
    if explained < 0.75 or not (-0.1 if view.calibrated else -0.3) <= threshold <= 0.3:
        threshold = 0.0
    return indices.box_mean(index, 3) - np.float32(threshold), snow
