"""A client of DPhi SimSat's HTTP interface: deadlines, retries, few requests at a time, answers kept on disk."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from ..errors import InputError
from .simsat_answers import RETRIED, Answer, Cause, Lost, Reply, Request, taken_apart

#: Changes when what is kept in the cache changes its meaning.
_FORMAT = "flightsim-simsat/1"
_PIECE_BYTES = 65_536

#: Asks for a path and query, and gives the whole answer. Raises Lost.
Transport = Callable[[str], Reply]


@dataclass(frozen=True)
class Http:
    """HTTP or HTTPS to one server with a deadline for the whole answer and a limit on its size.

    Redirects are not followed and proxies not asked: what is named is what is talked to.
    """

    base_url: str
    connect_timeout_s: float = 5.0
    timeout_s: float = 60.0
    max_body_bytes: int = 64 * 2**20

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise InputError(
                f"base_url is '{self.base_url}'; write http://host:port or https://host, without user or query."
            )
        try:
            _ = parts.port
        except ValueError as error:
            raise InputError(f"base_url is '{self.base_url}': {error}.") from error

    def __call__(self, path: str) -> Reply:
        """One GET.

        Raises
        ------
        Lost
            Nobody answers, not in time, not to the end, or too much.
        """
        parts = urlsplit(self.base_url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(str(parts.hostname), parts.port, timeout=self.connect_timeout_s)
        try:
            connection.connect()
        except TimeoutError as error:
            raise Lost(Cause.UNREACHABLE, f"no connection within {self.connect_timeout_s:g} s") from error
        except OSError as error:
            raise Lost(Cause.UNREACHABLE, str(error)) from error
        # The timer alone holds against a server that sends one byte now and then: each of them restarts a socket's
        # own time-out. It shuts the socket, and whatever is being read then ends.
        line: socket.socket = connection.sock
        late = threading.Event()

        def cut() -> None:
            late.set()
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self.timeout_s, cut)
        timer.daemon = True
        timer.start()
        try:
            line.settimeout(self.timeout_s)
            return self._exchange(connection, f"{parts.path.rstrip('/')}{path}")
        except (OSError, http.client.HTTPException) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise Lost(Cause.TIMEOUT, f"no whole answer within {self.timeout_s:g} s") from error
            raise Lost(Cause.BROKEN, f"the connection broke off: {error or type(error).__name__}") from error
        finally:
            timer.cancel()
            connection.close()
            line.close()
            if late.is_set():
                # A body without a stated length ends when the socket is shut, and looks whole.
                raise Lost(Cause.TIMEOUT, f"no whole answer within {self.timeout_s:g} s")

    def _exchange(self, connection: http.client.HTTPConnection, path: str) -> Reply:
        connection.request("GET", path, headers={"Accept": "*/*", "Connection": "close"})
        with connection.getresponse() as response:
            body = bytearray()
            while piece := response.read1(_PIECE_BYTES):
                body += piece
                if len(body) > self.max_body_bytes:
                    raise Lost(Cause.TOO_LARGE, f"more than {self.max_body_bytes} bytes")
            if response.length:
                raise Lost(Cause.BROKEN, f"the body ends {response.length} bytes early")
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, headers, bytes(body))


@dataclass
class Outcome:
    """A picture or the reason why there is none, and what it took."""

    request: Request
    answer: Answer | None = None
    lost: Lost | None = None
    counts: Counter[str] = field(default_factory=Counter)


class Client:
    """Pictures of a SimSat server, each asked for once.

    Parameters
    ----------
    base_url
        Part of the key under which answers are kept.
    transport
        How to ask; ``Http(base_url)`` or a function in its place.
    cache
        Folder of kept answers. What cannot be had is remembered by this object only, never on disk.
    retries, backoff_s, backoff_limit_s
        Further attempts after a 5xx, a time-out or a broken body, and the pause before them, which doubles. [-, s, s]
    parallel
        Requests at a time; SimSat drops connections above about 8.
    sleep
        How to pause.
    """

    def __init__(
        self,
        base_url: str,
        transport: Transport,
        cache: Path,
        *,
        retries: int = 3,
        backoff_s: float = 1.0,
        backoff_limit_s: float = 30.0,
        parallel: int = 2,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._base_url, self._transport, self._cache = base_url.rstrip("/"), transport, cache
        self._retries, self._backoff_s, self._backoff_limit_s = retries, backoff_s, backoff_limit_s
        self._parallel, self._sleep = parallel, sleep
        self._lost: dict[str, Lost] = {}
        self._down = False

    def key(self, request: Request) -> str:
        """Name under which an answer is kept."""
        return hashlib.sha256(f"{_FORMAT}\n{self._base_url}\n{request.path}".encode()).hexdigest()

    def is_kept(self, request: Request) -> bool:
        """Whether an answer lies on disk; whether it is whole shows when it is read."""
        return self._file(request).is_file()

    def get_all(self, requests: Sequence[Request], stop_at_loss: bool) -> list[Outcome]:
        """Outcomes in the order of the requests; the pictures of all are kept on disk, not in the answer.

        Parameters
        ----------
        stop_at_loss
            Give up at the first request, in their order, that is lost; the outcomes end with it.

        Raises
        ------
        InputError
            Nobody answers at all.
        """
        found: list[Outcome] = []

        def lean(request: Request) -> Outcome:
            outcome = self.get(request)
            if outcome.answer is not None:
                slim = Answer(np.zeros((0, 0, 0), np.uint8), outcome.answer.metadata, outcome.answer.counts)
                return Outcome(request, slim, None, outcome.counts)
            return outcome

        # The first that must be asked goes alone: where nobody listens, one attempt with its retries tells it.
        fresh = next((k for k, request in enumerate(requests) if not self.is_kept(request)), None)
        first = None if fresh is None else lean(requests[fresh])
        if first is not None and first.lost is not None and first.lost.cause is Cause.UNREACHABLE:
            raise InputError(
                f"no SimSat server answers at {self._base_url} ({first.lost.detail}); start SimSat, or name its "
                "address in scenes.with.base_url."
            )
        with ThreadPoolExecutor(self._parallel) as pool:
            waiting = [None if k == fresh else pool.submit(lean, request) for k, request in enumerate(requests)]
            for future in waiting:
                outcome = first if future is None else future.result()
                assert outcome is not None
                found.append(outcome)
                if stop_at_loss and outcome.lost is not None:
                    pool.shutdown(cancel_futures=True)
                    break
        return found

    def get(self, request: Request) -> Outcome:
        """One picture: kept, asked for, or lost."""
        outcome = Outcome(request)
        key = self.key(request)
        if key in self._lost:
            outcome.lost = self._lost[key]
            return outcome
        outcome.answer = self._read(request, outcome.counts)
        if outcome.answer is not None:
            outcome.counts["from_cache"] += 1
            return outcome
        try:
            outcome.answer = self._ask(request, outcome.counts)
            self._write(request, outcome.answer)
            outcome.counts["fetched"] += 1
        except Lost as lost:
            self._lost[key] = outcome.lost = lost
        return outcome

    def _ask(self, request: Request, counts: Counter[str]) -> Answer:
        # Where nobody listens any more, patience is spent once, not again for every picture.
        last = 0 if self._down else self._retries
        for attempt in range(last + 1):
            if attempt:
                counts["retries"] += 1
                self._sleep(min(self._backoff_limit_s, self._backoff_s * 2.0 ** (attempt - 1)))
            counts["requests"] += 1
            try:
                reply = self._transport(request.path)
                self._down = False
                return taken_apart(request, reply)
            except Lost as lost:
                counts[f"met.{lost.cause}"] += 1
                if lost.cause not in RETRIED or attempt == last:
                    self._down = lost.cause is Cause.UNREACHABLE
                    raise
        raise AssertionError("the last attempt returns or raises")

    # ---------------------------------------------------------------- cache

    def _file(self, request: Request) -> Path:
        key = self.key(request)
        return self._cache / key[:2] / f"{key}.simsat"

    def _read(self, request: Request, counts: Counter[str]) -> Answer | None:
        """A kept answer; a damaged one is counted, and asked for again."""
        try:
            text = self._file(request).read_bytes()
        except FileNotFoundError:
            return None
        digest, _, rest = text.partition(b"\n")
        if hashlib.sha256(rest).hexdigest().encode() != digest:
            counts["cache_damaged"] += 1
            return None
        head, _, data = rest.partition(b"\n")
        about = json.loads(head)
        samples = np.frombuffer(data, dtype=about["dtype"]).reshape(about["shape"])
        return Answer(samples, about["metadata"], Counter(about["counts"]))

    def _write(self, request: Request, answer: Answer) -> None:
        samples = np.ascontiguousarray(answer.samples)
        about = {
            "request": request.path,
            "dtype": samples.dtype.str,
            "shape": samples.shape,
            "metadata": dict(answer.metadata),
            "counts": dict(answer.counts),
        }
        rest = json.dumps(about).encode() + b"\n" + samples.tobytes()
        path = self._file(request)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        temporary.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
        temporary.replace(path)

    def samples(self, request: Request) -> Answer:
        """A kept answer with its picture.

        Raises
        ------
        InputError
            It has gone since it was fetched.
        """
        answer = self._read(request, Counter())
        if answer is None:
            raise InputError(f"a SimSat picture has gone from the cache {self._cache}; fly again to fetch it anew.")
        return answer
