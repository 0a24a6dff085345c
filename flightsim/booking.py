"""Which passes are booked: the choice with the most contact time that obeys the rules."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from .domain import ContactWindow
from .errors import RunError
from .scenario.models import Booking


def time_order(window: ContactWindow) -> tuple[float, str, str]:
    """Key that sorts passes by AOS, then spacecraft, then station."""
    return (window.aos_s, window.spacecraft, window.station)


def day_of(window: ContactWindow, start: datetime) -> date:
    """UTC day on which a pass begins."""
    return (start + timedelta(seconds=window.aos_s)).date()


def is_closed(window: ContactWindow, booking: Booking, start: datetime) -> bool:
    """Whether a pass touches a time in which its station is closed."""
    return any(
        closure.station == window.station
        and (closure.start - start).total_seconds() < window.los_s
        and window.aos_s < (closure.end - start).total_seconds()
        for closure in booking.closed
    )


def _rivals(
    passes: Sequence[ContactWindow], chosen: NDArray[np.intp], booking: Booking, start: datetime
) -> tuple[list[list[int]], list[float]]:
    """Groups of candidates (positions in ``chosen``), and how many of each may be booked."""
    aos_s = np.array([passes[k].aos_s for k in chosen])
    free_s = np.array([passes[k].los_s for k in chosen]) + booking.handover_s
    groups: list[list[int]] = []
    limits: list[float] = []
    for resource in ("spacecraft", "station"):
        names = np.array([getattr(passes[k], resource) for k in chosen])
        for name in sorted(set(names.tolist())):
            mine = np.flatnonzero(names == name)
            # Intervals that overlap in pairs share an instant, and the latest AOS of them is such an instant:
            # one group for each AOS says all, and more tightly than pairs would.
            for k in mine:
                group = mine[(aos_s[mine] <= aos_s[k]) & (free_s[mine] > aos_s[k])]
                if len(group) > 1:
                    groups.append(group.tolist())
                    limits.append(1.0)
    if booking.passes_per_day is not None:
        days: dict[tuple[str, date], list[int]] = {}
        for position, k in enumerate(chosen):
            days.setdefault((passes[k].spacecraft, day_of(passes[k], start)), []).append(position)
        for group_of_day in days.values():
            if len(group_of_day) > booking.passes_per_day:
                groups.append(group_of_day)
                limits.append(float(booking.passes_per_day))
    return groups, limits


def book(passes: Sequence[ContactWindow], booking: Booking, start: datetime) -> list[ContactWindow]:
    """All passes in time order, with ``booked`` set on those that are bought.

    Parameters
    ----------
    passes
        Of any number of spacecraft and stations.
    booking
        The rules.
    start
        First instant of the run, UTC: says on which day a pass begins.

    Raises
    ------
    RunError
        The solver found no answer, which no input should cause.

    Notes
    -----
    Rules: a pass is booked whole, or not at all, because antenna time is sold so; it is at least ``minimum_s`` long
    and touches no time in which its station is ``closed``;
    each spacecraft has at most ``passes_per_day`` contacts that begin on one UTC day; one antenna (a station
    has one) serves one spacecraft and one spacecraft uses one antenna at a time, with ``handover_s`` in between.
    Among all choices that obey, the one with the longest total contact time is taken. Where no two passes
    are in each other's way, these are simply the longest of each day. Taking the longest first also where
    they are would let one pass shut out two that together are longer, and adding a station could then lose time.

    The choice is a small integer programme, solved to the optimum (HiGHS; the same answer each time).
    """
    ordered = sorted((replace(window, booked=False) if window.booked else window for window in passes), key=time_order)
    if booking.passes_per_day == 0:
        return ordered
    chosen = np.flatnonzero(
        [window.duration_s >= booking.minimum_s and not is_closed(window, booking, start) for window in ordered]
    )
    groups, limits = _rivals(ordered, chosen, booking, start)
    taken = np.ones(len(chosen), dtype=bool)
    if groups:
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array

        columns = np.fromiter(itertools.chain.from_iterable(groups), dtype=np.int64)
        rows = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        matrix = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(groups), len(chosen)))
        solved = milp(
            -np.array([ordered[k].duration_s for k in chosen]),
            integrality=np.ones(len(chosen)),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(matrix, ub=np.array(limits)),
            options={"mip_rel_gap": 0.0},
        )
        if solved.x is None:
            raise RunError(f"no booking of {len(chosen)} passes was found: {solved.message}")
        taken = solved.x > 0.5
    for k in chosen[taken]:
        ordered[k] = replace(ordered[k], booked=True)
    return ordered
