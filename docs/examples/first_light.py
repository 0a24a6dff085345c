"""A policy in one file: a thumbnail of the first event at each place, verdicts for the rest.

In a scenario beside this file:  policy: {use: "./first_light.py:FirstLight", with: {again_after_s: 86400}}
"""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field

from flightsim.domain import Action, Decision, Observation, VerdictStatus
from flightsim.protocols import PluginConfig


class FirstLight:
    """A picture when a place shows an event for the first time, or again after a while."""

    class Config(PluginConfig):
        """Settings, checked before the run."""

        again_after_s: Annotated[float, Field(gt=0)] = 86400.0
        """A place that sent a picture sends no other one for so long. [s]"""

    def __init__(self, config: Config) -> None:
        self._again_after_s = config.again_after_s
        self._last_s: dict[str, float] = {}

    def decide(self, seen: Observation) -> Decision:
        """Thumbnail, verdict or nothing."""
        events = [v for v in seen.verdicts if v.status is VerdictStatus.EVENT]
        if not events:
            return Decision(Action.NOTHING, reason="no event")
        tile = seen.pair.after
        last_s = self._last_s.get(tile.place_id)
        fresh = last_s is None or tile.captured_s - last_s >= self._again_after_s
        if fresh and seen.costs_bytes[Action.THUMBNAIL] <= seen.allowance.next_day_bytes:
            self._last_s[tile.place_id] = tile.captured_s
            return Decision(Action.THUMBNAIL, priority=1, reason=f"first {events[0].schema_id} here")
        return Decision(Action.VERDICT, priority=0, reason="seen before, or no room")

    def reset(self) -> None:
        """Forget everything: the start of a mission."""
        self._last_s.clear()

    def snapshot(self) -> bytes:
        """What survives a reboot."""
        return json.dumps(self._last_s).encode()

    def restore(self, state: bytes) -> None:
        """Take up where the snapshot was made."""
        self._last_s = json.loads(state)
