"""A child process in a group of its own, spoken to line by line with a deadline."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
import weakref

from flightsim.errors import PluginError

_CHUNK = 65536
#: What is kept of the child's standard error. [B]
_SAID_BYTES = 4096


class Child:
    """Starts a program with nothing inherited but three pipes.

    All pipes are served together, so that neither side can block the other by writing.

    Raises
    ------
    PluginError
        The program cannot be started.
    """

    def __init__(self, command: list[str], cwd: str, env: dict[str, str]) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )
        except OSError as error:
            raise PluginError(f"the policy's program '{command[0]}' cannot be started: {error.strerror}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        self._err = self._process.stderr.fileno()
        for pipe in (self._in, self._out, self._err):
            os.set_blocking(pipe, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._selector.register(self._err, selectors.EVENT_READ)
        self._writing = False  # whether the selector watches its input
        self._hearing = True  # whether it watches its standard error
        self._buffer = b""
        self._said = b""
        self._last = weakref.finalize(self, _kill_group, self._process)

    @property
    def pid(self) -> int:
        """Process id, and id of its group."""
        return self._process.pid

    def exchange(self, line: bytes, deadline: float, max_line_bytes: int) -> bytes | None:
        """Send a line and read one; None where the child closed its output.

        A line longer than allowed comes back cut, one byte too long.

        Raises
        ------
        TimeoutError
            No whole line by the deadline (monotonic clock).
        """
        rest = self._write(memoryview(line))
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0 and not rest:
                answer, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
                return answer[: max_line_bytes + 1]
            if len(self._buffer) > max_line_bytes:
                return self._buffer[: max_line_bytes + 1]
            left_s = deadline - time.monotonic()
            if left_s <= 0.0:
                raise TimeoutError
            for key, _ in self._selector.select(left_s):
                if key.fd == self._in:
                    rest = self._write(rest)
                elif key.fd == self._err:
                    self._listen()
                elif not self._read():
                    return None

    def _write(self, data: memoryview) -> memoryview:
        """What the pipe does not take now; the selector tells when it takes more."""
        try:
            while data:
                data = data[os.write(self._in, data) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            data = data[:0]  # the end of its output, which comes next, tells why
        if bool(data) != self._writing:
            self._writing = bool(data)
            if self._writing:
                self._selector.register(self._in, selectors.EVENT_WRITE)
            else:
                self._selector.unregister(self._in)
        return data

    def _read(self) -> bool:
        """Whether its output is still open."""
        try:
            data = os.read(self._out, _CHUNK)
        except BlockingIOError:
            return True
        self._buffer += data
        return bool(data)

    def _listen(self) -> bool:
        """Whether its standard error said something now."""
        try:
            data = os.read(self._err, _CHUNK)
        except BlockingIOError:
            return False
        self._said = (self._said + data)[-_SAID_BYTES:]
        if not data:
            self._selector.unregister(self._err)
            self._hearing = False
        return bool(data)

    def said(self) -> str:
        """The last words of its standard error so far, on one line."""
        for _ in range(16):  # bounded: it may be talking without end
            if not self._hearing or not self._listen():
                break
        words = " ".join(self._said.decode("utf-8", "replace").split())
        return "".join(c if c.isprintable() else "?" for c in words[-400:])

    def end(self, last_line: bytes, timeout_s: float) -> int:
        """Exit status after a good-bye; what has not ended by then is killed, and its group in any case. [-]"""
        deadline = time.monotonic() + timeout_s
        if self._write(memoryview(last_line)):
            self._selector.unregister(self._in)
        if self._process.stdin is not None:
            self._process.stdin.close()
        # Its output closes when it ends: waiting for that needs no polling.
        still_open = True
        while still_open and (left_s := deadline - time.monotonic()) > 0.0:
            for key, _ in self._selector.select(left_s):
                if key.fd == self._err:
                    self._listen()
                else:
                    still_open = self._read()
                    self._buffer = b""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # The output closes a moment before the process is gone; its status would be that of our signal.
            self._process.wait(max(0.0, deadline - time.monotonic()))
        return self.kill()

    def kill(self) -> int:
        """Exit status after killing the whole group; leaves no zombie and no open pipe. [-]"""
        self.said()
        self._hearing = False
        self._selector.close()
        self._last()
        return self._process.returncode


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # The number of a group is not given to another process while a member of it lives.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
