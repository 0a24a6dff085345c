"""What the booked contacts can still carry: the capacity clock of one spacecraft."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from .domain import BudgetView, ContactForecast, ContactWindow

#: Contacts that a policy sees ahead.
_FORECASTS = 8


class CapacityClock:
    """Cumulative payload capacity of booked contacts, in bytes of the space-packet stream.

    Each contact carries whole transfer frames of ``frame_bytes``, each with ``zone_bytes`` of packets. What is looked
    ahead to (``forecasts``, ``budget``) is what was promised, such as clear sky; the rest is what happens.
    """

    def __init__(self, contacts: Sequence[ContactWindow], zone_bytes: int, frame_bytes: int) -> None:
        self.contacts = tuple(contacts)
        self._frame_bits = 8 * frame_bytes
        self._zone = zone_bytes
        self.zone_capacity = [int(c.total_bits // self._frame_bits) * zone_bytes for c in self.contacts]
        self._start = [float(c.grid_s[0]) if len(c.grid_s) else c.aos_s for c in self.contacts]
        self._end = [float(c.grid_s[-1]) if len(c.grid_s) else c.aos_s for c in self.contacts]
        self._before = [0]
        for size in self.zone_capacity:
            self._before.append(self._before[-1] + size)
        self._forecasts = [
            ContactForecast(c.station, start, end, size)
            for c, start, end, size in zip(self.contacts, self._start, self._end, self.zone_capacity, strict=True)
        ]
        self._ahead: list[tuple[ContactForecast, ...]] = [
            tuple(self._forecasts[k : k + _FORECASTS]) for k in range(len(self.contacts) + 1)
        ]
        promised = [c.promised for c in self.contacts]
        as_promised = all(one is other for one, other in zip(promised, self.contacts, strict=True))
        self._hoped = self if as_promised else CapacityClock(promised, zone_bytes, frame_bytes)
        self._first = 0  # contacts before it are behind

    def start_s(self, k: int) -> float:
        """When contact k can carry data. [s]"""
        return self._start[k]

    def end_s(self, k: int) -> float:
        """When contact k stops to carry data. [s]"""
        return self._end[k]

    def promised_bytes(self, k: int) -> int:
        """Packet bytes that the plan on board expects of contact k. [B]"""
        return self._hoped.zone_capacity[k]

    def zone_in(self, k: int, time_s: float) -> float:
        """Packet bytes that contact k can have carried by a time. [B]"""
        carried = self.contacts[k].bits_by(time_s) / self._frame_bits * self._zone
        return min(carried, float(self.zone_capacity[k]))

    def time_at(self, k: int, zone_position: float) -> float:
        """Time at which contact k has carried so many packet bytes. [s]"""
        bits = zone_position / self._zone * self._frame_bits
        return self.contacts[k].time_for(min(bits, self.contacts[k].total_bits))

    def frame_loss(self, k: int, begin: float, end: float) -> float:
        """Mean share of frames that contact k loses between two of its positions, ``begin`` below ``end``. [-]

        Notes
        -----
        Mean over capacity: a second in which twice as much is sent counts twice.
        """
        contact = self.contacts[k]
        if not len(contact.lost_bits):
            return 0.0
        bits = np.array([begin, end]) / self._zone * self._frame_bits
        lost = np.interp(bits, contact.capacity_bits, contact.lost_bits)
        return float(np.clip((lost[1] - lost[0]) / (bits[1] - bits[0]), 0.0, 1.0))

    def refuse(self, k: int) -> None:
        """Contact k, the next one, is not used: from now on nobody looks ahead to it."""
        self._first = k + 1

    def _next(self, time_s: float) -> int:
        return max(self._first, bisect_right(self._end, time_s))

    def zone_by(self, time_s: float) -> float:
        """Packet bytes that all contacts together can have carried by a time. [B]"""
        k = bisect_right(self._end, time_s)
        if k == len(self.contacts) or time_s <= self._start[k]:
            return float(self._before[k])
        return self._before[k] + self.zone_in(k, time_s)

    def forecasts(self, time_s: float) -> tuple[ContactForecast, ...]:
        """The contacts ahead, the one under way included unless it is refused, eight at most."""
        return self._hoped._ahead[self._next(time_s)]

    def budget(self, time_s: float, queued_bytes: int) -> BudgetView:
        """What is left in the next contact, in the next day and in the mission, less what is queued. [B]"""
        hoped, k = self._hoped, self._next(time_s)
        now = max(hoped.zone_by(time_s), hoped._before[k])
        next_end = hoped._before[k + 1] if k < len(self.contacts) else hoped._before[k]
        return BudgetView(
            max(0, int(next_end - now) - queued_bytes),
            max(0, int(hoped.zone_by(time_s + 86400.0) - now) - queued_bytes),
            max(0, int(hoped._before[-1] - now) - queued_bytes),
        )
