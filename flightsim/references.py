"""What the same captures and passes give without any on-board eye: bent pipes and the no-VLM families.

Closed forms, no second simulation: the transfers of one spacecraft are a Lindley recursion on the *capacity clock*,
the cumulative bytes that its booked contacts can have carried. Positions on it are whole bytes of packet zone.

Where the link loses frames, files of the references are lost too, by the very draws of the run. Under CFDP class 2
they cost their expected retransmissions at the mean loss of the contacts, sent right behind the file: round trips,
timers and storage held until Finished are left out. The unlimited link loses nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from . import rng
from .domain import ContactWindow
from .recorder import RunRecord


@dataclass(frozen=True)
class ReferenceSizes:
    """What each tile would cost without a verdict in it; arrays of shape (n,), bytes. [B]

    ``thumbnail_wire`` goes by longer side in pixels. ``cloud_estimate`` is the on-board estimate, NaN for none. [-]
    """

    tile_wire: NDArray[np.int64]
    thumbnail_wire: Mapping[int, NDArray[np.int64]]
    raw_bytes: NDArray[np.int64]
    tile_bytes: NDArray[np.int64]
    cloud_estimate: NDArray[np.float64]


class CapacityCurve:
    """The capacity clock of one spacecraft, for arrays of times and positions.

    Each contact carries whole transfer frames of ``frame_bytes``, each with ``zone_bytes`` of packets.
    """

    def __init__(self, contacts: Sequence[ContactWindow], zone_bytes: int, frame_bytes: int) -> None:
        self.contacts = sorted((c for c in contacts if len(c.grid_s)), key=lambda c: float(c.grid_s[0]))
        self.zone_bytes, self.frame_bytes = zone_bytes, frame_bytes
        self.capacity = np.array([int(c.total_bits // (8 * frame_bytes)) * zone_bytes for c in self.contacts], np.int64)
        self.edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.capacity)])
        self._end_s = np.array([float(c.grid_s[-1]) for c in self.contacts])
        lost = [self._lost_in(k, self.capacity[k : k + 1])[0] for k in range(len(self.contacts))]
        self._lost = np.concatenate([np.zeros(1), np.cumsum(lost)])

    @property
    def total(self) -> int:
        """All that the contacts can carry. [B]"""
        return int(self.edges[-1])

    def _lost_in(self, k: int, carried: NDArray[np.int64]) -> NDArray[np.float64]:
        """Expected loss of the first so many packet bytes of a contact, shape (n,). [B]"""
        contact = self.contacts[k]
        if not len(contact.lost_bits):
            return np.zeros(len(carried))
        zones_per_bit = self.zone_bytes / (8 * self.frame_bytes)
        bits = carried / zones_per_bit
        return np.asarray(np.interp(bits, contact.capacity_bits, contact.lost_bits) * zones_per_bit)

    @property
    def mean_loss(self) -> float:
        """Share of all capacity that is expected to be lost. [-]"""
        return float(min(1.0, self._lost[-1] / self.total)) if self.total else 0.0

    def lost_by(self, position: NDArray[np.int64]) -> NDArray[np.float64]:
        """Packet bytes expected to be lost up to each of some positions, shape (n,). [B]"""
        index = np.clip(np.searchsorted(self.edges, position, side="left") - 1, 0, max(0, len(self.contacts) - 1))
        answer = self._lost[index]
        for k in np.unique(index).tolist() if len(self.contacts) else ():
            rows = index == k
            answer[rows] += self._lost_in(k, position[rows] - self.edges[k])
        return answer

    def position(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Packet bytes that can have been carried by each of some rising times, shape (n,). [B]"""
        index = np.searchsorted(self._end_s, time_s, side="right")
        answer = self.edges[index].astype(np.float64)
        starts = np.searchsorted(index, np.arange(len(self.contacts) + 1), side="left")
        for k, contact in enumerate(self.contacts):
            rows = slice(starts[k], starts[k + 1])
            if rows.start == rows.stop:
                continue
            bits = np.interp(time_s[rows], contact.grid_s, contact.capacity_bits, left=0.0)
            answer[rows] += np.minimum(bits / (8 * self.frame_bytes) * self.zone_bytes, self.capacity[k])
        return answer

    def frame_end(self, position: NDArray[np.int64]) -> NDArray[np.int64]:
        """Position at which the frame that holds a byte before ``position`` is complete, shape (n,). [B]"""
        index = np.maximum(np.searchsorted(self.edges, position, side="left") - 1, 0)
        base = self.edges[index]
        return np.asarray(base - (-(position - base) // self.zone_bytes) * self.zone_bytes)

    def time_at(self, frame_end: NDArray[np.int64]) -> NDArray[np.float64]:
        """Times at which some rising positions at the end of a frame are reached; infinity beyond the last. [s]"""
        answer = np.full(len(frame_end), np.inf)
        bounds = np.searchsorted(frame_end, self.edges, side="right")
        for k, contact in enumerate(self.contacts):
            rows = slice(bounds[k], bounds[k + 1])
            if rows.start == rows.stop:
                continue
            bits = (frame_end[rows] - self.edges[k]) / self.zone_bytes * (8 * self.frame_bytes)
            # Flat parts (acquisition, the gap before the mask) have no inverse; the first time counts.
            at = np.clip(np.searchsorted(contact.capacity_bits, bits, side="left"), 1, len(contact.grid_s) - 1)
            low, high = contact.capacity_bits[at - 1], contact.capacity_bits[at]
            share = np.divide(bits - low, high - low, out=np.zeros_like(bits), where=high > low)
            answer[rows] = contact.grid_s[at - 1] + np.clip(share, 0.0, 1.0) * (
                contact.grid_s[at] - contact.grid_s[at - 1]
            )
        return answer


@dataclass(frozen=True)
class Transfer:
    """First-in-first-out transfers of one spacecraft; arrays over the m files that were offered, in order of release.

    ``start`` and ``finish`` are positions on the capacity clock, meaningless where ``dropped`` (no room in storage).
    """

    curve: CapacityCurve
    start: NDArray[np.int64]
    finish: NDArray[np.int64]
    dropped: NDArray[np.bool_]

    @cached_property
    def complete(self) -> NDArray[np.bool_]:
        """Files whose last byte the contacts can carry, shape (m,)."""
        return np.asarray(~self.dropped & (self.finish <= self.curve.total))

    @cached_property
    def delivered_s(self) -> NDArray[np.float64]:
        """When the frame with a file's last byte is on the ground, NaN where never, shape (m,). [s]"""
        answer = np.full(len(self.finish), np.nan)
        rows = np.flatnonzero(self.complete)
        answer[rows] = self.curve.time_at(self.curve.frame_end(self.finish[rows]))
        return answer

    @cached_property
    def contact_zone_bytes(self) -> NDArray[np.int64]:
        """Packet bytes radiated in each contact of the curve, shape (contacts,). [B]"""
        start, finish = self.start[~self.dropped], self.finish[~self.dropped]
        if not len(start):
            return np.zeros(len(self.curve.capacity), dtype=np.int64)
        sent = np.concatenate([np.zeros(1, np.int64), np.cumsum(finish - start)])
        # Busy bytes up to an edge: all files that started before, the last one as far as it came.
        last = np.searchsorted(start, self.curve.edges, side="right") - 1
        known = np.maximum(last, 0)
        partial = np.minimum(self.curve.edges - start[known], finish[known] - start[known])
        return np.asarray(np.diff(np.where(last < 0, 0, sent[known] + partial)))

    @cached_property
    def contact_air_bytes(self) -> NDArray[np.int64]:
        """Transfer-frame bytes radiated in each contact, fill charged once, shape (contacts,). [B]"""
        zone = self.curve.zone_bytes
        return np.asarray(-(-self.contact_zone_bytes // zone) * self.curve.frame_bytes)

    @property
    def air_bytes(self) -> int:
        """All transfer-frame bytes radiated. [B]"""
        return int(self.contact_air_bytes.sum())

    def file_air_bytes(self) -> NDArray[np.float64]:
        """Transfer-frame bytes by file, fill shared in proportion, shape (m,); sums to ``air_bytes``. [B]"""
        answer = np.zeros(len(self.finish))
        offered = np.flatnonzero(~self.dropped)
        start, finish, share = self.start[offered], self.finish[offered], np.zeros(len(offered))
        edges, zones, airs = self.curve.edges, self.contact_zone_bytes, self.contact_air_bytes
        for k in np.flatnonzero(zones).tolist():
            rows = slice(np.searchsorted(finish, edges[k], side="right"), np.searchsorted(start, edges[k + 1]))
            inside = np.minimum(finish[rows], edges[k + 1]) - np.maximum(start[rows], edges[k])
            share[rows] += inside * (airs[k] / zones[k])
        answer[offered] = share
        return answer


def fifo(
    curve: CapacityCurve,
    release_s: NDArray[np.float64],
    wire_bytes: NDArray[np.int64],
    stored_bytes: NDArray[np.int64],
    raw_bytes: NDArray[np.int64],
    storage_bytes: int,
    position: NDArray[np.float64] | None = None,
) -> Transfer:
    """First in first out through the contacts, the newest dropped when storage is full.

    Parameters
    ----------
    release_s
        Rising times at which the files exist, shape (m,). [s]
    wire_bytes
        Space-packet bytes of each file, shape (m,). [B]
    stored_bytes, raw_bytes
        What a file occupies until delivered, and what its raw capture needs for an instant at release. [B]
    position
        ``curve.position(release_s)``, if the caller has it already.

    Notes
    -----
    With W the cumulative wire bytes and C the capacity clock at release, the finish of file i is
    W_i + max over j <= i of (C_j - W_{j-1}) (Lindley, "The theory of queues with a single server", 1952).
    C is rounded up to whole bytes, so a file that meets an idle link starts at most one byte late.
    """
    clock = curve.position(release_s) if position is None else position
    whole = np.ceil(clock).astype(np.int64)
    dropped = np.zeros(len(whole), dtype=bool)
    start, finish = _lindley(whole, wire_bytes)
    done = np.where(finish <= curve.total, curve.frame_end(finish), np.iinfo(np.int64).max)
    freed = np.searchsorted(done, clock, side="right")
    held = np.concatenate([np.zeros(1, np.int64), np.cumsum(stored_bytes)])
    used = held[:-1] - held[np.minimum(freed, np.arange(len(freed)))]
    full = used + np.maximum(stored_bytes, raw_bytes) > storage_bytes
    if not full.any():
        return Transfer(curve, start, finish, dropped)
    dropped = _dropped(curve, clock, whole, wire_bytes, stored_bytes, raw_bytes, storage_bytes)
    kept = ~dropped
    start, finish = np.zeros_like(whole), np.zeros_like(whole)
    start[kept], finish[kept] = _lindley(whole[kept], wire_bytes[kept])
    return Transfer(curve, start, finish, dropped)


def _lindley(clock: NDArray[np.int64], wire: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    total = np.cumsum(wire, dtype=np.int64)
    finish = total + np.maximum.accumulate(clock - (total - wire)) if len(wire) else total
    return finish - wire, finish


def _dropped(
    curve: CapacityCurve,
    clock: NDArray[np.float64],
    whole: NDArray[np.int64],
    wire: NDArray[np.int64],
    stored: NDArray[np.int64],
    raw: NDArray[np.int64],
    storage_bytes: int,
) -> NDArray[np.bool_]:
    """Which files find no room: admission depends on what was admitted before, so one by one."""
    edges, total, zone = curve.edges.tolist(), curve.total, curve.zone_bytes
    answer = np.zeros(len(whole), dtype=bool)
    waiting: list[tuple[int, int]] = []  # position at which it is gone, bytes
    head = used = finish = 0
    need = np.maximum(stored, raw).tolist()
    rows = zip(clock.tolist(), whole.tolist(), wire.tolist(), stored.tolist(), need, strict=True)
    for i, (now, arrival, size, keeps, needs) in enumerate(rows):
        while head < len(waiting) and waiting[head][0] <= now:
            used -= waiting[head][1]
            head += 1
        if used + needs > storage_bytes:
            answer[i] = True
            continue
        finish = max(finish, arrival) + size
        used += keeps
        if finish > total:
            waiting.append((np.iinfo(np.int64).max, keeps))
            continue
        base = edges[max(bisect_left(edges, finish) - 1, 0)]
        waiting.append((base - (-(finish - base) // zone) * zone, keeps))
    return answer


@dataclass(frozen=True)
class Reference:
    """What one reference gets down; arrays of shape (n,) over the tiles of the plan.

    ``offered`` is what it tried to send, ``delivered`` what arrived in time, ``dropped`` what found no room.
    """

    name: str
    air_bytes: int
    offered: NDArray[np.bool_]
    delivered: NDArray[np.bool_]
    delivered_s: NDArray[np.float64]
    dropped: NDArray[np.bool_]


class References:
    """The captures and contacts of one run, ready to be flown by reference policies.

    With several spacecraft each has its own contacts and storage; with one stated total the storage is
    taken in equal shares.
    """

    def __init__(self, record: RunRecord, sizes: ReferenceSizes) -> None:
        self.record, self.sizes = record, sizes
        plan, losses = record.plan, record.losses
        self._keys = np.zeros(0, dtype=np.uint64)  # read only where something can be lost
        if losses is not None and any(len(c.lost_bits) for c in record.contacts):
            self._keys = rng.keys_of(list(plan.tile_ids))
        crafts = len(plan.spacecraft)
        storage = record.craft_storage_bytes or (record.storage_bytes // max(1, crafts),) * crafts
        self._storage = dict(enumerate(storage))
        self._rows: dict[int, NDArray[np.int64]] = {}
        self._curves: dict[int, CapacityCurve] = {}
        self._position = np.zeros(len(plan))
        for index, name in enumerate(plan.spacecraft):
            rows = np.flatnonzero(plan.craft == index)
            booked = [c for c in record.contacts if c.booked and c.spacecraft == name]
            curve = CapacityCurve(booked, record.zone_bytes, record.frame_bytes)
            self._rows[index], self._curves[index] = rows, curve
            self._position[rows] = curve.position(plan.time_s[rows])

    @property
    def capacity_air_bytes(self) -> int:
        """B_cap: transfer-frame bytes that the payload may radiate in all booked contacts. [B]"""
        frames = sum(curve.total // curve.zone_bytes for curve in self._curves.values())
        return frames * self.record.frame_bytes

    def transfers(
        self, which: NDArray[np.bool_], wire: NDArray[np.int64], stored: NDArray[np.int64]
    ) -> list[tuple[NDArray[np.int64], Transfer]]:
        """Rows of the plan and their transfers, for each spacecraft that sends some tiles first in first out."""
        found = []
        for index, all_rows in self._rows.items():
            rows, curve, losses = all_rows[which[all_rows]], self._curves[index], self.record.losses
            sent = wire[rows] if losses is None else losses.expected_bytes(wire[rows], curve.mean_loss)
            transfer = fifo(
                curve, self.record.plan.time_s[rows], sent, stored[rows],
                self.sizes.raw_bytes[rows], self._storage[index], self._position[rows],
            )  # fmt: skip
            found.append((rows, transfer))
        return found

    def tiles_unlimited(self) -> Reference:
        """Bent pipe with an unlimited link: every tile, lossless, once with its framing, on the ground at once."""
        plan, record = self.record.plan, self.record
        everything = np.ones(len(plan), dtype=bool)
        streams = [int(self.sizes.tile_wire[rows].sum()) for rows in self._rows.values()]
        air = sum(-(-stream // record.zone_bytes) * record.frame_bytes for stream in streams)
        return Reference("bent pipe, unlimited link", air, everything, everything, plan.time_s, ~everything)

    def tiles_windows(self) -> tuple[Reference, NDArray[np.float64]]:
        """Bent pipe through the booked windows, and its radiated bytes by tile, shape (n,). [B]"""
        n = len(self.record.plan)
        everything = np.ones(n, dtype=bool)
        parts = self.transfers(everything, self.sizes.tile_wire, self.sizes.tile_bytes)
        air = np.zeros(n)
        for rows, transfer in parts:
            air[rows] = transfer.file_air_bytes()
        return self._reference("bent pipe", everything, parts), air

    def send(
        self, name: str, which: NDArray[np.bool_], wire: NDArray[np.int64], stored: NDArray[np.int64]
    ) -> Reference:
        """Some tiles, as whatever costs ``wire`` bytes each, first in first out."""
        return self._reference(name, which, self.transfers(which, wire, stored))

    def _reference(
        self, name: str, which: NDArray[np.bool_], parts: list[tuple[NDArray[np.int64], Transfer]]
    ) -> Reference:
        record = self.record
        n = len(record.plan)
        delivered_s, dropped = np.full(n, np.nan), np.zeros(n, dtype=bool)
        for rows, transfer in parts:
            delivered_s[rows] = np.where(self._lost(rows, transfer), np.nan, transfer.delivered_s)
            dropped[rows] = transfer.dropped
        with np.errstate(invalid="ignore"):
            in_time = delivered_s <= np.minimum(record.horizon_s, record.plan.time_s + record.deadline_s)
        air = sum(transfer.air_bytes for _, transfer in parts)
        return Reference(name, air, which, np.asarray(in_time), delivered_s, dropped)

    def _lost(self, rows: NDArray[np.int64], transfer: Transfer) -> NDArray[np.bool_]:
        """Files that were sent whole and never became complete, shape (m,)."""
        losses, answer = self.record.losses, np.zeros(len(rows), dtype=bool)
        if losses is None or not len(self._keys):
            return answer
        sent = np.flatnonzero(transfer.complete)
        start, finish = transfer.start[sent], transfer.finish[sent]
        share = (transfer.curve.lost_by(finish) - transfer.curve.lost_by(start)) / (finish - start)
        answer[sent] = losses.file_is_lost(self._keys[rows[sent]], finish - start, np.clip(share, 0.0, 1.0))
        return answer


__all__ = ["CapacityCurve", "Reference", "ReferenceSizes", "References", "Transfer", "fifo"]
