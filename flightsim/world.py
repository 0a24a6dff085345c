"""The world of a scenario: what does not depend on decisions, as arrays, before the run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import capture, contacts, registry
from .domain import Action, ContactWindow, Plan, TruthTable
from .errors import InputError
from .orbit import Propagator
from .protocols import SceneSource
from .scenario.models import Scenario
from .second_look import Opportunities
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
    opportunities: Opportunities | None = None  # for second looks; None where the scenes have one picture a shot


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
    scenes: SceneSource = registry.build("scenes", scenario.scenes.use, scenario.scenes.with_, folder)
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
    cameras = [craft.camera for craft in scenario.craft]
    again = Opportunities(plan, propagators, cameras, scenario.duration_s) if hasattr(scenes, "pair_at") else None
    return World(scenario, propagators, windows, plan, scenes, truth, _uplink_bytes(scenario, plan, scenes), again)


def _uplink_bytes(scenario: Scenario, plan: Plan, scenes: SceneSource) -> int:
    """Bytes of the reference pictures that go up: one lossless tile for each place imaged. [B]"""
    total = 0
    for index, craft in enumerate(scenario.craft):
        rows = capture.uplinked_rows(plan, craft.references, index)
        sizer = Sizer(scenes, plan, craft.radio)
        sizes = np.array([sizer.picture_bytes(int(row), Action.TILE) for row in rows], dtype=np.int64)
        total += int(sizer.wire_all(sizes, Action.TILE).sum())
    return total
