"""The vision-language model on real pairs, which nothing is trained on, beside `spectral`, a siamese CNN and no eye.

``python -m benchmarks.vlm_real --sheet FILE.png`` draws the questions that the model got wrong, as it was shown them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import flightsim as fs
from flightsim.domain import TilePair, Verdict, VerdictStatus
from flightsim.evaluation.scores import auc
from flightsim.perceived import Pairs, gather
from flightsim.rng import stream
from flightsim.scenario.models import Payload
from flightsim.scoring import Counts, confusion, wilson
from payload.vlm.gated import PairGate, Refusal
from payload.vlm.profile import load_profile

from .siamese import PROFILE, WEIGHTS
from .vlm_questions import absent, missing, parser, settings_of

REAL = Path(__file__).resolve().parents[1].parent / "shared" / "data"
SETS = {"whole pictures": [], "slices of 128 px": ["scenes.with.slice_px=128"]}
RESAMPLES, SEED = 2000, 0
#: Cases nearer than this show one place: their pictures are alike. [deg] 0.2 are some 20 km.
_ONE_PLACE_DEG = 0.2
#: Most columns and rows of the sheet of misses.
_COLUMNS, _ROWS = 5, 14
_METRICS = ("F1", "MCC", "AUC")


@dataclass(frozen=True)
class Answers:
    """Labelled questions with an eye's answers, shape (m,) each."""

    true: NDArray[np.bool_]
    said: NDArray[np.bool_]
    stated: NDArray[np.float64]  # probability of an event; NaN where the eye gave no answer
    unanswered: int
    invalid: int

    @property
    def counts(self) -> Counts:
        """Confusion counts; what was not answered reads as "no event"."""
        return confusion(self.true, self.said)

    def metrics(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """F1, MCC and AUC over some questions, NaN where undefined."""
        rows = np.arange(len(self.true)) if rows is None else rows
        counts = confusion(self.true[rows], self.said[rows])
        found = (counts.f1, counts.mcc, auc(self.stated[rows], self.true[rows]))
        return np.array([np.nan if value is None else value for value in found])


@dataclass(frozen=True)
class RealSet:
    """The labelled questions of a set: pair, schema and truth, and the place that each belongs to, shape (m,)."""

    pairs: Pairs
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    place: NDArray[np.int64]

    @property
    def true(self) -> NDArray[np.bool_]:
        """Whether the event that is asked about is there."""
        return np.asarray(self.pairs.truth.changed[self.row, self.column])


def real_set(use: str, settings: Mapping[str, Any], changes: Sequence[str], folder: Path) -> RealSet:
    """Real pairs, and an eye to look at them."""
    scenario = fs.load_scenario("real-images", [f"scenes.with.path={REAL}", *changes])
    chosen = Payload.model_validate({"use": use if ":" not in use else f"{folder}/{use}", "with": dict(settings)})
    pairs = gather(scenario.copy_with(payload=chosen))
    row, column = np.nonzero(pairs.truth.labelled)
    tiles = [pairs.pair(int(k)).after for k in row]
    where = np.array([(tile.lat_deg, tile.lon_deg) for tile in tiles])
    return RealSet(pairs, row, column, places(where))


def places(where: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers of places for positions (n, 2) of latitude and longitude: what lies near each other is one. [deg]"""
    number = np.full(len(where), -1)
    for k, position in enumerate(where):
        near = (number >= 0) & (np.abs(where - position).max(axis=1) < _ONE_PLACE_DEG)
        number[k] = number[near][0] if near.any() else number.max(initial=-1) + 1
    return number


def answers_of(asked: RealSet, verdicts: Sequence[tuple[Verdict, ...]]) -> Answers:
    """The answers to the labelled questions."""
    mine = [verdicts[r][c] for r, c in zip(asked.row.tolist(), asked.column.tolist(), strict=True)]
    said = np.array([verdict.status is VerdictStatus.EVENT for verdict in mine])
    invalid = sum(verdict.status is VerdictStatus.INVALID for verdict in mine)
    refused = sum(verdict.status is VerdictStatus.UNCLASSIFIABLE for verdict in mine)
    return Answers(asked.true, said, np.array([_stated(verdict) for verdict in mine]), refused, invalid)


def _stated(verdict: Verdict) -> float:
    if verdict.confidence is None or verdict.status not in (VerdictStatus.EVENT, VerdictStatus.NULL):
        return float("nan")
    return verdict.confidence if verdict.status is VerdictStatus.EVENT else 1.0 - verdict.confidence


def constant(asked: RealSet, say: bool) -> Answers:
    """Answers that need no eye."""
    count = len(asked.row)
    return Answers(asked.true, np.full(count, say), np.full(count, float(say)), 0, 0)


def resampled(
    eyes: Mapping[str, Answers], place: NDArray[np.int64], seed: int = SEED
) -> dict[str, NDArray[np.float64]]:
    """Metrics of each eye on resamples of the places, the same for all eyes, shape (resamples, 3)."""
    generator, numbers = stream(seed, "benchmarks/real"), np.unique(place)
    rows_of = [np.flatnonzero(place == number) for number in numbers]
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in eyes}
    for _ in range(RESAMPLES):
        rows = np.concatenate([rows_of[k] for k in generator.integers(0, len(numbers), len(numbers))])
        for name, answers in eyes.items():
            found[name].append(answers.metrics(rows))
    return {name: np.array(values) for name, values in found.items()}


def interval(values: NDArray[np.float64]) -> str:
    """Percentile interval at 95 % of resampled values, as text; a dash where a fifth of them are undefined."""
    known = values[np.isfinite(values)]
    if len(known) < 0.8 * len(values):
        return ""
    low, high = np.quantile(known, (0.025, 0.975))
    return f" [{low:.2f}, {high:.2f}]"


def table_lines(name: str, asked: RealSet, eyes: Mapping[str, Answers]) -> list[str]:
    """One set as rows of a table."""
    drawn, lines = resampled(eyes, asked.place), []
    for eye, answers in eyes.items():
        counts, values = answers.counts, answers.metrics()
        texts = [
            "-" if np.isnan(value) else f"{value:.2f}{interval(drawn[eye][:, k])}" for k, value in enumerate(values)
        ]
        known = int(np.isfinite(answers.stated).sum())
        lines.append(
            f"| {name} | {eye} | {counts.tp} | {counts.fp} | {counts.fn} | {counts.tn} | {answers.unanswered} "
            f"| {answers.invalid} | {_share(counts.tp, counts.tp + counts.fp)} | {_share(counts.tp, counts.positives)} "
            f"| {texts[0]} | {texts[1]} | {texts[2]} ({known}) |"
        )
    return lines


def _share(k: int, n: int) -> str:
    if n == 0:
        return "-"
    low, high = wilson(k, n)
    return f"{k / n:.2f} [{low:.2f}, {high:.2f}]"


def difference_lines(name: str, asked: RealSet, eyes: Mapping[str, Answers], base: str = "vlm") -> list[str]:
    """How much better the model is than each other eye, on the same resamples."""
    drawn, lines = resampled(eyes, asked.place), []
    for eye, answers in eyes.items():
        if eye == base:
            continue
        apart = eyes[base].metrics() - answers.metrics()
        texts = [
            f"{metric} {value:+.2f}{interval(drawn[base][:, k] - drawn[eye][:, k])}"
            for k, (metric, value) in enumerate(zip(_METRICS, apart, strict=True))
            if not np.isnan(value)
        ]
        lines.append(f"{name}, {base} less {eye}: {', '.join(texts)}")
    return lines


def schema_lines(asked: RealSet, eyes: Mapping[str, Answers]) -> list[str]:
    """Counts by schema: too few for ratios, enough to see where an eye fails."""
    lines = []
    for column, schema in enumerate(asked.pairs.truth.schemas):
        mine = asked.column == column
        if mine.any():
            told = []
            for eye, answers in eyes.items():
                counts = confusion(answers.true[mine], answers.said[mine])
                told.append(f"{eye} tp {counts.tp} fp {counts.fp} fn {counts.fn} tn {counts.tn}")
            lines.append(f"  {schema:22s} {'; '.join(told)}")
    return lines


# -------------------------------------------------------------------- the sheet of misses


def draw_misses(asked: RealSet, verdicts: Sequence[tuple[Verdict, ...]], path: Path) -> int:
    """Draw before and after of the wrong answers as the model was shown them; how many there are."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    gate = PairGate("vlm", type(asked.pairs.payload).Config().gate, load_profile(PROFILE).pictures)
    wrong = []
    for row, column, true in zip(asked.row.tolist(), asked.column.tolist(), asked.true.tolist(), strict=True):
        verdict = verdicts[row][column]
        if (verdict.status is VerdictStatus.EVENT) != true:
            wrong.append((asked.pairs.pair(row), verdict, true))
    # Spread over the whole list: neighbouring slices of one case are alike.
    chosen = [
        wrong[k] for k in np.unique(np.linspace(0, len(wrong) - 1, min(len(wrong), _COLUMNS * _ROWS)).astype(int))
    ]
    rows = -(-len(chosen) // _COLUMNS) or 1
    figure, axes = plt.subplots(rows, _COLUMNS, figsize=(4.2 * _COLUMNS, 2.5 * rows), squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    for axis, (pair, verdict, true) in zip(axes.ravel(), chosen, strict=False):
        axis.imshow(_beside(gate, pair))
        stated = "" if verdict.confidence is None else f" {verdict.confidence:.2f}"
        reason = f" ({verdict.reason[:30]})" if verdict.reason else ""
        axis.set_title(
            f"{pair.after.place_id}\n{verdict.schema_id}: {'event' if true else 'none'}, said {verdict.status}{stated}"
            f"{reason}", fontsize=7,
        )  # fmt: skip
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    plt.close(figure)
    return len(wrong)


def _beside(gate: PairGate, pair: TilePair) -> NDArray[np.uint8]:
    shown = gate.look(pair)
    if isinstance(shown, Refusal):
        assert pair.before is not None
        images = [tile.image for tile in (pair.before, pair.after)]
        planes = [np.asarray(image.pixels())[0] for image in images if image is not None]
        grey = np.concatenate([plane / max(int(plane.max()), 1) for plane in planes], axis=1)
        return np.asarray(np.repeat((255 * grey).astype(np.uint8)[:, :, None], 3, axis=2))
    return np.concatenate([shown.before, np.full((shown.before.shape[0], 4, 3), 255, np.uint8), shown.after], axis=1)


def eyes_of(given: argparse.Namespace) -> dict[str, tuple[str, dict[str, Any]]]:
    """Eyes that can look here, and a word about each that cannot."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    why = absent(given)
    if why:
        print(f"vlm SKIPPED: {why}")
    else:
        found["vlm"] = ("vlm", settings_of(given, engine=given.engine))
    found["spectral"] = ("spectral", {})
    lacking = missing("torch", "safetensors")
    if lacking:
        print(f"siamese SKIPPED: {', '.join(lacking)} not installed")
    elif not Path(__file__).with_name(WEIGHTS).is_file():
        print("siamese SKIPPED: no weights; make them with python -m benchmarks siamese_training")
    else:
        found["siamese"] = ("siamese.py:Siamese", {})
    return found


def main(arguments: list[str] | None = None) -> None:
    options = parser("vlm_real", __doc__)
    options.add_argument("--engine", default="llamacpp", choices=("llamacpp", "transformers"))
    options.add_argument("--sheet", type=Path, help="draw the wrong answers into this PNG file, one for each set")
    given = options.parse_args(arguments or [])
    if not REAL.is_dir():
        print("real pairs: ../shared/data is absent, SKIPPED")
        return
    chosen, rows, notes = eyes_of(given), [], []
    for name, changes in SETS.items():
        eyes: dict[str, Answers] = {}
        for eye, (use, settings) in chosen.items():
            asked = real_set(use, settings, changes, Path(__file__).resolve().parent)
            verdicts = asked.pairs.answers()[None]
            eyes[eye] = answers_of(asked, verdicts)
            if eye == "vlm" and given.sheet is not None:
                sheet = given.sheet.with_stem(f"{given.sheet.stem}-{len(rows)}")
                print(f"{name}: {draw_misses(asked, verdicts, sheet)} wrong answers, drawn in {sheet.name}")
        eyes |= {"always yes": constant(asked, True), "always null": constant(asked, False)}
        rows += table_lines(name, asked, eyes)
        notes.append(
            f"{name}: {len(asked.pairs)} pairs, {len(asked.row)} labelled questions, {int(asked.true.sum())} of them "
            f"positive, {len(np.unique(asked.place))} places"
        )
        notes += (
            difference_lines(name, asked, {k: v for k, v in eyes.items() if k != "always null"})
            if "vlm" in eyes
            else []
        )
        notes += schema_lines(asked, {k: v for k, v in eyes.items() if not k.startswith("always")})
    print("| pairs | eye | tp | fp | fn | tn | refused | invalid | precision | recall | F1 | MCC | AUC (answered) |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    print(
        f"\n95 %: Wilson for shares; for F1, MCC and AUC {RESAMPLES} resamples of the places, percentiles: with so few "
        "places these intervals are too narrow if anything. What was not answered counts as no event, and not in AUC.\n"
        "The rules of spectral were written with these pairs at hand, so its figures flatter; vlm and siamese have "
        "seen none of them."
    )
    print("\n".join(notes))


if __name__ == "__main__":
    main(sys.argv[1:])
