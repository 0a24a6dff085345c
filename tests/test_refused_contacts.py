"""Contacts that safe mode refuses: CFDP stands still in them, and no policy counts on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightsim.domain import Action, ContactWindow, Decision
from flightsim.scenario.energy import Power
from flightsim.scenario.models import Radio

from .test_powered import craft
from .worlds import Flown, contact, mission

FAST = 1e6
#: In low power from the start, in safe mode some minutes later until the sun is back at 30 000 s.
SMALL = Power(battery_wh=40.0, initial_state_of_charge=0.5)
CFDP_EVENTS = {"item_delivered", "item_finished", "item_retransmitted", "item_lost"}


def class_2(**given_: Any) -> Radio:
    return Radio.model_validate({"cfdp": {"class": 2, **given_}})


def lossy(window: ContactWindow, loss: float) -> ContactWindow:
    """The same contact with a mean share of frames lost."""
    return replace(window, lost_bits=loss * window.capacity_bits)


def in_the_dark(loss: float = 0.0, **cfdp: Any) -> Flown:
    """One picture, a contact of a minute, two that safe mode refuses, and one in the sun."""
    times_s = [(100.0, 60.0), (5000.0, 600.0), (12_000.0, 600.0), (60_000.0, 600.0)]
    contacts = [lossy(contact(aos_s, seconds, FAST), loss) for aos_s, seconds in times_s]
    flown = mission(
        "bent_pipe", [10.0], contacts, radio=class_2(**cfdp), supply=craft(SMALL, 1e-3, 30_000.0),
    )  # fmt: skip
    assert [e["t_s"] for e in flown.kinds("contact_opened")] == [100.0, 60_000.0]
    assert [e["t_s"] for e in flown.kinds("contact_refused")] == [5000.0, 12_000.0]
    return flown


def test_an_answer_waits_for_a_contact_that_is_used():
    flown = in_the_dark(round_trip=200.0, timer=200.0)
    (done,), (finished,) = flown.kinds("item_delivered"), flown.kinds("item_finished")
    assert 100.0 < done["t_s"] < 160.0
    # Events are written to 1 ms.
    assert finished["t_s"] == pytest.approx(60_000.0 + 200.0 - (160.0 - done["t_s"]), abs=2e-3)


def test_no_file_is_given_up_in_a_refused_contact():
    """The ground answers in vain, 200 s and twice 100 s: two refused contacts of 600 s would have room for all."""
    flown = in_the_dark(loss=0.02, round_trip=100.0, timer=100.0, attempts=2, return_loss=1.0)
    assert not flown.kinds("item_delivered")
    (lost,) = flown.kinds("item_lost")
    assert lost["why"] == "class 2, given up after 2 repetitions"
    assert 60_200.0 < lost["t_s"] < 60_300.0
    assert flown.states() == {"lost": 1}


def test_a_file_waits_through_refused_contacts_and_arrives_complete():
    flown = in_the_dark(loss=0.02, round_trip=100.0, timer=100.0, attempts=1)
    (asked,) = flown.kinds("item_retransmitted")
    assert 60_000.0 < asked["t_s"] < 60_100.0
    assert flown.states() == {"delivered": 1}


def test_no_policy_counts_on_a_refused_contact_that_is_under_way():
    class Watching:
        def __init__(self) -> None:
            self.seen: list[tuple[float, list[float], int, int]] = []

        def decide(self, seen: Any) -> Decision:
            aos_s = [forecast.aos_s for forecast in seen.next_contacts]
            self.seen.append((seen.now_s, aos_s, seen.allowance.next_contact_bytes, seen.allowance.mission_bytes))
            return Decision(Action.NOTHING)

    contacts = [contact(20_000.0, 60_000.0, 1e4), contact(100_000.0, 600.0, FAST)]
    small, ample = Watching(), Watching()
    mission(small, [70_000.0], contacts, supply=craft(SMALL, 1e-3, 30_000.0))
    mission(ample, [70_000.0], contacts, supply=craft(Power(battery_wh=1e6)))
    ((_, ahead, next_bytes, all_bytes),) = small.seen
    assert ahead == [100_000.0]
    assert next_bytes == all_bytes > 0
    ((_, ahead, next_bytes, more_bytes),) = ample.seen
    assert ahead == [20_000.0, 100_000.0]
    assert more_bytes == next_bytes + all_bytes


@settings(max_examples=30)
@given(
    gaps=st.lists(st.tuples(st.floats(1.0, 20_000.0), st.floats(30.0, 900.0)), min_size=2, max_size=8),
    battery_wh=st.floats(5.0, 40.0),
    charge=st.floats(0.4, 0.9),
    trip=st.floats(0.0, 300.0),
    back=st.sampled_from([0.0, 0.5, 1.0]),
    loss=st.sampled_from([0.0, 0.02, 0.5]),
)
def test_whatever_cfdp_does_happens_in_a_contact_that_is_used(gaps, battery_wh, charge, trip, back, loss):
    contacts, now_s = [], 0.0
    for gap_s, seconds in gaps:
        contacts.append(lossy(contact(now_s + gap_s, seconds, 1e5), loss))
        now_s += gap_s + seconds
    radio = class_2(round_trip=trip, timer=300.0, attempts=3, return_loss=back)
    supply = craft(
        Power(battery_wh=battery_wh, initial_state_of_charge=charge), *[3000.0, 9000.0] * 8, watts=25.0
    )  # fmt: skip
    flown = mission("bent_pipe", [0.0, 10.0, 20.0, 30_000.0], contacts, radio=radio, supply=supply)
    assert sum(flown.states().values()) == 4
    opened, closed = ([e["t_s"] for e in flown.kinds(kind)] for kind in ("contact_opened", "contact_closed"))
    for event in flown.events:
        if event["kind"] in CFDP_EVENTS:
            assert any(aos_s <= event["t_s"] <= los_s for aos_s, los_s in zip(opened, closed, strict=True))
