"""Policies that treat all tiles alike: the baselines that a better policy must beat."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flightsim.domain import Action, Decision, Observation, ProductSpec, VerdictStatus
from flightsim.protocols import EmptyConfig, PluginConfig

_TELLING = (VerdictStatus.EVENT, VerdictStatus.UNCLASSIFIABLE)


class BentPipe:
    """Sends every tile in full, first in first out, and asks no question."""

    Config = EmptyConfig

    def __init__(self, config: EmptyConfig) -> None:
        self._decision = Decision(Action.TILE, reason="bent pipe: every tile")

    def ask(self, seen: Observation) -> tuple[str, ...]:
        """No question: no compute is spent."""
        return ()

    def decide(self, seen: Observation) -> Decision:
        """The full tile; all priorities are equal, so the older capture goes first."""
        return self._decision


class ThumbnailsConfig(PluginConfig):
    """Settings of ``thumbnails_only``."""

    size_px: Annotated[int, Field(ge=8, le=2048)] | None = None
    """Longer side of the thumbnail. [px] Default: the scenario's."""
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    """Codec quality. [-] Default: the scenario's."""


class ThumbnailsOnly:
    """Sends a thumbnail of every tile, first in first out, and asks no question."""

    Config = ThumbnailsConfig

    def __init__(self, config: ThumbnailsConfig) -> None:
        plain = config.size_px is None and config.quality is None
        product = None if plain else ProductSpec(size_px=config.size_px, quality=config.quality)
        self._decision = Decision(Action.THUMBNAIL, product=product, reason="a thumbnail of every tile")

    def ask(self, seen: Observation) -> tuple[str, ...]:
        """No question: no compute is spent."""
        return ()

    def decide(self, seen: Observation) -> Decision:
        """The thumbnail."""
        return self._decision


class Nothing:
    """Sends nothing and asks nothing: saves all bytes and keeps no F1."""

    Config = EmptyConfig

    def __init__(self, config: EmptyConfig) -> None:
        self._decision = Decision(Action.NOTHING, reason="nothing is sent")

    def ask(self, seen: Observation) -> tuple[str, ...]:
        """No question: no compute is spent."""
        return ()

    def decide(self, seen: Observation) -> Decision:
        """Nothing."""
        return self._decision


class VerdictsConfig(PluginConfig):
    """Settings of ``verdicts_only``."""

    send_nulls: bool = False
    """Whether "no event" is sent too, after the events."""


class VerdictsOnly:
    """Sends the verdict record of a tile with an event or an unclassifiable answer, and no pixels.

    Nulls go only with ``send_nulls``. A tile whose answers are all invalid brings no evidence and is not sent.
    """

    Config = VerdictsConfig

    def __init__(self, config: VerdictsConfig) -> None:
        self._send_nulls = config.send_nulls
        self._event = Decision(Action.VERDICT, priority=0, reason="event or unclassifiable: verdict")
        self._null = Decision(Action.VERDICT, priority=3, reason="null: verdict, since send_nulls is set")
        self._nothing = Decision(Action.NOTHING, reason="neither event nor unclassifiable")

    def decide(self, seen: Observation) -> Decision:
        """The verdict record, or nothing."""
        nulls = False
        for verdict in seen.verdicts:
            if verdict.status in _TELLING:
                return self._event
            nulls = nulls or verdict.status is VerdictStatus.NULL
        return self._null if nulls and self._send_nulls else self._nothing
