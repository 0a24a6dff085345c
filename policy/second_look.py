"""A second picture where the first says too little; otherwise as ``threshold``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from flightsim.domain import Action, Decision, Observation, UnclassifiableReason, VerdictStatus

from .threshold import Share, Threshold, ThresholdConfig


class SecondLookConfig(ThresholdConfig):
    """Settings of ``second_look``: those of ``threshold``, and when a second picture is worth the wait."""

    unsure_from: Share = 0.3
    """Surest events from this confidence ... [-]"""
    unsure_to: Share = 0.7
    """... to below this one are looked at again. [-]"""
    null_below: Share = 0.0
    """Without any event: a "no event" below this confidence is looked at again; 0 for never. [-]"""
    cloud: bool = True
    """Whether a tile that is unclassifiable by cloud, and shows no event, is looked at again."""
    max_wait_s: Annotated[float, Field(gt=0)] = 5 * 86400.0
    """Longest wait for the second picture. [s]"""

    @model_validator(mode="after")
    def _a_band(self) -> SecondLookConfig:
        if self.unsure_from > self.unsure_to:
            raise ValueError(
                f"unsure_from is {self.unsure_from:g} and unsure_to {self.unsure_to:g}; the band must not fall"
            )
        return self


class SecondLook:
    """Asks for a second picture of what cloud hides, or where it is unsure of an event; otherwise as ``threshold``.

    Notes
    -----
    The second verdict replaces the first: what the first knew is given up for a later, independent look. Where no
    look is on offer, or it comes too late, and of a picture that is a second look of a last one, ``threshold`` decides.
    """

    Config = SecondLookConfig

    def __init__(self, config: SecondLookConfig) -> None:
        self._config = config
        self._otherwise = Threshold(config)
        self._hidden = Decision(Action.REIMAGE, reason="cloud: look again")
        self._doubt = Decision(Action.REIMAGE, reason=f"no event below {config.null_below:g}: look again")
        self._unsure = Decision(
            Action.REIMAGE, reason=f"event in [{config.unsure_from:g}, {config.unsure_to:g}): look again"
        )

    def decide(self, seen: Observation) -> Decision:
        """A second look, or what ``threshold`` says."""
        soon = seen.next_look_s is not None and seen.next_look_s - seen.now_s <= self._config.max_wait_s
        wish = self._wish(seen) if soon and Action.REIMAGE in seen.costs_bytes else None
        return self._otherwise.decide(seen) if wish is None else wish

    def _wish(self, seen: Observation) -> Decision | None:
        """A second look, where it could tell more."""
        config = self._config
        events = [v for v in seen.verdicts if v.status is VerdictStatus.EVENT]
        if not events:
            clouded = any(
                v.status is VerdictStatus.UNCLASSIFIABLE and v.reason == UnclassifiableReason.CLOUD
                for v in seen.verdicts
            )
            if config.cloud and clouded:
                return self._hidden
            # What was decided from nothing has a reason; another picture would tell no more.
            nulls = [v.confidence for v in seen.verdicts if v.status is VerdictStatus.NULL and not v.reason]
            doubt = any(confidence is not None and confidence < config.null_below for confidence in nulls)
            return self._doubt if doubt else None
        best = max(config.assumed_confidence if v.confidence is None else v.confidence for v in events)
        return self._unsure if config.unsure_from <= best < config.unsure_to else None
