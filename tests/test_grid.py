from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flightsim.errors import InputError
from flightsim.geodesy import geodetic_to_itrf
from flightsim.grid import BLOCK, Grid, PlaceIds, grid_of

SIDES = [1280.0, 10240.0, 640.0, 150_000.0]


@pytest.mark.parametrize("side_m", SIDES)
@given(lat=st.floats(-90, 90), lon=st.floats(-720, 720))
@example(lat=90.0, lon=180.0)
@example(lat=-90.0, lon=-180.0)
@example(lat=0.0, lon=-180.00000000000003)
@example(lat=10.0, lon=179.99999999999997)
def test_a_point_lies_in_its_cell_and_a_cell_owns_its_centre(side_m: float, lat: float, lon: float) -> None:
    grid = Grid(side_m)
    row, col = grid.cell_of(lat, lon)
    assert 0 <= row < grid.rows
    assert 0 <= col < grid.columns(row)
    centre_lat, centre_lon = grid.centre_of(row, col)
    assert abs(centre_lat - lat) <= 0.5 * grid.dlat_deg * (1 + 1e-9)
    apart = (lon - centre_lon + 180.0) % 360.0 - 180.0
    assert abs(apart) <= 180.0 / grid.columns(row) * (1 + 1e-6)
    again = grid.cell_of(centre_lat, centre_lon)
    assert (int(again[0]), int(again[1])) == (int(row), int(col))


@pytest.mark.parametrize("side_m", [1280.0, 10240.0])
def test_cells_are_as_large_as_they_say(side_m: float) -> None:
    """Sides measured between neighbouring centres on WGS-84: within 3 % below 75 deg.

    Cosine is taken once per block row: 8 rows of 10.24 km at 75 deg differ by 2.5 % from their middle.
    """
    grid = Grid(side_m)
    lat = np.linspace(-75.0, 75.0, 61)
    row, col = grid.cell_of(lat, 20.0)
    here = geodetic_to_itrf(*grid.centre_of(row, col))
    up = geodetic_to_itrf(*grid.centre_of(row + 1, grid.cell_of(grid.centre_of(row + 1, 0)[0], 20.0)[1]))
    east = geodetic_to_itrf(*grid.centre_of(row, col + 1))
    height_m = np.abs((up - here)[:, 2]) * 1000.0 / np.cos(np.radians(lat))
    width_m = np.linalg.norm(east - here, axis=1) * 1000.0
    assert np.allclose(height_m, side_m, rtol=0.03)
    assert np.allclose(width_m, side_m, rtol=0.03)


@pytest.mark.parametrize("side_m", SIDES)
def test_blocks_close_round_the_earth_and_share_a_column_width(side_m: float) -> None:
    grid = Grid(side_m)
    assert grid.rows % BLOCK == 0
    assert grid.rows * grid.dlat_deg == pytest.approx(180.0, abs=1e-9)
    rows = np.arange(0, grid.rows, max(1, grid.rows // 500))
    columns = grid.columns(rows)
    assert np.all(columns % BLOCK == 0)
    assert np.all(columns >= BLOCK)
    assert np.array_equal(columns, grid.columns(rows // BLOCK * BLOCK))


def test_a_block_has_64_cells_one_key_and_its_centre_in_the_middle() -> None:
    grid = Grid(1280.0)
    row, col = (int(x) for x in grid.cell_of(47.3, 8.5))
    rows, cols = grid.block_cells(row, col)
    assert len({(r, c) for r, c in zip(rows.tolist(), cols.tolist(), strict=True)}) == 64
    assert (row, col) in set(zip(rows.tolist(), cols.tolist(), strict=True))
    assert len(np.unique(grid.block_keys(rows, cols))) == 1
    assert len(np.unique(grid.place_keys(rows, cols))) == 64
    lat, lon = grid.centre_of(rows, cols)
    middle = grid.block_centre_of(row, col)
    assert np.mean(lat) == pytest.approx(float(middle[0]), abs=1e-9)
    assert np.mean(lon) == pytest.approx(float(middle[1]), abs=1e-9)


def test_neighbours_across_the_antimeridian_are_first_and_last_column() -> None:
    grid = Grid(1280.0)
    row, west = grid.cell_of(-16.5, 179.9999)
    _, east = grid.cell_of(-16.5, -179.9999)
    assert (int(west), int(east)) == (int(grid.columns(row)) - 1, 0)
    assert int(grid.cell_of(-16.5, 180.0)[1]) == 0


def test_ids_are_fixed_by_the_cell_side_alone() -> None:
    """Golden: an id that changed would break every stored verdict and every comparison between versions.

    By hand: 1955 block rows of 8 x 1280 m from pole to pole; 137.37 deg x 15640 / 180 = 11935.9; the block row's middle
    is 47.3248 deg, so 3910 cos = 2650 blocks go round; 188.54 deg x 21200 / 360 = 11102.9.
    """
    grid = grid_of(10.0, 128)
    assert grid.place_id(*(int(x) for x in grid.cell_of(47.37, 8.54))) == "g1280/r11935c11102"
    assert int(grid.place_keys(1, 2)) == int(Grid(1280.0).place_keys(1, 2))
    assert grid.place_id(1, 2) == grid_of(5.0, 256).place_id(1, 2) == "g1280/r00001c00002"
    assert int(grid.place_keys(1, 2)) != int(Grid(640.0).place_keys(1, 2))
    assert Grid(10.5 * 100).name == "g1050"


@given(row=st.integers(0, 2**31 - 1), col=st.integers(0, 2**31 - 1))
def test_a_key_gives_the_cell_back(row: int, col: int) -> None:
    grid = Grid(1280.0)
    assert tuple(int(x) for x in grid.cell_of_key(grid.place_keys(row, col))) == (row, col)


def test_place_ids_are_a_sequence_that_is_written_on_demand() -> None:
    grids = (Grid(1280.0), Grid(640.0))
    which = np.array([0, 1, 0] * 3000, dtype=np.int16)
    row, col = np.arange(9000), np.arange(9000) * 3
    key = np.where(which == 0, grids[0].place_keys(row, col), grids[1].place_keys(row, col))
    ids = PlaceIds(grids, which, key)
    expected = [grids[w].place_id(r, c) for w, r, c in zip(which, row.tolist(), col.tolist(), strict=True)]
    assert list(ids) == expected
    assert ids[4097] == expected[4097]
    assert ids[-1] == expected[-1]
    assert ids[2:7:2] == tuple(expected[2:7:2])
    assert len(ids) == 9000
    with pytest.raises(IndexError):
        ids[9000]


@pytest.mark.parametrize("side_m", [0.0, -1.0, 2e6])
def test_a_senseless_side_is_refused(side_m: float) -> None:
    with pytest.raises(InputError, match=r"tile side is .* m \(gsd_m times tile_px\); it must lie in \(0, 1e6\] m"):
        Grid(side_m)
