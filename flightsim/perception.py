"""Verdicts on demand: asked in batches, never twice, and kept on disk where a pair has pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .domain import Look, Plan, TilePair, TruthTable, Verdict, VerdictStatus
from .errors import InputError, MissingExtra
from .protocols import PayloadBackend, SceneSource
from .rng import hash_at
from .store import NumberCache, VerdictCache

#: Reasons of an INVALID answer begin so where the engine or server failed: it may answer the next time.
PASSING = "engine:"

#: Shots answered together. Large enough for array payloads, small enough that a lazy policy wastes little.
_CHUNK = 64


def pair_digest(pair: TilePair) -> str:
    """SHA-256 over both pictures of a pair; a missing reference counts as such."""
    images = [tile.image if tile is not None else None for tile in (pair.before, pair.after)]
    parts = [image.digest() if image is not None else "none" for image in images]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


def lasting(verdict: Verdict) -> bool:
    """Whether the same question would get the same answer again, so that it can be stored."""
    return verdict.status is not VerdictStatus.INVALID or not verdict.reason.startswith(PASSING)


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
        cache: NumberCache | None = None,
    ) -> None:
        self._scenes, self._estimate, self._on_failure, self._cache = scenes, estimate, on_failure, cache
        self._cloud: dict[int, float | None] = {}
        self._cloud_at: dict[tuple[int, Look], float | None] = {}

    def pair(self, row: int) -> TilePair:
        """Pictures of one shot."""
        pair = self._scenes.pair(row)
        if row not in self._cloud:
            self._cloud[row] = self._estimated(row, pair)
        return TilePair(pair.before, replace(pair.after, cloud_fraction=self._cloud[row]))

    def pair_at(self, row: int, look: Look) -> TilePair:
        """Another picture of a shot's place."""
        scenes: Any = self._scenes
        pair = scenes.pair_at(row, look)
        if (row, look) not in self._cloud_at:
            self._cloud_at[row, look] = self._estimated(row, pair)
        return TilePair(pair.before, replace(pair.after, cloud_fraction=self._cloud_at[row, look]))

    def _estimated(self, row: int, pair: TilePair) -> float | None:
        digest = pair_digest(pair) if self._cache is not None else ""
        if self._cache is not None and digest in self._cache:
            return self._cache[digest]
        try:
            found = self._estimate(pair)
        except Exception as error:  # foreign code may raise anything
            self._on_failure(row, f"cloud_fraction: {type(error).__name__}: {error}"[:300])
            return None
        if self._cache is not None:
            self._cache[digest] = found
        return found

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

    def of_look(
        self, row: int, pair: TilePair, schemas: tuple[str, ...], key: NDArray[np.uint64], visible: bool
    ) -> tuple[Verdict, ...]:
        """Verdicts of another picture of a shot's place for the schemas asked, in their order.

        ``key``, shape (1,), belongs to the picture. A payload that answers from truth gets the shot's own truth, with
        ``visible`` as in this picture.
        """
        if not schemas:
            return ()
        truth = replace(self._truth.rows([row]), visible=np.array([visible]))
        book = VerdictBook(
            self._payload,
            lambda _: pair,
            key,
            truth,
            self._seed,
            lambda _, why: self._on_failure(row, why),
            self._cache,
        )
        self.answers[row] = book.of(0, schemas)
        return self.answers[row]

    def _assess(self, rows: NDArray[np.int64], schemas: tuple[str, ...]) -> list[tuple[Verdict, ...]]:
        pairs = [self._pair(int(row)) for row in rows]
        if self._cache is None:
            return [verdicts for verdicts, _ in self._ask(rows, pairs, schemas)]
        digests = [pair_digest(pair) for pair in pairs]
        self._cache.fetch(digests)
        stored = [
            tuple(self._cache.get(digest, schema, pair.after.id) for schema in schemas)
            for digest, pair in zip(digests, pairs, strict=True)
        ]
        missing = [k for k, found in enumerate(stored) if any(verdict is None for verdict in found)]
        fresh = self._ask(rows[missing], [pairs[k] for k in missing], schemas) if missing else []
        answers: list[tuple[Verdict, ...]] = [tuple(v for v in found if v is not None) for found in stored]
        for k, (verdicts, given) in zip(missing, fresh, strict=True):
            answers[k] = verdicts
            for verdict in verdicts if given else ():
                if lasting(verdict):
                    self._cache.put(digests[k], verdict)
        return answers

    def _ask(
        self, rows: NDArray[np.int64], pairs: Sequence[TilePair], schemas: tuple[str, ...]
    ) -> list[tuple[tuple[Verdict, ...], bool]]:
        """Verdicts by pair, and whether they are the payload's own: where it raised, nobody's are stored."""
        try:
            return [(verdicts, True) for verdicts in self._call(rows, pairs, schemas)]
        except (InputError, MissingExtra):
            raise
        except Exception as error:
            # Foreign code may raise anything. Narrow it down to the pair that is to blame.
            if len(rows) > 1:
                return [self._ask(rows[k : k + 1], pairs[k : k + 1], schemas)[0] for k in range(len(rows))]
            detail = f"{type(error).__name__}: {error}"[:300]
            self._on_failure(int(rows[0]), detail)
            tile = pairs[0].after.id
            return [(tuple(Verdict(tile, schema, VerdictStatus.INVALID, reason=detail) for schema in schemas), False)]

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
