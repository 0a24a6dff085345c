"""Counts of right and wrong answers, and what follows from them, with a reason wherever a ratio is undefined.

Formulas only: which questions belong to the population is decided by ``TruthTable.labelled``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .domain import TruthTable, Verdict, VerdictStatus
from .errors import InputError


@dataclass(frozen=True, slots=True)
class Counts:
    """Confusion counts of yes-or-no answers. A zero denominator gives None, and ``reasons`` says why."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def total(self) -> int:
        """Questions counted."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def positives(self) -> int:
        """Questions whose true answer is yes."""
        return self.tp + self.fn

    @property
    def precision(self) -> float | None:
        """Share of the yes answers that are right. [-]"""
        said = self.tp + self.fp
        return self.tp / said if said else None

    @property
    def recall(self) -> float | None:
        """Share of the positives that were found. [-]"""
        return self.tp / self.positives if self.positives else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN). [-]"""
        bottom = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / bottom if bottom else None

    @property
    def mcc(self) -> float | None:
        """Matthews correlation coefficient, -1 to 1. [-]

        References
        ----------
        Matthews, "Comparison of the predicted and observed secondary structure of T4 phage lysozyme",
        Biochimica et Biophysica Acta 405 (1975), 442-451.
        """
        sides = (self.tp + self.fp, self.tp + self.fn, self.tn + self.fp, self.tn + self.fn)
        if 0 in sides:
            return None
        # Python integers: the product of four counts overflows 64 bits for large runs.
        return (self.tp * self.tn - self.fp * self.fn) / math.sqrt(math.prod(sides))

    @property
    def reasons(self) -> dict[str, str]:
        """Why a value is None, by the value's name."""
        found = {}
        if self.precision is None:
            found["precision"] = "no question was answered with yes"
        if self.recall is None:
            found["recall"] = "no question has a positive truth"
        if self.f1 is None:
            found["f1"] = "no question has a positive truth and none was answered with yes"
        if self.mcc is None:
            found["mcc"] = "all answers or all truths are on one side"
        return found

    def as_dict(self) -> dict[str, Any]:
        """Counts, ratios and the reasons of those that are None."""
        return {
            "tp": self.tp, "fp": self.fp, "fn": self.fn, "tn": self.tn,
            "precision": self.precision, "recall": self.recall, "f1": self.f1, "mcc": self.mcc,
            "reasons": self.reasons,
        }  # fmt: skip


def confusion(changed: ArrayLike, predicted: ArrayLike, labelled: ArrayLike | None = None) -> Counts:
    """Confusion counts over the labelled questions.

    Parameters
    ----------
    changed
        True answers, any shape.
    predicted
        Given answers, same shape.
    labelled
        Which questions count, same shape; all when absent.

    Raises
    ------
    InputError
        The shapes differ.
    """
    truth, answer = np.asarray(changed, dtype=bool), np.asarray(predicted, dtype=bool)
    counted = np.ones(truth.shape, dtype=bool) if labelled is None else np.asarray(labelled, dtype=bool)
    if not truth.shape == answer.shape == counted.shape:
        raise InputError(
            f"confusion needs arrays of one shape; changed is {truth.shape}, predicted {answer.shape}, "
            f"labelled {counted.shape}."
        )
    yes, no = truth & counted, ~truth & counted
    return Counts(
        int(np.count_nonzero(yes & answer)),
        int(np.count_nonzero(no & answer)),
        int(np.count_nonzero(yes & ~answer)),
        int(np.count_nonzero(no & ~answer)),
    )


def wilson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share of k in n. [-]

    An empty sample says nothing: n = 0 gives (0, 1).

    Raises
    ------
    InputError
        k does not lie in [0, n], or level not in (0, 1).

    References
    ----------
    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), 209-212.
    """
    if not 0 <= k <= n:
        raise InputError(f"wilson: k is {k}; it must lie in [0, n] with n = {n}.")
    if not 0 < level < 1:
        raise InputError(f"wilson: level is {level}; it must lie in (0, 1), such as 0.95.")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, bottom = k / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / bottom
    half = z / bottom * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Rounding may push the ends of 0-of-n and n-of-n past the share itself.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


@dataclass(frozen=True, slots=True)
class Score:
    """Answers to a set of labelled questions. Abstentions and invalid answers stay out of ``counts``."""

    counts: Counts
    abstained_positive: int = 0
    abstained_negative: int = 0
    invalid_positive: int = 0
    invalid_negative: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.counts + other.counts,
            self.abstained_positive + other.abstained_positive,
            self.abstained_negative + other.abstained_negative,
            self.invalid_positive + other.invalid_positive,
            self.invalid_negative + other.invalid_negative,
        )

    @property
    def questions(self) -> int:
        """Labelled questions, answered or not."""
        return self.strict.total

    @property
    def unanswered(self) -> int:
        """Abstentions and invalid answers."""
        return self.questions - self.counts.total

    @property
    def strict(self) -> Counts:
        """The counts when whatever was not answered reads as "no event", so that abstaining earns nothing."""
        c = self.counts
        return Counts(
            c.tp,
            c.fp,
            c.fn + self.abstained_positive + self.invalid_positive,
            c.tn + self.abstained_negative + self.invalid_negative,
        )

    def baselines(self) -> dict[str, Counts]:
        """What answering always yes, and always null, gets on the same questions."""
        positives = self.strict.positives
        negatives = self.questions - positives
        return {"always_yes": Counts(positives, negatives, 0, 0), "always_null": Counts(0, 0, positives, negatives)}

    def as_dict(self) -> dict[str, Any]:
        """Answered counts, strict counts, baselines and Wilson intervals of precision and recall."""
        counts = self.counts
        return {
            **counts.as_dict(),
            "ci95": {
                "precision": list(wilson(counts.tp, counts.tp + counts.fp)),
                "recall": list(wilson(counts.tp, counts.positives)),
            },
            "abstained": self.abstained_positive + self.abstained_negative,
            "invalid": self.invalid_positive + self.invalid_negative,
            "strict": self.strict.as_dict(),
            "baselines": {name: value.as_dict() for name, value in self.baselines().items()},
        }


@dataclass(frozen=True)
class ScoreTable:
    """Scores per schema and over all of them."""

    per_schema: Mapping[str, Score]

    @property
    def pooled(self) -> Score:
        """All schemas together, each question with the same weight."""
        total = Score(Counts())
        for part in self.per_schema.values():
            total = total + part
        return total

    @property
    def macro_f1(self) -> float | None:
        """Mean F1 over the schemas where it is defined; None where it is nowhere. [-]"""
        known = [part.counts.f1 for part in self.per_schema.values() if part.counts.f1 is not None]
        return sum(known) / len(known) if known else None


def score(statuses: NDArray[Any], truth: TruthTable) -> ScoreTable:
    """Scores of statuses against the truth, per schema.

    Parameters
    ----------
    statuses
        ``VerdictStatus`` values (the enum or its text), shape (n, s) in the order of ``truth.schemas``.
        Anything else, such as an empty text for a question that was never asked, counts as invalid.
    truth
        Truth of the same n tiles.

    Raises
    ------
    InputError
        The shapes differ.
    """
    status = np.asarray(statuses).astype(str)
    if status.shape != truth.changed.shape:
        raise InputError(f"statuses have shape {status.shape}; the truth has {truth.changed.shape}.")
    event, null = status == str(VerdictStatus.EVENT), status == str(VerdictStatus.NULL)
    abstained = status == str(VerdictStatus.UNCLASSIFIABLE)
    answered = event | null
    invalid = ~answered & ~abstained
    found = {}
    for column, schema in enumerate(truth.schemas):
        changed, labelled = truth.changed[:, column], truth.labelled[:, column]
        yes, no = changed & labelled, ~changed & labelled
        found[schema] = Score(
            confusion(changed, event[:, column], labelled & answered[:, column]),
            int(np.count_nonzero(yes & abstained[:, column])),
            int(np.count_nonzero(no & abstained[:, column])),
            int(np.count_nonzero(yes & invalid[:, column])),
            int(np.count_nonzero(no & invalid[:, column])),
        )
    return ScoreTable(found)


def status_table(verdicts: Sequence[Verdict], schemas: Sequence[str]) -> NDArray[np.str_]:
    """Statuses of verdicts in the order pair by pair, schema by schema, shape (n, s).

    Raises
    ------
    InputError
        The verdicts are not whole rows of these schemas.
    """
    wide = len(schemas)
    for k, verdict in enumerate(verdicts):
        if verdict.schema_id != schemas[k % wide]:
            raise InputError(f"verdict {k} is about '{verdict.schema_id}'; '{schemas[k % wide]}' was expected.")
    if len(verdicts) % wide:
        raise InputError(f"{len(verdicts)} verdicts are no whole number of rows of {wide} schemas.")
    return np.array([str(v.status) for v in verdicts], dtype=np.str_).reshape(-1, wide)
