"""Types of a scenario's values: durations, sizes, rates, shares, UTC, each with its words for a fault."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from .. import units

_TEXT_OR_NUMBER = {"type": ["string", "number"]}


def _duration_text(time_s: float) -> str:
    """Text that reads back as the same float: a whole number of the largest unit, else all digits in seconds."""
    for unit in ("d", "h", "min"):
        count = time_s / units.DURATION_S[unit]
        if count == int(count) != 0:
            return f"{int(count)}{unit}"
    return f"{time_s:.0f}s" if time_s == int(time_s) else f"{time_s!r}s"


Duration = Annotated[
    float,
    BeforeValidator(units.parse_duration_s),
    PlainSerializer(_duration_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["7d", "36h", "90min", "600s"]}),
]
Seconds = Annotated[
    float, BeforeValidator(lambda v: units.parse_duration_s(v, bare=True)), WithJsonSchema(_TEXT_OR_NUMBER)
]
Bytes = Annotated[int, BeforeValidator(units.parse_size_bytes), WithJsonSchema(_TEXT_OR_NUMBER)]
BitPerSecond = Annotated[float, BeforeValidator(units.parse_rate_bps), WithJsonSchema(_TEXT_OR_NUMBER)]


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"is {value}; a number is wanted")
    return value


Share = Annotated[float, BeforeValidator(_no_bool), Field(ge=0, le=1)]


def _utc(value: object) -> object:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("has no time zone; write UTC explicitly, such as 2026-10-02T00:00:00Z")
        return value.astimezone(UTC)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError as error:
            raise ValueError(f"is {value!r}; write UTC such as 2026-10-02T00:00:00Z") from error
        return _utc(moment)
    raise ValueError(f"is {value!r}; write UTC such as 2026-10-02T00:00:00Z")


Utc = Annotated[datetime, BeforeValidator(_utc)]
