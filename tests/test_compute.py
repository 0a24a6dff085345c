"""The payload computer's duty limit, against a brute-force second-by-second count."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.accuracy_board import second_by_second
from flightsim.compute import Processor, resolve
from flightsim.errors import InputError
from flightsim.scenario.models import Compute


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60)), min_size=1, max_size=8),
    st.sampled_from([0.1, 0.25, 0.5, 1.0]),
)
def test_finish_times_match_a_second_by_second_count(jobs, duty):
    period_s = 100
    services, time = [], 0
    for gap, service in jobs:
        time += gap
        services.append((time, service))
    expected = second_by_second(services, period_s, duty)
    processor, free = Processor(period_s, duty), 0.0
    for (start, service), want in zip(services, expected, strict=True):
        free = processor.finish_s(max(start, free), service)
        # The brute force ends a service at the end of its last working second, never waiting for nothing.
        assert free == pytest.approx(want)


def test_no_orbit_works_more_than_its_share():
    processor = Processor(5700.0, 0.25)
    end = processor.finish_s(0.0, 10 * 5700.0 * 0.25)
    assert end == pytest.approx(9 * 5700.0 + 0.25 * 5700.0)


def test_what_the_scenario_says_wins_over_the_profile():
    settings_ = resolve(Compute(use="orin-nx-15w", seconds_per_question=9.0))
    assert settings_.seconds_per_question == 9.0
    assert settings_.load_s == 15.0


def test_an_unknown_profile_names_the_nearest():
    with pytest.raises(InputError, match=r"Did you mean 'orin-nx-15w'\?"):
        resolve(Compute(use="orin-nx"))
