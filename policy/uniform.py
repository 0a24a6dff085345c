"""A fixed share of the tiles, chosen by a hash of the tile's id: the random baseline that replays."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from flightsim.domain import Action, Decision, Observation
from flightsim.protocols import PluginConfig
from flightsim.rng import key_of


class UniformConfig(PluginConfig):
    """Settings of ``uniform``."""

    fraction: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the tiles that are sent. [-]"""
    product: Literal["tile", "thumbnail"] = "tile"
    """What is sent of them."""
    salt: str = "0"
    """Another salt chooses other tiles; no seed of the scenario reaches a policy."""


class Uniform:
    """Sends a fixed share of the tiles whatever they show, and asks no question.

    A tile is chosen when SHA-256 of salt and tile id, read as a number in [0, 1), is below ``fraction``: so the
    choice does not depend on order, and a larger fraction sends a superset.
    """

    Config = UniformConfig

    def __init__(self, config: UniformConfig) -> None:
        self._salt = config.salt
        self._below = int(config.fraction * 2**64)
        self._send = Decision(Action(config.product), reason=f"drawn: {config.fraction:g} of all tiles")
        self._skip = Decision(Action.NOTHING, reason="not drawn")

    def ask(self, seen: Observation) -> tuple[str, ...]:
        """No question: no compute is spent."""
        return ()

    def decide(self, seen: Observation) -> Decision:
        """The product if the tile is drawn, else nothing."""
        return self._send if key_of(f"{self._salt}/{seen.pair.after.id}") < self._below else self._skip
