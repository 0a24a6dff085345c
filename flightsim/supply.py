"""Power, temperature and modes of one spacecraft together, stepped exactly from one change to the next.

Between two changes all powers are constant: the battery runs linearly, the temperature exponentially, the work at one
speed. So the next change is known in closed form, and there is no time step.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from copy import copy
from dataclasses import dataclass, field
from enum import StrEnum

from .compute import Processor
from .domain import PowerView
from .errors import ConservationError
from .modes import Heat, Ladder, Mode
from .orbit import Propagator
from .power import Battery, Pointing, SolarInput, solar_input
from .power_report import Consumer, PowerReport
from .power_trace import STEP_S, PowerTrace
from .scenario.energy import Power, Thermal
from .scenario.models import Spacecraft
from .thermal import Node

#: Rounding that conservation may leave, relative to the energy that flowed: a double has 16 digits, and some 10^5
#: changes are added up.
_ROUNDING = 1e-9


class Change(StrEnum):
    """What happens next."""

    SUN = "sun"
    CAMERA = "camera"
    TRANSMITTER = "transmitter"
    WORK = "work"
    DUTY = "duty"
    MODE = "mode"
    HEAT = "heat"
    COLD = "cold"
    NEVER = "never"


@dataclass
class Supply:
    """State of power, temperature, modes and work of one spacecraft at ``now_s``.

    ``work`` starts work for the payload computer, ``advance`` lets time pass and gives the changes that it met.
    """

    power: Power
    thermal: Thermal | None
    solar: SolarInput
    processor: Processor
    now_s: float = 0.0
    work_left_s: float | None = None
    consumed_wh: dict[Consumer, float] = field(default_factory=lambda: dict.fromkeys(Consumer, 0.0))
    mode_s: dict[Mode, float] = field(default_factory=lambda: dict.fromkeys(Mode, 0.0))
    heat_s: dict[Heat, float] = field(default_factory=lambda: dict.fromkeys(Heat, 0.0))
    trace: PowerTrace = field(default_factory=PowerTrace)

    def __post_init__(self) -> None:
        power, limits = self.power, self.power.modes
        self.battery = Battery(
            power.battery_wh, power.initial_state_of_charge, power.charge_efficiency, power.discharge_efficiency,
            power.max_charge_w,
        )  # fmt: skip
        self._modes = Ladder(
            [(limits.low_power_below, limits.nominal_above), (limits.safe_below, limits.low_power_above)], rising=False
        )
        self._modes.settle(self.battery.state_of_charge)
        self.node: Node | None = None
        thermal = self.thermal
        if thermal is not None:
            self.node = Node(thermal.initial_c, thermal.heat_capacity_j_per_k, thermal.conductance_w_per_k)
            ends = (thermal.throttle_c, thermal.cut_c)
            self._heat = Ladder([(limit, limit - thermal.hysteresis_k) for limit in ends], rising=True)
            self._heat.settle(thermal.initial_c)
        self._cold = thermal is not None and thermal.initial_c < thermal.charge_above_c
        self._until_s = {Change.CAMERA: -math.inf, Change.TRANSMITTER: -math.inf}
        self._traced: tuple[object, ...] = ()  # what decides the course from the last row of the trace on

    # State ------------------------------------------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """What the spacecraft may do."""
        return Mode(self._modes.level)

    @property
    def heat(self) -> Heat:
        """What the payload computer may do."""
        return Heat.COOL if self.node is None else Heat(self._heat.level)

    @property
    def may_work(self) -> bool:
        """Whether mode and temperature let the payload computer work."""
        return self.mode.infers and self.heat is not Heat.CUT

    def view(self) -> PowerView:
        """What a policy sees."""
        return PowerView(self.battery.state_of_charge, self.solar.sunlit[self._stretch()])

    def _stretch(self) -> int:
        return min(max(0, bisect_right(self.solar.edges_s, self.now_s) - 1), len(self.solar.sunlit) - 1)

    def _speed(self) -> float:
        """Work done in a second, 0 while the payload computer does not work. [-]"""
        if self.work_left_s is None or not self.may_work or self.processor.left_s(self.now_s) <= 0.0:
            return 0.0
        return self.thermal.throttle_speed if self.thermal and self.heat is Heat.THROTTLED else 1.0

    def loads_w(self) -> dict[Consumer, float]:
        """Power that each consumer draws now. [W]"""
        loads = self.power.loads
        payload_w = 0.0
        if self.may_work:
            payload_w = loads.payload_idle_w + self._speed() * (loads.payload_w - loads.payload_idle_w)
        return {
            Consumer.BUS: loads.bus_w if self.mode is not Mode.SAFE else loads.safe_bus_w,
            Consumer.PAYLOAD: payload_w,
            Consumer.CAMERA: loads.camera_w if self._on(Change.CAMERA) and self.mode.captures else 0.0,
            # A contact that has begun is finished, whatever the mode becomes.
            Consumer.TRANSMITTER: loads.transmitter_w if self._on(Change.TRANSMITTER) else 0.0,
        }

    def _on(self, what: Change) -> bool:
        return self.now_s < self._until_s[what]

    # Commands, all at the present time --------------------------------------------------------------------------------

    def work(self, seconds: float) -> None:
        """Give the payload computer work that takes so long at full speed. [s]"""
        self.work_left_s = seconds

    def photograph(self) -> None:
        """Switch the camera on for one picture."""
        self._until_s[Change.CAMERA] = self.now_s + self.power.loads.camera_s

    def transmit(self, until_s: float) -> None:
        """Switch the transmitter on."""
        self._until_s[Change.TRANSMITTER] = until_s

    # Time -------------------------------------------------------------------------------------------------------------

    def next_change(self) -> tuple[float, Change, int]:
        """When something changes next by itself, what, and by how many steps; infinity and NEVER for nothing. [s]"""
        now_s = self.now_s
        found: list[tuple[float, Change, int]] = [(math.inf, Change.NEVER, 0)]
        stretch, speed, loads_w = self._stretch(), self._speed(), self.loads_w()
        if stretch + 1 < len(self.solar.sunlit):
            found.append((self.solar.edges_s[stretch + 1], Change.SUN, 0))
        found += [(until_s, what, 0) for what, until_s in self._until_s.items() if until_s > now_s]
        if speed and self.work_left_s is not None:
            found.append((now_s + self.work_left_s / speed, Change.WORK, 0))
            found.append((now_s + self.processor.left_s(now_s), Change.DUTY, 0))
        elif self.work_left_s is not None and self.may_work:
            found.append((self.processor.orbit_end_s(now_s), Change.DUTY, 0))
        rate_w = self.battery.rate_w(self.solar.power_w[stretch], sum(loads_w.values()), not self._cold)
        for limit, step in self._modes.limits():
            due = self._modes.due(self.battery.state_of_charge) == step
            found.append((now_s + (0.0 if due else self.battery.time_to_s(limit, rate_w)), Change.MODE, step))
        if self.node is not None and self.thermal is not None:
            heating = self._heating(loads_w, stretch)
            for limit_c, step in self._heat.limits():
                due = self._heat.due(self.node.temperature_c) == step
                found.append((now_s + (0.0 if due else self.node.time_to_s(limit_c, *heating)), Change.HEAT, step))
            charge_c = self.thermal.charge_above_c
            if self._cold == (self.node.steady_c(*heating) > charge_c):
                # The side that the temperature leaves; past the limit by rounding counts as there.
                due = (self.node.temperature_c >= charge_c) == self._cold
                found.append((now_s + (0.0 if due else self.node.time_to_s(charge_c, *heating)), Change.COLD, 0))
        return min(found)

    def _heating(self, loads_w: dict[Consumer, float], stretch: int) -> tuple[float, float]:
        """Heat in the box and temperature of its sink. [W, deg C]"""
        assert self.thermal is not None
        sunlit = self.solar.sunlit[stretch]
        sink_c = self.thermal.sunlit_sink_c if sunlit else self.thermal.eclipse_sink_c
        return self.thermal.background_w + loads_w[Consumer.PAYLOAD], sink_c

    def advance(self, to_s: float) -> list[Change]:
        """Let time pass; gives the changes of mode, heat and finished work that were met, in order."""
        met: list[Change] = []
        while True:
            at_s, what, step = self.next_change()
            if at_s > to_s:
                self._flow(to_s)
                return met
            self._flow(at_s)
            # A limit that was reached is passed by decree: rounding may leave the value a hair before it.
            if what is Change.MODE:
                self._modes.level += step
            elif what is Change.HEAT:
                self._heat.level += step
            elif what is Change.COLD:
                self._cold = not self._cold
            elif what is Change.WORK:
                self.work_left_s = None
            if what in (Change.MODE, Change.HEAT, Change.WORK):
                met.append(what)

    def _flow(self, to_s: float) -> None:
        """Let time pass in which nothing changes."""
        seconds = to_s - self.now_s
        if seconds <= 0.0:
            return
        stretch, loads_w, speed = self._stretch(), self.loads_w(), self._speed()
        load_w = sum(loads_w.values())
        self._trace(seconds, load_w, None if self.node is None else self._heating(loads_w, stretch))
        met = self.battery.advance(seconds, self.solar.power_w[stretch], load_w, not self._cold)
        for consumer, watts in loads_w.items():
            self.consumed_wh[consumer] += watts * seconds / 3600.0 * met
        if self.node is not None:
            self.node.advance(seconds, *self._heating(loads_w, stretch))
        if speed and self.work_left_s is not None:
            self.work_left_s = max(0.0, self.work_left_s - speed * seconds)
            self.processor.charge(self.now_s, seconds)
        self.mode_s[self.mode] += seconds
        self.heat_s[self.heat] += seconds
        self.now_s = to_s

    def _trace(self, seconds: float, load_w: float, heating: tuple[float, float] | None) -> None:
        """Keep the state if its course bends here, and what lies ahead and a straight line would not show."""
        stretch, may_charge = self._stretch(), not self._cold
        sun_w, rows = self.solar.power_w[stretch], self.trace
        rate_w = self.battery.rate_w(sun_w, load_w, may_charge)
        holding = (self.mode, self.heat, self.solar.sunlit[stretch])
        course = (rate_w, heating, *holding)
        if course != self._traced or self.now_s - rows.time_s[-1] >= STEP_S:
            self._add_row(0.0, self.battery, self.node)
            self._traced = course
        # Where the battery becomes full or empty its line has a corner.
        corner_s = self.battery.time_to_s(1.0 if rate_w > 0.0 else 0.0, rate_w)
        since_s = self.now_s - rows.time_s[-1]
        ahead_s = {STEP_S * k - since_s for k in range(1, math.ceil((since_s + seconds) / STEP_S))} | {corner_s}
        for after_s in sorted(after_s for after_s in ahead_s if 0.0 < after_s < seconds):
            battery, node = copy(self.battery), copy(self.node)
            battery.advance(after_s, sun_w, load_w, may_charge)
            if node is not None and heating is not None:
                node.advance(after_s, *heating)
            self._add_row(after_s, battery, node)

    def _add_row(self, after_s: float, battery: Battery, node: Node | None) -> None:
        temperature_c = math.nan if node is None else node.temperature_c
        sunlit = self.solar.sunlit[self._stretch()]
        self.trace.add(self.now_s + after_s, battery.state_of_charge, temperature_c, self.mode, self.heat, sunlit)

    # End --------------------------------------------------------------------------------------------------------------

    def report(self, spacecraft: str, end_s: float, refused: Counter[str], mode_changes: int) -> PowerReport:
        """Where the energy went until ``end_s``, which ends the flight.

        Raises
        ------
        ConservationError
            Energy does not add up: a defect of flightsim, never of the input.
        """
        self.advance(end_s)
        self._add_row(0.0, self.battery, self.node)
        battery = self.battery
        flowed_wh = battery.harvested_wh + battery.consumed_wh + battery.capacity_wh
        for what, left_wh in (
            ("the battery's account", battery.imbalance_wh()),
            ("the consumers' shares", sum(self.consumed_wh.values()) - battery.consumed_wh),
            ("the array's input", self.solar.energy_wh(end_s) - battery.harvested_wh),
        ):
            if abs(left_wh) > _ROUNDING * flowed_wh:
                raise ConservationError(
                    f"{what} of {spacecraft} leaves {left_wh:g} Wh over. This is a defect of flightsim."
                )
        node = self.node
        return PowerReport(
            spacecraft=spacecraft,
            capacity_wh=battery.capacity_wh,
            lowest_state_of_charge=battery.lowest_wh / battery.capacity_wh,
            final_state_of_charge=battery.state_of_charge,
            harvested_wh=battery.harvested_wh,
            consumed_wh={str(who): self.consumed_wh[who] for who in Consumer},
            losses_wh=battery.losses_wh,
            spilled_wh=battery.spilled_wh,
            unmet_wh=battery.unmet_wh,
            full_s=battery.full_s,
            empty_s=battery.empty_s,
            eclipse_share=self.solar.eclipse_share(end_s),
            mode_s={mode.name.lower(): self.mode_s[mode] for mode in Mode},
            mode_changes=mode_changes,
            highest_temperature_c=None if node is None else node.highest_c,
            lowest_temperature_c=None if node is None else node.lowest_c,
            throttled_s=None if node is None else self.heat_s[Heat.THROTTLED],
            cut_s=None if node is None else self.heat_s[Heat.CUT],
            captures_refused=refused["captures"],
            contacts_refused=refused["contacts"],
            contact_bytes_refused=refused["contact_bytes"],
        )


def supply_of(craft: Spacecraft, propagator: Propagator, processor: Processor, end_s: float) -> Supply | None:
    """Power, temperature and modes of a spacecraft from the scenario's start to ``end_s``; None for power off."""
    if craft.power == "off":
        return None
    solar = solar_input(propagator, end_s, craft.power.array_w, Pointing(craft.power.pointing))
    return Supply(craft.power, None if craft.thermal == "off" else craft.thermal, solar, processor)
