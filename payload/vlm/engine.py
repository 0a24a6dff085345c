"""What an engine must offer: questions with two pictures in, texts out, in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


class Finish(StrEnum):
    """How an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    """Cut at the profile's largest number of tokens."""
    NUMERIC = "numeric"
    """The model's logits were NaN or infinite; there is no answer."""
    ERROR = "error"
    """The engine or server gave no answer; the reply's ``fault`` says why."""


@dataclass(frozen=True)
class Question:
    """One question about one pair. Pictures have shape (rows, columns, 3), uint8."""

    before: Picture
    after: Picture
    prompt: str
    schema: Mapping[str, Any]
    """JSON Schema of the answer, for decoding under a grammar."""


@dataclass(frozen=True)
class Reply:
    """What came back for one question."""

    text: str
    finish: Finish
    prompt_tokens: int = 0
    tokens: int = 0
    event_probability: float | None = None
    """Probability that the first token begins an object and not ``null``, of the two alone; None if not told. [-]"""
    fault: str = ""


class Engine(Protocol):
    """Runs one model. Opened once per process, lazily, never before a fork."""

    @property
    def name(self) -> str:
        """Engine and numeric type, such as ``llamacpp q8_0`` or ``transformers fp32 cpu``."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes with weights, adapter, numeric type and engine version."""
        ...

    @property
    def weights(self) -> str:
        """Digest of base and adapter, twelve hexadecimal digits."""
        ...

    def open(self) -> None:
        """Load the model. Raises InputError or MissingExtra with one clear message."""
        ...

    def close(self) -> None:
        """Let it go."""
        ...

    def ask_many(self, questions: Sequence[Question]) -> list[Reply]:
        """Replies in the order of the questions. A question that fails gives a reply that says so."""
        ...
