"""Room in mass memory: whole files, never more than fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightsim.errors import ConservationError
from flightsim.storage import MassMemory


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60), st.booleans()), max_size=60))
def test_mass_memory_never_holds_more_than_fits(steps):
    memory, held = MassMemory(100), {}
    for name, size, leave in steps:
        if leave and name in held:
            memory.release(name)
            del held[name]
        elif name not in held:
            fits = sum(held.values()) + size <= 100
            assert memory.admit(name, size) is fits
            if fits:
                held[name] = size
        assert memory.used_bytes == sum(held.values()) == 100 - memory.free_bytes
        assert len(memory) == len(held)
        memory.check()
    assert memory.peak_bytes <= 100


def test_a_name_is_stored_once_and_released_once():
    memory = MassMemory(10)
    assert memory.admit("a", 4)
    with pytest.raises(ValueError, match="already holds 'a'"):
        memory.admit("a", 1)
    assert memory.grow("a", 6)
    assert not memory.grow("a", 1)
    memory.release("a")
    with pytest.raises(KeyError):
        memory.release("a")


def test_a_refused_file_leaves_no_trace():
    memory = MassMemory(10)
    assert memory.admit("a", 6)
    assert not memory.admit("b", 5)
    assert ("b" in memory, memory.used_bytes, memory.peak_bytes) == (False, 6, 6)
    assert memory.admit("b", 4)


def test_sizes_are_never_negative():
    with pytest.raises(ValueError, match="'a' would grow by -1 B; sizes are never negative"):
        MassMemory(10).admit("a", -1)


def test_books_that_do_not_add_up_are_told():
    memory = MassMemory(10)
    memory.admit("a", 4)
    memory.used_bytes = 5
    with pytest.raises(ConservationError, match="memory of 10 B counts 5 B in use and holds 4 B"):
        memory.check()
