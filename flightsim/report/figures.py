"""The figures of quantities: the plane of bytes and F1, funnel, bytes by kind, latency."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from .. import plotting
from ..domain import VerdictStatus
from ..units import bytes_text, duration_text
from . import markup, plane, power_figure
from .drawing import draw, figure
from .material import Material

_RELIABILITY_BINS = 10


def all_figures(material: Material) -> str:
    """The figures in the order of the page."""
    metrics = material.metrics
    parts = [
        _plane(metrics, material.context["duration_s"] / 86400.0), _funnel(metrics), _kinds(metrics),
        _references(metrics), _latency(material), _reliability(material),
    ]  # fmt: skip
    return f"<div class='figures'>{''.join(parts)}</div>{power_figure.power(material)}"


def _plane(metrics: Mapping[str, Any], days: float) -> str:
    svg = plane.plane_svg(metrics, days)
    off = "".join(f"<p class='note'>{escape(text)}</p>" for text in plane.off_plane(metrics))
    families = metrics["quality"]["no_vlm"]["families"]
    return figure(
        "plane", "Bytes against F1",
        (svg or "<p>Nothing with a defined F1 was radiated.</p>") + off,
        f"Up and left is better. Grey dots: no-VLM senders ({families}), on the same captures, contacts and reader; "
        "the line is the best of them at no more bytes. Dotted: F1 with an unlimited link; dashed: what the contacts "
        "carry.",
        "metrics.json bytes", "quality", "quality.no_vlm.points",
        words=plane.plane_words(metrics) if svg else "",
    )  # fmt: skip


_LOSSES = {
    "planned": ("pictures taken by the nominal plan", ""),
    "captured": ("were taken and stored", ""),
    "processed": ("reached a decision", "were not processed in time"),
    "sent": ("were to be sent", "the policy sent nothing"),
    "delivered_in_time": ("were on the ground in time", "did not come down in time"),
    "true_positive": ("told of a true event", "told of no true event"),
}


def _not_stored(stages: Mapping[str, int]) -> str:
    why = {"dropped_full": "storage was full", "refused_power": "power refused the picture"}
    return ", or ".join(text for state, text in why.items() if stages.get(state)) or why["dropped_full"]


def _funnel(metrics: Mapping[str, Any]) -> str:
    steps = {name: int(metrics["funnel"][name]) for name in plotting.FUNNEL_LABELS}
    first = max(1, steps["planned"])
    rows, before = [], None
    for name, count in steps.items():
        label, lost = _LOSSES[name]
        if name == "captured":
            lost = _not_stored(metrics["stages"])
        if before is not None and before > count:
            label += f" (−{before - count:,}: {lost})"
        rows.append((label, float(count), f"{count:,} · {100 * count / first:.3g} %", lost, ""))
        before = count
    return figure(
        "funnel", "From a picture to a true event", markup.bars(rows, first, "Funnel of tiles", "found"),
        "Tiles left after each step, and what the others were lost to. The last bar is small where events are rare: "
        "most tiles show none.",
        "metrics.json funnel",
    )  # fmt: skip


def _kinds(metrics: Mapping[str, Any]) -> str:
    kinds = dict(sorted(metrics["bytes"]["by_kind"].items(), key=lambda item: (-item[1], item[0])))
    total = sum(kinds.values())
    rows = [
        (
            f"in a {kind}" if kind != "verdict" else "verdicts alone",
            size,
            f"{bytes_text(size)} · {100 * size / total:.3g} %",
            "",
            "",
        )
        for kind, size in kinds.items()
    ]
    content = markup.bars(rows, total, "Radiated bytes by kind", "kind") if rows else "<p>Nothing was radiated.</p>"
    return figure(
        "kinds", "Bytes by kind", content,
        "Radiated transfer-frame bytes by product, with their share of headers and fill. Every product includes the "
        "verdict record of its tile.",
        "metrics.json bytes.by_kind",
    )  # fmt: skip


def _references(metrics: Mapping[str, Any]) -> str:
    values = metrics["bytes"]
    sizes = {
        "this run": values["air"],
        "bent pipe on the same contacts": values["bent_pipe_windows"],
        "what the contacts can carry": values["capacity"],
        "every tile, lossless, unlimited link": values["bent_pipe_unlimited"],
    }
    rows = [(name, float(size), bytes_text(size), "", "") for name, size in sizes.items()]
    return figure(
        "references", "Bytes beside the references",
        markup.bars(rows, max(*sizes.values(), 1), "Bytes compared", "kind"),
        "On the same captures and contacts. The bars start at zero.",
        "metrics.json bytes",
    )  # fmt: skip


def _latency(material: Material) -> str:
    values = material.metrics["latency_s"]
    title = "How long it took"
    if not values["positives"]:
        return figure("latency", title, "<p>There was no true event to wait for.</p>", "", "metrics.json latency_s")
    said = ", ".join(
        f"{name} {duration_text(values[name]) if values[name] is not None else 'not reached'}"
        for name in ("median", "p90", "p95")
    )
    rows = []
    for who, part in (("this run", values), ("bent pipe", values["bent_pipe_windows"])):
        shares = [part[f"within_{hours}h"] or 0.0 for hours in (1, 6, 24)]
        rows.append([who, *(f"{100 * share:.3g} %" for share in shares)])
    positive = material.questions["changed"] & material.questions["labelled"]
    known = material.questions["known_s"]
    censored = np.isnan(known)
    end_s = np.where(censored, material.horizon_s, known)
    waited = (end_s - material.tiles["captured_s"][:, None])[positive]
    series = {"this run": (waited, censored[positive])}
    svg = draw("latency", 3.0, lambda canvas: plotting.latency(canvas.add_subplot(), series))
    return figure(
        "latency", title,
        svg + markup.table(("known within", "1 h", "6 h", "24 h"), rows, caption="Share of true events known in time"),
        f"Share of all {values['positives']:,} true events that the ground knew so long after imaging; {said}. "
        f"{values['censored']:,} are censored: they never became known, and count as waits without an end; a stroke "
        "marks the end of the run for them. The band is a 95 % interval.",
        "metrics.json latency_s", "verdicts.parquet known_s",
        words=f"Share of true events known over the time since imaging: {said}; {values['censored']} never.",
    )  # fmt: skip


def _reliability(material: Material) -> str:
    """How far the eye's confidence could be trusted in this run; nothing where it states none."""
    asked = material.questions
    event, null = asked["status"] == str(VerdictStatus.EVENT), asked["status"] == str(VerdictStatus.NULL)
    confidence = asked["confidence"].astype(float)
    used = (event | null) & asked["labelled"] & np.isfinite(confidence)
    if not used.any():
        return ""
    stated = np.where(event, confidence, 1.0 - confidence)[used]
    true = asked["changed"][used]
    at = np.minimum((stated * _RELIABILITY_BINS).astype(np.int64), _RELIABILITY_BINS - 1)
    bins = [
        {"stated": float(stated[at == b].mean()), "k": int(true[at == b].sum()), "n": int((at == b).sum())}
        for b in np.unique(at).tolist()
    ]
    rate = float(true.mean())
    svg = draw(
        "reliability", 3.4,
        lambda canvas: plotting.reliability(canvas.add_subplot(), bins, base_rate=rate, name="this run"),
    )  # fmt: skip
    calibrated = material.metrics.get("calibration") or {}
    source = "; ".join(sorted({str(part["source"]) for part in calibrated.values()}))
    told = "; ".join(f"stated {row['stated']:.2f}, observed {row['k']} of {row['n']}" for row in bins)
    return figure(
        "reliability", "Could the eye's confidence be trusted?", svg,
        f"Of the {len(stated):,} labelled answers of this run, how often an event was there where so much confidence "
        "in one was stated. On the dotted line they agree."
        + (f" The ground reads the confidence through a calibration from {source}." if source else ""),
        "verdicts.parquet", "metrics.json calibration",
        words=f"Stated confidence and observed share of events: {told}.",
    )  # fmt: skip


__all__ = ["all_figures"]
