"""The map: land, ground track, areas with what was found and missed in them, stations. Equirectangular, in degrees."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import markup
from .material import Material

#: Degrees of longitude a pixel that the map is drawn for without its script.
_DEG_PER_PX = 0.36
#: Radius of the disc of an area, for a few and for many events. [px]
_SMALL_PX, _LARGE_PX = 4.0, 11.0


@lru_cache(maxsize=1)
def land_path() -> str:
    """Outline of the land as an SVG path in degrees, latitude downwards (Natural Earth, simplified)."""
    text = (resources.files(__package__) / "land.json").read_text(encoding="utf-8")
    return str(json.loads(text)["path"])


def map_view(material: Material) -> tuple[float, float, float, float]:
    """The part of the world that is shown at first: west edge, north edge, width, height. [deg]"""
    lats = [*material.tiles["lat_deg"].tolist(), *(lat for _, lat, _ in material.stations)]
    known = [lat for lat in lats if math.isfinite(lat)]
    south, north = min([-58.0, *(lat - 6 for lat in known)]), max([78.0, *(lat + 6 for lat in known)])
    south, north = max(-90.0, south), min(90.0, north)
    return -180.0, -north, 360.0, north - south


def tile_outcomes(material: Material) -> dict[str, NDArray[np.bool_]]:
    """For each tile whether a true event was found, missed, or a false one believed; shape (n,) each."""
    positive = material.questions["changed"] & material.questions["labelled"]
    found = positive & material.questions["believed"]
    parts = {"found": found, "missed": material.missed >= 0, "alarm": material.alarms >= 0}
    return {name: np.asarray(part.any(axis=1)) for name, part in parts.items()}


def world_map(material: Material) -> str:
    """The map with its player, as markup."""
    west, north, width, height = map_view(material)
    parts = [
        f"<rect class='sea' x='{west:g}' y='{north:g}' width='{width:g}' height='{height:g}'/>",
        f"<path class='land' fill-rule='evenodd' d='{land_path()}'/>",
        f"<path class='grid' d='{_graticule(north, height)}'/>",
        "<g id='track'></g>",
        f"<g id='tile-marks'>{_dots(material)}</g>",
        f"<g id='areas'>{_areas(material)}</g>",
        f"<g id='stations'>{_stations(material)}</g>",
        "<g id='craft'></g>",
    ]
    words = _words(material)
    svg = (
        f"<svg id='map-svg' viewBox='{west:g} {north:g} {width:g} {height:g}' xmlns='http://www.w3.org/2000/svg' "
        f"role='img' aria-label='{escape(words)}'><title>{escape(words)}</title>{''.join(parts)}</svg>"
    )
    player = (
        "<div class='scripted player' role='group' aria-label='Play through time'>"
        "<button type='button' id='play' aria-pressed='false'>▶ Play</button>"
        "<input type='range' id='time' min='0' max='1000' step='1' value='1000' aria-label='Time of the run'>"
        "<label>speed <select id='speed'><option value='1'>1×</option><option value='3'>3×</option>"
        "<option value='10'>10×</option></select></label>"
        "<output id='clock' aria-live='off'></output></div>"
        "<p class='scripted ticker' id='ticker'></p>"
        "<p class='scripted controls'><button type='button' data-map='in'>Zoom in</button> "
        "<button type='button' data-map='out'>Zoom out</button> "
        "<button type='button' data-map='reset'>Whole world</button> "
        "<output id='map-hover' aria-live='off'></output></p>"
    )
    legend = (
        "<ul class='legend'>"
        + "".join(f"<li>{_key(kind)} {label}</li>" for kind, label in _LEGEND)
        + "<li><svg viewBox='-8 -8 16 16' aria-hidden='true'><path class='station' d='M0,-6L6,5H-6Z'/></svg> "
        "station</li></ul>"
    )
    caption = (
        "Each disc is an area: its size tells how many events it has, its slices how they ended. Zoomed in, every tile "
        "is a mark of its own, several visits side by side. Play moves the spacecraft; a tile appears when it is "
        "imaged, hollow until it is down, and a line is a contact."
    )
    hint = (
        "<p class='scripted hint'>Drag moves the map; with it chosen, the wheel or + and − zoom, arrows move, 0 shows "
        "the world, space plays. A click on an area shows its tiles.</p>"
    )
    gaps = "".join(f"<p class='note'>{escape(gap)}</p>" for gap in material.gaps)
    return (
        f"<figure id='map'><div class='map' tabindex='0' role='group' aria-label='Map of tiles, stations and contacts'>"
        f"{svg}</div>{player}{legend}<figcaption>{markup.explained(caption)}{hint}</figcaption></figure>{gaps}"
        + markup.source("tiles.parquet", "verdicts.parquet", "contacts.parquet", "orbit and stations of scenario.yaml")
    )


_LEGEND = (
    ("found", "true event known on the ground"), ("missed", "true event missed"), ("alarm", "false alarm"),
    ("quiet", "nothing there, nothing believed"),
)  # fmt: skip
#: Shapes in a square of side 2 around the origin, the same as the script draws.
SHAPES: Mapping[str, str] = {
    "found": "M-1,0A1,1 0 1 1 1,0A1,1 0 1 1 -1,0Z",
    "missed": "M-1,-.55L-.55,-1L0,-.45L.55,-1L1,-.55L.45,0L1,.55L.55,1L0,.45L-.55,1L-1,.55L-.45,0Z",
    "alarm": "M0,-1L1,.8H-1Z",
    "quiet": "M-.6,-.6H.6V.6H-.6Z",
}


def _key(kind: str) -> str:
    mark = f"<path class='{kind}' transform='scale(6)' d='{SHAPES[kind]}'/>"
    return f"<svg viewBox='-8 -8 16 16' aria-hidden='true'>{mark}</svg>"


def shape_key(kind: str) -> str:
    """A small picture of the mark of an outcome: ``found``, ``missed``, ``alarm`` or ``quiet``."""
    return _key(kind)


def _graticule(north: float, height: float) -> str:
    lines = [f"M{lon},{north:g}v{height:g}" for lon in range(-150, 180, 30)]
    return "".join([*lines, *(f"M-180,{-lat}h360" for lat in range(-60, 90, 30))])


def _dots(material: Material) -> str:
    """Tiles outside of areas, as dots of constant size; those in areas are told by the area's disc."""
    alone = material.tiles["area"] == ""
    if not alone.any():
        return ""
    outcomes = tile_outcomes(material)
    lat, lon = material.tiles["lat_deg"], material.tiles["lon_deg"]
    drawn, parts = np.zeros(len(alone), dtype=bool), []
    for kind in ("missed", "alarm", "found"):
        rows = np.flatnonzero(alone & outcomes[kind] & ~drawn & np.isfinite(lat))
        drawn[rows] = True
        path = "".join(f"M{lon[k]:.2f},{-lat[k]:.2f}h0" for k in rows.tolist())
        parts.append(f"<path class='dots {kind}' d='{path}'/>")
    return "".join(parts)


def _areas(material: Material) -> str:
    tiles, questions = material.tiles, material.questions
    positive = questions["changed"] & questions["labelled"]
    found = (positive & questions["believed"]).sum(axis=1)
    missed, alarms = (material.missed >= 0).sum(axis=1), (material.alarms >= 0).sum(axis=1)
    names = sorted(set(tiles["area"].tolist()) - {""})
    most = max([1, *(int(positive[tiles["area"] == name].sum()) for name in names)])
    parts = []
    for name in names:
        rows = tiles["area"] == name
        lat, lon = float(np.nanmean(tiles["lat_deg"][rows])), float(np.nanmean(tiles["lon_deg"][rows]))
        if not math.isfinite(lat):
            continue
        counts = {"found": int(found[rows].sum()), "missed": int(missed[rows].sum()), "alarm": int(alarms[rows].sum())}
        words = (
            f"{name}: {int(rows.sum())} tiles, {counts['found']} events found, {counts['missed']} missed, "
            f"{counts['alarm']} false alarms"
        )
        share = math.sqrt((counts["found"] + counts["missed"]) / most)
        radius = _SMALL_PX + (_LARGE_PX - _SMALL_PX) * share
        parts.append(
            f"<g class='area' data-area='{escape(name)}' data-lon='{lon:.4f}' data-lat='{lat:.4f}' "
            f"transform='translate({lon:.4f},{-lat:.4f}) scale({_DEG_PER_PX})'><title>{escape(words)}</title>"
            f"{pie(counts, radius)}</g>"
        )
    return "".join(parts)


def pie(counts: Mapping[str, int], radius: float) -> str:
    """A disc in slices of ``found``, ``missed`` and ``alarm``; a hollow ring where there is nothing."""
    total = sum(counts.values())
    if not total:
        return f"<circle class='ring' r='{_SMALL_PX:g}'/>"
    parts, angle = [], 0.0
    for kind in ("found", "missed", "alarm"):
        share = counts[kind] / total
        if share >= 1.0:
            parts.append(f"<circle class='{kind}' r='{radius:.1f}'/>")
        elif share > 0.0:
            ends = [(radius * math.sin(a), -radius * math.cos(a)) for a in (angle, angle + 2 * math.pi * share)]
            (x1, y1), (x2, y2) = ends
            large = int(share > 0.5)
            parts.append(
                f"<path class='{kind}' d='M0,0L{x1:.2f},{y1:.2f}A{radius:.2f},{radius:.2f} 0 {large} 1 "
                f"{x2:.2f},{y2:.2f}Z'/>"
            )
            angle += 2 * math.pi * share
    return "".join(parts)


def _stations(material: Material) -> str:
    used = material.contacts["station"][material.contacts["booked"].astype(bool)]
    parts = []
    for name, lat, lon in material.stations:
        count = int(np.count_nonzero(used == name))
        parts.append(
            f"<g class='station' data-station='{escape(name)}' data-lon='{lon:.4f}' data-lat='{lat:.4f}' "
            f"transform='translate({lon:.4f},{-lat:.4f}) scale({_DEG_PER_PX})'>"
            f"<title>{escape(name)}: {count} booked contacts</title><path d='M0,-6L6,5H-6Z'/>"
            f"<text x='9' y='5'>{escape(name)}</text></g>"
        )
    return "".join(parts)


def _words(material: Material) -> str:
    outcomes = tile_outcomes(material)
    areas = len(set(material.tiles["area"].tolist()) - {""})
    return (
        f"Map of {len(material.tiles['tile_id']):,} tiles in {areas} areas: {int(outcomes['found'].sum()):,} tiles "
        f"with events found, {int(outcomes['missed'].sum()):,} with events missed, "
        f"{int(outcomes['alarm'].sum()):,} with false alarms; {len(material.stations)} stations."
    )


def track_data(material: Material) -> list[dict[str, Any]]:
    """Ground tracks for the script: tenths of a degree, each the step from the one before."""
    found = []
    for track in material.tracks:
        lat, lon = np.round(10 * track.lat_deg).astype(int), np.round(10 * track.lon_deg).astype(int)
        steps = [np.diff(values, prepend=0).tolist() for values in (lat, lon)]
        found.append({"name": track.spacecraft, "step_s": track.step_s, "lat": steps[0], "lon": steps[1]})
    return found


__all__ = ["SHAPES", "land_path", "map_view", "pie", "shape_key", "tile_outcomes", "track_data", "world_map"]
