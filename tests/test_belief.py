"""What the ground believes: readers, evidence, fusion and the threshold."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightsim.belief import (
    PERFECT,
    Products,
    believe,
    delivered_in_time,
    make_reader,
    reader_draws,
    reader_evidence,
    reader_says_yes,
)
from flightsim.domain import Action, Calibration, Evidence, Verdict, VerdictStatus
from flightsim.errors import InputError
from flightsim.evidence import Eye, Worth, verdict_evidence
from flightsim.scoring import confusion

from .factories import DAY_S, plan_of, random_mission, record_of, statuses, truth_of

ANALYST = make_reader("analyst")
RATES = dict.fromkeys(("flood_extent", "ice_extent", "urban_delta", "wetland_change"), (0.92, 0.01))


def f1_of(truth, belief):
    return confusion(truth.changed, belief.yes, truth.labelled).f1


def evidence_of(record, reader, seed=1):
    truth = record.truth
    verdicts = verdict_evidence(record.status, truth.schemas, Eye(RATES))
    draws = reader_draws(record.plan, truth.schemas, seed)
    read = reader_evidence(truth, Products.of_record(record, reader), draws)
    return np.where(delivered_in_time(record)[:, None], verdicts, 0.0) + read


# Readers ---------------------------------------------------------------------------------------------------------


def test_the_analyst_has_the_stated_rates_and_interpolates_in_the_logarithm_of_the_side():
    assert ANALYST.rates(Action.TILE) == (0.97, 0.998)
    assert ANALYST.rates(Action.THUMBNAIL, 128) == pytest.approx((0.90, 0.99))
    halfway = ANALYST.rates(Action.THUMBNAIL, 128 * math.sqrt(2))
    assert halfway == pytest.approx((0.925, 0.9935))
    assert ANALYST.rates(Action.THUMBNAIL, 4096) == pytest.approx((0.95, 0.997))
    assert ANALYST.describe() == "analyst .97/.998"
    assert PERFECT.describe() == "perfect"


def test_a_tiny_thumbnail_is_a_guess_and_no_more():
    sides = [8, 16, 32, 48, 64, 100, 128, 256, 1000]
    rates = np.array([ANALYST.rates(Action.THUMBNAIL, side) for side in sides])
    assert np.all(np.diff(rates, axis=0) >= 0)
    assert np.all(rates.sum(axis=1) >= 1.0 - 1e-12)
    assert ANALYST.rates(Action.THUMBNAIL, 1)[0] == pytest.approx(0.03)


@pytest.mark.parametrize("name", ["same_model", "larger"])
def test_a_reader_that_looks_has_no_declared_rates(name):
    with pytest.raises(InputError, match=rf"'{name}', which has no declared rates; analyst, perfect have"):
        make_reader(name)


@pytest.mark.parametrize(
    ("use", "settings_", "message"),
    [
        ("analyst", {"tile": {"sensitivity": 1.2, "specificity": 0.9}}, "with.tile.sensitivity: .*less than or equal"),
        ("analyst", {"tiles": {}}, "with.tiles: Extra inputs"),
        ("analyst", {"tile": {"sensitivity": 0.2, "specificity": 0.3}}, "add up to less than 1"),
        (
            "analyst",
            {
                "thumbnail": {
                    64: {"sensitivity": 0.9, "specificity": 0.9},
                    128: {"sensitivity": 0.8, "specificity": 0.9},
                }
            },
            "rates fall from thumbnail 64 px to thumbnail 128 px",
        ),
        ("perfect", {"tile": 1}, "reader 'perfect': evaluation.reader.with.tile: Extra inputs"),
    ],
)
def test_bad_reader_settings_say_which_and_why(use, settings_, message):
    with pytest.raises(InputError, match=message):
        make_reader(use, settings_)


def test_a_product_without_rates_is_an_error_and_not_a_guess():
    record = record_of(truth_of([True]), actions=Action.CROP, delivered_s=1.0)
    with pytest.raises(InputError, match="reader 'analyst' has no rates for product 'crop'; it reads thumbnail, tile"):
        Products.of_record(record, ANALYST)


@settings(max_examples=50, deadline=None)
@given(st.integers(8, 2048), st.integers(8, 2048), st.integers(0, 2**31))
def test_a_better_product_never_gives_a_worse_answer(side, other, seed):
    small, large = sorted((side, other))
    plan = plan_of(np.arange(200) * 60.0)
    changed = np.arange(400).reshape(200, 2) % 3 == 0
    draws = reader_draws(plan, ("flood_extent", "ice_extent"), seed)
    right = [
        reader_says_yes(changed, *(np.array(rate) for rate in rates), draws) == changed
        for rates in (ANALYST.rates(Action.THUMBNAIL, small), ANALYST.rates(Action.THUMBNAIL, large), ANALYST.tile)
    ]
    assert np.all(right[0] <= right[1])
    assert np.all(right[1] <= right[2])


def test_draws_belong_to_the_place_and_time_and_not_to_the_row():
    plan = plan_of([10.0, 20.0, 30.0], places=[5, 6, 7])
    other = plan_of([20.0, 30.0], places=[6, 7])
    schemas = ("flood_extent", "ice_extent")
    assert np.array_equal(reader_draws(plan, schemas, 4)[1:], reader_draws(other, schemas, 4))
    assert not np.allclose(reader_draws(plan, schemas, 4), reader_draws(plan, schemas, 5))
    assert not np.allclose(reader_draws(plan, schemas, 4)[:, 0], reader_draws(plan, schemas, 4)[:, 1])


def test_the_analyst_errs_as_often_as_stated():
    plan = plan_of(np.arange(40_000) * 10.0)
    draws = reader_draws(plan, ("flood_extent",), 3)
    sides = [np.full((40_000, 1), value) for value in (True, False)]
    seen, alarms = (reader_says_yes(side, np.array(0.9), np.array(0.99), draws).mean() for side in sides)
    # Four standard errors of 40,000 draws.
    assert seen == pytest.approx(0.90, abs=4 * math.sqrt(0.9 * 0.1 / 40_000))
    assert alarms == pytest.approx(0.01, abs=4 * math.sqrt(0.01 * 0.99 / 40_000))


# Evidence --------------------------------------------------------------------------------------------------------


def test_verdicts_bring_the_logarithm_of_their_rates():
    found = verdict_evidence(statuses(["en", "ui", "--"]), ("flood_extent", "ice_extent"), Eye(RATES))
    assert found[0] == pytest.approx([math.log(0.92 / 0.01), math.log(0.08 / 0.99)])
    assert np.all(found[1:] == 0.0)


def test_a_perfect_eye_is_strong_but_finite_evidence():
    eye = Eye({"flood_extent": (1.0, 0.0)})
    found = verdict_evidence(statuses(["e", "n"]), ("flood_extent",), eye)
    assert np.all(np.isfinite(found))
    assert found[0, 0] > 13
    assert found[1, 0] < -13


def test_one_tile_by_hand():
    # Prior 0.1; EVENT at 0.92/0.01; the analyst's answer on a 128 px thumbnail at 0.90/0.99.
    record = record_of(truth_of([True], prior=0.1), status=statuses(["e"]), actions=Action.THUMBNAIL, delivered_s=500.0)
    draw = reader_draws(record.plan, record.truth.schemas, 1)[0, 0]
    answer = 0.90 / 0.01 if draw < 0.90 else 0.10 / 0.99
    odds = (0.1 / 0.9) * (0.92 / 0.01) * answer
    posterior = believe(record.truth, evidence_of(record, ANALYST)).posterior[0, 0]
    assert posterior == pytest.approx(odds / (1 + odds))


def test_nothing_can_be_read_where_cloud_hides_the_place():
    record = record_of(truth_of([True, False], visible=[False, False]), actions=Action.TILE, delivered_s=900.0)
    assert np.all(evidence_of(record, PERFECT) == 0.0)


# Belief ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [0.0, 0.001, 0.5, 0.9, 1.0])
def test_where_nothing_arrived_nothing_is_believed(prior):
    truth = truth_of([True, False, True], prior=prior)
    belief = believe(truth, np.zeros((3, 1)))
    assert not belief.yes.any()
    assert belief.threshold is None
    assert belief.posterior == pytest.approx(np.full((3, 1), prior))


def test_an_impossible_schema_stays_impossible():
    truth = truth_of([[True, True]], prior=[0.0, 0.2])
    belief = believe(truth, np.full((1, 2), 5.0))
    assert belief.posterior[0, 0] == 0.0
    assert belief.yes.tolist() == [[False, True]]


def test_a_perfect_reader_with_everything_delivered_is_right_wherever_the_place_can_be_seen():
    record = random_mission(600, 2, hidden=0.3, actions=Action.TILE, delivered_s=7 * DAY_S)
    truth = record.truth
    belief = believe(truth, evidence_of(record, PERFECT))
    seen = np.repeat(truth.visible[:, None], 2, axis=1)
    assert confusion(truth.changed, belief.yes, seen).f1 == 1.0


def test_what_comes_late_or_after_the_end_counts_for_nothing():
    truth = truth_of([True, True, True])
    record = record_of(truth, status=statuses("eee"), actions=Action.VERDICT, delivered_s=[100.0, 9 * DAY_S, np.nan])
    assert delivered_in_time(record).tolist() == [True, False, False]
    record.late[0] = True
    assert not believe(truth, evidence_of(record, ANALYST)).yes.any()


@pytest.mark.parametrize("seed", [1, 2])
def test_more_information_never_hurts_in_expectation(seed):
    """Mean F1 over 25 worlds, each with its own draws; a step down would have to beat the sampling error."""
    steps = {"verdict": [], "thumbnail": [], "tile": [], "perfect": []}
    for world in range(25):
        for name in steps:
            action = {"verdict": Action.VERDICT, "thumbnail": Action.THUMBNAIL}.get(name, Action.TILE)
            record = random_mission(800, 1, prior=0.05, seed=100 * seed + world, actions=action)
            reader = PERFECT if name == "perfect" else ANALYST
            steps[name].append(f1_of(record.truth, believe(record.truth, evidence_of(record, reader, world))))
    means = [float(np.mean(values)) for values in steps.values()]
    assert means[0] < means[1] < means[2] < means[3]


def test_more_information_lowers_the_expected_log_loss():
    losses = []
    for action in (Action.NOTHING, Action.VERDICT, Action.THUMBNAIL, Action.TILE):
        record = random_mission(20_000, 1, hidden=0.0, actions=action)
        truth = record.truth
        posterior = believe(truth, evidence_of(record, ANALYST)).posterior
        losses.append(-np.mean(np.log(np.where(truth.changed, posterior, 1.0 - posterior))))
    assert losses == sorted(losses, reverse=True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-6, 6), st.booleans()), min_size=1, max_size=8),
    st.floats(0.01, 0.6),
)
def test_the_threshold_is_the_best_of_all_subsets(questions, prior):
    """Against every subset of the questions with evidence for them, by the formula of METRICS."""
    evidence = np.array([[value] for value, _ in questions])
    labelled = np.array([[flag] for _, flag in questions])
    truth = truth_of(np.zeros(len(questions), bool), labelled=labelled, prior=prior)
    belief = believe(truth, evidence)
    p = belief.posterior
    total = p[labelled].sum()

    def expected(chosen):
        return 2.0 * sum(p[k, 0] for k in chosen) / (len(chosen) + total) if chosen else 0.0

    allowed = [k for k in range(len(questions)) if labelled[k, 0] and evidence[k, 0] > 0]
    subsets = itertools.chain.from_iterable(itertools.combinations(allowed, k) for k in range(len(allowed) + 1))
    best = max(expected(subset) for subset in subsets)
    own = [k for k in range(len(questions)) if belief.yes[k, 0] and labelled[k, 0]]
    assert expected(own) == pytest.approx(best)
    assert not belief.yes[evidence <= 0].any()


def test_the_reader_of_a_scenario_is_found_by_its_use():
    use = SimpleNamespace(use="analyst", with_={"tile": {"sensitivity": 0.99, "specificity": 0.999}})
    assert make_reader(use.use, use.with_).rates(Action.TILE) == (0.99, 0.999)


def test_a_single_verdict_is_worth_on_board_what_it_is_worth_on_the_ground():
    eye = Eye({"flood_extent": (0.9, 0.05)}, {})
    worth = Worth(eye)
    for status, expected in (
        (VerdictStatus.EVENT, np.log(0.9 / 0.05)),
        (VerdictStatus.NULL, np.log(0.1 / 0.95)),
        (VerdictStatus.UNCLASSIFIABLE, 0.0),
        (VerdictStatus.INVALID, 0.0),
    ):
        verdict = Verdict("t", "flood_extent", status, confidence=0.7)
        assert worth(verdict) == pytest.approx(expected)
        assert Evidence((verdict,), worth)["flood_extent"] == pytest.approx(expected)
    assert len(Evidence((), worth)) == 0
    curve = Calibration("made", 100, 0.5, (0.0, 1.0), (0.2, 0.6), 0.5, 0.3)
    # Stated 0.5 was observed as 0.4 at even odds: odds 2/3.
    calibrated_worth = Worth(Eye({"flood_extent": (0.9, 0.05)}, {"flood_extent": curve}))
    half = Verdict("t", "flood_extent", VerdictStatus.EVENT, confidence=0.5)
    assert calibrated_worth(half) == pytest.approx(np.log(0.4 / 0.6))
