"""The page that holds the simulator beside what was flown: its command gives what the page says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import flown
from flightsim.orbit import Propagator

from .conftest import shared

PAGE = Path(__file__).parents[1] / "docs" / "flown.md"
#: Parts that need no run of a scenario.
CHEAP = (flown.links, flown.s_band, flown.orion)


@pytest.mark.parametrize("part", CHEAP, ids=lambda part: part.__name__)
def test_the_page_has_the_rows_that_the_command_prints(part):
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = part()
    assert rows
    for row in rows:
        assert "| " + " | ".join(row.cells()) + " |" in lines


def test_the_inputs_of_the_published_budgets_are_those_of_the_reference():
    """Printed to 0.1 dB, so within 0.11, the tolerance of the file."""
    data = json.loads(shared("reference/link.json").read_text())
    published = {case["id"]: case["published"] for case in data["published"]}
    payload, margin, emwin = flown.links()
    assert payload.published[0] == published["EURASIP-2020-S-band"]["cn0_dbhz"]
    assert margin.published[0] == published["EURASIP-2020-S-band"]["margin_db"]
    assert emwin.published[0] == published["NOAA-EMWIN-N-downlink"]["cn0_dbhz"]
    for row in (payload, margin, emwin):
        assert row.ours[0] == pytest.approx(row.published[0], abs=data["tolerance"]["published_dB"])


def test_a_window_by_distance_over_a_place_on_the_track():
    """Straight overhead the way is 2000 km in and 2200 km out, to a step of the clock at each end.

    The Earth turns below by up to 0.5 km/s across the track, which lengthens or shortens the way by less than a tenth.
    """
    craft: Propagator = flown._sentinel("SENTINEL-2C", 1.0)
    at_s = 3000.0
    lat, lon, _ = craft.subpoints(np.array([at_s]))
    step_s = 10.0
    windows = flown.distance_windows_s(craft, float(lat[0]), float(lon[0]), 2000.0, 2200.0, 0.1, step_s)
    (begin_s, end_s) = next(span for span in windows if span[0] < at_s < span[1])
    speed_kmps = 2.0 * np.pi * 6371.0 / craft.period_s
    assert at_s - begin_s == pytest.approx(2000.0 / speed_kmps, rel=0.1, abs=step_s)
    assert end_s - at_s == pytest.approx(2200.0 / speed_kmps, rel=0.1, abs=step_s)


def test_the_energy_of_a_pass_is_power_times_time():
    """Exact but for rounding: the model is closed form."""
    assert flown.pass_energy_wh(13.0, 540.0) == pytest.approx(13.0 * 540.0 / 3600.0, rel=1e-9)
