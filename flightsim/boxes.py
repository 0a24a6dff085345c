"""Boxes around changes: [left, top, right, bottom] as fractions of a picture's width and height, from its top left."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]


def box_of_mask(mask: NDArray[np.bool_]) -> Box | None:
    """Smallest box around the true pixels of a mask, shape (rows, columns); None where there is none. [-]"""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    high, wide = mask.shape
    return float(cols[0]) / wide, float(rows[0]) / high, float(cols[-1] + 1) / wide, float(rows[-1] + 1) / high


def hull(boxes: Iterable[Sequence[float]]) -> Box | None:
    """Smallest box around some boxes; None where there is none. [-]"""
    edges = np.array(list(boxes), dtype=np.float64).reshape(-1, 4)
    if not len(edges):
        return None
    left, top = edges[:, :2].min(axis=0)
    right, bottom = edges[:, 2:].max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def is_box(value: object) -> bool:
    """Whether something is four finite fractions in [0, 1] with left < right and top < bottom."""
    if not isinstance(value, (list, tuple)) or len(value) != 4:
        return False
    if not all(isinstance(edge, (int, float)) and not isinstance(edge, bool) and math.isfinite(edge) for edge in value):
        return False
    left, top, right, bottom = value
    return bool(0 <= left < right <= 1 and 0 <= top < bottom <= 1)


def overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Intersection over union of two boxes, 0 where both are empty. [-]"""
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    common = max(wide, 0.0) * max(high, 0.0)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - common
    return common / union if union > 0 else 0.0


def box_scores(pairs: Sequence[tuple[object, Sequence[float] | None]]) -> dict[str, float | int | None]:
    """How well boxes of event verdicts meet the true ones.

    Parameters
    ----------
    pairs
        Box of a verdict (or anything, where it gave none) and the true box (None where there is none).

    Returns
    -------
    dict
        ``n`` verdicts with a valid box where a true one is known, their mean intersection over union ``mean_iou`` and
        the shares ``iou50`` and ``iou25`` of at least 0.5 and 0.25 (None where n is 0), and ``true_boxes``.
    """
    known = [(box, true) for box, true in pairs if true is not None]
    found = [overlap(box, true) for box, true in known if isinstance(box, (list, tuple)) and is_box(box)]
    return {
        "true_boxes": len(known),
        "n": len(found),
        "mean_iou": float(np.mean(found)) if found else None,
        "iou50": float(np.mean([value >= 0.5 for value in found])) if found else None,
        "iou25": float(np.mean([value >= 0.25 for value in found])) if found else None,
    }
