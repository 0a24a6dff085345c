"""One run, from a scenario to a run folder; and one look of a payload at all pairs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import compute, frames, looking, metrics, outputs, owners, power_report, readers, registry, runfolder, summary
from .budget import CapacityClock
from .cfdp import Losses
from .contacts import operations_values
from .craft import Craft
from .domain import Action
from .engine import fly
from .errors import FlightsimError, InputError, RunError
from .events import EventLog
from .evidence import Worth
from .perception import GatedScenes, VerdictBook, pair_digest, shot_keys
from .protocols import PayloadBackend, Policy, SceneSource
from .quality import Ground, GroundBeliefs
from .recorder import Ledger, RunRecord
from .references import ReferenceSizes
from .scenario.models import PolicyUse, Scenario, Use
from .second_look import SecondLooks
from .sharing import shares
from .sizing import Sizer
from .storage import MassMemory
from .store import NumberCache, VerdictCache
from .supply import supply_of
from .world import World, prepare


@dataclass(frozen=True)
class RunResult:
    """What a run gave."""

    scenario: Scenario
    metrics: dict[str, Any]
    record: RunRecord
    context: dict[str, Any]
    folder: Path | None
    failed: bool
    ground: GroundBeliefs

    @property
    def tiles(self) -> Any:
        """Arrow table, one row a tile."""
        return runfolder.tiles_table(self.record)

    @property
    def items(self) -> Any:
        """Arrow table, one row a file of the downlink queue."""
        return runfolder.items_table(self.record)

    @property
    def contacts(self) -> Any:
        """Arrow table, one row a pass."""
        return runfolder.contacts_table(self.record)

    def summary_lines(self) -> list[str]:
        """The two lines of METRICS and at most 13 more."""
        return summary.summary_lines(self.metrics, self.context)


def with_choices(scenario: Scenario, policy: str | None = None, seed: int | None = None) -> Scenario:
    """The scenario with another policy or seed; another policy starts from its default settings."""
    update: dict[str, Any] = {}
    if policy is not None and policy != scenario.policy.use:
        update["policy"] = PolicyUse.model_validate({"use": policy, "fallback": scenario.policy.fallback})
    if seed is not None:
        update["seed"] = seed
    return scenario.copy_with(**update) if update else scenario


def policy_from_here(policy: str) -> str:
    """A file policy named on the command line, relative to the current folder and not to the scenario's."""
    if not registry.is_file(policy):
        return policy
    path, _, name = policy.rpartition(":")
    return f"{Path(path).resolve()}:{name}"


def _build(kind: str, use: Use, folder: Path) -> Any:
    return registry.build(kind, use.use, use.with_, folder)


def open_payload(payload: PayloadBackend, name: str) -> None:
    """Load what is heavy.

    Raises
    ------
    RunError
        The payload raised.
    """
    try:
        payload.open()
    except FlightsimError:
        raise
    except Exception as error:  # foreign code may raise anything; without its eye there is no run
        raise RunError(f"payload '{name}' does not open: {type(error).__name__}: {error}") from error


def make_policy(use: PolicyUse, name: str, folder: Path) -> tuple[Policy, bool]:
    """A policy object, and whether it lives in a process of its own.

    ``name`` is the chosen policy (which gets the scenario's settings) or the fallback (which gets none).
    """
    settings = dict(use.with_) if name == use.use else {}
    isolation = use.isolation or ("process" if registry.is_file(name) else "inline")
    if isolation == "process" and name != "process" and (registry.is_file(name) or name == use.use):
        return registry.isolated_policy(name, settings, folder, use.watchdog_s), True
    policy: Policy = registry.build("policies", name, settings, folder, watchdog_s=use.watchdog_s)
    return policy, name == "process"


def run(
    scenario: Scenario,
    *,
    policy: str | None = None,
    seed: int | None = None,
    out: Path | None = None,
    progress: Callable[[float], None] | None = None,
    write: bool = True,
    events: bool = True,
    world: World | None = None,
    jobs: int | None = None,
) -> RunResult:
    """Simulate a scenario and write its run folder.

    Parameters
    ----------
    world
        A world prepared before for the same scenario and seed; policies may differ.
    write, events
        Whether a folder is written at all, and the event log in it.
    jobs
        Processes that look at pictures; all cores by default. Results do not depend on it.

    Raises
    ------
    InputError
        The scenario cannot be flown, or the folder belongs to another one.
    RunError
        The run itself failed.
    """
    started = time.perf_counter()
    scenario = with_choices(scenario, policy, seed)
    folder = (out or outputs.default_folder(scenario)) if write else None
    if folder is not None:
        outputs.claim(folder, scenario)
    world = world or prepare(scenario)
    payload: PayloadBackend = _build("payloads", scenario.payload, scenario.folder)
    if payload.needs_pixels and not world.scenes.has_pixels:
        raise InputError(
            f"payload '{scenario.payload.use}' looks at pixels, scenes '{scenario.scenes.use}' have none; "
            "use payload confusion or perfect_eye, or scenes with pixels."
        )
    open_payload(payload, scenario.payload.use)
    ground: Ground | None = None
    log_file = (folder / "events.jsonl.tmp").open("w", encoding="utf-8") if folder is not None and events else None
    try:
        # Before the flight: a reader that cannot look at these scenes is refused at once.
        ground = readers.ground_of(scenario, payload, world.scenes, world.plan, world.truth)
        record, ledger, sizer, identities = simulate(scenario, world, payload, EventLog(log_file), progress, jobs)
        values, beliefs = metrics.evaluate(
            record,
            _reference_sizes(record, sizer),
            ground,
            scenario.seed,
            base_rate=scenario.evaluation.base_rate,
            costs={str(name): cost for name, cost in scenario.evaluation.costs.items()},
            needs_truth=payload.needs_truth,
        )
    finally:
        if ground is not None:
            readers.close_reader(ground.reader)
        payload.close()
        if log_file is not None:
            log_file.close()
    told = (*ground.reader.notes, getattr(payload, "calibration_note", ""), *getattr(payload, "notes", ()))
    record.notes.extend(note for note in told if note)
    context = _context(scenario, world, record, identities, ledger)
    result = RunResult(scenario, values, record, context, folder, ledger.hung is not None, beliefs)
    if folder is not None:
        outputs.write(
            result, ground.eye.rates, world.scenes, sizer, payload.fingerprint, time.perf_counter() - started, events
        )
    return result


def simulate(
    scenario: Scenario,
    world: World,
    payload: PayloadBackend,
    log: EventLog,
    progress: Callable[[float], None] | None = None,
    jobs: int | None = None,
) -> tuple[RunRecord, Ledger, Sizer, dict[str, Any]]:
    """The simulation alone, without metrics and files: record, ledger, sizes, and who was eye and clock."""
    plan, truth = world.plan, world.truth
    frame = frames.FORMATS[scenario.craft[0].radio.frames]
    ledger = Ledger(plan, world.contacts, frame.zone_bytes, frame.frame_bytes, log)

    def failed(row: int, detail: str) -> None:
        # Batches look ahead of the simulated time: the event waits until the tile's own turn.
        ledger.payload_faults[row] = detail
        ledger.note_once(f"payload raised, first with: {detail}", key="payload")

    scenes: Any = world.scenes
    gate = getattr(payload, "cloud_fraction", None)
    caches: list[Any] = []
    clouds: NumberCache | None = None
    if scenes.has_pixels and gate is not None:
        clouds = NumberCache(looking.cloud_kind(payload))
        caches.append(clouds)
        scenes = GatedScenes(scenes, gate, failed, clouds)
    cameras = [craft.camera for craft in scenario.craft]
    looks = SecondLooks(
        scenes, plan, truth, scenario.seed, world.opportunities,
        [camera.cadence_s for camera in cameras], [camera.max_looks for camera in cameras],
    )  # fmt: skip
    sizer = Sizer(scenes, plan, scenario.craft[0].radio, looks)
    caches.append(sizer)
    cache = VerdictCache(payload.fingerprint) if world.scenes.has_pixels and not payload.needs_truth else None
    if cache is not None:
        caches.append(cache)
    keys = shot_keys(plan, scenario.seed)
    book = VerdictBook(payload, scenes.pair, keys, truth, scenario.seed, failed, cache)
    losses = Losses(scenario.seed, scenario.craft[0].radio.cfdp, sizer.zone_bytes)
    crafts, policies = [], []
    clocks: list[owners.Clock] = []
    for index, craft in enumerate(scenario.craft):
        settings = compute.resolve(craft.compute)
        clock = owners.clock_of(payload, scenario.payload.use, craft.compute)
        clocks.append(clock)
        policy, isolated = make_policy(scenario.policy, scenario.policy.use, scenario.folder)
        fallback, _ = make_policy(scenario.policy, scenario.policy.fallback, scenario.folder)
        policies.extend([policy, fallback])
        processor = compute.Processor(world.propagators[index].period_s, settings.duty)
        booked = [k for k, w in enumerate(world.contacts) if w.booked and w.spacecraft == craft.name]
        crafts.append(
            Craft(
                name=craft.name,
                rows=np.flatnonzero(plan.craft == index).tolist(),
                clock=CapacityClock([world.contacts[k] for k in booked], sizer.zone_bytes, sizer.frame_bytes),
                contact_rows=booked,
                processor=processor,
                queue_limit=settings.queue,
                seconds_per_question=clock.seconds,
                prefilter_s=settings.prefilter_s or 0.0,
                load_s=settings.load_s or 0.0,
                energy_j=settings.energy_j or 0.0,
                memory=MassMemory(craft.storage_bytes),
                policy=policy,
                policy_name=Path(scenario.policy.use).name,
                fallback=fallback,
                fallback_name=scenario.policy.fallback,
                supply=supply_of(craft, world.propagators[index], processor, scenario.horizon_s),
            )
        )
    deadline_s = float("inf") if scenario.evaluation.deadline is None else scenario.evaluation.deadline
    priors = {schema: scenario.targets.prevalence_of(schema) for schema in scenario.payload.schemas}
    if world.scenes.has_pixels:
        asks = any(hasattr(policy, "ask") for policy in policies[::2])
        sides = reference_sides(sizer)
        looking.look_at_all(scenario, plan, world.scenes, payload, asks, sides, progress, jobs)
        # What is stored by now is read in one go: asked for tile by tile, `default` took some 7,800 queries.
        sizer.known(Action.TILE)
        for side in sides:
            sizer.known(Action.THUMBNAIL, side)
        if clouds is not None:
            clouds.fetch([pair_digest(world.scenes.pair(row)) for row in range(len(plan))])
    try:
        fly(
            crafts, ledger, scenes, book, sizer, scenario.payload.schemas, priors, scenario.horizon_s,
            deadline_s, looks, losses, progress, Worth(readers.eye_of(payload, scenario.payload.schemas)),
        )  # fmt: skip
    finally:
        for policy in policies:
            closing = getattr(policy, "close", None)
            if closing is not None:
                closing()
    log.flush()
    storage = tuple(craft.storage_bytes for craft in scenario.craft)
    record = ledger.record(truth, scenario.duration_s, scenario.horizon_s, deadline_s, storage, world.uplink_bytes)
    record.cloud_estimate = _cloud_estimates(scenes, len(plan))
    record.losses = losses
    record.uplink_rate_bps = scenario.link.uplink_rate
    record.operations = operations_values(scenario, world.contacts)
    if len(scenario.craft) > 1:
        record.sharing = shares(world.contacts, scenario.link.booking, scenario.start)
    for cache in caches:
        cache.save()
    identities = {
        "eye": payload.fingerprint.rpartition("/")[0] or payload.fingerprint,
        "eye_fingerprint": payload.fingerprint,
        "eye_needs_truth": payload.needs_truth,
        "clock": clocks[-1].name,
        "isolation": "process" if isolated else "inline",
        **owners.owners(payload, clocks),
    }
    return record, ledger, sizer, identities


def _cloud_estimates(scenes: SceneSource, n: int) -> NDArray[np.float64]:
    """Cloud cover as estimated on board, NaN where the source gives none, shape (n,). [-]"""
    whole = getattr(scenes, "cloud_estimates", None)
    if whole is not None:
        return np.asarray(whole())
    clouds = [scenes.pair(row).after.cloud_fraction for row in range(n)]
    return np.array([np.nan if cloud is None else cloud for cloud in clouds], dtype=float)


def reference_sides(sizer: Sizer) -> tuple[int, ...]:
    """Longer sides of the thumbnails that the references are made with. [px]"""
    return tuple(sorted({sizer.spec(None)[0], 64, 256}))


def _reference_sizes(record: RunRecord, sizer: Sizer) -> ReferenceSizes:
    """What each tile would cost as a tile or a thumbnail without any verdict in it."""
    header = sizer.record(0, ()).size_bytes
    tile = sizer.picture_bytes_all(Action.TILE) + header
    thumbnails = {
        side: sizer.wire_all(sizer.picture_bytes_all(Action.THUMBNAIL, side) + header, Action.THUMBNAIL)
        for side in reference_sides(sizer)
    }
    assert record.cloud_estimate is not None
    return ReferenceSizes(
        tile_wire=sizer.wire_all(tile, Action.TILE),
        thumbnail_wire=thumbnails,
        raw_bytes=sizer.raw_bytes_all(),
        tile_bytes=tile,
        cloud_estimate=record.cloud_estimate,
    )


def _context(
    scenario: Scenario, world: World, record: RunRecord, identities: dict[str, Any], ledger: Ledger
) -> dict[str, Any]:
    """What the summary says beside the metrics: names, failures, what the plan left out."""
    failures = {
        name: record.event_counts[name]
        for name in (
            "payload_failed",
            "policy_failed",
            "policy_hung",
            "product_refused",
            "item_expired",
            "item_lost",
            "contact_failed",
        )
        if record.event_counts[name]
    }
    notes = [*record.notes, *getattr(world.scenes, "notes", ())]
    if ledger.hung:
        notes.insert(0, f"RUN FAILED: {ledger.hung}; the fallback decided from there on")
    notes += power_report.power_notes(record.power)
    if not any(window.booked for window in record.contacts):
        notes.append("no contact was booked: nothing can reach the ground")
    return {
        "scenario": scenario.name,
        "world": scenario.scenes.use,
        "policy": Path(scenario.policy.use).name,
        "fallback": scenario.policy.fallback,
        "seed": scenario.seed,
        "link": scenario.link.use,
        "payload_share": scenario.link.payload_share,
        "reader": scenario.evaluation.reader.use,
        "duration_s": record.duration_s,
        "horizon_s": record.horizon_s,
        "failures": failures,
        "invalid_answers": owners.faults(verdict for told in record.verdicts.values() for verdict in told),
        "skipped": dict(world.plan.skipped),
        "notes": notes,
        **identities,
    }
