"""Settings of a radio and its station, and the Es/N0 that they give."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from .. import units
from ..protocols import PluginConfig
from ..scenario.quantities import Seconds, Share
from ..scenario.suggest import hint
from . import budget
from .budget import Numbers
from .codes import Modcod, all_modcods, dvb_s2

_TEXT_OR_NUMBER = WithJsonSchema({"type": ["string", "number"]})

Hertz = Annotated[float, BeforeValidator(units.parse_frequency_hz), _TEXT_OR_NUMBER]
Watts = Annotated[float, BeforeValidator(units.parse_power_w), _TEXT_OR_NUMBER]
SymbolsPerSecond = Annotated[float, BeforeValidator(units.parse_symbol_rate_sps), _TEXT_OR_NUMBER]
Loss = Annotated[float, Field(ge=0, le=200)]


def known_modcod(name: str) -> str:
    """The name of a MODCOD, checked.

    Raises
    ------
    ValueError
        There is none; the nearest is told.
    """
    known = all_modcods()
    if name not in known:
        raise ValueError(f"is {name!r}, which is no MODCOD; {hint(name, known)}")
    return name


class RadioConfig(PluginConfig):
    """An X-band cubesat transmitter and a ground station; every default is an engineering value."""

    frequency: Annotated[Hertz, Field(gt=0)] = 8.15e9
    """Carrier frequency. [Hz]"""
    transmit_power: Annotated[Watts, Field(gt=0)] = 2.0
    """Radio-frequency power at the output of the amplifier. [W]"""
    line_loss_db: Loss = 0.8
    """Loss between amplifier and antenna. [dB]"""
    antenna_gain_dbi: Annotated[float, Field(ge=-60, le=100)] = 9.5
    """Gain of the transmitting antenna at its peak. [dBi]"""
    pointing_loss_db: Loss = 0.5
    """What both antennas lose by not pointing at each other. [dB]"""
    polarisation_loss_db: Loss = 0.3
    """Mismatch of polarisation. [dB]"""
    g_over_t_dbk: Annotated[float, Field(ge=-100, le=100)] = 24.0
    """Figure of merit of the station, its own line loss included. [dB/K]"""
    zenith_loss_db: Loss = 0.1
    """Loss of the atmosphere at the zenith; divided by the sine of the elevation, from 5 deg up. [dB]"""
    other_loss_db: Loss = 0.0
    """Losses that are the same at every elevation. [dB]"""
    implementation_loss_db: Loss = 1.0
    """What a real modem needs above the ideal threshold. [dB]"""
    required_margin_db: Loss = 3.0
    """Margin above threshold and implementation loss without which a MODCOD is not used. [dB]"""
    symbol_rate: Annotated[SymbolsPerSecond, Field(gt=0)] = 30e6
    """Symbol rate; the bandwidth is (1 + roll_off) times as large. [sym/s]"""
    roll_off: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Roll-off of the pulses; changes the bandwidth, not the rate. [-]"""
    pilots: bool = False
    """Whether DVB-S2 frames carry pilots, which cost 2.4 % of the rate."""
    acquisition: Annotated[Seconds, Field(ge=0)] = 10.0
    """Time after AOS in which nothing is carried. [s]"""
    release: Annotated[Seconds, Field(ge=0)] = 5.0
    """Time before LOS in which nothing is carried. [s]"""
    frame_loss_at_threshold: Share = 1e-5
    """Share of transfer frames lost at a margin of 0 dB; 0 makes the code a step. [-]"""
    frame_loss_slope_per_db: Annotated[float, Field(ge=0.1, le=1000)] = 11.5
    """Decades by which that share falls with each decibel of margin. [1/dB]"""


class ChoiceConfig(RadioConfig):
    """A radio that changes between MODCODs."""

    modcods: Annotated[tuple[str, ...], Field(min_length=1)] = tuple(modcod.name for modcod in dvb_s2())
    """MODCODs that the radio has: names of DVB-S2 and of CCSDS 131.0. Default: all of DVB-S2."""

    @field_validator("modcods")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(known_modcod(name) for name in value)


def modcods_of(names: tuple[str, ...], pilots: bool) -> tuple[Modcod, ...]:
    """The MODCODs of checked names."""
    known = all_modcods(pilots)
    return tuple(known[name] for name in names)


def eirp_dbw(radio: RadioConfig) -> float:
    """EIRP of the transmitter. [dBW]"""
    return float(budget.eirp_dbw(radio.transmit_power, radio.line_loss_db, radio.antenna_gain_dbi))


def c_over_n0_dbhz(
    radio: RadioConfig, elevation_deg: Numbers, range_km: Numbers, excess_loss_db: Numbers = 0.0
) -> NDArray[np.float64]:
    """C/N0 at elevations and ranges, less losses that the settings do not know, such as weather. [dBHz]"""
    losses_db = (
        radio.pointing_loss_db
        + radio.polarisation_loss_db
        + budget.atmosphere_loss_db(elevation_deg, radio.zenith_loss_db)
        + radio.other_loss_db
        + np.asarray(excess_loss_db, dtype=np.float64)
    )
    path_db = budget.free_space_loss_db(range_km, radio.frequency)
    return budget.c_over_n0_dbhz(eirp_dbw(radio), path_db, losses_db, radio.g_over_t_dbk)


def es_over_n0_db(
    radio: RadioConfig, elevation_deg: Numbers, range_km: Numbers, excess_loss_db: Numbers = 0.0
) -> NDArray[np.float64]:
    """Es/N0 at elevations and ranges. [dB]"""
    return budget.es_over_n0_db(c_over_n0_dbhz(radio, elevation_deg, range_km, excess_loss_db), radio.symbol_rate)
