"""Pairs of the generated world without an orbit: for training and evaluating what looks at them.

The same world as in a flight: blocks over land, a history, clouds, seasons. Only the dates are drawn instead of flown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...areas import world_points
from ...domain import SCHEMA_IDS, Plan, TilePair, TruthTable
from ...errors import InputError
from ...grid import BLOCK, PlaceIds, grid_of
from ...rng import uniform_at
from ...scenario.models import Camera, Clouds, Targets
from .biomes import region_of
from .ground import BANDS
from .source import Synthetic
from .sun import sun_angles

REGIONS = ("train", "validation", "test", "any")
#: Local solar time of the pictures, and how far it varies: a 10:30 sun-synchronous orbit. [h]
_LOCAL_H, _LOCAL_SPREAD_H = 10.5, 0.7
_MIN_SUN_DEG = 15.0
_START = datetime(2025, 1, 1, tzinfo=UTC)
#: Dates that are tried for a block until the Sun is high enough.
_TRIES = 12


def sample_world(
    blocks: int,
    seed: int,
    *,
    region: str = "any",
    schemas: Sequence[str] = SCHEMA_IDS,
    prevalence: float = 0.06,
    cloud_fraction: float = 0.15,
    age_days: tuple[float, float] = (10.0, 90.0),
    tile_px: int = 128,
    gsd_m: float = 10.0,
    bits: int = 12,
    lat_range_deg: tuple[float, float] = (-58.0, 76.0),
) -> tuple[Synthetic, Plan, TruthTable]:
    """A prepared world of some blocks of 64 tiles, each seen on one date beside a clear reference, and its truth.

    Parameters
    ----------
    region
        Part of the world: train, validation, test or any.
    prevalence
        Stated share of positive questions of each schema. [-]
    cloud_fraction
        Mean cloud cover of the new pictures. [-]
    age_days
        Range of the references' age, drawn per block. [d]

    Raises
    ------
    InputError
        The region is unknown, or has no room for so many blocks.
    """
    if region not in REGIONS:
        raise InputError(f"region is '{region}'; allowed are {', '.join(REGIONS)}.")
    lat, lon = _points(blocks, seed, region, lat_range_deg)
    grid = grid_of(gsd_m, tile_px)
    row, col = grid.cell_of(lat, lon)
    cells = [grid.block_cells(int(r), int(c)) for r, c in zip(row, col, strict=True)]
    rows, cols = np.concatenate([r for r, _ in cells]), np.concatenate([c for _, c in cells])
    time_s, before_s = (np.repeat(part, BLOCK**2) for part in _dates(lat, lon, seed, age_days))
    cell_lat, cell_lon = grid.centre_of(rows, cols)
    elevation, _ = sun_angles(_START.timestamp() + time_s, cell_lat, cell_lon)
    n = len(rows)
    keys = grid.place_keys(rows, cols)
    plan = Plan(
        spacecraft=("sampled",),
        craft=np.zeros(n, dtype=np.int16),
        time_s=time_s,
        before_s=before_s,
        place_id=PlaceIds((grid,), np.zeros(n, dtype=np.int16), keys),
        place_key=keys,
        block_key=grid.block_keys(rows, cols),
        block_row=(rows % BLOCK).astype(np.int16),
        block_col=(cols % BLOCK).astype(np.int16),
        lat_deg=cell_lat,
        lon_deg=cell_lon,
        gsd_m=np.full(n, gsd_m),
        off_nadir_deg=np.repeat(20.0 * uniform_at(seed, "sample/roll", np.arange(blocks)), BLOCK**2),
        sun_elevation_deg=elevation,
        area=np.repeat(np.arange(blocks, dtype=np.int32), BLOCK**2),
        areas=tuple(f"sample-{k:05d}" for k in range(blocks)),
        start_unix_s=_START.timestamp(),
    )
    source = Synthetic(Synthetic.Config(clear_references=True), Path("."))
    targets = Targets(prevalence={"default": prevalence}, clouds=Clouds(mean_fraction=cloud_fraction))
    camera = Camera(gsd_m=gsd_m, tile_px=tile_px, bands=BANDS, bits=bits)
    return source, plan, source.prepare(plan, schemas, targets, camera, seed)


def _points(
    blocks: int, seed: int, region: str, lat_range_deg: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middles of blocks over the land of a region, shape (blocks,) each. [deg]"""
    asked = blocks if region == "any" else 3 * blocks + 40
    while True:
        lat, lon = world_points(seed, asked, lat_range_deg, True)
        mine = [k for k in range(asked) if region in ("any", region_of(float(lat[k]), float(lon[k])))]
        if len(mine) >= blocks:
            return lat[mine[:blocks]], lon[mine[:blocks]]
        asked *= 2


def _dates(
    lat: NDArray[np.float64], lon: NDArray[np.float64], seed: int, age_days: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times of the new picture and of the reference, both in daylight, shape (n,) each. [s]"""
    block = np.arange(len(lat))
    local_h = _LOCAL_H + _LOCAL_SPREAD_H * (2.0 * uniform_at(seed, "sample/hour", block) - 1.0)
    of_day_s = np.mod(local_h - lon / 15.0, 24.0) * 3600.0
    age = np.round(age_days[0] + (age_days[1] - age_days[0]) * uniform_at(seed, "sample/age", block))
    best, best_deg = np.zeros(len(lat)), np.full(len(lat), -90.0)
    for number in range(_TRIES):
        day = np.floor(age_days[1] + 365.0 * uniform_at(seed, "sample/day", block, number))
        low = np.minimum(
            *(sun_angles(_START.timestamp() + 86400.0 * when + of_day_s, lat, lon)[0] for when in (day, day - age))
        )
        # The first date with enough light, else the brightest of all that were tried.
        better = (best_deg < _MIN_SUN_DEG) & (low > best_deg)
        best, best_deg = np.where(better, day, best), np.where(better, low, best_deg)
    return 86400.0 * best + of_day_s, 86400.0 * (best - age) + of_day_s


def sample_pairs(
    count: int, seed: int, *, region: str = "any", kind: str | None = None, tile_px: int = 128, gsd_m: float = 10.0
) -> Iterator[tuple[TilePair, TruthTable, int]]:
    """Pairs with their truth table and row: half quiet, half with an event, schemas in turn.

    Parameters
    ----------
    kind
        A schema id: then all pairs show an event of it. "quiet": none shows any.

    Raises
    ------
    InputError
        The region or the kind is unknown.
    """
    if kind is not None and kind not in (*SCHEMA_IDS, "quiet"):
        raise InputError(f"kind is '{kind}'; allowed are quiet, {', '.join(SCHEMA_IDS)}.")
    given, block_count, round_ = 0, max(24, count // 6), 0
    while given < count:
        source, _, truth = sample_world(block_count, seed + 7919 * round_, region=region, tile_px=tile_px, gsd_m=gsd_m)
        rows = _balanced(truth, kind, count - given, seed + round_)
        for row in rows:
            yield source.pair(row), truth, row
        given, round_ = given + len(rows), round_ + 1


def _balanced(truth: TruthTable, kind: str | None, wanted: int, seed: int) -> list[int]:
    """Visible rows: quiet ones and ones with an event of each schema in turn, in a keyed order."""
    n = len(truth.changed)
    order = np.argsort(uniform_at(seed, "sample/order", np.arange(n)), kind="stable")
    order = order[truth.visible[order]]
    positive = truth.changed & truth.labelled
    quiet = [int(k) for k in order if not positive[k].any() and truth.labelled[k].all()]
    lanes = [[int(k) for k in order if positive[k, j]] for j in range(len(truth.schemas))]
    if kind == "quiet":
        return quiet[:wanted]
    if kind is not None:
        return lanes[truth.schemas.index(kind)][:wanted]
    taken: list[int] = []
    seen: set[int] = set()
    while len(taken) < wanted and any(lanes):
        for lane in lanes:
            for source in (lane, quiet):
                while source and source[0] in seen:
                    source.pop(0)
                if source and len(taken) < wanted:
                    seen.add(source[0])
                    taken.append(source.pop(0))
    return taken
