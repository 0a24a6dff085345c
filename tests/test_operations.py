"""What goes wrong, is closed or cannot be followed in a pass: keyhole, failures, closures, price."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import flightsim
from flightsim.cli import main
from flightsim.contacts import contacts_for, passes_rows, with_failures
from flightsim.domain import ContactWindow
from flightsim.errors import ScenarioError
from flightsim.report import write_report
from flightsim.runfolder import contacts_table

from .worlds import contact, mission

SMALL = [
    "duration=2d", "evaluation.grace=0s", "stations.names=[Svalbard,Awarua]", "link.booking.passes_per_day=6",
    "link.use=constant", "link.with={rate: 1 Mbit/s}", "link.weather=null",
]  # fmt: skip


def flown(*settings):
    return flightsim.load_scenario("statistical", [*SMALL, *settings])


def booked(*settings):
    return [window for window in contacts_for(flown(*settings)) if window.booked]


def window(k, station="a"):
    """A pass of ten minutes that carries a bit a second, one each two hours."""
    aos_s = 7200.0 * k
    grid_s = aos_s + np.array([0.0, 600.0])
    return ContactWindow(
        "s", station, aos_s, aos_s + 300, aos_s + 600, 40.0, booked=True, grid_s=grid_s,
        capacity_bits=np.array([0.0, 600.0]),
    )  # fmt: skip


def test_passes_fail_as_often_as_stated_and_keep_their_promise():
    """4000 passes: four standard errors sqrt(p (1 - p) / n)."""
    passes = [window(k) for k in range(4000)]
    seen = with_failures(passes, 0.1, 7)
    assert np.mean([w.failed for w in seen]) == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 4000))
    for before, after in zip(passes, seen, strict=True):
        assert after.promised.total_bits == before.total_bits == 600.0
        assert after.total_bits == (0.0 if after.failed else 600.0)
    assert with_failures(passes, 0.0, 7) == passes


def test_whether_a_pass_fails_depends_on_no_other_and_not_on_its_mask():
    def failed(passes, share=0.3, seed=7):
        return {w.tca_s for w in with_failures(passes, share, seed) if w.failed}

    passes = [window(k) for k in range(200)]
    lower = [replace(w, aos_s=w.aos_s - 61.0, los_s=w.los_s + 61.0) for w in passes]
    assert failed(passes[::2]) == failed(passes) & {w.tca_s for w in passes[::2]}
    assert failed(lower) == failed(passes)
    assert failed(passes) <= failed(passes, 0.6)
    assert failed(passes, seed=8) != failed(passes)
    assert failed([window(k, "b") for k in range(200)]) != failed(passes)


def test_a_keyhole_costs_the_time_above_it_and_nothing_else():
    """At one rate the loss is the time above, to a step of 5 s at each of the two edges."""
    whole, holed = booked(), booked("link.keyhole_deg=60")
    assert any(w.max_elevation_deg > 60.0 for w in whole)
    for before, after in zip(whole, holed, strict=True):
        assert len(after.promised_bits) == 0  # geometry is known aboard
        if before.max_elevation_deg <= 60.0:
            assert after.total_bits == before.total_bits
            continue
        assert after.total_bits < before.total_bits
        middle = after.grid_s[np.diff(after.capacity_bits, prepend=-1.0) == 0.0]
        above_s = (before.total_bits - after.total_bits) / before.total_bits * np.ptp(before.grid_s)
        assert np.ptp(middle) == pytest.approx(above_s, abs=10.0)
        assert middle[0] < before.tca_s < middle[-1]
    assert [w.total_bits for w in booked("link.keyhole_deg=90")] == [w.total_bits for w in whole]


def test_a_closed_station_is_not_booked_and_the_others_are():
    times = "start: 2026-10-02T00:00:00Z, end: 2026-10-03T00:00:00Z"
    closed = booked(f"link.booking.closed=[{{station: Svalbard, {times}}}]")
    assert any(w.station == "Svalbard" and w.aos_s < 86400.0 for w in booked())
    assert not any(w.station == "Svalbard" and w.aos_s < 86400.0 for w in closed)
    assert any(w.station == "Awarua" and w.aos_s < 86400.0 for w in closed)
    assert any(w.station == "Svalbard" and w.aos_s > 86400.0 for w in closed)


def test_a_flight_in_which_every_pass_fails_delivers_nothing_and_says_so():
    scenario = flown("link.pass_failure=1", "duration=1d")
    run = flightsim.run(scenario, write=False)
    assert run.metrics["bytes"]["delivered"] == run.metrics["bytes"]["capacity"] == 0
    rows = passes_rows(scenario, contacts_for(scenario))
    assert [row["failed"] for row in rows] == [row["booked"] for row in rows]
    assert all(row["capacity_bytes"] == 0 for row in rows)
    table = contacts_table(run.record)
    assert table["failed"].to_pylist() == table["booked"].to_pylist()


def test_each_failed_contact_is_an_event_when_it_would_have_begun_and_the_next_one_carries():
    first, second = contact(1000.0, 300.0, 1e6), contact(9000.0, 300.0, 1e6)
    (lost,) = with_failures([first], 1.0, 7)
    seen, whole = mission("bent_pipe", [10.0], [lost, second]), mission("bent_pipe", [10.0], [first, second])
    (failed,) = seen.kinds("contact_failed")
    (queued,) = seen.kinds("item_queued")
    opened = whole.kinds("contact_opened")
    assert failed == {
        "seq": failed["seq"], "t_s": 1000.0, "kind": "contact_failed", "spacecraft": "s", "station": "a",
        "promised_bytes": opened[0]["capacity_bytes"], "queued_bytes": queued["wire_bytes"],
    }  # fmt: skip
    assert [event["t_s"] for event in seen.kinds("contact_opened")] == [9000.0]
    assert [event["t_s"] for event in opened] == [1000.0, 9000.0]
    assert seen.states() == {"delivered": 1}
    assert not whole.kinds("contact_failed")


def test_failures_closures_and_prices_stand_in_metrics_summary_and_report(tmp_path):
    times = "start: 2026-10-02T00:00:00Z, end: 2026-10-03T00:00:00Z"
    options = ["link.pass_failure=0.5", "link.booking.price={Svalbard: 100.5, default: 30}"]
    scenario = flown(*options, f"link.booking.closed=[{{station: Awarua, {times}}}]")
    run = flightsim.run(scenario, out=tmp_path / "run")
    rows = passes_rows(scenario, contacts_for(scenario))  # without grace both tell of the same span
    contacts, summary = run.metrics["contacts"], "\n".join(run.summary_lines())
    failed = sum(row["failed"] for row in rows)
    closed = sum(row["not_booked"] is not None and row["not_booked"]["why"] == "closed" for row in rows)
    price = sum(row["price"] for row in rows)
    assert 0 < failed < contacts["booked"]
    assert (contacts["failed"], contacts["closed"], contacts["price"]) == (failed, closed, price)
    assert run.record.event_counts["contact_failed"] == failed
    assert f"{len(rows)} passes, {closed} closed, price {price:,g}: capacity" in summary
    assert f"failures: contact_failed {failed}" in summary
    page = write_report(run.folder).read_text()
    assert f"price {price:,g}: capacity" in page
    assert f"contact_failed: {failed}</li>" in page
    assert f", {failed} failed, price {price:,g}" in page  # the lane of contacts


def test_where_nothing_is_stated_nothing_is_told():
    run = flightsim.run(flown("duration=1d"), write=False)
    assert not {"failed", "closed", "price"} & run.metrics["contacts"].keys()
    assert run.record.event_counts["contact_failed"] == 0
    assert not {"contact_failed", "closed", "price"} & set(re.findall(r"\w+", "\n".join(run.summary_lines())))


def test_the_passes_table_counts_failures_and_price():
    options = ["link.pass_failure=1", "link.booking.price={Svalbard: 100, default: 30}", "duration=1d"]
    scenario = flown(*options)
    rows = passes_rows(scenario, contacts_for(scenario))
    prices = [{"Svalbard": 100, "Awarua": 30}[row["station"]] if row["booked"] else 0 for row in rows]
    assert [row["price"] for row in rows] == prices
    shown = [part for option in [*SMALL, *options] for part in ("--set", option)]
    done = CliRunner().invoke(main, ["passes", "statistical", *shown])
    assert done.exit_code == 0, done.output
    count = sum(row["booked"] for row in rows)
    assert f"{count} booked, {count} of them failed, price {sum(prices)}" in done.stderr
    assert not {"failed", "price", "weather_percent"} & passes_rows(flown(), contacts_for(flown()))[0].keys()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "link.booking.closed=[{station: Mars, start: 2026-10-02T00:00:00Z, end: 2026-10-03T00:00:00Z}]",
            "there is no station 'Mars' in the scenario, only Svalbard, Awarua",
        ),
        (
            "link.booking.closed=[{station: Awarua, start: 2026-10-03T00:00:00Z, end: 2026-10-02T00:00:00Z}]",
            "not after its start",
        ),
        ("link.booking.price={Mars: 3}", "there is no station 'Mars'"),
        ("link.pass_failure=1.5", "link.pass_failure"),
        ("link.keyhole_deg=91", "link.keyhole_deg"),
    ],
)
def test_validation_names_the_fault(setting, words):
    with pytest.raises(ScenarioError, match=words):
        flown(setting)
