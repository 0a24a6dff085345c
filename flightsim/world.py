"""The world of a scenario: what does not depend on decisions, as arrays, before the run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from . import capture, contacts, registry
from .domain import Action, ContactWindow, Plan, TruthTable
from .errors import InputError
from .orbit import Propagator
from .protocols import SceneSource
from .scenario.models import Scenario, Use
from .sizing import Sizer


@dataclass(frozen=True)
class World:
    """Orbits, contacts, plan, scenes and truth; every policy of a seed meets the same."""

    scenario: Scenario
    propagators: tuple[Propagator, ...]
    contacts: tuple[ContactWindow, ...]  # all passes, booked or not, in time order
    plan: Plan
    scenes: SceneSource
    truth: TruthTable
    uplink_bytes: int


def build(kind: str, use: Use, folder: Path, **settings: Any) -> Any:
    """A plug-in object from a scenario's ``use`` and ``with``.

    Raises
    ------
    PluginError
        It cannot be found, or its Config refuses the settings.
    """
    cls = registry.find(kind, use.use, folder)
    config: BaseModel = registry.configure(kind, use.use, {**use.with_, **settings}, folder)
    if "base_folder" in inspect.signature(cls).parameters:
        return cls(config, base_folder=folder)
    return cls(config)


def prepare(scenario: Scenario) -> World:
    """Everything that is computed before the loop.

    Raises
    ------
    InputError
        Orbit, targets, stations or scenes of the scenario cannot be used.
    """
    folder = scenario.folder
    propagators = tuple(
        Propagator.from_config(craft.orbit, scenario.start, folder, scenario.horizon_s) for craft in scenario.craft
    )
    scenes: SceneSource = build("scenes", scenario.scenes, folder)
    places = scenes.places() if hasattr(scenes, "places") else ()
    plan = capture.plan_captures(scenario, propagators, places)
    if not len(plan):
        skipped = ", ".join(f"{count} {why}" for why, count in sorted(plan.skipped.items()) if count) or "none in reach"
        raise InputError(
            f"the plan of '{scenario.name}' has no captures in {scenario.duration_s / 86400:.3g} days ({skipped}); "
            "check targets, camera.max_roll_deg and camera.min_sun_elevation_deg, or fly longer."
        )
    truth = scenes.prepare(plan, scenario.payload.schemas, scenario.targets, scenario.craft[0].camera, scenario.seed)
    windows = tuple(contacts.contacts_for(scenario, propagators))
    return World(scenario, propagators, windows, plan, scenes, truth, _uplink_bytes(scenario, plan, scenes))


def _uplink_bytes(scenario: Scenario, plan: Plan, scenes: SceneSource) -> int:
    """Bytes of the reference pictures that go up: one lossless tile for each place imaged. [B]"""
    total = 0
    for index, craft in enumerate(scenario.craft):
        if craft.references.source != "uplink":
            continue
        rows = np.flatnonzero(plan.craft == index)
        _, first = np.unique(plan.place_key[rows], return_index=True)
        sizer = Sizer(scenes, plan, craft.radio)
        sizes = np.array([sizer.picture_bytes(int(row), Action.TILE) for row in rows[first]], dtype=np.int64)
        total += int(sizer.wire_all(sizes, Action.TILE).sum())
    return total


@dataclass(frozen=True)
class TileSizes:
    """What each tile would cost, for the references; shape (n,). [B]"""

    tile_wire: NDArray[np.int64]
    thumbnail_wire: Mapping[int, NDArray[np.int64]]
    raw_bytes: NDArray[np.int64]
    tile_bytes: NDArray[np.int64]
    cloud_estimate: NDArray[np.float64]


def station_names(windows: tuple[ContactWindow, ...]) -> list[str]:
    """Stations that see the spacecraft, sorted."""
    return sorted({window.station for window in windows})
