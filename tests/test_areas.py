from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flightsim import areas, geojson
from flightsim.areas import AreaSet, ScenePlace, areas_of, world_points
from flightsim.errors import InputError
from flightsim.geodesy import geodetic_up
from flightsim.grid import Grid
from flightsim.land import is_land
from flightsim.scenario.models import Targets

GRID = Grid(1280.0)
SQUARE = [[10.0, 50.0], [10.2, 50.0], [10.2, 50.1], [10.0, 50.1], [10.0, 50.0]]


def distance_km(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    unit = geodetic_up(lat, lon)
    return 6371.0 * np.arccos(np.clip(unit @ unit.T, -1, 1)) + 1e9 * np.eye(len(lat))


def feature(geometry: Any, **more: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": more}


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def read(folder: Path, data: Any, land: bool = False) -> AreaSet:
    (folder / "a.geojson").write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return areas_of(Targets(use="a.geojson", land=land), GRID, 0, folder)


# ------------------------------------------------------------------------------------------------- world


@pytest.mark.parametrize("seed", range(3))
def test_world_areas_lie_inland_between_the_latitudes_and_apart(seed: int) -> None:
    lat, lon = world_points(seed, 200, (-60.0, 70.0), True)
    assert len(lat) == 200
    assert np.all((lat > -60.0) & (lat < 70.0))
    assert np.all(is_land(lat, lon))
    assert distance_km(lat, lon).min() >= areas.SPACING_KM


def test_world_areas_depend_on_the_seed_only_and_a_longer_list_begins_with_the_shorter() -> None:
    one = world_points(5, 36, (-60.0, 70.0), True)
    assert np.array_equal(one, world_points(5, 36, (-60.0, 70.0), True))
    assert np.array_equal(one, [x[:36] for x in world_points(5, 80, (-60.0, 70.0), True)])
    assert not np.array_equal(one, world_points(6, 36, (-60.0, 70.0), True))


def test_world_areas_are_spread_by_area() -> None:
    """Uniform on the sphere: sin(latitude) has mean 0 and standard deviation 1/sqrt(3) without the land filter."""
    sine = np.sin(np.radians(world_points(1, 2000, (-90.0, 90.0), False)[0]))
    assert np.mean(sine) == pytest.approx(0.0, abs=0.04)
    assert np.std(sine) == pytest.approx(3**-0.5, abs=0.02)


def test_a_world_area_is_the_block_around_its_point_on_every_grid() -> None:
    lat, lon = world_points(2, 12, (-60.0, 70.0), True)
    for grid in (GRID, Grid(10240.0)):
        found = areas_of(Targets(count=12), grid, 2)
        assert len(found) == 12
        assert found.names[0] == "world-001"
        assert np.array_equal(np.diff(found.first), np.full(12, 64))
        key = grid.place_keys(*grid.cell_of(lat, lon))
        assert all(key[i] in found.place_key[found.area == i] for i in range(12))
        assert not found.overlap.any()


def test_ten_thousand_areas_fit() -> None:
    lat, lon = world_points(0, 10_000, (-60.0, 70.0), True)
    assert distance_km(lat[:3000], lon[:3000]).min() > 20.0


def test_no_room_is_said() -> None:
    with pytest.raises(InputError, match=r"targets.count is 5, but only 0 areas over land fit between the latitudes"):
        world_points(0, 5, (-59.9, -58.0), True)
    with pytest.raises(InputError, match=r"lat_range_deg is \[50, 20\]; the first must be less than the second"):
        world_points(0, 5, (50.0, 20.0), True)


# ----------------------------------------------------------------------------------------------- geojson


def test_a_point_is_the_block_that_holds_it(tmp_path: Path) -> None:
    found = read(tmp_path, feature({"type": "Point", "coordinates": [11.58, 48.14, 520.0]}, name="Munich"))
    assert found.names == ("Munich",)
    assert len(found.lat_deg) == 64
    assert GRID.place_keys(*GRID.cell_of(48.14, 11.58)) in found.place_key
    assert sorted(zip(found.block_row, found.block_col, strict=True)) == [(r, c) for r in range(8) for c in range(8)]


def test_a_polygon_is_all_cells_whose_centre_lies_inside(tmp_path: Path) -> None:
    """Against matplotlib's point-in-polygon over every cell of the bounding box; with a hole and a concave corner."""
    from matplotlib.path import Path as Shape

    outer = [[10.0, 50.0], [10.8, 50.05], [10.7, 50.6], [10.4, 50.3], [10.1, 50.5], [10.0, 50.0]]
    hole = [[10.2, 50.1], [10.3, 50.1], [10.3, 50.25], [10.2, 50.25], [10.2, 50.1]]
    found = read(tmp_path, polygon(outer, hole))
    rows = np.arange(int(GRID.cell_of(49.9, 0)[0]), int(GRID.cell_of(50.7, 0)[0]) + 1)
    inside = set()
    for row in rows:
        cols = np.arange(int(GRID.cell_of(GRID.centre_of(row, 0)[0], 9.9)[1]), int(GRID.columns(row)))[:200]
        lat, lon = GRID.centre_of(np.full(len(cols), row), cols)
        points = np.column_stack([lon, lat])
        good = Shape(outer).contains_points(points) & ~Shape(hole).contains_points(points)
        inside |= set(GRID.place_keys(np.full(good.sum(), row), cols[good]).tolist())
    assert len(inside) > 800
    assert set(found.place_key.tolist()) == inside


def test_parts_of_a_multipolygon_are_areas_and_shared_cells_belong_to_the_first(tmp_path: Path) -> None:
    shifted = [[x + 0.1, y] for x, y in SQUARE]
    found = read(tmp_path, feature({"type": "MultiPolygon", "coordinates": [[SQUARE], [shifted]]}, name="two"))
    assert found.names == ("two-1", "two-2")
    assert not found.overlap[found.area == 0].any()
    assert 0.4 < found.overlap[found.area == 1].mean() < 0.6
    assert len(np.unique(found.place_key)) == np.sum(~found.overlap)


def test_names_come_from_name_then_id_then_the_file_and_are_made_distinct(tmp_path: Path) -> None:
    points = [{"type": "Point", "coordinates": [float(x), 0.0]} for x in range(5)]
    data = {"type": "FeatureCollection", "features": [feature(p) for p in points]}
    data["features"][0]["properties"] = {"name": "dam"}
    data["features"][1]["properties"] = {"name": "dam"}
    data["features"][2]["id"] = 17
    data["features"][3]["properties"] = None
    assert read(tmp_path, data).names == ("dam", "dam-2", "17", "a-004", "a-005")


def test_sea_is_marked_only_when_asked(tmp_path: Path) -> None:
    point = {"type": "Point", "coordinates": [0.0, 0.0]}
    assert read(tmp_path, point, land=False).land.all()
    assert not read(tmp_path, point, land=True).land.any()


def test_an_area_beside_the_antimeridian_has_its_middle_there(tmp_path: Path) -> None:
    ring = [[179.8, -17.0], [180.0, -17.0], [180.0, -16.9], [179.8, -16.9], [179.8, -17.0]]
    found = read(tmp_path, polygon(ring))
    assert found.centre_lon_deg[0] == pytest.approx(179.9, abs=0.01)
    assert found.centre_lat_deg[0] == pytest.approx(-16.95, abs=0.01)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", r"a\.geojson:1: is no JSON"),
        ("[" * 100_000, r"a\.geojson: is no GeoJSON text: RecursionError"),
        ([1], r"is no GeoJSON object with a type; allowed are Point, Polygon"),
        ({"type": "Topology"}, r"type is 'Topology'; allowed are Point, Polygon, MultiPolygon, Feature"),
        ({"type": "FeatureCollection"}, r"the FeatureCollection has no list of features"),
        ({"type": "FeatureCollection", "features": []}, r"holds no geometry; at least one Point or Polygon"),
        ({"type": "FeatureCollection", "features": [3]}, r"features\[0\] is no Feature"),
        (feature(None), r"Feature: has no geometry; a Point, Polygon or MultiPolygon is wanted"),
        (feature({"type": "LineString", "coordinates": SQUARE}), r"geometry type is 'LineString'; allowed are Point"),
        ({"type": "Point", "coordinates": [48.1, 111.5]}, r"position is \[48.1, 111.5\]; longitude must lie in"),
        ({"type": "Point", "coordinates": ["a", 1]}, r"two finite numbers are wanted"),
        ('{"type": "Point", "coordinates": [NaN, 1]}', r"two finite numbers are wanted"),
        ({"type": "Point", "coordinates": [1]}, r"\[longitude, latitude\] in degrees is wanted"),
        (polygon(SQUARE[:4]), r"a ring needs at least four positions, and the last must be the first"),
        ({"type": "Polygon"}, r"the Polygon has no rings"),
        ({"type": "MultiPolygon", "coordinates": []}, r"the MultiPolygon has no coordinates"),
        (polygon([[-170, 1], [170, 1], [170, 2], [-170, 2], [-170, 1]]), r"cut the polygon at the antimeridian"),
        (polygon([[0, 0], [1e-4, 0], [1e-4, 1e-4], [0, 0]]), r"holds no centre of a cell of 1280 m; .* use a Point"),
        (polygon([[0, 0], [60, 0], [60, 50], [0, 50], [0, 0]]), r"would need more than 1000000 cells of 1280 m"),
        ({"type": "Point", "coordinates": [1, 1], "crs": {"name": "EPSG:3857"}}, r"crs is .*3857.*WGS 84 longitude"),
    ],
)
def test_a_faulty_file_is_refused_with_the_reason(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, data)


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    bad = [feature({"type": "Point", "coordinates": [200.0 + x, 0.0]}) for x in range(25)]
    with pytest.raises(InputError) as caught:
        read(tmp_path, {"type": "FeatureCollection", "features": bad})
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[1].startswith("a.geojson: features[1]: position is [201, 0]")
    assert lines[-1] == "a.geojson: and 5 more faults"


def test_missing_large_and_unknown_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"does not exist; paths are relative to the scenario"):
        areas_of(Targets(use="none.geojson"), GRID, 0, tmp_path)
    with pytest.raises(
        InputError, match=r"targets.use is 'archiv'; allowed are world, archive, .* Did you mean 'archive'"
    ):
        areas_of(Targets(use="archiv"), GRID, 0, tmp_path)
    monkeypatch.setattr(geojson, "MAX_FILE_BYTES", 20)
    with pytest.raises(InputError, match=r"bytes; 20 is the most"):
        read(tmp_path, polygon(SQUARE))
    monkeypatch.setattr(geojson, "MAX_FILE_BYTES", 10**6)
    monkeypatch.setattr(geojson, "MAX_CROSSINGS", 10)
    with pytest.raises(InputError, match=r"has 4 edges over \d+ rows of cells; simplify it"):
        read(tmp_path, polygon(SQUARE))


# ----------------------------------------------------------------------------------------------- archive


def test_archive_places_are_areas_whose_tiles_are_their_slices() -> None:
    places = [
        ScenePlace("one", 50.0, 8.0, (4,)),
        ScenePlace("two", 0.0, 0.0, (0, 1, 7)),
        ScenePlace("x", 1, 2, (9,), ("s",)),
    ]
    found = areas_of(Targets(use="archive"), GRID, 0, scene_places=places)
    assert found.names == ("one", "two", "x")
    assert list(found.place_ids(GRID)) == ["one", "two/00", "two/01", "two/02", "x/s"]
    assert found.scene_row.tolist() == [4, 0, 1, 7, 9]
    assert found.land.all()  # "two" lies in the Gulf of Guinea: an archive is never filtered by the map
    assert len(np.unique(found.place_key)) == 5
    assert len(np.unique(found.block_key)) == 3


def test_faulty_archives_are_refused() -> None:
    for places, message in (
        (None, r"targets.use is 'archive', but the scene source has no places; write scenes: \{use: archive\}"),
        ((), r"the scene source has no places"),
        ([ScenePlace("a", 0, 0, ())], r"place 'a' of the scene source has no pictures"),
        ([ScenePlace("a", 0, 0, (1,)), ScenePlace("a", 0, 0, (2,))], r"two places 'a'; names must differ"),
        ([ScenePlace("a", 0, 0, (1, 2), ("x",))], r"place 'a' has 2 rows, but 1 slice names"),
    ):
        with pytest.raises(InputError, match=message):
            areas_of(Targets(use="archive"), GRID, 0, scene_places=places)
