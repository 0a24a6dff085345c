"""Figures of knowing and of place: what is drawn is what is said, on the axes that were given."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flightsim import plotting
from flightsim.scoring import wilson


def axes():
    figure = Figure(figsize=plotting.size_in())
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def texts(ax):
    found = [text.get_text() for text in ax.texts]
    legend = ax.get_legend()
    return found + ([text.get_text() for text in legend.get_texts()] if legend else [])


def test_what_was_never_known_stays_in_the_denominator():
    waited = np.array([3600.0, 7200.0, 90_000.0, 40_000.0])
    censored = np.array([False, False, True, True])
    ax = axes()
    assert plotting.latency(ax, {"run": (waited, censored)}) is ax
    x, y = ax.lines[0].get_data()
    assert list(x) == [1.0, 2.0, 25.0]
    assert list(y) == [0.25, 0.5, 0.5]
    cut, level = ax.lines[1].get_data()
    assert list(cut) == pytest.approx([40 / 3.6, 25.0], rel=2e-3)
    assert list(level) == [0.5, 0.5]
    assert "run: 2 of 4" in texts(ax)
    assert ax.get_ylabel() == "share of true events known [-]"


def test_a_run_that_never_knew_anything_says_so():
    ax = axes()
    plotting.latency(ax, {"run": (np.array([5.0, 6.0]), np.array([True, True]))})
    assert "no true event came to be known" in texts(ax)
    assert "run: 0 of 2" in texts(ax)
    plotting.latency(axes(), {"run": (np.zeros(0), np.zeros(0, bool))})


def test_reliability_shows_shares_with_wilsons_intervals():
    bins = [{"stated": 0.1, "k": 1, "n": 20}, {"stated": 0.9, "k": 18, "n": 20}]
    ax = axes()
    knots = [{"confidence": 0.2, "probability": 0.1}, {"confidence": 0.8, "probability": 0.7}]
    assert plotting.reliability(ax, bins, knots=knots, base_rate=0.3) is ax
    held = ax.containers[0]
    assert list(held.lines[0].get_ydata()) == [0.05, 0.9]
    (bars,) = held.lines[2]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [pytest.approx(wilson(1, 20)), pytest.approx(wilson(18, 20))]
    fitted = next(line for line in ax.lines if line.get_label() == "fitted on the other half")
    assert fitted.get_xydata().tolist() == [[0.0, 0.1], [0.2, 0.1], [0.8, 0.7], [1.0, 0.7]]
    counts = ax.child_axes[0]
    assert [patch.get_height() for patch in counts.patches] == [20, 20]
    empty = axes()
    plotting.reliability(empty, [])
    assert "no answer was held out" in texts(empty)


def test_confusion_writes_every_count_and_shades_by_share():
    ax = axes()
    rows = {
        "flood_extent": {"tp": 30, "fn": 10, "fp": 2, "tn": 998},
        "ice_extent": {"tp": 0, "fn": 0, "fp": 0, "tn": 5},
    }
    assert plotting.confusion_matrix(ax, rows) is ax
    assert [text.get_text() for text in ax.texts] == ["30", "10", "2", "998", "0", "0", "0", "5"]
    assert ax.images[0].get_array().tolist() == [[0.75, 0.25, 0.002, 0.998], [0.0, 0.0, 0.0, 1.0]]


def test_f1_by_schema_has_the_interval_of_a_share():
    ax = axes()
    counts = {"flood_extent": {"tp": 8, "fp": 1, "fn": 3}, "ice_extent": {"tp": 0, "fp": 0, "fn": 0}}
    assert plotting.per_schema_f1(ax, {"ground": counts}) is ax
    held = ax.containers[0]
    assert held.lines[0].get_xdata()[0] == pytest.approx(2 * 8 / (2 * 8 + 4))
    ((start, end),) = held.lines[2][0].get_segments()
    low, high = wilson(8, 12)
    assert [start[0], end[0]] == pytest.approx([2 * low / (1 + low), 2 * high / (1 + high)])
    assert "undefined" in texts(ax)


def test_the_prevalence_curve_is_the_formula():
    ax = axes()
    assert plotting.prevalence(ax, (0.9, 0.02), points={"runs": [(0.01, 0.4), (0.1, None)]}, published=0.33) is ax
    lines = {line.get_label(): line for line in ax.lines}
    p, f1 = lines["F1"].get_data()
    at = 77
    tp, fp, fn = p[at] * 0.9, (1 - p[at]) * 0.02, p[at] * 0.1
    assert f1[at] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert lines["precision"].get_ydata()[at] == pytest.approx(tp / (tp + fp))
    assert lines["runs"].get_xydata().tolist() == [[0.01, 0.4]]


def test_the_map_counts_tiles_and_cuts_the_track_where_it_wraps():
    ax = axes()
    tiles = {
        "not delivered": (np.array([1.0, 2.0]), np.array([3.0, 4.0])),
        "delivered": (np.array([5.0]), np.array([6.0])),
    }
    track = (np.array([0.0, 10.0, 20.0]), np.array([170.0, 179.0, -172.0]))
    assert plotting.ground_map(ax, tiles, track=track, stations={"Awarua": (-46.5, 168.4)}, areas=[(1.0, 2.0)]) is ax
    assert {"not delivered (2)", "delivered (1)", "ground track", "area", "station", "Awarua"} <= set(texts(ax))
    x = ax.lines[0].get_xdata()
    assert np.nanmax(np.abs(np.diff(x))) < 180
    assert np.count_nonzero(np.isnan(x)) == 1
    land = np.asarray(ax.images[0].get_array())[..., 3]
    # 29 % of the Earth is land; a plain map stretches the high latitudes, with Antarctica, to about a third.
    assert 0.28 < land.mean() < 0.42


def test_the_plane_draws_curves_interval_passes_and_real_images():
    ax = axes()
    plotting.bytes_and_f1(
        ax, (7e6, 0.6), {"bent pipe": (7e7, 0.5)}, [(7e5, 0.1), (7e6, 0.3)], days=7.0, capacity_bytes=1.4e8,
        f1_unlimited=0.9, interval=(0.5, 0.7), curves={"threshold": [(1.4e7, 0.7), (7e6, 0.5), (0.0, 0.0)]},
        hindsight=[(7e6, 0.8), (7e5, 0.85)], real=(8e6, 0.4), pass_bytes=1e7,
    )  # fmt: skip
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["threshold"].get_xydata().tolist() == [[1e6, 0.5], [2e6, 0.7]]
    assert lines["hindsight bound"].get_ydata().tolist() == [0.85, 0.85]
    assert lines["on real images"].get_markerfacecolor() == "none"
    ((low, high),) = ax.collections[0].get_segments()
    assert [low.tolist(), high.tolist()] == [[1e6, 0.5], [1e6, 0.7]]
    (top,) = ax.child_axes
    assert "passes per day" in top.get_xlabel()
    ax.figure.canvas.draw()
    low, high = top.get_xlim()
    assert [low * 1e7, high * 1e7] == pytest.approx(ax.get_xlim())


def test_the_time_line_shares_one_axis_of_days():
    figure = Figure()
    FigureCanvasAgg(figure)
    axes_ = figure.subplots(4, 1)
    contacts = {name: np.array([value]) for name, value in (("aos_s", 0.0), ("los_s", 600.0))}
    contacts |= {"capacity_bytes": np.array([5e6]), "air_bytes": np.array([1e6])}
    queue = {name: np.array([0.0, 5.0]) for name in ("time_s", "queued_bytes", "storage_bytes", "waiting_tiles")}
    assert plotting.timeline(axes_, contacts, queue, days=3.0, start="2026-10-02") is axes_
    assert {ax.get_xlim() for ax in axes_} == {(0.0, 3.0)}
    assert axes_[-1].get_xlabel() == "days since 2026-10-02 [d]"


def test_a_column_is_85_mm_and_its_text_is_legible():
    assert plotting.size_in()[0] * 25.4 == pytest.approx(85.0)
    with plotting.paper():
        ax = axes()
        plotting.funnel(ax, {"planned": 10, "captured": 8})
        sizes = [text.get_fontsize() for text in (*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels())]
    assert min(sizes) >= 6.0
