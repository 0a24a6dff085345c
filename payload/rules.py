"""The seven questions as rules on bands: which pixels changed, how far beyond the limit, and the verdict's fields.

A rule gives a ``Finding``, or None where the bands at hand allow no answer. Its ``strength`` is the least ratio of a
measured quantity to its limit: 1 and above is an event.

The limits come from the literature named at each rule and from physics. They were set by people
who had seen the development set (the real pairs that the figures in ``profiles/spectral.json`` are about), and these
were changed after a look at its answers: the gate's test that cloud is no redder than blue (a playa), the brightness
of snow in display pictures, no answer about built things in single-band pictures, water left out of texture, and the
measure of texture itself. So those figures flatter; no numeric limit was fitted to a case.

What holds for reflectance alone (``Scene.absolute``: snow, shade, thin cloud, harvest) was written after a look at
pairs of the generated world's training regions. Of the real pairs one has such bands, so these limits come from physics
and from generated pictures; real ones have hardly tested them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import indices
from .indices import Mask, Plane, View
from .prefilter import snow_mask
from .scene import Finding, Scene, open_water


def by_share(share: float) -> str:
    """Severity by the share of the tile: below 5 % low, below 20 % moderate, else severe (engineering values)."""
    return "low" if share < 0.05 else "moderate" if share < 0.2 else "severe"


# -------------------------------------------------------------------- water


def _water_change(scene: Scene, least_fraction: float) -> Finding | None:
    if scene.water is None:
        return None
    before, after, clear = scene.water
    strength, mask, direction = scene.one_way(after & ~before & clear, before & ~after & clear, least_fraction)
    return Finding(
        strength,
        mask,
        direction,
        by_share(scene.share(mask)),
        {
            "water_fraction_before": round(scene.share(before), 4),
            "water_fraction_after": round(scene.share(after), 4),
        },
    )


def flood_extent(scene: Scene) -> Finding | None:
    """Dry land that became water, or the reverse."""
    return _water_change(scene, scene.config.flood_fraction)


def wetland_change(scene: Scene) -> Finding | None:
    """Water bodies that grew or shrank. One pair does not tell this from a flood, so the rule is the same."""
    return _water_change(scene, scene.config.wetland_fraction)


# -------------------------------------------------------------------- ice


def ice_extent(scene: Scene) -> Finding | None:
    """Ice and snow gained or lost: NDSI where there is a band at 1.6 um, else the brightness of a single band.

    Notes
    -----
    Reflectance: not the snow of a season, see ``_lasting_ice``. Single visible band: after smoothing over 9 px each
    picture is split into dark and bright by Otsu's threshold on itself, so that illumination drops out; ice and
    melange are bright, water and rock dark. Not seen: a front between glacier and melange of like brightness. Red,
    green and blue without more do not tell ice from cloud: no answer.
    """
    least = scene.config.ice_fraction
    if scene.has("B03", "B11"):
        before, after = (snow_mask(view) for view in scene.views)
        gained, lost = after & ~before, before & ~after
        if scene.absolute:
            gained, lost = _lasting_ice(scene, before & after, gained, lost)
        strength, mask, direction = scene.one_way(gained, lost, least)
        return _ice(scene, strength, mask, direction, before, after)
    if len(scene.before.planes) == len(scene.after.planes) == 1:
        smooth = [indices.box_mean(view.brightness, 9) for view in scene.views]
        cuts = [indices.otsu(plane[scene.valid])[0] for plane in smooth]
        before, after = smooth[0] > cuts[0], smooth[1] > cuts[1]
        # What sits near the threshold in either picture says nothing.
        spread = [0.25 * indices.robust_spread(plane[scene.valid])[1] for plane in smooth]
        clear = (np.abs(smooth[0] - cuts[0]) > spread[0]) & (np.abs(smooth[1] - cuts[1]) > spread[1])
        strength, mask, direction = scene.one_way(after & ~before & clear, before & ~after & clear, least)
        return _ice(scene, strength, mask, direction, before, after)
    return None


def _lasting_ice(scene: Scene, lasting: Mask, gained: Mask, lost: Mask) -> tuple[Mask, Mask]:
    """What of the ice gained and lost is no snow that comes and goes with the season.

    Notes
    -----
    Counted are ice that replaced open water or gave way to it (NDSI above 0.6, for cloud over water reaches 0.4), and
    on land a change that is nearly all one patch, at more ice that stayed: a glacier's front. Snow comes in many.
    """
    first, second = scene.views
    bright = [view["B03"] > 4 * view["B11"] for view in scene.views]
    on_water = [
        indices.mostly(gained, open_water(first) & bright[1]),
        indices.mostly(lost, open_water(second) & bright[0]),
    ]
    on_land = indices.compact((gained & ~on_water[0]) | (lost & ~on_water[1]), scene.config.least_patch_px)
    front = indices.largest_patch(on_land)
    size = np.count_nonzero(front)
    one_front = 0.8 * np.count_nonzero(on_land) <= size <= np.count_nonzero(lasting)
    if one_front and (indices.grown(front) & lasting).any():
        return on_water[0] | (gained & front), on_water[1] | (lost & front)
    return on_water[0], on_water[1]


def _ice(scene: Scene, strength: float, mask: Mask, direction: str, before: Mask, after: Mask) -> Finding:
    fields = {
        "ice_fraction_before": round(scene.share(before), 4),
        "ice_fraction_after": round(scene.share(after), 4),
    }
    return Finding(strength, mask, direction, by_share(scene.share(mask)), fields)


# -------------------------------------------------------------------- heat


def hot_mask(view: View) -> Mask | None:
    """Pixels that radiate at 2.2 um, shape (rows, columns); None without B12 and a near-infrared band.

    Notes
    -----
    HOTMAP: alpha, B12/B11 >= 1.4, B12/NIR >= 1.4 and B12 >= 0.15; beta, B11/NIR >= 2, B11 >= 0.5 and B12 >= 0.5,
    which catches pixels so hot that B12 saturates. Without B11 red stands in (a glowing pixel exceeds it as well).
    Display values have no absolute scale: there B12 must reach half of the range.

    References
    ----------
    Murphy, de Souza Filho, Wright, Sabatino, Correa Pabon, "HOTMAP: Global hot target detection at moderate spatial
    resolution", Remote Sensing of Environment 177 (2016), 78-88.
    """
    nir = view.nir
    if nir is None or not view.has("B12"):
        return None
    far = view["B12"]
    floor = 0.15 if view.calibrated else 0.5
    near = view["B11"] if view.has("B11") else view["B04"] if view.has("B04") else view[nir]
    found = (far >= 1.4 * near) & (far >= 1.4 * view[nir]) & (far >= floor)
    if view.has("B11"):
        found |= (view["B11"] >= 2 * view[nir]) & (view["B11"] >= 0.5) & (far >= 0.5)
    return np.asarray(found)


def thermal_hotspot(scene: Scene) -> Finding | None:
    """Hot pixels that appeared or went out."""
    first, second = hot_mask(scene.before), hot_mask(scene.after)
    if first is None or second is None:
        return None
    first, second = first & scene.valid, second & scene.valid
    new, gone = indices.large_patches(second & ~first, 2), indices.large_patches(first & ~second, 2)
    mask, direction = (new, "increase") if new.sum() >= gone.sum() else (gone, "decrease")
    count = int(mask.sum())
    # 100 pixels of 20 m are 4 ha: a lava flow or a large fire front.
    severity = "low" if count < 25 else "moderate" if count < 100 else "severe"
    fields = {"hot_pixels": int(second.sum()), "hot_pixels_before": int(first.sum())}
    return Finding(count / scene.config.hot_pixels, mask, direction, severity, fields)


# -------------------------------------------------------------------- vegetation


def vegetation_stress(scene: Scene) -> Finding | None:
    """Vegetation lost in compact patches beyond the change of the whole tile.

    Notes
    -----
    With near infrared: NDVI above 0.3 before, falling by ``ndvi_drop`` and by 2.5 robust deviations more than the
    median of the tile's vegetation; or a burn by dNBR less the tile's offset. A tile that greens as a whole makes no
    stress of what did not; in reflectance fields and thin cloud are left out. Visible bands only: the same on
    chromatic excess green (0.05 to be green, a fall of 0.06), and only where the place did not get brighter, for
    harvest and autumn brighten and char does not; clearing, and burns of conifers as dark as char, are missed there.

    References
    ----------
    Tucker, Remote Sensing of Environment 8 (1979), 127-150 (NDVI). Key, Benson, "Landscape Assessment", USDA Forest
    Service RMRS-GTR-164-CD (2006), table LA-2: dNBR classes 0.27, 0.44, 0.66, and the offset of unburned ground.
    """
    if scene.ndvi is not None:
        return _ndvi_loss(scene)
    if scene.before.rgb and scene.after.rgb:
        return _green_loss(scene)
    return None


def _beyond(change: Plane, base: Mask) -> tuple[Plane, float]:
    """Change less the loss of the tile as a whole, and the fall that stands out of its spread. [same as change]"""
    middle, spread = indices.robust_spread(change[base])
    return change - np.float32(min(middle, 0.0)), 2.5 * spread


def _ndvi_loss(scene: Scene) -> Finding | None:
    if scene.ndvi is None or scene.nir is None:
        return None
    config, (first, second) = scene.config, scene.ndvi
    green = (first > 0.3) & scene.valid & ~scene.snow_or_shade
    if scene.water is not None:
        green &= ~scene.water[1]
    fall, spread = _beyond(second - first, green)
    lost = green & (fall < -max(config.ndvi_drop, spread))
    burn: Plane | None = None
    if scene.has("B12"):
        ratio = [indices.box_mean(view.ratio(scene.nir, "B12"), 3) for view in scene.views]
        change, spread = _beyond(ratio[1] - ratio[0], green)
        burn = -change
        lost |= green & (burn > max(config.dnbr, spread))
    if scene.absolute:
        lost = _without_harvest(scene, lost)
    mask = indices.compact(lost, config.least_patch_px)
    share = scene.share(mask)
    fields: dict[str, Any] = {}
    severity = by_share(share)
    if mask.any():
        fields["ndvi_change"] = _rounded(fall[mask], 2)
        if burn is not None:
            depth = _rounded(burn[mask], 2)
            fields |= {"dnbr": depth, "burned": depth > config.dnbr}
            if fields["burned"]:
                severity = "low" if depth < 0.44 else "moderate" if depth < 0.66 else "severe"
    return Finding(share / config.vegetation_fraction, mask, "decrease", severity, fields)


def _without_harvest(scene: Scene, lost: Mask) -> Mask:
    """The falls of NDVI that are neither a field's year nor thin cloud; needs reflectance.

    Notes
    -----
    Ripe and ploughed fields brighten in the visible (here by 0.02) or keep half of their near infrared; char does
    neither. A felled forest brightens as well, so what was as dark as a closed canopy before (0.04 in the visible, 0.2
    at 1.6 um) still counts, unless more of the tile brightens that was no forest: then it is the season of fields,
    some of them dark. Thin cloud adds as much blue as red and takes no near infrared; bare soil adds more red.

    References
    ----------
    Huang et al., "An automated approach for reconstructing recent forest disturbance history using dense Landsat time
    series stacks", Remote Sensing of Environment 114 (2010), 183-198: closed forest is the darkest land of a scene.
    """
    first, second = scene.views
    nir = scene.nir or ""
    canopy = (first.brightness < 0.04) & (first["B11"] < 0.2)
    brighter = indices.box_mean(second.brightness - first.brightness, 3) > 0.02
    field = ~canopy & (brighter | (second[nir] > 0.55 * first[nir]))
    felled = lost & canopy & brighter
    if np.count_nonzero(lost & field) > np.count_nonzero(felled):
        field |= felled
    if scene.has("B02"):
        veil = second["B04"] - first["B04"] < 1.2 * (second["B02"] - first["B02"])
        field |= veil & brighter & (7 * second[nir] > 6 * first[nir])
    return np.asarray(lost & ~field)


def _green_loss(scene: Scene) -> Finding:
    config = scene.config
    first, second = (indices.box_mean(indices.excess_green(view), 3) for view in scene.views)
    green = (first > 0.05) & scene.valid
    fall, spread = _beyond(second - first, green)
    light = indices.match_brightness(scene.before.brightness, scene.after.brightness, scene.valid)
    # "Dark, if not darker" finds burnt conifers too, but then also a fifth of the autumn slices of the real pairs.
    darker = indices.box_mean(light - scene.before.brightness, 3) <= 0
    mask = indices.compact(green & darker & (fall < -max(0.06, spread)), config.least_patch_px)
    share = scene.share(mask)
    fields = {"greenness_change": _rounded(fall[mask], 3), "burned": True} if mask.any() else {}
    return Finding(share / config.vegetation_fraction, mask, "decrease", by_share(share), fields)


# -------------------------------------------------------------------- built things


def construction_progress(scene: Scene) -> Finding | None:
    """Fresh bare, bright ground where plants grew, or new edges where it was plain.

    Notes
    -----
    Bare ground (needs B02, B04, NIR, B11): the bare soil index rises by 0.1 beyond the tile, NDVI ends below 0.3 and
    falls by 0.15, and the place is half as bright again as before and brighter than 0.08 in the visible (soil is
    three times as bright as plants, char is not), and no water. A ploughed field does the same; in reflectance patches
    without edges of their own are dropped, in display pictures it is not told apart. Structures: dense edges where
    there were few (``Scene.new_texture``); the reverse is a decrease.

    References
    ----------
    Rikimaru, Roy, Miyatake, "Tropical forest cover density mapping", Tropical Ecology 43 (2002), 39-47: bare soil
    index.
    """
    least = scene.config.structure_fraction
    if scene.nir is None and not scene.has("B02", "B03", "B04"):
        return None
    strength, mask, direction = scene.one_way(*scene.new_texture(), least)
    best = Finding(strength, mask, direction, by_share(scene.share(mask)), {"kind": "structures"})
    if scene.nir is not None and scene.has("B02", "B04", "B11") and scene.ndvi is not None:
        first, second = (bare_soil_index(view, scene.nir or "") for view in scene.views)
        rise = indices.box_mean(second - first, 3)
        rise = rise - np.float32(np.median(rise[scene.valid]))
        before, after = scene.ndvi
        light = scene.after.brightness > 1.5 * scene.before.brightness
        if scene.after.calibrated:
            light &= scene.after.brightness > 0.08
        bare = (rise > 0.1) & (after < 0.3) & (after - before < -0.15) & light & scene.valid & ~scene.unlike
        if scene.water is not None:
            bare &= ~scene.water[1]
        ground = indices.compact(bare, scene.config.least_patch_px)
        if scene.absolute:
            # A ploughed field is as plain as the crop was; roads, benches and heaps are not.
            ground = indices.mostly(ground, scene.edges[1] > 1.1 * np.maximum(scene.edges[0], 0.9))
        share = scene.share(ground)
        if share / least > best.strength:
            best = Finding(share / least, ground, "increase", by_share(share), {"kind": "bare_ground"})
    if best.mask.any():
        was = float(scene.before.brightness[best.mask].mean())
        gain = float(scene.after.brightness[best.mask].mean()) / max(was, 1e-3) - 1
        best.fields["brightness_change"] = round(min(max(gain, -1.0), 10.0), 3)
    return best


def bare_soil_index(view: View, nir: str) -> Plane:
    """((B11 + B04) - (NIR + B02)) / sum of the four. [-]"""
    return indices.normalised_difference(view["B11"] + view["B04"], view[nir] + view["B02"])


def urban_delta(scene: Scene) -> Finding | None:
    """Built-up area gained or lost: built-up spectrum and fine texture; texture alone without a band at 1.6 um.

    Notes
    -----
    Built-up: NDBI above NDVI, no water, and edge density above the median of the picture's land. Display values have
    no absolute scale, so there one Otsu threshold on NDBI - NDVI of both pictures together replaces zero. Reflectance
    with these bands asks for new texture and a rise of NDBI - NDVI at once instead. Texture alone: as for
    construction_progress, and not where plants cover the ground afterwards.

    References
    ----------
    Zha, Gao, Ni, "Use of normalized difference built-up index in automatically mapping urban areas from TM imagery",
    International Journal of Remote Sensing 24 (2003), 583-594.
    """
    least = scene.config.urban_fraction
    if scene.nir is None and not scene.has("B02", "B03", "B04"):
        return None
    if scene.ndvi is None or scene.nir is None or not scene.has("B11"):
        rough, plain = scene.new_texture()
        if scene.before.rgb and scene.after.rgb:
            rough = rough & (indices.excess_green(scene.after) < 0.05)
            plain = plain & (indices.excess_green(scene.before) < 0.05)
        strength, mask, direction = scene.one_way(rough, plain, least)
        return Finding(strength, mask, direction, by_share(scene.share(mask)))
    wet = scene.water[:2] if scene.water is not None else (~scene.valid, ~scene.valid)
    built = [
        indices.box_mean(view.ratio("B11", scene.nir), 3) - ndvi
        for view, ndvi in zip(scene.views, scene.ndvi, strict=True)
    ]
    threshold = 0.0
    if not scene.before.calibrated:
        threshold = indices.otsu(np.concatenate([plane[scene.valid] for plane in built]))[0]
    masks = []
    for plane, edge, water in zip(built, scene.edges, wet, strict=True):
        land = scene.valid & ~water & ~scene.unlike
        rough = edge > float(np.median(edge[land])) if land.any() else land
        masks.append((plane > threshold) & rough & land)
    gained, lost = masks[1] & ~masks[0], masks[0] & ~masks[1]
    if scene.absolute:
        gained, lost = _new_quarters(scene, built)
    strength, mask, direction = scene.one_way(gained, lost, least)
    fields = {
        "built_fraction_before": round(scene.share(masks[0]), 4),
        "built_fraction_after": round(scene.share(masks[1]), 4),
    }
    return Finding(strength, mask, direction, by_share(scene.share(mask)), fields)


def _new_quarters(scene: Scene, built: Sequence[Plane]) -> tuple[Mask, Mask]:
    """New texture whose built-up index rose by 0.1 as well, and the reverse.

    Bright rock and sand have the index of a town, and a slope in another light may gain texture; few gain both.
    Houses among gardens stay below the index's limit of zero: at 10 m half a pixel is green.
    """
    rough, plain = scene.new_texture(1.75)
    rise = indices.box_mean(built[1] - built[0], 5)
    return rough & (rise > 0.1) & (built[1] > -0.4), plain & (rise < -0.1) & (built[0] > -0.4)


def _rounded(values: Any, limit: float) -> float:
    return round(float(np.clip(np.mean(values), -limit, limit)), 4)


RULES: dict[str, Callable[[Scene], Finding | None]] = {
    "construction_progress": construction_progress,
    "flood_extent": flood_extent,
    "ice_extent": ice_extent,
    "thermal_hotspot": thermal_hotspot,
    "urban_delta": urban_delta,
    "vegetation_stress": vegetation_stress,
    "wetland_change": wetland_change,
}
