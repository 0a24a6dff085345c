"""The link budget line by line, as a radio engineer writes it down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..geodesy import EQUATORIAL_RADIUS_KM
from . import budget, radio
from .modes import NONE, RadioLink
from .weather import Skies

#: Key, name and unit of each line, in the order of the sum; the sign says how the line enters it.
LINES = (
    ("slant_range_km", "  slant range", "km"),
    ("transmit_power_dbw", "  transmit power", "dBW"),
    ("line_loss_db", "- line loss", "dB"),
    ("antenna_gain_dbi", "+ antenna gain", "dBi"),
    ("eirp_dbw", "= EIRP", "dBW"),
    ("free_space_loss_db", "- free-space loss", "dB"),
    ("pointing_loss_db", "- pointing loss", "dB"),
    ("polarisation_loss_db", "- polarisation loss", "dB"),
    ("atmosphere_loss_db", "- atmosphere", "dB"),
    ("other_loss_db", "- other losses", "dB"),
    ("g_over_t_dbk", "+ G/T", "dB/K"),
    ("boltzmann_dbw", "- Boltzmann constant", "dBW/K/Hz"),
    ("c_over_n0_dbhz", "= C/N0", "dBHz"),
    ("symbol_rate_dbhz", "- symbol rate", "dBHz"),
    ("es_n0_db", "= Es/N0", "dB"),
    ("implementation_loss_db", "- implementation loss", "dB"),
    ("usable_es_n0_db", "= usable Es/N0", "dB"),
    ("modcod", "  MODCOD", ""),
    ("threshold_es_n0_db", "- its ideal threshold", "dB"),
    ("margin_db", "= margin", "dB"),
    ("required_margin_db", "  margin required", "dB"),
    ("hysteresis_db", "  more, on the way up", "dB"),
    ("rate_bps", "  information rate", "bit/s"),
    ("eb_n0_db", "  Eb/N0", "dB"),
    ("doppler_hz", "  Doppler, approaching", "Hz"),
)


def column(link: RadioLink, elevation_deg: float, altitude_km: float) -> dict[str, Any]:
    """Every line of the budget at one elevation; None where nothing is sent.

    Parameters
    ----------
    link
        A link with a budget.
    elevation_deg
        Above the horizon. [deg]
    altitude_km
        Of a circular orbit above 6378.137 km. [km]

    Notes
    -----
    The Doppler shift is that of a pass through the zenith over a station that does not turn with the Earth:
    the range changes by R omega cos(elevation).
    """
    settings = link.radio
    range_km = float(budget.slant_range_km(elevation_deg, altitude_km))
    c_n0_dbhz = float(radio.c_over_n0_dbhz(settings, elevation_deg, range_km))
    elevations_deg, ranges_km = np.array([elevation_deg]), np.array([range_km])
    row = int(link.chosen(elevations_deg, ranges_km)[0])
    rate_bps = float(link.rate_bps(elevations_deg, ranges_km)[0])
    usable_db = float(link.usable_es_n0_db(elevation_deg, range_km))
    # What is nearest to closing is shown where nothing closes: its margin says how much is missing.
    modcod = link.modcods[max(row, 0)]
    range_rate_mps = -1000.0 * EQUATORIAL_RADIUS_KM * _omega(altitude_km) * math.cos(math.radians(elevation_deg))
    return {
        "elevation_deg": elevation_deg,
        "slant_range_km": range_km,
        "transmit_power_dbw": float(budget.decibels(settings.transmit_power)),
        "line_loss_db": settings.line_loss_db,
        "antenna_gain_dbi": settings.antenna_gain_dbi,
        "eirp_dbw": radio.eirp_dbw(settings),
        "free_space_loss_db": float(budget.free_space_loss_db(range_km, settings.frequency)),
        "pointing_loss_db": settings.pointing_loss_db,
        "polarisation_loss_db": settings.polarisation_loss_db,
        "atmosphere_loss_db": float(budget.atmosphere_loss_db(elevation_deg, settings.zenith_loss_db)),
        "other_loss_db": settings.other_loss_db,
        "g_over_t_dbk": settings.g_over_t_dbk,
        "boltzmann_dbw": budget.BOLTZMANN_DBW,
        "c_over_n0_dbhz": c_n0_dbhz,
        "symbol_rate_dbhz": float(budget.decibels(settings.symbol_rate)),
        "es_n0_db": float(radio.es_over_n0_db(settings, elevation_deg, range_km)),
        "implementation_loss_db": settings.implementation_loss_db,
        "usable_es_n0_db": usable_db,
        "modcod": modcod.name,
        "closes": row != NONE,
        "threshold_es_n0_db": modcod.es_n0_db,
        "margin_db": usable_db - modcod.es_n0_db,
        "required_margin_db": settings.required_margin_db,
        "hysteresis_db": link.hysteresis_db,
        "rate_bps": rate_bps,
        "eb_n0_db": float(budget.eb_over_n0_db(c_n0_dbhz, rate_bps)) if rate_bps > 0.0 else None,
        "doppler_hz": float(budget.doppler_hz(settings.frequency, range_rate_mps)),
    }


def _omega(altitude_km: float) -> float:
    """Angular rate of a circular orbit. [rad/s]"""
    return math.sqrt(budget.GM_KM3PS2 / (EQUATORIAL_RADIUS_KM + altitude_km) ** 3)


def zenith_pass(link: RadioLink, mask_deg: float, altitude_km: float) -> dict[str, float]:
    """Length and volume of a pass through the zenith: ``duration_s``, ``usable_s``, ``volume_bytes``. [s, s, B]

    Notes
    -----
    Circular orbit, spherical Earth that does not turn; steps of at most one second, acquisition and release taken off.
    Real passes are mostly lower and shorter: `flightsim passes` has each with its capacity.
    """
    radius_km = EQUATORIAL_RADIUS_KM + altitude_km
    mask = math.radians(mask_deg)
    half_s = (math.acos(EQUATORIAL_RADIUS_KM * math.cos(mask) / radius_km) - mask) / _omega(altitude_km)
    begin_s, end_s = link.acquisition_s - half_s, half_s - link.release_s
    result = {"duration_s": 2.0 * half_s, "usable_s": max(0.0, end_s - begin_s), "volume_bytes": 0.0}
    if end_s <= begin_s:
        return result
    time_s = np.linspace(begin_s, end_s, math.ceil(end_s - begin_s) + 1)
    angle = _omega(altitude_km) * np.abs(time_s)
    up_km, along_km = radius_km * np.cos(angle) - EQUATORIAL_RADIUS_KM, radius_km * np.sin(angle)
    rate_bps = link.rate_bps(np.degrees(np.arctan2(up_km, along_km)), np.hypot(up_km, along_km))
    result["volume_bytes"] = float(np.sum((rate_bps[1:] + rate_bps[:-1]) / 2.0 * np.diff(time_s))) / 8.0
    return result


def table_lines(columns: Sequence[dict[str, Any]]) -> list[str]:
    """The columns as aligned text, one line for each term."""
    heads = [f"{column['elevation_deg']:g} deg" for column in columns]
    cells = [[_cell(key, column) for column in columns] for key, _, _ in LINES]
    widths = [max(len(head), *(len(row[k]) for row in cells)) for k, head in enumerate(heads)]
    lines = ["  ".join(["elevation".ljust(32), *(h.rjust(w) for h, w in zip(heads, widths, strict=True))])]
    for (_, name, unit), row in zip(LINES, cells, strict=True):
        lines.append(
            "  ".join([name.ljust(23), unit.ljust(7), *(c.rjust(w) for c, w in zip(row, widths, strict=True))])
        )
    return lines


def weather_rows(skies: Skies, elevations_deg: Sequence[float], percents: Sequence[float]) -> list[dict[str, Any]]:
    """For each station and share of the time: the loss of the atmosphere exceeded, and what of it the budget lacks."""
    held_deg = np.array(elevations_deg)
    return [
        {
            "station": station, "exceeded_percent": percent, "elevation_deg": list(elevations_deg),
            "total_loss_db": skies.total_db(station, held_deg, percent).tolist(),
            "excess_loss_db": skies.excess_db(station, held_deg, percent).tolist(),
        }
        for station in skies.stations
        for percent in percents
    ]  # fmt: skip


def weather_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The weather as aligned text, one line for each station and share of the time."""
    wide = max(len(row["station"]) for row in rows)
    heads = "  ".join(f"{deg:g} deg".rjust(7) for deg in rows[0]["elevation_deg"])
    lines = [
        "weather, which the budget above does not contain: dB beyond its atmosphere at",
        f"{'':{wide + 23}}{heads}",
    ]
    for row in rows:
        cells = "  ".join(f"{value:7.2f}" for value in row["excess_loss_db"])
        lines.append(f"{row['station']:{wide}}  in {row['exceeded_percent']:4g} % of the time  {cells}")
    return lines


def _cell(key: str, column: dict[str, Any]) -> str:
    value = column[key]
    if value is None:
        return "-"
    if key == "modcod":
        return value if column["closes"] else f"none ({value})"
    if key in ("rate_bps", "doppler_hz"):
        return f"{value:,.0f}"
    if key == "slant_range_km":
        return f"{value:,.1f}"
    return f"{value:.2f}"
