"""The eye that is never wrong: an upper reference, never a claim. It answers from the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from flightsim.domain import TilePair, TruthTable, UnclassifiableReason, Verdict, VerdictStatus
from flightsim.errors import InputError
from flightsim.protocols import EmptyConfig


class PerfectEye:
    """Truth as verdict; what cloud or missing data hides is unclassifiable."""

    Config = EmptyConfig
    needs_truth: ClassVar[bool] = True
    needs_pixels: ClassVar[bool] = False
    fingerprint = "perfect_eye/1"
    seconds_per_question = 0.0

    def __init__(self, config: EmptyConfig) -> None:
        self._config = config

    def open(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to let go."""

    def rates(self, schema_id: str) -> tuple[float, float]:
        """Never wrong. [-]"""
        return 1.0, 0.0

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
        if truth is None:
            raise InputError("payload 'perfect_eye' answers from truth; these scenes carry none. Use another payload.")
        columns = [truth.schemas.index(schema) for schema in schemas]
        answers: list[Verdict] = []
        for i, pair in enumerate(pairs):
            for schema, column in zip(schemas, columns, strict=True):
                if not truth.visible[i]:
                    status, reason = VerdictStatus.UNCLASSIFIABLE, str(UnclassifiableReason.CLOUD)
                else:
                    status = VerdictStatus.EVENT if truth.changed[i, column] else VerdictStatus.NULL
                    reason = ""
                body: dict[str, object] | None = {} if status is VerdictStatus.EVENT else None
                confidence = None if reason else 1.0
                answers.append(Verdict(pair.after.id, schema, status, body, confidence, "perfect_eye", reason))
        return answers
