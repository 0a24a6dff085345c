"""Keyed randomness: the same number for the same key, whatever is asked around it."""

import subprocess
import sys

import numpy as np
import pytest

from flightsim import rng


def test_a_key_has_one_number_alone_in_a_batch_and_in_any_order():
    keys = np.arange(1000, dtype=np.uint64)
    together = rng.uniform_at(7, "cloud", keys)
    assert np.array_equal(rng.uniform_at(7, "cloud", keys[::-1])[::-1], together)
    assert float(rng.uniform_at(7, "cloud", 413)) == together[413]


@pytest.mark.parametrize("other", [(8, "cloud"), (7, "clouds")])
def test_another_seed_or_name_gives_unrelated_numbers(other):
    keys = np.arange(20000, dtype=np.uint64)
    correlation = np.corrcoef(rng.uniform_at(7, "cloud", keys), rng.uniform_at(*other, keys))[0, 1]
    assert abs(correlation) < 4 / np.sqrt(len(keys))


def test_numbers_of_consecutive_keys_are_uniform_and_uncorrelated():
    values = rng.uniform_at(1, "x", np.arange(100_000))
    counts = np.histogram(values, 100, (0, 1))[0]
    chi_squared = ((counts - 1000.0) ** 2 / 1000.0).sum()
    assert 99 - 5 * np.sqrt(198) < chi_squared < 99 + 5 * np.sqrt(198)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 4 / np.sqrt(len(values))


def test_two_keys_broadcast():
    grid = rng.uniform_at(3, "y", np.arange(4)[:, None], np.arange(5)[None, :])
    assert grid.shape == (4, 5)
    assert len(np.unique(grid)) == 20


def test_stream_does_not_depend_on_hash_randomisation():
    code = "from flightsim import rng; print(rng.stream(5, 'a').random(), float(rng.uniform_at(5, 'a', 9)))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(seen) == 1
