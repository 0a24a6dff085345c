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
from functools import lru_cache
from pathlib import Path

import numpy as np

from . import registry
from .domain import Action, Plan, ProductSpec
from .errors import FlightsimError
from .perception import pair_digest
from .protocols import PayloadBackend, SceneSource
from .scenario.models import Radio, Scenario
from .sizing import Sizer
from .store import NumberCache, VerdictCache

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
        tuple(thumbnail_sides),
    )  # fmt: skip
    rows = _unknown(task, payload)
    if not len(rows):
        return
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
        Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(_look)(task, chunk) for chunk in chunks), 1
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


def _look(task: _Task, rows: Sequence[int], payload: PayloadBackend | None = None) -> None:
    """Look at some rows and store what is seen."""
    payload = payload or _open_payload(*task.payload)
    estimate = getattr(payload, "cloud_fraction", None)
    verdicts, clouds = VerdictCache(payload.fingerprint), NumberCache(cloud_kind(payload))
    sizer = Sizer(task.scenes, task.plan, task.radio)
    for row in rows:
        pair = task.scenes.pair(row)
        digest = pair_digest(pair)
        try:
            cloud = estimate(pair) if estimate is not None else None
            answers = payload.assess_many([pair], task.schemas) if task.schemas else []
        except FlightsimError:
            raise
        except Exception:
            # Foreign code may raise anything. The flight asks again, pair by pair, and tells it.
            answers, digest = [], ""
        if digest:
            if estimate is not None:
                clouds[digest] = cloud
            for verdict in answers:
                verdicts.put(digest, verdict)
        sizer.picture_bytes(row, Action.TILE)
        for side in task.thumbnail_sides:
            sizer.picture_bytes(row, Action.THUMBNAIL, ProductSpec(size_px=side))
    for cache in (verdicts, clouds, sizer):
        cache.save()
