"""Scenes from an archive of real or made picture pairs with labels: a folder with an ``index.json``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .. import resources
from ..areas import ScenePlace
from ..domain import Plan, Tile, TilePair, TruthTable
from ..errors import InputError
from ..protocols import PluginConfig
from ..scenario.models import Camera, Targets
from . import images
from .archive_index import Case, read_index

#: Tasks whose cases are pairs.
PAIR_TASKS = ("change_pair", "quality_gate")
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class _Row:
    """One tile pair of the archive: a whole picture or a slice of it."""

    case: int
    place: str
    window: tuple[int, int, int, int]
    changed: bool
    labelled: bool


class Archive:
    """Picture pairs with their own size, bands and labels, never cropped or padded.

    Notes
    -----
    A question is labelled only for a case's ``change_schema`` and its ``also``, and only where ``label.change`` is
    true or false. Unusable pairs (``quality_gate``) stay in the archive, unlabelled and not visible: the right
    answer is to abstain.

    Slices (``slice_px``): a picture larger than that is cut into rows and columns of near-equal size, none larger
    than ``slice_px``, which together cover it. A slice of a negative case is negative. A slice of a positive case is
    labelled from masks: the changed pixels are those in which ``mask_before`` and ``mask_after`` differ
    (``mask_after`` alone marks the changed pixels themselves; where the label gives ``front_row_*`` the masks are
    lines, and what lies between the two lines has changed). It is positive where at least ``positive_fraction`` of
    it changed and negative where at most ``negative_fraction`` did; else, or without a mask, it is unlabelled.
    """

    class Config(PluginConfig):
        """Which archive, and how its pictures become tiles."""

        path: str | None = None
        """Folder with an index.json, relative to the scenario. Default: the small archive that flightsim ships."""
        slice_px: Annotated[int, Field(ge=16, le=4096)] | None = None
        """Cut larger pictures into slices of at most this side. [px] Default: a picture is one tile."""
        positive_fraction: Share = 0.02
        """Changed share of a slice from which on it is positive. [-]"""
        negative_fraction: Share = 0.002
        """Changed share of a slice of a positive case up to which it is negative. [-]"""
        cache_bytes: Annotated[int, Field(ge=0)] = images.CACHE_BYTES
        """Decoded pictures kept in memory. [B]"""

    has_pixels: ClassVar[bool] = True

    def __init__(self, config: Config, base_folder: Path = Path(".")) -> None:
        self._config = config
        folder = resources.folder("archive") if config.path is None else base_folder / config.path
        self._index = folder / "index.json"
        if not self._index.is_file():
            raise InputError(f"scene archive '{folder}' has no index.json; scenes.with.path must name its folder.")
        self._folder = folder.resolve()
        self._cache = images.PictureCache(config.cache_bytes)
        self._skipped: dict[str, tuple[str, ...]] = {}
        self._pictures: list[tuple[images.Picture, images.Picture]] = []
        self._cases = self._usable(read_index(self._index))
        if not self._cases:
            raise InputError(f"scene archive '{folder}' has no pair of pictures; left out: {self._skipped_text()}.")
        self._rows = self._all_rows()
        self._plan: Plan | None = None

    @property
    def skipped(self) -> Mapping[str, tuple[str, ...]]:
        """Ids of the cases that are no pairs, by reason."""
        return dict(self._skipped)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report must say about the archive."""
        found = []
        if self._skipped:
            found.append(f"archive cases left out: {self._skipped_text()}")
        nowhere = [case.id for case in self._cases if case.lat is None or case.lon is None]
        if nowhere:
            found.append(f"archive cases without coordinates, not flown: {', '.join(nowhere)}")
        return tuple(found)

    def _skipped_text(self) -> str:
        return "; ".join(f"{len(ids)} {reason} ({', '.join(ids)})" for reason, ids in self._skipped.items()) or "none"

    def __len__(self) -> int:
        """Tile pairs of the archive, slices counted."""
        return len(self._rows)

    # ---------------------------------------------------------------- reading

    def _usable(self, cases: Sequence[Case]) -> list[Case]:
        """The cases that are pairs; the others are noted."""
        kept = []
        for case in cases:
            if case.task not in PAIR_TASKS:
                reason = f"of task {case.task}"
            elif case.before is None or case.after is None:
                reason = "without a before or after picture"
            elif case.change_schema is None:
                reason = "without a change_schema"
            else:
                kept.append(case)
                self._pictures.append(self._open(case, case.before, case.after))
                continue
            self._skipped[reason] = (*self._skipped.get(reason, ()), case.id)
        return kept

    def _inside(self, case: Case, text: str) -> Path:
        """A path of the index, which must stay inside the archive."""
        what = f"archive case '{case.id}': path '{text}'"
        if not text or "\x00" in text or Path(text).is_absolute():
            raise InputError(f"{what} must be relative to the folder of index.json.")
        path = (self._folder / text).resolve()
        if not path.is_relative_to(self._folder):
            raise InputError(f"{what} leads out of the archive folder; move the file into it.")
        return path

    def _open(self, case: Case, before: str, after: str) -> tuple[images.Picture, images.Picture]:
        if not case.bands:
            raise InputError(f"archive case '{case.id}' names no bands; 'bands' must list them in the file's order.")
        try:
            bands = images.band_names(case.bands)
        except InputError as error:
            raise InputError(f"archive case '{case.id}': {error}") from error
        pair = []
        for text in (before, after):
            path, what = self._inside(case, text), f"archive case '{case.id}': picture '{text}'"
            found = images.layout(path, len(bands), what)
            window = (0, found.rows, 0, found.cols)
            pair.append(images.Picture(path, what, bands, found, window, self._cache))
        if pair[0].shape != pair[1].shape or pair[0].bits != pair[1].bits:
            raise InputError(
                f"archive case '{case.id}': before has shape {pair[0].shape} of {pair[0].bits} bit, after "
                f"{pair[1].shape} of {pair[1].bits} bit; a pair must agree, and nothing is cropped or padded."
            )
        return pair[0], pair[1]

    def _all_rows(self) -> list[_Row]:
        rows: list[_Row] = []
        for number, case in enumerate(self._cases):
            found = self._pictures[number][0].found
            windows = slice_windows(found.rows, found.cols, self._config.slice_px)
            change = case.label.change if case.task == "change_pair" and case.label.usable else None
            differs = self._changed_pixels(number) if change and len(windows) > 1 else None
            for k, window in enumerate(windows):
                place = case.id if len(windows) == 1 else f"{case.id}/{k:02d}"
                changed, labelled = bool(change), change is not None
                if change and len(windows) > 1:
                    changed, labelled = self._slice_label(differs, window)
                rows.append(_Row(number, place, window, changed, labelled))
        return rows

    def _slice_label(self, differs: NDArray[np.bool_] | None, window: tuple[int, int, int, int]) -> tuple[bool, bool]:
        """Whether a slice of a positive case changed, and whether that is known."""
        if differs is None:
            return False, False
        top, bottom, left, right = window
        share = float(differs[top:bottom, left:right].mean())
        if share >= self._config.positive_fraction:
            return True, True
        return False, share <= self._config.negative_fraction

    def _changed_pixels(self, number: int) -> NDArray[np.bool_] | None:
        """Which pixels of a positive case changed, shape (rows, columns); None where the label has no mask."""
        case, label = self._cases[number], self._cases[number].label
        if label.mask_after is None:
            return None
        after = self._mask(number, label.mask_after)
        if label.mask_before is None:
            return after
        before = self._mask(number, label.mask_before)
        if label.front_row_before is None or label.front_row_after is None:
            return before ^ after
        rows = np.arange(after.shape[0])[:, None]
        both = before.any(axis=0) & after.any(axis=0)
        if not both.any():
            raise InputError(f"archive case '{case.id}': the two front masks share no column.")
        first = _line_rows(before)
        last = _line_rows(after)
        between = (rows >= np.minimum(first, last)) & (rows < np.maximum(first, last))
        return np.asarray(between & both)

    def _mask(self, number: int, text: str) -> NDArray[np.bool_]:
        case, found = self._cases[number], self._pictures[number][0].found
        # Masks lie beside the pictures of their case.
        path = self._inside(case, str(Path(case.after or "").parent / text))
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

    # ---------------------------------------------------------------- places and truth

    def places(self) -> list[ScenePlace]:
        """The cases as places of the capture planner, in the order of the index.

        Cases without coordinates are left out here and in flights; ``pairs`` still has them.
        """
        found = []
        for number, case in enumerate(self._cases):
            if case.lat is None or case.lon is None:
                continue
            rows = tuple(k for k, row in enumerate(self._rows) if row.case == number)
            slices = tuple(self._rows[k].place.rpartition("/")[2] for k in rows) if len(rows) > 1 else ()
            found.append(ScenePlace(case.id, case.lat, case.lon, rows, slices))
        return found

    def all_rows_truth(self, schemas: Sequence[str]) -> TruthTable:
        """Truth of every tile pair of the archive, in the order of ``pairs``; the priors are 0, for none is stated."""
        return self._truth(np.arange(len(self._rows)), schemas, np.zeros(len(schemas)))

    def _truth(self, rows: NDArray[np.int64], schemas: Sequence[str], prior: NDArray[np.float64]) -> TruthTable:
        changed, labelled = np.zeros((2, len(self._rows), len(schemas)), dtype=np.bool_)
        for k, row in enumerate(self._rows):
            case = self._cases[row.case]
            for column, schema in enumerate(schemas):
                if schema == case.change_schema or schema in case.also:
                    changed[k, column], labelled[k, column] = row.changed, row.labelled
        cases = np.array([row.case for row in self._rows], dtype=np.int64)
        visible = np.array([c.task != "quality_gate" and c.label.usable for c in self._cases], dtype=np.bool_)
        return TruthTable(tuple(schemas), changed[rows], labelled[rows], visible[cases[rows]], cases[rows], prior)

    def prepare(self, plan: Plan, schemas: Sequence[str], targets: Targets, camera: Camera, seed: int) -> TruthTable:
        """Truth of every shot of a plan whose ``scene_row`` names our rows; called once, before the run.

        Raises
        ------
        InputError
            The plan's places are not those of the archive.
        """
        rows = np.asarray(plan.scene_row, dtype=np.int64)
        if len(rows) != len(plan):
            raise InputError("scenes 'archive' fly over the archive's own places; write targets: {use: archive}.")
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self._rows)):
            raise InputError(
                f"the plan asks for archive row {rows.max()}; the archive has the rows 0 to {len(self._rows) - 1}."
            )
        self._plan = plan
        prior = np.array([targets.prevalence_of(schema) for schema in schemas], dtype=np.float64)
        return self._truth(rows, schemas, prior)

    # ---------------------------------------------------------------- pictures

    def pairs(self) -> Iterator[TilePair]:
        """Every tile pair of the archive, flown or not, in the order of ``all_rows_truth``; taken at time 0."""
        for k, row in enumerate(self._rows):
            yield self._pair(k, f"{row.place}@0", 0.0, 0.0)

    def pair(self, row: int) -> TilePair:
        """Pictures of one shot of the prepared plan."""
        plan = self._prepared()
        return self._pair(
            int(plan.scene_row[row]), plan.tile_id(row), float(plan.time_s[row]), float(plan.before_s[row])
        )

    def _prepared(self) -> Plan:
        if self._plan is None:
            raise InputError("the archive has no plan yet; call prepare first.")
        return self._plan

    @cached_property
    def _windows(self) -> list[tuple[images.Picture, images.Picture]]:
        """Both pictures of each row; one object a row, so that a digest is computed once."""
        made = []
        for row in self._rows:
            before, after = (
                images.Picture(whole.path, whole.what, whole.bands, whole.found, row.window, whole.cache)
                for whole in self._pictures[row.case]
            )
            made.append((before, after))
        return made

    def _pair(self, k: int, tile_id: str, time_s: float, before_s: float) -> TilePair:
        row = self._rows[k]
        case = self._cases[row.case]
        before, after = self._windows[k]

        def tile(name: str, image: images.Picture, captured_s: float) -> Tile:
            return Tile(
                id=name,
                place_id=row.place,
                captured_s=captured_s,
                lat_deg=case.lat if case.lat is not None else math.nan,
                lon_deg=case.lon if case.lon is not None else math.nan,
                # 0 stands for "not known": areas are then left out of verdicts instead of made up.
                gsd_m=case.gsd_m or 0.0,
                size_px=image.shape[1:],
                bands=image.bands,
                image=image,
            )

        return TilePair(tile(f"{tile_id}/before", before, before_s), tile(tile_id, after, time_s))

    def raw_bytes(self, row: int) -> int:
        """Bytes of the "after" picture as it is stored: all samples of all bands. [B]"""
        image = self._windows[int(self._prepared().scene_row[row])][1]
        return math.ceil(math.prod(image.shape) * image.bits / 8)

    def product_bytes(self, row: int, kind: str, size_px: int | None) -> int:
        """Not for scenes with pixels: their products are really encoded."""
        raise InputError("archive scenes have pixels; products are encoded from them, not estimated.")


def slice_windows(rows: int, cols: int, slice_px: int | None) -> list[tuple[int, int, int, int]]:
    """Windows (first row, end row, first column, end column) that cover a picture without overlap, row by row.

    The fewest slices of at most ``slice_px`` a side are taken, and made equal to within one pixel.
    """

    def edges(size: int) -> NDArray[np.int64]:
        count = 1 if slice_px is None else math.ceil(size / slice_px)
        return np.arange(count + 1, dtype=np.int64) * size // count

    down, across = edges(rows).tolist(), edges(cols).tolist()
    return [
        (down[i], down[i + 1], across[j], across[j + 1]) for i in range(len(down) - 1) for j in range(len(across) - 1)
    ]


def _line_rows(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean row of a line in each column, shape (columns,); 0 where it has none."""
    rows = np.arange(mask.shape[0])[:, None]
    return np.asarray((mask * rows).sum(axis=0) / np.maximum(mask.sum(axis=0), 1))
