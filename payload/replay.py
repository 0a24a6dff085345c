"""Verdicts that were recorded before: from a run folder, or from what ``flightsim perceive`` stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from flightsim.domain import TilePair, TruthTable, Verdict, VerdictStatus
from flightsim.errors import InputError
from flightsim.protocols import PluginConfig


class Replay:
    """Recorded verdicts by tile id and schema; a question without a record is INVALID, and counted."""

    class Config(PluginConfig):
        """Where the record lies."""

        path: str
        """A ``verdicts.parquet`` or the run folder that holds it."""
        seconds_per_question: float = 0.0
        """Service time of one question. [s]"""

    needs_truth: ClassVar[bool] = False
    needs_pixels: ClassVar[bool] = False

    def __init__(self, config: Config, base_folder: Path = Path(".")) -> None:
        self._config = config
        path = (base_folder / config.path).resolve()
        self._path = path / "verdicts.parquet" if path.is_dir() else path
        self._known: dict[tuple[str, str], Verdict] | None = None
        self._rates: dict[str, tuple[float, float]] = {}

    def open(self) -> None:
        """Read the record.

        Raises
        ------
        InputError
            There is none, or it is no record of verdicts.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._path.is_file():
            raise InputError(f"payload.with.path: no record of verdicts at '{self._config.path}'.")
        try:
            table = pq.read_table(self._path)
            columns = {
                name: table.column(name).to_pylist()
                for name in ("tile_id", "schema_id", "status", "confidence", "body", "produced_by", "reason", "tokens")
            }
        except (pa.ArrowInvalid, KeyError) as error:
            raise InputError(f"payload.with.path: '{self._config.path}' is no record of verdicts: {error}.") from error
        self._known = {}
        for k, tile in enumerate(columns["tile_id"]):
            if columns["status"][k] == "not_asked":
                continue
            body: Any = columns["body"][k]
            self._known[tile, columns["schema_id"][k]] = Verdict(
                tile,
                columns["schema_id"][k],
                VerdictStatus(columns["status"][k]),
                json.loads(body) if body else None,
                columns["confidence"][k],
                columns["produced_by"][k],
                columns["reason"][k],
                columns["tokens"][k],
            )
        metadata = table.schema.metadata or {}
        if b"rates" in metadata:
            self._rates = {k: (v[0], v[1]) for k, v in json.loads(metadata[b"rates"]).items()}

    def close(self) -> None:
        """Forget the record."""
        self._known = None

    @property
    def fingerprint(self) -> str:
        """Digest of the record's file."""
        digest = hashlib.sha256(self._path.read_bytes()).hexdigest() if self._path.is_file() else "absent"
        return f"replay/{digest[:12]}"

    @property
    def seconds_per_question(self) -> float:
        """Stated time of one question. [s]"""
        return self._config.seconds_per_question

    def rates(self, schema_id: str) -> tuple[float, float]:
        """Rates that the recorded payload declared. [-]

        Raises
        ------
        InputError
            The record does not carry them.
        """
        if schema_id not in self._rates:
            raise InputError(f"the record '{self._config.path}' declares no rates for schema '{schema_id}'.")
        return self._rates[schema_id]

    def assess_many(
        self,
        pairs: Sequence[TilePair],
        schemas: Sequence[str],
        *,
        truth: TruthTable | None = None,
        keys: NDArray[np.uint64] | None = None,
        seed: int = 0,
    ) -> list[Verdict]:
        """Recorded verdicts pair by pair, schema by schema."""
        if self._known is None:
            self.open()
        known = self._known or {}
        answers: list[Verdict] = []
        for pair in pairs:
            for schema in schemas:
                recorded = known.get((pair.after.id, schema))
                if recorded is None:
                    recorded = Verdict(
                        pair.after.id, schema, VerdictStatus.INVALID, None, None, "replay", "no recorded verdict"
                    )
                answers.append(recorded)
        return answers
