"""Files on their way down: queue, transmissions, what the ground answers, storage that is freed. No clock of its own.

The engine says when bytes are radiated and when the frame with the last of them is down. With CFDP class 1 a file is
then delivered, or lost with any of its frames. With class 2 the ground answers; answers and timers run while a contact
is used, and stand still outside contacts and in those that safe mode refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf

from . import cfdp, rng
from . import events as ev
from .budget import CapacityClock
from .cfdp import Losses
from .domain import QueuedItem, TerminalState
from .downlink_queue import DownlinkQueue
from .recorder import Ledger
from .storage import MassMemory
from .transaction import Answer, Next, Transaction


class Downlink:
    """The files of one spacecraft from the queue to their end.

    Parameters
    ----------
    now
        Gives the simulated time. [s]
    call_at
        Calls something at a simulated time. [s]
    wake
        Tells a radio that waits in a contact that the queue has something.
    """

    def __init__(
        self,
        clock: CapacityClock,
        memory: MassMemory,
        ledger: Ledger,
        losses: Losses,
        deadline_s: float,
        now: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], None],
        wake: Callable[[], None],
    ) -> None:
        self._clock, self._memory, self._ledger, self._losses = clock, memory, ledger, losses
        self._deadline_s, self._now, self._call_at, self._wake = deadline_s, now, call_at, wake
        self._closing_bytes = cfdp.closing_bytes(losses.cfdp)
        self._exposed: dict[str, float] = {}  # by file: bytes of this transmission that are expected to be lost
        self._open: dict[str, tuple[QueuedItem, Transaction]] = {}  # files that the ground has not closed
        self._contact_end_s = -inf  # of the contact that is used, or was last
        self._frozen: list[tuple[float, Callable[[], None]]] = []  # delays that stand still [s], and what follows
        self.queue = DownlinkQueue()

    def contact_begins(self, end_s: float) -> None:
        """A contact is used from now on until its end: delays that stood still go on. [s]"""
        self._contact_end_s = end_s
        frozen, self._frozen = self._frozen, []
        for left_s, then in frozen:
            self._after(left_s, then)

    def _after(self, delay_s: float, then: Callable[[], None]) -> None:
        """Call something when so much time has passed inside contacts that are used.

        A delay that would run out as a contact ends runs out when the next begins.
        """
        now_s, end_s = self._now(), self._contact_end_s
        if now_s + delay_s < end_s:
            self._call_at(now_s + delay_s, then)
        else:
            self._frozen.append((max(0.0, delay_s - max(0.0, end_s - now_s)), then))

    def enqueue(self, item: QueuedItem) -> None:
        """A new file."""
        item.closing_bytes = self._closing_bytes
        self.queue.push(item)
        self._ledger.items.append(item)
        self._ledger.log.emit(
            ev.ITEM_QUEUED, self._now(), item.id, str(item.kind), len(item.rows), item.size_bytes, item.wire_bytes,
            item.priority,
        )  # fmt: skip
        self._wake()

    def next_item(self) -> QueuedItem | None:
        """The file to send, or None; what expired before it gets its end."""
        item = self.queue.pop(self._now())
        for gone in self.queue.take_expired():
            self._memory.release(("item", gone.id))
            self._ledger.log.emit(ev.ITEM_EXPIRED, self._now(), gone.id, len(gone.rows))
            self._ledger.closed(gone, "expired", TerminalState.EXPIRED, self._now())
        return item

    def radiate(self, item: QueuedItem, k: int, contact: int, begin: int, part_bytes: int) -> None:
        """Due bytes of a file go out in contact k of the clock, from a position on.

        Parameters
        ----------
        contact
            The same contact in the record.
        """
        self._ledger.radiated(contact, item, part_bytes, again=item.repeat_bytes > 0)
        item.send(part_bytes)
        loss = self._clock.frame_loss(k, begin, begin + part_bytes)
        if loss > 0.0:
            self._exposed[item.id] = self._exposed.get(item.id, 0.0) + part_bytes * loss

    def landed(self, item: QueuedItem, station: str) -> None:
        """The frame with the last byte of a transmission is on the ground, or lost."""
        lost_bytes = self._exposed.pop(item.id, 0.0)
        if self._losses.cfdp.class_ == 1:
            self._memory.release(("item", item.id))
            if lost_bytes and self._losses.file_is_lost(_key(item), item.wire_bytes, lost_bytes / item.wire_bytes):
                self._lose(item, "class 1, and a frame of it was lost")
            else:
                self._deliver(item, station)
            return
        if item.id not in self._open:
            self._open[item.id] = item, Transaction(item.size_bytes, item.id, _key(item), self._losses)
        exchange = self._open[item.id][1]
        answer = exchange.landed(lost_bytes / exchange.burst_bytes)
        if answer.complete:
            self._deliver(item, station)
        if answer.then is Next.CLOSED:
            del self._open[item.id]
            return
        self._after(answer.delay_s, partial(self._answered, item, exchange, answer))

    def _answered(self, item: QueuedItem, exchange: Transaction, answer: Answer) -> None:
        log, now_s = self._ledger.log, self._now()
        self._ledger.return_bytes += answer.return_bytes
        if answer.then is Next.GIVEN_UP:
            del self._open[item.id]
            if ("item", item.id) in self._memory:
                self._memory.release(("item", item.id))
            if not exchange.complete:
                self._lose(item, f"class 2, given up after {self._losses.cfdp.attempts} repetitions")
            return
        if answer.then is Next.FINISHED:
            self._memory.release(("item", item.id))
            item.finished = True
            log.emit(ev.ITEM_FINISHED, now_s, item.id)
        else:
            item.repeat_bytes = exchange.burst_bytes
            log.emit(
                ev.ITEM_RETRANSMITTED, now_s, item.id, exchange.attempts, exchange.burst_pdus, exchange.burst_bytes
            )
        self.queue.push(item)
        self._wake()

    def _deliver(self, item: QueuedItem, station: str) -> None:
        now_s = self._now()
        self._ledger.delivered(item, now_s, self._deadline_s)
        self._ledger.log.emit(
            ev.ITEM_DELIVERED, now_s, item.id, str(item.kind), len(item.rows), station, now_s - item.captured_s
        )

    def _lose(self, item: QueuedItem, why: str) -> None:
        sent = item.sent_bytes + item.repeated_bytes
        self._ledger.log.emit(ev.ITEM_LOST, self._now(), item.id, len(item.rows), sent, why)
        self._ledger.closed(item, "lost", TerminalState.LOST, self._now())

    def finish(self, horizon_s: float) -> None:
        """The run is over: every open file gets its end."""
        drained = self.queue.drain()
        waiting = [item for item, _ in self._open.values()]
        unfinished = 0
        for item in {item.id: item for item in [*drained, *waiting]}.values():
            if ("item", item.id) in self._memory:
                self._memory.release(("item", item.id))
                unfinished += item.id in self._ledger.outcome
            if item.id in self._ledger.outcome:
                continue
            sent = item.sent_bytes + item.repeated_bytes
            self._ledger.log.emit(ev.ITEM_INCOMPLETE, horizon_s, item.id, len(item.rows), sent)
            self._ledger.closed(item, "incomplete", TerminalState.INCOMPLETE, horizon_s)
        if unfinished:
            self._ledger.note_once(f"{unfinished} delivered files still waited for Finished when the run ended")


def _key(item: QueuedItem) -> int:
    """What stands for a file in draws: the tiles it is about, whenever and under whatever name it is sent."""
    return rng.key_of("/".join(item.tile_ids))
