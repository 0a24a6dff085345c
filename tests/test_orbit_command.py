"""``flightsim orbit``: its figures beside closed forms and the modules they come from, and what a user gets wrong."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from flightsim import cli, geodesy, light
from flightsim.light import ShadowModel
from flightsim.orbit_command import orbit, orbit_row
from flightsim.scenario import load_scenario

from .test_light import DAY_S, flying

#: Gravitational parameter of the Earth. [km3/s2] (WGS-72, that of SGP4)
MU = 398600.8


def call(*arguments: str) -> Result:
    return CliRunner().invoke(orbit, list(arguments), prog_name="flightsim orbit")


def rows_of(*arguments: str) -> list[dict[str, Any]]:
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return list(json.loads(done.stdout)["rows"])


def test_the_command_is_offered_and_listed_with_its_sentence() -> None:
    listed = CliRunner().invoke(cli.main, ["--help"], prog_name="flightsim", terminal_width=200)
    assert "Show height, period, light and radiation of each orbit" in listed.output
    done = CliRunner().invoke(cli.main, ["orbit", "default", "--days", "0.5"], prog_name="flightsim")
    assert done.exit_code == 0
    assert "beta at start [deg]" in done.stdout
    assert "shadow: point-sun" in done.stderr


def test_figures_beside_the_pocket_calculator() -> None:
    (row,) = rows_of("default", "--days", "3")
    scenario = load_scenario("default")
    wanted = scenario.craft[0].orbit
    assert wanted.altitude_km is not None
    axis_km = geodesy.EQUATORIAL_RADIUS_KM + wanted.altitude_km
    # Kepler's third law; J2 changes the mean motion of SGP4 by 0.15 % at most.
    assert row["period_s"] == pytest.approx(2.0 * np.pi * np.sqrt(axis_km**3 / MU), rel=1.5e-3)
    assert row["revolutions_per_day"] == pytest.approx(DAY_S / row["period_s"], abs=1e-5)
    assert row["inclination_deg"] == wanted.inclination_deg
    # The ellipsoid is 21.4 km lower at the poles, the orbit itself moves by some 10 km.
    assert wanted.altitude_km - 15.0 < row["height_min_km"] < row["height_max_km"] < wanted.altitude_km + 40.0
    # Over a sphere at rest: 2 pi R / T; the Earth's turning adds a fifth of a per cent for a polar orbit.
    assert row["ground_speed_kmps"] == pytest.approx(2.0 * np.pi * 6371.0 / row["period_s"], rel=0.015)
    assert wanted.ltan is not None
    hours, minutes = map(int, wanted.ltan.split(":"))
    assert row["ltan_h"] == pytest.approx(hours + minutes / 60.0, abs=0.005)
    # Scalar product of the normal (node at 15 deg an hour from the Sun) and the Sun, at -3.5 deg on 2 October.
    node, tilt, sun = np.radians([15.0 * (row["true_ltan_h"] - 12.0), row["inclination_deg"], -3.5])
    beta_deg = np.degrees(np.arcsin(np.cos(sun) * np.sin(tilt) * np.sin(node) + np.sin(sun) * np.cos(tilt)))
    # A tenth of a degree of declination is 0.013 deg here.
    assert row["beta_start_deg"] == pytest.approx(beta_deg, abs=0.05)
    assert row["beta_min_deg"] <= row["beta_start_deg"] <= row["beta_max_deg"]
    # 5 % of the time in a sun-synchronous orbit (model notes, section 5).
    assert row["saa_share"] == pytest.approx(0.05, abs=0.005)
    assert row["saa_crossings_per_day"] * row["saa_longest_s"] / DAY_S >= row["saa_share"]


@pytest.mark.parametrize("model", ShadowModel)
def test_every_shadow_model_is_offered(model: ShadowModel) -> None:
    (row,) = rows_of("default", "--days", "1", "--shadow", model.value)
    scenario = load_scenario("default")
    wanted = scenario.craft[0].orbit
    assert (wanted.altitude_km, wanted.inclination_deg, wanted.ltan) == (510.0, 97.44, "22:30")
    assert scenario.start == flying().start
    assert row["shadow"] == model.value
    assert row["eclipse_fraction"] == round(light.eclipse_fraction(flying(), 0.0, DAY_S, model), 5)
    longest_s = max(end - begin for begin, end in light.eclipses(flying(), 0.0, DAY_S, model))
    assert row["eclipse_longest_s"] == pytest.approx(longest_s, abs=1e-3)


def test_an_orbit_without_a_node_and_without_eclipse_has_a_row() -> None:
    row = orbit_row("flat", flying(500.0, 0.0, "12:00"), 0.5 * DAY_S)
    assert row["ltan_h"] is None
    assert row["true_ltan_h"] is None
    assert row["saa_share"] == row["saa_crossings_per_day"] == row["saa_longest_s"] == 0.0
    # The ground moves along below: the speed over it is that of the orbit less the Earth's.
    spun_kmps = 2.0 * np.pi * geodesy.EQUATORIAL_RADIUS_KM * (1.0 / row["period_s"] - 1.0 / 86164.1)
    assert row["ground_speed_kmps"] == pytest.approx(spun_kmps, rel=2e-3)
    json.dumps(row, allow_nan=False)
    done = call("default", "--days", "0.2", "--set", "spacecraft.orbit.inclination_deg=0")
    assert done.exit_code == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("LTAN")] == ["-", "-"]


def test_windows_of_a_place() -> None:
    windows = rows_of("default", "--days", "7", "--target", "48.137,11.575", "--off-nadir", "35", "--sun", "10")
    spans = light.access_windows(flying(), 48.137, 11.575, 35.0, 0.0, 7 * DAY_S, 10.0)
    assert len(windows) == len(spans) >= 3
    for window, (begin_s, end_s) in zip(windows, spans, strict=True):
        assert window["duration_s"] == pytest.approx(end_s - begin_s, abs=1e-3)
        assert window["min_off_nadir_deg"] <= 35.0
        assert window["sun_elevation_deg"] >= 9.99
        # Least off-nadir is where the place sees the spacecraft highest.
        assert window["elevation_deg"] > 90.0 - 1.2 * 35.0
    assert windows == sorted(windows, key=lambda window: window["start"])
    table = call("default", "--days", "7", "--target", "48.137,11.575", "--off-nadir", "35", "--sun", "10")
    assert len(table.stdout.splitlines()) == 1 + len(windows)
    assert rows_of("default", "--days", "1", "--target", "48.137,11.575", "--off-nadir", "1") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "48.1"], "--target is '48.1'; it must be latitude and longitude in degrees: 48.1,11.6."),
        (["--target", "north,11"], "--target is 'north,11'"),
        (["--target", "95,11"], "lat_deg is 95; it must lie in [-90, 90]."),
        (["--target", "48,11", "--off-nadir", "0"], "max_off_nadir_deg is 0; it must lie in (0, 90]."),
        (["--off-nadir", "20"], "--off-nadir and --sun go with --target LAT,LON"),
        (["--target", "48,11", "--shadow", "umbra"], "--shadow is about eclipses of the spacecraft"),
        (["--days", "0"], "0.0 is not in the range 0.0<x<=400.0"),
        (["--shadow", "sphere"], "'sphere' is not one of 'point-sun'"),
    ],
)
def test_wrong_input_is_one_clear_message(arguments: list[str], words: str) -> None:
    done = call("default", *arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())
    assert done.stdout == ""
