"""Weather over the stations: how rare it is at a time, and what that costs beyond the clear sky of the link budget."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from .. import resources
from ..errors import InputError
from ..protocols import PluginConfig
from ..rng import stream
from ..scenario.models import Scenario, Station, Weather
from .budget import Floats, Numbers, atmosphere_loss_db
from .radio import RadioConfig

SHIPPED = "weather/weather.json"
#: Steps of the process in one correlation time: neighbours correlate by exp(-1/8) = 0.88. [-] (engineering value)
STEPS_PER_CORRELATION = 8
#: A row of a table belongs to a station of its name within this of its place, in latitude and longitude.
#: [deg] (engineering value; the maps behind the table have cells of 0.125 to 1.125 deg)
SAME_PLACE_DEG = 0.5


class _Row(PluginConfig):
    name: str
    lat_deg: float
    lon_deg: float
    altitude_m: float
    loss_db: list[list[list[float]]]


class _File(PluginConfig):
    origin: str
    frequency_ghz: list[float]
    elevation_deg: list[float]
    exceeded_percent: list[float]
    stations: list[_Row]


@dataclass(frozen=True)
class LossTable:
    """Total attenuation by station, frequency, elevation and the share of time in which it is exceeded.

    ``loss_db`` has shape (stations, frequencies, elevations, percentages); the other axes rise.
    """

    what: str
    places: Mapping[str, tuple[int, float, float]]
    frequency_hz: Floats
    elevation_deg: Floats
    exceeded_percent: Floats
    loss_db: Floats

    def at(self, station: Station, frequency_hz: float) -> StationLoss:
        """The loss over one station at one carrier.

        Raises
        ------
        InputError
            The table has no such station, has it elsewhere, or does not reach the frequency.
        """
        if station.name not in self.places:
            raise InputError(
                f"{self.what} has no station '{station.name}', only {', '.join(sorted(self.places))}. "
                "Make a table with the stations of the scenario, `python -m flightsim.link.itur_table SCENARIO "
                "weather.json` (needs `pip install 'flightsim[weather]'`), and set link.weather.table: ./weather.json."
            )
        row, lat_deg, lon_deg = self.places[station.name]
        turn_deg = abs((lon_deg - station.lon_deg + 180.0) % 360.0 - 180.0)
        if abs(lat_deg - station.lat_deg) > SAME_PLACE_DEG or turn_deg > SAME_PLACE_DEG:
            raise InputError(
                f"{self.what} has '{station.name}' at {lat_deg:g}, {lon_deg:g} deg and the scenario at "
                f"{station.lat_deg:g}, {station.lon_deg:g}: another climate. Give the station another name, or make "
                "a table of its own with `python -m flightsim.link.itur_table SCENARIO weather.json`."
            )
        axis_hz = self.frequency_hz
        if not axis_hz[0] <= frequency_hz <= axis_hz[-1]:
            raise InputError(
                f"{self.what} covers {axis_hz[0] / 1e9:g} to {axis_hz[-1] / 1e9:g} GHz; the link is at "
                f"{frequency_hz / 1e9:g} GHz. Leave link.weather out, or make a table that reaches there."
            )
        k = int(np.clip(np.searchsorted(axis_hz, frequency_hz) - 1, 0, len(axis_hz) - 2))
        share = math.log(frequency_hz / axis_hz[k]) / math.log(axis_hz[k + 1] / axis_hz[k])
        low, high = np.log(self.loss_db[row, k]), np.log(self.loss_db[row, k + 1])
        return StationLoss(self.elevation_deg, self.exceeded_percent, low + share * (high - low))


@dataclass(frozen=True)
class StationLoss:
    """Total attenuation over one station at one carrier; ``log_loss`` has shape (elevations, percentages)."""

    elevation_deg: Floats
    exceeded_percent: Floats
    log_loss: Floats

    def loss_db(self, elevation_deg: Numbers, exceeded_percent: float) -> Floats:
        """Attenuation exceeded in a share of the time, shape of the elevations. [dB]

        Notes
        -----
        The logarithm of the loss is linear in the logarithms of the percentage and of the sine of the elevation.
        Beyond an axis its end is taken: the loss of 50 % for all that is fairer, that of 0.01 % for all that is
        rarer, that of 5 deg for all that is lower.
        """
        log_percent = np.log(self.exceeded_percent)
        wanted = math.log(min(max(exceeded_percent, self.exceeded_percent[0]), self.exceeded_percent[-1]))
        k = int(np.clip(np.searchsorted(log_percent, wanted) - 1, 0, len(log_percent) - 2))
        share = (wanted - log_percent[k]) / (log_percent[k + 1] - log_percent[k])
        by_elevation = self.log_loss[:, k] + share * (self.log_loss[:, k + 1] - self.log_loss[:, k])
        held_deg = np.clip(np.asarray(elevation_deg, dtype=np.float64), self.elevation_deg[0], self.elevation_deg[-1])
        rise = np.log(np.sin(np.radians(self.elevation_deg)))
        return np.asarray(np.exp(np.interp(np.log(np.sin(np.radians(held_deg))), rise, by_elevation)))


def read_table(text: str, what: str) -> LossTable:
    """A table from its JSON text, checked.

    Parameters
    ----------
    text
        As ``flightsim.link.itur_table`` writes it.
    what
        Name of the table in messages.

    Raises
    ------
    InputError
        It is no such table; axes do not rise; a loss is missing or not above 0.
    """
    try:
        file = _File.model_validate(json.loads(text))
        loss_db = np.array([row.loss_db for row in file.stations], dtype=np.float64)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{what} is no weather table: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    except ValueError as error:
        raise InputError(f"{what} is no weather table: {error}.") from error
    axes = [np.array(axis) for axis in (file.frequency_ghz, file.elevation_deg, file.exceeded_percent)]
    if any(len(axis) < 2 or axis[0] <= 0 or np.any(np.diff(axis) <= 0) for axis in axes):
        raise InputError(f"{what}: frequencies, elevations and percentages must be above 0 and rise, two at least.")
    wanted = (len(file.stations), *map(len, axes))
    if loss_db.shape != wanted or not np.all(loss_db > 0.0):
        raise InputError(f"{what}: the losses must be above 0 and of shape {wanted}; theirs is {loss_db.shape}.")
    places = {row.name: (k, row.lat_deg, row.lon_deg) for k, row in enumerate(file.stations)}
    return LossTable(what, places, 1e9 * axes[0], axes[1], axes[2], loss_db)


@lru_cache(maxsize=1)
def shipped_table() -> LossTable:
    """The table of all shipped stations."""
    return read_table(resources.file(SHIPPED).read_text(encoding="utf-8"), "the shipped weather table")


def table_of(weather: Weather, folder: Path) -> LossTable:
    """The table that a scenario names, else the shipped one.

    Raises
    ------
    InputError
        The file cannot be read or is no table.
    """
    if weather.table is None:
        return shipped_table()
    try:
        text = (folder / weather.table).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"link.weather.table '{weather.table}' cannot be read: {error}") from error
    return read_table(text, f"link.weather.table '{weather.table}'")


def check(
    scenario: Scenario, stations: Sequence[Station], settings: Any, folder: Path
) -> tuple[RadioConfig, LossTable]:
    """The radio and the table that the weather of a scenario acts on.

    Parameters
    ----------
    scenario
        One with weather.
    stations
        Its stations.
    settings
        The checked settings of its link model.
    folder
        That the path of a table starts from.

    Raises
    ------
    InputError
        The link has no budget; the table cannot be read, or does not cover a station or the frequency.
    """
    weather = scenario.link.weather
    if weather is None:
        raise InputError(f"'{scenario.name}' has no link.weather.")
    if not isinstance(settings, RadioConfig):
        raise InputError(
            f"link.weather goes with a link that has a budget; '{scenario.link.use}' has none, so a loss would change "
            "nothing. Take link.use: vcm (or ccm, acm), or say link.weather: null."
        )
    table = table_of(weather, folder)
    for station in stations:
        table.at(station, settings.frequency)
    return settings, table


def skies_of(scenario: Scenario, stations: Sequence[Station], link_model: Any) -> Skies:
    """The weather of a scenario that has some; raises InputError as ``check`` does."""
    radio, table = check(scenario, stations, getattr(link_model, "radio", None), scenario.folder)
    weather = scenario.link.weather or Weather()
    return Skies(weather, stations, radio, table, scenario.seed, scenario.horizon_s)


class Skies:
    """The weather over each station during a run.

    Parameters
    ----------
    weather
        Settings of the scenario.
    stations
        Those of the scenario.
    radio
        Says the frequency, and what its clear sky already costs.
    table
        Long-term statistics of the attenuation.
    seed
        Of the scenario.
    end_s
        Last time that is asked for. [s]

    Raises
    ------
    InputError
        The table does not cover a station or the frequency.

    Notes
    -----
    Each station has a standard normal process z(t) with correlation exp(-t / correlation), an Ornstein-Uhlenbeck
    process exact at its steps of 1/8 of the correlation time; between two steps the straight line is scaled to unit
    variance, so z is standard normal at every time. Its upper tail 1 - Phi(z) is the share of time in which
    the weather is worse, and the table says what that costs. It is drawn from the seed and the station's name
    alone: policies, spacecraft, other stations and the length of the run change nothing in it.

    One value holds for a whole pass; only the elevation changes within it. Stations are independent of each
    other, and there are no seasons and no hours of the day: the statistics are those of an average year.

    References
    ----------
    ITU-R P.618-13, "Propagation data and prediction methods required for the design of Earth-space telecommunication
    systems", 2017, section 2.5 (total attenuation). Process: Doob, "The Brownian movement and stochastic equations",
    Annals of Mathematics 43, 1942.
    """

    def __init__(
        self,
        weather: Weather,
        stations: Sequence[Station],
        radio: RadioConfig,
        table: LossTable,
        seed: int,
        end_s: float,
    ) -> None:
        self._zenith_loss_db = radio.zenith_loss_db
        self._loss = {station.name: table.at(station, radio.frequency) for station in stations}
        self._step_s = weather.correlation / STEPS_PER_CORRELATION
        self._memory = math.exp(-1.0 / STEPS_PER_CORRELATION)
        count = math.ceil(end_s / self._step_s) + 2
        self._z = {station.name: self._drawn(seed, station.name, count) for station in stations}

    @property
    def stations(self) -> tuple[str, ...]:
        """Names, in the order of the scenario."""
        return tuple(self._loss)

    def _drawn(self, seed: int, name: str, count: int) -> list[float]:
        fresh = math.sqrt(1.0 - self._memory**2)
        first, *others = stream(seed, f"weather/{name}").standard_normal(count).tolist()
        return list(itertools.accumulate(others, lambda z, draw: self._memory * z + fresh * draw, initial=first))

    def exceeded_percent(self, station: str, time_s: float) -> float:
        """Share of the time in which the weather over a station is worse than at a time of the run. [%]"""
        at = time_s / self._step_s
        k = math.floor(at)
        share = at - k
        variance = (1.0 - share) ** 2 + share**2 + 2.0 * share * (1.0 - share) * self._memory
        z = ((1.0 - share) * self._z[station][k] + share * self._z[station][k + 1]) / math.sqrt(variance)
        return 50.0 * math.erfc(z / math.sqrt(2.0))

    def total_db(self, station: str, elevation_deg: Numbers, exceeded_percent: float) -> Floats:
        """Attenuation over a station exceeded in a share of the time, clear sky included, shape (n,). [dB]"""
        return self._loss[station].loss_db(elevation_deg, exceeded_percent)

    def excess_db(self, station: str, elevation_deg: Numbers, exceeded_percent: float) -> Floats:
        """What the link budget does not already charge as its atmosphere, never below 0, shape (n,). [dB]"""
        charged_db = atmosphere_loss_db(elevation_deg, self._zenith_loss_db)
        return np.maximum(0.0, self.total_db(station, elevation_deg, exceeded_percent) - charged_db)
