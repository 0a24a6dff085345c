"""What a model is trained for: its own answer, the map of what changed, and repeating verdicts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flightsim.domain import SCHEMA_IDS

from ..tasks import change
from .batches import IGNORED, SUB_CELLS, Batch, padded
from .model import hidden_states, logits, text_states
from .pairs import SEVERITIES
from .tokens import BEGIN, END, IMAGE, SPECIAL, caption

#: A changed cell counts this much more than an unchanged one, of which there are many more.
_CELL_WEIGHT = 2.0


def dense_head(width: int) -> Any:
    """The head of the dense loss, thrown away after training: what changed within each token's square, by schema."""
    from torch import nn

    return nn.Linear(width, len(SCHEMA_IDS) * SUB_CELLS**2)


def answer_losses(
    model: Any, head: Any, batch: Batch, image_tokens: int, event_weight: float, null_token: int
) -> tuple[Any, Any]:
    """Loss of the answers' tokens alone, and the dense loss at the tokens of the new picture.

    The dense loss makes the attention layers compare the same place in both pictures, which the answers alone hardly
    teach: one answer is one number a pair, the map is some hundred.
    """
    import torch
    from torch.nn import functional

    ids, targets, cells = (torch.from_numpy(part) for part in (batch.ids, batch.targets, batch.cells))
    states = hidden_states(model, ids, torch.from_numpy(batch.patches))
    asked = targets[:, 1:] != IGNORED
    wanted = targets[:, 1:][asked]
    each = functional.cross_entropy(logits(model, states[:, :-1][asked]).float(), wanted, reduction="none")
    weight = torch.where(wanted == null_token, 1.0, event_weight)
    told = (each * weight).sum() / weight.sum()
    spots = (batch.ids[0] == IMAGE).nonzero()[0][image_tokens:]
    seen = head(states[:, torch.from_numpy(spots)]).float()
    counted = (cells >= 0).float()
    dense = functional.binary_cross_entropy_with_logits(
        seen, cells.clamp(min=0), weight=counted, pos_weight=torch.tensor(_CELL_WEIGHT), reduction="sum"
    )
    return told, dense * len(SCHEMA_IDS) / counted.sum().clamp(min=1)


def copy_batch(rng: np.random.Generator, count: int, tokenizer: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and targets of the text-only task to repeat a verdict, as JSON or in words."""
    examples = []
    for _ in range(count):
        edges = np.sort(rng.permutation(change.BOX_STEPS + 1)[:4]).reshape(2, 2).T.ravel()
        body = {
            "direction": change.DIRECTIONS[rng.integers(2)],
            "severity": SEVERITIES[rng.integers(len(SEVERITIES))],
            "fraction_of_tile": change.FRACTIONS[rng.integers(len(change.FRACTIONS))],
            "where": change.CELLS[rng.integers(9)],
            "box": [change.coordinate(int(edge)) for edge in edges],
        }
        told = body if rng.random() < 0.9 else None
        text = change.answer_text(told) if rng.random() < 0.8 else caption(told)
        question = f"{SPECIAL[BEGIN]}<|im_start|>user\nRepeat: {text}<|im_end|>\n<|im_start|>assistant\n"
        ids = [list(tokenizer(part, add_special_tokens=False)["input_ids"]) for part in (question, text)]
        examples.append((ids[0], [*ids[1], END]))
    return padded(examples)


def copy_loss(model: Any, ids: NDArray[np.int64], targets: NDArray[np.int64]) -> Any:
    """Loss of the repeated text's tokens alone."""
    import torch
    from torch.nn import functional

    wanted = torch.from_numpy(targets)[:, 1:]
    asked = wanted != IGNORED
    states = text_states(model, torch.from_numpy(ids))
    return functional.cross_entropy(logits(model, states[:, :-1][asked]).float(), wanted[asked])
