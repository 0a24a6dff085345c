"""A payload made of published error rates: it answers from the truth, wrong as often as the model was.

It needs no weights, so orbit, link and policy can be studied with the quality of a model that is not at hand.
It declares ``needs_truth``, and every report says so.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from flightsim.domain import Calibration, TilePair, TruthTable, UnclassifiableReason, Verdict, VerdictStatus
from flightsim.errors import InputError
from flightsim.protocols import PluginConfig
from flightsim.rng import uniform_at

from .calibrations import CalibrationBlock, read_block

Rate = Annotated[float, Field(ge=0, le=1)]
_PROFILES = Path(__file__).parent / "profiles"


class Confusion:
    """Verdicts drawn with per-schema true- and false-positive rates, keyed by tile and schema.

    Notes
    -----
    Scores follow an equal-variance binormal model (Green and Swets, 1966): z ~ N(d', 1) for a change, N(0, 1)
    without; EVENT where z passes the threshold that gives the stated rates. The confidence is the posterior of z at
    the profile's own prevalence, so it is calibrated there. Published rates fix one point of the curve; its shape
    is an assumption. A tile hidden by cloud that the gate lets pass is answered as if nothing had changed.
    """

    class Config(PluginConfig):
        """Either a profile, or tpr and fpr for every schema."""

        profile: str | None = None
        """Published figures: liquid_space, deforestation."""
        tpr: Rate | None = None
        """True-positive rate of every schema. [-]"""
        fpr: Rate | None = None
        """False-positive rate of every schema. [-]"""
        parse_failure: Rate | None = None
        """Share of answers that cannot be parsed. [-] Default: the profile's, else 0."""
        gate_cloud_fraction: Rate = 0.6
        """Estimated cloud cover above which the quality gate answers "unclassifiable". [-]"""
        seconds_per_question: Annotated[float, Field(ge=0)] | None = None
        """Service time of one question. [s] Default: the profile's, else 0."""
        calibration: str | None = None
        """File of ``flightsim perceive --calibrate``, relative to the scenario. Default: none, the rates count."""

        @model_validator(mode="before")
        @classmethod
        def _default_profile(cls, value: Any) -> Any:
            if isinstance(value, dict) and not {"profile", "tpr", "fpr"} & value.keys():
                return {**value, "profile": "liquid_space"}
            return value

        @model_validator(mode="after")
        def _one_source(self) -> Confusion.Config:
            if (self.tpr is None) != (self.fpr is None):
                raise ValueError("tpr and fpr go together")
            if self.profile is not None and self.tpr is not None:
                raise ValueError("give a profile, or tpr and fpr, not both")
            return self

        @model_validator(mode="after")
        def _known_profile(self) -> Confusion.Config:
            known = profile_names()
            if self.profile is not None and self.profile not in known:
                near = difflib.get_close_matches(self.profile, known, 1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise ValueError(f"unknown profile '{self.profile}'; allowed are {', '.join(known)}{hint}")
            return self

    needs_truth: ClassVar[bool] = True
    needs_pixels: ClassVar[bool] = False

    def __init__(self, config: Config, base_folder: Path = Path(".")) -> None:
        self._config, self._folder = config, base_folder
        profile = self._config.profile
        self._profile: dict[str, Any] = (
            json.loads((_PROFILES / f"{profile}.json").read_text(encoding="utf-8")) if profile else {}
        )
        given = self._config.parse_failure
        self._parse_failure = float(given if given is not None else self._profile.get("parse_failure", 0.0))
        self._name = f"confusion/{profile or 'rates'}"
        self._calibration: CalibrationBlock | None = None

    def open(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to let go."""

    @property
    def fingerprint(self) -> str:
        """Digest of settings and profile."""
        text = self._config.model_dump_json(exclude={"calibration"}) + json.dumps(self._profile, sort_keys=True)
        return f"{self._name}/{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def seconds_per_question(self) -> float:
        """Published or stated time of one question. [s]"""
        if self._config.seconds_per_question is not None:
            return self._config.seconds_per_question
        return float(self._profile.get("seconds_per_question", 0.0))

    @property
    def clock(self) -> str:
        """Whose seconds these are."""
        return str(self._profile.get("clock", "the scenario's setting"))

    def rates(self, schema_id: str) -> tuple[float, float]:
        """True- and false-positive rate of an EVENT verdict, parse failures included. [-]

        Raises
        ------
        InputError
            The profile has no figures for the schema.
        """
        if self._config.tpr is not None and self._config.fpr is not None:
            return self._config.tpr, self._config.fpr
        counts = self._profile["counts"].get(schema_id)
        if counts is None:
            raise InputError(
                f"payload profile '{self._config.profile}' has no figures for schema '{schema_id}'; "
                f"it has {', '.join(sorted(self._profile['counts']))}: set payload.schemas to these."
            )
        return counts["tp"] / (counts["tp"] + counts["fn"]), counts["fp"] / (counts["fp"] + counts["tn"])

    def calibration(self, schema_id: str) -> Calibration | None:
        """What a stated confidence is worth, from the file that the settings name. Published figures have none.

        Raises
        ------
        InputError
            There is no such file, or it was fitted for other settings.
        """
        given = self._config.calibration
        if given is None:
            return None
        if self._calibration is None:
            block = read_block(self._folder / given, given)
            if block.payload != self.fingerprint:
                raise InputError(
                    f"payload.with.calibration '{given}' was fitted for {block.payload}; the payload is now "
                    f"{self.fingerprint}: fit it anew with flightsim perceive SCENARIO --calibrate {given}."
                )
            self._calibration = block
        return self._calibration.of(schema_id)

    def assess_many(
        self,
        pairs: Sequence[TilePair],
        schemas: Sequence[str],
        *,
        truth: TruthTable | None = None,
        keys: NDArray[np.uint64] | None = None,
        seed: int = 0,
    ) -> list[Verdict]:
        """Verdicts pair by pair, schema by schema."""
        if truth is None or keys is None:
            raise InputError("payload 'confusion' answers from truth; these scenes carry none. Use another payload.")
        n, s = len(pairs), len(schemas)
        event = np.zeros((n, s), dtype=bool)
        invalid = np.zeros((n, s), dtype=bool)
        confidence = np.zeros((n, s))
        for j, schema in enumerate(schemas):
            positive = truth.changed[:, truth.schemas.index(schema)] & truth.visible
            tpr, fpr = self.rates(schema)
            uniform = uniform_at(seed, f"confusion/{schema}", keys)
            event[:, j] = uniform < np.where(positive, tpr, fpr)
            confidence[:, j] = self._probability(uniform, positive, schema)
            invalid[:, j] = uniform_at(seed, f"confusion/{schema}/parse", keys) < self._parse_failure
        rounded = np.round(np.where(event, confidence, 1.0 - confidence), 3).tolist()
        answers: list[Verdict] = []
        gate, cloud = self._config.gate_cloud_fraction, UnclassifiableReason.CLOUD
        event_rows, invalid_rows = event.tolist(), invalid.tolist()
        tokens = int(self._profile.get("tokens", 0))
        for i, pair in enumerate(pairs):
            tile = pair.after.id
            cloudy = pair.after.cloud_fraction is not None and pair.after.cloud_fraction > gate
            for j, schema in enumerate(schemas):
                if cloudy:
                    answers.append(Verdict(tile, schema, VerdictStatus.UNCLASSIFIABLE, None, None, self._name, cloud))
                elif invalid_rows[i][j]:
                    answers.append(
                        Verdict(tile, schema, VerdictStatus.INVALID, None, None, self._name, "parse failure", tokens)
                    )
                elif event_rows[i][j]:
                    answers.append(
                        Verdict(tile, schema, VerdictStatus.EVENT, {}, rounded[i][j], self._name, "", tokens)
                    )
                else:
                    answers.append(Verdict(tile, schema, VerdictStatus.NULL, None, rounded[i][j], self._name, "", 2))
        return answers

    def _probability(
        self, uniform: NDArray[np.float64], positive: NDArray[np.bool_], schema: str
    ) -> NDArray[np.float64]:
        """Probability of an event given the score, at the profile's prevalence, shape (n,). [-]"""
        from scipy.special import expit, logit, ndtri

        tpr, fpr = self._smoothed(schema)
        separation = ndtri(tpr) - ndtri(fpr)
        # The score's upper-tail probability is the uniform number of its own class.
        score = ndtri(1.0 - np.clip(uniform, 1e-9, 1 - 1e-9)) + np.where(positive, separation, 0.0)
        prevalence = float(self._profile.get("published_prevalence", 0.5))
        return np.asarray(expit(logit(prevalence) + separation * score - 0.5 * separation**2))

    def _smoothed(self, schema: str) -> tuple[float, float]:
        """Rates kept off 0 and 1 by half a count, for the shape of the scores only. [-]"""
        tpr, fpr = self.rates(schema)
        counts = self._profile.get("counts", {}).get(schema)
        positives = counts["tp"] + counts["fn"] if counts else 1000
        negatives = counts["fp"] + counts["tn"] if counts else 1000
        return (tpr * positives + 0.5) / (positives + 1), (fpr * negatives + 0.5) / (negatives + 1)


def profile_names() -> list[str]:
    """Names of the shipped profiles with published counts, sorted."""
    names = []
    for path in sorted(_PROFILES.glob("*.json")):
        if "counts" in json.loads(path.read_text(encoding="utf-8")):
            names.append(path.stem)
    return names
