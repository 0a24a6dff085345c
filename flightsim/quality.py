"""Quality and latency of one run: what the ground believes under the policy and under its references."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .belief import (
    PERFECT,
    Belief,
    DeclaredReader,
    GroundReader,
    believe,
    delivered_in_time,
)
from .domain import Action, VerdictStatus
from .evidence import Eye, verdict_evidence
from .no_vlm import FAMILIES, NoVlm, best_f1_at_bytes, cheapest_at_f1
from .recorder import ACTIONS, STATUSES, RunRecord
from .references import Reference, References
from .scoring import Counts, confusion, wilson

_EVENT, _NULL = STATUSES.index(VerdictStatus.EVENT), STATUSES.index(VerdictStatus.NULL)
_TILE = ACTIONS.index(Action.TILE)
_HOURS = (1, 6, 24)
_ONE_RUN = "needs hindsight over finished runs; a single run does not compute it"


@dataclass(frozen=True)
class Ground:
    """Who makes up the ground's mind: what is known of the eye on board, and who reads the pictures."""

    eye: Eye
    reader: GroundReader


@dataclass(frozen=True)
class GroundBeliefs:
    """The beliefs that are compared, all on the same captures, passes, reader and draws."""

    delivered: NDArray[np.bool_]  # (n,)
    policy: Belief
    verdicts_only: Belief
    perfect_reader: Belief
    unlimited: Belief
    windows: Belief
    fused_unlimited: Belief


class Sheet:
    """Values being filled in, and the reasons of those that are None."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def ratio(self, path: str, top: float | None, bottom: float | None, why: str) -> float | None:
        """top / bottom, or None with its reason."""
        if top is None or not bottom:
            self.reasons[path] = why
            return None
        return float(top) / float(bottom)

    def absent(self, path: str, why: str) -> None:
        """None with its reason."""
        self.reasons[path] = why

    def quality(self, path: str, counts: Counts) -> dict[str, Any]:
        """Counts and ratios of one set of answers."""
        values = counts.as_dict()
        for name, why in values.pop("reasons").items():
            self.reasons[f"{path}.{name}"] = why
        return values


def ground_beliefs(record: RunRecord, ground: Ground, bent_pipe: Reference) -> GroundBeliefs:
    """Beliefs under the policy and its references, all from one reader's answers.

    Parameters
    ----------
    bent_pipe
        The bent pipe through the real windows.
    """
    truth, reader = record.truth, ground.reader
    delivered = delivered_in_time(record)
    verdicts = verdict_evidence(record.status, truth.schemas, ground.eye, record.confidence)
    arrived = np.where(delivered[:, None], verdicts, 0.0)
    whole = delivered & (record.action == _TILE)
    everything = np.ones(len(delivered), dtype=bool)
    tiles = reader.tiles()
    perfect = DeclaredReader(PERFECT, truth, np.zeros(truth.changed.shape))
    return GroundBeliefs(
        delivered,
        policy=believe(truth, reader.fused(arrived, reader.arrived(record), whole)),
        verdicts_only=believe(truth, arrived),
        perfect_reader=believe(truth, perfect.fused(arrived, perfect.arrived(record), whole)),
        unlimited=believe(truth, tiles),
        windows=believe(truth, np.where(bent_pipe.delivered[:, None], tiles, 0.0)),
        fused_unlimited=believe(truth, reader.fused(verdicts, tiles, everything)),
    )


def score_yes(record: RunRecord, yes: NDArray[np.bool_]) -> Counts:
    """Confusion counts of yes answers, shape (n, s), over the run's labelled questions."""
    return confusion(record.truth.changed, yes, record.truth.labelled)


def quality_values(record: RunRecord, ground: GroundBeliefs, sheet: Sheet) -> dict[str, Any]:
    """The ``quality`` part of the metrics, but for ``no_vlm`` and what needs resampling."""
    truth = record.truth
    sets = {
        "ground": ground.policy,
        "bent_pipe_unlimited": ground.unlimited,
        "bent_pipe_windows": ground.windows,
        "fused_unlimited": ground.fused_unlimited,
    }
    quality: dict[str, Any] = {
        name: sheet.quality(f"quality.{name}", score_yes(record, belief.yes)) for name, belief in sets.items()
    }
    event = record.status == _EVENT
    answered = event | (record.status == _NULL)
    quality["onboard"] = sheet.quality(
        "quality.onboard", confusion(truth.changed, event, truth.labelled & answered)
    ) | {
        "processed_fraction": sheet.ratio(
            "quality.onboard.processed_fraction",
            float(np.count_nonzero(answered & truth.labelled)),
            float(np.count_nonzero(truth.labelled)),
            "no question has a label",
        ),
        **{
            str(status): int(np.count_nonzero((record.status == STATUSES.index(status)) & truth.labelled))
            for status in (VerdictStatus.UNCLASSIFIABLE, VerdictStatus.INVALID)
        },
        "not_asked": int(np.count_nonzero((record.status < 0) & truth.labelled)),
    }
    own = quality["ground"]
    for beta, name in ((0.5, "f_half"), (2.0, "f2")):
        top, miss = (1 + beta**2) * own["tp"], beta**2 * own["fn"]
        own[name] = sheet.ratio(
            f"quality.ground.{name}", top, top + miss + own["fp"], "no positive truth and no yes answer"
        )
    own["threshold"] = ground.policy.threshold
    if own["threshold"] is None:
        sheet.absent("quality.ground.threshold", "nothing on the ground speaks for any event")
    own["wilson95"] = {
        name: list(wilson(own["tp"], own["tp"] + own[other])) if own["tp"] + own[other] else None
        for name, other in (("precision", "fp"), ("recall", "fn"))
    }
    for name, interval in own["wilson95"].items():
        if interval is None:
            sheet.absent(f"quality.ground.wilson95.{name}", sheet.reasons[f"quality.ground.{name}"])
    f1, best = own["f1"], quality["bent_pipe_unlimited"]["f1"]
    quality["f1_retained"] = sheet.ratio(
        "quality.f1_retained", f1, best, "the bent pipe with an unlimited link has no F1 above 0 to compare with"
    )
    windows = quality["bent_pipe_windows"]["f1"]
    quality["f1_gain"] = f1 - windows if f1 is not None and windows is not None else None
    if quality["f1_gain"] is None:
        sheet.absent("quality.f1_gain", "an F1 is undefined")
    hidden = score_yes(record, truth.changed & truth.visible[:, None])
    quality["cloud_ceiling_f1"] = hidden.f1
    if hidden.f1 is None:
        sheet.absent("quality.cloud_ceiling_f1", hidden.reasons["f1"])
    quality["reader_band"] = {
        "product_adds_nothing": score_yes(record, ground.verdicts_only.yes).f1,
        "perfect": score_yes(record, ground.perfect_reader.yes).f1,
    }
    for name, value in quality["reader_band"].items():
        if value is None:
            sheet.absent(f"quality.reader_band.{name}", sheet.reasons.get("quality.ground.f1", "F1 is undefined"))
    quality["regret"] = None
    sheet.absent("quality.regret", _ONE_RUN)
    quality["hindsight"] = {who: {"bound": None, "feasible": None} for who in ("perfect_eye", "same_model")}
    for who in quality["hindsight"]:
        sheet.absent(f"quality.hindsight.{who}.bound", _ONE_RUN)
        sheet.absent(f"quality.hindsight.{who}.feasible", _ONE_RUN)
    quality["per_schema"] = _per_schema(record, ground, event, answered, sheet)
    known = [part["ground"]["f1"] for part in quality["per_schema"].values() if part["ground"]["f1"] is not None]
    own["macro_f1"] = sheet.ratio("quality.ground.macro_f1", sum(known), len(known), "no schema has a defined F1")
    return quality


def _per_schema(
    record: RunRecord, ground: GroundBeliefs, event: NDArray[np.bool_], answered: NDArray[np.bool_], sheet: Sheet
) -> dict[str, Any]:
    truth, found = record.truth, {}
    for column, schema in enumerate(truth.schemas):
        changed, labelled = truth.changed[:, column], truth.labelled[:, column]
        path = f"quality.per_schema.{schema}"
        parts = {
            "onboard": confusion(changed, event[:, column], labelled & answered[:, column]),
            "ground": confusion(changed, ground.policy.yes[:, column], labelled),
            "bent_pipe_unlimited": confusion(changed, ground.unlimited.yes[:, column], labelled),
            "bent_pipe_windows": confusion(changed, ground.windows.yes[:, column], labelled),
        }
        found[schema] = {
            "questions": int(np.count_nonzero(labelled)),
            "positives": int(np.count_nonzero(changed & labelled)),
            "prior": float(truth.prior[column]),
            **{name: sheet.quality(f"{path}.{name}", counts) for name, counts in parts.items()},
        }
    return found


def no_vlm_values(
    references: References,
    reader: GroundReader,
    seed: int,
    bytes_: Mapping[str, Any],
    quality: Mapping[str, Any],
    sheet: Sheet,
) -> dict[str, Any]:
    """The no-VLM senders, and those of them that the run has to be compared with."""
    points = NoVlm(references, reader, seed).points()
    best = best_f1_at_bytes(points, bytes_["air"])
    f1 = quality["ground"]["f1"]
    cheapest = cheapest_at_f1(points, f1) if f1 is not None else None
    if best is None:
        sheet.absent("quality.no_vlm.best_f1_at_bytes", "F1 is undefined without a positive truth")
    if cheapest is None:
        why = "the run's own F1 is undefined" if f1 is None else f"no sender of the families ({FAMILIES}) reaches it"
        sheet.absent("quality.no_vlm.cheapest_at_f1", why)
    table = [{"name": p.name, "air_bytes": p.air_bytes, "f1": p.f1, "tiles_delivered": p.delivered} for p in points]
    return {
        "best_f1_at_bytes": best.f1 if best else None,
        "best_name": best.name if best else None,
        "cheapest_at_f1": (
            {"name": cheapest.name, "air_bytes": cheapest.air_bytes, "f1": cheapest.f1} if cheapest else None
        ),
        "families": FAMILIES,
        "points": table,
    }


def reweighted_f1(counts: Mapping[str, Any], base_rate: float) -> float | None:
    """F1 of the same true- and false-positive rates at another prevalence; None where a rate is undefined. [-]"""
    negatives = counts["fp"] + counts["tn"]
    if counts["recall"] is None or not negatives:
        return None
    hit = base_rate * counts["recall"]
    alarm = (1.0 - base_rate) * counts["fp"] / negatives
    return float(2.0 * hit / (hit + alarm + base_rate))


def known_s(record: RunRecord, yes: NDArray[np.bool_], delivered_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Time at which the ground came to know each true event, shape (n, s); NaN for never and for no event. [s]

    A file carries the verdict and the picture, so the belief about a tile is right from its first delivery on.
    """
    positive = record.truth.changed & record.truth.labelled
    return np.where(positive & yes, delivered_s[:, None], np.nan)


def latency_samples(record: RunRecord, ground: GroundBeliefs) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Waiting time of each of the p positives, and whether it was cut off; in the order of rows and schemas.

    Returns
    -------
    waited_s, censored
        Shape (p,). [s] From mid-exposure to a right belief; where that never came, to the end of the run.
    """
    positive = record.truth.changed & record.truth.labelled
    known = known_s(record, ground.policy.yes, record.delivered_s)
    censored = np.isnan(known)
    end_s = np.where(censored, record.horizon_s, known)
    return (end_s - record.plan.time_s[:, None])[positive], censored[positive]


def latency_values(
    record: RunRecord, ground: GroundBeliefs, bent_pipe: Reference, quality: dict[str, Any], sheet: Sheet
) -> dict[str, Any]:
    """The ``latency_s`` part: the policy's, and the bent pipe's beside it; also fills ``quality["timely_f1"]``."""
    values = _waiting(record, ground.policy.yes, record.delivered_s, "latency_s", sheet)
    values["bent_pipe_windows"] = _waiting(
        record, ground.windows.yes, bent_pipe.delivered_s, "latency_s.bent_pipe_windows", sheet
    )
    with np.errstate(invalid="ignore"):
        age = record.delivered_s - record.plan.time_s
        timely = {
            f"within_{hours}h": score_yes(record, ground.policy.yes & (age <= hours * 3600.0)[:, None]).f1
            for hours in _HOURS
        }
    quality["timely_f1"] = timely
    for name, value in timely.items():
        if value is None:
            sheet.absent(f"quality.timely_f1.{name}", sheet.reasons.get("quality.ground.f1", "F1 is undefined"))
    return values


def _waiting(
    record: RunRecord, yes: NDArray[np.bool_], delivered_s: NDArray[np.float64], path: str, sheet: Sheet
) -> dict[str, Any]:
    """Time from mid-exposure to a right belief over all positives; what was never found counts as infinity."""
    positive = record.truth.changed & record.truth.labelled
    age = (known_s(record, yes, delivered_s) - record.plan.time_s[:, None])[positive]
    age = np.sort(np.where(np.isnan(age), np.inf, age))
    values: dict[str, Any] = {"positives": len(age), "censored": int(np.count_nonzero(np.isinf(age)))}
    for name, quantile in (("median", 0.5), ("p90", 0.9), ("p95", 0.95)):
        at = float(age[max(0, math.ceil(quantile * len(age)) - 1)]) if len(age) else math.inf
        values[name] = at if math.isfinite(at) else None
        if not math.isfinite(at):
            found = len(age) - values["censored"]
            why = f"not reached: {found} of {len(age)} positives were found" if len(age) else "there is no positive"
            sheet.absent(f"{path}.{name}", why)
    for hours in _HOURS:
        name = f"within_{hours}h"
        values[name] = sheet.ratio(
            f"{path}.{name}", float(np.count_nonzero(age <= hours * 3600.0)), len(age), "there is no positive"
        )
    return values


__all__ = [
    "Ground", "GroundBeliefs", "Sheet", "ground_beliefs", "known_s", "latency_samples", "latency_values",
    "no_vlm_values", "quality_values", "reweighted_f1", "score_yes",
]  # fmt: skip
