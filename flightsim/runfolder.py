"""The run folder: tables, metrics and, last of all, the manifest that marks it as complete."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from . import records
from .domain import ContactWindow, TerminalState, Verdict, VerdictStatus
from .errors import InputError
from .modes import Heat, Mode
from .quality import GroundBeliefs, known_s
from .recorder import ACTIONS, STATES, STATUSES, RunRecord

MANIFEST = "run.json"
_PACKAGES = ("flightsim", "numpy", "scipy", "simpy", "skyfield", "sgp4", "pillow", "pyarrow", "pydantic")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}


def write_file(path: Path, data: bytes) -> None:
    """Write under a temporary name, sync, rename: a killed run leaves no half file."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, NaN refused."""
    write_file(path, (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def manifest_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of ``run.json``."""
    text, count = {"type": "string"}, {"type": "integer", "minimum": 0}
    digest = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    properties: dict[str, Any] = {
        "format": {"const": "flightsim-run/1"},
        "outcome": {"enum": ["done", "failed"], "description": "failed: a policy process was killed."},
        "nondeterministic": {"type": "boolean", "description": "The same scenario and seed may give other numbers."},
        "scenario_digest": {**digest, "description": "SHA-256 of scenario.yaml and of the plug-in files beside it."},
        "payload_fingerprint": {**text, "description": "Changes whenever a verdict could change."},
        "context": {"type": "object", "description": "Names, failures and notes that the summary tells."},
        "event_counts": {"type": "object", "additionalProperties": count, "description": "Events by kind."},
        "digests": {"type": "object", "additionalProperties": digest, "description": "SHA-256 of each file."},
        "versions": {"type": "object", "additionalProperties": text, "description": "Python and packages."},
        "wall_s": {"type": "number", "minimum": 0, "description": "Wall time of this machine. [s]"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "flightsim/run/1",
        "title": "The manifest of a run, written last",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished run.

    Raises
    ------
    InputError
        The folder holds no finished run.
    """
    path = folder / MANIFEST
    if not path.is_file():
        what = "an interrupted run: it has no run.json" if (folder / "scenario.yaml").exists() else "no run folder"
        raise InputError(f"'{folder}' is {what}. Run the scenario again with --out {folder}.")
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _table(columns: Mapping[str, tuple[Any, str]], extra: Mapping[str, str] | None = None) -> pa.Table:
    """Arrow table of (values, description) by column name."""
    fields, arrays = [], []
    for name, (values, description) in columns.items():
        array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata={"description": description}))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=dict(extra or {})))


def _coded(codes: np.ndarray[Any, Any], names: Sequence[str], none: str) -> pa.Array:
    """Dictionary-encoded text from codes, -1 becoming ``none``."""
    shifted = pa.array((codes.astype(np.int8) + 1).astype(np.int8))
    return pa.DictionaryArray.from_arrays(shifted, pa.array([none, *[str(name) for name in names]]))


def tiles_table(record: RunRecord) -> pa.Table:
    """One row a tile."""
    plan, n = record.plan, len(record.plan)
    cloud = [float("nan")] * n if record.cloud_estimate is None else record.cloud_estimate
    areas = ["" if area < 0 else plan.areas[area] for area in plan.area.tolist()]
    return _table(
        {
            "tile_id": (plan.tile_ids, "place and capture second"),
            "place_id": (list(plan.place_id), "cell of the ground grid"),
            "spacecraft": ([plan.spacecraft[k] for k in plan.craft.tolist()], "name"),
            "area": (areas, "area of interest"),
            "captured_s": (plan.time_s, "mid-exposure since start [s]"),
            "before_s": (plan.before_s, "mid-exposure of the reference since start [s]"),
            "lat_deg": (plan.lat_deg, "geodetic latitude [deg]"),
            "lon_deg": (plan.lon_deg, "longitude [deg]"),
            "gsd_m": (plan.gsd_m, "ground sample distance [m]"),
            "off_nadir_deg": (plan.off_nadir_deg, "angle off nadir [deg]"),
            "sun_elevation_deg": (plan.sun_elevation_deg, "Sun above the horizon [deg]"),
            "cloud_fraction": (cloud, "estimated on board [-]"),
            "visible": (record.truth.visible, "truth: no cloud or missing data hides the place"),
            "cluster": (record.truth.cluster, "unit of resampling"),
            "action": (_coded(record.action, ACTIONS, "undecided"), "what the policy or the fallback decided"),
            "state": (_coded(record.state, STATES, "open"), "terminal state"),
            "decided_s": (record.decided_s, "time of the decision since start [s]"),
            "delivered_s": (record.delivered_s, "last byte on the ground since start [s]"),
            "late": (record.late, "delivered after the useful age"),
            "policy_failed": (record.policy_failed, "the fallback decided"),
            "thumbnail_px": (record.thumbnail_px, "longer side of the thumbnail [px]"),
            "product_bytes": (record.product_bytes, "file bytes of what was decided [B]"),
            "wire_bytes": (record.wire_bytes, "space-packet bytes of it [B]"),
            "air_bytes": (record.air_bytes, "radiated transfer-frame bytes [B]"),
            "compute_s": (record.compute_s, "declared service time [s]"),
            "reason": (record.reasons, "the policy's words"),
            "looks": (pa.array(record.looks, pa.int32()), "pictures of the tile that were stored [-]"),
            "seen_visible": (
                record.seen_visible,
                "truth: no cloud or missing data hides the place in the last picture",
            ),
            "looked_s": (record.looked_s, "mid-exposure of the last picture since start [s]; NaN for none"),
        }
    )


def items_table(record: RunRecord) -> pa.Table:
    """One row a file of the downlink queue."""
    items = record.items
    delivered = [record.item_delivered_s.get(item.id, float("nan")) for item in items]
    return _table(
        {
            "item_id": ([item.id for item in items], "file name"),
            "kind": ([str(item.kind) for item in items], "product"),
            "tiles": (pa.array([len(item.rows) for item in items], pa.int32()), "tiles in the file"),
            "size_bytes": (pa.array([item.size_bytes for item in items], pa.int64()), "file [B]"),
            "wire_bytes": (pa.array([item.wire_bytes for item in items], pa.int64()), "space packets [B]"),
            "sent_bytes": (pa.array([item.sent_bytes for item in items], pa.int64()), "radiated of them [B]"),
            "repeated_bytes": (
                pa.array([item.repeated_bytes for item in items], pa.int64()),
                "radiated again [B]",
            ),
            "priority": (pa.array([item.priority for item in items], pa.int32()), "smaller goes first"),
            "captured_s": (pa.array([item.captured_s for item in items], pa.float64()), "oldest capture [s]"),
            "queued_s": (pa.array([item.queued_s for item in items], pa.float64()), "joined the queue [s]"),
            "delivered_s": (pa.array(delivered, pa.float64()), "last byte on the ground [s]"),
            "outcome": ([record.outcomes[item.id] for item in items], "delivered, lost, expired or incomplete"),
        }
    )


def contacts_table(record: RunRecord) -> pa.Table:
    """One row a pass."""
    windows = record.contacts
    frame_bits = 8 * record.frame_bytes
    capacity = [int(w.total_bits // frame_bits) * record.frame_bytes for w in windows]
    return _table(
        {
            "spacecraft": ([w.spacecraft for w in windows], "name"),
            "station": ([w.station for w in windows], "name"),
            "aos_s": (pa.array([w.aos_s for w in windows], pa.float64()), "acquisition of signal [s]"),
            "tca_s": (pa.array([w.tca_s for w in windows], pa.float64()), "closest approach [s]"),
            "los_s": (pa.array([w.los_s for w in windows], pa.float64()), "loss of signal [s]"),
            "max_elevation_deg": (pa.array([w.max_elevation_deg for w in windows], pa.float64()), "highest [deg]"),
            "booked": (pa.array([w.booked for w in windows], pa.bool_()), "the payload may use it"),
            "truncated_start": (pa.array([w.truncated_start for w in windows], pa.bool_()), "cut by the start"),
            "truncated_end": (pa.array([w.truncated_end for w in windows], pa.bool_()), "cut by the end"),
            "capacity_bytes": (pa.array(capacity, pa.int64()), "transfer frames the payload may send [B]"),
            "zone_bytes": (record.contact_zone_bytes, "space packets radiated [B]"),
            "air_bytes": (record.contact_air_bytes, "transfer frames radiated [B]"),
            **_of_passes(windows),
        }
    )


def _of_passes(windows: Sequence[ContactWindow]) -> dict[str, tuple[Any, str]]:
    """Columns that are there only where weather or failures are switched on and met a pass."""
    columns: dict[str, tuple[Any, str]] = {}
    percents = [w.weather_percent for w in windows]
    if any(percent is not None for percent in percents):
        columns["weather_percent"] = (pa.array(percents, pa.float64()), "share of time with worse weather [%]")
    if any(w.failed for w in windows):
        columns["failed"] = (pa.array([w.failed for w in windows], pa.bool_()), "carried nothing, unforeseen")
    return columns


def verdicts_table(
    record: RunRecord, rates: Mapping[str, tuple[float, float]], ground: GroundBeliefs | None = None
) -> pa.Table:
    """One row a question, asked or not, with the truth and, where given, the ground's belief beside it."""
    plan, truth = record.plan, record.truth
    n, s = record.status.shape
    flat: list[Verdict | None] = [None] * (n * s)
    column = {schema: j for j, schema in enumerate(truth.schemas)}
    for row, verdicts in record.verdicts.items():
        for verdict in verdicts:
            flat[row * s + column[verdict.schema_id]] = verdict
    ids = pa.array(plan.tile_ids)
    schema_codes = pa.array(np.tile(np.arange(s, dtype=np.int8), n))
    bodies = [json.dumps(dict(v.body), sort_keys=True) if v is not None and v.body else None for v in flat]
    return _table(
        {
            "tile_id": (ids.take(pa.array(np.repeat(np.arange(n), s))), "place and capture second"),
            "schema_id": (pa.DictionaryArray.from_arrays(schema_codes, pa.array(truth.schemas)), "question"),
            "status": (_coded(record.status.ravel(), STATUSES, "not_asked"), "answer"),
            "confidence": (pa.array(record.confidence.ravel(), from_pandas=True), "the payload's own [-]"),
            "body": (pa.array(bodies, pa.string()), "fields of an event, as JSON"),
            "produced_by": (pa.array([v.produced_by if v else "" for v in flat]).dictionary_encode(), "engine"),
            "reason": (pa.array([v.reason if v else "" for v in flat]).dictionary_encode(), "why no verdict"),
            "tokens": (pa.array([v.tokens if v else 0 for v in flat], pa.int32()), "generated tokens [-]"),
            "labelled": (truth.labelled.ravel(), "truth: the question is scored"),
            "changed": (truth.changed.ravel(), "truth: the event is there"),
            **_belief_columns(record, ground),
        },
        {"rates": json.dumps({schema: list(pair) for schema, pair in rates.items()})},
    )


def _belief_columns(record: RunRecord, ground: GroundBeliefs | None) -> dict[str, tuple[Any, str]]:
    if ground is None:
        return {}
    belief = ground.policy
    known = known_s(record, belief.yes, record.delivered_s).ravel()
    return {
        "posterior": (belief.posterior.ravel(), "probability of the event as the ground sees it at the end [-]"),
        "believed": (belief.yes.ravel(), "the ground answers yes"),
        "known_s": (known, "true event: the ground knows it since start [s]; NaN for never, and for no event"),
    }


def queue_table(record: RunRecord) -> pa.Table:
    """Samples of queue, storage and processor."""
    samples = record.queue_samples
    return _table(
        {
            "time_s": (samples[:, 0], "since start [s]"),
            "queued_bytes": (samples[:, 1], "space packets waiting for the link [B]"),
            "storage_bytes": (samples[:, 2], "mass memory in use [B]"),
            "waiting_tiles": (samples[:, 3], "tiles waiting for the processor [-]"),
        }
    )


def power_table(record: RunRecord) -> pa.Table:
    """Charge and temperature of each spacecraft with a power model, a row where their course bends."""
    traces = record.power_traces.values()

    def joined(name: str, dtype: type) -> np.ndarray[Any, Any]:
        return np.concatenate([np.asarray(getattr(trace, name), dtype=dtype) for trace in traces])

    names = np.repeat(np.arange(len(traces), dtype=np.int32), [len(trace.time_s) for trace in traces])
    modes, heats = ([member.name.lower() for member in kind] for kind in (Mode, Heat))
    return _table(
        {
            "spacecraft": (pa.DictionaryArray.from_arrays(pa.array(names), list(record.power_traces)), "name"),
            "time_s": (joined("time_s", float), "since start [s]"),
            "state_of_charge": (joined("state_of_charge", float), "battery, linear to the next row [-]"),
            "temperature_c": (
                pa.array(joined("temperature_c", float), from_pandas=True),
                "box of payload computer and battery [deg C]; null without a thermal model",
            ),
            "mode": (pa.DictionaryArray.from_arrays(pa.array(joined("mode", np.int8)), modes), "from here on"),
            "heat": (pa.DictionaryArray.from_arrays(pa.array(joined("heat", np.int8)), heats), "from here on"),
            "sunlit": (joined("sunlit", bool), "from here on: the array is in sunlight"),
        }
    )


def write_tables(
    folder: Path,
    record: RunRecord,
    rates: Mapping[str, tuple[float, float]],
    ground: GroundBeliefs | None = None,
) -> list[str]:
    """Write every table of the run; gives their names."""
    tables = {
        "tiles.parquet": tiles_table(record),
        "items.parquet": items_table(record),
        "contacts.parquet": contacts_table(record),
        "verdicts.parquet": verdicts_table(record, rates, ground),
        "queue.parquet": queue_table(record),
    }
    if record.power_traces:
        tables["power.parquet"] = power_table(record)
    for name, table in tables.items():
        temporary = folder / (name + ".tmp")
        pq.write_table(table, temporary, compression="zstd")
        os.replace(temporary, folder / name)
    return list(tables)


def wire_verdict(verdict: Verdict) -> dict[str, Any] | None:
    """The verdict as the contract writes it; None for no event, INVALID marked as such."""
    schema = f"{verdict.schema_id}/1"
    if verdict.status is VerdictStatus.NULL:
        return None
    if verdict.status is VerdictStatus.EVENT:
        event: dict[str, Any] = {"schema": schema, "event": True, "fields": dict(verdict.body or {})}
        if verdict.confidence is not None:
            event["confidence"] = round(verdict.confidence, 3)
        return event
    if verdict.status is VerdictStatus.UNCLASSIFIABLE:
        return {"schema": schema, "unclassifiable": verdict.reason}
    return {"schema": schema, "invalid": True}


def ground_verdict_lines(record: RunRecord) -> list[str]:
    """What the ground decodes from each record that arrived, in order of arrival."""
    arrived = np.isin(record.state, [STATES.index(TerminalState.DELIVERED), STATES.index(TerminalState.LATE)])
    rows = np.flatnonzero(arrived)
    lines = []
    for row in rows[np.lexsort((rows, record.delivered_s[rows]))].tolist():
        sent = records.encode_record(record.picture_id(row), record.verdicts.get(row, ()))
        ((tile_id, verdicts),) = records.decode_records(sent)
        lines.append(
            json.dumps(
                {
                    "tile_id": tile_id,
                    "product": str(ACTIONS[record.action[row]]),
                    "delivered_s": round(float(record.delivered_s[row]), 3),
                    "verdicts": {v.schema_id: wire_verdict(v) for v in verdicts},
                },
                sort_keys=True,
            )
        )
    return lines


if __name__ == "__main__":
    import sys

    sys.stdout.write(json.dumps(manifest_schema(), indent=2) + "\n")
