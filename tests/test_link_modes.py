"""Constant, variable and adaptive coding over whole passes, in a scenario, and on paper."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import flightsim
from flightsim import geodesy, registry
from flightsim.contacts import contacts_for, with_capacity
from flightsim.domain import ContactWindow
from flightsim.link import Constant, ConstantConfig, budget
from flightsim.link.modes import NONE, RadioLink
from flightsim.link.worksheet import zenith_pass
from flightsim.link_command import link as link_command
from flightsim.orbit import Propagator
from flightsim.passes import find_passes
from flightsim.scenario.models import Orbit, Station
from flightsim.testing import check_plugin

from .conftest import shared

MODES = ("ccm", "vcm", "acm")
#: Twice over the horizon and back: elevations of a pass, rising and setting.
PASS_DEG = np.concatenate([np.linspace(0.0, 85.0, 400), np.linspace(85.0, 0.0, 400)])
PASS_KM = budget.slant_range_km(PASS_DEG, 550.0)


def built(mode: str, **settings: Any) -> RadioLink:
    model: RadioLink = registry.build("links", mode, settings)
    return model


# Reference ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def volumes() -> list[tuple[dict[str, Any], ContactWindow, Propagator, Station]]:
    """Passes of the reference, found by our own geometry."""
    listed = json.loads(shared("reference/link.json").read_text())["pass_volumes"]["passes"]
    data = json.loads(shared("reference/contacts.json").read_text())
    start, end = (datetime.fromisoformat(data["window"][key].replace("Z", "+00:00")) for key in ("start", "end"))
    found = []
    for satellite in data["satellites"]:
        orbit = Orbit(tle=(satellite["line1"], satellite["line2"]))
        propagator = Propagator.from_config(orbit, start, Path(), (end - start).total_seconds())
        stations = [
            Station(name=s["id"], lat_deg=s["lat_deg"], lon_deg=s["lon_deg"], altitude_m=s["alt_m"])
            for s in data["stations"]
        ]
        passes = find_passes(propagator, satellite["id"], stations, 0.0, (end - start).total_seconds())
        for case in (c for c in listed if c["sat"] == satellite["id"]):
            aos_s = (datetime.fromisoformat(case["aos"].replace("Z", "+00:00")) - start).total_seconds()
            (window,) = [w for w in passes if w.station == case["station"] and abs(w.aos_s - aos_s) < 1.0]
            place = next(s for s in stations if s.name == case["station"])
            found.append((case, replace(window, booked=True), propagator, place))
    assert len(found) == len(listed) == 6
    return found


def settings_of_reference(band: str) -> dict[str, Any]:
    chosen = json.loads(shared("reference/link.json").read_text())["pass_volumes"]["settings"]
    given = chosen[band]
    return {
        "frequency": given["freq_hz"], "transmit_power": given["tx_power_w"], "line_loss_db": given["tx_line_loss_db"],
        "antenna_gain_dbi": given["tx_gain_dbi"], "pointing_loss_db": given["pointing_loss_db"],
        "polarisation_loss_db": given["polarisation_loss_db"], "g_over_t_dbk": given["g_over_t_db"],
        "zenith_loss_db": 0, "other_loss_db": given["atmospheric_loss_db"],
        "implementation_loss_db": given["implementation_loss_db"],
        "required_margin_db": given.get("link_margin_db", 0.0), "symbol_rate": chosen["x_symbol_rate_sps"],
        "acquisition": chosen["acquisition_s"], "release": chosen["release_s"],
    }  # fmt: skip


def volume_bytes(model: Any, case: tuple[dict[str, Any], ContactWindow, Propagator, Station]) -> float:
    _, window, propagator, place = case
    (filled,) = with_capacity([window], {window.spacecraft: propagator}, [place], model, 1.0)
    assert filled.capacity_bits is not None
    return float(filled.capacity_bits[-1]) / 8.0


def look(case: tuple[dict[str, Any], ContactWindow, Propagator, Station], time_s: Any) -> tuple[Any, Any]:
    _, _, propagator, place = case
    position_km, _ = propagator.itrf(np.atleast_1d(time_s))
    elevation_deg, _, range_km = geodesy.look_angles(
        position_km, place.lat_deg, place.lon_deg, place.altitude_m / 1000.0
    )
    return elevation_deg, range_km


def test_bytes_of_a_pass_at_a_constant_rate(volumes: Any) -> None:
    """Within 0.5 %, the tolerance of the reference: a second of AOS and LOS is 0.4 % of the shortest pass."""
    model = Constant(ConstantConfig(rate=2e6))
    for case in volumes:
        assert volume_bytes(model, case) == pytest.approx(case[0]["s_band_constant_2mbps_bytes"], rel=0.005)


def test_margin_of_the_constant_rate_at_aos(volumes: Any) -> None:
    """S-band at 2 Mbit/s, Eb/N0 2.6 dB, within 0.02 dB.

    The least margin of the reference is, in all six passes, the one half a second after AOS, the middle of its first
    step; it does not count the last seconds before LOS, where the range may be longer by 0.06 dB.
    """
    model = built("ccm", **{**settings_of_reference("s_band"), "symbol_rate": 2e6}, modcod="BPSK uncoded")
    for case in volumes:
        # One information bit for each symbol here, so Eb/N0 is Es/N0; the implementation loss is taken off already.
        margin_db = model.usable_es_n0_db(*look(case, case[1].aos_s + 0.5))[0] - 2.6
        assert margin_db == pytest.approx(case[0]["s_band_2mbps_min_margin_db"], abs=0.02)


@pytest.mark.parametrize("mode", ["vcm", "acm"])
def test_bytes_of_a_pass_with_adaptation(volumes: Any, mode: str) -> None:
    """Within 2 %, the tolerance of the reference: the rate is sampled every 5 s and jumps in between."""
    more = {"hysteresis_db": 0.0} if mode == "acm" else {}
    model = built(mode, **settings_of_reference("x_band"), **more)
    for case in volumes:
        assert volume_bytes(model, case) == pytest.approx(case[0]["x_band_acm_bytes"], rel=0.02)


def test_bytes_of_a_pass_with_one_modcod(volumes: Any) -> None:
    """The MODCOD that closes at AOS is the reference's; it closes all the way, so 0.5 % as for a constant rate."""
    choosing = built("vcm", **settings_of_reference("x_band"))
    for case in volumes:
        at_aos = int(choosing.chosen(*look(case, case[1].aos_s))[0])
        name = case[0]["x_band_ccm_at_mask_modcod"]
        assert choosing.modcods[at_aos].name == name
        model = built("ccm", **settings_of_reference("x_band"), modcod=name)
        assert volume_bytes(model, case) == pytest.approx(case[0]["x_band_ccm_bytes"], rel=0.005)


def test_seconds_of_each_modcod(volumes: Any) -> None:
    """Within 2 s: the reference samples at about 1 s and a MODCOD may begin and end twice in a pass."""
    model = built("acm", **settings_of_reference("x_band"), hysteresis_db=0.0)
    for case in volumes:
        _, window, _, _ = case
        begin_s, end_s = window.aos_s + 10.0, window.los_s - 5.0
        times_s = np.arange(begin_s, end_s, 0.1)
        rows, counts = np.unique(model.chosen(*look(case, times_s)), return_counts=True)
        ours = {model.modcods[row].name: 0.1 * count for row, count in zip(rows, counts, strict=True)}
        listed = case[0]["x_band_acm_seconds_by_modcod"]
        assert ours.keys() == listed.keys()
        assert all(seconds == pytest.approx(listed[name], abs=2.0) for name, seconds in ours.items())


# Properties -----------------------------------------------------------------------------------------------------------

WEAK = {"transmit_power": 0.5, "symbol_rate": "50 Msym/s"}
DB = st.floats(0.0, 12.0)


@pytest.mark.parametrize("mode", MODES)
def test_they_pass_the_checks_for_plugins(mode: str) -> None:
    results = check_plugin(mode, "links")
    assert len(results) == 6
    assert all(result.ok for result in results), results


@pytest.mark.parametrize("mode", MODES)
@given(first=DB, second=DB)
def test_a_stricter_margin_never_raises_a_rate(mode: str, first: float, second: float) -> None:
    loose, strict = sorted((first, second))
    rates = [built(mode, **WEAK, required_margin_db=x).rate_bps(PASS_DEG, PASS_KM) for x in (loose, strict)]
    assert np.all(rates[1] <= rates[0])


@pytest.mark.parametrize("mode", MODES)
@given(first=st.floats(0.05, 10.0), second=st.floats(0.05, 10.0))
def test_more_power_never_lowers_a_rate(mode: str, first: float, second: float) -> None:
    rates = [
        built(mode, symbol_rate=50e6, transmit_power=watts).rate_bps(PASS_DEG, PASS_KM)
        for watts in sorted((first, second))
    ]
    assert np.all(rates[1] >= rates[0])


@given(margin_db=DB, modcod=st.sampled_from([m.name for m in built("vcm").modcods]), watts=st.floats(0.01, 10.0))
def test_one_modcod_never_carries_more_than_the_best(margin_db: float, modcod: str, watts: float) -> None:
    same = {"required_margin_db": margin_db, "transmit_power": watts, "symbol_rate": 50e6}
    fixed = built("ccm", **same, modcod=modcod).rate_bps(PASS_DEG, PASS_KM)
    best = built("vcm", **same).rate_bps(PASS_DEG, PASS_KM)
    assert np.all(fixed <= best)


@given(margin_db=DB, hysteresis_db=st.floats(0.0, 3.0), seed=st.integers(0, 99))
def test_hysteresis_costs_rate_and_never_takes_what_does_not_close(
    margin_db: float, hysteresis_db: float, seed: int
) -> None:
    """With the same margins and a known loss, vcm is the upper bound of acm, reached without hysteresis."""
    same = {**WEAK, "required_margin_db": margin_db}
    adaptive = built("acm", **same, hysteresis_db=hysteresis_db)
    loss_db = 3.0 * np.random.default_rng(seed).random(len(PASS_DEG))
    sent = adaptive.chosen(PASS_DEG, PASS_KM, loss_db)
    margins = adaptive.margin_db(PASS_DEG, PASS_KM, loss_db)[sent != NONE]
    assert np.all(margins >= margin_db - 1e-9)  # rounding of a sum of decibels
    best = built("vcm", **same).rate_bps(PASS_DEG, PASS_KM)
    assert np.all(adaptive.rate_bps(PASS_DEG, PASS_KM) <= best)
    np.testing.assert_array_equal(built("acm", **same, hysteresis_db=0.0).rate_bps(PASS_DEG, PASS_KM), best)


def test_hysteresis_calms_the_changes() -> None:
    """A received level that flutters by 0.4 dB: many changes without hysteresis, few with 0.5 dB."""
    flutter_db = 0.4 * (np.arange(len(PASS_DEG)) % 2)
    changes = [
        np.count_nonzero(np.diff(built("acm", **WEAK, hysteresis_db=h).chosen(PASS_DEG, PASS_KM, flutter_db)))
        for h in (0.0, 0.5)
    ]
    assert changes[1] < 0.5 * changes[0]


def test_weather_that_was_not_predicted_breaks_vcm_and_not_acm() -> None:
    """5 dB beyond the budget, more than the margin of 3 dB: what vcm sends is lost, acm steps down."""
    same = {**WEAK, "required_margin_db": 3.0}
    vcm, acm, ccm = built("vcm", **same), built("acm", **same), built("ccm", **same, modcod="QPSK 1/4")
    high = PASS_DEG > 30.0
    assert np.all(vcm.rate_bps(PASS_DEG, PASS_KM, 2.9)[high] > 0.0)
    rates = {name: m.rate_bps(PASS_DEG, PASS_KM, 5.0)[high] for name, m in (("vcm", vcm), ("acm", acm))}
    assert rates["acm"].sum() > rates["vcm"].sum()
    assert np.all(rates["acm"] > 0.0)
    # One robust MODCOD keeps its clear-sky margin at high elevation.
    assert np.all(ccm.rate_bps(PASS_DEG, PASS_KM, 5.0)[high] > 0.0)


@pytest.mark.parametrize("mode", MODES)
def test_a_budget_that_never_closes_carries_nothing(mode: str) -> None:
    model = built(mode, transmit_power="1 mW", g_over_t_dbk=-20)
    assert not model.rate_bps(PASS_DEG, PASS_KM).any()
    assert np.all(model.chosen(PASS_DEG, PASS_KM) == NONE)
    assert np.all(np.isnan(model.margin_db(PASS_DEG, PASS_KM)))
    assert zenith_pass(model, 5.0, 550.0)["volume_bytes"] == 0.0


def test_ccm_begins_where_it_closes() -> None:
    model = built("ccm", modcod="16APSK 2/3", symbol_rate="50 Msym/s")
    rate = model.rate_bps(PASS_DEG, PASS_KM)
    on = rate > 0.0
    assert 0 < np.count_nonzero(on) < len(on)
    assert PASS_DEG[on].min() > PASS_DEG[~on].max() - 0.5  # neighbouring samples are 0.21 deg apart
    np.testing.assert_array_equal(np.unique(rate[on]), model.modcods[0].efficiency * 50e6)


def test_ccsds_codes_may_be_chosen_among() -> None:
    names = ["QPSK LDPC 1/2 k=16384", "QPSK LDPC 7/8", "BPSK RS(255,223) conv 1/2"]
    model = built("vcm", modcods=names, symbol_rate="150 Msym/s")
    rates = set(np.unique(model.rate_bps(PASS_DEG, PASS_KM)).tolist())
    assert max(rates) == pytest.approx(2 * 7136 / 8160 * 150e6)
    assert 150e6 in rates


def test_pilots_cost_their_symbols() -> None:
    plain, piloted = (built("vcm", pilots=p).rate_bps(PASS_DEG, PASS_KM) for p in (False, True))
    np.testing.assert_allclose(piloted / plain, 0.977, atol=0.002)  # 36 symbols in 16 slots of 90: 2.4 % of the slots


def test_acquisition_and_release_are_kept() -> None:
    model = built("vcm", acquisition="12s", release=3)
    assert (model.acquisition_s, model.release_s) == (12.0, 3.0)


# Scenario -------------------------------------------------------------------------------------------------------------

#: The radio of these tests is the default one, not the scenario's: another ``use`` drops its settings.
PLAIN = ["link.use=constant", "link.weather=null"]
SMALL = ["duration=1d", "targets.count=4", "stations.elevation_mask_deg=10", *PLAIN]


def test_a_scenario_flies_with_it_and_its_bytes_respond() -> None:
    """A thousandth of the power, 30 dB less: nothing closes, nothing arrives."""
    runs = {}
    for watts in ("2W", "2mW"):
        scenario = flightsim.load_scenario(
            "statistical", [*SMALL, "link.use=vcm", "policy.use=bent_pipe", f"link.with.transmit_power={watts}"]
        )
        runs[watts] = flightsim.run(scenario, write=False).metrics["bytes"]
    assert runs["2W"]["delivered"] > 0
    assert runs["2mW"]["delivered"] == 0


def test_capacity_follows_mode_and_power() -> None:
    capacity = {}
    for mode, watts in (("ccm", 1.0), ("vcm", 1.0), ("vcm", 2.0)):
        scenario = flightsim.load_scenario(
            "statistical", [*SMALL, f"link.use={mode}", f"link.with.transmit_power={watts}"]
        )
        capacity[mode, watts] = sum(window.bits_by(scenario.horizon_s) for window in contacts_for(scenario))
    assert 0.0 < capacity["ccm", 1.0] < capacity["vcm", 1.0] < capacity["vcm", 2.0]


# Command --------------------------------------------------------------------------------------------------------------


def test_the_command_prints_a_budget_that_adds_up() -> None:
    done = CliRunner().invoke(link_command, ["statistical", "--set", "link.use=acm", "--json"])
    assert done.exit_code == 0, done.output
    (sheet,) = json.loads(done.stdout)["sheets"]
    assert [c["elevation_deg"] for c in sheet["columns"]] == [10.0, 30.0, 90.0]
    for c in sheet["columns"]:
        eirp = c["transmit_power_dbw"] - c["line_loss_db"] + c["antenna_gain_dbi"]
        losses = sum(c[f"{name}_loss_db"] for name in ("free_space", "pointing", "polarisation", "atmosphere", "other"))
        assert c["eirp_dbw"] == pytest.approx(eirp)
        assert c["c_over_n0_dbhz"] == pytest.approx(eirp - losses + c["g_over_t_dbk"] - c["boltzmann_dbw"])
        assert c["es_n0_db"] == pytest.approx(c["c_over_n0_dbhz"] - c["symbol_rate_dbhz"])
        assert c["margin_db"] == pytest.approx(c["es_n0_db"] - c["implementation_loss_db"] - c["threshold_es_n0_db"])
        assert c["margin_db"] >= c["required_margin_db"]
        assert c["closes"]
        assert c["rate_bps"] > 0.0
    assert sheet["zenith_pass"]["payload_share"] == 0.1


def test_the_command_prints_text_for_people() -> None:
    done = CliRunner().invoke(link_command, ["statistical"])
    assert done.exit_code == 0, done.output
    for words in ("= EIRP", "- free-space loss", "+ G/T", "= C/N0", "MODCOD", "information rate", "through the zenith"):
        assert words in done.stdout
    assert "2,200 MHz, 400,000 sym/s in 0.5 MHz" in done.stdout


def test_the_command_reads_a_radio_and_says_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "radio.yaml"
    file.write_text("use: ccm\nwith: {modcod: 32APSK 9/10, transmit_power: 100 mW, symbol_rate: 50 Msym/s}\n")
    done = CliRunner().invoke(link_command, [str(file), "--mask", "7", "--altitude", "500"])
    assert done.exit_code == 0, done.output
    assert "orbit 500.0 km, mask 7 deg" in done.stdout
    assert "none (32APSK 9/10)" in done.stdout
    assert "dB of margin are missing" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simsat"], "link 'constant' has a rate and no budget behind it"),
        (["statistical", "--altitude", "500"], "--altitude and --mask go with a radio"),
        (["no-such"], "no scenario is called 'no-such'"),
        (["statistical", "--set", "link.use=vcm", "--set", "link.with.gain=3"], "gain"),
    ],
)
def test_the_command_refuses_in_one_message(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(link_command, arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_a_constant_radio_file_has_no_budget_either(tmp_path: Path) -> None:
    file = tmp_path / "radio.yaml"
    file.write_text("use: constant\n")
    done = CliRunner().invoke(link_command, [str(file)])
    assert done.exit_code == 2
    assert "no budget behind it" in done.stderr


def test_pass_through_the_zenith_is_as_long_as_orbits_make_it() -> None:
    """550 km, mask 5 deg: the arc of 2 (acos(R cos 5 / r) - 5 deg) at 1.0947e-3 rad/s, less 15 s."""
    whole = zenith_pass(built("vcm"), 5.0, 550.0)
    assert whole["duration_s"] == pytest.approx(591.0, abs=8.0)  # a pass near the zenith over Kiruna takes 587 s
    assert whole["usable_s"] == pytest.approx(whole["duration_s"] - 15.0)
    assert zenith_pass(built("vcm", acquisition="600s"), 5.0, 550.0)["volume_bytes"] == 0.0


# Frame loss -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_with_the_margins_of_the_defaults_no_frame_is_lost(mode: str) -> None:
    assert not built(mode).frame_loss(PASS_DEG, PASS_KM).any()


@pytest.mark.parametrize("mode", ["ccm", "vcm"])
def test_unpredicted_weather_first_loses_frames_and_then_all(mode: str) -> None:
    """1e-5 at the threshold, 11.5 decades a decibel: everything 5 / 11.5 dB below it."""
    model = built(mode)
    elevation_deg, range_km = np.array([60.0]), budget.slant_range_km(np.array([60.0]), 550.0)
    margin_db = float(model.margin_db(elevation_deg, range_km)[0])
    excess_db = margin_db + np.array([-0.3, 0.0, 0.2, 5.0 / 11.5 - 1e-6, 5.0 / 11.5 + 1e-6])
    loss = [float(model.frame_loss(elevation_deg, range_km, excess)[0]) for excess in excess_db]
    assert loss == pytest.approx([10**-8.45, 1e-5, 10**-2.7, 1.0, 1.0], rel=1e-4)
    rates = [float(model.rate_bps(elevation_deg, range_km, excess)[0]) for excess in excess_db]
    assert rates[:4] == [float(model.rate_bps(elevation_deg, range_km)[0])] * 4
    assert rates[4] == 0.0
    step = built(mode, frame_loss_at_threshold=0.0)
    assert [float(step.rate_bps(elevation_deg, range_km, excess)[0]) > 0.0 for excess in excess_db] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_nothing_sent_loses_nothing() -> None:
    dead = built("ccm", transmit_power=1e-9)
    assert not dead.rate_bps(PASS_DEG, PASS_KM).any()
    assert not dead.frame_loss(PASS_DEG, PASS_KM).any()
