"""The simulator beside what was flown, logged or published: one row a figure, with the assumptions that it took.

The left side is quoted, with its source. The right side is computed here, from shipped scenarios with overrides.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

import flightsim as fs
from flightsim import geodesy, light
from flightsim.compute import Processor
from flightsim.contacts import contacts_for
from flightsim.domain import ContactWindow
from flightsim.link import RadioConfig, budget, radio
from flightsim.link.codes import all_modcods
from flightsim.orbit import Propagator
from flightsim.passes import find_passes
from flightsim.power import Pointing, solar_input
from flightsim.power_report import Consumer
from flightsim.scenario.energy import Power
from flightsim.scenario.models import Orbit, Station
from flightsim.supply import Supply

DAY_S = 86400.0
_ORION = "Saransh-cpp/ORION, logs"
_PLANET = "Planet, Dove high-speed downlink"
_ISISPACE = "ISISPACE data sheet"
_ESA = "ESA, Sentinel-2"
#: Radius of the sphere on which a ground distance is taken. [km] (mean radius of IUGG)
_SPHERE_KM = 6371.0


class Row(NamedTuple):
    """A published figure, ours, and why they differ. Both are least and most; one number is both."""

    what: str
    kind: str  # flown, logged, stated (by maker or operator), designed, computed (by others)
    source: str
    unit: str
    published: tuple[float, float]
    ours: tuple[float, float]
    why: str

    @property
    def ratio(self) -> tuple[float, float]:
        """Ours, least and most, over the middle of the published. [-]"""
        middle = sum(self.published) / 2.0
        return (self.ours[0] / middle, self.ours[1] / middle)

    def cells(self) -> tuple[str, ...]:
        """Texts of the table."""
        both = (_span(self.published), _span(self.ours))
        return (self.what, f"{self.kind}: {self.source}", *both, self.unit, _span(self.ratio), self.why)


def _span(pair: tuple[float, float]) -> str:
    low, high = (f"{value:.0f}" if abs(value) >= 1000.0 else f"{value:.3g}" for value in pair)
    return low if low == high else f"{low} to {high}"


def _one(value: float) -> tuple[float, float]:
    return (value, value)


def _ends(values: list[float]) -> tuple[float, float]:
    return (min(values), max(values))


def _sentinel(name: str, days: float) -> Propagator:
    """A Sentinel-2 by its public elements."""
    scenario = fs.load_scenario("sentinel-2", [f"spacecraft.orbit.name={name}", f"duration={days}d"])
    return Propagator.from_config(scenario.craft[0].orbit, scenario.start, scenario.folder, scenario.horizon_s)


def _circular(altitude_km: float, inclination_deg: float, days: float, ltan: str = "22:30") -> Propagator:
    start = fs.load_scenario("default").start
    orbit = Orbit(altitude_km=altitude_km, inclination_deg=inclination_deg, ltan=ltan)
    return Propagator.from_config(orbit, start, Path(), days * DAY_S)


def _sun_synchronous(altitude_km: float, days: float, ltan: str = "22:30") -> Propagator:
    """A circular orbit whose node drifts with the Sun: the secular rate of J2, solved for the inclination."""
    axis_km = geodesy.EQUATORIAL_RADIUS_KM + altitude_km
    mean_motion = np.sqrt(budget.GM_KM3PS2 / axis_km**3)
    #: 360 deg in a tropical year; J2 of WGS-84.
    drift = 2.0 * np.pi / (365.2422 * DAY_S)
    j2 = 1.08262982e-3
    cosine = -drift / (1.5 * j2 * mean_motion * (geodesy.EQUATORIAL_RADIUS_KM / axis_km) ** 2)
    return _circular(altitude_km, float(np.degrees(np.arccos(cosine))), days, ltan)


# Contacts -------------------------------------------------------------------------------------------------------------


def distance_windows_s(
    propagator: Propagator, lat_deg: float, lon_deg: float, enter_km: float, leave_km: float, days: float, step_s: float
) -> list[tuple[float, float]]:
    """Windows by ORION's rule: from when the ground distance falls below one limit until it exceeds another. [s]

    Parameters
    ----------
    step_s
        Clock step: edges are as coarse as this, as in ORION's own clock. [s]
    """
    time_s = np.arange(0.0, days * DAY_S, step_s)
    sub_lat, sub_lon, _ = propagator.subpoints(time_s)
    lat, lon, sub_lat, sub_lon = (np.radians(x) for x in (lat_deg, lon_deg, sub_lat, sub_lon))
    cosine = np.sin(lat) * np.sin(sub_lat) + np.cos(lat) * np.cos(sub_lat) * np.cos(sub_lon - lon)
    distance_km = _SPHERE_KM * np.arccos(np.clip(cosine, -1.0, 1.0))
    windows: list[tuple[float, float]] = []
    since_s: float | None = None
    for at_s, away_km in zip(time_s.tolist(), distance_km.tolist(), strict=True):
        if since_s is None and away_km < enter_km:
            since_s = at_s
        elif since_s is not None and away_km > leave_km:
            windows.append((since_s, at_s))
            since_s = None
    return windows


#: ORION's five logged windows. [s]
ORION_WINDOWS_S = (615.0, 470.0, 410.0, 625.0, 560.0)
_EPFL = (46.5191, 6.5668)


def orion(days: float = 10.0) -> list[Row]:
    """Windows and service times of ORION, which flew against SimSat's clock on a desk."""
    craft = _sentinel("SENTINEL-2C", days)
    spans = [b - a for a, b in distance_windows_s(craft, *_EPFL, 2000.0, 2200.0, days, 10.0)]
    # The elevation at which the distance on the ground is 2000 km, seen at the height that the elements give.
    height_km = float(craft.subpoints(np.linspace(0.0, DAY_S, 1000))[2].mean())
    away = 2000.0 / _SPHERE_KM
    mask_deg = float(np.degrees(np.arctan((np.cos(away) - _SPHERE_KM / (_SPHERE_KM + height_km)) / np.sin(away))))
    station = Station(name="EPFL", lat_deg=_EPFL[0], lon_deg=_EPFL[1], elevation_mask_deg=mask_deg)
    passes = [w.duration_s for w in find_passes(craft, "s", [station], 0.0, days * DAY_S)]
    # Of its own set-up: a frame each 85 s, 69.0 s each, and, while it measures, 27 % of an orbit.
    hours, cadence_s, service_s = 33.0, 85.0, 69.0
    busy = Processor(craft.period_s, 1.0)
    free_s, done = 0.0, 0
    for frame in range(int(hours * 3600.0 / cadence_s)):
        free_s = busy.finish_s(max(free_s, frame * cadence_s), service_s)
        done += free_s <= hours * 3600.0
    limited, end_s, frames = Processor(craft.period_s, 0.27), 0.0, 0
    orbits = 20
    while (end_s := limited.finish_s(end_s, service_s)) <= orbits * craft.period_s:
        frames += 1
    return [
        Row("longest window", "logged", _ORION, "s", _one(max(ORION_WINDOWS_S)), _one(max(spans)),
            "its rule, a ground distance of 2000 km in and 2200 km out; Sentinel-2C by its elements of 2026"),
        Row("mean window", "logged", _ORION, "s", _one(float(np.mean(ORION_WINDOWS_S))), _one(float(np.mean(spans))),
            f"theirs: 5 windows; ours: all {len(spans)} of {days:g} days; which 5 of them it met is not known"),
        Row("mean pass over the same ground", "logged", _ORION, "s", _one(float(np.mean(ORION_WINDOWS_S))),
            _one(float(np.mean(passes))),
            f"a mask of {mask_deg:.1f} deg, 2000 km away at LOS as at AOS: no 200 km of hysteresis"),
        Row("windows a day", "logged", _ORION, "1/d", (2.0, 4.0), _one(len(spans) / days),
            "said to be about 2 to 4; 5 were logged in 33 h (3.6 a day), in three runs that may begin or end in one"),
        Row("frames in 33 h of three runs", "logged", _ORION, "", _one(1443.0), _one(float(done)),
            "one frame each 85 s, 69 s of service: nothing waits. At that interval 1443 frames take 34.1 h, not 33; "
            "which figure is rounded is not said"),
        Row("frames an orbit at 27 % duty", "stated", _ORION, "", _one(24.0), _one(frames / orbits),
            "its 1443 frames are 73 an orbit: the logged runs were not held to this duty"),
    ]  # fmt: skip


def oracle(days: float = 10.0) -> list[Row]:
    """Passes of a sun-synchronous and an equatorial orbit, against an independent computation."""
    stations = fs.load_scenario("default", ["stations={use: shipped, names: [Svalbard, Matera, Singapore]}"]).stations
    from flightsim.stations import resolve

    places = resolve(stations)
    passes = find_passes(_sun_synchronous(500.0, days), "s", places, 0.0, days * DAY_S)
    rows = []
    for name, a_day, mean_s in (("Svalbard", 12.9, 469.0), ("Matera", 4.1, 428.0), ("Singapore", 3.1, 431.0)):
        mine = [w.duration_s for w in passes if w.station == name]
        why = f"500 km, mask 5 deg; node at 22:30 and {days:g} days assumed"
        source = "independent oracle"
        rows.append(Row(f"passes a day, {name}", "computed", source, "1/d", _one(a_day), _one(len(mine) / days), why))
        rows.append(Row(f"mean pass, {name}", "computed", source, "s", _one(mean_s), _one(float(np.mean(mine))), why))
    equator = [Station(name="equator", lat_deg=0.0, lon_deg=0.0), *(p for p in places if p.name == "Svalbard")]
    passes = find_passes(_circular(500.0, 0.0, days), "s", equator, 0.0, days * DAY_S)
    count = {name: sum(w.station == name for w in passes) for name in ("equator", "Svalbard")}
    rows.append(
        Row("passes a day, equatorial orbit and station", "computed", "independent oracle", "1/d", _one(14.3),
            _one(count["equator"] / days), f"and {count['Svalbard']} at Svalbard, as published")
    )  # fmt: skip
    return rows


# Volumes --------------------------------------------------------------------------------------------------------------


def dove(days: float = 5.0) -> list[Row]:
    """Planet's Dove: a DVB-S2 link that adapts, whose radiated power and antenna are not published here."""
    peak_bps, best = 220e6, all_modcods()["32APSK 9/10"]
    dishes_m, frequency_hz, temperature_k = (4.5, 7.6), 8.15e9, 150.0
    peaks, means, volumes = [], [], []
    for dish_m in dishes_m:
        quality = budget.g_over_t_dbk(budget.antenna_gain_dbi(dish_m, frequency_hz, 0.55), 0.0, temperature_k)
        scenario = fs.load_scenario(
            "default",
            [
                f"duration={days}d", "link.use=acm", "link.payload_share=1", "link.booking={handover_s: 0}",
                f"link.with={{g_over_t_dbk: {float(quality):.3f}, symbol_rate: {peak_bps / best.efficiency:.6g}}}",
                "stations={use: shipped, names: [Svalbard]}", "spacecraft.orbit.altitude_km=475",
            ],
        )  # fmt: skip
        chosen = [w for w in contacts_for(scenario) if w.booked and 420.0 <= w.duration_s <= 600.0]
        peaks.append(max(float(np.max(np.diff(w.capacity_bits) / np.diff(w.grid_s))) for w in chosen))
        means += [w.total_bits / w.duration_s for w in chosen]
        volumes += [w.total_bits / 8e9 for w in chosen]
    assumed = (
        "orbit 475 km, Svalbard, our default transmitter (2 W into 9.5 dBi), 150 K, efficiency 0.55; symbol rate such "
        "that 32APSK 9/10 is their peak"
    )
    return [
        Row("Dove, peak rate", "flown", _PLANET, "Mbit/s", _one(peak_bps / 1e6), _ends([p / 1e6 for p in peaks]),
            f"4.5 and 7.6 m dish; {assumed}"),
        Row("Dove, average rate", "flown", _PLANET, "Mbit/s", _one(160.0), _ends([m / 1e6 for m in means]),
            "over whole passes of 7 to 10 min; where theirs is averaged is not said"),
        Row("Dove, volume of a pass of 7 to 10 min", "flown", _PLANET, "GB", (12.0, 15.0), _ends(volumes),
            "12 to 15 GB at 160 Mbit/s would take 10 to 12.5 min: theirs are the good passes, ours all of that length"),
    ]  # fmt: skip


def contacts_of(name: str, days: float, *settings: str) -> list[ContactWindow]:
    """Booked contacts of a Sentinel-2 with the scenario's stations."""
    scenario = fs.load_scenario(
        "sentinel-2", [f"spacecraft.orbit.name={name}", f"duration={days}d", "evaluation.grace=0s", *settings]
    )
    return [w for w in contacts_for(scenario) if w.booked]


def sentinel(days: float = 5.0) -> list[Row]:
    """Sentinel-2: a node that its elements keep, and what 520 Mbit/s could bring down."""
    craft = {name: _sentinel(name, days) for name in ("SENTINEL-2A", "SENTINEL-2B", "SENTINEL-2C")}
    nodes_h = [float(light.node_mean_time_h(c, 0.0)) for c in craft.values()]
    turns = [DAY_S / c.period_s for c in craft.values()]
    flown = [w for name in ("SENTINEL-2A", "SENTINEL-2B") for w in contacts_of(name, days, "link.with.rate=520 Mbit/s")]
    a_day = sum(w.total_bits for w in flown) / days
    orbits_a_day = 2.0 * turns[0]
    return [
        Row("Sentinel-2, mean local time of the node", "flown", _ESA, "h", _one(22.5), _ends(nodes_h),
            "10:30 descending; from the public elements of three spacecraft"),
        Row("Sentinel-2, revolutions in 10 days", "flown", _ESA, "", _one(143.0), _ends([10.0 * t for t in turns]),
            "the repeat cycle; ours by the mean motion, which leaves out the drift of perigee and node"),
        Row("Sentinel-2, mission volume a month", "stated", "mission, 2019", "TB", _one(390.0),
            _one(30.4 * a_day / 8e12),
            "two spacecraft, each booked alone, X band at four stations in all passes; theirs probably counts products "
            "(levels 1C and 2A) made on the ground, not what came down"),
        Row("Sentinel-2, volume an orbit", "stated", "CNES page", "TB", _one(1.6), _one(a_day / orbits_a_day / 8e12),
            "1.6 TB is no volume of an orbit at 520 Mbit/s, which would take 6.8 h; nor is 1.6 Tbit (51 min of "
            "contact). Its unit is doubted in our own notes"),
    ]  # fmt: skip


def s_band() -> list[Row]:
    """A cubesat's S-band transceiver: its highest rate, a good pass, and what that costs."""
    elevation_deg, frequency_hz = 5.0, 2.245e9
    quality = budget.g_over_t_dbk(budget.antenna_gain_dbi(5.0, frequency_hz, 0.55), 0.0, 130.0)
    settings = RadioConfig(
        frequency=frequency_hz, transmit_power=2.0, antenna_gain_dbi=6.0, g_over_t_dbk=float(quality)
    )
    code = all_modcods()["QPSK LDPC 1/2 k=1024"]
    c_n0 = radio.c_over_n0_dbhz(settings, elevation_deg, budget.slant_range_km(elevation_deg, 500.0))
    losses_db = settings.implementation_loss_db + settings.required_margin_db
    fastest_bps = float(budget.highest_rate_bps(c_n0, losses_db, code.eb_n0_db))
    scenario = fs.load_scenario(
        "default",
        ["duration=2d", "link={use: constant, with: {rate: 2 Mbit/s}}", "stations={use: shipped, names: [Svalbard]}",
         "spacecraft.orbit.altitude_km=500"],
    )  # fmt: skip
    good_mb = max(w.total_bits for w in contacts_for(scenario)) / 8e6
    return [
        Row("S-band transceiver, highest rate", "stated", _ISISPACE, "Mbit/s", _one(4.3), _one(fastest_bps / 1e6),
            "ours is what closes with 3 dB at 5 deg from 500 km; 2 W, 6 dBi, dish of 5 m at 130 K, LDPC 1/2 assumed. "
            "Theirs is the limit of the modem and of its band"),
        Row("a good pass at 2 Mbit/s", "computed", "project notes", "MB", _one(130.0), _one(good_mb),
            "the longest of two days; 10 s acquisition and 5 s release taken off"),
        Row("energy of an S-band pass of 9 min", "stated", f"{_ISISPACE}, 13 W", "Wh", _one(2.0),
            _one(pass_energy_wh(13.0, 540.0)), "theirs is rounded"),
    ]  # fmt: skip


# Power and light ------------------------------------------------------------------------------------------------------


def pass_energy_wh(transmitter_w: float, length_s: float) -> float:
    """What the power model charges the transmitter for a contact. [Wh]"""
    scenario = fs.load_scenario("power", [f"spacecraft.power.loads.transmitter_w={transmitter_w}"])
    craft = scenario.craft[0]
    propagator = Propagator.from_config(craft.orbit, scenario.start, scenario.folder, DAY_S)
    power = Power.model_validate(craft.power)
    solar = solar_input(propagator, DAY_S, power.array_w, Pointing(power.pointing))
    supply = Supply(power, None, solar, Processor(propagator.period_s, 1.0))
    supply.transmit(length_s)
    while supply.now_s < DAY_S:
        supply.advance(min(DAY_S, supply.next_change()[0]))
    return supply.consumed_wh[Consumer.TRANSMITTER]


def dawn_eclipse_percent(beta_deg: float, altitude_km: float) -> float:
    """Share of eclipse of an orbit of dawn and dusk on the day of the year nearest to a beta. [%]"""
    craft = _sun_synchronous(altitude_km, 366.0, "18:00")
    day_s = np.arange(0.0, 365.0) * DAY_S
    day = int(np.argmin(np.abs(np.abs(light.beta_deg(craft, day_s)) - beta_deg)))
    return 100.0 * light.eclipse_fraction(craft, day_s[day], day_s[day] + 14.0 * craft.period_s)


def power() -> list[Row]:
    """Eclipse and the orbit average of an open 3U power budget."""
    days, best_w = 1.0, 8.2
    low, high = _sun_synchronous(500.0, days), _sun_synchronous(786.0, days)
    averages = {pointing: solar_input(low, DAY_S, best_w, pointing).energy_wh(DAY_S) / 24.0 for pointing in Pointing}
    noon = _sun_synchronous(500.0, days, "12:00")
    longest_s = max(end - begin for begin, end in light.eclipses(noon, 0.0, DAY_S))
    turns = int(DAY_S / high.period_s) * high.period_s
    return [
        Row("longest eclipse at 500 km, share of the orbit", "computed", "project notes", "%", _one(37.8),
            _one(100.0 * longest_s / noon.period_s), "node at noon"),
        Row("eclipse of a 10:30 orbit", "computed", "project notes", "%", _one(34.0),
            _one(100.0 * light.eclipse_fraction(high, 0.0, turns)),
            f"at 786 km; the notes name no height. At 500 km it is "
            f"{100.0 * light.eclipse_fraction(low, 0.0, int(DAY_S / low.period_s) * low.period_s):.1f} %"),
        Row("3U, orbit average of 8.2 W at best", "designed", "open 3U power budget", "W", (3.3, 3.6),
            (min(averages.values()), max(averages.values())),
            f"sun {averages[Pointing.SUN]:.2f}, axis {averages[Pointing.AXIS]:.2f}, side {averages[Pointing.SIDE]:.2f} "
            "W at 500 km, 10:30: their body-fixed cells, orbit and attitude are none of these"),
        Row("eclipse at beta 63 deg", "computed", "project notes", "%", (13.0, 15.0),
            _ends([dawn_eclipse_percent(63.0, altitude_km) for altitude_km in (500.0, 600.0)]),
            "at 600 and 500 km, node at 18:00, on the day of the year with that beta; the notes name no height"),
        Row("sunlight at beta 74 deg", "computed", "project notes", "%", _one(100.0),
            _one(100.0 - dawn_eclipse_percent(74.0, 500.0)), "500 km, node at 18:00, on another day"),
    ]  # fmt: skip


def links() -> list[Row]:
    """Two published budgets, by the functions of ``flightsim.link.budget``."""
    quality = budget.g_over_t_dbk(38.2, 0.0, 130.0)
    c_n0 = budget.c_over_n0_dbhz(8.3, 162.2, 10.0, quality)
    margin = budget.margin_db(budget.eb_over_n0_db(c_n0, 3.4e6), 6.0, 7.0)
    path = budget.free_space_loss_db(41127.0, 1692.7e6)
    weather = budget.c_over_n0_dbhz(14.8, path, 0.6, -0.3)
    eurasip = "EURASIP JWCN 2020, 10.1186/s13638-020-01674-9"
    return [
        Row("S-band payload link, C/N0", "designed", eurasip, "dBHz", _one(81.8), _one(float(c_n0)), "printed to 0.1"),
        Row("S-band payload link, margin", "designed", eurasip, "dB", _one(3.5), _one(float(margin)), "printed to 0.1"),
        Row("EMWIN-N downlink, C/N0", "flown", "NOAA link budget", "dBHz", _one(53.2), _one(float(weather)),
            "printed to 0.1"),
    ]  # fmt: skip


# Bytes saved ----------------------------------------------------------------------------------------------------------


def cloud_filter(duration: str = "4d") -> list[Row]:
    """CloudScout dropped frames above 70 % cloud."""
    scenario = fs.load_scenario(
        "statistical",
        [f"duration={duration}", "policy.use=cloud_filter", "policy.with={max_cloud_fraction: 0.7}",
         "link={use: constant, with: {rate: 1 Gbit/s}}"],
    )  # fmt: skip
    metrics = fs.run(scenario, write=False).metrics
    return [
        Row("saved by dropping frames above 70 % cloud", "flown", "CloudScout on PhiSat-1", "%", _one(30.0),
            _one(100.0 * metrics["bytes"]["saved_fraction"]),
            "a link that carries all; in our world half of the land is under cloud, their places and season are not "
            "known: that the two agree is chance"),
    ]  # fmt: skip


PARTS = (orion, oracle, dove, sentinel, s_band, power, links, cloud_filter)


def main() -> None:
    print("| what | kind and source | published | flightsim | unit | ratio | why they differ, what was assumed |")
    print("|---|---|---|---|---|---|---|")
    for part in PARTS:
        for row in part():
            print("| " + " | ".join(row.cells()) + " |", flush=True)


if __name__ == "__main__":
    main()
