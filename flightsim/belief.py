"""What the ground believes: readers of products, and the fusion of their answers with the verdicts.

A *reader* looks at a product on the ground and answers each question with yes or no, with declared rates.
Its errors are keyed by place, time, schema and seed, and one uniform number serves all products of a question:
a better product never gives a worse answer, and every policy and reference meets the same reader.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from .domain import Action, Plan, TruthTable
from .errors import InputError
from .evidence import answer_evidence
from .protocols import EmptyConfig, PluginConfig
from .recorder import ACTIONS, RunRecord
from .rng import uniform_at

#: Readers with declared rates; ``readers.MODELS`` are those that really look.
DECLARED = ("analyst", "perfect")

_NONE, _TILE, _THUMBNAIL = -1, ACTIONS.index(Action.TILE), ACTIONS.index(Action.THUMBNAIL)
_UNREAD = {ACTIONS.index(action) for action in (Action.CROP, Action.MASK)}

Rate = Annotated[float, Field(ge=0, le=1)]


class Rates(PluginConfig):
    """How often a reader is right."""

    sensitivity: Rate
    """Share of changes that are seen. [-]"""
    specificity: Rate
    """Share of unchanged places that are called so. [-]"""

    @model_validator(mode="after")
    def _informs(self) -> Rates:
        if self.sensitivity + self.specificity < 1:
            raise ValueError(
                f"sensitivity {self.sensitivity:g} and specificity {self.specificity:g} add up to less than 1: "
                "the reader would be right more often by saying the opposite"
            )
        return self


class AnalystConfig(PluginConfig):
    """Rates of a trained analyst by product; engineering values, not measured on people."""

    tile: Rates = Rates(sensitivity=0.97, specificity=0.998)
    """A full lossless tile beside its reference picture."""
    thumbnail: Annotated[dict[Annotated[int, Field(gt=0)], Rates], Field(min_length=1)] = Field(
        default_factory=lambda: {
            64: Rates(sensitivity=0.75, specificity=0.97),
            128: Rates(sensitivity=0.90, specificity=0.99),
            256: Rates(sensitivity=0.95, specificity=0.997),
        }
    )
    """A thumbnail by its longer side in pixels; between two sides linear in the logarithm of the side."""

    @model_validator(mode="after")
    def _better_with_size(self) -> AnalystConfig:
        ladder = [(f"thumbnail {side} px", rates) for side, rates in sorted(self.thumbnail.items())]
        ladder.append(("tile", self.tile))
        for (smaller, low), (larger, high) in itertools.pairwise(ladder):
            if high.sensitivity < low.sensitivity or high.specificity < low.specificity:
                raise ValueError(f"rates fall from {smaller} to {larger}; a better product must not read worse")
        return self


@dataclass(frozen=True)
class Reader:
    """A reader with declared rates.

    ``thumbnail`` holds rows (longer side [px], sensitivity, specificity) with rising sides.
    """

    name: str
    tile: tuple[float, float]
    thumbnail: tuple[tuple[int, float, float], ...]

    def rates(self, kind: Action, side_px: float = 0.0) -> tuple[float, float]:
        """Sensitivity and specificity on one product. [-]

        Notes
        -----
        Outside the stated sides the rates of the nearest side hold above, and below the sensitivity falls with
        the slope of the lowest two sides until the answer is no better than a guess.

        Raises
        ------
        InputError
            The reader has no rates for this kind of product.
        """
        if kind is Action.TILE:
            return self.tile
        if kind is not Action.THUMBNAIL:
            raise InputError(
                f"reader '{self.name}' has no rates for product '{kind}'; it reads {Action.THUMBNAIL}, {Action.TILE}."
            )
        sides = np.log2([row[0] for row in self.thumbnail])
        sensitivity = np.array([row[1] for row in self.thumbnail])
        specificity = np.array([row[2] for row in self.thumbnail])
        at = np.log2(side_px)
        seen, spared = float(np.interp(at, sides, sensitivity)), float(np.interp(at, sides, specificity))
        if at < sides[0] and len(sides) > 1:
            slope = (sensitivity[1] - sensitivity[0]) / (sides[1] - sides[0])
            seen = max(seen - slope * (sides[0] - at), 1.0 - spared)
        return seen, spared

    def describe(self) -> str:
        """Name with the rates on a full tile, as it stands beside every figure."""
        if self.name == "perfect":
            return "perfect"
        return f"{self.name} {_short(self.tile[0])}/{_short(self.tile[1])}"

    def as_dict(self) -> dict[str, Any]:
        """Name and rates for ``metrics.json``."""
        return {
            "use": self.name,
            "description": self.describe(),
            "tile": {"sensitivity": self.tile[0], "specificity": self.tile[1]},
            "thumbnail": {str(s): {"sensitivity": tpr, "specificity": tnr} for s, tpr, tnr in self.thumbnail},
        }


PERFECT = Reader("perfect", (1.0, 1.0), ((1, 1.0, 1.0),))


def _short(rate: float) -> str:
    return f"{rate:g}".removeprefix("0")


def make_reader(use: str, settings: Mapping[str, Any] | None = None) -> Reader:
    """A reader with declared rates, as a scenario names it in ``evaluation.reader``.

    Raises
    ------
    InputError
        The reader has no declared rates, or its settings are refused.
    """
    if use not in DECLARED:
        raise InputError(f"evaluation.reader.use is '{use}', which has no declared rates; {', '.join(DECLARED)} have.")
    try:
        if use == "perfect":
            EmptyConfig.model_validate(dict(settings or {}))
            return PERFECT
        config = AnalystConfig.model_validate(dict(settings or {}))
    except ValidationError as error:
        faults = "; ".join(
            f"evaluation.reader.with{''.join('.' + str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors()
        )
        raise InputError(f"reader '{use}': {faults}.") from error
    rows = tuple((side, r.sensitivity, r.specificity) for side, r in sorted(config.thumbnail.items()))
    return Reader("analyst", (config.tile.sensitivity, config.tile.specificity), rows)


def reader_draws(plan: Plan, schemas: tuple[str, ...], seed: int) -> NDArray[np.float64]:
    """The uniform number that decides whether a reader errs, shape (n, s). [-]"""
    second = plan.time_s.astype(np.int64)
    columns = [uniform_at(seed, f"reader/{schema}", plan.place_key, second) for schema in schemas]
    return np.stack(columns, axis=1) if columns else np.zeros((len(plan), 0))


@dataclass(frozen=True)
class Products:
    """Which picture of each tile lies on the ground, and how well the reader reads it; arrays of shape (n,).

    ``readable`` is False where there is no picture, or where cloud or missing data hides the place in it.
    """

    readable: NDArray[np.bool_]
    sensitivity: NDArray[np.float64]
    specificity: NDArray[np.float64]

    @classmethod
    def of_record(cls, record: RunRecord, reader: Reader) -> Products:
        """The pictures that a run delivered in time.

        Raises
        ------
        InputError
            A product arrived that the reader has no rates for.
        """
        kind = np.where(delivered_in_time(record), record.action, _NONE)
        n = len(kind)
        sensitivity, specificity = np.full(n, 0.5), np.full(n, 0.5)
        pictured = np.zeros(n, dtype=bool)
        for code in (_TILE, _THUMBNAIL, *sorted(_UNREAD)):
            of_kind = kind == code
            sides = np.unique(record.thumbnail_px[of_kind]) if code == _THUMBNAIL else np.zeros(int(of_kind.any()))
            for side in sides.tolist():
                rows = of_kind & (record.thumbnail_px == side) if code == _THUMBNAIL else of_kind
                sensitivity[rows], specificity[rows] = reader.rates(ACTIONS[code], side)
            pictured |= of_kind
        return cls(pictured & record.seen_visible, sensitivity, specificity)


class GroundReader(Protocol):
    """Whoever looks at pictures on the ground: evidence for or against each question, as log likelihood ratios. [-]

    All arrays have the shape (n, s); 0 where nothing was read. ``notes`` is what a report must say.
    """

    @property
    def notes(self) -> Sequence[str]:
        """Failures and what was left out."""
        ...

    def tiles(self) -> NDArray[np.float64]:
        """Evidence if every tile lay on the ground without loss."""
        ...

    def thumbnails(self, side_px: int) -> NDArray[np.float64]:
        """Evidence if a thumbnail of every tile lay there, with the scenario's codec."""
        ...

    def arrived(self, record: RunRecord) -> NDArray[np.float64]:
        """Evidence of the pictures that a run delivered in time."""
        ...

    def fused(
        self, verdicts: NDArray[np.float64], read: NDArray[np.float64], whole: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Evidence of verdicts and pictures together; ``whole``, shape (n,), says where the picture is lossless."""
        ...

    def describe(self) -> str:
        """How it is named beside every figure."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """Name and rates for ``metrics.json``."""
        ...


@dataclass(frozen=True)
class DeclaredReader:
    """A reader with declared rates before the pictures of one world; its errors are keyed draws, shape (n, s)."""

    reader: Reader
    truth: TruthTable
    draws: NDArray[np.float64]
    notes: Sequence[str] = ()

    def tiles(self) -> NDArray[np.float64]:
        """Evidence if every tile lay on the ground without loss."""
        return self._of(*self.reader.tile)

    def thumbnails(self, side_px: int) -> NDArray[np.float64]:
        """Evidence if a thumbnail of every tile lay there."""
        return self._of(*self.reader.rates(Action.THUMBNAIL, side_px))

    def _of(self, sensitivity: float, specificity: float) -> NDArray[np.float64]:
        n = len(self.truth.visible)
        return reader_evidence(
            self.truth, Products(self.truth.visible, np.full(n, sensitivity), np.full(n, specificity)), self.draws
        )

    def arrived(self, record: RunRecord) -> NDArray[np.float64]:
        """Evidence of the pictures that a run delivered in time."""
        return reader_evidence(self.truth, Products.of_record(record, self.reader), self.draws)

    def fused(
        self, verdicts: NDArray[np.float64], read: NDArray[np.float64], whole: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """The sum: given the truth, this reader's errors have nothing to do with the eye's."""
        return verdicts + read

    def describe(self) -> str:
        """Name with the rates on a full tile."""
        return self.reader.describe()

    def as_dict(self) -> dict[str, Any]:
        """Name and rates for ``metrics.json``."""
        return self.reader.as_dict()


def delivered_in_time(record: RunRecord) -> NDArray[np.bool_]:
    """Tiles whose product lies complete on the ground within the run and its useful age, shape (n,)."""
    with np.errstate(invalid="ignore"):
        return np.asarray((record.delivered_s <= record.horizon_s) & ~record.late)


def reader_says_yes(
    changed: NDArray[np.bool_], sensitivity: NDArray[np.float64], specificity: NDArray[np.float64], draws: NDArray[Any]
) -> NDArray[np.bool_]:
    """Whether the reader answers yes, shape (n, s); it errs where the draw reaches its rate of being right.

    ``sensitivity`` and ``specificity`` broadcast against ``changed``. Rates that rise make a subset of the errors.
    """
    right = draws < np.where(changed, sensitivity, specificity)
    return np.asarray(changed == right)


def reader_evidence(truth: TruthTable, products: Products, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log likelihood ratio of the reader's answers, shape (n, s); 0 where nothing could be read. [-]"""
    tpr, tnr = products.sensitivity[:, None], products.specificity[:, None]
    of_yes, of_no = answer_evidence(tpr, tnr)
    ratio = np.where(reader_says_yes(truth.changed, tpr, tnr, draws), of_yes, of_no)
    return np.asarray(np.where(products.readable[:, None], ratio, 0.0))


@dataclass(frozen=True)
class Belief:
    """What the ground holds true; arrays of shape (n, s).

    ``threshold`` is the posterior from which on a question is answered with yes; None where none is.
    """

    posterior: NDArray[np.float64]
    yes: NDArray[np.bool_]
    threshold: float | None


def believe(truth: TruthTable, evidence: NDArray[np.float64]) -> Belief:
    """Posterior and yes-or-no answers from the summed log likelihood ratios of all that arrived.

    Parameters
    ----------
    truth
        Gives the stated prior and which questions count; its answers are not looked at.
    evidence
        Sum of ``verdict_evidence`` of delivered records and ``reader_evidence``, shape (n, s). [-]

    Notes
    -----
    The yes answers are those that maximise the expected F1 of the whole population: with the posteriors sorted,
    the F1 of the first k is taken as 2 sum(p_1..p_k) / (k + sum of all p), a ratio of expectations
    (Lipton, Elkan, Naryanaswamy, "Optimal thresholding of classifiers to maximize F1 measure", ECML 2014).

    A yes also needs evidence for it: a posterior above the prior. This is a decision of the design. Without it a
    ground that received nothing would answer yes everywhere wherever the prior alone makes that the best guess, and
    a policy that sends nothing would earn an F1 that belongs to the prior. So here it believes nothing.
    """
    posterior = posterior_of(truth.prior[None, :], evidence)
    candidate = (evidence > 0.0) & truth.labelled & (posterior > 0.0)
    descending = np.sort(posterior[candidate])[::-1]
    if not len(descending):
        return Belief(posterior, np.zeros_like(candidate), None)
    total = float(posterior[truth.labelled].sum())
    k = np.arange(1, len(descending) + 1)
    best = int(np.argmax(2.0 * np.cumsum(descending) / (k + total)))
    threshold = float(descending[best])
    return Belief(posterior, (evidence > 0.0) & (posterior >= threshold), threshold)


def posterior_of(prior: NDArray[np.float64], evidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability after evidence, in the broadcast shape; priors 0 and 1 stay what they are. [-]"""
    with np.errstate(divide="ignore"):
        log_odds = np.log(prior) - np.log1p(-prior)
    # Through tanh, which neither overflows nor divides by zero at either end.
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * (log_odds + evidence))))


__all__ = [
    "DECLARED", "PERFECT", "AnalystConfig", "Belief", "DeclaredReader", "GroundReader", "Products", "Rates",
    "Reader", "believe", "delivered_in_time", "make_reader", "posterior_of",
    "reader_draws", "reader_evidence", "reader_says_yes",
]  # fmt: skip
