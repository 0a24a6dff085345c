"""pydantic's errors in plain words, one per real fault, with the line of the key."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ..errors import Fault
from .suggest import hint, nearest, shown
from .tree import Node, Steps, dotted

#: "spacecraft.camera.plan: ..." at the start of a message of a whole-model check names the place.
_PLACE = re.compile(r"^([a-z_]+(?:\.[a-z_0-9]+)*): (.+)$", re.DOTALL)
#: Units that key names end in, for "write a plain number in km".
_UNITS = {"deg": "deg", "km": "km", "m": "m", "s": "s", "px": "px", "j": "J", "bytes": "bytes", "bps": "bit/s"}


def faults_of(error: ValidationError, model: type[BaseModel], root: Node, prefix: Steps = ()) -> list[Fault]:
    """Every real fault of a validation error.

    Parameters
    ----------
    error
        What pydantic found.
    model
        The model that was asked.
    root
        Tree of the whole scenario.
    prefix
        Where in the tree the model's data lies.
    """
    found: dict[tuple[str, str], Fault] = {}
    for detail in error.errors(include_url=False):
        path, message = _explain(detail, model)
        path = (*prefix, *path)
        place = _PLACE.match(message)
        if place is not None and detail["type"] == "value_error":
            steps = tuple(int(s) if s.isdecimal() else s for s in place[1].split("."))
            path, message = (*path, *steps), place[2]
        if not message:
            continue
        node = root.nearest(path)
        fault = Fault(node.file, node.line, dotted(path), message)
        found.setdefault((fault.path, message), fault)
    return list(found.values())


def _explain(detail: ErrorDetails, model: type[BaseModel]) -> tuple[Steps, str]:
    """Path without pydantic's own steps, and the message; an empty message means noise."""
    steps = detail["loc"]
    path: Steps = tuple(s for s in steps if not (isinstance(s, str) and s.startswith("[")))
    kind, value, context = detail["type"], detail.get("input"), detail.get("ctx", {})
    key = str(path[-1]) if path else ""
    bad_key = bool(steps) and steps[-1] == "[key]"
    if kind == "extra_forbidden":
        return path, f"unknown key; {hint(key, keys_at(model, steps[:-1]))}"
    if kind == "missing":
        return path, f"is missing; {_description(model, steps)}"
    if kind == "literal_error" or kind == "enum":
        allowed = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        if bad_key:
            return path, f"unknown key; {hint(key, allowed)}"
        if allowed:
            near = nearest(value, allowed) if isinstance(value, str) else None
            return path, f"is {shown(value)}; " + (f"did you mean '{near}'? " if near else "") + (
                f"allowed are {', '.join(allowed)}" if len(allowed) > 1 else f"only {allowed[0]} is allowed"
            )
        return path, f"is {shown(value)}; allowed are {context.get('expected')}"
    if kind == "value_error":
        return path, str(context.get("error", detail["msg"]))
    if isinstance(value, bool) and not kind.startswith("bool"):
        # pydantic would read true as 1 and then find it out of range.
        return path, f"is {shown(value)}; true and false have no meaning here"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return path, f"is {shown(value)}; it must lie in {_range(model, steps, context)}{_unit_after(key)}"
    if kind in ("too_short", "too_long"):
        return path, _length(kind, value, context)
    return path, _wrong_type(kind, value, key, context, detail["msg"])


def _wrong_type(kind: str, value: object, key: str, context: Mapping[str, Any], message: str) -> str:
    words = {
        "tuple_type": "a list is wanted, such as [a, b]",
        "list_type": "a list is wanted, such as [a, b]",
        "dict_type": "a mapping is wanted, such as {key: value}",
        "model_type": "a mapping is wanted, such as {key: value}",
        "model_attributes_type": "a mapping is wanted, such as {key: value}",
        "string_type": "text is wanted; put it in quotes",
        "bool_type": "true or false is wanted",
        "bool_parsing": "true or false is wanted",
        "finite_number": "a finite number is wanted",
        "int_from_float": "a whole number is wanted",
    }
    if kind == "string_type" and isinstance(value, (dict, list, type(None))):
        return f"is {shown(value)}; text is wanted"
    if kind in words:
        return f"is {shown(value)}; {words[kind]}"
    if kind.startswith(("float_", "int_")):
        whole = "whole " if kind.startswith("int_") else ""
        unit = _unit(key)
        if unit and isinstance(value, str):
            return f"is {shown(value)}; write a plain {whole}number in {unit}, the key names the unit"
        return f"is {shown(value)}; a {whole}number is wanted"
    if kind == "string_pattern_mismatch" and key == "ltan":
        return f'is {shown(value)}; write local time as "HH:MM", from "00:00" to "23:59"'
    if kind == "string_pattern_mismatch":
        return f"is {shown(value)}; it must match {context.get('pattern')}"
    return f"is {shown(value)}; {message[:1].lower()}{message[1:]}"


def _length(kind: str, value: object, context: Mapping[str, Any]) -> str:
    size = len(value) if isinstance(value, (list, tuple, str, dict)) else int(context.get("actual_length", 0))
    bound = int(context.get("min_length" if kind == "too_short" else "max_length", 0))
    if kind == "too_short":
        if size >= bound:
            return ""  # items are missing only because they are at fault themselves, and that is reported
        return ("is empty" if size == 0 else f"has {size}") + f"; at least {bound} {_items(bound)} wanted"
    return f"has {size} items; at most {bound} {_items(bound)} allowed"


def _items(count: int) -> str:
    return "item is" if count == 1 else "items are"


def _unit(key: str) -> str:
    return _UNITS.get(key.rsplit("_", 1)[-1], "") if "_" in key else ""


def _unit_after(key: str) -> str:
    unit = _unit(key)
    return f" {unit}" if unit else ""


def _range(model: type[BaseModel], steps: tuple[str | int, ...], context: Mapping[str, Any]) -> str:
    bounds = dict(context)
    for _, metadata in _at(model, steps):
        for entry in metadata:
            for name in ("ge", "gt", "le", "lt"):
                if getattr(entry, name, None) is not None:
                    bounds.setdefault(name, getattr(entry, name))
    low = f"[{bounds['ge']:g}" if "ge" in bounds else f"({bounds['gt']:g}" if "gt" in bounds else ""
    high = f"{bounds['le']:g}]" if "le" in bounds else f"{bounds['lt']:g})" if "lt" in bounds else ""
    if low and high:
        return f"{low}, {high}"
    return f"{low}, infinity)" if low else f"(-infinity, {high}"


def _description(model: type[BaseModel], steps: tuple[str | int, ...]) -> str:
    for owner in _models(model, steps[:-1]):
        field = _field(owner, str(steps[-1]))
        if field is not None and field.description:
            return "it says: " + field.description.strip().split("\n")[0]
    return "add it"


def keys_at(model: type[BaseModel], steps: tuple[str | int, ...]) -> list[str]:
    """Keys that a mapping at ``steps`` (pydantic's location) may have."""
    names: set[str] = set()
    for owner in _models(model, steps):
        names.update(field.alias or name for name, field in owner.model_fields.items())
    return sorted(names)


def wants_bool(model: type[BaseModel], steps: tuple[str | int, ...]) -> bool:
    """Whether true and false may stand at a place; True where the place is unknown or free."""
    places = list(_at(model, steps))
    return not places or any(_holds_bool(annotation) for annotation, _ in places)


def _holds_bool(annotation: Any) -> bool:
    if annotation in (bool, Any, object):
        return True
    return any(_holds_bool(part) for part in get_args(annotation) if not isinstance(part, (str, FieldInfo)))


def _models(model: type[BaseModel], steps: tuple[str | int, ...]) -> Iterator[type[BaseModel]]:
    for annotation, _ in _at(model, steps):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation


def _field(model: type[BaseModel], key: str) -> FieldInfo | None:
    for name, field in model.model_fields.items():
        if (field.alias or name) == key:
            return field
    return None


def _at(annotation: Any, steps: tuple[str | int, ...], metadata: tuple[Any, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """Types, with their constraints, that may stand at a place below a type."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        for entry in more:
            metadata = (*metadata, entry, *getattr(entry, "metadata", ()))
        yield from _at(inner, steps, metadata)
        return
    if origin in (Union, types.UnionType):
        step = steps[0] if steps else None
        tagged = isinstance(step, str) and step.startswith("[")
        for option in get_args(annotation):
            tags = [entry.tag for entry in get_args(option)[1:] if isinstance(entry, Tag)]
            if tagged and tags and step not in tags:
                continue
            yield from _at(option, steps[1:] if tagged and tags else steps, metadata)
        return
    if not steps:
        yield annotation, metadata
        return
    step, rest = steps[0], steps[1:]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = _field(annotation, str(step))
        if field is not None:
            yield from _at(field.annotation, rest, tuple(field.metadata))
    elif origin in (tuple, list) and isinstance(step, int):
        parts = get_args(annotation)
        if origin is list or Ellipsis in parts:
            yield from _at(parts[0], rest)
        elif step < len(parts):
            yield from _at(parts[step], rest)
    elif origin is dict:
        yield from _at(get_args(annotation)[1], rest)
