"""Modes of the spacecraft and of its processor, each behind limits with hysteresis."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class Mode(IntEnum):
    """What the spacecraft may do, by the state of charge.

    =========  =======  =========  ============
    mode       capture  inference  transmission
    =========  =======  =========  ============
    NOMINAL    yes      yes        yes
    LOW_POWER  yes      no         yes
    SAFE       no       no         no
    =========  =======  =========  ============
    """

    NOMINAL = 0
    LOW_POWER = 1
    SAFE = 2

    @property
    def captures(self) -> bool:
        """Whether pictures are taken."""
        return self is not Mode.SAFE

    @property
    def infers(self) -> bool:
        """Whether the payload computer works; pictures wait raw where it does not."""
        return self is Mode.NOMINAL

    @property
    def transmits(self) -> bool:
        """Whether a contact that begins carries payload data."""
        return self is not Mode.SAFE


class Heat(IntEnum):
    """What the payload computer may do, by its temperature."""

    COOL = 0
    THROTTLED = 1
    CUT = 2


class Ladder:
    """Steps of severity with hysteresis: a value that worsens takes a step at one limit and back at a better one.

    Parameters
    ----------
    limits
        For each step the value at which it is entered and the one at which it is left, mildest step first.
    rising
        Whether larger values are worse (temperature), else smaller ones (state of charge).

    Raises
    ------
    ValueError
        A step is left where it is entered or beyond, or the steps are out of order: it would chatter.
    """

    def __init__(self, limits: Sequence[tuple[float, float]], rising: bool) -> None:
        self._enter = [enter for enter, _ in limits]
        self._leave = [leave for _, leave in limits]
        self._sign = 1.0 if rising else -1.0
        enter, leave = self._signed(self._enter), self._signed(self._leave)
        apart = all(a > b for a, b in zip(enter, leave, strict=True))
        if not apart or enter != sorted(set(enter)) or leave != sorted(leave):
            raise ValueError("each step must be left at a better value than it is entered, and the steps be in order")
        self.level = 0

    def _signed(self, values: Sequence[float]) -> list[float]:
        return [self._sign * value for value in values]

    def limits(self) -> list[tuple[float, int]]:
        """Values at which the level changes, with the step taken there: 1 for worse, -1 for better."""
        found = [(self._enter[self.level], 1)] if self.level < len(self._enter) else []
        return [*found, (self._leave[self.level - 1], -1)] if self.level else found

    def due(self, value: float) -> int:
        """Step to take at a value: 1 for worse, -1 for better, 0 for none."""
        for limit, step in self.limits():
            if self._sign * step * (value - limit) >= 0.0:
                return step
        return 0

    def settle(self, value: float) -> int:
        """Take all steps that a value asks for; gives the level."""
        while step := self.due(value):
            self.level += step
        return self.level
