"""Battery, temperature, modes and work together, against a plain integration in small steps."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.small_steps import PERIOD_S, both_flown
from flightsim.compute import Processor
from flightsim.modes import Heat, Ladder, Mode
from flightsim.power import SolarInput
from flightsim.power_report import Consumer
from flightsim.scenario.energy import Loads, ModeLimits, Power, Thermal
from flightsim.supply import Change, Supply
from flightsim.thermal import Node


def sun(*lengths_s: float, watts: float = 30.0) -> SolarInput:
    """Sunlight and eclipse in turn, sunlight first."""
    edges = tuple(np.concatenate([[0.0], np.cumsum(lengths_s)]).tolist())
    lit = tuple(k % 2 == 0 for k in range(len(lengths_s)))
    return SolarInput(edges, tuple(watts * on for on in lit), lit)


def supply(power: Power, solar: SolarInput, thermal: Thermal | None = None, duty: float = 1.0) -> Supply:
    return Supply(power, thermal, solar, Processor(PERIOD_S, duty))


# Against small steps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_it_is_the_limit_of_small_steps(seed):
    """Drawn flights. A limit just met, or just not, decides about a whole pause: none is sought on purpose."""
    rng = np.random.default_rng(seed)
    battery_wh, work_s = rng.uniform(4.0, 20.0), float(rng.integers(100, 9000))
    power = Power(
        battery_wh=battery_wh, initial_state_of_charge=rng.uniform(0.2, 0.95), max_charge_w=15.0,
        loads=Loads(payload_w=rng.uniform(10.0, 40.0), camera_s=120.0),
    )  # fmt: skip
    sink_c = rng.uniform(-60.0, 60.0)
    thermal = Thermal(sunlit_sink_c=sink_c, eclipse_sink_c=sink_c - 30, heat_capacity_j_per_k=300, charge_above_c=-5.0)
    solar = sun(*rng.uniform(600.0, 4000.0, rng.integers(2, 7)).round().tolist())
    photographs_s = sorted(rng.uniform(0.0, 8000.0, rng.integers(0, 6)).round().tolist())
    ours, stepped, finished_s, left_then_s = both_flown(
        power, thermal, solar, rng.choice([0.3, 1.0]), work_s, photographs_s, float(rng.integers(0, 8000))
    )
    report = ours.report("s", solar.edges_s[-1], Counter(), 0)
    # A step of 0.5 s meets each change up to 0.5 s late, with up to 75 W wrong: 0.01 Wh a change, of which there are
    # some tens and which pull back to the same limits; and up to 0.1 K of Euler's error on the temperature.
    assert ours.battery.stored_wh == pytest.approx(stepped.stored_wh, abs=0.2)
    assert report.lowest_state_of_charge * battery_wh == pytest.approx(stepped.lowest * battery_wh, abs=0.1)
    assert ours.node is not None
    assert ours.node.temperature_c == pytest.approx(stepped.temperature_c, abs=1.0)
    for mode in Mode:
        assert ours.mode_s[mode] == pytest.approx(stepped.seconds[mode.value], abs=60.0)
    # When the work ends may differ by a whole pause as well: what is left is compared.
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
