"""Errors of what is on board: battery, array, temperature and modes, storage, compute."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from flightsim import light
from flightsim.compute import Processor
from flightsim.power import Battery, Pointing, SolarInput, solar_input, stretches
from flightsim.scenario.energy import Loads, Power, Thermal
from flightsim.storage import MassMemory
from flightsim.thermal import Node

from .accuracy_orbit import DAY_S, circular
from .measured import OREKIT, Figure, Tally, craft_of, reference, since
from .small_steps import both_flown


def charge_at_edges(given: dict[str, float], eclipses: Any, end_s: float) -> tuple[Battery, dict[float, float]]:
    """The battery of a reference case at the end, and its charge at each edge of sunlight."""
    battery = Battery(given["cap_wh"], given["soc0"], given["eta_c"], given["eta_d"])
    edges_s, sunlit = stretches(eclipses, 0.0, end_s)
    found = {}
    for (begin_s, stop_s), lit in zip(pairwise(edges_s), sunlit, strict=True):
        battery.advance(stop_s - begin_s, given["p_sun"] if lit else 0.0, given["p_load"])
        found[stop_s] = battery.state_of_charge
    return battery, found


def battery() -> list[Figure]:
    """State of charge over a day, on the reference's shadow edges and on our own."""
    data, start, craft = craft_of("eclipse")
    cases, end_s = reference("analytic"), since(data["window"]["end"], start)
    figures = []
    for edges in (f"{OREKIT} edges", "our own edges"):
        tally = Tally(f"closed form, {edges}")
        for case in cases["battery"]:
            row = next(s for s in data["satellites"] if s["id"] == case["sat"])
            spans = (
                light.eclipses(craft[case["sat"]], 0.0, end_s)
                if edges == "our own edges"
                else [
                    (since(e["entry"], start), since(e["exit"], start)) for e in row["intervals"][case["eclipse_model"]]
                ]
            )
            end, found = charge_at_edges(case["input"], spans, end_s)
            wanted, ours_s = case["expected"], np.array(sorted(found))
            for point in wanted["curve"]:
                at_s = float(ours_s[np.abs(ours_s - since(point["t"], start)).argmin()])
                tally.add("state of charge", found[at_s] - point["soc"], "", cases["tolerance"]["soc"])
            for value, key in ((end.state_of_charge, "final_soc"), (end.lowest_wh / end.capacity_wh, "min_soc")):
                tally.add("state of charge", value - wanted[key], "", cases["tolerance"]["soc"])
            # The file names none: a second at each of some 15 eclipses.
            tally.add("time full in a day", end.full_s - wanted["seconds_full"], "s", 15.0)
        figures += tally.figures()
    return figures


def energy() -> list[Figure]:
    """Conservation under random powers, and the array's energy against steps of a second."""
    rng, tally = np.random.default_rng(5), Tally("conservation of energy")
    for _ in range(200):
        cell = Battery(rng.uniform(1, 200), rng.uniform(), rng.uniform(0.5, 1), rng.uniform(0.5, 1), rng.uniform(1, 99))
        flow_wh = 0.0
        for _ in range(40):
            seconds, harvest_w, load_w = rng.uniform(0, 20_000), rng.uniform(0, 100), rng.uniform(0, 100)
            cell.advance(seconds, harvest_w, load_w, bool(rng.integers(2)))
            flow_wh += (harvest_w + load_w) * seconds / 3600.0
        tally.add("energy that is nowhere, of what flowed", cell.imbalance_wh() / flow_wh, "", 1e-9)
    propagator = circular()
    time_s = np.arange(0.5, DAY_S, 1.0)
    beta_rad = np.radians(light.beta_deg(propagator, time_s))
    lit = propagator.sunlit(time_s)
    steps = Tally("steps of 1 s, beta at each")
    for pointing, factor in (
        (Pointing.SUN, np.ones(len(time_s))),
        (Pointing.AXIS, np.cos(beta_rad)),
        (Pointing.SIDE, np.abs(np.sin(beta_rad))),
    ):
        found_wh = solar_input(propagator, DAY_S, 30.0, pointing).energy_wh(DAY_S)
        off = 100.0 * (found_wh / float(np.sum(30.0 * factor * lit) / 3600.0) - 1.0)
        # A second of sunlight an edge is 0.02 % of an orbit; beta is osculating, by 0.01 deg.
        steps.add("energy of the array in a day, three pointings", off, "%", 0.1)
    return [*tally.figures(), *steps.figures()]


def node() -> list[Figure]:
    """Temperature after constant and changing power against the fourth-order rule in steps of a second."""
    rng, tally = np.random.default_rng(7), Tally("Runge-Kutta of fourth order, 1 s")
    for _ in range(20):
        capacity, conductance, start_c = rng.uniform(200, 5000), rng.uniform(0.2, 3.0), rng.uniform(-40, 90)
        ours, stepped_c = Node(start_c, capacity, conductance), start_c
        for _ in range(5):
            power_w, sink_c, seconds = rng.uniform(0, 60), rng.uniform(-80, 60), int(rng.integers(60, 4000))
            ours.advance(float(seconds), power_w, sink_c)
            for _ in range(seconds):
                stepped_c = _runge_kutta(stepped_c, power_w, sink_c, capacity, conductance)
        # One step leaves (step / tau)^5 / 120 of the distance: below 1e-11 K at tau = 60 s.
        tally.add("temperature of the node", ours.temperature_c - stepped_c, "K", 1e-6)
    return tally.figures()


def _runge_kutta(at_c: float, power_w: float, sink_c: float, capacity: float, conductance: float) -> float:
    def slope(temperature_c: float) -> float:
        return (power_w - conductance * (temperature_c - sink_c)) / capacity

    one = slope(at_c)
    two = slope(at_c + one / 2.0)
    three = slope(at_c + two / 2.0)
    return at_c + (one + 2.0 * two + 2.0 * three + slope(at_c + three)) / 6.0


def flights() -> list[Figure]:
    """Battery, temperature, modes, throttle, duty and work together against steps of half a second."""
    rng, tally = np.random.default_rng(11), Tally("steps of 0.5 s, written apart")
    for _ in range(12):
        lengths_s = rng.integers(600, 4000, int(rng.integers(2, 6)))
        edges_s = tuple(np.concatenate([[0.0], np.cumsum(lengths_s)]).tolist())
        lit = tuple(k % 2 == 0 for k in range(len(lengths_s)))
        solar = SolarInput(edges_s, tuple(30.0 * on for on in lit), lit)
        power = Power(
            battery_wh=rng.uniform(4, 20), initial_state_of_charge=rng.uniform(0.2, 0.95), max_charge_w=15.0,
            loads=Loads(payload_w=rng.uniform(10, 40), camera_s=120.0),
        )  # fmt: skip
        sink_c = rng.uniform(-60, 60)
        thermal = Thermal(
            sunlit_sink_c=sink_c, eclipse_sink_c=sink_c - 30.0, heat_capacity_j_per_k=300, charge_above_c=-5.0
        )
        photographs_s = sorted(float(s) for s in rng.integers(0, 8000, 3))
        duty, work_s, contact_s = (
            float(rng.choice([0.3, 1.0])),
            float(rng.integers(100, 9000)),
            float(rng.integers(8000)),
        )
        ours, stepped, finished_s, _ = both_flown(power, thermal, solar, duty, work_s, photographs_s, contact_s)
        # A step meets each change up to 0.5 s late with up to 75 W wrong, 0.01 Wh, some tens of times.
        tally.add("energy in the battery", ours.battery.stored_wh - stepped.stored_wh, "Wh", 0.2)
        assert ours.node is not None
        tally.add("temperature at the end", ours.node.temperature_c - stepped.temperature_c, "K", 1.0)
        for mode, seconds in ours.mode_s.items():
            tally.add("time in a mode", seconds - stepped.seconds[mode.value], "s", 60.0)
        if finished_s is not None and stepped.finished_s is not None:
            tally.add("end of the work", finished_s - stepped.finished_s, "s", 60.0)
        tally.add(
            "work that only one of them ends", float((finished_s is None) != (stepped.finished_s is None)), "", 0.0
        )
    return tally.figures()


def storage() -> list[Figure]:
    """The reference's sequence of captures and downlinks, whole files and tail drop."""
    case = reference("analytic")["storage"]
    memory, tally = MassMemory(case["capacity_bytes"]), Tally("closed sequence of `analytic.json`")
    sizes: dict[int, int] = {}
    dropped = delivered = 0
    for number, (step, used) in enumerate(zip(case["steps"], case["expected"]["used_after"], strict=True)):
        if step["kind"] == "capture":
            if memory.admit(number, step["bytes"]):
                sizes[number] = step["bytes"]
            else:
                dropped += step["bytes"]
        else:
            # The store frees whole files; what is left of one that is partly sent is stored again.
            room = step["bytes"]
            for name in list(sizes):
                sent = min(room, sizes[name])
                room, delivered = room - sent, delivered + sent
                memory.release(name)
                if left := sizes.pop(name) - sent:
                    memory.admit(name, left)
                    sizes[name] = left
        memory.check()
        tally.add("bytes stored, dropped, delivered, left", memory.used_bytes - used, "B", 0.0)
    ours = {"dropped_bytes": dropped, "delivered_bytes": delivered, "left_bytes": memory.used_bytes}
    for key, value in ours.items():
        tally.add("bytes stored, dropped, delivered, left", value - case["expected"][key], "B", 0.0)
    return tally.figures()


def second_by_second(services: list[tuple[int, int]], period_s: int, duty: float) -> list[int]:
    """Ends of services under a duty limit, by stepping one second at a time."""
    finish, free, used, orbit = [], 0, 0.0, -1
    for start, service in services:
        now, left = max(start, free), service
        while left > 0:
            if now // period_s != orbit:
                orbit, used = now // period_s, 0.0
            if used < duty * period_s:
                used += 1
                left -= 1
            now += 1
        finish.append(now)
        free = now
    return finish


def queue() -> list[Figure]:
    """Ends of services in order under a duty limit."""
    rng, tally = np.random.default_rng(13), Tally("count second by second")
    for duty in (0.1, 0.25, 0.5, 1.0):
        for _ in range(10):
            starts = np.cumsum(rng.integers(0, 300, 8)).tolist()
            services = list(zip(starts, rng.integers(0, 60, 8).tolist(), strict=True))
            processor, free_s = Processor(100.0, duty), 0.0
            for (start, service), wanted in zip(services, second_by_second(services, 100, duty), strict=True):
                free_s = processor.finish_s(max(start, free_s), service)
                tally.add("end of a service", free_s - wanted, "s", 1e-6)
    return tally.figures()
