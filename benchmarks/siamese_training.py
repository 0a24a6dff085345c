"""Trains the siamese network on the shipped model's own pairs, with its augmentation and balance. One core, minutes.

``python -m benchmarks siamese_training`` makes pairs of the training regions (a quarter of an hour on two cores, kept
beside the store of looks; ``python -m benchmarks.siamese_training --pairs FOLDER`` takes those that ``flightsim train``
left in its work folder), trains, measures rates on the validation regions and writes the weights.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flightsim.domain import SCHEMA_IDS
from flightsim.rng import stream
from flightsim.scoring import Counts
from flightsim.store import cache_folder
from payload.train.batches import Batch, Batches
from payload.train.pairs import Pairs, load_pairs, make_pairs
from payload.train.settings import TrainSettings
from payload.vlm.profile import load_profile

from .siamese import MAP_CELLS, PROFILE, SIDE_PX, WEIGHTS, build_network

SAMPLES, SEED = 96_000, 0
_BATCH, _RATE, _DECAY, _WARM_UP = 32, 3e-3, 0.02, 100
#: Shards of pairs of the validation regions, and questions of each schema asked about them.
_VALIDATION_SHARDS, _ASKED = 3, 240
#: Weight of the map of changed cells, as in the shipped model's training, and of a changed cell in it.
_DENSE, _CELL_WEIGHT = 1.0, 2.0


class _NoWords:
    """Stands in for a tokenizer: this network is told no words."""

    def __call__(self, text: str, add_special_tokens: bool = False) -> dict[str, list[int]]:
        return {"input_ids": [0]}


class Questions:
    """Balanced questions about pairs, with pictures, as the shipped model is trained on them."""

    def __init__(self, pairs: Pairs, settings: TrainSettings) -> None:
        self._pairs, self._settings = pairs, settings
        self._batches = Batches(pairs, settings, load_profile(PROFILE), _NoWords())

    def draw(self, rng: np.random.Generator, count: int, augment: bool = True) -> tuple[NDArray[Any], ...]:
        """Pictures (n, 3, rows, columns) before and after, schemas, events, increases (n,), cells (n, 7, 8, 8)."""
        rows, schema = self._batches.questions(rng, count)
        composite = self._batches.composites(rng, count) if augment else np.zeros(count, dtype=np.int64)
        batch = self._batches.batch(rows, schema, composite, "json", rng if augment else None)
        before, after = _pictures(batch, self._settings)
        pairs = self._pairs
        return before, after, schema, pairs.positive[rows, schema], pairs.increase[rows, schema], _cells(batch)


def _pictures(batch: Batch, settings: TrainSettings) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The batch's patches put together again, shape (n, 3, rows, columns) each."""
    size = settings.size
    along, patch = size.patches, size.patch_px
    blocks = batch.patches.reshape(-1, along, along, patch, patch, 3)
    planes = np.ascontiguousarray(blocks.transpose(0, 5, 1, 3, 2, 4).reshape(-1, 3, SIDE_PX, SIDE_PX))
    return planes[0::2], planes[1::2]


def _cells(batch: Batch) -> NDArray[np.float32]:
    """The batch's map of changed cells as planes: 1 changed, 0 unchanged, -1 left out."""
    n, tokens, _ = batch.cells.shape
    along = math.isqrt(tokens)
    fine = MAP_CELLS // along
    blocks = batch.cells.reshape(n, along, along, len(SCHEMA_IDS), fine, fine).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(blocks.reshape(n, len(SCHEMA_IDS), MAP_CELLS, MAP_CELLS))


def train(questions: Questions, samples: int, seed: int, told: Any = print) -> Any:
    """A trained network. Equal arguments give equal weights on one machine."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    network = build_network().to(memory_format=torch.channels_last).train()
    matrices = [value for value in network.parameters() if value.ndim > 1]
    others = [value for value in network.parameters() if value.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}], lr=_RATE
    )
    steps, mean, began = max(1, samples // _BATCH), 0.7, time.monotonic()
    for number in range(steps):
        cosine = 0.5 * (1 + math.cos(math.pi * number / steps))
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1.0, (number + 1) / min(_WARM_UP, 1 + steps // 10)) * (0.03 + 0.97 * cosine)
        drawn = [torch.from_numpy(np.ascontiguousarray(part)) for part in questions.draw(
            stream(seed, f"siamese/{number}"), _BATCH)]  # fmt: skip
        before, after, schema, event, increase, cells = drawn
        with torch.autocast("cpu", torch.bfloat16):
            out = network(before, after)
        said, direction = (part.float().gather(1, schema[:, None])[:, 0] for part in out[:2])
        answer = functional.binary_cross_entropy_with_logits(said, event.float())
        turned = functional.binary_cross_entropy_with_logits(
            direction, increase.float(), weight=event.float(), reduction="sum"
        ) / event.sum().clamp(min=1)
        counted = (cells >= 0).float()
        dense = functional.binary_cross_entropy_with_logits(
            out[2].float(), cells.clamp(min=0), weight=counted, pos_weight=torch.tensor(_CELL_WEIGHT), reduction="sum"
        ) * len(SCHEMA_IDS) / counted.sum().clamp(min=1)  # fmt: skip
        loss = answer + 0.3 * turned + _DENSE * dense
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        mean = 0.97 * mean + 0.03 * answer.item()
        if (number + 1) % 250 == 0 or number + 1 == steps:
            told(f"step {number + 1} of {steps}, {time.monotonic() - began:.0f} s, loss of answers {mean:.3f}")
    return network.eval()


def measured(network: Any, questions: Questions, asked: int, seed: int) -> dict[str, Counts]:
    """Confusion counts by schema on balanced questions, without augmentation, in infrared."""
    import torch

    found = {schema: Counts() for schema in SCHEMA_IDS}
    rng = stream(seed, "siamese/validation")
    for _ in range(max(1, asked * len(SCHEMA_IDS) // 128)):
        before, after, schema, event, *_ = questions.draw(rng, 128, augment=False)
        with torch.inference_mode():
            out = network(torch.from_numpy(before), torch.from_numpy(after))[0].numpy()
        said = out[np.arange(len(schema)), schema] >= 0
        for k, name in enumerate(SCHEMA_IDS):
            mine = schema == k
            found[name] += Counts(
                int((mine & event & said).sum()), int((mine & ~event & said).sum()),
                int((mine & event & ~said).sum()), int((mine & ~event & ~said).sum()),
            )  # fmt: skip
    return found


def save(network: Any, path: Path, facts: dict[str, Any]) -> None:
    """Write weights in bfloat16, running means in float32, and what is known of them."""
    import torch
    from safetensors.torch import save_file

    state = {
        name: (value.to(torch.bfloat16) if value.ndim > 1 else value.float()).contiguous()
        for name, value in network.state_dict().items()
        if "num_batches" not in name
    }
    partial = path.with_suffix(".partial")
    save_file(state, partial, metadata={"facts": json.dumps(facts, sort_keys=True)})
    os.replace(partial, path)


def run(
    folder: Path, out: Path, samples: int, seed: int, shards: int, processes: int, told: Any = print
) -> dict[str, Any]:
    """Pairs, training, rates and the file of weights; gives what was measured."""
    settings = TrainSettings()
    sets = []
    for region, count in (("train", shards), ("validation", _VALIDATION_SHARDS)):
        total = make_pairs(folder, region, settings.seed, count, settings.shard_blocks, processes)
        told(f"{total} pairs of the {region} regions, seed {settings.seed}")
        sets.append(Questions(load_pairs(folder, region, settings.seed, count), settings))
    seen, other = sets
    began = time.monotonic()
    network = train(seen, samples, seed, told)
    wall_s = time.monotonic() - began
    # Measured as it ships: rounded.
    parameters = sum(value.numel() for value in network.parameters())
    save(network, out, {})
    from .siamese import load_network

    counts = measured(load_network(out), other, _ASKED, seed)
    pooled = sum(counts.values(), Counts())
    facts = {
        "samples": samples, "seed": seed, "parameters": parameters,
        "rates": {name: {"tpr": round(c.recall or 0.0, 3), "fpr": round(c.fp / max(1, c.fp + c.tn), 3)}
                  for name, c in counts.items()},
        "validation": {"questions": pooled.total, "f1": pooled.f1, "mcc": pooled.mcc,
                       "per_schema_f1": {name: c.f1 for name, c in counts.items()}},
    }  # fmt: skip
    save(network, out, facts)
    told(
        f"siamese: {parameters:,} parameters, {samples} questions in {wall_s:.0f} s on one core; validation regions, "
        f"{pooled.total} balanced questions: F1 {pooled.f1 or 0:.3f}, MCC {pooled.mcc or 0:.3f}"
    )
    told("F1 by schema: " + ", ".join(f"{name} {c.f1 or 0:.3f}" for name, c in counts.items()))
    return facts


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.siamese_training", description=__doc__)
    parser.add_argument("--pairs", type=Path, default=cache_folder() / "pairs")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name(WEIGHTS))
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--shards", type=int, default=TrainSettings().shards)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments or [])
    run(given.pairs, given.out, given.samples, given.seed, given.shards, given.processes)


if __name__ == "__main__":
    main(sys.argv[1:])
