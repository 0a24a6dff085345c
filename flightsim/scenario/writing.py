"""The resolved scenario as YAML that loads again equal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .models import Scenario
from .tree import scalar

#: Text that needs no quotes in any reading of YAML.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*|[0-9.]+(d|h|min|s)")
#: Words that YAML 1.1 readers (PyYAML) take for true and false.
_OLD_BOOLEANS = {"y", "n", "yes", "no", "on", "off"}


def dump_scenario(scenario: Scenario) -> str:
    """YAML of a scenario with every default written out; relative paths stay relative to ``scenario.folder``."""
    data = scenario.model_dump(mode="json", by_alias=True, exclude_none=True)
    return "\n".join(_mapping(data, "")) + "\n"


def _mapping(data: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in data.items():
        name = _scalar(str(key))
        if isinstance(value, dict) and value:
            yield f"{indent}{name}:"
            yield from _mapping(value, indent + "  ")
        elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
            yield f"{indent}{name}:"
            for item in value:
                yield from _item(item, indent + "  ")
        else:
            yield f"{indent}{name}: {_flow(value)}"


def _item(item: Any, indent: str) -> Iterator[str]:
    if not isinstance(item, dict) or not item:
        yield f"{indent}- {_flow(item)}"
        return
    lines = list(_mapping(item, indent + "  "))
    yield f"{indent}- {lines[0].lstrip()}"
    yield from lines[1:]


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(str(k))}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return "null" if value is None else json.dumps(value, allow_nan=False)
    if _PLAIN.fullmatch(value) and value.lower() not in _OLD_BOOLEANS and isinstance(scalar(value), str):
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    # JSON leaves some characters as they are that YAML does not allow unescaped.
    return "".join(c if c.isprintable() else _escaped(c) for c in quoted)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
