"""``flightsim link``: what is imported here is imported at once, so that the list of commands stays fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .cli_common import AS_JSON, SETTINGS, print_json, told

if TYPE_CHECKING:
    from .link import RadioLink
    from .link.weather import Skies
    from .scenario.models import Scenario

#: Beside the mask. [deg]
ELEVATIONS_DEG = (10.0, 30.0, 90.0)
#: Shares of the time in which the weather printed is exceeded. [%]
WEATHER_PERCENT = (10.0, 1.0, 0.1)


@click.command()
@click.argument("file", metavar="SCENARIO_OR_RADIO")
@SETTINGS
@click.option("--altitude", "altitude_km", type=click.FloatRange(160, 2000), help="Of the orbit, for a radio. [km]")
@click.option("--mask", "mask_deg", type=click.FloatRange(0, 90, max_open=True), help="Lowest elevation, for a radio.")
@AS_JSON
@told
def link(
    file: str, settings: tuple[str, ...], altitude_km: float | None, mask_deg: float | None, as_json: bool
) -> None:
    """Print the link budget line by line: `flightsim link default`.

    A radio is a YAML file with the keys of a scenario's link section, such as `use: vcm` and `with: {...}`; it is taken
    over a mask of 5 deg from 550 km unless --mask and --altitude say otherwise.
    """
    from .errors import InputError
    from .link.worksheet import column, table_lines, weather_lines, weather_rows, zenith_pass

    alone = _radio_file(file)
    if alone is not None:
        if settings:
            raise InputError("--set changes a scenario; this file is a radio, so change the file.")
        model = _built(*alone, Path(file).parent)
        places = [(550.0 if altitude_km is None else altitude_km, 5.0 if mask_deg is None else mask_deg)]
        share, names, skies = 1.0, [""], None
    else:
        if altitude_km is not None or mask_deg is not None:
            raise InputError("--altitude and --mask go with a radio; a scenario has its own orbit and stations.")
        scenario = _loaded(file, settings)
        model = _built(scenario.link.use, scenario.link.with_, scenario.folder)
        places, names = _places(scenario)
        share, skies = scenario.link.payload_share, _skies(scenario, model)
    sheets: list[dict[str, Any]] = []
    for name, (height_km, lowest_deg) in zip(names, places, strict=True):
        elevations_deg = sorted({lowest_deg, *(deg for deg in ELEVATIONS_DEG if deg > lowest_deg)})
        columns = [column(model, deg, height_km) for deg in elevations_deg]
        sheets.append(
            {
                "spacecraft": name, "altitude_km": height_km, "mask_deg": lowest_deg, "columns": columns,
                "zenith_pass": {**zenith_pass(model, lowest_deg, height_km), "payload_share": share},
                **({} if skies is None else {"weather": weather_rows(skies, elevations_deg, WEATHER_PERCENT)}),
            }
        )  # fmt: skip
    radio_rows = _radio_rows(model)
    if as_json:
        print_json({"radio": radio_rows, "sheets": sheets})
        return
    for sheet in sheets:
        title = f"{sheet['spacecraft']}: " if sheet["spacecraft"] else ""
        click.echo(
            f"{title}{radio_rows['mode']}, {radio_rows['frequency_hz'] / 1e6:,.6g} MHz, "
            f"{radio_rows['symbol_rate_sps']:,.0f} sym/s in {radio_rows['bandwidth_hz'] / 1e6:.6g} MHz, "
            f"orbit {sheet['altitude_km']:.1f} km, mask {sheet['mask_deg']:g} deg"
        )
        for line in table_lines(sheet["columns"]):
            click.echo(line)
        for line in _closing_lines(sheet, share):
            click.echo(line)
        for line in weather_lines(sheet["weather"]) if skies is not None else ():
            click.echo(line)


def _closing_lines(sheet: dict[str, Any], share: float) -> list[str]:
    from .units import bytes_text

    whole = sheet["zenith_pass"]
    text = (
        f"a pass through the zenith: {whole['duration_s']:.0f} s above the mask, {whole['usable_s']:.0f} s usable, "
        f"{bytes_text(whole['volume_bytes'])}"
    )
    if share < 1.0:
        text += f", of which the payload's share of {share:g} is {bytes_text(share * whole['volume_bytes'])}"
    lines = [text]
    shut = [column for column in sheet["columns"] if not column["closes"]]
    if shut:
        missing_db = max(
            column["required_margin_db"] + column["hysteresis_db"] - column["margin_db"] for column in shut
        )
        at = ", ".join(f"{column['elevation_deg']:g}" for column in shut)
        lines.append(
            f"nothing closes at {at} deg: for the MODCOD in brackets up to {missing_db:.2f} dB of margin are missing"
        )
    return lines


def _radio_rows(model: RadioLink) -> dict[str, Any]:
    from .link.budget import bandwidth_hz

    radio = model.radio
    return {
        "mode": type(model).__name__.lower(),
        "frequency_hz": radio.frequency,
        "transmit_power_w": radio.transmit_power,
        "symbol_rate_sps": radio.symbol_rate,
        "bandwidth_hz": float(bandwidth_hz(radio.symbol_rate, radio.roll_off)),
        "modcods": [
            {"name": m.name, "efficiency": m.efficiency, "es_n0_db": m.es_n0_db, "source": m.source}
            for m in model.modcods
        ],
    }


def _built(use: str, settings: dict[str, Any], folder: Path) -> RadioLink:
    from . import registry
    from .errors import InputError
    from .link import RadioLink

    model = registry.build("links", use, settings, folder)
    if not isinstance(model, RadioLink):
        raise InputError(
            f"link '{use}' has a rate and no budget behind it. Take a radio: --set link.use=vcm (or ccm, acm), "
            "with its settings as link.with, such as --set link.with.transmit_power=4W."
        )
    return model


def _radio_file(file: str) -> tuple[str, dict[str, Any]] | None:
    """``use`` and settings of a file that is a link section and no scenario; None for a scenario."""
    from .errors import InputError
    from .scenario.loading import is_bare_name
    from .scenario.tree import read_tree

    path = Path(file)
    if is_bare_name(file) or not path.is_file():
        return None
    try:
        tree, faults = read_tree(path.read_text(encoding="utf-8-sig"), file)
    except UnicodeDecodeError:
        return None  # a scenario's loader tells what is wrong with it
    data = tree.plain()
    if faults or not isinstance(data, dict) or not set(data) <= {"use", "with"} or "use" not in data:
        return None
    settings = data.get("with") or {}
    if not isinstance(data["use"], str) or not isinstance(settings, dict):
        raise InputError(f"{file}: a radio is 'use', the name of a link, and 'with', a mapping of its settings.")
    return data["use"], settings


def _loaded(file: str, settings: tuple[str, ...]) -> Scenario:
    from .scenario import load_scenario

    return load_scenario(file, settings)


def _skies(scenario: Scenario, model: RadioLink) -> Skies | None:
    from .link.weather import skies_of
    from .stations import resolve

    return None if scenario.link.weather is None else skies_of(scenario, resolve(scenario.stations), model)


def _places(scenario: Scenario) -> tuple[list[tuple[float, float]], list[str]]:
    """Mean altitude of each spacecraft with the lowest mask of the stations, and its name. [km, deg]"""
    import numpy as np

    from .geodesy import EQUATORIAL_RADIUS_KM
    from .orbit import Propagator
    from .stations import resolve

    lowest_deg = min(station.elevation_mask_deg for station in resolve(scenario.stations))
    places, names = [], []
    for craft in scenario.craft:
        orbit = Propagator.from_config(craft.orbit, scenario.start, scenario.folder, scenario.horizon_s)
        position_km, _ = orbit.itrf(np.linspace(0.0, orbit.period_s, 33)[:-1])
        height_km = float(np.mean(np.linalg.norm(position_km, axis=-1))) - EQUATORIAL_RADIUS_KM
        places.append((height_km, lowest_deg))
        names.append(craft.name)
    return places, names
