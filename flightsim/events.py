"""The event dictionary: every kind of event, its typed fields, severity and one sentence.

``EventLog`` writes JSON lines in simulated time order. Times have 1 ms, confidences 3 decimals, other floats
6 significant digits, so that the log of a scenario and seed is the same to the byte on one machine type.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from json.encoder import encode_basestring_ascii as _quote
from typing import IO, Any


class Severity(StrEnum):
    """How loud an event is."""

    ACTIVITY = "activity"
    WARNING = "warning"
    FAILURE = "failure"


class FieldType(StrEnum):
    """Type of a field, which fixes how it is written."""

    TEXT = "text"
    INTEGER = "integer"
    TIME_S = "time_s"
    FLOAT = "float"
    CONFIDENCE = "confidence"


def _time(value: float) -> str:
    return f"{value:.3f}"


def _float(value: float) -> str:
    return f"{value:.6g}"


_WRITERS: dict[FieldType, Callable[[Any], str]] = {
    FieldType.TEXT: _quote,
    FieldType.INTEGER: int.__repr__,
    FieldType.TIME_S: _time,
    FieldType.FLOAT: _float,
    FieldType.CONFIDENCE: _time,
}


@dataclass(frozen=True, slots=True, eq=False)
class EventKind:
    """One entry of the dictionary."""

    name: str
    severity: Severity
    fields: tuple[tuple[str, FieldType], ...]
    sentence: str

    def template(self) -> str:
        """Format string of a line, without the time and the sequence number."""
        return f'"kind":"{self.name}"' + "".join(f',"{name}":%s' for name, _ in self.fields) + "}\n"

    def writers(self) -> tuple[Callable[[Any], str], ...]:
        """One writer per field."""
        return tuple(_WRITERS[kind] for _, kind in self.fields)


def _kind(name: str, severity: Severity, sentence: str, **fields: FieldType) -> EventKind:
    kind = EventKind(name, severity, tuple(fields.items()), sentence)
    DICTIONARY[name] = kind
    return kind


#: Every kind by name. The docs publish it.
DICTIONARY: dict[str, EventKind] = {}

_A, _W, _F = Severity.ACTIVITY, Severity.WARNING, Severity.FAILURE
_T, _I, _S, _X = FieldType.TEXT, FieldType.INTEGER, FieldType.TIME_S, FieldType.FLOAT

TILE_CAPTURED = _kind("tile_captured", _A, "A tile was imaged and lies raw in storage.", tile=_T, raw_bytes=_I)
LOOK_PLANNED = _kind(
    "look_planned", _A, "The policy asked for a second picture of a tile; the next overflight will take it.",
    tile=_T, look_s=_S, off_nadir_deg=_X,
)  # fmt: skip
TILE_REIMAGED = _kind(
    "tile_reimaged", _A, "A tile was imaged once more; this picture replaces the earlier one.",
    tile=_T, picture=_T, looks=_I, raw_bytes=_I,
)  # fmt: skip
TILE_LOST = _kind(
    "tile_lost", _W, "A tile was lost before the decision about its current picture.", tile=_T, state=_T, why=_T
)
TILE_PROCESSED = _kind(
    "tile_processed", _A, "The payload answered the questions asked of a tile.",
    tile=_T, questions=_I, events=_I, unclassifiable=_I, invalid=_I, compute_s=_X,
)  # fmt: skip
PAYLOAD_FAILED = _kind(
    "payload_failed", _F, "The payload raised; its answers for this tile are invalid.", tile=_T, detail=_T
)
TILE_DECIDED = _kind(
    "tile_decided", _A, "The policy decided what to send for a tile.",
    tile=_T, action=_T, priority=_I, policy=_T, reason=_T,
)  # fmt: skip
POLICY_FAILED = _kind(
    "policy_failed", _F, "The policy gave no usable decision; the fallback decides.", tile=_T, why=_T, fallback=_T
)
POLICY_HUNG = _kind(
    "policy_hung", _F, "The policy process was killed by the wall-clock watchdog; this run is not reproducible.",
    tile=_T, watchdog_s=_X,
)  # fmt: skip
PRODUCT_REFUSED = _kind(
    "product_refused", _W, "Storage had no room for the product of a decision.", tile=_T, product=_T, size_bytes=_I
)
ITEM_QUEUED = _kind(
    "item_queued", _A, "A file joined the downlink queue.",
    item=_T, product=_T, tiles=_I, size_bytes=_I, wire_bytes=_I, priority=_I,
)  # fmt: skip
ITEM_CUT = _kind(
    "item_cut",
    _W,
    "A contact ended in the middle of a file; it resumes by offset.",
    item=_T,
    sent_bytes=_I,
    wire_bytes=_I,
)
ITEM_DELIVERED = _kind(
    "item_delivered",
    _A,
    "The last byte of a file reached the ground.",
    item=_T,
    product=_T,
    tiles=_I,
    station=_T,
    age_s=_X,
)
ITEM_RETRANSMITTED = _kind(
    "item_retransmitted", _A, "The ground's NAK, or a timer, put PDUs of a file into the queue once more.",
    item=_T, attempt=_I, pdus=_I, wire_bytes=_I,
)  # fmt: skip
ITEM_FINISHED = _kind(
    "item_finished", _A, "The ground's Finished reached the spacecraft, which freed its copy of the file.", item=_T
)
ITEM_LOST = _kind(
    "item_lost", _W, "A file was sent and never became complete on the ground.",
    item=_T, tiles=_I, sent_bytes=_I, why=_T,
)  # fmt: skip
ITEM_EXPIRED = _kind(
    "item_expired", _W, "A file passed its expiry and was dropped when next considered.", item=_T, tiles=_I
)
ITEM_INCOMPLETE = _kind(
    "item_incomplete", _W, "The run ended before the file was complete on the ground.", item=_T, tiles=_I, sent_bytes=_I
)
CONTACT_OPENED = _kind(
    "contact_opened", _A, "A booked contact can carry data.",
    spacecraft=_T, station=_T, capacity_bytes=_I, queued_bytes=_I,
)  # fmt: skip
CONTACT_CLOSED = _kind(
    "contact_closed", _A, "A booked contact ended.", spacecraft=_T, station=_T, zone_bytes=_I, air_bytes=_I
)
MODE_CHANGED = _kind(
    "mode_changed", _W, "The state of charge passed a limit, and the spacecraft changed its mode.",
    spacecraft=_T, mode=_T, previous=_T, state_of_charge=_X,
)  # fmt: skip
HEAT_CHANGED = _kind(
    "heat_changed", _W, "The payload computer passed a limit of temperature; it runs cool, throttled, or is cut.",
    spacecraft=_T, heat=_T, previous=_T, temperature_c=_X,
)  # fmt: skip
CONTACT_REFUSED = _kind(
    "contact_refused", _W, "A booked contact began in safe mode and carried no payload data.",
    spacecraft=_T, station=_T, capacity_bytes=_I, queued_bytes=_I,
)  # fmt: skip
CONTACT_FAILED = _kind(
    "contact_failed", _W, "A booked contact carried nothing: antenna, network or operator failed.",
    spacecraft=_T, station=_T, promised_bytes=_I, queued_bytes=_I,
)  # fmt: skip
TILE_ENDED = _kind("tile_ended", _A, "A tile reached its terminal state.", tile=_T, state=_T)
RUN_ENDED = _kind("run_ended", _A, "The run is over.", tiles=_I, air_bytes=_I)


class EventLog:
    """Counts every event, and writes it as a line where a file is given.

    Events must arrive in simulated time order; that is the engine's order.
    """

    def __init__(self, file: IO[str] | None = None) -> None:
        self._file = file
        self._lines: list[str] = []
        self._sequence = 0
        self._counts: dict[EventKind, int] = dict.fromkeys(DICTIONARY.values(), 0)
        self._formats = {kind: (kind.template(), kind.writers()) for kind in DICTIONARY.values()}

    def emit(self, kind: EventKind, time_s: float, *values: Any) -> None:
        """Record one event; ``values`` in the order of the kind's fields.

        Raises
        ------
        KeyError
            The kind is not in the dictionary.
        """
        self._counts[kind] += 1
        if self._file is None:
            return
        template, writers = self._formats[kind]
        if len(values) != len(writers):
            raise TypeError(f"event {kind.name} has {len(writers)} fields, {len(values)} values were given")
        text = template % tuple([write(value) for write, value in zip(writers, values, strict=True)])
        self._lines.append(f'{{"seq":{self._sequence},"t_s":{time_s:.3f},{text}')
        self._sequence += 1
        if len(self._lines) >= 8192:
            self.flush()

    @property
    def counts(self) -> dict[str, int]:
        """How many events of each kind, zeros included."""
        return {kind.name: count for kind, count in self._counts.items()}

    def flush(self) -> None:
        """Hand the lines to the file."""
        if self._file is not None:
            self._file.write("".join(self._lines))
            self._lines.clear()


def event_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a line of ``events.jsonl``, generated from the dictionary."""
    types = {FieldType.TEXT: "string", FieldType.INTEGER: "integer"}
    variants = [
        {
            "title": kind.name,
            "description": f"{kind.sentence} Severity: {kind.severity}.",
            "type": "object",
            "properties": {
                "seq": {"type": "integer"},
                "t_s": {"type": "number"},
                "kind": {"const": kind.name},
                **{name: {"type": types.get(field, "number")} for name, field in kind.fields},
            },
            "required": ["seq", "t_s", "kind", *[name for name, _ in kind.fields]],
            "additionalProperties": False,
        }
        for kind in DICTIONARY.values()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "flightsim/event/1",
        "title": "One line of events.jsonl",
        "oneOf": variants,
    }


if __name__ == "__main__":
    import sys

    sys.stdout.write(json.dumps(event_schema(), indent=2) + "\n")
