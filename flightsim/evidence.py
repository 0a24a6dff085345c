"""What an eye's answers are worth: log likelihood ratios of an event, from declared rates or a calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .domain import Calibration, Verdict, VerdictStatus
from .recorder import STATUSES

#: Declared rates are kept so far off 0 and 1 in the fusion, so that one wrong certainty cannot outweigh all else.
_RATE_MARGIN = 1e-6
_EVENT, _NULL = STATUSES.index(VerdictStatus.EVENT), STATUSES.index(VerdictStatus.NULL)


def answer_evidence(
    sensitivity: NDArray[np.float64], specificity: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log likelihood ratios of a yes and of a no, in the shape of the rates. [-]"""
    return _log_ratio(sensitivity, 1.0 - specificity), _log_ratio(1.0 - sensitivity, specificity)


@dataclass(frozen=True)
class Eye:
    """What the ground knows of the payload that made the verdicts, by schema.

    ``rates`` are the declared true- and false-positive rates of an EVENT verdict. [-] A schema without a calibration
    is judged by them alone.
    """

    rates: Mapping[str, tuple[float, float]]
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)


def verdict_evidence(
    status: NDArray[np.int8],
    schemas: tuple[str, ...],
    eye: Eye,
    confidence: NDArray[np.floating[Any]] | None = None,
    *,
    of_nulls: bool = False,
) -> NDArray[np.float64]:
    """Log likelihood ratio of the verdicts, shape (n, s). [-]

    Parameters
    ----------
    status
        Index into ``STATUSES``, shape (n, s); -1 for what was not asked.
    confidence
        That of the answer given, shape (n, s), NaN for none. [-]
    of_nulls
        Whether the confidence of a NULL is known; on the wire it is not.

    Notes
    -----
    By rates, EVENT brings tpr/fpr and NULL (1-tpr)/(1-fpr). By a calibration, an answer brings the odds of the
    probability that was observed where this one was stated, over the odds of the calibration's base rate: what the
    set's own prevalence put into the probability is taken out again. UNCLASSIFIABLE, INVALID and what was never asked
    bring nothing.
    """
    answer = np.zeros(status.shape)
    unknown = np.full(status.shape, np.nan) if confidence is None else np.asarray(confidence, dtype=np.float64)
    for column, schema in enumerate(schemas):
        event, null = status[:, column] == _EVENT, status[:, column] == _NULL
        stated = unknown[:, column]
        calibration = eye.calibrations.get(schema)
        if calibration is None:
            tpr, fpr = eye.rates[schema]
            of_event, of_null = answer_evidence(np.array(tpr), np.array(1.0 - fpr))
            answer[event, column], answer[null, column] = of_event, of_null
            continue
        seen = calibrated(calibration, np.where(null, 1.0 - stated, stated))
        unsaid = np.isnan(stated) | (null & (not of_nulls))
        seen = np.where(unsaid, np.where(null, calibration.null, calibration.event), seen)
        base = np.array(calibration.base_rate)
        ratio = _log_ratio(seen, 1.0 - seen) - _log_ratio(base, 1.0 - base)
        answer[:, column] = np.where(event | null, ratio, 0.0)
    return answer


class Worth:
    """What single verdicts are worth by an eye's profile, as a spacecraft sees them.

    Called with a verdict, it gives ``verdict_evidence`` of it. [-] Answers are kept: few differ.
    """

    def __init__(self, eye: Eye) -> None:
        self._eye = eye
        self._known: dict[tuple[str, VerdictStatus, float | None], float] = {}

    def __call__(self, verdict: Verdict) -> float:
        """Log likelihood ratio of an event that a verdict brings. [-]"""
        key = (verdict.schema_id, verdict.status, verdict.confidence)
        if key not in self._known:
            status = np.array([[STATUSES.index(verdict.status)]], dtype=np.int8)
            stated = np.array([[np.nan if verdict.confidence is None else verdict.confidence]])
            found = verdict_evidence(status, (verdict.schema_id,), self._eye, stated, of_nulls=True)
            self._known[key] = float(found[0, 0])
        return self._known[key]


def calibrated(calibration: Calibration, stated: NDArray[np.float64]) -> NDArray[np.float64]:
    """Observed probability of an event where so much was stated, in the same shape; NaN stays NaN. [-]"""
    return np.asarray(np.interp(stated, calibration.stated, calibration.observed))


def _log_ratio(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = _RATE_MARGIN, 1.0 - _RATE_MARGIN
    return np.asarray(np.log(np.clip(top, low, high)) - np.log(np.clip(bottom, low, high)))
