"""One example of each figure, from runs of shipped scenarios: the gallery of docs/figures.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import flightsim as fs
from flightsim import calibration, plotting
from flightsim.domain import TerminalState
from flightsim.quality import latency_samples
from flightsim.recorder import STATES
from flightsim.runs import RunResult, with_choices
from flightsim.world import World, prepare

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "figures"
SCENARIO = "statistical"
DAYS = 7.0
PROFILE = Path(__file__).resolve().parents[1] / "payload" / "profiles" / "spectral.json"
#: Pairs for the reliability diagram: many events, no cloud.
ENRICHED = ("targets.prevalence.default=0.3", "targets.event_tiles=1", "targets.clouds.mean_fraction=0")
PREVALENCES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.33)


def swept(world: World, policy: str, settings: list[dict[str, Any]]) -> list[tuple[float, float | None]]:
    """Bytes and F1 of a policy at several settings, in one world."""
    points = []
    for given in settings:
        use = {"use": policy, "with": given, "fallback": "verdicts_only"}
        metrics = fs.run(world.scenario.copy_with(policy=use), write=False, world=world).metrics
        points.append((metrics["bytes"]["air"], metrics["quality"]["ground"]["f1"]))
    return points


def plane(result: RunResult, curves: dict[str, list[tuple[float, float | None]]]) -> Callable[[Any], None]:
    """The main figure of a run."""
    values, quality = result.metrics["bytes"], result.metrics["quality"]
    booked = result.metrics["contacts"]["booked"]

    def paint(figure: Any) -> None:
        plotting.bytes_and_f1(
            figure.add_subplot(),
            (values["air"], quality["ground"]["f1"]),
            {
                "bent pipe, same passes": (values["bent_pipe_windows"], quality["bent_pipe_windows"]["f1"]),
                "bent pipe, unlimited": (values["bent_pipe_unlimited"], quality["bent_pipe_unlimited"]["f1"]),
            },
            [(point["air_bytes"], point["f1"]) for point in quality["no_vlm"]["points"]],
            days=DAYS,
            capacity_bytes=values["capacity"],
            f1_unlimited=quality["bent_pipe_unlimited"]["f1"],
            interval=quality["ground"]["ci95"]["f1"],
            curves=curves,
            pass_bytes=values["capacity"] / max(1, booked),
            columns=2,
        )

    return paint


def on_axes(function: Callable[..., Any], *values: Any, **more: Any) -> Callable[[Any], None]:
    """A figure with one axes."""
    return lambda figure: function(figure.add_subplot(), *values, **more)


def timeline(result: RunResult, start: str) -> Callable[[Any], None]:
    """Contacts, queue, storage and compute of a run."""
    contacts = {name: result.contacts.column(name).to_numpy() for name in result.contacts.column_names[2:]}
    booked = contacts["booked"]
    used = {name: contacts[name][booked].astype(float) for name in ("aos_s", "los_s", "capacity_bytes", "air_bytes")}
    samples = result.record.queue_samples
    queue = dict(zip(("time_s", "queued_bytes", "storage_bytes", "waiting_tiles"), samples.T, strict=True))

    def paint(figure: Any) -> None:
        axes = figure.subplots(4, 1, height_ratios=(3, 2, 2, 2))
        plotting.timeline(axes, used, queue, days=DAYS + 1.0, start=start)
        figure.align_ylabels()

    return paint


def world_map(result: RunResult, world: World) -> Callable[[Any], None]:
    """Tiles by what became of them, with land, a day of ground track, areas and stations."""
    record = result.record
    plan, state = record.plan, record.state
    delivered = state == STATES.index(TerminalState.DELIVERED)
    found = (result.ground.policy.yes & record.truth.changed & record.truth.labelled).any(axis=1)
    outcome = {
        "not delivered": ~delivered,
        "delivered": delivered & ~found,
        "true event known": delivered & found,
    }
    track = world.propagators[0].subpoints(np.arange(0.0, 86400.0, 30.0))[:2]
    centres = [(float(plan.lat_deg[plan.area == k].mean()), float(plan.lon_deg[plan.area == k].mean()))
               for k in np.unique(plan.area[plan.area >= 0])]  # fmt: skip
    from flightsim.stations import resolve

    stations = {s.name: (s.lat_deg, s.lon_deg) for s in resolve(world.scenario.stations)}
    tiles = {name: (plan.lat_deg[rows], plan.lon_deg[rows]) for name, rows in outcome.items()}
    return on_axes(plotting.ground_map, tiles, track=track, stations=stations, areas=centres)


def drawings() -> dict[str, tuple[float, Callable[[Any], None]]]:
    """Height [mm] and painter of each figure, by file name."""
    scenario = fs.load_scenario(SCENARIO)
    world = prepare(scenario)
    result = fs.run(scenario, write=False, world=world)
    pipe = fs.run(with_choices(scenario, policy="bent_pipe"), write=False, world=world)
    metrics, per_schema = result.metrics, result.metrics["quality"]["per_schema"]
    limits = [{"min_confidence": limit} for limit in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)]
    curves = {
        "threshold, thumbnails": swept(world, "threshold", limits),
        "threshold, tiles": swept(world, "threshold", [{**limit, "product": "tile"} for limit in limits]),
    }
    block = calibration.calibrate(fs.load_scenario(SCENARIO, ENRICHED))
    shipped = json.loads(PROFILE.read_text(encoding="utf-8"))["calibration"]
    flights = {"verdicts_only": [], "budgeted": []}  # type: dict[str, list[tuple[float, float | None]]]
    for value in PREVALENCES:
        rare = fs.load_scenario("prevalence", [f"targets.prevalence.default={value}"])
        here = prepare(rare)
        for policy, points in flights.items():
            found = fs.run(rare, policy=policy, write=False, world=here).metrics
            points.append((found["population"]["prevalence"], found["quality"]["ground"]["f1"]))
    counts = metrics["quality"]["onboard"]
    tpr = counts["tp"] / (counts["tp"] + counts["fn"])
    fpr = counts["fp"] / (counts["fp"] + counts["tn"])
    steps = {name: int(metrics["funnel"][name]) for name in plotting.FUNNEL_LABELS}
    return {
        "bytes-f1": (85.0, plane(result, curves)),
        "funnel": (42.0, on_axes(plotting.funnel, steps)),
        "bytes-by-kind": (28.0, on_axes(plotting.bytes_by_kind, dict(sorted(metrics["bytes"]["by_kind"].items())))),
        "timeline": (95.0, timeline(result, scenario.start.strftime("%Y-%m-%d"))),
        "map": (58.0, world_map(result, world)),
        "latency": (
            60.0,
            on_axes(
                plotting.latency,
                {
                    "budgeted": latency_samples(result.record, result.ground),
                    "bent pipe": latency_samples(pipe.record, pipe.ground),
                },
            ),
        ),
        "reliability": (
            80.0,
            on_axes(plotting.reliability, block["reliability"], knots=block["knots"], base_rate=block["base_rate"]),
        ),
        "reliability-spectral": (
            80.0,
            on_axes(
                plotting.reliability, shipped["reliability"], knots=shipped["knots"], base_rate=shipped["base_rate"]
            ),
        ),
        "confusion": (55.0, on_axes(plotting.confusion_matrix, {s: row["ground"] for s, row in per_schema.items()})),
        "per-schema": (
            62.0,
            on_axes(
                plotting.per_schema_f1,
                {
                    name: {schema: row[key] for schema, row in per_schema.items()}
                    for name, key in (("on board", "onboard"), ("on the ground", "ground"))
                },
            ),
        ),
        "prevalence": (
            60.0,
            on_axes(
                plotting.prevalence, (tpr, fpr), points={f"{k}, ground": v for k, v in flights.items()}, published=0.33
            ),
        ),
    }


def save(folder: Path, suffix: str = "svg", dpi: float = 200.0) -> list[Path]:
    """Draw all figures into a folder; the same code gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, (height_mm, paint) in drawings().items():
        with plotting.paper():
            figure = Figure(figsize=plotting.size_in(height_mm=height_mm))
            FigureCanvasAgg(figure)
            paint(figure)
            path = folder / f"{name}.{suffix}"
            figure.savefig(path, dpi=dpi, metadata={"Date": None} if suffix == "svg" else None)
            made.append(path)
    return made


def main() -> None:
    for path in save(FOLDER):
        print(f"docs/figures/{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
