"""How well and how soon the ground knew: latency, reliability, confusion, F1 by schema, prevalence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..scoring import wilson
from .style import BLUE, GREY, INK, SERIES, VERMILION, legend, plain, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HOUR_S = 3600.0
_TICK_HOURS = {1 / 60: "1 min", 1 / 6: "10 min", 1: "1 h", 6: "6 h", 24: "1 d", 72: "3 d", 168: "7 d", 720: "30 d"}


def latency(ax: Axes, series: Mapping[str, tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> Axes:
    """Share of all true events that the ground knows, over the time since they were imaged.

    Parameters
    ----------
    series
        By name, the first with a band: waiting times [s] and whether they were cut off, as ``quality.latency_samples``
        gives them.

    Notes
    -----
    Events that were never known stay in the denominator, so a curve ends below one. An upright stroke marks where the
    run ended for such an event. The band is Wilson's at 95 %, with events taken as independent.
    """
    shortest, longest = np.inf, 0.0
    for k, ((name, (waited_s, censored)), (colour, _, line)) in enumerate(
        zip(series.items(), cycle(SERIES), strict=False)
    ):
        p = len(waited_s)
        known = np.sort(waited_s[~censored]) / _HOUR_S
        count = np.arange(1, len(known) + 1)
        label = f"{name}: {len(known):,} of {p:,}"
        if not len(known):
            ax.plot([], [], line, color=colour, label=label)
            continue
        end = max(float(known[-1]), float((waited_s[censored] / _HOUR_S).max(initial=0.0)))
        shortest, longest = min(shortest, float(known[0])), max(longest, end)
        x, y = np.append(known, end), np.append(count, count[-1]) / p
        ax.step(x, y, where="post", color=colour, linestyle=line, label=label)
        if k == 0:
            low, high = np.array([wilson(int(c), p) for c in np.append(count, count[-1])]).T
            ax.fill_between(x, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
        # Strokes closer than a thousandth of a decade fall on one another.
        cut = 10 ** np.unique(np.round(np.log10(waited_s[censored] / _HOUR_S), 3))
        at = np.searchsorted(known, cut, side="right") / p
        ax.plot(cut, at, "|", color=colour, markersize=3, markeredgewidth=0.5, alpha=0.7)
    ax.set_ylim(0.0, 1.02)
    ax.set_ylabel("share of true events known [-]")
    ax.set_xlabel("time from imaging to a right belief, logarithmic")
    if longest > 0:
        ax.set_xscale("log")
        ax.set_xlim(shortest * 0.8, longest * 1.1)
        shown = {at: text for at, text in _TICK_HOURS.items() if shortest * 0.8 <= at <= longest * 1.1}
        ax.set_xticks(list(shown), list(shown.values()))
        ax.minorticks_off()
    else:
        say(ax, "no true event came to be known")
        ax.set_xticks([])
    legend(ax, columns=1)
    return plain(ax, grid="both")


def reliability(
    ax: Axes,
    bins: Sequence[Mapping[str, float]],
    *,
    knots: Sequence[Mapping[str, float]] = (),
    base_rate: float | None = None,
    name: str = "held out",
) -> Axes:
    """Observed share of events where so much was stated, with Wilson's intervals, and how often it was.

    Parameters
    ----------
    bins
        ``stated`` mean, true events ``k`` and answers ``n``, as ``calibration.reliability_bins`` gives them.
    knots
        ``confidence`` and ``probability`` of the fitted calibration. [-]
    base_rate
        Of the set. [-]
    """
    from matplotlib.ticker import NullFormatter

    ax.plot([0, 1], [0, 1], color=INK, linewidth=0.6, linestyle=":", label="stated = observed")
    if base_rate is not None:
        ax.axhline(base_rate, color=GREY, linewidth=0.6, linestyle="--", label=f"base rate {base_rate:.2g}")
    if knots:
        x, y = ([knot[key] for knot in knots] for key in ("confidence", "probability"))
        ax.plot([0.0, *x, 1.0], [y[0], *y, y[-1]], color=BLUE, label="fitted on the other half")
    stated = np.array([row["stated"] for row in bins])
    share = np.array([row["k"] / row["n"] for row in bins])
    if len(bins):
        low, high = np.array([wilson(int(row["k"]), int(row["n"])) for row in bins]).T
        ax.errorbar(
            stated,
            share,
            (share - low, high - share),
            fmt="o",
            color=VERMILION,
            elinewidth=0.8,
            capsize=1.5,
            label=name,
        )
    else:
        say(ax, "no answer was held out")
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(0.0, 1.0)
    ax.set_xlabel("stated probability of an event [-]")
    ax.set_ylabel("observed share of events [-]")
    counts: Any = ax.inset_axes((0.0, 1.04, 1.0, 0.2), sharex=ax)
    n = [row["n"] for row in bins]
    counts.bar(stated, n, width=0.06, color=GREY, edgecolor=INK, linewidth=0.4)
    counts.set_yscale("log")
    counts.set_ylim(0.5, max(n, default=1) * 3.0)
    counts.tick_params(labelbottom=False)
    counts.yaxis.set_minor_formatter(NullFormatter())
    counts.set_ylabel("answers")
    plain(counts, grid="y")
    ax.legend(loc="upper left", frameon=False, borderaxespad=0.2)
    return plain(ax, grid="both")


def confusion_matrix(ax: Axes, rows: Mapping[str, Mapping[str, Any]]) -> Axes:
    """Counts of right and wrong answers, one line a schema; shaded by their share of the events or of the others.

    Parameters
    ----------
    rows
        ``tp``, ``fn``, ``fp``, ``tn`` by schema. [-]
    """
    names, keys = list(rows), ("tp", "fn", "fp", "tn")
    count = np.array([[int(rows[name][key]) for key in keys] for name in names]).reshape(len(names), 4)
    total = np.maximum(1, np.repeat(count.reshape(-1, 2, 2).sum(axis=2), 2, axis=1))
    share = count / total
    ax.imshow(share, cmap="cividis", vmin=0.0, vmax=1.0, aspect="auto")
    for (i, j), value in np.ndenumerate(count):
        # White on the dark half of the colours, ink on the bright one.
        ax.text(j, i, f"{value:,}", ha="center", va="center", color="white" if share[i, j] < 0.5 else INK)
    ax.set_xticks(range(4), ["found\nTP", "missed\nFN", "false\nalarm FP", "rightly\nnone TN"])
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    ax.tick_params(length=0)
    ax.axvline(1.5, color="white", linewidth=2.0)
    ax.set_xlabel("questions [-]; shade: share of the column pair")
    for side in ax.spines.values():
        side.set_visible(False)
    return ax


def per_schema_f1(ax: Axes, series: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Axes:
    """F1 by schema as dots with intervals, one colour and marker a series.

    Parameters
    ----------
    series
        By name and schema: ``tp``, ``fp``, ``fn``. [-] A schema without any is left out and named.

    Notes
    -----
    TP / (TP + FP + FN) is a share, of which F1 = 2 J / (1 + J) is a rising function: the bars are Wilson's interval of
    that share, at 95 %, taken through it.
    """
    schemas = list(dict.fromkeys(schema for rows in series.values() for schema in rows))
    offsets = np.linspace(-0.18, 0.18, len(series)) if len(series) > 1 else [0.0]
    for (name, rows), (colour, marker, _), offset in zip(series.items(), cycle(SERIES), offsets, strict=False):
        for k, (schema, counts) in enumerate(rows.items()):
            tp, wrong = int(counts["tp"]), int(counts["fp"]) + int(counts["fn"])
            y = len(schemas) - 1 - schemas.index(schema) + offset
            if not tp + wrong:
                ax.annotate("undefined", (0.02, y), va="center", fontsize="small", color=colour)
                continue
            low, at, high = (
                2 * j / (1 + j) for j in (wilson(tp, tp + wrong)[0], tp / (tp + wrong), wilson(tp, tp + wrong)[1])
            )
            ax.errorbar(
                [at], [y], xerr=[[at - low], [high - at]], fmt=marker, color=colour, elinewidth=0.8, capsize=1.5,
                label=None if k else name,
            )  # fmt: skip
    ax.set_yticks(range(len(schemas)), [schema.replace("_", " ") for schema in schemas[::-1]])
    ax.set_ylim(-0.5, len(schemas) - 0.5)
    ax.set_xlim(0.0, 1.0)
    ax.set_xlabel("F1 [-]")
    legend(ax, columns=len(series))
    return plain(ax, grid="x")


def prevalence(
    ax: Axes,
    rates: tuple[float, float],
    *,
    points: Mapping[str, Sequence[tuple[float, float | None]]] | None = None,
    published: float | None = None,
) -> Axes:
    """Precision, recall and F1 of one eye over the prevalence of events.

    Parameters
    ----------
    rates
        True- and false-positive rate; the curves follow from them. [-]
    points
        By name: prevalence and F1 of runs. [-]
    published
        Prevalence at which the eye was published. [-]
    """
    tpr, fpr = rates
    p = np.geomspace(8e-4, 0.55, 200)
    hit, alarm = p * tpr, (1 - p) * fpr
    ax.plot(p, hit / (hit + alarm), color=BLUE, linestyle="--", label="precision")
    ax.plot(p, np.full_like(p, tpr), color=GREY, linestyle="-.", label="recall")
    ax.plot(p, 2 * hit / (hit + alarm + p), color=VERMILION, label="F1")
    marks = cycle(mark for mark in SERIES if mark[0] != BLUE)
    for (name, runs), (colour, marker, _) in zip((points or {}).items(), marks, strict=False):
        known = [(x, y) for x, y in runs if y is not None]
        ax.plot([x for x, _ in known], [y for _, y in known], marker, color=colour, label=name, linestyle="none")
    if published is not None:
        ax.axvline(published, color=INK, linewidth=0.6, linestyle=":", label="as published")
    ax.set_xscale("log")
    ax.set_xlim(8e-4, 0.55)
    ax.set_xticks([0.001, 0.01, 0.1, 0.5], ["0.1 %", "1 %", "10 %", "50 %"])
    ax.minorticks_off()
    ax.set_ylim(0.0, 1.02)
    ax.set_xlabel("prevalence of events, logarithmic")
    ax.set_ylabel("share [-]")
    legend(ax, columns=2)
    return plain(ax, grid="both")
