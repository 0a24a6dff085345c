"""YAML as a tree of nodes that know the file and line they come from.

ruamel.yaml parses; what a plain scalar means is decided here, by the core schema of YAML 1.2 (``no`` is text,
``1e6`` a number, ``12:30:00`` text). Built straight from the event stream, so that an alias is refused when it
is met and nothing is ever expanded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from ..errors import Fault, ScenarioError

#: Deepest nesting of a scenario; the format itself needs six levels.
MAX_DEPTH = 24

_INT = re.compile(r"[-+]?[0-9]+$")
_OCTAL = re.compile(r"0o[0-7]+$")
_HEX = re.compile(r"0x[0-9a-fA-F]+$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_NOT_FINITE = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip

Steps = tuple[str | int, ...]


@dataclass(slots=True)
class Node:
    """A scalar, list or mapping; ``line`` is the line of its key, or its own in a list."""

    value: Any
    file: str
    line: int

    def plain(self) -> Any:
        """The same as ordinary Python values, mapping keys as text."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def child(self, step: str | int) -> Node | None:
        """Value of a key or item, None where there is none."""
        if isinstance(self.value, dict):
            found = self.value.get(str(step))
            return found if isinstance(found, Node) else None
        if isinstance(self.value, list) and isinstance(step, int) and 0 <= step < len(self.value):
            item = self.value[step]
            return item if isinstance(item, Node) else None
        return None

    def nearest(self, path: Steps) -> Node:
        """Node at a path, or the closest parent that exists."""
        node = self
        for step in path:
            found = node.child(step)
            if found is None:
                return node
            node = found
        return node

    def scalars(self, path: Steps = ()) -> Iterator[tuple[Steps, Node]]:
        """Every scalar below, with its path."""
        if isinstance(self.value, dict):
            for key, child in self.value.items():
                yield from child.scalars((*path, key))
        elif isinstance(self.value, list):
            for k, child in enumerate(self.value):
                yield from child.scalars((*path, k))
        else:
            yield path, self


def dotted(path: Steps) -> str:
    """Path as a user writes it: ``stations.0.lat_deg``."""
    return ".".join(str(step) for step in path)


def scalar(text: str) -> Any:
    """Value of a plain scalar by the core schema of YAML 1.2 (section 10.3).

    Raises
    ------
    ValueError
        The number is not finite or has thousands of digits.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        if len(text) > 40:
            raise ValueError(f"is a whole number of {len(text)} digits; at most 40 are allowed")
        return int(text)
    if _OCTAL.match(text) or _HEX.match(text):
        return int(text, 0)
    if _NOT_FINITE.match(text) or (_FLOAT.match(text) and not math.isfinite(float(text))):
        raise ValueError(f"is {text[:40]}; a finite number is wanted")
    return float(text) if _FLOAT.match(text) else text


class _Stop(Exception):
    """A fault after which the rest of the file means nothing."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass(slots=True)
class _Open:
    """A mapping or list that is still being filled."""

    node: Node
    path: Steps
    key: str | None = None
    key_line: int = 0
    duplicate: bool = False


class _Builder:
    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self.root: Node | None = None
        self._open: list[_Open] = []
        self._documents = 0

    def take(self, event: Event) -> None:
        if isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            self._open.pop()
        elif isinstance(event, DocumentStartEvent):
            self._document(event)
        elif isinstance(event, NodeEvent):
            self._node(event)

    def _document(self, event: DocumentStartEvent) -> None:
        self._documents += 1
        line = event.start_mark.line + 1
        if self._documents > 1:
            raise self._stop(line, "a second document begins (---); a scenario is one document")
        if event.version is not None and tuple(event.version) != (1, 2):
            major, minor = event.version
            raise self._stop(line, f"%YAML {major}.{minor} is asked for; scenarios are YAML 1.2")

    def _stop(self, line: int, message: str, path: Steps = ()) -> _Stop:
        return _Stop(Fault(self.file, line, dotted(path), message))

    def _node(self, event: NodeEvent) -> None:
        line = event.start_mark.line + 1
        at = self._open[-1] if self._open else None
        path = self._path(at)
        if isinstance(event, AliasEvent) or event.anchor is not None:
            sign = "*" if isinstance(event, AliasEvent) else "&"
            raise self._stop(
                line,
                f"'{sign}{str(event.anchor)[:40]}': anchors and aliases (&name, *name) are not allowed; "
                "write the value out, or use extends",
                path,
            )
        if isinstance(event, ScalarEvent) and at is not None and isinstance(at.node.value, dict) and at.key is None:
            self._key(at, event, line)
            return
        if at is not None and isinstance(at.node.value, dict) and at.key is None:
            raise self._stop(line, "a list or mapping stands as a key; keys are words", path)
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)) and event.tag not in (None, "!"):
            raise self._stop(line, f"the tag {event.tag} is not allowed; leave it out", path)
        value: Any
        if isinstance(event, ScalarEvent):
            value = self._scalar(event, line, path)
        else:
            value = {} if isinstance(event, MappingStartEvent) else []
        node = Node(value, self.file, at.key_line if at is not None and isinstance(at.node.value, dict) else line)
        self._attach(at, node)
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            if len(self._open) >= MAX_DEPTH:
                raise self._stop(line, f"nested deeper than {MAX_DEPTH} levels; no scenario needs that", path[:6])
            self._open.append(_Open(node, path))

    def _path(self, at: _Open | None) -> Steps:
        if at is None:
            return ()
        if isinstance(at.node.value, list):
            return (*at.path, len(at.node.value))
        return (*at.path, at.key) if at.key is not None else at.path

    def _key(self, at: _Open, event: ScalarEvent, line: int) -> None:
        key = str(event.value)
        at.key, at.key_line, at.duplicate = key, line, key in at.node.value
        if at.duplicate:
            first = at.node.value[key].line
            self.faults.append(
                Fault(
                    self.file,
                    line,
                    dotted((*at.path, key)),
                    f"the key '{key}' is given twice, first on line {first}; keep one",
                )
            )

    def _attach(self, at: _Open | None, node: Node) -> None:
        if at is None:
            self.root = node
        elif isinstance(at.node.value, list):
            at.node.value.append(node)
        else:
            if not at.duplicate:
                at.node.value[at.key] = node
            at.key = None

    def _scalar(self, event: ScalarEvent, line: int, path: Steps) -> Any:
        plain_implicit, quoted_implicit = event.implicit
        if not plain_implicit and not quoted_implicit:
            raise self._stop(line, f"the tag {event.tag} is not allowed; leave it out", path)
        if not plain_implicit:
            return str(event.value)
        try:
            return scalar(event.value)
        except ValueError as error:
            self.faults.append(Fault(self.file, line, dotted(path), str(error)))
            return 0


def read_tree(text: str, file: str) -> tuple[Node, list[Fault]]:
    """Tree of one YAML document, and the faults after which reading could go on.

    Parameters
    ----------
    text
        The document.
    file
        Name of the file for messages.

    Raises
    ------
    ScenarioError
        The text is no YAML, or uses what is not allowed: anchors, aliases, tags, several documents.
    """
    builder = _Builder(file)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except _Stop as stop:
        raise ScenarioError.from_faults([*builder.faults, stop.fault]) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        said = " ".join(str(part).strip() for part in (error.context, error.problem) if part)
        advice = "; indent with spaces, never tabs" if "\\t" in said or "tab" in said else ""
        fault = Fault(file, line, "", f"is not valid YAML here: {said}{advice}")
        raise ScenarioError.from_faults([*builder.faults, fault]) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"holds the character U+{error.character:04X}, which YAML does not allow"
        raise ScenarioError.from_faults([*builder.faults, Fault(file, line, "", message)]) from None
    except YAMLError as error:
        raise ScenarioError.from_faults([*builder.faults, Fault(file, 1, "", f"is not valid YAML: {error}")]) from None
    if builder.root is None:
        raise ScenarioError.from_faults([Fault(file, 1, "", "is empty; start with `flightsim new NAME`")])
    return builder.root, builder.faults
