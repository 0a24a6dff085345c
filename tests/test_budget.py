"""The capacity clock: what contacts can still carry, against a direct sum."""

from dataclasses import replace

import numpy as np
import pytest

from flightsim.budget import CapacityClock
from flightsim.domain import ContactWindow

ZONE, FRAME = 1109, 1115


def contact(aos_s, seconds, rate_bps=125_000.0, name="a"):
    grid = aos_s + np.linspace(0.0, seconds, 8)
    return ContactWindow(
        "s", name, aos_s, aos_s + seconds / 2, aos_s + seconds, 40.0, booked=True,
        grid_s=grid, capacity_bits=rate_bps * (grid - aos_s),
    )  # fmt: skip


@pytest.fixture
def clock():
    return CapacityClock([contact(1000, 400), contact(50_000, 300), contact(100_000, 500)], ZONE, FRAME)


def test_a_contact_carries_whole_frames(clock):
    assert clock.zone_capacity[0] == int(400 * 125_000 // (8 * FRAME)) * ZONE


def test_capacity_by_a_time_never_falls_and_ends_at_the_sum(clock):
    times = np.linspace(0, 120_000, 999)
    values = [clock.zone_by(float(t)) for t in times]
    assert values[0] == 0.0
    assert np.all(np.diff(values) >= 0.0)
    assert values[-1] == sum(clock.zone_capacity)


def test_time_at_is_the_inverse_of_zone_in(clock):
    for share in (0.1, 0.5, 0.99):
        position = share * clock.zone_capacity[1]
        assert clock.zone_in(1, clock.time_at(1, position)) == pytest.approx(position, abs=1e-3)


def test_budget_counts_the_rest_of_a_contact_under_way_and_takes_off_the_queue(clock):
    seen = clock.budget(1200.0, 1000)
    rest = clock.zone_capacity[0] - clock.zone_in(0, 1200.0)
    assert seen.next_contact_bytes == int(rest) - 1000
    assert seen.next_day_bytes == int(rest + clock.zone_capacity[1]) - 1000
    assert seen.mission_bytes == int(rest + sum(clock.zone_capacity[1:])) - 1000


def test_after_the_last_contact_nothing_is_left(clock):
    assert clock.budget(200_000.0, 0) == clock.budget(200_000.0, 10**9)
    assert clock.budget(200_000.0, 0).mission_bytes == 0
    assert clock.forecasts(200_000.0) == ()


def test_forecasts_begin_with_the_contact_under_way(clock):
    assert [f.aos_s for f in clock.forecasts(1200.0)] == [1000, 50_000, 100_000]
    assert [f.aos_s for f in clock.forecasts(1500.0)] == [50_000, 100_000]


def test_no_contacts_at_all():
    clock = CapacityClock([], ZONE, FRAME)
    assert clock.budget(0.0, 5).mission_bytes == 0
    assert clock.forecasts(0.0) == ()


def test_what_is_looked_ahead_to_is_what_was_promised(clock):
    """Half of each contact is lost, which nobody aboard knows: the looks ahead are those of the whole."""
    half = [replace(c, capacity_bits=c.capacity_bits / 2, promised_bits=c.capacity_bits) for c in clock.contacts]
    seen = CapacityClock(half, ZONE, FRAME)
    for time_s in (0.0, 1200.0, 1500.0, 100_200.0):
        assert seen.forecasts(time_s) == clock.forecasts(time_s)
        assert seen.budget(time_s, 1000) == clock.budget(time_s, 1000)
    assert sum(seen.zone_capacity) == pytest.approx(sum(clock.zone_capacity) / 2, abs=3 * ZONE)
    assert seen.zone_by(200_000.0) == sum(seen.zone_capacity)


def test_the_loss_of_a_stretch_is_the_mean_over_what_it_carries(clock):
    """A contact whose first half loses a tenth and whose second half, at three times the rate, loses nothing."""
    grid = np.array([1000.0, 1100.0, 1200.0])
    bits = np.array([0.0, 1e7, 4e7])
    window = replace(contact(1000, 200), grid_s=grid, capacity_bits=bits, lost_bits=np.array([0.0, 1e6, 1e6]))
    lossy = CapacityClock([window], ZONE, FRAME)
    end = lossy.zone_capacity[0]
    half = 1e7 / (8 * FRAME) * ZONE
    assert lossy.frame_loss(0, 0, int(half)) == pytest.approx(0.1)
    assert lossy.frame_loss(0, int(half) + 1, end) == 0.0
    assert lossy.frame_loss(0, 0, end) == pytest.approx(0.025, rel=1e-3)  # whole frames end a little earlier
    assert clock.frame_loss(0, 0, 5000) == 0.0


def test_nobody_looks_ahead_to_a_refused_contact(clock):
    after = clock.forecasts(1400.0), clock.budget(1400.0, 7)
    assert clock.forecasts(1100.0) != after[0]
    clock.refuse(0)
    assert (clock.forecasts(1100.0), clock.budget(1100.0, 7)) == after
    clock.refuse(1)
    assert [f.aos_s for f in clock.forecasts(50_100.0)] == [100_000.0]
    assert clock.budget(50_100.0, 0).mission_bytes == clock.zone_capacity[2]
    clock.refuse(2)
    assert clock.forecasts(100_100.0) == ()
    assert clock.budget(100_100.0, 0).mission_bytes == 0
