"""Run folders for tests of the gallery and the report, each flown or made up once a session."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import flightsim
from flightsim import runfolder
from flightsim.domain import Action
from flightsim.recorder import RunRecord
from flightsim.report import write_report

from .factories import DAY_S, random_mission
from .test_metrics import ANALYST, CONTEXT

SCENARIO = "# what is sent?\nname: made-up\nstart: 2026-10-02T00:00:00Z\n"


def new_folder() -> Path:
    """An empty folder that goes when the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="flightsim-report-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def make_folder(folder: Path, record: RunRecord, **context: Any) -> dict[str, Any]:
    """A finished run folder of a made-up record, written the way a run writes it; gives its metrics."""
    from flightsim.belief import DeclaredReader, make_reader, reader_draws
    from flightsim.metrics import evaluate
    from flightsim.quality import Eye, Ground

    from .factories import sizes_of

    rates = dict.fromkeys(record.truth.schemas, (0.92, 0.01))
    reader = make_reader(ANALYST.use, ANALYST.with_)
    ground = Ground(
        Eye(rates), DeclaredReader(reader, record.truth, reader_draws(record.plan, record.truth.schemas, 1))
    )
    metrics, beliefs = evaluate(record, sizes_of(len(record.plan)), ground, 1, needs_truth=True)
    names = [*runfolder.write_tables(folder, record, rates, beliefs), "metrics.json"]
    runfolder.write_json(folder / "metrics.json", metrics)
    (folder / "scenario.yaml").write_text(SCENARIO)
    manifest = {
        "format": "flightsim-run/1", "outcome": "done", "nondeterministic": False, "scenario_digest": "ab" * 32,
        "payload_fingerprint": "x/1", "context": CONTEXT | context,
        "event_counts": {"tile_captured": 4, "run_ended": 0},
        "digests": {name: runfolder.file_digest(folder / name) for name in names}, "versions": {"python": "3.11.9"},
        "wall_s": 1.5,
    }  # fmt: skip
    runfolder.write_json(folder / "run.json", manifest)
    return metrics


def mixed_mission(n: int = 600) -> RunRecord:
    """Two schemas; tiles sent in every way, half of them delivered."""
    generator = np.random.default_rng(5)
    actions = [Action(kind) for kind in generator.choice(["nothing", "verdict", "thumbnail", "tile"], n)]
    delivered = np.where(generator.random(n) < 0.6, 7 * DAY_S + 600.0, np.nan)
    return random_mission(n, 2, prior=0.2, hidden=0.3, actions=actions, delivered_s=delivered)


@cache
def real_run() -> Path:
    """Folder of three days of the shipped pictures, flown and reported."""
    folder = new_folder() / "run"
    flightsim.run(flightsim.load_scenario("real-images", ["duration=3d"]), out=folder)
    write_report(folder)
    return folder


@cache
def statistical_run() -> Path:
    """Folder of two days of a world without pixels: areas of many tiles, visited again, flown and reported."""
    folder = new_folder() / "run"
    flightsim.run(flightsim.load_scenario("statistical", ["duration=2d", "targets.count=12"]), out=folder)
    write_report(folder)
    return folder


@cache
def powered_run() -> Path:
    """Folder of half a day on a battery that meets all three modes, flown and reported."""
    folder = new_folder() / "run"
    power = ["battery_wh=12", "array_w=17", "initial_state_of_charge=0.7"]
    settings = [f"spacecraft.power.{text}" for text in power] + ["spacecraft.thermal={sunlit_sink_c: 45}"]
    flightsim.run(flightsim.load_scenario("power", ["duration=12h", "evaluation.grace=0s", *settings]), out=folder)
    write_report(folder)
    return folder
