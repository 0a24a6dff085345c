"""Bent pipe and no-VLM senders: against a byte-by-byte loop, against the engine, and by conservation."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightsim.belief import DeclaredReader, believe, make_reader, reader_draws
from flightsim.domain import ContactWindow
from flightsim.no_vlm import NoVlm, Point, best_f1_at_bytes, cheapest_at_f1
from flightsim.recorder import STATES
from flightsim.references import CapacityCurve, References, ReferenceSizes, fifo
from flightsim.scoring import confusion

from .factories import DAY_S, FRAME, ZONE, plan_of, random_mission, record_of, sizes_of, truth_of, window
from .worlds import contact, mission

# A zone of 4 bytes in a frame of 8, one frame a second: all positions and times are exact in binary.
_ZONE, _FRAME = 4, 8


def _exact_window(aos_s: int, frames: int) -> ContactWindow:
    grid = np.arange(aos_s, aos_s + frames + 1, dtype=float)
    bits = (grid - aos_s) * _FRAME * 8
    return ContactWindow("s", "x", aos_s, aos_s, aos_s + frames, 50.0, booked=True, grid_s=grid, capacity_bits=bits)


@dataclass
class _Slow:
    """What the byte-by-byte loop found."""

    delivered_s: list[float]
    dropped: list[bool]
    zone: list[int]


def _byte_by_byte(windows, release_s, wire, stored, raw, storage) -> _Slow:
    """Every byte of every contact gets the oldest admitted file that is there; no formula is shared with ``fifo``."""
    clock_of_byte, time_of_frame_end, owner = [], [], []
    for k, (aos_s, frames) in enumerate(windows):
        for byte in range(frames * _ZONE):
            clock_of_byte.append(aos_s + byte / _ZONE)  # the instant at which this byte begins
            time_of_frame_end.append(aos_s + byte // _ZONE + 1.0)
            owner.append(k)
    left = list(wire)
    delivered = [float("nan")] * len(wire)
    dropped = [False] * len(wire)
    zone = [0] * len(windows)
    queue: list[int] = []
    held: list[int] = []
    arrivals = sorted(range(len(wire)), key=lambda i: (release_s[i], i))

    def arrive(i: int) -> None:
        held[:] = [j for j in held if not delivered[j] <= release_s[i]]
        if sum(stored[j] for j in held) + max(stored[i], raw[i]) > storage:
            dropped[i] = True
        else:
            held.append(i)
            queue.append(i)

    for begin_s, end_s, k in zip(clock_of_byte, time_of_frame_end, owner, strict=True):
        while arrivals and release_s[arrivals[0]] <= begin_s:
            arrive(arrivals.pop(0))
        if queue:
            zone[k] += 1
            left[queue[0]] -= 1
            if left[queue[0]] == 0:
                delivered[queue.pop(0)] = end_s
    while arrivals:
        arrive(arrivals.pop(0))
    return _Slow(delivered, dropped, zone)


@st.composite
def _cases(draw):
    gaps = draw(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)), min_size=0, max_size=4))
    windows, at = [], 0
    for gap, frames in gaps:
        windows.append((at + gap, frames))
        at += gap + frames + 1
    files = draw(
        st.lists(
            st.tuples(st.integers(0, 400), st.integers(1, 14), st.integers(1, 9), st.integers(1, 12)),
            min_size=1, max_size=12,
        )
    )  # fmt: skip
    release = sorted(tenths / 8 for tenths, *_ in files)
    return windows, release, *([f[k] for f in files] for k in (1, 2, 3)), draw(st.integers(5, 60))


@settings(max_examples=400, deadline=None)
@given(_cases())
def test_the_recursion_does_what_a_byte_by_byte_loop_does(case):
    windows, release, wire, stored, raw, storage = case
    curve = CapacityCurve([_exact_window(*w) for w in windows], _ZONE, _FRAME)
    arrays = (np.array(values, dtype=np.int64) for values in (wire, stored, raw))
    fast = fifo(curve, np.array(release), *arrays, storage)
    slow = _byte_by_byte(windows, release, wire, stored, raw, storage)
    assert fast.dropped.tolist() == slow.dropped
    assert np.array_equal(fast.delivered_s, np.array(slow.delivered_s), equal_nan=True)
    assert fast.contact_zone_bytes.tolist() == slow.zone
    assert fast.contact_air_bytes.tolist() == [-(-z // _ZONE) * _FRAME for z in slow.zone]


@settings(max_examples=200, deadline=None)
@given(_cases())
def test_bytes_are_conserved(case):
    windows, release, wire, stored, raw, storage = case
    curve = CapacityCurve([_exact_window(*w) for w in windows], _ZONE, _FRAME)
    wire, stored, raw = (np.array(values, dtype=np.int64) for values in (wire, stored, raw))
    sent = fifo(curve, np.array(release), wire, stored, raw, storage)
    assert np.all(sent.contact_zone_bytes <= curve.capacity)
    assert sent.file_air_bytes().sum() == pytest.approx(sent.air_bytes)
    assert wire[sent.complete].sum() <= sent.contact_zone_bytes.sum() <= wire[~sent.dropped].sum()
    assert np.all(sent.file_air_bytes()[sent.dropped] == 0.0)
    assert np.all(sent.delivered_s[sent.complete] >= np.array(release)[sent.complete])


def test_a_clock_with_acquisition_and_release_has_an_inverse():
    flat = ContactWindow(
        "s", "x", 0.0, 50.0, 100.0, 40.0, booked=True,
        grid_s=np.array([0.0, 10.0, 60.0, 90.0, 100.0]),
        capacity_bits=np.array([0.0, 0.0, 200.0, 800.0, 800.0]) * FRAME * 8,
    )  # fmt: skip
    curve = CapacityCurve([flat], ZONE, FRAME)
    assert curve.total == 800 * ZONE
    ends = np.array([1, 100, 200, 500, 800]) * ZONE
    times = curve.time_at(ends)
    assert times == pytest.approx([10.25, 35.0, 60.0, 75.0, 90.0])
    assert curve.position(times) == pytest.approx(ends)
    assert curve.position(np.array([-5.0, 5.0, 99.0, 200.0])) == pytest.approx([0, 0, curve.total, curve.total])


@pytest.mark.parametrize("storage_bytes", [10**9, 900_000])
def test_the_reference_is_what_the_engine_does_with_the_bent_pipe_policy(storage_bytes):
    """Independent source: the event-driven engine on the same captures and contacts."""
    times = np.sort(np.concatenate([np.arange(40) * 37.0, 5000.3 + np.arange(60) * 11.7, [20_000.0]]))
    contacts = [contact(1000.0, 300.0, 50_000.0), contact(5200.0, 400.0, 60_000.0), contact(30_000.0, 300.0, 80_000.0)]
    flown = mission("bent_pipe", times.tolist(), contacts, storage_bytes=storage_bytes, horizon_s=60_000.0)
    record = flown.record
    n = len(times)
    tile = np.full(n, flown.sizer.record(0, ()).size_bytes + 80_000)
    wire = np.array([flown.sizer.wire(int(size), "tile") for size in tile], dtype=np.int64)
    sizes = ReferenceSizes(wire, {}, np.full(n, 100_000), tile, np.full(n, np.nan))
    reference, air = References(record, sizes).tiles_windows()
    dropped = record.state == [str(state) for state in STATES].index("dropped_full")
    assert reference.dropped.tolist() == dropped.tolist()
    assert dropped.any() == (storage_bytes < 10**9)
    assert np.array_equal(reference.delivered, ~np.isnan(record.delivered_s))
    # Whole bytes here, floats there: a file may end in the frame beside, which is one frame's time.
    assert reference.delivered_s == pytest.approx(record.delivered_s, abs=1.001 * FRAME * 8 / 50_000.0, nan_ok=True)
    assert reference.air_bytes == pytest.approx(record.contact_air_bytes.sum(), abs=3 * FRAME)
    assert air.sum() == pytest.approx(reference.air_bytes)


def test_the_unlimited_bent_pipe_is_every_tile_once_with_its_framing():
    record = record_of(truth_of([True, False, True]), plan=plan_of([0.0, 1.0, 2.0], craft=[0, 1, 0]))
    sizes = sizes_of(3, tile=1500)
    reference = References(record, sizes).tiles_unlimited()
    # Two streams: 3000 bytes in 3 zones of 1105, and 1500 bytes in 2.
    assert reference.air_bytes == (3 + 2) * FRAME
    assert reference.delivered.all()


def test_each_spacecraft_has_its_own_contacts_and_storage():
    plan = plan_of([0.0, 1.0, 2.0, 3.0], craft=[0, 1, 0, 1])
    contacts = [window(100.0, 100.0, 10, "sat0"), window(100.0, 100.0, 10, "sat1", booked=False)]
    record = record_of(truth_of([True] * 4), plan=plan, contacts=contacts, craft_storage_bytes=(2000, 10**9))
    reference, _ = References(record, sizes_of(4, tile=1500)).tiles_windows()
    assert reference.delivered.tolist() == [True, False, False, False]
    assert reference.dropped.tolist() == [False, False, True, False]  # 2 x 1500 B do not fit into 2000 B
    assert reference.air_bytes == 2 * FRAME


def test_an_equal_share_of_the_storage_is_taken_where_only_the_total_is_stated():
    plan = plan_of([0.0, 1.0, 2.0], craft=[0, 0, 1])
    record = record_of(truth_of([True] * 3), plan=plan, storage_bytes=4000)
    reference, _ = References(record, sizes_of(3, tile=1500)).tiles_windows()
    assert reference.dropped.tolist() == [False, True, False]


def test_the_useful_age_holds_for_references_too():
    times = [0.0, 40_000.0]
    record = record_of(truth_of([True, True]), times_s=times, contacts=[window(50_000.0, 100.0, 100)])
    assert References(record, sizes_of(2)).tiles_windows()[0].delivered.tolist() == [True, True]
    record.deadline_s = 20_000.0
    assert References(record, sizes_of(2)).tiles_windows()[0].delivered.tolist() == [False, True]


# No-VLM senders --------------------------------------------------------------------------------------------------


def analyst(record, seed):
    draws = reader_draws(record.plan, record.truth.schemas, seed)
    return DeclaredReader(make_reader("analyst"), record.truth, draws)


@pytest.fixture(scope="module")
def senders():
    record = random_mission(1500, 3, prior=np.array([0.02, 0.1, 0.3]))
    cloud = np.where(record.truth.visible, 0.05, 0.8)
    sizes = sizes_of(1500)
    sizes = ReferenceSizes(sizes.tile_wire, sizes.thumbnail_wire, sizes.raw_bytes, sizes.tile_bytes, cloud)
    references = References(record, sizes)
    reader = analyst(record, 5)
    return record, references, reader, {p.name: p for p in NoVlm(references, reader, 5).points()}


def test_scores_from_groups_are_those_of_the_whole_belief(senders):
    record, references, reader, points = senders
    truth = record.truth
    tiles, _ = references.tiles_windows()
    belief = believe(truth, np.where(tiles.delivered[:, None], reader.tiles(), 0.0))
    assert points["tiles"].f1 == pytest.approx(confusion(truth.changed, belief.yes, truth.labelled).f1)
    assert points["tiles"].air_bytes == tiles.air_bytes
    assert points["tiles"].delivered == np.count_nonzero(tiles.delivered)


def test_the_families_are_complete_and_ordered_as_they_must_be(senders):
    *_, points = senders
    assert points["nothing"] == Point("nothing", 0.0, 0.0, 0.0)
    shares = [points[f"uniform {share}% thumbnails 64 px"] for share in (1, 2, 5, 10, 20, 50)]
    assert [p.air_bytes for p in shares] == sorted(p.air_bytes for p in shares)
    assert [p.f1 for p in shares] == sorted(p.f1 for p in shares)
    clear, every = points["thumbnails 64 px below 60% cloud"], points["thumbnails 64 px"]
    assert clear.air_bytes < every.air_bytes
    assert clear.f1 == every.f1  # what cloud hides is never read, so leaving it out costs nothing


def test_a_thumbnail_beyond_the_size_of_the_tile_is_not_sold_as_a_better_one():
    record = random_mission(200)
    references = References(record, sizes_of(200, thumbnails={64: 1500, 128: 4000, 256: 4000}))
    names = {p.name for p in NoVlm(references, analyst(record, 1), 1).points()}
    assert "thumbnails 128 px" in names
    assert "thumbnails 256 px" not in names


def test_the_best_and_the_cheapest_are_chosen_by_bytes_and_f1():
    points = [Point("a", 0.0, 0.0, 0), Point("b", 10.0, 0.5, 1), Point("c", 20.0, 0.4, 2), Point("d", 5.0, None, 1)]
    assert best_f1_at_bytes(points, 9.0).name == "a"
    assert best_f1_at_bytes(points, 25.0).name == "b"
    assert cheapest_at_f1(points, 0.4).name == "b"
    assert cheapest_at_f1(points, 0.6) is None
    assert best_f1_at_bytes([points[3]], 9.0) is None


def test_without_any_contact_nothing_is_sent_and_nothing_breaks():
    record = random_mission(100)
    record.contacts = []
    reference, air = References(record, sizes_of(100)).tiles_windows()
    assert (reference.air_bytes, air.sum(), reference.delivered.any()) == (0, 0.0, False)
    assert References(record, sizes_of(100)).capacity_air_bytes == 0


def test_capacity_counts_whole_frames_of_booked_contacts():
    contacts = [window(0.0, 10.0, 10.7), window(DAY_S, 10.0, 5.2, booked=False), window(2 * DAY_S, 10.0, 3.0)]
    record = record_of(truth_of([True]), contacts=contacts)
    assert References(record, sizes_of(1)).capacity_air_bytes == 13 * FRAME
