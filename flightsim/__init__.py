"""flightsim: what should a satellite send down?

Public names are loaded when they are first used, so that ``import flightsim`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .domain import (
        SCHEMA_IDS,
        Action,
        BudgetView,
        ContactForecast,
        Decision,
        Observation,
        ProductSpec,
        QueueView,
        TerminalState,
        Tile,
        TilePair,
        Verdict,
        VerdictStatus,
    )
    from .errors import FlightsimError, InputError, RunError
    from .perceived import PerceiveResult, perceive
    from .registry import load_policy
    from .runs import RunResult, run
    from .scenario import Scenario, load_scenario

_HOMES = {
    "Action": "domain",
    "BudgetView": "domain",
    "ContactForecast": "domain",
    "Decision": "domain",
    "FlightsimError": "errors",
    "InputError": "errors",
    "Observation": "domain",
    "PerceiveResult": "perceived",
    "ProductSpec": "domain",
    "QueueView": "domain",
    "RunError": "errors",
    "RunResult": "runs",
    "SCHEMA_IDS": "domain",
    "Scenario": "scenario",
    "TerminalState": "domain",
    "Tile": "domain",
    "TilePair": "domain",
    "Verdict": "domain",
    "VerdictStatus": "domain",
    "load_policy": "registry",
    "load_scenario": "scenario",
    "perceive": "perceived",
    "run": "runs",
}

__all__ = [
    "SCHEMA_IDS",
    "Action",
    "BudgetView",
    "ContactForecast",
    "Decision",
    "FlightsimError",
    "InputError",
    "Observation",
    "PerceiveResult",
    "ProductSpec",
    "QueueView",
    "RunError",
    "RunResult",
    "Scenario",
    "TerminalState",
    "Tile",
    "TilePair",
    "Verdict",
    "VerdictStatus",
    "load_policy",
    "load_scenario",
    "perceive",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module 'flightsim' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
