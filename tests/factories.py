"""Synthetic records of runs: no orbit and no engine, arrays made by hand or by keyed draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from flightsim import rng
from flightsim.domain import Action, ContactWindow, Plan, QueuedItem, TerminalState, TruthTable, VerdictStatus
from flightsim.recorder import ACTIONS, STATES, STATUSES, RunRecord
from flightsim.references import ReferenceSizes

ZONE, FRAME = 1105, 1115
DAY_S = 86400.0


def plan_of(times_s: Sequence[float], craft: Sequence[int] = (), places: Sequence[int] = ()) -> Plan:
    """A plan with one tile at each time; each at a place of its own unless told."""
    n = len(times_s)
    key = np.asarray(places if len(places) else np.arange(n), dtype=np.uint64)
    index = np.asarray(craft if len(craft) else np.zeros(n), dtype=np.int16)
    zeros = np.zeros(n)
    return Plan(
        spacecraft=tuple(f"sat{k}" for k in range(int(index.max(initial=0)) + 1)), craft=index,
        time_s=np.asarray(times_s, dtype=float), before_s=np.full(n, -30 * DAY_S),
        place_id=tuple(f"p{k}" for k in key.tolist()), place_key=key, block_key=key // np.uint64(64),
        block_row=np.zeros(n, np.int16), block_col=np.zeros(n, np.int16), lat_deg=zeros, lon_deg=zeros,
        gsd_m=zeros + 10, off_nadir_deg=zeros, sun_elevation_deg=zeros + 40, area=np.full(n, -1, np.int32), areas=(),
    )  # fmt: skip


def window(aos_s: float, seconds: float, frames: float, spacecraft: str = "sat0", booked: bool = True) -> ContactWindow:
    """A contact with a constant rate that carries so many transfer frames."""
    grid = aos_s + np.linspace(0.0, seconds, 4)
    return ContactWindow(
        spacecraft, "station", aos_s, aos_s + seconds / 2, aos_s + seconds, 45.0, booked=booked,
        grid_s=grid, capacity_bits=frames * FRAME * 8 * (grid - aos_s) / seconds,
    )  # fmt: skip


def truth_of(
    changed: Any, *, labelled: Any = None, visible: Any = None, cluster: Any = None, prior: Any = 0.1
) -> TruthTable:
    """A truth table; one column a schema."""
    changed = np.atleast_2d(np.asarray(changed, dtype=bool).T).T
    n, s = changed.shape
    return TruthTable(
        schemas=("flood_extent", "ice_extent", "urban_delta", "wetland_change")[:s],
        changed=changed,
        labelled=np.ones((n, s), bool) if labelled is None else np.asarray(labelled, bool).reshape(n, s),
        visible=np.ones(n, bool) if visible is None else np.asarray(visible, bool),
        cluster=np.arange(n) if cluster is None else np.asarray(cluster, np.int64),
        prior=np.broadcast_to(np.asarray(prior, float), (s,)).copy(),
    )


def statuses(names: Any) -> np.ndarray:
    """Codes of statuses from the letters e(vent), n(ull), u(nclassifiable), i(nvalid), - (not asked)."""
    by = {"e": VerdictStatus.EVENT, "n": VerdictStatus.NULL, "u": VerdictStatus.UNCLASSIFIABLE}
    by["i"] = VerdictStatus.INVALID
    codes = {letter: STATUSES.index(status) for letter, status in by.items()} | {"-": -1}
    return np.array([[codes[letter] for letter in row] for row in names], dtype=np.int8)


def record_of(
    truth: TruthTable,
    *,
    times_s: Sequence[float] | None = None,
    plan: Plan | None = None,
    contacts: Sequence[ContactWindow] = (),
    status: np.ndarray | None = None,
    actions: Sequence[Action] | Action = Action.NOTHING,
    delivered_s: Any = None,
    thumbnail_px: int = 128,
    wire_bytes: int = 2000,
    duration_s: float = 7 * DAY_S,
    **changes: Any,
) -> RunRecord:
    """A consistent record: what was delivered went through the first booked contact, the rest is incomplete."""
    n, s = truth.changed.shape
    plan = plan or plan_of(np.arange(n) * 100.0 if times_s is None else times_s)
    chosen = [actions] * n if isinstance(actions, Action) else list(actions)
    delivered = np.full(n, np.nan) if delivered_s is None else np.broadcast_to(np.asarray(delivered_s, float), (n,))
    sent = np.array([action is not Action.NOTHING for action in chosen])
    arrived = sent & ~np.isnan(delivered)
    state = np.where(arrived, STATES.index(TerminalState.DELIVERED), STATES.index(TerminalState.INCOMPLETE))
    state[~sent] = STATES.index(TerminalState.NOT_SENT)
    wire = np.where(sent, float(wire_bytes), 0.0)
    zone_total = int(wire[arrived].sum())
    air_total = -(-zone_total // ZONE) * FRAME
    zone, air = np.zeros(len(contacts), np.int64), np.zeros(len(contacts), np.int64)
    booked = [k for k, contact in enumerate(contacts) if contact.booked]
    if booked:
        zone[booked[0]], air[booked[0]] = zone_total, air_total
    items = []
    for k in np.flatnonzero(sent).tolist():
        captured_s, done = float(plan.time_s[k]), wire_bytes if arrived[k] else 0
        item = (f"i{k}", (plan.tile_id(k),), (k,), chosen[k], wire_bytes * 9 // 10, wire_bytes, 5, captured_s)
        items.append(QueuedItem(*item, queued_s=captured_s, sent_bytes=done))
    record = RunRecord(
        plan=plan, truth=truth, contacts=contacts, contact_zone_bytes=zone, contact_air_bytes=air,
        duration_s=duration_s, horizon_s=duration_s + DAY_S, storage_bytes=10**12, zone_bytes=ZONE, frame_bytes=FRAME,
        status=np.full((n, s), -1, np.int8) if status is None else status,
        confidence=np.full((n, s), np.nan, np.float32),
        action=np.array([ACTIONS.index(action) for action in chosen], np.int8), state=state.astype(np.int8),
        decided_s=plan.time_s.copy(), delivered_s=np.where(arrived, delivered, np.nan), late=np.zeros(n, bool),
        policy_failed=np.zeros(n, bool),
        thumbnail_px=np.array([thumbnail_px if action is Action.THUMBNAIL else 0 for action in chosen], np.int32),
        product_bytes=np.where(sent, wire_bytes * 9 // 10, 0).astype(np.int64), wire_bytes=wire,
        air_bytes=np.where(arrived, wire * (air_total / max(1, zone_total)), 0.0), compute_s=np.ones(n),
        queue_samples=np.array([[0.0, 0.0, 0.0, 0.0], [DAY_S, 5e5, 2e6, 3.0], [2 * DAY_S, 2e5, 1e6, 0.0]]),
        items=items, outcomes={item.id: "delivered" if arrived[item.rows[0]] else "incomplete" for item in items},
        item_delivered_s={item.id: float(delivered[item.rows[0]]) for item in items if arrived[item.rows[0]]},
        reasons=[""] * n,
    )  # fmt: skip
    return replace(record, **changes)


def sizes_of(n: int, tile: int = 20_000, thumbnails: dict[int, int] | None = None) -> ReferenceSizes:
    """The same sizes for every tile."""
    sides = {64: 1500, 128: 4000, 256: 12_000} if thumbnails is None else thumbnails
    return ReferenceSizes(
        tile_wire=np.full(n, tile), thumbnail_wire={side: np.full(n, size) for side, size in sides.items()},
        raw_bytes=np.full(n, tile), tile_bytes=np.full(n, tile), cloud_estimate=np.full(n, np.nan),
    )  # fmt: skip


def random_mission(
    n: int = 2000,
    schemas: int = 1,
    *,
    prior: float = 0.1,
    hidden: float = 0.1,
    rates: tuple[float, float] = (0.92, 0.01),
    per_cluster: int = 10,
    seed: int = 1,
    **changes: Any,
) -> RunRecord:
    """Keyed draws: truth at the prior, an eye with these rates, tiles evenly over seven days, two contacts a day."""
    generator = rng.stream(seed, "tests/mission")
    changed = generator.random((n, schemas)) < prior
    event = generator.random((n, schemas)) < np.where(changed, *rates)
    status = np.where(event, STATUSES.index(VerdictStatus.EVENT), STATUSES.index(VerdictStatus.NULL)).astype(np.int8)
    truth = truth_of(changed, visible=generator.random(n) >= hidden, cluster=np.arange(n) // per_cluster, prior=prior)
    frames = n * 20_000 / ZONE / 14 / 4
    contacts = [window(40_000.0 + 43_200.0 * k, 500.0, frames) for k in range(14)]
    settings: dict[str, Any] = {"actions": Action.VERDICT, "delivered_s": 7 * DAY_S + 600.0, "wire_bytes": 300}
    settings |= changes
    return record_of(truth, times_s=np.linspace(0.0, 7 * DAY_S, n), contacts=contacts, status=status, **settings)
