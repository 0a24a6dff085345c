"""Bytes against F1 as SVG of our own: what each mark is stands in its hint, and colours follow the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..units import bytes_text

_WIDTH, _HEIGHT = 440.0, 330.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 14.0, 12.0, 42.0


def plane_svg(metrics: Mapping[str, Any], days: float) -> str:
    """SVG of F1 on the ground over radiated bytes a day, with the references and the senders without an eye.

    A pair without bytes or without an F1 has no place on the logarithmic axis and is left out; ``off_plane`` names it.
    """
    marks = _marks(metrics)
    points = _points(metrics)
    values = metrics["bytes"]
    sizes = [size for _, _, size, f1, _ in marks if _drawn(size, f1)]
    sizes += [size for _, size, f1 in points if _drawn(size, f1)]
    if values["capacity"] > 0:
        sizes.append(values["capacity"])
    if not sizes:
        return ""
    low = math.floor(math.log10(min(sizes) / days / 1.5))
    high = math.log10(max(sizes) / days * 1.8)

    def x(size: float) -> float:
        return _LEFT + (math.log10(size / days) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(f1: float) -> float:
        return _TOP + (1.0 - f1 / 1.04) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [*_axes(low, high, x, y, days)]
    if values["capacity"] > 0:
        at = x(values["capacity"])
        parts.append(
            f"<g class='rule'><title>capacity of the booked contacts, {bytes_text(values['capacity'])}</title>"
            f"<line x1='{at:.1f}' x2='{at:.1f}' y1='{y(1.04):.1f}' y2='{y(0):.1f}'/></g>"
            f"<text class='small' transform='translate({at - 4:.1f},{y(0) - 6:.1f}) rotate(-90)'>capacity</text>"
        )
    best = metrics["quality"]["bent_pipe_unlimited"]["f1"]
    if best is not None:
        parts.append(
            f"<g class='rule dotted'><title>F1 with an unlimited link, {best:.2f}</title>"
            f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y(best):.1f}' y2='{y(best):.1f}'/></g>"
        )
    parts += _envelope(points, x, y)
    for name, size, f1 in points:
        if f1 is not None and size > 0:
            said = f"{name}: F1 {f1:.2f} with {bytes_text(size)}"
            parts.append(
                f"<circle class='sender' cx='{x(size):.1f}' cy='{y(f1):.1f}' r='2.6'>"
                f"<title>{escape(said)}</title></circle>"
            )
    interval = metrics["quality"]["ground"].get("ci95", {}).get("f1")
    run = marks[0]
    if interval and _drawn(run[2], run[3]):
        at = x(run[2])
        parts.append(
            f"<g class='whisker'><title>95 % interval of this run's F1, {interval[0]:.2f} to {interval[1]:.2f}</title>"
            f"<path d='M{at:.1f},{y(interval[0]):.1f}V{y(interval[1]):.1f}m-4,0h8"
            f"M{at - 4:.1f},{y(interval[0]):.1f}h8'/></g>"
        )
    for kind, name, size, f1, shift in reversed(marks):
        if f1 is None or size <= 0:
            continue
        px, py = x(size), y(f1)
        said = f"{name}: F1 {f1:.2f} with {bytes_text(size)}"
        parts.append(f"<g class='{kind}'><title>{escape(said)}</title>{_SHAPES[kind].format(px, py)}</g>")
        anchor = "end" if px > 0.6 * _WIDTH else "start"
        dx = -10 if anchor == "end" else 10
        parts.append(
            f"<text class='label {kind}' x='{px + dx:.1f}' y='{py + shift:.1f}' text-anchor='{anchor}'>"
            f"{escape(name)}</text>"
        )
    opening = f"<svg class='plane' viewBox='0 0 {_WIDTH:g} {_HEIGHT:g}' xmlns='http://www.w3.org/2000/svg'>"
    return f"{opening}{''.join(parts)}</svg>"


def off_plane(metrics: Mapping[str, Any]) -> list[str]:
    """What has no place on the plane, in words."""
    found = []
    for _, name, size, f1, _ in _marks(metrics):
        if not _drawn(size, f1):
            score = "F1 undefined" if f1 is None else f"F1 {f1:.2f}"
            found.append(f"{name}: {bytes_text(size)}, {score}, off this plane")
    return found


def plane_words(metrics: Mapping[str, Any]) -> str:
    """The plane for those who do not see it."""
    said = [
        f"{name} {bytes_text(size)} with F1 {'undefined' if f1 is None else f'{f1:.2f}'}"
        for _, name, size, f1, _ in _marks(metrics)
    ]
    return "Radiated bytes and F1 on the ground: " + "; ".join(said) + "."


#: This run is a star, the bent pipes a square and a triangle.
_SHAPES = {
    "run": (
        "<path transform='translate({0:.1f},{1:.1f})' d='M0,-9L2.4,-2.9L8.6,-2.8L3.8,1.2L5.3,7.3L0,3.9"
        "L-5.3,7.3L-3.8,1.2L-8.6,-2.8L-2.4,-2.9Z'/>"
    ),
    "windows": "<path transform='translate({0:.1f},{1:.1f})' d='M-5,-5h10v10h-10Z'/>",
    "unlimited": "<path transform='translate({0:.1f},{1:.1f})' d='M0,-6.5L6,5H-6Z'/>",
}


def _marks(metrics: Mapping[str, Any]) -> list[tuple[str, str, float, float | None, float]]:
    values, quality = metrics["bytes"], metrics["quality"]
    return [
        ("run", "this run", values["air"], quality["ground"]["f1"], 4.0),
        ("windows", "bent pipe", values["bent_pipe_windows"], quality["bent_pipe_windows"]["f1"], 4.0),
        ("unlimited", "unlimited link", values["bent_pipe_unlimited"], quality["bent_pipe_unlimited"]["f1"], -9.0),
    ]


def _points(metrics: Mapping[str, Any]) -> list[tuple[str, float, float | None]]:
    return [(p["name"], p["air_bytes"], p["f1"]) for p in metrics["quality"]["no_vlm"]["points"]]


def _drawn(size: float, f1: float | None) -> bool:
    return size > 0 and f1 is not None


def _envelope(points: Sequence[tuple[str, float, float | None]], x: Any, y: Any) -> list[str]:
    others = sorted((size, f1) for _, size, f1 in points if f1 is not None and size > 0)
    if not others:
        return []
    best, path = 0.0, ""
    for size, f1 in others:
        if not path:
            path, best = f"M{x(size):.1f},{y(f1):.1f}", f1
        elif f1 > best:
            path, best = f"{path}H{x(size):.1f}V{y(f1):.1f}", f1
    return [
        "<g class='envelope'><title>the best sender without an eye at no more bytes</title>"
        f"<path d='{path}H{x(others[-1][0]):.1f}'/></g>"
    ]


def _axes(low: float, high: float, x: Any, y: Any, days: float) -> list[str]:
    parts = ["<g class='grid'>"]
    texts = []
    for tenth in range(0, 11, 2):
        at = y(tenth / 10)
        parts.append(f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{at:.1f}' y2='{at:.1f}'/>")
        texts.append(f"<text x='{_LEFT - 6}' y='{at + 4:.1f}' text-anchor='end'>{tenth / 10:.1f}</text>")
    for power in range(math.ceil(low), math.floor(high) + 1):
        at = x(10.0**power * days)
        parts.append(f"<line x1='{at:.1f}' x2='{at:.1f}' y1='{_TOP}' y2='{y(0):.1f}'/>")
        anchor = "middle" if at < _WIDTH - 2 * _RIGHT else "end"
        texts.append(f"<text x='{at:.1f}' y='{y(0) + 15:.1f}' text-anchor='{anchor}'>{bytes_text(10.0**power)}</text>")
    parts.append("</g>")
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    texts.append(
        f"<text x='{middle:.1f}' y='{_HEIGHT - 8}' text-anchor='middle'>radiated bytes a day, logarithmic</text>"
    )
    texts.append(
        f"<text transform='translate(11,{_HEIGHT / 2 - 12:.1f}) rotate(-90)' text-anchor='middle'>"
        "F1 on the ground</text>"
    )
    return [*parts, *texts]


__all__ = ["off_plane", "plane_svg", "plane_words"]
