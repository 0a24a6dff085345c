"""A policy in a process of its own, over JSON lines: any language, no truth, no seed, and a watchdog.

The protocol is documented in ``docs/policies.md``; ``host.py`` is its other end for policies written in Python.
"""

from __future__ import annotations

import base64
import binascii
import os
import shutil
import site
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import Field

from flightsim import wire
from flightsim.domain import ContactForecast, Decision, Observation
from flightsim.errors import PluginError, PolicyFault, PolicyHung
from flightsim.protocols import PluginConfig

from .group import Child

Limit = Annotated[float, Field(gt=0)]
CAPABILITIES = ("ask", "reset", "snapshot", "contact")
_HOST = Path(__file__).with_name("host.py")


class ProcessConfig(PluginConfig):
    """Settings of ``process``."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """Program and arguments. A word that names a file relative to the scenario stands for that file."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Handed to the program in its greeting, as they are."""
    cwd: str | None = None
    """Working folder, relative to the scenario. Default: a private empty one."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables beside PATH, LANG, HOME, TMPDIR and PYTHONHASHSEED=0; nothing else is inherited."""
    watchdog_s: Limit | None = None
    """Wall-clock limit of one answer. [s] Default: the scenario's policy.watchdog_s."""
    start_s: Limit = 60.0
    """Wall-clock limit of the greeting. [s]"""
    max_faults: Annotated[int, Field(ge=1)] = 3
    """After so many faults in a row the process is stopped, and not started again."""


class ProcessPolicy:
    """Asks a child process for each decision.

    The methods ``ask``, ``reset``, ``snapshot``, ``restore`` and ``on_contact`` exist where the child offers them.
    A child that has ended, or was stopped after ``max_faults`` faults in a row, is not started again: each further
    call raises PolicyFault at once.

    Raises
    ------
    PluginError
        The program cannot be started, or it refuses its settings.
    PolicyHung
        No answer within the wall-clock limit; the process and its group were killed.
    PolicyFault
        Anything else that is no decision: an error of its own, rubbish, a wrong id, an oversized line, its end.
    """

    Config = ProcessConfig

    def __init__(self, config: ProcessConfig, base_folder: Path = Path("."), watchdog_s: float = 30.0) -> None:
        self._config = config
        self._watchdog_s = config.watchdog_s if config.watchdog_s is not None else watchdog_s
        self._id = 0
        self._faults = 0
        self._given_up: set[str] = set()
        self._dead = ""
        self._private = tempfile.mkdtemp(prefix="flightsim-policy-")
        self._child: Child | None = None
        # Runs at the latest when the policy is collected or the interpreter ends.
        self._end = weakref.finalize(self, shutil.rmtree, self._private, ignore_errors=True)
        try:
            command, cwd = self._resolved(base_folder.resolve())
            self._child = Child(command, cwd, self._environment())
            ready = self._greet()
        except BaseException:
            self.close()
            raise
        self.capabilities: tuple[str, ...] = ready
        if "ask" in ready:
            self.ask = self._ask
        if "reset" in ready:
            self.reset = self._reset
        if "snapshot" in ready:
            self.snapshot, self.restore = self._snapshot, self._restore
        if "contact" in ready:
            self.on_contact = self._contact

    @classmethod
    def for_file(
        cls, path: Path, class_name: str, config: dict[str, Any] | None = None, watchdog_s: float = 30.0
    ) -> ProcessPolicy:
        """A policy class of a Python file, in a process of its own (``isolation: process``).

        The file's folder is not on the module path, so a ``policy.py`` beside it shadows nothing.

        Raises
        ------
        PluginError
            The file or the class does not load, or its Config refuses the settings.
        """
        settings = {"file": str(path.resolve()), "class": class_name, "config": config or {}}
        command = (sys.executable, "-P", str(_HOST))
        env = {"PYTHONUSERBASE": site.getuserbase()} if site.ENABLE_USER_SITE else {}
        return cls(ProcessConfig(command=command, settings=settings, env=env), watchdog_s=watchdog_s)

    @property
    def pid(self) -> int | None:
        """Process id of the child while it lives."""
        return self._child.pid if self._child is not None else None

    def decide(self, seen: Observation) -> Decision:
        """The child's decision for this tile."""
        answer = self._call("decide", "decision", seen=wire.observation_to_json(seen))
        try:
            decision = wire.decision_from_json(answer)
        except PolicyFault as error:
            self._fail(str(error), answered=True)
        self._faults = 0
        return decision

    def close(self, timeout_s: float = 2.0) -> None:
        """Say good-bye, wait at most so long, kill what is left of its process group, and reap it. [s]"""
        if self._child is not None:
            self._child.end(wire.dumps({"type": "bye"}), timeout_s)
            self._child = None
            self._dead = self._dead or "it was closed"
        self._end()

    # The optional methods ------------------------------------------------------------------------------------------

    def _ask(self, seen: Observation) -> tuple[str, ...]:
        answer = self._call("ask", "asked", seen=wire.observation_to_json(seen))
        schemas = answer.get("schemas")
        if not isinstance(schemas, list) or not all(isinstance(name, str) for name in schemas):
            self._fail(f"schemas is {schemas!r:.80}; it must be a list of schema ids", answered=True)
        return tuple(schemas)

    def _reset(self) -> None:
        self._call("reset", "done")

    def _snapshot(self) -> bytes:
        data = self._call("snapshot", "state").get("data")
        try:
            return base64.b64decode(data if isinstance(data, str) else "*", validate=True)
        except (binascii.Error, ValueError):
            self._fail(f"data is {data!r:.80}; it must be a text in base64", answered=True)

    def _restore(self, state: bytes) -> None:
        self._call("restore", "done", data=base64.b64encode(state).decode("ascii"))

    def _contact(self, contact: ContactForecast) -> None:
        self._call("contact", "done", contact=wire.contact_to_json(contact))

    # The conversation ----------------------------------------------------------------------------------------------

    def _greet(self) -> tuple[str, ...]:
        hello = {
            "type": "hello",
            "protocol": wire.PROTOCOL,
            "watchdog_s": self._watchdog_s,
            "max_line_bytes": wire.MAX_LINE_BYTES,
            "settings": self._config.settings,
        }
        try:
            ready = wire.loads(self._exchange(wire.dumps(hello), time.monotonic() + self._config.start_s))
        except PolicyFault as error:
            raise PluginError(f"{self._name()} does not start: {error}{self._heard()}") from error
        except TimeoutError as error:
            self._hung("hello", self._config.start_s, error)
        if ready.get("type") == "refused":
            raise PluginError(_clean(ready.get("message"), 2000))
        if ready.get("type") != "ready" or ready.get("protocol") != wire.PROTOCOL:
            raise PluginError(
                f"{self._name()} answered the greeting with {str(ready)[:200]}; "
                f'it must answer {{"type":"ready","protocol":{wire.PROTOCOL},"capabilities":[]}}'
            )
        offered = ready.get("capabilities", [])
        if not isinstance(offered, list) or any(name not in CAPABILITIES for name in offered):
            allowed = ", ".join(CAPABILITIES)
            raise PluginError(f"{self._name()} offers {str(offered)[:200]}; capabilities are a list out of {allowed}")
        return tuple(offered)

    def _call(self, kind: str, wanted: str, **content: Any) -> dict[str, Any]:
        """The answer to one request, without its type and id."""
        if self._child is None:
            raise PolicyFault(f"{self._name()} is not running: {self._dead}")
        self._id += 1
        deadline = time.monotonic() + self._watchdog_s
        try:
            line = wire.dumps({"type": kind, "id": self._id, **content})
            answer = wire.loads(self._exchange(line, deadline))
            # The late answer to a request that was given up (it came behind a line of rubbish) is not a new fault.
            while str(answer.get("id")) in self._given_up:
                self._given_up.discard(str(answer["id"]))
                answer = wire.loads(self._exchange(b"", deadline))
        except TimeoutError as error:
            self._hung(kind, self._watchdog_s, error)
        except PolicyFault as error:
            self._fail(str(error))
        number, got = answer.pop("id", None), answer.pop("type", None)
        if got == "error" and number == self._id:
            self._fail(_clean(answer.get("message"), 1000), answered=True)
        if type(number) is not int or number != self._id:
            self._fail(f"the answer has id {number!r:.40}; request {self._id} was asked")
        if got != wanted:
            self._fail(f"the answer to '{kind}' has type {got!r:.40}; it must be '{wanted}'", answered=True)
        # Answers come in order: nothing that was given up can still be on its way.
        self._given_up.clear()
        return answer

    def _exchange(self, line: bytes, deadline: float) -> bytes:
        assert self._child is not None
        answer = self._child.exchange(line, deadline, wire.MAX_LINE_BYTES)
        if answer is None:
            code = self._child.end(b"", 2.0)
            self._dead = f"it ended with status {code}{self._heard()}"
            self._child = None
            raise PolicyFault(self._dead)
        if len(answer) > wire.MAX_LINE_BYTES:
            self._stop(f"it answered with a line of more than {wire.MAX_LINE_BYTES} bytes and was stopped")
            raise PolicyFault(self._dead)
        return answer

    def _fail(self, why: str, *, answered: bool = False) -> NoReturn:
        self._faults += 1
        if not answered:
            self._given_up.add(str(self._id))
        heard = self._heard() if self._child is not None else ""
        if self._child is not None and self._faults >= self._config.max_faults:
            self._stop(f"it was stopped after {self._faults} faults in a row, the last: {why}")
            why = f"{why}; stopped after {self._faults} faults in a row"
        raise PolicyFault(f"{self._name()}: {why}{heard}")

    def _stop(self, why: str) -> None:
        if self._child is not None:
            self._child.kill()
        self._child, self._dead = None, why

    def _hung(self, kind: str, limit_s: float, cause: TimeoutError) -> NoReturn:
        heard = self._heard()
        self._stop(f"it gave no answer to '{kind}' within {limit_s:g} s and was killed")
        message = f"{self._name()} gave no answer to '{kind}' within {limit_s:g} s (wall clock) and was killed{heard}"
        raise PolicyHung(message, limit_s) from cause

    def _heard(self) -> str:
        said = self._child.said() if self._child is not None else ""
        return f"; it said: {said}" if said else ""

    def _name(self) -> str:
        settings = self._config.settings
        if self._config.command[-1] == str(_HOST):
            return f"policy {Path(settings['file']).name}:{settings['class']}"
        return f"policy process '{' '.join(self._config.command)[:120]}'"

    # Its surroundings ----------------------------------------------------------------------------------------------

    def _resolved(self, base: Path) -> tuple[list[str], str]:
        if os.name != "posix":
            raise PluginError("policy processes need a POSIX system; use isolation: inline for code that you trust.")
        program, *rest = self._config.command
        words = [str(base / word) if _is_file(base, word) else word for word in rest]
        if os.sep in program:
            program = str(base / program)
        else:
            found = shutil.which(program)
            if found is None:
                raise PluginError(f"the policy's program '{program}' is not on the PATH; install it or give its path.")
            program = found
        if not os.access(program, os.X_OK) or Path(program).is_dir():
            raise PluginError(f"the policy's program '{program}' is no executable file.")
        cwd = self._private if self._config.cwd is None else str(base / self._config.cwd)
        if not Path(cwd).is_dir():
            raise PluginError(f"policy cwd '{self._config.cwd}' is no folder beside the scenario.")
        return [program, *words], cwd

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": self._private,
            "TMPDIR": self._private,
            # Else a Python policy that walks a set would decide otherwise in each run.
            "PYTHONHASHSEED": "0",
            **self._config.env,
        }


def _is_file(base: Path, word: str) -> bool:
    try:
        return (base / word).is_file()
    except OSError:  # a word too long for a file name
        return False


def _clean(text: object, longest: int) -> str:
    """Foreign text that can be written anywhere: no lone surrogate, no control character but the line feed."""
    kept = str(text)[:longest].encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in kept)


def isolated_file_policy(
    path: Path, class_name: str, config: dict[str, Any] | None = None, watchdog_s: float = 30.0
) -> ProcessPolicy:
    """A policy class of a Python file, in a process of its own; see ``ProcessPolicy.for_file``."""
    return ProcessPolicy.for_file(path, class_name, config, watchdog_s)
