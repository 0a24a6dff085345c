"""The ground grid: the same place has the same id in every run, for every seed and orbit.

Cells are nearly square on the ground. Eight rows of cells make one row of blocks and share one column
width, so blocks of 8x8 cells close without gaps at the antimeridian and at both poles::

    block row 1   |   .   .   |   .   .   |      wider columns (in degrees) towards a pole
                  +---+---+---+---+---+---+
    block row 0   | . | . | . | . | . | . |      south pole below
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import rng
from .errors import InputError

#: Rows and columns of cells in a block.
BLOCK = 8
#: Mean radius of the Earth, (2a + b) / 3. [km] (H. Moritz, Geodetic Reference System 1980, J. Geodesy 74, 2000)
MEAN_RADIUS_KM = 6371.0088

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """A division of the Earth into cells of a given side; depends on the side only.

    Parameters
    ----------
    side_m
        Wanted side of a cell: ground sample distance times pixels. [m] The true height of a cell differs by up to
        half a block in 180 degrees, because a whole number of blocks spans pole to pole.

    Raises
    ------
    InputError
        The side is not positive, or too large for a block to fit between the poles.

    Notes
    -----
    Rows divide geodetic latitude evenly, so a cell is 0.5 % lower at the equator and 0.5 % higher at the poles
    than a degree on the mean sphere says. The column width is exact for the middle latitude of its block row
    and is less good in the few block rows that touch a pole.
    """

    side_m: float

    def __post_init__(self) -> None:
        if not 0.0 < self.side_m <= 1e6:
            raise InputError(
                f"the tile side is {self.side_m:g} m (gsd_m times tile_px); it must lie in (0, 1e6] m: "
                "choose a smaller gsd_m or tile_px."
            )

    @cached_property
    def block_rows(self) -> int:
        """Rows of blocks from pole to pole."""
        return max(1, round(np.pi * MEAN_RADIUS_KM * 1000.0 / (BLOCK * self.side_m)))

    @property
    def rows(self) -> int:
        """Rows of cells from pole to pole."""
        return BLOCK * self.block_rows

    @property
    def dlat_deg(self) -> float:
        """Height of a cell. [deg]"""
        return 180.0 / self.rows

    @cached_property
    def name(self) -> str:
        """Name of the grid, such as ``g1280`` for cells of 1280 m."""
        return f"g{self.side_m:.10g}"

    @cached_property
    def _place_salt(self) -> np.uint64:
        return np.uint64(rng.key_of(f"place/{self.name}"))

    @cached_property
    def _block_salt(self) -> np.uint64:
        return np.uint64(rng.key_of(f"block/{self.name}"))

    def columns(self, row: ArrayLike) -> Ints:
        """Columns of cells in a row, in the shape of ``row``; a multiple of eight. [-]"""
        band = np.asarray(row, dtype=np.int64) // BLOCK
        middle_deg = -90.0 + (band + 0.5) * BLOCK * self.dlat_deg
        # 2 * block_rows blocks go round the equator; cos is taken in the middle of the block row.
        blocks = np.rint(2.0 * self.block_rows * np.cos(np.radians(middle_deg))).astype(np.int64)
        return np.asarray(BLOCK * np.maximum(blocks, 1), dtype=np.int64)

    def cell_of(self, lat_deg: ArrayLike, lon_deg: ArrayLike) -> tuple[Ints, Ints]:
        """Row and column of the cell that holds a point (WGS-84 geodetic); any longitude is wrapped. [-]"""
        lat = np.asarray(lat_deg, dtype=np.float64)
        lon = np.asarray(lon_deg, dtype=np.float64)
        row = np.clip(np.floor((lat + 90.0) / self.dlat_deg).astype(np.int64), 0, self.rows - 1)
        count = self.columns(row)
        turn = np.mod(lon + 180.0, 360.0) / 360.0
        # A tiny negative longitude wraps to exactly 360: the last column, not one past it.
        col = np.minimum(np.floor(turn * count).astype(np.int64), count - 1)
        return row, col

    def centre_of(self, row: ArrayLike, col: ArrayLike) -> tuple[Floats, Floats]:
        """Latitude and longitude of the middle of a cell, longitude in [-180, 180). [deg]"""
        rows = np.asarray(row, dtype=np.int64)
        lat: Floats = np.asarray(-90.0 + (rows + 0.5) * self.dlat_deg, dtype=np.float64)
        lon = -180.0 + (np.asarray(col, dtype=np.int64) + 0.5) * (360.0 / self.columns(rows))
        return lat, lon

    def block_centre_of(self, row: ArrayLike, col: ArrayLike) -> tuple[Floats, Floats]:
        """Latitude and longitude of the middle of the block that holds a cell. [deg]"""
        band = np.asarray(row, dtype=np.int64) // BLOCK
        lat: Floats = np.asarray(-90.0 + (band + 0.5) * BLOCK * self.dlat_deg, dtype=np.float64)
        lon = -180.0 + (np.asarray(col, dtype=np.int64) // BLOCK + 0.5) * (360.0 * BLOCK / self.columns(band * BLOCK))
        return lat, lon

    def block_cells(self, row: int, col: int) -> tuple[Ints, Ints]:
        """Rows and columns of the 64 cells of the block that holds a cell, from the south-west corner."""
        step = np.arange(BLOCK)
        rows = (row // BLOCK) * BLOCK + np.repeat(step, BLOCK)
        cols = (col // BLOCK) * BLOCK + np.tile(step, BLOCK)
        return rows, cols

    def place_keys(self, row: ArrayLike, col: ArrayLike) -> NDArray[np.uint64]:
        """Integer that stands for a cell in ``rng.uniform_at``; differs from grid to grid. [-]"""
        return _pack(row, col) ^ self._place_salt

    def block_keys(self, row: ArrayLike, col: ArrayLike) -> NDArray[np.uint64]:
        """Integer that stands for the block of a cell in ``rng.uniform_at``. [-]"""
        return _pack(np.asarray(row) // BLOCK, np.asarray(col) // BLOCK) ^ self._block_salt

    def cell_of_key(self, place_key: ArrayLike) -> tuple[Ints, Ints]:
        """Row and column of a cell from its place key; inverse of ``place_keys``."""
        packed = np.asarray(place_key, dtype=np.uint64) ^ self._place_salt
        return (packed >> np.uint64(32)).astype(np.int64), (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)

    def place_id(self, row: int, col: int) -> str:
        """Id of a cell, such as ``g1280/r01234c05678``."""
        return f"{self.name}/r{row:05d}c{col:05d}"


def _pack(row: ArrayLike, col: ArrayLike) -> NDArray[np.uint64]:
    high = np.asarray(row, dtype=np.int64).astype(np.uint64) << np.uint64(32)
    return np.asarray(high | np.asarray(col, dtype=np.int64).astype(np.uint64))


@lru_cache(maxsize=16)
def grid_of(gsd_m: float, tile_px: int) -> Grid:
    """Grid whose cells are as large as a camera's tile at nadir. [m, px]"""
    return Grid(gsd_m * tile_px)


class PlaceIds(Sequence[str]):
    """Ids of the cells of many shots, written out only when read: a month of strips has hundreds of thousands."""

    __slots__ = ("_grids", "_keys", "_which")

    def __init__(self, grids: Sequence[Grid], which: NDArray[np.int16], place_key: NDArray[np.uint64]) -> None:
        """Take the place keys, shape (n,), and for each the index of its grid, shape (n,)."""
        self._grids = tuple(grids)
        self._which = which
        self._keys = place_key

    def __len__(self) -> int:
        return len(self._keys)

    def _text(self, index: int) -> str:
        grid: Grid = self._grids[int(self._which[index])]
        row, col = grid.cell_of_key(self._keys[index])
        return grid.place_id(int(row), int(col))

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        """Id of one shot, or the ids of a slice as a tuple."""
        if isinstance(index, slice):
            return tuple(self._text(i) for i in range(*index.indices(len(self))))
        return self._text(range(len(self))[index])

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), 4096):
            stop = min(start + 4096, len(self))
            cells: dict[int, tuple[list[int], list[int]]] = {}
            for number, grid in enumerate(self._grids):
                rows, cols = grid.cell_of_key(self._keys[start:stop])
                cells[number] = (rows.tolist(), cols.tolist())
            for offset, number in enumerate(self._which[start:stop].tolist()):
                rows_list, cols_list = cells[number]
                yield self._grids[number].place_id(rows_list[offset], cols_list[offset])
