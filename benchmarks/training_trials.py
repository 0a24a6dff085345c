"""What the recipe's choices are worth: short trainings of the base, alike but for one choice, judged on other regions.

``python -m benchmarks training_trials`` makes pairs (a quarter of an hour on two cores, kept beside the store of looks;
``python -m benchmarks.training_trials --pairs FOLDER`` takes those that ``flightsim train`` left in its work folder)
and trains each variant on one core, two at a time, some five minutes each. One seed: small differences say nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flightsim.rng import stream
from flightsim.scoring import Counts, wilson
from flightsim.store import cache_folder
from payload.train.batches import IGNORED, Batches
from payload.train.pairs import load_pairs, make_pairs
from payload.train.settings import StageSettings, TrainSettings
from payload.vlm.profile import load_profile

SAMPLES, SEED = 24_000, 0
#: Shards of pairs of the validation regions, and questions asked about them, balanced as in training.
_VALIDATION_SHARDS, _ASKED, _AT_ONCE = 8, 4_000, 50
#: Share of a tile below which an event counts as small. [-]
_SMALL = 0.03

#: What differs in the settings; those of the base as far as they are named.
TRIALS: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "no map": {"base": {"dense_weight": 0.0}},
    "AdamW for the matrices": {"base": {"optimizer": "adamw"}},
    "pairs asked about alike, not blocks": {"evenness": 0.0},
}


@dataclass(frozen=True)
class Judged:
    """A trained base on questions of the validation regions: whether it says yes."""

    name: str
    loss: float
    counts: Counts
    small: tuple[int, int]
    """Small events found, and all of them."""


def settings_of(name: str, samples: int) -> TrainSettings:
    """Settings of a trial: the shipped ones, fewer questions, one process."""
    changed = dict(TRIALS[name])
    base = TrainSettings().base.model_dump() | {"samples": samples} | changed.pop("base", {})
    return TrainSettings(processes=1, seed=SEED, base=StageSettings.model_validate(base), **changed)


def trial(name: str, folder: Path, shards: int, samples: int, asked: int = _ASKED) -> Judged:
    """Train one base and judge it."""
    import torch

    from payload.train.loop import Crew, train_stage
    from payload.train.losses import dense_head
    from payload.train.model import build_model
    from payload.train.tokens import build_tokenizer

    torch.set_num_threads(1)
    settings = settings_of(name, samples)
    profile = load_profile("flightsim")
    tokenizer = build_tokenizer(tuple(item.name for item in profile.pictures.composites))

    def batches(region: str, count: int, settings: TrainSettings) -> Batches:
        return Batches(load_pairs(folder, region, SEED, count), settings, profile, tokenizer)

    torch.manual_seed(settings.seed)
    model, head = build_model(settings.size, len(tokenizer)), dense_head(settings.size.text_width)
    with tempfile.TemporaryDirectory() as work:
        asks, checkpoint = batches("train", shards, settings), Path(work) / "base.safetensors"
        train_stage("base", model, head, asks, tokenizer, settings, checkpoint, Crew(), lambda progress: None)
    # The same questions for all, whatever they were trained on.
    return judged(name, model, batches("validation", _VALIDATION_SHARDS, TrainSettings()), tokenizer, asked)


def judged(name: str, model: Any, batches: Batches, tokenizer: Any, asked: int) -> Judged:
    """The first word of a base's answers, in the profile's first composite, without augmentation."""
    import torch
    from torch.nn import functional

    from payload.train.model import hidden_states, logits

    no = int(tokenizer("No.", add_special_tokens=False)["input_ids"][0])
    rng, each = stream(SEED, "trials/questions"), np.arange(_AT_ONCE)
    counts, losses, found, small = Counts(), [], 0, 0
    for _ in range(asked // _AT_ONCE):
        rows, schema = batches.questions(rng, _AT_ONCE)
        batch = batches.batch(rows, schema, np.zeros(_AT_ONCE, dtype=np.int64), "words")
        first = (batch.targets != IGNORED).argmax(axis=1)
        with torch.inference_mode():
            states = hidden_states(model, torch.from_numpy(batch.ids), torch.from_numpy(batch.patches))
            scores = logits(model, states[each, first - 1]).float()
        wanted = batch.targets[each, first]
        losses += functional.cross_entropy(scores, torch.from_numpy(wanted), reduction="none").tolist()
        event, said = wanted != no, scores.argmax(dim=-1).numpy() != no
        counts += Counts(
            int((event & said).sum()),
            int((~event & said).sum()),
            int((event & ~said).sum()),
            int((~event & ~said).sum()),
        )
        faint = event & (batches.shares(rows, schema) < _SMALL)
        found, small = found + int((faint & said).sum()), small + int(faint.sum())
    return Judged(name, float(np.mean(losses)), counts, (found, small))


def run(folder: Path, shards: int, samples: int, processes: int) -> None:
    """Pairs, all trials, and their table."""
    from joblib import Parallel, delayed

    settings = TrainSettings()
    for region, count in (("train", shards), ("validation", _VALIDATION_SHARDS)):
        total = make_pairs(folder, region, SEED, count, settings.shard_blocks, processes)
        print(f"{total} pairs of the {region} regions, seed {SEED}", flush=True)
    print(
        f"bases after {samples:,} questions, {_ASKED:,} questions of validation regions, whether there is an event\n"
        f"| recipe | F1 | precision | recall | of events under {_SMALL:.0%} of a tile | loss of the first word |\n"
        "|---|---|---|---|---|---|",
        flush=True,
    )
    jobs = (delayed(trial)(name, folder, shards, samples) for name in TRIALS)
    for told in Parallel(n_jobs=processes, return_as="generator")(jobs):
        found, small = told.small
        low, high = wilson(found, small)
        print(
            f"| {told.name} | {told.counts.f1 or 0:.3f} | {told.counts.precision or 0:.3f} "
            f"| {told.counts.recall or 0:.3f} | {found / max(1, small):.2f} [{low:.2f}-{high:.2f}] | {told.loss:.3f} |",
            flush=True,
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_trials", description=__doc__)
    parser.add_argument("--pairs", type=Path, default=cache_folder() / "pairs")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--shards", type=int, default=TrainSettings().shards)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments or [])
    run(given.pairs, given.shards, given.samples, given.processes)


if __name__ == "__main__":
    main(sys.argv[1:])
