"""One look of a payload at all pairs: verdicts stored, scored beside the answers that need no eye."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import registry
from .boxes import box_scores
from .domain import TilePair, TruthTable, Verdict, VerdictStatus
from .errors import InputError
from .looking import look_at_all
from .perception import VerdictBook, shot_keys
from .protocols import PayloadBackend
from .readers import How, as_arrived
from .runs import open_payload
from .scenario.models import Scenario
from .scoring import Counts, Score, score, status_table, wilson
from .store import VerdictCache
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
        f"{name:24s} {row['tp']:4d} {row['fp']:4d} {row['fn']:4d} {row['tn']:5d} "
        f"{row['unclassifiable']:7d} {row['invalid']:7d} "
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
        f"{'schema':24s} {'tp':>4s} {'fp':>4s} {'fn':>4s} {'tn':>5s} {'abstain':>7s} {'invalid':>7s} "
        f"{'precision':>17s} {'recall':>17s} {'F1':>5s} {'MCC':>5s}",
        *[_line(name, row) for name, row in {**per_schema, **rows}.items()],
        f"unusable pairs (cloud, no data): {int(unusable.sum())}, of them called an event: {fooled}",
    ]
    return scores, lines


def _boxes(verdicts: Sequence[tuple[Verdict, ...]], scenes: Any) -> tuple[dict[str, Any], list[str]]:
    """Scores of the verdicts' boxes where the scenes know the true ones, pooled and by schema, and a line of them."""
    true_box = getattr(scenes, "change_box", None)
    if true_box is None:
        return {}, []
    found = [
        (verdict.schema_id, (verdict.body or {}).get("box"), true_box(row, verdict.schema_id))
        for row, answers in enumerate(verdicts)
        for verdict in answers
    ]
    scores: dict[str, Any] = box_scores([(box, true) for _, box, true in found])
    if not scores["true_boxes"]:
        return scores, []
    scores["per_schema"] = {
        schema: box_scores([(box, true) for other, box, true in found if other == schema])
        for schema in sorted({schema for schema, _, true in found if true is not None})
    }
    line = f"boxes: {scores['n']} of {scores['true_boxes']} true ones have one in an event verdict"
    if scores["n"]:
        line += f", mean IoU {scores['mean_iou']:.2f}, >= 0.5: {scores['iou50']:.2f}, >= 0.25: {scores['iou25']:.2f}"
    return scores, [line]


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


@dataclass(frozen=True)
class Pairs:
    """All labelled pairs of a scenario, and the payload that can look at them."""

    payload: PayloadBackend
    name: str
    truth: TruthTable
    keys: NDArray[np.uint64]  # (n,)
    pair: Callable[[int], TilePair]
    seed: int
    looks_at_pixels: bool
    failures: list[str] = field(default_factory=list)
    scenes: Any = None
    """Whose notes are told, and whose ``change_box`` is the truth about boxes."""
    look_ahead: Callable[[], None] | None = None
    """Answers all that the store of looks does not know, on several cores."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def longest_px(self) -> int:
        """Longer side of the largest picture. [px]"""
        return max((max(self.pair(row).after.size_px) for row in range(len(self))), default=0)

    def answers(self, hows: Sequence[How] = (None,)) -> dict[How, list[tuple[Verdict, ...]]]:
        """Answers by pair, for each way in which the new picture may have been sent; None is a tile, or no picture.

        The verdicts are stored, and taken from the store where they are known.
        """
        open_payload(self.payload, self.name)
        cache = VerdictCache(self.payload.fingerprint) if self.looks_at_pixels else None

        def seen(how: How, row: int) -> TilePair:
            return self.pair(row) if how is None else as_arrived(self.pair(row), how)

        try:
            if self.look_ahead is not None:
                self.look_ahead()
            books = {
                how: VerdictBook(
                    self.payload, partial(seen, how), self.keys, self.truth, self.seed,
                    lambda _, why: self.failures.append(why), cache,
                )
                for how in hows
            }  # fmt: skip
            found: dict[How, list[tuple[Verdict, ...]]] = {how: [] for how in hows}
            for row in range(len(self)):
                # All renditions of a batch one after the other, while its pictures are at hand.
                for how, book in books.items():
                    found[how].append(book.of(row, self.truth.schemas))
            if cache is not None:
                cache.save()
        finally:
            self.payload.close()
        return found


def sample(scenario: Scenario, blocks: int, region: str = "train") -> Pairs:
    """Pairs of the generated world without an orbit, from one part of it, with the scenario's camera and payload.

    Parameters
    ----------
    blocks
        Blocks of 64 tiles, each seen on one date.
    region
        train, validation or test; what is fitted on one part can be tested on another.

    Raises
    ------
    InputError
        The scenario has other scenes, or the region is unknown.
    """
    if scenario.scenes.use != "synthetic":
        raise InputError(f"pairs are sampled from scenes 'synthetic'; the scenario has '{scenario.scenes.use}'.")
    from .scenes.synthetic.sampling import sample_world

    camera = scenario.craft[0].camera
    payload: PayloadBackend = registry.build("payloads", scenario.payload.use, scenario.payload.with_, scenario.folder)
    source, plan, truth = sample_world(
        blocks, scenario.seed, region=region, schemas=scenario.payload.schemas,
        prevalence=scenario.targets.prevalence_of("default"), cloud_fraction=scenario.targets.clouds.mean_fraction,
        tile_px=camera.tile_px, gsd_m=camera.gsd_m, bits=camera.bits,
    )  # fmt: skip
    keys, looks = shot_keys(plan, scenario.seed), not payload.needs_truth
    return Pairs(payload, scenario.payload.use, truth, keys, source.pair, scenario.seed, looks, scenes=source)


def gather(scenario: Scenario) -> Pairs:
    """The pairs of a scenario; those of an archive whether or not the orbit meets them, else those of the plan.

    Raises
    ------
    InputError
        The payload cannot look at these scenes.
    """
    payload: PayloadBackend = registry.build("payloads", scenario.payload.use, scenario.payload.with_, scenario.folder)
    scenes = registry.build("scenes", scenario.scenes.use, scenario.scenes.with_, scenario.folder)
    if payload.needs_pixels and not scenes.has_pixels:
        raise InputError(f"payload '{scenario.payload.use}' looks at pixels, scenes '{scenario.scenes.use}' have none.")
    looks = scenes.has_pixels and not payload.needs_truth
    if hasattr(scenes, "pairs"):
        truth = scenes.all_rows_truth(scenario.payload.schemas)
        pairs: list[TilePair] = list(scenes.pairs())
        keys = np.arange(len(pairs), dtype=np.uint64)
        return Pairs(payload, scenario.payload.use, truth, keys, pairs.__getitem__, scenario.seed, looks, scenes=scenes)
    world = prepare(scenario)
    keys = shot_keys(world.plan, scenario.seed)
    ahead = partial(look_at_all, scenario, world.plan, world.scenes, payload, False, ()) if looks else None
    return Pairs(
        payload, scenario.payload.use, world.truth, keys, world.scenes.pair, scenario.seed, looks, scenes=world.scenes,
        look_ahead=ahead,
    )  # fmt: skip


def perceive(scenario: Scenario) -> PerceiveResult:
    """Run the payload once over the scenario's pairs, store the verdicts, score them where labels exist.

    Pairs of an archive are looked at whether or not the orbit meets them; other scenes give the plan's pairs.

    Raises
    ------
    InputError
        The payload cannot look at these scenes.
    """
    pairs = gather(scenario)
    verdicts = pairs.answers()[None]
    names = [pairs.pair(row).after.place_id for row in range(len(pairs))]
    scores, lines = score_lines(verdicts, pairs.truth, pairs.payload, names)
    scores["payload_failures"] = pairs.failures
    scores["boxes"], boxes = _boxes(verdicts, pairs.scenes)
    scores["notes"] = list(getattr(pairs.scenes, "notes", ()))
    lines = [*lines, *boxes, *(f"note: {note}" for note in scores["notes"])]
    return PerceiveResult(json.loads(json.dumps(scores)), lines)
