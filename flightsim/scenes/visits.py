"""Visits of a plan to its places, for sources whose places have several dates: which look at a place a shot is."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from ..domain import Plan
from ..errors import InputError


def visit_numbers(plan: Plan) -> NDArray[np.int64]:
    """How many earlier shots of a plan show the same place, by any spacecraft, shape (n,). [-]"""
    order = np.lexsort((plan.time_s, plan.place_key))
    key = plan.place_key[order]
    begins = np.r_[True, key[1:] != key[:-1]]
    first = np.maximum.accumulate(np.where(begins, np.arange(len(key)), 0))
    numbers = np.empty(len(key), dtype=np.int64)
    numbers[order] = np.arange(len(key)) - first
    return numbers


def reference_visits(plan: Plan) -> NDArray[np.int64]:
    """Which visit of the place took each shot's reference picture, shape (n,); -1 where it is older than the plan."""
    numbers = visit_numbers(plan)
    taken = {
        (int(key), float(time_s)): int(number)
        for key, time_s, number in zip(plan.place_key.tolist(), plan.time_s.tolist(), numbers.tolist(), strict=True)
    }
    found = [
        taken.get((key, time_s), -1)
        for key, time_s in zip(plan.place_key.tolist(), plan.before_s.tolist(), strict=True)
    ]
    return np.array(found, dtype=np.int64)


def start_of(plan: Plan) -> datetime:
    """UTC of a plan's time 0.

    Raises
    ------
    InputError
        The plan does not say; plans of scenarios do.
    """
    if plan.start_unix_s == 0.0:
        raise InputError("the plan has no start_unix_s; scenes that depend on the date need it.")
    return datetime.fromtimestamp(plan.start_unix_s, UTC)
