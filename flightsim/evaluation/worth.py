"""What the stated probabilities are worth: reliability, Brier score and calibration error, before and after a fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration import Answers, brier, calibrate, expected_error, reliability_bins, write
from ..domain import Calibration
from ..errors import InputError
from ..evidence import calibrated
from ..protocols import PayloadBackend
from ..scenario.models import Scenario
from .scores import Table

CalibrationOf = Callable[[str], Calibration | None]
_TINY = 1e-9


def worth_of(table: Table, calibration_of: CalibrationOf) -> dict[str, Any]:
    """Reliability of the stated probabilities, as they are and calibrated, pooled and by schema.

    Notes
    -----
    A calibration was fitted where events have another base rate than among these questions. Its probability is
    carried over by the odds: odds x (base rate here / not) / (base rate there / not).
    """
    answers = table.answers
    known = ~np.isnan(answers.stated)
    answers = answers.where(known)
    schemas = table.truth.schemas
    fits = {schema: calibration_of(schema) for schema in schemas}
    sure = np.full(len(answers.true), np.nan)
    for column, schema in enumerate(schemas):
        mine, fitted = answers.schema == column, fits[schema]
        if fitted is not None and mine.any():
            sure[mine] = carried_over(fitted, answers.stated[mine], float(answers.true[mine].mean()))
    found: dict[str, Any] = {"stated": _worth(answers, answers.stated), "per_schema": {}}
    all_fitted = bool(len(sure)) and not np.isnan(sure).any()
    found["calibrated"] = _worth(answers, sure) if all_fitted else None
    for column, schema in enumerate(schemas):
        mine = answers.schema == column
        part = answers.where(mine)
        found["per_schema"][schema] = {
            "stated": _worth(part, part.stated),
            "calibrated": None if fits[schema] is None else _worth(part, sure[mine]),
        }
    found["sources"] = sorted({fitted.source for fitted in fits.values() if fitted is not None})
    if not all_fitted:
        found["reason"] = (
            "the payload has no calibration for every schema asked"
            if len(sure)
            else "no answer states how sure it is"
        )  # fmt: skip
    return found


def carried_over(fitted: Calibration, stated: NDArray[np.float64], base_rate: float) -> NDArray[np.float64]:
    """Calibrated probability of an event among questions with another base rate, in the shape of ``stated``. [-]"""
    seen = np.clip(calibrated(fitted, stated), _TINY, 1 - _TINY)
    here = np.clip(base_rate, _TINY, 1 - _TINY)
    odds = seen / (1 - seen) * (here / (1 - here)) / (fitted.base_rate / (1 - fitted.base_rate))
    return np.asarray(odds / (1 + odds))


def _worth(answers: Answers, probability: NDArray[np.float64]) -> dict[str, Any]:
    n = len(answers.true)
    if not n:
        return {"n": 0, "base_rate": None, "brier": None, "ece": None, "reliability": []}
    return {
        "n": n,
        "base_rate": float(answers.true.mean()),
        "brier": brier(probability, answers.true),
        "ece": expected_error(probability, answers.true),
        "reliability": reliability_bins(probability, answers.true),
    }


def own_calibration(payload: PayloadBackend) -> CalibrationOf:
    """The calibration that a payload carries; none where it has none."""
    own = getattr(payload, "calibration", None)
    return own if own is not None else lambda _: None


def fresh_calibration(
    scenario: Scenario, file: Path, blocks: int, region: str, scored: str
) -> tuple[CalibrationOf, dict[str, Any]]:
    """Fit a calibration on a region of the generated world, write it, and give it.

    Parameters
    ----------
    scored
        The region whose questions are scored.

    Raises
    ------
    InputError
        The two regions are not apart, or there is too little to fit.
    """
    if "any" in (region, scored) or region == scored:
        raise InputError(
            f"--calibrate fits on region '{region}' and the questions are of region '{scored}'; a calibration is "
            "scored on another region than it was fitted on: choose two of train, validation and test."
        )
    block = calibrate(scenario, blocks, region=region)
    write(file, block)
    pooled = _calibration(block, str(block["set"]))
    by_schema = {name: _calibration(part, str(block["set"])) for name, part in block["per_schema"].items()}
    return lambda schema: by_schema.get(schema, pooled), block


def _calibration(block: Mapping[str, Any], source: str) -> Calibration:
    return Calibration(
        source, block["n"], block["base_rate"], tuple(knot["confidence"] for knot in block["knots"]),
        tuple(knot["probability"] for knot in block["knots"]), block["event"], block["null"],
    )  # fmt: skip


__all__ = ["CalibrationOf", "carried_over", "fresh_calibration", "own_calibration", "worth_of"]
