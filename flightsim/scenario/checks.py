"""What the model alone cannot check: plug-ins and their settings, orbital elements, names of shipped things."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from ..errors import Fault, InputError, OrbitError
from .messages import faults_of, wants_bool
from .models import Compute, Orbit, Scenario, ShippedStations
from .overrides import default_use
from .suggest import hint, shown
from .tree import Node, Steps, dotted

#: Sections that name one plug-in, and the registry's kind.
_SECTIONS = {"policy": "policies", "payload": "payloads", "link": "links", "scenes": "scenes"}


def further_faults(root: Node, scenario: Scenario | None, folder: Path) -> list[Fault]:
    """Faults beyond the model's own; what of the file is too broken to look at is left to the model.

    Parameters
    ----------
    root
        Tree of the merged scenario.
    scenario
        The checked model, None where it has faults.
    folder
        Folder of the scenario's file.
    """
    faults: list[Fault] = []
    faults.extend(_booleans(root))
    for section, kind in _SECTIONS.items():
        faults.extend(_plugin(root, (section,), kind, folder))
    faults.extend(_fallback(root, folder))
    listed = root.child("faults")
    for k in range(len(listed.value) if listed is not None and isinstance(listed.value, list) else 0):
        faults.extend(_plugin(root, ("faults", k), "faults", folder))
    for path, craft in _spacecraft(root):
        faults.extend(_orbit(root, craft, path, scenario, folder))
        faults.extend(_compute(root, craft, path))
    faults.extend(_stations(root))
    faults.extend(_reader(root, scenario))
    faults.extend(_targets(root, folder))
    if scenario is not None and scenario.link.weather is not None and not faults:
        faults.extend(_weather(root, scenario, folder))
    return faults


def _fault(root: Node, path: Steps, message: str) -> Fault:
    node = root.nearest(path)
    return Fault(node.file, node.line, dotted(path), message)


def _booleans(root: Node) -> Iterator[Fault]:
    for path, node in root.scalars():
        # pydantic would read true as 1.
        if isinstance(node.value, bool) and not wants_bool(Scenario, path):
            yield _fault(root, path, f"is {shown(node.value)}; true and false have no meaning here")


# Plug-ins -------------------------------------------------------------------------------------------------------------


def _plugin(root: Node, path: Steps, kind: str, folder: Path) -> Iterator[Fault]:
    from .. import registry

    section = root.nearest(path) if _exists(root, path) else Node({}, root.file, root.line)
    use = _text(section, "use") or (None if section.child("use") else default_use(path))
    if not isinstance(section.value, dict) or use is None:
        return
    where = (*path, "use")
    try:
        _no_absolute(use)
        if kind == "policies" and registry.is_file(use) and section.nearest(("isolation",)).value != "inline":
            _has_class(*registry.file_of(use, folder))
            return  # its settings are checked by its own process
        config = registry.config_of(kind, use, folder)
    except InputError as error:
        yield _fault(root, where, str(error))
        return
    given = section.child("with")
    settings = {} if given is None else given.plain()
    if not isinstance(settings, dict):
        return
    try:
        config.model_validate(settings)
    except ValidationError as error:
        yield from faults_of(error, config, root, (*path, "with"))
    if given is not None:
        for steps, node in given.scalars():
            if isinstance(node.value, bool) and not wants_bool(config, steps):
                yield _fault(
                    root, (*path, "with", *steps), f"is {shown(node.value)}; true and false have no meaning here"
                )


def _fallback(root: Node, folder: Path) -> Iterator[Fault]:
    from .. import registry

    policy = root.child("policy")
    name = _text(policy, "fallback") if policy is not None else None
    if name is None:
        return
    try:
        _no_absolute(name)
        if registry.is_file(name):
            _has_class(*registry.file_of(name, folder))
        else:
            registry.entry_of("policies", name)
    except InputError as error:
        yield _fault(root, ("policy", "fallback"), str(error))


def _no_absolute(use: str) -> None:
    """Refuse the absolute path of a plug-in file: a scenario names what lies beside or below it.

    Raises
    ------
    InputError
        The path is absolute.
    """
    if Path(use).is_absolute():
        raise InputError(f'{shown(use)} is an absolute path; put the file beside the scenario, "./file.py:Class"')


def _has_class(path: Path, class_name: str) -> None:
    """Look for a class in a file without executing it.

    Raises
    ------
    InputError
        The file is no Python, or binds no such name at its top level.
    """
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise InputError(f"{path.name}:{line}: the policy file is no Python: {error}") from error
    classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imported = {
        a.asname or a.name for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names
    }
    if class_name not in {*classes, *bound, *imported} and "*" not in imported:
        raise InputError(f"{path.name} has no class '{class_name}'; {hint(class_name, classes)}")


# Shipped names and elements -------------------------------------------------------------------------------------------


def _spacecraft(root: Node) -> Iterator[tuple[Steps, Node]]:
    craft = root.child("spacecraft")
    if craft is not None and isinstance(craft.value, list):
        for k, one in enumerate(craft.value):
            yield ("spacecraft", k), one
    elif craft is not None:
        yield ("spacecraft",), craft


def _orbit(root: Node, craft: Node, path: Steps, scenario: Scenario | None, folder: Path) -> Iterator[Fault]:
    from .. import tle

    node = craft.child("orbit")
    if node is None:
        return
    try:
        orbit = Orbit.model_validate(node.plain())
    except ValidationError:
        return
    key = "tle" if orbit.tle is not None else "tle_file"
    where: Steps = (*path, "orbit", key)
    try:
        elements = tle.read(orbit, folder)
    except OrbitError as error:
        if orbit.tle is not None:
            # The checks speak of line 1 and line 2; a name may stand before them in the list.
            first = len(orbit.tle) - 2
            where = (*where, first + 1 if "line 2" in str(error) else first)
        yield _fault(root, where, str(error))
        return
    if elements is not None and scenario is not None:
        try:
            tle.check_age(elements, scenario.start, scenario.horizon_s, orbit.max_element_age)
        except OrbitError as error:
            yield _fault(root, where, str(error))


def _compute(root: Node, craft: Node, path: Steps) -> Iterator[Fault]:
    from .. import compute

    section = craft.child("compute")
    name = _text(section, "use") if section is not None else None
    if name is not None:
        try:
            compute.resolve(Compute(use=name))
        except InputError as error:
            yield _fault(root, (*path, "compute", "use"), _without(str(error), "compute.use "))


def _stations(root: Node) -> Iterator[Fault]:
    from .. import stations

    section = root.child("stations")
    if section is None or not isinstance(section.value, dict):
        return
    try:
        stations.resolve(ShippedStations.model_validate(section.plain()))
    except ValidationError:
        return
    except InputError as error:
        names = section.child("names")
        bad = [k for k, n in enumerate(names.value if names else ()) if n.value not in stations.shipped_names()]
        yield _fault(root, ("stations", "names", *bad[:1]), str(error))


def _weather(root: Node, scenario: Scenario, folder: Path) -> Iterator[Fault]:
    from .. import registry, stations
    from ..link import weather

    link = scenario.link
    try:
        settings = registry.configure("links", link.use, link.with_, folder)
        weather.check(scenario, stations.resolve(scenario.stations), settings, folder)
    except InputError as error:
        yield _fault(root, ("link", "weather"), _without(str(error), "link.weather "))


def _reader(root: Node, scenario: Scenario | None) -> Iterator[Fault]:
    from .. import readers

    if scenario is None:
        return
    reader = scenario.evaluation.reader
    try:
        readers.settings_of(reader.use, reader.with_)
    except InputError as error:
        part = "with" if "evaluation.reader.with" in str(error) else "use"
        yield _fault(root, ("evaluation", "reader", part), _without(str(error), "evaluation.reader.use "))


def _targets(root: Node, folder: Path) -> Iterator[Fault]:
    section = root.child("targets")
    use = _text(section, "use") if section is not None else None
    if use is None or use in ("world", "archive"):
        return
    where = ("targets", "use")
    if not use.lower().endswith((".geojson", ".json")):
        message = (
            f"is {shown(use)}; {hint(use, ('world', 'archive'))}, or a GeoJSON file that ends in .geojson or .json"
        )
        yield _fault(root, where, message)
    elif not (folder / use).is_file():
        beside = [p.name for p in folder.glob("*.*json")]
        yield _fault(root, where, f"is {shown(use)}, which is no file in the scenario's folder; {hint(use, beside)}")


def _exists(root: Node, path: Steps) -> bool:
    node: Node | None = root
    for step in path:
        node = node.child(step) if node is not None else None
    return node is not None


def _text(section: Node, key: str) -> str | None:
    found = section.child(key)
    return found.value if found is not None and isinstance(found.value, str) else None


def _without(text: str, prefix: str) -> str:
    return text.removeprefix(prefix)
