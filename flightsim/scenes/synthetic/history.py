"""What happens in the blocks of a plan, and when: Poisson in time, by biome and schema, at places that fit.

All draws are keyed by block, kind and time bin, so that nothing depends on who asks first. The world does not depend
on what is asked of it either: the events of all schemas happen, whichever of them a payload looks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil, exp, inf, log
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...domain import SCHEMA_IDS, Plan
from ...grid import BLOCK
from ...rng import hash_at, uniform_at
from ...scenario.models import Targets
from .events import DAY_S, KINDS, Event, Kind
from .ground import Biome, Block, Land, Window
from .landscape import Terrain
from .siting import WEIGHTS, Look, Sites, look_window, season, sites

#: Time bin of the Poisson draws, counted from the scenario's start. [s]
_BIN_S = 10.0 * DAY_S
#: Spread of growth time and duration: deviation of the logarithm. [-] Engineering value.
_TIME_SPREAD = 0.25
#: Largest share of a feasible place's shots that may be changed, whatever prevalence is stated. [-] Beyond it events
#: would lie on top of each other and no "before" would be quiet.
CAP = 0.35
#: Largest part of a schema's stated prevalence that the events of another schema may bring along (the scars of
#: wildfires to vegetation_stress), so that its own kinds happen too. [-] Engineering value.
_BROUGHT = 0.7
#: ``targets.event_duration`` for which passing events last as long as ``KINDS`` says. [s]
_USUAL_DURATION_S = 10.0 * DAY_S

#: What an event of a kind yields for a schema: the tiles that become positive at its full size, over the tiles that a
#: disc of its radius would meet; and the difference in stage from which on a tile is positive. [-] Measured with this
#: generator over 170 blocks anywhere on land and pairs 50, 10 and 3 days apart (ice_breakup: too few were met, a
#: guess). It holds what forms leave out, hosts that are missing, events that lie over each other and the threshold on
#: the share of a tile. tests/test_synthetic_truth.py holds stated and met prevalence together.
YIELD: Mapping[tuple[Kind, str], tuple[float, float]] = {
    (Kind.FLOOD, "flood_extent"): (0.48, 0.05),
    (Kind.POND_DRY, "wetland_change"): (0.38, 0.25),
    (Kind.POND_FILL, "wetland_change"): (0.65, 0.20),
    (Kind.GLACIER_RETREAT, "ice_extent"): (1.10, 0.35),
    (Kind.ICE_BREAKUP, "ice_extent"): (0.25, 0.10),
    (Kind.ICE_FORMATION, "ice_extent"): (0.27, 0.05),
    (Kind.LAVA, "thermal_hotspot"): (0.55, 0.15),
    (Kind.WILDFIRE, "thermal_hotspot"): (0.66, 0.20),
    (Kind.WILDFIRE, "vegetation_stress"): (0.92, 0.40),
    (Kind.GAS_FLARE, "thermal_hotspot"): (0.84, 0.15),
    (Kind.BURN_SCAR, "vegetation_stress"): (0.91, 0.50),
    (Kind.DIEBACK, "vegetation_stress"): (0.50, 0.20),
    (Kind.DROUGHT, "vegetation_stress"): (0.81, 0.20),
    (Kind.FOREST_CLEARING, "vegetation_stress"): (0.56, 0.15),
    (Kind.TOWN_GROWTH, "urban_delta"): (0.58, 0.10),
    (Kind.CONSTRUCTION_SITE, "construction_progress"): (0.65, 0.10),
    (Kind.MINING_PIT, "construction_progress"): (0.67, 0.10),
}


class Ground(Protocol):
    """The land of a block, window by window."""

    def land(self, window: Window) -> Land:
        """What stays of the window over years."""
        ...


class History:
    """The events of every block of a plan.

    Parameters
    ----------
    plan
        The shots; their times set what rate meets the stated prevalence.
    blocks, block_of
        Blocks that the plan meets, and the index of each shot's block, shape (n,).
    targets
        Stated prevalence of each schema, and how long events last.
    schemas
        Questions that are asked; the events of the others happen all the same.
    seed
        Of the scenario.
    epoch_s
        Lasting changes before it count as landscape; the oldest reference of the plan by default. [s]
    horizon_s
        Last onset; 30 days after the last shot by default, for pictures that are taken later. [s]
    ground
        Gives the land of a block.

    Notes
    -----
    The expected share of changed shots of a schema is the mean over shots of 1 - exp(-sum of rate x exposure x chance)
    over its kinds; rates of its own kinds are proportional to ``siting.WEIGHTS`` and solved by bisection. The chance
    that an event makes a given tile positive follows from where in the block it can lie and from its size. The
    exposure of a shot to a kind is the measure of the onsets whose stage differs enough (``YIELD``) between the two
    pictures. Where a kind happens within a block is drawn from a coarse look at it. The season is that of the middle
    of the plan for the whole run.
    """

    def __init__(
        self,
        plan: Plan,
        blocks: Sequence[Block],
        block_of: NDArray[np.int64],
        targets: Targets,
        schemas: Sequence[str],
        seed: int,
        epoch_s: float | None = None,
        horizon_s: float | None = None,
        ground: Callable[[Block], Ground] = Terrain,
    ) -> None:
        self.schemas = tuple(schemas)
        self.blocks = tuple(blocks)
        self.block_of = np.asarray(block_of, dtype=np.int64)
        self._seed = seed
        self._slow = targets.event_duration / _USUAL_DURATION_S
        empty = not len(plan)
        self.epoch_s = epoch_s if epoch_s is not None else 0.0 if empty else float(plan.before_s.min())
        last_s = 0.0 if empty else float(plan.time_s.max())
        self.horizon_s = horizon_s if horizon_s is not None else last_s + 30.0 * DAY_S
        self._sites = [_all_sites(block, ground) for block in self.blocks]
        middle_unix_s = plan.start_unix_s + 0.5 * (self.epoch_s + last_s)
        day_of_year = datetime.fromtimestamp(middle_unix_s, UTC).timetuple().tm_yday
        self._weights = np.zeros((len(self.blocks), len(Kind)))
        for index, (block, (biome, found)) in enumerate(zip(self.blocks, self._sites, strict=True)):
            for number, kind in enumerate(Kind):
                if kind in found:
                    part = season(kind, biome, block.lat_deg, day_of_year)
                    self._weights[index, number] = WEIGHTS[kind].get(biome, 0.0) * part
        #: Stated and expected prevalence of each schema, all of them. [-]
        self.stated: dict[str, float] = {schema: targets.prevalence_of(schema) for schema in SCHEMA_IDS}
        self.expected: dict[str, float] = {}
        self._rates = self._solve(plan)
        self._known: dict[int, tuple[Event, ...]] = {}

    @property
    def shortfall(self) -> dict[str, float]:
        """Expected prevalence of the asked schemas whose stated one cannot be reached. [-]

        Too few places can host an event of it; more than ``CAP`` of their shots would have to be changed.
        """
        return {s: self.expected[s] for s in self.schemas if self.expected[s] < 0.98 * self.stated[s]}

    @property
    def surplus(self) -> dict[str, float]:
        """Expected prevalence of the asked schemas where events of other schemas alone give more than stated. [-]"""
        return {s: self.expected[s] for s in self.schemas if self.expected[s] > 1.02 * self.stated[s]}

    def rate(self, block: int, kind: Kind) -> float:
        """Events of a kind in a block. [1/s]"""
        return float(self._rates[block, list(Kind).index(kind)])

    # ---------------------------------------------------------------- rates

    def _touch(self, kind: Kind, schema: str, plan: Plan) -> NDArray[np.float64]:
        """Chance that one event in a shot's block makes the shot's tile positive, shape (n,). [-]"""
        spec = KINDS[kind]
        chance = np.zeros((len(self.blocks), BLOCK, BLOCK))
        for index, (block, (_, found)) in enumerate(zip(self.blocks, self._sites, strict=True)):
            if kind in found:
                radius = _radius_px(spec.radius_m, block) / block.tile_px
                # Means of a lognormal and of its square; a disc meets fewer tiles than the square around it.
                mean, square = radius * exp(spec.radius_spread**2 / 2), radius**2 * exp(2 * spec.radius_spread**2)
                share = (1.0 + 4.0 * mean + np.pi * square) / (1.0 + 2.0 * mean) ** 2
                chance[index] = YIELD[kind, schema][0] * share * found[kind].near_tiles(mean)
        return chance[self.block_of, BLOCK - 1 - plan.block_row.astype(np.int64), plan.block_col]

    def _exposure_s(self, kind: Kind, schema: str, plan: Plan) -> NDArray[np.float64]:
        """Measure of the onsets that change a shot, shape (n,). [s]"""
        spec = KINDS[kind]
        growth_s, duration_s = spec.growth_days * DAY_S, spec.duration_days * DAY_S
        if duration_s < inf:
            growth_s, duration_s = growth_s * self._slow, duration_s * self._slow
        hot = schema == "thermal_hotspot" and duration_s == inf
        lasts_s = 2.0 * growth_s if hot else duration_s
        back_s = lasts_s if lasts_s < inf else 2.0 * growth_s
        steps = (np.arange(96) + 0.5) / 96
        # Onsets from where they could no longer matter to the later picture.
        first = plan.before_s - back_s
        if lasts_s == duration_s == inf or hot:
            first = np.maximum(first, self.epoch_s)
        span = np.maximum(plan.time_s - first, 0.0)
        onset = first[:, None] + span[:, None] * steps
        before, after = (
            _typical(time[:, None] - onset, growth_s, duration_s, hot) for time in (plan.before_s, plan.time_s)
        )
        seen = np.abs(after - before) >= YIELD[kind, schema][1]
        return np.asarray(seen.mean(axis=1) * span)

    def _solve(self, plan: Plan) -> NDArray[np.float64]:
        """Rate of each kind in each block, shape (blocks, kinds). [1/s]"""
        kinds = list(Kind)
        rates = np.zeros_like(self._weights)
        # Kinds that answer two questions serve their owner; the other gets what they bring and fills up.
        order = sorted(SCHEMA_IDS, key=lambda s: sum(s in KINDS[k].event_of and KINDS[k].owner != s for k in kinds))
        if not len(plan):
            self.expected = dict.fromkeys(SCHEMA_IDS, 0.0)
            return rates
        for schema in order:
            brought, free, bound, limit = np.zeros(len(plan)), np.zeros(len(plan)), np.zeros(len(plan)), inf
            for k, kind in enumerate(kinds):
                spec = KINDS[kind]
                if schema not in spec.event_of or not self._weights[:, k].any():
                    continue
                one = self._touch(kind, schema, plan) * self._exposure_s(kind, schema, plan)
                if spec.owner != schema:
                    brought += rates[self.block_of, k] * one
                elif len(spec.event_of) == 1:
                    free += self._weights[self.block_of, k] * one
                else:
                    bound += self._weights[self.block_of, k] * one
                    limit = min(limit, self._limit(k, plan))
            scale = _scale(self.stated[schema], free, bound, limit, brought)
            self.expected[schema] = float(np.mean(-np.expm1(-(scale * free + min(scale, limit) * bound + brought))))
            for k, kind in enumerate(kinds):
                if KINDS[kind].owner == schema:
                    alone = len(KINDS[kind].event_of) == 1
                    rates[:, k] = self._weights[:, k] * (scale if alone else min(scale, limit))
        return rates

    def _limit(self, k: int, plan: Plan) -> float:
        """Largest factor on a kind's weights at which it does not overfill the other schemas it answers. [1/s]"""
        kind = list(Kind)[k]
        limit = inf
        for schema in KINDS[kind].event_of - {KINDS[kind].owner}:
            one = self._weights[self.block_of, k] * self._touch(kind, schema, plan)
            one *= self._exposure_s(kind, schema, plan)
            nothing = np.zeros(len(plan))
            limit = min(limit, _scale(_BROUGHT * self.stated[schema], one, nothing, inf, nothing))
        return limit

    # ---------------------------------------------------------------- events

    def events(self, block: int) -> tuple[Event, ...]:
        """Events of a block of the plan by its index, in order of onset."""
        if block not in self._known:
            found = [event for kind in Kind for event in self._of_kind(block, kind)]
            self._known[block] = tuple(sorted(found, key=lambda event: (event.onset_s, event.key)))
        return self._known[block]

    def _of_kind(self, index: int, kind: Kind) -> list[Event]:
        rate = self.rate(index, kind)
        if rate <= 0.0:
            return []
        spec, block = KINDS[kind], self.blocks[index]
        # A passing event that began before the epoch may still be there.
        longest_s = 0.0 if spec.duration_days == inf else 3.0 * spec.duration_days * DAY_S * self._slow
        first = int(np.floor((self.epoch_s - longest_s) / _BIN_S))
        bins = np.arange(first, int(np.floor(self.horizon_s / _BIN_S)) + 1)
        name, key = f"synthetic/history/{kind}", np.uint64(block.key)
        counts = _poisson(rate * _BIN_S, uniform_at(self._seed, f"{name}/count", key, bins))
        found: list[Event] = []
        for bin_index, count in zip(bins.tolist(), counts.tolist(), strict=True):
            for number in range(count):
                event = self._event(index, kind, bin_index, number)
                oldest_s = self.epoch_s if event.end_s == inf else -inf
                if oldest_s <= event.onset_s <= self.horizon_s and event.end_s > self.epoch_s:
                    found.append(event)
        return found

    def _event(self, index: int, kind: Kind, bin_index: int, number: int) -> Event:
        block, spec = self.blocks[index], KINDS[kind]
        name = f"synthetic/history/{kind}"
        onset, place, row, col, size, angle, growth, duration = uniform_at(
            self._seed, f"{name}/draw", np.uint64(block.key), bin_index, number, np.arange(8)
        ).tolist()
        found = self._sites[index][1][kind]
        window = look_window(block)
        cell = found.draw(place)
        look_row, look_col = divmod(int(found.cells[cell]), window.cols)
        own_angle = float(found.angles_rad[cell])
        slow = 1.0 if spec.duration_days == inf else self._slow
        growth_s = spec.growth_days * DAY_S * slow * exp(_TIME_SPREAD * _normal(growth))
        onset_s = (bin_index + onset) * _BIN_S
        lasts_s = spec.duration_days * DAY_S * slow * exp(_TIME_SPREAD * _normal(duration))
        return Event(
            kind=kind,
            block_key=block.key,
            key=int(hash_at(self._seed, f"{name}/key", np.uint64(block.key), bin_index, number)),
            onset_s=onset_s,
            growth_s=growth_s,
            end_s=inf if spec.duration_days == inf else onset_s + max(lasts_s, 2.0 * growth_s),
            row_px=window.top + window.step * (look_row + row - 0.5),
            col_px=window.left + window.step * (look_col + col - 0.5),
            radius_px=_radius_px(spec.radius_m * exp(spec.radius_spread * _normal(size)), block),
            angle_rad=2.0 * np.pi * angle if np.isnan(own_angle) else own_angle + 0.6 * (angle - 0.5),
        )


def _all_sites(block: Block, ground: Callable[[Block], Ground]) -> tuple[Biome, Mapping[Kind, Sites]]:
    """Biome of a block, and where each kind can happen in it."""
    look = Look(block, ground(block).land(look_window(block)))
    return look.land.biome, {kind: place for kind in Kind if (place := sites(kind, look)) is not None}


def _radius_px(radius_m: float, block: Block) -> float:
    """A radius on the ground in pixels, within what a tile shows of it. [px]

    From 3 px, for what is smaller has no form, to 0.9 of a tile, so that an event stays within its block.
    """
    return float(np.clip(radius_m / block.gsd_m, 3.0, 0.9 * block.tile_px))


def _typical(age_s: NDArray[np.float64], growth_s: float, duration_s: float, hot: bool) -> NDArray[np.float64]:
    """Stage of an event of median times at ages, as ``Event.stage``; activity for what is hot. [-]"""

    def smooth(x: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.clip(x, 0.0, 1.0)
        return x * x * (3.0 - 2.0 * x)

    grown = smooth(age_s / growth_s)
    if hot:
        return grown * (1.0 - smooth((age_s - growth_s) / growth_s))
    if duration_s == inf:
        return grown
    recede_s = min(1.5 * growth_s, max(duration_s - growth_s, 1.0))
    return np.minimum(grown, smooth((duration_s - age_s) / recede_s))


def _scale(
    stated: float,
    free: NDArray[np.float64],
    bound: NDArray[np.float64],
    limit: float,
    brought: NDArray[np.float64],
) -> float:
    """Factor on the weights that meets a stated prevalence, or comes as near as ``CAP`` allows. [1/s]

    ``free`` and ``bound`` are exposures per factor, the latter up to ``limit``; ``brought`` is there anyway.
    """
    places = [part > 0 for part in (free, bound) if (part > 0).any()]
    if stated <= 0.0 or not places:
        return 0.0

    def short(scale: float) -> bool:
        shares = -np.expm1(-(scale * free + min(scale, limit) * bound + brought))
        return bool(shares.mean() < stated and all(shares[where].mean() < CAP for where in places))

    total = free + bound
    low, high = 0.0, 100.0 / float(total[total > 0].mean())
    if not (free > 0).any():
        high = min(high, limit)
    for _ in range(100):
        middle = 0.5 * (low + high)
        if short(middle):
            low = middle
        else:
            high = middle
    return low


def _poisson(expected: float, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Poisson numbers from uniform ones by the inverse distribution. [-]"""
    # By table, for scipy.stats would cost half a second at import.
    terms = np.arange(ceil(expected + 12.0 * expected**0.5 + 25.0))
    logs = terms * log(expected) - expected - np.concatenate([[0.0], np.cumsum(np.log(terms[1:]))])
    return np.asarray(np.searchsorted(np.cumsum(np.exp(logs)), uniform), dtype=np.int64)


def _normal(uniform: float) -> float:
    """Normal number from a uniform one, within +-2.5; a logistic stand-in for the inverse distribution. [-]"""
    clipped = min(max(uniform, 1e-3), 1.0 - 1e-3)
    return min(max(log(clipped / (1.0 - clipped)) / 1.702, -2.5), 2.5)
