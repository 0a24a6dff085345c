"""The course of power, as table and as figure: the same numbers as the metrics, and nothing where there is no power."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from html import unescape

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flightsim import plotting
from flightsim.compute import Processor
from flightsim.errors import InputError
from flightsim.modes import Heat, Mode
from flightsim.plotting.power import spans
from flightsim.power_trace import STEP_S
from flightsim.report import material, power_figure, write_report
from flightsim.scenario.energy import Power, Thermal
from flightsim.supply import Supply

from .reports import powered_run, statistical_run
from .test_supply import sun

END_S = 20_000.0


def flown(seed: int) -> Supply:
    """A supply at time 0 that will meet most kinds of changes, full and empty among them."""
    rng = np.random.default_rng(seed)
    power = Power(
        battery_wh=rng.uniform(3.0, 20.0), initial_state_of_charge=rng.uniform(0.2, 0.95),
        max_charge_w=rng.uniform(5.0, 40.0),
    )  # fmt: skip
    sink_c = rng.uniform(-40.0, 60.0)
    thermal = Thermal(sunlit_sink_c=sink_c, eclipse_sink_c=sink_c - 30.0, charge_above_c=-5.0)
    solar = sun(*[*rng.uniform(600.0, 4000.0, 5).round().tolist(), END_S], watts=rng.uniform(8.0, 40.0))
    supply = Supply(power, thermal, solar, Processor(5700.0, 0.5))
    supply.photograph()
    supply.work(float(rng.uniform(0.0, 9000.0)))
    return supply


def axes(rows: int = 1):
    figure = Figure(figsize=plotting.size_in())
    FigureCanvasAgg(figure)
    return figure.subplots(rows)


def texts(ax):
    return [text.get_text() for text in ax.texts]


# Table ----------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
def test_the_trace_holds_the_extremes_and_times_of_the_report(seed):
    supply = flown(seed)
    report = supply.report("s", END_S, Counter(), 0)
    trace = supply.trace
    time_s, charge, warm = (np.array(column) for column in (trace.time_s, trace.state_of_charge, trace.temperature_c))
    assert (time_s[0], time_s[-1]) == (0.0, END_S)
    # Two changes at one instant, told apart by rounding, make no row that goes back.
    assert np.all(np.diff(time_s) > 0.0)
    assert np.diff(time_s).max() <= STEP_S * (1 + 1e-9)
    assert (charge.min(), charge[-1]) == (report.lowest_state_of_charge, report.final_state_of_charge)
    assert (warm.max(), warm.min()) == (report.highest_temperature_c, report.lowest_temperature_c)
    lasts_s = np.diff(time_s)
    for mode in Mode:
        # Sums of some hundred doubles of 1e4 s.
        assert lasts_s[np.array(trace.mode)[:-1] == mode].sum() == pytest.approx(
            report.mode_s[mode.name.lower()], abs=1e-6
        )
    assert lasts_s[np.array(trace.heat)[:-1] == Heat.CUT].sum() == pytest.approx(report.cut_s, abs=1e-6)
    assert lasts_s[np.array(trace.sunlit)[:-1] == 0].sum() == pytest.approx(report.eclipse_share * END_S, abs=1e-6)


@given(st.integers(0, 10_000), st.floats(0.0, END_S))
def test_a_straight_line_between_rows_is_the_state_in_between(seed, at_s):
    """Of a second flight that stops there. The charge is linear; the chord of the temperature misses it by at most
    (300 s / 30 min)^2 / 8 = 0.35 % of what is left to the steady temperature, which is below 150 K."""
    whole, part = flown(seed), flown(seed)
    whole.report("s", END_S, Counter(), 0)
    part.advance(at_s)
    trace = whole.trace
    charge = np.interp(at_s, trace.time_s, trace.state_of_charge)
    assert charge == pytest.approx(part.battery.state_of_charge, abs=1e-9)
    assert np.interp(at_s, trace.time_s, trace.temperature_c) == pytest.approx(part.node.temperature_c, abs=0.53)


def test_the_table_of_a_run_is_what_the_metrics_tell():
    table = pq.read_table(powered_run() / "power.parquet")
    power = json.loads((powered_run() / "metrics.json").read_text())["power"]
    (told,) = power["spacecraft"].values()
    time_s, mode = table["time_s"].to_numpy(), np.array(table["mode"].to_pylist())
    assert set(mode) == {"nominal", "low_power", "safe"}
    assert table["state_of_charge"].to_numpy().min() == power["lowest_state_of_charge"]
    assert table["temperature_c"].to_numpy().max() == power["highest_temperature_c"]
    for name, lasted_s in told["mode_s"].items():
        assert np.diff(time_s)[mode[:-1] == name].sum() == pytest.approx(lasted_s, abs=1e-6)
    assert int((mode[1:] != mode[:-1]).sum()) == power["mode_changes"]
    assert all(field.metadata[b"description"] for field in table.schema)
    assert "power.parquet" in json.loads((powered_run() / "run.json").read_text())["digests"]


# Figure ---------------------------------------------------------------------------------------------------------------


def test_the_drawn_line_is_the_table_and_its_lowest_point_is_named():
    found = material.read_material(powered_run())
    rows = found.power
    ax = axes()
    assert plotting.charge(ax, rows["time_s"], rows["state_of_charge"], {"safe below": 0.45, "low power below": 0.6})
    x, y = ax.lines[0].get_data()
    assert np.array_equal(x, rows["time_s"] / 3600.0)
    assert np.array_equal(y, rows["state_of_charge"])
    assert y.min() == found.metrics["power"]["lowest_state_of_charge"]
    assert texts(ax)[0] == f"lowest {y.min():.2f}"
    assert [line.get_ydata()[0] for line in ax.lines[2:]] == [0.45, 0.6]
    assert ax.get_ylabel() == "state of charge [-]"
    ax = axes()
    plotting.temperature(ax, rows["time_s"], rows["temperature_c"], {"off above": 85.0})
    assert texts(ax)[0] == f"highest {found.metrics['power']['highest_temperature_c']:.0f} °C"
    assert ax.get_ylim()[1] > 85.0


def test_bands_and_shades_last_as_long_as_modes_and_eclipses():
    time_s = np.array([0.0, 3600.0, 5400.0, 7200.0])
    ax = axes()
    plotting.modes(ax, time_s, ["nominal", "low_power", "nominal", "nominal"])
    widths = [[float(np.ptp(path.vertices[:, 0])) for path in band.get_paths()] for band in ax.collections]
    assert widths == [[1.0, 0.5], [0.5], []]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["nominal", "low power", "safe"]
    ax = axes()
    assert plotting.eclipses([ax], time_s, np.array([True, False, False, True]))
    (shade,) = ax.patches
    assert (shade.get_x(), shade.get_width()) == (1.0, 1.0)
    many = np.arange(1000.0)
    assert not plotting.eclipses([ax], many, many % 2 == 0)
    assert len(ax.patches) == 1


@pytest.mark.parametrize(
    ("holds", "found"),
    [
        ([True, True, True], [(0.0, 2.0)]),
        ([False, True, False], [(1.0, 2.0)]),
        ([False, False, True], []),  # nothing follows the last row
        ([True, False, True], [(0.0, 1.0)]),
    ],
)
def test_spans_run_from_row_to_row(holds, found):
    assert spans(np.array([0.0, 1.0, 2.0]), np.array(holds)) == found


def test_labels_of_near_limits_do_not_overlap_and_equal_ones_share_a_line():
    ax = axes()
    limits = {"safe below": 0.58, "low power below": 0.6, "safe ends above": 0.6, "nominal again above": 0.61}
    plotting.charge(ax, np.array([0.0, 3600.0]), np.array([0.9, 0.7]), limits)
    labels = ax.texts[1:]
    heights = [label.xy[1] for label in labels]
    assert [label.get_text() for label in labels] == [
        "0.58  safe below", "0.60  low power below, safe ends above", "0.61  nominal again above",
    ]  # fmt: skip
    assert np.diff(heights).min() > 0.08


def test_the_page_shows_the_figure_with_the_numbers_of_the_metrics():
    text = (powered_run() / "report.html").read_text()
    power = json.loads((powered_run() / "metrics.json").read_text())["power"]
    (block,) = re.findall(r"<figure id='figure-power'>.*?</figure>", text, re.DOTALL)
    said = unescape(re.sub(r"<[^>]*>", "\n", block))
    for words in (
        f"lowest {power['lowest_state_of_charge']:.2f}", f"highest {power['highest_temperature_c']:.0f} °C",
        "state of charge [-]", "temperature [°C]", "time [UTC]", "nominal", "low power", "safe",
        "0.60  low power below, safe ends above", "0.45  safe below", "70  slower above", "85  off above",
    ):  # fmt: skip
        assert words in said, words
    assert f"lowest state of charge {power['lowest_state_of_charge']:.2f}; " in said  # in words, for a screen reader
    assert len(set(re.findall(r'id="([^"]*)"', block))) == len(re.findall(r'id="([^"]*)"', block))
    assert "#fdfefd" not in block


def test_pictures_that_power_refused_are_not_laid_to_the_storage():
    metrics = json.loads((powered_run() / "metrics.json").read_text())
    lost = metrics["funnel"]["planned"] - metrics["funnel"]["captured"]
    assert lost == metrics["stages"]["refused_power"] > 0
    text = unescape((powered_run() / "report.html").read_text())
    assert f"were taken and stored (−{lost:,}: power refused the picture)" in text
    assert "storage was full)" not in text


def test_a_run_without_power_has_neither_table_nor_figure():
    assert not (statistical_run() / "power.parquet").exists()
    assert "figure-power" not in (statistical_run() / "report.html").read_text()
    assert material.read_material(statistical_run()).power == {}


def test_a_run_without_a_thermal_model_has_no_temperature(tmp_path):
    import flightsim

    short = ["duration=12h", "evaluation.grace=0s", "spacecraft.thermal=off"]
    flightsim.run(flightsim.load_scenario("power", short), out=tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "power.parquet")
    assert table["temperature_c"].null_count == table.num_rows
    page = power_figure.power(material.read_material(tmp_path / "run"))
    assert "state of charge [-]" in page
    assert "emperature" not in page


def test_several_spacecraft_are_drawn_by_name_those_with_the_least_charge_first():
    one = material.read_material(powered_run())
    (told,) = one.metrics["power"]["spacecraft"].values()
    names = [f"sat-{k}" for k in range(8)]
    rows = {name: np.tile(column, 8) for name, column in one.power.items()}
    rows["spacecraft"] = np.repeat(names, len(one.power["time_s"]))
    lowest = {name: told | {"lowest_state_of_charge": 0.9 - 0.1 * k} for k, name in enumerate(names)}
    metrics = one.metrics | {"power": one.metrics["power"] | {"spacecraft": lowest}}
    page = power_figure.power(replace(one, power=rows, metrics=metrics, scenario=None))
    assert re.findall(r"<b>(sat-\d)</b>", page) == ["sat-7", "sat-6", "sat-5", "sat-4", "sat-3", "sat-2"]
    assert "The 6 spacecraft with the least charge; 2 more are in power.parquet." in page
    assert "The limits are not drawn, for scenario.yaml cannot be loaded." in page
    assert "safe below" not in page
    ids = re.findall(r"""\bid=["']([^"']*)["']""", page)
    assert len(ids) == len(set(ids))


def test_a_missing_table_of_power_is_named(tmp_path):
    shutil.copytree(powered_run(), tmp_path / "run")
    (tmp_path / "run" / "power.parquet").unlink()
    with pytest.raises(InputError, match=r"power.parquet' is missing: the run folder is incomplete"):
        write_report(tmp_path / "run")
