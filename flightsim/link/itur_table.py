"""Make a weather table: ``python -m flightsim.link.itur_table SCENARIO FILE``. Needs the extra ``weather``."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FlightsimError, InputError, MissingExtra
from ..scenario.models import Station

#: S to Ka band, close enough for the interpolation between them; 22.2 GHz is a line of water vapour.
FREQUENCIES_GHZ = (2.0, 3.0, 4.0, 5.0, 6.5, 8.2, 12.0, 16.0, 19.0, 22.2, 26.0, 29.0, 32.0)
#: From the lowest elevation of the scintillation of ITU-R P.618-13, section 2.4.1, to the zenith. [deg]
ELEVATIONS_DEG = (5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0)
#: Up to where the total attenuation of ITU-R P.618-13 is defined. [%]
PERCENTAGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 20.0, 30.0, 50.0)
#: Antenna diameter: only scintillation depends on it, and a larger one sees less. [m] (engineering value)
ANTENNA_M = 7.3
#: Places of a loss, and the smallest that is written, so that its logarithm exists.
_DIGITS, _LEAST_DB = 2, 0.01


def total_loss_db(
    lat_deg: float,
    lon_deg: float,
    altitude_m: float | None,
    frequency_ghz: float,
    elevation_deg: Any,
    exceeded_percent: float,
    antenna_m: float = ANTENNA_M,
) -> Any:
    """Gas, cloud, rain and scintillation exceeded in a share of an average year, shape of the elevations. [dB]

    Parameters
    ----------
    lat_deg, lon_deg
        Of the station. [deg]
    altitude_m
        Above the sea; None takes the map of ITU-R P.1511. [m]
    frequency_ghz, elevation_deg, exceeded_percent, antenna_m
        Carrier, elevations, percentage and diameter of the antenna. [GHz, deg, %, m]

    Raises
    ------
    MissingExtra
        itur is not installed.

    Notes
    -----
    Circular polarisation, antenna efficiency 0.5, all maps as itur has them.
    """
    try:
        import itur
    except ImportError as error:
        raise MissingExtra(
            "a weather table is made with itur, which is not installed: pip install 'flightsim[weather]'."
        ) from error
    height_km = None if altitude_m is None else max(0.0, altitude_m) / 1000.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = itur.atmospheric_attenuation_slant_path(
            lat_deg, lon_deg, frequency_ghz, np.asarray(elevation_deg), exceeded_percent, antenna_m, hs=height_km
        )
    return np.asarray(loss.value)


def table_text(stations: Sequence[Station], antenna_m: float = ANTENNA_M) -> str:
    """The table of some stations as JSON, one line a station and frequency.

    Raises
    ------
    MissingExtra
        itur is not installed.
    """
    rows = []
    for station in stations:
        by_frequency = []
        for frequency_ghz in FREQUENCIES_GHZ:
            columns = [
                total_loss_db(
                    station.lat_deg, station.lon_deg, station.altitude_m, frequency_ghz, ELEVATIONS_DEG, p, antenna_m
                )
                for p in PERCENTAGES
            ]
            loss_db = np.maximum(_LEAST_DB, np.round(np.stack(columns, axis=-1), _DIGITS))
            by_frequency.append(json.dumps(loss_db.tolist(), separators=(",", ":")))
        head = json.dumps(
            {
                "name": station.name, "lat_deg": station.lat_deg, "lon_deg": station.lon_deg,
                "altitude_m": station.altitude_m,
            }, ensure_ascii=False,
        )  # fmt: skip
        rows.append(f'{head[:-1]}, "loss_db": [\n' + ",\n".join(by_frequency) + "\n]}")
    head = json.dumps(
        {
            "origin": f"itur {metadata.version('itur')} (ITU-R P.618-13 and what it refers to), total of gas, cloud, "
            f"rain and scintillation in dB; antenna {antenna_m:g} m, efficiency 0.5, circular polarisation; station "
            f"altitude as given; made {datetime.now(UTC):%Y-%m-%d} by flightsim.link.itur_table",
            "frequency_ghz": FREQUENCIES_GHZ, "elevation_deg": ELEVATIONS_DEG, "exceeded_percent": PERCENTAGES,
        }
    )  # fmt: skip
    return f'{head[:-1]}, "stations": [\n' + ",\n".join(rows) + "\n]}\n"


def main(arguments: Sequence[str]) -> int:
    """Write the table of a scenario's stations to a file; gives the exit code."""
    from ..scenario import load_scenario
    from ..stations import resolve

    try:
        if len(arguments) != 2:
            raise InputError("write: python -m flightsim.link.itur_table SCENARIO FILE, such as my.yaml weather.json")
        Path(arguments[1]).write_text(table_text(resolve(load_scenario(arguments[0]).stations)), encoding="utf-8")
    except (FlightsimError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
