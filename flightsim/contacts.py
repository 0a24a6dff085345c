"""Contacts: the passes that are booked, and what the link carries in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from . import geodesy, rng, units
from .booking import book
from .domain import ContactWindow
from .errors import RunError
from .geodesy import Floats
from .link.weather import Skies, skies_of
from .orbit import Propagator
from .passes import find_passes
from .protocols import LinkModel
from .scenario.models import Scenario, Station
from .sharing import Why, refusals
from .stations import resolve

#: Step of the cumulative capacity: the rate is taken as linear in between. [s]
CAPACITY_STEP_S = 5.0


def with_capacity(
    passes: Sequence[ContactWindow],
    propagators: Mapping[str, Propagator],
    stations: Sequence[Station],
    link_model: LinkModel,
    payload_share: float,
    skies: Skies | None = None,
    keyhole_deg: float | None = None,
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
    skies
        Weather over the stations, for link models that take a loss; its percentile at TCA holds for the whole pass.
        The clear sky is then what is promised.
    keyhole_deg
        Elevation above which the antenna cannot follow and nothing is carried. [deg]

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
        knots = [len(grid_s) for grid_s in grids]
        place = np.repeat([_where(places[filled[k].station]) for k in mine], knots, axis=0)
        position_km, _ = propagator.itrf(np.concatenate(grids))
        elevation_deg, _, range_km = geodesy.look_angles(position_km, *place.T)
        cuts = np.cumsum(knots)[:-1]
        looks = (np.split(column, cuts) for column in (elevation_deg, range_km))
        for k, grid_s, elevation, distance in zip(mine, grids, *looks, strict=True):
            station = filled[k].station
            seen = payload_share * (1.0 if keyhole_deg is None else (elevation <= keyhole_deg))
            rate_bps = seen * link_model.rate_bps(elevation, distance)
            clear_bits = _carried_bits(grid_s, rate_bps, station)
            lost_bits = _lost_bits(link_model, grid_s, rate_bps, station, elevation, distance)
            filled[k] = replace(filled[k], grid_s=grid_s, capacity_bits=clear_bits, lost_bits=lost_bits)
            if skies is not None:
                percent = skies.exceeded_percent(station, filled[k].tca_s)
                sky = elevation, distance, skies.excess_db(station, elevation, percent)
                rate_bps = seen * link_model.rate_bps(*sky)  # type: ignore[call-arg]  # only links with a budget have skies
                filled[k] = replace(
                    filled[k],
                    capacity_bits=_carried_bits(grid_s, rate_bps, station),
                    lost_bits=_lost_bits(link_model, grid_s, rate_bps, station, *sky),
                    promised_bits=clear_bits,
                    weather_percent=percent,
                )
    return filled


def _where(station: Station) -> tuple[float, float, float]:
    """Latitude, longitude and height. [deg, deg, km]"""
    return station.lat_deg, station.lon_deg, station.altitude_m / 1000.0


def _carried_bits(grid_s: Floats, rate_bps: Floats, station_name: str) -> Floats:
    """Integral of the rate over the grid from its first knot on, shape (n,). [bit]"""
    if not np.all(np.isfinite(rate_bps) & (rate_bps >= 0.0)):
        raise RunError(f"the link model gives a rate that is negative or not finite over {station_name}.")
    steps_bits = np.diff(grid_s) * (rate_bps[1:] + rate_bps[:-1]) / 2.0
    return np.concatenate([[0.0], np.cumsum(steps_bits)])


def _lost_bits(link_model: LinkModel, grid_s: Floats, rate_bps: Floats, station_name: str, *sky: Floats) -> Floats:
    """Expected loss up to each time, shape (n,); empty where nothing is lost. [bit]"""
    model = getattr(link_model, "frame_loss", None)
    if model is None:
        return np.zeros(0)
    loss = np.asarray(model(*sky))
    if loss.shape != grid_s.shape or not np.all((loss >= 0.0) & (loss <= 1.0)):
        raise RunError(f"the link model gives a frame loss that is no share between 0 and 1 over {station_name}.")
    return _carried_bits(grid_s, rate_bps * loss, station_name) if loss.any() else np.zeros(0)


def with_failures(contacts: Sequence[ContactWindow], pass_failure: float, seed: int) -> list[ContactWindow]:
    """The same contacts, each booked one failed with a probability: it promises what it did and carries nothing.

    Notes
    -----
    Drawn by seed, station, spacecraft and the minute of TCA, which neither the mask nor other bookings change.
    """
    if pass_failure == 0.0:
        return list(contacts)
    drawn = rng.uniform_at(
        seed, "pass failure", rng.keys_of([w.station for w in contacts]), rng.keys_of([w.spacecraft for w in contacts]),
        [round(w.tca_s / 60.0) for w in contacts],
    )  # fmt: skip
    return [
        replace(
            w,
            failed=True,
            promised_bits=w.promised.capacity_bits,
            capacity_bits=np.zeros(len(w.grid_s)),
            lost_bits=np.zeros(0),
        )
        if w.booked and draw < pass_failure
        else w
        for w, draw in zip(contacts, drawn.tolist(), strict=True)
    ]


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
    skies = None if scenario.link.weather is None else skies_of(scenario, stations, link_model)
    link = scenario.link
    filled = with_capacity(booked, orbits, stations, link_model, link.payload_share, skies, link.keyhole_deg)
    return with_failures(filled, link.pass_failure, scenario.seed)


def passes_rows(scenario: Scenario, contacts: Sequence[ContactWindow]) -> list[dict[str, Any]]:
    """Contacts in [start, start + duration] in the shape of ``flightsim passes --json``.

    A pass under way at the end of the duration is cut there, capacity included, and flagged. The capacity of a
    pass that is not booked is 0; ``not_booked`` says why, and which booked passes are in its way.
    """
    end_s = scenario.duration_s
    inside = [window for window in contacts if window.aos_s < end_s]
    # Of all contacts, whole: what is in the way of a pass may begin after the end.
    told = refusals(contacts, scenario.link.booking, scenario.start)
    why = [refusal for window, refusal in zip(contacts, told, strict=True) if window.aos_s < end_s]
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
            "not_booked": None if refusal is None else refusal.as_dict(),
            **_further(scenario, window),
        }
        for window, refusal in zip(inside, why, strict=True)
    ]


def _further(scenario: Scenario, window: ContactWindow) -> dict[str, Any]:
    """Columns that are there only where the scenario switches on what they tell."""
    link, percent = scenario.link, window.weather_percent
    row: dict[str, Any] = {}
    if link.weather is not None:
        row["weather_percent"] = None if percent is None else round(percent, 4)
    if link.pass_failure > 0.0:
        row["failed"] = window.failed
    if link.booking.price:
        row["price"] = link.booking.price_of(window.station) if window.booked else 0.0
    return row


def operations_values(scenario: Scenario, contacts: Sequence[ContactWindow]) -> dict[str, Any]:
    """What failures, closures and prices did to the passes of a run; each only where the scenario states it.

    ``failed`` counts the booked contacts that carried nothing, ``closed`` the passes not booked because they touch a
    closure, ``price`` adds up all booked contacts, failed ones included, in the currency of the scenario.
    """
    booking, values = scenario.link.booking, dict[str, Any]()
    if scenario.link.pass_failure > 0.0:
        values["failed"] = sum(window.failed for window in contacts)
    if booking.closed:
        told = refusals(contacts, booking, scenario.start)
        values["closed"] = sum(refusal is not None and refusal.why is Why.CLOSED for refusal in told)
    if booking.price:
        values["price"] = float(sum(booking.price_of(window.station) for window in contacts if window.booked))
    return values


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
