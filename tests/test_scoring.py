"""Scoring against published figures and independent formulas."""

from __future__ import annotations

import numpy as np
import pytest

from flightsim.domain import TruthTable, Verdict, VerdictStatus
from flightsim.errors import InputError
from flightsim.scoring import Counts, Score, confusion, score, status_table, wilson


def test_counts_give_the_published_figures_of_the_change_model():
    # danvinci/liquid_space, v2_val: 700 rows, precision 0.98, recall 0.92, F1 0.95, accuracy 0.969.
    counts = Counts(tp=213, fp=4, fn=18, tn=465)
    assert counts.total == 700
    assert counts.precision == pytest.approx(0.9816, abs=5e-5)
    assert counts.recall == pytest.approx(0.9221, abs=5e-5)
    assert counts.f1 == pytest.approx(0.9509, abs=5e-5)
    assert (counts.tp + counts.tn) / counts.total == pytest.approx(0.969, abs=5e-4)
    assert counts.reasons == {}


def test_mcc_is_the_correlation_of_answers_and_truth():
    rng = np.random.default_rng(3)
    truth = rng.random(400) < 0.3
    answer = truth ^ (rng.random(400) < 0.2)
    assert confusion(truth, answer).mcc == pytest.approx(np.corrcoef(truth, answer)[0, 1], abs=1e-12)


def test_mcc_of_huge_counts_is_finite_and_exact():
    big = 10**9
    assert Counts(big, big, big, big).mcc == 0.0
    assert Counts(big, 0, 0, big).mcc == 1.0


def test_only_labelled_questions_count():
    changed = np.array([[1, 0], [1, 0]], bool)
    predicted = np.array([[1, 1], [0, 1]], bool)
    labelled = np.array([[1, 1], [1, 0]], bool)
    assert confusion(changed, predicted, labelled) == Counts(1, 1, 1, 0)


@pytest.mark.parametrize(
    ("counts", "missing"),
    [
        (Counts(), {"precision", "recall", "f1", "mcc"}),
        (Counts(tn=5), {"precision", "recall", "f1", "mcc"}),
        (Counts(fp=2, tn=5), {"recall", "mcc"}),
        (Counts(fn=2, tn=5), {"precision", "mcc"}),
        (Counts(tp=2, fp=1, fn=1, tn=1), set()),
    ],
)
def test_a_zero_denominator_is_none_with_a_reason(counts, missing):
    assert set(counts.reasons) == missing
    for name in ("precision", "recall", "f1", "mcc"):
        assert (getattr(counts, name) is None) == (name in missing)


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"changed is \(2,\), predicted \(3,\)"):
        confusion([1, 0], [1, 0, 1])


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (score without continuity correction).
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_matches_newcombe(k, n, low, high):
    assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_edges():
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 7)[0] == 0.0
    assert wilson(7, 7)[1] == 1.0
    narrow, wide = wilson(5, 10, 0.5), wilson(5, 10, 0.99)
    assert wide[0] < narrow[0] < 0.5 < narrow[1] < wide[1]
    with pytest.raises(InputError, match=r"k is 4; it must lie in \[0, n\] with n = 3"):
        wilson(4, 3)
    with pytest.raises(InputError, match="level is 1"):
        wilson(1, 3, 1.0)


def _truth(changed, labelled):
    changed = np.array(changed, bool)
    n, s = changed.shape
    names = ("flood_extent", "urban_delta")[:s]
    return TruthTable(names, changed, np.array(labelled, bool), np.ones(n, bool), np.arange(n), np.full(s, 0.1))


def test_abstaining_is_counted_apart_and_earns_nothing_in_the_strict_view():
    truth = _truth([[1, 0], [1, 0], [0, 0], [1, 1]], [[1, 1], [1, 1], [1, 1], [1, 0]])
    table = score(
        np.array([["event", "null"], ["unclassifiable", "unclassifiable"], ["event", "invalid"], ["null", "event"]]),
        truth,
    )
    flood, urban = table.per_schema["flood_extent"], table.per_schema["urban_delta"]
    assert flood == Score(Counts(1, 1, 1, 0), abstained_positive=1)
    assert urban == Score(Counts(0, 0, 0, 1), abstained_negative=1, invalid_negative=1)
    assert flood.strict == Counts(1, 1, 2, 0)
    assert table.pooled.questions == 7
    assert table.pooled.unanswered == 3
    assert table.macro_f1 == pytest.approx(0.5)
    assert table.pooled.baselines()["always_yes"] == Counts(3, 4, 0, 0)
    assert table.pooled.baselines()["always_null"].f1 == 0.0
    assert table.pooled.as_dict()["baselines"]["always_null"]["reasons"]["precision"].startswith("no question")


def test_status_table_keeps_order_and_refuses_a_mix_up():
    schemas = ("flood_extent", "urban_delta")
    made = [Verdict("a", s, VerdictStatus.NULL) for s in schemas] + [
        Verdict("b", s, VerdictStatus.EVENT) for s in schemas
    ]
    assert status_table(made, schemas).tolist() == [["null", "null"], ["event", "event"]]
    with pytest.raises(InputError, match="verdict 0 is about 'flood_extent'; 'urban_delta' was expected"):
        status_table(made, schemas[::-1])
    with pytest.raises(InputError, match="3 verdicts are no whole number"):
        status_table(made[:3], schemas)
