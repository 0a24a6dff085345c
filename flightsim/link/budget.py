"""The equations of a link budget, as functions of numbers and arrays. Decibels throughout."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..geodesy import EQUATORIAL_RADIUS_KM

Floats = NDArray[np.float64]
#: One number or an array of them; several broadcast.
Numbers = float | Floats

#: Speed of light. [m/s] (BIPM, SI Brochure, 9th edition, 2019, table 1; exact)
LIGHT_MPS = 299792458.0
#: Boltzmann constant, 1.380649e-23 J/K. [dBW/K/Hz] (BIPM, SI Brochure, 9th edition, 2019, table 1; exact)
BOLTZMANN_DBW = 10.0 * math.log10(1.380649e-23)
#: Geocentric gravitational constant. [km3/s2] (NGA.STND.0036, version 1.0.0, 2014, table 3.1)
GM_KM3PS2 = 398600.4418
#: The cosecant law of the atmosphere holds from here to the zenith; lower elevations are taken as this one. [deg]
#: (ITU-R P.676-13, annex 2: elevation angles between 5 and 90 degrees)
COSECANT_FROM_DEG = 5.0


def decibels(ratio: Numbers) -> Floats:
    """Ten times the common logarithm of a ratio of powers, shape as given. [dB]"""
    return np.asarray(10.0 * np.log10(np.asarray(ratio, dtype=np.float64)))


def eirp_dbw(transmit_power_w: Numbers, line_loss_db: Numbers, antenna_gain_dbi: Numbers) -> Floats:
    """Equivalent isotropically radiated power: power less line loss plus gain. [dBW]"""
    return np.asarray(decibels(transmit_power_w) - line_loss_db + antenna_gain_dbi)


def antenna_gain_dbi(diameter_m: Numbers, frequency_hz: Numbers, efficiency: Numbers) -> Floats:
    """Gain of a circular aperture, efficiency times (pi D f / c) squared. [dBi]"""
    aperture = math.pi * np.asarray(diameter_m, dtype=np.float64) * np.asarray(frequency_hz) / LIGHT_MPS
    return decibels(np.asarray(efficiency) * aperture**2)


def g_over_t_dbk(antenna_gain_dbi: Numbers, line_loss_db: Numbers, system_temperature_k: Numbers) -> Floats:
    """Figure of merit of a receiver: gain less line loss less system noise temperature. [dB/K]

    Notes
    -----
    Gain and temperature belong to the same reference point. A temperature that already contains the noise of the
    line goes with a line loss of 0 here; taking the line twice is a usual error of a decibel.
    """
    return np.asarray(np.asarray(antenna_gain_dbi) - line_loss_db - decibels(system_temperature_k))


def slant_range_km(elevation_deg: Numbers, altitude_km: Numbers) -> Floats:
    """Distance from a station to a spacecraft seen at an elevation. [km]

    Notes
    -----
    Spherical Earth of radius 6378.137 km, station on its surface. Contacts use the range of the real geometry on
    WGS-84; this is for tables and worksheets.
    """
    altitude = np.asarray(altitude_km, dtype=np.float64)
    up_km = EQUATORIAL_RADIUS_KM * np.sin(np.radians(elevation_deg))
    return np.asarray(np.sqrt(up_km**2 + 2.0 * EQUATORIAL_RADIUS_KM * altitude + altitude**2) - up_km)


def free_space_loss_db(range_km: Numbers, frequency_hz: Numbers) -> Floats:
    """Free-space loss 20 log10(4 pi d f / c). [dB]

    References
    ----------
    ITU-R P.525-4, "Calculation of free-space attenuation", 2019 (point-to-point links).
    """
    distance_m = 1000.0 * np.asarray(range_km, dtype=np.float64)
    return 2.0 * decibels(4.0 * math.pi * distance_m * np.asarray(frequency_hz) / LIGHT_MPS)


def atmosphere_loss_db(elevation_deg: Numbers, zenith_loss_db: Numbers) -> Floats:
    """Loss in a flat, layered atmosphere: the loss at the zenith over the sine of the elevation. [dB]

    Notes
    -----
    Engineering value: one loss at the zenith stands for gas, and for cloud where the user puts it in. Below 5 deg
    the law overstates the path and the loss of 5 deg is taken, so it never divides by zero. Rain and scintillation
    do not follow it and are left out.

    References
    ----------
    ITU-R P.676-13, "Attenuation by atmospheric gases and related effects", 2022, annex 2.
    """
    held_deg = np.clip(np.asarray(elevation_deg, dtype=np.float64), COSECANT_FROM_DEG, 90.0)
    return np.asarray(np.asarray(zenith_loss_db) / np.sin(np.radians(held_deg)))


def c_over_n0_dbhz(
    eirp_dbw: Numbers, free_space_loss_db: Numbers, further_losses_db: Numbers, g_over_t_dbk: Numbers
) -> Floats:
    """Carrier power over noise density: EIRP less all losses plus G/T less Boltzmann's constant. [dBHz]"""
    received = np.asarray(eirp_dbw, dtype=np.float64) - free_space_loss_db - further_losses_db
    return np.asarray(received + g_over_t_dbk - BOLTZMANN_DBW)


def eb_over_n0_db(c_over_n0_dbhz: Numbers, information_rate_bps: Numbers) -> Floats:
    """Energy of an information bit over noise density. [dB]"""
    return np.asarray(np.asarray(c_over_n0_dbhz) - decibels(information_rate_bps))


def es_over_n0_db(c_over_n0_dbhz: Numbers, symbol_rate_sps: Numbers) -> Floats:
    """Energy of a symbol over noise density. [dB]"""
    return np.asarray(np.asarray(c_over_n0_dbhz) - decibels(symbol_rate_sps))


def margin_db(over_n0_db: Numbers, implementation_loss_db: Numbers, required_db: Numbers) -> Floats:
    """Link margin: Eb/N0 (or Es/N0) less implementation loss less what is required of the same kind. [dB]"""
    return np.asarray(np.asarray(over_n0_db, dtype=np.float64) - implementation_loss_db - required_db)


def highest_rate_bps(c_over_n0_dbhz: Numbers, implementation_loss_db: Numbers, required_eb_n0_db: Numbers) -> Floats:
    """Information rate at which the margin is 0 dB. [bit/s]"""
    left_db = np.asarray(c_over_n0_dbhz, dtype=np.float64) - implementation_loss_db - required_eb_n0_db
    return np.asarray(10.0 ** (left_db / 10.0))


def doppler_hz(frequency_hz: Numbers, range_rate_mps: Numbers) -> Floats:
    """One-way shift of a received carrier, positive while the range shrinks. [Hz]

    Notes
    -----
    First order in v/c; the next term is 0.6 Hz at 2.2 GHz and 7 km/s.
    """
    return np.asarray(-np.asarray(frequency_hz, dtype=np.float64) * np.asarray(range_rate_mps) / LIGHT_MPS)


def bandwidth_hz(symbol_rate_sps: Numbers, roll_off: Numbers) -> Floats:
    """Occupied bandwidth of root-raised-cosine pulses, symbol rate times (1 + roll-off). [Hz]"""
    return np.asarray(np.asarray(symbol_rate_sps, dtype=np.float64) * (1.0 + np.asarray(roll_off)))
