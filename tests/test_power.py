"""Array and battery: the independent curves, every watt-hour, and the factors of beta."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.accuracy_board import charge_at_edges
from flightsim import light
from flightsim.power import Battery, Pointing, SolarInput, solar_input, stretches

from .conftest import shared
from .test_light import flying
from .test_orbit import reference, utc

DAY_S = 86400.0


@pytest.mark.parametrize("edges_from", ["the reference", "our own orbit"])
def test_state_of_charge_follows_the_reference(edges_from: str) -> None:
    """Closed form of reference/analytic.json on the shadow edges of Orekit positions.

    With the reference's own edges only its rounding to a millisecond and six digits is left. With ours an edge
    differs by at most 0.1 s (test_light), that is 20 W x 0.1 s / 60 Wh = 1e-5 of charge; the file allows 0.003.
    """
    cases = json.loads(shared("reference/analytic.json").read_text())
    data, craft, start = reference("eclipse")
    end_s = (utc(data["window"]["end"]) - start).total_seconds()
    for case in cases["battery"]:
        row = next(row for row in data["satellites"] if row["id"] == case["sat"])
        spans: list[Any] = [
            tuple((utc(span[side]) - start).total_seconds() for side in ("entry", "exit"))
            for span in row["intervals"][case["eclipse_model"]]
        ]
        if edges_from == "our own orbit":
            spans = light.eclipses(craft[case["sat"]], 0.0, end_s)
        battery, found = charge_at_edges(case["input"], spans, end_s)
        wanted = case["expected"]
        ours_s = np.array(sorted(found))
        limit, full_s = (2e-6, 0.1) if edges_from == "the reference" else (1.1e-5, 3.0)
        assert limit < cases["tolerance"]["soc"]
        for point in wanted["curve"]:
            at_s = ours_s[np.abs(ours_s - (utc(point["t"]) - start).total_seconds()).argmin()]
            assert found[at_s] == pytest.approx(point["soc"], abs=limit)
        assert battery.state_of_charge == pytest.approx(wanted["final_soc"], abs=limit)
        assert battery.lowest_wh / battery.capacity_wh == pytest.approx(wanted["min_soc"], abs=limit)
        # Full begins and ends at some 15 edges of 0.1 s at most, and a tenth of a second is what the file has.
        assert battery.full_s == pytest.approx(wanted["seconds_full"], abs=full_s)
        assert battery.empty_s == wanted["seconds_empty"] == 0.0


watts = st.floats(0.0, 100.0)
steps = st.lists(st.tuples(st.floats(0.0, 20_000.0), watts, watts, st.booleans()), max_size=40)


@given(
    steps=steps, capacity=st.floats(1.0, 200.0), charge=st.floats(0.0, 1.0), eta_in=st.floats(0.5, 1.0),
    eta_out=st.floats(0.5, 1.0), limit=st.floats(0.1, 100.0),
)  # fmt: skip
def test_every_watt_hour_is_somewhere(steps, capacity, charge, eta_in, eta_out, limit):
    battery = Battery(capacity, charge, eta_in, eta_out, limit)
    asked_wh = met_wh = 0.0
    for seconds, harvest_w, load_w, may_charge in steps:
        share = battery.advance(seconds, harvest_w, load_w, may_charge)
        asked_wh += load_w * seconds / 3600
        met_wh += share * load_w * seconds / 3600
        assert 0.0 <= battery.stored_wh <= battery.capacity_wh
        assert 0.0 <= share <= 1.0
    parts = (battery.consumed_wh, battery.losses_wh, battery.spilled_wh, battery.unmet_wh)
    assert min(parts) >= -1e-9
    # Sums of at most forty terms, each exact to 16 digits, of energies up to 2e4 Wh in all.
    assert battery.imbalance_wh() == pytest.approx(0.0, abs=1e-9)
    assert battery.consumed_wh + battery.unmet_wh == pytest.approx(asked_wh, abs=1e-9)
    assert battery.consumed_wh == pytest.approx(met_wh, abs=1e-9)


@given(steps=steps, parts=st.integers(2, 7))
def test_a_stretch_cut_in_parts_is_the_same_stretch(steps, parts):
    whole, cut = Battery(30.0, 0.5, 0.9, 0.8, 25.0), Battery(30.0, 0.5, 0.9, 0.8, 25.0)
    for seconds, *flow in steps:
        whole.advance(seconds, *flow)
        for _ in range(parts):
            cut.advance(seconds / parts, *flow)
    for name in ("stored_wh", "consumed_wh", "spilled_wh", "unmet_wh", "losses_wh", "lowest_wh"):
        assert getattr(cut, name) == pytest.approx(getattr(whole, name), abs=1e-8)
    assert (cut.full_s, cut.empty_s) == pytest.approx((whole.full_s, whole.empty_s), abs=1e-5)


@given(charge=st.floats(0.05, 0.95), target=st.floats(0.0, 1.0), harvest=watts, load=watts)
def test_the_time_to_a_charge_is_when_it_is_reached(charge, target, harvest, load):
    battery = Battery(50.0, charge, 0.95, 0.9, 30.0)
    wait_s = battery.time_to_s(target, battery.rate_w(harvest, load))
    if wait_s < 1e9:
        battery.advance(wait_s, harvest, load)
        assert battery.state_of_charge == pytest.approx(target, abs=1e-9)
    else:
        battery.advance(1e4, harvest, load)
        assert (battery.state_of_charge - target) * (charge - target) > 0.0 or battery.state_of_charge == charge


def test_limits_of_charging_and_an_empty_battery():
    slow = Battery(100.0, 0.5, 0.8, 1.0, max_charge_w=10.0)
    slow.advance(3600.0, 50.0, 5.0)
    assert (slow.stored_wh, slow.losses_wh, slow.spilled_wh) == pytest.approx((58.0, 2.0, 35.0))
    cold = Battery(100.0, 0.5, 0.8, 1.0)
    cold.advance(3600.0, 50.0, 5.0, may_charge=False)
    assert (cold.stored_wh, cold.spilled_wh, cold.full_s) == (50.0, 45.0, 0.0)
    empty = Battery(10.0, 0.5, 1.0, 0.5)
    share = empty.advance(3600.0, 1.0, 11.0)  # 10 W for an hour out of 5 Wh, of which half is lost
    assert (empty.stored_wh, empty.unmet_wh, empty.empty_s) == pytest.approx((0.0, 7.5, 2700.0))
    assert share == pytest.approx(3.5 / 11)


# Sunlight -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ltan", ["10:30", "22:30", "06:00", "12:00"])
@pytest.mark.parametrize("pointing", Pointing)
def test_the_array_gives_its_factor_of_beta_in_sunlight_and_nothing_in_eclipse(ltan, pointing):
    orbit = flying(ltan=ltan, start=datetime(2026, 6, 1, tzinfo=UTC))
    solar = solar_input(orbit, DAY_S, 30.0, pointing)
    assert solar.edges_s[0] == 0.0
    assert solar.edges_s[-1] == DAY_S
    middle_s = (np.array(solar.edges_s[1:]) + np.array(solar.edges_s[:-1])) / 2
    beta_rad = np.radians(light.beta_deg(orbit, middle_s))
    factor = {"sun": np.ones(len(beta_rad)), "axis": np.cos(beta_rad), "side": abs(np.sin(beta_rad))}[pointing]
    np.testing.assert_allclose(solar.power_w, 30.0 * factor * solar.sunlit, rtol=1e-12)
    shares = light.sun_share(orbit, middle_s, oblate=False)
    assert ((shares > 0.5) == solar.sunlit).all()
    assert solar.eclipse_share(DAY_S) == pytest.approx(light.eclipse_fraction(orbit, 0.0, DAY_S), abs=1e-12)
    # The same orbit's geometry: sin and cos of one angle make one array that always looks at the Sun.
    if pointing is Pointing.SUN:
        both = [solar_input(orbit, DAY_S, 30.0, p).power_w for p in (Pointing.AXIS, Pointing.SIDE)]
        np.testing.assert_allclose(np.hypot(*both), solar.power_w, rtol=1e-12)


def test_long_sunlight_is_cut_so_that_beta_can_change():
    edges, sunlit = stretches([], 0.0, 5 * DAY_S)
    assert all(sunlit)
    assert np.diff(edges).max() <= 6000.0
    edges, sunlit = stretches([(0.0, 100.0), (5000.0, 6000.0)], 0.0, 6000.0)
    assert (edges, sunlit) == ((0.0, 100.0, 5000.0, 6000.0), (False, True, False))


def test_the_array_s_energy_up_to_a_time():
    solar = SolarInput((0.0, 3600.0, 7200.0), (10.0, 0.0), (True, False))
    assert [solar.energy_wh(t) for t in (1800.0, 3600.0, 7200.0)] == [5.0, 10.0, 10.0]
    assert [solar.eclipse_share(t) for t in (1800.0, 7200.0)] == [0.0, 0.5]
