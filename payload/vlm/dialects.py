"""How servers that speak OpenAI's chat completions differ: sampling, adapters, and what they tell of themselves.

llama.cpp is spoken as its server reads requests, which tests run; vLLM, SGLang and OpenAI as they are documented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flightsim.errors import InputError

from .profile import Sampling

#: OpenAI's API reference, chat completions: ``top_logprobs`` is at most 20. vLLM's --max-logprobs has the same default.
TOP_LOGPROBS = 20
#: Tokens over which llama.cpp looks back for repetitions: more than question and answer of any profile. It takes no -1.
_LOOK_BACK = 8192


@dataclass(frozen=True)
class Adapter:
    """Which LoRA adapter a question is asked with; None leaves the server as it was started."""

    name: str | None = None
    scale: float | None = None


class Dialect(Protocol):
    """What is particular to a kind of server."""

    @property
    def name(self) -> str:
        """As scenarios choose it."""
        ...

    @property
    def health(self) -> str:
        """Path that answers with status 200 when the server is ready."""
        ...

    @property
    def facts(self) -> Mapping[str, tuple[str, ...]]:
        """Paths where it tells about itself, and which of its words stay the same while nothing changes."""
        ...

    def check(self, sampling: Sampling, adapter: Adapter) -> str:
        """Why questions cannot be asked so; empty where they can."""
        ...

    def sampling(self, wanted: Sampling) -> dict[str, Any]:
        """Fields of a request for choosing tokens; every one is said, for the servers' defaults differ."""
        ...

    def adapted(self, model: str, adapter: Adapter, listed: tuple[str, ...]) -> dict[str, Any]:
        """Fields of a request for model and adapter; ``listed`` are the adapters that the server knows.

        Raises
        ------
        InputError
            It does not know this one.
        """
        ...


def _temperature(wanted: Sampling) -> float:
    """Temperature; 0 asks every one of these servers for greedy decoding. [-]"""
    return wanted.temperature if wanted.do_sample else 0.0


def _unknown(adapter: str, listed: tuple[str, ...], remedy: str) -> InputError:
    has = f"it has {', '.join(listed)}" if listed else "it has none"
    return InputError(f"payload 'server': the server knows no adapter '{adapter}'; {has}. {remedy}")


class LlamaCpp:
    """llama.cpp's own server, llama-server (tools/server/README.md of ggml-org/llama.cpp)."""

    name = "llama.cpp"
    health = "/health"
    facts: Mapping[str, tuple[str, ...]] = {
        "/props": ("model_alias", "model_path", "model_ftype", "modalities", "chat_template", "bos_token", "eos_token",
                   "build_info"),
    }  # fmt: skip

    def check(self, sampling: Sampling, adapter: Adapter) -> str:
        """It can all be said."""
        return ""

    def sampling(self, wanted: Sampling) -> dict[str, Any]:
        """Sampling fields.

        Notes
        -----
        Its own order puts the temperature last; transformers applies it before ``min_p`` and ``top_p``, and published
        settings mean that. ``repeat_last_n`` reaches over the whole text, as with transformers.
        """
        return {
            "temperature": _temperature(wanted),
            "top_k": wanted.top_k,
            "top_p": wanted.top_p,
            "min_p": wanted.min_p,
            "repeat_penalty": wanted.repetition_penalty,
            "repeat_last_n": _LOOK_BACK,
            "samplers": ["penalties", "temperature", "top_k", "top_p", "min_p"],
            "seed": wanted.seed,
            # A prompt that is partly kept is computed in other pieces, and near ties then fall otherwise.
            "cache_prompt": False,
        }

    def adapted(self, model: str, adapter: Adapter, listed: tuple[str, ...]) -> dict[str, Any]:
        """Field ``lora``: adapters by their place in the server's list; those that are not named have scale 0."""
        if adapter.name is None:
            if adapter.scale is None:
                return {"model": model}
            if len(listed) != 1:
                raise InputError(
                    f"payload 'server': adapter_scale is {adapter.scale:g}, and the server has {len(listed)} adapters "
                    f"({', '.join(listed) or 'none'}); name one with payload.with.adapter."
                )
            place = 0
        elif adapter.name in listed:
            place = listed.index(adapter.name)
        elif adapter.name.isdecimal() and int(adapter.name) < len(listed):
            place = int(adapter.name)
        else:
            raise _unknown(adapter.name, listed, "Start llama-server with --lora FILE.gguf.")
        return {"model": model, "lora": [{"id": place, "scale": 1.0 if adapter.scale is None else adapter.scale}]}


class _Scaleless:
    """Servers that load adapters with the scale that the adapter's own file states."""

    name = ""

    def check(self, sampling: Sampling, adapter: Adapter) -> str:
        """A scale cannot be said."""
        if adapter.scale is not None:
            return f"dialect {self.name} takes no adapter_scale; leave it out, or leave adapter out for the base alone"
        return ""


class Vllm(_Scaleless):
    """vLLM's OpenAI-compatible server (docs.vllm.ai, "OpenAI-Compatible Server" and "LoRA Adapters")."""

    name = "vllm"
    health = "/health"
    facts: Mapping[str, tuple[str, ...]] = {"/version": ("version",)}

    def sampling(self, wanted: Sampling) -> dict[str, Any]:
        """Its sampling parameters beyond OpenAI's stand at the top of the request; ``top_k`` -1 keeps all."""
        return {
            "temperature": _temperature(wanted),
            "top_k": wanted.top_k or -1,
            "top_p": wanted.top_p,
            "min_p": wanted.min_p,
            "repetition_penalty": wanted.repetition_penalty,
            "seed": wanted.seed,
        }

    def adapted(self, model: str, adapter: Adapter, listed: tuple[str, ...]) -> dict[str, Any]:
        """An adapter is asked for as if it were a model."""
        if adapter.name is None:
            return {"model": model}
        if adapter.name not in listed:
            raise _unknown(adapter.name, listed, "Start vLLM with --enable-lora --lora-modules NAME=FOLDER.")
        return {"model": adapter.name}


class Sglang(_Scaleless):
    """SGLang's OpenAI-compatible server (docs.sglang.ai, "OpenAI APIs" and "LoRA Serving")."""

    name = "sglang"
    health = "/health"
    facts: Mapping[str, tuple[str, ...]] = {"/get_model_info": ("model_path", "tokenizer_path", "weight_version")}

    def sampling(self, wanted: Sampling) -> dict[str, Any]:
        """Its sampling parameters beyond OpenAI's stand at the top of the request; ``top_k`` -1 keeps all."""
        return {
            "temperature": _temperature(wanted),
            "top_k": wanted.top_k or -1,
            "top_p": wanted.top_p,
            "min_p": wanted.min_p,
            "repetition_penalty": wanted.repetition_penalty,
            "seed": wanted.seed,
        }

    def adapted(self, model: str, adapter: Adapter, listed: tuple[str, ...]) -> dict[str, Any]:
        """Field ``lora_path``: the name under which the server loaded the adapter. A name is taken on trust.

        Older versions list no adapters, and an unknown name is then refused with the first question.
        """
        if adapter.name is None:
            return {"model": model}
        if listed and adapter.name not in listed:
            raise _unknown(adapter.name, listed, "Start SGLang with --enable-lora --lora-paths NAME=FOLDER.")
        return {"model": model, "lora_path": adapter.name}


class OpenAi(_Scaleless):
    """Any other server with OpenAI's chat completions and nothing beyond (platform.openai.com, API reference)."""

    name = "openai"
    health = "/v1/models"
    facts: Mapping[str, tuple[str, ...]] = {}

    def check(self, sampling: Sampling, adapter: Adapter) -> str:
        """What the standard has no field for cannot be said, and is not left out in silence."""
        beyond = {
            "top_k": sampling.do_sample and sampling.top_k != 0,
            "min_p": sampling.do_sample and sampling.min_p != 0,
            "repetition_penalty": sampling.repetition_penalty != 1,
        }
        unsaid = [name for name, wanted in beyond.items() if wanted]
        if unsaid:
            return (
                f"dialect openai cannot ask for {', '.join(unsaid)}, which the profile sets; choose dialect llama.cpp, "
                "vllm or sglang if the server is one of these, or a profile without them"
            )
        if adapter.name is not None:
            return "dialect openai knows no adapters; serve the adapted model under a name of its own, and state model"
        return super().check(sampling, adapter)

    def sampling(self, wanted: Sampling) -> dict[str, Any]:
        """The standard's own fields."""
        return {"temperature": _temperature(wanted), "top_p": wanted.top_p, "seed": wanted.seed}

    def adapted(self, model: str, adapter: Adapter, listed: tuple[str, ...]) -> dict[str, Any]:
        """No adapters."""
        return {"model": model}


_ALL: tuple[Dialect, ...] = (LlamaCpp(), Vllm(), Sglang(), OpenAi())
#: Dialects by name.
DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in _ALL}


__all__ = ["DIALECTS", "TOP_LOGPROBS", "Adapter", "Dialect", "LlamaCpp", "OpenAi", "Sglang", "Vllm"]
