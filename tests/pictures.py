"""Pictures in memory for tests of payloads."""

from __future__ import annotations

import hashlib
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flightsim.domain import Tile, TilePair
from flightsim.rng import stream

SIX = ("B02", "B03", "B04", "B08", "B11", "B12")
_TOOL = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "make_archive.py"))
#: Reflectance of covers in the six bands; the same table that the shipped archive is made of.
COVER: dict[str, tuple[float, ...]] = _TOOL["COVER"]


@dataclass(frozen=True)
class Picture:
    """An ImageRef over an array."""

    samples: NDArray[Any]
    bands: tuple[str, ...] = ("B04", "B03", "B02")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.samples.shape

    @property
    def bits(self) -> int:
        return 8 * self.samples.dtype.itemsize

    def pixels(self) -> NDArray[Any]:
        return self.samples

    def reflectance(self) -> NDArray[np.float32] | None:
        if self.bits == 8:
            return None
        scaled = self.samples.astype(np.float32) * np.float32(1e-4)
        scaled[:, ~self.samples.any(axis=0)] = np.nan
        return scaled

    def digest(self) -> str:
        return hashlib.sha256(self.samples.tobytes()).hexdigest()


def ground(seed: str, covers: dict[str, float], size_px: int = 96) -> NDArray[np.uint16]:
    """Digital numbers of a picture with the given shares of covers, in blobs, six bands."""
    order = stream(0, f"{seed}/order").standard_normal((size_px, size_px))
    spectrum = (
        np.fft.rfft2(order) / (1 + np.hypot(np.fft.fftfreq(size_px)[:, None], np.fft.rfftfreq(size_px)) * 60) ** 2
    )
    field = np.fft.irfft2(spectrum, s=order.shape)
    rank = field.ravel().argsort().argsort().reshape(field.shape) / field.size
    planes, start = np.zeros((6, size_px, size_px)), 0.0
    for name, share in covers.items():
        where = (rank >= start) & (rank < start + share + 1e-9)
        planes[:, where] = np.array(COVER[name])[:, None]
        start += share
    noise = stream(0, f"{seed}/noise").normal(1.0, 0.03, planes.shape[1:])
    return np.clip(planes * noise * 1e4, 4, 16000).astype(np.uint16)


def pair_of(before: Picture | None, after: Picture | None, gsd_m: float = 10.0) -> TilePair:
    """A pair of tiles with these pictures."""

    def tile(name: str, image: Picture) -> Tile:
        return Tile(name, "p", 0.0, 0.0, 0.0, gsd_m, image.shape[1:], image.bands, image=image)

    new = tile("t", after) if after is not None else Tile("t", "p", 0.0, 0.0, 0.0, gsd_m, (8, 8), ("B04",))
    return TilePair(None if before is None else tile("t/before", before), new)
