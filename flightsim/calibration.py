"""How far a payload's confidence can be trusted: fitted on labelled pairs, checked on others.

A verdict states the probability of an event: the confidence of an EVENT, one less that of a NULL. The fit maps it to
the share of true events among labelled pairs where so much was stated, as a rising function. Scores are those of
pairs that the fit has not seen, parted by cluster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .domain import Calibration, TruthTable, VerdictStatus
from .errors import InputError
from .evidence import calibrated
from .perceived import gather, sample
from .readers import statuses_of
from .recorder import STATUSES
from .rng import uniform_at
from .runfolder import write_file
from .scenario.models import Scenario
from .scoring import Counts, confusion

FORMAT = "flightsim-calibration/1"
#: Thumbnails that a reader's rates are measured on, by longer side; those above the tile's own side are left out. [px]
SIDES = (64, 128, 256)
#: A schema gets knots of its own from so many true events, and so many others, each in so many clusters of the fitted
#: half; with fewer it shares the pooled ones. Engineering values: a share of one half is then known to about 0.2.
LEAST, LEAST_CLUSTERS = 25, 8
_BINS = 10
_EVENT, _NULL = STATUSES.index(VerdictStatus.EVENT), STATUSES.index(VerdictStatus.NULL)


@dataclass(frozen=True)
class Answers:
    """Answered, labelled questions; arrays of shape (m,)."""

    stated: NDArray[np.float64]  # probability of an event, NaN where no confidence was given [-]
    event: NDArray[np.bool_]  # the answer was EVENT
    true: NDArray[np.bool_]  # the event is there
    schema: NDArray[np.int64]  # column
    fitted: NDArray[np.bool_]  # belongs to the half that is fitted
    cluster: NDArray[np.int64]

    def where(self, which: NDArray[np.bool_]) -> Answers:
        """Some of them."""
        parts = (self.stated, self.event, self.true, self.schema, self.fitted, self.cluster)
        return Answers(*(part[which] for part in parts))  # type: ignore[arg-type]


def answers_of(status: NDArray[np.int8], confidence: NDArray[np.float64], truth: TruthTable, seed: int) -> Answers:
    """Questions that were answered and have a label; half of them, parted by drawn clusters, are for the fit.

    Parameters
    ----------
    status, confidence
        From ``readers.statuses_of``, shape (n, s).
    """
    counted = truth.labelled & ((status == _EVENT) | (status == _NULL))
    row, column = np.nonzero(counted)
    event = status[row, column] == _EVENT
    stated = np.where(event, confidence[row, column], 1.0 - confidence[row, column])
    cluster = truth.cluster[row]
    return Answers(stated, event, truth.changed[row, column], column, _first_half(cluster, seed), cluster)


def _first_half(cluster: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Whole clusters in a drawn order until they hold half of the answers, shape (m,)."""
    number, at, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
    order = np.argsort(uniform_at(seed, "calibration/half", number), kind="stable")
    first = np.zeros(len(number), dtype=bool)
    before = np.cumsum(sizes[order]) - sizes[order]
    first[order] = before + sizes[order] / 2 < len(cluster) / 2
    return first[at]


def rising_shares(
    stated: NDArray[np.float64], true: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Knots of the share of true events as a rising function of what was stated: stated, observed, how many. [-]

    Notes
    -----
    Isotonic regression by pool-adjacent-violators (Barlow, Bartholomew, Bremner, Brunk, "Statistical inference under
    order restrictions", 1972; for probabilities Zadrozny and Elkan, KDD 2002). Each block is then drawn towards the
    base rate by one observation, so that a block of few pairs never becomes a certainty, and a block of none would
    bring no evidence.
    """
    from scipy.optimize import isotonic_regression

    base = float(true.mean())
    at, group = np.unique(stated, return_inverse=True)
    n = np.bincount(group)
    k = np.bincount(group, weights=true)
    shares = isotonic_regression(k / n, weights=n).x
    block = np.cumsum(np.diff(shares, prepend=shares[0]) > 0)
    sizes = np.bincount(block, weights=n)
    smooth = (np.bincount(block, weights=k) + base) / (sizes + 1.0)
    smooth = isotonic_regression(smooth, weights=sizes).x
    return np.bincount(block, weights=n * at) / sizes, smooth, sizes.astype(np.int64)


def fit(answers: Answers, source: str) -> tuple[Calibration, NDArray[np.int64]]:
    """Calibration from answers, and the number of pairs behind each knot.

    Raises
    ------
    InputError
        No answer carries a confidence, or all of them are true, or none is.
    """
    known = ~np.isnan(answers.stated)
    true = answers.true[known]
    if not known.any() or true.all() or not true.any():
        raise InputError(
            f"a calibration needs answers with a confidence, some about true events and some not; there are "
            f"{int(true.sum())} true events among {len(true)} answers with a confidence. Fly more pairs."
        )
    at, observed, n = rising_shares(answers.stated[known], true)
    base = float(answers.true.mean())

    def share(which: NDArray[np.bool_]) -> float:
        return float((np.count_nonzero(answers.true & which) + base) / (np.count_nonzero(which) + 1))

    knots = tuple(np.round(at, 6).tolist()), tuple(np.round(observed, 6).tolist())
    return (
        Calibration(
            source, len(answers.true), round(base, 6), *knots, round(share(answers.event), 6),
            round(share(~answers.event), 6),
        ),
        n,
    )  # fmt: skip


def reliability_bins(
    stated: NDArray[np.float64], true: NDArray[np.bool_], bins: int = _BINS
) -> list[dict[str, float | int]]:
    """Mean stated probability, true events ``k`` and answers ``n`` in equal steps of it; empty ones left out."""
    at = np.minimum((stated * bins).astype(np.int64), bins - 1)
    return [
        {
            "stated": round(float(stated[at == b].mean()), 4),
            "k": int(np.count_nonzero(true[at == b])),
            "n": int(np.count_nonzero(at == b)),
        }
        for b in range(bins)
        if np.any(at == b)
    ]


def brier(probability: NDArray[np.float64], true: NDArray[np.bool_]) -> float:
    """Mean squared error of probabilities (Brier, Monthly Weather Review 78, 1950). [-]"""
    return float(np.mean((probability - true) ** 2))


def expected_error(probability: NDArray[np.float64], true: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean distance of stated from observed over ten equal steps, weighted by count. [-]"""
    bins = reliability_bins(probability, true)
    return float(sum(abs(row["stated"] * row["n"] - row["k"]) for row in bins) / max(1, len(true)))


def _scores(calibration: Calibration, held: Answers) -> dict[str, Any]:
    """Scores on answers that the fit has not seen; None where there are none."""
    known = ~np.isnan(held.stated)
    stated, true = held.stated[known], held.true[known]
    if not len(true):
        return {"held_out": 0, "brier": None, "brier_stated": None, "ece": None, "ece_stated": None, "reliability": []}
    seen = calibrated(calibration, stated)
    return {
        "held_out": len(true),
        "brier": round(brier(seen, true), 5),
        "brier_stated": round(brier(stated, true), 5),
        "ece": round(expected_error(seen, true), 5),
        "ece_stated": round(expected_error(stated, true), 5),
        "reliability": reliability_bins(stated, true),
    }


def _block(answers: Answers, source: str) -> dict[str, Any]:
    calibration, n = fit(answers.where(answers.fitted), source)
    rows = zip(calibration.stated, calibration.observed, n.tolist(), strict=True)
    return {
        "n": calibration.n,
        "base_rate": calibration.base_rate,
        "event": calibration.event,
        "null": calibration.null,
        "knots": [{"confidence": c, "probability": p, "n": count} for c, p, count in rows],
        **_scores(calibration, answers.where(~answers.fitted)),
    }


def _enough(answers: Answers) -> bool:
    usable = answers.fitted & ~np.isnan(answers.stated)
    sides = (answers.true & usable, ~answers.true & usable)
    return all(
        np.count_nonzero(side) >= LEAST and len(np.unique(answers.cluster[side])) >= LEAST_CLUSTERS for side in sides
    )


def rates_of(status: NDArray[np.int8], truth: TruthTable) -> dict[str, dict[str, float | int]]:
    """Counts and rates of the answers by schema, for those with true events and others.

    Notes
    -----
    Rates are (k + 1/2) / (n + 1), the middle of the posterior under Jeffreys' prior, so that no rate is 0 or 1.
    """
    found = {}
    for column, schema in enumerate(truth.schemas):
        event, null = status[:, column] == _EVENT, status[:, column] == _NULL
        counts: Counts = confusion(truth.changed[:, column], event, truth.labelled[:, column] & (event | null))
        negatives = counts.fp + counts.tn
        if counts.positives and negatives:
            found[schema] = {
                "tp": counts.tp, "fp": counts.fp, "fn": counts.fn, "tn": counts.tn,
                "tpr": round((counts.tp + 0.5) / (counts.positives + 1), 5),
                "fpr": round((counts.fp + 0.5) / (negatives + 1), 5),
            }  # fmt: skip
    return found


def calibrate(
    scenario: Scenario, blocks: int | None = None, sides: Sequence[int] = SIDES, region: str = "train"
) -> dict[str, Any]:
    """The calibration of a scenario's payload on labelled pairs, ready for its profile.

    Half of the clusters are fitted, the other half gives the scores. The rates on tiles and, where there are
    pictures, on thumbnails (``products``) are counted over all pairs.

    Parameters
    ----------
    blocks
        Blocks of 64 tiles from one part of the generated world; by default the scenario's own pairs.
    sides
        Longer sides of the thumbnails. [px]
    region
        The part that blocks are taken from: train, validation or test.

    Raises
    ------
    InputError
        The payload cannot look at these scenes, or there are too few answers to fit.
    """
    pairs = gather(scenario) if blocks is None else sample(scenario, blocks, region)
    schemas, radio = pairs.truth.schemas, scenario.craft[0].radio.thumbnail
    shown = [side for side in sides if pairs.looks_at_pixels and side <= pairs.longest_px]
    found = pairs.answers([None, *((side, radio.codec, radio.quality) for side in shown)])
    coded = {how: statuses_of(answers, len(schemas)) for how, answers in found.items()}
    status, confidence = coded[None]
    products = {
        "tile": rates_of(status, pairs.truth),
        "thumbnail": {str(how[0]): rates_of(seen, pairs.truth) for how, (seen, _) in coded.items() if how is not None},
    }
    answers = answers_of(status, confidence, pairs.truth, scenario.seed)
    part = "training" if region == "train" else region
    where = scenario.name if blocks is None else f"{blocks} blocks of the regions for {part}"
    source = f"{where}: scenes {scenario.scenes.use}, seed {scenario.seed}, {len(pairs)} pairs"
    by_schema = {schema: answers.where(answers.schema == column) for column, schema in enumerate(schemas)}
    return {
        "format": FORMAT,
        "payload": pairs.payload.fingerprint,
        "set": source,
        "seed": scenario.seed,
        "pairs": len(pairs),
        "clusters": len(np.unique(pairs.truth.cluster)),
        "failures": len(pairs.failures),
        **_block(answers, source),
        "per_schema": {schema: _block(part, source) for schema, part in by_schema.items() if _enough(part)},
        "thumbnail": {"codec": radio.codec, "quality": radio.quality},
        "products": products,
    }


def write(path: Path, block: Mapping[str, Any]) -> None:
    """Put a calibration into a JSON file under the key ``calibration``; what else stands there is kept.

    Raises
    ------
    InputError
        The file is there and is no JSON object.
    """
    content: Any = {}
    if path.exists():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise InputError(
                f"--calibrate {path}: the file is there and is no JSON ({error}); name another."
            ) from error
        if not isinstance(content, dict):
            raise InputError(f"--calibrate {path}: the file is there and holds no JSON object; name another.")
    content["calibration"] = dict(block)
    write_file(path, (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def lines_of(block: Mapping[str, Any]) -> list[str]:
    """What a fit says on the terminal."""

    def scores(part: Mapping[str, Any]) -> str:
        if part["brier"] is None:
            return "no held-out answers"
        return (
            f"Brier {part['brier_stated']:.4f} as stated, {part['brier']:.4f} calibrated; "
            f"ECE {part['ece_stated']:.3f} as stated, {part['ece']:.3f} calibrated"
        )

    shared = ", ".join(schema for schema in block["products"]["tile"] if schema not in block["per_schema"])
    least = f"fewer than {LEAST} true events in the fitted half, or {LEAST_CLUSTERS} clusters of them"
    few = [f"with the pooled calibration ({least}): {shared}"] if shared else []
    return [
        f"calibration of {block['payload']} on {block['set']}: {block['n']} answers fitted, {block['held_out']} held "
        f"out by cluster, base rate {block['base_rate']:.3f}, {len(block['knots'])} knots",
        f"held out: {scores(block)}",
        *[f"  {schema:22s} {part['n']:5d} fitted, {scores(part)}" for schema, part in block["per_schema"].items()],
        *few,
    ]


__all__ = [
    "FORMAT", "LEAST", "SIDES", "Answers", "answers_of", "brier", "calibrate", "expected_error", "fit",
    "lines_of", "rates_of", "reliability_bins", "rising_shares", "write",
]  # fmt: skip
