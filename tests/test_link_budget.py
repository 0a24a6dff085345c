"""The link budget against published budgets and an independent reference (link.json, checked with lox-space)."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flightsim.link import RadioConfig, budget, codes, radio
from flightsim.link.modes import Vcm
from flightsim.link.radio import ChoiceConfig

from .conftest import shared

#: The reference prints thresholds and ideal values to 0.01 to 0.0001 dB; the issue asks for 0.02.
WITHIN_DB = 0.02


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(shared("reference/link.json").read_text())
    assert data["tolerance"]["dB"] == WITHIN_DB
    return data


def radio_of(given: dict[str, Any], **more: Any) -> RadioConfig:
    """Our settings for a budget of the reference, whose losses are the same at all elevations."""
    return RadioConfig.model_validate(
        {
            "frequency": given["freq_hz"], "transmit_power": given["tx_power_w"],
            "line_loss_db": given["tx_line_loss_db"], "antenna_gain_dbi": given["tx_gain_dbi"],
            "pointing_loss_db": given["pointing_loss_db"], "polarisation_loss_db": given["polarisation_loss_db"],
            "g_over_t_dbk": given["g_over_t_db"], "zenith_loss_db": 0, "other_loss_db": given["atmospheric_loss_db"],
            "implementation_loss_db": given["implementation_loss_db"],
            "required_margin_db": given.get("link_margin_db", 0.0), **more,
        }
    )  # fmt: skip


# Reference ------------------------------------------------------------------------------------------------------------


def test_published_s_band_budget(reference: dict[str, Any]) -> None:
    """EURASIP JWCN 2020, doi 10.1186/s13638-020-01674-9, table 1: printed to 0.1 dB, so within 0.11."""
    case = next(c for c in reference["published"] if c["id"] == "EURASIP-2020-S-band")
    given = case["input"]
    g_over_t = budget.g_over_t_dbk(given["rx_gain_dbi"], 0.0, given["system_temp_k"])
    assert g_over_t == pytest.approx(case["computed"]["g_over_t_db"], abs=0.001)  # both exact, printed to 0.001
    c_n0 = budget.c_over_n0_dbhz(given["eirp_dbw"], given["fspl_db"], given["pointing_loss_db"], g_over_t)
    eb_n0 = budget.eb_over_n0_db(c_n0, given["data_rate_bps"])
    margin = budget.margin_db(eb_n0, given["implementation_loss_db"], given["required_eb_n0_db"])
    for ours, key in ((c_n0, "cn0_dbhz"), (eb_n0, "eb_n0_db"), (margin, "margin_db")):
        assert ours == pytest.approx(case["published"][key], abs=reference["tolerance"]["published_dB"])
        assert ours == pytest.approx(case["computed"][key], abs=WITHIN_DB)


def test_published_geostationary_downlink(reference: dict[str, Any]) -> None:
    """NOAA EMWIN-N: printed to 0.1 dB, so within 0.11."""
    case = next(c for c in reference["published"] if c["id"] == "NOAA-EMWIN-N-downlink")
    given = case["input"]
    path = budget.free_space_loss_db(given["range_km"], given["freq_hz"])
    losses = given["atmospheric_loss_db"] + given["polarisation_loss_db"]
    c_n0 = budget.c_over_n0_dbhz(given["eirp_dbw"], path, losses, given["g_over_t_db"])
    for ours, key in ((path, "fspl_db"), (c_n0, "cn0_dbhz")):
        assert ours == pytest.approx(case["published"][key], abs=reference["tolerance"]["published_dB"])
        assert ours == pytest.approx(case["computed"][key], abs=WITHIN_DB)


@pytest.mark.parametrize("name", ["ref-S-1Mbps", "ref-uplink-32k", "ref-X-30Msps"])
def test_budgets(reference: dict[str, Any], name: str) -> None:
    case = next(c for c in reference["budgets"] if c["id"] == name)
    given, expected = case["input"], case["expected"]
    settings = radio_of(given)
    c_n0 = radio.c_over_n0_dbhz(settings, 90.0, given["range_km"])
    found = {
        "eirp_dbw": radio.eirp_dbw(settings),
        "fspl_db": budget.free_space_loss_db(given["range_km"], given["freq_hz"]),
        "g_over_t_db": settings.g_over_t_dbk,
        "cn0_dbhz": c_n0,
    }
    if "data_rate_bps" in given:
        found["eb_n0_db"] = budget.eb_over_n0_db(c_n0, given["data_rate_bps"])
        found["margin_db"] = budget.margin_db(
            found["eb_n0_db"], settings.implementation_loss_db, given["required_eb_n0_db"]
        )
        highest = budget.highest_rate_bps(c_n0, settings.implementation_loss_db, given["required_eb_n0_db"])
        # 0.02 dB is 0.46 %; the reference asks for 0.5 %.
        assert highest == pytest.approx(expected["max_rate_at_0db_margin_bps"], rel=reference["tolerance"]["rate_rel"])
    else:
        link = Vcm(ChoiceConfig.model_validate({**settings.model_dump(), "symbol_rate": given["symbol_rate_sps"]}))
        found["es_n0_db"] = radio.es_over_n0_db(link.radio, 90.0, given["range_km"])
        elevations, ranges = np.array([90.0]), np.array([given["range_km"]])
        assert link.modcods[int(link.chosen(elevations, ranges)[0])].name == expected["modcod"]
        rate = link.rate_bps(elevations, ranges)[0]
        assert rate == pytest.approx(expected["info_rate_bps"], rel=1e-6)  # efficiency is printed to six digits
    assert found.keys() == expected.keys() - {"max_rate_at_0db_margin_bps", "modcod", "info_rate_bps"}
    for key, ours in found.items():
        assert ours == pytest.approx(expected[key], abs=WITHIN_DB), key


def test_slant_range_gain_and_doppler(reference: dict[str, Any]) -> None:
    for case in reference["slant_range"]:
        ours = budget.slant_range_km(case["el_deg"], case["h_km"])
        assert ours == pytest.approx(case["range_km"], abs=reference["tolerance"]["slant_km"])
    (dish,) = reference["antenna_gain"]
    gain = budget.antenna_gain_dbi(dish["diameter_m"], dish["freq_hz"], dish["efficiency"])
    assert gain == pytest.approx(dish["gain_dbi"], abs=WITHIN_DB)
    (case,) = reference["doppler"]
    shift = budget.doppler_hz(case["freq_hz"], case["range_rate_mps"])
    assert shift == pytest.approx(case["one_way_shift_hz"], abs=0.1)  # printed to 0.1 Hz


def test_every_row_of_dvb_s2(reference: dict[str, Any]) -> None:
    """Efficiency from the standard's block sizes; the reference prints it to 1e-6, Eb/N0 to 0.001 dB."""
    ours, piloted = codes.dvb_s2(), codes.dvb_s2(pilots=True)
    assert [m.name for m in ours] == [row["name"] for row in reference["dvb_s2_normal_frames"]]
    assert len(ours) == 28
    for row, modcod, with_pilots in zip(reference["dvb_s2_normal_frames"], ours, piloted, strict=True):
        assert modcod.bits_per_symbol == row["bits_per_symbol"]
        assert modcod.efficiency == pytest.approx(row["efficiency"], abs=1e-6)
        assert with_pilots.efficiency == pytest.approx(row["efficiency_pilots"], abs=1e-6)
        assert modcod.es_n0_db == row["es_n0_db"]
        assert modcod.eb_n0_db == pytest.approx(row["eb_n0_db"], abs=0.001)


def test_choice_of_modcod(reference: dict[str, Any]) -> None:
    link = Vcm(ChoiceConfig())
    for case in reference["modcod_choice"]:
        row = int(link._best(np.array([case["es_n0_db"]]), case["margin_db"])[0])
        name, efficiency = (None, 0.0) if row < 0 else (link.modcods[row].name, link.modcods[row].efficiency)
        assert (name, efficiency) == (case["modcod"], pytest.approx(case["efficiency"], abs=1e-6))


# CCSDS 131.0 ----------------------------------------------------------------------------------------------------------


def test_uncoded_threshold_is_that_of_theory() -> None:
    """Bit error rate 1e-6 of antipodal signals; 10.53 is rounded to 0.01 dB."""
    row = next(code for code in codes.CCSDS_CODES if code.name == "uncoded")
    error_rate = 0.5 * math.erfc(math.sqrt(10.0 ** (row.eb_n0_db / 10.0)))
    assert error_rate == pytest.approx(1e-6, rel=0.03)  # 0.005 dB of rounding is 2.4 % of the rate here


def test_no_code_beats_shannon() -> None:
    """Below 2 ** eff = 1 + Es/N0 nothing can be decoded without error; a row with Eb/N0 for Es/N0 falls through."""
    for modcod in codes.all_modcods().values():
        limit_db = 10.0 * math.log10(2.0**modcod.efficiency - 1.0)
        assert limit_db < modcod.es_n0_db < limit_db + 12.0, modcod.name
        assert modcod.source


def test_rows_of_ccsds() -> None:
    rows = {m.name: m for m in codes.ccsds()}
    assert len(rows) == 2 * len(codes.CCSDS_CODES) == 22
    for code in codes.CCSDS_CODES:
        bpsk, qpsk = rows[f"BPSK {code.name}"], rows[f"QPSK {code.name}"]
        assert qpsk.efficiency == 2.0 * bpsk.efficiency == 2.0 * code.rate
        # The same Eb/N0, twice the bits: 3.01 dB more for each symbol.
        assert qpsk.es_n0_db - bpsk.es_n0_db == pytest.approx(10.0 * math.log10(2.0), abs=1e-9)
        assert qpsk.eb_n0_db == pytest.approx(code.eb_n0_db, abs=1e-9)
    assert rows["QPSK RS(255,223) conv 1/2"].efficiency == pytest.approx(2 * 0.437, abs=1e-3)


# Properties -----------------------------------------------------------------------------------------------------------


def test_the_table_is_not_monotone_and_only_what_is_worth_having_is_kept() -> None:
    rows = {m.name: m for m in codes.dvb_s2()}
    assert rows["8PSK 3/5"].es_n0_db < rows["QPSK 8/9"].es_n0_db
    assert rows["8PSK 3/5"].efficiency > rows["QPSK 8/9"].efficiency
    kept = codes.worth_having(codes.dvb_s2())
    assert len(kept) == 28 - 6
    assert "QPSK 8/9" not in {m.name for m in kept}
    for es_n0_db in np.arange(-4.0, 18.0, 0.01):
        closing = [m.efficiency for m in codes.dvb_s2() if m.es_n0_db <= es_n0_db]
        best = [m.efficiency for m in kept if m.es_n0_db <= es_n0_db]
        assert max(closing, default=0.0) == (best[-1] if best else 0.0)


@given(st.floats(0.0, 90.0), st.floats(200.0, 2000.0))
def test_triangle_of_the_slant_range(elevation_deg: float, altitude_km: float) -> None:
    """Station, spacecraft and the Earth's centre: the law of cosines gives the orbit's radius back."""
    distance = float(budget.slant_range_km(elevation_deg, altitude_km))
    earth = 6378.137
    squared = earth**2 + distance**2 + 2.0 * earth * distance * math.sin(math.radians(elevation_deg))
    assert math.sqrt(squared) == pytest.approx(earth + altitude_km, abs=1e-6)  # rounding of 1e7 km2


def test_losses_of_a_hand_calculation() -> None:
    """32.448 + 20 log d + 20 log f, as on paper; the constant is rounded to 0.001 dB."""
    paper = 32.448 + 20.0 * math.log10(2078.0) + 20.0 * math.log10(8200.0)
    assert budget.free_space_loss_db(2078.0, 8.2e9) == pytest.approx(paper, abs=0.001)
    assert paper == pytest.approx(177.1, abs=0.05)
    # Kilometres where metres belong would be 60 dB less.
    assert budget.free_space_loss_db(1.0, 1e9) == pytest.approx(92.45, abs=0.01)
    assert pytest.approx(-228.5992, abs=1e-4) == budget.BOLTZMANN_DBW
    assert budget.bandwidth_hz(5e6, 0.25) == 6.25e6


def test_atmosphere_by_elevation() -> None:
    loss = budget.atmosphere_loss_db(np.array([-3.0, 0.0, 5.0, 30.0, 90.0]), 0.1)
    assert loss[3] == pytest.approx(0.2)
    assert loss[4] == pytest.approx(0.1)
    assert loss[0] == loss[1] == loss[2] == pytest.approx(0.1 / math.sin(math.radians(5.0)))


def test_zenith_loss_of_gas_lies_between_two_real_sites(reference: dict[str, Any]) -> None:
    """The default of 0.1 dB covers the gas that itur gives at 10 deg for the driest and the wettest site there."""
    for case in reference["itur"]["cases"]:
        at_zenith = case["gas_db"] * math.sin(math.radians(case["el_deg"]))
        assert at_zenith <= RadioConfig().zenith_loss_db <= 3.0 * at_zenith


def test_doppler_changes_sign_with_the_range_rate() -> None:
    assert budget.doppler_hz(2.2e9, -7000.0) == -budget.doppler_hz(2.2e9, 7000.0) > 0.0


# Settings -------------------------------------------------------------------------------------------------------------


def test_units_of_settings() -> None:
    given = {"frequency": "2245 MHz", "transmit_power": "500 mW", "symbol_rate": "2 Msym/s", "acquisition": "12s"}
    settings = RadioConfig.model_validate(given)
    assert (settings.frequency, settings.transmit_power, settings.symbol_rate) == (2.245e9, 0.5, 2e6)
    assert RadioConfig.model_validate({"frequency": 8.2e9}).frequency == 8.2e9


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"frequency": "8 Ghz"}, "unknown unit 'Ghz'; allowed are Hz, kHz, MHz, GHz"),
        ({"frequency": 0}, "greater than 0"),
        ({"transmit_power": "33 dBm"}, "unknown unit 'dBm'"),
        ({"symbol_rate": "5 Mbit/s"}, "unknown unit 'Mbit/s'"),
        ({"line_loss_db": -1}, "greater than or equal to 0"),
        ({"required_margin_db": float("nan")}, "finite number"),
        ({"roll_off": 1.5}, "less than or equal to 1"),
        ({"gain": 3}, "Extra inputs are not permitted"),
        ({"modcods": ["8PSK 3/6"]}, "no MODCOD; .*8PSK 3/5"),
        ({"modcods": []}, "at least 1 item"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ChoiceConfig.model_validate(settings)
