"""Why a pass is not booked, and what spacecraft that share stations lose to each other."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from .booking import book, day_of, is_closed
from .domain import ContactWindow
from .errors import RunError
from .scenario.models import Booking

#: Passes that differ by less are equally long. [s]
_EQUAL_S = 1e-3


class Why(StrEnum):
    """Why a pass is not booked."""

    SHORT = "short"
    """Shorter than ``minimum_s``."""
    CLOSED = "closed"
    """It touches a time in which the station is closed."""
    LIMIT = "limit"
    """The spacecraft has its passes of that day, none of them shorter."""
    CONTENTION = "contention"
    """The station serves another spacecraft."""
    BUSY = "busy"
    """The spacecraft itself is at another station, or the antenna turns from its last pass."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one pass is not booked; ``in_the_way`` are booked passes (spacecraft, station) that leave no room for it."""

    why: Why
    in_the_way: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        names = [{"spacecraft": craft, "station": station} for craft, station in self.in_the_way]
        return {"why": self.why.value, "in_the_way": names}


def refusals(contacts: Sequence[ContactWindow], booking: Booking, start: datetime) -> list[Refusal | None]:
    """Why each pass is not booked, in the order given; None for those that are.

    Parameters
    ----------
    contacts
        All passes of all spacecraft, as ``booking.book`` gives them.

    Raises
    ------
    RunError
        A pass could have been booked and is not: the contacts are not a booking under these rules.

    Notes
    -----
    Of several reasons the first holds, in the order of ``Why``. A pass of a full day that is longer than one that was
    booked then is not shut out by the limit but by what is in its way.
    """
    booked = sorted((w for w in contacts if w.booked), key=lambda w: w.aos_s)
    by_station: dict[str, list[ContactWindow]] = defaultdict(list)
    by_craft: dict[str, list[ContactWindow]] = defaultdict(list)
    by_day: dict[tuple[str, Any], list[float]] = defaultdict(list)
    for window in booked:
        by_station[window.station].append(window)
        by_craft[window.spacecraft].append(window)
        by_day[window.spacecraft, day_of(window, start)].append(window.duration_s)

    def why_not(window: ContactWindow) -> Refusal:
        if window.duration_s < booking.minimum_s:
            return Refusal(Why.SHORT)
        if is_closed(window, booking, start):
            return Refusal(Why.CLOSED)
        today = by_day[window.spacecraft, day_of(window, start)]
        full = booking.passes_per_day is not None and len(today) >= booking.passes_per_day
        if full and all(length_s >= window.duration_s - _EQUAL_S for length_s in today):
            return Refusal(Why.LIMIT)
        others, own = (
            _in_the_way(window, rivals, booking.handover_s)
            for rivals in (by_station[window.station], by_craft[window.spacecraft])
        )
        names = tuple(dict.fromkeys((w.spacecraft, w.station) for w in (*others, *own)))
        if any(w.spacecraft != window.spacecraft for w in others):
            return Refusal(Why.CONTENTION, names)
        if names:
            return Refusal(Why.BUSY, names)
        if full:
            return Refusal(Why.LIMIT)
        raise RunError(f"a pass over {window.station} at {window.aos_s:.0f} s could be booked and is not: a defect.")

    return [None if window.booked else why_not(window) for window in contacts]


def why_text(told: dict[str, Any] | None, booking: Booking) -> str:
    """``Refusal.as_dict`` in a few words; a dash for a booked pass."""
    if told is None:
        return "-"
    names = ", ".join(f"{one['spacecraft']} at {one['station']}" for one in told["in_the_way"])
    return {
        Why.SHORT: f"shorter than {booking.minimum_s:g} s",
        Why.CLOSED: "station closed",
        Why.LIMIT: f"limit of {booking.passes_per_day} a day",
        Why.CONTENTION: f"contention: {names}",
        Why.BUSY: f"busy: {names}",
    }[Why(told["why"])]


def _in_the_way(window: ContactWindow, rivals: Sequence[ContactWindow], handover_s: float) -> Sequence[ContactWindow]:
    """Those of ``rivals`` (in time order, none overlapping) with less than the handover between them and a pass."""
    first = bisect.bisect_right(rivals, window.aos_s - handover_s, key=lambda w: w.los_s)
    last = bisect.bisect_left(rivals, window.los_s + handover_s, key=lambda w: w.aos_s)
    return rivals[first:last]


@dataclass(frozen=True, slots=True)
class Share:
    """Contact time of one spacecraft: what it would book were it alone, and what it has. [s]"""

    wanted_s: float
    booked_s: float

    @property
    def lost_to_contention_s(self) -> float:
        """What the others cost it. [s]"""
        return max(0.0, self.wanted_s - self.booked_s)

    def as_dict(self) -> dict[str, float]:
        """Ready for JSON."""
        return {**asdict(self), "lost_to_contention_s": self.lost_to_contention_s}


def shares(contacts: Sequence[ContactWindow], booking: Booking, start: datetime) -> dict[str, Share]:
    """Contact time wanted, booked and lost by spacecraft, by name, sorted.

    Notes
    -----
    What is wanted is the booking of the spacecraft's own passes under the same rules, which no booking with others
    can exceed.
    """
    mine: dict[str, list[ContactWindow]] = defaultdict(list)
    for window in contacts:
        mine[window.spacecraft].append(window)
    return {
        name: Share(_booked_s(book(passes, booking, start)), _booked_s(passes)) for name, passes in sorted(mine.items())
    }


def shares_values(by_craft: dict[str, Share]) -> dict[str, Any]:
    """The keys of ``contacts`` in the metrics of several spacecraft: sums, and each by name. [s]"""
    if not by_craft:
        return {}
    each = {name: share.as_dict() for name, share in by_craft.items()}
    return {**{key: sum(one[key] for one in each.values()) for key in next(iter(each.values()))}, "spacecraft": each}


def _booked_s(passes: Sequence[ContactWindow]) -> float:
    return sum(window.duration_s for window in passes if window.booked)


__all__ = ["Refusal", "Share", "Why", "refusals", "shares", "shares_values", "why_text"]
