"""The one record of a run: arrays per tile and per question, contacts, items, events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import events as ev
from .cfdp import Losses
from .domain import (
    Action,
    ContactWindow,
    Decision,
    Look,
    Plan,
    ProductSpec,
    QueuedItem,
    TerminalState,
    TruthTable,
    Verdict,
    VerdictStatus,
)
from .errors import ConservationError
from .power_report import PowerReport
from .power_trace import PowerTrace
from .sharing import Share

#: Codes in arrays are positions in these tuples; -1 stands for "none yet" (not asked, undecided, still open).
ACTIONS: tuple[Action, ...] = tuple(Action)
STATES: tuple[TerminalState, ...] = tuple(TerminalState)
STATUSES: tuple[VerdictStatus, ...] = tuple(VerdictStatus)


@dataclass
class RunRecord:
    """What happened to n tiles and their s questions; what metrics, report and tables read.

    Times are seconds since the scenario's start, NaN where it never happened.
    """

    plan: Plan
    truth: TruthTable
    contacts: Sequence[ContactWindow]  # every pass, booked or not, in time order
    contact_zone_bytes: NDArray[np.int64]  # (contacts,) space-packet bytes radiated
    contact_air_bytes: NDArray[np.int64]  # (contacts,) transfer-frame bytes radiated, with fill
    duration_s: float
    horizon_s: float
    storage_bytes: int
    zone_bytes: int  # packet zone of a transfer frame
    frame_bytes: int  # transfer frame before coding
    status: NDArray[np.int8]  # (n, s) index into STATUSES, -1 not asked
    confidence: NDArray[np.float32]  # (n, s) NaN for none
    action: NDArray[np.int8]  # (n,) index into ACTIONS, -1 undecided
    state: NDArray[np.int8]  # (n,) index into STATES
    decided_s: NDArray[np.float64]  # (n,)
    delivered_s: NDArray[np.float64]  # (n,) last byte of the tile's product on the ground, also when late
    late: NDArray[np.bool_]  # (n,) delivered after the useful age
    policy_failed: NDArray[np.bool_]  # (n,) the fallback decided
    thumbnail_px: NDArray[np.int32]  # (n,) longer side of the thumbnail sent, 0 for none
    product_bytes: NDArray[np.int64]  # (n,) file bytes of what was decided
    wire_bytes: NDArray[np.float64]  # (n,) space-packet bytes of it; a verdict's share of its batch
    air_bytes: NDArray[np.float64]  # (n,) radiated transfer-frame bytes, fill shared in proportion; sums to B_air
    compute_s: NDArray[np.float64]  # (n,)
    queue_samples: NDArray[np.float64]  # (k, 4) time [s], queued wire bytes [B], storage used [B], waiting tiles [-]
    items: list[QueuedItem] = field(default_factory=list)  # finished and unfinished QueuedItem
    event_counts: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)  # item id: delivered, lost, expired, incomplete
    item_delivered_s: dict[str, float] = field(default_factory=dict)
    specs: dict[str, ProductSpec | None] = field(default_factory=dict)  # by item: which thumbnail
    reasons: list[str] = field(default_factory=list)  # (n,) the policy's words
    verdicts: dict[int, tuple[Verdict, ...]] = field(default_factory=dict)  # by row
    cloud_estimate: NDArray[np.float64] | None = None  # (n,) on board
    uplink_bytes: int = 0
    uplink_rate_bps: float = 64e3
    return_bytes: int = 0  # space packets of the ground's answers to files
    retransmitted_bytes: float = 0.0  # of the transfer frames radiated, fill shared in proportion
    lost_bytes: float = 0.0  # the same of files that were lost, their retransmissions included
    losses: Losses | None = None  # what the references lose; None for nothing
    energy_j: float = 0.0
    deadline_s: float = float("inf")  # useful age of a product
    craft_storage_bytes: tuple[int, ...] = ()  # by spacecraft; empty: ``storage_bytes`` in equal shares
    notes: list[str] = field(default_factory=list)  # what the report must say: failures, fallbacks, refusals
    looks: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))  # (n,) pictures that were stored
    looked_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # (n,) time of the last of them
    seen_visible: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))  # (n,) truth of that picture
    second_looks: dict[int, Look] = field(default_factory=dict)  # by row, where a later picture replaced the nominal
    power: tuple[PowerReport, ...] = ()  # by spacecraft with a power model
    power_traces: dict[str, PowerTrace] = field(default_factory=dict)  # by spacecraft with a power model
    sharing: dict[str, Share] = field(default_factory=dict)  # contact time by spacecraft, where there are several
    operations: dict[str, Any] = field(default_factory=dict)  # failed, closed, price, where the scenario states them

    def __post_init__(self) -> None:
        if len(self.looks) != len(self.plan):  # one nominal picture of everything
            self.looks = np.ones(len(self.plan), dtype=np.int16)
            self.looked_s, self.seen_visible = self.plan.time_s, self.truth.visible

    def picture_id(self, row: int) -> str:
        """Id of the picture that a tile's record and product are about."""
        look = self.second_looks.get(row)
        return self.plan.tile_id(row) if look is None else self.plan.look_id(row, look.time_s)


class Ledger:
    """What the engine writes while the simulation runs: lists, because single writes to arrays are slow."""

    def __init__(
        self, plan: Plan, contacts: Sequence[ContactWindow], zone_bytes: int, frame_bytes: int, log: ev.EventLog
    ) -> None:
        n = len(plan)
        self.plan, self.contacts, self.log = plan, contacts, log
        self.zone_bytes, self.frame_bytes = zone_bytes, frame_bytes
        self.capture_s: list[float] = plan.time_s.tolist()
        self.tile_ids = plan.tile_ids
        self.policy_failed = [False] * n
        self.compute_s = [0.0] * n
        self.energy_j = 0.0
        self.payload_faults: dict[int, str] = {}  # by row: what the payload raised
        self.specs: dict[str, ProductSpec | None] = {}
        self.hung: str | None = None
        self.power: list[PowerReport] = []
        self.power_traces: dict[str, PowerTrace] = {}
        self.verdicts: dict[int, tuple[Verdict, ...]] = {}
        self.items: list[QueuedItem] = []
        self.weights: dict[str, NDArray[np.float64]] = {}
        self.outcome: dict[str, str] = {}
        self.item_delivered_s: dict[str, float] = {}
        self.samples: list[tuple[float, int, int, int]] = []
        self.notes: list[str] = []
        self._noted: set[str] = set()
        self.reasons = [""] * n
        self._action = [-1] * n
        self._decided_s = [float("nan")] * n
        self._state = [-1] * n
        self._delivered_s = [float("nan")] * n
        self._late = [False] * n
        self._looks = [0] * n
        self.second_looks: dict[int, Look] = {}
        self._seen_visible: dict[int, bool] = {}
        self._thumbnail_px = [0] * n
        self._product_bytes = [0] * n
        self._radiated: list[list[tuple[QueuedItem, int]]] = [[] for _ in contacts]
        self._contact_zone = [0] * len(contacts)
        self._contact_again = [0] * len(contacts)
        self.return_bytes = 0

    def note_once(self, text: str, key: str | None = None) -> None:
        """What the report must say, once for each key."""
        if (key or text) not in self._noted:
            self._noted.add(key or text)
            self.notes.append(text)

    def captured(self, row: int) -> None:
        """The nominal picture of a tile is stored."""
        self._looks[row] = 1

    def looked_again(self, row: int, look: Look, visible: bool) -> None:
        """Another picture is stored, and what follows is about it; ``visible`` is truth."""
        self._looks[row] += 1
        self.second_looks[row], self._seen_visible[row] = look, visible
        self.policy_failed[row] = False
        self.payload_faults.pop(row, None)

    def looks(self, row: int) -> int:
        """Pictures of a tile that were stored. [-]"""
        return self._looks[row]

    def answered(self, row: int, verdicts: tuple[Verdict, ...]) -> None:
        """The payload's answers for a tile."""
        self.verdicts[row] = verdicts

    def decided(self, row: int, decision: Decision, now_s: float) -> None:
        """What is to be done with a tile."""
        self._action[row] = _ACTION_CODE[decision.action]
        self._decided_s[row] = now_s
        self.reasons[row] = decision.reason

    def product(self, row: int, size_bytes: int, thumbnail_px: int) -> None:
        """What a decision made, before it is sent."""
        self._product_bytes[row] = size_bytes
        self._thumbnail_px[row] = thumbnail_px

    def end(self, row: int, state: TerminalState, now_s: float) -> None:
        """A tile's terminal state; a second one is a defect."""
        if self._state[row] >= 0:
            raise ConservationError(
                f"tile {self.tile_ids[row]} ended twice: {STATES[self._state[row]]}, then {state}. "
                "This is a defect of flightsim; please report the scenario."
            )
        self._state[row] = _STATE_CODE[state]
        self.log.emit(ev.TILE_ENDED, now_s, self.tile_ids[row], str(state))

    def radiated(self, contact: int, item: QueuedItem, part_bytes: int, again: bool = False) -> None:
        """Space-packet bytes of a file that a contact carries, for the first time or again. [B]"""
        self._radiated[contact].append((item, part_bytes))
        self._contact_zone[contact] += part_bytes
        if again:
            self._contact_again[contact] += part_bytes

    def air_bytes(self, zone_bytes: int) -> int:
        """Transfer-frame bytes of so many packet bytes in one contact; fill is charged once. [B]"""
        return -(-zone_bytes // self.zone_bytes) * self.frame_bytes

    def contact_closed(self, contact: int) -> tuple[int, int]:
        """Packet bytes and transfer-frame bytes that a contact radiated. [B]"""
        zone = self._contact_zone[contact]
        return zone, self.air_bytes(zone)

    @property
    def total_air_bytes(self) -> int:
        """Transfer-frame bytes radiated in all contacts. [B]"""
        return sum(self.air_bytes(zone) for zone in self._contact_zone)

    def delivered(self, item: QueuedItem, now_s: float, deadline_s: float) -> None:
        """The last byte of a file is on the ground."""
        self.outcome[item.id] = "delivered"
        self.item_delivered_s[item.id] = now_s
        for row in item.rows:
            late = now_s > self.capture_s[row] + deadline_s
            self._delivered_s[row] = now_s
            self._late[row] = late
            self.end(row, TerminalState.LATE if late else TerminalState.DELIVERED, now_s)

    def closed(self, item: QueuedItem, outcome: str, state: TerminalState, now_s: float) -> None:
        """A file that will not be delivered has its end, and its tiles with it."""
        self.outcome[item.id] = outcome
        for row in item.rows:
            self.end(row, state, now_s)

    def check(self) -> None:
        """Conservation: one end for each tile, and the bytes of files are the bytes of contacts.

        Raises
        ------
        ConservationError
            Something does not add up.
        """
        open_rows = [row for row, state in enumerate(self._state) if state < 0]
        if open_rows:
            raise ConservationError(f"{len(open_rows)} tiles have no end, the first is {self.tile_ids[open_rows[0]]}.")
        delivered = Counter(state for state in self.outcome.values())
        if sum(delivered.values()) != len(self.items):
            raise ConservationError(f"{len(self.items)} files, but outcomes {dict(delivered)}.")
        self._check_bytes()

    def _check_bytes(self) -> None:
        """What contacts carried is what files delivered, lost, cut short, and sent again."""
        books = dict.fromkeys(("delivered", "lost", "incomplete", "expired"), 0)
        for item in self.items:
            outcome, whole = self.outcome[item.id], item.sent_bytes >= item.wire_bytes - item.closing_bytes
            books[outcome] += item.sent_bytes
            # With acknowledged transfer a file that was sent whole may still wait for an answer.
            fits = {
                "delivered": whole,
                "lost": whole,
                "incomplete": not whole or item.closing_bytes > 0,
                "expired": item.sent_bytes == 0,
            }
            if not fits[outcome] or item.due_bytes < 0:
                raise ConservationError(f"file {item.id} is {outcome} with {item.sent_bytes} bytes sent.")
        again = sum(item.repeated_bytes for item in self.items)
        if again != sum(self._contact_again) or sum(books.values()) + again != sum(self._contact_zone):
            raise ConservationError(
                f"files sent {books} bytes and {again} again, contacts carried {sum(self._contact_zone)} bytes, "
                f"{sum(self._contact_again)} of them again."
            )

    def record(
        self,
        truth: TruthTable,
        duration_s: float,
        horizon_s: float,
        deadline_s: float,
        craft_storage_bytes: tuple[int, ...],
        uplink_bytes: int,
    ) -> RunRecord:
        """The finished record as arrays."""
        n, schemas = len(self.tile_ids), truth.schemas
        looks = np.array(self._looks, dtype=np.int16)
        looked_s, seen_visible = np.where(looks > 0, self.plan.time_s, np.nan), truth.visible.copy()
        for row, look in self.second_looks.items():
            looked_s[row], seen_visible[row] = look.time_s, self._seen_visible[row]
        column = {schema: j for j, schema in enumerate(schemas)}
        status = np.full((n, len(schemas)), -1, dtype=np.int8)
        confidence = np.full((n, len(schemas)), np.nan, dtype=np.float32)
        for row, verdicts in self.verdicts.items():
            for verdict in verdicts:
                j = column[verdict.schema_id]
                status[row, j] = _STATUS_CODE[verdict.status]
                if verdict.confidence is not None:
                    confidence[row, j] = verdict.confidence
        wire, air, lost = np.zeros(n), np.zeros(n), 0.0
        for item in self.items:
            rows = list(item.rows)
            share = self.weights[item.id] if item.id in self.weights else np.ones(len(rows))
            wire[rows] += item.wire_bytes * share
        contact_air = [self.air_bytes(zone) for zone in self._contact_zone]
        for parts, zone, radiated in zip(self._radiated, self._contact_zone, contact_air, strict=True):
            for item, part in parts:
                share = self.weights[item.id] if item.id in self.weights else np.ones(len(item.rows))
                air[list(item.rows)] += part * (radiated / zone) * share
                if self.outcome[item.id] == "lost":
                    lost += part * (radiated / zone)
        again = sum(
            part * (radiated / zone)
            for part, zone, radiated in zip(self._contact_again, self._contact_zone, contact_air, strict=True)
            if part
        )
        return RunRecord(
            plan=self.plan,
            truth=truth,
            contacts=self.contacts,
            contact_zone_bytes=np.array(self._contact_zone, dtype=np.int64),
            contact_air_bytes=np.array(contact_air, dtype=np.int64),
            duration_s=duration_s,
            horizon_s=horizon_s,
            storage_bytes=sum(craft_storage_bytes),
            deadline_s=deadline_s,
            craft_storage_bytes=craft_storage_bytes,
            zone_bytes=self.zone_bytes,
            frame_bytes=self.frame_bytes,
            status=status,
            confidence=confidence,
            action=np.array(self._action, dtype=np.int8),
            state=np.array(self._state, dtype=np.int8),
            decided_s=np.array(self._decided_s),
            delivered_s=np.array(self._delivered_s),
            late=np.array(self._late, dtype=bool),
            policy_failed=np.array(self.policy_failed, dtype=bool),
            thumbnail_px=np.array(self._thumbnail_px, dtype=np.int32),
            product_bytes=np.array(self._product_bytes, dtype=np.int64),
            wire_bytes=wire,
            air_bytes=air,
            compute_s=np.array(self.compute_s),
            queue_samples=np.array(sorted(self.samples), dtype=float).reshape(-1, 4),
            items=self.items,
            event_counts=self.log.counts,
            outcomes=self.outcome,
            item_delivered_s=self.item_delivered_s,
            specs=self.specs,
            reasons=self.reasons,
            verdicts=self.verdicts,
            uplink_bytes=uplink_bytes,
            return_bytes=self.return_bytes,
            retransmitted_bytes=float(again),
            lost_bytes=lost,
            energy_j=self.energy_j,
            notes=self.notes,
            looks=looks,
            looked_s=looked_s,
            seen_visible=seen_visible,
            second_looks=self.second_looks,
            power=tuple(self.power),
            power_traces=self.power_traces,
        )


_ACTION_CODE = {action: code for code, action in enumerate(ACTIONS)}
_STATE_CODE = {state: code for code, state in enumerate(STATES)}
_STATUS_CODE = {status: code for code, status in enumerate(STATUSES)}
