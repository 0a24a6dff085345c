"""What happened to a place between two dates, exactly: masks, labels and the fields of each schema.

Truth is for training, for the ground's report and for scoring; it never reaches a payload or a policy. Cloud does not
enter: what it hides has happened all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...domain import SCHEMA_IDS, Plan
from .events import Event, Kind
from .ground import Block, Codes, Land, Window
from .painting import Scene, touches
from .states import BUILT, COVER, HEAT, ICE, INSTEAD, KEEPS, LEVELS, PLANTS, WATER, State

Mask = NDArray[np.bool_]

#: Thresholds of a schema relative to the stated shares. A few glowing pixels decide on a hot spot (the `spectral` rule
#: asks for 4 of 16384, HOTMAP for one), while the other questions are about areas.
_SCALE: Mapping[str, float] = {"thermal_hotspot": 0.1}


@dataclass(frozen=True)
class Change:
    """What differs between two dates, arrays of shape (rows, columns) or (schemas, rows, columns).

    ``level`` is the later less the earlier answer of each pixel to each question, its sign the direction.
    """

    events: tuple[Event, ...]  # those that can touch the window
    before_s: float
    after_s: float
    before: Codes
    after: Codes
    changed: Mask  # (schemas, rows, columns) in the order of SCHEMA_IDS
    unclear: Mask  # (schemas, rows, columns): may fit the schema as well
    level: NDArray[np.int8]

    @property
    def masks(self) -> dict[str, Mask]:
        """Changed pixels of each schema."""
        return dict(zip(SCHEMA_IDS, self.changed, strict=True))

    @property
    def ambiguous(self) -> dict[str, Mask]:
        """Pixels of each schema that may or may not be a change of it."""
        return dict(zip(SCHEMA_IDS, self.unclear, strict=True))

    def direction(self, schema_id: str) -> str | None:
        """ "increase" or "decrease", whichever covers more of the change; None without one."""
        k = SCHEMA_IDS.index(schema_id)
        level = self.level[k][self.changed[k]]
        if not len(level):
            return None
        return "increase" if np.count_nonzero(level > 0) >= np.count_nonzero(level < 0) else "decrease"


def change(events: Sequence[Event], land: Land, block: Block, before_s: float, after_s: float) -> Change:
    """What the events of a block changed in a window between two instants; a recovery is a change too."""
    near = tuple(event for event in events if touches(event, land.window))
    scene = Scene(near, land, block)
    return _compare(near, land, before_s, after_s, scene.codes(before_s), scene.codes(after_s))


def _compare(
    events: tuple[Event, ...], land: Land, before_s: float, after_s: float, before: Codes, after: Codes
) -> Change:
    # Few of the possible pairs of codes occur: they are looked up once each, then spread over the pixels.
    pairs = (PLANTS[land.cover].astype(np.int16) << 12) | (before.astype(np.int16) << 6) | after
    pairs[before == after] = 0
    present = np.flatnonzero(np.bincount(pairs.ravel(), minlength=1 << 13))
    number = np.zeros(1 << 13, dtype=np.int16)
    number[present] = np.arange(len(present))
    planted, first_code, second_code = present >> 12, (present >> 6) & 63, present & 63
    first, second = LEVELS[planted, :, first_code].T, LEVELS[planted, :, second_code].T
    step = second - first
    perhaps = (np.abs(first) == 1) | (np.abs(second) == 1)
    which = number[pairs]
    changed, unclear, level = (
        np.take(table, which, axis=1) for table in ((step != 0) & ~perhaps, (step != 0) & perhaps, step)
    )
    return Change(events, before_s, after_s, before, after, changed, unclear, level)


def labels(
    change: Change, schemas: Sequence[str], positive_fraction: float = 0.01, negative_fraction: float = 0.002
) -> tuple[Mask, Mask]:
    """Whether each question is positive, and whether it has a label at all, both of shape (schemas,).

    Positive from ``positive_fraction`` of the tile on; negative where changed and ambiguous pixels together make up
    ``negative_fraction`` at most; unlabelled in between. Hot spots count from a tenth of these shares.
    """
    size = change.before.size
    rows = [SCHEMA_IDS.index(schema) for schema in schemas]
    sure = change.changed[rows].reshape(len(rows), -1).sum(axis=1) / size
    perhaps = change.unclear[rows].reshape(len(rows), -1).sum(axis=1) / size
    scale = np.array([_SCALE.get(schema, 1.0) for schema in schemas])
    positive = sure >= positive_fraction * scale
    negative = sure + perhaps <= negative_fraction * scale
    return positive, positive | negative


# -------------------------------------------------------------------- fields


_CELLS = (("north_west", "north", "north_east"), ("west", "centre", "east"), ("south_west", "south", "south_east"))


def box(mask: Mask) -> tuple[float, float, float, float]:
    """Smallest box around a mask: left, top, right, bottom as fractions of the picture. [-]"""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    high, wide = mask.shape
    ends = (cols[0] / wide, rows[0] / high, (cols[-1] + 1) / wide, (rows[-1] + 1) / high)
    left, top, right, bottom = (round(float(end), 4) for end in ends)
    return left, top, right, bottom


def where(mask: Mask) -> str:
    """Cell of a 3 x 3 grid in which the middle of a mask lies."""
    rows, cols = np.nonzero(mask)
    high, wide = mask.shape
    return _CELLS[min(int(3 * (rows.mean() + 0.5) / high), 2)][min(int(3 * (cols.mean() + 0.5) / wide), 2)]


def covers(land: Land, codes: Codes) -> Codes:
    """Cover of each pixel at its usual state as the events have left it."""
    drawn = np.where(land.cover == COVER[codes], INSTEAD[codes], COVER[codes])
    return np.asarray(np.where(KEEPS[codes], land.cover, drawn), dtype=np.uint8)


def fields(schema_id: str, change: Change, land: Land, gsd_m: float) -> dict[str, Any] | None:
    """The true fields of a schema's verdict, in the order of its file; None where nothing of it changed.

    What needs spectra (``ndvi_change``, ``dnbr``, ``greenness_change``, ``brightness_change``) is left out: those
    are measurements of a picture, not of the ground. Shares of water, ice and built-up ground are those of the land
    at its usual state with the events on it.
    """
    mask = change.masks[schema_id]
    direction = change.direction(schema_id)
    if direction is None:
        return None
    count = int(np.count_nonzero(mask))
    share = count / mask.size
    body: dict[str, Any] = {
        "direction": direction,
        "severity": severity(schema_id, share, count),
        "fraction_of_tile": round(share, 4),
    }
    if gsd_m > 0:
        body["changed_area_ha"] = round(count * (gsd_m * land.window.step) ** 2 / 1e4, 2)
    body["where"] = where(mask)
    body["box"] = list(box(mask))
    body.update(_EXTRA[schema_id](change, land))
    return body


def severity(schema_id: str, share: float, count: int) -> str:
    """Severity by size, with the limits that the `spectral` rules state (engineering values)."""
    if schema_id == "thermal_hotspot":
        return "low" if count < 25 else "moderate" if count < 100 else "severe"
    return "low" if share < 0.05 else "moderate" if share < 0.2 else "severe"


def _shares(name: str, members: NDArray[np.bool_]) -> Callable[[Change, Land], dict[str, Any]]:
    """Share of a group of covers before and after. [-]"""

    def give(change: Change, land: Land) -> dict[str, Any]:
        shares = [round(float(members[covers(land, codes)].mean()), 4) for codes in (change.before, change.after)]
        return {f"{name}_fraction_before": shares[0], f"{name}_fraction_after": shares[1]}

    return give


def _ice(change: Change, land: Land) -> dict[str, Any]:
    body = _shares("ice", ICE)(change, land)
    fronts = [event for event in change.events if event.kind is Kind.GLACIER_RETREAT]
    if len(fronts) == 1:
        # Along the middle of the tongue the front runs over 1.5 radii from stage 0 to 1 (forms.glacier_retreat).
        (front,) = fronts
        moved = 1.5 * front.radius_px * (front.stage(change.after_s) - front.stage(change.before_s))
        if moved:
            body["front_retreat_px"] = round(min(moved / land.window.step, 4096.0), 1)
    return body


def _heat(change: Change, land: Land) -> dict[str, Any]:
    after, before = (int(np.count_nonzero(HEAT[codes] > 0)) for codes in (change.after, change.before))
    return {"hot_pixels": after, "hot_pixels_before": before}


_BURNS = np.isin(np.arange(256), [s for s in State if s.name.startswith(("BURN", "FIRE"))])
_STRUCTURES = np.isin(np.arange(256), [State.SITE_PAD, State.SITE_ROOF])


def _burned(change: Change, land: Land) -> dict[str, Any]:
    codes = change.after[change.masks["vegetation_stress"]]
    return {"burned": bool(np.count_nonzero(_BURNS[codes]) * 2 > len(codes))}


def _kind(change: Change, land: Land) -> dict[str, Any]:
    codes = change.after[change.masks["construction_progress"]]
    built = np.count_nonzero(_STRUCTURES[codes]) * 2 > len(codes)
    return {"kind": "structures" if built else "bare_ground"}


_EXTRA: Mapping[str, Callable[[Change, Land], dict[str, Any]]] = {
    "construction_progress": _kind,
    "flood_extent": _shares("water", WATER),
    "ice_extent": _ice,
    "thermal_hotspot": _heat,
    "urban_delta": _shares("built", BUILT),
    "vegetation_stress": _burned,
    "wetland_change": _shares("water", WATER),
}


# -------------------------------------------------------------------- a whole plan


class Ground(Protocol):
    """The land of a block, window by window."""

    def land(self, window: Window) -> Land:
        """What stays of the window over years."""
        ...


class Happenings(Protocol):
    """The blocks of a plan and what happens in them."""

    @property
    def schemas(self) -> tuple[str, ...]:
        """Questions that are asked."""
        ...

    @property
    def blocks(self) -> Sequence[Block]:
        """Blocks of the plan."""
        ...

    @property
    def block_of(self) -> NDArray[np.int64]:
        """Index of each shot's block, shape (n,)."""
        ...

    def events(self, block: int) -> tuple[Event, ...]:
        """Events of a block by its index."""
        ...


def plan_truth(
    plan: Plan,
    history: Happenings,
    ground: Callable[[int], Ground],
    positive_fraction: float = 0.01,
    negative_fraction: float = 0.002,
    before_s: NDArray[np.float64] | None = None,
) -> tuple[Mask, Mask]:
    """Whether each question of a plan is positive, and whether it has a label, both of shape (n, schemas).

    Parameters
    ----------
    plan, history
        The shots, and what happens.
    ground
        Gives the land of a block by its index.
    positive_fraction, negative_fraction
        As in ``labels``. [-]
    before_s
        Times of the reference pictures, shape (n,), where they are not the plan's. [s]

    Notes
    -----
    Masks are made only where an event within reach differs in stage between the two dates; elsewhere every answer
    is a labelled negative.
    """
    schemas = history.schemas
    before = plan.before_s if before_s is None else before_s
    changed = np.zeros((len(plan), len(schemas)), dtype=bool)
    labelled = np.ones_like(changed)
    # Place by place, so that the ground of a block and of a tile is made once for all visits.
    last: tuple[int, Window] | None = None
    land: Land | None = None
    for row in np.lexsort((plan.time_s, plan.block_col, plan.block_row, history.block_of)).tolist():
        index = int(history.block_of[row])
        block = history.blocks[index]
        window = block.tile(int(plan.block_row[row]), int(plan.block_col[row]))
        first_s, second_s = float(before[row]), float(plan.time_s[row])
        events = [event for event in history.events(index) if touches(event, window)]
        if not any(differs(event, first_s, second_s) for event in events):
            continue
        if land is None or last != (index, window):
            land, last = ground(index).land(window), (index, window)
        found = change(events, land, block, first_s, second_s)
        changed[row], labelled[row] = labels(found, schemas, positive_fraction, negative_fraction)
    return changed, labelled


def differs(event: Event, before_s: float, after_s: float) -> bool:
    """Whether an event can look otherwise at two instants."""
    if event.stage(before_s) != event.stage(after_s) or event.receding(before_s) != event.receding(after_s):
        return True
    # Only what glows changes its look once it is fully grown.
    glows = "thermal_hotspot" in event.spec.event_of
    return glows and event.stage(after_s) > 0 and event.activity(before_s) != event.activity(after_s)
