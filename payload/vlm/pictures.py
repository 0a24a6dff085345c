"""From a tile's samples to the red, green and blue that a model looks at, by the profile's settings."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flightsim.domain import ImageRef
from flightsim.protocols import PluginConfig

from .engine import Picture


class PictureError(ValueError):
    """A picture that the model cannot be shown; the message says why."""


class Composite(PluginConfig):
    """Which bands a model sees as red, green and blue."""

    name: str
    """What the prompt calls it."""
    bands: tuple[str, str, str]
    """Bands of red, green and blue."""
    top: Annotated[float, Field(gt=0, le=2)]
    """Reflectance that is shown at full scale. [-]"""
    power: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Exponent of the stretch: shown = (reflectance / top) ** power. [-]"""


class PictureSettings(PluginConfig):
    """How a model is shown a tile."""

    composites: Annotated[tuple[Composite, ...], Field(min_length=1)]
    """In order of preference: the first whose bands the tile has is shown."""
    side_px: Annotated[int, Field(ge=16, le=4096)] | None = None
    """Side of the square to which pictures are resampled, stretched where they are none. [px] Default: as they are."""
    min_px: Annotated[int, Field(ge=1)] = 32
    """Shortest side that is accepted. [px]"""
    max_px: Annotated[int, Field(ge=1)] = 1024
    """Longest side that is accepted. [px]"""

    def check_size(self, size_px: tuple[int, int]) -> None:
        """Refuse a picture of (rows, columns) that is too small or too large.

        Raises
        ------
        PictureError
            It is.
        """
        rows, cols = size_px
        if min(rows, cols) < self.min_px or max(rows, cols) > self.max_px:
            raise PictureError(
                f"the picture has {rows} x {cols} px; the model takes {self.min_px} to {self.max_px} px a side"
            )

    def choose(self, bands: tuple[str, ...]) -> Composite | None:
        """The composite for a tile with these bands; None where it has the bands of none."""
        return next((item for item in self.composites if set(item.bands) <= set(bands)), None)


def picture(image: ImageRef, composite: Composite, settings: PictureSettings) -> Picture:
    """A tile as the model sees it, shape (rows, columns, 3), uint8.

    Notes
    -----
    Calibrated samples are stretched as the composite says. Samples without calibration are display values already
    and are shown as they are. Pixels without data are black.

    Raises
    ------
    PictureError
        The picture is too small or too large, or lacks a band of the composite.
    """
    settings.check_size(image.shape[1:])
    missing = [band for band in composite.bands if band not in image.bands]
    if missing:
        raise PictureError(
            f"the picture has bands {', '.join(image.bands)}; composite '{composite.name}' needs {missing[0]}"
        )
    order = [image.bands.index(band) for band in composite.bands]
    reflectance = image.reflectance()
    if reflectance is None:
        samples = image.pixels()
        shown = samples[order].astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)
    else:
        shown = stretch(reflectance[order], composite)
    return to_bytes(resample(shown, settings.side_px))


def stretch(reflectance: NDArray[np.float32], composite: Composite) -> NDArray[np.float32]:
    """Reflectance as display values from 0 to 1, any shape; NaN becomes 0. [-]"""
    share = np.clip(np.nan_to_num(reflectance, nan=0.0) / np.float32(composite.top), 0.0, 1.0)
    return np.asarray(share ** np.float32(composite.power), dtype=np.float32)


def to_bytes(shown: NDArray[np.float32]) -> Picture:
    """Display values from 0 to 1, shape (3, rows, columns), as a picture."""
    return np.ascontiguousarray(np.moveaxis((shown * 255.0 + 0.5).astype(np.uint8), 0, -1))


def resample(shown: NDArray[np.float32], side_px: int | None) -> NDArray[np.float32]:
    """Display values as a square of another size, shape (3, side_px, side_px): means of blocks at a whole ratio.

    A picture that is no square is stretched: a model that knows only squares sees more in it than in a part of one.
    """
    _, rows, cols = shown.shape
    if side_px is None or rows == cols == side_px:
        return shown
    down, across = rows // side_px, cols // side_px
    if (down * side_px, across * side_px) == (rows, cols):
        blocks = shown.reshape(3, side_px, down, side_px, across)
        return np.asarray(blocks.mean(axis=(2, 4)), dtype=np.float32)
    from PIL import Image

    how = Image.Resampling.BOX if min(down, across) else Image.Resampling.BILINEAR
    planes = [np.asarray(Image.fromarray(plane).resize((side_px, side_px), how), dtype=np.float32) for plane in shown]
    return np.clip(np.stack(planes), 0.0, 1.0)
