"""Scenes from parquet files with embedded pictures, the layout in which change-detection data sets are published."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..areas import ScenePlace
from ..boxes import Box
from ..domain import Plan, Tile, TilePair, TruthTable
from ..errors import InputError
from ..protocols import PluginConfig
from ..scenario.models import Camera, Targets
from . import images, pictures
from .parquet_rows import Files, Found, Pair
from .visits import visit_numbers

_OPTIONAL = ("lat", "lon", "captured")
#: Names of rows that a note lists for each reason.
_NAMED = 5


class Columns(PluginConfig):
    """Names of the columns."""

    before: str = "before"
    """Reference picture: encoded bytes, or a struct with the field bytes."""
    after: str = "after"
    """New picture, likewise."""
    schema_: Annotated[str, Field(alias="schema")] = "schema"
    """Which question the row answers: title (FloodExtentChange), id (flood_extent) or wire id (flood_extent/1)."""
    target: str = "target"
    """The right answer as JSON text: an object for an event, null for none."""
    lat: str = "lat"
    """Latitude; optional. [deg]"""
    lon: str = "lon"
    """Longitude; optional. [deg]"""
    captured: str = "captured"
    """When the new picture was taken; optional, UTC where it has no time zone."""


class Parquet:
    """Picture pairs embedded in parquet files, one row a question about a pair.

    Notes
    -----
    Rows with the same two pictures (by the digest of their bytes) are one pair with several labels; a schema that no
    row asks is unlabelled. Pictures are read when looked at, one batch at a time.
    A row that cannot be used is left out, counted and named by file and row in ``bad_rows`` and in the report's notes.
    Pairs with coordinates are places; several pairs of one place are its visits, in the order of ``captured``: the
    n-th shot of the place shows the n-th pair, and the last one for ever after. Pairs without are scored by
    ``flightsim perceive`` only.
    """

    class Config(PluginConfig):
        """Which files, and what their columns and pictures are."""

        path: str
        """A .parquet file or a folder of them, relative to the scenario."""
        pattern: str = "*.parquet"
        """Which files of a folder, such as "val-*.parquet"."""
        columns: Columns = Columns()
        """Names of the columns."""
        bands: Annotated[tuple[str, ...], Field(min_length=1)] = ("B04", "B03", "B02")
        """Bands of the pictures, in their order."""
        gsd_m: Annotated[float, Field(gt=0, le=10000)] | None = None
        """Ground sample distance. [m] Areas are left out of verdicts where it is not known."""
        rows: Annotated[int, Field(gt=0)] | None = None
        """Look at the first so many rows. Default: at all."""
        decode: bool = True
        """Decode every different picture once at the start, so that damaged rows are found and left out. Without it a
        damaged picture ends the run when it is looked at."""
        cache_bytes: Annotated[int, Field(ge=0)] = pictures.CACHE_BYTES
        """Decoded pictures kept in memory. [B]"""

    has_pixels: ClassVar[bool] = True

    def __init__(self, config: Config, base_folder: Path = Path(".")) -> None:
        self._config = config
        path = base_folder / config.path
        paths = sorted(path.glob(config.pattern)) if path.is_dir() else [path]
        if not paths or not all(each.is_file() for each in paths):
            what = f"no file {config.pattern} in folder" if path.is_dir() else "no file or folder"
            raise InputError(f"scenes 'parquet' find {what} '{path}'; scenes.with.path must name it.")
        try:
            self._bands = images.band_names(config.bands)
        except InputError as error:
            raise InputError(f"scenes.with.bands: {error}") from error
        columns = config.columns.model_dump(by_alias=True)
        self._files = Files(paths, columns, len(self._bands))
        given = {"schema" if name == "schema_" else name for name in config.columns.model_fields_set}
        self._files.check_columns([name for name in _OPTIONAL if name not in given])
        self._found: Found = self._files.find(config.decode, config.rows)
        if not self._found.pairs:
            raise InputError(f"'{path}' has no usable row: {self._bad_text() or 'it is empty'}.")
        self._cache = pictures.PictureCache(config.cache_bytes)
        self._kept: dict[tuple[int, str], pictures.KeptPicture] = {}
        self._by_place = self._places_of(self._found.pairs)
        self._place_name = {k: name for name, own in self._by_place.items() for k in own}
        self._plan: Plan | None = None
        self._flown: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    @staticmethod
    def _places_of(pairs: Sequence[Pair]) -> dict[str, list[int]]:
        """Pairs of each place in the order of capture, by the place's name."""
        where: dict[tuple[float, float], list[int]] = {}
        for k, pair in enumerate(pairs):
            if pair.lat_deg is not None and pair.lon_deg is not None:
                where.setdefault((pair.lat_deg, pair.lon_deg), []).append(k)
        for own in where.values():
            # Pairs without a date keep the order of the file, before those with one.
            own.sort(key=lambda k: (moment.timestamp() if (moment := pairs[k].captured) is not None else -math.inf, k))
        return {f"place-{number:05d}": own for number, own in enumerate(where.values())}

    def __len__(self) -> int:
        """Different picture pairs."""
        return len(self._found.pairs)

    @property
    def bad_rows(self) -> dict[str, tuple[str, ...]]:
        """Rows that were left out, as file:row counted from 0, by reason."""
        return {reason: tuple(names) for reason, names in self._found.bad.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report must say about the files."""
        found = self._found
        told = []
        if found.bad:
            total = sum(len(names) for names in found.bad.values())
            told.append(f"parquet rows left out, {total} of {found.rows}: {self._bad_text()}")
        if found.repeated:
            told.append(f"parquet rows that repeat an earlier one: {found.repeated}")
        if self._config.rows is not None:
            told.append(f"parquet rows looked at: the first {found.rows}")
        nowhere = len(found.pairs) - len(self._place_name)
        if nowhere:
            told.append(f"parquet pairs without coordinates, not flown: {nowhere} of {len(found.pairs)}")
        return tuple(told)

    def _bad_text(self) -> str:
        return "; ".join(
            f"{len(names)} {reason} ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
            for reason, names in self._found.bad.items()
        )

    # ---------------------------------------------------------------- places and truth

    def places(self) -> list[ScenePlace]:
        """Places of the pairs that have coordinates; the row of each is its first pair."""
        pairs = self._found.pairs
        found = []
        for name, own in self._by_place.items():
            lat, lon = pairs[own[0]].lat_deg, pairs[own[0]].lon_deg
            if lat is not None and lon is not None:  # as all pairs of a place
                found.append(ScenePlace(name, lat, lon, (own[0],)))
        return found

    def all_rows_truth(self, schemas: Sequence[str]) -> TruthTable:
        """Truth of every pair, in the order of ``pairs``; the priors are 0, for none is stated."""
        return self._table(np.arange(len(self)), schemas, np.zeros(len(schemas)))

    def _table(self, rows: NDArray[np.int64], schemas: Sequence[str], prior: NDArray[np.float64]) -> TruthTable:
        pairs = self._found.pairs
        changed = np.array([[p.changed.get(s, False) for s in schemas] for p in pairs], dtype=np.bool_)
        labelled = np.array([[s in p.changed for s in schemas] for p in pairs], dtype=np.bool_)
        # Pairs of one place share its light, land and labeller: they are resampled together.
        order = {name: k for k, name in enumerate(self._by_place)}
        cluster = np.array(
            [order[self._place_name[k]] if k in self._place_name else len(order) + k for k in range(len(pairs))],
            dtype=np.int64,
        )
        visible = np.ones(len(rows), dtype=np.bool_)
        return TruthTable(tuple(schemas), changed[rows], labelled[rows], visible, cluster[rows], prior)

    def prepare(self, plan: Plan, schemas: Sequence[str], targets: Targets, camera: Camera, seed: int) -> TruthTable:
        """Truth of every shot of a plan whose ``scene_row`` names our places; called once, before the run.

        Raises
        ------
        InputError
            The plan's places are not ours.
        """
        first = {own[0]: own for own in self._by_place.values()}
        rows = plan.scene_row.tolist()
        if len(rows) != len(plan) or not set(rows) <= set(first):
            raise InputError("scenes 'parquet' fly over the places of their rows; write targets: {use: archive}.")
        visits = visit_numbers(plan)
        shown = [first[row][min(int(visit), len(first[row]) - 1)] for row, visit in zip(rows, visits, strict=True)]
        self._plan, self._flown = plan, np.array(shown, dtype=np.int64)
        prior = np.array([targets.prevalence_of(schema) for schema in schemas], dtype=np.float64)
        return self._table(self._flown, schemas, prior)

    def change_mask(self, row: int, schema_id: str) -> NDArray[np.bool_] | None:
        """All false where nothing happened, shape (rows, columns); else None, for the files hold no masks.

        This is truth. Rows are those of the prepared plan, and those of ``pairs`` while there is none.
        """
        pair = self._at(row)
        if pair.changed.get(schema_id, True):
            return None
        return np.zeros((pair.layout.rows, pair.layout.cols), dtype=np.bool_)

    def change_box(self, row: int, schema_id: str) -> Box | None:
        """Box of the target, where it has a valid one. [-]"""
        return self._at(row).boxes.get(schema_id)

    def _at(self, row: int) -> Pair:
        return self._found.pairs[row if self._plan is None else int(self._flown[row])]

    # ---------------------------------------------------------------- pictures

    def pairs(self) -> Iterator[TilePair]:
        """Every pair, flown or not, in the order of ``all_rows_truth``; taken at time 0."""
        for k in range(len(self)):
            yield self._pair(k, f"pair-{k:06d}@0", 0.0, 0.0)

    def pair(self, row: int) -> TilePair:
        """Pictures of one shot of the prepared plan."""
        plan = self._prepared()
        return self._pair(int(self._flown[row]), plan.tile_id(row), float(plan.time_s[row]), float(plan.before_s[row]))

    def _prepared(self) -> Plan:
        if self._plan is None:
            raise InputError("the parquet scenes have no plan yet; call prepare first.")
        return self._plan

    def _image(self, k: int, part: str) -> pictures.KeptPicture:
        if (k, part) not in self._kept:
            pair = self._found.pairs[k]
            digest = pair.digests[0 if part == "before" else 1]
            self._kept[k, part] = pictures.KeptPicture(
                digest, self._bands, pair.layout.rows, pair.layout.cols, pair.layout.bits,
                partial(self._decoded, k, part), self._cache,
            )  # fmt: skip
        return self._kept[k, part]

    def _decoded(self, k: int, part: str) -> NDArray[Any]:
        what = f"picture '{part}' of parquet pair {k}"
        data = self._files.picture(self._found.pairs[k].address, part)
        return images.read_bytes(data, images.layout_of_bytes(data, len(self._bands), what), what)

    def _pair(self, k: int, tile_id: str, time_s: float, before_s: float) -> TilePair:
        pair = self._found.pairs[k]

        def tile(name: str, part: str, captured_s: float) -> Tile:
            image = self._image(k, part)
            return Tile(
                id=name,
                place_id=self._place_name.get(k, f"pair-{k:06d}"),
                captured_s=captured_s,
                lat_deg=math.nan if pair.lat_deg is None else pair.lat_deg,
                lon_deg=math.nan if pair.lon_deg is None else pair.lon_deg,
                gsd_m=self._config.gsd_m or 0.0,
                size_px=image.shape[1:],
                bands=image.bands,
                image=image,
            )

        return TilePair(tile(f"{tile_id}/before", "before", before_s), tile(tile_id, "after", time_s))

    def raw_bytes(self, row: int) -> int:
        """Bytes of the "after" picture decoded: all samples of all bands. [B]"""
        self._prepared()
        image = self._image(int(self._flown[row]), "after")
        return math.ceil(math.prod(image.shape) * image.bits / 8)

    def product_bytes(self, row: int, kind: str, size_px: int | None) -> int:
        """Not for scenes with pixels: their products are really encoded."""
        raise InputError("parquet scenes have pixels; products are encoded from them, not estimated.")
