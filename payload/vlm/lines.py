"""Connections to a server: a deadline for the whole answer, a limit on its size, and nobody else talked to."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from flightsim.errors import InputError, MissingExtra

from .client import Cause, Lost, Patience, Raw


def root_of(base_url: str) -> str:
    """Address of a server without a trailing ``/v1``, which many write and which the paths bring along.

    Raises
    ------
    InputError
        It is no such address.
    """
    told = f"base_url is '{base_url}'; write http://host:port or https://host, without user, query or fragment"
    try:
        parts = urlsplit(base_url)
        _ = parts.port
    except ValueError as error:
        raise InputError(f"{told} ({error}).") from None
    if parts.username or parts.password:
        # Not repeated: it may hold a password.
        raise InputError("base_url holds a user or password; put the key in an environment variable, see api_key_env.")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InputError(f"{told}.")
    return base_url.rstrip("/").removesuffix("/v1").rstrip("/")


class Line:
    """One connection to a server, kept open between requests. Redirects are not followed, proxies not asked."""

    def __init__(self, base_url: str, patience: Patience, key: str, trust: ssl.SSLContext) -> None:
        try:
            import httpx
        except ImportError:
            raise MissingExtra(
                "payload 'server' needs httpx, which is not installed; pip install 'flightsim[server]'"
            ) from None
        self._httpx, self._patience = httpx, patience
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.Client(
            base_url=base_url, headers=headers, verify=trust, trust_env=False, follow_redirects=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
        )  # fmt: skip
        self._late = threading.Event()
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Hang up."""
        self._client.close()
        if self._socket is not None:
            self._socket.close()

    def __call__(self, path: str, body: bytes | None, limit_s: float) -> Raw:
        """One request.

        Raises
        ------
        Lost
            Nobody answers, not in time, not to the end, or too much.
        """
        httpx = self._httpx
        self._late.clear()
        # The timer alone holds against a server that sends one byte now and then, be it of a header: each of them
        # restarts the read time-out. It shuts the socket, and whatever is being read then ends.
        timer = threading.Timer(limit_s, self._cut)
        timer.daemon = True
        timer.start()
        try:
            return self._exchange(path, body, limit_s)
        except httpx.TransportError as error:
            if self._late.is_set():
                raise Lost(Cause.TIMEOUT, f"no whole answer within {limit_s:.3g} s") from error
            if isinstance(error, httpx.ConnectTimeout):
                raise Lost(Cause.UNREACHABLE, f"no connection within {self._patience.connect_timeout_s:g} s") from error
            if isinstance(error, httpx.ConnectError):
                raise Lost(Cause.UNREACHABLE, str(error)) from error
            if isinstance(error, httpx.TimeoutException):
                raise Lost(Cause.TIMEOUT, f"silent for {min(self._patience.timeout_s, limit_s):.3g} s") from error
            raise Lost(Cause.BROKEN, f"the connection broke off: {error or type(error).__name__}") from error
        finally:
            timer.cancel()

    def _exchange(self, path: str, body: bytes | None, limit_s: float) -> Raw:
        silence_s = min(self._patience.timeout_s, limit_s)
        limits = self._httpx.Timeout(silence_s, connect=min(self._patience.connect_timeout_s, limit_s))
        request = self._client.build_request(
            "GET" if body is None else "POST", path, content=body, timeout=limits, extensions={"trace": self._trace},
            headers={} if body is None else {"Content-Type": "application/json"},
        )  # fmt: skip
        answer = self._client.send(request, stream=True)
        try:
            found = bytearray()
            for piece in answer.iter_raw():
                found += piece
                if len(found) > self._patience.max_body_bytes:
                    raise Lost(Cause.TOO_LARGE, f"more than {self._patience.max_body_bytes} bytes")
        finally:
            answer.close()
        if self._late.is_set():
            # A body without a stated length ends when the socket is shut, and looks whole.
            raise Lost(Cause.TIMEOUT, f"no whole answer within {limit_s:.3g} s")
        return Raw(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, bytes(found))

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event != "connection.connect_tcp.complete":
            return
        # A duplicate, for TLS takes the first descriptor away; shutting either shuts the connection.
        fresh: socket.socket = info["return_value"].get_extra_info("socket").dup()
        before, self._socket = self._socket, fresh
        if before is not None:
            before.close()
        if self._late.is_set():
            self._cut()

    def _cut(self) -> None:
        self._late.set()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class Lines:
    """Connections to one server, one for each request at a time, made when needed; a ``Transport``."""

    def __init__(self, base_url: str, patience: Patience, key: str = "") -> None:
        self._base_url, self._patience, self._key = base_url, patience, key
        # Loading the certificates takes longer than many a question.
        secure = urlsplit(base_url).scheme == "https"
        self._trust = ssl.create_default_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._free: queue.LifoQueue[Line | None] = queue.LifoQueue()
        for _ in range(patience.concurrency):
            self._free.put(None)

    def __call__(self, path: str, body: bytes | None, limit_s: float) -> Raw:
        """One request over a free connection."""
        line = self._free.get()
        try:
            line = line or Line(self._base_url, self._patience, self._key, self._trust)
            return line(path, body, limit_s)
        finally:
            self._free.put(line)

    def close(self) -> None:
        """Hang up everywhere. No request may be under way; the next one connects anew."""
        for place in range(self._patience.concurrency):
            line = self._free.queue[place]
            if line is not None:
                line.close()
                self._free.queue[place] = None


__all__ = ["Line", "Lines", "root_of"]
