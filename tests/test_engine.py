"""The flight, on small missions written by hand: every tile ends once, every byte is accounted for."""

import types
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flightsim.domain import Action, Decision, ProductSpec, VerdictStatus
from flightsim.errors import PolicyHung
from flightsim.references import CapacityCurve, fifo
from flightsim.scenario.models import Radio

from .worlds import contact, mission

MINUTE = 60.0
FAST = 10e6
POLICIES = (
    "bent_pipe",
    "budgeted",
    "cloud_filter",
    "nothing",
    "second_look",
    "threshold",
    "thumbnails_only",
    "uniform",
    "verdicts_only",
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    policy=st.sampled_from(POLICIES),
    times=st.lists(st.floats(0.0, 90_000.0), min_size=1, max_size=40).map(sorted),
    gaps=st.lists(st.tuples(st.floats(1.0, 40_000.0), st.floats(5.0, 600.0)), max_size=4),
    rate=st.sampled_from([1e3, 5e4, 1e6]),
    storage=st.sampled_from([0, 50_000, 250_000, 10**9]),
    service=st.sampled_from([0.0, 3.0, 2000.0]),
    queue=st.sampled_from([None, 0, 2]),
    duty=st.sampled_from([0.1, 1.0]),
    clouds=st.sampled_from([0.0, 0.5]),
)
def test_whatever_happens_tiles_and_bytes_add_up(policy, times, gaps, rate, storage, service, queue, duty, clouds):
    contacts, now = [], 0.0
    for gap, seconds in gaps:
        contacts.append(contact(now + gap, seconds, rate))
        now += gap + seconds
    flown = mission(
        policy, times, contacts, storage_bytes=storage, seconds_per_question=service, queue_limit=queue, duty=duty,
        clouds=clouds,
    )  # fmt: skip
    record = flown.record
    assert (record.state >= 0).all()
    assert sum(flown.states().values()) == len(times)
    assert record.air_bytes.sum() == pytest.approx(record.contact_air_bytes.sum())
    assert len(flown.kinds("tile_ended")) == len(times)
    seen = [event["t_s"] for event in flown.events]
    assert seen == sorted(seen)
    for window, zone in zip(contacts, record.contact_zone_bytes, strict=True):
        assert zone <= window.total_bits // (8 * record.frame_bytes) * record.zone_bytes
    for event in flown.kinds("item_delivered"):
        assert any(w.aos_s - 1e-3 <= event["t_s"] <= w.los_s + 1e-3 for w in contacts)
    assert np.nanmin(np.append(record.delivered_s - record.plan.time_s, 0.0)) >= 0.0


def test_a_file_that_does_not_fit_resumes_at_the_next_contact_and_sends_each_byte_once():
    # 80 kB need about 640 kbit; each contact carries 250 kbit.
    contacts = [contact(1000.0 * (k + 1), 250.0, 1000.0) for k in range(4)]
    flown = mission("bent_pipe", [0.0], contacts)
    assert [event["item"] for event in flown.kinds("item_cut")] == [flown.record.items[0].id] * 2
    assert flown.states() == {"delivered": 1}
    assert flown.record.contact_zone_bytes.sum() == flown.record.items[0].wire_bytes
    assert flown.record.contact_zone_bytes[3] == 0


def test_fill_is_charged_once_a_contact():
    flown = mission("thumbnails_only", [0.0, 1.0, 2.0], [contact(1000.0, 300.0, FAST)])
    zone = flown.record.contact_zone_bytes[0]
    frames = -(-zone // flown.sizer.zone_bytes)
    assert zone == sum(item.wire_bytes for item in flown.record.items)
    assert flown.record.contact_air_bytes[0] == frames * flown.sizer.frame_bytes


def test_verdicts_share_files_of_the_batch_size_and_leave_with_the_contact():
    flown = mission(
        "verdicts_only", [float(k) for k in range(10)], [contact(1000.0, 300.0, FAST)], prevalence=1.0,
        radio=Radio(verdict_batch=4),
    )  # fmt: skip
    assert [len(item.rows) for item in flown.record.items] == [4, 4, 2]
    assert flown.states() == {"delivered": 10}


def test_one_file_of_many_verdicts_costs_less_than_many_files():
    times, contacts = [float(k) for k in range(64)], [contact(1000.0, 300.0, FAST)]
    together = mission("verdicts_only", times, contacts, prevalence=1.0)
    apart = mission("verdicts_only", times, contacts, prevalence=1.0, radio=Radio(verdict_batch=1))
    assert apart.record.contact_zone_bytes.sum() > 1.3 * together.record.contact_zone_bytes.sum()


def test_a_verdict_made_during_a_contact_does_not_wait_for_the_next():
    flown = mission(
        "verdicts_only", [1100.0], [contact(1000.0, 300.0, FAST), contact(9000.0, 300.0, FAST)], prevalence=1.0
    )
    assert 1100.0 <= flown.record.delivered_s[0] < 1101.0


def test_storage_full_loses_the_newest_and_says_so():
    flown = mission("bent_pipe", [0.0, 1.0, 2.0, 3.0], [contact(5000.0, 300.0, FAST)], storage_bytes=190_000)
    assert flown.states() == {"delivered": 2, "dropped_full": 2}
    assert [event["tile"] for event in flown.kinds("tile_lost")] == list(flown.ledger.tile_ids[2:])


def test_no_contact_at_all_ends_with_everything_incomplete():
    flown = mission("bent_pipe", [0.0, 1.0], [])
    assert flown.states() == {"incomplete": 2}
    assert len(flown.kinds("item_incomplete")) == 2
    assert flown.record.air_bytes.sum() == 0.0


def test_the_processor_serves_in_order_and_a_full_queue_drops():
    flown = mission(
        "verdicts_only", [0.0, 1.0, 2.0, 3.0], [contact(90_000.0, 300.0, FAST)], seconds_per_question=10.0,
        schemas=("flood_extent",), queue_limit=2, prevalence=1.0,
    )  # fmt: skip
    assert flown.states()["not_processed"] == 1
    processed = flown.kinds("tile_processed")
    assert [event["t_s"] for event in processed] == [10.0, 20.0, 30.0]
    assert flown.kinds("tile_lost")[0]["why"] == "the compute queue is full"


def test_what_the_processor_never_reaches_is_not_processed():
    flown = mission("verdicts_only", [0.0, 1.0], [], seconds_per_question=1e6, schemas=("flood_extent",))
    assert flown.states() == {"not_processed": 2}


def test_loading_the_model_delays_the_first_answer():
    flown = mission("verdicts_only", [0.0], [], load_s=15.0, seconds_per_question=1.0, schemas=("flood_extent",))
    assert flown.kinds("tile_processed")[0]["t_s"] == 16.0


def test_a_product_after_its_useful_age_is_late():
    contacts = [contact(50_000.0, 300.0, FAST)]
    assert mission("bent_pipe", [0.0], contacts, deadline_s=3600.0).states() == {"late": 1}
    assert mission("bent_pipe", [0.0], contacts, deadline_s=60_000.0).states() == {"delivered": 1}


class Scripted:
    """A policy that does what it is told."""

    def __init__(self, *decisions):
        self.decisions = list(decisions)

    def decide(self, seen):
        chosen = self.decisions.pop(0) if len(self.decisions) > 1 else self.decisions[0]
        if isinstance(chosen, Exception):
            raise chosen
        return chosen(seen) if callable(chosen) else chosen


def test_an_expired_file_is_dropped_when_next_considered():
    flown = mission(Scripted(Decision(Action.TILE, expires_s=500.0)), [0.0], [contact(1000.0, 300.0, FAST)])
    assert flown.states() == {"expired": 1}
    assert flown.record.contact_zone_bytes[0] == 0


def test_smaller_priority_numbers_go_first():
    policy = Scripted(Decision(Action.TILE, 7), Decision(Action.TILE, 1), Decision(Action.TILE, 4))
    flown = mission(policy, [0.0, 1.0, 2.0], [contact(1000.0, 300.0, FAST)])
    order = [event["item"] for event in flown.kinds("item_delivered")]
    by_id = {item.id: item.priority for item in flown.record.items}
    assert [by_id[item] for item in order] == [1, 4, 7]


def test_keep_leaves_the_raw_capture_in_storage():
    kept = mission(Scripted(Decision(Action.NOTHING, keep=True)), [0.0, 1.0], [], storage_bytes=150_000)
    assert kept.states() == {"not_sent": 1, "dropped_full": 1}
    freed = mission(Scripted(Decision(Action.NOTHING)), [0.0, 1.0], [], storage_bytes=150_000)
    assert freed.states() == {"not_sent": 2}


@pytest.mark.parametrize(
    "rubbish",
    [
        None,
        "send it",
        42,
        Decision(Action.REIMAGE),
        Decision(Action.TILE, priority=-1),
        Decision(Action.TILE, priority=1.5),
        Decision(Action.TILE, expires_s=float("nan")),
        ValueError("boom"),
        KeyError("x"),
        RecursionError(),
    ],
    ids=repr,
)
def test_rubbish_from_a_policy_is_counted_and_the_fallback_decides(rubbish):
    flown = mission(Scripted(rubbish), [0.0, 1.0], [contact(1000.0, 300.0, FAST)], prevalence=1.0)
    assert len(flown.kinds("policy_failed")) == 2
    assert flown.record.policy_failed.all()
    assert {event["policy"] for event in flown.kinds("tile_decided")} == {"verdicts_only"}
    assert flown.states() == {"delivered": 2}


def test_a_hung_policy_is_called_no_more_and_the_run_says_so():
    policy = Scripted(PolicyHung("the policy gave no answer in 0.5 s", watchdog_s=0.5))
    flown = mission(policy, [0.0, 1.0, 2.0], [contact(1000.0, 300.0, FAST)], prevalence=1.0)
    assert len(flown.kinds("policy_hung")) == 1
    assert len(flown.kinds("policy_failed")) == 3
    assert flown.ledger.hung == "the policy gave no answer in 0.5 s"


def test_a_payload_that_raises_gives_invalid_answers_and_the_rest_goes_on():
    from payload.confusion import Confusion

    class Fragile(Confusion):
        def assess_many(self, pairs, schemas, **rest):
            if any("r00001" in pair.after.id for pair in pairs):
                raise RuntimeError("no memory for tile 1")
            return super().assess_many(pairs, schemas, **rest)

    flown = mission(
        "verdicts_only", [0.0, 1.0, 2.0], [contact(1000.0, 300.0, FAST)],
        payload=Fragile(Fragile.Config(tpr=1.0, fpr=0.0)), prevalence=1.0,
    )  # fmt: skip
    assert [(event["t_s"], event["tile"]) for event in flown.kinds("payload_failed")] == [
        (1.0, flown.ledger.tile_ids[1])
    ]
    times = [event["t_s"] for event in flown.events]
    assert times == sorted(times)
    assert flown.states() == {"delivered": 2, "invalid": 1}
    statuses = {v.status for v in flown.record.verdicts[1]}
    assert statuses == {VerdictStatus.INVALID}
    assert "no memory" in flown.record.verdicts[1][0].reason


def test_the_cost_that_a_policy_sees_is_what_the_queue_grows_by():
    grew = []

    class Careful:
        action = Action.NOTHING

        def decide(self, seen):
            grew.append((seen.queue.wire_bytes, dict(seen.costs_bytes)))
            return Decision(self.action)

    for action in (Action.VERDICT, Action.THUMBNAIL, Action.TILE):
        grew.clear()
        policy = Careful()
        policy.action = action
        mission(policy, [0.0, 1.0, 2.0, 3.0], [])
        for (before, costs), (after, _) in pairwise(grew):
            assert after - before == costs[action]


def test_asking_no_question_costs_no_compute():
    asked = mission("verdicts_only", [0.0], [], seconds_per_question=1.0)
    silent = mission("bent_pipe", [0.0], [], seconds_per_question=1.0)
    assert asked.record.compute_s[0] == 7.0
    assert silent.record.compute_s[0] == 0.0
    assert (silent.record.status == -1).all()


@pytest.mark.parametrize("storage", [10**9, 900_000])
@pytest.mark.parametrize("seed", range(4))
def test_the_engine_sends_what_the_closed_form_says(seed, storage):
    """First in, first out by a recursion on the capacity clock is an independent way to the same deliveries."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 90_000, 60))
    contacts = [contact(20_000.0 * (k + 1), 300.0, 30_000.0) for k in range(4)]
    record = mission("bent_pipe", times.tolist(), contacts, storage_bytes=storage).record
    # What found no room has no product; any size does, since the raw capture is larger.
    known = record.wire_bytes > 0
    wire = np.where(known, record.wire_bytes, record.wire_bytes.max()).round().astype(np.int64)
    product = np.where(known, record.product_bytes, record.product_bytes.max())
    curve = CapacityCurve(contacts, record.zone_bytes, record.frame_bytes)
    closed = fifo(curve, times, wire, product, np.full(len(times), 100_000), storage)
    assert np.array_equal(np.isfinite(closed.delivered_s), np.isfinite(record.delivered_s))
    assert np.allclose(closed.delivered_s, record.delivered_s, atol=2e-3, equal_nan=True)
    assert np.array_equal(closed.contact_zone_bytes, record.contact_zone_bytes)
    assert closed.air_bytes == record.contact_air_bytes.sum()
    assert 0 < np.isfinite(record.delivered_s).sum() < len(times)


def test_a_thumbnail_is_never_larger_than_its_tile():
    """The analyst's rates go by pixels; asking for 512 px of a 128 px tile must not buy a better reader."""
    flown = mission(Scripted(Decision(Action.THUMBNAIL, product=ProductSpec(size_px=512))), [0.0], [])
    small = mission(Scripted(Decision(Action.THUMBNAIL, product=ProductSpec(size_px=128))), [0.0], [])
    assert flown.record.thumbnail_px[0] == 128
    assert flown.record.product_bytes[0] == small.record.product_bytes[0]


def reachable(root):
    """Every object that attributes, slots, items, closures and bound methods of an object lead to, types left out."""
    seen, pending, found = set(), [root], []
    while pending:
        thing = pending.pop()
        if id(thing) in seen or isinstance(thing, type | types.ModuleType):
            continue
        seen.add(id(thing))
        found.append(thing)
        if isinstance(thing, Mapping):
            pending += [*thing.keys(), *(thing[key] for key in thing)]
        elif isinstance(thing, list | tuple | set | frozenset):
            pending += list(thing)
        pending += list(getattr(thing, "__dict__", {}).values())
        for kind in type(thing).__mro__:
            pending += [getattr(thing, name) for name in getattr(kind, "__slots__", ()) if hasattr(thing, name)]
        pending += [cell.cell_contents for cell in getattr(thing, "__closure__", None) or ()]
        pending += [getattr(thing, name) for name in ("__self__", "func", "args", "keywords") if hasattr(thing, name)]
    return found


def test_no_truth_no_seed_and_no_engine_is_reachable_through_an_observation():
    """Also in the same process: what a policy is handed leads to nothing but itself."""
    caught = []

    class Digger:
        def ask(self, seen):
            caught.extend(reachable(seen))
            return ("flood_extent",)

        def decide(self, seen):
            assert dict(seen.costs_bytes)
            caught.extend(reachable(seen))
            return Decision(Action.NOTHING)

    mission(Digger(), [0.0, 1.0], [contact(1000.0, 300.0, FAST)])
    allowed = {
        "Observation", "TilePair", "Tile", "Verdict", "QueueView", "PowerView", "ContactForecast", "BudgetView",
        "LazyCosts", "Action", "VerdictStatus", "mappingproxy", "dict", "tuple", "str", "int", "float",
        "bool", "NoneType",
    }  # fmt: skip
    assert {type(thing).__name__ for thing in caught} <= allowed
    assert "Observation" in {type(thing).__name__ for thing in caught}


def test_a_policy_cannot_change_what_the_next_one_sees():
    class Vandal:
        def decide(self, seen):
            seen.priors["flood_extent"] = 1.0

    flown = mission(Vandal(), [0.0], [])
    assert "does not support item assignment" in flown.kinds("policy_failed")[0]["why"]


def test_costs_are_gone_when_the_decision_is_made():
    kept = []

    class Hoarder:
        def decide(self, seen):
            kept.append(seen.costs_bytes)
            return Decision(Action.NOTHING)

    mission(Hoarder(), [0.0], [])
    with pytest.raises(LookupError, match="only while the policy is asked"):
        _ = kept[0][Action.TILE]
