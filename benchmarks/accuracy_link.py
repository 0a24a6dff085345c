"""Errors of the link: budget, MODCODs, volumes, weather, frame loss, bytes on the wire."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np

from flightsim import cfdp, frames, geodesy, registry
from flightsim.cfdp import Losses
from flightsim.contacts import with_capacity
from flightsim.domain import ContactWindow
from flightsim.link import Constant, ConstantConfig, RadioConfig, budget, codes, radio
from flightsim.link.itur_table import total_loss_db
from flightsim.link.loss import frame_loss
from flightsim.link.modes import RadioLink, Vcm
from flightsim.link.radio import ChoiceConfig
from flightsim.link.weather import Skies, shipped_table
from flightsim.orbit import Propagator
from flightsim.passes import find_passes
from flightsim.protocols import LinkModel
from flightsim.scenario.models import Cfdp, ShippedStations, Station, Weather
from flightsim.stations import resolve, shipped_names
from flightsim.transaction import Transaction

from .measured import LINK, Absent, Figure, Tally, craft_of, reference, since

DAY_S = 86400.0


def radio_of(given: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Settings of ours for a budget of the reference, whose losses are the same at all elevations."""
    return {
        "frequency": given["freq_hz"], "transmit_power": given["tx_power_w"], "line_loss_db": given["tx_line_loss_db"],
        "antenna_gain_dbi": given["tx_gain_dbi"], "pointing_loss_db": given["pointing_loss_db"],
        "polarisation_loss_db": given["polarisation_loss_db"], "g_over_t_dbk": given["g_over_t_db"],
        "zenith_loss_db": 0, "other_loss_db": given["atmospheric_loss_db"],
        "implementation_loss_db": given["implementation_loss_db"],
        "required_margin_db": given.get("link_margin_db", 0.0), **more,
    }  # fmt: skip


def published() -> list[Figure]:
    """Two budgets that others printed, to 0.1 dB."""
    cases = {case["id"]: case for case in reference("link")["published"]}
    allowed_db = reference("link")["tolerance"]["published_dB"]
    tally = Tally("EURASIP 2020; NOAA EMWIN-N")
    case = cases["EURASIP-2020-S-band"]
    given = case["input"]
    g_over_t = budget.g_over_t_dbk(given["rx_gain_dbi"], 0.0, given["system_temp_k"])
    c_n0 = budget.c_over_n0_dbhz(given["eirp_dbw"], given["fspl_db"], given["pointing_loss_db"], g_over_t)
    eb_n0 = budget.eb_over_n0_db(c_n0, given["data_rate_bps"])
    margin = budget.margin_db(eb_n0, given["implementation_loss_db"], given["required_eb_n0_db"])
    pairs = [(c_n0, "cn0_dbhz"), (eb_n0, "eb_n0_db"), (margin, "margin_db")]
    tally.extend("published budgets", (x - case["published"][key] for x, key in pairs), "dB", allowed_db)
    case = cases["NOAA-EMWIN-N-downlink"]
    given = case["input"]
    path = budget.free_space_loss_db(given["range_km"], given["freq_hz"])
    losses_db = given["atmospheric_loss_db"] + given["polarisation_loss_db"]
    c_n0 = budget.c_over_n0_dbhz(given["eirp_dbw"], path, losses_db, given["g_over_t_db"])
    pairs = [(path, "fspl_db"), (c_n0, "cn0_dbhz")]
    tally.extend("published budgets", (x - case["published"][key] for x, key in pairs), "dB", allowed_db)
    return tally.figures()


def budgets() -> list[Figure]:
    """C/N0, Eb/N0, Es/N0, margin, slant range, gain, Doppler."""
    data = reference("link")
    limits, tally = data["tolerance"], Tally(LINK)
    for case in data["budgets"]:
        given, wanted = case["input"], case["expected"]
        settings = RadioConfig.model_validate(radio_of(given))
        c_n0 = radio.c_over_n0_dbhz(settings, 90.0, given["range_km"])
        loss_db = budget.free_space_loss_db(given["range_km"], given["freq_hz"])
        tally.add("EIRP, free-space loss", radio.eirp_dbw(settings) - wanted["eirp_dbw"], "dB", limits["dB"])
        tally.add("EIRP, free-space loss", loss_db - wanted["fspl_db"], "dB", limits["dB"])
        tally.add("C/N0", c_n0 - wanted["cn0_dbhz"], "dB", limits["dB"])
        if "data_rate_bps" in given:
            eb_n0 = budget.eb_over_n0_db(c_n0, given["data_rate_bps"])
            margin = budget.margin_db(eb_n0, settings.implementation_loss_db, given["required_eb_n0_db"])
            highest = budget.highest_rate_bps(c_n0, settings.implementation_loss_db, given["required_eb_n0_db"])
            tally.add("Eb/N0, Es/N0", eb_n0 - wanted["eb_n0_db"], "dB", limits["dB"])
            tally.add("margin", margin - wanted["margin_db"], "dB", limits["dB"])
            off = 100.0 * (highest / wanted["max_rate_at_0db_margin_bps"] - 1.0)
            tally.add("rate at no margin", off, "%", 100.0 * limits["rate_rel"])
        else:
            link = Vcm(ChoiceConfig.model_validate(radio_of(given, symbol_rate=given["symbol_rate_sps"])))
            es_n0 = radio.es_over_n0_db(link.radio, 90.0, given["range_km"])
            tally.add("Eb/N0, Es/N0", es_n0 - wanted["es_n0_db"], "dB", limits["dB"])
            rate = link.rate_bps(np.array([90.0]), np.array([given["range_km"]]))[0]
            tally.add("rate of the MODCOD", 100.0 * (rate / wanted["info_rate_bps"] - 1.0), "%", 1e-4)
    for case in data["slant_range"]:
        wrong_km = budget.slant_range_km(case["el_deg"], case["h_km"]) - case["range_km"]
        tally.add("slant range", wrong_km, "km", limits["slant_km"])
    for case in data["antenna_gain"]:
        gain = budget.antenna_gain_dbi(case["diameter_m"], case["freq_hz"], case["efficiency"])
        tally.add("antenna gain", gain - case["gain_dbi"], "dB", limits["dB"])
    for case in data["doppler"]:
        shift = budget.doppler_hz(case["freq_hz"], case["range_rate_mps"])
        tally.add("Doppler shift", shift - case["one_way_shift_hz"], "Hz", 0.1)  # the file has one digit
    return tally.figures()


def modcods() -> list[Figure]:
    """Every row of DVB-S2, and the choice among them."""
    data = reference("link")
    tally, choice = Tally(LINK), Vcm(ChoiceConfig())
    rows = data["dvb_s2_normal_frames"]
    for row, plain, pilots in zip(rows, codes.dvb_s2(), codes.dvb_s2(pilots=True), strict=True):
        # The file has six digits of efficiency, three of Eb/N0.
        tally.add("DVB-S2 efficiency, without pilots and with", plain.efficiency - row["efficiency"], "bit/sym", 1e-6)
        tally.add(
            "DVB-S2 efficiency, without pilots and with", pilots.efficiency - row["efficiency_pilots"], "bit/sym", 1e-6
        )
        tally.add("DVB-S2 threshold, Es/N0", plain.es_n0_db - row["es_n0_db"], "dB", 0.0)
        tally.add("DVB-S2 threshold, Eb/N0", plain.eb_n0_db - row["eb_n0_db"], "dB", 1e-3)
    for case in data["modcod_choice"]:
        best = int(choice._best(np.array([case["es_n0_db"]]), case["margin_db"])[0])
        name = choice.modcods[best].name if best >= 0 else None
        tally.add("choice of a MODCOD", float(name != case["modcod"]), "", 0.0)
    return tally.figures()


def uncoded() -> list[Figure]:
    """The one CCSDS row that theory gives: bit error rate 1e-6 of antipodal signals."""
    row = next(code for code in codes.CCSDS_CODES if code.name == "uncoded")
    exact_db = 10.0 * math.log10(NormalDist().inv_cdf(1e-6) ** 2 / 2.0)
    wrong_db = abs(row.eb_n0_db - exact_db)
    return [Figure("uncoded threshold, Eb/N0", "Q(sqrt(2 Eb/N0)) = 1e-6", 1, wrong_db, "dB", 0.005)]


def volumes() -> list[Figure]:
    """Bytes of whole passes by link mode, on our own geometry."""
    chosen = reference("link")["pass_volumes"]
    limits, settings = reference("link")["tolerance"], chosen["settings"]
    data, start, craft = craft_of("contacts")
    times = {"acquisition": settings["acquisition_s"], "release": settings["release_s"]}
    x_band = radio_of(settings["x_band"], symbol_rate=settings["x_symbol_rate_sps"], **times)
    s_band = radio_of(settings["s_band"], symbol_rate=2e6, modcod="BPSK uncoded", **times)
    vcm, budget_2mbps = _built("vcm", **x_band), _built("ccm", **s_band)
    stations = [
        Station(name=s["id"], lat_deg=s["lat_deg"], lon_deg=s["lon_deg"], altitude_m=s["alt_m"])
        for s in data["stations"]
    ]
    found = {
        name: find_passes(orbit, name, stations, 0.0, since(data["window"]["end"], start))
        for name, orbit in craft.items()
    }
    tally = Tally(LINK)
    for case in chosen["passes"]:
        aos_s = since(case["aos"], start)
        (window,) = [w for w in found[case["sat"]] if w.station == case["station"] and abs(w.aos_s - aos_s) < 1.0]
        (place,) = [s for s in stations if s.name == window.station]
        models: dict[str, tuple[LinkModel, str]] = {
            "constant": (Constant(ConstantConfig(rate=2e6)), "s_band_constant_2mbps_bytes"),
            "ccm": (_built("ccm", **x_band, modcod=case["x_band_ccm_at_mask_modcod"]), "x_band_ccm_bytes"),
            "vcm": (vcm, "x_band_acm_bytes"),
            "acm": (_built("acm", **x_band, hysteresis_db=0.0), "x_band_acm_bytes"),
        }
        for mode, (model, key) in models.items():
            (full,) = with_capacity(
                [replace(window, booked=True)], {case["sat"]: craft[case["sat"]]}, [place], model, 1.0
            )
            allowed = limits[f"pass_volume_rel_{'constant_rate' if mode in ('constant', 'ccm') else 'adaptive'}"]
            carried = float(full.capacity_bits[-1]) / 8.0 if full.capacity_bits is not None else math.nan
            tally.add(f"volume of a pass, {mode}", 100.0 * (carried / case[key] - 1.0), "%", 100.0 * allowed)
        tally.extend(
            "seconds in each MODCOD, acm",
            _wrong_seconds(models["acm"][0], window, craft[case["sat"]], place, case),
            "s",
            2.0,
        )
        # The least margin of the reference is the one half a second after AOS, the middle of its first step.
        position_km = craft[case["sat"]].itrf(np.array([window.aos_s + 0.5]))[0]
        look = geodesy.look_angles(position_km, place.lat_deg, place.lon_deg, place.altitude_m / 1e3)
        margin_db = budget_2mbps.usable_es_n0_db(look[0], look[2])[0] - settings["s_band"]["required_eb_n0_db"]
        tally.add("margin at AOS", margin_db - case["s_band_2mbps_min_margin_db"], "dB", limits["dB"])
    return tally.figures()


def _wrong_seconds(
    model: Any, window: ContactWindow, orbit: Propagator, place: Station, case: dict[str, Any]
) -> list[float]:
    """Differences in the time that each MODCOD is sent; the reference samples at about 1 s, hence 2 s at most."""
    times_s = np.arange(window.aos_s + model.acquisition_s, window.los_s - model.release_s, 0.1)
    look = geodesy.look_angles(orbit.itrf(times_s)[0], place.lat_deg, place.lon_deg, place.altitude_m / 1e3)
    rows, counts = np.unique(model.chosen(look[0], look[2]), return_counts=True)
    ours = {model.modcods[row].name: 0.1 * count for row, count in zip(rows, counts, strict=True)}
    listed = case["x_band_acm_seconds_by_modcod"]
    return [ours.get(name, 0.0) - listed.get(name, 0.0) for name in sorted(ours.keys() | listed.keys())]


def _built(mode: str, **settings: Any) -> RadioLink:
    model: RadioLink = registry.build("links", mode, settings)
    return model


# Weather --------------------------------------------------------------------------------------------------------------


def weather_table() -> list[Figure]:
    """The shipped table where the reference has a station of its name."""
    known = {station.name: station for station in _shipped()}
    figures = []
    for case in reference("link")["itur"]["cases"]:
        if (name := case["site"].title()) in known:
            loss = shipped_table().at(known[name], 1e9 * case["freq_ghz"])
            wrong_db = abs(float(loss.loss_db(case["el_deg"], case["p_percent"])) - case["total_db"])
            allowed_db = round(max(0.05, 0.1 * case["total_db"]), 3)
            figures.append(Figure(f"shipped table, {name}", "`link.json`, itur 0.4.0", 1, wrong_db, "dB", allowed_db))
    return figures


def weather_maker() -> list[Figure]:
    """What makes the table against the reference, and the table between its points against what makes it.

    Raises
    ------
    Absent
        itur is not installed.
    """
    try:
        import itur  # noqa: F401
    except ImportError as error:
        raise Absent("itur is not installed, pip install 'flightsim[weather]'") from error
    made, between = Tally("`link.json`, itur 0.4.0"), Tally("itur 0.4.0, 10 % or 0.05 dB")
    for case in reference("link")["itur"]["cases"]:
        loss_db = total_loss_db(
            case["lat_deg"], case["lon_deg"], None, case["freq_ghz"], case["el_deg"], case["p_percent"],
            case["antenna_m"],
        )  # fmt: skip
        allowed_db = round(max(0.05, 0.1 * case["total_db"]), 3)
        made.add(f"total attenuation, {case['site'].title()}", float(loss_db) - case["total_db"], "dB", allowed_db)
    rng = np.random.default_rng(1)
    for station in _shipped():
        for frequency_ghz in (2.25, 8.15, 25.8):
            elevation_deg, percent = rng.uniform(5.0, 90.0), float(10.0 ** rng.uniform(-2.0, 1.6))
            truth_db = float(
                total_loss_db(
                    station.lat_deg, station.lon_deg, station.altitude_m, frequency_ghz, elevation_deg, percent
                )
            )
            found_db = float(shipped_table().at(station, 1e9 * frequency_ghz).loss_db(elevation_deg, percent))
            part = 100.0 * (found_db - truth_db) / max(0.05, 0.1 * truth_db)
            between.add("table between its points", part, "% of what is allowed", 100.0)
    return made.figures() + between.figures()


def weather_in_time() -> list[Figure]:
    """How often a loss is exceeded, and how long weather lasts, over ten years."""
    (place,) = [station for station in _shipped() if station.name == "Singapore"]
    skies = Skies(Weather(), [place], RadioConfig(), shipped_table(), 1, 3650 * DAY_S)
    percent = np.array([skies.exceeded_percent(place.name, k * 10800.0) for k in range(29200)])
    seldom, lasting = Tally("the percentage itself"), Tally("exp(-lag / 3 h)")
    for wanted in (45.0, 10.0, 1.0):
        p = wanted / 100.0
        # Samples 3 h apart remember exp(-1), which makes an error 1.5 times as large at most.
        error = (np.mean(percent < wanted) - p) / (1.5 * math.sqrt(p * (1.0 - p) / len(percent)))
        seldom.add("share of time beyond a percentage", error, "standard errors", 4.0)
    normal = NormalDist()

    def scores(shift_s: float) -> list[float]:
        at = [skies.exceeded_percent(place.name, k * DAY_S + shift_s) for k in range(3648)]
        return [normal.inv_cdf(1.0 - value / 100.0) for value in at]

    now = scores(0.0)
    for lag_s in (1350.0, 10800.0, 43200.0):
        found = np.corrcoef(now, scores(lag_s))[0, 1]
        error = (found - math.exp(-lag_s / 10800.0)) * math.sqrt(3648)
        lasting.add("correlation after 22 min, 3 h, 12 h", error, "standard errors", 4.0)
    return seldom.figures() + lasting.figures()


def _shipped() -> list[Station]:
    return list(resolve(ShippedStations(use="shipped", names=shipped_names())))


# Bytes and losses -----------------------------------------------------------------------------------------------------


def wire() -> list[Figure]:
    """Every count of the five reference transfers, both directions, all frame formats."""
    tally = Tally("spacepackets 0.32 encoders, cfdp-py 0.7 handlers")
    for case in reference("cfdp_bytes")["cases"]:
        asked, want = case["input"], case["expected"]
        settings = Cfdp.model_validate(
            {
                "class": asked["cfdp_class"], "entity_id_bytes": asked["id_len"], "sequence_bytes": asked["seq_len"],
                "crc": asked["crc"], "segment_bytes": asked["segment_len"],
            }
        )  # fmt: skip
        for ours, theirs in _counts(asked, want, settings):
            tally.add(f"CFDP class {asked['cfdp_class']}: PDUs, packets, frames, symbols", ours - theirs, "", 0.0)
    return tally.figures()


def _counts(asked: dict[str, Any], want: dict[str, Any], settings: Cfdp) -> list[tuple[int, int]]:
    first = frames.class1(asked["file_size"], settings, asked["src_name"], asked["dst_name"])
    pairs = [
        (first.file_data_pdus, want["n_file_data_pdus"]), (first.metadata_pdu_bytes, want["metadata_pdu"]),
        (first.full_data_pdu_bytes, want["file_data_pdu_full"]),
        (first.last_data_pdu_bytes, want["file_data_pdu_last"]), (first.eof_pdu_bytes, want["eof_pdu"]),
    ]  # fmt: skip
    forward = first.space_packet_bytes
    if asked["cfdp_class"] == 1:
        pairs += [(first.pdu_bytes, want["forward_pdu_bytes"]), (first.packets, want["forward_packets"])]
    else:
        sent = cfdp.class2(
            asked["file_size"], settings, asked["src_name"], asked["dst_name"], asked.get("lost_segments", [])
        )
        forward = sent.forward_space_packet_bytes
        pairs += [
            (sent.directives.ack_pdu_bytes, want["ack_eof_pdu"]),
            (sent.directives.finished_pdu_bytes, want["finished_pdu"]),
            (sent.directives.nak_pdu_bytes(sent.nak_requests), want.get("nak_pdu", 0)),
            (sent.retransmitted_pdus, want.get("retransmitted_pdus", 0)),
        ]
        pairs += [
            (getattr(sent, name), want[name])
            for name in (
                "forward_pdu_bytes", "return_pdu_bytes", "forward_packets", "return_packets",
                "return_space_packet_bytes",
            )
        ]  # fmt: skip
    pairs.append((forward, want["forward_space_packet_bytes"]))
    for name, framing in want["framing"].items():
        frame = frames.FORMATS[name]
        count = frames.frames_for(forward, frame)
        pairs += [
            (count, framing["frames"]), (count * frame.cadu_bytes, framing["cadu_bytes"]),
            (frames.channel_symbols(forward, frame), framing["channel_symbols"]),
            (frames.fill_bytes(forward, frame), framing["fill_bytes"]),
        ]  # fmt: skip
    return pairs


def losses() -> list[Figure]:
    """Frame loss by margin, what it does to a packet, and to files of both classes."""
    code, phases = Tally("Monte Carlo of decoders (project notes)"), Tally("every phase in a frame")
    for margin_db, wanted in ((0.0, 1e-5), (-0.2, 2e-3)):
        found = float(frame_loss(margin_db, 1e-5, 11.5))
        # The slope is rounded to 11.5 decades a decibel.
        code.add("frames lost at 0 and 0.2 dB below threshold", 100.0 * (found / wanted - 1.0), "%", 1.0)
    zone = frames.FORMATS["TM_1115_RS5"].zone_bytes
    for packet, share in ((1, 0.3), (40, 0.05), (1022, 0.05), (zone, 0.5), (5000, 0.01)):
        touched = (np.arange(zone) + packet - 1) // zone + 1
        wanted = float(np.mean(1.0 - (1.0 - share) ** touched))
        phases.add("probability that a packet is lost", float(cfdp.loss_of(packet, share, zone)) - wanted, "", 1e-9)
    chance, count = float(cfdp.loss_of(5000, 0.05, zone)), 20_000
    lost = Losses(3, Cfdp(), zone).file_is_lost(np.arange(count, dtype=np.uint64), 5000, 0.05)
    one = Tally("its probability")
    one.add("20,000 files of class 1 lost", (lost.mean() - chance) * math.sqrt(count / (chance * (1 - chance))),
            "standard errors", 5.0)  # fmt: skip
    return [*code.figures(), *phases.figures(), *one.figures(), _sent_again(zone)]


def _sent_again(zone: int) -> Figure:
    """300 files of 100 segments in class 2 at 5 % frame loss, attempts without limit in practice."""
    settings = Cfdp.model_validate({"class": 2, "attempts": 100, "segment_bytes": 1000})
    again = 0
    for key in range(300):
        exchange = Transaction(100_000, "t/0000001", key, Losses(1, settings, zone))
        while not exchange.complete:
            exchange.landed(0.05)
            again += exchange.burst_pdus if not exchange.complete else 0
    p, p_short = (float(cfdp.loss_of(packet, 0.05, zone)) for packet in (1022, 40))
    # Metadata and EOF are short: two of them a file.
    wanted = 300 * (100 * p / (1 - p) + 2 * p_short / (1 - p_short))
    error = abs(again - wanted) / math.sqrt(300 * 100 * p / (1 - p) ** 2)
    return Figure("PDUs of class 2 sent again, 300 files", "p / (1 - p)", again, error, "standard errors", 5.0)
