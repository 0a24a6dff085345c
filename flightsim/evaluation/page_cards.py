"""The gallery on the page: before, after, the truth and the answer, mistakes first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..report import markup
from ..report.cards import words_of
from .asking import Row
from .cards import Outcome, Shown
from .evaluating import Evaluation
from .fields import field_scores
from .outputs import plain

_TITLES: Mapping[Outcome, tuple[str, str]] = {
    Outcome.MISSED: ("Missed", "An event is there, inside of the yellow line; the answer was no, or none."),
    Outcome.FALSE_ALARM: ("False alarms", "The event that was asked about is not there; the answer was yes."),
    Outcome.WRONG_PLACE: ("Found, but place or area wrong", "The event is there, and the answer puts it elsewhere or "
                          "gets its size wrong by more than a factor of two."),
    Outcome.FOUND: ("Found", "Event, place and area are right."),
    Outcome.LEFT_ALONE: ("Rightly left alone", "Nothing of the kind is there, and the answer was no."),
}  # fmt: skip


def gallery(found: Evaluation) -> str:
    """All cards, by how the answers turned out."""
    parts = []
    for outcome, numbers in found.cards.items():
        title, said = _TITLES[outcome]
        if numbers:
            cards = "".join(_card(found.rows[k], found.shown[k], outcome) for k in numbers)
            parts.append(
                markup.section(title, f"<p class='note'>{escape(said)}</p><div class='cards'>{cards}</div>", level=3)
            )
    if not parts:
        return markup.paragraph("The scenes have no pictures.")
    note = (
        "Chosen by rule, schemas in turn: nothing was picked by hand. <span class='truth-word'>Yellow line</span>: the "
        "truth. <span class='box-word'>Dashed box</span>: where the answer puts the event. Before and after share one "
        "stretch of brightness; infrared shows plants green, burns red and water dark."
    )
    return f"<p class='caption card'>{note}</p>" + "".join(parts)


def _card(row: Row, shown: Shown, outcome: Outcome) -> str:
    north, east = "N" if row.lat_deg >= 0 else "S", "E" if row.lon_deg >= 0 else "W"
    place = f"{abs(row.lat_deg):.2f}° {north}, {abs(row.lon_deg):.2f}° {east}"
    dated = row.before_s is not None and row.captured_s != row.before_s
    age = f", {(row.captured_s - (row.before_s or 0.0)) / 86400:.0f} days between" if dated else ""
    pictures = "".join(
        f"<h4>{escape(name)}</h4><div class='pictures two'>"
        + "".join(_picture(row, shown, parts, part) for part in ("before", "after"))
        + "</div>"
        for name, parts in shown.pictures.items()
    )
    others = [words_of(schema) for schema in row.shown if schema != row.schema]
    return (
        f"<article class='card'><h3>{escape(words_of(row.schema))}?</h3>"
        f"<p class='where'>{escape(row.place_id)} · {place}{escape(age)}</p>{pictures}"
        f"<dl><dt>truth</dt><dd>{_truth(row, others)}</dd><dt>answer</dt><dd>{_answer(row)}</dd>"
        f"{_marks(row, outcome)}</dl>{_raw(row)}</article>"
    )


def _picture(row: Row, shown: Shown, parts: Mapping[str, str], part: str) -> str:
    if part not in parts:
        return (
            f"<figure><div class='frame nothing'><span>no picture</span></div><figcaption>{part}</figcaption></figure>"
        )
    over = _overlay(row, shown) if part == "after" else ""
    return (
        f"<figure><div class='frame'><img src='{parts[part]}' width='{shown.width}' height='{shown.height}' "
        f"loading='lazy' alt='{part}'>{over}</div><figcaption>{part}</figcaption></figure>"
    )


def _overlay(row: Row, shown: Shown) -> str:
    """Outline of the truth and the answer's box, over a picture that may be less high or wide than its frame."""
    parts = [f"<path class='truth' d='{shown.outline}'/>"] if shown.outline else []
    for body, kind in ((row.verdict.body, "box"), (None if shown.outline else row.true, "truth")):
        box = (body or {}).get("box")
        if isinstance(box, list | tuple) and len(box) == 4:
            x0, y0, x1, y1 = (min(1.0, max(0.0, float(side))) for side in box)
            parts.append(f"<path class='{kind}' d='M{x0:.4g},{y0:.4g}H{x1:.4g}V{y1:.4g}H{x0:.4g}Z'/>")
    if not parts:
        return ""
    wide, high = (side / max(shown.width, shown.height) for side in (shown.width, shown.height))
    left, top = (1 - wide) / 2, (1 - high) / 2
    return (
        f"<svg viewBox='0 0 1 1' preserveAspectRatio='none' aria-hidden='true'>"
        f"<g transform='translate({left:.4g},{top:.4g}) scale({wide:.4g},{high:.4g})'>{''.join(parts)}</g></svg>"
    )


def _truth(row: Row, others: Sequence[str]) -> str:
    told = "; also shows " + ", ".join(others) if others else ""
    if row.event:
        return escape("it happened" + (f": {_told(row.true)}" if row.true else "") + told)
    hidden = "" if row.visible else ", hidden by cloud or missing data"
    return escape(("did not happen" + (f"; shows {', '.join(others)}" if others else "")) + hidden)


def _answer(row: Row) -> str:
    verdict = row.verdict
    sure = "" if verdict.confidence is None else f", confidence {verdict.confidence:.2f}"
    words = {"event": "event", "null": "no event", "unclassifiable": "not classifiable", "invalid": "unreadable"}
    why = f" ({verdict.reason})" if verdict.reason else ""
    told = f": {_told(verdict.body)}" if verdict.body else ""
    return escape(f"{words[str(verdict.status)]}{why}{sure}{told}")


def _told(body: Mapping[str, Any] | None) -> str:
    """Some fields of a verdict in words."""
    words = []
    for key in ("direction", "severity", "where", "fraction_of_tile"):
        value = (body or {}).get(key)
        if key == "fraction_of_tile" and isinstance(value, int | float):
            words.append(f"{100 * value:.2g} % of the tile")
        elif value is not None:
            words.append(words_of(str(value)))
    return ", ".join(words)


def _marks(row: Row, outcome: Outcome) -> str:
    if outcome not in (Outcome.WRONG_PLACE, Outcome.FOUND) or not row.true:
        return ""
    right = field_scores(row.verdict.body or {}, row.true)
    marks = ", ".join(
        f"<span class='{'right' if ok else 'wrong'}'>{words_of(name)}</span>"
        for name, ok in right.items()
        if name != "where_and_area"
    )
    return f"<dt>fields</dt><dd>{marks}</dd>"


def _raw(row: Row) -> str:
    if not row.verdict.body:
        return ""
    return f"<pre>{escape(json.dumps(plain(row.verdict.body)))}</pre>"


__all__ = ["gallery"]
