"""What a measurement of a model's error is, and the independent reference that it needs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from flightsim.orbit import Propagator
from flightsim.scenario.models import Orbit

REFERENCE = Path(__file__).resolve().parents[1].parent / "shared" / "reference"
#: Who made the references.
OREKIT = "Orekit 13.1.9"
LINK = "`link.json`, lox-space"


class Absent(Exception):
    """What a measurement needs is not here: the reference files, or a package."""


@dataclass(frozen=True)
class Figure:
    """One measured error beside what is allowed; both in ``unit``, 0 allowed means exact."""

    what: str
    against: str
    n: int
    worst: float
    unit: str
    allowed: float

    @property
    def met(self) -> bool:
        """Whether the error is within what is allowed."""
        return self.n > 0 and self.worst <= self.allowed

    @property
    def share(self) -> float:
        """Error over what is allowed, 0 where exact is asked for. [-]"""
        return self.worst / self.allowed if self.allowed else 0.0


class Tally:
    """Collects absolute errors of named quantities, in the order in which they first come."""

    def __init__(self, against: str) -> None:
        self._against = against
        self._errors: dict[tuple[str, str, float], list[float]] = {}

    def add(self, what: str, error: Any, unit: str, allowed: float) -> None:
        """Note one error of a quantity."""
        self._errors.setdefault((what, unit, allowed), []).append(abs(float(error)))

    def extend(self, what: str, errors: Iterable[Any], unit: str, allowed: float) -> None:
        """Note several."""
        for error in errors:
            self.add(what, error, unit, allowed)

    def figures(self) -> list[Figure]:
        """One figure for each quantity. An error that is no number is the worst of all."""
        return [
            Figure(what, self._against, len(errors), max(errors, key=lambda e: (e != e, e)), unit, allowed)
            for (what, unit, allowed), errors in self._errors.items()
        ]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def since(text: str, start: datetime) -> float:
    """Seconds from an instant to the one that a text names. [s]"""
    return (instant(text) - start).total_seconds()


def reference(name: str) -> Any:
    """A reference file.

    Raises
    ------
    Absent
        There is none beside this checkout.
    """
    path = REFERENCE / f"{name}.json"
    if not path.exists():
        raise Absent(f"../shared/reference/{name}.json is absent")
    return json.loads(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=8)
def craft_of(name: str) -> tuple[Any, datetime, dict[str, Propagator]]:
    """A reference file with satellites: its content, time zero, a propagator for each."""
    data = reference(name)
    start = instant(data.get("start") or data["window"]["start"])
    craft = {
        s["id"]: Propagator.from_config(Orbit(tle=(s["line1"], s["line2"])), start, Path(), 3 * 86400.0)
        for s in data["satellites"]
    }
    return data, start, craft
