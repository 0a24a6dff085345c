"""What can happen to a place: the kinds of events, which questions each one answers, and one event in time and space.

A lasting event stays once it has grown: a scar, a quarter, a pit. A passing one recedes and leaves the place as it
was: a flood, a drought, a frozen lake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from ... import rng

DAY_S = 86400.0


class Kind(StrEnum):
    """Mechanism of an event."""

    FLOOD = "flood"
    POND_DRY = "pond_dry"
    POND_FILL = "pond_fill"
    GLACIER_RETREAT = "glacier_retreat"
    ICE_BREAKUP = "ice_breakup"
    ICE_FORMATION = "ice_formation"
    LAVA = "lava"
    WILDFIRE = "wildfire"
    GAS_FLARE = "gas_flare"
    BURN_SCAR = "burn_scar"
    DIEBACK = "dieback"
    DROUGHT = "drought"
    FOREST_CLEARING = "forest_clearing"
    TOWN_GROWTH = "town_growth"
    CONSTRUCTION_SITE = "construction_site"
    MINING_PIT = "mining_pit"


@dataclass(frozen=True, slots=True)
class Spec:
    """How a kind behaves, and which questions it answers.

    ``event_of`` are the schemas of which it is an event. A schema in ``ambiguous`` may fit as well: one pair of
    pictures does not decide, so that question about that tile carries no label; it is not a negative.
    ``owner`` is the schema whose stated prevalence the kind's rate serves.
    """

    owner: str
    event_of: frozenset[str]
    ambiguous: frozenset[str]
    growth_days: float  # median time from onset to full size
    duration_days: float  # median time from onset to the end; inf: lasting
    radius_m: float  # median
    radius_spread: float  # deviation of the logarithm [-]
    reach: float  # radii from the centre that it can touch at most [-]


def _kind(
    event_of: str,
    ambiguous: str,
    growth_days: float,
    duration_days: float,
    radius_m: float,
    spread: float,
    reach: float,
) -> Spec:
    schemas = event_of.split()
    return Spec(
        schemas[0],
        frozenset(schemas),
        frozenset(ambiguous.split()),
        growth_days,
        duration_days,
        radius_m,
        spread,
        reach,
    )


#: Times and sizes are engineering values of the right order, the slow kinds shortened so that they show within the
#: weeks between two pictures; a line says why a schema is ambiguous.
KINDS: Mapping[Kind, Spec] = {
    # One pair does not tell a flood from a filling wetland, nor whether plants under water are damaged.
    Kind.FLOOD: _kind("flood_extent", "wetland_change vegetation_stress", 2.0, 12.0, 650.0, 0.35, 1.0),
    # Water that goes may be the end of a flood that the reference picture shows.
    Kind.POND_DRY: _kind("wetland_change", "flood_extent", 14.0, inf, 560.0, 0.35, 1.0),
    # The same as for a flood, the other way round.
    Kind.POND_FILL: _kind("wetland_change", "flood_extent vegetation_stress", 10.0, 90.0, 520.0, 0.35, 1.0),
    # A lake that the ice leaves behind is standing water that has grown, and dry ground it is not before.
    Kind.GLACIER_RETREAT: _kind("ice_extent", "wetland_change flood_extent", 8.0, inf, 520.0, 0.3, 1.6),
    # Water under ice is water all the same: the extent of the lake does not change.
    Kind.ICE_BREAKUP: _kind("ice_extent", "", 4.0, 40.0, 700.0, 0.3, 1.2),
    Kind.ICE_FORMATION: _kind("ice_extent", "", 4.0, 40.0, 600.0, 0.3, 1.2),
    # Lava over plants: vegetation is lost, though not by fire, drought, pest or felling.
    Kind.LAVA: _kind("thermal_hotspot", "vegetation_stress", 8.0, inf, 600.0, 0.35, 1.8),
    # Plants are damaged where the front stands and behind it.
    Kind.WILDFIRE: _kind("thermal_hotspot vegetation_stress", "", 9.0, inf, 560.0, 0.4, 1.5),
    # The pad around the stacks is freshly disturbed ground, and vegetation lost; both are small beside the flame.
    Kind.GAS_FLARE: _kind("thermal_hotspot", "construction_progress vegetation_stress", 1.0, 60.0, 170.0, 0.2, 1.1),
    # A fire that is over within a day, so that it is never seen to glow.
    Kind.BURN_SCAR: _kind("vegetation_stress", "", 1.0, inf, 420.0, 0.4, 1.5),
    Kind.DIEBACK: _kind("vegetation_stress", "", 18.0, inf, 420.0, 0.35, 1.5),
    Kind.DROUGHT: _kind("vegetation_stress", "", 14.0, 80.0, 480.0, 0.35, 1.5),
    # "Bare, bright, vegetation removed" is what construction_progress asks for too.
    Kind.FOREST_CLEARING: _kind("vegetation_stress", "construction_progress", 14.0, inf, 420.0, 0.35, 1.5),
    # New structures stand within months, so it may be construction; what grew there is gone.
    Kind.TOWN_GROWTH: _kind("urban_delta", "construction_progress vegetation_stress", 30.0, inf, 360.0, 0.3, 1.3),
    # Pads and halls have the spectrum of a town; plants are cleared from the site.
    Kind.CONSTRUCTION_SITE: _kind(
        "construction_progress", "urban_delta vegetation_stress", 24.0, inf, 300.0, 0.35, 1.2
    ),
    # Its ponds are new standing water.
    Kind.MINING_PIT: _kind(
        "construction_progress", "vegetation_stress wetland_change flood_extent", 30.0, inf, 400.0, 0.4, 1.4
    ),
}

#: Time in which a passing event recedes, in units of its growth time (water drains more slowly than it comes). [-]
_RECEDE = 1.5


def _smooth(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)


@dataclass(frozen=True, slots=True)
class Event:
    """One event. The place is its middle in pixels of the block; ``angle_rad`` turns from east to south.

    ``end_s`` is inf for what lasts. ``key`` feeds all keyed draws of its form.
    """

    kind: Kind
    block_key: int
    key: int
    onset_s: float
    growth_s: float
    end_s: float
    row_px: float
    col_px: float
    radius_px: float
    angle_rad: float

    @property
    def spec(self) -> Spec:
        """What holds for all events of the kind."""
        return KINDS[self.kind]

    @property
    def reach_px(self) -> float:
        """Farthest pixel from the middle that the event can touch. [px]"""
        return self.spec.reach * self.radius_px

    @property
    def recede_s(self) -> float:
        """Time from full size back to nothing; 0 for what lasts. [s]"""
        if self.end_s == inf:
            return 0.0
        return min(_RECEDE * self.growth_s, max(self.end_s - self.onset_s - self.growth_s, 0.0))

    def stage(self, time_s: float) -> float:
        """How far it has grown: 0 before the onset and after the end, 1 at full size. [-]"""
        if not self.onset_s < time_s < self.end_s:
            return 0.0
        grown = _smooth((time_s - self.onset_s) / self.growth_s)
        if self.end_s == inf or self.recede_s == 0.0:
            return grown
        return min(grown, _smooth((self.end_s - time_s) / self.recede_s))

    def receding(self, time_s: float) -> bool:
        """Whether a passing event is past its full size."""
        return self.end_s - self.recede_s < time_s < self.end_s

    def activity(self, time_s: float) -> float:
        """How active a lasting event still is: 1 while it grows, then falling to 0 over another growth time. [-]"""
        if time_s <= self.onset_s:
            return 0.0
        return 1.0 - _smooth((time_s - self.onset_s - self.growth_s) / self.growth_s)

    def draw(self, name: str, number: int = 0) -> float:
        """Uniform number in [0, 1) that belongs to the event. [-]"""
        return float(rng.uniform_at(0, f"synthetic/event/{name}", self.key, number))
