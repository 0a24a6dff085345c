"""Power in flight: no energy, no inference; too hot, slower; safe mode is silent; and enough power changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import flightsim as fs
from flightsim.compute import Processor
from flightsim.domain import Action, Decision
from flightsim.errors import ConservationError
from flightsim.power import SolarInput
from flightsim.power_report import power_notes
from flightsim.scenario.energy import Power, Thermal
from flightsim.supply import Supply

from .test_supply import sun
from .worlds import contact, mission

HORIZON_S = 200_000.0
FAST = 10e6
POWER_EVENTS = {"mode_changed", "heat_changed", "contact_refused"}


def craft(
    power: Power, *lengths_s: float, watts: float = 30.0, thermal: Thermal | None = None
) -> Callable[..., Supply]:
    """What makes a supply with sunlight and eclipse in turn; the last stretch lasts to the horizon."""
    rest_s = max(1.0, HORIZON_S - sum(lengths_s))
    return lambda processor: Supply(power, thermal, sun(*lengths_s, rest_s, watts=watts), processor)


def modes_along(events: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    """Each event with the mode that the spacecraft was in, as the events tell."""
    mode, told = "nominal", []
    for event in events:
        if event["kind"] == "mode_changed":
            assert event["previous"] == mode
            mode = event["mode"]
        told.append((event, mode))
    return told


# Constraints act ------------------------------------------------------------------------------------------------------


def test_no_energy_no_inference_until_the_sun_is_back():
    dark_first = craft(Power(battery_wh=40.0, initial_state_of_charge=0.55), 1e-3, 5000.0)
    flown = mission(
        "verdicts_only",
        [10.0, 20.0, 30.0],
        [contact(20_000.0, 300.0, FAST)],
        seconds_per_question=1.0,
        supply=dark_first,
    )
    assert set(flown.states()) <= {"delivered", "not_sent"}
    (woken,) = [e["t_s"] for e in flown.kinds("mode_changed") if e["mode"] == "nominal"]
    assert woken > 5000.0
    processed = [event["t_s"] for event in flown.kinds("tile_processed")]
    assert processed == pytest.approx([woken + 7.0, woken + 14.0, woken + 21.0], abs=2e-3)
    assert len(flown.kinds("tile_captured")) == 3


def test_without_sun_what_waits_is_refused_for_lack_of_power():
    night = craft(Power(battery_wh=400.0, initial_state_of_charge=0.55), 1e-3)
    for limit, why in ((None, "still waiting"), (0, "queue is full")):
        flown = mission("verdicts_only", [10.0, 20.0], [], horizon_s=3600.0, queue_limit=limit, supply=night)
        assert flown.states() == {"refused_power": 2}
        assert any(why in event["why"] for event in flown.kinds("tile_lost"))
        assert not flown.kinds("tile_processed")
        assert (flown.record.energy_j, flown.record.compute_s.sum()) == (0.0, 0.0)


def test_a_service_that_low_power_interrupts_goes_on_where_it_was():
    # 10 W + 15 W out of 20 Wh x 0.2 above the limit: low power after 4 x 0.95 / 25 h = 547.2 s
    # in the dark, 4 s earlier for the 100 J of the camera.
    power = Power(battery_wh=20.0, initial_state_of_charge=0.8)
    flown = mission("verdicts_only", [0.0], [], seconds_per_question=100.0, supply=craft(power, 1e-3, 1000.0))
    low, nominal = flown.kinds("mode_changed")
    assert low["t_s"] == pytest.approx(543.2, abs=2e-3)
    (processed,) = flown.kinds("tile_processed")
    assert processed["t_s"] == pytest.approx(700.0 + nominal["t_s"] - low["t_s"], abs=2e-3)
    assert flown.record.compute_s.sum() == 700.0


def test_safe_mode_takes_no_picture_and_says_nothing():
    night = craft(Power(battery_wh=40.0, initial_state_of_charge=0.5), 1e-3, 30_000.0)
    contacts = [contact(3000.0, 300.0, FAST), contact(60_000.0, 300.0, FAST)]
    flown = mission("bent_pipe", [10.0, 4000.0, 50_000.0], contacts, supply=night)
    assert [e["mode"] for e in flown.kinds("mode_changed")] == ["low_power", "safe", "low_power", "nominal"]
    (refused,) = flown.kinds("contact_refused")
    assert refused["t_s"] == 3000.0
    assert [event["t_s"] for event in flown.kinds("contact_opened")] == [60_000.0]
    (lost,) = flown.kinds("tile_lost")
    assert (lost["t_s"], lost["state"]) == (4000.0, "refused_power")
    assert flown.states() == {"delivered": 2, "refused_power": 1}
    (report,) = flown.record.power
    assert (report.captures_refused, report.contacts_refused) == (1, 1)
    assert report.contact_bytes_refused == refused["capacity_bytes"] > 0
    assert any("1 captures" in note for note in power_notes(flown.record.power))
    assert report.lowest_state_of_charge < 0.45


def test_an_empty_battery_is_said_aloud():
    flown = mission("nothing", [10.0], [], supply=craft(Power(battery_wh=5.0), 1e-3))
    (report,) = flown.record.power
    assert report.lowest_state_of_charge == 0.0
    assert report.unmet_wh > 1.0
    assert report.consumed_wh["bus"] < HORIZON_S / 3600 * 6.0
    assert "no real spacecraft would have flown on" in power_notes(flown.record.power)[0]


def test_hotter_is_slower_in_flight():
    last_s = []
    for sink_c in (0.0, 45.0, 60.0):
        thermal = Thermal(sunlit_sink_c=sink_c, initial_c=sink_c)
        flown = mission(
            "verdicts_only", [float(k) for k in range(30)], [], seconds_per_question=50.0,
            supply=craft(Power(), watts=60.0, thermal=thermal),
        )  # fmt: skip
        last_s.append(flown.kinds("tile_processed")[-1]["t_s"])
        assert len(flown.kinds("tile_processed")) == 30
        assert bool(flown.kinds("heat_changed")) == (sink_c > 0.0)
    assert last_s[0] == pytest.approx(30 * 350.0)
    assert last_s[0] < last_s[1] < last_s[2]


def test_the_policy_sees_charge_and_sunlight():
    class Watching:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def decide(self, seen: Any) -> Decision:
            self.seen.append((seen.now_s, seen.power))
            return Decision(Action.NOTHING)

    watching = Watching()
    mission(watching, [0.0, 1000.0, 5000.0], [], supply=craft(Power(battery_wh=100.0), 4000.0))
    assert [power.in_sunlight for _, power in watching.seen] == [True, True, False]
    charges = [power.state_of_charge for _, power in watching.seen]
    assert charges[0] == 0.9
    # 1000 s at 30 W less 12 W, and 10 W more for the camera's 10 s.
    assert charges[1] == pytest.approx(0.9 + 0.95 * (18.0 * 1000 - 10 * 10) / 3600 / 100)
    off = Watching()
    mission(off, [0.0], [])
    assert off.seen[0][1].state_of_charge is None


# Whatever happens -----------------------------------------------------------------------------------------------------

worlds: dict[str, Any] = {
    "policy": st.sampled_from(["bent_pipe", "budgeted", "verdicts_only", "uniform"]),
    "times": st.lists(st.floats(0.0, 90_000.0), min_size=1, max_size=40).map(sorted),
    "gaps": st.lists(st.tuples(st.floats(1.0, 40_000.0), st.floats(5.0, 600.0)), max_size=4),
    "rate": st.sampled_from([1e3, 5e4, 1e6]),
    "storage": st.sampled_from([0, 250_000, 10**9]),
    "service": st.sampled_from([0.0, 3.0, 2000.0]),
    "queue": st.sampled_from([None, 0, 2]),
    "duty": st.sampled_from([0.1, 1.0]),
}


def flown_in(policy, times, gaps, rate, storage, service, queue, duty, supply):
    contacts, now = [], 0.0
    for gap, seconds in gaps:
        contacts.append(contact(now + gap, seconds, rate))
        now += gap + seconds
    return mission(
        policy, times, contacts, storage_bytes=storage, seconds_per_question=service, queue_limit=queue, duty=duty,
        supply=supply,
    )  # fmt: skip


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(**worlds, battery_wh=st.floats(2.0, 40.0), charge=st.floats(0.0, 1.0), dark_s=st.floats(100.0, 50_000.0))
def test_modes_are_obeyed_and_everything_adds_up(
    policy, times, gaps, rate, storage, service, queue, duty, battery_wh, charge, dark_s
):
    power = Power(battery_wh=battery_wh, initial_state_of_charge=charge, array_w=20.0)
    supply = craft(power, *[3000.0, 2000.0] * 6, 3000.0, dark_s, watts=25.0, thermal=Thermal(sunlit_sink_c=40.0))
    flown = flown_in(policy, times, gaps, rate, storage, service, queue, duty, supply)
    assert (flown.record.state >= 0).all()
    assert sum(flown.states().values()) == len(times) == len(flown.kinds("tile_ended"))
    seen = [event["t_s"] for event in flown.events]
    assert seen == sorted(seen)
    for event, mode in modes_along(flown.events):
        assert event["kind"] != "tile_processed" or mode == "nominal"
        assert event["kind"] not in ("tile_captured", "contact_opened") or mode != "safe"
        assert event["kind"] != "contact_refused" or mode == "safe"
    (report,) = flown.record.power
    assert report.mode_changes == len(flown.kinds("mode_changed"))
    assert sum(report.mode_s.values()) == pytest.approx(HORIZON_S)
    assert report.contacts_refused == len(flown.kinds("contact_refused"))
    assert report.captures_refused <= flown.states().get("refused_power", 0)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(**worlds)
@example("budgeted", [0.0], [], 1e3, 250_000, 2000.0, None, 1.0)  # four hours of work without a rest
def test_ample_power_changes_nothing(policy, times, gaps, rate, storage, service, queue, duty):
    world = (policy, times, gaps, rate, storage, service, queue, duty)
    # Steadily at work in the sun the box is 20 + 17 / 3 deg C warm; the default conductance would let it reach 76.
    cool = Thermal(conductance_w_per_k=3.0)
    ample = craft(Power(battery_wh=1e6), 3000.0, 2000.0, watts=1000.0, thermal=cool)
    without, with_power = flown_in(*world, None), flown_in(*world, ample)
    assert not {event["kind"] for event in with_power.events} & POWER_EVENTS
    assert len(without.events) == len(with_power.events)
    for one, other in zip(without.events, with_power.events, strict=True):
        # Work is counted piece by piece, so that a time may round to the next millisecond.
        assert other.pop("t_s") == pytest.approx(one.pop("t_s"), abs=2e-3)
        assert other == pytest.approx(one)


def test_energy_that_does_not_add_up_stops_the_run():
    def leaking(processor: Processor) -> Supply:
        made = craft(Power(), 1000.0)(processor)
        made.solar = SolarInput(made.solar.edges_s, (31.0, 0.0), made.solar.sunlit)
        made.battery.harvested_wh += 0.01
        return made

    with pytest.raises(ConservationError, match=r"the battery's account of s leaves 0\.01 Wh over"):
        mission("nothing", [0.0], [], supply=leaking)


# Scenarios ------------------------------------------------------------------------------------------------------------

SHORT = ["duration=1d", "evaluation.grace=12h", "targets.count=12"]


@pytest.fixture(scope="module")
def off() -> Any:
    return fs.run(fs.load_scenario("statistical", SHORT), write=False)


def test_a_scenario_with_ample_power_flies_as_with_power_off(off):
    ample = {"battery_wh": 500, "array_w": 100}
    on = fs.run(fs.load_scenario("statistical", [*SHORT, f"spacecraft.power={json.dumps(ample)}"]), write=False)
    values = dict(on.metrics)
    power = values.pop("power")
    assert values == off.metrics
    assert "power" not in off.metrics
    assert power["mode_s"] == {"nominal": pytest.approx(1.5 * 86400), "low_power": 0.0, "safe": 0.0}
    assert power["highest_temperature_c"] is None
    counts = {kind: count for kind, count in on.record.event_counts.items() if kind not in POWER_EVENTS}
    assert counts == {kind: count for kind, count in off.record.event_counts.items() if kind not in POWER_EVENTS}
    assert (on.record.decided_s == pytest.approx(off.record.decided_s, abs=1e-4)) is True


def test_a_small_battery_meets_safe_mode_and_the_run_says_so(off, tmp_path):
    small = {"battery_wh": 12, "array_w": 17, "initial_state_of_charge": 0.7}
    result = fs.run(
        fs.load_scenario(
            "statistical", [*SHORT, f"spacecraft.power={json.dumps(small)}", "spacecraft.thermal={sunlit_sink_c: 45}"]
        ),
        out=tmp_path / "small",
    )
    power = result.metrics["power"]
    assert power["mode_s"]["safe"] > 0.0
    assert power["mode_changes"] == result.record.event_counts["mode_changed"] > 2
    assert result.metrics["stages"]["refused_power"] > 0
    assert result.metrics["funnel"]["captured"] < result.metrics["funnel"]["planned"]
    assert power["lowest_state_of_charge"] < 0.45
    assert sum(power["consumed_wh"].values()) == pytest.approx(
        power["harvested_wh"] - power["losses_wh"] - power["spilled_wh"]
        + (0.7 - power["spacecraft"]["flightsim-1"]["final_state_of_charge"]) * 12
    )  # fmt: skip
    lines = result.summary_lines()
    assert any(line.startswith("power: ") and "safe" in line for line in lines)
    assert any("safe mode of flightsim-1 refused" in line for line in lines)
    events = [json.loads(line) for line in (tmp_path / "small" / "events.jsonl").read_text().splitlines()]
    assert {"mode_changed", "tile_lost"} <= {event["kind"] for event in events}
    assert result.metrics["quality"]["ground"]["recall"] <= off.metrics["quality"]["ground"]["recall"]
