"""A client of servers that answer in JSON over HTTP: deadlines, bounded retries, few requests at a time.

Whatever is no whole JSON object becomes a ``Lost`` with a named cause; nothing that a server does hangs a run.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import Field

from flightsim.protocols import PluginConfig

#: Characters of a server's own words that a message repeats.
_QUOTED = 160

Item = TypeVar("Item")
Result = TypeVar("Result")


class Cause(StrEnum):
    """Why a server's answer could not be had or used."""

    UNREACHABLE = "unreachable"
    """Nobody listens at the address."""
    TIMEOUT = "timeout"
    """Silence for too long, or no end before the deadline."""
    BROKEN = "broken"
    """The connection broke off before the answer's end."""
    TOO_LARGE = "too_large"
    BUSY = "busy"
    """Status 408 or 429: too many requests."""
    SERVER_ERROR = "server_error"
    """Status 500 or above."""
    REFUSED = "refused"
    """Any other status than 200."""
    HTML = "html"
    """A page for people, such as a gateway's."""
    WRONG_TYPE = "wrong_type"
    """Neither JSON nor HTML by the stated content type, or encoded though that was not asked for."""
    EMPTY_BODY = "empty_body"
    NOT_JSON = "not_json"
    ERROR_OBJECT = "error_object"
    """Status 200, and an error inside."""
    CHOICES = "choices"
    """Not exactly one choice, or one without a message."""
    NO_CONTENT = "no_content"
    """A message without text: null, a tool call, a refusal."""
    FINISH = "finish"
    """An end of the answer that is neither ``stop`` nor ``length``."""
    MODEL = "model"
    """Another model answered than before."""


#: What may be right the next time it is asked.
RETRIED = frozenset({Cause.UNREACHABLE, Cause.TIMEOUT, Cause.BROKEN, Cause.BUSY, Cause.SERVER_ERROR})
#: After one of these has outlasted all retries nobody is waited for so long again.
_SILENT = frozenset({Cause.UNREACHABLE, Cause.TIMEOUT, Cause.BROKEN})


class Lost(Exception):
    """An answer that could not be had."""

    def __init__(self, cause: Cause, detail: str = "", status: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(cause, detail, status, retry_after_s)
        self.cause, self.detail, self.status, self.retry_after_s = cause, detail, status, retry_after_s

    def __str__(self) -> str:
        return f"{self.cause}: {self.detail}" if self.detail else str(self.cause)


class Patience(PluginConfig):
    """How long and how often a server is asked."""

    connect_timeout_s: Annotated[float, Field(gt=0, le=300)] = 5.0
    """Longest wait for a connection. [s]"""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Longest silence of the server. [s]"""
    deadline_s: Annotated[float, Field(gt=0, le=7200)] = 180.0
    """Longest time of one question, with every retry and pause. [s]"""
    retries: Annotated[int, Field(ge=0, le=20)] = 3
    """Further attempts after a lost connection, a time-out, a 408, a 429 or a 5xx. [-]"""
    backoff_s: Annotated[float, Field(ge=0, le=60)] = 0.5
    """Pause before the first of them; it doubles each time. [s]"""
    backoff_limit_s: Annotated[float, Field(ge=0, le=600)] = 20.0
    """Longest pause; a server that asks for a longer one is obeyed as far as the deadline allows. [s]"""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    """Questions at a time, in each process of a run. [-]"""
    max_body_bytes: Annotated[int, Field(ge=1024, le=2**30)] = 16 * 2**20
    """Largest answer. [B]"""


@dataclass(frozen=True)
class Raw:
    """A whole answer; names of headers in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


#: Asks: path, body (None for GET) and the time that it may take [s]. Raises Lost.
Transport = Callable[[str, bytes | None, float], Raw]


# -------------------------------------------------------------------- what came back


def document(raw: Raw) -> Any:
    """The JSON value of an answer.

    Raises
    ------
    Lost
        It is none; the cause says what it is.
    """
    kind = raw.headers.get("content-type", "").partition(";")[0].strip().lower()
    page = "html" in kind or raw.body.lstrip()[:1] == b"<"
    if raw.status != 200:
        raise _refusal(raw, page)
    if raw.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Lost(Cause.WRONG_TYPE, f"encoded as {raw.headers['content-encoding']}", raw.status)
    if page:
        raise Lost(Cause.HTML, "a page for people; is this the address of a model server?", raw.status)
    if not raw.body.strip():
        raise Lost(Cause.EMPTY_BODY, "status 200 and nothing else", raw.status)
    if kind != "application/json" and not kind.endswith("+json"):
        raise Lost(Cause.WRONG_TYPE, f"content type '{kind}', not application/json", raw.status)
    try:
        found = json.loads(raw.body)
    except (ValueError, RecursionError) as error:
        raise Lost(Cause.NOT_JSON, str(error), raw.status) from error
    if isinstance(found, dict) and (found.get("error") is not None or found.get("object") == "error"):
        raise Lost(Cause.ERROR_OBJECT, _words(found), raw.status)
    return found


def _of_type(raw: Raw, kind: type[Result]) -> Result:
    found = document(raw)
    if not isinstance(found, kind):
        raise Lost(Cause.NOT_JSON, f"a JSON {type(found).__name__}, not {kind.__name__}", raw.status)
    return found


def _refusal(raw: Raw, page: bool) -> Lost:
    told = f"status {raw.status}"
    if 300 <= raw.status < 400:
        # Not followed: the key and the pictures go to nobody but who was named.
        return Lost(Cause.REFUSED, f"{told}, sends us to {raw.headers.get('location', 'elsewhere')}", raw.status)
    if not page:
        with suppress(ValueError, RecursionError):
            found = json.loads(raw.body)
            told += f", {_words(found)}" if isinstance(found, dict) and _words(found) else ""
    if raw.status in (408, 429):
        return Lost(Cause.BUSY, told, raw.status, _seconds(raw.headers.get("retry-after", "")))
    if raw.status >= 500:
        return Lost(Cause.SERVER_ERROR, told, raw.status, _seconds(raw.headers.get("retry-after", "")))
    return Lost(Cause.REFUSED, told, raw.status)


def _words(found: Mapping[str, Any]) -> str:
    """A server's own words about an error, as llama.cpp, vLLM, SGLang and FastAPI spell them."""
    error = found.get("error")
    if isinstance(error, Mapping):
        return str(error.get("message", error))
    return str(error or found.get("message") or found.get("detail") or "")


def _seconds(text: str) -> float:
    """Stated pause [s]; 0 for none and for a date, which would need the server's clock."""
    return float(text) if text.strip().isdecimal() else 0.0


# -------------------------------------------------------------------- asking


class Client:
    """Asks one server for JSON.

    Parameters
    ----------
    transport
        How to ask: ``Lines`` or a function in its place.
    secret
        What no message may repeat.
    probe
        Path of which a server that has fallen silent is asked first, before anything long is sent again.
    clock, sleep
        Seconds since whenever, and how to pause.
    """

    def __init__(
        self,
        transport: Transport,
        patience: Patience,
        *,
        secret: str = "",
        probe: str = "/health",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport, self._patience, self._secret, self._probe = transport, patience, secret, probe
        self._clock, self._sleep = clock, sleep
        self._down = False
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        """Requests, retries, and what was met, by cause."""

    def reach(self, path: str) -> None:
        """Whether the server answers at all, with the usual retries; the body does not matter.

        Raises
        ------
        Lost
            It does not, or not with status 200.
        """
        self._ask(path, None, lambda raw: None if raw.status == 200 else document(raw))

    def get(self, path: str) -> dict[str, Any]:
        """A JSON object. Raises Lost."""
        return self._ask(path, None, lambda raw: _of_type(raw, dict))

    def get_list(self, path: str) -> list[Any]:
        """A JSON array. Raises Lost."""
        return self._ask(path, None, lambda raw: _of_type(raw, list))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON object that answers a JSON object. Raises Lost."""
        return self._ask(path, json.dumps(body, allow_nan=False).encode(), lambda raw: _of_type(raw, dict))

    def _ask(self, path: str, body: bytes | None, read: Callable[[Raw], Result]) -> Result:
        end_s = self._clock() + self._patience.deadline_s
        last = self._patience.retries
        if self._down:
            # Where nobody answers any more, patience is spent once, not again for every question.
            last = 0
            probe_s = min(self._patience.connect_timeout_s, self._patience.deadline_s)
            self._once(self._probe, None, probe_s, lambda _: None)
        for attempt in range(last + 1):
            try:
                return self._once(path, body, end_s - self._clock(), read)
            except Lost as lost:
                pause_s = min(self._patience.backoff_limit_s, self._patience.backoff_s * 2.0**attempt)
                pause_s = max(pause_s, lost.retry_after_s)
                over = attempt == last or self._clock() + pause_s >= end_s
                if lost.cause not in RETRIED or over:
                    self._down = lost.cause in _SILENT
                    raise
                self._count("retries")
                self._sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, path: str, body: bytes | None, limit_s: float, read: Callable[[Raw], Result]) -> Result:
        try:
            if limit_s <= 0:
                raise Lost(Cause.TIMEOUT, "the deadline passed before it could be asked")
            self._count("requests")
            raw = self._transport(path, body, limit_s)
            self._down = False
            return read(raw)
        except Lost as lost:
            self._count(f"met.{lost.cause}")
            raise Lost(lost.cause, self._plain(lost.detail), lost.status, lost.retry_after_s) from lost

    def _count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    def _plain(self, text: str) -> str:
        """A server's words on one line, cut, and without the key, which some repeat."""
        if self._secret:
            text = text.replace(self._secret, "***")
        return " ".join(text.split())[:_QUOTED]


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> list[Result]:
    """Results in the order of the items, at most ``workers`` at a time; no thread is left behind."""
    listed = list(items)
    if workers == 1 or len(listed) < 2:
        return [function(item) for item in listed]
    pool = ThreadPoolExecutor(min(workers, len(listed)), thread_name_prefix="questions")
    try:
        return list(pool.map(function, listed))
    finally:
        pool.shutdown(cancel_futures=True)


__all__ = ["RETRIED", "Cause", "Client", "Lost", "Patience", "Raw", "Transport", "document", "in_order"]
