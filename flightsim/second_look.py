"""Second looks: when a place can be seen again, and which picture of each shot is the current one.

A REIMAGE decision asks for another picture at the next *opportunity*: the same spacecraft's next overflight in which
the place is within roll and sunlit, before captures stop, and the camera is free. The camera is free where the nominal
plan takes that very place (its picture then serves both), or where no exposure of another area is nearer than the
cadence. A second look that the plan does not take anyway holds the camera for the cadence too.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .domain import Look, Plan, TilePair, TruthTable
from .geodesy import geodetic_to_itrf, geodetic_up
from .ground_track import Flies, GroundTrack, view
from .rng import hash_at
from .scenario.models import Camera

#: Two computations of one overflight's least off-nadir agree far better than this, two overflights are hours apart. [s]
_SAME_S = 1.0
#: Areas that reach no further from their middle than this are flown over within six seconds. [km]
_SMALL_KM = 20.0
#: Over a small area the Sun's elevation differs by less, geocentric against geodetic vertical included. [deg]
_DUSK_DEG = 1.0


@dataclass(frozen=True, slots=True)
class Opportunity:
    """A time at which a place can be seen again."""

    look: Look
    planned: bool
    """The nominal plan takes this place then: no pointing is added."""


class Finds(Protocol):
    """What is asked of opportunities; ``Opportunities`` computes them, a test may write them by hand."""

    def of(self, row: int) -> Sequence[Opportunity]:
        """All opportunities of the place of a shot, in time order, past ones included."""
        ...


class Opportunities:
    """When each place of a plan can be seen by its spacecraft; computed area by area when first asked for.

    They depend on orbit, Sun and plan alone, so every policy meets the same.

    Notes
    -----
    One opportunity an overflight, at the place's own least off-nadir, as in the plan. A strip mapper looks straight
    down all the time and has none.
    """

    def __init__(self, plan: Plan, propagators: Sequence[Flies], cameras: Sequence[Camera], end_s: float) -> None:
        self._plan, self._propagators, self._cameras, self._end_s = plan, propagators, cameras, end_s
        self._tracks: dict[int, GroundTrack] = {}
        self._exposures_s = [plan.time_s[plan.craft == craft] for craft in range(len(cameras))]
        self._known: dict[tuple[int, int], tuple[Opportunity, ...]] = {}

    def of(self, row: int) -> tuple[Opportunity, ...]:
        """All opportunities of the place of a shot, in time order, past ones included."""
        plan = self._plan
        craft = int(plan.craft[row])
        if self._cameras[craft].plan == "strip":
            return ()
        key = (craft, int(plan.place_key[row]))
        if key not in self._known:
            self._find(craft, int(plan.area[row]))
        return self._known[key]

    @cached_property
    def _rows(self) -> dict[tuple[int, int], NDArray[np.int64]]:
        """Rows by spacecraft and area, in time order."""
        plan = self._plan
        order = np.lexsort((np.arange(len(plan)), plan.area, plan.craft))
        craft, area = plan.craft[order], plan.area[order]
        parts = np.split(order, 1 + np.flatnonzero((np.diff(craft) != 0) | (np.diff(area) != 0)))
        return {(int(plan.craft[rows[0]]), int(plan.area[rows[0]])): rows for rows in parts if len(rows)}

    def _track(self, craft: int) -> GroundTrack:
        if craft not in self._tracks:
            self._tracks[craft] = GroundTrack(self._propagators[craft], 0.0, self._end_s)
        return self._tracks[craft]

    def _find(self, craft: int, area: int) -> None:
        """Opportunities of all places of an area."""
        plan, camera, track = self._plan, self._cameras[craft], self._track(craft)
        rows = self._rows[craft, area]
        keys, first, of_place = np.unique(plan.place_key[rows], return_index=True, return_inverse=True)
        lat, lon = plan.lat_deg[rows[first]], plan.lon_deg[rows[first]]
        points, up = geodetic_to_itrf(lat, lon), geodetic_up(lat, lon)
        place, time_s = _overflights(track, camera, points)
        geometry = view(track.position_km(time_s), points[place], up[place])
        sun_deg = track.sun_elevation_deg(up[place], time_s)
        good = (geometry.off_nadir_deg <= camera.max_roll_deg) & (geometry.elevation_deg > 0.0)
        good &= (sun_deg >= camera.min_sun_elevation_deg) & (time_s >= 0.0) & (time_s < self._end_s)
        gsd_m = geometry.gsd_m(camera.gsd_m)

        shot = self._nominal_shot(rows, of_place, place, time_s)
        free = (shot >= 0) | ~self._busy(craft, rows, time_s, camera.cadence_s)
        found: dict[int, list[Opportunity]] = {int(key): [] for key in keys}
        for k in np.flatnonzero(good & free).tolist():
            row = int(shot[k])
            if row >= 0:
                # The very picture of the plan, so that clouds and pixels are the same to the last digit.
                look = Look(
                    float(plan.time_s[row]), float(plan.gsd_m[row]), float(plan.off_nadir_deg[row]),
                    float(plan.sun_elevation_deg[row]),
                )  # fmt: skip
            else:
                look = Look(float(time_s[k]), float(gsd_m[k]), float(geometry.off_nadir_deg[k]), float(sun_deg[k]))
            found[int(keys[place[k]])].append(Opportunity(look, row >= 0))
        for key, looks in found.items():
            self._known[craft, key] = tuple(sorted(looks, key=lambda chance: chance.look.time_s))

    def _nominal_shot(
        self,
        rows: NDArray[np.int64],
        of_place: NDArray[np.int64],
        place: NDArray[np.int64],
        time_s: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """Nominal shot of the same place at the same time, -1 for none, shape (k,).

        ``of_place`` gives the place of each of ``rows``, ``place`` that of each time.
        """
        # Place and time as one number: places lie further apart than any two times.
        apart_s = self._end_s + 1e6
        shots = of_place * apart_s + self._plan.time_s[rows]
        order = np.argsort(shots)
        wanted = place * apart_s + time_s
        at = np.minimum(np.searchsorted(shots[order], wanted - _SAME_S), len(rows) - 1)
        nearest = order[at]
        return np.where(np.abs(shots[nearest] - wanted) <= _SAME_S, rows[nearest], -1)

    def _busy(
        self, craft: int, own: NDArray[np.int64], time_s: NDArray[np.float64], cadence_s: float
    ) -> NDArray[np.bool_]:
        """Whether an exposure of another area is nearer than the cadence, shape (k,)."""

        def near(shots_s: NDArray[np.float64]) -> NDArray[np.int64]:
            begin = np.searchsorted(shots_s, time_s - cadence_s, side="right")
            return np.asarray(np.searchsorted(shots_s, time_s + cadence_s, side="left") - begin)

        return near(self._exposures_s[craft]) > near(self._plan.time_s[own])


def _overflights(
    track: GroundTrack, camera: Camera, points_km: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Place and time of every least off-nadir that may be within roll and lit, shape (k,) each, in any order.

    The overflights of a small area are searched once, for its middle, and then refined for each place.
    """
    middle = points_km.mean(axis=0)
    reach_km = float(np.linalg.norm(points_km - middle, axis=1).max())
    if reach_km > _SMALL_KM:
        return track.nearest(points_km, camera.max_roll_deg)
    # Away from nadir a kilometre on the ground is a smaller angle than below the satellite.
    height_km = float(np.linalg.norm(track.knot_km, axis=1).min() - np.linalg.norm(points_km, axis=1).max())
    widest_deg = camera.max_roll_deg + float(np.degrees(1.1 * reach_km / height_km)) + 0.1
    _, middle_s = track.nearest(middle[None, :], widest_deg)
    up = np.broadcast_to(middle / np.linalg.norm(middle), (len(middle_s), 3))
    worth = view(track.position_km(middle_s), np.broadcast_to(middle, up.shape), up).off_nadir_deg <= widest_deg
    worth &= track.sun_elevation_deg(up, middle_s) >= camera.min_sun_elevation_deg - _DUSK_DEG
    middle_s = middle_s[worth]
    place = np.tile(np.arange(len(points_km)), len(middle_s))
    return place, track.refine(points_km[place], np.repeat(middle_s, len(points_km)))


class SecondLooks:
    """The current picture of every shot in one run: the nominal one until a second look replaces it.

    Parameters
    ----------
    scenes
        As the spacecraft sees them.
    opportunities
        When places can be seen again; None for never, as where the scene source has no ``pair_at``.
    cadence_s, max_looks
        Of each spacecraft: the time that a pointing takes, and how many pictures a shot may have. [s, -]
    """

    def __init__(
        self,
        scenes: Any,
        plan: Plan,
        truth: TruthTable,
        seed: int,
        opportunities: Finds | None = None,
        cadence_s: Sequence[float] = (),
        max_looks: Sequence[int] = (),
    ) -> None:
        self._scenes, self._plan, self._truth, self._seed = scenes, plan, truth, seed
        self._opportunities = opportunities
        self._cadence_s, self._max_looks = tuple(cadence_s), tuple(max_looks)
        self._current: dict[int, Look] = {}
        self._booked: list[list[tuple[float, int]]] = [[] for _ in self._cadence_s]
        # Asked by the payload, the policy and the encoder in turn.
        self._pair_at = lru_cache(maxsize=32)(self._made)

    def next_look(self, row: int, now_s: float, taken: int) -> Look | None:
        """The next picture that the place of a shot could have, when so many of it were taken; None for never."""
        chance = self._next(row, now_s, taken)
        return None if chance is None else chance.look

    def _next(self, row: int, now_s: float, taken: int) -> Opportunity | None:
        if self._opportunities is None:
            return None
        craft = int(self._plan.craft[row])
        if taken >= self._max_looks[craft]:
            return None
        chances = self._opportunities.of(row)
        # The camera needs the cadence to turn to a place.
        first = bisect_left(chances, now_s + self._cadence_s[craft], key=lambda chance: chance.look.time_s)
        return next((chance for chance in chances[first:] if chance.planned or self._free(row, chance.look)), None)

    def _free(self, row: int, look: Look) -> bool:
        """Whether no second look that is booked for another area is nearer than the cadence."""
        craft = int(self._plan.craft[row])
        booked, cadence_s, area = self._booked[craft], self._cadence_s[craft], int(self._plan.area[row])
        start = bisect_left(booked, look.time_s - cadence_s, key=lambda held: held[0])
        for held_s, held_area in booked[start:]:
            if held_s >= look.time_s + cadence_s:
                break
            if abs(held_s - look.time_s) < cadence_s and (held_area != area or area < 0):
                return False
        return True

    def book(self, row: int, now_s: float, taken: int) -> Look:
        """Hold the camera for the next opportunity of a shot's place, which must exist."""
        chance = self._next(row, now_s, taken)
        if chance is None:
            raise ValueError(f"tile {self._plan.tile_id(row)} has no second look to book")
        if not chance.planned:
            insort(self._booked[int(self._plan.craft[row])], (chance.look.time_s, int(self._plan.area[row])))
        return chance.look

    def take(self, row: int, look: Look) -> None:
        """Make a second look the current picture of a shot."""
        self._current[row] = look

    def look_of(self, row: int) -> Look | None:
        """The second look that is a shot's current picture; None where it is the nominal one."""
        return self._current.get(row)

    def pair(self, row: int) -> TilePair:
        """Reference and current picture of a shot."""
        look = self._current.get(row)
        pair: TilePair = self._scenes.pair(row) if look is None else self._pair_at(row, look)
        return pair

    def _made(self, row: int, look: Look) -> TilePair:
        pair: TilePair = self._scenes.pair_at(row, look)
        return pair

    def tile_id(self, row: int) -> str:
        """Id of a shot's current picture."""
        look = self._current.get(row)
        return self._plan.tile_id(row) if look is None else self._plan.look_id(row, look.time_s)

    def visible(self, row: int) -> bool:
        """Whether cloud or missing data leaves the place visible in the current picture: truth, not for policies."""
        look = self._current.get(row)
        if look is None or not hasattr(self._scenes, "visible_at"):
            return bool(self._truth.visible[row])
        return bool(self._scenes.visible_at(row, look))

    def key(self, row: int) -> NDArray[np.uint64]:
        """Key of the current picture for keyed draws, shape (1,): place and whole second, as for nominal shots. [-]"""
        look = self._current.get(row)
        second = int(self._plan.time_s[row] if look is None else look.time_s)
        return hash_at(self._seed, "shot", self._plan.place_key[row : row + 1], np.array([second]))

    def product_bytes(self, row: int, kind: str, size_px: int | None) -> int:
        """Encoded bytes of the current picture of a shot without pixels. [B]"""
        look = self._current.get(row)
        if look is None:
            return int(self._scenes.product_bytes(row, kind, size_px))
        return int(self._scenes.product_bytes_at(row, look, kind, size_px))


__all__ = ["Finds", "Opportunities", "Opportunity", "SecondLooks"]
