"""All that one spacecraft brings to the flight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .budget import CapacityClock
from .compute import Processor
from .protocols import Policy
from .storage import MassMemory
from .supply import Supply


@dataclass
class Craft:
    """All that one spacecraft flies with."""

    name: str
    rows: Sequence[int]  # of the plan, in time order
    clock: CapacityClock
    contact_rows: Sequence[int]  # of the record's contacts
    processor: Processor
    queue_limit: int | None
    seconds_per_question: float
    prefilter_s: float
    load_s: float
    energy_j: float
    memory: MassMemory
    policy: Policy
    policy_name: str
    fallback: Policy
    fallback_name: str
    supply: Supply | None = None  # None flies with power off
