"""The ground stations of a scenario: its own, or those that flightsim ships."""

from __future__ import annotations

import difflib
import json
from functools import lru_cache
from typing import Any

from . import resources
from .errors import InputError
from .scenario.models import ShippedStations, Station


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, Any]]:
    rows = json.loads(resources.file("stations/stations.json").read_text(encoding="utf-8"))["stations"]
    return {row["name"]: row for row in rows}


def shipped_names() -> tuple[str, ...]:
    """Names of the shipped stations, sorted."""
    return tuple(sorted(_table()))


def resolve(stations: tuple[Station, ...] | ShippedStations) -> tuple[Station, ...]:
    """Stations with their places, in the order of the scenario.

    Raises
    ------
    InputError
        A shipped station does not exist (the nearest names are given), or is named twice.
    """
    if isinstance(stations, tuple):
        return stations
    table = _table()
    for k, name in enumerate(stations.names):
        if name not in table:
            folded = {known.casefold(): known for known in table}
            near = difflib.get_close_matches(name.casefold(), list(folded), n=1)
            hint = f"; did you mean '{folded[near[0]]}'? All" if near else "; all"
            raise InputError(f"there is no shipped station '{name}'{hint} are: {', '.join(shipped_names())}.")
        if name in stations.names[:k]:
            raise InputError(f"the shipped station '{name}' is named twice; name each station once.")
    return tuple(
        Station(
            name=name,
            lat_deg=table[name]["lat_deg"],
            lon_deg=table[name]["lon_deg"],
            altitude_m=table[name]["altitude_m"],
            elevation_mask_deg=stations.elevation_mask_deg,
        )
        for name in stations.names
    )
