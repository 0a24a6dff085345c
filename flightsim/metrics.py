"""Bytes saved against F1 retained: the metrics of one run, under the names of ``metrics.json``.

Everything is computed from the record after the run. A value that is undefined, or that one run cannot give, is
None, and ``reasons`` says why under the value's path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import causes, rng
from .belief import DeclaredReader, make_reader, reader_draws
from .domain import Action, TerminalState
from .errors import ConservationError
from .evidence import Eye
from .power_report import power_values
from .quality import (
    Ground,
    GroundBeliefs,
    Sheet,
    ground_beliefs,
    latency_values,
    no_vlm_values,
    quality_values,
    reweighted_f1,
    score_yes,
)
from .recorder import ACTIONS, STATES, RunRecord
from .references import Reference, References, ReferenceSizes
from .resampling import MIN_POSITIVE_CLUSTERS, RESAMPLES, Interval, bootstrap, cluster_sums
from .sharing import shares_values

if TYPE_CHECKING:
    from .scenario.models import Use

#: Two-sided 5 %, power 80 %: how many standard errors a difference must be wide to be found.
_DETECTABLE_ERRORS = 1.959964 + 0.841621


def compute_metrics(
    record: RunRecord,
    sizes: ReferenceSizes,
    rates: Mapping[str, tuple[float, float]],
    reader_use: Use,
    seed: int,
    **options: Any,
) -> dict[str, Any]:
    """The metrics of a run with a reader of declared rates, ready for JSON.

    Parameters
    ----------
    rates
        Declared true- and false-positive rate of an EVENT verdict, by schema. [-]
    reader_use
        The scenario's ``evaluation.reader``.
    options
        As for ``evaluate``.

    Raises
    ------
    InputError
        The reader has no declared rates, or its settings are refused.
    """
    reader = make_reader(reader_use.use, reader_use.with_)
    draws = reader_draws(record.plan, record.truth.schemas, seed)
    ground = Ground(Eye(rates), DeclaredReader(reader, record.truth, draws))
    return evaluate(record, sizes, ground, seed, **options)[0]


def evaluate(
    record: RunRecord,
    sizes: ReferenceSizes,
    ground: Ground,
    seed: int,
    *,
    base_rate: float | None = None,
    costs: Mapping[str, float] | None = None,
    needs_truth: bool = False,
) -> tuple[dict[str, Any], GroundBeliefs]:
    """The metrics of a run, ready for JSON, and what the ground believed.

    Parameters
    ----------
    sizes
        What each tile costs without a verdict, for the references.
    ground
        What is known of the eye on board, and who reads the pictures.
    base_rate
        Prevalence to re-weight F1 to. [-]
    costs
        Minutes of an analyst's time for a ``miss``, a ``false_alarm``, and ``review_minutes`` of one product.
    needs_truth
        Whether the payload answered from the world's truth.

    Raises
    ------
    InputError
        The reader cannot read a product that arrived.
    ConservationError
        A tile has no terminal state.
    """
    references = References(record, sizes)
    bent_pipe, bent_pipe_air = references.tiles_windows()
    unlimited = references.tiles_unlimited()
    beliefs = ground_beliefs(record, ground, bent_pipe)
    sheet = Sheet()
    bytes_ = _bytes(record, references, unlimited, bent_pipe, beliefs, sheet)
    quality = quality_values(record, beliefs, sheet)
    quality["no_vlm"] = no_vlm_values(references, ground.reader, seed, bytes_, quality, sheet)
    quality["ground"]["f1_at_base_rate"] = None if base_rate is None else reweighted_f1(quality["ground"], base_rate)
    if quality["ground"]["f1_at_base_rate"] is None:
        why = "evaluation.base_rate is not set" if base_rate is None else "recall or false-positive rate is undefined"
        sheet.absent("quality.ground.f1_at_base_rate", why)
    _intervals(record, beliefs, bent_pipe_air, seed, bytes_, quality, sheet)
    values = {
        "population": _population(record, sheet),
        "bytes": bytes_,
        "quality": quality,
        "latency_s": latency_values(record, beliefs, bent_pipe, quality, sheet),
        "stages": _stages(record),
        "funnel": _funnel(record, beliefs),
        "contacts": {
            "passes": len(record.contacts),
            "booked": sum(window.booked for window in record.contacts),
            "used": int(np.count_nonzero(record.contact_air_bytes)),
            **record.operations,
            **shares_values(record.sharing),
        },
        "references": {
            "bent_pipe_windows": {
                "tiles_delivered": int(np.count_nonzero(bent_pipe.delivered)),
                "tiles_dropped_full": int(np.count_nonzero(bent_pipe.dropped)),
            }
        },
        "utility": _utility(record, beliefs, dict(costs or {}), sheet),
        **causes.count_record(record, beliefs.policy.yes),  # misses, false_alarms
        "compute_s": float(record.compute_s.sum()),
        "energy_j": float(record.energy_j),
        "reader": ground.reader.as_dict(),
        "calibration": {
            schema: {
                "source": found.source,
                "n": found.n,
                "base_rate": found.base_rate,
                "knots": [
                    {"confidence": stated, "probability": observed}
                    for stated, observed in zip(found.stated, found.observed, strict=True)
                ],
            }
            for schema, found in sorted(ground.eye.calibrations.items())
        },
        "payload_needs_truth": bool(needs_truth),
        **({"power": power_values(record.power)} if record.power else {}),
    }
    values["reasons"] = dict(sorted(sheet.reasons.items()))
    return values, beliefs


def _population(record: RunRecord, sheet: Sheet) -> dict[str, Any]:
    truth = record.truth
    positive = truth.changed & truth.labelled
    questions = int(np.count_nonzero(truth.labelled))
    return {
        "tiles": len(record.plan),
        "questions": questions,
        "unlabelled": int(truth.labelled.size) - questions,
        "positives": int(np.count_nonzero(positive)),
        "clusters": len(np.unique(truth.cluster)),
        "positive_clusters": len(np.unique(truth.cluster[positive.any(axis=1)])),
        "prevalence": sheet.ratio(
            "population.prevalence", float(np.count_nonzero(positive)), questions, "no question has a label"
        ),
    }


def _bytes(
    record: RunRecord,
    references: References,
    unlimited: Reference,
    bent_pipe: Reference,
    ground: GroundBeliefs,
    sheet: Sheet,
) -> dict[str, Any]:
    air = int(record.contact_air_bytes.sum())
    with np.errstate(invalid="ignore"):
        complete = record.delivered_s <= record.horizon_s  # late or not, it lies on the ground
    product = np.where(complete, record.product_bytes, 0)
    delivered = sum(item.size_bytes for item in record.items if record.outcomes.get(item.id) == "delivered")
    positive = (record.truth.changed & record.truth.labelled).any(axis=1)
    capacity = references.capacity_air_bytes
    true_events = score_yes(record, ground.policy.yes).tp
    no_pass = "no booked contact can carry a frame, so the bent pipe sends nothing either"
    nothing_sent = "the bent pipe sends nothing on these captures and passes" if capacity else no_pass
    volume = sheet.ratio("bytes.volume_ratio", bent_pipe.air_bytes, air, "nothing was sent")
    saved = sheet.ratio("bytes.saved_fraction", bent_pipe.air_bytes - air, bent_pipe.air_bytes, nothing_sent)
    density = sheet.ratio(
        "bytes.value_density", int(product[positive].sum()), int(product.sum()), "nothing was delivered"
    )
    share = float(np.count_nonzero(positive)) / max(1, len(record.plan))
    by_kind = {
        str(action): float(record.air_bytes[record.action == code].sum())
        for code, action in enumerate(ACTIONS)
        if np.any(record.air_bytes[record.action == code] > 0)
    }
    return {
        "air": air,
        "delivered": delivered,
        "waste": air - delivered,
        "retransmitted": record.retransmitted_bytes,
        "lost": record.lost_bytes,
        "return_link": int(record.return_bytes),
        "uplink": int(record.uplink_bytes),
        "uplink_used": sheet.ratio(
            "bytes.uplink_used",
            record.uplink_bytes + record.return_bytes,
            sum(w.grid_s[-1] - w.grid_s[0] for w in record.contacts if w.booked) * record.uplink_rate_bps / 8.0,
            "no booked contact has time to send anything up",
        ),
        "capacity": capacity,
        "bent_pipe_unlimited": unlimited.air_bytes,
        "bent_pipe_windows": bent_pipe.air_bytes,
        "saved_fraction": saved,
        "volume_ratio": volume,
        "per_true_event": sheet.ratio("bytes.per_true_event", air, true_events, "no true event reached the ground"),
        "load": sheet.ratio("bytes.load", unlimited.air_bytes, capacity, no_pass),
        "capacity_used": sheet.ratio("bytes.capacity_used", air, capacity, no_pass),
        "by_kind": by_kind,
        "value_density": density,
        "positive_tile_share": share,
        "lift": sheet.ratio("bytes.lift", density, share, "nothing was delivered, or no tile shows an event"),
    }


def _intervals(
    record: RunRecord,
    ground: GroundBeliefs,
    bent_pipe_air: NDArray[np.float64],
    seed: int,
    bytes_: dict[str, Any],
    quality: dict[str, Any],
    sheet: Sheet,
) -> None:
    """Intervals from clusters resampled together for the policy and its references.

    A resample keeps each tile's fate; it does not fly the run again.
    """
    truth = record.truth
    positive = truth.changed & truth.labelled
    clusters = len(np.unique(truth.cluster[positive.any(axis=1)]))
    places = {
        "saved_fraction": (bytes_, "bytes"),
        "f1": (quality["ground"], "quality.ground"),
        "f1_retained": (quality, "quality"),
        "f1_gain": (quality, "quality"),
    }
    for holder, _ in places.values():
        holder["ci95"] = {}
    quality["smallest_detectable_f1_difference"] = None
    if clusters < MIN_POSITIVE_CLUSTERS:
        why = (
            f"only {clusters} clusters hold a positive; an interval needs {MIN_POSITIVE_CLUSTERS} "
            "(the Wilson intervals of precision and recall take tiles as independent)"
        )
        for name, (holder, path) in places.items():
            holder["ci95"][name] = None
            sheet.absent(f"{path}.ci95.{name}", why)
        sheet.absent("quality.smallest_detectable_f1_difference", why)
        return
    columns = [record.air_bytes, bent_pipe_air]
    negative = ~truth.changed & truth.labelled
    for belief in (ground.policy, ground.windows, ground.unlimited):
        for part in (positive & belief.yes, negative & belief.yes, positive & ~belief.yes):
            columns.append(part.sum(axis=1).astype(float))

    def f1(x: NDArray[np.float64], at: int) -> NDArray[np.float64]:
        return np.asarray(2 * x[:, at] / (2 * x[:, at] + x[:, at + 1] + x[:, at + 2]))

    with np.errstate(divide="ignore", invalid="ignore"):
        found = bootstrap(
            cluster_sums(np.stack(columns, axis=1), truth.cluster),
            {
                "saved_fraction": lambda x: 1.0 - x[:, 0] / x[:, 1],
                "f1": lambda x: f1(x, 2),
                "f1_retained": lambda x: f1(x, 2) / f1(x, 8),
                "f1_gain": lambda x: f1(x, 2) - f1(x, 5),
            },
            rng.stream(seed, "bootstrap"),
            RESAMPLES,
        )
    if 0 < 0.99 * bytes_["capacity"] < min(bytes_["air"], bytes_["bent_pipe_windows"]):
        why = "the run and the bent pipe both fill the link: its capacity sets the bytes, not the sample of clusters"
        found["saved_fraction"] = Interval(None, None, reason=why)
    for name, interval in found.items():
        holder, path = places[name]
        holder["ci95"][name] = interval.as_list()
        if interval.as_list() is None:
            sheet.absent(f"{path}.ci95.{name}", interval.reason)
    error = found["f1_gain"].standard_error
    if error is None:
        sheet.absent("quality.smallest_detectable_f1_difference", found["f1_gain"].reason)
    else:
        quality["smallest_detectable_f1_difference"] = _DETECTABLE_ERRORS * error


def _stages(record: RunRecord) -> dict[str, int]:
    counts = {str(state): int(np.count_nonzero(record.state == code)) for code, state in enumerate(STATES)}
    if sum(counts.values()) != len(record.plan):
        raise ConservationError(
            f"{sum(counts.values())} of {len(record.plan)} tiles have a terminal state. "
            "This is a defect of flightsim; please report the scenario."
        )
    return counts


def _funnel(record: RunRecord, ground: GroundBeliefs) -> dict[str, int]:
    """Tiles that came so far, each step a subset of the one before."""
    decided = record.action >= 0
    lost = (record.looks == 0) | ((record.state == STATES.index(TerminalState.DROPPED_FULL)) & ~decided)
    # A tile whose second look was lost ends with the wish for it: decided, and nothing sent.
    sent = decided & ~np.isin(record.action, [ACTIONS.index(Action.NOTHING), ACTIONS.index(Action.REIMAGE)])
    right = (ground.policy.yes & record.truth.changed & record.truth.labelled).any(axis=1)
    steps = {
        "planned": np.ones(len(lost), dtype=bool),
        "captured": ~lost,
        "processed": decided,
        "sent": sent,
        "delivered_in_time": sent & ground.delivered,
        "true_positive": sent & ground.delivered & right,
    }
    return {name: int(np.count_nonzero(step)) for name, step in steps.items()}


def _utility(record: RunRecord, ground: GroundBeliefs, costs: Mapping[str, float], sheet: Sheet) -> dict[str, Any]:
    pictures = [ACTIONS.index(a) for a in (Action.THUMBNAIL, Action.CROP, Action.MASK, Action.TILE)]
    reviewed = int(np.count_nonzero(ground.delivered & np.isin(record.action, pictures)))
    counts = score_yes(record, ground.policy.yes)
    values: dict[str, Any] = {"misses": counts.fn, "false_alarms": counts.fp, "reviewed_products": reviewed}
    if not costs:
        sheet.absent("utility.cost_minutes", "evaluation.costs is not set")
        return values | {"cost_minutes": None}
    weights = (costs.get("miss", 0.0), costs.get("false_alarm", 0.0), costs.get("review_minutes", 0.0))
    return values | {"cost_minutes": float(np.dot(weights, (counts.fn, counts.fp, reviewed)))}


__all__ = ["compute_metrics", "evaluate"]
