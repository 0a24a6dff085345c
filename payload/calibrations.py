"""Calibrations as `flightsim perceive --calibrate` writes them, in a profile or in a file of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flightsim.domain import Calibration
from flightsim.errors import InputError

FORMAT = "flightsim-calibration/1"


class CalibrationBlock:
    """A fitted calibration, for the payload whose fingerprint it carries."""

    def __init__(self, block: Mapping[str, Any], where: str) -> None:
        if block.get("format") != FORMAT:
            raise InputError(
                f"{where} has a calibration of format {block.get('format')!r}; {FORMAT!r} is read: fit it anew with "
                "flightsim perceive SCENARIO --calibrate FILE."
            )
        try:
            self._pooled = _calibration(block, str(block["set"]))
            self._by_schema = {
                name: _calibration(part, str(block["set"])) for name, part in block["per_schema"].items()
            }
            self._thumbnail = {
                int(side): {schema: (float(row["tpr"]), float(row["fpr"])) for schema, row in rows.items()}
                for side, rows in block["products"]["thumbnail"].items()
            }
            self._tile = {
                schema: (float(row["tpr"]), float(row["fpr"])) for schema, row in block["products"]["tile"].items()
            }
            self.payload, self.source = str(block["payload"]), str(block["set"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"the calibration in {where} is damaged ({type(error).__name__}: {error}); fit it anew with "
                "flightsim perceive SCENARIO --calibrate FILE."
            ) from error

    def of(self, schema_id: str) -> Calibration:
        """The schema's own calibration, or the pooled one where there were too few answers for that."""
        return self._by_schema.get(schema_id, self._pooled)

    def tile_rates(self, schema_id: str) -> tuple[float, float] | None:
        """Measured true- and false-positive rate on whole tiles; None for a schema of which no event was seen. [-]"""
        return self._tile.get(schema_id)

    def thumbnail_rates(self, schema_id: str) -> dict[int, tuple[float, float]]:
        """Measured true- and false-positive rates on thumbnails by longer side [px]; empty for none. [-]

        A schema that could not be measured, because no such thumbnail was ever answered about an event, has the rates
        of a coin: its answers count for nothing.
        """
        return {side: rows.get(schema_id, (0.5, 0.5)) for side, rows in sorted(self._thumbnail.items())}


def read_block(path: Path, named: str) -> CalibrationBlock:
    """The calibration in a JSON file, under its key ``calibration``.

    Raises
    ------
    InputError
        There is no such file, or no calibration in it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"calibration '{named}' cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise InputError(f"calibration '{named}' is no JSON: {error}.") from error
    block = content.get("calibration") if isinstance(content, dict) else None
    if not isinstance(block, dict):
        raise InputError(f"'{named}' holds no calibration; flightsim perceive SCENARIO --calibrate {named} writes one.")
    return CalibrationBlock(block, f"'{named}'")


def _calibration(part: Mapping[str, Any], source: str) -> Calibration:
    stated = tuple(float(knot["confidence"]) for knot in part["knots"])
    observed = tuple(float(knot["probability"]) for knot in part["knots"])
    base, shares = float(part["base_rate"]), (float(part["event"]), float(part["null"]))
    if not stated or sorted(set(stated)) != list(stated) or sorted(observed) != list(observed):
        raise ValueError("the knots do not rise")
    if not all(0.0 < value < 1.0 for value in (base, *shares)) or not (observed[0] >= 0 and observed[-1] <= 1):
        raise ValueError("a probability is not between 0 and 1")
    return Calibration(source, int(part["n"]), base, stated, observed, *shares)
