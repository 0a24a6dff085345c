"""Passes over ground stations, and what the link carries in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import geodesy, units
from .booking import book, time_order
from .domain import ContactWindow
from .errors import RunError
from .geodesy import Floats
from .orbit import EDGE_TOLERANCE_S, Propagator, solve_edges_s
from .protocols import LinkModel
from .scenario.models import Scenario, Station
from .stations import resolve

#: Step of the grid on which positions are computed once for all stations. [s]
#: Passes are found by the sign of the elevation's rate, not by samples above the mask: in low Earth orbit the
#: elevation has one maximum and one minimum a revolution (some 45 minutes apart), so any step of a minute or less
#: brackets every maximum alone, and a pass that peaks a hundredth of a degree over the mask for two seconds
#: between two samples is found like any other.
GRID_STEP_S = 30.0
#: Maxima whose bracket lies lower below the mask are not solved. From the nearer end of a bracket (15 s, at most
#: 120 km of flight) the elevation of a spacecraft at least 160 km away cannot rise further than atan(120 / 160).
_HOPELESS_DEG = -37.0
#: Step of the cumulative capacity: the rate is taken as linear in between. [s]
CAPACITY_STEP_S = 5.0


class _Sites:
    """Stations as arrays, and elevation over their masks."""

    def __init__(self, propagator: Propagator, stations: Sequence[Station]) -> None:
        lat_deg = np.array([station.lat_deg for station in stations])
        lon_deg = np.array([station.lon_deg for station in stations])
        height_km = np.array([station.altitude_m for station in stations]) / 1000.0
        self.propagator = propagator
        self.mask_deg = np.array([station.elevation_mask_deg for station in stations])
        self.up = geodesy.geodetic_up(lat_deg, lon_deg)
        self.place_km = geodesy.geodetic_to_itrf(lat_deg, lon_deg, height_km)

    def margin_deg(self, position_km: Floats, site: Any) -> Floats:
        """Elevation less the mask, for positions and rows of sites. [deg]"""
        away_km = position_km - self.place_km[site]
        sine = geodesy.dot(away_km, np.broadcast_to(self.up[site], away_km.shape)) / np.linalg.norm(away_km, axis=-1)
        return np.asarray(np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0))) - self.mask_deg[site])

    def climb(self, position_km: Floats, velocity_kmps: Floats, site: Any) -> Floats:
        """A number with the sign of the elevation's rate."""
        away_km = position_km - self.place_km[site]
        up = np.broadcast_to(self.up[site], away_km.shape)
        return np.asarray(
            geodesy.dot(velocity_kmps, up) * geodesy.dot(away_km, away_km)
            - geodesy.dot(away_km, up) * geodesy.dot(away_km, velocity_kmps)
        )

    def margin_at(self, time_s: Floats, site: NDArray[Any]) -> Floats:
        """Elevation less the mask at times, each for its own site, shape (n,). [deg]"""
        return self.margin_deg(self.propagator.itrf(time_s)[0], site.astype(np.intp))

    def climb_at(self, time_s: Floats, site: NDArray[Any]) -> Floats:
        """Sign of the elevation's rate at times, each for its own site, shape (n,)."""
        return self.climb(*self.propagator.itrf(time_s), site.astype(np.intp))


def find_passes(
    propagator: Propagator, spacecraft_name: str, stations: Sequence[Station], start_s: float, end_s: float
) -> list[ContactWindow]:
    """Every time that a spacecraft is above the mask of a station, ordered by AOS, then station.

    Parameters
    ----------
    propagator
        The orbit.
    spacecraft_name
        Goes into the windows.
    stations
        On WGS-84, each with its altitude and mask.
    start_s, end_s
        Span; a pass under way at an end is cut there and flagged. [s]

    Notes
    -----
    Elevation is geometric, above the plane normal to the ellipsoid: no refraction, no light time, no terrain.
    SGP4 runs once on a grid for all stations; then all extremes of all stations are solved together, then all
    AOS and LOS together, on exact SGP4 positions, to 0.1 ms.
    """
    if end_s <= start_s or not stations:
        return []
    sites = _Sites(propagator, stations)
    grid_s = np.linspace(start_s, end_s, max(2, math.ceil((end_s - start_s) / GRID_STEP_S) + 1))
    position_km, velocity_kmps = propagator.itrf(grid_s)

    margins, low, high, owner, top = [], [], [], [], []
    for site in range(len(stations)):
        margin_deg = sites.margin_deg(position_km, site)
        climbs = sites.climb(position_km, velocity_kmps, site) > 0.0
        k = np.flatnonzero(climbs[:-1] != climbs[1:])
        # A maximum may stick out of the mask between two samples, a minimum may dip below it.
        highest = np.maximum(margin_deg[k], margin_deg[k + 1])
        lowest = np.minimum(margin_deg[k], margin_deg[k + 1])
        k = k[np.where(climbs[k], highest > _HOPELESS_DEG, lowest >= 0.0)]
        margins.append(margin_deg)
        low.append(grid_s[k])
        high.append(grid_s[k + 1])
        owner.append(np.full(len(k), site))
        top.append(climbs[k])
    extreme_site, is_top = np.concatenate(owner), np.concatenate(top)
    extreme_s = solve_edges_s(sites.climb_at, np.concatenate(low), np.concatenate(high), extreme_site)
    extreme_deg = sites.margin_at(extreme_s, extreme_site)

    low, high, owner, state = [], [], [], []
    for site in range(len(stations)):
        mine = extreme_site == site
        knots_s = np.concatenate([grid_s, extreme_s[mine]])
        order = np.argsort(knots_s, kind="stable")
        knots_s = knots_s[order]
        above = np.concatenate([margins[site], extreme_deg[mine]])[order] >= 0.0
        k = np.flatnonzero(above[:-1] != above[1:])
        low.append(knots_s[k])
        high.append(knots_s[k + 1])
        owner.append(np.full(len(k), site))
        state.append((bool(above[0]), bool(above[-1])))
    edge_site = np.concatenate(owner)
    edge_s = solve_edges_s(sites.margin_at, np.concatenate(low), np.concatenate(high), edge_site)

    windows = []
    for site, station in enumerate(stations):
        mine = (extreme_site == site) & is_top
        tops_s, tops_deg = extreme_s[mine], extreme_deg[mine]
        begins_up, ends_up = state[site]
        edges = edge_s[edge_site == site].tolist()
        bounds = ([float(start_s)] if begins_up else []) + edges + ([float(end_s)] if ends_up else [])
        for number, (aos_s, los_s) in enumerate(zip(bounds[0::2], bounds[1::2], strict=True)):
            if los_s - aos_s <= EDGE_TOLERANCE_S:
                continue  # touches the mask, or the border of the span: nothing that a contact could be
            cut_start = begins_up and number == 0
            cut_end = ends_up and 2 * number + 2 == len(bounds)
            inside = (tops_s >= aos_s) & (tops_s <= los_s)
            # A cut pass may be highest at the border.
            ends_deg = [margins[site][0] if cut_start else 0.0, margins[site][-1] if cut_end else 0.0]
            times = np.concatenate([tops_s[inside], [aos_s, los_s]])
            heights = np.concatenate([tops_deg[inside], ends_deg])
            best = int(np.argmax(heights))
            windows.append(
                ContactWindow(
                    spacecraft=spacecraft_name,
                    station=station.name,
                    aos_s=aos_s,
                    tca_s=float(times[best]),
                    los_s=los_s,
                    max_elevation_deg=float(heights[best] + station.elevation_mask_deg),
                    truncated_start=cut_start,
                    truncated_end=cut_end,
                )
            )
    return sorted(windows, key=time_order)


def with_capacity(
    passes: Sequence[ContactWindow],
    propagators: Mapping[str, Propagator],
    stations: Sequence[Station],
    link_model: LinkModel,
    payload_share: float,
) -> list[ContactWindow]:
    """The same passes, the booked ones with what the payload may send in them over time.

    Parameters
    ----------
    passes
        In any order, kept.
    propagators
        The orbit of each spacecraft by name.
    stations
        All that the passes name.
    link_model
        Gives the rate; its ``acquisition_s`` after AOS and ``release_s`` before LOS carry nothing.
    payload_share
        Share of the channel that is the payload's. [-]

    Notes
    -----
    A pass cut by the span is treated as if it began, or ended, at the cut: the radio acquires at the start of
    the run. A contact not longer than acquisition and release together carries nothing.
    """
    acquisition_s = float(getattr(link_model, "acquisition_s", 0.0))
    release_s = float(getattr(link_model, "release_s", 0.0))
    places = {station.name: station for station in stations}
    filled = list(passes)
    for name, propagator in propagators.items():
        mine = [k for k, window in enumerate(filled) if window.booked and window.spacecraft == name]
        grids = []
        for k in mine:
            begin_s, end_s = filled[k].aos_s + acquisition_s, filled[k].los_s - release_s
            steps = max(1, math.ceil((end_s - begin_s) / CAPACITY_STEP_S))
            # A contact without usable time keeps one knot: zero bits from its AOS on.
            grids.append(np.linspace(begin_s, end_s, steps + 1) if end_s > begin_s else np.array([filled[k].aos_s]))
        if not grids:
            continue
        position_km, _ = propagator.itrf(np.concatenate(grids))
        cuts = np.cumsum([len(grid_s) for grid_s in grids])[:-1]
        for k, grid_s, position in zip(mine, grids, np.split(position_km, cuts), strict=True):
            place = places[filled[k].station]
            elevation_deg, _, range_km = geodesy.look_angles(
                position, place.lat_deg, place.lon_deg, place.altitude_m / 1000.0
            )
            rate_bps = payload_share * link_model.rate_bps(elevation_deg, range_km)
            if not np.all(np.isfinite(rate_bps) & (rate_bps >= 0.0)):
                raise RunError(f"the link model gives a rate that is negative or not finite over {place.name}.")
            filled[k] = replace(
                filled[k],
                grid_s=grid_s,
                capacity_bits=_cumulative(grid_s, rate_bps),
                lost_bits=_lost_bits(link_model, grid_s, rate_bps, elevation_deg, range_km, place.name),
            )
    return filled


def _cumulative(grid_s: NDArray[np.float64], rate_bps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bits carried up to each time, the rate linear between them, shape (n,). [bit]"""
    return np.concatenate([[0.0], np.cumsum(np.diff(grid_s) * (rate_bps[1:] + rate_bps[:-1]) / 2.0)])


def _lost_bits(
    link_model: LinkModel,
    grid_s: NDArray[np.float64],
    rate_bps: NDArray[np.float64],
    elevation_deg: NDArray[np.float64],
    range_km: NDArray[np.float64],
    station: str,
) -> NDArray[np.float64]:
    """Expected loss up to each time, shape (n,); empty where nothing is lost. [bit]"""
    model = getattr(link_model, "frame_loss", None)
    if model is None:
        return np.zeros(0)
    loss = np.asarray(model(elevation_deg, range_km))
    if loss.shape != grid_s.shape or not np.all((loss >= 0.0) & (loss <= 1.0)):
        raise RunError(f"the link model gives a frame loss that is no share between 0 and 1 over {station}.")
    return _cumulative(grid_s, rate_bps * loss) if loss.any() else np.zeros(0)


def _propagators(scenario: Scenario, propagators: Sequence[Propagator] | None) -> dict[str, Propagator]:
    if propagators is None:
        propagators = [
            Propagator.from_config(craft.orbit, scenario.start, scenario.folder, scenario.horizon_s)
            for craft in scenario.craft
        ]
    return {craft.name: propagator for craft, propagator in zip(scenario.craft, propagators, strict=True)}


def contacts_for(scenario: Scenario, propagators: Sequence[Propagator] | None = None) -> list[ContactWindow]:
    """All passes of a scenario in time order, booked and with capacity, over [0, ``scenario.horizon_s``].

    Parameters
    ----------
    scenario
        Loaded.
    propagators
        The orbit of each of ``scenario.craft``, where they are built already.

    Raises
    ------
    InputError
        Orbit, stations or link of the scenario cannot be used.
    """
    from . import registry

    orbits = _propagators(scenario, propagators)
    stations = resolve(scenario.stations)
    link_model: LinkModel = registry.build("links", scenario.link.use, scenario.link.with_, scenario.folder)
    passes = [
        window
        for name, propagator in orbits.items()
        for window in find_passes(propagator, name, stations, 0.0, scenario.horizon_s)
    ]
    booked = book(passes, scenario.link.booking, scenario.start)
    return with_capacity(booked, orbits, stations, link_model, scenario.link.payload_share)


def passes_rows(scenario: Scenario, contacts: Sequence[ContactWindow]) -> list[dict[str, Any]]:
    """Contacts in [start, start + duration] in the shape of ``flightsim passes --json``.

    A pass under way at the end of the duration is cut there, capacity included, and flagged. The capacity of a
    pass that is not booked is 0.
    """
    end_s = scenario.duration_s
    inside = [window for window in contacts if window.aos_s < end_s]
    if any(window.los_s > end_s for window in inside):
        inside = _cut(scenario, inside, end_s)
    return [
        {
            "spacecraft": window.spacecraft,
            "station": window.station,
            "aos": units.utc_text(scenario.start, window.aos_s),
            "tca": units.utc_text(scenario.start, window.tca_s),
            "los": units.utc_text(scenario.start, window.los_s),
            "duration_s": round(window.duration_s, 3),
            "max_elevation_deg": round(window.max_elevation_deg, 3),
            "capacity_bytes": int(window.bits_by(end_s) // 8),
            "booked": window.booked,
            "truncated_start": window.truncated_start,
            "truncated_end": window.truncated_end,
        }
        for window in inside
    ]


def _cut(scenario: Scenario, contacts: Sequence[ContactWindow], end_s: float) -> list[ContactWindow]:
    """The same contacts, those under way at a time cut there: highest point and flag as of a shorter search."""
    orbits = _propagators(scenario, None)
    places = {station.name: station for station in resolve(scenario.stations)}
    whole = []
    for window in contacts:
        if window.los_s <= end_s:
            whole.append(window)
            continue
        highest_s, highest_deg = window.tca_s, window.max_elevation_deg
        if highest_s > end_s:
            place = places[window.station]
            position_km, _ = orbits[window.spacecraft].itrf(end_s)
            elevation_deg, _, _ = geodesy.look_angles(
                position_km, place.lat_deg, place.lon_deg, place.altitude_m / 1000.0
            )
            highest_s, highest_deg = end_s, float(elevation_deg)
        whole.append(replace(window, tca_s=highest_s, los_s=end_s, max_elevation_deg=highest_deg, truncated_end=True))
    return whole
