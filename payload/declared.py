"""What a payload declares about itself: rates, calibration and seconds, from its profile or from a file of the user."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from flightsim.domain import Calibration
from flightsim.errors import InputError

from .calibrations import CalibrationBlock, read_block


class Declared:
    """Declared figures of a payload with certain settings.

    Parameters
    ----------
    name
        What messages call the payload.
    facts
        ``rates`` by schema (``tpr``, ``fpr``), ``calibration``, ``seconds_per_question`` and ``clock``; empty where
        nobody has measured these weights.
    fingerprint
        Of the payload as it is set; a calibration counts only for the one that it was fitted for.
    given
        File of ``flightsim perceive --calibrate`` that the scenario names, or None.
    folder
        What the file is relative to.
    why_not
        Why the facts of a model do not hold for these settings; empty where they do.
    """

    def __init__(
        self, name: str, facts: Mapping[str, Any], fingerprint: str, given: str | None, folder: Path, why_not: str = ""
    ) -> None:
        self._name, self._facts, self._fingerprint = name, facts, fingerprint
        self._given, self._folder, self._why_not = given, folder, why_not

    @cached_property
    def _stated(self) -> CalibrationBlock | None:
        if self._given is None:
            return None
        block = read_block(self._folder / self._given, self._given)
        if block.payload != self._fingerprint:
            raise InputError(
                f"payload.with.calibration '{self._given}' was fitted for {block.payload}; the payload is now "
                f"{self._fingerprint}: fit it anew with flightsim perceive SCENARIO --calibrate {self._given}."
            )
        return block

    @cached_property
    def _own(self) -> CalibrationBlock | None:
        if "calibration" not in self._facts:
            return None
        block = CalibrationBlock(self._facts["calibration"], f"the profile of '{self._name}'")
        return block if block.payload == self._fingerprint and not self._why_not else None

    @property
    def _calibration(self) -> CalibrationBlock | None:
        return self._stated or self._own

    @property
    def note(self) -> str:
        """What a report must say where the profile's calibration does not hold for these settings; else empty."""
        if "calibration" not in self._facts or self._calibration is not None:
            return ""
        return (
            f"payload '{self._name}' has other settings than its calibration was fitted for: its declared rates count"
        )

    def calibration(self, schema_id: str) -> Calibration | None:
        """What a stated confidence is worth; None without a calibration for these very settings."""
        return None if self._calibration is None else self._calibration.of(schema_id)

    def thumbnail_rates(self, schema_id: str) -> dict[int, tuple[float, float]]:
        """Measured true- and false-positive rates on decoded thumbnails, by longer side [px]. [-]"""
        return {} if self._calibration is None else self._calibration.thumbnail_rates(schema_id)

    def rates(self, schema_id: str) -> tuple[float, float]:
        """True- and false-positive rate of an EVENT verdict: of the user's file, else of the profile. [-]

        Raises
        ------
        InputError
            Nobody has measured them for this schema and these settings.
        """
        if self._stated is not None:
            measured = self._stated.tile_rates(schema_id)
            if measured is None:
                raise InputError(
                    f"the calibration '{self._given}' has no rates for schema '{schema_id}': its pairs held no such "
                    "event. Fit it on more pairs with flightsim perceive SCENARIO --calibrate FILE."
                )
            return measured
        known: Mapping[str, Any] = {} if self._why_not else self._facts.get("rates", {})
        if schema_id in known:
            return float(known[schema_id]["tpr"]), float(known[schema_id]["fpr"])
        has = f"it has {', '.join(known)}" if known else (self._why_not or "nobody has measured this model")
        raise InputError(
            f"payload '{self._name}' has no rates for schema '{schema_id}': {has}. Measure them with flightsim "
            "perceive SCENARIO --calibrate FILE and name the file as payload.with.calibration."
        )

    def seconds(self, stated: float | None) -> float:
        """Service time of one question: what the scenario states, else the profile's, else 0. [s]"""
        return stated if stated is not None else float(self._facts.get("seconds_per_question", 0.0))

    def clock(self, stated: float | None) -> str:
        """Whose seconds these are."""
        if stated is not None:
            return "the scenario's setting"
        return str(self._facts.get("clock", "nobody's: no seconds were measured or stated"))


__all__ = ["Declared"]
