"""From logits to tokens: are they numbers at all, what do they say of the first token, which token is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .profile import Sampling


def is_finite(logits: Any) -> list[bool]:
    """For each row of logits, shape (rows, vocabulary), whether all are finite numbers."""
    import torch

    # Extremes carry a NaN or infinity along, in one pass without a second array.
    least, most = torch.aminmax(logits, dim=-1)
    return [bool(sound) for sound in (torch.isfinite(least) & torch.isfinite(most)).tolist()]


@dataclass(frozen=True)
class FirstTokens:
    """Tokens with which an answer can begin."""

    objects: tuple[int, ...]
    """Tokens whose text begins with an opening brace."""
    nulls: tuple[int, ...]
    """Tokens whose text is ``null`` or a beginning of it."""


def first_tokens(tokenizer: Any) -> FirstTokens:
    """The tokens of a fast tokenizer with which an object or ``null`` begins, blanks before it passed over."""
    objects, nulls = [], []
    specials = set(tokenizer.all_special_ids)
    for raw, token in tokenizer.get_vocab().items():
        # Most of a large vocabulary is ruled out by its stored form; only the rest is decoded.
        if token in specials or not ("{" in raw or raw.endswith(("n", "nu", "nul", "null"))):
            continue
        text = tokenizer.decode([token], clean_up_tokenization_spaces=False).strip()
        if text.startswith("{"):
            objects.append(token)
        elif text and "null".startswith(text):
            nulls.append(token)
    return FirstTokens(tuple(sorted(objects)), tuple(sorted(nulls)))


def event_probabilities(logits: Any, starts: FirstTokens) -> list[float | None]:
    """For each row of raw logits, the probability of an object as first token, of object and ``null`` alone. [-]"""
    import torch

    if not starts.objects or not starts.nulls:
        return [None] * len(logits)
    event, null = (torch.logsumexp(logits[:, list(tokens)], dim=-1) for tokens in (starts.objects, starts.nulls))
    return [float(value) for value in torch.sigmoid(event - null).tolist()]


class Chooser:
    """Takes tokens as a profile says: the likeliest, or drawn."""

    def __init__(self, sampling: Sampling) -> None:
        import transformers as hub

        # Drawing at temperature 0 is taking the likeliest.
        self.draws = sampling.do_sample and sampling.temperature > 0
        penalty = sampling.repetition_penalty
        self._penalty: Any = hub.RepetitionPenaltyLogitsProcessor(penalty) if penalty != 1 else None
        self._warpers: list[Any] = []
        if self.draws:
            # In the order of transformers' own generate().
            if sampling.temperature != 1:
                self._warpers.append(hub.TemperatureLogitsWarper(sampling.temperature))
            if sampling.top_k > 0:
                self._warpers.append(hub.TopKLogitsWarper(sampling.top_k))
            if sampling.top_p < 1:
                self._warpers.append(hub.TopPLogitsWarper(sampling.top_p))
            if sampling.min_p > 0:
                self._warpers.append(hub.MinPLogitsWarper(sampling.min_p))

    def penalised(self, scores: Any, written: Sequence[Sequence[int]]) -> Any:
        """Scores with the penalty on tokens that stand in prompt or answer."""
        import torch

        if self._penalty is None:
            return scores
        longest = max(map(len, written))
        # Short rows are filled up with a token of their own, so that what stands beside them changes nothing.
        ids = np.array([[row[0]] * (longest - len(row)) + list(row) for row in written], dtype=np.int64)
        return self._penalty(torch.from_numpy(ids).to(scores.device), scores)

    def take(self, scores: Any, draws: Sequence[np.random.Generator]) -> list[int]:
        """A token for each row of scores, shape (rows, vocabulary); each row draws from a generator of its own."""
        import torch

        if not self.draws:
            return [int(token) for token in scores.argmax(dim=-1).tolist()]
        for warp in self._warpers:
            scores = warp(None, scores)
        shares = torch.softmax(scores.cpu().double(), dim=-1).cumsum(dim=-1)
        points = torch.tensor([[draw.random()] for draw in draws], dtype=torch.float64) * shares[:, -1:]
        return [int(token) for token in torch.searchsorted(shares, points, right=True)[:, 0].tolist()]


__all__ = ["Chooser", "FirstTokens", "event_probabilities", "first_tokens", "is_finite"]
