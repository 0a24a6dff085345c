"""Pictures as LFM2-VL's vision tower takes them: resized, tiled, cut into patches; with Pillow and NumPy alone.

The stock processor of transformers needs torchvision. Where that is installed it is used; elsewhere the port below,
which gives the same layouts and, after a resize, the same samples to one grey level. Both read their settings from
the model's folder.

    small picture            large picture (two to ten tiles, then the whole picture again)
    +-------+                +------+------+
    | tile  |                | 1, 1 | 1, 2 |   + thumbnail
    +-------+                +------+------+
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flightsim.errors import InputError

from .engine import Picture

#: Tokens about pictures, as LFM2-VL's vocabulary names them (transformers, processing_lfm2_vl.py).
IMAGE, START, END, THUMBNAIL = "<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>"

Values = NDArray[np.float32]


class ProcessorSettings(BaseModel):
    """How a model wants pictures to be cut. Keys of other processors in the same file are passed over.

    Defaults are those of transformers' ``Lfm2VlImageProcessor``.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    encoder_patch_size: Annotated[int, Field(ge=1, le=64)] = 16
    downsample_factor: Annotated[int, Field(ge=1, le=8)] = 2
    min_image_tokens: Annotated[int, Field(ge=1)] = 64
    max_image_tokens: Annotated[int, Field(ge=1)] = 256
    do_image_splitting: bool = True
    min_tiles: Annotated[int, Field(ge=1, le=64)] = 2
    max_tiles: Annotated[int, Field(ge=1, le=64)] = 10
    use_thumbnail: bool = True
    tile_size: Annotated[int, Field(ge=1)] = 512
    max_pixels_tolerance: Annotated[float, Field(gt=0)] = 2.0
    resample: Annotated[int, Field(ge=0, le=5)] = 2
    """Filter by Pillow's number: 2 is bilinear, 3 bicubic."""
    do_rescale: bool = True
    rescale_factor: Annotated[float, Field(gt=0)] = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    use_image_special_tokens: bool = True

    @property
    def unit_px(self) -> int:
        """Side of what becomes one token. [px]"""
        return self.encoder_patch_size * self.downsample_factor


def read_settings(folder: Path) -> ProcessorSettings:
    """Settings of the model in ``folder``, from ``processor_config.json`` or ``preprocessor_config.json``.

    Raises
    ------
    InputError
        Neither file is there, or one is broken or does not fit.
    """
    whole = _read(folder / "processor_config.json")
    # Nested settings go before the older file of their own, as in transformers.
    nested = whole.get("image_processor")
    told = nested if nested is not None else _read(folder / "preprocessor_config.json")
    if not isinstance(told, Mapping) or not told:
        raise InputError(
            f"{folder} has no picture settings; a model of the LFM2-VL family has them in processor_config.json "
            "(under 'image_processor') or in preprocessor_config.json. Copy the file from where the model came from."
        )
    kind = str(told.get("image_processor_type", "Lfm2VlImageProcessor"))
    if not kind.startswith("Lfm2VlImageProcessor"):
        raise InputError(f"{folder}: image_processor_type is '{kind}'; only Lfm2VlImageProcessor is known.")
    given = {name: value for name, value in told.items() if value is not None}
    if "use_image_special_tokens" in whole:
        given["use_image_special_tokens"] = whole["use_image_special_tokens"]
    try:
        return ProcessorSettings.model_validate(given)
    except ValidationError as error:
        told_faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"{folder}: picture settings do not fit: {told_faults}.") from None


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}.") from None
    if not isinstance(told, dict):
        raise InputError(f"{path} holds {type(told).__name__}, not an object.")
    return told


# -------------------------------------------------------------------- layout


@dataclass(frozen=True)
class Layout:
    """How a picture is cut: a grid of square tiles, or one tile of the picture's own shape."""

    rows: int
    cols: int
    whole_px: tuple[int, int]
    """Size of the whole picture (rows, columns) as single tile or thumbnail. [px]"""
    thumbnail: bool = False
    """Whether the whole picture follows the grid."""

    @property
    def split(self) -> bool:
        """Whether the picture is cut into a grid."""
        return self.rows * self.cols > 1


def layout(rows_px: int, cols_px: int, settings: ProcessorSettings) -> Layout:
    """The cut of a picture of this size."""
    whole = fitted(rows_px, cols_px, settings)
    if settings.do_image_splitting and is_large(rows_px, cols_px, settings):
        grid_cols, grid_rows = _grid(cols_px, rows_px, settings.min_tiles, settings.max_tiles, settings.tile_size)
        return Layout(grid_rows, grid_cols, whole, settings.use_thumbnail and grid_rows * grid_cols > 1)
    return Layout(1, 1, whole)


def is_large(rows_px: int, cols_px: int, settings: ProcessorSettings) -> bool:
    """Whether a picture has more pixels than one tile may have."""
    unit = settings.unit_px
    # The least side is one patch here and one token in ``fitted``: so it is in the processor that models learnt with.
    sides = [max(settings.encoder_patch_size, round(side / unit) * unit) for side in (rows_px, cols_px)]
    return sides[0] * sides[1] > settings.max_image_tokens * unit**2 * settings.max_pixels_tolerance


def fitted(rows_px: int, cols_px: int, settings: ProcessorSettings) -> tuple[int, int]:
    """Size nearest to a picture's own that gives whole tokens, and as many as allowed. [px]"""
    unit = settings.unit_px
    least, most = settings.min_image_tokens * unit**2, settings.max_image_tokens * unit**2
    high, wide = (max(unit, round(side / unit) * unit) for side in (rows_px, cols_px))
    if high * wide > most:
        shrink = math.sqrt(rows_px * cols_px / most)
        high, wide = (max(unit, math.floor(side / shrink / unit) * unit) for side in (rows_px, cols_px))
    elif high * wide < least:
        grow = math.sqrt(least / (rows_px * cols_px))
        high, wide = (math.ceil(side * grow / unit) * unit for side in (rows_px, cols_px))
    return high, wide


@lru_cache(maxsize=256)
def _grid(cols_px: int, rows_px: int, least: int, most: int, tile_px: int) -> tuple[int, int]:
    """Columns and rows of the grid whose shape is nearest to the picture's; of two equally near ones the larger,
    unless the picture would fill less than half of it."""
    grids = {(w, h) for n in range(least, most + 1) for w in range(1, n + 1) for h in range(1, n + 1)}
    allowed = sorted((grid for grid in grids if least <= grid[0] * grid[1] <= most), key=lambda grid: grid[0] * grid[1])
    shape, best, nearest = cols_px / rows_px, (1, 1), math.inf
    for grid in allowed:
        off = abs(shape - grid[0] / grid[1])
        roomy = cols_px * rows_px > 0.5 * tile_px**2 * grid[0] * grid[1]
        if off < nearest or (off == nearest and roomy):
            best, nearest = grid, off
    return best


# -------------------------------------------------------------------- pictures to patches


@dataclass(frozen=True)
class Tile:
    """One input of the vision tower."""

    values: Values
    """Patches, shape (rows x columns, 3 patch_px^2), row by row."""
    shape: tuple[int, int]
    """Patches (rows, columns)."""

    @property
    def size(self) -> int:
        """Number of patches."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class Seen:
    """A picture as the model takes it."""

    tiles: tuple[Tile, ...]
    text: str
    """What stands for the picture in the prompt."""


class PictureProcessor(Protocol):
    """Makes tiles and prompt text of pictures."""

    @property
    def name(self) -> str:
        """``pillow`` or ``torchvision``; belongs to what an answer depends on."""
        ...

    def __call__(self, pictures: Sequence[Picture]) -> list[Seen]:
        """Pictures of shape (rows, columns, 3), uint8, in the same order."""
        ...


def open_processor(folder: Path, image_tokens: tuple[int, int] | None = None) -> PictureProcessor:
    """The processor for the model in ``folder``: the stock one where torchvision is installed, the port elsewhere.

    Parameters
    ----------
    image_tokens
        Least and most tokens of one tile, where a profile says so; else as the folder has it.

    Raises
    ------
    InputError
        The folder's picture settings are missing or do not fit.
    """
    settings = read_settings(folder)
    if image_tokens is not None:
        least, most = image_tokens
        settings = settings.model_copy(update={"min_image_tokens": least, "max_image_tokens": most})
    if has_torchvision():
        return StockProcessor(folder, settings)
    return PillowProcessor(settings)


def has_torchvision() -> bool:
    """Whether transformers can use its own processor."""
    return importlib.util.find_spec("torchvision") is not None


class PillowProcessor:
    """The port: no torch, no torchvision."""

    name = "pillow"

    def __init__(self, settings: ProcessorSettings) -> None:
        self.settings = settings

    def __call__(self, pictures: Sequence[Picture]) -> list[Seen]:
        """Tiles and prompt text of pictures, in the same order."""
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Picture) -> Seen:
        settings, cut = self.settings, layout(picture.shape[0], picture.shape[1], self.settings)
        parts: list[Picture] = []
        if cut.split:
            side = settings.tile_size
            grid = _resized(picture, (side * cut.rows, side * cut.cols), settings.resample)
            cells = grid.reshape(cut.rows, side, cut.cols, side, 3).transpose(0, 2, 1, 3, 4)
            parts.extend(cells.reshape(-1, side, side, 3))
        if not cut.split or cut.thumbnail:
            parts.append(_resized(picture, cut.whole_px, settings.resample))
        tiles = tuple(_tile(part, settings) for part in parts)
        return Seen(tiles, placeholder(cut, tiles, settings))


class StockProcessor:
    """transformers' own, for where torchvision is installed."""

    name = "torchvision"

    def __init__(self, folder: Path, settings: ProcessorSettings) -> None:
        from transformers import AutoImageProcessor

        self.settings = settings
        self._stock: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)

    def __call__(self, pictures: Sequence[Picture]) -> list[Seen]:
        """Tiles and prompt text of pictures, in the same order."""
        if not pictures:
            return []
        told = self._stock(
            list(pictures), min_image_tokens=self.settings.min_image_tokens,
            max_image_tokens=self.settings.max_image_tokens, return_row_col_info=True,
            input_data_format="channels_last", return_tensors="pt",
        )  # fmt: skip
        shapes = [(int(rows), int(cols)) for rows, cols in told["spatial_shapes"].tolist()]
        flat = iter(
            # The stock processor pads every tile to the longest that could be.
            Tile(values[: rows * cols].numpy(), (rows, cols))
            for values, (rows, cols) in zip(told["pixel_values"], shapes, strict=True)
        )
        seen = []
        for rows, cols, size in zip(told["image_rows"], told["image_cols"], told["image_sizes"], strict=True):
            grid = int(rows) * int(cols)
            high, wide = (int(side) for side in size)
            cut = Layout(int(rows), int(cols), (high, wide), self.settings.use_thumbnail and grid > 1)
            tiles = tuple(next(flat) for _ in range(grid + cut.thumbnail))
            seen.append(Seen(tiles, placeholder(cut, tiles, self.settings)))
        return seen


def placeholder(cut: Layout, tiles: Sequence[Tile], settings: ProcessorSettings) -> str:
    """What stands for a picture in the prompt: one image token for each feature, tiles and thumbnail marked."""
    marked, texts = settings.use_image_special_tokens, [IMAGE * _tokens(tile, settings) for tile in tiles]
    if not marked:
        return "".join(texts)
    if cut.split:
        grid = [f"<|img_row_{row + 1}_col_{col + 1}|>" for row in range(cut.rows) for col in range(cut.cols)]
        marks = [*grid, THUMBNAIL][: len(texts)]
        texts = [mark + text for mark, text in zip(marks, texts, strict=True)]
    return f"{START}{''.join(texts)}{END}"


def _tokens(tile: Tile, settings: ProcessorSettings) -> int:
    return math.prod(math.ceil(side / settings.downsample_factor) for side in tile.shape)


def _tile(picture: Picture, settings: ProcessorSettings) -> Tile:
    side = settings.encoder_patch_size
    rows, cols = picture.shape[0] // side, picture.shape[1] // side
    shown = picture.astype(np.float32)
    # One division for both steps, as in the stock processor: 0 to 255 becomes -1 to 1 with the usual settings.
    scale = settings.rescale_factor if settings.do_rescale else 1.0
    if settings.do_normalize:
        mean, spread = (np.asarray(value, np.float32) / np.float32(scale)
                        for value in (settings.image_mean, settings.image_std))  # fmt: skip
        shown = (shown - mean) / spread
    elif settings.do_rescale:
        shown = shown * np.float32(scale)
    blocks = shown.reshape(rows, side, cols, side, 3).transpose(0, 2, 1, 3, 4)
    return Tile(np.ascontiguousarray(blocks.reshape(rows * cols, -1), dtype=np.float32), (rows, cols))


def _resized(picture: Picture, size_px: tuple[int, int], resample: int) -> Picture:
    if picture.shape[:2] == size_px:
        return picture
    from PIL import Image

    image = Image.fromarray(picture).resize((size_px[1], size_px[0]), Image.Resampling(resample))
    return np.asarray(image, dtype=np.uint8)


__all__ = [
    "Layout", "PictureProcessor", "PillowProcessor", "ProcessorSettings", "Seen", "StockProcessor", "Tile", "fitted",
    "has_torchvision", "is_large", "layout", "open_processor", "placeholder", "read_settings",
]  # fmt: skip
