"""From a decision to bytes: verdict records, batches of them, thumbnails and tiles as files on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import cfdp, frames, products, records
from .domain import Action, ImageRef, Plan, ProductSpec, TilePair, Verdict
from .protocols import SceneSource
from .scenario.models import Radio
from .second_look import SecondLooks
from .store import FileCache, NumberCache

#: What a policy may choose today; any other action is answered by the fallback, and counted.
OFFERED = (Action.NOTHING, Action.VERDICT, Action.THUMBNAIL, Action.TILE)
#: The same where the place can be seen again.
OFFERED_WITH_LOOK = (*OFFERED, Action.REIMAGE)


@dataclass(frozen=True, slots=True)
class _Keyed:
    """An image that counts as equal by its digest."""

    digest: str
    image: ImageRef = field(compare=False)


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


def thumbnail_spec(spec: ProductSpec | None, default: tuple[int, str, int]) -> tuple[int, str, int]:
    """Longer side [px], codec and quality of a thumbnail: what a policy left open is the default's."""
    if spec is None:
        return default
    return (
        default[0] if spec.size_px is None else spec.size_px,
        default[1] if spec.codec is None else spec.codec,
        default[2] if spec.quality is None else spec.quality,
    )


class Sizer:
    """Sizes of everything that a spacecraft can send in one scenario.

    With ``looks`` records, products and files are about the current picture of a shot, which a second look may have
    replaced; ``picture_bytes`` and what ends in ``_all`` are about the nominal one, as references need it.
    """

    def __init__(self, scenes: SceneSource, plan: Plan, radio: Radio, looks: SecondLooks | None = None) -> None:
        self._scenes, self._plan, self._radio, self._looks = scenes, plan, radio, looks
        self._sizes: dict[str, NumberCache] = {}
        self._files: dict[tuple[Any, ...], FileCache] = {}
        self._fixed_record: int | None = getattr(scenes, "verdict_bytes", None)
        self._serial = 0
        frame = frames.FORMATS[radio.frames]
        self.zone_bytes, self.frame_bytes = frame.zone_bytes, frame.frame_bytes
        self.batch_limit = radio.verdict_batch
        # A run may encode each tile in many ways; the last few are kept for the record and the file on the ground.
        self._encode = lru_cache(maxsize=64)(self._encoded)
        self.wire = lru_cache(maxsize=65536)(self._wire)

    def _wire(self, size_bytes: int, kind: Action) -> int:
        name = frames.file_name(kind, 0)
        first = frames.class1(size_bytes, self._radio.cfdp, name, name).space_packet_bytes
        return first + cfdp.closing_bytes(self._radio.cfdp)

    def wire_all(self, size_bytes: NDArray[np.int64], kind: Action) -> NDArray[np.int64]:
        """Space-packet bytes of many files, shape (n,). [B]"""
        return cfdp.forward_bytes(size_bytes, self._radio.cfdp, len(frames.file_name(kind, 0)))

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
        data = records.encode_record(self._current_id(row), verdicts)
        return Record(len(data), data)

    def _current_id(self, row: int) -> str:
        return self._plan.tile_id(row) if self._looks is None else self._looks.tile_id(row)

    def _current_bytes(self, row: int, action: Action, spec: ProductSpec | None) -> int:
        """Encoded bytes of a shot's current picture. [B]"""
        if self._looks is None or self._looks.look_of(row) is None:
            return self.picture_bytes(row, action, spec)
        if not self._scenes.has_pixels:
            return self._looks.product_bytes(
                row, str(action), self.spec(spec)[0] if action is Action.THUMBNAIL else None
            )
        return self._image_bytes(self._pixels(row, self._looks.pair(row)), action, spec)

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
        return thumbnail_spec(spec, (default.size_px, default.codec, default.quality))

    def product(self, row: int, action: Action, spec: ProductSpec | None, verdicts: tuple[Verdict, ...]) -> Product:
        """The file of a THUMBNAIL or TILE decision."""
        size_px = 0
        if action is Action.THUMBNAIL:
            # A picture is never enlarged, so a reader gets no more pixels than the tile has.
            pair = self._scenes.pair(row) if self._looks is None else self._looks.pair(row)
            size_px = min(self.spec(spec)[0], max(pair.after.size_px))
        size = self.record(row, verdicts).size_bytes + self._current_bytes(row, action, spec)
        return Product(size, self.wire(size, action), size_px)

    def file(self, row: int, action: Action, spec: ProductSpec | None, verdicts: tuple[Verdict, ...]) -> bytes:
        """The file of a THUMBNAIL or TILE decision about a tile with pixels, as it goes down."""
        record = records.encode_record(self._current_id(row), verdicts)
        pair = self._scenes.pair(row) if self._looks is None else self._looks.pair(row)
        return records.encode_product(record, self._encoded_picture(self._pixels(row, pair), action, spec))

    def picture_bytes(self, row: int, action: Action, spec: ProductSpec | None = None) -> int:
        """Encoded bytes of a tile's picture. [B]"""
        if not self._scenes.has_pixels:
            size_px = self.spec(spec)[0] if action is Action.THUMBNAIL else None
            return self._scenes.product_bytes(row, str(action), size_px)
        return self._image_bytes(self._image(row), action, spec)

    def _image_bytes(self, image: ImageRef, action: Action, spec: ProductSpec | None) -> int:
        cache, digest = self._cache_of(self._how(image, action, spec)), image.digest()
        if digest not in cache:
            cache[digest] = len(self._encoded_picture(image, action, spec))
        return int(cache[digest] or 0)

    def picture(self, row: int, action: Action, spec: ProductSpec | None = None) -> bytes:
        """The encoded picture of a tile with pixels."""
        return self._encoded_picture(self._image(row), action, spec)

    def _encoded_picture(self, image: ImageRef, action: Action, spec: ProductSpec | None) -> bytes:
        how, digest = self._how(image, action, spec), image.digest()
        # Kept are the scenario's own thumbnails, which most of what arrives is.
        files = self._files_of(how) if action is Action.THUMBNAIL and how == self._how(image, action, None) else None
        if files is None:
            return self._encode(_Keyed(digest, image), how)
        if digest not in files:
            files[digest] = self._encode(_Keyed(digest, image), how)
        return files[digest] or b""

    def _files_of(self, how: tuple[Any, ...]) -> FileCache:
        if how not in self._files:
            self._files[how] = FileCache("/".join(["file", products.encoders(), *map(str, how)]))
        return self._files[how]

    def fetch_sizes(self, rows: Iterable[int], action: Action, spec: ProductSpec | None = None) -> None:
        """Read the stored sizes of some rows in one go."""
        images = [self._image(row) for row in rows]
        hows = [self._how(image, action, spec) for image in images]
        for how in dict.fromkeys(hows):
            digests = [image.digest() for image, its in zip(images, hows, strict=True) if its == how]
            self._cache_of(how).fetch(digests)
            if action is Action.THUMBNAIL and how == self._how(images[0], action, None):
                self._files_of(how).fetch(digests)

    def fetch_files(self, rows: Iterable[int]) -> None:
        """Read the stored thumbnails of some rows in one go."""
        images = [self._image(row) for row in rows]
        digests = [image.digest() for image in images]
        for how in {self._how(image, Action.THUMBNAIL, None) for image in images}:
            self._files_of(how).fetch(digests)

    def _image(self, row: int) -> ImageRef:
        return self._pixels(row, self._scenes.pair(row))

    def _pixels(self, row: int, pair: TilePair) -> ImageRef:
        image = pair.after.image
        if image is None:
            raise ValueError(f"tile {self._plan.tile_id(row)} has no pixels to encode")
        return image

    def _how(self, image: ImageRef, action: Action, spec: ProductSpec | None) -> tuple[Any, ...]:
        if action is Action.THUMBNAIL:
            side, codec, quality = self.spec(spec)
            return action, min(side, max(image.shape[1:])), codec, quality  # a picture is never enlarged
        return action, self._radio.tile_codec

    def _encoded(self, keyed: _Keyed, how: tuple[Any, ...]) -> bytes:
        image = keyed.image
        if how[0] is Action.THUMBNAIL:
            return products.encode_thumbnail(image.pixels(), image.bands, image.bits, *how[1:])
        return products.encode_tile(image.pixels(), how[1], image.bands)

    def _cache_of(self, how: tuple[Any, ...]) -> NumberCache:
        name = "/".join(["bytes", products.encoders(), *map(str, how)])
        if name not in self._sizes:
            self._sizes[name] = NumberCache(name)
        return self._sizes[name]

    def known(self, action: Action, size_px: int | None = None) -> NDArray[np.bool_]:
        """Whether the size of each tile's picture is stored, shape (n,); the store is read in one go."""
        return np.array([size is not None for size in self._stored_sizes(action, size_px)], dtype=np.bool_)

    def _stored_sizes(self, action: Action, size_px: int | None) -> list[float | None]:
        spec, caches, digests = ProductSpec(size_px=size_px), [], []
        for row in range(len(self._plan)):
            image = self._image(row)
            caches.append(self._cache_of(self._how(image, action, spec)))
            digests.append(image.digest())
        for cache in {id(cache): cache for cache in caches}.values():
            cache.fetch(digests)
        return [cache.get(digest) for cache, digest in zip(caches, digests, strict=True)]

    def save(self) -> None:
        """Store the sizes that were measured."""
        for sizes in self._sizes.values():
            sizes.save()
        for files in self._files.values():
            files.save()

    def picture_bytes_all(self, action: Action, size_px: int | None = None) -> NDArray[np.int64]:
        """Encoded bytes of every tile's picture, shape (n,). [B]"""
        whole = getattr(self._scenes, "product_bytes_all", None)
        spec = ProductSpec(size_px=size_px)
        if whole is not None:
            chosen = self.spec(spec)[0] if action is Action.THUMBNAIL else None
            return np.asarray(whole(str(action), chosen))
        self._stored_sizes(action, size_px)  # in one go, not one by one
        sizes = [self.picture_bytes(row, action, spec) for row in range(len(self._plan))]
        return np.array(sizes, dtype=np.int64)

    def raw_bytes_all(self) -> NDArray[np.int64]:
        """Raw capture of every tile, shape (n,). [B]"""
        return np.array([self._scenes.raw_bytes(row) for row in range(len(self._plan))], dtype=np.int64)
