"""Scores of answered questions: counts, ratios and intervals, pooled and by schema, confusion, faults and fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import rng
from ..calibration import Answers, answers_of
from ..domain import SCHEMA_IDS, TruthTable, VerdictStatus
from ..recorder import STATUSES
from ..resampling import MIN_POSITIVE_CLUSTERS, RESAMPLES, Interval, bootstrap, cluster_sums
from ..scoring import Counts, Score, score, wilson
from .asking import Row, Told
from .controls import TEXTS, Control
from .fields import field_table
from .questions import Kind

#: Steps of the stated probability in which the area under the curve is resampled; its estimate is exact.
_STEPS = 256
_LEVEL = 0.95


@dataclass(frozen=True)
class Table:
    """Questions as arrays: one labelled cell a row, in the column of its schema."""

    truth: TruthTable
    status: NDArray[np.str_]  # (m, s)
    confidence: NDArray[np.float64]  # (m, s), NaN for none
    seed: int

    def where(self, which: NDArray[np.bool_]) -> Table:
        """Some of the questions."""
        return Table(self.truth.rows(np.flatnonzero(which)), self.status[which], self.confidence[which], self.seed)

    @property
    def answers(self) -> Answers:
        """The questions that were answered, with the probability of an event that was stated."""
        codes = np.full(self.status.shape, -1, dtype=np.int8)
        for code, status in enumerate(STATUSES):
            codes[self.status == str(status)] = code
        return answers_of(codes, self.confidence, self.truth, self.seed)


def table_of(rows: Sequence[Row], seed: int) -> Table:
    """Questions and answers as arrays, shape (m, s) each."""
    schemas = tuple(schema for schema in SCHEMA_IDS if any(row.schema == schema for row in rows))
    shape = len(rows), len(schemas)
    changed, labelled = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    status, confidence = np.full(shape, "", dtype="U16"), np.full(shape, np.nan)
    for k, row in enumerate(rows):
        at = k, schemas.index(row.schema)
        changed[at], labelled[at], status[at] = row.event, True, str(row.verdict.status)
        if row.verdict.confidence is not None:
            confidence[at] = row.verdict.confidence
    truth = TruthTable(
        schemas, changed, labelled, np.array([row.visible for row in rows], dtype=bool),
        np.array([row.cluster for row in rows], dtype=np.int64), np.full(len(schemas), np.nan),
    )  # fmt: skip
    return Table(truth, status, confidence, seed)


# -------------------------------------------------------------------- counts, ratios, intervals


def scores_of(table: Table) -> dict[str, Any]:
    """Counts and ratios over some questions, with 95 % intervals and the reasons of what is None.

    Unclassifiable and invalid answers count as "no event" and are told apart beside. Intervals of shares are Wilson's;
    those of F1, MCC and AUC resample clusters, and there is none below 30 clusters with an event.
    """
    pooled = score(table.status, table.truth).pooled
    counts, reasons = pooled.strict, dict(pooled.strict.reasons)
    answers = table.answers
    area = auc(answers.stated, answers.true)
    if area is None:
        reasons["auc"] = "no stated probabilities, or all truths are on one side"
    intervals = _intervals(table, answers, counts, area)
    reasons |= {f"ci95.{name}": found.reason for name, found in intervals.items() if found.as_list() is None}
    return {
        "n": counts.total, "positives": counts.positives,
        "tp": counts.tp, "fp": counts.fp, "fn": counts.fn, "tn": counts.tn,
        "unclassifiable": pooled.abstained_positive + pooled.abstained_negative,
        "invalid": pooled.invalid_positive + pooled.invalid_negative,
        "precision": counts.precision, "recall": counts.recall, "specificity": _share(counts.tn, counts.tn + counts.fp),
        "f1": counts.f1, "mcc": counts.mcc, "auc": area,
        "f1_answered": pooled.counts.f1,
        "clusters": len(np.unique(table.truth.cluster)),
        "ci95": {
            "precision": _wilson(counts.tp, counts.tp + counts.fp),
            "recall": _wilson(counts.tp, counts.positives),
            "specificity": _wilson(counts.tn, counts.tn + counts.fp),
            **{name: found.as_list() for name, found in intervals.items()},
        },
        "reasons": reasons,
    }  # fmt: skip


def _share(k: int, n: int) -> float | None:
    return k / n if n else None


def _wilson(k: int, n: int) -> list[float] | None:
    return list(wilson(k, n, _LEVEL)) if n else None


def auc(stated: NDArray[np.float64], true: NDArray[np.bool_]) -> float | None:
    """Area under the curve of hits over false alarms, of stated probabilities; None where it is undefined. [-]

    The probability that an event was given more than a question without one, ties counting half. NaN is left out.

    References
    ----------
    Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
    Radiology 143 (1982), 29-36.
    """
    from scipy.stats import rankdata

    known = ~np.isnan(stated)
    yes = true[known]
    events, others = int(np.count_nonzero(yes)), int(np.count_nonzero(~yes))
    if not events or not others:
        return None
    ranks = rankdata(stated[known])
    return float((ranks[yes].sum() - events * (events + 1) / 2) / (events * others))


def _intervals(table: Table, answers: Answers, counts: Counts, area: float | None) -> dict[str, Interval]:
    truth = table.truth
    positive = (truth.changed & truth.labelled).any(axis=1)
    clusters = len(np.unique(truth.cluster[positive]))
    if clusters < MIN_POSITIVE_CLUSTERS:
        none = Interval(None, None, reason=f"{clusters} clusters have an event; {MIN_POSITIVE_CLUSTERS} are needed")
        return {"f1": none, "mcc": none, "auc": none}
    said = (table.status == str(VerdictStatus.EVENT)).any(axis=1)
    columns = np.stack([positive & said, ~positive & said, positive & ~said, ~positive & ~said], axis=1)
    generator = rng.stream(table.seed, "evaluation/bootstrap")
    with np.errstate(divide="ignore", invalid="ignore"):
        sums = cluster_sums(columns.astype(np.float64), truth.cluster)
        found = bootstrap(sums, {"f1": _f1, "mcc": _mcc}, generator, RESAMPLES, _LEVEL)
        if area is None:
            found["auc"] = Interval(None, None, reason="the estimate is undefined")
        else:
            found["auc"] = bootstrap(_curve_sums(answers), {"auc": _area}, generator, RESAMPLES, _LEVEL)["auc"]
    return found


def _f1(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(2 * x[:, 0] / (2 * x[:, 0] + x[:, 1] + x[:, 2]))


def _mcc(x: NDArray[np.float64]) -> NDArray[np.float64]:
    tp, fp, fn, tn = x.T
    return np.asarray((tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))


def _curve_sums(answers: Answers) -> NDArray[np.float64]:
    """Events and others per step of the stated probability and cluster, shape (clusters, 2 steps)."""
    known = ~np.isnan(answers.stated)
    stated, true = answers.stated[known], answers.true[known]
    levels = np.unique(stated)
    if len(levels) > _STEPS:
        levels = np.unique(np.quantile(stated, np.linspace(0, 1, _STEPS)))
    step = np.searchsorted(levels, stated, side="left")
    columns = np.zeros((len(stated), 2 * (len(levels) + 1)))
    columns[np.arange(len(stated)), 2 * step + true] = 1.0
    return cluster_sums(columns, answers.cluster[known])


def _area(x: NDArray[np.float64]) -> NDArray[np.float64]:
    others, events = x[:, 0::2], x[:, 1::2]
    below = np.cumsum(others, axis=1) - others
    wins = (events * (below + 0.5 * others)).sum(axis=1)
    return np.asarray(wins / (events.sum(axis=1) * others.sum(axis=1)))


# -------------------------------------------------------------------- confusion, faults, fields, controls


def confusion_of(rows: Sequence[Row]) -> dict[str, Any]:
    """What was answered, by what the pair shows; and how often one schema was taken for another.

    ``asked_shown`` has, by the schema that was asked about and the one that the pair shows, the questions ``n`` and
    those answered with an event, ``said``; a pair that shows two others counts for both.
    """
    by_kind = {
        str(kind): {str(status): 0 for status in VerdictStatus} for kind in Kind if any(r.kind is kind for r in rows)
    }
    asked: dict[str, dict[str, dict[str, int]]] = {}
    for row in rows:
        by_kind[row.kind][row.verdict.status] += 1
        others = row.shown if row.kind is Kind.OTHER else (row.schema,) if row.event else (str(row.kind),)
        for other in others:
            cell = asked.setdefault(row.schema, {}).setdefault(other, {"n": 0, "said": 0})
            cell["n"] += 1
            cell["said"] += row.verdict.status is VerdictStatus.EVENT
    return {"by_kind": by_kind, "asked_shown": {schema: asked[schema] for schema in sorted(asked)}}


def faults_of(rows: Sequence[Row], status: VerdictStatus) -> dict[str, Any]:
    """How many answers were of a status that brings none, with the share, its bounds at 95 % and the reasons counted.

    Notes
    -----
    ``upper95`` bounds the share from above alone: 1 - 0.05^(1/n) where there was none (some 3/n, the "rule of three"),
    else the upper end of Wilson's interval.
    """
    mine = [row.verdict.reason for row in rows if row.verdict.status is status]
    n, k = len(rows), len(mine)
    reasons = Counter((reason.split(":")[0].strip() or "no reason given")[:60] for reason in mine)
    interval = _wilson(k, n)
    upper = None if interval is None else 1 - 0.05 ** (1 / n) if k == 0 else interval[1]
    return {
        "count": k, "rate": _share(k, n), "ci95": interval, "upper95": upper, "reasons": dict(reasons.most_common()),
    }  # fmt: skip


def fields_of(rows: Sequence[Row]) -> dict[str, Any]:
    """Share of the true positives whose fields are right, pooled and by schema."""

    def pairs(wanted: str | None) -> list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
        return [
            (row.verdict.body or {}, row.true)
            for row in rows
            if row.event and row.verdict.status is VerdictStatus.EVENT and wanted in (None, row.schema)
        ]

    schemas = sorted({row.schema for row in rows if row.event})
    return {
        "pooled": field_table(pairs(None)),
        "per_schema": {schema: field_table(pairs(schema)) for schema in schemas},
    }


#: Bounds of the shares of an event that may be hidden: in the open, partly, mostly, out of sight. [-]
_HIDDEN = (0.0, 0.1, 0.5, 0.9, 1.0)


def sight_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Recall by how much of an event cloud or missing data hides; empty where nobody knows.

    What cannot be seen happened all the same and counts as missed: this says how much of the misses is the sky's.
    """
    known = [row for row in rows if row.event and row.hidden is not None]
    if not known:
        return []
    hidden = np.array([row.hidden for row in known], dtype=float)
    told = np.array([row.verdict.status is VerdictStatus.EVENT for row in known])
    part_of = np.digitize(hidden, _HIDDEN[1:-1], right=True)
    found = []
    for number, bounds in enumerate(pairwise(_HIDDEN)):
        n, seen = int((part_of == number).sum()), int(told[part_of == number].sum())
        found.append(
            {"hidden": list(bounds), "n": n, "found": seen, "recall": _share(seen, n), "ci95": _wilson(seen, n)}
        )
    return found


def controls_of(rows: Sequence[Row], wanted: Sequence[Control], pooled: Score) -> dict[str, Any]:
    """Scores under each control, with what chance gets that says yes as often, and the answers that need no eye."""
    found = {}
    for control in wanted:
        mine = [row for row in rows if control in row.controls]
        if mine:
            found[str(control)] = _control(control, mine)
    for name, counts in pooled.baselines().items():
        found[name] = _ratios(name, counts)
    return found


def _control(control: Control, rows: Sequence[Row]) -> dict[str, Any]:
    said = np.array([row.controls[control].status == VerdictStatus.EVENT for row in rows])
    event = np.array([row.event for row in rows])
    counts = Counts(
        int((event & said).sum()), int((~event & said).sum()), int((event & ~said).sum()), int((~event & ~said).sum())
    )
    other = Counter(row.controls[control].status for row in rows)
    values = _ratios(control, counts) | {
        str(status): other[status] for status in (VerdictStatus.UNCLASSIFIABLE, VerdictStatus.INVALID)
    }  # fmt: skip
    values["no_answer"] = other[VerdictStatus.UNCLASSIFIABLE] + other[VerdictStatus.INVALID]
    values["directed"] = _directed(rows, [_direction(row.controls[control]) for row in rows])
    if control is Control.SWAPPED:
        values["direction_reversed"] = _reversed(rows)
    return values


def _ratios(name: str, counts: Counts) -> dict[str, Any]:
    share = counts.positives / counts.total if counts.total else 0.0
    said = (counts.tp + counts.fp) / counts.total if counts.total else 0.0
    return {
        **counts.as_dict(), "n": counts.total, "no_answer": 0, "said_yes": said,
        # Of answers that are drawn and say yes as often; their MCC is 0.
        "chance_f1": 2 * share * said / (share + said) if share + said else None,
        "what": TEXTS[name],
    }  # fmt: skip


#: Stands for an event whose direction nobody stated.
_UNTOLD = ""


def _direction(told: Told) -> str | None:
    return (told.direction or _UNTOLD) if told.status == VerdictStatus.EVENT else None


def directed_of(rows: Sequence[Row]) -> dict[str, float | None] | None:
    """F1 of the answers as they were asked for, where only an event in the right direction counts as found."""
    said = [
        (row.verdict.body or {}).get("direction") or _UNTOLD if row.verdict.status is VerdictStatus.EVENT else None
        for row in rows
    ]
    return _directed(rows, said)


def _directed(rows: Sequence[Row], said: Sequence[str | None]) -> dict[str, float | None] | None:
    """F1 of events with their direction, and that of the same answers dealt out at random; None without directions.

    ``said`` has the direction of each answer, None for one that sees no event. As with F1 of spans in text, an event in
    the wrong direction is both a false alarm and a miss.
    """
    true = [(row.true or {}).get("direction") or _UNTOLD if row.event else None for row in rows]
    if _UNTOLD in said or _UNTOLD in true or not any(true):
        return None
    told, there = Counter(said), Counter(true)
    answers = sum(n for way, n in told.items() if way is not None)
    events = sum(n for way, n in there.items() if way is not None)
    right = sum(mine is not None and mine == way for mine, way in zip(said, true, strict=True))
    by_chance = sum(told[way] * there[way] for way in there if way is not None) / len(rows)
    return {"f1": 2 * right / (answers + events), "chance_f1": 2 * by_chance / (answers + events)}


def _reversed(rows: Sequence[Row]) -> dict[str, Any]:
    """How often the direction turned round with the pictures, where an event was seen both ways."""
    both = [
        (row.verdict.body or {}).get("direction") != row.controls[Control.SWAPPED].direction
        for row in rows
        if row.event
        and row.verdict.status is VerdictStatus.EVENT
        and row.controls[Control.SWAPPED].status == VerdictStatus.EVENT
        and row.controls[Control.SWAPPED].direction is not None
    ]
    return {"reversed": sum(both), "n": len(both), "share": _share(sum(both), len(both)),
            "ci95": _wilson(sum(both), len(both))}  # fmt: skip


__all__ = [
    "Table", "auc", "confusion_of", "controls_of", "directed_of", "faults_of", "fields_of", "scores_of", "sight_of",
    "table_of",
]  # fmt: skip
