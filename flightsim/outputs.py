"""What a run leaves behind: the folder claimed before it, its files, and the manifest that marks it as complete."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import gallery, records, registry, runfolder
from .domain import Action, TerminalState
from .errors import InputError
from .protocols import SceneSource
from .recorder import STATES
from .scenario import dump_scenario
from .scenario.models import Scenario
from .sizing import Sizer

if TYPE_CHECKING:
    from .runs import RunResult


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


def finished(folder: Path, scenario: Scenario) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Metrics and context of a run of this very scenario that is complete in the folder, or None."""
    if not (folder / runfolder.MANIFEST).is_file():
        return None
    manifest = runfolder.read_manifest(folder)
    if manifest["scenario_digest"] != scenario_digest(scenario) or manifest["outcome"] != "done":
        return None
    values: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return values, manifest["context"]


def claim(folder: Path, scenario: Scenario) -> None:
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


def write(
    result: RunResult,
    rates: Mapping[str, tuple[float, float]],
    scenes: SceneSource,
    sizer: Sizer,
    fingerprint: str,
    wall_s: float,
    events: bool,
) -> None:
    """Write everything into the folder that was claimed; the manifest last, as the mark of completion."""
    folder, record = result.folder, result.record
    assert folder is not None
    names = runfolder.write_tables(folder, record, rates, result.ground)
    runfolder.write_json(folder / "metrics.json", result.metrics)
    names.append("metrics.json")
    if events:
        (folder / "events.jsonl.tmp").replace(folder / "events.jsonl")
        names.append("events.jsonl")
        _write_ground(folder / "ground", result, sizer)
        names += gallery.write_gallery(folder, record, result.ground.policy, scenes, sizer)
    manifest = {
        "format": "flightsim-run/1",
        "outcome": "failed" if result.failed else "done",
        "nondeterministic": result.failed,
        "scenario_digest": scenario_digest(result.scenario),
        "payload_fingerprint": fingerprint,
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
    sizer.fetch_files(item.rows[0] for item in record.items if item.kind is Action.THUMBNAIL)
    arrived = {STATES.index(TerminalState.DELIVERED), STATES.index(TerminalState.LATE)}
    for item in record.items:
        row = item.rows[0]
        if item.kind in (Action.THUMBNAIL, Action.TILE) and record.state[row] in arrived:
            sent = sizer.file(row, item.kind, record.specs[item.id], record.verdicts.get(row, ()))
            _, _, picture = records.decode_product(sent)
            (folder / gallery.ground_file(record, item, sizer)).write_bytes(picture)
