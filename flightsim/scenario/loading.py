"""From a YAML file to a checked scenario, every fault at once with its file and line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .. import resources
from ..errors import Fault, InputError, ScenarioError
from .checks import further_faults
from .messages import faults_of
from .models import Scenario
from .overrides import apply_overrides, merge
from .suggest import nearest, shown
from .tree import Node, read_tree
from .writing import dump_scenario

#: Largest scenario file. [B]
MAX_BYTES = 2**20
#: Longest chain of ``extends``, the file itself not counted.
MAX_EXTENDS = 8
_SUFFIXES = (".yaml", ".yml")


def shipped_scenarios() -> dict[str, Path]:
    """Files of the scenarios that flightsim ships, by bare name, sorted."""
    return {path.stem: path for path in sorted(resources.folder("scenarios").glob("*.yaml"))}


def is_bare_name(source: str | Path) -> bool:
    """Whether a source is the bare name of a shipped scenario: no folder, no suffix."""
    text = str(source)
    return isinstance(source, str) and "/" not in text and "\\" not in text and not text.endswith(_SUFFIXES)


def scenario_path(source: str | Path) -> Path:
    """File of a scenario, given as a path or as the bare name of a shipped one.

    Raises
    ------
    InputError
        There is no such file; the nearest name is told.
    """
    if is_bare_name(source):
        shipped = shipped_scenarios()
        if str(source) in shipped:
            return shipped[str(source)]
        if not Path(source).is_file():
            near = nearest(str(source), shipped)
            guess = f" Did you mean '{near}'?" if near else ""
            raise InputError(
                f"no scenario is called '{source}'.{guess} Shipped are {', '.join(shipped) or 'none'}; "
                "a file of your own is given with its suffix .yaml."
            )
    path = Path(source)
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        near = nearest(path.name, beside)
        guess = f" Did you mean '{path.parent / near}'?" if near else ""
        what = "is no regular file" if path.exists() else "does not exist"
        raise InputError(f"scenario file '{path}' {what}.{guess}")
    return path


def load_scenario(source: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """A checked scenario from a file or from the bare name of a shipped one.

    Parameters
    ----------
    source
        Path of a YAML file, or a name such as ``default``.
    overrides
        Changes as ``path=value``, such as ``stations.0.elevation_mask_deg=10``.

    Raises
    ------
    ScenarioError
        The scenario has faults; the message has one line for each.
    InputError
        There is no such file.

    Notes
    -----
    Relative paths start from the folder of the file, for a shipped scenario from the current folder.

    The settings of plug-ins (``with``) are checked by their ``Config`` without building them. A policy file
    that will run in a process of its own is not executed here: its text is parsed, its settings are checked
    by the process when it starts. Other plug-in files are trusted code and are imported.
    """
    path = scenario_path(source)
    shown_as = str(path)
    faults: list[Fault] = []
    root = _read_chain(path, shown_as, faults)
    if not isinstance(root.value, dict):
        message = f"the file holds {shown(root.plain())}; a scenario is a mapping of keys such as name, start, duration"
        raise ScenarioError.from_faults([*faults, Fault(root.file, root.line, "", message)])
    faults += apply_overrides(root, overrides)
    data: Any = root.plain()
    scenario: Scenario | None = None
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        faults += faults_of(error, Scenario, root)
    # A shipped scenario has no files beside it: what is named with it comes from where the user is.
    folder = Path.cwd() if is_bare_name(source) and path.parent == resources.folder("scenarios") else path.parent
    faults += further_faults(root, scenario, folder)
    if faults or scenario is None:
        raise ScenarioError.from_faults(_in_order(faults, shown_as))
    scenario._folder = folder.resolve()
    return scenario


def _in_order(faults: Sequence[Fault], first_file: str) -> list[Fault]:
    """By file (the given one first) and line; of several faults at one place the first found is kept."""
    kept: dict[tuple[str, int, str], Fault] = {}
    for fault in faults:
        kept.setdefault((fault.file, fault.line, fault.path), fault)
    return sorted(kept.values(), key=lambda fault: (fault.file != first_file, fault.file, fault.line))


def _read_chain(path: Path, shown_as: str, faults: list[Fault]) -> Node:
    """Tree of a file merged onto the trees that it extends."""
    trees: list[Node] = []
    seen: list[Path] = []
    while True:
        root, more = read_tree(_text_of(path, shown_as), shown_as)
        faults += more
        trees.append(root)
        seen.append(path.resolve())
        extends = root.value.pop("extends", None) if isinstance(root.value, dict) else None
        if extends is None:
            break
        where = (extends.file, extends.line, "extends")
        if not isinstance(extends.value, str):
            message = f"is {shown(extends.plain())}; write a file beside this one, or the name of a shipped scenario"
            raise ScenarioError.from_faults([*faults, Fault(*where, message)])
        try:
            path = _extended(extends.value, path)
        except InputError as error:
            raise ScenarioError.from_faults([*faults, Fault(*where, str(error))]) from None
        if path.resolve() in seen:
            chain = " -> ".join(p.name for p in [*seen, path])
            raise ScenarioError.from_faults([*faults, Fault(*where, f"extends goes in a circle: {chain}")])
        if len(seen) > MAX_EXTENDS:
            message = f"the chain of extends is longer than {MAX_EXTENDS}; write the values out"
            raise ScenarioError.from_faults([*faults, Fault(*where, message)])
        shown_as = str(path)
    merged = trees[-1]
    for child in reversed(trees[:-1]):
        merged = merge(merged, child)
    return merged


def _extended(name: str, child: Path) -> Path:
    """File that ``extends`` names: beside the child, never above or outside its folder."""
    if is_bare_name(name):
        return scenario_path(name)
    path = child.parent / name
    if not path.resolve().is_relative_to(child.parent.resolve()):
        raise InputError(
            f"is {shown(name)}, which lies outside the folder of this file; put it beside, or extend a shipped one"
        )
    return scenario_path(path)


def _text_of(path: Path, shown_as: str) -> str:
    with path.open("rb") as stream:
        raw = stream.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES} bytes (1 MiB), the limit of a scenario"
        raise ScenarioError.from_faults([Fault(shown_as, 1, "", message)])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        raise ScenarioError.from_faults([Fault(shown_as, line, "", message)]) from None


__all__ = ["dump_scenario", "is_bare_name", "load_scenario", "scenario_path", "shipped_scenarios"]
