"""llama.cpp's real HTTP server on loopback, from the wheel that flies: python -m tests.llama_server FOLDER SLOTS."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def serve(folder: Path, parallel: int) -> None:
    """Serve a model folder of the shipped layout with its adapter, print the address, and stay until stdin ends."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    files = folder / "gguf"
    params.model.path, params.mmproj.path = str(files / "model-q8_0.gguf"), str(files / "mmproj-f16.gguf")
    [adapter] = files.glob("adapter-*.gguf")
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
    params.image_min_tokens = params.image_max_tokens = 16
    params.model_alias = {"flightsim-tiny"}
    params.n_ctx, params.n_parallel = 512 * parallel, parallel
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.use_jinja, params.warmup, params.cache_ram_mib, params.verbosity = True, False, 0, -1
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


@contextmanager
def running(folder: Path, parallel: int = 1) -> Iterator[str]:
    """The address of a server for a model folder, in a process of its own, with so many questions at a time."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.llama_server", str(folder), str(parallel)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        watchdog.cancel()
        assert address.startswith("http://127.0.0.1:"), f"the server did not start: {address!r}"
        yield address
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
