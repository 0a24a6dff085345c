"""Asks one model behind an OpenAI-compatible server: what is it that is served, and what does it answer.

What a server serves cannot be verified, only what it says of itself. An answer that cannot be had or used is a reply
with a fault, never an empty one.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flightsim.errors import InputError

from .backend import code_digest
from .chat import refusal, reply_of, request_body
from .client import Cause, Client, Lost, Patience, Transport, in_order
from .dialects import DIALECTS, Adapter
from .engine import Finish, Question, Reply
from .lines import Lines, root_of
from .profile import Profile

_CHAT = "/v1/chat/completions"
_MODELS = "/v1/models"
#: What stays the same in a model's listing while nothing changes; creation times and permissions do not.
_LISTED = ("id", "root", "parent", "owned_by", "meta")
#: Modules that make the questions and read the answers, beside those of every model.
_MODULES = ("vlm/server_engine.py", "vlm/chat.py", "vlm/dialects.py")
_DOCS = "docs/server.md has the lines for llama.cpp, vLLM and SGLang"


class ServerEngine:
    """Questions to one served model.

    Parameters
    ----------
    base_url
        Address, with or without ``/v1``.
    model
        Name under which it is served; None where the server serves but one.
    key
        For the ``Authorization`` header; it is in no message.
    transport
        How to ask, in place of connections to ``base_url``.
    clock, sleep
        As for ``Client``.

    Raises
    ------
    InputError
        The address is none, or the dialect cannot say what the profile or the adapter wants.
    """

    def __init__(
        self,
        base_url: str,
        profile: Profile,
        *,
        dialect: str = "llama.cpp",
        model: str | None = None,
        adapter: Adapter = Adapter(),  # noqa: B008 - frozen
        patience: Patience = Patience(),  # noqa: B008 - frozen
        key: str = "",
        transport: Transport | None = None,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._root, self._profile, self._dialect = root_of(base_url), profile, DIALECTS[dialect]
        self._asked_model, self._adapter, self._patience, self._key = model, adapter, patience, key
        unsaid = self._dialect.check(profile.sampling, adapter)
        if unsaid:
            raise InputError(f"payload 'server': {unsaid}.")
        self._transport = transport
        self._timing: dict[str, Any] = {}
        self._timing |= {"clock": clock} if clock is not None else {}
        self._timing |= {"sleep": sleep} if sleep is not None else {}
        self._client: Client | None = None
        self._facts: dict[str, Any] = {}
        self._adapted: dict[str, Any] = {}
        self._answering: str | None = None
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    # ---------------------------------------------------------------- what is served

    @property
    def name(self) -> str:
        """Dialect, model as it is served, and adapter."""
        adapter, scale = self._adapter.name, self._adapter.scale
        told = "" if adapter is None else f" with {adapter}"
        told += "" if scale is None else f" at {scale:g}"
        return f"{self._dialect.name} {short(self.model)}{told}"

    @property
    def model(self) -> str:
        """Name under which the model is served."""
        self._connect()
        return str(self._facts["model"])

    @property
    def weights(self) -> str:
        """Digest of what the server says of its model and adapter; the weights themselves cannot be seen."""
        self._connect()
        return hashlib.sha256(json.dumps(self._facts, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def fingerprint(self) -> str:
        """Changes with what the server says of itself, adapter, dialect, profile and code; not with the address."""
        profile = self._profile.model_dump_json(exclude={"name", "source"})
        parts = (self._dialect.name, self.weights, profile, code_digest(*_MODULES))
        return f"server/{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"

    @property
    def counts(self) -> Counter[str]:
        """Questions, answers, and what was met on the way: requests, retries, ``met.<cause>``, ``lost.<cause>``."""
        return self._counts + (self._client.counts if self._client is not None else Counter())

    def open(self) -> None:
        """See whether the server is there and serves the model.

        Raises
        ------
        InputError
            It is not, or does not; the message names the address and what to do.
        MissingExtra
            httpx is not installed.
        """
        self._connect()

    def close(self) -> None:
        """Hang up. What the server said of itself stays known; another question connects anew."""
        if isinstance(self._transport, Lines):
            self._transport.close()

    def _connect(self) -> Client:
        if self._client is not None:
            return self._client
        if self._transport is None:
            self._transport = Lines(self._root, self._patience, self._key)
        client = Client(self._transport, self._patience, secret=self._key, probe=self._dialect.health, **self._timing)
        try:
            client.reach(self._dialect.health)
            served = _listed(client.get(_MODELS))
            told = self._told(client)
            adapters = self._adapters(client, served)
        except Lost as lost:
            raise InputError(self._refusal(lost)) from lost
        model = self._choose(served)
        self._adapted = self._dialect.adapted(model, self._adapter, tuple(name for name, _ in adapters))
        named = (model, self._adapted["model"])
        self._facts = {
            "model": model,
            "asked": self._adapted,
            "told": told,
            "listing": [entry for entry in served if entry["id"] in named],
            # Adapters that a request does not name keep the scale that the server was started with.
            "adapters": [adapters[item["id"]][1] for item in self._adapted["lora"]]
            if "lora" in self._adapted
            else [about for name, about in adapters if not about.get("parent")],
        }
        self._client = client
        return client

    def _told(self, client: Client) -> dict[str, Any]:
        """What the server says of itself where it does; a path that it does not have tells nothing."""
        told: dict[str, Any] = {}
        for path, names in self._dialect.facts.items():
            try:
                found = client.get(path)
            except Lost as lost:
                if lost.status not in (404, 405, 501):
                    raise
                continue
            told[path] = {name: found[name] for name in names if name in found}
        seen = told.get("/props", {}).get("modalities", {})
        if isinstance(seen, dict) and seen.get("vision") is False:
            raise InputError(
                f"payload 'server': the model at {self._root} takes no pictures; start llama-server with --mmproj FILE."
            )
        return told

    def _adapters(self, client: Client, served: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
        """Names of the adapters and what is told of them, in the server's order."""
        if self._dialect.name != "llama.cpp":
            return [(str(entry["id"]), entry) for entry in served if entry.get("parent")]
        listed = [entry for entry in client.get_list("/lora-adapters") if isinstance(entry, dict)]
        return [
            (short(str(entry.get("path", ""))), {"path": entry.get("path"), "scale": entry.get("scale")})
            for entry in sorted(listed, key=lambda entry: int(entry["id"]))
        ]

    def _choose(self, served: Sequence[Mapping[str, Any]]) -> str:
        wanted, names = self._asked_model, [str(entry["id"]) for entry in served]
        bases = [str(entry["id"]) for entry in served if not entry.get("parent")]
        if wanted is None:
            if len(bases) == 1:
                return bases[0]
            raise InputError(
                f"payload 'server': {self._root} serves {len(bases)} models ({', '.join(bases) or 'none'}); name one "
                "with payload.with.model."
            )
        matches = [name for name in names if wanted in (name, short(name))]
        if matches:
            return matches[0]
        near = difflib.get_close_matches(wanted, [*names, *map(short, names)], 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise InputError(
            f"payload 'server': payload.with.model is '{wanted}'; {self._root} serves {', '.join(names)}.{hint}"
        )

    def _refusal(self, lost: Lost) -> str:
        if lost.status in (401, 403):
            return (
                f"payload 'server': {self._root} wants a key ({lost}); name the environment variable that holds it "
                "with payload.with.api_key_env."
            )
        if lost.cause in (Cause.BUSY, Cause.SERVER_ERROR):
            return (
                f"payload 'server': the server at {self._root} is there but not ready ({lost}); wait until it has "
                "loaded its model, or raise payload.with.retries."
            )
        if lost.status:
            return (
                f"payload 'server': {self._root} does not answer as a {self._dialect.name} server ({lost}); check "
                f"payload.with.base_url and payload.with.dialect. {_DOCS}."
            )
        return (
            f"payload 'server': no model server answers at {self._root} ({lost}); start it, or name its address with "
            f"payload.with.base_url. {_DOCS}."
        )

    # ---------------------------------------------------------------- questions

    def ask_many(self, questions: Sequence[Question]) -> list[Reply]:
        """Replies in the order of the questions, several asked at a time; one that is lost says why."""
        self._connect()
        return in_order(self._ask, questions, self._patience.concurrency)

    def _ask(self, question: Question) -> Reply:
        client, why = self._connect(), refusal(question)
        if why:
            self._tally("questions", "refused")
            return Reply("", Finish.ERROR, fault=why)
        try:
            found = client.post(_CHAT, request_body(question, self._profile, self._dialect, self._adapted))
            reply = reply_of(found)
            self._check_model(found.get("model"))
        except Lost as lost:
            self._tally("questions", f"lost.{lost.cause}")
            return Reply("", Finish.ERROR, fault=str(lost))
        self._tally("questions", "answers")
        return reply

    def _check_model(self, told: Any) -> None:
        """Another model behind the same address is met at the next opening by its digest, and in between here."""
        if not isinstance(told, str):
            return
        with self._lock:
            first = self._answering = self._answering or told
        if told != first:
            raise Lost(Cause.MODEL, f"'{told}' answered, and '{first}' before")

    def _tally(self, *names: str) -> None:
        with self._lock:
            self._counts.update(names)


def short(name: str) -> str:
    """A served model's name; the last part of one that is a path."""
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1] if name.startswith(("/", ".", "~")) or "\\" in name else name


def _listed(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = found.get("data")
    if not isinstance(listed, list) or not all(isinstance(e, dict) and isinstance(e.get("id"), str) for e in listed):
        raise Lost(Cause.NOT_JSON, f"{_MODELS} lists no models", 200)
    return [{key: entry[key] for key in _LISTED if key in entry} for entry in listed]


__all__ = ["ServerEngine", "short"]
