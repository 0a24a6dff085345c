"""Reading of areas from GeoJSON (RFC 7946): points and polygons, all faults of a file at once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .grid import Grid

#: Largest file that is read. [B]
MAX_FILE_BYTES = 8 * 2**20
#: Most pairs of a row of cells and an edge that one polygon may ask for; about two seconds.
MAX_CROSSINGS = 10**9
_GEOMETRIES = ("Point", "Polygon", "MultiPolygon")
_ALLOWED = "allowed are Point, Polygon, MultiPolygon, Feature and FeatureCollection"
_FAULTS_SHOWN = 20

Cells = tuple[NDArray[np.int64], NDArray[np.int64]]
Ring = NDArray[np.float64]


class _Bad(ValueError):
    """What is wrong with one geometry; collected, never shown alone."""


def read_areas(path: Path, grid: Grid, max_cells: int) -> tuple[list[str], list[Cells]]:
    """Names and cells (rows, columns) of the areas in a file.

    Each Point is the block that holds it; each Polygon, and each part of a MultiPolygon, all cells whose centre lies
    inside. Names come from ``properties.name``, else from ``id``, else from the file's name and a number.

    Raises
    ------
    InputError
        The file cannot be read, is no GeoJSON, is larger than 8 MiB, or a geometry is faulty, empty or too large.
    """
    shapes = list(_shapes(_load(path), path))
    if not shapes:
        raise InputError(f"{path.name}: holds no geometry; at least one Point or Polygon is wanted.")
    names: list[str] = []
    cells: list[Cells] = []
    faults: list[str] = []
    total = 0
    for number, (where, label, geometry) in enumerate(shapes, start=1):
        try:
            found = _cells_of(geometry, grid, max_cells - total)
        except _Bad as bad:
            faults.append(f"{path.name}: {where}: {bad}")
            continue
        for part, item in enumerate(found, start=1):
            name = label or f"{path.stem}-{number:03d}"
            names.append(f"{name}-{part}" if len(found) > 1 else name)
            cells.append(item)
            total += len(item[0])
    if faults:
        more = [f"{path.name}: and {len(faults) - _FAULTS_SHOWN} more faults"] if len(faults) > _FAULTS_SHOWN else []
        raise InputError("\n".join(faults[:_FAULTS_SHOWN] + more))
    return _distinct(names), cells


def _distinct(names: list[str]) -> list[str]:
    """The same names, where a name that came before gets the next free number."""
    used: set[str] = set()
    answer = []
    for name in names:
        text, number = name, 2
        while text in used:
            text, number = f"{name}-{number}", number + 1
        used.add(text)
        answer.append(text)
    return answer


def _load(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InputError(
                f"{path.name} has {size} bytes; {MAX_FILE_BYTES} is the most: simplify the polygons or split the file."
            )
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(
            f"targets.use names '{path}', which does not exist; paths are relative to the scenario."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path.name}:{error.lineno}: is no JSON: {error.msg}.") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path.name}: is no GeoJSON text: {type(error).__name__}.") from error
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise InputError(f"{path.name}: is no GeoJSON object with a type; {_ALLOWED}.")
    crs = data.get("crs")
    if crs is not None and not any(text in json.dumps(crs) for text in ("CRS84", "4326")):
        raise InputError(
            f"{path.name}: crs is {json.dumps(crs)[:80]}; GeoJSON is read in WGS 84 longitude and latitude only."
        )
    return data


def _shapes(data: dict[str, Any], path: Path) -> Iterator[tuple[str, str | None, Any]]:
    """Where it stands, its name if it has one, and the geometry, for each shape of the file."""
    kind = data["type"]
    if kind == "FeatureCollection":
        features = data.get("features")
        if not isinstance(features, list):
            raise InputError(f"{path.name}: the FeatureCollection has no list of features.")
        for number, feature in enumerate(features):
            if not isinstance(feature, dict) or feature.get("type") != "Feature":
                raise InputError(f"{path.name}: features[{number}] is no Feature.")
            yield f"features[{number}]", _label(feature), feature.get("geometry")
    elif kind == "Feature":
        yield "Feature", _label(data), data.get("geometry")
    elif kind in _GEOMETRIES:
        yield kind, None, data
    else:
        raise InputError(f"{path.name}: type is '{kind}'; {_ALLOWED}.")


def _label(feature: dict[str, Any]) -> str | None:
    properties = feature.get("properties")
    name = properties.get("name") if isinstance(properties, dict) else None
    for value in (name, feature.get("id")):
        if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
            # One line of plain text: names go into tables, ids and terminals.
            return "".join(c if c.isprintable() else " " for c in str(value).strip())[:80]
    return None


def _cells_of(geometry: Any, grid: Grid, room: int) -> list[Cells]:
    if not isinstance(geometry, dict):
        raise _Bad("has no geometry; a Point, Polygon or MultiPolygon is wanted")
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "Point":
        lon, lat = _positions([coordinates])[0]
        row, col = grid.cell_of(lat, lon)
        return [grid.block_cells(int(row), int(col))]
    if kind == "Polygon":
        return [_polygon(coordinates, grid, room)]
    if kind == "MultiPolygon":
        if not isinstance(coordinates, list) or not coordinates:
            raise _Bad("the MultiPolygon has no coordinates")
        parts = []
        for polygon in coordinates:
            parts.append(_polygon(polygon, grid, room))
            room -= len(parts[-1][0])
        return parts
    raise _Bad(f"geometry type is {kind!r}; allowed are {', '.join(_GEOMETRIES)}")


def _positions(values: Any) -> Ring:
    """Longitude and latitude, shape (n, 2). [deg]"""
    if not isinstance(values, list):
        raise _Bad("coordinates are missing or no list")
    out = []
    for value in values:
        if not isinstance(value, list) or len(value) < 2:
            raise _Bad(f"position is {str(value)[:40]}; [longitude, latitude] in degrees is wanted")
        lon, lat = value[0], value[1]
        if any(isinstance(x, bool) or not isinstance(x, (int, float)) or not math.isfinite(x) for x in (lon, lat)):
            raise _Bad(f"position is {str(value)[:40]}; two finite numbers are wanted")
        if not (-180.0 <= lon <= 180.0 and -90.0 <= lat <= 90.0):
            raise _Bad(
                f"position is [{lon:g}, {lat:g}]; longitude must lie in [-180, 180] and latitude in [-90, 90] deg, "
                "in this order"
            )
        out.append((float(lon), float(lat)))
    return np.array(out, dtype=np.float64).reshape(-1, 2)


def _polygon(coordinates: Any, grid: Grid, room: int) -> Cells:
    if not isinstance(coordinates, list) or not coordinates:
        raise _Bad("the Polygon has no rings")
    rings = [_positions(ring) for ring in coordinates]
    for ring in rings:
        if len(ring) < 4 or not np.array_equal(ring[0], ring[-1]):
            raise _Bad("a ring needs at least four positions, and the last must be the first")
        if np.max(np.abs(np.diff(ring[:, 0]))) > 180.0:
            raise _Bad(
                "an edge spans more than 180 deg of longitude; cut the polygon at the antimeridian (RFC 7946, 3.1.9)"
            )
    rows, cols = cells_inside(rings, grid, room)
    if not len(rows):
        raise _Bad(f"the polygon holds no centre of a cell of {grid.side_m:g} m; make it larger, or use a Point")
    return rows, cols


def cells_inside(rings: list[Ring], grid: Grid, room: int) -> Cells:
    """Cells whose centre lies inside an odd number of rings, row by row from the south.

    Parameters
    ----------
    rings
        Closed rings, each shape (n, 2) as longitude and latitude. [deg] Edges are straight in these coordinates.
    grid
        The ground grid.
    room
        Most cells that are allowed.
    """
    start = np.concatenate([ring[:-1] for ring in rings])
    end = np.concatenate([ring[1:] for ring in rings])
    south, north = start[:, 1].min(), start[:, 1].max()
    first, last = int(grid.cell_of(south, 0.0)[0]), int(grid.cell_of(north, 0.0)[0])
    too_large = _Bad(
        f"the polygon would need more than {room} cells of {grid.side_m:g} m; "
        "use smaller polygons, larger tiles, or camera.plan: strip"
    )
    if last - first > room:
        raise too_large
    if (last - first + 1) * len(start) > MAX_CROSSINGS:
        raise _Bad(f"the polygon has {len(start)} edges over {last - first + 1} rows of cells; simplify it")
    rows: list[NDArray[np.int64]] = []
    cols: list[NDArray[np.int64]] = []
    count = 0
    for row in range(first, last + 1):
        lat = float(grid.centre_of(row, 0)[0])
        hit = (start[:, 1] <= lat) != (end[:, 1] <= lat)
        if not hit.any():
            continue
        a, b = start[hit], end[hit]
        lon = np.sort(a[:, 0] + (lat - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1]))
        columns = int(grid.columns(row))
        edges = np.clip(np.ceil((lon + 180.0) * (columns / 360.0) - 0.5).astype(np.int64), 0, columns)
        for west, east in zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True):
            count += east - west
            if count > room:
                raise too_large
            cols.append(np.arange(west, east))
            rows.append(np.full(east - west, row))
    if not rows:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate(rows), np.concatenate(cols)
