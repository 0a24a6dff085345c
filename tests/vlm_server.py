"""A stand-in for a server of OpenAI's chat completions, on loopback, that can be told to misbehave."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
_CREATED = itertools.count()


def completion(text: Any = "null", finish: Any = "stop", **changes: Any) -> Body:
    """A good answer, or one with other values at its top."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 53, "completion_tokens": 2, "total_tokens": 55}
    return {"id": "x", "object": "chat.completion", "model": "tiny", "choices": [choice], "usage": usage, **changes}


def listing(*names: str, parents: dict[str, str] | None = None) -> Body:
    """An answer of /v1/models; ``created`` differs each time, as with llama.cpp."""
    parents = parents or {}
    entries = [
        {"id": name, "object": "model", "created": next(_CREATED), "owned_by": "stand-in", "parent": parents.get(name)}
        for name in names
    ]
    return {"object": "list", "data": entries}


class Stand(BaseHTTPRequestHandler):
    """Answers GET from the server's ``served``, POST as its ``behave`` says."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.server.note(self.path, self.client_address[1])
        given = self.server.served.get(self.path, (404, {"detail": "Not Found"}))
        with suppress(ConnectionError):
            if callable(given):
                given(self, {}, 0)
            else:
                self.answer(json.dumps(given[1]).encode() if given[1] is not None else b"", given[0])

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = self.server.note(self.path, self.client_address[1])
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.keys.append(self.headers.get("Authorization", ""))
        with suppress(ConnectionError):
            (self.server.behave or fine)(self, body, number)

    def answer(self, body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def complete(self, *args: Any, **changes: Any) -> None:
        """Answer with a completion."""
        self.answer(json.dumps(completion(*args, **changes)).encode())

    def log_message(self, *_: Any) -> None:
        """Nothing: tests count requests."""


Behaviour = Callable[[Stand, Body, int], None]


def fine(stand: Stand, body: Body, number: int) -> None:
    """No event."""
    stand.complete()


def _pieces(stand: Stand, head: bytes, piece: bytes) -> None:
    stand.close_connection = True
    stand.wfile.write(head)
    while not stand.server.stop.wait(0.01):
        stand.wfile.write(piece)
        stand.wfile.flush()


def trickles(stand: Stand, body: Body, number: int) -> None:
    """A body without end, a byte at a time: each restarts a plain time-out."""
    _pieces(stand, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n", b" ")


def header_trickles(stand: Stand, body: Body, number: int) -> None:
    """Not even the header ends."""
    _pieces(stand, b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a")


def streams(stand: Stand, body: Body, number: int) -> None:
    """Events without end, in chunks, though no stream was asked for."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    event = b'data: {"choices": []}\n\n'
    _pieces(stand, head, b"%x\r\n%b\r\n" % (len(event), event))


def silent(stand: Stand, body: Body, number: int) -> None:
    """Nothing at all."""
    stand.close_connection = True
    stand.server.stop.wait(30)


def hangs_up(stand: Stand, body: Body, number: int) -> None:
    """Half a body, then an orderly end: without looking at the length it would seem whole."""
    stand.close_connection = True
    stand.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n{"choices"')


def resets(stand: Stand, body: Body, number: int) -> None:
    """Half a body, then the connection is reset."""
    import socket
    import struct

    hangs_up(stand, body, number)
    stand.wfile.flush()
    stand.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stand.connection.close()


class Server(ThreadingHTTPServer):
    """The stand-in; ``paths``, ``bodies`` and ``keys`` are what it met, ``ports`` who asked."""

    daemon_threads = True
    # Leaving must not wait for a handler that never ends.
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Stand)
        self.behave: Behaviour | None = None
        self.served: dict[str, Any] = {
            "/health": (200, {"status": "ok"}),
            "/v1/models": (200, listing("tiny")),
            "/props": (200, {"model_path": "tiny.gguf", "modalities": {"vision": True}, "is_sleeping": False}),
            "/lora-adapters": (200, []),
        }
        self.paths: list[str] = []
        self.bodies: list[Body] = []
        self.keys: list[str] = []
        self.ports: set[int] = set()
        self.stop = threading.Event()
        self.lock = threading.Lock()

    def note(self, path: str, port: int) -> int:
        """Remember a request; gives the number of those to the same path before it."""
        with self.lock:
            self.paths.append(path)
            self.ports.add(port)
            return self.paths.count(path) - 1

    @property
    def questions(self) -> int:
        """Requests for an answer."""
        return self.paths.count("/v1/chat/completions")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is part of the tests."""


@contextmanager
def stand_in() -> Iterator[Server]:
    """A running server."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()
