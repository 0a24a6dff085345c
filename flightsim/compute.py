"""The payload computer: declared service times and the duty limit per orbit."""

from __future__ import annotations

import difflib
import json
import math
from typing import Any

from . import resources
from .errors import InputError
from .scenario.models import Compute


def resolve(compute: Compute) -> Compute:
    """Settings with a named profile filled in; what the scenario says itself wins.

    Raises
    ------
    InputError
        No shipped profile has that name.
    """
    if compute.use is None:
        return compute
    profile = _profile(compute.use)
    given = {name: value for name, value in compute.model_dump().items() if value is not None}
    return Compute.model_validate({**profile["settings"], **given})


def title(name: str) -> str:
    """What a shipped profile stands for: the computer, and the model that its seconds belong to.

    Raises
    ------
    InputError
        No shipped profile has that name.
    """
    return str(_profile(name)["title"])


def _profile(name: str) -> dict[str, Any]:
    path = resources.folder("compute") / f"{name}.json"
    known = sorted(p.stem for p in path.parent.glob("*.json"))
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise InputError(f"compute.use is '{name}'; allowed are {', '.join(known)}.{hint}")
    profile: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return profile


#: Shorter rests and turns of work are none: what a year's seconds resolve is 4 ns. [s]
_INSTANT_S = 1e-6


class Processor:
    """When a service that starts at some time is finished, under a duty limit per orbit.

    Orbits are counted from the scenario's start. Of each orbit at most ``duty`` may be worked; what does not
    fit waits for the next orbit and goes on there. ``finish_s`` is for work that nothing else interrupts; where power
    or heat may, ``left_s`` and ``charge`` count it piece by piece.
    """

    def __init__(self, period_s: float, duty: float) -> None:
        self._period_s = period_s
        self._allowed_s = duty * period_s
        self._always = duty >= 1.0
        self._orbit = -1
        self._used_s = 0.0

    def finish_s(self, start_s: float, service_s: float) -> float:
        """Time at which the service ends; charges the duty. Starts must not go back in time. [s]"""
        if self._always or service_s <= 0.0:
            return start_s + service_s
        now_s, left_s = start_s, service_s
        while True:
            orbit = math.floor(now_s / self._period_s + 1e-12)
            if orbit > self._orbit:
                self._orbit, self._used_s = orbit, 0.0
            end_s = (orbit + 1) * self._period_s
            run_s = min(left_s, self._allowed_s - self._used_s, end_s - now_s)
            if run_s > 0.0:
                self._used_s += run_s
                left_s -= run_s
                now_s += run_s
            if left_s <= 1e-9:
                return now_s
            now_s = end_s

    def left_s(self, now_s: float) -> float:
        """Time that may be worked from now without a rest, within this orbit. [s]"""
        if self._always:
            return math.inf
        self._turn(now_s)
        left_s = min(self._allowed_s - self._used_s, self.orbit_end_s(now_s) - now_s)
        return left_s if left_s > _INSTANT_S else 0.0

    def charge(self, now_s: float, seconds: float) -> None:
        """Count work from now on, at most ``left_s`` of it. [s]"""
        self._turn(now_s)
        self._used_s += seconds

    def orbit_end_s(self, now_s: float) -> float:
        """When the orbit ends and the duty begins anew. [s]"""
        return (self._orbit_at(now_s) + 1) * self._period_s

    def _orbit_at(self, now_s: float) -> int:
        return math.floor((now_s + _INSTANT_S) / self._period_s)

    def _turn(self, now_s: float) -> None:
        orbit = self._orbit_at(now_s)
        if orbit > self._orbit:
            self._orbit, self._used_s = orbit, 0.0
