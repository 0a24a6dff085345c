"""The tiles: a table that stands without a script, and the data with which the script filters, sorts and plays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import causes
from ..units import bytes_text, duration_text
from . import markup
from .cards import moment, words_of
from .material import Material
from .timeline import timeline_data
from .world_map import SHAPES, map_view, tile_outcomes, track_data

#: Tiles that the page carries; those that tell something come first, the rest stay in tiles.parquet. [-]
MAX_TILES = 20_000
#: Rows of the table without a script. [-]
_STATIC_ROWS = 40


def shown_tiles(material: Material, limit: int = MAX_TILES) -> NDArray[np.int64]:
    """Rows of the tiles that the page carries, in the order of the plan."""
    n = len(material.tiles["tile_id"])
    if n <= limit:
        return np.arange(n)
    outcomes = tile_outcomes(material)
    telling = outcomes["missed"] | outcomes["alarm"] | outcomes["found"]
    order = np.lexsort((np.arange(n), ~telling))
    return np.sort(order[:limit])


def filters(material: Material) -> str:
    """The controls that choose tiles in the map, the table and the gallery."""

    def choices(name: str, label: str, values: Sequence[tuple[str, str]]) -> str:
        options = "".join(f"<option value='{escape(value)}'>{escape(text)}</option>" for value, text in values)
        return f"<label>{label} <select id='f-{name}'><option value=''>all</option>{options}</select></label>"

    areas = sorted(set(material.tiles["area"].tolist()) - {""})
    actions = sorted(set(material.tiles["action"].tolist()))
    found = [
        (str(cause), causes.MISS_TEXTS[cause][0])
        for k, cause in enumerate(causes.MISS_CAUSES)
        if (material.missed == k).any()
    ]
    false = [
        (str(cause), causes.ALARM_TEXTS[cause][0])
        for k, cause in enumerate(causes.ALARM_CAUSES)
        if (material.alarms == k).any()
    ]
    return (
        "<form class='filters scripted' aria-label='Filter tiles'>"
        + choices(
            "outcome", "outcome",
            [("missed", "event missed"), ("found", "event found"), ("alarm", "false alarm"), ("quiet", "quiet")],
        )
        + choices("cause", "cause", [*found, *false])
        + choices("schema", "schema", [(schema, words_of(schema)) for schema in material.schemas])
        + choices("area", "area", [(area, area) for area in areas])
        + choices("action", "sent", [(action, words_of(action)) for action in actions])
        + "<button type='button' id='clear'>Show all</button> <output id='count' aria-live='polite'></output></form>"
    )  # fmt: skip


def tile_table(material: Material) -> str:
    """The first rows of the table; the script puts all tiles in its place, page by page."""
    tiles = material.tiles
    outcomes = tile_outcomes(material)
    telling = np.flatnonzero(outcomes["missed"] | outcomes["alarm"] | outcomes["found"])
    rows = [_row(material, int(k)) for k in telling[:_STATIC_ROWS]]
    carried, n = len(shown_tiles(material)), len(tiles["tile_id"])
    said = f"{n:,} tiles"
    if carried < n:
        said += f"; this page carries {carried:,} of them, those with events first, and tiles.parquet all"
    first = f"<p class='static note'>Without its script the page shows {len(rows)} of the tiles with an event.</p>"
    head = ("tile", "area", "imaged", "outcome", "why", "sent", "state", "radiated", "down after")
    return (
        f"<p class='note'>{escape(said)}.</p>{first}"
        + markup.table(head, rows, text_columns=7, name="tile-table", caption="Tiles of this run")
        + "<p class='scripted controls' id='pager'><button type='button' data-page='-1'>Previous</button> "
        "<output id='page' aria-live='polite'></output> <button type='button' data-page='1'>Next</button></p>"
        + markup.source("tiles.parquet", "verdicts.parquet")
    )


def _row(material: Material, row: int) -> list[str]:
    tiles, questions = material.tiles, material.questions
    told, why = [], []
    for column, schema in enumerate(material.schemas):
        name = words_of(schema)
        if material.missed[row, column] >= 0:
            told.append(f"missed {name}")
            why.append(causes.MISS_TEXTS[causes.MISS_CAUSES[material.missed[row, column]]][0])
        elif material.alarms[row, column] >= 0:
            told.append(f"false {name}")
            why.append(causes.ALARM_TEXTS[causes.ALARM_CAUSES[material.alarms[row, column]]][0])
        elif questions["changed"][row, column] and questions["labelled"][row, column]:
            told.append(f"found {name}")
    waited = float(tiles["delivered_s"][row] - tiles["captured_s"][row])
    return [
        str(tiles["tile_id"][row]), str(tiles["area"][row]), moment(material, float(tiles["captured_s"][row])),
        ", ".join(told), ", ".join(dict.fromkeys(why)), str(tiles["action"][row]), words_of(str(tiles["state"][row])),
        bytes_text(float(tiles["air_bytes"][row])), duration_text(waited) if np.isfinite(waited) else "never",
    ]  # fmt: skip


def page_data(material: Material) -> str:
    """All that the script works with, as JSON that may stand inside of a page."""
    rows = shown_tiles(material)
    tiles = material.tiles
    area_names, area = _coded(tiles["area"][rows])
    action_names, action = _coded(tiles["action"][rows])
    state_names, state = _coded(tiles["state"][rows])
    reason_names, reason = _coded(tiles["reason"][rows])
    delivered = tiles["delivered_s"][rows]
    camera = material.scenario.craft[0].camera if material.scenario is not None else None
    tile_km = camera.tile_px * camera.gsd_m / 1000.0 if camera is not None else 1.0
    data: dict[str, Any] = {
        "start_ms": None if material.start is None else round(material.start.timestamp() * 1000),
        "horizon_s": material.horizon_s,
        "view": [round(side, 3) for side in map_view(material)],
        "tile_km": round(tile_km, 4),
        "shapes": dict(SHAPES),
        "schemas": [words_of(schema) for schema in material.schemas],
        "schema_ids": list(material.schemas),
        "areas": area_names, "actions": action_names, "states": state_names, "reasons": reason_names,
        "miss": [[str(cause), *causes.MISS_TEXTS[cause]] for cause in causes.MISS_CAUSES],
        "alarm": [[str(cause), *causes.ALARM_TEXTS[cause]] for cause in causes.ALARM_CAUSES],
        "tiles": {
            "id": tiles["tile_id"][rows].tolist(),
            "t": np.round(tiles["captured_s"][rows]).astype(int).tolist(),
            "d": [round(value) if np.isfinite(value) else None for value in delivered.tolist()],
            "lat": _rounded(tiles["lat_deg"][rows], 4), "lon": _rounded(tiles["lon_deg"][rows], 4),
            "area": area, "action": action, "state": state, "reason": reason,
            "air": np.round(tiles["air_bytes"][rows]).astype(int).tolist(),
        },
        "questions": _questions(material, rows),
        "contacts": _contacts(material),
        "stations": [[name, round(lat, 4), round(lon, 4)] for name, lat, lon in material.stations],
        "tracks": track_data(material),
        "lanes": timeline_data(material),
    }  # fmt: skip
    # "</script>" inside of a text would end the element; "<!--" would hide what follows.
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _questions(material: Material, rows: NDArray[np.int64]) -> list[list[Any]]:
    """Questions that tell something: tile, schema, kind (0 found, 1 missed, 2 false alarm), cause, when known, ‰."""
    positive = material.questions["changed"] & material.questions["labelled"]
    missed, alarms = material.missed[rows], material.alarms[rows]
    known = material.questions["known_s"][rows]
    posterior = material.questions["posterior"][rows]
    found = []
    for k, j in zip(*np.nonzero((positive[rows]) | (alarms >= 0)), strict=True):
        kind, cause = (1, missed[k, j]) if missed[k, j] >= 0 else (2, alarms[k, j]) if alarms[k, j] >= 0 else (0, -1)
        when = round(float(known[k, j])) if np.isfinite(known[k, j]) else None
        found.append([int(k), int(j), kind, int(cause), when, round(1000 * float(posterior[k, j]))])
    return found


def _contacts(material: Material) -> list[list[Any]]:
    contacts = material.contacts
    names = [name for name, _, _ in material.stations]
    crafts = [track.spacecraft for track in material.tracks]
    found = []
    for k in np.flatnonzero(contacts["booked"].astype(bool)).tolist():
        station, craft = str(contacts["station"][k]), str(contacts["spacecraft"][k])
        found.append(
            [
                names.index(station) if station in names else -1, crafts.index(craft) if craft in crafts else -1,
                round(float(contacts["aos_s"][k])), round(float(contacts["los_s"][k])),
                int(contacts["capacity_bytes"][k]), int(contacts["air_bytes"][k]), station,
            ]
        )  # fmt: skip
    return found


def _coded(values: NDArray[Any]) -> tuple[list[str], list[int]]:
    names, codes = np.unique(values, return_inverse=True)
    return [str(name) for name in names], codes.tolist()


def _rounded(values: NDArray[np.float64], digits: int) -> list[float | None]:
    return [round(value, digits) if np.isfinite(value) else None for value in values.tolist()]


__all__ = ["MAX_TILES", "filters", "page_data", "shown_tiles", "tile_table"]
