"""The change task: one schema in the prompt, a JSON object or ``null`` out.

What a model writes is never trusted: ``parse`` gives an event only for one complete JSON object that fits the schema,
"no event" only for the literal ``null``, and INVALID with a reason for everything else, an empty answer included.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from flightsim.domain import VerdictStatus
from flightsim.verdicts import faults_of, schema_of

#: Fields that a model states; the others are derived on board or left out. Order as in the answer.
STATED = ("direction", "severity", "fraction_of_tile", "where", "box")
DIRECTIONS = ("increase", "decrease")
#: Directions that a model states, and the cells of its 3 x 3 grid, row by row from the north.
CELLS = ("north_west", "north", "north_east", "west", "centre", "east", "south_west", "south", "south_east")
#: Changed shares that the shipped model can state: half-decade steps and between. [-]
FRACTIONS = (
    0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4,
    0.5, 0.6, 0.7, 0.85, 1.0,
)  # fmt: skip
#: Steps of a box's coordinates in the shipped model's answers: sixteenths of the picture. [-]
BOX_STEPS = 16


class Fault(StrEnum):
    """Why an answer is INVALID."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    NOT_JSON = "not_json"
    SCHEMA = "schema"
    NUMERIC = "numeric"
    """The model's own numbers are broken (NaN or infinite logits)."""
    ENGINE = "engine"
    """The engine or server failed to answer."""
    PICTURE = "picture"
    """A picture that the model cannot be shown: too small, too large, or without the bands it is shown."""


# -------------------------------------------------------------------- the question


class Prompt(StrEnum):
    """Versions of the question's text. A model is asked with the version that it was trained with."""

    SHORT = "short/1"
    FULL = "full/1"


def prompt(schema_id: str, version: Prompt, composite: str) -> str:
    """The question about a pair of pictures.

    Parameters
    ----------
    version
        ``short/1``: a few words, for models that were trained on them. ``full/1``: says what the event is and which
        fields are wanted, for models that were not.
    composite
        What the red, green and blue of the pictures show, such as "swir nir red".

    Raises
    ------
    InputError
        There is no such schema.
    """
    schema = schema_of(schema_id)
    if version == Prompt.SHORT:
        return f"{composite}: {schema['title']}?"
    fields = "; ".join(_described(name, schema["properties"][name]) for name in STATED)
    return (
        f"The first picture was taken before, the second after; red, green and blue show {composite}. Question: "
        f"{schema['title']}. {schema['description']} If this has happened between the pictures, answer with one JSON "
        f"object with exactly these fields: {fields} If not, answer null. Answer with nothing else."
    )


def _described(name: str, part: Mapping[str, Any]) -> str:
    values = f" ({', '.join(part['enum'])})" if "enum" in part else ""
    return f'"{name}"{values}: {part["description"]}'


@cache
def answer_schema(schema_id: str) -> Mapping[str, Any]:
    """JSON Schema of an answer, for engines that decode under a grammar: ``null``, or an object of the stated fields.

    Raises
    ------
    InputError
        There is no such schema.
    """
    properties = schema_of(schema_id)["properties"]
    keep = ("enum", "type", "minimum", "maximum", "items", "minItems", "maxItems")
    stated = {name: {key: properties[name][key] for key in keep if key in properties[name]} for name in STATED}
    event = {"type": "object", "properties": stated, "required": list(STATED), "additionalProperties": False}
    return {"anyOf": [{"type": "null"}, event]}


# -------------------------------------------------------------------- the answer


@dataclass(frozen=True)
class Answer:
    """An answer that has been read: EVENT with its fields, NULL, or INVALID with a reason."""

    status: VerdictStatus
    body: Mapping[str, Any] | None = None
    reason: str = ""


def parse(text: str, schema_id: str, *, complete: bool = True) -> Answer:
    """Read what a model wrote.

    Parameters
    ----------
    complete
        Whether the model ended its answer itself; a cut answer is INVALID even where it could be read.

    Raises
    ------
    InputError
        There is no such schema.
    """
    schema_of(schema_id)
    told = text.strip()
    if not complete:
        return _invalid(Fault.TRUNCATED, f"no end after {len(text)} characters")
    if not told:
        return _invalid(Fault.EMPTY, "the model wrote nothing")
    try:
        body = json.loads(told, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return _invalid(Fault.NOT_JSON, f"{error} in {told[:80]!r}")
    if body is None:
        return Answer(VerdictStatus.NULL)
    if not isinstance(body, dict):
        return _invalid(Fault.SCHEMA, f"an answer is an object or null, not {told[:80]!r}")
    faults = faults_of(schema_id, body) or _box_faults(body["box"])
    if faults:
        return _invalid(Fault.SCHEMA, "; ".join(faults)[:200])
    return Answer(VerdictStatus.EVENT, body)


def _invalid(fault: Fault, detail: str) -> Answer:
    return Answer(VerdictStatus.INVALID, reason=f"{fault}: {detail}")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise ValueError("a key occurs twice")
    return body


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _box_faults(box: Sequence[float]) -> tuple[str, ...]:
    left, top, right, bottom = box
    return () if left < right and top < bottom else (f"box: {list(box)} has no area",)


def derived(body: Mapping[str, Any], size_px: tuple[int, int], gsd_m: float) -> dict[str, Any]:
    """The verdict's fields with the changed area, which arithmetic on board adds, not the model.

    ``size_px`` is (rows, columns) of the picture. Without a ground sample distance the area is left out.
    """
    fields: dict[str, Any] = {}
    for name, value in body.items():
        fields[name] = value
        if name == "fraction_of_tile" and gsd_m > 0 and math.isfinite(gsd_m) and "changed_area_ha" not in body:
            fields["changed_area_ha"] = round(value * size_px[0] * size_px[1] * gsd_m**2 / 1e4, 2)
    return fields


# -------------------------------------------------------------------- what a model is taught to write


def rounded(body: Mapping[str, Any]) -> dict[str, Any]:
    """The stated fields in the steps of the shipped model: nearest share by ratio, box outwards to sixteenths."""
    share = max(float(body["fraction_of_tile"]), FRACTIONS[0])
    nearest = min(FRACTIONS, key=lambda step: abs(math.log(step / share)))
    left, top, right, bottom = (float(value) for value in body["box"])
    low = [min(math.floor(value * BOX_STEPS + 1e-6), BOX_STEPS - 1) for value in (left, top)]
    high = [
        max(math.ceil(value * BOX_STEPS - 1e-6), start + 1) for value, start in zip((right, bottom), low, strict=True)
    ]
    return {
        "direction": body["direction"],
        "severity": body["severity"],
        "fraction_of_tile": nearest,
        "where": body["where"],
        "box": [coordinate(step) for step in (*low, *high)],
    }


def coordinate(step: int) -> float:
    """A box's coordinate at a sixteenth, with two decimals. [-]"""
    return round(step / BOX_STEPS, 2)


def answer_text(body: Mapping[str, Any] | None) -> str:
    """The answer as the shipped model is taught to write it: compact JSON of the stated fields, or ``null``."""
    if body is None:
        return "null"
    return json.dumps({name: body[name] for name in STATED}, separators=(",", ":"))


__all__ = [
    "BOX_STEPS", "CELLS", "DIRECTIONS", "FRACTIONS", "STATED", "Answer", "Fault", "Prompt", "answer_schema",
    "answer_text", "coordinate", "derived", "parse", "prompt", "rounded",
]  # fmt: skip
