"""Conformance checks that anybody can run on a plug-in of their own: ``flightsim check NAME``, or from a test.

A check says what it looked at and what was wrong; time is measured and told, and never a reason to fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from . import registry
from .conformance.data import observations
from .conformance.links import check_link
from .conformance.payloads import check_payload
from .conformance.policies import check_policy, decisions, opened, same
from .conformance.report import Broken, CheckResult, Report
from .errors import PluginError

#: What a class of each kind must offer; also how the kind of a class from a file is known.
_MARKS = {
    "policies": ("decide",),
    "payloads": ("assess_many", "rates", "open", "close"),
    "links": ("rate_bps",),
    "scenes": ("prepare", "pair"),
    "faults": ("draw",),
}
_UNKNOWN_KEY = "a_key_that_no_plugin_has"


def check_plugin(
    name: str, kind: str | None = None, folder: Path = Path("."), settings: Mapping[str, Any] | None = None
) -> list[CheckResult]:
    """What holds and what does not, for a plug-in by name or by ``./file.py:Class``.

    Parameters
    ----------
    name
        As in a scenario's ``use``.
    kind
        ``policies``, ``payloads``, ``links``, ``scenes`` or ``faults``; by default whichever has the name.
    folder
        What a file is relative to.
    settings
        As in a scenario's ``with``; needed where the Config has keys without default.

    Raises
    ------
    PluginError
        Nothing has this name.
    """
    kind, cls = _found(name, kind, folder)
    report = Report()
    given = dict(settings or {})
    if not report.add("offers what its kind needs", lambda: _offers(cls, kind)):
        return report.results
    if not report.add("settings are accepted", lambda: _accepted(cls, given)):
        return report.results
    report.add("unknown settings are refused", lambda: _refuses_unknown(cls, given))

    def make() -> Any:
        return registry.build(kind, name, given, folder)

    if kind == "policies":
        report.results += check_policy(make)
        if registry.is_file(name):
            report.add("same decisions in a process of its own", lambda: _isolated(make, name, given, folder))
    elif kind == "payloads":
        report.results += check_payload(make)
    elif kind == "links":
        report.results += check_link(make)
    else:
        words = f"skipped: there are no checks of behaviour for {kind} yet; only class and settings were looked at"
        report.results.append(CheckResult("behaviour", True, words))
    return report.results


def _found(name: str, kind: str | None, folder: Path) -> tuple[str, Any]:
    if kind is not None:
        return kind, registry.find(kind, name, folder)
    if registry.is_file(name):
        cls = registry.find("policies", name, folder)
        for known, marks in _MARKS.items():
            if all(hasattr(cls, mark) for mark in marks):
                return known, cls
        return "policies", cls
    for known in _MARKS:
        if name in registry.names(known):
            return known, registry.find(known, name, folder)
    everything = sorted({n for known in _MARKS for n in registry.names(known)})
    raise PluginError(f"no plug-in is called '{name}'; there are {', '.join(everything)}, or ./file.py:Class.")


def _offers(cls: Any, kind: str) -> str:
    missing = [mark for mark in (*_MARKS[kind], "Config") if not hasattr(cls, mark)]
    if missing:
        raise Broken(f"the class lacks {', '.join(missing)}")
    if not (isinstance(cls.Config, type) and issubclass(cls.Config, BaseModel)):
        raise Broken("Config is no pydantic model; derive it from flightsim.protocols.PluginConfig")
    return ", ".join(_MARKS[kind])


def _accepted(cls: Any, settings: dict[str, Any]) -> str:
    try:
        cls.Config.model_validate(settings)
    except ValidationError as error:
        needed = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'Config'}: {e['msg']}" for e in error.errors())
        raise Broken(f"{needed}. Give the settings that it needs, as in a scenario's 'with'") from error
    return "as given" if settings else "all have defaults"


def _refuses_unknown(cls: Any, settings: dict[str, Any]) -> str:
    try:
        cls.Config.model_validate({**settings, _UNKNOWN_KEY: 1})
    except ValidationError:
        return ""
    raise Broken("an unknown key is accepted, so a typing error would go unseen; use PluginConfig (extra='forbid')")


def _isolated(make: Any, name: str, settings: dict[str, Any], folder: Path) -> str:
    seen = observations()
    with opened(make) as inline, opened(lambda: registry.isolated_policy(name, settings, folder, 30.0)) as isolated:
        return same(decisions(inline, seen), decisions(isolated, seen), "in a process it decides")


__all__ = ["CheckResult", "check_link", "check_payload", "check_plugin", "check_policy", "observations"]
