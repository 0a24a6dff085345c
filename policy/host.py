"""The child's end of ``isolation: process`` for policies written in Python.

Started as a script by ``ProcessPolicy.for_file`` with ``python -P``: it loads one class from one file, hands it
real ``Observation`` objects and answers with its decisions, one JSON line each. It imports nothing from ``policy``.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

if importlib.util.find_spec("flightsim") is None:  # run from a source tree that is not installed
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from pydantic import ValidationError

from flightsim import wire
from flightsim.domain import Decision
from flightsim.errors import PluginError, PolicyFault


def load_file(path: Path, name: str = "flightsim_file_policy") -> ModuleType:
    """The module of a file, whatever the module path says.

    Raises
    ------
    PluginError
        The file is absent, or raises while it is imported.
    """
    if not path.is_file():
        raise PluginError(f"policy file '{path}' does not exist.")
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pydantic look their annotations up there
    try:
        # Compiled here, so that no bytecode is written beside a user's file.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise PluginError(f"policy file '{path.name}' does not import: {_where(error, path)}") from error
    return module


def build(settings: dict[str, Any]) -> tuple[Any, Path]:
    """The policy object that the greeting describes, and its file.

    Raises
    ------
    PluginError
        The file or class does not load, or its Config refuses the settings.
    """
    path, class_name = Path(str(settings["file"])), str(settings["class"])
    module = load_file(path)
    cls = getattr(module, class_name, None)
    if not isinstance(cls, type):
        classes = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]
        raise PluginError(
            f"policy file '{path.name}' has no class '{class_name}'; it has {', '.join(classes) or 'none'}."
        )
    config_class: Any = getattr(cls, "Config", None)
    if config_class is None or not hasattr(cls, "decide"):
        raise PluginError(f"class '{class_name}' of '{path.name}' needs a Config and a method decide(seen).")
    try:
        config = config_class.model_validate(settings.get("config", {}))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors())
        raise PluginError(f"policy {path.name}:{class_name}: {faults}") from error
    try:
        return cls(config), path
    except (Exception, SystemExit) as error:
        raise PluginError(f"policy {path.name}:{class_name} cannot be built: {_where(error, path)}") from error


def capabilities(policy: Any) -> list[str]:
    """The optional methods that a policy offers, by their name in the protocol."""
    offered = {
        "ask": ("ask",),
        "reset": ("reset",),
        "snapshot": ("snapshot", "restore"),
        "contact": ("on_contact",),
    }
    return [name for name, methods in offered.items() if all(callable(getattr(policy, m, None)) for m in methods)]


def answer(policy: Any, request: dict[str, Any]) -> dict[str, Any]:
    """What the policy says to one request, as a message without its id.

    Raises
    ------
    PolicyFault
        The request or the answer is malformed. Whatever the policy itself raises passes through.
    """
    kind = request.get("type")
    if kind == "decide":
        seen = wire.observation_from_json(request.get("seen"))
        decision: Decision = policy.decide(seen)
        problem = wire.validate_decision(decision, seen)
        if problem is not None:
            raise PolicyFault(problem)
        return {"type": "decision", **wire.decision_to_json(decision)}
    if kind == "ask":
        return {"type": "asked", "schemas": list(policy.ask(wire.observation_from_json(request.get("seen"))))}
    if kind == "snapshot":
        return {"type": "state", "data": base64.b64encode(policy.snapshot()).decode("ascii")}
    if kind == "reset":
        policy.reset()
    elif kind == "restore":
        policy.restore(base64.b64decode(str(request.get("data")), validate=True))
    elif kind == "contact":
        policy.on_contact(wire.contact_from_json(request.get("contact")))
    else:
        raise PolicyFault(f"unknown request {kind!r:.60}")
    return {"type": "done"}


def _where(error: BaseException, path: Path) -> str:
    """An error of foreign code on one line, with the place in its own file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    place = f" ({path.name}:{lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {error}{place}"[:1000]


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests line by line until ``bye`` or the end of the input."""

    def say(message: dict[str, Any]) -> None:
        answers.write(wire.dumps(message))
        answers.flush()

    hello = wire.loads(requests.readline())
    try:
        if hello.get("protocol") != wire.PROTOCOL:
            raise PluginError(
                f"the simulator speaks protocol {hello.get('protocol')}; this host speaks {wire.PROTOCOL}."
            )
        policy, path = build(hello["settings"])
    except PluginError as error:
        say({"type": "refused", "message": str(error)})
        return
    say({"type": "ready", "protocol": wire.PROTOCOL, "capabilities": capabilities(policy)})
    for line in requests:
        request = wire.loads(line)
        if request.get("type") == "bye":
            return
        number = request.get("id")
        try:
            said = wire.dumps({"id": number, **answer(policy, request)})
        except PolicyFault as error:
            said = wire.dumps({"type": "error", "id": number, "message": str(error)})
        except (Exception, SystemExit) as error:  # foreign code: told to the other side, which counts it
            said = wire.dumps({"type": "error", "id": number, "message": _where(error, path)})
        answers.write(said)
        answers.flush()


def main() -> None:
    """Keep the two pipes to ourselves: what the policy prints goes to standard error, what it reads is empty."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    with requests, answers:
        serve(requests, answers)


if __name__ == "__main__":
    main()
