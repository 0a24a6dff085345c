"""One look of a payload at all pairs: verdicts stored, scored beside the answers that need no eye."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import registry
from .domain import TilePair, TruthTable, Verdict, VerdictStatus
from .errors import InputError
from .perception import VerdictBook, VerdictCache, shot_keys
from .protocols import PayloadBackend
from .runs import open_payload
from .scenario.models import Scenario
from .scoring import Counts, Score, score, status_table, wilson
from .world import prepare


def _row(counts: Counts, abstained: int = 0, invalid: int = 0) -> dict[str, Any]:
    return {
        "tp": counts.tp,
        "fp": counts.fp,
        "fn": counts.fn,
        "tn": counts.tn,
        "unclassifiable": abstained,
        "invalid": invalid,
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "mcc": counts.mcc,
        "ci95": {
            "precision": list(wilson(counts.tp, counts.tp + counts.fp)) if counts.tp + counts.fp else None,
            "recall": list(wilson(counts.tp, counts.positives)) if counts.positives else None,
        },
    }


def _scored(score: Score) -> dict[str, Any]:
    return _row(
        score.strict,
        score.abstained_positive + score.abstained_negative,
        score.invalid_positive + score.invalid_negative,
    )


def _share(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" [{interval[0]:.2f}-{interval[1]:.2f}]" if interval else "")


def _line(name: str, row: dict[str, Any]) -> str:
    return (
        f"{name:24s} {row['tp']:4d} {row['fp']:4d} {row['fn']:4d} {row['tn']:5d} {row['unclassifiable']:7d} "
        f"{_share(row['precision'], row['ci95']['precision']):>17s} "
        f"{_share(row['recall'], row['ci95']['recall']):>17s} "
        f"{_share(row['f1'], None):>5s} {_share(row['mcc'], None):>5s}"
    )


def score_lines(
    verdicts: Sequence[tuple[Verdict, ...]], truth: TruthTable, payload: PayloadBackend, names: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Scores as a mapping and as a table: per schema, pooled, always-yes and always-null.

    Unclassifiable and invalid answers count as "no event" in the confusion counts and are told apart beside them.
    Intervals are Wilson's, at 95 %.
    """
    statuses = status_table([verdict for row in verdicts for verdict in row], truth.schemas)
    table = score(statuses, truth)
    baselines = {name: _row(counts) for name, counts in table.pooled.baselines().items()}
    per_schema = {schema: _scored(part) for schema, part in table.per_schema.items()}
    rows = {
        "all schemas": _scored(table.pooled),
        "always yes": baselines["always_yes"],
        "always null": baselines["always_null"],
    }
    labelled, changed = truth.labelled, truth.changed
    every = (statuses == str(VerdictStatus.EVENT)).sum(axis=1)
    scores = {
        "n": int(labelled.sum()),
        "pairs": len(verdicts),
        "payload": payload.fingerprint,
        "needs_truth": payload.needs_truth,
        "per_schema": per_schema,
        "pooled": rows["all schemas"],
        "always_yes": rows["always yes"],
        "always_null": rows["always null"],
        "by_pair": [
            {
                "pair": names[k],
                "visible": bool(truth.visible[k]),
                "verdicts": {v.schema_id: str(v.status) + (f" ({v.reason})" if v.reason else "") for v in verdicts[k]},
                "labels": {s: bool(changed[k, j]) for j, s in enumerate(truth.schemas) if labelled[k, j]},
            }
            for k in range(len(verdicts))
        ],
    }
    unusable = ~truth.visible
    fooled = int((every[unusable] > 0).sum())
    lines = [
        f"{len(verdicts)} pairs, {int(labelled.sum())} labelled questions, eye {payload.fingerprint}",
        f"{'schema':24s} {'tp':>4s} {'fp':>4s} {'fn':>4s} {'tn':>5s} {'abstain':>7s} "
        f"{'precision':>17s} {'recall':>17s} {'F1':>5s} {'MCC':>5s}",
        *[_line(name, row) for name, row in {**per_schema, **rows}.items()],
        f"unusable pairs (cloud, no data): {int(unusable.sum())}, of them called an event: {fooled}",
    ]
    return scores, lines


@dataclass(frozen=True)
class PerceiveResult:
    """A payload's answers over all pairs of a scenario, scored where there are labels."""

    scores: dict[str, Any]
    lines: Sequence[str]

    def table_lines(self) -> list[str]:
        """A table for people."""
        return list(self.lines)

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return self.scores


def perceive(scenario: Scenario) -> PerceiveResult:
    """Run the payload once over the scenario's pairs, store the verdicts, score them where labels exist.

    Pairs of an archive are looked at whether or not the orbit meets them; other scenes give the plan's pairs.

    Raises
    ------
    InputError
        The payload cannot look at these scenes.
    """
    payload: PayloadBackend = registry.build("payloads", scenario.payload.use, scenario.payload.with_, scenario.folder)
    scenes = registry.build("scenes", scenario.scenes.use, scenario.scenes.with_, scenario.folder)
    if payload.needs_pixels and not scenes.has_pixels:
        raise InputError(f"payload '{scenario.payload.use}' looks at pixels, scenes '{scenario.scenes.use}' have none.")
    pair: Callable[[int], TilePair]
    if hasattr(scenes, "pairs"):
        truth = scenes.all_rows_truth(scenario.payload.schemas)
        pairs: list[TilePair] = list(scenes.pairs())
        keys, pair = np.arange(len(pairs), dtype=np.uint64), lambda row: pairs[row]
    else:
        world = prepare(scenario)
        truth, keys, pair = world.truth, shot_keys(world.plan, scenario.seed), world.scenes.pair
    failures: list[str] = []
    open_payload(payload, scenario.payload.use)
    try:
        cache = VerdictCache(payload.fingerprint) if scenes.has_pixels and not payload.needs_truth else None
        book = VerdictBook(payload, pair, keys, truth, scenario.seed, lambda _, detail: failures.append(detail), cache)
        verdicts = [book.of(row, scenario.payload.schemas) for row in range(len(keys))]
        if cache is not None:
            cache.save()
    finally:
        payload.close()
    scores, lines = score_lines(verdicts, truth, payload, [pair(row).after.place_id for row in range(len(keys))])
    scores["payload_failures"] = failures
    return PerceiveResult(json.loads(json.dumps(scores)), lines)
