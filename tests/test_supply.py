"""Battery, temperature, modes and work together, against a plain integration in small steps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flightsim.compute import Processor
from flightsim.modes import Heat, Ladder, Mode
from flightsim.power import SolarInput
from flightsim.power_report import Consumer
from flightsim.scenario.energy import Loads, ModeLimits, Power, Thermal
from flightsim.supply import Change, Supply
from flightsim.thermal import Node

PERIOD_S = 5700.0


def sun(*lengths_s: float, watts: float = 30.0) -> SolarInput:
    """Sunlight and eclipse in turn, sunlight first."""
    edges = tuple(np.concatenate([[0.0], np.cumsum(lengths_s)]).tolist())
    lit = tuple(k % 2 == 0 for k in range(len(lengths_s)))
    return SolarInput(edges, tuple(watts * on for on in lit), lit)


def supply(power: Power, solar: SolarInput, thermal: Thermal | None = None, duty: float = 1.0) -> Supply:
    return Supply(power, thermal, solar, Processor(PERIOD_S, duty))


# Against small steps --------------------------------------------------------------------------------------------------


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
    seconds: Counter[int] = field(default_factory=Counter)
    lowest: float = 1.0

    def fly(self, end_s: float, step_s: float) -> None:
        p, t, loads, limits = self.power, self.thermal, self.power.loads, self.power.modes
        self.stored_wh = p.initial_state_of_charge * p.battery_wh
        self.temperature_c = t.initial_c
        used_s, orbit = 0.0, 0
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


@settings(max_examples=25)
@given(
    lit_s=st.lists(st.integers(600, 4000), min_size=2, max_size=6),
    battery_wh=st.floats(4.0, 20.0), charge=st.floats(0.2, 0.95), payload_w=st.floats(10.0, 40.0),
    work_s=st.integers(100, 9000), duty=st.sampled_from([0.3, 1.0]), sink_c=st.floats(-60.0, 60.0),
    photographs=st.lists(st.integers(0, 8000), max_size=5).map(sorted), contact=st.integers(0, 8000),
)  # fmt: skip
@example(
    lit_s=[600, 600], battery_wh=4.71875, charge=0.4921875, payload_w=38.0, work_s=152, duty=0.3, sink_c=0.0,
    photographs=[0, 300], contact=641,
)  # fmt: skip
def test_it_is_the_limit_of_small_steps(
    lit_s, battery_wh, charge, payload_w, work_s, duty, sink_c, photographs, contact
):
    power = Power(
        battery_wh=battery_wh, initial_state_of_charge=charge, max_charge_w=15.0,
        loads=Loads(payload_w=payload_w, camera_s=120.0),
    )  # fmt: skip
    thermal = Thermal(sunlit_sink_c=sink_c, eclipse_sink_c=sink_c - 30, heat_capacity_j_per_k=300, charge_above_c=-5.0)
    solar, end_s = sun(*lit_s), float(sum(lit_s))
    ours = supply(power, solar, thermal, duty)
    stepped = Stepped(
        power, thermal, solar, duty, float(work_s), [float(s) for s in photographs], (float(contact), contact + 500.0)
    )
    stepped.fly(end_s, 0.5)
    ours.work(float(work_s))
    finished_s = None
    left_then_s = 0.0  # as the small steps finish
    commands = [(float(s), "photograph") for s in photographs] + [(float(contact), "transmit")]
    for at_s, command in sorted([*commands, (stepped.finished_s or end_s, "look")]):
        if at_s < end_s:
            while (wake_s := ours.next_change()[0]) < at_s:
                finished_s = wake_s if Change.WORK in ours.advance(wake_s) else finished_s
            finished_s = at_s if Change.WORK in ours.advance(at_s) else finished_s
            if command == "look":
                left_then_s = ours.work_left_s or 0.0
            else:
                ours.photograph() if command == "photograph" else ours.transmit(contact + 500.0)
    while (wake_s := ours.next_change()[0]) <= end_s:
        finished_s = wake_s if Change.WORK in ours.advance(wake_s) else finished_s
    report = ours.report("s", end_s, Counter(), 0)
    # A step of 0.5 s meets each change up to 0.5 s late, with up to 75 W wrong: 0.01 Wh a change, of which there are
    # some tens and which pull back to the same limits; and up to 0.1 K of Euler's error on the temperature.
    assert ours.battery.stored_wh == pytest.approx(stepped.stored_wh, abs=0.2)
    assert report.lowest_state_of_charge * battery_wh == pytest.approx(stepped.lowest * battery_wh, abs=0.1)
    assert ours.node is not None
    assert ours.node.temperature_c == pytest.approx(stepped.temperature_c, abs=1.0)
    for mode in Mode:
        assert ours.mode_s[mode] == pytest.approx(stepped.seconds[mode.value], abs=60.0)
    # When the work ends may differ by a whole pause, where a limit is met just before: so what is left is compared.
    assert left_then_s < 60.0
    assert (ours.work_left_s or 0.0) == pytest.approx(stepped.left_s[-1], abs=60.0)
    if finished_s is not None:
        assert stepped.left_s[min(len(stepped.left_s) - 1, round(finished_s / 0.5))] < 60.0


# Properties -----------------------------------------------------------------------------------------------------------


@given(
    lengths=st.lists(st.floats(10.0, 5000.0), min_size=1, max_size=12), battery_wh=st.floats(1.0, 50.0),
    charge=st.floats(0.0, 1.0), works=st.lists(st.tuples(st.floats(0.0, 5000.0), st.floats(0.0, 3000.0)), max_size=8),
    warm=st.booleans(), duty=st.sampled_from([0.1, 0.5, 1.0]),
)  # fmt: skip
def test_energy_adds_up_and_modes_never_chatter(lengths, battery_wh, charge, works, warm, duty):
    power = Power(battery_wh=battery_wh, initial_state_of_charge=charge)
    ours = supply(power, sun(*lengths), Thermal(sunlit_sink_c=55.0) if warm else None, duty)
    end_s, now_s, changes = sum(lengths), 0.0, []
    for gap_s, seconds in works:
        now_s = min(end_s, now_s + gap_s)
        while (wake_s := ours.next_change()[0]) <= now_s:
            before = ours.mode
            ours.advance(wake_s)
            changes += [(wake_s, ours.mode - before)] if ours.mode is not before else []
        ours.advance(now_s)
        ours.work(seconds)
        ours.photograph()
    report = ours.report("s", end_s, Counter(), 0)  # raises where energy does not add up
    assert sum(report.mode_s.values()) == pytest.approx(end_s)
    assert sum(report.consumed_wh.values()) + report.losses_wh + report.spilled_wh <= (
        report.harvested_wh + battery_wh + 1e-9
    )
    # To turn round, a tenth of the capacity must flow: at 60 W and 5 % loss at most.
    turns = [(b_s - a_s) for (a_s, a), (b_s, b) in pairwise(changes) if a * b < 0]
    assert all(turn_s >= 0.0999 * battery_wh / (60.0 / 0.95) * 3600.0 for turn_s in turns)


def test_a_spacecraft_that_cannot_live_on_its_array_does_not_flicker_at_the_limit():
    """KRAKsat's loop: the load that wakes at the limit empties the battery below it. The band makes it slow."""
    power = Power(
        battery_wh=10.0, initial_state_of_charge=0.5, loads=Loads(bus_w=30.0, safe_bus_w=2.0, payload_idle_w=0.0)
    )
    ours = supply(power, sun(36_000.0, watts=20.0))
    changes = []
    while (wake_s := ours.next_change()[0]) < 36_000.0:
        if Change.MODE in ours.advance(wake_s):
            changes.append((wake_s, ours.mode))
    assert {mode for _, mode in changes[2:]} == {Mode.LOW_POWER, Mode.SAFE}
    assert len(changes) > 10
    # From 0.45 to 0.6 of 10 Wh: up at 18 W x 0.95, down at 10 W / 0.95.
    waits = np.diff([at_s for at_s, _ in changes[1:]])
    assert sorted(set(np.round(waits, 3))) == pytest.approx([1.5 / 17.1 * 3600, 1.5 / (10 / 0.95) * 3600], abs=1e-3)


@pytest.mark.parametrize("limits", [[(0.5, 0.5)], [(0.5, 0.4)], [(0.5, 0.6), (0.55, 0.58)], [(0.5, 0.55), (0.4, 0.6)]])
def test_limits_that_would_chatter_are_refused(limits):
    with pytest.raises(ValueError, match="left at a better value"):
        Ladder(limits, rising=False)
    with pytest.raises(ValueError, match="left at a better value"):
        Ladder([(-enter, -leave) for enter, leave in limits], rising=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"low_power_below": 0.7}, "higher state of charge"),
        ({"safe_below": 0.6}, "higher state of charge"),
        ({"safe_below": 0.65, "low_power_above": 0.7}, "safe_below lies under"),
        ({"low_power_above": 0.8}, "low_power_above at most"),
    ],
)
def test_the_scenario_refuses_them_too(given, message):
    with pytest.raises(ValueError, match=message):
        ModeLimits(**given)


@given(st.lists(st.floats(0.0, 1.0), max_size=30))
def test_a_ladder_s_level_follows_from_the_value_and_where_it_came_from(values):
    ladder = Ladder([(0.6, 0.7), (0.45, 0.6)], rising=False)
    for value in values:
        before = ladder.level
        level = ladder.settle(value)
        assert level >= 2 or value > 0.45
        assert level >= 1 or value > 0.6
        assert level == 0 or value < 0.7
        assert level == before or (level > before) == (value <= (0.6, 0.45, 0.45)[before])


# Temperature ----------------------------------------------------------------------------------------------------------


@given(start=st.floats(-50, 100), power=st.floats(0, 50), sink=st.floats(-80, 60), target=st.floats(-80, 150))
def test_the_node_is_at_a_temperature_when_it_says(start, power, sink, target):
    node = Node(start, 540.0, 0.3)
    wait_s = node.time_to_s(target, power, sink)
    steady = node.steady_c(power, sink)
    if wait_s == float("inf"):
        node.advance(1e5, power, sink)
        assert (
            not min(start, node.temperature_c) < target < max(start, node.temperature_c) or abs(target - steady) < 1e-9
        )
    else:
        node.advance(wait_s, power, sink)
        assert node.temperature_c == pytest.approx(target, abs=1e-6)
    assert node.lowest_c <= node.temperature_c <= node.highest_c


def test_the_node_warms_by_the_closed_form():
    node = Node(10.0, 600.0, 0.5)  # tau 20 min, 30 W: 60 K above the sink
    node.advance(1200.0, 30.0, 10.0)
    assert node.temperature_c == pytest.approx(10.0 + 60.0 * (1 - np.exp(-1)))


def finish_s(thermal: Thermal, work_s: float = 6000.0) -> float:
    ours = supply(Power(battery_wh=1000.0, array_w=100.0), sun(90_000.0, watts=100.0), thermal)
    ours.work(work_s)
    while ours.work_left_s is not None:
        ours.advance(ours.next_change()[0])
    return ours.now_s


def test_hotter_is_slower():
    times_s = [finish_s(Thermal(sunlit_sink_c=sink_c)) for sink_c in (10.0, 20.0, 30.0, 40.0, 50.0, 60.0)]
    assert times_s[0] == 6000.0
    assert times_s == sorted(times_s)
    assert times_s[-1] > times_s[2] > 6000.0


def test_too_hot_is_cut_and_waits_for_the_hysteresis():
    thermal = Thermal(initial_c=20.0, sunlit_sink_c=60.0, throttle_c=84.0, throttle_speed=1.0)
    ours = supply(Power(battery_wh=1000.0), sun(90_000.0, watts=100.0), thermal)
    ours.work(20_000.0)
    seen = []
    while ours.work_left_s is not None:
        if Change.HEAT in ours.advance(ours.next_change()[0]):
            assert ours.node is not None
            seen.append((ours.heat, round(ours.node.temperature_c, 6)))
    cuts = [c for heat, c in seen if heat is Heat.CUT]
    assert len(cuts) > 2
    assert set(cuts) == {85.0}
    assert {c for (heat, c), (last, _) in zip(seen[1:], seen, strict=False) if last is Heat.CUT} == {80.0}
    assert ours.node is not None
    assert ours.node.highest_c == pytest.approx(85.0)
    assert ours.loads_w()[Consumer.PAYLOAD] in (0.0, 2.0)


def test_a_cold_battery_takes_no_charge():
    power = Power(battery_wh=10.0, initial_state_of_charge=0.8)
    ours = supply(power, sun(5000.0), Thermal(initial_c=-20.0, sunlit_sink_c=20.0, background_w=0.0))
    warm_s = next(at for at in iter(lambda: step(ours), None) if ours.node and ours.node.temperature_c >= -1e-9)
    assert warm_s > 100.0
    assert ours.battery.stored_wh == 8.0
    ours.advance(warm_s + 60.0)
    assert ours.battery.stored_wh > 8.0


def step(ours: Supply) -> float:
    ours.advance(ours.next_change()[0])
    return ours.now_s


@given(
    starts=st.lists(st.tuples(st.floats(0.0, 4000.0), st.floats(0.1, 3000.0)), min_size=1, max_size=12),
    duty=st.sampled_from([0.05, 0.3, 1.0]),
)
def test_with_ample_power_work_ends_when_the_processor_alone_says(starts, duty):
    """Two ways to count the duty of an orbit: all at once, and piece by piece."""
    ours = supply(Power(battery_wh=1e6), sun(1e7, watts=1000.0), None, duty)
    alone = Processor(PERIOD_S, duty)
    for gap_s, seconds in starts:
        ours.advance(ours.now_s + gap_s)
        wanted_s = alone.finish_s(ours.now_s, seconds)
        ours.work(seconds)
        while ours.work_left_s is not None:
            ours.advance(ours.next_change()[0])
        # The piecewise count takes rests and turns below a microsecond for none, once an orbit.
        assert ours.now_s == pytest.approx(wanted_s, abs=1e-4)
