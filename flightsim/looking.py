"""A first look at all pictures of a plan, on several cores: verdicts, cloud estimates and product sizes, stored.

Nothing here decides anything. What is found goes into the store of looks, where the flight and its references find
it under the digests of the pictures; so one core or eight, first run or second, the flight is the same. A pair at
which the payload raises is left out here and met again by the flight, which tells it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from . import registry
from .domain import Action, Plan, ProductSpec, TilePair, Verdict
from .errors import FlightsimError
from .perception import lasting, pair_digest
from .protocols import PayloadBackend, SceneSource
from .scenario.models import Radio, Scenario
from .sizing import Sizer
from .store import NumberCache, VerdictCache, cache_folder

Found = TypeVar("Found")

#: Pairs that a worker takes at a time.
_CHUNK = 32
#: Fewer pairs than this are not worth starting workers, which costs about two seconds.
WORTH_WORKERS = 256


@dataclass(frozen=True)
class _Task:
    """What a worker needs beside the rows."""

    scenes: SceneSource
    plan: Plan
    radio: Radio
    payload: tuple[str, str, Path]  # name, settings as JSON, folder
    schemas: tuple[str, ...]
    thumbnail_sides: tuple[int, ...]
    store: Path


@lru_cache(maxsize=2)
def _open_payload(use: str, settings: str, folder: Path) -> PayloadBackend:
    """The payload of a worker, loaded once."""
    payload: PayloadBackend = registry.build("payloads", use, json.loads(settings), folder)
    payload.open()
    return payload


def cloud_kind(payload: PayloadBackend) -> str:
    """Name under which a payload's cloud estimates are stored."""
    return f"cloud/{payload.fingerprint}"


def look_at_all(
    scenario: Scenario,
    plan: Plan,
    scenes: SceneSource,
    payload: PayloadBackend,
    asks: bool,
    thumbnail_sides: Sequence[int],
    progress: Callable[[float], None] | None = None,
    jobs: int | None = None,
) -> None:
    """Look at every picture of the plan that the store does not know.

    Parameters
    ----------
    asks
        Whether the policy chooses its questions itself: then none is answered ahead of it.
    thumbnail_sides
        Longer sides of the thumbnails that the references need. [px]
    jobs
        Processes; all cores by default, one where there is little to do.
    """
    # What answers from truth is asked in the flight, which has it; and its answers are never stored.
    schemas = () if asks or payload.needs_truth else scenario.payload.schemas
    settings = json.dumps(dict(scenario.payload.with_), default=str)
    task = _Task(
        scenes, plan, scenario.craft[0].radio, (scenario.payload.use, settings, scenario.folder), schemas,
        tuple(thumbnail_sides), cache_folder(),
    )  # fmt: skip
    rows = _unknown(task, payload)
    if not len(rows):
        return
    # Visits of a place one after the other: its land is made once for them.
    rows = rows[np.lexsort((plan.time_s[rows], plan.place_key[rows], plan.block_key[rows]))]
    chunks = [rows[k : k + _CHUNK].tolist() for k in range(0, len(rows), _CHUNK)]
    jobs = jobs or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else jobs or os.cpu_count() or 1
    if jobs == 1 or len(rows) < WORTH_WORKERS:
        for done, chunk in enumerate(chunks, 1):
            _look(task, chunk, payload)
            if progress is not None:
                progress(done / len(chunks))
        return
    # loky rather than the standard library's pool: it survives a script without a main guard and a killed worker.
    from joblib import Parallel, delayed

    for done, _ in enumerate(
        Parallel(n_jobs=jobs, return_as="generator_unordered")(
            delayed(_look_elsewhere)(task, chunk) for chunk in chunks
        ),
        1,
    ):
        if progress is not None:
            progress(done / len(chunks))


def _unknown(task: _Task, payload: PayloadBackend) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Rows about which the store lacks something, shape (k,)."""
    pairs = [task.scenes.pair(row) for row in range(len(task.plan))]
    digests = [pair_digest(pair) for pair in pairs]
    verdicts = VerdictCache(payload.fingerprint)
    verdicts.fetch(digests)
    missing = np.zeros(len(pairs), dtype=bool)
    for row, (digest, pair) in enumerate(zip(digests, pairs, strict=True)):
        missing[row] = any(verdicts.get(digest, schema, pair.after.id) is None for schema in task.schemas)
    if hasattr(payload, "cloud_fraction"):
        clouds = NumberCache(cloud_kind(payload))
        clouds.fetch(digests)
        missing |= [digest not in clouds for digest in digests]
    sizer = Sizer(task.scenes, task.plan, task.radio)
    missing |= ~sizer.known(Action.TILE)
    for side in task.thumbnail_sides:
        missing |= ~sizer.known(Action.THUMBNAIL, side)
    return np.flatnonzero(missing)


def _look_elsewhere(task: _Task, rows: Sequence[int]) -> None:
    """Look at some rows in a worker, which may be older than the environment that names the store."""
    os.environ["FLIGHTSIM_CACHE"] = str(task.store)
    _look(task, rows)


def _look(task: _Task, rows: Sequence[int], payload: PayloadBackend | None = None) -> None:
    """Look at some rows and store what is seen."""
    payload = payload or _open_payload(*task.payload)
    estimate = getattr(payload, "cloud_fraction", None)
    verdicts, clouds = VerdictCache(payload.fingerprint), NumberCache(cloud_kind(payload))
    sizer = Sizer(task.scenes, task.plan, task.radio)
    sides = [ProductSpec(size_px=side) for side in task.thumbnail_sides]
    # What others found meanwhile is read in one go.
    sizer.fetch_sizes(rows, Action.TILE)
    for spec in sides:
        sizer.fetch_sizes(rows, Action.THUMBNAIL, spec)
    step = max(1, int(getattr(payload, "pairs_together", 1)))
    for start in range(0, len(rows), step):
        pairs = [task.scenes.pair(row) for row in rows[start : start + step]]
        digests = [pair_digest(pair) for pair in pairs]
        if estimate is not None:
            for digest, pair in zip(digests, pairs, strict=True):
                found = _tried(partial(estimate, pair))
                if not isinstance(found, Exception):
                    clouds[digest] = found
        answers = _answers(payload, pairs, task.schemas) if task.schemas else []
        for digest, told in zip(digests, answers, strict=False):
            for verdict in told:
                if lasting(verdict):
                    verdicts.put(digest, verdict)
        for row in rows[start : start + step]:
            sizer.picture_bytes(row, Action.TILE)
            for spec in sides:
                sizer.picture_bytes(row, Action.THUMBNAIL, spec)
    for cache in (verdicts, clouds, sizer):
        cache.save()


def _answers(payload: PayloadBackend, pairs: Sequence[TilePair], schemas: tuple[str, ...]) -> list[Sequence[Verdict]]:
    """Verdicts by pair, asked together; none for a pair at which the payload raises."""
    found = _tried(partial(payload.assess_many, pairs, schemas))
    if not isinstance(found, Exception) and len(found) == len(pairs) * len(schemas):
        return [found[k : k + len(schemas)] for k in range(0, len(found), len(schemas))]
    if len(pairs) == 1:
        return [()]
    return [_answers(payload, [pair], schemas)[0] for pair in pairs]


def _tried(call: Callable[[], Found]) -> Found | Exception:
    """What a call to foreign code gave, or what it raised: the flight asks again, pair by pair, and tells it."""
    try:
        return call()
    except FlightsimError:
        raise
    except Exception as error:  # foreign code may raise anything
        return error
