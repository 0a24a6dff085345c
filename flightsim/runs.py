"""One run, from a scenario to a run folder; and one look of a payload at all pairs."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import compute, frames, metrics, records, registry, runfolder, summary
from .budget import CapacityClock
from .domain import Action, TerminalState
from .engine import Craft, fly
from .errors import FlightsimError, InputError, RunError
from .events import EventLog
from .perception import GatedScenes, VerdictBook, VerdictCache, shot_keys
from .protocols import PayloadBackend, Policy, SceneSource
from .recorder import STATES, Ledger, RunRecord
from .references import ReferenceSizes
from .scenario import dump_scenario
from .scenario.models import PolicyUse, Scenario, Use
from .sizing import Sizer
from .storage import MassMemory
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


def scenario_digest(scenario: Scenario) -> str:
    """SHA-256 of the resolved scenario and of its plug-in files, as hex."""
    saved, files = portable(scenario)
    digest = hashlib.sha256(dump_scenario(saved).encode())
    for name in sorted(files):
        digest.update(files[name].read_bytes())
    return digest.hexdigest()


def default_folder(scenario: Scenario) -> Path:
    """Where a run lands when nobody says: its name tells scenario, policy and seed."""
    policy = Path(scenario.policy.use.rpartition(":")[2] or scenario.policy.use).name
    return Path("runs") / f"{scenario.name}-{policy}-s{scenario.seed}-{scenario_digest(scenario)[:8]}"


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


def portable(scenario: Scenario) -> tuple[Scenario, dict[str, Path]]:
    """The scenario as a run folder keeps it, and the plug-in files that go with it, by name in that folder.

    Plug-ins in files are named relative to the folder that the copy lies in, so the saved scenario flies again.
    """
    files: dict[str, Path] = {}

    def kept(use: str) -> str:
        if not registry.is_file(use):
            return use
        path, class_name = registry.file_of(use, scenario.folder)
        files[path.name] = path
        return f"./{path.name}:{class_name}"

    changes: dict[str, Any] = {
        name: part.model_copy(update={"use": kept(part.use)})
        for name, part in (("link", scenario.link), ("scenes", scenario.scenes), ("payload", scenario.payload))
    }
    policy = scenario.policy
    changes["policy"] = policy.model_copy(update={"use": kept(policy.use), "fallback": kept(policy.fallback)})
    return scenario.model_copy(update=changes), files


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
) -> RunResult:
    """Simulate a scenario and write its run folder.

    Parameters
    ----------
    world
        A world prepared before for the same scenario and seed; policies may differ.
    write, events
        Whether a folder is written at all, and the event log in it.

    Raises
    ------
    InputError
        The scenario cannot be flown, or the folder belongs to another one.
    RunError
        The run itself failed.
    """
    started = time.perf_counter()
    scenario = with_choices(scenario, policy, seed)
    folder = (out or default_folder(scenario)) if write else None
    if folder is not None:
        _claim(folder, scenario)
    world = world or prepare(scenario)
    payload: PayloadBackend = _build("payloads", scenario.payload, scenario.folder)
    if payload.needs_pixels and not world.scenes.has_pixels:
        raise InputError(
            f"payload '{scenario.payload.use}' looks at pixels, scenes '{scenario.scenes.use}' have none; "
            "use payload confusion or perfect_eye, or scenes with pixels."
        )
    open_payload(payload, scenario.payload.use)
    log_file = (folder / "events.jsonl.tmp").open("w", encoding="utf-8") if folder is not None and events else None
    try:
        record, ledger, sizer, identities = simulate(scenario, world, payload, EventLog(log_file), progress)
        rates = {schema: payload.rates(schema) for schema in scenario.payload.schemas}
        values = metrics.compute_metrics(
            record,
            _reference_sizes(record, sizer),
            rates,
            scenario.evaluation.reader,
            scenario.seed,
            base_rate=scenario.evaluation.base_rate,
            costs={str(name): cost for name, cost in scenario.evaluation.costs.items()},
            needs_truth=payload.needs_truth,
        )
    finally:
        payload.close()
        if log_file is not None:
            log_file.close()
    context = _context(scenario, world, record, identities, ledger)
    result = RunResult(scenario, values, record, context, folder, failed=ledger.hung is not None)
    if folder is not None:
        _write(result, rates, sizer, payload, time.perf_counter() - started, events)
    return result


def finished(folder: Path, scenario: Scenario) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Metrics and context of a run of this very scenario that is complete in the folder, or None."""
    if not (folder / runfolder.MANIFEST).is_file():
        return None
    manifest = runfolder.read_manifest(folder)
    if manifest["scenario_digest"] != scenario_digest(scenario) or manifest["outcome"] != "done":
        return None
    values: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return values, manifest["context"]


def _claim(folder: Path, scenario: Scenario) -> None:
    """Make the folder ours: nobody else's files in it, and no manifest while the run is under way."""
    saved, files = portable(scenario)
    mine = dump_scenario(saved).encode()
    old = folder / "scenario.yaml"
    if folder.exists() and any(folder.iterdir()) and not (old.is_file() and old.read_bytes() == mine):
        what = "a run of another scenario, policy or seed" if old.is_file() else "other files"
        raise InputError(f"{folder} holds {what}; nothing was written. Name a new or empty folder with --out.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / runfolder.MANIFEST).unlink(missing_ok=True)
    for leftover in folder.glob("*.tmp"):
        leftover.unlink()
    runfolder.write_file(old, mine)
    for name, path in files.items():
        runfolder.write_file(folder / name, path.read_bytes())


def simulate(
    scenario: Scenario,
    world: World,
    payload: PayloadBackend,
    log: EventLog,
    progress: Callable[[float], None] | None = None,
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
    if scenes.has_pixels and gate is not None:
        scenes = GatedScenes(scenes, gate, failed)
    sizer = Sizer(scenes, plan, scenario.craft[0].radio)
    cache = VerdictCache(payload.fingerprint) if world.scenes.has_pixels and not payload.needs_truth else None
    keys = shot_keys(plan, scenario.seed)
    book = VerdictBook(payload, scenes.pair, keys, truth, scenario.seed, failed, cache)
    crafts, policies = [], []
    clock_name = ""
    for index, craft in enumerate(scenario.craft):
        settings = compute.resolve(craft.compute)
        seconds = settings.seconds_per_question
        clock_name = f"compute profile {settings.use}" if settings.use else "scenario's compute"
        if seconds is None:
            seconds = payload.seconds_per_question
            clock_name = str(getattr(payload, "clock", scenario.payload.use))
        policy, isolated = make_policy(scenario.policy, scenario.policy.use, scenario.folder)
        fallback, _ = make_policy(scenario.policy, scenario.policy.fallback, scenario.folder)
        policies.extend([policy, fallback])
        booked = [k for k, w in enumerate(world.contacts) if w.booked and w.spacecraft == craft.name]
        crafts.append(
            Craft(
                name=craft.name,
                rows=np.flatnonzero(plan.craft == index).tolist(),
                clock=CapacityClock([world.contacts[k] for k in booked], sizer.zone_bytes, sizer.frame_bytes),
                contact_rows=booked,
                processor=compute.Processor(world.propagators[index].period_s, settings.duty),
                queue_limit=settings.queue,
                seconds_per_question=seconds,
                prefilter_s=settings.prefilter_s or 0.0,
                load_s=settings.load_s or 0.0,
                energy_j=settings.energy_j or 0.0,
                memory=MassMemory(craft.storage_bytes),
                policy=policy,
                policy_name=Path(scenario.policy.use).name,
                fallback=fallback,
                fallback_name=scenario.policy.fallback,
            )
        )
    deadline_s = float("inf") if scenario.evaluation.deadline is None else scenario.evaluation.deadline
    priors = {schema: scenario.targets.prevalence_of(schema) for schema in scenario.payload.schemas}
    try:
        fly(
            crafts, ledger, scenes, book, sizer, scenario.payload.schemas, priors, scenario.horizon_s,
            deadline_s, progress,
        )  # fmt: skip
    finally:
        for policy in policies:
            closing = getattr(policy, "close", None)
            if closing is not None:
                closing()
    log.flush()
    if cache is not None:
        cache.save()
    storage = tuple(craft.storage_bytes for craft in scenario.craft)
    record = ledger.record(truth, scenario.duration_s, scenario.horizon_s, deadline_s, storage, world.uplink_bytes)
    record.cloud_estimate = _cloud_estimates(scenes, len(plan))
    identities = {
        "eye": payload.fingerprint.rpartition("/")[0] or payload.fingerprint,
        "eye_fingerprint": payload.fingerprint,
        "eye_needs_truth": payload.needs_truth,
        "clock": clock_name,
        "isolation": "process" if isolated else "inline",
    }
    return record, ledger, sizer, identities


def _cloud_estimates(scenes: SceneSource, n: int) -> NDArray[np.float64]:
    """Cloud cover as estimated on board, NaN where the source gives none, shape (n,). [-]"""
    whole = getattr(scenes, "cloud_estimates", None)
    if whole is not None:
        return np.asarray(whole())
    clouds = [scenes.pair(row).after.cloud_fraction for row in range(n)]
    return np.array([np.nan if cloud is None else cloud for cloud in clouds], dtype=float)


def _reference_sizes(record: RunRecord, sizer: Sizer) -> ReferenceSizes:
    """What each tile would cost as a tile or a thumbnail without any verdict in it."""
    header = sizer.record(0, ()).size_bytes
    tile = sizer.picture_bytes_all(Action.TILE) + header
    sides = sorted({sizer.spec(None)[0], 64, 256})
    thumbnails = {
        side: sizer.wire_all(sizer.picture_bytes_all(Action.THUMBNAIL, side) + header, Action.THUMBNAIL)
        for side in sides
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
        for name in ("payload_failed", "policy_failed", "policy_hung", "product_refused", "item_expired")
        if record.event_counts[name]
    }
    notes = [*record.notes, *getattr(world.scenes, "notes", ())]
    if ledger.hung:
        notes.insert(0, f"RUN FAILED: {ledger.hung}; the fallback decided from there on")
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
        "skipped": dict(world.plan.skipped),
        "notes": notes,
        **identities,
    }


def _write(
    result: RunResult,
    rates: dict[str, tuple[float, float]],
    sizer: Sizer,
    payload: PayloadBackend,
    wall_s: float,
    events: bool,
) -> None:
    folder, record = result.folder, result.record
    assert folder is not None
    names = runfolder.write_tables(folder, record, rates)
    runfolder.write_json(folder / "metrics.json", result.metrics)
    names.append("metrics.json")
    if events:
        (folder / "events.jsonl.tmp").replace(folder / "events.jsonl")
        names.append("events.jsonl")
        _write_ground(folder / "ground", result, sizer)
    manifest = {
        "format": "flightsim-run/1",
        "outcome": "failed" if result.failed else "done",
        "nondeterministic": result.failed,
        "scenario_digest": scenario_digest(result.scenario),
        "payload_fingerprint": payload.fingerprint,
        "context": result.context,
        "event_counts": record.event_counts,
        "digests": {name: runfolder.file_digest(folder / name) for name in names},
        "versions": runfolder.versions(),
        "wall_s": round(wall_s, 3),
    }
    runfolder.write_json(folder / runfolder.MANIFEST, manifest)


def _write_ground(folder: Path, result: RunResult, sizer: Sizer) -> None:
    """What arrived: verdicts as lines, pictures as files."""
    record = result.record
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir()
    lines = runfolder.ground_verdict_lines(record)
    runfolder.write_file(folder / "verdicts.jsonl", "".join(line + "\n" for line in lines).encode())
    if not sizer.has_pixels:
        return
    arrived = {STATES.index(TerminalState.DELIVERED), STATES.index(TerminalState.LATE)}
    for item in record.items:
        row = item.rows[0]
        if item.kind in (Action.THUMBNAIL, Action.TILE) and record.state[row] in arrived:
            sent = sizer.file(row, item.kind, record.specs[item.id], record.verdicts.get(row, ()))
            _, _, picture = records.decode_product(sent)
            suffix = ".tile" if item.kind is Action.TILE else f".{sizer.spec(record.specs[item.id])[1]}"
            (folder / (item.id.replace("/", "-") + suffix)).write_bytes(picture)
