"""Answers from a model of the LFM2-VL class in torch: many questions at a time, each as if it were alone.

    pictures -> tiles -> vision tower -> features --+
                                                    v
    prompt -> tokens -> embeddings with features -> language model -> logits
                                     ^                                  |
                                     |      finite? -> penalty -> grammar -> draw -> token, until its end
                                     +------------------------------------------------+

The guard against NaN and infinity stands before everything else that touches logits: a grammar would make well-formed
answers of them. A picture that several questions show goes through the tower once. Answers that are done leave the
batch. Draws come from a generator of the question's own, so an answer does not depend on what is asked beside it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from flightsim.errors import InputError

from .choosing import Chooser, event_probabilities, first_tokens, is_finite
from .constrained import Grammars, SchemaMask
from .engine import Finish, Picture, Question, Reply
from .processor import IMAGE, PictureProcessor, Seen
from .profile import Profile

#: Most patches that go through the vision tower at a time; bounds its memory. Four full tiles of LFM2-VL
#: (512 px, patches of 16 px) are 4096.
PATCHES_AT_ONCE = 16_384


def refusal(question: Question) -> str:
    """Why a question cannot be asked; empty if it can."""
    for name, picture in (("before", question.before), ("after", question.after)):
        if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
            given = getattr(picture, "dtype", type(picture).__name__)
            return f"picture '{name}' has samples of type {given}; a model is shown uint8"
        if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            return f"picture '{name}' has shape {picture.shape}; a model is shown (rows, columns, 3): red, green, blue"
    if IMAGE in question.prompt:
        return f"the question's text holds '{IMAGE}', which stands for a picture"
    return ""


@dataclass
class _Answer:
    """An answer that is being written."""

    place: int
    """Place of its question in the batch."""
    ids: list[int]
    """Tokens of the prompt."""
    draws: np.random.Generator
    written: list[int] = field(default_factory=list)
    event_probability: float | None = None

    def reply(self, text: str, finish: Finish, fault: str = "") -> Reply:
        probability = self.event_probability if finish is not Finish.NUMERIC else None
        return Reply(text, finish, len(self.ids), len(self.written), probability, fault)


class Decoder:
    """Asks one loaded model.

    Parameters
    ----------
    model
        An ``Lfm2VlForConditionalGeneration``, with or without a LoRA adapter around it.
    tokenizer
        Its fast tokenizer, with chat template.

    Raises
    ------
    InputError
        The tokenizer has no chat template, image token or end of an answer.
    MissingExtra
        The profile wants a grammar and llguidance is not installed.
    """

    def __init__(self, model: Any, tokenizer: Any, processor: PictureProcessor, profile: Profile) -> None:
        self._core = model.base_model.model if hasattr(model, "peft_config") else model
        self._tokenizer, self._processor, self._profile = tokenizer, processor, profile
        self._image = int(self._core.config.image_token_id)
        self._ends = _ends(self._core, tokenizer)
        vocabulary = int(self._core.lm_head.weight.shape[0])
        self._check_tokenizer(vocabulary)
        self._grammars = Grammars(tokenizer, vocabulary, self._ends) if profile.constraint == "json_schema" else None
        self._starts = first_tokens(tokenizer)
        self._choose = Chooser(profile.sampling)
        self._tokens_of = lru_cache(maxsize=4096)(self._tokenized)
        self._positions = lru_cache(maxsize=64)(self._position_table)

    def _check_tokenizer(self, vocabulary: int) -> None:
        if not self._tokenizer.chat_template:
            raise InputError("the model's tokenizer has no chat template; its folder lacks chat_template.jinja.")
        if self._tokenizer.convert_tokens_to_ids(IMAGE) != self._image:
            raise InputError(
                f"token '{IMAGE}' of the tokenizer is not the model's image token {self._image}; base folder and "
                "tokenizer do not belong together."
            )
        if len(self._tokenizer) > vocabulary:
            raise InputError(
                f"the tokenizer has {len(self._tokenizer)} tokens and the model {vocabulary}; base folder and "
                "tokenizer do not belong together."
            )

    # ---------------------------------------------------------------- prompt

    def prompt_ids(self, question: Question, before: Seen, after: Seen) -> list[int]:
        """Tokens of a whole prompt."""
        return list(self._tokens_of(question.prompt, before.text, after.text))

    def _tokenized(self, prompt: str, before: str, after: str) -> tuple[int, ...]:
        content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": prompt}]
        whole = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        parts = whole.split(IMAGE)
        if len(parts) != 3:
            raise InputError(f"the model's chat template shows {len(parts) - 1} of two pictures.")
        text = parts[0] + before + parts[1] + after + parts[2]
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    # ---------------------------------------------------------------- pictures

    def features(self, seen: Sequence[Seen]) -> list[Any]:
        """What the language model is given for each picture, shape (tokens, width) each.

        Equal to the stock forward pass, which pads every tile to the largest there could be and loops over them.
        """
        import torch

        by_shape: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for picture, one in enumerate(seen):
            for number, tile in enumerate(one.tiles):
                by_shape.setdefault(tile.shape, []).append((picture, number))
        found: dict[tuple[int, int], Any] = {}
        for shape, places in by_shape.items():
            many = max(1, PATCHES_AT_ONCE // (shape[0] * shape[1]))
            for start in range(0, len(places), many):
                part = places[start : start + many]
                values = torch.from_numpy(np.stack([seen[picture].tiles[number].values for picture, number in part]))
                found.update(zip(part, self._tower(values, shape), strict=True))
        return [
            torch.cat([found[picture, number] for number in range(len(one.tiles))]) for picture, one in enumerate(seen)
        ]

    def _tower(self, values: Any, shape: tuple[int, int]) -> Any:
        model = self._core.model
        tower = model.vision_tower
        weight = tower.embeddings.patch_embedding.weight
        hidden = tower.embeddings.patch_embedding(values.to(weight.device, weight.dtype)) + self._positions(shape)
        # Tiles of one shape need no padding, hence no mask.
        hidden = tower.encoder(inputs_embeds=hidden, attention_mask=None).last_hidden_state
        hidden = tower.post_layernorm(hidden)
        projected = model.multi_modal_projector(hidden.view(len(hidden), *shape, -1))
        return projected.reshape(len(hidden), -1, projected.shape[-1])

    def _position_table(self, shape: tuple[int, int]) -> Any:
        import torch

        inner = self._core.model.vision_tower.embeddings
        side = inner.position_embedding_size
        table = inner.position_embedding.weight.reshape(side, side, -1)
        sizes = torch.tensor([shape], device=table.device)
        return inner.resize_positional_embeddings(table, sizes, max_length=shape[0] * shape[1])

    # ---------------------------------------------------------------- answers

    def answer(self, questions: Sequence[Question]) -> list[Reply]:
        """Replies to questions that can be asked, in their order, written together."""
        import torch

        with torch.inference_mode():
            pictures: dict[bytes, Picture] = {}
            shown = []
            for question in questions:
                pair = (_digest(question.before), _digest(question.after))
                pictures.update(zip(pair, (question.before, question.after), strict=True))
                shown.append(pair)
            seen = dict(zip(pictures, self._processor(list(pictures.values())), strict=True))
            features = dict(zip(seen, self.features(list(seen.values())), strict=True))
            answers = [
                _Answer(
                    place,
                    self.prompt_ids(question, seen[before], seen[after]),
                    self._generator(question, before, after),
                )
                for place, (question, (before, after)) in enumerate(zip(questions, shown, strict=True))
            ]
            rows = [torch.cat([features[before], features[after]]) for before, after in shown]
            return self._write(answers, rows, [question.schema for question in questions])

    def _generator(self, question: Question, before: bytes, after: bytes) -> np.random.Generator:
        parts = (str(self._profile.sampling.seed).encode(), question.prompt.encode(), before, after)
        return np.random.default_rng(list(hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()))

    def _write(self, answers: list[_Answer], features: list[Any], schemas: Sequence[Mapping[str, Any]]) -> list[Reply]:
        import torch

        language, head = self._core.model.language_model, self._core.lm_head
        mask = None if self._grammars is None else SchemaMask(self._grammars, schemas)
        replies: dict[int, Reply] = {}
        ids, attention = self._padded(answers)
        embedded = language.embed_tokens(ids)
        spots = (ids == self._image).unsqueeze(-1)
        flat = torch.cat(features).to(embedded.dtype)
        if int(spots.sum()) != len(flat):
            raise InputError(f"pictures have {len(flat)} features and prompts {int(spots.sum())} places for them.")
        embedded = embedded.masked_scatter(spots, flat)
        positions = (attention.cumsum(1) - 1).clamp(min=0)
        past = None
        while answers:
            told = language(
                inputs_embeds=embedded,
                attention_mask=attention,
                position_ids=positions,
                past_key_values=past,
                use_cache=True,
            )
            past = told.past_key_values
            raw = head(told.last_hidden_state[:, -1]).float()
            kept, chosen = self._step(answers, raw, mask, replies)
            if not kept:
                break
            answers = [answers[row] for row in kept]
            if len(kept) < len(raw):
                index = torch.tensor(kept, device=raw.device)
                past.reorder_cache(index)
                attention, positions = attention[index], positions[index]
            embedded = language.embed_tokens(torch.tensor(chosen, device=raw.device).unsqueeze(1))
            attention = torch.cat([attention, attention.new_ones(len(kept), 1)], dim=1)
            positions = positions[:, -1:] + 1
        return [replies[place] for place in range(len(schemas))]

    def _padded(self, answers: Sequence[_Answer]) -> tuple[Any, Any]:
        """Prompts with padding on the left, and where they are not padding; shape (answers, tokens) both."""
        import torch

        longest = max(len(answer.ids) for answer in answers)
        ids = np.full((len(answers), longest), self._ends[0], dtype=np.int64)
        attention = np.zeros_like(ids)
        for row, answer in enumerate(answers):
            ids[row, longest - len(answer.ids) :] = answer.ids
            attention[row, longest - len(answer.ids) :] = 1
        device = self._core.device
        return torch.from_numpy(ids).to(device), torch.from_numpy(attention).to(device)

    def _step(
        self, answers: Sequence[_Answer], raw: Any, mask: SchemaMask | None, replies: dict[int, Reply]
    ) -> tuple[list[int], list[int]]:
        """One more token for each answer: rows that go on, and their tokens. Answers that end get their reply."""
        import torch

        rows = []
        for row, sound in enumerate(is_finite(raw)):
            if sound:
                rows.append(row)
            else:
                fault = f"the logits of token {len(answers[row].written) + 1} are NaN or infinite"
                replies[answers[row].place] = answers[row].reply("", Finish.NUMERIC, fault)
        if not rows:
            return [], []
        going, scores = [answers[row] for row in rows], raw if len(rows) == len(raw) else raw[rows]
        if not going[0].written:
            for answer, probability in zip(going, event_probabilities(scores, self._starts), strict=True):
                answer.event_probability = probability
        scores = self._choose.penalised(scores, [answer.ids + answer.written for answer in going])
        if mask is not None:
            allowed = torch.from_numpy(mask.allowed([answer.place for answer in going])).to(scores.device)
            scores = scores.masked_fill(~allowed, -math.inf)
        kept, chosen = [], []
        tokens = self._choose.take(scores, [answer.draws for answer in going])
        for row, answer, token in zip(rows, going, tokens, strict=True):
            ended = self._ended(answer, token, mask)
            if ended is None:
                kept.append(row)
                chosen.append(token)
            else:
                replies[answer.place] = ended
        return kept, chosen

    def _ended(self, answer: _Answer, token: int, mask: SchemaMask | None) -> Reply | None:
        """The reply if the answer ends with this token."""
        if mask is not None:
            mask.advance(answer.place, token)
            fault = mask.fault(answer.place)
            if fault:
                return answer.reply("", Finish.ERROR, f"grammar: {fault}")
        answer.written.append(token)
        if token in self._ends:
            return answer.reply(self._text(answer.written[:-1]), Finish.STOP)
        if len(answer.written) >= self._profile.max_tokens:
            return answer.reply(self._text(answer.written), Finish.LENGTH)
        return None

    def _text(self, tokens: Sequence[int]) -> str:
        # Special tokens within an answer are shown, for they make it invalid.
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _digest(picture: Picture) -> bytes:
    told = hashlib.blake2b(str(picture.shape).encode(), digest_size=16)
    told.update(picture.tobytes())
    return told.digest()


def _ends(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Tokens that end an answer, as the generation settings say, else the tokenizer."""
    told = model.generation_config.eos_token_id
    told = tokenizer.eos_token_id if told is None else told
    if told is None:
        raise InputError("the model has no end token; its folder lacks generation_config.json with eos_token_id.")
    return tuple(int(token) for token in (told if isinstance(told, list) else [told]))


__all__ = ["PATCHES_AT_ONCE", "Decoder", "refusal"]
