"""Contacts, queue, storage and processor over time: lanes of SVG with one time axis, zoomed by their viewBox alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..units import bytes_text
from . import markup
from .material import Material

#: Spans of time of which a lane keeps the peak; a screen shows no more even zoomed in tenfold.
_BINS = 3000
_HEIGHT = 100.0
_HOUR_S = 3600.0


def peaks(
    time_s: NDArray[np.float64], values: NDArray[np.float64], bins: int = _BINS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Largest value in each of some equal spans of time, and where each begins; no value between is lost to sight."""
    if len(time_s) <= bins:
        return time_s, values
    span = np.minimum(((time_s - time_s[0]) / max(float(np.ptp(time_s)), 1e-12) * bins).astype(np.int64), bins - 1)
    first = np.flatnonzero(np.diff(span, prepend=-1))
    return time_s[first], np.maximum.reduceat(values, first)


def timeline(material: Material) -> str:
    """The figure as markup; each lane says its largest value."""
    contacts, queue = material.contacts, material.queue
    booked = contacts["booked"].astype(bool)
    lanes = [
        _contact_lane(contacts, booked, material.metrics["contacts"]),
        _lane("Waiting for the link", "queue", queue["time_s"], queue["queued_bytes"], bytes_text),
        _lane("Storage in use", "storage", queue["time_s"], queue["storage_bytes"], bytes_text),
        _lane("Waiting for the processor", "waiting", queue["time_s"], queue["waiting_tiles"], _tiles_text),
    ]
    end = material.horizon_s / _HOUR_S
    drawn = "".join(
        f"<div class='lane' data-lane='{name}'>"
        f"<p><span>{escape(label)}</span> <span class='top'>{escape(top)}</span></p>"
        f"<svg viewBox='0 0 {end:.3f} {_HEIGHT:g}' preserveAspectRatio='none' role='img' aria-label='{escape(words)}'>"
        f"<title>{escape(words)}</title>{content}</svg></div>"
        for name, label, top, words, content in lanes
    )
    ticks = "".join(
        f"<span style='left:{100 * hours / end:.3f}%'>{escape(text)}</span>"
        for hours, text in axis_ticks(material.start, end)
    )
    caption = (
        "From the top: each booked contact, what it could carry for the payload (pale) and what it radiated (dark); "
        "bytes waiting for the link; mass memory in use, raw captures included; tiles waiting for the processor. "
        "After the last picture the run goes on for the grace time, so that what is queued can come down."
    )
    hint = (
        "<p class='scripted hint'>Drag over a span to zoom in; with the figure chosen, the wheel or + and − zoom, "
        "← and → move, 0 shows all. Point at it to read values.</p>"
    )
    return (
        "<figure id='timeline'><div class='lanes' tabindex='0' role='group' "
        f"aria-label='Contacts, queue, storage and processor over time'>{drawn}"
        f"<div class='axis' aria-hidden='true'>{ticks}</div><div class='cursor' hidden></div>"
        "<div class='brush' hidden></div></div>"
        "<p class='scripted controls'><button type='button' data-time='reset'>Whole run</button> "
        "<button type='button' data-time='in'>Zoom in</button> <button type='button' data-time='out'>Zoom out</button> "
        "<label><input type='checkbox' id='span-filter'> only tiles imaged in this span</label> "
        "<output id='timeline-values' aria-live='off'></output></p>"
        f"<figcaption>{markup.explained(caption)}{hint}</figcaption></figure>"
        + markup.source("contacts.parquet", "queue.parquet (peaks over short spans)")
    )


def _tiles_text(value: float) -> str:
    return f"{value:,.0f} tiles"


def _contact_lane(
    contacts: dict[str, NDArray[Any]], booked: NDArray[np.bool_], counts: Mapping[str, Any]
) -> tuple[str, str, str, str, str]:
    capacity = contacts["capacity_bytes"][booked].astype(float)
    radiated = contacts["air_bytes"][booked].astype(float)
    aos, los = contacts["aos_s"][booked] / _HOUR_S, contacts["los_s"][booked] / _HOUR_S
    top = max(float(capacity.max(initial=0.0)), 1.0)

    def rectangles(values: NDArray[np.float64]) -> str:
        height = _HEIGHT * values / top
        return "".join(
            f"M{a:.3f},{_HEIGHT:g}V{_HEIGHT - h:.2f}H{b:.3f}V{_HEIGHT:g}Z"
            for a, b, h in zip(aos.tolist(), los.tolist(), height.tolist(), strict=True)
            if h > 0
        )

    words = (
        f"{int(booked.sum())} booked contacts radiated {bytes_text(float(radiated.sum()))} of "
        f"{bytes_text(float(capacity.sum()))}"
        + (f", {counts['failed']} failed" if counts.get("failed") else "")
        + (f", price {counts['price']:,.10g}" if "price" in counts else "")
    )
    label = "Contacts" if booked.any() else "Contacts: no contact was booked"
    content = f"<path class='capacity' d='{rectangles(capacity)}'/><path class='radiated' d='{rectangles(radiated)}'/>"
    return "contacts", label, f"top {bytes_text(top)} a contact; {words}", words, content


def _lane(
    label: str, name: str, time_s: NDArray[np.float64], values: NDArray[np.float64], text: Any
) -> tuple[str, str, str, str, str]:
    most = float(np.max(values, initial=0.0))
    at, high = peaks(time_s / _HOUR_S, values.astype(float))
    height = _HEIGHT * (1.0 - high / most) if most > 0 else np.full(len(high), _HEIGHT)
    path = "".join(f"H{a:.2f}V{h:.1f}" for a, h in zip(at.tolist(), height.tolist(), strict=True))
    content = f"<path class='level' d='M0,{_HEIGHT:g}{path}V{_HEIGHT:g}Z'/>" if path else ""
    words = f"{label}: at most {text(most)}"
    return name, label, f"top {text(most)}", words, content


def axis_ticks(start: datetime | None, end_h: float) -> list[tuple[float, str]]:
    """Days on the axis: hours since the start, and the date at midnight (UTC), or the day of the run. [h]"""
    days = max(1, int(end_h // 24))
    step = next((k for k in (1, 2, 5, 7, 14, 30, 90) if days / k <= 8), 365)
    if start is None:
        return [(24.0 * k, f"day {k}") for k in range(0, days + 1, step) if 24.0 * k <= end_h]
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    for k in range(0, days + 2, step):
        moment = midnight + timedelta(days=k)
        hours = (moment - start).total_seconds() / _HOUR_S
        if 0.0 <= hours <= end_h:
            found.append((hours, f"{moment.day} {moment:%b}"))
    return found


def timeline_data(material: Material) -> dict[str, Any]:
    """What the script needs to read values off the lanes."""
    queue = material.queue
    data: dict[str, Any] = {}
    for name, column in (("queue", "queued_bytes"), ("storage", "storage_bytes"), ("waiting", "waiting_tiles")):
        at, high = peaks(queue["time_s"], queue[column].astype(float))
        data[name] = {"t": np.round(at).astype(int).tolist(), "v": np.round(high).astype(int).tolist()}
    return data


__all__ = ["axis_ticks", "peaks", "timeline", "timeline_data"]
