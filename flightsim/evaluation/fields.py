"""The fields of an event verdict beside the true ones: direction, severity, place, area and box."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..boxes import box_of_mask, is_box, overlap
from ..scenes.synthetic import truth
from ..scoring import wilson

#: Fields that are scored, and how a report calls what is right.
FIELDS: Mapping[str, str] = {
    "direction": "the same direction",
    "severity": "the same severity",
    "where": "the same cell of the 3 x 3 grid",
    "area": "changed share within a factor of two",
    "box": "boxes overlap by half (IoU)",
    "where_and_area": "place and area both right",
}
#: Parts of a verdict's body that a field is read from.
_STATED: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("direction", "severity", "where", "box")},
    "area": ("fraction_of_tile",),
    "where_and_area": ("where", "fraction_of_tile"),
}
#: An area is right within this factor, a box from this intersection over union on. [-]
AREA_FACTOR, LEAST_OVERLAP = 2.0, 0.5
#: Shares below this count as this when areas are compared. [-]
_LEAST_SHARE = 1e-6


def field_scores(body: Mapping[str, Any], true: Mapping[str, Any]) -> dict[str, bool]:
    """Which fields of a true positive are right, for those whose truth is known; a field not stated is wrong.

    Notes
    -----
    ``where`` is right in the very cell of the 3 x 3 grid, ``area`` within a factor of two of the true share, ``box``
    from an intersection over union of 0.5 on; ``direction`` and ``severity`` where they are equal.
    """
    found = {name: body.get(name) == true[name] for name in ("direction", "severity", "where") if name in true}
    if "fraction_of_tile" in true:
        found["area"] = _same_area(body.get("fraction_of_tile"), float(true["fraction_of_tile"]))
    if "box" in true:
        box: Any = body.get("box")
        found["box"] = is_box(box) and overlap(box, true["box"]) >= LEAST_OVERLAP
    if "where" in found and "area" in found:
        found["where_and_area"] = found["where"] and found["area"]
    return found


def _same_area(stated: Any, true: float) -> bool:
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        return False
    ratio = stated / max(true, _LEAST_SHARE)
    return bool(1 / AREA_FACTOR <= ratio <= AREA_FACTOR)


def fields_of_mask(mask: NDArray[np.bool_]) -> dict[str, Any] | None:
    """What a mask alone tells of an event: share, place and box; None where it is empty."""
    box = box_of_mask(mask)
    if box is None:
        return None
    return {"fraction_of_tile": float(mask.mean()), "where": truth.where(mask), "box": list(box)}


def field_table(pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any] | None]]) -> dict[str, dict[str, Any]]:
    """Share of true positives whose field is right, by field, with Wilson's interval at 95 %.

    Parameters
    ----------
    pairs
        Body of an event verdict that is right, and the true fields (None where nothing of them is known).

    Returns
    -------
    dict
        By field: ``right`` of ``n`` whose truth is known, how many were ``stated``, the share and ``ci95``; both None
        where n is 0 or the payload never states the field.
    """
    scored = [(body, field_scores(body, true)) for body, true in pairs if true]
    table = {}
    for name in FIELDS:
        known = [row[name] for _, row in scored if name in row]
        stated = sum(name in row and all(part in body for part in _STATED[name]) for body, row in scored)
        right, n = sum(known), len(known)
        share, interval = (right / n, list(wilson(right, n))) if stated else (None, None)
        table[name] = {"right": right, "n": n, "stated": stated, "share": share, "ci95": interval}
    return table


__all__ = ["AREA_FACTOR", "FIELDS", "LEAST_OVERLAP", "field_scores", "field_table", "fields_of_mask"]
