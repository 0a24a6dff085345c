"""Finds plug-ins: by the name of an entry point, or in a Python file beside the scenario.

Entry points are read from package metadata; a module is imported only when its class is asked for. A file is
loaded under a private module name and never from the module path, so a user's ``policy.py`` hides nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from .errors import FlightsimError, PluginError
from .protocols import Policy
from .scenario.messages import faults_of
from .scenario.suggest import hint, shown
from .scenario.tree import Node

#: Entry-point groups are ``flightsim.<kind>``; what one plug-in of the kind is called.
KINDS = {
    "policies": "policy",
    "payloads": "payload",
    "links": "link",
    "scenes": "scene source",
    "faults": "fault model",
    "schemas": "schema",
}
#: Our own packages with names that others use too.
COMMON_NAMES = ("payload", "policy")
_OURS = "flightsim"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry point: which distribution offers which class under which name."""

    kind: str
    name: str
    target: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.target})"


@lru_cache(maxsize=1)
def entries() -> tuple[Entry, ...]:
    """Every plug-in that an installed distribution offers, sorted by kind, name and distribution."""
    found = []
    # Once for all kinds: each call looks through every installed distribution.
    points = metadata.entry_points()
    for kind in KINDS:
        for point in points.select(group=f"flightsim.{kind}"):
            owner = point.dist
            name, version = (owner.name, owner.version) if owner is not None else ("unknown", "?")
            found.append(Entry(kind, point.name, point.value, name, version))
    return tuple(sorted(set(found), key=lambda e: (e.kind, e.name, e.distribution, e.target)))


def names(kind: str) -> list[str]:
    """Names of a kind's plug-ins, sorted."""
    _known_kind(kind)
    return sorted({entry.name for entry in entries() if entry.kind == kind})


def duplicates() -> dict[tuple[str, str], tuple[Entry, ...]]:
    """Names that more than one distribution offers, by (kind, name)."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries():
        groups.setdefault((entry.kind, entry.name), []).append(entry)
    return {key: tuple(group) for key, group in groups.items() if len(group) > 1}


def is_name(use: str) -> bool:
    """Whether an entry point has this name, in any kind."""
    return any(entry.name == use for entry in entries())


def is_file(use: str) -> bool:
    """Whether a ``use`` means a class in a file, "./file.py:Class"."""
    return ":" in use and not is_name(use)


def find(kind: str, use: str, folder: Path = Path(".")) -> type[Any]:
    """Class of a plug-in; its module is imported.

    Parameters
    ----------
    kind
        ``policies``, ``payloads``, ``links``, ``scenes``, ``faults`` or ``schemas``.
    use
        Name of an entry point, or "./file.py:Class".
    folder
        What a file is relative to: the scenario's folder.

    Raises
    ------
    PluginError
        It is not there, is there twice, or does not load; the nearest names are told.
    """
    _known_kind(kind)
    if is_file(use):
        return _class_of(_load_file(*file_of(use, folder)), use)
    entry = entry_of(kind, use)
    module_name, _, attribute = entry.target.partition(":")
    guard(module_name)
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except FlightsimError:
        raise
    except (Exception, SystemExit) as error:  # foreign code: whatever its import raises is told in one line
        raise PluginError(
            f"{KINDS[kind]} '{use}' of {entry} does not load: {_said(error)}. "
            f"Reinstall {entry.distribution}, or see `flightsim doctor`."
        ) from error
    if not isinstance(found, type):
        raise PluginError(f"{KINDS[kind]} '{use}' of {entry} is no class but {shown(found)}.")
    return found


def entry_of(kind: str, use: str) -> Entry:
    """The one entry point of a name; nothing is imported.

    Raises
    ------
    PluginError
        No distribution offers the name, or several do.
    """
    found = [entry for entry in entries() if entry.kind == kind and entry.name == use]
    if len(found) == 1:
        return found[0]
    if found:
        owners = " and ".join(str(entry) for entry in found)
        raise PluginError(f"{KINDS[kind]} '{use}' is offered twice, by {owners}; uninstall one of them.")
    if not any(entry.distribution == _OURS for entry in entries()):
        raise PluginError(
            f"{KINDS[kind]} '{use}' cannot be looked up: flightsim's own entry points are not installed. "
            "Install it with `pip install -e .` (or `pip install flightsim`); running from a bare folder is not enough."
        )
    extra = ', or "./file.py:Class" for a file beside the scenario'
    raise PluginError(f"unknown {KINDS[kind]} '{use}'; {hint(use, names(kind))}{extra}.")


def config_of(kind: str, use: str, folder: Path = Path(".")) -> type[BaseModel]:
    """The pydantic model of a plug-in's settings; the object is not built.

    Raises
    ------
    PluginError
        The plug-in cannot be found or has no ``Config``.
    """
    cls = find(kind, use, folder)
    config = getattr(cls, "Config", None)
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        raise PluginError(
            f"{KINDS[kind]} '{use}' has no Config; give the class {cls.__name__} a nested pydantic model, "
            "derived from flightsim.protocols.PluginConfig."
        )
    return config


def configure(kind: str, use: str, settings: Mapping[str, Any], folder: Path = Path(".")) -> BaseModel:
    """Checked settings of a plug-in.

    Raises
    ------
    PluginError
        The plug-in cannot be found, or its Config refuses the settings; every fault is told.
    """
    config = config_of(kind, use, folder)
    try:
        return config.model_validate(dict(settings))
    except ValidationError as error:
        faults = faults_of(error, config, Node({}, "", 0), ("with",))
        told = "; ".join(f"{fault.path}: {fault.message}" for fault in faults)
        raise PluginError(f"{KINDS[kind]} '{use}': {told}") from None


def build(kind: str, use: str, settings: Mapping[str, Any] | None = None, folder: Path = Path("."), **more: Any) -> Any:
    """A plug-in object, made from its checked settings.

    Parameters
    ----------
    more
        Further arguments, handed over where the class takes them; ``base_folder`` is the scenario's folder.

    Raises
    ------
    PluginError
        The plug-in cannot be found, configured or constructed.
    """
    cls = find(kind, use, folder)
    config = configure(kind, use, settings or {}, folder)
    takes = inspect.signature(cls).parameters
    offered = {"base_folder": folder, **more}
    try:
        return cls(config, **{name: value for name, value in offered.items() if name in takes})
    except FlightsimError:
        raise
    except (Exception, SystemExit) as error:  # foreign code: whatever its construction raises is told in one line
        raise PluginError(f"{KINDS[kind]} '{use}' cannot be built: {_said(error)}.") from error


def load_policy(use: str, settings: Mapping[str, Any] | None = None, folder: Path = Path(".")) -> Policy:
    """A policy object in this process, by name or "./file.py:Class" (code that you trust).

    Raises
    ------
    PluginError
        The policy cannot be found or configured.
    """
    policy: Policy = build("policies", use, settings, folder)
    return policy


def isolated_policy(use: str, settings: Mapping[str, Any], folder: Path, watchdog_s: float) -> Policy:
    """A policy class in a process of its own; a file's class is not executed in this one.

    A policy with an entry point is loaded there from the file of its module.

    Raises
    ------
    PluginError
        The file is not there, or the process refuses file, class or settings.
    """
    if is_file(use):
        path, class_name = file_of(use, folder)
    else:
        cls = find("policies", use, folder)
        path, class_name = Path(inspect.getfile(cls)), cls.__name__
    process = find("policies", "process")
    policy: Policy = process.for_file(path, class_name, dict(settings), watchdog_s)
    return policy


# Files ----------------------------------------------------------------------------------------------------------------


def file_of(use: str, folder: Path) -> tuple[Path, str]:
    """File and class that "./file.py:Class" names; nothing is executed.

    A relative path stays inside the folder. An absolute one is for callers that chose it themselves, such as
    ``--policy`` on the command line; in a scenario file it is a fault.

    Raises
    ------
    PluginError
        It is no regular Python file, or lies outside the folder.
    """
    text, _, class_name = use.rpartition(":")
    if not text.endswith(".py") or not class_name.isidentifier():
        raise PluginError(f"'{use}' is no plug-in of a file; write \"./file.py:Class\", relative to the scenario.")
    base = folder.resolve()
    path = (base / text).resolve()
    if not Path(text).is_absolute() and not path.is_relative_to(base):
        raise PluginError(f"'{text}' lies outside the scenario's folder; put the file beside or below the scenario.")
    if not path.is_file():
        beside = [f"./{p.name}" for p in base.glob("*.py")]
        known = f"; {hint(text, beside)}" if beside else ""
        raise PluginError(f"plug-in file '{text}' does not exist in the scenario's folder{known}.")
    return path, class_name


def _load_file(path: Path, class_name: str) -> tuple[ModuleType, str]:
    source = path.read_bytes()
    digest = hashlib.sha256(str(path).encode() + b"\0" + source).hexdigest()[:16]
    name = f"_flightsim_file_{digest}"
    if name in sys.modules:
        return sys.modules[name], class_name
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"plug-in file '{path.name}' cannot be read as Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their annotations up there
    try:
        # Compiled from the bytes that were hashed: no bytecode is written beside a user's file, none is trusted.
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if isinstance(error, FlightsimError):
            raise
        advice = ""
        if isinstance(error, ImportError):
            advice = "; a plug-in file stands alone: install what it imports, or put it into the file"
        raise PluginError(
            f"{path.name}:{_line(error, path)}: the plug-in file does not load: {_said(error)}{advice}"
        ) from error
    return module, class_name


def _class_of(loaded: tuple[ModuleType, str], use: str) -> type[Any]:
    module, class_name = loaded
    found = getattr(module, class_name, None)
    if isinstance(found, type):
        return found
    own = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]
    raise PluginError(f"'{use}': the file has no class '{class_name}'; {hint(class_name, own)}.")


def _line(error: BaseException, path: Path) -> int:
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return error.lineno
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path) and f.lineno]
    return lines[-1] if lines else 1


def _said(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}"[:400]


# Guard ----------------------------------------------------------------------------------------------------------------


def origin_of(package: str) -> Path | None:
    """Where a top-level package would be imported from: its folder or file; None where it is nowhere."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # it is loaded already and carries no spec
        file = getattr(sys.modules.get(package), "__file__", None)
        return Path(file) if file else Path("<a module without a file>")
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin or "<a module without a file>")


def guard(module_name: str) -> None:
    """Refuse to import one of our own packages from anywhere but beside flightsim itself.

    Raises
    ------
    PluginError
        A foreign ``policy`` or ``payload`` would be imported instead.
    """
    package = module_name.partition(".")[0]
    if package not in COMMON_NAMES:
        return
    home = Path(__file__).resolve().parents[1]
    origin = origin_of(package)
    if origin is None:
        raise PluginError(f"flightsim's own package '{package}' is missing beside {home / _OURS}; reinstall flightsim.")
    if origin.resolve() != home / package:
        raise PluginError(
            f"'{package}' would be imported from {origin}, which hides flightsim's own package of that name. "
            f"Rename it, or start with the command `flightsim` (or `python -P -m flightsim`), "
            "which leaves the current folder out of the module path."
        )


def _known_kind(kind: str) -> None:
    if kind not in KINDS:
        raise PluginError(f"unknown kind of plug-in '{kind}'; {hint(kind, KINDS)}.")


def distributions(kinds: Iterable[str] = KINDS) -> list[str]:
    """Distributions that offer plug-ins, sorted."""
    wanted = set(kinds)
    return sorted({entry.distribution for entry in entries() if entry.kind in wanted})
