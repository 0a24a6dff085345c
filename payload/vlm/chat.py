"""Chat completions about two pictures: how a question is put to a server, and what its answer must hold to count."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .client import Cause, Lost
from .dialects import TOP_LOGPROBS, Dialect
from .engine import Finish, Picture, Question, Reply
from .profile import Profile


def refusal(question: Question) -> str:
    """Why a question cannot be sent; empty if it can.

    A server takes pictures of any kind and answers ``null`` to what it cannot see, such as a fourth channel.
    """
    for name, picture in (("before", question.before), ("after", question.after)):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            given = f"shape {picture.shape} of {picture.dtype}"
            return f"picture '{name}' has {given}; a model is shown (rows, columns, 3) of uint8"
    return ""


def data_uri(picture: Picture) -> str:
    """A picture as PNG in a data URI; nothing is lost."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def request_body(question: Question, profile: Profile, dialect: Dialect, adapted: Mapping[str, Any]) -> dict[str, Any]:
    """A request for chat completions: first picture, second picture, text.

    Parameters
    ----------
    adapted
        Fields for model and adapter, from ``Dialect.adapted``.
    """
    content: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": data_uri(picture)}} for picture in (question.before, question.after)
    ]
    content.append({"type": "text", "text": question.prompt})
    body = {
        **adapted,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": profile.max_tokens,
        "n": 1,
        "stream": False,
        "logprobs": True,
        "top_logprobs": TOP_LOGPROBS,
        **dialect.sampling(profile.sampling),
    }
    if profile.constraint == "json_schema":
        schema = {"name": "verdict", "strict": True, "schema": question.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def reply_of(found: Mapping[str, Any]) -> Reply:
    """The reply in a document of chat completions.

    Raises
    ------
    Lost
        It holds no usable answer: another number of choices than one, no text, an unknown end.
    """
    choices = found.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        told = f"{len(choices)} of them" if isinstance(choices, list) else "none"
        raise Lost(Cause.CHOICES, f"one choice was asked for, and there are {told}")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Lost(Cause.CHOICES, "the choice has no message")
    finish = choice.get("finish_reason")
    if finish not in (Finish.STOP, Finish.LENGTH):
        raise Lost(Cause.FINISH, f"the answer ended with '{finish}', not with stop or length")
    text = message.get("content")
    if not isinstance(text, str):
        # JSON null here is no answer; the text "null" is one.
        instead = [key for key in ("tool_calls", "refusal", "reasoning_content") if message.get(key)]
        raise Lost(
            Cause.NO_CONTENT, f"content is {json.dumps(text)[:40]}; {' and '.join(instead) or 'nothing'} instead"
        )
    usage = found.get("usage")
    used = usage if isinstance(usage, dict) else {}
    prompt_tokens, tokens = _count(used.get("prompt_tokens")), _count(used.get("completion_tokens"))
    try:
        probability = event_probability(choice.get("logprobs"))
    except ValueError as error:
        return Reply("", Finish.NUMERIC, prompt_tokens, tokens, fault=str(error))
    return Reply(text, Finish(finish), prompt_tokens, tokens, probability)


def event_probability(logprobs: Any) -> float | None:
    """Probability that an answer's first token begins an object and not ``null``, of the two alone. [-]

    ``logprobs`` is that of a choice. None where the server tells none, or has neither among the likeliest.

    Raises
    ------
    ValueError
        A log probability is no number: the model's logits are broken.
    """
    told = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(told, list) or not told or not isinstance(told[0], dict):
        return None
    listed = [*(told[0].get("top_logprobs") or ()), *told]
    for entry in listed:
        value = entry.get("logprob") if isinstance(entry, dict) else None
        # Servers write NaN as null, for JSON has none.
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value > 1e-3:
            raise ValueError(f"a token's log probability is {json.dumps(value)}")
    event = null = 0.0
    for entry in told[0].get("top_logprobs") or ():
        text = str(entry.get("token", "")).strip()
        if text.startswith("{"):
            event += math.exp(min(entry["logprob"], 0.0))
        elif text and "null".startswith(text):
            null += math.exp(min(entry["logprob"], 0.0))
    return event / (event + null) if event + null > 0 else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


__all__ = ["data_uri", "event_probability", "refusal", "reply_of", "request_body"]
