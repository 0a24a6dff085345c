"""The statistical payload gives back the rates that it was given, and says that it knows the truth."""

import numpy as np
import pytest
from pydantic import ValidationError

from flightsim.domain import Tile, TilePair, TruthTable, VerdictStatus
from flightsim.errors import InputError
from flightsim.protocols import EmptyConfig
from payload.confusion import Confusion, profile_names
from payload.perfect_eye import PerfectEye

SCHEMAS = ("flood_extent", "ice_extent")


def pairs_of(n, cloud=0.0):
    return [TilePair(None, Tile(f"p{k}@0", f"p{k}", 0.0, 0, 0, 10, (128, 128), ("B04",), cloud)) for k in range(n)]


def truth_of(changed, visible=None):
    n, s = changed.shape
    return TruthTable(
        SCHEMAS[:s], changed, np.ones_like(changed), np.ones(n, dtype=bool) if visible is None else visible,
        np.arange(n), np.full(s, 0.03),
    )  # fmt: skip


def rates_of(payload, n=20000):
    changed = np.zeros((n, 2), dtype=bool)
    changed[: n // 2] = True
    verdicts = payload.assess_many(pairs_of(n), SCHEMAS, truth=truth_of(changed), keys=np.arange(n, dtype=np.uint64))
    event = np.array([v.status is VerdictStatus.EVENT for v in verdicts]).reshape(n, 2)
    confidence = np.array([v.confidence for v in verdicts], dtype=float).reshape(n, 2)
    return event[: n // 2].mean(axis=0), event[n // 2 :].mean(axis=0), event, confidence, changed


@pytest.mark.parametrize(("tpr", "fpr"), [(0.9, 0.1), (1.0, 0.0), (0.0, 0.0), (0.5, 0.5)])
def test_rates_come_back_within_five_sigma(tpr, fpr):
    hit, false, *_ = rates_of(Confusion(Confusion.Config(tpr=tpr, fpr=fpr)))
    assert np.all(np.abs(hit - tpr) <= 5 * np.sqrt(tpr * (1 - tpr) / 10000) + 1e-12)
    assert np.all(np.abs(false - fpr) <= 5 * np.sqrt(fpr * (1 - fpr) / 10000) + 1e-12)


def test_liquid_space_rates_are_the_published_counts():
    payload = Confusion(Confusion.Config())
    assert payload.rates("flood_extent") == (29 / 33, 2 / 67)
    counts = payload._profile["counts"].values()
    total = {k: sum(c[k] for c in counts) for k in ("tp", "fp", "fn", "tn")}
    assert total == {"tp": 213, "fp": 4, "fn": 18, "tn": 465}
    assert round(213 / 217, 2) == 0.98
    assert payload.seconds_per_question == 17.0


def test_confidence_is_calibrated_at_the_profiles_prevalence():
    """At half positives and rates without a profile (prior 0.5) a stated 0.8 is right about 80 % of the time."""
    *_, event, confidence, changed = rates_of(Confusion(Confusion.Config(tpr=0.8, fpr=0.2)))
    right = event == changed
    for low in (0.5, 0.6, 0.7, 0.8, 0.9):
        chosen = (confidence >= low) & (confidence < low + 0.1)
        assert abs(right[chosen].mean() - confidence[chosen].mean()) < 0.03


def test_an_answer_does_not_depend_on_the_batch():
    payload = Confusion(Confusion.Config())
    changed = np.random.default_rng(1).random((300, 2)) < 0.3
    keys = np.arange(300, dtype=np.uint64)
    whole = payload.assess_many(pairs_of(300), SCHEMAS, truth=truth_of(changed), keys=keys, seed=4)
    one = payload.assess_many(
        pairs_of(300)[17:18], SCHEMAS[1:], truth=truth_of(changed).rows([17]), keys=keys[17:18], seed=4
    )
    assert one == [whole[17 * 2 + 1]]


def test_clouds_are_gated_and_hidden_changes_cannot_be_seen():
    payload = Confusion(Confusion.Config(tpr=1.0, fpr=0.0))
    changed = np.ones((50, 2), dtype=bool)
    keys = np.arange(50, dtype=np.uint64)
    gated = payload.assess_many(pairs_of(50, cloud=0.9), SCHEMAS, truth=truth_of(changed), keys=keys)
    assert {v.status for v in gated} == {VerdictStatus.UNCLASSIFIABLE}
    hidden = truth_of(changed, np.zeros(50, dtype=bool))
    missed = payload.assess_many(pairs_of(50, cloud=0.5), SCHEMAS, truth=hidden, keys=keys)
    assert {v.status for v in missed} == {VerdictStatus.NULL}


def test_parse_failures_are_invalid_and_counted():
    payload = Confusion(Confusion.Config(tpr=0.9, fpr=0.1, parse_failure=0.25))
    changed = np.zeros((8000, 2), dtype=bool)
    verdicts = payload.assess_many(
        pairs_of(8000), SCHEMAS, truth=truth_of(changed), keys=np.arange(8000, dtype=np.uint64)
    )
    share = np.mean([v.status is VerdictStatus.INVALID for v in verdicts])
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 16000)


def test_a_profile_without_the_schema_says_which_it_has():
    with pytest.raises(InputError, match="no figures for schema 'flood_extent'; it has vegetation_stress"):
        Confusion(Confusion.Config(profile="deforestation")).rates("flood_extent")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"profile": "liquid_spice"}, "did you mean 'liquid_space'"),
        ({"tpr": 0.9}, "tpr and fpr go together"),
        ({"profile": "liquid_space", "tpr": 0.9, "fpr": 0.1}, "not both"),
        ({"tpr": 1.2, "fpr": 0.1}, "less than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Confusion.Config(**settings)


def test_every_shipped_profile_is_found_and_names_its_source():
    assert {"deforestation", "liquid_space"} <= set(profile_names())
    for name in profile_names():
        assert len(Confusion(Confusion.Config(profile=name))._profile["source"]) > 40


def test_perfect_eye_is_the_truth_where_it_can_be_seen():
    changed = np.random.default_rng(2).random((40, 2)) < 0.5
    visible = np.arange(40) % 4 != 0
    verdicts = PerfectEye(EmptyConfig()).assess_many(pairs_of(40), SCHEMAS, truth=truth_of(changed, visible))
    for k, verdict in enumerate(verdicts):
        row, column = divmod(k, 2)
        if not visible[row]:
            assert verdict.status is VerdictStatus.UNCLASSIFIABLE
        else:
            assert (verdict.status is VerdictStatus.EVENT) == changed[row, column]


@pytest.mark.parametrize("payload", [Confusion(Confusion.Config()), PerfectEye(EmptyConfig())])
def test_payloads_that_need_truth_say_so_and_refuse_to_guess(payload):
    assert payload.needs_truth
    with pytest.raises(InputError, match="answers from truth"):
        payload.assess_many(pairs_of(1), SCHEMAS)
