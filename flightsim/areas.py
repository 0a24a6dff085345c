"""Areas of interest: a seeded list over the world, a GeoJSON file, or the places of a scene archive."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import geojson, rng
from .errors import InputError
from .geodesy import geodetic_up
from .grid import BLOCK, MEAN_RADIUS_KM, Grid, PlaceIds
from .land import is_land
from .scenario.models import Targets

#: Most cells that all areas of a scenario may have together: the longest world list (10000 blocks of 64) and half more.
MAX_CELLS = 1_000_000
#: Distance that world areas keep where there is room. [km] Fixed, so that a longer list begins with the shorter one.
SPACING_KM = 200.0
#: Land on all four sides within this angle, so that no block of the world list is mostly sea. [deg]
INLAND_DEG = 0.1

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScenePlace:
    """A place that a scene source brings along, and the rows of its pictures in that source."""

    name: str
    lat_deg: float
    lon_deg: float
    rows: tuple[int, ...]
    slices: tuple[str, ...] = ()
    """Names of the rows; numbered when empty."""


@dataclass(frozen=True)
class AreaSet:
    """Areas and their tiles, tiles of one area side by side; what does not depend on time or orbit.

    ``centre_*`` have shape (m,) for m areas, ``first`` has shape (m + 1,): area i owns tiles ``first[i]:first[i + 1]``.
    All else has shape (k,) for k tiles.
    """

    names: tuple[str, ...]
    centre_lat_deg: Floats
    centre_lon_deg: Floats
    first: NDArray[np.int64]
    lat_deg: Floats
    lon_deg: Floats
    place_key: NDArray[np.uint64]
    block_key: NDArray[np.uint64]
    block_row: NDArray[np.int16]
    block_col: NDArray[np.int16]
    land: NDArray[np.bool_]
    """False where the tile is left out because it is sea."""
    overlap: NDArray[np.bool_]
    """True where an earlier area already has the cell."""
    scene_row: NDArray[np.int64]
    """Row of the scene source; empty unless the areas come from an archive."""
    ids: tuple[str, ...] = ()
    """Ids of archive places; empty for cells of a grid."""

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def area(self) -> NDArray[np.int64]:
        """Index of each tile's area, shape (k,). [-]"""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    def place_ids(self, grid: Grid) -> Sequence[str]:
        """Id of each tile's place, length k."""
        return self.ids or PlaceIds((grid,), np.zeros(len(self.place_key), dtype=np.int16), self.place_key)


def areas_of(
    targets: Targets,
    grid: Grid,
    seed: int,
    folder: Path = Path("."),
    scene_places: Sequence[ScenePlace] | None = None,
) -> AreaSet:
    """Areas that a scenario asks for.

    Parameters
    ----------
    targets
        The scenario's ``targets``.
    grid
        Ground grid of the camera.
    seed
        The scenario's seed; places the areas of ``use: world``.
    folder
        Folder that a GeoJSON path is relative to.
    scene_places
        Places of the scene source, for ``use: archive``.

    Raises
    ------
    InputError
        ``targets.use`` is unknown, its file is faulty, the areas are too large, or there is no room for them.
    """
    if targets.use == "world":
        lat, lon = world_points(seed, targets.count, targets.lat_range_deg, targets.land)
        rows, cols = grid.cell_of(lat, lon)
        cells = [grid.block_cells(int(row), int(col)) for row, col in zip(rows, cols, strict=True)]
        names = [f"world-{number:03d}" for number in range(1, len(cells) + 1)]
        return _of_cells(names, cells, grid, targets.land)
    if targets.use == "archive":
        if not scene_places:
            raise InputError(
                "targets.use is 'archive', but the scene source has no places; write scenes: {use: archive}."
            )
        return _of_scene_places(scene_places)
    path = Path(targets.use)
    if path.suffix.lower() not in (".geojson", ".json"):
        near = difflib.get_close_matches(targets.use, ("world", "archive"), 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise InputError(
            f"targets.use is '{targets.use}'; allowed are world, archive, or a GeoJSON file "
            f"that ends in .geojson or .json.{hint}"
        )
    names, cells = geojson.read_areas(folder / path, grid, MAX_CELLS)
    return _of_cells(names, cells, grid, targets.land)


def world_points(
    seed: int, count: int, lat_range_deg: tuple[float, float], land_only: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points spread evenly by area over the world's land, at a distance from each other, shape (count,) each. [deg]

    Notes
    -----
    Candidates are keyed by the seed and their number, uniform on the sphere between the two latitudes; one is taken
    when it is inland and at least ``SPACING_KM`` (less where so many do not fit) from all taken before. So a list of
    40 begins with the list of 20. Greenland counts as land, and so does Antarctica.

    Raises
    ------
    InputError
        The latitudes are in the wrong order, or there is no room between them.
    """
    south, north = (math.sin(math.radians(value)) for value in lat_range_deg)
    if not south < north:
        raise InputError(
            f"targets.lat_range_deg is [{lat_range_deg[0]:g}, {lat_range_deg[1]:g}]; "
            "the first must be less than the second."
        )
    batch = 4096
    taken = np.zeros((0, 3))
    found: list[tuple[float, float]] = []
    spacing_km = 0.0
    for start in range(0, 500 * batch, batch):
        number = np.arange(start, start + batch)
        lat = np.degrees(np.arcsin(south + (north - south) * rng.uniform_at(seed, "areas/lat", number)))
        lon = 360.0 * rng.uniform_at(seed, "areas/lon", number) - 180.0
        usable = _inland(lat, lon) if land_only else np.ones(batch, dtype=np.bool_)
        if start == 0:
            room_km2 = 2.0 * math.pi * MEAN_RADIUS_KM**2 * (north - south) * float(usable.mean())
            # Discs of this diameter fill a fifth of the room; random placement jams only above half (0.547).
            spacing_km = min(SPACING_KM, 0.5 * math.sqrt(room_km2 / count))
            if not usable.any():
                break
        unit = geodetic_up(lat, lon)
        limit = 2.0 * math.sin(0.5 * spacing_km / MEAN_RADIUS_KM)
        for index in np.flatnonzero(usable):
            if len(taken) and np.min(np.sum((taken[: len(found)] - unit[index]) ** 2, axis=1)) < limit**2:
                continue
            if len(found) == len(taken):
                taken = np.concatenate([taken, np.full((max(64, len(taken)), 3), 9.0)])
            taken[len(found)] = unit[index]
            found.append((float(lat[index]), float(lon[index])))
            if len(found) == count:
                return np.array([p[0] for p in found]), np.array([p[1] for p in found])
    raise InputError(
        f"targets.count is {count}, but only {len(found)} areas over {'land' if land_only else 'the Earth'} fit "
        f"between the latitudes {lat_range_deg[0]:g} and {lat_range_deg[1]:g} deg; widen targets.lat_range_deg."
    )


def _inland(lat: Floats, lon: Floats) -> NDArray[np.bool_]:
    aside = INLAND_DEG / np.maximum(np.cos(np.radians(lat)), 0.05)
    answer = is_land(lat, lon)
    for north, east in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        answer &= is_land(lat + north * INLAND_DEG, lon + east * aside)
    return answer


def _of_cells(
    names: Sequence[str], cells: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], grid: Grid, land_only: bool
) -> AreaSet:
    first = np.concatenate([[0], np.cumsum([len(rows) for rows, _ in cells])]).astype(np.int64)
    if first[-1] > MAX_CELLS:
        raise InputError(
            f"the areas have {first[-1]} cells of {grid.side_m:g} m together; {MAX_CELLS} is the most: "
            "take fewer or smaller areas, or larger tiles (camera.gsd_m, camera.tile_px)."
        )
    row = np.concatenate([rows for rows, _ in cells])
    col = np.concatenate([cols for _, cols in cells])
    lat, lon = grid.centre_of(row, col)
    key = grid.place_keys(row, col)
    overlap = np.ones(len(key), dtype=np.bool_)
    overlap[np.unique(key, return_index=True)[1]] = False
    # The middle of an area is the direction of the mean of its cells: sane across the antimeridian.
    middle = np.add.reduceat(geodetic_up(lat, lon), first[:-1], axis=0)
    return AreaSet(
        names=tuple(names),
        centre_lat_deg=np.degrees(np.arctan2(middle[:, 2], np.hypot(middle[:, 0], middle[:, 1]))),
        centre_lon_deg=np.degrees(np.arctan2(middle[:, 1], middle[:, 0])),
        first=first,
        lat_deg=lat,
        lon_deg=lon,
        place_key=key,
        block_key=grid.block_keys(row, col),
        block_row=(row % BLOCK).astype(np.int16),
        block_col=(col % BLOCK).astype(np.int16),
        land=is_land(lat, lon) if land_only else np.ones(len(key), dtype=np.bool_),
        overlap=overlap,
        scene_row=np.zeros(0, dtype=np.int64),
    )


def _of_scene_places(places: Sequence[ScenePlace]) -> AreaSet:
    """One area a place. An archive shows what it shows: its places are never left out as sea."""
    ids: list[str] = []
    for place in places:
        if not place.rows:
            raise InputError(f"place '{place.name}' of the scene source has no pictures.")
        slices = place.slices or tuple(f"{number:02d}" for number in range(len(place.rows)))
        if len(slices) != len(place.rows):
            raise InputError(f"place '{place.name}' has {len(place.rows)} rows, but {len(slices)} slice names.")
        single = len(place.rows) == 1 and not place.slices
        ids.extend([place.name] if single else [f"{place.name}/{text}" for text in slices])
    if len(set(ids)) != len(ids):
        twice = next(text for text in ids if ids.count(text) > 1)
        raise InputError(f"the scene source has two places '{twice}'; names must differ.")
    count = np.array([len(place.rows) for place in places])
    which = np.repeat(np.arange(len(places)), count)
    first = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    within = np.arange(len(ids)) - first[which]
    lat = np.array([place.lat_deg for place in places], dtype=np.float64)
    lon = np.array([place.lon_deg for place in places], dtype=np.float64)
    return AreaSet(
        names=tuple(place.name for place in places),
        centre_lat_deg=lat,
        centre_lon_deg=lon,
        first=first,
        lat_deg=lat[which],
        lon_deg=lon[which],
        place_key=rng.keys_of(ids),
        block_key=rng.keys_of([place.name for place in places])[which],
        block_row=(within // BLOCK % BLOCK).astype(np.int16),
        block_col=(within % BLOCK).astype(np.int16),
        land=np.ones(len(ids), dtype=np.bool_),
        overlap=np.zeros(len(ids), dtype=np.bool_),
        scene_row=np.array([row for place in places for row in place.rows], dtype=np.int64),
        ids=tuple(ids),
    )
