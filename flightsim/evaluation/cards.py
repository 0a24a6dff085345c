"""Which questions are shown, with which pictures: misses first, then hits, spread over schemas."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..domain import TilePair
from ..gallery import composites
from ..report.cards import outline
from .fields import field_scores


class Outcome(StrEnum):
    """How an answer turned out, in the order of the page."""

    MISSED = "missed"
    FALSE_ALARM = "false_alarm"
    WRONG_PLACE = "wrong_place"
    FOUND = "found"
    LEFT_ALONE = "left_alone"


#: Cards of each outcome on the page, and candidates that a part of the questions may bring, of them of one schema.
WANTED: Mapping[Outcome, int] = {
    Outcome.MISSED: 9,
    Outcome.FALSE_ALARM: 9,
    Outcome.WRONG_PLACE: 6,
    Outcome.FOUND: 7,
    Outcome.LEFT_ALONE: 2,
}
_PER_SCHEMA = 2
#: Pictures with a longer side are shown smaller. [px]
_MAX_SIDE_PX = 256
_QUALITY = 82
#: Red, green and blue of the composites, in order of preference. In infrared plants, water and burns stand apart.
_COMPOSITES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "true colour": (("B04", "B03", "B02"), ("red", "green", "blue")),
    "infrared": (("B12", "B08", "B04"), ("B11", "B08", "B04"), ("B08", "B04", "B03")),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What decides whether a question is shown."""

    schema: str
    event: bool
    said: bool
    body: Mapping[str, Any] | None
    true: Mapping[str, Any] | None


@dataclass(frozen=True)
class Shown:
    """Pictures of a pair as data URLs, by composite and part, with their size; the true outline as an SVG path."""

    pictures: Mapping[str, Mapping[str, str]]
    width: int
    height: int
    outline: str


def outcome_of(candidate: Candidate) -> Outcome:
    """How an answer turned out. What was not answered counts as no."""
    if not candidate.event:
        return Outcome.FALSE_ALARM if candidate.said else Outcome.LEFT_ALONE
    if not candidate.said:
        return Outcome.MISSED
    right = field_scores(candidate.body or {}, candidate.true or {})
    return Outcome.FOUND if right.get("where_and_area", right.get("where", True)) else Outcome.WRONG_PLACE


def candidates(rows: Sequence[Candidate]) -> list[int]:
    """Numbers of the rows that may be shown: of each outcome as many as a page has, spread over schemas."""
    found = []
    outcomes = [outcome_of(row) for row in rows]
    for outcome, most in WANTED.items():
        seen: Counter[str] = Counter()
        kept = []
        for k, row in enumerate(rows):
            if outcomes[k] is outcome and seen[row.schema] < _PER_SCHEMA:
                seen[row.schema] += 1
                kept.append(k)
        found += _schemas_in_turn(kept, rows)[:most]
    return sorted(found)


def chosen(rows: Sequence[Candidate], offered: Sequence[int]) -> dict[Outcome, list[int]]:
    """The rows that are shown, of those offered, by outcome."""
    mine: dict[Outcome, list[int]] = {outcome: [] for outcome in WANTED}
    for k in offered:
        mine[outcome_of(rows[k])].append(k)
    return {outcome: _schemas_in_turn(found, rows)[: WANTED[outcome]] for outcome, found in mine.items()}


def _schemas_in_turn(numbers: Sequence[int], rows: Sequence[Candidate]) -> list[int]:
    lanes: dict[str, list[int]] = {}
    for k in numbers:
        lanes.setdefault(rows[k].schema, []).append(k)
    return [k for turn in zip_longest(*lanes.values()) for k in turn if k is not None]


def picture_of(pair: TilePair, mask: NDArray[np.bool_] | None) -> Shown | None:
    """Both pictures of a pair as a page shows them; None where there are none."""
    images = {
        name: tile.image
        for name, tile in (("before", pair.before), ("after", pair.after))
        if tile is not None and tile.image is not None
    }
    if not images:
        return None
    pictures = {}
    for name, wanted in _COMPOSITES.items():
        fits = any(set(bands) <= set(image.bands) for bands in wanted for image in images.values())
        shown = composites(images, wanted, need=name != "true colour")
        if shown:
            pictures[name if fits else "as recorded"] = {part: _url(image) for part, image in shown.items()}
    _, high, wide = images["after" if "after" in images else "before"].shape
    return Shown(pictures, wide, high, "" if mask is None or not mask.any() else outline(_small(mask)))


def _small(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask at most as large as the pictures are shown; what a step of pixels touches stays."""
    step = -(-max(mask.shape) // _MAX_SIDE_PX)
    if step == 1:
        return np.asarray(mask, dtype=bool)
    rows, cols = (-(-side // step) * step for side in mask.shape)
    padded = np.zeros((rows, cols), dtype=bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return np.asarray(padded.reshape(rows // step, step, cols // step, step).any(axis=(1, 3)))


def _url(picture: NDArray[np.uint8]) -> str:
    image = Image.fromarray(picture).convert("RGB")
    if max(image.size) > _MAX_SIDE_PX:
        image.thumbnail((_MAX_SIDE_PX, _MAX_SIDE_PX), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


__all__ = ["WANTED", "Candidate", "Outcome", "Shown", "candidates", "chosen", "outcome_of", "picture_of"]
