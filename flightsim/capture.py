"""The nominal plan: which tiles are imaged, when and how. Computed before the run, as arrays.

Two plans::

    targets   an area of interest is imaged once an overflight, around the time of least off-nadir, when that is within
              the camera's roll; each of its tiles is exposed at the tile's own least off-nadir
    strip     rows of tiles under the track at a fixed cadence

Every shot that is left out is counted in ``Plan.skipped`` under the first reason that applies.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .areas import AreaSet, ScenePlace, areas_of
from .domain import Plan
from .errors import InputError
from .geodesy import geodetic_to_itrf, geodetic_up
from .grid import BLOCK, Grid, PlaceIds, grid_of
from .ground_track import (
    STEP_S,
    Flies,
    Floats,
    GroundTrack,
    Overflights,
    find_overflights,
    geocentric_radius_km,
    geodetic_of_directions,
    view,
)
from .land import is_land
from .scenario.models import Camera, References, Scenario

__all__ = ["Overflights", "ScenePlace", "find_overflights", "plan_captures", "uplinked_rows"]

#: Most shots of a plan; each costs about 100 bytes and some microseconds later on.
MAX_SHOTS = 5_000_000
#: Reasons for which a shot is left out, in the order in which they are printed.
REASONS = ("ends", "roll", "sea", "dark", "agility", "overlap")
#: Shots that are looked at together, so that a month of strips fits into memory.
_CHUNK = 400_000
#: The Sun climbs no faster than the sub-satellite point moves in half a knot (2 deg), and half of the widest swath
#: (500 km) is 2.3 deg more: frames darker than this at the nearest knot need no closer look. [deg]
_DUSK_DEG = 5.0

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Shots:
    """Shots of one spacecraft, in any order, each field of shape (n,)."""

    time_s: Floats
    place_key: NDArray[np.uint64]
    block_key: NDArray[np.uint64]
    block_row: NDArray[np.int16]
    block_col: NDArray[np.int16]
    lat_deg: Floats
    lon_deg: Floats
    gsd_m: Floats
    off_nadir_deg: Floats
    sun_elevation_deg: Floats
    area: NDArray[np.int32]
    tile: Ints
    """Row in the area set, for places that have their own ids; -1 for cells of a strip."""


def plan_captures(
    scenario: Scenario, propagators: Sequence[Flies], scene_places: Sequence[ScenePlace] | None = None
) -> Plan:
    """Nominal plan of all spacecraft of a scenario, in time order.

    Parameters
    ----------
    scenario
        The scenario; captures lie in [0, duration).
    propagators
        The orbit of each of ``scenario.craft``, in this order.
    scene_places
        Places of the scene source, for ``targets: {use: archive}``.

    Raises
    ------
    InputError
        The areas of interest are faulty, or the plan has more than five million shots.

    Notes
    -----
    Each spacecraft keeps its own reference store. With ``references.refresh: visit`` a shot's "before" is the
    spacecraft's previous nominal shot of the place, else the picture loaded or uplinked ``references.age`` before the
    start. Ties in time are ordered by spacecraft and place.
    """
    skipped: Counter[str] = Counter()
    parts: list[_Shots] = []
    before: list[Floats] = []
    area_sets: dict[Grid, AreaSet] = {}
    names: tuple[str, ...] = ()
    for craft, propagator in zip(scenario.craft, propagators, strict=True):
        grid = grid_of(craft.camera.gsd_m, craft.camera.tile_px)
        track = GroundTrack(propagator, 0.0, scenario.duration_s)
        if craft.camera.plan == "strip":
            shots = _plan_strip(craft.camera, grid, track, scenario.targets.land, skipped)
        else:
            if grid not in area_sets:
                targets = scenario.targets
                area_sets[grid] = areas_of(targets, grid, scenario.seed, scenario.folder, scene_places)
            names = area_sets[grid].names
            shots = _plan_targets(craft.camera, area_sets[grid], grid, track, skipped)
        parts.append(shots)
        before.append(_before_s(shots, craft.references))
        if sum(len(part.time_s) for part in parts) > MAX_SHOTS:
            raise _too_many()
    return _join(scenario, parts, before, area_sets, names, skipped)


def _join(
    scenario: Scenario,
    parts: Sequence[_Shots],
    before: Sequence[Floats],
    area_sets: dict[Grid, AreaSet],
    areas: tuple[str, ...],
    skipped: Counter[str],
) -> Plan:
    """All spacecraft's shots as one plan in time order."""
    craft = np.repeat(np.arange(len(parts), dtype=np.int16), [len(part.time_s) for part in parts])
    shots = _gather(parts)
    order = np.lexsort((shots.place_key, craft, shots.time_s))
    shots, craft = _rows(shots, order), craft[order]
    place_id: Sequence[str]
    scene_row: Ints = np.zeros(0, dtype=np.int64)
    own = next((found for found in area_sets.values() if found.ids), None)
    if own is not None:
        place_id = tuple(own.ids[index] for index in shots.tile)
        scene_row = own.scene_row[shots.tile]
    else:
        grids = [grid_of(each.camera.gsd_m, each.camera.tile_px) for each in scenario.craft]
        place_id = PlaceIds(grids, craft, shots.place_key)
    return Plan(
        spacecraft=tuple(each.name for each in scenario.craft),
        craft=craft,
        time_s=shots.time_s,
        before_s=np.concatenate(before)[order],
        place_id=place_id,
        place_key=shots.place_key,
        block_key=shots.block_key,
        block_row=shots.block_row,
        block_col=shots.block_col,
        lat_deg=shots.lat_deg,
        lon_deg=shots.lon_deg,
        gsd_m=shots.gsd_m,
        off_nadir_deg=shots.off_nadir_deg,
        sun_elevation_deg=shots.sun_elevation_deg,
        area=shots.area,
        areas=areas,
        skipped={reason: skipped[reason] for reason in REASONS if skipped[reason]},
        scene_row=scene_row,
        start_unix_s=scenario.start.timestamp(),
    )


def _gather(parts: Sequence[_Shots]) -> _Shots:
    """Shots of all parts, one after the other."""
    return _Shots(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(_Shots)))


def _rows(shots: _Shots, rows: Ints) -> _Shots:
    """The same for some rows."""
    return _Shots(*(getattr(shots, each.name)[rows] for each in fields(_Shots)))


def _too_many() -> InputError:
    return InputError(
        f"the plan has more than {MAX_SHOTS} shots; shorten duration, or take larger tiles or fewer of them "
        "(camera.gsd_m, camera.tile_px, camera.cadence_s, camera.swath_km, targets.count)."
    )


def _before_s(shots: _Shots, references: References) -> Floats:
    """Mid-exposure of each shot's reference picture, shape (n,). [s]"""
    before = np.full(len(shots.time_s), -references.age)
    if references.refresh == "visit":
        order = np.lexsort((shots.time_s, shots.place_key))
        again = shots.place_key[order][1:] == shots.place_key[order][:-1]
        before[order[1:][again]] = shots.time_s[order[:-1][again]]
    return before


def uplinked_rows(plan: Plan, references: References, craft: int) -> NDArray[np.int64]:
    """First shot of each place whose reference picture is uplinked to a spacecraft, once a place, shape (k,).

    Parameters
    ----------
    references
        The reference store of the spacecraft; nothing is uplinked unless its source is ``uplink``.
    craft
        Index of the spacecraft in the plan.
    """
    if references.source != "uplink":
        return np.zeros(0, dtype=np.int64)
    rows = np.flatnonzero(plan.craft == craft)
    return np.asarray(rows[np.unique(plan.place_key[rows], return_index=True)[1]], dtype=np.int64)


def _plan_targets(camera: Camera, areas: AreaSet, grid: Grid, track: GroundTrack, skipped: Counter[str]) -> _Shots:
    """Shots of the areas of interest by one spacecraft."""
    centres = geodetic_to_itrf(areas.centre_lat_deg, areas.centre_lon_deg)
    area, centre_s = track.nearest(centres, camera.max_roll_deg)
    geometry = view(
        track.position_km(centre_s), centres[area], geodetic_up(areas.centre_lat_deg, areas.centre_lon_deg)[area]
    )
    taken = (geometry.off_nadir_deg <= camera.max_roll_deg) & (geometry.elevation_deg > 0.0)
    taken &= (centre_s >= track.start_s) & (centre_s < track.end_s)
    area, centre_s, centre_deg = area[taken], centre_s[taken], geometry.off_nadir_deg[taken]

    last = np.cumsum(np.diff(areas.first)[area])
    found = [_expose(camera, areas, track, area[:0], centre_s[:0], centres, skipped)]
    start = 0
    while start < len(area):
        stop = max(start + 1, int(np.searchsorted(last, (last[start - 1] if start else 0) + _CHUNK, side="right")))
        visit, shots = _expose(camera, areas, track, area[start:stop], centre_s[start:stop], centres, skipped)
        found.append((visit + start, shots))
        if sum(len(kept) for kept, _ in found) > MAX_SHOTS:
            raise _too_many()
        start = stop
    visit, shots = np.concatenate([kept for kept, _ in found]), _gather([part for _, part in found])
    won = _agile(visit, shots.time_s, centre_s, centre_deg, centres[area], camera.cadence_s, grid)
    return _rows(shots, _keep(won[visit], "agility", skipped))


def _expose(
    camera: Camera,
    areas: AreaSet,
    track: GroundTrack,
    area: Ints,
    centre_s: Floats,
    centres_km: Floats,
    skipped: Counter[str],
) -> tuple[Ints, _Shots]:
    """Shots of some visits, and to which visit each belongs.

    A tile is exposed at its own least off-nadir, near the time of its area's middle: a push-broom at fixed roll.
    """
    size = np.diff(areas.first)[area]
    visit = np.repeat(np.arange(len(area)), size)
    tile = areas.first[area][visit] + np.arange(len(visit)) - np.repeat(np.cumsum(size) - size, size)
    rows = _keep(~areas.overlap[tile], "overlap", skipped)
    rows = rows[_keep(areas.land[tile[rows]], "sea", skipped)]
    visit, tile = visit[rows], tile[rows]
    middle_s, middle_km = centre_s[visit], centres_km[area[visit]]
    point = geodetic_to_itrf(areas.lat_deg[tile], areas.lon_deg[tile])
    up = geodetic_up(areas.lat_deg[tile], areas.lon_deg[tile])

    position, velocity = track.position_km(middle_s), track.velocity_kmps(middle_s)
    ahead_km = np.sum((point - middle_km) * velocity, axis=1)
    # The track on the ground is slower than the spacecraft by the ratio of the radii.
    shrink = np.linalg.norm(middle_km, axis=1) / np.linalg.norm(position, axis=1)
    time_s = track.refine(point, middle_s + ahead_km / np.sum(velocity**2, axis=1) / shrink)
    geometry = view(track.position_km(time_s), point, up)
    sun_deg = track.sun_elevation_deg(up, time_s)

    rows = _keep((time_s >= track.start_s) & (time_s < track.end_s), "ends", skipped)
    near = (geometry.off_nadir_deg <= camera.max_roll_deg) & (geometry.elevation_deg > 0.0)
    rows = rows[_keep(near[rows], "roll", skipped)]
    rows = rows[_keep(sun_deg[rows] >= camera.min_sun_elevation_deg, "dark", skipped)]
    visit, tile = visit[rows], tile[rows]
    return visit, _Shots(
        time_s=time_s[rows],
        place_key=areas.place_key[tile],
        block_key=areas.block_key[tile],
        block_row=areas.block_row[tile],
        block_col=areas.block_col[tile],
        lat_deg=areas.lat_deg[tile],
        lon_deg=areas.lon_deg[tile],
        gsd_m=geometry.gsd_m(camera.gsd_m)[rows],
        off_nadir_deg=geometry.off_nadir_deg[rows],
        sun_elevation_deg=sun_deg[rows],
        area=area[visit].astype(np.int32),
        tile=tile,
    )


def _keep(good: NDArray[np.bool_], reason: str, skipped: Counter[str]) -> Ints:
    """Rows that stay; the others are counted under the reason."""
    rows = np.flatnonzero(good)
    skipped[reason] += len(good) - len(rows)
    return rows


def _agile(
    visit: Ints, time_s: Floats, centre_s: Floats, centre_deg: Floats, centre_km: Floats, cadence_s: float, grid: Grid
) -> NDArray[np.bool_]:
    """Which visits the spacecraft can make, shape (visits,): of two that conflict the one nearer to nadir.

    Two visits conflict when their middles are closer in time than the cadence or their exposures overlap, unless
    their areas lie within one block of each other: then one pointing serves both.
    """
    won = np.zeros(len(centre_s), dtype=np.bool_)
    begin, end = np.full(len(centre_s), np.inf), np.full(len(centre_s), -np.inf)
    np.minimum.at(begin, visit, time_s)
    np.maximum.at(end, visit, time_s)
    wanted = np.unique(visit)
    if not len(wanted):
        return won
    reach_s = cadence_s + 2.0 * float(
        np.max(np.abs([begin[wanted] - centre_s[wanted], end[wanted] - centre_s[wanted]]))
    )
    near_km = BLOCK * grid.side_m / 1000.0
    made: list[tuple[float, int]] = []
    for one in wanted[np.lexsort((wanted, centre_s[wanted], centre_deg[wanted]))].tolist():
        middle = float(centre_s[one])
        around = made[bisect_left(made, (middle - reach_s, -1)) : bisect_left(made, (middle + reach_s, len(won)))]
        for other_s, other in around:
            if abs(other_s - middle) >= cadence_s and (begin[one] > end[other] or begin[other] > end[one]):
                continue
            if np.linalg.norm(centre_km[one] - centre_km[other]) > near_km:
                break
        else:
            won[one] = True
            insort(made, (middle, one))
    return won


def _plan_strip(camera: Camera, grid: Grid, track: GroundTrack, land_only: bool, skipped: Counter[str]) -> _Shots:
    """Shots of everything under the track of one spacecraft."""
    across = max(1, round(camera.swath_km * 1000.0 / grid.side_m))
    frames = int(np.ceil(track.end_s / camera.cadence_s))
    bright = _bright(camera, track)
    offset_km = (np.arange(across, dtype=np.float64) - 0.5 * (across - 1)) * grid.side_m / 1000.0
    found: list[_Shots] = []
    total = 0
    per = max(1, _CHUNK // across)
    for start in range(0, frames, per):
        time_s = np.arange(start, min(start + per, frames), dtype=np.float64) * camera.cadence_s
        time_s = time_s[time_s < track.end_s]
        interval = ((time_s - track.knot_s[0]) / STEP_S).astype(np.int64)
        skipped["dark"] += across * int(np.sum(~bright[interval]))
        time_s = time_s[bright[interval]]
        if len(time_s):
            found.append(_frames(camera, grid, track, time_s, offset_km, land_only, skipped))
            total += len(found[-1].time_s)
            if total > MAX_SHOTS:
                raise _too_many()
    found.append(_frames(camera, grid, track, np.zeros(0), offset_km, land_only, skipped))
    shots = _gather(found)
    # A cell that two rows or two neighbours of a pass share is imaged once, by the first.
    order = np.lexsort((shots.time_s, shots.place_key))
    key, when = shots.place_key[order], shots.time_s[order]
    repeated = np.zeros(len(order), dtype=np.bool_)
    repeated[order[1:]] = (key[1:] == key[:-1]) & (when[1:] - when[:-1] < 0.5 * track.period_s)
    return _rows(shots, _keep(~repeated, "overlap", skipped))


def _bright(camera: Camera, track: GroundTrack) -> NDArray[np.bool_]:
    """Whether any frame between two knots of the track may be lit, shape (knots - 1,)."""
    lat, lon = geodetic_of_directions(track.knot_km)
    sun_deg = track.sun_elevation_deg(geodetic_up(lat, lon), track.knot_s)
    return np.asarray(np.maximum(sun_deg[1:], sun_deg[:-1]) > camera.min_sun_elevation_deg - _DUSK_DEG)


def _frames(
    camera: Camera,
    grid: Grid,
    track: GroundTrack,
    time_s: Floats,
    offset_km: Floats,
    land_only: bool,
    skipped: Counter[str],
) -> _Shots:
    """Tiles of rows under the track at some times: cells that hold the middle of a tile, lit and on land."""
    position = track.position_km(time_s)
    radius = np.linalg.norm(position, axis=1, keepdims=True)
    down = position / radius
    right = np.cross(track.velocity_kmps(time_s), down)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    angle = offset_km / geocentric_radius_km(down[:, 2])[:, None]
    aim = np.cos(angle)[..., None] * down[:, None, :] + np.sin(angle)[..., None] * right[:, None, :]
    row, col = (cells.ravel() for cells in grid.cell_of(*geodetic_of_directions(aim)))
    frame = np.repeat(np.arange(len(time_s)), len(offset_km))
    lat, lon = grid.centre_of(row, col)
    up = geodetic_up(lat, lon)
    sun_deg = track.sun_elevation_deg(up, time_s[frame])
    rows = _keep(sun_deg >= camera.min_sun_elevation_deg, "dark", skipped)
    if land_only:
        rows = rows[_keep(is_land(lat[rows], lon[rows]), "sea", skipped)]
    row, col, lat, lon, frame = row[rows], col[rows], lat[rows], lon[rows], frame[rows]
    geometry = view(position[frame], geodetic_to_itrf(lat, lon), up[rows])
    return _Shots(
        time_s=time_s[frame],
        place_key=grid.place_keys(row, col),
        block_key=grid.block_keys(row, col),
        block_row=(row % BLOCK).astype(np.int16),
        block_col=(col % BLOCK).astype(np.int16),
        lat_deg=lat,
        lon_deg=lon,
        gsd_m=geometry.gsd_m(camera.gsd_m),
        off_nadir_deg=geometry.off_nadir_deg,
        sun_elevation_deg=sun_deg[rows],
        area=np.full(len(rows), -1, dtype=np.int32),
        tile=np.full(len(rows), -1, dtype=np.int64),
    )
