"""Battery, temperature, modes and work flown twice: by flightsim, and by a plain integration in small steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from flightsim.compute import Processor
from flightsim.power import SolarInput
from flightsim.scenario.energy import Power, Thermal
from flightsim.supply import Change, Supply

PERIOD_S = 5700.0
STEP_S = 0.5


@dataclass
class Stepped:
    """The rules of docs/power.md second by second, written without the code under test."""

    power: Power
    thermal: Thermal
    solar: SolarInput
    duty: float
    work_left_s: float
    photographs_s: list[float]
    contact_s: tuple[float, float]
    finished_s: float | None = None
    left_s: list[float] = field(default_factory=list)
    mode: int = 0
    heat: int = 0
    seconds: dict[int, float] = field(default_factory=lambda: dict.fromkeys(range(3), 0.0))
    lowest: float = 1.0

    def fly(self, end_s: float, step_s: float) -> None:
        """Fly from 0 to a time."""
        p, t, loads, limits = self.power, self.thermal, self.power.loads, self.power.modes
        self.stored_wh = p.initial_state_of_charge * p.battery_wh
        self.temperature_c = t.initial_c
        used_s, orbit = 0.0, 0.0
        for k in range(round(end_s / step_s)):
            now = k * step_s
            charge = self.stored_wh / p.battery_wh
            self.lowest = min(self.lowest, charge)
            if self.mode == 0 and charge <= limits.low_power_below:
                self.mode = 1
            if self.mode == 1 and charge <= limits.safe_below:
                self.mode = 2
            if self.mode == 2 and charge >= limits.low_power_above:
                self.mode = 1
            if self.mode == 1 and charge >= limits.nominal_above:
                self.mode = 0
            if self.heat == 0 and self.temperature_c >= t.throttle_c:
                self.heat = 1
            if self.heat == 1 and self.temperature_c >= t.cut_c:
                self.heat = 2
            if self.heat == 2 and self.temperature_c <= t.cut_c - t.hysteresis_k:
                self.heat = 1
            if self.heat == 1 and self.temperature_c <= t.throttle_c - t.hysteresis_k:
                self.heat = 0
            if now // PERIOD_S != orbit:
                orbit, used_s = now // PERIOD_S, 0.0
            stretch = max(j for j, edge in enumerate(self.solar.edges_s[:-1]) if edge <= now)
            on = self.mode == 0 and self.heat < 2
            working = on and self.work_left_s > 0 and used_s < self.duty * PERIOD_S
            speed = (t.throttle_speed if self.heat == 1 else 1.0) * working
            payload_w = (loads.payload_idle_w + speed * (loads.payload_w - loads.payload_idle_w)) * on
            load_w = payload_w + (loads.safe_bus_w if self.mode == 2 else loads.bus_w)
            load_w += loads.camera_w * (
                self.mode < 2 and any(s <= now < s + loads.camera_s for s in self.photographs_s)
            )
            load_w += loads.transmitter_w * (self.contact_s[0] <= now < self.contact_s[1])
            net_w = self.solar.power_w[stretch] - load_w
            if net_w > 0:
                cold = self.temperature_c < t.charge_above_c
                gained_wh = 0.0 if cold else min(net_w, p.max_charge_w) * p.charge_efficiency * step_s / 3600
                self.stored_wh = min(p.battery_wh, self.stored_wh + gained_wh)
            else:
                self.stored_wh = max(0.0, self.stored_wh + net_w / p.discharge_efficiency * step_s / 3600)
            sink_c = t.sunlit_sink_c if self.solar.sunlit[stretch] else t.eclipse_sink_c
            flow_w = t.background_w + payload_w - t.conductance_w_per_k * (self.temperature_c - sink_c)
            self.temperature_c += flow_w / t.heat_capacity_j_per_k * step_s
            self.seconds[self.mode] += step_s
            if working:
                used_s += step_s
                self.work_left_s -= speed * step_s
                if self.work_left_s <= 0 and self.finished_s is None:
                    self.finished_s = now + step_s
            self.left_s.append(max(0.0, self.work_left_s))


def both_flown(
    power: Power, thermal: Thermal, solar: SolarInput, duty: float, work_s: float, photographs_s: list[float],
    contact_s: float,
) -> tuple[Supply, Stepped, float | None, float]:  # fmt: skip
    """The supply and the small steps at the end of the sunlight given; when the supply's work was done; what was left
    of it when that of the small steps was done.

    Work begins at time 0; a contact lasts 500 s.
    """
    end_s = solar.edges_s[-1]
    ours = Supply(power, thermal, solar, Processor(PERIOD_S, duty))
    stepped = Stepped(power, thermal, solar, duty, work_s, photographs_s, (contact_s, contact_s + 500.0))
    stepped.fly(end_s, STEP_S)
    ours.work(work_s)
    finished_s, left_then_s = None, 0.0
    commands = [(s, "photograph") for s in photographs_s] + [(contact_s, "transmit")]
    for at_s, command in sorted([*commands, (stepped.finished_s or end_s, "look")]):
        if at_s < end_s:
            while (wake_s := ours.next_change()[0]) < at_s:
                finished_s = wake_s if Change.WORK in ours.advance(wake_s) else finished_s
            finished_s = at_s if Change.WORK in ours.advance(at_s) else finished_s
            if command == "look":
                left_then_s = ours.work_left_s or 0.0
            else:
                ours.photograph() if command == "photograph" else ours.transmit(contact_s + 500.0)
    while (wake_s := ours.next_change()[0]) <= end_s:
        finished_s = wake_s if Change.WORK in ours.advance(wake_s) else finished_s
    ours.advance(end_s)
    return ours, stepped, finished_s, left_then_s
