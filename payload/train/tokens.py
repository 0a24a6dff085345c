"""The tokenizer of the shipped model: a small byte-level BPE, with whole pieces of a verdict as single tokens.

A verdict of the change task is then nine tokens instead of some forty-five, which is most of the time of an answer.
Any other text still encodes, byte by byte if need be.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from flightsim.domain import SCHEMA_IDS

from ..tasks import change

#: Names as in LFM2-VL, so that its processor finds them; ids are their places in this list.
SPECIAL = (
    "<|pad|>", "<|startoftext|>", "<|im_end|>", "<|im_start|>", "<|endoftext|>", "<image>", "<|image_start|>",
    "<|image_end|>", "<|img_thumbnail|>", "<|tool_call_start|>", "<|tool_call_end|>", "<|tool_list_start|>",
    "<|tool_list_end|>",
)  # fmt: skip
PAD, BEGIN, END, IMAGE = 0, 1, 2, 5
VOCABULARY = 512

CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages %}{{- "<|im_start|>" + message.role + "\\n" }}
{%- if message.content is string %}{{- message.content }}
{%- else %}{%- for part in message.content %}{%- if part.type == "image" %}{{- "<image>" }}
{%- elif part.type == "text" %}{{- part.text }}{%- endif %}{%- endfor %}
{%- endif %}{{- "<|im_end|>\\n" }}{%- endfor %}
{%- if add_generation_prompt %}{{- "<|im_start|>assistant\\n" }}{%- endif %}"""


def pieces() -> list[str]:
    """Pieces of a verdict's text that are single tokens; their concatenation is the whole answer.

    ``null``, or direction, severity, share, place, and the four ends of the box. No piece begins another: the share
    0.5 and the edge 0.5 are told apart by what follows.
    """
    steps = [str(change.coordinate(step)) for step in range(change.BOX_STEPS + 1)]
    return [
        "null",
        *(f'{{"direction":"{name}","severity":"' for name in change.DIRECTIONS),
        *(f'{name}","fraction_of_tile":' for name in severities()),
        *(f'{share},"where":"' for share in change.FRACTIONS),
        *(f'{cell}","box":[' for cell in change.CELLS),
        *(f"{step}," for step in steps),
        *(f"{step}]}}" for step in steps),
    ]


def severities() -> tuple[str, ...]:
    """Severities that a schema knows."""
    from flightsim.verdicts import schema_of

    return tuple(schema_of(SCHEMA_IDS[0])["properties"]["severity"]["enum"])


def build_tokenizer(composites: tuple[str, ...]) -> Any:
    """A ``PreTrainedTokenizerFast`` for the questions about these composites, with the chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    kept = pieces()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(kept), special_tokens=list(SPECIAL), min_frequency=2, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    core.train_from_iterator(_corpus(composites), trainer)
    core.add_tokens([AddedToken(text, special=False, normalized=False) for text in kept])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=SPECIAL[BEGIN], eos_token=SPECIAL[END], pad_token=SPECIAL[PAD],
        padding_side="left", clean_up_tokenization_spaces=False,
    )  # fmt: skip
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _corpus(composites: tuple[str, ...]) -> Iterator[str]:
    # Text seen once stays in bytes, so all is told often.
    for _ in range(50):
        yield from ("user\n", "assistant\n", "system\n", "Repeat: ", "No.")
        for schema, name in itertools.product(SCHEMA_IDS, composites):
            yield change.prompt(schema, change.Prompt.SHORT, name)
        for words in itertools.product(change.DIRECTIONS, change.CELLS):
            yield caption({**_EXAMPLE, "direction": words[0], "where": words[1]})
        for severity in severities():
            yield caption({**_EXAMPLE, "severity": severity})
        for share in change.FRACTIONS:
            yield caption({**_EXAMPLE, "fraction_of_tile": share})


_EXAMPLE: Mapping[str, Any] = {
    "direction": "increase", "severity": "low", "fraction_of_tile": 0.02, "where": "north", "box": [0.0, 0.0, 0.5, 0.5],
}  # fmt: skip


def caption(body: Mapping[str, Any] | None) -> str:
    """What the base model is taught to say: the verdict in words, without JSON."""
    if body is None:
        return "No."
    place = str(body["where"]).replace("_", " ")
    box = "".join(f"{edge}," for edge in body["box"])
    return f"Yes, {body['direction']} in the {place}, {body['severity']}, share {body['fraction_of_tile']}, box {box}"


def prompt_text(image_tokens: int, text: str) -> str:
    """A whole prompt about two pictures, as the chat template and the processor make it."""
    picture = f"{SPECIAL[6]}{SPECIAL[IMAGE] * image_tokens}{SPECIAL[7]}"
    return f"{SPECIAL[BEGIN]}<|im_start|>user\n{picture}{picture}{text}<|im_end|>\n<|im_start|>assistant\n"
