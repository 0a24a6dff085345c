"""A headless Chromium driven through two pipes: no socket, no driver, no package beyond the standard library.

Speaks the Chrome DevTools Protocol as ``--remote-debugging-pipe`` offers it: JSON messages that end in a zero byte,
written to file descriptor 3 of the browser and read from its 4.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--remote-debugging-pipe", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-extensions", "--disable-sync", "--disable-component-update", "--hide-scrollbars", "--mute-audio",
    "--disable-dev-shm-usage",
)  # fmt: skip
#: Longest wait for an answer. [s]
PATIENCE_S = 60.0


def find() -> str | None:
    """Path of a Chromium or Chrome on this machine, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of a headless browser; use it in a ``with`` statement."""

    def __init__(self, path: str | None = None) -> None:
        self._path = path or find()
        if self._path is None:
            raise RuntimeError(f"no browser is installed; looked for {', '.join(NAMES)}")
        self.messages: list[dict[str, Any]] = []
        self._number, self._buffer, self._session = 0, b"", ""

    def __enter__(self) -> Browser:
        self._profile = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        (read_to, write_to), (read_from, write_from) = os.pipe(), os.pipe()
        # High numbers first, so that moving one to 3 or 4 closes none of the others.
        theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (read_to, write_from)]

        def place() -> None:
            os.dup2(theirs[0], 3)
            os.dup2(theirs[1], 4)

        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [self._path, *FLAGS, *sandbox, f"--user-data-dir={self._profile.name}", "about:blank"],
            pass_fds=(3, 4), preexec_fn=place, close_fds=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for fd in (read_to, write_from, *theirs):
            os.close(fd)
        self._out, self._in = write_to, read_from
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._session = ""
            self.send("Browser.close")
        except (RuntimeError, OSError):
            self._process.kill()
        self._process.wait(timeout=30)
        os.close(self._out)
        os.close(self._in)
        self._profile.cleanup()

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a command; events that come meanwhile are kept in ``messages``."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
            self.messages.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], PATIENCE_S)
            data = os.read(self._in, 1 << 20) if ready else b""
            if not data:
                raise RuntimeError("the browser does not answer" if not ready else "the browser has closed")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def wait_for(self, method: str) -> dict[str, Any]:
        """Parameters of the next event of this name."""
        while True:
            for k, message in enumerate(self.messages):
                if message.get("method") == method:
                    return dict(self.messages.pop(k)["params"])
            self.messages.append(self._read())

    # ------------------------------------------------------------------ a page

    def open(self, path: Path) -> None:
        """Load a file and wait until it is there."""
        self.messages.clear()
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait_for("Page.loadEventFired")

    def run(self, expression: str) -> Any:
        """Value of a JavaScript expression; promises are awaited."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", expression))
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """Exceptions, console errors and warnings, and blocked requests so far."""
        self.run("0")
        found = []
        for message in self.messages:
            kind, params = message.get("method"), message.get("params", {})
            if kind == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                found.append(details.get("exception", {}).get("description") or details["text"])
            elif kind == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(f"console.{params['type']}: {params['args']}")
            elif kind == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """Addresses that the page asked for."""
        self.run("0")
        sent = [m["params"] for m in self.messages if m.get("method") == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent]

    def size(self, width: int, height: int, scale: float = 1.0) -> None:
        """Size of the window. [px]"""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )

    def media(self, kind: str = "screen", **features: str) -> None:
        """``screen`` or ``print``, and features such as ``prefers_color_scheme="dark"``."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.send("Emulation.setEmulatedMedia", media=kind, features=named)

    def script(self, allowed: bool) -> None:
        """Whether pages may run scripts."""
        self.send("Emulation.setScriptExecutionDisabled", value=not allowed)

    def key(self, key: str, code: int = 0, text: str = "") -> None:
        """Press and release a key."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 4) -> None:
        """Press the mouse at one point of the window, move, release at another. [px]"""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=start[0], y=start[1])
        held: dict[str, Any] = {"button": "left", "buttons": 1}
        self.send("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], clickCount=1, **held)
        for k in range(1, steps + 1):
            x, y = (a + (b - a) * k / steps for a, b in zip(start, end, strict=True))
            self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **held)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], clickCount=1, **held)

    def click(self, selector: str) -> None:
        """Click in the middle of an element, in sight and at rest: a busy page may still scroll on its own."""
        x, y = self.run(
            f"(async () => {{ const e = document.querySelector({json.dumps(selector)}); let before = NaN; "
            "for (;;) { e.scrollIntoView({block: 'center', behavior: 'instant'}); "
            "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); "
            "const b = e.getBoundingClientRect(); if (b.y === before) return [b.x + b.width / 2, b.y + b.height / 2]; "
            "before = b.y; } })()"
        )
        self.drag((x, y), (x, y), steps=1)

    def picture(self, kind: str = "png", quality: int | None = None, clip: dict[str, float] | None = None) -> bytes:
        """Screenshot of the window, or of a part of the page (x, y, width, height, scale)."""
        more: dict[str, Any] = {} if quality is None else {"quality": quality}
        if clip is not None:
            more |= {"clip": clip, "captureBeyondViewport": True}
        return base64.b64decode(self.send("Page.captureScreenshot", format=kind, **more)["data"])
