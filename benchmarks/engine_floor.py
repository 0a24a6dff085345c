"""Tiles per CPU second on a 30-day Sentinel-2 strip, beside a bare SimPy loop of the same number of events."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import simpy

import flightsim as fs
from flightsim import registry, runs
from flightsim.events import EventLog
from flightsim.world import prepare


def skeleton(events: int) -> float:
    """CPU seconds of a SimPy process that waits so many times. [s]"""

    def process(env: simpy.Environment) -> Generator[simpy.Event, None, None]:
        for _ in range(events):
            yield env.timeout(1.0)

    env = simpy.Environment()
    env.process(process(env))
    started = time.process_time()
    env.run()
    return time.process_time() - started


def main() -> None:
    started = time.process_time()
    scenario = fs.load_scenario("sentinel-2", ["duration=30d"])
    world = prepare(scenario)
    world_s = time.process_time() - started
    tiles = len(world.plan)
    print(f"30 days, {tiles} tiles; the world (orbit, passes, plan, truth) took {world_s:.1f} CPU s")
    timings = {}
    for name, log in (("full log", True), ("tables only", False)):
        payload = registry.build("payloads", scenario.payload.use, scenario.payload.with_, scenario.folder)
        payload.open()
        with tempfile.TemporaryDirectory() as folder, (Path(folder) / "events.jsonl").open("w") as file:
            started = time.process_time()
            record, *_ = runs.simulate(scenario, world, payload, EventLog(file if log else None), None)
            timings[name] = time.process_time() - started
            file.flush()
            size = (Path(folder) / "events.jsonl").stat().st_size
        speed = tiles / timings[name]
        print(f"engine, {name}: {timings[name]:.2f} CPU s, {speed:,.0f} tiles per CPU second, log {size / 1e6:.0f} MB")
    # One SimPy event a capture, one a service, one or two a file.
    count = 2 * tiles + 2 * len(record.items)
    bare = skeleton(count)
    print(f"bare SimPy, {count} events: {bare:.2f} CPU s, {tiles / bare:,.0f} tiles per CPU second if that were all")
    full, tables = timings["full log"] / bare, timings["tables only"] / bare
    print(f"ratio engine / bare: {full:.1f} with the full log, {tables:.1f} without")


if __name__ == "__main__":
    main()
