"""``flightsim orbit``: the orbits of a scenario in numbers that a flight dynamics engineer can check by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click
import numpy as np

from . import geodesy, light, radiation
from .cli_common import AS_JSON, SCENARIO, SETTINGS, print_json, print_table, told
from .errors import InputError
from .light import ShadowModel
from .orbit import Propagator
from .scenario.models import Scenario
from .units import utc_text

_DAY_S = 86400.0
#: Longest span: the low-precision Sun, and SGP4, are not for decades. [d]
_MAX_DAYS = 400.0
#: Step of heights and ground speeds. [s] Both have a period of half a revolution: extremes are met within 0.1 %.
_STEP_S = 30.0
#: Step of the beta angle, which moves by less than 8 deg a day. [s]
_BETA_STEP_S = 1800.0
#: Half of the interval over which the ground speed is taken. [s]
_HALF_S = 0.5


def orbit_row(
    name: str, propagator: Propagator, end_s: float, shadow: ShadowModel = ShadowModel.POINT_SUN
) -> dict[str, Any]:
    """Figures of one orbit over [0, end], each named with its unit.

    Parameters
    ----------
    name
        The spacecraft.
    propagator
        Its orbit.
    end_s
        End of the span, above 0. [s]
    shadow
        What counts as eclipse.

    Notes
    -----
    Period and revolutions a day follow from the mean motion of the elements, inclination is theirs; height is geodetic
    (WGS-84), so it varies over the oblate Earth also where the orbit is a circle. Local times are null in the plane of
    the equator, which has no node. An eclipse that an end cuts counts with what is inside.
    """
    time_s = np.linspace(0.0, end_s, max(2, int(np.ceil(end_s / _STEP_S))) + 1)
    height_km = propagator.subpoints(time_s)[2]
    first, last = (_ground_km(propagator, time_s + shift) for shift in (-_HALF_S, _HALF_S))
    speed_kmps = np.linalg.norm(last - first, axis=-1) / (2.0 * _HALF_S)
    beta_deg = light.beta_deg(propagator, np.linspace(0.0, end_s, max(2, int(np.ceil(end_s / _BETA_STEP_S))) + 1))
    dark = light.eclipses(propagator, 0.0, end_s, shadow)
    anomaly = radiation.exposure(propagator, 0.0, end_s)
    return {
        "spacecraft": name,
        "height_min_km": round(float(height_km.min()), 3),
        "height_max_km": round(float(height_km.max()), 3),
        "inclination_deg": round(float(np.degrees(propagator.satrec.inclo)), 4),
        "period_s": round(propagator.period_s, 3),
        "revolutions_per_day": round(_DAY_S / propagator.period_s, 5),
        "ltan_h": _or_none(light.node_mean_time_h(propagator, 0.0)),
        "true_ltan_h": _or_none(light.node_true_time_h(propagator, 0.0)),
        "beta_start_deg": round(float(beta_deg[0]), 3),
        "beta_min_deg": round(float(beta_deg.min()), 3),
        "beta_max_deg": round(float(beta_deg.max()), 3),
        "shadow": shadow.value,
        "eclipse_fraction": round(light.total_s(dark) / end_s, 5),
        "eclipse_longest_s": round(max((end - begin for begin, end in dark), default=0.0), 3),
        "saa_share": round(anomaly.share, 5),
        "saa_crossings_per_day": round(anomaly.crossings_per_day, 3),
        "saa_longest_s": round(anomaly.longest_s, 3),
        "ground_speed_kmps": round(float(speed_kmps.mean()), 4),
    }


def _ground_km(propagator: Propagator, time_s: geodesy.Floats) -> geodesy.Floats:
    lat_deg, lon_deg, _ = propagator.subpoints(time_s)
    return geodesy.geodetic_to_itrf(lat_deg, lon_deg)


def _or_none(hours: geodesy.Floats) -> float | None:
    return None if np.isnan(hours) else round(float(hours), 5)


def access_rows(
    scenario: Scenario, name: str, propagator: Propagator, end_s: float, place: tuple[float, float],
    max_off_nadir_deg: float, min_sun_elevation_deg: float,
) -> list[dict[str, Any]]:  # fmt: skip
    """Windows in which one spacecraft can image a place over [0, end], each with its least off-nadir angle.

    Parameters
    ----------
    place
        Geodetic latitude and longitude. [deg]
    max_off_nadir_deg, min_sun_elevation_deg
        Limits of ``light.access_windows``. [deg]
    """
    rows = []
    for begin_s, stop_s in light.access_windows(
        propagator, *place, max_off_nadir_deg, 0.0, end_s, min_sun_elevation_deg
    ):
        # Some hundred instants: the least angle is met within a thousandth of the range that the window spans.
        time_s = np.linspace(begin_s, stop_s, 129)
        seen = light.target_view(propagator, *place, time_s)
        k = int(np.argmin(seen.off_nadir_deg))
        rows.append(
            {
                "spacecraft": name,
                "start": utc_text(scenario.start, begin_s),
                "end": utc_text(scenario.start, stop_s),
                "duration_s": round(stop_s - begin_s, 3),
                "min_off_nadir_deg": round(float(seen.off_nadir_deg[k]), 2),
                "elevation_deg": round(float(seen.elevation_deg[k]), 2),
                "sun_elevation_deg": round(float(propagator.sun_elevation_deg(*place, time_s[k])), 2),
            }
        )
    return rows


def _clock(hours: float | None) -> str:
    if hours is None:
        return "-"
    minutes = round(hours * 60.0) % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


#: Lines of the table: what they are called, and what they show of a row.
_LINES: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "height, lowest to highest [km]": lambda r: f"{r['height_min_km']:.1f} to {r['height_max_km']:.1f}",
    "inclination [deg]": lambda r: f"{r['inclination_deg']:.3f}",
    "period [min]": lambda r: f"{r['period_s'] / 60.0:.3f}",
    "revolutions a day": lambda r: f"{r['revolutions_per_day']:.4f}",
    "ground speed, mean [km/s]": lambda r: f"{r['ground_speed_kmps']:.3f}",
    "LTAN at start, mean Sun": lambda r: _clock(r["ltan_h"]),
    "LTAN at start, true Sun": lambda r: _clock(r["true_ltan_h"]),
    "beta at start [deg]": lambda r: f"{r['beta_start_deg']:.2f}",
    "beta, lowest to highest [deg]": lambda r: f"{r['beta_min_deg']:.2f} to {r['beta_max_deg']:.2f}",
    "in eclipse [%]": lambda r: f"{100.0 * r['eclipse_fraction']:.2f}",
    "longest eclipse [min]": lambda r: f"{r['eclipse_longest_s'] / 60.0:.2f}",
    "in the South Atlantic Anomaly [%]": lambda r: f"{100.0 * r['saa_share']:.2f}",
    "its crossings a day": lambda r: f"{r['saa_crossings_per_day']:.1f}",
    "its longest crossing [min]": lambda r: f"{r['saa_longest_s'] / 60.0:.2f}",
}


def _place(text: str) -> tuple[float, float]:
    try:
        lat_deg, lon_deg = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--target is '{text}'; it must be latitude and longitude in degrees: 48.1,11.6.") from None
    return lat_deg, lon_deg


@click.command()
@SCENARIO
@click.option(
    "--days",
    type=click.FloatRange(min=0.0, max=_MAX_DAYS, min_open=True),
    help="Days from the start. Default: the run's.",
)
@click.option(
    "--shadow",
    type=click.Choice([model.value for model in ShadowModel]),
    help="What counts as eclipse. Default: point-sun.",
)
@click.option("--target", metavar="LAT,LON", help="List the windows in which this place can be imaged, instead.")
@click.option(
    "--off-nadir", "off_nadir_deg", metavar="DEG", type=float, help="With --target: largest angle. Default: 30."
)
@click.option(
    "--sun",
    "sun_deg",
    metavar="DEG",
    type=float,
    help="With --target: lowest Sun at the place. Default: day and night.",
)
@SETTINGS
@AS_JSON
@told
def orbit(
    file: str, days: float | None, shadow: str | None, target: str | None, off_nadir_deg: float | None,
    sun_deg: float | None, settings: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Show height, period, light and radiation of each orbit: `flightsim orbit default --days 30`."""
    from .scenario import load_scenario

    if target is None and (off_nadir_deg is not None or sun_deg is not None):
        raise InputError("--off-nadir and --sun go with --target LAT,LON; without it no place is looked at.")
    if target is not None and shadow is not None:
        raise InputError("--shadow is about eclipses of the spacecraft; with --target the limit is --sun.")
    scenario = load_scenario(file, settings)
    end_s = scenario.duration_s if days is None else days * _DAY_S
    flown = {
        craft.name: Propagator.from_config(craft.orbit, scenario.start, scenario.folder, end_s)
        for craft in scenario.craft
    }
    if target is not None:
        limits = (
            30.0 if off_nadir_deg is None else off_nadir_deg,
            -90.0 if sun_deg is None else sun_deg,
        )  # fmt: skip
        windows = [
            row
            for name, propagator in flown.items()
            for row in access_rows(scenario, name, propagator, end_s, _place(target), *limits)
        ]
        _print_windows(sorted(windows, key=lambda row: row["start"]), as_json)
        return
    model = ShadowModel.POINT_SUN if shadow is None else ShadowModel(shadow)
    rows = [orbit_row(name, propagator, end_s, model) for name, propagator in flown.items()]
    begin = utc_text(scenario.start, 0.0)
    if as_json:
        print_json({"start": begin, "days": end_s / _DAY_S, "rows": rows})
        return
    table = [{"what": what, **{row["spacecraft"]: show(row) for row in rows}} for what, show in _LINES.items()]
    print_table(table, [("what", "spacecraft", str), *((name, name, str) for name in flown)])
    click.echo(f"from {begin}, {end_s / _DAY_S:g} d; shadow: {model.value}", err=True)


def _print_windows(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json({"rows": rows})
        return
    print_table(
        rows,
        [
            ("spacecraft", "spacecraft", str),
            ("start", "start (UTC)", str),
            ("end", "end (UTC)", lambda text: text[11:]),
            ("duration_s", "s", lambda x: f"{x:.1f}"),
            ("min_off_nadir_deg", "least off-nadir deg", lambda x: f"{x:.2f}"),
            ("elevation_deg", "elevation deg", lambda x: f"{x:.2f}"),
            ("sun_elevation_deg", "Sun deg", lambda x: f"{x:.2f}"),
        ],
    )
    click.echo(f"{len(rows)} windows", err=True)
