"""Nearest valid names, for messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: More names than this are cut in a message; the nearest one is named anyway.
_SHOWN = 24


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that looks most like ``name``, or None where none does."""
    known = {candidate.lower(): candidate for candidate in allowed}
    found = difflib.get_close_matches(name.lower(), list(known), 1, 0.6)
    return known[found[0]] if found else None


def hint(name: str, allowed: Iterable[str]) -> str:
    """Second half of a message: "did you mean 'x'? allowed are a, b, c"."""
    names = sorted(allowed)
    near = nearest(name, names)
    listed = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    listed = f"allowed are {listed}" if names else "none is allowed here"
    return f"did you mean '{near}'? {listed}" if near else listed


def shown(value: object, limit: int = 60) -> str:
    """A value as a user wrote it, cut where it is long."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif value is None:
        text = "null"
    elif isinstance(value, dict):
        text = "a mapping"
    elif isinstance(value, (list, tuple)):
        text = f"a list of {len(value)}"
    else:
        text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
