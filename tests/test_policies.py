"""What each policy decides, and that the first serious one stays within what the booked contacts can carry."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from flightsim.conformance.data import observations
from flightsim.domain import (
    SCHEMA_IDS,
    Action,
    BudgetView,
    Decision,
    LazyCosts,
    Observation,
    ProductSpec,
    QueueView,
    Verdict,
    VerdictStatus,
)
from flightsim.wire import validate_decision
from policy.always import BentPipe, Nothing, ThumbnailsOnly, VerdictsOnly
from policy.budgeted import Budgeted, BudgetedConfig, information_bits, price_bits_per_byte
from policy.threshold import CloudFilter, Threshold
from policy.uniform import Uniform

SEEN = observations()
ONE = SEEN["one event"]
ALL = (BentPipe, Budgeted, CloudFilter, Nothing, Threshold, ThumbnailsOnly, Uniform, VerdictsOnly)
BLIND = (BentPipe, CloudFilter, Nothing, ThumbnailsOnly, Uniform)

EVENT, NULL = VerdictStatus.EVENT, VerdictStatus.NULL
UNCLASSIFIABLE, INVALID = VerdictStatus.UNCLASSIFIABLE, VerdictStatus.INVALID


def make(cls: Any, **settings: Any) -> Any:
    return cls(cls.Config(**settings))


def saw(*answers: tuple[VerdictStatus, float | None], **changes: Any) -> Observation:
    tile = ONE.pair.after.id
    verdicts = tuple(
        Verdict(tile, schema, status, confidence=confidence)
        for schema, (status, confidence) in zip(SCHEMA_IDS, answers, strict=False)
    )
    return replace(ONE, verdicts=verdicts, **changes)


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("case", SEEN)
def test_every_policy_decides_something_possible_and_says_why(cls: Any, case: str) -> None:
    decision = make(cls).decide(SEEN[case])
    assert validate_decision(decision, SEEN[case]) is None
    assert 0 < len(decision.reason) <= 100


@pytest.mark.parametrize("cls", ALL)
def test_only_the_blind_policies_ask_nothing(cls: Any) -> None:
    policy = make(cls)
    if cls in BLIND:
        assert policy.ask(ONE) == ()
    else:
        assert not hasattr(policy, "ask")


# Tiles alike ---------------------------------------------------------------------------------------------------------


def test_bent_pipe_sends_every_tile_at_one_priority() -> None:
    decisions = {make(BentPipe).decide(seen) for seen in SEEN.values()}
    assert [d.action for d in decisions] == [Action.TILE]


def test_nothing_sends_nothing() -> None:
    assert {make(Nothing).decide(seen).action for seen in SEEN.values()} == {Action.NOTHING}


def test_thumbnails_only_sends_thumbnails_of_the_size_that_is_set() -> None:
    assert make(ThumbnailsOnly).decide(ONE).product is None
    decision = make(ThumbnailsOnly, size_px=256).decide(ONE)
    assert (decision.action, decision.product) == (Action.THUMBNAIL, ProductSpec(size_px=256))


@pytest.mark.parametrize(
    ("answers", "plain", "with_nulls"),
    [
        ([], Action.NOTHING, Action.NOTHING),
        ([(NULL, 0.9), (EVENT, 0.1)], Action.VERDICT, Action.VERDICT),
        ([(UNCLASSIFIABLE, None)], Action.VERDICT, Action.VERDICT),
        ([(NULL, 0.9), (NULL, None)], Action.NOTHING, Action.VERDICT),
        ([(INVALID, None)], Action.NOTHING, Action.NOTHING),
        ([(INVALID, None), (NULL, None)], Action.NOTHING, Action.VERDICT),
    ],
)
def test_verdicts_only_sends_events_and_unclassifiables_and_nulls_when_told(
    answers: list[tuple[VerdictStatus, float | None]], plain: Action, with_nulls: Action
) -> None:
    seen = saw(*answers)
    assert make(VerdictsOnly).decide(seen).action is plain
    assert make(VerdictsOnly, send_nulls=True).decide(seen).action is with_nulls


def test_an_event_goes_before_a_null() -> None:
    policy = make(VerdictsOnly, send_nulls=True)
    assert policy.decide(saw((EVENT, 0.5))).priority < policy.decide(saw((NULL, 0.5))).priority


# A share of the tiles ------------------------------------------------------------------------------------------------


def tiles(n: int) -> list[Observation]:
    after = ONE.pair.after
    return [replace(ONE, pair=replace(ONE.pair, after=replace(after, id=f"{k:05d}@{k}"))) for k in range(n)]


def drawn(seen: list[Observation], **settings: Any) -> set[int]:
    policy = make(Uniform, **settings)
    return {k for k, o in enumerate(seen) if policy.decide(o).action is not Action.NOTHING}


def test_uniform_sends_the_share_that_is_set_within_sampling_error() -> None:
    n, fraction = 4000, 0.3
    sent = len(drawn(tiles(n), fraction=fraction))
    assert abs(sent - n * fraction) < 4.0 * math.sqrt(n * fraction * (1 - fraction))


def test_uniform_ends_are_none_and_all() -> None:
    seen = tiles(500)
    assert drawn(seen, fraction=0.0) == set()
    assert drawn(seen, fraction=1.0) == set(range(500))


def test_uniform_a_larger_share_is_a_superset_and_another_salt_another_draw() -> None:
    seen = tiles(1000)
    small, large = drawn(seen, fraction=0.1), drawn(seen, fraction=0.4)
    assert small < large
    other = drawn(seen, fraction=0.4, salt="1")
    # Two independent draws of 0.4 share 0.16 of the tiles.
    assert abs(len(large & other) - 160) < 4.0 * math.sqrt(1000 * 0.16 * 0.84)


def test_uniform_does_not_depend_on_order_or_on_verdicts() -> None:
    seen = tiles(200)
    policy = make(Uniform, fraction=0.5)
    forward = [policy.decide(o) for o in seen]
    backward = [policy.decide(replace(o, verdicts=())) for o in reversed(seen)]
    assert forward == backward[::-1]


def test_uniform_product_is_set() -> None:
    assert make(Uniform, fraction=1.0).decide(ONE).action is Action.TILE
    assert make(Uniform, fraction=1.0, product="thumbnail").decide(ONE).action is Action.THUMBNAIL
    with pytest.raises(ValidationError, match="'tile' or 'thumbnail'"):
        Uniform.Config(product="crop")  # type: ignore[arg-type]


# Limits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cloud", "action"),
    [(0.0, Action.TILE), (0.5, Action.TILE), (0.51, Action.NOTHING), (1.0, Action.NOTHING), (None, Action.TILE)],
)
def test_cloud_filter_sends_what_is_clear_or_unknown(cloud: float | None, action: Action) -> None:
    seen = replace(ONE, pair=replace(ONE.pair, after=replace(ONE.pair.after, cloud_fraction=cloud)))
    assert make(CloudFilter).decide(seen).action is action


@pytest.mark.parametrize(
    ("setting", "confidence", "action"),
    [
        ({}, 0.69, Action.VERDICT),
        ({}, 0.7, Action.THUMBNAIL),
        ({"min_confidence": 0.9}, 0.89, Action.VERDICT),
        ({"min_confidence": 0.9}, 0.9, Action.THUMBNAIL),
        ({"min_confidence": 0.9, "product": "tile"}, 0.9, Action.TILE),
        ({"verdict_from": 0.3, "thumbnail_from": 0.5, "tile_from": 0.8}, 0.29, Action.NOTHING),
        ({"verdict_from": 0.3, "thumbnail_from": 0.5, "tile_from": 0.8}, 0.3, Action.VERDICT),
        ({"verdict_from": 0.3, "thumbnail_from": 0.5, "tile_from": 0.8}, 0.5, Action.THUMBNAIL),
        ({"verdict_from": 0.3, "thumbnail_from": 0.5, "tile_from": 0.8}, 0.8, Action.TILE),
        ({"tile_from": 0.8}, 0.79, Action.VERDICT),
        ({"verdict_from": 0.9}, 0.89, Action.NOTHING),
        ({"verdict_from": 0.9}, 0.9, Action.THUMBNAIL),
        ({"assumed_confidence": 0.4}, None, Action.VERDICT),
        ({"assumed_confidence": 0.8}, None, Action.THUMBNAIL),
    ],
)
def test_threshold_bands(setting: dict[str, Any], confidence: float | None, action: Action) -> None:
    assert make(Threshold, **setting).decide(saw((NULL, 0.99), (EVENT, confidence))).action is action


def test_threshold_takes_the_surest_event_and_sends_unclassifiables_as_verdict() -> None:
    policy = make(Threshold)
    assert policy.decide(saw((EVENT, 0.1), (EVENT, 0.9), (EVENT, 0.2))).action is Action.THUMBNAIL
    assert policy.decide(saw((UNCLASSIFIABLE, None), (NULL, 0.9))).action is Action.VERDICT
    assert policy.decide(saw((NULL, 1.0), (INVALID, None))).action is Action.NOTHING


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"thumbnail_from": 0.8, "tile_from": 0.5}, "thumbnail begins at 0.8 and tile at 0.5; bands must not fall"),
        ({"verdict_from": 0.8, "min_confidence": 0.5}, "verdict begins at 0.8 and thumbnail at 0.5"),
        ({"min_confidence": 0.5, "tile_from": 0.9}, "min_confidence goes with product, not with thumbnail_from"),
        ({"min_confidence": 1.5}, "less than or equal to 1"),
    ],
)
def test_threshold_refuses_bands_that_make_no_sense(setting: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Threshold.Config(**setting)
    assert words in str(caught.value)


# Information ---------------------------------------------------------------------------------------------------------


def test_information_equals_the_mutual_information_of_the_joint_table() -> None:
    # Independent: summed over the 2 x 2 joint distribution of question and reading.
    for belief, sensitivity, specificity in itertools.product((0.01, 0.3, 0.5, 0.97), (0.6, 0.9), (0.55, 0.99)):
        joint = np.array(
            [
                [belief * sensitivity, belief * (1 - sensitivity)],
                [(1 - belief) * (1 - specificity), (1 - belief) * specificity],
            ]
        )
        product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        bits = float((joint * np.log2(joint / product)).sum())
        assert information_bits(belief, sensitivity, specificity) == pytest.approx(bits, abs=1e-12)


rate = st.floats(0.01, 0.99)


@given(belief=st.floats(0, 1), sensitivity=rate, specificity=rate)
@settings(deadline=None)
def test_a_look_tells_at_most_what_is_open(belief: float, sensitivity: float, specificity: float) -> None:
    bits = information_bits(belief, sensitivity, specificity)
    open_bits = -sum(p * math.log2(p) for p in (belief, 1 - belief) if p > 0)
    assert 0.0 <= bits <= open_bits + 1e-12


def test_a_look_at_a_coin_or_at_a_settled_question_tells_nothing() -> None:
    assert information_bits(0.5, 0.5, 0.5) == pytest.approx(0.0, abs=1e-15)
    assert information_bits(0.0, 0.9, 0.9) == information_bits(1.0, 0.9, 0.9) == pytest.approx(0.0, abs=1e-15)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(1e-9, 1e-5), st.floats(2.0, 1e6))
@settings(deadline=None)
def test_the_price_rises_from_floor_to_top(fullness: list[float], floor: float, ratio: float) -> None:
    prices = [price_bits_per_byte(z, floor, floor * ratio) for z in sorted(fullness)]
    assert prices == sorted(prices)
    assert price_bits_per_byte(0.0, floor, floor * ratio) == floor
    assert price_bits_per_byte(1.0, floor, floor * ratio) == pytest.approx(floor * ratio)


# Budgeted ------------------------------------------------------------------------------------------------------------

AMPLE = {"allowance": BudgetView(10**9, 10**10, 10**11), "queue": QueueView(0, 0, None)}
FULL = {"allowance": BudgetView(0, 0, 10**9), "queue": QueueView(900, 10**8, 0.0)}
NONE = {"allowance": BudgetView(0, 0, 0), "next_contacts": ()}


def rank(action: Action) -> int:
    return [Action.NOTHING, Action.VERDICT, Action.THUMBNAIL, Action.TILE].index(action)


@pytest.mark.parametrize("state", [FULL, NONE])
def test_without_room_only_verdicts_of_events_and_unclassifiables_go(
    state: dict[str, Any],
) -> None:
    policy = make(Budgeted)
    assert policy.decide(saw((EVENT, 0.6), **state)) == policy._event
    assert policy.decide(saw((EVENT, None), **state)).priority == 0
    assert policy.decide(saw((UNCLASSIFIABLE, None), **state)).action is Action.VERDICT
    assert policy.decide(saw((NULL, 0.6), (INVALID, None), **state)).action is Action.NOTHING
    assert policy.decide(saw(**state)).action is Action.NOTHING


def test_verdicts_go_before_all_products() -> None:
    policy = make(Budgeted, floor_bits_per_mb=0.001)
    products = [policy.decide(replace(seen, **AMPLE)) for seen in SEEN.values()]
    priorities = [d.priority for d in products if d.action in (Action.THUMBNAIL, Action.TILE)]
    assert priorities
    assert min(priorities) > policy.decide(saw((UNCLASSIFIABLE, None), **NONE)).priority
    assert (
        policy.decide(saw((UNCLASSIFIABLE, None), **NONE)).priority > policy.decide(saw((EVENT, 0.9), **NONE)).priority
    )


def test_an_ample_link_sends_more_of_everything_down_to_the_floor() -> None:
    policy = make(Budgeted, floor_bits_per_mb=0.05)
    unsure, sure, null = saw((EVENT, 0.9), **AMPLE), saw((EVENT, 0.999), **AMPLE), saw((NULL, 0.6), **AMPLE)
    assert policy.decide(unsure).action is Action.TILE
    assert policy.decide(sure).action is Action.TILE
    assert policy.decide(null).action in (Action.THUMBNAIL, Action.TILE)
    frugal = make(Budgeted, floor_bits_per_mb=30.0)
    assert frugal.decide(unsure).action is Action.THUMBNAIL
    assert frugal.decide(null).action is Action.NOTHING


@given(
    confidence=st.floats(0, 1),
    status=st.sampled_from([EVENT, NULL]),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=200, deadline=None)
def test_a_fuller_queue_never_sends_more(confidence: float, status: VerdictStatus, shares: tuple[float, float]) -> None:
    policy = make(Budgeted, floor_bits_per_mb=0.5)
    day = 40_000_000

    def at(share: float) -> int:
        queued = int(share * day)
        budget = BudgetView(0, day - queued, 7 * day - queued)
        return rank(policy.decide(saw((status, confidence), allowance=budget, queue=QueueView(1, queued, 0.0))).action)

    assert at(min(shares)) >= at(max(shares))


def test_the_densest_survive_longest_as_the_queue_fills() -> None:
    # Beliefs after Bayes with a prior of 0.03: 0.97 gives a coin toss, 0.9995 is nearly sure.
    policy, day = make(Budgeted, floor_bits_per_mb=10.0), 40_000_000

    def last_share(confidence: float) -> int:
        shares = range(0, 101, 2)
        budgets = {s: BudgetView(0, day - day * s // 100, 7 * day) for s in shares}
        decided = {
            s: policy.decide(saw((EVENT, confidence), allowance=b, queue=QueueView(1, day * s // 100, 0.0))).action
            for s, b in budgets.items()
        }
        return max((s for s in shares if decided[s] is Action.THUMBNAIL), default=-1)

    assert last_share(0.97) > last_share(0.9995) >= 0


def test_priorities_follow_value_per_byte() -> None:
    policy = make(Budgeted, floor_bits_per_mb=0.01)
    costs = {Action.NOTHING: 0, Action.VERDICT: 90, Action.THUMBNAIL: 4_000}
    decided = [
        policy.decide(saw((EVENT, 0.97), costs_bytes=costs | {Action.THUMBNAIL: cost}, **AMPLE))
        for cost in (600, 4_000, 30_000, 400_000)
    ]
    priorities = [d.priority for d in decided]
    assert priorities == sorted(priorities)
    assert priorities[0] < priorities[-1]
    assert all(d.action is Action.THUMBNAIL for d in decided)


def test_a_look_through_cloud_is_worth_nothing() -> None:
    policy = make(Budgeted)
    pair = replace(ONE.pair, after=replace(ONE.pair.after, cloud_fraction=1.0))
    assert policy.decide(saw((EVENT, 0.9), pair=pair, **AMPLE)).action is Action.VERDICT
    assert policy.decide(saw((UNCLASSIFIABLE, None), **AMPLE)).action is Action.VERDICT


def test_an_unprocessed_tile_is_judged_by_the_priors() -> None:
    policy = make(Budgeted)
    likely = replace(ONE, verdicts=(), priors=dict.fromkeys(SCHEMA_IDS, 0.4), **AMPLE)
    assert policy.decide(likely).action in (Action.THUMBNAIL, Action.TILE)
    assert policy.decide(replace(likely, priors={})).action is Action.NOTHING


def test_no_product_exceeds_storage_or_the_mission() -> None:
    policy = make(Budgeted, floor_bits_per_mb=0.001)
    seen = saw((EVENT, 0.9), **AMPLE)
    assert policy.decide(replace(seen, storage_free_bytes=131_000)).action is Action.TILE
    assert policy.decide(replace(seen, storage_free_bytes=130_999)).action is Action.THUMBNAIL
    assert policy.decide(replace(seen, storage_free_bytes=4_699)).action is Action.VERDICT
    short = BudgetView(10**6, 10**6, 100_000)  # a day's forecast that reaches past the end of the mission
    assert policy.decide(replace(seen, allowance=short)).action is Action.THUMBNAIL


def test_costs_are_asked_only_where_the_product_could_pay() -> None:
    asked: list[Action] = []

    def cost(action: Action) -> int:
        asked.append(action)
        return ONE.costs_bytes[action]

    seen = replace(saw((NULL, 0.999), **AMPLE), costs_bytes=LazyCosts(tuple(ONE.costs_bytes), cost))
    make(Budgeted, floor_bits_per_mb=100_000.0, top_bits_per_mb=1e6).decide(seen)
    make(Budgeted).decide(replace(seen, **NONE))
    assert asked == []
    make(Budgeted).decide(replace(saw((EVENT, 0.97), **AMPLE), costs_bytes=seen.costs_bytes))
    assert Action.THUMBNAIL in asked


def test_a_tile_that_is_smaller_than_its_thumbnail_wins() -> None:
    costs = {Action.NOTHING: 0, Action.VERDICT: 90, Action.THUMBNAIL: 4_000, Action.TILE: 3_000}
    assert make(Budgeted).decide(saw((EVENT, 0.9), costs_bytes=costs, **AMPLE)).action is Action.TILE


def test_confidence_is_moved_to_the_prior_by_bayes() -> None:
    # 0.9 at even odds is a likelihood ratio of 9; prior odds 0.03 / 0.97 become 0.27 / 0.97.
    belief = make(Budgeted)._beliefs(saw((EVENT, 0.9), (NULL, 0.9), (EVENT, None), (NULL, None), (INVALID, None)))
    assert belief[0] == pytest.approx(0.27 / (0.27 + 0.97))
    assert belief[1] == pytest.approx((0.03 / 9) / (0.03 / 9 + 0.97))
    assert belief[2] == pytest.approx(0.03 * 0.9 / (0.03 * 0.9 + 0.97 * 0.05))
    assert belief[3] == pytest.approx(0.03 * 0.1 / (0.03 * 0.1 + 0.97 * 0.95))
    assert belief[4] == 0.03
    already = make(Budgeted, calibrated_at=0.03)._beliefs(saw((EVENT, 0.9)))
    assert already[0] == pytest.approx(0.9)


def test_a_verdict_is_worth_what_its_profile_says_unless_the_scenario_says_otherwise() -> None:
    seen = replace(saw((EVENT, 0.9)), evidence={SCHEMA_IDS[0]: math.log(4.0)})
    # Prior odds 0.03 / 0.97 times 4, whatever the confidence.
    assert make(Budgeted)._beliefs(seen)[0] == pytest.approx(0.12 / (0.12 + 0.97))
    assert make(Budgeted, calibrated_at=0.5)._beliefs(seen)[0] == pytest.approx(0.27 / (0.27 + 0.97))


def test_limits_that_cross_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"top_bits_per_mb is 5; it must exceed floor_bits_per_mb \(10\)"):
        BudgetedConfig(floor_bits_per_mb=10.0, top_bits_per_mb=5.0)


# A small mission -----------------------------------------------------------------------------------------------------


@dataclass
class Mission:
    """Tiles at even times, one pass every 6 h that drains by priority, and a forecast that is right."""

    pass_bytes: int
    days: int = 4
    tiles_per_day: int = 400
    sent: dict[Action, int] = field(default_factory=lambda: dict.fromkeys(Action, 0))
    admitted_bytes: int = 0
    capacity_bytes: int = 0
    left_bytes: int = 0

    def fly(self, policy: Any) -> Mission:
        step_s, period_s = 86400.0 / self.tiles_per_day, 21600.0
        passes = [period_s * (k + 1) for k in range(4 * (self.days + 1))]
        self.capacity_bytes = self.pass_bytes * len(passes)
        queue: list[tuple[int, int, int]] = []
        rng = np.random.default_rng(np.random.SeedSequence(5))
        done = 0
        for k in range(self.days * self.tiles_per_day):
            now_s = k * step_s
            while done < len(passes) and passes[done] <= now_s:
                queue = self.drain(queue)
                done += 1
            queued = sum(size for _, _, size in queue)
            ahead = passes[done:]
            day = self.pass_bytes * sum(1 for t in ahead if t < now_s + 86400.0)
            mission = self.pass_bytes * len(ahead)
            budget = BudgetView(max(0, self.pass_bytes - queued), max(0, day - queued), max(0, mission - queued))
            answers = [(EVENT if rng.random() < 0.1 else NULL, float(rng.beta(8, 1.2))) for _ in SCHEMA_IDS]
            seen = saw(*answers, now_s=now_s, allowance=budget, queue=QueueView(len(queue), queued, None))
            decision: Decision = policy.decide(seen)
            self.sent[decision.action] += 1
            size = seen.costs_bytes[decision.action]
            if decision.action in (Action.THUMBNAIL, Action.TILE):
                assert size <= budget.mission_bytes
                assert size <= budget.next_day_bytes
                self.admitted_bytes += size
            if size:
                queue.append((decision.priority, k, size))
        for _ in passes[done:]:
            queue = self.drain(queue)
        self.left_bytes = sum(size for _, _, size in queue)
        return self

    def drain(self, queue: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        left, rest = self.pass_bytes, []
        for priority, k, size in sorted(queue):
            taken = min(left, size)
            left -= taken
            if size > taken:
                rest.append((priority, k, size - taken))
        return rest


@pytest.mark.parametrize("pass_bytes", [0, 2_000, 20_000, 200_000, 2_000_000, 200_000_000])
@pytest.mark.parametrize("floor", [0.05, 10.0])
def test_products_never_exceed_what_the_mission_can_carry(pass_bytes: int, floor: float) -> None:
    mission = Mission(pass_bytes).fly(make(Budgeted, floor_bits_per_mb=floor))
    assert mission.admitted_bytes <= mission.capacity_bytes
    if pass_bytes >= 20_000:  # below, the verdicts alone exceed the link
        assert mission.left_bytes == 0


def test_more_link_sends_more_and_none_sends_verdicts_only() -> None:
    missions = [
        Mission(size).fly(make(Budgeted, floor_bits_per_mb=0.05)) for size in (0, 20_000, 200_000, 2_000_000, 10**9)
    ]
    admitted = [m.admitted_bytes for m in missions]
    assert admitted == sorted(admitted)
    assert admitted[0] == 0
    assert missions[0].sent[Action.VERDICT] > 0
    assert missions[-1].sent[Action.TILE] > missions[-2].sent[Action.TILE] >= 0


def test_a_tight_link_is_used_and_not_left_idle() -> None:
    mission = Mission(100_000).fly(make(Budgeted, floor_bits_per_mb=0.05))
    assert mission.admitted_bytes > 0.6 * mission.capacity_bytes


def test_decisions_are_fast_enough_for_long_missions() -> None:
    # Loose: 10 microseconds on the machine it was written on; a run of 30 days has 259,200 tiles.
    policy, seen = make(Budgeted), list(SEEN.values())
    begin = time.perf_counter()
    for _ in range(40):
        for observation in seen:
            policy.decide(observation)
    assert (time.perf_counter() - begin) / (40 * len(seen)) < 1e-3
