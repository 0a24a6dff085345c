"""What an archive knows about a case: labels of whole pictures and of slices, changed pixels, boxes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..boxes import Box, box_of_mask, hull
from ..errors import InputError
from . import images
from .archive_index import Case

Mask = NDArray[np.bool_]
#: First row, end row, first column, end column.
Window = tuple[int, int, int, int]


def inside(folder: Path, case: Case, text: str) -> Path:
    """A path of the index, which must stay inside the archive.

    Raises
    ------
    InputError
        The path is absolute or leads out.
    """
    what = f"archive case '{case.id}': path '{text}'"
    if not text or "\x00" in text or Path(text).is_absolute():
        raise InputError(f"{what} must be relative to the folder of index.json.")
    path = (folder / text).resolve()
    if not path.is_relative_to(folder):
        raise InputError(f"{what} leads out of the archive folder; move the file into it.")
    return path


@dataclass(frozen=True)
class ArchiveTruth:
    """Truth about two pictures of a case, named by their numbers in time order (0 and 1 for a plain pair)."""

    folder: Path
    positive_fraction: float
    negative_fraction: float

    def visible(self, case: Case, first: int, second: int) -> bool:
        """Whether both pictures show the place."""
        steps = case.sequence
        shown = all(steps[k].usable for k in (first, second)) if steps else True
        return case.task != "quality_gate" and case.label.usable and shown

    def label(
        self, case: Case, first: int, second: int, found: images.Layout, window: Window | None
    ) -> tuple[bool, bool]:
        """Whether it changed between two pictures, and whether that is known; ``window`` is None for whole pictures."""
        if case.task != "change_pair" or first == second or not self.visible(case, first, second):
            return False, False
        said = self._said(case, first, second)
        if said is False:
            return False, True
        if said and window is None:
            return True, True
        if said is None and case.label.change is not True and case.label.change_from is None:
            return False, False
        differs = self.changed_pixels(case, first, second, found)
        if differs is None:
            return False, False
        top, bottom, left, right = window or (0, found.rows, 0, found.cols)
        share = float(differs[top:bottom, left:right].mean())
        if share >= self.positive_fraction:
            return True, True
        return False, share <= self.negative_fraction

    def _said(self, case: Case, first: int, second: int) -> bool | None:
        """What the label says about whole pictures; None where only masks could tell."""
        label = case.label
        if not case.sequence or label.change is False:
            return label.change
        if label.change_from is None or first >= label.change_from:
            return None
        return second >= label.change_from

    def changed_pixels(self, case: Case, first: int, second: int, found: images.Layout) -> Mask | None:
        """Which pixels changed between two pictures, shape (rows, columns); None where the masks do not tell.

        Raises
        ------
        InputError
            A mask is missing, of another size, or not of 0 and 255.
        """
        if case.sequence:
            names = [case.sequence[k].mask for k in (first, second)]
            if names[1] is None or (first > 0 and names[0] is None):
                return None
            beside = [case.sequence[k].picture for k in (first, second)]
            last = self._mask(case, beside[1], names[1], found)
            return last if first == 0 or names[0] is None else last ^ self._mask(case, beside[0], names[0], found)
        label = case.label
        if label.mask_after is None:
            return None
        after = self._mask(case, case.after or "", label.mask_after, found)
        if label.mask_before is None:
            return after
        before = self._mask(case, case.after or "", label.mask_before, found)
        if label.front_row_before is None or label.front_row_after is None:
            return before ^ after
        return _between_lines(case, before, after)

    def box(self, case: Case, first: int, second: int, found: images.Layout, window: Window) -> Box | None:
        """Box around the change, as fractions of the window; from masks where there are any, else as stated. [-]"""
        differs = self.changed_pixels(case, first, second, found)
        top, bottom, left, right = window
        if differs is not None:
            return box_of_mask(differs[top:bottom, left:right])
        stated = case.sequence[second].boxes if case.sequence and first == 0 else case.label.boxes
        high, wide = bottom - top, right - left
        parts = []
        for box in stated:
            edges = np.array(box) * (found.cols, found.rows, found.cols, found.rows) - (left, top, left, top)
            part = np.clip(edges / (wide, high, wide, high), 0.0, 1.0)
            if part[0] < part[2] and part[1] < part[3]:
                parts.append(part.tolist())
        return hull(parts)

    def _mask(self, case: Case, beside: str, text: str, found: images.Layout) -> Mask:
        # Masks lie beside the pictures of their case.
        path = inside(self.folder, case, str(Path(beside).parent / text))
        what = f"archive case '{case.id}': mask '{text}'"
        shape = images.layout(path, 1, what)
        if (shape.rows, shape.cols) != (found.rows, found.cols):
            raise InputError(
                f"{what} has {shape.rows} x {shape.cols} pixels; the pictures have {found.rows} x {found.cols}."
            )
        samples = images.read(path, shape, what)[0]
        if not np.isin(samples, (0, 255)).all():
            raise InputError(f"{what} has values other than 0 (no) and 255 (yes).")
        return np.asarray(samples == 255)


def _between_lines(case: Case, before: Mask, after: Mask) -> Mask:
    """Pixels between two lines, such as two calving fronts, where both lines exist."""
    rows = np.arange(after.shape[0])[:, None]
    both = before.any(axis=0) & after.any(axis=0)
    if not both.any():
        raise InputError(f"archive case '{case.id}': the two front masks share no column.")
    first, last = _line_rows(before), _line_rows(after)
    between = (rows >= np.minimum(first, last)) & (rows < np.maximum(first, last))
    return np.asarray(between & both)


def _line_rows(mask: Mask) -> NDArray[np.float64]:
    """Mean row of a line in each column, shape (columns,); 0 where it has none."""
    rows = np.arange(mask.shape[0])[:, None]
    return np.asarray((mask * rows).sum(axis=0) / np.maximum(mask.sum(axis=0), 1))
