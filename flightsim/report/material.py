"""What a run folder tells: every file of it that the page needs, read and checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import causes, gallery
from ..causes import Fates
from ..errors import FlightsimError, InputError
from ..runfolder import read_manifest

if TYPE_CHECKING:
    from ..scenario.models import Scenario

_TILES = (
    "tile_id", "place_id", "spacecraft", "area", "captured_s", "lat_deg", "lon_deg", "cloud_fraction", "seen_visible",
    "action", "state", "delivered_s", "late", "thumbnail_px", "product_bytes", "wire_bytes", "air_bytes", "reason",
)  # fmt: skip
_QUESTIONS = ("schema_id", "status", "confidence", "labelled", "changed", "posterior", "believed", "known_s")
_CONTACTS = ("spacecraft", "station", "aos_s", "los_s", "max_elevation_deg", "booked", "capacity_bytes", "air_bytes")
_QUEUE = ("time_s", "queued_bytes", "storage_bytes", "waiting_tiles")
_POWER = ("spacecraft", "time_s", "state_of_charge", "temperature_c", "mode", "sunlit")
#: Samples of the ground track: one a minute, fewer in long missions. [s, -]
_TRACK_STEP_S, _MAX_TRACK = 60.0, 60_000

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Track:
    """Sub-satellite points of one spacecraft, one every ``step_s`` from the start."""

    spacecraft: str
    step_s: float
    lat_deg: NDArray[np.float64]
    lon_deg: NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """The content of a run folder.

    ``tiles`` holds n rows a column, ``questions`` arrays of shape (n, s). ``missed`` and ``alarms`` are the cause of
    each miss and false alarm, shape (n, s), -1 for none. ``start`` and ``scenario`` are None, and ``gaps`` says why,
    where the folder's scenario cannot be read. ``power`` is empty for a run without power limits.
    """

    folder: Path
    manifest: dict[str, Any]
    metrics: dict[str, Any]
    scenario_text: str
    scenario: Scenario | None
    start: datetime | None
    schemas: tuple[str, ...]
    tiles: Columns
    questions: Columns
    fates: Fates
    missed: NDArray[np.int8]
    alarms: NDArray[np.int8]
    contacts: Columns
    queue: Columns
    power: Columns
    stations: list[tuple[str, float, float]]
    tracks: list[Track]
    gallery: list[dict[str, Any]]
    gaps: list[str]

    @property
    def context(self) -> dict[str, Any]:
        """Names, failures and notes of the run."""
        found: dict[str, Any] = self.manifest["context"]
        return found

    @property
    def horizon_s(self) -> float:
        """End of the run with its grace. [s]"""
        return float(self.context["horizon_s"])


def read_material(folder: Path) -> Material:
    """Everything of a finished run's folder.

    Raises
    ------
    InputError
        The folder holds no finished run, or one of its files is missing or damaged.
    """
    manifest = read_manifest(folder)
    metrics = _read_json(folder / "metrics.json")
    contacts = _columns(folder / "contacts.parquet", _CONTACTS)
    queue = _columns(folder / "queue.parquet", _QUEUE)
    tiles = _columns(folder / "tiles.parquet", _TILES)
    flat = _columns(folder / "verdicts.parquet", _QUESTIONS)
    text = _read(folder / "scenario.yaml").decode()
    n = len(tiles["tile_id"])
    schemas = tuple(str(name) for name in flat["schema_id"][: len(flat["schema_id"]) // max(1, n)])
    questions = {name: values.reshape(n, len(schemas)) for name, values in flat.items() if name != "schema_id"}
    with np.errstate(invalid="ignore"):
        in_time = (tiles["delivered_s"] <= manifest["context"]["horizon_s"]) & ~tiles["late"]
    fates = Fates(
        questions["status"], questions["changed"], questions["labelled"], questions["believed"], tiles["action"],
        tiles["state"], tiles["seen_visible"], in_time,
    )  # fmt: skip
    gaps: list[str] = []
    scenario = _scenario(folder, gaps)
    start = scenario.start if scenario is not None else _start_of(text)
    return Material(
        folder=folder,
        manifest=manifest,
        metrics=metrics,
        scenario_text=text,
        scenario=scenario,
        start=None if start is None else start.astimezone(UTC),
        schemas=schemas,
        tiles=tiles,
        questions=questions,
        fates=fates,
        missed=causes.miss_causes(fates),
        alarms=causes.alarm_causes(fates),
        contacts=contacts,
        queue=queue,
        power=_columns(folder / "power.parquet", _POWER) if "power" in metrics else {},
        stations=_stations(scenario, contacts),
        tracks=_tracks(scenario, manifest["context"]["horizon_s"], gaps),
        gallery=_gallery(folder),
        gaps=gaps,
    )


def _scenario(folder: Path, gaps: list[str]) -> Scenario | None:
    from ..scenario import load_scenario

    try:
        return load_scenario(folder / "scenario.yaml")
    except FlightsimError as error:
        gaps.append(f"stations and ground track are not drawn, for scenario.yaml cannot be loaded: {error}")
        return None


def _stations(scenario: Scenario | None, contacts: Columns) -> list[tuple[str, float, float]]:
    """Name, latitude and longitude of each station, those without a pass as well."""
    if scenario is None:
        return []
    from ..stations import resolve

    return [(station.name, station.lat_deg, station.lon_deg) for station in resolve(scenario.stations)]


def _tracks(scenario: Scenario | None, horizon_s: float, gaps: list[str]) -> list[Track]:
    if scenario is None:
        return []
    from ..orbit import Propagator

    found = []
    crafts = len(scenario.craft)
    step_s = _TRACK_STEP_S * max(1, int(np.ceil(horizon_s / _TRACK_STEP_S * crafts / _MAX_TRACK)))
    times = np.arange(0.0, horizon_s + step_s, step_s)
    for craft in scenario.craft:
        try:
            propagator = Propagator.from_config(craft.orbit, scenario.start, scenario.folder, float(times[-1]))
        except FlightsimError as error:
            gaps.append(f"the ground track of {craft.name} is not drawn: {error}")
            continue
        lat, lon, _ = propagator.subpoints(times)
        found.append(Track(craft.name, step_s, lat, lon))
    return found


def _gallery(folder: Path) -> list[dict[str, Any]]:
    path = folder / gallery.FOLDER / gallery.INDEX
    if not path.is_file():
        return []
    document = _read_json(path)
    if document.get("format") != gallery.FORMAT or not isinstance(document.get("tiles"), list):
        raise InputError(f"'{path}' is damaged (no {gallery.FORMAT}). Run the scenario again.")
    entries: list[dict[str, Any]] = document["tiles"]
    return entries


def _start_of(scenario: str) -> datetime | None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        values = YAML(typ="safe").load(scenario)
        start = values.get("start") if isinstance(values, dict) else None
        if isinstance(start, str):
            start = datetime.fromisoformat(start)
    except (YAMLError, ValueError):
        return None
    if not isinstance(start, datetime):
        return None
    return start if start.tzinfo else start.replace(tzinfo=UTC)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"'{path}' is missing: the run folder is incomplete. Run the scenario again.")
    return path.read_bytes()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(_read(path))
    except ValueError as error:
        raise InputError(f"'{path}' is damaged ({error}). Run the scenario again.") from error
    return values


def _columns(path: Path, names: tuple[str, ...]) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _read(path)
    try:
        present = pq.read_schema(path).names
        missing = [name for name in names if name not in present]
        if missing:
            raise InputError(
                f"'{path}' has no column {missing[0]}; it is no table of this version. Run the scenario again."
            )
        table = pq.read_table(path, columns=list(names))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"'{path}' is damaged ({error}). Run the scenario again.") from error
    return {name: _array(table.column(name)) for name in names}


def _array(column: Any) -> NDArray[Any]:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.combine_chunks()
        column = column.dictionary_decode() if hasattr(column, "dictionary_decode") else column.cast(pa.string())
    values = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    return np.asarray(values, dtype=str) if pa.types.is_string(column.type) else np.asarray(values)


__all__ = ["Columns", "Material", "Track", "read_material"]
