"""Verdicts on demand: asked in batches, never twice, and kept on disk where a pair has pixels."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .domain import Plan, TilePair, TruthTable, Verdict, VerdictStatus
from .errors import InputError
from .protocols import PayloadBackend, SceneSource
from .rng import hash_at

#: Shots answered together. Large enough for array payloads, small enough that a lazy policy wastes little.
_CHUNK = 64


def cache_folder() -> Path:
    """Where verdicts are kept between runs; ``FLIGHTSIM_CACHE`` overrides it."""
    given = os.environ.get("FLIGHTSIM_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else (Path(base) if base else Path.home() / ".cache") / "flightsim"


class VerdictCache:
    """Verdicts by (pair digest, schema) of one payload fingerprint, one JSON-lines file.

    The file is rewritten whole under a temporary name, so a killed run leaves the old one.
    """

    def __init__(self, fingerprint: str, folder: Path | None = None) -> None:
        name = hashlib.sha256(fingerprint.encode()).hexdigest()[:24]
        self._path = (folder or cache_folder()) / "verdicts" / f"{name}.jsonl"
        self._fingerprint = fingerprint
        self._new = 0
        self._known: dict[tuple[str, str], dict[str, Any]] = {}
        if self._path.is_file():
            try:
                self._read()
            except (ValueError, KeyError) as error:
                raise InputError(
                    f"the store of verdicts {self._path} is damaged ({error}); delete it, it is made anew."
                ) from error

    def _read(self) -> None:
        with self._path.open(encoding="utf-8") as lines:
            if json.loads(next(lines, "{}"))["fingerprint"] != self._fingerprint:
                return
            for line in lines:
                row = json.loads(line)
                self._known[row.pop("pair"), row.pop("schema")] = row

    def get(self, digest: str, schema: str, tile_id: str) -> Verdict | None:
        """The stored answer under the tile's present id, or None."""
        row = self._known.get((digest, schema))
        if row is None:
            return None
        return Verdict(tile_id, schema, VerdictStatus(row["status"]), **{k: v for k, v in row.items() if k != "status"})

    def put(self, digest: str, verdict: Verdict) -> None:
        """Remember an answer."""
        self._new += 1
        self._known[digest, verdict.schema_id] = {
            "status": str(verdict.status),
            "body": verdict.body,
            "confidence": verdict.confidence,
            "produced_by": verdict.produced_by,
            "reason": verdict.reason,
            "tokens": verdict.tokens,
        }

    def save(self) -> None:
        """Write the file if something is new."""
        if not self._new:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        with temporary.open("w", encoding="utf-8") as out:
            out.write(json.dumps({"fingerprint": self._fingerprint}) + "\n")
            for (digest, schema), row in sorted(self._known.items()):
                out.write(json.dumps({"pair": digest, "schema": schema, **row}) + "\n")
        temporary.replace(self._path)
        self._new = 0


def pair_digest(pair: TilePair) -> str:
    """SHA-256 over both pictures of a pair; a missing reference counts as such."""
    images = [tile.image if tile is not None else None for tile in (pair.before, pair.after)]
    parts = [image.digest() if image is not None else "none" for image in images]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


def shot_keys(plan: Plan, seed: int) -> NDArray[np.uint64]:
    """Key of each shot, shape (n,): place and capture second, so that a revisit gets its own draws. [-]"""
    return hash_at(seed, "shot", plan.place_key, plan.time_s.astype(np.int64))


class GatedScenes:
    """Scenes with pixels as the spacecraft sees them: with the cloud cover that the payload's gate estimates.

    Estimates are made when a tile is first looked at. A gate that raises leaves the cover unknown, and
    ``on_failure(row, detail)`` is told.
    """

    def __init__(
        self,
        scenes: SceneSource,
        estimate: Callable[[TilePair], float | None],
        on_failure: Callable[[int, str], None],
    ) -> None:
        self._scenes, self._estimate, self._on_failure = scenes, estimate, on_failure
        self._cloud: dict[int, float | None] = {}

    def pair(self, row: int) -> TilePair:
        """Pictures of one shot."""
        pair = self._scenes.pair(row)
        if row not in self._cloud:
            try:
                self._cloud[row] = self._estimate(pair)
            except Exception as error:  # foreign code may raise anything
                self._cloud[row] = None
                self._on_failure(row, f"cloud_fraction: {type(error).__name__}: {error}"[:300])
        return TilePair(pair.before, replace(pair.after, cloud_fraction=self._cloud[row]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scenes, name)


class VerdictBook:
    """Verdicts of the shots of a plan, computed when first asked.

    ``pair`` gives the pictures of a row; ``keys`` (shape (n,)) belong to the shots and feed keyed draws.

    A payload that raises is not fatal: the pairs of the batch are asked one by one, those that still raise get
    INVALID verdicts, and ``on_failure(row, detail)`` is told once for each.
    """

    def __init__(
        self,
        payload: PayloadBackend,
        pair: Callable[[int], TilePair],
        keys: NDArray[np.uint64],
        truth: TruthTable,
        seed: int,
        on_failure: Callable[[int, str], None],
        cache: VerdictCache | None = None,
    ) -> None:
        self._payload, self._pair, self._truth, self._seed = payload, pair, truth, seed
        self._on_failure = on_failure
        self._cache = cache
        self._keys = keys
        self._n = len(keys)
        self._chunks: dict[tuple[int, tuple[str, ...]], list[tuple[Verdict, ...]]] = {}
        self.answers: dict[int, tuple[Verdict, ...]] = {}

    def of(self, row: int, schemas: tuple[str, ...]) -> tuple[Verdict, ...]:
        """Verdicts of one shot for the schemas asked, in their order."""
        if not schemas:
            return ()
        chunk = row // _CHUNK
        key = (chunk, schemas)
        if key not in self._chunks:
            rows = np.arange(chunk * _CHUNK, min((chunk + 1) * _CHUNK, self._n))
            self._chunks[key] = self._assess(rows, schemas)
        verdicts = self._chunks[key][row - chunk * _CHUNK]
        self.answers[row] = verdicts
        return verdicts

    def _assess(self, rows: NDArray[np.int64], schemas: tuple[str, ...]) -> list[tuple[Verdict, ...]]:
        pairs = [self._pair(int(row)) for row in rows]
        if self._cache is None:
            return self._ask(rows, pairs, schemas)
        digests = [pair_digest(pair) for pair in pairs]
        stored = [
            tuple(self._cache.get(digest, schema, pair.after.id) for schema in schemas)
            for digest, pair in zip(digests, pairs, strict=True)
        ]
        missing = [k for k, found in enumerate(stored) if any(verdict is None for verdict in found)]
        fresh = self._ask(rows[missing], [pairs[k] for k in missing], schemas) if missing else []
        answers: list[tuple[Verdict, ...]] = [tuple(v for v in found if v is not None) for found in stored]
        for k, verdicts in zip(missing, fresh, strict=True):
            answers[k] = verdicts
            for verdict in verdicts:
                if verdict.status is not VerdictStatus.INVALID:
                    self._cache.put(digests[k], verdict)
        return answers

    def _ask(
        self, rows: NDArray[np.int64], pairs: Sequence[TilePair], schemas: tuple[str, ...]
    ) -> list[tuple[Verdict, ...]]:
        try:
            return self._call(rows, pairs, schemas)
        except InputError:
            raise
        except Exception as error:
            # Foreign code may raise anything. Narrow it down to the pair that is to blame.
            if len(rows) > 1:
                return [self._ask(rows[k : k + 1], pairs[k : k + 1], schemas)[0] for k in range(len(rows))]
            detail = f"{type(error).__name__}: {error}"[:300]
            self._on_failure(int(rows[0]), detail)
            tile = pairs[0].after.id
            return [tuple(Verdict(tile, schema, VerdictStatus.INVALID, reason=detail) for schema in schemas)]

    def _call(
        self, rows: NDArray[np.int64], pairs: Sequence[TilePair], schemas: tuple[str, ...]
    ) -> list[tuple[Verdict, ...]]:
        knows = self._payload.needs_truth
        answers = self._payload.assess_many(
            pairs,
            schemas,
            truth=self._truth.rows(rows) if knows else None,
            keys=self._keys[rows] if knows else None,
            seed=self._seed if knows else 0,
        )
        width = len(schemas)
        if len(answers) != len(pairs) * width:
            raise ValueError(f"the payload gave {len(answers)} verdicts for {len(pairs)} pairs x {width} schemas")
        for k, verdict in enumerate(answers):
            if verdict.tile_id != pairs[k // width].after.id or verdict.schema_id != schemas[k % width]:
                raise ValueError(f"verdict {k} is about {verdict.tile_id}/{verdict.schema_id}, not what was asked")
        return [tuple(answers[k : k + width]) for k in range(0, len(answers), width)]
