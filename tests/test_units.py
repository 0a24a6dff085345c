"""Reading of quantities: units are words of the contract, and a wrong one is told."""

from datetime import UTC, datetime

import pytest

from flightsim import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7d", 604800), ("36h", 129600), ("90min", 5400), ("600s", 600), ("1.5 h", 5400), ("1e2s", 100)],
)
def test_durations(text, seconds):
    assert units.parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("2 GiB", 2**31), ("4.6kB", 4600), (120, 120), ("0.5 MiB", 2**19), ("1e3", 1000)]
)
def test_sizes(text, size):
    assert units.parse_size_bytes(text) == size


def test_rates_tell_bits_from_bytes():
    assert units.parse_rate_bps("4.8 Mbit/s") == 4.8e6
    assert units.parse_rate_bps("1 MB/s") == 8e6


@pytest.mark.parametrize("text", ["7 days", "7", "seven d", True, None, "1e999 d", "nan d", [7]])
def test_wrong_durations_are_refused_with_the_allowed_units(text):
    with pytest.raises(ValueError, match=r"ms, s, min, h, d, w|must be finite"):
        units.parse_duration_s(text)


def test_half_a_byte_is_refused():
    with pytest.raises(ValueError, match="whole number of bytes"):
        units.parse_size_bytes("1.5 B")


def test_utc_text_rounds_to_the_millisecond_and_carries():
    start = datetime(2026, 10, 2, tzinfo=UTC)
    assert units.utc_text(start, 0.0004) == "2026-10-02T00:00:00.000Z"
    assert units.utc_text(start, 59.9996) == "2026-10-02T00:01:00.000Z"
    assert units.utc_text(start, -1.0) == "2026-10-01T23:59:59.000Z"


def test_people_see_three_digits():
    assert units.bytes_text(78_700_000) == "78.7 MB"
    assert units.bytes_text(999) == "999 B"
    assert units.duration_text(5400) == "1.5 h"
