"""A payload that measures: the quality gate, then one rule per question on the bands at hand. No model needed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flightsim.domain import (
    Calibration,
    TilePair,
    TruthTable,
    UnclassifiableReason,
    Verdict,
    VerdictStatus,
)
from flightsim.errors import InputError
from flightsim.protocols import PluginConfig

from . import indices
from .calibrations import CalibrationBlock, read_block
from .indices import View
from .prefilter import Gate, GateConfig, gate
from .rules import RULES
from .scene import Finding, RuleConfig, Scene

_PROFILE = Path(__file__).parent / "profiles" / "spectral.json"
#: Modules that an answer depends on; their text is part of the fingerprint, so stored verdicts never outlive a rule.
_RULES = ("indices.py", "prefilter.py", "rules.py", "scene.py", "spectral.py")
#: Verdicts whose reason says that there was nothing to decide from carry the confidence of a coin.
_NO_EVIDENCE = 0.5


@cache
def _code_digest() -> str:
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in _RULES)).hexdigest()


class Spectral:
    """Spectral and texture indices with thresholds from the literature, and a quality gate before them.

    Notes
    -----
    Every schema of a pair that the gate refuses is UNCLASSIFIABLE with the gate's reason. A question that the bands
    at hand cannot answer is NULL with reason ``bands`` and confidence 0.5; a pair without a reference picture is
    NULL with reason ``no_reference`` and confidence 0.5.
    The confidence of an event is s^k / (1 + s^k), with s the strength (the least ratio of a measured quantity to its
    limit) and k ``confidence_slope``: the logistic function of k ln s, at most 0.99. For NULL it is one less that.
    It orders answers; what it is worth as a probability is the calibration's to say.
    """

    class Config(PluginConfig):
        """Limits of the gate and of the rules."""

        gate: GateConfig = GateConfig()
        """Limits of the quality gate."""
        rules: RuleConfig = RuleConfig()
        """Limits of the rules."""
        confidence_slope: Annotated[float, Field(gt=0, le=20)] = 2.0
        """How steeply the confidence follows the strength. [-]"""
        seconds_per_question: Annotated[float, Field(ge=0)] | None = None
        """Service time of one question. [s] Default: the profile's."""
        calibration: str | None = None
        """File of ``flightsim perceive --calibrate``, relative to the scenario. Default: the profile's, if it fits."""

    needs_truth: ClassVar[bool] = False
    needs_pixels: ClassVar[bool] = True

    def __init__(self, config: Config, base_folder: Path = Path(".")) -> None:
        self._config, self._folder = config, base_folder
        self._last: tuple[tuple[str, str], tuple[View, View, Gate]] | None = None

    def open(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to let go."""

    @cached_property
    def _profile(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(_PROFILE.read_text(encoding="utf-8"))
        return loaded

    @property
    def fingerprint(self) -> str:
        """Digest of code and settings; declared rates, calibration and seconds change no answer."""
        text = self._config.model_dump_json(exclude={"seconds_per_question", "calibration"}) + _code_digest()
        return f"spectral/{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def seconds_per_question(self) -> float:
        """Stated or declared time of one question. [s]"""
        given = self._config.seconds_per_question
        return given if given is not None else float(self._profile["seconds_per_question"])

    @property
    def clock(self) -> str:
        """Whose seconds these are."""
        stated = self._config.seconds_per_question is not None
        return "the scenario's setting" if stated else str(self._profile["clock"])

    def rates(self, schema_id: str) -> tuple[float, float]:
        """Declared true- and false-positive rate of an EVENT verdict, measured as the profile says. [-]

        Raises
        ------
        InputError
            The profile has no rates for the schema.
        """
        declared = self._profile["rates"].get(schema_id)
        if declared is None:
            raise InputError(
                f"payload 'spectral' has no rates for schema '{schema_id}'; it has {', '.join(self._profile['rates'])}."
            )
        return float(declared["tpr"]), float(declared["fpr"])

    @cached_property
    def _calibration(self) -> CalibrationBlock | None:
        given = self._config.calibration
        if given is not None:
            block = read_block(self._folder / given, given)
            if block.payload != self.fingerprint:
                raise InputError(
                    f"payload.with.calibration '{given}' was fitted for {block.payload}; the payload is now "
                    f"{self.fingerprint}: fit it anew with flightsim perceive SCENARIO --calibrate {given}."
                )
            return block
        if "calibration" not in self._profile:
            return None
        block = CalibrationBlock(self._profile["calibration"], "the profile of 'spectral'")
        return block if block.payload == self.fingerprint else None

    @property
    def calibration_note(self) -> str:
        """What a report must say where the profile's calibration does not hold for these settings; else empty."""
        if "calibration" not in self._profile or self._calibration is not None:
            return ""
        return "payload 'spectral' has other settings than its calibration was fitted for: its declared rates count"

    def calibration(self, schema_id: str) -> Calibration | None:
        """What a stated confidence is worth; None without a calibration for these very settings."""
        return None if self._calibration is None else self._calibration.of(schema_id)

    def thumbnail_rates(self, schema_id: str) -> dict[int, tuple[float, float]]:
        """Measured true- and false-positive rates on decoded thumbnails, by longer side [px]. [-]"""
        return {} if self._calibration is None else self._calibration.thumbnail_rates(schema_id)

    def assess_many(
        self,
        pairs: Sequence[TilePair],
        schemas: Sequence[str],
        *,
        truth: TruthTable | None = None,
        keys: NDArray[np.uint64] | None = None,
        seed: int = 0,
    ) -> list[Verdict]:
        """Verdicts pair by pair, schema by schema.

        Raises
        ------
        InputError
            A tile has no pixels, or a schema has no rule.
        """
        for schema in schemas:
            if schema not in RULES:
                raise InputError(f"payload 'spectral' has no rule for schema '{schema}'; it has {', '.join(RULES)}.")
        return [verdict for pair in pairs for verdict in self._assess(pair, schemas)]

    def cloud_fraction(self, pair: TilePair) -> float | None:
        """Cloud cover of the new picture as the quality gate sees it; None without two pictures of one size. [-]"""
        if pair.before is None or pair.before.image is None or pair.after.image is None:
            return None
        if pair.before.image.shape[1:] != pair.after.image.shape[1:]:
            return None
        return self._gated(pair)[2].cloud_after

    def _gated(self, pair: TilePair) -> tuple[View, View, Gate]:
        """Both pictures and what the gate says of them; the last pair's are kept, for it is asked twice in a row."""
        assert pair.before is not None
        assert pair.before.image is not None
        assert pair.after.image is not None
        key = (pair.before.image.digest(), pair.after.image.digest())
        if self._last is None or self._last[0] != key:
            before, after = View.of(pair.before.image), View.of(pair.after.image)
            self._last = (key, (before, after, gate(before, after, self._config.gate)))
        return self._last[1]

    def _assess(self, pair: TilePair, schemas: Sequence[str]) -> list[Verdict]:
        tile = pair.after.id
        if pair.after.image is None:
            raise InputError(f"payload 'spectral' looks at pixels; tile '{tile}' has none.")
        if pair.before is None or pair.before.image is None:
            return [self._null(tile, schema, "no_reference", _NO_EVIDENCE) for schema in schemas]
        if pair.before.image.shape[1:] != pair.after.image.shape[1:]:
            return self._refused(tile, schemas, UnclassifiableReason.MISREGISTERED)
        before, after, seen = self._gated(pair)
        if seen.reason is not None:
            return self._refused(tile, schemas, seen.reason)
        scene = Scene(before, after, seen.valid, self._config.rules)
        return [self._answer(pair, schema, scene) for schema in schemas]

    def _answer(self, pair: TilePair, schema: str, scene: Scene) -> Verdict:
        tile = pair.after.id
        found = RULES[schema](scene)
        if found is None:
            return self._null(tile, schema, "bands", _NO_EVIDENCE)
        probability = self._probability(found.strength)
        if found.strength < 1 or not found.mask.any():
            return self._null(tile, schema, "", round(1 - probability, 3))
        body = _body(found, scene, pair.after.gsd_m)
        return Verdict(tile, schema, VerdictStatus.EVENT, body, round(probability, 3), self._name)

    @property
    def _name(self) -> str:
        return "spectral"

    def _probability(self, strength: float) -> float:
        power = min(max(strength, 1e-3), 1e3) ** self._config.confidence_slope
        return float(min(power / (1 + power), 0.99))

    def _null(self, tile: str, schema: str, reason: str, confidence: float) -> Verdict:
        return Verdict(tile, schema, VerdictStatus.NULL, None, min(confidence, 0.99), self._name, reason)

    def _refused(self, tile: str, schemas: Sequence[str], reason: UnclassifiableReason) -> list[Verdict]:
        return [
            Verdict(tile, schema, VerdictStatus.UNCLASSIFIABLE, None, None, self._name, str(reason))
            for schema in schemas
        ]


def _body(found: Finding, scene: Scene, gsd_m: float) -> dict[str, Any]:
    """The fields of an event, as the schema files ask for them."""
    body: dict[str, Any] = {
        "direction": found.direction,
        "severity": found.severity,
        "fraction_of_tile": round(scene.share(found.mask), 4),
    }
    if gsd_m > 0 and math.isfinite(gsd_m):
        body["changed_area_ha"] = round(float(np.count_nonzero(found.mask)) * gsd_m**2 / 1e4, 2)
    body["where"] = indices.cell_of(found.mask)
    body["box"] = list(indices.corners_of(found.mask))
    return {**body, **found.fields}
