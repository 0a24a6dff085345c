"""The flight: camera, processor, policy call and radio of each spacecraft, ordered by SimPy.

SimPy orders events, it does not compute: what does not depend on decisions is in arrays before the run. There is
one SimPy event per capture, per service and per transferred file, none per packet.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np
import simpy

from . import events as ev
from .cfdp import Losses
from .craft import Craft
from .decider import Decider
from .domain import (
    COST_DESK,
    Action,
    Decision,
    Evidence,
    LazyCosts,
    Look,
    Observation,
    PowerView,
    QueuedItem,
    QueueView,
    TerminalState,
    Verdict,
    VerdictStatus,
)
from .downlink import Downlink
from .perception import VerdictBook
from .powered import PoweredFlight
from .protocols import SceneSource
from .recorder import Ledger
from .second_look import SecondLooks
from .sizing import OFFERED, OFFERED_WITH_LOOK, Batch, Sizer

_STATUS = VerdictStatus
_POWER_OFF = PowerView()


class Flight:
    """One spacecraft in a running simulation."""

    def __init__(
        self,
        env: simpy.Environment,
        craft: Craft,
        ledger: Ledger,
        scenes: SceneSource,
        book: VerdictBook,
        sizer: Sizer,
        schemas: tuple[str, ...],
        priors: dict[str, float],
        horizon_s: float,
        deadline_s: float,
        looks: SecondLooks,
        worth: Callable[[Verdict], float] | None,
        losses: Losses,
    ) -> None:
        self._env, self._craft, self._ledger = env, craft, ledger
        self._scenes, self._book, self._sizer, self._looks = scenes, book, sizer, looks
        self._priors, self._worth = MappingProxyType(priors), worth
        self._horizon_s = horizon_s
        self._log = ledger.log
        self._downlink = Downlink(
            craft.clock, craft.memory, ledger, losses, deadline_s, lambda: env.now, self._call_at, self._wake
        )
        self._queue = self._downlink.queue
        self._batches: dict[tuple[int, float | None], Batch] = {}
        self._waiting: deque[int] = deque()
        self._in_service: int | None = None
        self._ready_s = craft.load_s
        self._arrival: simpy.Event | None = None
        self._decider = Decider(craft.policy, craft.policy_name, craft.fallback, craft.fallback_name, schemas, ledger)
        self._sample_every = max(1, len(craft.rows) // 1500)
        self._power = craft.supply and PoweredFlight(
            craft.supply, craft.name, self._log, lambda: env.now, self._call_at, horizon_s
        )
        env.process(self._camera())
        env.process(self._radio())

    # Camera ----------------------------------------------------------------------------------------------------

    def _camera(self) -> Generator[simpy.Event, None, None]:
        env, time_s = self._env, self._ledger.capture_s
        for k, row in enumerate(self._craft.rows):
            # Absolute times: the delay is always from now, so that steps do not add up.
            yield env.timeout(max(0.0, time_s[row] - env.now))
            self._capture(row, time_s[row])
            if k % self._sample_every == 0:
                self._sample()

    def _capture(self, row: int, now_s: float) -> None:
        tile = self._ledger.tile_ids[row]
        raw_bytes = self._scenes.raw_bytes(row)
        if self._power and not self._power.photograph():
            self._lose(row, TerminalState.REFUSED_POWER, "no capture in safe mode")
            return
        if not self._craft.memory.admit(("raw", row, 1), raw_bytes):
            self._lose(row, TerminalState.DROPPED_FULL, "storage has no room for the raw capture")
            return
        self._ledger.captured(row)
        self._log.emit(ev.TILE_CAPTURED, now_s, tile, raw_bytes)
        self._to_processor(row, now_s)

    def _capture_again(self, row: int, look: Look) -> None:
        """The second look that a decision asked for."""
        ledger, raw_bytes = self._ledger, self._scenes.raw_bytes(row)
        if self._power and not self._power.photograph():
            self._lose(row, TerminalState.REFUSED_POWER, "no second look in safe mode")
            return
        if not self._craft.memory.admit(("raw", row, ledger.looks(row) + 1), raw_bytes):
            self._lose(row, TerminalState.DROPPED_FULL, "storage has no room for the raw capture of the second look")
            return
        self._looks.take(row, look)
        ledger.looked_again(row, look, self._looks.visible(row))
        picture = self._looks.tile_id(row)
        self._log.emit(ev.TILE_REIMAGED, self._env.now, ledger.tile_ids[row], picture, ledger.looks(row), raw_bytes)
        self._to_processor(row, self._env.now)

    def _to_processor(self, row: int, now_s: float) -> None:
        limit = self._craft.queue_limit
        if self._in_service is None and now_s >= self._ready_s:
            self._serve(row)
        elif limit is not None and len(self._waiting) >= limit:
            self._free_raw(row)
            self._lose(row, self._unprocessed(), "the compute queue is full")
        else:
            self._waiting.append(row)
            if self._in_service is None and len(self._waiting) == 1:
                self._call_at(self._ready_s, self._next)

    def _free_raw(self, row: int) -> None:
        """Free the raw capture of the current picture."""
        self._craft.memory.release(("raw", row, self._ledger.looks(row)))

    def _lose(self, row: int, state: TerminalState, why: str) -> None:
        self._log.emit(ev.TILE_LOST, self._env.now, self._ledger.tile_ids[row], str(state), why)
        self._ledger.end(row, state, self._env.now)

    # Processor -------------------------------------------------------------------------------------------------

    def _call_at(self, time_s: float, function: Callable[[], None]) -> None:
        timeout = self._env.timeout(max(0.0, time_s - self._env.now))
        timeout.callbacks.append(lambda _: function())

    def _next(self) -> None:
        while self._waiting and self._in_service is None:
            self._serve(self._waiting.popleft())

    def _serve(self, row: int) -> None:
        craft, now_s = self._craft, self._env.now
        schemas = self._decider.questions(row, lambda: self._observe(row, ()))
        verdicts = self._verdicts(row, schemas)
        if not verdicts:
            self._decide(row, ())
            return
        answered = sum(1 for v in verdicts if v.status is not _STATUS.UNCLASSIFIABLE)
        service_s = craft.prefilter_s + answered * craft.seconds_per_question
        energy_j = answered * craft.energy_j
        if self._power is None:
            self._ledger.energy_j += energy_j

        def over() -> None:
            self._ledger.compute_s[row] += service_s
            self._ledger.energy_j += energy_j if self._power else 0.0
            self._processed(row, verdicts, service_s)

        finish_s = now_s if self._power else craft.processor.finish_s(now_s, service_s)
        if finish_s <= now_s and (self._power is None or (service_s <= 0.0 and self._power.may_work)):
            over()
            return
        self._in_service = row  # what never finishes within the run stays here, and what waits behind it too

        def done() -> None:
            self._in_service = None
            over()
            self._next()

        if self._power:
            self._power.work(service_s, done)
        elif finish_s <= self._horizon_s:
            self._call_at(finish_s, done)

    def _unprocessed(self) -> TerminalState:
        """The end of a tile that waits in vain for the processor."""
        starved = self._power is not None and not self._power.mode.infers
        return TerminalState.REFUSED_POWER if starved else TerminalState.NOT_PROCESSED

    def _verdicts(self, row: int, schemas: tuple[str, ...]) -> tuple[Verdict, ...]:
        looks = self._looks
        if looks.look_of(row) is None:
            return self._book.of(row, schemas)
        return self._book.of_look(row, looks.pair(row), schemas, looks.key(row), looks.visible(row))

    def _processed(self, row: int, verdicts: tuple[Verdict, ...], service_s: float) -> None:
        counts = dict.fromkeys(_STATUS, 0)
        for verdict in verdicts:
            counts[verdict.status] += 1
        self._log.emit(
            ev.TILE_PROCESSED, self._env.now, self._ledger.tile_ids[row], len(verdicts),
            counts[_STATUS.EVENT], counts[_STATUS.UNCLASSIFIABLE], counts[_STATUS.INVALID], service_s,
        )  # fmt: skip
        self._ledger.answered(row, verdicts)
        self._decide(row, verdicts)

    # Policy ----------------------------------------------------------------------------------------------------

    def _observe(self, row: int, verdicts: tuple[Verdict, ...]) -> Observation:
        now_s, clock, queue = self._env.now, self._craft.clock, self._queue
        pending = queue.pending_bytes + self._batched_bytes()
        COST_DESK.set(partial(self._cost, row, verdicts))
        taken = self._ledger.looks(row)
        again = self._looks.next_look(row, now_s, taken)
        return Observation(
            now_s,
            self._looks.pair(row),
            verdicts,
            QueueView(len(queue), pending, queue.oldest_s),
            self._craft.memory.free_bytes,
            self._power.view() if self._power else _POWER_OFF,
            clock.forecasts(now_s),
            clock.budget(now_s, pending),
            LazyCosts(OFFERED if again is None else OFFERED_WITH_LOOK),
            {},
            self._priors,
            None if again is None else again.time_s,
            taken,
            {} if self._worth is None else Evidence(verdicts, self._worth),
        )

    def _batched_bytes(self) -> int:
        return sum(batch.wire_bytes for batch in self._batches.values()) if self._batches else 0

    def _cost(self, row: int, verdicts: tuple[Verdict, ...], action: Action) -> int:
        if action is Action.VERDICT:
            batch = next(iter(self._batches.values()), None)
            return self._sizer.verdict_cost(row, verdicts, batch)
        if action in (Action.NOTHING, Action.REIMAGE):
            return 0
        return self._sizer.product(row, action, None, verdicts).wire_bytes

    def _decide(self, row: int, verdicts: tuple[Verdict, ...]) -> None:
        seen = self._observe(row, verdicts)
        if row in self._ledger.payload_faults:
            tile = self._ledger.tile_ids[row]
            self._log.emit(ev.PAYLOAD_FAILED, seen.now_s, tile, self._ledger.payload_faults[row])
        decision, by = self._decider.decide(row, seen)
        COST_DESK.set(None)
        self._log.emit(
            ev.TILE_DECIDED, seen.now_s, self._ledger.tile_ids[row], str(decision.action), decision.priority, by,
            decision.reason,
        )  # fmt: skip
        self._ledger.decided(row, decision, seen.now_s)
        self._carry_out(row, decision, verdicts)

    def _carry_out(self, row: int, decision: Decision, verdicts: tuple[Verdict, ...]) -> None:
        craft, now_s = self._craft, self._env.now
        if not decision.keep:
            self._free_raw(row)
        if decision.action is Action.REIMAGE:
            look = self._looks.book(row, now_s, self._ledger.looks(row))
            self._log.emit(ev.LOOK_PLANNED, now_s, self._ledger.tile_ids[row], look.time_s, look.off_nadir_deg)
            self._call_at(look.time_s, partial(self._capture_again, row, look))
            return
        if decision.action is Action.NOTHING:
            self._ledger.end(row, self._unsent_state(row, verdicts), now_s)
            return
        if decision.action is Action.VERDICT:
            self._add_record(row, decision, verdicts)
            return
        product = self._sizer.product(row, decision.action, decision.product, verdicts)
        name = self._sizer.new_name(decision.action)
        if not craft.memory.admit(("item", name), product.size_bytes):
            self._refuse(row, decision.action, product.size_bytes)
            return
        self._ledger.specs[name] = decision.product
        self._ledger.product(row, product.size_bytes, product.size_px)
        self._downlink.enqueue(
            QueuedItem(
                name, (self._ledger.tile_ids[row],), (row,), decision.action, product.size_bytes,
                product.wire_bytes, decision.priority, self._ledger.capture_s[row], now_s, decision.expires_s,
            )
        )  # fmt: skip

    def _refuse(self, row: int, action: Action, size_bytes: int) -> None:
        tile, now_s = self._ledger.tile_ids[row], self._env.now
        self._log.emit(ev.PRODUCT_REFUSED, now_s, tile, str(action), size_bytes)
        self._ledger.end(row, TerminalState.DROPPED_FULL, now_s)

    def _unsent_state(self, row: int, verdicts: tuple[Verdict, ...]) -> TerminalState:
        if self._ledger.policy_failed[row]:
            return TerminalState.POLICY_FAILED
        statuses = {verdict.status for verdict in verdicts}
        if statuses == {_STATUS.UNCLASSIFIABLE}:
            return TerminalState.UNCLASSIFIABLE
        if _STATUS.INVALID in statuses and _STATUS.EVENT not in statuses:
            return TerminalState.INVALID
        return TerminalState.NOT_SENT

    def _add_record(self, row: int, decision: Decision, verdicts: tuple[Verdict, ...]) -> None:
        key = (decision.priority, decision.expires_s)
        batch = self._batches.get(key)
        if batch is None:
            batch = self._batches[key] = self._sizer.new_batch(*key)
        before = batch.size_bytes
        record = self._sizer.record(row, verdicts)
        size_bytes = batch.add(row, record, self._ledger.capture_s[row])
        if not self._craft.memory.grow(("item", batch.name), size_bytes - before if batch.rows[1:] else size_bytes):
            batch.drop_last()
            if not batch.rows:
                del self._batches[key]
            self._refuse(row, Action.VERDICT, record.size_bytes)
            return
        self._ledger.product(row, record.size_bytes, 0)
        if len(batch.rows) >= self._sizer.batch_limit or self._arrival is not None:
            self._close(key)

    def _close(self, key: tuple[int, float | None]) -> None:
        batch = self._batches.pop(key)
        ids = self._ledger.tile_ids
        self._ledger.weights[batch.name] = batch.shares()
        self._downlink.enqueue(
            QueuedItem(
                batch.name, tuple(ids[r] for r in batch.rows), tuple(batch.rows), Action.VERDICT, batch.size_bytes,
                batch.wire_bytes, batch.priority, batch.oldest_s, self._env.now, batch.expires_s,
            )
        )  # fmt: skip

    def _wake(self) -> None:
        """A radio that waits in a contact looks into the queue."""
        if self._arrival is not None:
            arrival, self._arrival = self._arrival, None
            arrival.succeed()

    # Radio -----------------------------------------------------------------------------------------------------

    def _radio(self) -> Generator[simpy.Event, None, None]:
        env, clock, ledger = self._env, self._craft.clock, self._ledger
        for k, window in enumerate(clock.contacts):
            if clock.zone_capacity[k] == 0 and not window.failed:
                continue
            yield env.timeout(max(0.0, clock.start_s(k) - env.now))
            if window.failed:
                told = (self._craft.name, window.station, clock.promised_bytes(k), self._queue.pending_bytes)
                self._log.emit(ev.CONTACT_FAILED, env.now, *told)
                continue
            offer = (clock.end_s(k), window.station, clock.zone_capacity[k], self._queue.pending_bytes)
            if self._power and not self._power.transmit(*offer):
                clock.refuse(k)
                continue
            self._downlink.contact_begins(clock.end_s(k))
            self._decider.contact_begins(clock.forecasts(env.now)[0])
            for key in sorted(self._batches, key=str):
                self._close(key)
            self._log.emit(
                ev.CONTACT_OPENED, env.now, self._craft.name, window.station, clock.zone_capacity[k],
                self._queue.pending_bytes,
            )  # fmt: skip
            self._sample()
            yield from self._contact_transfers(k, window.station)
            used = ledger.contact_closed(self._craft.contact_rows[k])
            self._log.emit(ev.CONTACT_CLOSED, env.now, self._craft.name, window.station, *used)
            self._sample()

    def _contact_transfers(self, k: int, station: str) -> Generator[simpy.Event, None, None]:
        env, clock = self._env, self._craft.clock
        contact, end_s, capacity = self._craft.contact_rows[k], clock.end_s(k), clock.zone_capacity[k]
        position = 0  # packet bytes of this contact that are spent, idle time included
        while True:
            item = self._downlink.next_item()
            if item is None:
                self._arrival = env.event()
                yield self._arrival | env.timeout(max(0.0, end_s - env.now))
                self._arrival = None
                if env.now >= end_s - 1e-9:
                    return
                continue
            position = max(position, math.ceil(clock.zone_in(k, env.now) - 1e-6))
            left = item.due_bytes
            if position + left <= capacity:
                self._downlink.radiate(item, k, contact, position, left)
                position += left
                yield env.timeout(max(0.0, clock.time_at(k, position) - env.now))
                # The frame that holds the last byte is shared with the next file and ends a little later.
                frame_s = clock.time_at(k, math.ceil(position / self._sizer.zone_bytes) * self._sizer.zone_bytes)
                self._call_at(frame_s, partial(self._downlink.landed, item, station))
                continue
            part = max(0, capacity - position)
            if part:
                self._downlink.radiate(item, k, contact, position, part)
                self._log.emit(ev.ITEM_CUT, env.now, item.id, item.sent_bytes, item.wire_bytes)
            self._queue.push(item)
            yield env.timeout(max(0.0, end_s - env.now))
            return

    # End -------------------------------------------------------------------------------------------------------

    def _sample(self) -> None:
        pending = self._queue.pending_bytes + self._batched_bytes()
        waiting = len(self._waiting)
        self._ledger.samples.append((self._env.now, pending, self._craft.memory.used_bytes, waiting))

    def finish(self) -> None:
        """Give every open tile and file its end, and check that storage adds up."""
        horizon_s = self._horizon_s
        for key in sorted(self._batches, key=str):
            self._close(key)
        open_rows = [self._in_service] if self._in_service is not None else []
        for row in [*open_rows, *self._waiting]:
            self._free_raw(row)
            self._lose(row, self._unprocessed(), "still waiting for the processor when the run ended")
        if self._power:
            self._ledger.power.append(self._power.report())
            self._ledger.power_traces[self._craft.name] = self._power.trace
        self._downlink.finish(horizon_s)
        self._craft.memory.check()
        kept = self._craft.memory.used_bytes
        if kept:
            self._ledger.note_once(f"{kept:,} B of raw captures were still kept in storage when the run ended")


def fly(
    crafts: Sequence[Craft],
    ledger: Ledger,
    scenes: SceneSource,
    book: VerdictBook,
    sizer: Sizer,
    schemas: tuple[str, ...],
    priors: dict[str, float],
    horizon_s: float,
    deadline_s: float,
    looks: SecondLooks,
    losses: Losses,
    progress: Callable[[float], None] | None = None,
    worth: Callable[[Verdict], float] | None = None,
) -> None:
    """Run the simulation to its horizon; everything that happened is in the ledger.

    Raises
    ------
    ConservationError
        Tiles or bytes do not add up: a defect of flightsim, never of the input.
    """
    env = simpy.Environment()
    flights = [
        Flight(env, craft, ledger, scenes, book, sizer, schemas, priors, horizon_s, deadline_s, looks, worth, losses)
        for craft in crafts
    ]
    if progress is not None:
        for step in np.linspace(0.0, horizon_s, 51)[1:]:
            timeout = env.timeout(float(step))
            timeout.callbacks.append(lambda event: progress(env.now / horizon_s))
    # Nothing is scheduled past the horizon, so the loop drains; `until` would leave out events at the horizon.
    env.run()
    if env.now < horizon_s:
        env.run(until=horizon_s)
    for flight in flights:
        flight.finish()
    ledger.check()
    ledger.log.emit(ev.RUN_ENDED, horizon_s, len(ledger.tile_ids), ledger.total_air_bytes)
