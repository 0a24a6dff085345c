"""CPU time and memory of contact plans, beside skyfield, two compiled libraries where they install, and SGP4 alone.

brahe and sgp4-predict are no dependencies: ``pip install brahe sgp4-predict`` brings them to this table.
"""

from __future__ import annotations

import importlib
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import flightsim as fs
from flightsim.orbit import Propagator
from flightsim.passes import GRID_STEP_S, find_passes
from flightsim.scenario.models import Scenario, Station
from flightsim.scenario.writing import dump_scenario

_DAY_S = 86400.0
_DAYS, _MASK_DEG, _ALTITUDE_M = 30, 10.0, 100.0
_ROUNDS = 3
_FLEETS, _FLEET_DAYS = (10, 30, 100), 7


class Pass(NamedTuple):
    """AOS and LOS since the start, and the number of the station. [s]"""

    station: int
    aos_s: float
    los_s: float


#: Elevations at times since the start over numbered stations. [s, -, deg]
Look = Callable[[NDArray[np.float64], NDArray[np.intp]], NDArray[np.float64]]


def stations(count: int = 12) -> tuple[Station, ...]:
    """Stations at random places, evenly over the sphere; the same each time."""
    rng = np.random.default_rng(0)
    lat_deg, lon_deg = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, count))), rng.uniform(-180.0, 180.0, count)
    return tuple(
        Station(name=f"s{k}", lat_deg=lat, lon_deg=lon, altitude_m=_ALTITUDE_M, elevation_mask_deg=_MASK_DEG)
        for k, (lat, lon) in enumerate(zip(lat_deg.tolist(), lon_deg.tolist(), strict=True))
    )


def lines_of(scenario: Scenario) -> tuple[str, str]:
    """The element set of the first spacecraft."""
    from flightsim import tle

    elements = tle.read(scenario.craft[0].orbit, scenario.folder)
    assert elements is not None
    return elements.line1, elements.line2


# The others ----------------------------------------------------------------------------------------------------------


def with_skyfield(propagator: Propagator, places: Sequence[Station], days: int) -> Callable[[], list[Pass]]:
    """``find_events`` of skyfield, station by station; dates by its built-in table, no polar motion."""
    from skyfield.api import EarthSatellite, load, wgs84

    scale = load.timescale(builtin=True)
    satellite = EarthSatellite.from_satrec(propagator.satrec, scale)
    begin = scale.from_datetime(propagator.start.astimezone(UTC))
    end = scale.tt_jd(begin.whole, begin.tt_fraction + days)

    def passes() -> list[Pass]:
        found = []
        for k, place in enumerate(places):
            spot = wgs84.latlon(place.lat_deg, place.lon_deg, place.altitude_m)
            time, event = satellite.find_events(spot, begin, end, altitude_degrees=_MASK_DEG)
            since_s = ((time.whole - begin.whole) + (time.tt_fraction - begin.tt_fraction)) * _DAY_S
            rises, sets = since_s[event == 0].tolist(), since_s[event == 2].tolist()
            # A pass that the span cuts has one of the two.
            if sets and (not rises or sets[0] < rises[0]):
                rises.insert(0, 0.0)
            if len(rises) > len(sets):
                sets.append(days * _DAY_S)
            found += [Pass(k, aos_s, los_s) for aos_s, los_s in zip(rises, sets, strict=True)]
        return found

    return passes


def skyfield_elevation_deg(propagator: Propagator, places: Sequence[Station]) -> Look:
    """Skyfield's own elevation, for what its searches leave open."""
    from skyfield.api import EarthSatellite, load, wgs84

    scale = load.timescale(builtin=True)
    satellite = EarthSatellite.from_satrec(propagator.satrec, scale)
    begin = scale.from_datetime(propagator.start.astimezone(UTC))

    def look(time_s: NDArray[np.float64], station: NDArray[np.intp]) -> NDArray[np.float64]:
        elevation_deg = np.empty(len(time_s))
        for k, place in enumerate(places):
            mine = station == k
            if mine.any():
                moment = scale.tt_jd(begin.whole, begin.tt_fraction + time_s[mine] / _DAY_S)
                spot = wgs84.latlon(place.lat_deg, place.lon_deg, place.altitude_m)
                elevation_deg[mine] = (satellite - spot).at(moment).altaz()[0].degrees
        return elevation_deg

    return look


def with_brahe(scenario: Scenario, places: Sequence[Station], days: int) -> Callable[[], list[Pass]]:
    """``location_accesses`` of brahe as it comes, all stations in one call; the same UT1 as ours, no polar motion."""
    from skyfield.api import load

    brahe: Any = importlib.import_module("brahe")
    middle = load.timescale(builtin=True).from_datetime(scenario.start.astimezone(UTC) + timedelta(days=days / 2))
    brahe.set_global_eop_provider(brahe.StaticEOPProvider.from_values(0.0, 0.0, float(middle.dut1), 0.0, 0.0, 0.0))
    # Its stubs name UT1 - UTC first, the library takes the pole first: the wrong order tilts the Earth by degrees.
    if brahe.get_global_ut1_utc(60000.0) != float(middle.dut1):
        raise SystemExit("brahe takes Earth orientation in another order: look at its from_values")
    utc = scenario.start.astimezone(UTC)
    begin = brahe.Epoch.from_datetime(
        utc.year, utc.month, utc.day, utc.hour, utc.minute, float(utc.second), 0.0, brahe.TimeSystem.UTC
    )
    orbit = brahe.SGPPropagator.from_tle(*lines_of(scenario), 60.0)
    spots = [brahe.PointLocation(place.lon_deg, place.lat_deg, place.altitude_m) for place in places]
    number = {round(place.lon_deg, 6): k for k, place in enumerate(places)}
    mask = brahe.ElevationConstraint(_MASK_DEG)

    def passes() -> list[Pass]:
        found = brahe.location_accesses(spots, orbit, begin, begin + days * _DAY_S, mask)
        return [
            Pass(number[round(w.center_lon, 6)], float(w.window_open - begin), float(w.window_close - begin))
            for w in found
        ]

    return passes


def with_sgp4_predict(scenario: Scenario, places: Sequence[Station], days: int) -> Callable[[], list[Pass]]:
    """``transits_iter`` of sgp4-predict as it comes, but for passes that the span cuts, which are asked for."""
    library: Any = importlib.import_module("sgp4_predict")
    orbit = library.Predictor.from_tle(library.Tle("satellite", *lines_of(scenario)))
    begin = scenario.start.astimezone(UTC)
    span = library.Interval(start=begin, end=begin + timedelta(days=days))

    def passes() -> list[Pass]:
        found = []
        for k, place in enumerate(places):
            spot = library.GeodeticPoint(place.lat_deg, place.lon_deg, place.altitude_m)
            for transit in orbit.transits_iter(
                spot, span, _MASK_DEG, skip_leading_partial=False, clamp_to_interval=True
            ):
                aos_s, los_s = ((t - begin).total_seconds() for t in (transit.start, transit.end))
                found.append(Pass(k, max(0.0, aos_s), los_s))
        return found

    return passes


# Comparing -----------------------------------------------------------------------------------------------------------


class Matched(NamedTuple):
    """Passes of two lists that overlap one to one, and those of either that overlap none of the other."""

    pairs: list[tuple[Pass, Pass]]
    missing: list[Pass]
    added: list[Pass]


def match(ours: Sequence[Pass], theirs: Sequence[Pass]) -> Matched:
    """Pairs of passes over the same station at the same time; each pass is in at most one pair."""
    left, right = sorted(ours, reverse=True), sorted(theirs, reverse=True)
    pairs, missing, added = [], [], []
    while left and right:
        mine, other = left[-1], right[-1]
        if (mine.station, mine.los_s) <= (other.station, other.aos_s):
            missing.append(left.pop())
        elif (other.station, other.los_s) <= (mine.station, mine.aos_s):
            added.append(right.pop())
        else:
            pairs.append((left.pop(), right.pop()))
    return Matched(pairs, missing + left, added + right)


def on_mask_ms(ours: Sequence[Pass], look: Look, end_s: float) -> float:
    """Largest time by which another elevation meets the mask beside our edges, those that the span cuts apart. [ms]"""
    edges = [(t, p.station) for p in ours for t in (p.aos_s, p.los_s) if 0.0 < t < end_s]
    time_s, station = np.array([t for t, _ in edges]), np.array([k for _, k in edges])
    before, at, after = (look(time_s + shift, station) for shift in (-0.5, 0.0, 0.5))
    # To second order: near the highest point of a low pass the rate itself changes within a second.
    rate, bend = after - before, 4.0 * (after - 2.0 * at + before)
    step = -(at - _MASK_DEG) / rate
    step -= (at - _MASK_DEG + step * (rate + bend * step / 2.0)) / (rate + bend * step)
    return 1000.0 * float(np.max(np.abs(step)))


def interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each call, all threads, one of each in every round. [s]"""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.process_time()
            call()
            taken[name].append(time.process_time() - started)
    return taken


def floor(propagator: Propagator, places: Sequence[Station], days: int, step_s: float) -> Callable[[], Any]:
    """SGP4 on a grid, and one product of its positions with all stations: what nothing of this kind can undercut."""
    up = np.random.default_rng(0).normal(size=(3, len(places)))
    grid_s = np.arange(0.0, days * _DAY_S, step_s) / _DAY_S
    day = np.full(len(grid_s), propagator.satrec.jdsatepoch + 2.0)
    return lambda: propagator.satrec.sgp4_array(day, grid_s)[1] @ up


# The parts -----------------------------------------------------------------------------------------------------------


def one_satellite() -> None:
    scenario = fs.load_scenario("sentinel-2", [f"duration={_DAYS}d"])
    places, end_s = stations(), _DAYS * _DAY_S
    propagator = Propagator.from_config(scenario.craft[0].orbit, scenario.start, scenario.folder, end_s)

    def passes() -> list[Pass]:
        return [Pass(int(w.station[1:]), w.aos_s, w.los_s) for w in find_passes(propagator, "", places, 0.0, end_s)]

    others = {"skyfield find_events": with_skyfield(propagator, places, _DAYS)}
    for name, build in (("brahe", with_brahe), ("sgp4-predict", with_sgp4_predict)):
        try:
            others[name] = build(scenario, places, _DAYS)
        except ImportError as error:
            print(f"{name} IS NOT HERE ({error}): no row for it; pip install brahe sgp4-predict")
    grid = {
        f"SGP4 and product, {step_s:.0f} s": floor(propagator, places, _DAYS, step_s) for step_s in (GRID_STEP_S, 60)
    }
    found = {name: call() for name, call in {"flightsim": passes, **others}.items()}
    for call in grid.values():
        call()
    taken = interleaved(
        {"flightsim": lambda: find_passes(propagator, "", places, 0.0, end_s), **grid, **others}, _ROUNDS
    )

    print(f"1 satellite, {len(places)} stations, {_DAYS} days, mask {_MASK_DEG:.0f} deg; best of {_ROUNDS} rounds:")
    print("| what | CPU s | times flightsim (all rounds) | passes | not found | added | AOS, LOS apart, worst |")
    print("|---|---|---|---|---|---|---|")
    own = taken["flightsim"]
    ours, look = found["flightsim"], skyfield_elevation_deg(propagator, places)
    missing: dict[str, list[Pass]] = {}
    for name, times in taken.items():
        every = [t / base for t, base in zip(times, own, strict=True)]
        cells = [f"{min(times):.4f}", f"{min(times) / min(own):.2f} ({min(every):.2f} to {max(every):.2f})"]
        if name in others:
            same = match(ours, found[name])
            missing[name] = same.missing
            apart_s = max(max(abs(a.aos_s - b.aos_s), abs(a.los_s - b.los_s)) for a, b in same.pairs)
            cells += [str(len(found[name])), str(len(same.missing)), str(len(same.added)), f"{1000 * apart_s:.1f} ms"]
        else:
            cells += [str(len(ours)), "", "", ""] if name == "flightsim" else ["", "", "", ""]
        print(f"| {name} | {' | '.join(cells)} |")
    for name in grid:
        every = [base / t for t, base in zip(taken[name], own, strict=True)]
        ratio = min(own) / min(taken[name])
        print(f"flightsim / {name}: {ratio:.1f} ({min(every):.1f} to {max(every):.1f} over the rounds)")
    print(f"skyfield's own elevation meets the mask within {on_mask_ms(ours, look, end_s):.3f} ms of our AOS and LOS")
    for name, lost in missing.items():
        if lost:
            middle_s, station = np.array([(p.aos_s + p.los_s) / 2 for p in lost]), np.array([p.station for p in lost])
            over_deg = look(middle_s, station) - _MASK_DEG
            longest_s = max(p.los_s - p.aos_s for p in lost)
            print(
                f"not found by {name}: {len(lost)}, the longest of {longest_s:.0f} s; in their middle skyfield has "
                f"them {over_deg.min():.4f} to {over_deg.max():.4f} deg above the mask"
            )


def fleet(count: int) -> list[Propagator]:
    """Satellites of a Walker pattern at 550 km and 53 deg, ten in each plane."""
    from sgp4.api import WGS72, Satrec, jday

    start = datetime(2026, 10, 2, tzinfo=UTC)
    day, fraction = jday(start.year, start.month, start.day, 0, 0, 0.0)
    planes, satellites = max(1, count // 10), []
    for k in range(count):
        plane, slot = divmod(k, 10)
        satrec = Satrec()
        satrec.sgp4init(
            WGS72, "i", k, day + fraction - 2433281.5, 0.0, 0.0, 0.0, 0.0001, 0.0, np.radians(53.0),
            2.0 * np.pi * (slot / 10 + plane / (10 * planes)), 15.05 * 2.0 * np.pi / 1440.0,
            2.0 * np.pi * plane / planes,
        )  # fmt: skip
        satellites.append(Propagator(satrec, start))
    return satellites


def many_satellites() -> None:
    places, end_s = stations(), _FLEET_DAYS * _DAY_S

    def plan(satellites: Sequence[Propagator]) -> list[Any]:
        return [w for k, p in enumerate(satellites) for w in find_passes(p, f"sat-{k}", places, 0.0, end_s)]

    fleets = {count: fleet(count) for count in _FLEETS}
    taken = interleaved({str(count): partial(plan, satellites) for count, satellites in fleets.items()}, _ROUNDS)
    print(f"\n{len(places)} stations, {_FLEET_DAYS} days, mask {_MASK_DEG:.0f} deg; best of {_ROUNDS} rounds:")
    print(
        "| satellites | CPU s | ms a satellite | ratio to the first row | passes | peak memory MB | MB for the passes |"
    )
    print("|---|---|---|---|---|---|---|")
    first = min(taken[str(_FLEETS[0])]) / _FLEETS[0]
    for count, satellites in fleets.items():
        each = min(taken[str(count)]) / count
        tracemalloc.start()
        windows = plan(satellites)
        kept, peak = (size / 1e6 for size in tracemalloc.get_traced_memory())
        tracemalloc.stop()
        print(
            f"| {count} | {min(taken[str(count)]):.3f} | {1000 * each:.2f} | {each / first:.2f} | {len(windows)} "
            f"| {peak:.1f} | {kept:.1f} |"
        )


def command() -> None:
    """The command line with a fresh interpreter, beside what only imports two libraries."""
    scenario = fs.load_scenario("sentinel-2", [f"duration={_DAYS}d"])
    craft = scenario.craft[0]
    line1, line2 = lines_of(scenario)
    orbit = craft.orbit.model_copy(update={"tle": (line1, line2), "tle_file": None, "name": None})
    changed = scenario.model_copy(
        update={"stations": stations(), "spacecraft": craft.model_copy(update={"orbit": orbit})}
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "contact-plan.yaml"
        file.write_text(dump_scenario(changed), encoding="utf-8")
        calls = {
            "flightsim passes": [sys.executable, "-m", "flightsim", "passes", str(file)],
            "import numpy, skyfield.api": [sys.executable, "-c", "import numpy, skyfield.api"],
        }
        print(f"\na fresh process, 1 satellite, 12 stations, {_DAYS} days; best and worst of {_ROUNDS} rounds:")
        print("| command | wall s | CPU s |")
        print("|---|---|---|")
        wall_s, cpu_s = ({name: list[float]() for name in calls} for _ in range(2))
        for _ in range(_ROUNDS):
            for name, call in calls.items():
                before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
                subprocess.run(call, check=True, capture_output=True)
                wall_s[name].append(time.perf_counter() - began)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                cpu_s[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        for name in calls:
            wall, cpu = wall_s[name], cpu_s[name]
            print(f"| {name} | {min(wall):.2f} to {max(wall):.2f} | {min(cpu):.2f} to {max(cpu):.2f} |")


def main() -> None:
    one_satellite()
    many_satellites()
    command()


if __name__ == "__main__":
    main()
