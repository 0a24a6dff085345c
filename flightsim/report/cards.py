"""The gallery on the page: before, after and what arrived, with verdict, truth and what the ground believed."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import causes, products
from ..gallery import FOLDER
from ..units import bytes_text, duration_text
from . import markup
from .material import Material
from .world_map import shape_key

#: Cards that stand open when the page's script runs; a button shows the rest.
_OPEN = 6
#: Pictures with a longer side are shown smaller, so that the page stays small; what arrived is shown as it is. [px]
_MAX_SIDE_PX = 256
#: Bytes of all pictures, as text, up to which the short-wave infrared ones are on the page as well. [B]
_MAX_PICTURES_BYTES = 4_500_000
_MIME = {".webp": "image/webp", ".png": "image/png", ".jpeg": "image/jpeg", ".jpg": "image/jpeg"}
_TITLES = {
    "found": "Found", "missed": "Missed", "false_alarm": "False alarm", "refuted": "Eye corrected by the picture",
    "unusable": "Not usable", "quiet": "Rightly left alone",
}  # fmt: skip
_MARKS = {"found": "found", "missed": "missed", "false_alarm": "alarm"}
_MAX_FIELDS = 4


def gallery(material: Material) -> str:
    """All cards, or a sentence why there are none."""
    if not material.gallery:
        return markup.paragraph(
            "This run folder holds no pictures: the scenes have sizes and truth but no pixels, or the run was made "
            "without its event log."
        )
    entries, note = material.gallery, ""
    swir = any("after-swir" in entry["pictures"] for entry in entries)
    if swir and _text_bytes(material) > _MAX_PICTURES_BYTES:
        swir, note = False, " The short-wave infrared pictures lie in gallery/; the page would be too large with them."
        kept = [{k: v for k, v in entry["pictures"].items() if not k.endswith("-swir")} for entry in entries]
        entries = [{**entry, "pictures": pictures} for entry, pictures in zip(entries, kept, strict=True)]
    cards = "".join(_card(material, entry, number) for number, entry in enumerate(entries))
    switch = (
        "<label><input type='checkbox' id='swir'> show short-wave infrared (vegetation green, burns red, water black)"
        "</label>"
        if swir
        else ""
    )
    rest = len(material.gallery) - _OPEN
    more = f"<button type='button' id='more-cards'>Show {rest} more</button>" if rest > 0 else ""
    caption = (
        f"{len(material.gallery)} tiles chosen by rule: some of each outcome and cause, spread over schemas and areas. "
        "Before and after share one stretch of brightness. The line around an event is the truth, the dashed box the "
        "eye's. What arrived is the very file that the ground received." + note
    )
    return (
        f"<p class='scripted controls'>{switch} <output id='card-count' aria-live='polite'></output></p>"
        f"<div class='cards'>{cards}</div><p class='scripted controls'>{more}</p>"
        f"<p class='caption'>{escape(caption)}</p>" + markup.source("gallery/gallery.json and its pictures", "ground/")
    )


def _text_bytes(material: Material) -> int:
    """Bytes of the pictures of the gallery as base64. [B]"""
    names = [name for entry in material.gallery for name in entry["pictures"].values()]
    return sum(_file(material.folder / FOLDER, name).stat().st_size for name in names) * 4 // 3


def _card(material: Material, entry: Mapping[str, Any], number: int) -> str:
    schema, cause = entry["schema_id"], entry["cause"]
    outcome = str(entry["outcome"])
    said = _TITLES.get(outcome, outcome) + (f": {words_of(schema)}" if schema else "")
    why = _sentence(entry)
    mark = shape_key(_MARKS.get(outcome, "quiet"))
    kept = {"found": "found", "missed": "missed", "false_alarm": "alarm"}.get(outcome, "quiet")
    attributes = {
        "tile": entry["tile_id"], "outcome": kept, "cause": cause or "", "schema": schema or "",
        "area": entry["area"] or "",
    }  # fmt: skip
    data = "".join(f" data-{name}='{escape(str(value))}'" for name, value in attributes.items())
    return (
        f"<article class='card{' extra' if number >= _OPEN else ''}'{data}><h3>{mark} {escape(said)}</h3>"
        f"<p class='where'>{escape(_where(material, entry))}</p>"
        f"<div class='pictures{' four' if 'again' in entry['pictures'] else ''}'>{_pictures(material, entry)}</div>"
        f"{f'<p class=because>{escape(why)}</p>' if why else ''}"
        f"<dl>{_facts(material, entry)}</dl></article>"
    )


def _sentence(entry: Mapping[str, Any]) -> str:
    outcome, cause = entry["outcome"], entry["cause"]
    if cause and outcome == "missed":
        return causes.MISS_TEXTS[causes.MissCause(cause)][1]
    if cause and outcome == "false_alarm":
        return causes.ALARM_TEXTS[causes.AlarmCause(cause)][1]
    if outcome == "found":
        seen = any(q["status"] == "event" for q in entry["questions"] if q["schema_id"] == entry["schema_id"])
        if entry["action"] == "verdict":
            return f"The eye saw it, and a verdict of {bytes_text(entry['wire_bytes'])} told the ground."
        by_eye, by_reader = "The eye saw it, and the picture bore it out.", "The reader saw what the eye had not."
        return by_eye if seen else by_reader
    return {
        "refuted": "The eye said yes where nothing had happened; the picture that came down showed the ground better.",
        "quiet": "Nothing happened here, and nobody claimed so.",
        "unusable": "The eye's quality gate would not judge this picture.",
    }.get(str(outcome), "")


def _where(material: Material, entry: Mapping[str, Any]) -> str:
    lat, lon = entry["lat_deg"], entry["lon_deg"]
    place = f"{abs(lat):.2f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.2f}° {'E' if lon >= 0 else 'W'}"
    return f"{entry['area'] or entry['place_id']} · {place} · {moment(material, entry['captured_s'])}"


def moment(material: Material, time_s: float) -> str:
    """A time of the run for people, in UTC where the start is known."""
    if material.start is None:
        return f"{duration_text(time_s)} after the start"
    at = material.start + timedelta(seconds=time_s)
    return f"{at.day} {at:%b %H:%M} UTC"


def words_of(name: str) -> str:
    """A schema or an enum's member as words."""
    return name.replace("_", " ")


def _pictures(material: Material, entry: Mapping[str, Any]) -> str:
    shown, found = entry["pictures"], []
    folder = material.folder / FOLDER
    captions = {
        "before": f"before, {(entry['captured_s'] - entry['before_s']) / 86400.0:.3g} d earlier",
        "after": "after",
    }
    if "again" in shown:
        captions["again"] = f"looked again, {(entry['looked_s'] - entry['captured_s']) / 86400.0:.3g} d later"
    for part, caption in captions.items():
        if part not in shown:
            found.append(_empty(caption, "no picture"))
            continue
        url, width, height = _embedded(folder, shown[part])
        swir = f" data-swir='{_embedded(folder, shown[f'{part}-swir'])[0]}'" if f"{part}-swir" in shown else ""
        over = _overlay(folder, entry, truth=part == "after", box=part == list(captions)[-1])
        found.append(
            f"<figure><div class='frame'><img src='{url}'{swir} width='{width}' height='{height}' loading='lazy' "
            f"alt='{escape(caption)} picture of the place'>{over}</div>"
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    found.append(_arrived(material, entry))
    return "".join(found)


def _empty(caption: str, text: str) -> str:
    return (
        f"<figure><div class='frame nothing'><span>{escape(text)}</span></div>"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _arrived(material: Material, entry: Mapping[str, Any]) -> str:
    """What lies on the ground of this tile: the file itself, decoded by whoever looks at the page."""
    name = entry["ground_file"]
    if name is None:
        action, state = entry["action"], entry["state"]
        if action in (None, "nothing"):
            return _empty("what arrived", "nothing was sent")
        if action == "verdict" and state in ("delivered", "late"):
            return _empty("what arrived", "the verdict alone, no picture")
        return _empty("what arrived", f"nothing: {words_of(str(state))}")
    path = _inside(material.folder / "ground", name)
    if path is None or not path.is_file():
        return _empty("what arrived", "its file is missing from ground/")
    data = path.read_bytes()
    try:
        if path.suffix == ".tile":
            samples, bands = products.decode_tile(data)
            url, side = _of_array(products.true_colour(samples, bands)), samples.shape[-2:]
            said = f"arrived: {side[1]} × {side[0]} px tile, {bytes_text(len(data))}"
        else:
            side = products.decode_picture(data).shape[:2]
            url = _data_url(data, path.suffix)
            said = f"arrived: {side[1]} × {side[0]} px thumbnail, {bytes_text(len(data))}"
    except products.ProductError as error:
        return _empty("what arrived", f"its file is damaged: {error}")
    return (
        f"<figure><div class='frame'><img class='arrived' src='{url}' width='{side[1]}' height='{side[0]}' "
        f"loading='lazy' alt='the picture as it arrived'></div><figcaption>{escape(said)}</figcaption></figure>"
    )


def _facts(material: Material, entry: Mapping[str, Any]) -> str:
    asked = [q for q in entry["questions"] if q["labelled"]]
    truth = [words_of(q["schema_id"]) for q in asked if q["changed"]]
    first = sorted(entry["questions"], key=lambda q: q["schema_id"] != entry["schema_id"])
    eye = [_event_words(q, q["schema_id"] == entry["schema_id"]) for q in first if q["status"] == "event"]
    others = Counter(_other_words(q) for q in first if q["status"] not in ("event", "not_asked"))
    eye += [f"{count} × {text}" if count > 1 else text for text, count in others.items()]
    believed = [
        f"{words_of(q['schema_id'])} {'yes' if q['believed'] else 'no'} ({_percent(q['posterior'])})"
        for q in asked
        if q["believed"] or q["changed"] or q["status"] == "event"
    ]
    facts = (
        ("truth", "; ".join(truth) or "nothing happened" + ("" if entry["visible"] else ", hidden by cloud")),
        ("eye on board", "; ".join(eye) or "was not asked"),
        ("sent", _sent_words(material, entry)),
        ("ground believed", "; ".join(believed) or "no event"),
    )
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts)


def _other_words(question: Mapping[str, Any]) -> str:
    """An answer that is no event."""
    if question["status"] == "null":
        return "no event"
    return str(question["status"]) + (f" ({question['reason']})" if question["reason"] else "")


def _event_words(question: Mapping[str, Any], whole: bool) -> str:
    name = words_of(question["schema_id"])
    sure = "" if question["confidence"] is None else f" (confidence {question['confidence']:.2f})"
    if not whole:
        return f"{name}{sure}"
    body = question["body"] or {}
    fields = [(key, value) for key, value in body.items() if not isinstance(value, list | dict)][:_MAX_FIELDS]
    told = ", ".join(f"{words_of(key)} {_short(value)}" for key, value in fields)
    return f"{name}{sure}" + (f": {told}" if told else "")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _percent(share: float) -> str:
    if share < 0.001:
        return "below 0.1 %"
    return f"{100 * share:.3g} %" if share < 0.999 else "above 99.9 %"


def _sent_words(material: Material, entry: Mapping[str, Any]) -> str:
    action = entry["action"]
    why = f" (“{entry['reason']}”)" if entry["reason"] else ""
    if action in (None, "nothing"):
        return f"nothing{why}"
    size = f"{action}, {bytes_text(entry['wire_bytes'])} on the wire{why}"
    if entry["delivered_s"] is None:
        return f"{size}; {words_of(str(entry['state']))}"
    return f"{size}; down {duration_text(entry['delivered_s'] - entry['captured_s'])} after imaging"


def _overlay(folder: Path, entry: Mapping[str, Any], truth: bool, box: bool) -> str:
    """Outline of the truth and the eye's box over the picture, in a unit square."""
    parts = []
    if truth and "mask" in entry["pictures"]:
        with Image.open(_file(folder, entry["pictures"]["mask"])) as picture:
            mask = np.asarray(picture.convert("1"), dtype=bool)
        parts.append(f"<path class='truth' d='{outline(mask)}'/>")
    for question in entry["questions"] if box else ():
        sides = (question["body"] or {}).get("box") if question["schema_id"] == entry["schema_id"] else None
        if isinstance(sides, list) and len(sides) == 4 and all(isinstance(side, int | float) for side in sides):
            x0, y0, x1, y1 = (min(1.0, max(0.0, float(side))) for side in sides)
            parts.append(f"<path class='box' d='M{x0:.4g},{y0:.4g}H{x1:.4g}V{y1:.4g}H{x0:.4g}Z'/>")
    if not parts:
        return ""
    return f"<svg viewBox='0 0 1 1' preserveAspectRatio='none' aria-hidden='true'>{''.join(parts)}</svg>"


def outline(mask: NDArray[np.bool_]) -> str:
    """SVG path, in a unit square, of the edges between the true and the false pixels of a mask, runs drawn as one."""
    rows, cols = mask.shape
    parts = []
    for swap in (False, True):
        field = mask.T if swap else mask
        edges = np.diff(np.pad(field, ((1, 1), (0, 0))).astype(np.int8), axis=0) != 0
        starts = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        for line, start, end in zip(*np.nonzero(starts == 1), np.nonzero(starts == -1)[1].tolist(), strict=True):
            if swap:
                parts.append(f"M{line / cols:.4g},{start / rows:.4g}V{end / rows:.4g}")
            else:
                parts.append(f"M{start / cols:.4g},{line / rows:.4g}H{end / cols:.4g}")
    return "".join(parts)


def _inside(folder: Path, name: Any) -> Path | None:
    """A file of a folder by its plain name; names come from a file that someone may have changed."""
    return folder / name if isinstance(name, str) and name == Path(name).name else None


def _file(folder: Path, name: Any) -> Path:
    from ..errors import InputError

    path = _inside(folder, name)
    if path is None or not path.is_file():
        raise InputError(f"'{folder / str(name)}' is missing: the run folder is incomplete. Run the scenario again.")
    return path


def _embedded(folder: Path, name: str) -> tuple[str, int, int]:
    """Data URL and the size of a picture; large ones are shown smaller."""
    path = _file(folder, name)
    data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as picture:
        width, height = picture.size
        if max(width, height) > _MAX_SIDE_PX:
            picture.thumbnail((_MAX_SIDE_PX, _MAX_SIDE_PX), Image.Resampling.LANCZOS)
            return _of_array(np.asarray(picture.convert("RGB"))), *picture.size
    return _data_url(data, path.suffix), width, height


def _of_array(picture: NDArray[np.uint8]) -> str:
    out = io.BytesIO()
    Image.fromarray(picture).convert("RGB").save(out, "JPEG", quality=88)
    return _data_url(out.getvalue(), ".jpeg")


def _data_url(data: bytes, suffix: str) -> str:
    return f"data:{_MIME[suffix]};base64,{base64.b64encode(data).decode('ascii')}"


__all__ = ["gallery", "moment", "outline", "words_of"]
