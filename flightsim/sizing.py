"""From a decision to bytes: verdict records, batches of them, thumbnails and tiles as files on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import frames, products, records
from .domain import Action, Plan, ProductSpec, Verdict
from .protocols import SceneSource
from .scenario.models import Radio

#: What a policy may choose today; any other action is answered by the fallback, and counted.
OFFERED = (Action.NOTHING, Action.VERDICT, Action.THUMBNAIL, Action.TILE)


@dataclass(slots=True)
class Record:
    """A tile's verdicts as they go down; ``data`` is None where the scenario fixes the size."""

    size_bytes: int
    data: bytes | None


@dataclass(slots=True)
class Product:
    """A file for one tile: the verdict record and, after it, an encoded picture."""

    size_bytes: int
    wire_bytes: int
    size_px: int


@dataclass(slots=True)
class Batch:
    """Verdict records that share one file."""

    name: str
    priority: int
    expires_s: float | None
    sizer: Sizer
    rows: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    oldest_s: float = float("inf")
    size_bytes: int = records.BATCH_HEADER_BYTES

    def add(self, row: int, record: Record, captured_s: float) -> int:
        """Append a record; gives the new size of the file. [B]"""
        self.rows.append(row)
        self.sizes.append(record.size_bytes)
        self.oldest_s = min(self.oldest_s, captured_s)
        self.size_bytes += record.size_bytes
        return self.size_bytes

    def drop_last(self) -> None:
        """Take the last record out again."""
        self.rows.pop()
        self.size_bytes -= self.sizes.pop()

    @property
    def wire_bytes(self) -> int:
        """Space-packet bytes of the file as it stands. [B]"""
        return self.sizer.wire(self.size_bytes, Action.VERDICT)

    def shares(self) -> NDArray[np.float64]:
        """Each record's share of the file, in the order of ``rows``. [-]"""
        sizes = np.array(self.sizes, dtype=float)
        return np.asarray(sizes / sizes.sum())


class Sizer:
    """Sizes of everything that a spacecraft can send in one scenario."""

    def __init__(self, scenes: SceneSource, plan: Plan, radio: Radio) -> None:
        self._scenes, self._plan, self._radio = scenes, plan, radio
        self._fixed_record: int | None = getattr(scenes, "verdict_bytes", None)
        self._serial = 0
        frame = frames.FORMATS[radio.frames]
        self.zone_bytes, self.frame_bytes = frame.zone_bytes, frame.frame_bytes
        self.batch_limit = radio.verdict_batch
        self._encoded: dict[tuple[Any, ...], bytes] = {}
        self.wire = lru_cache(maxsize=65536)(self._wire)

    def _wire(self, size_bytes: int, kind: Action) -> int:
        name = frames.file_name(kind, 0)
        return frames.class1(size_bytes, self._radio.cfdp, name, name).space_packet_bytes

    def wire_all(self, size_bytes: NDArray[np.int64], kind: Action) -> NDArray[np.int64]:
        """Space-packet bytes of many files, shape (n,). [B]"""
        return frames.wire_bytes(size_bytes, self._radio.cfdp, len(frames.file_name(kind, 0)))

    def new_name(self, kind: Action) -> str:
        """Name of the next file of a kind."""
        self._serial += 1
        return frames.file_name(kind, self._serial)

    @property
    def has_pixels(self) -> bool:
        """Whether pictures are really encoded."""
        return self._scenes.has_pixels

    def record(self, row: int, verdicts: tuple[Verdict, ...]) -> Record:
        """The verdict record of a tile; really encoded unless the scenario fixes its size."""
        if self._fixed_record is not None:
            return Record(self._fixed_record, None)
        data = records.encode_record(self._plan.tile_id(row), verdicts)
        return Record(len(data), data)

    def new_batch(self, priority: int, expires_s: float | None) -> Batch:
        """An empty file of verdict records."""
        return Batch(self.new_name(Action.VERDICT), priority, expires_s, self)

    def verdict_cost(self, row: int, verdicts: tuple[Verdict, ...], batch: Batch | None) -> int:
        """Space-packet bytes that one more record adds to a batch, or to a new file. [B]"""
        size = self.record(row, verdicts).size_bytes
        if batch is None:
            return self.wire(records.BATCH_HEADER_BYTES + size, Action.VERDICT)
        return self.wire(batch.size_bytes + size, Action.VERDICT) - batch.wire_bytes

    def spec(self, spec: ProductSpec | None) -> tuple[int, str, int]:
        """Longer side, codec and quality of a thumbnail, the scenario's where the policy leaves them open."""
        default = self._radio.thumbnail
        if spec is None:
            return default.size_px, default.codec, default.quality
        return (
            default.size_px if spec.size_px is None else spec.size_px,
            default.codec if spec.codec is None else spec.codec,
            default.quality if spec.quality is None else spec.quality,
        )

    def product(self, row: int, action: Action, spec: ProductSpec | None, verdicts: tuple[Verdict, ...]) -> Product:
        """The file of a THUMBNAIL or TILE decision."""
        size_px = 0
        if action is Action.THUMBNAIL:
            # A picture is never enlarged, so a reader gets no more pixels than the tile has.
            size_px = min(self.spec(spec)[0], max(self._scenes.pair(row).after.size_px))
        size = self.record(row, verdicts).size_bytes + self.picture_bytes(row, action, spec)
        return Product(size, self.wire(size, action), size_px)

    def file(self, row: int, action: Action, spec: ProductSpec | None, verdicts: tuple[Verdict, ...]) -> bytes:
        """The file of a THUMBNAIL or TILE decision about a tile with pixels, as it goes down."""
        record = records.encode_record(self._plan.tile_id(row), verdicts)
        return records.encode_product(record, self.picture(row, action, spec))

    def picture_bytes(self, row: int, action: Action, spec: ProductSpec | None = None) -> int:
        """Encoded bytes of a tile's picture. [B]"""
        if not self._scenes.has_pixels:
            size_px = self.spec(spec)[0] if action is Action.THUMBNAIL else None
            return self._scenes.product_bytes(row, str(action), size_px)
        return len(self.picture(row, action, spec))

    def picture(self, row: int, action: Action, spec: ProductSpec | None = None) -> bytes:
        """The encoded picture of a tile with pixels."""
        image = self._scenes.pair(row).after.image
        if image is None:
            raise ValueError(f"tile {self._plan.tile_id(row)} has no pixels to encode")
        size_px, codec, quality = self.spec(spec)
        key = (image.digest(), action) + ((size_px, codec, quality) if action is Action.THUMBNAIL else ())
        if key not in self._encoded:
            if action is Action.THUMBNAIL:
                self._encoded[key] = products.encode_thumbnail(
                    image.pixels(), image.bands, image.bits, size_px, codec, quality
                )
            else:
                self._encoded[key] = products.encode_tile(image.pixels(), self._radio.tile_codec, image.bands)
        return self._encoded[key]

    def picture_bytes_all(self, action: Action, size_px: int | None = None) -> NDArray[np.int64]:
        """Encoded bytes of every tile's picture, shape (n,). [B]"""
        whole = getattr(self._scenes, "product_bytes_all", None)
        spec = ProductSpec(size_px=size_px)
        if whole is not None:
            chosen = self.spec(spec)[0] if action is Action.THUMBNAIL else None
            return np.asarray(whole(str(action), chosen))
        sizes = [self.picture_bytes(row, action, spec) for row in range(len(self._plan))]
        return np.array(sizes, dtype=np.int64)

    def raw_bytes_all(self) -> NDArray[np.int64]:
        """Raw capture of every tile, shape (n,). [B]"""
        return np.array([self._scenes.raw_bytes(row) for row in range(len(self._plan))], dtype=np.int64)
