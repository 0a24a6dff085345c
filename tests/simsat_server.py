"""A stand-in for a SimSat server, on loopback, that can be told to misbehave."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

from flightsim.rng import stream

Query = dict[str, list[str]]


def scene(query: Query, rows: int | None = None, cols: int | None = None) -> np.ndarray:
    """Digital numbers of a place: the same land on every date, bands first."""
    side = round(float(query["size_km"][0]) * 100)
    land = stream(1, f"{query['lat'][0]}/{query['lon'][0]}")
    shape = (len(query["spectral_bands"]), rows or side, cols or side)
    return land.integers(500, 4000, shape, dtype=np.uint16)


def metadata(query: Query, **changes: Any) -> dict[str, Any]:
    when = datetime.fromisoformat(query["timestamp"][0].replace("Z", "+00:00"))
    lat, lon = float(query["lat"][0]), float(query["lon"][0])
    return {
        "image_available": True,
        "source": "sentinel-2a",
        "spectral_bands": query["spectral_bands"],
        "footprint": [lon - 0.02, lat - 0.01, lon + 0.02, lat + 0.01],
        "size_km": float(query["size_km"][0]),
        "cloud_cover": 12.5,
        "datetime": f"{when - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
        **changes,
    }


def array_body(query: Query, samples: np.ndarray, about: dict[str, Any] | None = None, **image: Any) -> bytes:
    described = {"shape": list(samples.shape), "dtype": samples.dtype.name, "bands": query["spectral_bands"], **image}
    picture = {"metadata": described, "image": base64.b64encode(samples.tobytes()).decode()}
    return json.dumps({"image": picture, "sentinel_metadata": about or metadata(query)}).encode()


def png_body(samples: np.ndarray) -> bytes:
    shown = np.clip(samples / 3000 * 255, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.moveaxis(shown, 0, 2)).save(out, "PNG")
    return out.getvalue()


class Stand(BaseHTTPRequestHandler):
    """Answers as the server's ``behave`` says; that gets this handler, the query and the number of the request."""

    server: Server

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        number = self.server.note(self.path)
        with suppress(ConnectionError):
            (self.server.behave or fine)(self, query, number)

    def answer(self, body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: tests count requests."""


Behaviour = Callable[[Stand, Query, int], None]


def fine(stand: Stand, query: Query, number: int) -> None:
    """A good answer of the kind that is asked for."""
    if query["return_type"] == ["png"]:
        stand.answer(png_body(scene(query)), kind="image/png", sentinel_metadata=json.dumps(metadata(query)))
    else:
        stand.answer(array_body(query, scene(query)))


class Server(ThreadingHTTPServer):
    """The stand-in; ``paths`` are the requests that it met."""

    daemon_threads = True
    # Leaving must not wait for a handler that never ends.
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Stand)
        self.behave: Behaviour | None = None
        self.paths: list[str] = []
        self.stop = threading.Event()
        self._lock = threading.Lock()

    def note(self, path: str) -> int:
        with self._lock:
            self.paths.append(path)
            return len(self.paths) - 1

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
