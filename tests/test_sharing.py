"""Several spacecraft and few stations: who is booked, why not, and what it costs."""

from __future__ import annotations

import itertools

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import flightsim as fs
from flightsim.booking import book
from flightsim.cli import main
from flightsim.contacts import contacts_for, passes_rows
from flightsim.domain import ContactWindow
from flightsim.errors import RunError
from flightsim.scenario.models import Booking, Closure
from flightsim.sharing import Refusal, Why, refusals, shares

from .test_contacts import START, window


def told(windows, rules):
    """Reason by (spacecraft, station, AOS)."""
    found = book(windows, rules, START)
    return {
        (w.spacecraft, w.station, w.aos_s): why
        for w, why in zip(found, refusals(found, rules, START), strict=True)
        if not w.booked
    }


def test_a_shorter_pass_is_refused_because_the_station_serves_another():
    crowd = [window(0, 500, "A", "x"), window(300, 400, "A", "y"), window(2000, 400, "A", "y")]
    assert told(crowd, Booking()) == {("y", "A", 300): Refusal(Why.CONTENTION, (("x", "A"),))}
    by_craft = shares(book(crowd, Booking(), START), Booking(), START)
    assert (by_craft["x"].wanted_s, by_craft["x"].booked_s, by_craft["x"].lost_to_contention_s) == (500, 500, 0)
    assert (by_craft["y"].wanted_s, by_craft["y"].booked_s, by_craft["y"].lost_to_contention_s) == (800, 400, 400)


def test_the_handover_alone_is_contention_and_ends_where_it_ends():
    crowd = [window(0, 500, "A", "x"), window(559, 400, "A", "y")]
    assert told(crowd, Booking(handover_s=60)) == {("y", "A", 559): Refusal(Why.CONTENTION, (("x", "A"),))}
    assert told(crowd, Booking(handover_s=59)) == {}


def test_each_reason_by_itself():
    shut = Closure(station="B", start="2026-10-02T00:00:00Z", end="2026-10-02T01:00:00Z")
    passes = [
        window(0, 100, "A"),  # short
        window(1000, 500, "B"),  # closed
        window(10000, 600, "A"),
        window(10100, 400, "C"),  # busy at A
        window(20000, 500, "A"),
        window(30000, 300, "A"),  # the third, and the shortest, of a day with two
    ]
    rules = Booking(minimum_s=200, passes_per_day=2, closed=(shut,))
    assert {key: why.why for key, why in told(passes, rules).items()} == {
        ("sat", "A", 0): Why.SHORT, ("sat", "B", 1000): Why.CLOSED, ("sat", "C", 10100): Why.LIMIT,
        ("sat", "A", 30000): Why.LIMIT,
    }  # fmt: skip
    loose = Booking(minimum_s=200, closed=(shut,))
    assert told(passes, loose)["sat", "C", 10100] == Refusal(Why.BUSY, (("sat", "A"),))
    # Longer than what was booked that day: not the limit, but the other spacecraft.
    rival = [*passes[2:3], window(9900, 800, "A", "other"), window(20000, 500, "A")]
    assert told(rival, Booking(passes_per_day=1)) == {("sat", "A", 10000): Refusal(Why.CONTENTION, (("other", "A"),))}
    assert {why.why for why in told(passes, Booking(passes_per_day=0)).values()} == {Why.LIMIT}


def test_contacts_that_are_no_booking_are_refused():
    with pytest.raises(RunError, match="could be booked and is not"):
        refusals([window(0, 500)], Booking(), START)


@st.composite
def crowds(draw: st.DrawFn) -> list[ContactWindow]:
    rows = draw(
        st.lists(
            st.tuples(st.integers(84000, 89000), st.integers(1, 900), st.sampled_from("AB"), st.sampled_from("xyz")),
            max_size=25, unique_by=lambda row: (row[0], row[2], row[3]),
        )
    )  # fmt: skip
    return [window(*row) for row in rows]


rules = st.builds(
    Booking, passes_per_day=st.one_of(st.none(), st.integers(0, 3)), minimum_s=st.sampled_from([0.0, 240.0]),
    handover_s=st.sampled_from([0.0, 60.0, 300.0]),
)  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(crowds(), rules)
def test_every_pass_is_booked_or_has_a_reason_that_holds(windows, booking):
    found = book(windows, booking, START)
    chosen = {(w.spacecraft, w.station): [] for w in found}
    for w in found:
        if w.booked:
            chosen[w.spacecraft, w.station].append(w)
    for w, why in zip(found, refusals(found, booking, START), strict=True):
        assert (why is None) == w.booked
        if why is None or why.why in (Why.SHORT, Why.CLOSED, Why.LIMIT):
            assert why is None or why.in_the_way == ()
            assert why is None or why.why is not Why.SHORT or w.duration_s < booking.minimum_s
            continue
        for name in why.in_the_way:
            assert name[0] == w.spacecraft or name[1] == w.station
            first = [sorted((w, other), key=lambda one: one.aos_s) for other in chosen[name]]
            assert any(b.aos_s < a.los_s + booking.handover_s for a, b in first)
        shared = any(craft != w.spacecraft for craft, _ in why.in_the_way)
        assert (why.why is Why.CONTENTION) == shared


@settings(max_examples=40, deadline=None, derandomize=True)
@given(crowds(), rules)
def test_removing_a_spacecraft_never_lessens_what_the_others_together_get(windows, booking):
    found = shares(book(windows, booking, START), booking, START)
    for gone in found:
        fewer = shares(book([w for w in windows if w.spacecraft != gone], booking, START), booking, START)
        before = sum(share.booked_s for name, share in found.items() if name != gone)
        assert sum(share.booked_s for share in fewer.values()) >= before - 1e-6
    for share in found.values():
        # Alone it has at least as much as with others.
        assert share.wanted_s >= share.booked_s - 1e-6


# A scenario: three spacecraft, one station.


THREE = """
name: three
extends: statistical
duration: 1d
spacecraft:
  - {name: sat-0, orbit: {altitude_km: 510, inclination_deg: 97.44, ltan: "22:30"}}
  - {name: sat-1, orbit: {altitude_km: 520, inclination_deg: 97.44, ltan: "22:30"}}
  - {name: sat-2, orbit: {altitude_km: 530, inclination_deg: 97.44, ltan: "22:30"}}
stations: {use: shipped, names: [Svalbard]}
link: {booking: {passes_per_day: 12}}
targets: {count: 10}
evaluation: {grace: 0s}
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("three") / "three.yaml"
    file.write_text(THREE, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def three(path):
    return fs.load_scenario(path)


def test_three_spacecraft_over_one_station_in_passes_and_in_a_run(three):
    contacts = contacts_for(three)
    chosen = sorted((w for w in contacts if w.booked), key=lambda w: w.aos_s)
    assert all(b.aos_s >= a.los_s + 60.0 for a, b in itertools.pairwise(chosen))
    rows = passes_rows(three, contacts)
    assert [row["not_booked"] is None for row in rows] == [row["booked"] for row in rows]
    assert "contention" in {row["not_booked"]["why"] for row in rows if not row["booked"]}
    values = fs.run(three, write=False).metrics["contacts"]
    assert values["booked"] == len(chosen)
    assert set(values["spacecraft"]) == {"sat-0", "sat-1", "sat-2"}
    assert values["lost_to_contention_s"] > 0
    for name, one in values["spacecraft"].items():
        assert one["booked_s"] == pytest.approx(sum(w.duration_s for w in chosen if w.spacecraft == name))
        assert one["wanted_s"] == pytest.approx(one["booked_s"] + one["lost_to_contention_s"])
    for key in ("wanted_s", "booked_s", "lost_to_contention_s"):
        assert values[key] == pytest.approx(sum(one[key] for one in values["spacecraft"].values()))


def test_the_command_says_why_and_what_was_lost(path):
    done = CliRunner().invoke(main, ["passes", str(path)])
    assert done.exit_code == 0, done.output
    assert "not booked because" in done.stdout
    assert "contention: sat-" in done.stdout
    assert all(f"sat-{k}: " in done.stderr for k in range(3))
    assert "s lost to contention" in done.stderr


def test_the_summary_of_a_run_says_what_was_lost_and_to_whom(path, tmp_path):
    done = CliRunner().invoke(main, ["run", str(path), "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "of the contact time wanted lost to contention (most: sat-" in done.stdout
