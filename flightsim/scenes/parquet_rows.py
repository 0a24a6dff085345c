"""Rows of parquet files with embedded pictures: found and checked once, their pictures read when asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..boxes import Box, is_box
from ..domain import SCHEMA_IDS
from ..errors import InputError
from ..verdicts import schema_of, wire_id
from .images import Layout, layout_of_bytes, read_bytes

if TYPE_CHECKING:
    import pyarrow as pa

#: Uncompressed pictures that one batch may hold, and most rows of it. A row group may be as large as its file.
_BATCH_BYTES, _BATCH_ROWS = 16 * 2**20, 64
#: Pages are read through a buffer of this size; without one, a whole column of a row group is read at once. [B]
_BUFFER_BYTES = 2**20
#: Longest target that is read. [B]
MAX_TARGET_BYTES = 65_536


class BadRow(Exception):
    """A row that cannot be used; the message is the reason under which it is counted."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a row stands."""

    file: int
    group: int
    row: int


@dataclass
class Pair:
    """Two pictures, and what all rows that hold them say."""

    address: Address
    digests: tuple[str, str]
    layout: Layout
    lat_deg: float | None
    lon_deg: float | None
    captured: datetime | None
    changed: dict[str, bool] = field(default_factory=dict)
    """By schema id; a question that two rows answer differently has no entry."""
    boxes: dict[str, Box] = field(default_factory=dict)
    disputed: set[str] = field(default_factory=set)


@dataclass
class Found:
    """What a pass over all files gave."""

    pairs: list[Pair] = field(default_factory=list)
    rows: int = 0
    bad: dict[str, list[str]] = field(default_factory=dict)
    """Names of the rows that were left out, by reason."""
    repeated: int = 0
    """Rows that say again what an earlier one said."""


@cache
def schema_names() -> Mapping[str, str]:
    """Schema id by every name that it goes by: id, wire id and public title."""
    names: dict[str, str] = {}
    for schema in SCHEMA_IDS:
        names |= {schema: schema, wire_id(schema): schema, str(schema_of(schema)["title"]): schema}
    return names


def target_of(text: object) -> tuple[bool, Box | None]:
    """Whether a target says that something happened, and its box where it has one.

    Raises
    ------
    BadRow
        It is neither the text ``null`` nor that of a JSON object.
    """
    if text is None:
        raise BadRow("no target (an empty cell is not the text null)")
    if not isinstance(text, str) or len(text) > MAX_TARGET_BYTES:
        raise BadRow("malformed target")
    try:
        target = json.loads(text)
    except (ValueError, RecursionError):
        raise BadRow("malformed target") from None
    if target is None:
        return False, None
    if not isinstance(target, dict):
        raise BadRow("malformed target")
    fields = target.get("fields")
    box = (fields if isinstance(fields, dict) else target).get("box")
    return True, (tuple(box) if box is not None and is_box(box) else None)


def moment_of(value: object) -> datetime | None:
    """A capture time, ISO text or a timestamp; UTC where it has no time zone.

    Raises
    ------
    BadRow
        It is no time.
    """
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        raise BadRow("malformed capture time") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def position_of(lat: object, lon: object) -> tuple[float, float] | None:
    """Latitude and longitude, None where both are empty. [deg]

    Raises
    ------
    BadRow
        Only one is given, or they are no place on Earth.
    """
    if lat is None and lon is None:
        return None
    if isinstance(lat, (int, float)) and isinstance(lon, (int, float)) and abs(lat) <= 90 and abs(lon) <= 180:
        return float(lat), float(lon)
    raise BadRow("malformed coordinates")


class Files:
    """Parquet files of one layout, read batch by batch; only one batch is ever held, or a page where that is larger.

    Parameters
    ----------
    paths
        Files, all with the same columns.
    columns
        Name of the column of each part; ``before``, ``after``, ``schema`` and ``target`` are needed.
    bands
        Bands of each picture.
    """

    def __init__(self, paths: Sequence[Path], columns: Mapping[str, str], bands: int) -> None:
        self._paths, self._columns, self._bands = tuple(paths), dict(columns), bands
        self._open: dict[str, Any] = {}
        self._layouts: dict[str, Layout | str] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}, "_layouts": {}}

    def _file(self, number: int) -> Any:
        import pyarrow.parquet as pq

        path = self._paths[number]
        try:
            return pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        except Exception as error:  # whatever pyarrow raises on a file that is none
            raise InputError(f"'{path.name}' is no parquet file: {str(error).splitlines()[0][:200]}") from error

    def check_columns(self, optional: Sequence[str]) -> None:
        """Forget optional columns that are not there.

        Raises
        ------
        InputError
            A needed column is missing, or one holds something else; what the file has is listed.
        """
        import pyarrow as pa

        for number, path in enumerate(self._paths):
            schema = self._file(number).schema_arrow
            for part, name in list(self._columns.items()):
                if name in schema.names:
                    continue
                if part in optional and number == 0:
                    del self._columns[part]
                    continue
                raise InputError(
                    f"'{path.name}' has no column '{name}' for scenes.with.columns.{part}; "
                    f"it has {', '.join(schema.names)}."
                )
            for part in ("before", "after"):
                kind = schema.field(self._columns[part]).type
                inner = (
                    kind.field("bytes").type
                    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
                    else kind
                )
                if not (pa.types.is_binary(inner) or pa.types.is_large_binary(inner)):
                    raise InputError(
                        f"column '{self._columns[part]}' of '{path.name}' holds {kind}; pictures are binary, "
                        "or a struct with the field bytes."
                    )

    def _batches(self, file: Any, group: int, parts: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of a row group with the number of their first row."""
        about = file.metadata.row_group(group)
        size = sum(about.column(k).total_uncompressed_size for k in range(about.num_columns))
        rows = max(1, min(_BATCH_ROWS, int(_BATCH_BYTES * max(about.num_rows, 1) / max(size, 1))))
        start = 0
        names = [self._columns[part] for part in parts]
        for batch in file.iter_batches(rows, row_groups=[group], columns=names, use_threads=False):
            yield start, batch
            start += batch.num_rows

    # ---------------------------------------------------------------- one pass over everything

    def find(self, decode: bool, limit: int | None) -> Found:
        """Every pair with its labels; rows that cannot be used are named under their reason.

        Parameters
        ----------
        decode
            Decode each different picture once, so that damaged ones are found now; else only headers are looked at.
        limit
            Look at so many rows at most.
        """
        found = Found()
        known: dict[tuple[str, str], Pair] = {}
        for number in range(len(self._paths)):
            file = self._file(number)
            counted = 0
            for group in range(file.metadata.num_row_groups):
                for start, batch in self._rows_of(file, group):
                    cells = {
                        part: batch.column(batch.schema.get_field_index(name)) for part, name in self._columns.items()
                    }
                    for k in range(batch.num_rows):
                        if limit is not None and found.rows >= limit:
                            return found
                        found.rows += 1
                        name = f"{self._paths[number].name}:{counted}"
                        counted += 1
                        row = {part: cell[k] for part, cell in cells.items()}
                        try:
                            self._take(row, Address(number, group, start + k), found, known, decode)
                        except BadRow as bad:
                            found.bad.setdefault(str(bad), []).append(name)
        return found

    def _rows_of(self, file: Any, group: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        try:
            yield from self._batches(file, group, list(self._columns))
        except OSError as error:
            raise InputError(f"a parquet file is damaged in row group {group}: {str(error)[:200]}") from error

    def _take(
        self, row: Mapping[str, Any], address: Address, found: Found, known: dict[tuple[str, str], Pair], decode: bool
    ) -> None:
        name = row["schema"].as_py()
        schema = schema_names().get(name.strip()) if isinstance(name, str) else None
        if schema is None:
            raise BadRow(f"unknown schema {name!r:.40}")
        changed, box = target_of(row["target"].as_py())
        position = position_of(*(row[part].as_py() if part in row else None for part in ("lat", "lon")))
        captured = moment_of(row["captured"].as_py()) if "captured" in row else None
        pictures = [bytes_of(row[part]) for part in ("before", "after")]
        digests = tuple(hashlib.sha256(data).hexdigest() for data in pictures)
        first, second = (self._layout(digest, data, decode) for digest, data in zip(digests, pictures, strict=True))
        if (first.rows, first.cols, first.bits) != (second.rows, second.cols, second.bits):
            raise BadRow("before and after of different size")
        key = (digests[0], digests[1])
        if key not in known:
            lat, lon = position or (None, None)
            known[key] = Pair(address, key, second, lat, lon, captured)
            found.pairs.append(known[key])
        pair = known[key]
        if schema in pair.disputed or pair.changed.get(schema, changed) != changed:
            pair.disputed.add(schema)
            pair.changed.pop(schema, None)
            pair.boxes.pop(schema, None)
            raise BadRow("contradicts an earlier row about the same pictures; the question is left unlabelled")
        found.repeated += schema in pair.changed
        pair.changed[schema] = changed
        if box is not None:
            pair.boxes.setdefault(schema, box)

    def _layout(self, digest: str, data: bytes, decode: bool) -> Layout:
        """Layout of a picture; looked at once for equal bytes."""
        if digest not in self._layouts:
            try:
                layout = layout_of_bytes(data, self._bands, "picture")
                if decode:
                    read_bytes(data, layout, "picture")
                self._layouts[digest] = layout
            except InputError as error:
                self._layouts[digest] = _reason(str(error))
        kept = self._layouts[digest]
        if isinstance(kept, str):
            raise BadRow(kept)
        return kept

    # ---------------------------------------------------------------- one row, later

    def picture(self, address: Address, part: str) -> bytes:
        """Encoded bytes of one picture; rows in the order of the file are read in one pass.

        Raises
        ------
        InputError
            The file is not what it was.
        """
        held = self._open
        here = (address.file, address.group)
        if held.get("at") != here or address.row < held["start"]:
            if held.get("number") != address.file:
                held["file"], held["number"] = self._file(address.file), address.file
            held["batches"] = self._batches(held["file"], address.group, ("before", "after"))
            held["at"], held["start"], held["end"] = here, 0, 0
        while address.row >= held["end"]:
            try:
                held["start"], held["batch"] = next(held["batches"])
            except (StopIteration, OSError) as error:
                raise InputError(f"'{self._paths[address.file].name}' has changed since it was opened.") from error
            held["end"] = held["start"] + held["batch"].num_rows
        column = held["batch"].column(held["batch"].schema.get_field_index(self._columns[part]))
        try:
            return bytes_of(column[address.row - held["start"]])
        except BadRow as error:
            raise InputError(f"'{self._paths[address.file].name}' has changed since it was opened.") from error


def bytes_of(cell: Any) -> bytes:
    """Bytes of a picture's cell.

    Raises
    ------
    BadRow
        It is empty, or names a file instead of holding a picture.
    """
    value = cell.as_py()
    if isinstance(value, Mapping):
        if value.get("bytes") is None and value.get("path"):
            raise BadRow("picture not embedded (only its path is given)")
        value = value.get("bytes")
    if not value:
        raise BadRow("no picture")
    return bytes(value)


def _reason(message: str) -> str:
    """A message about one picture as a reason that pictures can share."""
    text = message.removeprefix("picture ")
    for mark, reason in (
        ("is no PNG, JPEG", "undecodable picture (neither PNG, JPEG nor TIFF)"),
        ("cut short", "undecodable picture (damaged or cut short)"),
        ("is the most", "picture too large"),
        ("the index names", "picture with other bands than scenes.with.bands"),
    ):
        if mark in text:
            return reason
    return f"undecodable picture ({text[:80]})"
