"""Pictures that are read when asked for, and the memory that keeps some of them decoded."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .images import Layout, read

#: Decoded pictures kept in memory. [B]
CACHE_BYTES = 256 * 2**20
#: Reflectance of one digital number of 16-bit pictures.
#: Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD: quantification value 10000; 0 is no data.
REFLECTANCE_SCALE = 1e-4


class PictureCache:
    """Decoded pictures, least recently used ones dropped first."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit_bytes, self._held_bytes = limit_bytes, 0
        self._held: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()

    def get(self, path: Path, found: Layout, what: str) -> NDArray[Any]:
        """Samples of a picture file, decoded now or before."""
        return self.made(path, lambda: read(path, found, what))

    def made(self, key: Hashable, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Samples under a key, made now or before."""
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        samples = make()
        self._held[key] = samples
        self._held_bytes += samples.nbytes
        while self._held_bytes > self._limit_bytes and len(self._held) > 1:
            self._held_bytes -= self._held.popitem(last=False)[1].nbytes
        return samples

    def __getstate__(self) -> dict[str, Any]:
        # A worker process decodes what it looks at; carrying the pixels over would cost more.
        return {"_limit_bytes": self._limit_bytes, "_held_bytes": 0, "_held": OrderedDict()}


class Samples(ABC):
    """The part of an ImageRef that follows from ``bands``, ``bits`` and ``pixels``."""

    bands: tuple[str, ...]

    @property
    @abstractmethod
    def bits(self) -> int:
        """Bits of a stored sample: 8 or 16. [-]"""

    @abstractmethod
    def pixels(self) -> NDArray[Any]:
        """Samples, shape (bands, rows, columns), read-only, uint8 or uint16."""

    def reflectance(self) -> NDArray[np.float32] | None:
        """Reflectance of 16-bit pictures, NaN where all bands are 0; None for 8-bit display pictures. [-]"""
        if self.bits == 8:
            return None
        samples = self.pixels()
        scaled = samples.astype(np.float32) * np.float32(REFLECTANCE_SCALE)
        scaled[:, ~samples.any(axis=0)] = np.nan
        return scaled

    def digest(self) -> str:
        """SHA-256 over shape, dtype, bands and samples, as hex."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        samples = np.ascontiguousarray(self.pixels())
        made = hashlib.sha256(f"{samples.shape}/{samples.dtype.str}/{','.join(self.bands)}/".encode())
        made.update(samples.tobytes())
        return made.hexdigest()


@dataclass(frozen=True)
class Picture(Samples):
    """An ImageRef: a rectangle of a picture file, decoded when asked for."""

    path: Path
    what: str
    bands: tuple[str, ...]
    found: Layout
    window: tuple[int, int, int, int]  # first row, end row, first column, end column
    cache: PictureCache = field(repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, rows, columns)."""
        top, bottom, left, right = self.window
        return len(self.bands), bottom - top, right - left

    @property
    def bits(self) -> int:
        """Bits of a stored sample: 8 or 16. [-]"""
        return self.found.bits

    def pixels(self) -> NDArray[Any]:
        """Samples, shape (bands, rows, columns), read-only, uint8 or uint16."""
        top, bottom, left, right = self.window
        return self.cache.get(self.path, self.found, self.what)[:, top:bottom, left:right]


@dataclass(frozen=True)
class KeptPicture(Samples):
    """An ImageRef whose samples are made when asked for and kept in a cache for a while."""

    key: Hashable
    bands: tuple[str, ...]
    rows: int
    cols: int
    bits_per_sample: int
    make: Callable[[], NDArray[Any]] = field(repr=False, compare=False)
    cache: PictureCache = field(repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, rows, columns)."""
        return len(self.bands), self.rows, self.cols

    @property
    def bits(self) -> int:
        """Bits of a stored sample: 8 or 16. [-]"""
        return self.bits_per_sample

    def pixels(self) -> NDArray[Any]:
        """Samples, shape (bands, rows, columns), read-only, uint8 or uint16."""
        return self.cache.made(self.key, self.make)
