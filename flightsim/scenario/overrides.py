"""What one scenario changes in another: ``extends`` and ``--set path=value``, on trees of nodes."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from ..errors import Fault, ScenarioError
from .models import Scenario
from .suggest import hint, shown
from .tree import Node, Steps, dotted, read_tree

#: Keys of ``orbit`` by the kind that they belong to; the first of each chooses the kind.
ORBIT_KINDS: dict[str, tuple[str, ...]] = {
    "tle": ("tle",),
    "tle_file": ("tle_file", "name"),
    "altitude_km": ("altitude_km", "inclination_deg", "ltan"),
}
#: What stands for the file in faults of ``--set``; the line is the position among the overrides.
SET = "--set"


def merge(parent: Node, child: Node, path: Steps = ()) -> Node:
    """The parent with what the child says: mappings key by key, lists and scalars replaced.

    A mapping that chooses a kind (``orbit``, anything with ``use``) replaces whole when the kind differs.
    """
    if not isinstance(parent.value, dict) or not isinstance(child.value, dict):
        return child
    if _other_kind(parent, child, path):
        return child
    merged = dict(parent.value)
    for key, value in child.value.items():
        merged[key] = merge(merged[key], value, (*path, key)) if key in merged else value
    return Node(merged, child.file, child.line)


def _other_kind(parent: Node, child: Node, path: Steps) -> bool:
    if path and path[-1] == "orbit":
        old, new = _orbit_kinds(parent), _orbit_kinds(child)
        return bool(new) and new != old
    use = child.child("use")
    if use is None:
        return False
    old_use = parent.child("use")
    return bool(use.value != (old_use.value if old_use is not None else default_use(path)))


def _orbit_kinds(orbit: Node) -> set[str]:
    return {kind for kind in ORBIT_KINDS if kind in orbit.value}


def default_use(path: Steps) -> str | None:
    """The ``use`` that a section has when the file names none, as ``policy`` has ``budgeted``."""
    value: object = Scenario
    for step in path:
        fields = (value if isinstance(value, type) else type(value)).__dict__.get("__pydantic_fields__", {})
        if isinstance(value, BaseModel):
            value = getattr(value, str(step), None)
        elif step in fields:
            value = fields[step].default
        else:
            return None
    use = getattr(value, "use", None)
    return use if isinstance(use, str) else None


def apply_overrides(root: Node, overrides: Sequence[str]) -> list[Fault]:
    """Change the tree by ``path=value`` texts, in place; returns the faults.

    A value replaces what was there, a mapping too. A new ``use`` drops the inherited ``with``, whatever the order
    of the overrides. Values are YAML scalars or flow lists and mappings.
    """
    faults: list[Fault] = []
    parsed: list[tuple[Steps, Node, int]] = []
    for number, text in enumerate(overrides, start=1):
        name, equals, value = text.partition("=")
        steps = tuple(int(s) if s.isdecimal() else s for s in name.strip().split("."))
        if not equals or "" in steps:
            message = f"is {shown(text)}; write path=value, such as stations.0.elevation_mask_deg=10"
            faults.append(Fault(SET, number, "", message))
            continue
        try:
            # An empty text is the empty string of YAML: null, which is how an optional value is taken away.
            node, more = read_tree(value if value.strip() else "null", SET)
        except ScenarioError as error:
            faults.extend(Fault(SET, number, dotted(steps), fault.message) for fault in error.faults)
            continue
        faults.extend(Fault(SET, number, dotted(steps), fault.message) for fault in more)
        _mark(node, number)
        parsed.append((steps, node, number))
    for steps, node, number in sorted(parsed, key=lambda item: item[0][-1] != "use"):
        fault = _set(root, steps, node, number)
        if fault is not None:
            faults.append(fault)
    return faults


def _mark(node: Node, number: int) -> None:
    node.file, node.line = SET, number
    children = node.value.values() if isinstance(node.value, dict) else node.value
    if isinstance(node.value, (dict, list)):
        for child in children:
            _mark(child, number)


def _set(root: Node, steps: Steps, new: Node, number: int) -> Fault | None:
    at = root
    for k, step in enumerate(steps):
        here, last = dotted(steps[:k]), k == len(steps) - 1
        if isinstance(at.value, list):
            if not isinstance(step, int) or step >= len(at.value):
                return Fault(
                    SET, number, dotted(steps), f"'{step}' is no item of {here}; it has items 0 to {len(at.value) - 1}"
                )
            if last:
                at.value[step] = new
            else:
                at = at.value[step]
            continue
        if not isinstance(at.value, dict):
            return Fault(
                SET, number, dotted(steps), f"{here} is {shown(at.value)} and has no key '{step}'; "
                f"{hint(str(step), root.value if isinstance(root.value, dict) else ())}"
            )  # fmt: skip
        key = str(step)
        if last:
            _clear_kind(at, steps, new)
            at.value[key] = new
        else:
            child = at.value.get(key)
            if child is None or child.value is None:
                child = at.value[key] = Node({}, SET, number)
            at = child
    return None


def _clear_kind(section: Node, steps: Steps, new: Node) -> None:
    """Drop what belonged to the kind that is no longer chosen, unless ``--set`` itself gave it."""
    gone: set[str] = set()
    if steps[-1] == "use":
        old = section.child("use")
        if new.value != (old.value if old is not None else default_use(steps[:-1])):
            gone = {"with"}
    elif len(steps) > 1 and steps[-2] == "orbit" and steps[-1] in ORBIT_KINDS:
        gone = {key for kind, keys in ORBIT_KINDS.items() if kind != steps[-1] for key in keys}
    for key in gone:
        child = section.child(key)
        if child is not None and child.file != SET:
            del section.value[key]
