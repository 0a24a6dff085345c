"""The gallery of a run: pictures of a few instructive tiles with their truth, written beside the tables.

It is the ground's own look back after the run, so truth may stand in it; nothing on board ever reads it.
"""

from __future__ import annotations

import io
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from . import causes
from .belief import Belief, delivered_in_time
from .domain import Action, ImageRef, QueuedItem, TerminalState, Verdict, VerdictStatus
from .protocols import SceneSource
from .recorder import ACTIONS, STATES, STATUSES, RunRecord
from .runfolder import write_file, write_json
from .sizing import Sizer

FOLDER = "gallery"
INDEX = "gallery.json"
FORMAT = "flightsim-gallery/1"
#: Tiles shown. With four 128 px pictures each they take about 2.5 MB, which fits into one page.
MAX_TILES = 24

#: Red, green, blue of the composites, in order of preference. In short-wave infrared water and burns stand out.
_TRUE_COLOUR = (("B04", "B03", "B02"), ("red", "green", "blue"))
_SHORT_WAVE = (("B12", "B08", "B04"), ("B12", "B11", "B08"))
#: The darkest of a tile's pictures sets the stretch, so that cloud in one does not blacken the others; though never
#: below this share of the brightest one's. [-]
_LEAST_STRETCH = 0.25


class Outcome(StrEnum):
    """What a tile of the gallery shows."""

    FOUND = "found"
    MISSED = "missed"
    FALSE_ALARM = "false_alarm"
    REFUTED = "refuted"
    UNUSABLE = "unusable"
    QUIET = "quiet"


#: How many of each outcome are wanted; what one lacks goes to the others, in this order.
_WANTED = {
    Outcome.MISSED: 8,
    Outcome.FOUND: 6,
    Outcome.FALSE_ALARM: 4,
    Outcome.REFUTED: 2,
    Outcome.UNUSABLE: 2,
    Outcome.QUIET: 2,
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A tile, the question it is shown for, and why; ``schema`` is None where it is about all questions."""

    row: int
    schema: int | None
    outcome: Outcome
    cause: str | None = None


def choose(record: RunRecord, believed: NDArray[np.bool_], limit: int = MAX_TILES) -> list[Choice]:
    """Instructive tiles of a run: some of each outcome and cause, spread over schemas, areas and places.

    Parameters
    ----------
    believed
        The ground's yes answers, shape (n, s).

    Notes
    -----
    Deterministic. Within an outcome the causes take turns, the most frequent first; the candidates of a cause are
    ranked (finds by their bytes, the rest in the order of the plan), and the first whose schema, area and place were
    shown least is taken. A place is shown twice only where nothing else is left.
    """
    pools = _pools(record, believed)
    areas, places = record.plan.area.tolist(), list(record.plan.place_id)
    used: Counter[Any] = Counter()
    taken: set[int] = set()
    chosen: list[Choice] = []

    def take(outcome: Outcome, count: int) -> int:
        got = 0
        queues = [list(queue) for queue in pools[outcome]]
        while queues and got < count:
            for queue in list(queues):
                free = [choice for choice in queue if choice.row not in taken]
                if not free or got >= count:
                    queues.remove(queue)
                    continue
                best = min(
                    enumerate(free),
                    key=lambda pair: (
                        used["place", places[pair[1].row]],
                        used[outcome, "schema", pair[1].schema],
                        used[outcome, "area", areas[pair[1].row]],
                        used["area", areas[pair[1].row]],
                        pair[0],
                    ),
                )[1]
                queue[:] = [choice for choice in free if choice is not best]
                chosen.append(best)
                taken.add(best.row)
                got += 1
                used["place", places[best.row]] += 1
                used[outcome, "schema", best.schema] += 1
                used[outcome, "area", areas[best.row]] += 1
                used["area", areas[best.row]] += 1
        return got

    room = limit
    for outcome, wanted in _WANTED.items():
        room -= take(outcome, min(wanted, room))
    for outcome in _WANTED:
        room -= take(outcome, room)
    # Outcomes take turns, so that whoever looks at the first few has seen some of each.
    lines = [[choice for choice in chosen if choice.outcome is outcome] for outcome in _WANTED]
    return [choice for turn in zip_longest(*lines) for choice in turn if choice is not None]


def _pools(record: RunRecord, believed: NDArray[np.bool_]) -> Mapping[Outcome, list[list[Choice]]]:
    """Candidates by outcome, one ranked list a cause."""
    truth = record.truth
    fates = causes.fates_of(record, believed)
    right = truth.changed & truth.labelled & believed
    event = record.status == STATUSES.index(VerdictStatus.EVENT)
    unusable = record.status == STATUSES.index(VerdictStatus.UNCLASSIFIABLE)
    pictured = np.isin(record.action, [ACTIONS.index(a) for a in (Action.THUMBNAIL, Action.TILE)])
    read = delivered_in_time(record) & pictured & record.seen_visible
    again = (record.looks > 1)[:, None]
    speaks = (truth.changed | believed | event) & truth.labelled
    calm = ~speaks.any(axis=1) & truth.labelled.any(axis=1)

    def questions(
        outcome: Outcome, where: NDArray[np.bool_], rank: NDArray[np.float64] | None = None, cause: str | None = None
    ) -> list[Choice]:
        rows, columns = np.nonzero(where)
        if rank is not None:
            order = np.lexsort((rows, rank[rows]))
            rows, columns = rows[order], columns[order]
        return [Choice(r, c, outcome, cause) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)]

    def by_cause(outcome: Outcome, codes: NDArray[np.int8], names: Sequence[StrEnum]) -> list[list[Choice]]:
        count = [(-int(np.count_nonzero(codes == k)), k) for k in range(len(names))]
        return [questions(outcome, codes == k, cause=str(names[k])) for less, k in sorted(count) if less]

    def tiles(outcome: Outcome, where: NDArray[np.bool_]) -> list[Choice]:
        return [Choice(row, None, outcome) for row in np.flatnonzero(where).tolist()]

    return {
        Outcome.MISSED: by_cause(Outcome.MISSED, causes.miss_causes(fates), causes.MISS_CAUSES),
        Outcome.FOUND: [
            questions(Outcome.FOUND, right & ~again, rank=record.air_bytes),
            questions(Outcome.FOUND, right & again, rank=record.air_bytes),
        ],
        Outcome.FALSE_ALARM: by_cause(Outcome.FALSE_ALARM, causes.alarm_causes(fates), causes.ALARM_CAUSES),
        Outcome.REFUTED: [
            questions(Outcome.REFUTED, event & ~truth.changed & ~believed & truth.labelled & read[:, None])
        ],
        Outcome.UNUSABLE: [tiles(Outcome.UNUSABLE, calm & unusable.any(axis=1))],
        Outcome.QUIET: [tiles(Outcome.QUIET, calm & record.seen_visible & ~unusable.any(axis=1))],
    }


def write_gallery(
    folder: Path, record: RunRecord, belief: Belief, scenes: SceneSource, sizer: Sizer, limit: int = MAX_TILES
) -> list[str]:
    """Write ``gallery/`` into a run folder; gives the names of its files, none for scenes without pixels.

    A tile has the pictures ``before`` and ``after`` of the nominal plan and, where the policy looked again, ``again``.

    Parameters
    ----------
    belief
        What the ground believed under the policy.
    scenes
        The prepared source of the run. With a method ``change_mask(row, schema_id)``, which gives a boolean array,
        shape (rows, columns), or None, the true extent of an event is kept too.
    """
    target = folder / FOLDER
    if target.is_dir():
        shutil.rmtree(target)
    if not scenes.has_pixels:
        return []
    target.mkdir()
    names, entries = [], []
    products = {item.rows[0]: item for item in record.items if item.kind in (Action.THUMBNAIL, Action.TILE)}
    for number, choice in enumerate(choose(record, belief.yes, limit)):
        pictures = {}
        for part, name, data in _pictures(f"{number:02d}", choice, record, scenes):
            write_file(target / name, data)
            names.append(f"{FOLDER}/{name}")
            pictures[part] = name
        item = products.get(choice.row)
        entries.append(_entry(choice, record, belief, pictures, item, sizer))
    write_json(target / INDEX, {"format": FORMAT, "tiles": entries})
    return [*names, f"{FOLDER}/{INDEX}"]


def ground_file(record: RunRecord, item: QueuedItem, sizer: Sizer) -> str:
    """Name in ``ground/`` of a picture that arrived."""
    suffix = ".tile" if item.kind is Action.TILE else f".{sizer.spec(record.specs.get(item.id))[1]}"
    return item.id.replace("/", "-") + suffix


def _entry(
    choice: Choice,
    record: RunRecord,
    belief: Belief,
    pictures: Mapping[str, str],
    item: QueuedItem | None,
    sizer: Sizer,
) -> dict[str, Any]:
    plan, truth, row = record.plan, record.truth, choice.row
    given = {verdict.schema_id: verdict for verdict in record.verdicts.get(row, ())}
    area = int(plan.area[row])
    arrived = record.state[row] in (STATES.index(TerminalState.DELIVERED), STATES.index(TerminalState.LATE))
    action = record.action[row]
    return {
        "tile_id": plan.tile_id(row),
        "place_id": plan.place_id[row],
        "area": plan.areas[area] if area >= 0 else None,
        "lat_deg": round(float(plan.lat_deg[row]), 4),
        "lon_deg": round(float(plan.lon_deg[row]), 4),
        "captured_s": round(float(plan.time_s[row]), 3),
        "before_s": round(float(plan.before_s[row]), 3),
        "outcome": str(choice.outcome),
        "cause": choice.cause,
        "schema_id": None if choice.schema is None else truth.schemas[choice.schema],
        "visible": bool(record.seen_visible[row]),
        "looks": int(record.looks[row]),
        "looked_s": _time(record.looked_s[row]),
        "action": str(ACTIONS[action]) if action >= 0 else None,
        "state": str(STATES[record.state[row]]),
        "reason": record.reasons[row],
        "wire_bytes": round(float(record.wire_bytes[row]), 1),
        "air_bytes": round(float(record.air_bytes[row]), 1),
        "delivered_s": _time(record.delivered_s[row]),
        "ground_file": ground_file(record, item, sizer) if item is not None and arrived else None,
        "pictures": dict(pictures),
        "questions": [
            _question(schema, given.get(schema), record, belief, row, column)
            for column, schema in enumerate(truth.schemas)
        ],
    }


def _question(
    schema: str, verdict: Verdict | None, record: RunRecord, belief: Belief, row: int, column: int
) -> dict[str, Any]:
    truth = record.truth
    confidence = None if verdict is None else verdict.confidence
    return {
        "schema_id": schema,
        "status": "not_asked" if verdict is None else str(verdict.status),
        "confidence": None if confidence is None else round(float(confidence), 3),
        "body": None if verdict is None or verdict.body is None else _plain(verdict.body),
        "reason": "" if verdict is None else str(verdict.reason),
        "changed": bool(truth.changed[row, column]),
        "labelled": bool(truth.labelled[row, column]),
        "believed": bool(belief.yes[row, column]),
        "posterior": float(f"{float(belief.posterior[row, column]):.6g}"),
    }


def _plain(value: Any) -> Any:
    """The same value in types that JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _time(time_s: float) -> float | None:
    return round(float(time_s), 3) if np.isfinite(time_s) else None


def _pictures(number: str, choice: Choice, record: RunRecord, scenes: SceneSource) -> Iterator[tuple[str, str, bytes]]:
    """Part, file name and bytes of each picture of a tile."""
    pair = scenes.pair(choice.row)
    look = record.second_looks.get(choice.row)
    shown = {"before": None if pair.before is None else pair.before.image, "after": pair.after.image}
    if look is not None:
        # Only a source that can look again (``pair_at``) lets a policy ask for it.
        shown["again"] = scenes.pair_at(choice.row, look).after.image  # type: ignore[attr-defined]
    images = {part: image for part, image in shown.items() if image is not None}
    for suffix, wanted in (("", _TRUE_COLOUR), ("-swir", _SHORT_WAVE)):
        for part, image in composites(images, wanted, need=bool(suffix)).items():
            data, extension = _lossless(image)
            yield part + suffix, f"{number}-{part}{suffix}.{extension}", data
    changed_mask = getattr(scenes, "change_mask", None)
    if changed_mask is not None and choice.schema is not None and record.truth.changed[choice.row, choice.schema]:
        mask = changed_mask(choice.row, record.truth.schemas[choice.schema])
        if mask is not None:
            out = io.BytesIO()
            Image.fromarray(np.asarray(mask, dtype=bool)).save(out, "PNG", optimize=True)
            yield "mask", f"{number}-mask.png", out.getvalue()


def composites(
    images: Mapping[str, ImageRef], wanted: Sequence[tuple[str, ...]], *, need: bool = False
) -> dict[str, NDArray[np.uint8]]:
    """Pictures of one place as 8-bit composites at their own size with one stretch, shape (rows, columns[, 3]) each.

    Parameters
    ----------
    wanted
        Bands for red, green and blue, in order of preference.
    need
        Whether nothing is given where a picture lacks these bands; else its first three bands, or the only one, stand.

    Notes
    -----
    8-bit samples stay as they are. Others go linearly from 0 to the 99.5th percentile of the darkest picture, though
    not below a quarter of the brightest one's.
    """
    shown = {}
    for name, image in images.items():
        bands = list(image.bands)
        chosen = next((names for names in wanted if set(names) <= set(bands)), None)
        if chosen is None and need:
            return {}
        samples = image.pixels()
        first = 3 if len(bands) >= 3 else 1
        shown[name] = samples[[bands.index(band) for band in chosen]] if chosen else samples[:first]
    tops = [float(np.percentile(part, 99.5)) for part in shown.values() if part.dtype != np.uint8]
    top = max(1.0, min(tops), _LEAST_STRETCH * max(tops)) if tops else 1.0
    return {name: _eight_bit(part, top) for name, part in shown.items()}


def _eight_bit(samples: NDArray[Any], top: float) -> NDArray[np.uint8]:
    if samples.dtype != np.uint8:
        samples = np.clip(samples.astype(np.float32) * (255.0 / top), 0, 255).round().astype(np.uint8)
    return samples[0] if len(samples) == 1 else np.ascontiguousarray(samples.transpose(1, 2, 0))


def _lossless(image: NDArray[np.uint8]) -> tuple[bytes, str]:
    """Encoded picture and its extension: WebP, which is a quarter smaller, or PNG where Pillow was built without it."""
    out = io.BytesIO()
    if features.check("webp"):
        # The most effort saves 2 % of the bytes and takes seven times as long, a fifth of a warm run.
        Image.fromarray(image).convert("RGB").save(out, "WEBP", lossless=True, quality=50, method=2)
        return out.getvalue(), "webp"
    Image.fromarray(image).save(out, "PNG", optimize=True)
    return out.getvalue(), "png"


__all__ = [
    "FOLDER",
    "FORMAT",
    "INDEX",
    "MAX_TILES",
    "Choice",
    "Outcome",
    "choose",
    "composites",
    "ground_file",
    "write_gallery",
]
