"""The report's figures as inline SVG: the same bytes for the same run, text as text, colours of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import plotting
from ..units import bytes_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.0,
    "text.color": plotting.INK,
    "axes.edgecolor": plotting.INK,
    "axes.labelcolor": plotting.INK,
    "xtick.color": plotting.INK,
    "ytick.color": plotting.INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
_WIDTH_IN = 8.2


@dataclass(frozen=True)
class Drawing:
    """An SVG element with its heading, caption and text alternative."""

    name: str
    title: str
    svg: str
    caption: str
    alternative: str


def draw(name: str, height_in: float, paint: Callable[[Figure], None]) -> str:
    """SVG element of one figure, ids prefixed with its name so that several fit into one page."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'xlink:href="#{name}-')
    # Dark and light pages: what was drawn in ink takes the colour of the text around it.
    svg = svg.replace(plotting.INK, "currentColor")
    # The page scales the drawing to its column; the viewBox keeps the proportions.
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1
    )


def bytes_figure(metrics: Mapping[str, Any]) -> Drawing:
    """Bytes by kind of product, stacked."""
    by_kind = dict(sorted(metrics["bytes"]["by_kind"].items()))
    words = ", ".join(f"{kind} {bytes_text(size)}" for kind, size in by_kind.items()) or "nothing was radiated"
    return Drawing(
        "bytes-by-kind",
        "Bytes by kind",
        draw("bytes-by-kind", 1.7, lambda figure: _one(figure, plotting.bytes_by_kind, by_kind)),
        "Radiated transfer-frame bytes by product, with their share of headers and fill. Every product includes the "
        "verdict record of its tile.",
        f"Stacked bar of radiated bytes by product: {words}.",
    )


def comparison_figure(metrics: Mapping[str, Any]) -> Drawing:
    """The run's bytes beside its references."""
    values = metrics["bytes"]
    sizes = {
        "this run": values["air"],
        "bent pipe, same passes": values["bent_pipe_windows"],
        "capacity": values["capacity"],
        "bent pipe, unlimited link": values["bent_pipe_unlimited"],
    }
    words = ", ".join(f"{name} {bytes_text(size)}" for name, size in sizes.items())
    return Drawing(
        "bytes-compared",
        "Bytes beside the references",
        draw("bytes-compared", 2.1, lambda figure: _one(figure, plotting.bytes_compared, sizes)),
        "What the run radiated, what a bent pipe radiates on the same captures and passes, what the booked contacts "
        "can carry for the payload, and every captured tile once, lossless.",
        f"Bytes on a logarithmic axis: {words}.",
    )


def funnel_figure(metrics: Mapping[str, Any]) -> Drawing:
    """How many tiles are left after each step."""
    steps = {name: metrics["funnel"][name] for name in plotting.FUNNEL_LABELS}
    words = ", ".join(f"{plotting.FUNNEL_LABELS[name]} {count}" for name, count in steps.items())
    return Drawing(
        "funnel",
        "From capture to a true positive",
        draw("funnel", 2.7, lambda figure: _one(figure, plotting.funnel, steps)),
        "Tiles left after each step. A tile is a true positive when at least one of its events is believed on the "
        "ground because of what arrived. The last bar is small where events are rare: most tiles show none.",
        f"Funnel of tiles: {words}.",
    )


def trade_figure(metrics: Mapping[str, Any], days: float) -> Drawing:
    """Bytes against F1, with the references and the no-VLM senders."""
    values, quality = metrics["bytes"], metrics["quality"]
    run = (values["air"], quality["ground"]["f1"])
    references = {
        "bent pipe, same passes": (values["bent_pipe_windows"], quality["bent_pipe_windows"]["f1"]),
        "bent pipe, unlimited link": (values["bent_pipe_unlimited"], quality["bent_pipe_unlimited"]["f1"]),
    }
    points = [(point["air_bytes"], point["f1"]) for point in quality["no_vlm"]["points"]]

    def paint(figure: Figure) -> None:
        plotting.bytes_and_f1(
            figure.add_subplot(), run, references, points, days=days, capacity_bytes=values["capacity"],
            f1_unlimited=quality["bent_pipe_unlimited"]["f1"],
        )  # fmt: skip

    f1 = "undefined" if run[1] is None else f"{run[1]:.2f}"
    return Drawing(
        "trade",
        "Bytes against F1",
        draw("trade", 4.2, paint),
        f"Up and left is better. Grey: senders without an eye on board ({quality['no_vlm']['families']}), on the same "
        "captures, passes and reader; the line is the best of them at no more bytes.",
        f"This run radiated {bytes_text(run[0])} for an F1 of {f1}; bent pipes and no-VLM senders are beside it.",
    )


def timeline_figure(
    contacts: Mapping[str, NDArray[Any]], queue: Mapping[str, NDArray[Any]], start: str, days: float
) -> Drawing:
    """Contacts with their use, and queue, storage and compute backlog, on one time axis."""
    booked = contacts["booked"].astype(bool)
    middle = 0.5 * (contacts["aos_s"] + contacts["los_s"])[booked]
    capacity = contacts["capacity_bytes"][booked].astype(float)
    radiated = contacts["air_bytes"][booked].astype(float)

    def paint(figure: Figure) -> None:
        axes = figure.subplots(4, 1, sharex=True, height_ratios=(3, 2, 2, 2))
        plotting.contact_use(axes[0], middle, capacity, radiated)
        plotting.bytes_over_time(axes[1], queue["time_s"], queue["queued_bytes"], "waiting for\nthe link")
        plotting.bytes_over_time(axes[2], queue["time_s"], queue["storage_bytes"], "storage\nin use")
        plotting.waiting_tiles(axes[3], queue["time_s"], queue["waiting_tiles"])
        figure.align_ylabels()
        bottom = axes[3]
        bottom.set_xlim(0.0, days)
        bottom.set_xlabel(f"days since {start} [d]")

    peak = float(np.max(queue["queued_bytes"], initial=0.0))
    store = float(np.max(queue["storage_bytes"], initial=0.0))
    return Drawing(
        "timeline",
        "Contacts, queue and storage over time",
        draw("timeline", 6.6, paint),
        "From the top: each booked contact, what it could carry for the payload (outline) and what it radiated "
        "(filled); bytes waiting for the link; mass memory in use, raw captures included; tiles waiting for the "
        "processor. The last three are peaks over short spans; several spacecraft share the axes.",
        f"{int(booked.sum())} booked contacts radiated {bytes_text(float(radiated.sum()))} of "
        f"{bytes_text(float(capacity.sum()))}; the queue peaks at {bytes_text(peak)}, storage at {bytes_text(store)}.",
    )


def _one(figure: Figure, function: Callable[..., Any], *values: Any) -> None:
    function(figure.add_subplot(), *values)


__all__ = [
    "Drawing", "bytes_figure", "comparison_figure", "draw", "funnel_figure", "timeline_figure", "trade_figure",
]  # fmt: skip
