"""Scenes from an archive of real or made pictures with labels: a folder with an ``index.json``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .. import resources
from ..areas import ScenePlace
from ..boxes import Box
from ..domain import Plan, Tile, TilePair, TruthTable
from ..errors import InputError
from ..protocols import PluginConfig
from ..scenario.models import Camera, Targets
from . import images, pictures
from .archive_index import Case, read_index
from .archive_truth import ArchiveTruth, Mask, Window, inside
from .visits import reference_visits, start_of, visit_numbers

#: Tasks whose cases are pairs, or sequences of them.
PAIR_TASKS = ("change_pair", "quality_gate")
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class _Row:
    """Two pictures of a case, by their numbers in time order: whole or a slice of them."""

    case: int
    place: str
    window: Window
    first: int
    second: int
    changed: bool
    labelled: bool


class Archive:
    """Pictures with their own size, bands and labels, never cropped or padded: pairs, or sequences of dates.

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

    Sequences: the rows of ``pairs`` set each later picture against the first. In flight the n-th visit of the place
    shows picture n (the first picture, 0, is what the reference store begins with), and the last one for ever after;
    with ``sequence: dates`` a shot shows the newest picture captured by then. A pair is negative while both lie
    before ``label.change_from``, positive where only the first does, and else told by the masks: those of a sequence
    mark what changed since the first picture, so two of them tell what changed between.
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
        sequence: Literal["visits", "dates"] = "visits"
        """visits: the n-th visit shows the n-th later date; dates: a shot shows the newest picture of its day."""
        cache_bytes: Annotated[int, Field(ge=0)] = pictures.CACHE_BYTES
        """Decoded pictures kept in memory. [B]"""

    has_pixels: ClassVar[bool] = True

    def __init__(self, config: Config, base_folder: Path = Path(".")) -> None:
        self._config = config
        folder = resources.folder("archive") if config.path is None else base_folder / config.path
        self._index = folder / "index.json"
        if not self._index.is_file():
            raise InputError(f"scene archive '{folder}' has no index.json; scenes.with.path must name its folder.")
        self._folder = folder.resolve()
        self._truth = ArchiveTruth(self._folder, config.positive_fraction, config.negative_fraction)
        self._cache = pictures.PictureCache(config.cache_bytes)
        self._skipped: dict[str, tuple[str, ...]] = {}
        self._pictures: list[tuple[pictures.Picture, ...]] = []
        self._cases = self._usable(read_index(self._index))
        if not self._cases:
            raise InputError(f"scene archive '{folder}' has no pair of pictures; left out: {self._skipped_text()}.")
        self._known: dict[tuple[int, int, int, int], _Row] = {}
        self._parts: dict[tuple[int, int, Window], pictures.Picture] = {}
        self._rows = [
            self._row(number, part, 0, second)
            for number, pictures in enumerate(self._pictures)
            for second in range(1, len(pictures))
            for part in range(len(self._slices(number)))
        ]
        self._plan: Plan | None = None
        self._flown: list[_Row] = []
        self._idle_visits = 0

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
        if self._idle_visits:
            found.append(
                f"{self._idle_visits} shots of sequences show the same picture as their reference (the sequence has "
                "no newer one); their questions are unlabelled"
            )
        return tuple(found)

    def _skipped_text(self) -> str:
        return "; ".join(f"{len(ids)} {reason} ({', '.join(ids)})" for reason, ids in self._skipped.items()) or "none"

    def __len__(self) -> int:
        """Tile pairs of the archive, slices and dates counted."""
        return len(self._rows)

    # ---------------------------------------------------------------- reading

    def _usable(self, cases: Sequence[Case]) -> list[Case]:
        """The cases that are pairs or sequences; the others are noted."""
        kept = []
        for case in cases:
            if case.task not in PAIR_TASKS:
                reason = f"of task {case.task}"
            elif not case.pictures:
                reason = "without a before or after picture"
            elif case.change_schema is None:
                reason = "without a change_schema"
            else:
                kept.append(case)
                self._pictures.append(self._open(case))
                continue
            self._skipped[reason] = (*self._skipped.get(reason, ()), case.id)
        return kept

    def _open(self, case: Case) -> tuple[pictures.Picture, ...]:
        if not case.bands:
            raise InputError(f"archive case '{case.id}' names no bands; 'bands' must list them in the file's order.")
        try:
            bands = images.band_names(case.bands)
        except InputError as error:
            raise InputError(f"archive case '{case.id}': {error}") from error
        opened: list[pictures.Picture] = []
        for text in case.pictures:
            path, what = inside(self._folder, case, text), f"archive case '{case.id}': picture '{text}'"
            found = images.layout(path, len(bands), what)
            opened.append(pictures.Picture(path, what, bands, found, (0, found.rows, 0, found.cols), self._cache))
            first, last = opened[0], opened[-1]
            if first.shape != last.shape or first.bits != last.bits:
                names = ("before", "after") if not case.sequence else (case.pictures[0], text)
                raise InputError(
                    f"archive case '{case.id}': {names[0]} has shape {first.shape} of {first.bits} bit, {names[1]} "
                    f"{last.shape} of {last.bits} bit; a pair must agree, and nothing is cropped or padded."
                )
        return tuple(opened)

    def _slices(self, number: int) -> list[Window]:
        found = self._pictures[number][0].found
        return slice_windows(found.rows, found.cols, self._config.slice_px)

    def _row(self, number: int, part: int, first: int, second: int) -> _Row:
        """A slice of two pictures of a case, with its label; made once."""
        key = (number, part, first, second)
        if key not in self._known:
            case, windows = self._cases[number], self._slices(number)
            whole = len(windows) == 1
            place, window = (case.id if whole else f"{case.id}/{part:02d}"), windows[part]
            found = self._pictures[number][0].found
            changed, labelled = self._truth.label(case, first, second, found, None if whole else window)
            self._known[key] = _Row(number, place, window, first, second, changed, labelled)
        return self._known[key]

    # ---------------------------------------------------------------- places and truth

    def places(self) -> list[ScenePlace]:
        """The cases as places of the capture planner, in the order of the index.

        Cases without coordinates are left out here and in flights; ``pairs`` still has them. The rows of a sequence
        are those of its first two pictures; ``prepare`` looks up which date a visit meets.
        """
        rows: dict[int, list[int]] = {}
        for k, row in enumerate(self._rows):
            if row.second == 1:
                rows.setdefault(row.case, []).append(k)
        found = []
        for number, case in enumerate(self._cases):
            if case.lat is None or case.lon is None:
                continue
            own = tuple(rows[number])
            slices = tuple(self._rows[k].place.rpartition("/")[2] for k in own) if len(own) > 1 else ()
            found.append(ScenePlace(case.id, case.lat, case.lon, own, slices))
        return found

    def all_rows_truth(self, schemas: Sequence[str]) -> TruthTable:
        """Truth of every tile pair of the archive, in the order of ``pairs``; the priors are 0, for none is stated."""
        return self._table(self._rows, schemas, np.zeros(len(schemas)))

    def _table(self, rows: Sequence[_Row], schemas: Sequence[str], prior: NDArray[np.float64]) -> TruthTable:
        changed, labelled = np.zeros((2, len(rows), len(schemas)), dtype=np.bool_)
        for k, row in enumerate(rows):
            for column, schema in enumerate(schemas):
                if self._asks(row, schema):
                    changed[k, column], labelled[k, column] = row.changed, row.labelled
        visible = [self._truth.visible(self._cases[row.case], row.first, row.second) for row in rows]
        cases = np.array([row.case for row in rows], dtype=np.int64)
        return TruthTable(tuple(schemas), changed, labelled, np.array(visible, dtype=np.bool_), cases, prior)

    def _asks(self, row: _Row, schema: str) -> bool:
        case = self._cases[row.case]
        return schema == case.change_schema or schema in case.also

    def prepare(self, plan: Plan, schemas: Sequence[str], targets: Targets, camera: Camera, seed: int) -> TruthTable:
        """Truth of every shot of a plan whose ``scene_row`` names our rows; called once, before the run.

        Raises
        ------
        InputError
            The plan's places are not those of the archive, or a sequence begins after a shot of it.
        """
        rows = np.asarray(plan.scene_row, dtype=np.int64)
        if len(rows) != len(plan):
            raise InputError("scenes 'archive' fly over the archive's own places; write targets: {use: archive}.")
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self._rows)):
            raise InputError(
                f"the plan asks for archive row {rows.max()}; the archive has the rows 0 to {len(self._rows) - 1}."
            )
        self._plan = plan
        self._flown = self._shown(plan, rows)
        self._idle_visits = sum(row.first == row.second for row in self._flown)
        prior = np.array([targets.prevalence_of(schema) for schema in schemas], dtype=np.float64)
        return self._table(self._flown, schemas, prior)

    def _shown(self, plan: Plan, rows: NDArray[np.int64]) -> list[_Row]:
        """What each shot shows: a pair as it is, of a sequence the date that the visit meets."""
        found = [self._rows[k] for k in rows.tolist()]
        if not any(self._cases[row.case].sequence for row in found):
            return found
        visits, references = visit_numbers(plan), reference_visits(plan)
        for k, row in enumerate(found):
            case = self._cases[row.case]
            if not case.sequence:
                continue
            last = len(case.sequence) - 1
            if self._config.sequence == "dates":
                first, second = self._by_date(case, plan, k)
            else:
                first, second = (min(int(number[k]) + 1, last) for number in (references, visits))
            part = self._slices(row.case).index(row.window)
            found[k] = self._row(row.case, part, first, second)
        return found

    def _by_date(self, case: Case, plan: Plan, row: int) -> tuple[int, int]:
        """Newest pictures captured by the two times of a shot; the first picture stands for all that is older."""
        captured, start = [step.captured for step in case.sequence], start_of(plan)
        when = [start + timedelta(seconds=float(times[row])) for times in (plan.before_s, plan.time_s)]
        numbers = [sum(moment <= date for moment in captured) - 1 for date in when]
        if numbers[1] < 0:
            raise InputError(
                f"archive case '{case.id}' begins on {captured[0]:%Y-%m-%d}, but is imaged on {when[1]:%Y-%m-%d}; "
                "start the scenario later, or write scenes.with.sequence: visits."
            )
        return max(numbers[0], 0), numbers[1]

    def change_mask(self, row: int, schema_id: str) -> Mask | None:
        """Which pixels of a tile changed, shape (rows, columns); None where that is not known.

        This is truth, for records, reports and metrics. Rows are those of the prepared plan, and those of ``pairs``
        while there is none.
        """
        shown = self._at(row)
        if not (shown.labelled and self._asks(shown, schema_id)):
            return None
        top, bottom, left, right = shown.window
        if not shown.changed:
            return np.zeros((bottom - top, right - left), dtype=np.bool_)
        case, found = self._cases[shown.case], self._pictures[shown.case][0].found
        differs = self._truth.changed_pixels(case, shown.first, shown.second, found)
        return None if differs is None else differs[top:bottom, left:right]

    def change_box(self, row: int, schema_id: str) -> Box | None:
        """Box around a tile's change, from masks or from ``boxes`` of the index; None where none is known. [-]

        Rows are those of ``change_mask``.
        """
        shown = self._at(row)
        if not (shown.labelled and shown.changed and self._asks(shown, schema_id)):
            return None
        case, found = self._cases[shown.case], self._pictures[shown.case][0].found
        return self._truth.box(case, shown.first, shown.second, found, shown.window)

    def _at(self, row: int) -> _Row:
        return self._rows[row] if self._plan is None else self._flown[row]

    # ---------------------------------------------------------------- pictures

    def pairs(self) -> Iterator[TilePair]:
        """Every tile pair of the archive, flown or not, in the order of ``all_rows_truth``; taken at time 0."""
        for row in self._rows:
            number = row.second if self._cases[row.case].sequence else 0
            yield self._pair(row, f"{row.place}@{number}", 0.0, 0.0)

    def pair(self, row: int) -> TilePair:
        """Pictures of one shot of the prepared plan."""
        plan = self._prepared()
        return self._pair(self._flown[row], plan.tile_id(row), float(plan.time_s[row]), float(plan.before_s[row]))

    def _prepared(self) -> Plan:
        if self._plan is None:
            raise InputError("the archive has no plan yet; call prepare first.")
        return self._plan

    def _part(self, row: _Row, step: int) -> pictures.Picture:
        """A window of a picture; one object each, so that a digest is computed once."""
        key = (row.case, step, row.window)
        if key not in self._parts:
            whole = self._pictures[row.case][step]
            self._parts[key] = pictures.Picture(
                whole.path, whole.what, whole.bands, whole.found, row.window, whole.cache
            )
        return self._parts[key]

    def _pair(self, row: _Row, tile_id: str, time_s: float, before_s: float) -> TilePair:
        case = self._cases[row.case]

        def tile(name: str, image: pictures.Picture, captured_s: float) -> Tile:
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

        before, after = self._part(row, row.first), self._part(row, row.second)
        return TilePair(tile(f"{tile_id}/before", before, before_s), tile(tile_id, after, time_s))

    def raw_bytes(self, row: int) -> int:
        """Bytes of the "after" picture as it is stored: all samples of all bands. [B]"""
        self._prepared()
        shown = self._flown[row]
        image = self._part(shown, shown.second)
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
