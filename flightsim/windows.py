"""A pass over a station, and what the link carries in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NOTHING = np.zeros(0)
_NOTHING.flags.writeable = False


def _nothing() -> NDArray[np.float64]:
    """One empty array for all: a plan has thousands of passes, most of them never booked."""
    return _NOTHING


@dataclass(frozen=True, slots=True)
class ContactWindow:
    """One pass over a station, and what the link can carry in it.

    ``grid_s`` and ``capacity_bits`` (shape (n,), increasing) give the cumulative information bits of
    transfer frames before coding that the payload may use; empty until a link is applied. ``lost_bits`` (shape (n,))
    is the part of them that is expected to be lost, also cumulative; empty where the link loses nothing.
    ``promised_bits`` is what the plan on board expects instead of ``capacity_bits``, where nobody aboard can know the
    truth ahead; empty where the two are the same.
    """

    spacecraft: str
    station: str
    aos_s: float
    tca_s: float
    los_s: float
    max_elevation_deg: float
    truncated_start: bool = False
    truncated_end: bool = False
    booked: bool = False
    grid_s: NDArray[np.float64] = field(default_factory=_nothing)
    capacity_bits: NDArray[np.float64] = field(default_factory=_nothing)
    lost_bits: NDArray[np.float64] = field(default_factory=_nothing)
    promised_bits: NDArray[np.float64] = field(default_factory=_nothing)
    #: Share of the time in which the weather is worse than in this pass; None without weather. [%]
    weather_percent: float | None = None
    #: Whether the booked pass carries nothing although all was well: antenna, network or operator.
    failed: bool = False

    @property
    def promised(self) -> ContactWindow:
        """The contact as the plan on board has it."""
        if not len(self.promised_bits):
            return self
        return replace(self, capacity_bits=self.promised_bits, lost_bits=_NOTHING, promised_bits=_NOTHING)

    @property
    def truncated(self) -> bool:
        """Whether the search window cut the pass."""
        return self.truncated_start or self.truncated_end

    @property
    def duration_s(self) -> float:
        """AOS to LOS. [s]"""
        return self.los_s - self.aos_s

    @property
    def total_bits(self) -> float:
        """All that the payload may send in this contact. [bit]"""
        return float(self.capacity_bits[-1]) if len(self.capacity_bits) else 0.0

    def bits_by(self, time_s: float) -> float:
        """Cumulative capacity at a time, 0 before AOS and constant after LOS. [bit]"""
        if not len(self.grid_s):
            return 0.0
        return float(np.interp(time_s, self.grid_s, self.capacity_bits))

    def time_for(self, bits: float) -> float:
        """Time at which so many bits of the contact have been sent; inverse of ``bits_by``. [s]

        Returns infinity where the contact cannot carry them.
        """
        if not len(self.grid_s) or bits > self.capacity_bits[-1]:
            return float("inf")
        k = int(np.searchsorted(self.capacity_bits, bits, side="left"))
        if k == 0:
            return float(self.grid_s[0])
        c0, c1 = self.capacity_bits[k - 1], self.capacity_bits[k]
        t0, t1 = self.grid_s[k - 1], self.grid_s[k]
        return float(t0 + (t1 - t0) * (bits - c0) / (c1 - c0))


def windows_of(**columns: Sequence[Any]) -> list[ContactWindow]:
    """Windows from columns of one length, each a field; fields without a column have their defaults.

    Raises
    ------
    TypeError
        A column is no field, or a field without a default has no column.
    ValueError
        The columns differ in length.

    Notes
    -----
    Field by field takes a third of the time of window by window, which would be a seventh of a contact plan.
    """
    windows = [object.__new__(ContactWindow) for _ in zip(*columns.values(), strict=True)]
    if not windows:
        return []
    # Made as any other: it checks the names of the columns, and has the defaults.
    first = ContactWindow(**{name: values[0] for name, values in columns.items()})
    for name in (column.name for column in fields(ContactWindow)):
        # A slot takes a value although the class is frozen; the deque keeps nothing, it only runs the map.
        fill = map(getattr(ContactWindow, name).__set__, windows, columns.get(name, repeat(getattr(first, name))))
        deque(fill, maxlen=0)
    return windows
