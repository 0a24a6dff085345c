"""A model behind an OpenAI-compatible server as payload: llama.cpp, vLLM, SGLang and others."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from flightsim.errors import InputError

from .backend import VlmConfig, VlmPayload
from .client import Patience
from .dialects import Adapter
from .engine import Engine
from .lines import root_of
from .server_engine import ServerEngine, short


class Server(VlmPayload):
    """A vision-language model behind an OpenAI-compatible server."""

    class Config(VlmConfig, Patience):
        """Address, model, and how patiently it is asked."""

        base_url: str
        """Address of the server, such as http://127.0.0.1:8080; a trailing /v1 may be left out."""
        dialect: Literal["llama.cpp", "vllm", "sglang", "openai"] = "llama.cpp"
        """Which server it is; openai is any other, with the standard's own fields."""
        model: str | None = None
        """Name under which the model is served. Default: the one that is, where it is but one."""
        adapter: str | int | None = None
        """LoRA adapter that the server holds, by name; with llama.cpp its file's name or place. Default: none named."""
        adapter_scale: Annotated[float, Field(ge=0, le=4)] | None = None
        """Scale of the adapter, 0 for the base alone; llama.cpp only. [-] Default: 1 for a named adapter."""
        api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
        """Environment variable that holds the key; the key itself is never written down."""
        declared: str | None = None
        """JSON file, relative to the scenario, with rates and seconds as in a model folder's profile.json."""

        @field_validator("base_url")
        @classmethod
        def _is_address(cls, value: str) -> str:
            try:
                root_of(value)
            except InputError as error:
                raise ValueError(str(error)) from None
            return value

    name: ClassVar[str] = "server"
    _NO_ANSWER = VlmPayload._NO_ANSWER | frozenset(Patience.model_fields) | {
        "base_url", "dialect", "model", "adapter", "adapter_scale", "api_key_env", "declared",
    }  # fmt: skip
    _config: Config

    def __init__(self, config: Config, base_folder: Path = Path(".")) -> None:
        super().__init__(config, base_folder)

    def make_engine(self) -> Engine:
        """The engine for the server that the settings name."""
        settings = self._config
        adapter = None if settings.adapter is None else str(settings.adapter)
        patience = Patience(**{name: getattr(settings, name) for name in Patience.model_fields})
        return ServerEngine(
            settings.base_url, self.profile, dialect=settings.dialect, model=settings.model,
            adapter=Adapter(adapter, settings.adapter_scale), patience=patience, key=_key(settings.api_key_env),
        )  # fmt: skip

    def close(self) -> None:
        """Hang up."""
        # The server is asked for its name before the first question, so there may be more to close than was opened.
        engine = self.__dict__.get("engine")
        if engine is not None:
            engine.close()
        self._opened = False

    @cached_property
    def _facts(self) -> Mapping[str, Any]:
        named = self._config.declared
        if named is None:
            return {}
        try:
            content = json.loads((self._folder / named).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"payload.with.declared '{named}' cannot be read: {error.strerror or error}.") from error
        except ValueError as error:
            raise InputError(f"payload.with.declared '{named}' is no JSON: {error}.") from error
        if not isinstance(content, dict):
            raise InputError(f"payload.with.declared '{named}' holds no JSON object.")
        return content

    def facts(self) -> Mapping[str, Any]:
        """What the file says that the scenario names; empty without one."""
        return self._facts

    @property
    def model_name(self) -> str:
        """The model's name, as it is served once the server was asked."""
        # Before that the engine needs the profile, whose faults are told with this name.
        engine = self.__dict__.get("engine")
        return short(engine.model) if isinstance(engine, ServerEngine) else self._config.model or "of the server"

    @property
    def owner(self) -> str:
        """Whose verdicts these are; what a server serves can only be taken at its word."""
        grammar = ", under a grammar" if self.profile.constraint == "json_schema" else ""
        return (
            f"{self.engine.name} as served (weights not verified; what the server says of itself: "
            f"{self.engine.weights}; profile {self.profile.name}{grammar})"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report must say of questions that got no answer; empty where all did."""
        engine = self.__dict__.get("engine")
        counts: Counter[str] = engine.counts if isinstance(engine, ServerEngine) else Counter()
        lost = {name.partition(".")[2]: n for name, n in sorted(counts.items()) if name.startswith("lost.")}
        if not lost:
            return ()
        causes = ", ".join(f"{cause} {n}" for cause, n in lost.items())
        return (
            f"payload 'server': {sum(lost.values())} of {counts['questions']} questions got no answer ({causes}), with "
            f"{counts['retries']} retries in all; their verdicts are INVALID",
        )


def _key(variable: str | None) -> str:
    """The key in an environment variable; empty where none is named."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise InputError(f"payload.with.api_key_env is '{variable}', and this environment variable is empty; set it.")
    if not key.isascii() or not key.isprintable():
        # Not repeated: it is a secret.
        raise InputError(f"the key in environment variable '{variable}' holds characters that no key has.")
    return key


__all__ = ["Server", "ServerEngine"]
