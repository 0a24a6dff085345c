"""Order of the downlink queue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightsim.domain import Action, QueuedItem
from flightsim.downlink_queue import DownlinkQueue


def item(name, priority=5, captured_s=0.0, wire=1000, sent=0, expires_s=None):
    return QueuedItem(name, ("t",), (0,), Action.TILE, wire, wire, priority, captured_s, 0.0, expires_s, sent)


items = st.lists(
    st.builds(
        item, st.uuids().map(str), st.integers(0, 3), st.integers(0, 3).map(float), st.just(1000),
        st.sampled_from([0, 500]),
    ),
    unique_by=lambda entry: entry.id,
)  # fmt: skip


@given(items)
def test_order_is_priority_then_cut_then_age_then_id(entries):
    queue = DownlinkQueue()
    for entry in entries:
        queue.push(entry)
    assert queue.pending_bytes == sum(e.wire_bytes - e.sent_bytes for e in entries)
    assert queue.oldest_s == min((e.captured_s for e in entries), default=None)
    got = []
    while (entry := queue.pop(0.0)) is not None:
        got.append(entry)
    assert got == sorted(entries, key=lambda e: (e.priority, e.sent_bytes == 0, e.captured_s, e.id))
    assert (len(queue), queue.pending_bytes, queue.oldest_s) == (0, 0, None)


def test_expired_files_are_dropped_when_considered_but_a_begun_transfer_is_finished():
    queue = DownlinkQueue()
    queue.push(item("old", 0, expires_s=10.0))
    queue.push(item("begun", 1, sent=1, expires_s=10.0))
    assert queue.pop(10.0).id == "old"
    queue.push(item("old", 0, expires_s=10.0))
    assert queue.pop(11.0).id == "begun"
    assert [gone.id for gone in queue.take_expired()] == ["old"]
    assert queue.take_expired() == []


def test_oldest_follows_what_was_taken():
    queue = DownlinkQueue()
    queue.push(item("a", 0, 5.0))
    queue.push(item("b", 1, 3.0))
    queue.push(item("c", 2, 4.0))
    queue.pop(0.0)
    assert queue.oldest_s == 3.0
    queue.pop(0.0)
    assert queue.oldest_s == 4.0


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 2), st.integers(0, 9), st.integers(1, 1000))))
def test_a_transfer_that_is_cut_again_and_again_sends_each_byte_once(steps):
    """Push new files, send a part of the first one and put it back: what waits is what was never sent."""
    queue, known, radiated = DownlinkQueue(), {}, 0
    for number, (letter, priority, captured_s, part) in enumerate(steps):
        new = item(f"{letter}{number}", priority, float(captured_s))
        known[new.id] = new
        queue.push(new)
        first = queue.pop(0.0)
        assert first.priority == min(entry.priority for entry in known.values())
        part = min(part, first.wire_bytes - first.sent_bytes)
        first.sent_bytes += part
        radiated += part
        if first.sent_bytes < first.wire_bytes:
            queue.push(first)
        else:
            del known[first.id]
        assert queue.pending_bytes + radiated == sum(1000 for _ in range(number + 1))
        assert queue.oldest_s == min((entry.captured_s for entry in known.values()), default=None)
        assert len(queue) == len(known)


def test_a_cut_transfer_goes_before_older_files_of_its_priority_but_not_before_a_more_urgent_one():
    queue = DownlinkQueue()
    for entry in (item("older", 5, 1.0), item("cut", 5, 2.0, sent=400), item("urgent", 4, 3.0)):
        queue.push(entry)
    assert [queue.pop(0.0).id for _ in range(3)] == ["urgent", "cut", "older"]


def test_draining_gives_what_is_left_in_order_and_empties_the_books():
    queue = DownlinkQueue()
    for entry in (item("b", 1), item("a", 1), item("c", 0)):
        queue.push(entry)
    assert [entry.id for entry in queue.drain()] == ["c", "a", "b"]
    assert (len(queue), queue.pending_bytes, queue.oldest_s, queue.drain()) == (0, 0, None, [])


def test_a_file_is_in_the_queue_once():
    queue = DownlinkQueue()
    queue.push(item("a"))
    with pytest.raises(ValueError, match="file 'a' is already in the downlink queue"):
        queue.push(item("a"))
