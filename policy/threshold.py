"""Policies with fixed limits: on the cloud seen on board, and on the confidence of an event verdict."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from flightsim.domain import Action, Decision, Observation, VerdictStatus
from flightsim.protocols import PluginConfig

Share = Annotated[float, Field(ge=0, le=1)]


class CloudConfig(PluginConfig):
    """Settings of ``cloud_filter``."""

    max_cloud_fraction: Share = 0.5
    """Tiles with more cloud, as estimated on board, are not sent. [-]"""


class CloudFilter:
    """Sends every tile in full unless it is too cloudy, first in first out, and asks no question.

    A tile whose cloud was not estimated is sent.
    """

    Config = CloudConfig

    def __init__(self, config: CloudConfig) -> None:
        self._limit = config.max_cloud_fraction
        self._send = Decision(Action.TILE, reason=f"cloud at most {self._limit:g}, or not estimated")
        self._skip = Decision(Action.NOTHING, reason=f"cloud above {self._limit:g}")

    def ask(self, seen: Observation) -> tuple[str, ...]:
        """No question: no compute is spent."""
        return ()

    def decide(self, seen: Observation) -> Decision:
        """The full tile, or nothing."""
        cloud = seen.pair.after.cloud_fraction
        return self._skip if cloud is not None and cloud > self._limit else self._send


class ThresholdConfig(PluginConfig):
    """Settings of ``threshold``: ``min_confidence`` with ``product``, or up to three bands."""

    min_confidence: Share | None = None
    """Events at or above this confidence send the product. [-] Default 0.7 where no band is set."""
    product: Literal["thumbnail", "tile"] = "thumbnail"
    """What goes with min_confidence."""
    verdict_from: Share = 0.0
    """Events at or above this confidence send their verdict. [-]"""
    thumbnail_from: Share | None = None
    """Events at or above this confidence send a thumbnail. [-]"""
    tile_from: Share | None = None
    """Events at or above this confidence send the full tile. [-]"""
    assumed_confidence: Share = 0.5
    """Confidence of an event whose verdict states none. [-]"""

    @model_validator(mode="after")
    def _ordered(self) -> ThresholdConfig:
        if self.min_confidence is not None and (self.thumbnail_from is not None or self.tile_from is not None):
            raise ValueError(
                "min_confidence goes with product, not with thumbnail_from or tile_from; set one or the other"
            )
        known = [(action, limit) for action, limit in self.bands() if limit is not None]
        for (low_name, low), (high_name, high) in pairwise(known):
            if low > high:
                raise ValueError(f"{low_name} begins at {low:g} and {high_name} at {high:g}; bands must not fall")
        return self

    def bands(self) -> tuple[tuple[Action, float | None], ...]:
        """Where each product begins, poorest first; None for never. [-]"""
        thumbnail, tile = self.thumbnail_from, self.tile_from
        if thumbnail is None and tile is None:
            limit = max(0.7, self.verdict_from) if self.min_confidence is None else self.min_confidence
            thumbnail, tile = (limit, None) if self.product == "thumbnail" else (None, limit)
        return (Action.VERDICT, self.verdict_from), (Action.THUMBNAIL, thumbnail), (Action.TILE, tile)


class Threshold:
    """Sends more of an event the surer its verdict is: verdict, thumbnail, tile.

    The surest event of the tile counts. An unclassifiable tile sends its verdict, a tile without either nothing.
    """

    Config = ThresholdConfig

    def __init__(self, config: ThresholdConfig) -> None:
        self._assumed = config.assumed_confidence
        # From the richest product down: the first band that is reached decides. Poorer products go first.
        self._bands = tuple(
            (limit, Decision(action, priority=priority, reason=f"event at or above {limit:g}: {action.value}"))
            for priority, (action, limit) in reversed(list(enumerate(config.bands())))
            if limit is not None
        )
        self._unsure = Decision(Action.NOTHING, reason=f"event below {config.verdict_from:g}")
        self._unclassifiable = Decision(Action.VERDICT, priority=1, reason="unclassifiable: verdict")
        self._nothing = Decision(Action.NOTHING, reason="neither event nor unclassifiable")

    def decide(self, seen: Observation) -> Decision:
        """The product of the band that the surest event reaches."""
        best = -1.0
        unclassifiable = False
        for verdict in seen.verdicts:
            if verdict.status is VerdictStatus.EVENT:
                best = max(best, self._assumed if verdict.confidence is None else verdict.confidence)
            elif verdict.status is VerdictStatus.UNCLASSIFIABLE:
                unclassifiable = True
        for limit, decision in self._bands:
            if best >= limit:
                return decision
        if unclassifiable:
            return self._unclassifiable
        return self._unsure if best >= 0.0 else self._nothing
