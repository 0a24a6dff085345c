"""Small made-up missions for tests of the engine: no orbit, a plan and contacts written by hand."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flightsim.budget import CapacityClock
from flightsim.cfdp import Losses
from flightsim.compute import Processor
from flightsim.craft import Craft
from flightsim.domain import SCHEMA_IDS, ContactWindow, Plan
from flightsim.engine import fly
from flightsim.events import EventLog
from flightsim.perception import VerdictBook, shot_keys
from flightsim.recorder import Ledger, RunRecord
from flightsim.registry import load_policy
from flightsim.scenario.models import Camera, Clouds, Radio, Targets
from flightsim.scenes.sizes import Sizes
from flightsim.second_look import Finds, SecondLooks
from flightsim.sizing import Sizer
from flightsim.storage import MassMemory
from flightsim.supply import Supply
from payload.confusion import Confusion


def plan_at(times_s: Sequence[float]) -> Plan:
    """One tile at each time, all at different places."""
    n = len(times_s)
    time = np.array(times_s, dtype=float)
    key = np.arange(n, dtype=np.uint64)
    zeros = np.zeros(n)
    return Plan(
        spacecraft=("s",), craft=np.zeros(n, dtype=np.int16), time_s=time, before_s=np.full(n, -30 * 86400.0),
        place_id=tuple(f"g1280/r{k:05d}c00000" for k in range(n)), place_key=key, block_key=key // np.uint64(8),
        block_row=(np.arange(n) % 8).astype(np.int16), block_col=np.zeros(n, dtype=np.int16), lat_deg=zeros,
        lon_deg=zeros, gsd_m=zeros + 10, off_nadir_deg=zeros, sun_elevation_deg=zeros + 40,
        area=np.full(n, -1, dtype=np.int32), areas=(),
    )  # fmt: skip


def contact(aos_s: float, seconds: float, rate_bps: float, station: str = "a") -> ContactWindow:
    """A booked contact with a constant rate."""
    grid = aos_s + np.linspace(0.0, seconds, 5)
    return ContactWindow(
        "s", station, aos_s, aos_s + seconds / 2, aos_s + seconds, 40.0, booked=True,
        grid_s=grid, capacity_bits=rate_bps * (grid - aos_s),
    )  # fmt: skip


@dataclass
class Flown:
    """What a small mission left behind."""

    record: RunRecord
    ledger: Ledger
    events: list[dict[str, Any]]
    sizer: Sizer

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        """Events of one kind, in order."""
        return [event for event in self.events if event["kind"] == kind]

    def states(self) -> dict[str, int]:
        """Tiles per terminal state."""
        from flightsim.recorder import STATES

        codes, counts = np.unique(self.record.state, return_counts=True)
        return {str(STATES[code]): int(count) for code, count in zip(codes, counts, strict=True)}


def mission(
    policy: Any,
    times_s: Sequence[float],
    contacts: Sequence[ContactWindow],
    *,
    horizon_s: float = 200_000.0,
    payload: Any = None,
    schemas: tuple[str, ...] = SCHEMA_IDS,
    seconds_per_question: float = 0.0,
    queue_limit: int | None = None,
    duty: float = 1.0,
    load_s: float = 0.0,
    storage_bytes: int = 10**9,
    deadline_s: float = float("inf"),
    prevalence: float = 0.1,
    sizes: dict[str, Any] | None = None,
    radio: Radio | None = None,
    clouds: float = 0.0,
    fallback: Any = None,
    plan: Plan | None = None,
    opportunities: Finds | None = None,
    cadence_s: float = 9.0,
    max_looks: int = 2,
    seed: int = 1,
    supply: Callable[[Processor], Supply] | None = None,
) -> Flown:
    """Fly a plan written by hand; a policy by name or as an object."""
    plan = plan or plan_at(times_s)
    given = {"raw_bytes": 100_000, "tile_bytes": 80_000, "thumbnail_bytes": {128: 4000, 64: 1500, 256: 12000}}
    scenes = Sizes(Sizes.Config(**(given if sizes is None else sizes)))
    targets = Targets(prevalence={"default": prevalence}, clouds=Clouds(mean_fraction=clouds))
    truth = scenes.prepare(plan, schemas, targets, Camera(), seed)
    looks = SecondLooks(scenes, plan, truth, seed, opportunities, [cadence_s], [max_looks])
    sizer = Sizer(scenes, plan, radio or Radio(), looks)
    out = io.StringIO()
    log = EventLog(out)
    ledger = Ledger(plan, tuple(contacts), sizer.zone_bytes, sizer.frame_bytes, log)
    payload = payload or Confusion(Confusion.Config(tpr=0.9, fpr=0.05))

    def failed(row: int, detail: str) -> None:
        ledger.payload_faults[row] = detail

    book = VerdictBook(payload, scenes.pair, shot_keys(plan, seed), truth, seed, failed)
    chosen = load_policy(policy) if isinstance(policy, str) else policy
    processor = Processor(5700.0, duty)
    craft = Craft(
        name="s", rows=list(range(len(plan))), clock=CapacityClock(contacts, sizer.zone_bytes, sizer.frame_bytes),
        contact_rows=list(range(len(contacts))), processor=processor, queue_limit=queue_limit,
        seconds_per_question=seconds_per_question, prefilter_s=0.0, load_s=load_s, energy_j=1.0,
        memory=MassMemory(storage_bytes), policy=chosen, policy_name=str(policy),
        fallback=fallback or load_policy("verdicts_only"),
        fallback_name="verdicts_only", supply=supply and supply(processor),
    )  # fmt: skip
    losses = Losses(seed, (radio or Radio()).cfdp, sizer.zone_bytes)
    priors = dict.fromkeys(schemas, prevalence)
    fly([craft], ledger, scenes, book, sizer, schemas, priors, horizon_s, deadline_s, looks, losses)
    log.flush()
    record = ledger.record(truth, horizon_s, horizon_s, deadline_s, (storage_bytes,), 0)
    record.losses = losses
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    return Flown(record, ledger, events, sizer)
