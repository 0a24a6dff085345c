"""What spacecraft that share stations get, and how long booking them all takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from flightsim.booking import book
from flightsim.domain import ContactWindow
from flightsim.orbit import Propagator
from flightsim.passes import find_passes
from flightsim.scenario.models import Booking, Orbit, ShippedStations
from flightsim.sharing import shares
from flightsim.stations import resolve, shipped_names

START = datetime(2026, 10, 2, tzinfo=UTC)
DAYS = 7.0
#: Altitude [km] and LTAN of spacecraft k.
FLEETS: dict[str, Callable[[int], tuple[float, str]]] = {
    "equal heights, planes 2 h apart": lambda k: (510.0, f"{(8 + 2 * k) % 24:02d}:00"),
    "heights of 500 to 750 km, planes 2 h apart": lambda k: (500.0 + 50.0 * k, f"{(8 + 2 * k) % 24:02d}:00"),
    "a train: one plane, 2 km of height between neighbours": lambda k: (510.0 + 2.0 * k, "22:30"),
}


def fleet(count: int, stations: tuple[str, ...], place: Callable[[int], tuple[float, str]]) -> list[ContactWindow]:
    """All passes of a fleet over shipped stations in a week."""
    places = resolve(ShippedStations(use="shipped", names=stations))
    passes: list[ContactWindow] = []
    for k in range(count):
        altitude_km, ltan = place(k)
        orbit = Orbit(altitude_km=altitude_km, inclination_deg=97.44, ltan=ltan)
        craft = Propagator.from_config(orbit, START, Path(), DAYS * 86400.0)
        passes += find_passes(craft, f"sat-{k}", places, 0.0, DAYS * 86400.0)
    return passes


def main() -> None:
    print("six spacecraft, Svalbard and Matera, 7 days; share of what each would book alone\n")
    print("| fleet | passes per day and spacecraft | least share | largest share | lost to contention |")
    print("|---|---|---|---|---|")
    for name, place in FLEETS.items():
        passes = fleet(6, ("Svalbard", "Matera"), place)
        for limit in (None, 6, 4):
            rules = Booking(passes_per_day=limit)
            by_craft = shares(book(passes, rules, START), rules, START).values()
            each = [share.booked_s / share.wanted_s for share in by_craft]
            lost = sum(s.lost_to_contention_s for s in by_craft) / sum(s.wanted_s for s in by_craft)
            print(f"| {name} | {limit or 'any'} | {min(each):.2f} | {max(each):.2f} | {100 * lost:.0f} % |", flush=True)
    passes = fleet(10, shipped_names()[:12], FLEETS["heights of 500 to 750 km, planes 2 h apart"])
    for limit in (None, 4):
        begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
        found = book(passes, Booking(passes_per_day=limit), START)
        wall_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - begun_cpu_s
        print(
            f"\n10 spacecraft, 12 stations, 7 days, {limit or 'any'} a day: {len(passes)} passes, "
            f"{sum(w.booked for w in found)} booked in {cpu_s:.2f} s CPU, {wall_s:.2f} s wall"
        )


if __name__ == "__main__":
    main()
