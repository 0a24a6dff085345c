"""Files on a lossy link: what arrives, what is sent again, when storage is freed; small missions written by hand."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from flightsim import cfdp, cli
from flightsim.domain import Action, Decision
from flightsim.recorder import STATES
from flightsim.references import References
from flightsim.scenario.models import Radio

from .factories import sizes_of
from .worlds import contact, mission

TIMES = [10.0 * k for k in range(40)]


def lossy(window, loss):
    """The same contact with a mean share of frames lost."""
    return replace(window, lost_bits=loss * window.capacity_bits)


def passes(loss, count=3, seconds=400.0, rate_bps=100_000.0):
    return [lossy(contact(1000.0 + 5000.0 * k, seconds, rate_bps), loss) for k in range(count)]


def radio(class_, **given_):
    return Radio.model_validate({"cfdp": {"class": class_, **given_}})


def fly(class_, loss, policy="bent_pipe", **given_):
    sizes = {"raw_bytes": 100_000, "tile_bytes": 20_000, "thumbnail_bytes": {128: 4000, 64: 1500, 256: 12000}}
    return mission(policy, TIMES, passes(loss), radio=radio(class_, **given_), sizes=sizes)


def arrived(flown):
    return set(flown.ledger.item_delivered_s)


class Reversed:
    """Sends every tile, the last ones first."""

    def __init__(self):
        self.order = 40

    def decide(self, seen):
        self.order -= 1
        return Decision(Action.TILE, priority=self.order // 5)


def test_class_2_without_loss_is_class_1_and_an_acknowledgement_for_each_file():
    one, two = fly(1, 0.0), fly(2, 0.0)
    closing = cfdp.closing_bytes(radio(2).cfdp)
    assert two.states() == one.states() == {"delivered": 40}
    assert two.record.contact_zone_bytes.sum() - one.record.contact_zone_bytes.sum() == 40 * closing
    assert two.record.return_bytes == 40 * (19 + 18)  # ACK(EOF) and Finished with their packet headers
    assert one.record.return_bytes == 0
    assert two.record.retransmitted_bytes == one.record.retransmitted_bytes == 0.0
    assert len(two.kinds("item_finished")) == 40
    assert not two.kinds("item_retransmitted")


def test_class_1_loses_files_and_says_so():
    flown = fly(1, 0.05)
    states = flown.states()
    assert states["delivered"] + states["lost"] == 40
    assert 0 < states["delivered"] < 40
    lost = flown.kinds("item_lost")
    assert len(lost) == states["lost"]
    assert all(event["sent_bytes"] > 20_000 for event in lost)
    assert sum(outcome == "lost" for outcome in flown.record.outcomes.values()) == len(lost)
    # The books in frames: what lost files radiated is their part of all that was radiated.
    rows = flown.record.state == [str(s) for s in STATES].index("lost")
    assert flown.record.lost_bytes == pytest.approx(flown.record.air_bytes[rows].sum())
    assert flown.record.retransmitted_bytes == 0.0


def test_class_2_brings_down_what_class_1_loses():
    flown = fly(2, 0.05)
    assert flown.states() == {"delivered": 40}
    assert flown.kinds("item_retransmitted")
    # 40 files of 20 full segments: the share sent again is p / (1 - p), within five standard errors.
    p = float(cfdp.loss_of(1022, 0.05, flown.sizer.zone_bytes))
    again = sum(item.repeated_bytes for item in flown.record.items) / 1022
    assert abs(again - 800 * p / (1 - p)) < 5 * np.sqrt(800 * p) / (1 - p)
    share = sum(item.repeated_bytes for item in flown.record.items) / flown.record.contact_zone_bytes.sum()
    assert flown.record.retransmitted_bytes == pytest.approx(share * flown.record.contact_air_bytes.sum(), rel=1e-3)


@pytest.mark.parametrize("class_", [1, 2])
def test_more_loss_never_delivers_more(class_):
    delivered = [arrived(fly(class_, loss, attempts=2)) for loss in (0.0, 0.01, 0.05, 0.2, 1.0)]
    assert all(after <= before for before, after in pairwise(delivered))
    assert len(delivered[0]) == 40
    assert not delivered[-1]


def test_losses_belong_to_the_tile_and_not_to_the_order():
    first, last = fly(1, 0.05), fly(1, 0.05, policy=Reversed())
    assert [e["item"] for e in first.kinds("item_lost")] != [e["item"] for e in last.kinds("item_lost")]
    assert np.array_equal(first.record.state, last.record.state)
    assert len(np.unique(first.record.state)) == 2


@pytest.mark.parametrize(("trip", "again_s", "before_s"), [(500.0, 6000.0, 0.0), (900.0, 11_000.0, 400.0)])
def test_an_answer_past_the_end_of_a_contact_goes_on_in_the_next(trip, again_s, before_s):
    """Delays run on contact time: what does not fit the first contact goes on in the second, and in the third."""
    flown = mission("bent_pipe", [0.0], passes(0.0), radio=radio(2, round_trip=trip, timer=trip))
    (done,), (finished,) = flown.kinds("item_delivered"), flown.kinds("item_finished")
    first_s = 1400.0 - done["t_s"]
    assert 0.0 < first_s < 400.0
    # Events are written to 1 ms.
    assert finished["t_s"] == pytest.approx(again_s + trip - first_s - before_s, abs=2e-3)
    lossy_ = mission("bent_pipe", [0.0], passes(0.02), radio=radio(2, round_trip=trip, timer=trip))
    asked = lossy_.kinds("item_retransmitted")[0]
    assert again_s < asked["t_s"] < again_s + 400.0
    assert lossy_.kinds("contact_opened")[1]["t_s"] == 6000.0


def test_storage_is_freed_by_finished_and_not_before():
    """Two tiles, storage for one raw capture beside one product: the second waits for the first one's Finished."""
    times, window = [0.0, 1200.0], [contact(1000.0, 400.0, 1e6)]
    room = 80_100 + 100_000
    quick = mission("bent_pipe", times, window, radio=radio(2), storage_bytes=room)
    assert quick.states() == {"delivered": 2}
    slow = mission("bent_pipe", times, window, radio=radio(2, round_trip=300.0, timer=300.0), storage_bytes=room - 200)
    assert slow.states() == {"delivered": 1, "dropped_full": 1}
    fast = mission("bent_pipe", times, window, radio=radio(1), storage_bytes=room - 200)
    assert fast.states() == {"delivered": 2}


def test_a_delivered_file_whose_finished_never_came_is_noted():
    flown = mission("bent_pipe", [0.0], passes(0.0, count=1), radio=radio(2, round_trip=500.0, timer=500.0))
    assert flown.states() == {"delivered": 1}
    assert "1 delivered files still waited for Finished when the run ended" in flown.record.notes
    assert flown.record.return_bytes == 0


def test_a_file_that_is_given_up_is_lost():
    flown = mission("bent_pipe", [0.0], passes(1.0), radio=radio(2, attempts=2))
    assert flown.states() == {"lost": 1}
    (lost,) = flown.kinds("item_lost")
    assert lost["why"] == "class 2, given up after 2 repetitions"
    assert len(flown.kinds("item_retransmitted")) == 2


@settings(max_examples=25, deadline=None)
@given(
    class_=st.sampled_from([1, 2]),
    loss=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    rate=st.sampled_from([3_000.0, 30_000.0, 1e6]),
    back=st.sampled_from([0.0, 0.3, 1.0]),
    trip=st.sampled_from([0.0, 1.0, 350.0]),
    attempts=st.integers(0, 4),
    policy=st.sampled_from(["bent_pipe", "verdicts_only", "thumbnails_only"]),
)
def test_whatever_is_lost_tiles_bytes_and_storage_add_up(class_, loss, rate, back, trip, attempts, policy):
    """The engine checks its books at the end of each run and raises; here is what it must agree with."""
    flown = mission(
        policy, TIMES[:12], passes(loss, rate_bps=rate), prevalence=0.5, storage_bytes=600_000,
        radio=radio(class_, return_loss=back, round_trip=trip, timer=400.0, attempts=attempts),
    )  # fmt: skip
    items, record = flown.record.items, flown.record
    radiated = sum(item.sent_bytes + item.repeated_bytes for item in items)
    assert radiated == record.contact_zone_bytes.sum()
    assert record.air_bytes.sum() == pytest.approx(record.contact_air_bytes.sum())
    assert sum(flown.states().values()) == 12
    outcomes = list(record.outcomes.values())
    assert len(flown.kinds("item_lost")) == outcomes.count("lost")
    assert len(flown.kinds("item_delivered")) == outcomes.count("delivered")
    if loss == 0.0:
        assert "lost" not in outcomes or back > 0.0


@pytest.mark.parametrize("seed", range(3))
def test_the_bent_pipe_of_the_references_loses_the_very_files_of_the_engine(seed):
    generator = np.random.default_rng(seed)
    times = np.sort(generator.uniform(0, 60_000, 60))
    contacts = [lossy(contact(20_000.0 * (k + 1), 300.0, 60_000.0), 0.01 * (k + 1)) for k in range(3)]
    record = mission("bent_pipe", times.tolist(), contacts, storage_bytes=10**9, seed=seed).record
    wire = record.wire_bytes.round().astype(np.int64)
    sizes = replace(sizes_of(60), tile_wire=wire, tile_bytes=record.product_bytes)
    reference, _ = References(record, sizes).tiles_windows()
    assert np.array_equal(np.isfinite(reference.delivered_s), np.isfinite(record.delivered_s))
    assert reference.air_bytes == record.contact_air_bytes.sum()
    lost = record.state == [str(s) for s in STATES].index("lost")
    assert 0 < lost.sum() < 60


def test_the_bent_pipe_of_the_references_pays_for_retransmissions():
    """Expected against flown overhead of 40 files; the flown share has a standard error of 5 %."""
    flown = fly(2, 0.05)
    wire = flown.record.wire_bytes.round().astype(np.int64)
    sizes = replace(sizes_of(40), tile_wire=wire, tile_bytes=flown.record.product_bytes)
    reference, _ = References(flown.record, sizes).tiles_windows()
    once = References(replace(flown.record, losses=None), sizes).tiles_windows()[0].air_bytes
    assert reference.air_bytes - once == pytest.approx(flown.record.retransmitted_bytes, rel=0.25)
    assert reference.delivered.sum() == 40


@pytest.mark.parametrize("class_", [1, 2])
def test_a_scenario_with_frame_loss_runs_from_the_command_line(tmp_path, class_):
    out = tmp_path / "run"
    link = ["link.use=constant", "link.with={rate: 1 Mbit/s, frame_loss: 0.05}", "link.weather=null"]
    options = [*link, f"spacecraft.radio.cfdp.class={class_}", "duration=12h"]
    arguments = ["run", "statistical", "--out", str(out), *[x for o in options for x in ("--set", o)]]
    done = CliRunner().invoke(cli.main, arguments, prog_name="flightsim")
    assert done.exit_code == 0, done.output
    text = done.output
    values = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    counts = json.loads((out / "run.json").read_text(encoding="utf-8"))["event_counts"]
    if class_ == 1:
        assert values["stages"]["lost"] > 0
        assert counts["item_lost"] > 0
        assert values["bytes"]["retransmitted"] == values["bytes"]["return_link"] == 0
        assert "of lost files" in text
    else:
        assert values["stages"]["lost"] == 0
        assert values["bytes"]["retransmitted"] > 0
        assert values["bytes"]["return_link"] > 0
        assert "sent again" in text
    assert values["bytes"]["retransmitted"] + values["bytes"]["lost"] < values["bytes"]["waste"]
