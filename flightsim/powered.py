"""A supply in flight: it wakes at each change, finishes the work of the payload computer, and writes events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from . import events as ev
from .domain import PowerView
from .modes import Mode
from .power_report import PowerReport
from .power_trace import PowerTrace
from .supply import Change, Supply


class PoweredFlight:
    """What the flight asks of its supply, at the simulated time of the asking.

    Parameters
    ----------
    supply
        Fresh: at time 0.
    now_s
        Gives the simulated time. [s]
    call_at
        Calls a function at a simulated time.
    horizon_s
        Nothing is called after it. [s]
    """

    def __init__(
        self, supply: Supply, spacecraft: str, log: ev.EventLog, now_s: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], None], horizon_s: float,
    ) -> None:  # fmt: skip
        self._supply, self._spacecraft, self._log = supply, spacecraft, log
        self._now_s, self._call_at, self._horizon_s = now_s, call_at, horizon_s
        self._mode, self._heat = Mode.NOMINAL, supply.heat
        self._done: Callable[[], None] | None = None
        self._wake = 0  # number of the one wake-up that still counts
        self._refused: Counter[str] = Counter()
        self._mode_changes = 0
        self._told()
        self._plan()

    @property
    def mode(self) -> Mode:
        """What the spacecraft may do now."""
        self._advance()
        return self._supply.mode

    @property
    def may_work(self) -> bool:
        """Whether the payload computer may work now."""
        self._advance()
        return self._supply.may_work

    def view(self) -> PowerView:
        """What a policy sees now."""
        self._advance()
        return self._supply.view()

    def photograph(self) -> bool:
        """Take a picture, if the mode allows it; else it is counted as refused."""
        if not self.mode.captures:
            self._refused["captures"] += 1
            return False
        self._supply.photograph()
        self._plan()
        return True

    def transmit(self, until_s: float, station: str, capacity_bytes: int, queued_bytes: int) -> bool:
        """Begin a contact, if the mode allows it; else its capacity is counted as lost."""
        if not self.mode.transmits:
            self._refused["contacts"] += 1
            self._refused["contact_bytes"] += capacity_bytes
            self._log.emit(ev.CONTACT_REFUSED, self._now_s(), self._spacecraft, station, capacity_bytes, queued_bytes)
            return False
        self._supply.transmit(until_s)
        self._plan()
        return True

    def work(self, seconds: float, done: Callable[[], None]) -> None:
        """Work for the payload computer, which rests where mode, heat or duty want it; calls ``done`` at the end."""
        self._advance()
        self._supply.work(seconds)
        self._done = done
        self._plan()

    @property
    def trace(self) -> PowerTrace:
        """The course of charge and temperature, whole after ``report``."""
        return self._supply.trace

    def report(self) -> PowerReport:
        """The energy of the whole flight.

        Raises
        ------
        ConservationError
            Energy does not add up.
        """
        self._advance()
        return self._supply.report(self._spacecraft, self._horizon_s, self._refused, self._mode_changes)

    def _advance(self) -> None:
        for change in self._supply.advance(self._now_s()):
            if change is not Change.WORK:
                self._told()

    def _told(self) -> None:
        """Write events of a new mode or heat."""
        supply, now_s = self._supply, self._now_s()
        if supply.mode is not self._mode:
            self._log.emit(
                ev.MODE_CHANGED, now_s, self._spacecraft, supply.mode.name.lower(), self._mode.name.lower(),
                supply.battery.state_of_charge,
            )  # fmt: skip
            self._mode, self._mode_changes = supply.mode, self._mode_changes + 1
        if supply.heat is not self._heat and supply.node is not None:
            self._log.emit(
                ev.HEAT_CHANGED, now_s, self._spacecraft, supply.heat.name.lower(), self._heat.name.lower(),
                supply.node.temperature_c,
            )  # fmt: skip
            self._heat = supply.heat

    def _plan(self) -> None:
        """Wake at the next change. What was planned before no longer counts."""
        self._wake += 1
        number = self._wake
        # Work that ended while somebody else asked is told of in a wake-up of its own, never inside their question.
        over = self._done is not None and self._supply.work_left_s is None
        at_s = self._now_s() if over else self._supply.next_change()[0]
        if at_s <= self._horizon_s:
            self._call_at(at_s, lambda: self._woken(number))

    def _woken(self, number: int) -> None:
        if number != self._wake:
            return
        self._advance()
        done = self._done
        if done is not None and self._supply.work_left_s is None:
            self._done = None
            done()
        self._plan()


__all__ = ["PoweredFlight"]
