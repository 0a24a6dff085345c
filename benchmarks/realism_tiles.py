"""Real tiles from the shared data, and generated tiles brought to the very product that each real picture is.

A picture's product is its ground sample distance, how its render repeated rows or columns, how its 20 m bands were
spread to 10 m, its compression, its bit depth, its saturation and its stretch. All of that is put on the generated
tiles, so that a classifier has to look at the landscape.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flightsim.scenes import images

REAL = Path(__file__).resolve().parents[1].parent / "shared" / "data"
RGB = ("B04", "B03", "B02")
SIX = ("B02", "B03", "B04", "B08", "B11", "B12")
#: Pixel of the generated world before it is brought to a source's. [m]
GENERATED_GSD_M = 10.0
#: A display sample from here on counts as saturated. [-]
SATURATED = 250


@dataclass(frozen=True, slots=True)
class Source:
    """A real case: where it is (the unit of folds), what grows there, and what its product is."""

    case: str
    place: str  # cases of one place are never split over folds
    biomes: tuple[str, ...]  # of the generated tiles that are set beside it
    dates: tuple[str, ...] = ("before", "after")
    gsd_m: float = 10.0
    average: int = 1  # pixels averaged in each direction before use (aerial pictures finer than 10 m)
    repeat_rows: float = 1.0  # nearest-neighbour reprojection drew each row so many times
    repeat_cols: float = 1.0
    swir_repeat: int = 1  # bands of 20 m were repeated so many times in each direction
    cloud_fraction: float = 0.0  # of the real picture, by eye
    webp_quality: int | None = None  # frame of a lossy video; WebP codes as a VP8 key frame does

    @property
    def scale(self) -> float:
        """Pixels of the source per generated pixel. [-]"""
        return GENERATED_GSD_M / self.gsd_m


#: Repeats were counted in the files (share of rows or columns equal to the one before); video quality is an
#: engineering value. Not used: single-band ice pictures (no ground sample distance), the Kilauea, Pucallpa and series
#: cases (other bands, 90 m, no pictures), Ovacik (26 m), mining chips (48 px), frames that are all cloud or no data.
SOURCES = (
    Source("nochange-lausanne-2026", "lausanne", ("urban",), repeat_rows=1.22),
    Source("nochange-outback-2026", "outback", ("desert", "savanna")),
    Source("single-chuquicamata-mine", "chuquicamata", ("desert", "mountain"), ("after",)),
    Source("single-jebelali-port", "jebel ali", ("coast", "desert"), ("after",)),
    Source("quality-tokyo-white", "tokyo", ("urban",), ("before",)),
    Source("quality-amazon-clouds", "amazon", ("rainforest",), ("before",), cloud_fraction=0.3),
    Source("veg-karabuk-cildikisik-2025", "karabuk", ("mountain", "temperate_forest"), gsd_m=7.8),
    Source("veg-karabuk-toprakcuma-2025", "karabuk", ("mountain", "temperate_forest"), gsd_m=7.8),
    Source("nochange-kansas-2024-2025", "kansas", ("cropland", "savanna"), gsd_m=15.3, webp_quality=80),
    Source("season-kansas-2024", "kansas", ("cropland", "savanna"), gsd_m=15.3, webp_quality=80),
    Source("construction-blackrock-2023", "black rock", ("desert",), ("after",), gsd_m=9.6, webp_quality=80),
    Source("wetland-nd-west-2009-2015", "dakota", ("wetland", "cropland"), average=2),
    Source("wetland-nd-west-2015-2019-stable", "dakota", ("wetland", "cropland"), ("after",), average=2),
    Source("flood-boadella-2020", "boadella", ("cropland", "temperate_forest"), swir_repeat=2),
    Source("flood-seg-spain-2019", "segura", ("cropland", "coast"), ("after",), repeat_cols=1.27, swir_repeat=2),
    Source(
        "cloudseg-sentinel2", "cloudseg", ("cropland", "temperate_forest"), ("after",), gsd_m=30.0, cloud_fraction=0.19
    ),
    Source("eurosat-chips", "eurosat", ("cropland", "temperate_forest"), ("after",)),
)


@dataclass(frozen=True)
class Picture:
    """All usable tiles of one real picture, in the bands asked for, shape (tiles, bands, rows, columns)."""

    source: Source
    date: str
    bands: tuple[str, ...]
    eight_bit: bool
    tiles: NDArray[np.float32]
    lat_deg: float = 46.0  # where the case does not say, a place in the temperate belt
    lon_deg: float = 8.0
    day: str = "2020-07-01"  # where the case does not say, northern summer
    cells: tuple[int, ...] = ()  # which cell of the picture each tile is, so that two dates can be paired


def _open(root: Path, path: str, bands: Sequence[str], what: str) -> tuple[NDArray[np.float32], tuple[str, ...], bool]:
    names = images.band_names(bands)
    found = images.layout(root / path, len(names), what)
    samples = images.read(root / path, found, what)
    return samples.astype(np.float32), names, found.bits == 8


def cut(planes: NDArray[np.float32], tile_px: int, most: int) -> tuple[NDArray[np.float32], list[int]]:
    """Tiles that do not overlap, spread over the picture, at most so many, shape (tiles, bands, rows, columns).

    Beside them the number of the cell that each one is.

    A tile is left out where more than 5 % has no data or more than half is saturated in all bands.
    """
    _, rows, cols = planes.shape
    tops = [tile_px * k + (rows % tile_px) // 2 for k in range(rows // tile_px)]
    lefts = [tile_px * k + (cols % tile_px) // 2 for k in range(cols // tile_px)]
    kept, cells = [], []
    for number, top in enumerate(tops):
        for left in lefts:
            tile = planes[:, top : top + tile_px, left : left + tile_px]
            empty = float((tile == 0).all(axis=0).mean())
            white = float((tile >= SATURATED).all(axis=0).mean()) if planes.max() <= 255 else 0.0
            if empty <= 0.05 and white <= 0.5:
                kept.append(tile)
                cells.append(number * len(lefts) + lefts.index(left))
    if len(kept) > most:
        picked = [int(k) for k in np.linspace(0, len(kept) - 1, most).round()]
        kept, cells = [kept[k] for k in picked], [cells[k] for k in picked]
    return (np.stack(kept) if kept else np.zeros((0, len(planes), tile_px, tile_px), np.float32)), cells


def whole_pictures(bands: Sequence[str], root: Path = REAL) -> list[tuple[Source, NDArray[np.float32]]]:
    """One whole picture of every source that is a single file with the bands, shape (bands, rows, columns)."""
    cases = {case["id"]: case for case in json.loads((root / "index.json").read_text(encoding="utf-8"))["cases"]}
    found = []
    for source in SOURCES:
        case = cases[source.case]
        path = case[source.dates[-1]]
        if set(bands) <= set(images.band_names(case["bands"])) and (root / path).is_file():
            planes, names, _ = _open(root, path, case["bands"], source.case)
            found.append((source, planes[[names.index(name) for name in bands]]))
    return found


def real_pictures(bands: Sequence[str], tile_px: int, most: int, root: Path = REAL) -> list[Picture]:
    """Tiles of every source that has the bands; multi-band sources are shown as 8-bit RGB when RGB is asked for."""
    cases = {case["id"]: case for case in json.loads((root / "index.json").read_text(encoding="utf-8"))["cases"]}
    pictures = []
    for source in SOURCES:
        case = cases[source.case]
        for date in source.dates:
            path = case[date]
            paths = sorted(p.relative_to(root).as_posix() for p in (root / path).glob("*.tif"))
            parts, cells, eight = [], [], True
            for one in paths or [path]:
                planes, names, eight = _open(root, one, case["bands"], f"{source.case} {date}")
                if not set(bands) <= set(names):
                    break
                planes = planes[[names.index(name) for name in bands]]
                if source.average > 1:
                    planes = block_mean(planes, source.average)
                tiles, found = cut(planes, tile_px, most)
                parts.append(tiles)
                cells.extend(found)
            tiles = np.concatenate(parts)[:most] if parts else np.zeros((0,), np.float32)
            if len(tiles) == 0:
                continue
            if not eight and tuple(bands) == RGB:
                # Display as 8 bit: 1 % to 99 % of the picture's light, one stretch for all bands.
                low, high = np.quantile(tiles, [0.01, 0.99])
                tiles, eight = np.clip(np.rint((tiles - low) / (high - low) * 250), 0, 255).astype(np.float32), True
            days = re.findall(r"\d{4}-\d{2}-\d{2}", str((case.get("dates") or [""])[-1 if date == "after" else 0]))
            where = {} if case["lat"] is None else {"lat_deg": case["lat"], "lon_deg": case["lon"]}
            when = {"day": days[0]} if days else {}
            pictures.append(
                Picture(source, date, tuple(bands), eight, tiles, **where, **when, cells=tuple(cells[:most]))
            )
    return pictures


def block_mean(planes: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Mean over squares of ``factor`` pixels; rows and columns left over are dropped."""
    rows, cols = planes.shape[-2] // factor * factor, planes.shape[-1] // factor * factor
    shape = (*planes.shape[:-2], rows // factor, factor, cols // factor, factor)
    return planes[..., :rows, :cols].reshape(shape).mean(axis=(-3, -1), dtype=np.float32)


def side_needed(source: Source, tile_px: int) -> int:
    """Side of a generated tile that covers a tile of the source; even, as its 20 m pixels are. [px]"""
    return 2 * math.ceil(tile_px / source.scale / 2) + 2


def to_grid(planes: NDArray[np.float32], bands: Sequence[str], source: Source, tile_px: int) -> NDArray[np.float32]:
    """A generated tile on the source's grid, shape (bands, tile_px, tile_px)."""
    if source.swir_repeat > 1:
        planes = planes.copy()
        rows, cols = (size // source.swir_repeat * source.swir_repeat for size in planes.shape[1:])
        for k, name in enumerate(bands):
            if name in ("B11", "B12"):
                coarse = block_mean(planes[k], source.swir_repeat)
                planes[k, :rows, :cols] = np.repeat(np.repeat(coarse, source.swir_repeat, 0), source.swir_repeat, 1)
    scale = source.scale
    if scale < 1 and (1 / scale) == int(1 / scale):
        planes = block_mean(planes, int(1 / scale))
    elif scale != 1:
        if scale < 1:
            planes = np.stack([ndimage.gaussian_filter(plane, 0.4 / scale) for plane in planes])
        at = (np.arange(tile_px) + 0.5) / scale - 0.5
        grid = np.meshgrid(at, at, indexing="ij")
        planes = np.stack([ndimage.map_coordinates(plane, grid, order=1, mode="nearest") for plane in planes])
    row = (np.arange(tile_px) / source.repeat_rows).astype(int)
    col = (np.arange(tile_px) / source.repeat_cols).astype(int)
    return np.ascontiguousarray(planes[:, row][:, :, col], dtype=np.float32)


def stretch_like(tiles: NDArray[np.float32], picture: Picture) -> NDArray[np.float32]:
    """Generated tiles with the real picture's stretch, saturation and bit depth, shape as given.

    Per band one gain and offset for all tiles, from two quantiles of the pooled real tiles; within and between tiles
    everything stays. Where the real picture is saturated, the upper quantile lies below its saturated share.
    """
    out = np.empty_like(tiles)
    for k in range(tiles.shape[1]):
        real, made = picture.tiles[:, k], tiles[:, k]
        low, high = 0.02, 0.98
        if picture.eight_bit:
            low = float(np.clip((real <= 2).mean() + 0.01, 0.02, 0.5))
            high = float(np.clip((real < SATURATED).mean() - 0.01, 0.5, 0.98))
        (a, b), (c, d) = np.quantile(real, [low, high]), np.quantile(made, [low, high])
        out[:, k] = (made - c) * ((b - a) / max(d - c, 1e-9)) + a
    return np.clip(np.rint(out), 0, 255 if picture.eight_bit else 65535).astype(np.float32)


def compress(tile: NDArray[np.float32], quality: int) -> NDArray[np.float32]:
    """An 8-bit RGB tile after lossy compression as a video key frame."""
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(np.moveaxis(tile, 0, 2).astype(np.uint8)).save(held, "WEBP", quality=quality)
    return np.moveaxis(np.asarray(Image.open(held).convert("RGB")), 2, 0).astype(np.float32)


def like(made: Sequence[NDArray[np.float32]], bands: Sequence[str], picture: Picture) -> NDArray[np.float32]:
    """Generated tiles as the product that a real picture is, shape (tiles, bands, rows, columns).

    Parameters
    ----------
    made
        Generated tiles of ``side_needed``, reflectance or linear display values, each of shape (bands, side, side).
    bands
        Their bands; those of ``picture`` must be among them.
    """
    order = [list(bands).index(name) for name in picture.bands]
    side = picture.tiles.shape[-1]
    tiles = np.stack([to_grid(tile[order], picture.bands, picture.source, side) for tile in made])
    tiles = stretch_like(tiles, picture)
    if picture.source.webp_quality is not None and picture.eight_bit:
        tiles = np.stack([compress(tile, picture.source.webp_quality) for tile in tiles])
    return tiles
