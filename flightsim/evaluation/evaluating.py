"""A whole evaluation: questions asked, scored and gathered into one mapping, ``results.json``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import runfolder
from ..domain import TilePair, TruthTable, VerdictStatus
from ..errors import InputError
from ..perceived import Pairs as GatheredPairs
from ..perceived import gather
from ..protocols import PayloadBackend
from ..scenario.models import Scenario
from ..scenes.synthetic import source as world
from ..scoring import score
from . import questions, scores
from .asking import Clock, Eye, How, Pairs, Part, Row, ask, ask_round, hidden_share, release
from .cards import Candidate, Outcome, Shown, chosen, picture_of
from .controls import Control
from .fields import fields_of_mask
from .questions import Generated, Kind, Pick, labelled_questions
from .worth import CalibrationOf, own_calibration, worth_of

FORMAT = "flightsim-evaluation/1"
Progress = Callable[[float], None]

#: Pairs of a scenario that a worker takes at a time.
_CHUNK = 96
#: Fewer questions than this are not worth starting workers, which costs about two seconds and a second model.
_WORTH_WORKERS = 256


@dataclass(frozen=True)
class Evaluation:
    """Scores of a payload, its answers, and pictures of some of them by their place among the rows."""

    results: dict[str, Any]
    rows: Sequence[Row]
    cards: Mapping[Outcome, Sequence[int]]
    shown: Mapping[int, Shown]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def evaluate(
    use: str,
    settings: Mapping[str, Any] | None = None,
    *,
    asked: Generated | Scenario,
    folder: Path = Path("."),
    controls: bool = False,
    jobs: int | None = None,
    calibration: CalibrationOf | None = None,
    progress: Progress | None = None,
    clock: Clock = time.perf_counter,
) -> Evaluation:
    """Ask a payload questions with known answers, and score what it says.

    Parameters
    ----------
    use, settings
        The payload, as in a scenario.
    asked
        Questions about the generated world, or a scenario whose pairs are asked about.
    folder
        What a payload's file is relative to.
    controls
        Whether all is asked again with pictures that do not hold the answer.
    jobs
        Processes; by default all cores, and one where there is little to ask.
    calibration
        Replaces the payload's own.

    Raises
    ------
    InputError
        The payload cannot be found or cannot look at these pairs, or there is no question with a label.
    """
    begin = clock()
    eye = Eye.of(use, settings or {}, folder)
    payload = eye.build()
    payload.fingerprint  # noqa: B018 - missing weights are told before anything is made
    if controls and payload.needs_truth:
        raise InputError(
            f"payload '{use}' answers from truth and looks at no picture; --controls alters pictures and would show "
            "nothing about it. Leave --controls out."
        )
    wanted = tuple(Control) if controls else ()
    how = How(eye, asked.seed, wanted, clock)
    try:
        if isinstance(asked, Generated):
            parts, about = _ask_generated(how, asked, jobs, progress)
        else:
            parts, about = _ask_scenario(how, asked, jobs, progress)
    finally:
        release()
    rows = [row for part in parts for row in part.rows]
    if not rows:
        raise InputError("there is no question with a label among these pairs; nothing can be scored.")
    results = _results(rows, parts, payload, how, about, calibration or own_calibration(payload))
    results["wall_s"] = clock() - begin
    cards, shown = _cards(parts, rows)
    return Evaluation(results, rows, cards, shown)


# -------------------------------------------------------------------- asking


def _ask_generated(
    how: How, asked: Generated, jobs: int | None, progress: Progress | None
) -> tuple[list[Part], dict[str, Any]]:
    missing = dict(asked.quotas())
    rounds, wave = asked.rounds(), 0
    expected, done, parts = len(rounds), 0, []
    while rounds:
        tasks = [(how, wanted, wanted.number == 0) for wanted in rounds]
        for part in _spread(ask_round, tasks, jobs, asked.count):
            done += 1
            # A round of a wave looks for all that is missing; what an earlier one has found is not taken twice.
            mine = _taken(part, missing)
            parts += [mine] if mine.rows else []
            if wave and not any(missing.values()):
                break
            if progress is not None:
                progress(min(1.0, done / expected))
        rounds, wave = asked.more_rounds(missing, wave), wave + 1
        expected = done + len(rounds)
    short = {f"{schema}/{kind}": n for (schema, kind), n in missing.items() if n}
    notes = [f"fewer questions than asked for, by schema and kind: {short}"] if short else []
    about = {
        "what": asked.text, "kind": "generated", "region": asked.region, "seed": asked.seed, "asked": asked.count,
        "short": short, "schemas": list(asked.schemas), "rounds": len(parts), "blocks_of_a_round": asked.blocks,
        "prevalence_drawn_from": asked.prevalence,
        "cloud_fraction": questions.CLOUD, "most_per_block_schema_and_kind": questions.PER_BLOCK,
        "world": world.code_digest()[:12], "notes": notes,
    }  # fmt: skip
    return parts, about


def _taken(part: Part, missing: dict[tuple[str, Kind], int]) -> Part:
    """The rows of a part that are still missing, which counts them off."""
    keep = []
    for k, row in enumerate(part.rows):
        if missing[row.schema, row.kind] > 0:
            missing[row.schema, row.kind] -= 1
            keep.append(k)
    shown = {new: part.shown[old] for new, old in enumerate(keep) if old in part.shown}
    return replace(part, rows=tuple(part.rows[k] for k in keep), shown=shown)


def _ask_scenario(
    how: How, scenario: Scenario, jobs: int | None, progress: Progress | None
) -> tuple[list[Part], dict[str, Any]]:
    found = gather(scenario)
    picks = labelled_questions(found.truth)
    by_chunk: dict[int, list[Pick]] = {}
    for pick in picks:
        by_chunk.setdefault(pick.row // _CHUNK, []).append(pick)
    tasks = [
        (how, _chunk_of(found, sorted({pick.row for pick in mine})), mine, number == 0)
        for number, mine in enumerate(by_chunk.values())
    ]
    parts = []
    for done, part in enumerate(_spread(_ask_chunk, tasks, jobs, len(picks)), 1):
        parts.append(_with_masks(part, found))
        if progress is not None:
            progress(done / len(tasks))
    region = "" if scenario.scenes.use != "synthetic" else ", any region"
    about = {
        "what": f"all labelled questions about the pairs of scenario '{scenario.name}'{region}",
        "kind": "scenario", "scenario": scenario.name, "scenes": scenario.scenes.use, "seed": scenario.seed,
        "asked": len(picks), "pairs": len(found), "schemas": list(found.truth.schemas),
        "notes": list(getattr(found.scenes, "notes", ())),
    }  # fmt: skip
    return parts, about


@dataclass(frozen=True)
class _Chunk:
    """Some pairs of a scenario, by their rows there."""

    rows: tuple[int, ...]
    pairs: tuple[TilePair, ...]
    truth: TruthTable
    keys: NDArray[np.uint64]


def _chunk_of(found: GatheredPairs, rows: Sequence[int]) -> _Chunk:
    pairs = tuple(found.pair(row) for row in rows)
    return _Chunk(tuple(rows), pairs, found.truth.rows(list(rows)), found.keys[list(rows)])


def _nothing(row: int, schema: str) -> None:
    """Truth that stays with whoever hands the chunk out."""


def _ask_chunk(how: How, chunk: _Chunk, picks: Sequence[Pick], singles: bool) -> Part:
    at = {row: k for k, row in enumerate(chunk.rows)}
    mine = [Pick(at[pick.row], pick.column, pick.kind) for pick in picks]
    pairs = Pairs(chunk.truth, chunk.keys, chunk.pairs.__getitem__, _nothing, _nothing)
    part = ask(how, pairs, mine, singles)
    return replace(part, rows=tuple(replace(row, row=chunk.rows[row.row]) for row in part.rows))


def _with_masks(part: Part, found: GatheredPairs) -> Part:
    """The part with the true fields, and with outlines on its pictures, where the scenes know them."""
    rows, shown = list(part.rows), dict(part.shown)
    for k, row in enumerate(rows):
        if not row.event:
            continue
        mask = _mask(found, row)
        rows[k] = replace(row, true=_true_fields(found, row, mask), hidden=hidden_share(found.pair(row.row), mask))
        if k in shown and mask is not None:
            again = picture_of(found.pair(row.row), mask)
            if again is not None:
                shown[k] = again
    return replace(part, rows=tuple(rows), shown=shown)


def _mask(found: GatheredPairs, row: Row) -> NDArray[np.bool_] | None:
    known = getattr(found.scenes, "change_mask", None)
    mask = None if known is None else known(row.row, row.schema)
    return None if mask is None or not mask.any() else mask


def _true_fields(found: GatheredPairs, row: Row, mask: NDArray[np.bool_] | None) -> Mapping[str, Any] | None:
    exact = getattr(found.scenes, "true_fields", None)
    if exact is not None:
        fields: Mapping[str, Any] | None = exact(row.row, row.schema)
        return fields
    if mask is not None:
        return fields_of_mask(mask)
    box = getattr(found.scenes, "change_box", lambda *_: None)(row.row, row.schema)
    return None if box is None else {"box": list(box)}


def _spread(
    call: Callable[..., Part], tasks: Sequence[tuple[Any, ...]], jobs: int | None, count: int
) -> Iterator[Part]:
    """The parts in order, from several processes where that is worth it."""
    many = min(jobs or (cores() if count >= _WORTH_WORKERS else 1), len(tasks))
    if many <= 1:
        for task in tasks:
            yield call(*task)
        return
    # loky rather than the standard library's pool: it survives a script without a main guard and a killed worker.
    from joblib import Parallel, delayed

    yield from Parallel(n_jobs=many, return_as="generator")(delayed(call)(*task) for task in tasks)


# -------------------------------------------------------------------- results


def _results(
    rows: Sequence[Row], parts: Sequence[Part], payload: PayloadBackend, how: How, about: Mapping[str, Any],
    calibration: CalibrationOf,
) -> dict[str, Any]:  # fmt: skip
    table = scores.table_of(rows, how.seed)
    labelled = table.truth.labelled
    pooled = scores.scores_of(table)
    per_schema = {
        schema: scores.scores_of(table.where(labelled[:, column])) for column, schema in enumerate(table.truth.schemas)
    }
    known = [part["f1"] for part in per_schema.values() if part["f1"] is not None]
    return {
        "format": FORMAT,
        **pooled,
        "macro_f1": sum(known) / len(known) if known else None,
        "per_schema": per_schema,
        "confusion": scores.confusion_of(rows),
        "parse_failures": scores.faults_of(rows, VerdictStatus.INVALID),
        "unclassifiable_answers": scores.faults_of(rows, VerdictStatus.UNCLASSIFIABLE),
        "payload_failures": [why for part in parts for why in part.failures],
        "fields": scores.fields_of(rows),
        "directed": scores.directed_of(rows),
        "sight": scores.sight_of(rows),
        "calibration": worth_of(table, calibration),
        "controls": scores.controls_of(rows, how.controls, score(table.status, table.truth).pooled),
        "latency_s": _latency(parts, payload),
        "tokens": _tokens(rows),
        "payload": _payload(payload, how.eye, rows),
        "set": dict(about),
        "versions": runfolder.versions(),
    }


def _latency(parts: Sequence[Part], payload: PayloadBackend) -> dict[str, Any]:
    each = np.array([b.wall_s / b.questions for part in parts for b in part.batches for _ in range(b.questions)])
    alone = np.array([second for part in parts for second in part.singles_s])
    sizes = [b.questions for part in parts for b in part.batches]
    return {
        "median": float(np.median(each)), "p90": float(np.quantile(each, 0.9)),
        "batch_questions": float(np.median(sizes)),
        "single": {
            "n": len(alone), "median": float(np.median(alone)) if len(alone) else None,
            "p90": float(np.quantile(alone, 0.9)) if len(alone) else None,
        },
        "first_answer": max(part.first_answer_s for part in parts),
        "declared": _declared(payload),
        "note": "wall time of this machine while it was doing this, pictures ready; a mission's clock is the declared "
        "one or the scenario's compute",
    }  # fmt: skip


def _declared(payload: PayloadBackend) -> dict[str, Any]:
    """The mission's clock, as the payload declares it; None with the reason where nobody has measured it."""
    try:
        return {"seconds_per_question": payload.seconds_per_question, "clock": getattr(payload, "clock", None)}
    except InputError as error:
        return {"seconds_per_question": None, "clock": str(error)}


def _tokens(rows: Sequence[Row]) -> dict[str, Any]:
    def mean(status: VerdictStatus | None) -> float | None:
        counts = [row.verdict.tokens for row in rows if status in (None, row.verdict.status)]
        return float(np.mean(counts)) if counts else None

    return {
        "total": sum(row.verdict.tokens for row in rows), "per_answer": mean(None),
        "per_event": mean(VerdictStatus.EVENT), "per_null": mean(VerdictStatus.NULL),
        "most": max(row.verdict.tokens for row in rows),
    }  # fmt: skip


def _payload(payload: PayloadBackend, eye: Eye, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "use": eye.use, "with": json.loads(eye.settings), "fingerprint": payload.fingerprint,
        "owner": str(getattr(payload, "owner", "")), "needs_truth": payload.needs_truth,
        "made_by": sorted({row.verdict.produced_by for row in rows} - {""}),
        "calibration_note": str(getattr(payload, "calibration_note", "")),
        "notes": [str(note) for note in getattr(payload, "notes", ())],
    }  # fmt: skip


def _cards(parts: Sequence[Part], rows: Sequence[Row]) -> tuple[dict[Outcome, list[int]], dict[int, Shown]]:
    shown: dict[int, Shown] = {}
    first = 0
    for part in parts:
        shown |= {first + k: picture for k, picture in part.shown.items()}
        first += len(part.rows)
    candidates = [
        Candidate(row.schema, row.event, str(row.verdict.status) == "event", row.verdict.body, row.true) for row in rows
    ]
    cards = chosen(candidates, sorted(shown))
    kept = {k for numbers in cards.values() for k in numbers}
    return cards, {k: shown[k] for k in sorted(kept)}


__all__ = ["FORMAT", "Evaluation", "cores", "evaluate"]
