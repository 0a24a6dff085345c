"""The seven verdict schemas, and the check of a verdict's fields against its schema."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from . import resources
from .domain import SCHEMA_IDS
from .errors import InputError

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


def wire_id(schema_id: str) -> str:
    """Name of a schema on the wire: its id and version, such as ``flood_extent/1``."""
    return str(schema_of(schema_id)["$id"])


@cache
def schema_of(schema_id: str) -> Mapping[str, Any]:
    """The JSON Schema 2020-12 of a verdict's ``fields``.

    Raises
    ------
    InputError
        There is no such schema.
    """
    if schema_id not in SCHEMA_IDS:
        near = difflib.get_close_matches(schema_id, SCHEMA_IDS, 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise InputError(f"schema is '{schema_id}'; allowed are {', '.join(SCHEMA_IDS)}.{hint}")
    loaded: dict[str, Any] = json.loads(resources.file(f"schemas/verdict/{schema_id}.schema.json").read_text("utf-8"))
    return loaded


@cache
def _validator(schema_id: str) -> Validator:
    # Slow to import, and a run whose payload writes no text never needs it.
    from jsonschema import Draft202012Validator

    schema = schema_of(schema_id)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def faults_of(schema_id: str, body: Any) -> tuple[str, ...]:
    """What is wrong with a verdict's fields, one line a fault; empty when they fit.

    Raises
    ------
    InputError
        There is no such schema.
    """
    faults = [
        f"{'.'.join(str(part) for part in error.absolute_path) or 'fields'}: {error.message}"
        for error in sorted(_validator(schema_id).iter_errors(body), key=lambda e: [str(p) for p in e.absolute_path])
    ]
    # JSON has no NaN, and comparisons with NaN pass every range.
    return (*faults, *(f"{where}: {value} is no finite number" for where, value in _not_finite(body, "")))


def validate_body(schema_id: str, body: Any) -> None:
    """Check a verdict's fields.

    Raises
    ------
    InputError
        The fields do not fit; the message names each fault.
    """
    faults = faults_of(schema_id, body)
    if faults:
        raise InputError(f"fields of a {wire_id(schema_id)} verdict do not fit its schema: {'; '.join(faults)}.")


def _not_finite(value: Any, where: str) -> list[tuple[str, float]]:
    if isinstance(value, float) and not math.isfinite(value):
        return [(where or "fields", value)]
    if isinstance(value, Mapping):
        return [hit for key, part in value.items() for hit in _not_finite(part, f"{where}.{key}".lstrip("."))]
    if isinstance(value, list | tuple):
        return [hit for key, part in enumerate(value) for hit in _not_finite(part, f"{where}.{key}".lstrip("."))]
    return []
