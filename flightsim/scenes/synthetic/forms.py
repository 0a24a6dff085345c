"""Forms of the events of nature: water, ice, lava, fire, drought, dieback.

A form looks at the land once and gives a function of time to codes. Each pixel has a fixed *arrival*, the stage at
which the event reaches it, so an event grows and recedes over the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .events import Event, Kind
from .ground import Biome, Codes, Land, Plane
from .noise import fractal, sample
from .states import FLOATING, FUEL, GLACIER, ICE, OPEN_PLANTS, TREES, WATER, State

Form = Callable[[float], Codes]
#: Arrival of pixels that an event never reaches.
NEVER = np.float32(9.0)


@dataclass(frozen=True)
class Frame:
    """A window seen from an event: ``along`` its angle and ``across`` it, in pixels from its middle."""

    event: Event
    land: Land
    gsd_m: float

    @cached_property
    def _offsets(self) -> tuple[Plane, Plane]:
        window, event = self.land.window, self.event
        down = window.top + window.step * np.arange(window.rows, dtype=np.float32) - np.float32(event.row_px)
        east = window.left + window.step * np.arange(window.cols, dtype=np.float32) - np.float32(event.col_px)
        return down[:, None], east[None, :]

    @cached_property
    def along(self) -> Plane:
        """Distance along the angle. [radius]"""
        down, east = self._offsets
        turn = self.event.angle_rad
        scale = 1.0 / self.event.radius_px
        return np.asarray(east * np.float32(np.cos(turn) * scale) + down * np.float32(np.sin(turn) * scale))

    @cached_property
    def across(self) -> Plane:
        """Distance across the angle. [radius]"""
        down, east = self._offsets
        turn = self.event.angle_rad
        scale = 1.0 / self.event.radius_px
        return np.asarray(down * np.float32(np.cos(turn) * scale) - east * np.float32(np.sin(turn) * scale))

    @cached_property
    def distance(self) -> Plane:
        """Distance from the middle. [radius]"""
        return np.asarray(np.hypot(self.along, self.across))

    def px(self, length_m: float, least_px: float = 1.0) -> float:
        """A length on the ground in pixels, not below ``least_px``. [px]"""
        return max(length_m / self.gsd_m, least_px)

    @cached_property
    def reach(self) -> Plane:
        """Distance from the middle, warped so that no event is a disc. [radius]"""
        return np.asarray(self.distance * (1 + 0.16 * self.noise(90) + 0.03 * self.noise(91, fine=True)) * 1.12)

    def noise(self, number: int, fine: bool = False) -> Plane:
        """Fractal texture of about unit deviation within +-2, of the event and the place. [-]

        Forms some 20 to 1 pixels across where ``fine``, else some 100 to 4.
        """
        field = fractal("event-fine", 2.0, 40.0) if fine else fractal("event", 2.7, 160.0, 5.0)
        offset = (1024.0 * self.event.draw("noise-row", number), 1024.0 * self.event.draw("noise-col", number))
        return np.clip(sample(field, self.land.window, offset), np.float32(-2), np.float32(2))

    def patches(self, number: int) -> Plane:
        """The same as a rank: uniform from 0 to 1 over the plane. [-]"""
        # Logistic stand-in for the normal distribution function, within 0.01 of it.
        return np.asarray(1.0 / (1.0 + np.exp(np.float32(-1.702) * self.noise(number))), dtype=np.float32)

    def arrival(self, plane: NDArray[np.floating], host: NDArray[np.bool_]) -> Plane:
        """Arrival within the host, not before 0.03, never outside or beyond 1. [-]"""
        reached = np.where(host & (plane <= 1), np.maximum(plane, np.float32(0.03)), NEVER)
        return np.asarray(reached, dtype=np.float32)


def _blank(frame: Frame) -> Codes:
    return np.zeros(frame.land.window.shape, dtype=np.uint8)


# -------------------------------------------------------------------- water


def _lowland(frame: Frame, level_m: float) -> Plane:
    """Stage at which rising water reaches dry ground; its level falls off to the event's rim. [-]"""
    land = frame.land
    dry = ~(WATER[land.cover] | ICE[land.cover]) & (land.above_water_m >= 0)
    level = np.float32(level_m) * (1 - frame.reach**2)
    ripple = 0.12 * frame.noise(1) + 0.04 * frame.noise(2, fine=True) + 0.1
    height = np.maximum(land.above_water_m + np.float32(level_m) * ripple, 0.02)
    with np.errstate(divide="ignore", invalid="ignore"):
        stage = np.where(level > 0.05, height / level, NEVER)
    # Walls of water do not stand: what lies above the crest stays dry, whatever the texture says.
    return frame.arrival(stage, dry & (land.above_water_m < level))


def flood(frame: Frame) -> Form:
    """Muddy water over low ground beside water; the water itself turns muddy, and silt stays where it recedes."""
    event, land = frame.event, frame.land
    arrival = _lowland(frame, flood_crest_m(event))
    water = WATER[land.cover] & (frame.distance < 1)
    muddy = frame.reach + 0.10 * frame.noise(3)

    def at(time_s: float) -> Codes:
        stage = event.stage(time_s)
        codes = _blank(frame)
        codes[water & (muddy < 0.95 * stage)] = State.FLOOD_PLUME
        codes[water & (muddy < 0.70 * stage)] = State.FLOOD_RIVER
        if event.receding(time_s):
            codes[arrival <= 1] = State.FLOOD_SILT
        codes[arrival <= stage] = State.FLOOD_SHALLOW
        codes[arrival <= 0.6 * stage] = State.FLOOD_MUDDY
        return codes

    return at


def flood_crest_m(event: Event) -> float:
    """Height of the crest over the usual level at the middle of a flood: 2 to 6. [m] Engineering value."""
    return 2.0 + 4.0 * event.draw("crest")


def pond_dry(frame: Frame) -> Form:
    """Shallow water gone from the shore inwards: mud, then cracked ground."""
    event, land = frame.event, frame.land
    depth = np.maximum(-land.above_water_m, 0.0)
    deepest = 1.0 + 4.0 * event.draw("depth") ** 2
    stage = depth / np.float32(deepest) + 0.85 * frame.reach**4 + 0.06 * frame.noise(1)
    arrival = frame.arrival(np.where(frame.distance < 1, stage, NEVER), WATER[land.cover])
    dries = frame.patches(2)

    def at(time_s: float) -> Codes:
        since = event.stage(time_s) - arrival
        codes = _blank(frame)
        codes[since >= 0] = State.POND_MUD
        codes[since > 0.15 + 0.5 * dries] = State.POND_CRACKED
        return codes

    return at


def pond_fill(frame: Frame) -> Form:
    """Clear water over low ground, marsh along its rim."""
    event = frame.event
    arrival = _lowland(frame, 3.0 + 4.0 * event.draw("crest"))

    def at(time_s: float) -> Codes:
        stage = event.stage(time_s)
        codes = _blank(frame)
        # Marsh that lies there already does not show as new; its rim floods at once.
        codes[arrival <= stage] = State.FILL_MARSH
        codes[arrival <= 0.8 * stage] = State.FILL_WATER
        return codes

    return at


# -------------------------------------------------------------------- ice


def glacier_retreat(frame: Frame) -> Form:
    """Ice gone along the flow, deepest in the middle of the tongue; water or till behind."""
    event, land = frame.event, frame.land
    length = 1.1 - np.minimum(frame.across**2, 1.2)  # a bay, not a straight cut
    stage = (frame.along + 0.4 + 0.10 * frame.noise(1)) / np.maximum(0.4 + length, 0.05)
    inside = GLACIER[land.cover] & (length > 0) & (frame.along > -1.2)
    arrival = frame.arrival(stage, inside)
    # A tongue that ends in a fjord leaves water; one in the mountains mostly till.
    wet = land.above_water_m < (12.0 if land.biome is Biome.POLAR else 2.0)

    def at(time_s: float) -> Codes:
        codes = _blank(frame)
        gone = arrival <= event.stage(time_s)
        codes[gone] = State.GLACIER_TILL
        codes[gone & wet] = State.GLACIER_WATER
        return codes

    return at


def ice_breakup(frame: Frame) -> Form:
    """Leads open between floes, and the floes melt."""
    event = frame.event
    # Ridges of the texture are cracks: they open first.
    cracks = np.minimum(np.abs(frame.noise(1)), np.abs(frame.noise(2, fine=True) + 0.3)) / 1.2
    stage = 0.1 + 0.75 * cracks + 0.5 * frame.reach**3
    inside = FLOATING[frame.land.cover] & (frame.distance < 1.2)
    arrival = frame.arrival(stage, inside)

    def at(time_s: float) -> Codes:
        return np.where(arrival <= event.stage(time_s), np.uint8(State.BREAKUP_WATER), np.uint8(0))

    return at


def ice_formation(frame: Frame) -> Form:
    """Young ice over open water, from the shore and in patches."""
    event, land = frame.event, frame.land
    depth = np.maximum(-land.above_water_m, 0.0)
    stage = 0.1 + 0.35 * frame.patches(1) + 0.25 * np.minimum(depth / 6.0, 1.0) + 0.5 * frame.reach**3
    arrival = frame.arrival(stage + 0.1 * frame.noise(2, fine=True), WATER[land.cover] & (frame.distance < 1.2))

    def at(time_s: float) -> Codes:
        return np.where(arrival <= event.stage(time_s), np.uint8(State.NEW_ICE), np.uint8(0))

    return at


# -------------------------------------------------------------------- heat


def lava(frame: Frame) -> Form:
    """Lobes that creep down the slope with a hot front and channel, and crust over behind."""
    event, land = frame.event, frame.land
    bend = 6.28 * event.draw("bend")
    along, host = frame.along, ~(WATER[land.cover] | ICE[land.cover])
    axis = 0.16 * np.sin(2.6 * along + np.float32(bend)) * np.clip(along, 0, 1) + 0.10 * frame.noise(1)
    aside = frame.across - axis
    # A second lobe leaves the first halfway.
    fork = aside - (0.5 if event.draw("fork") < 0.5 else -0.5) * np.maximum(along - 0.5, 0)
    off = np.minimum(np.abs(aside), np.abs(fork))
    width = (0.10 + 0.10 * np.clip(along + 0.1, 0, 1.6)) * (1 + 0.35 * frame.noise(2, fine=True))
    stage = (along + 0.12) / 1.75 + 0.25 * (off / np.maximum(width, 0.02)) ** 2 * 0.4
    arrival = frame.arrival(stage, host & (off < width) & (along > -0.12))
    channel = off < 0.22 * width
    cracks = frame.noise(3, fine=True) > 1.1

    def at(time_s: float) -> Codes:
        since, active = event.stage(time_s) - arrival, event.activity(time_s)
        codes = _blank(frame)
        flow = since >= 0
        codes[flow] = State.LAVA_CRUST
        if active > 0.05:
            codes[flow & (cracks | (since < 0.15)) & (since < 0.1 + 0.7 * active)] = State.LAVA_CRACKED
            codes[flow & channel & (since < active)] = State.LAVA_CHANNEL
            codes[flow & (since < 0.06 * active)] = State.LAVA_FRONT
        return codes

    return at


def _burn(frame: Frame) -> tuple[Plane, Codes]:
    """Arrival of a fire that runs downwind, and how severely it burns each pixel."""
    cover = frame.land.cover
    ragged = frame.noise(1) + 0.5 * frame.noise(2, fine=True)
    outline = np.hypot((frame.along - 0.15) / 1.2, frame.across / 0.85) + 0.17 * ragged
    islands = frame.noise(3, fine=True) - 0.25 * frame.noise(1) > 1.25
    run = np.hypot((frame.along + 0.75) / 2.1, 0.55 * frame.across) + 0.05 * ragged
    arrival = frame.arrival(0.06 + 0.9 * run, FUEL[cover] & (outline < 1) & ~islands)
    fierce = frame.patches(4) + 0.25 * TREES[cover] - 0.25 * np.maximum(outline - 0.5, 0)
    severity = np.full(cover.shape, State.BURN_LIGHT, dtype=np.uint8)
    severity[fierce > 0.22] = State.BURN_MODERATE
    severity[fierce > 0.45] = State.BURN_SEVERE
    return arrival, severity


def wildfire(frame: Frame) -> Form:
    """A burning front with embers behind it, and the scar that stays."""
    event = frame.event
    arrival, severity = _burn(frame)
    embers = frame.noise(5, fine=True) > 0.9
    narrow = np.float32(min(0.12, 2.5 / event.radius_px))

    def at(time_s: float) -> Codes:
        since, active = event.stage(time_s) - arrival, event.activity(time_s)
        codes = np.where(since >= 0, severity, np.uint8(0))
        if active > 0.05:
            codes[embers & (since >= 0) & (since < 0.45 * active)] = State.FIRE_EMBERS
            codes[(since >= 0) & (since < narrow * active)] = State.FIRE_FRONT
        return np.asarray(codes)

    return at


def burn_scar(frame: Frame) -> Form:
    """A scar that is never seen to glow."""
    event = frame.event
    arrival, severity = _burn(frame)

    def at(time_s: float) -> Codes:
        return np.where(arrival <= event.stage(time_s), severity, np.uint8(0))

    return at


# -------------------------------------------------------------------- plants


def _by_damage(since: Plane, states: tuple[State, State, State]) -> Codes:
    """Light, moderate and severe damage by the stage since arrival. [-]"""
    codes = np.where(since >= 0, np.uint8(states[0]), np.uint8(0))
    codes[since > 0.08] = states[1]
    codes[since > 0.25] = states[2]
    return np.asarray(codes)


def dieback(frame: Frame) -> Form:
    """Trees that fade in patches: pests, storm, salt."""
    event = frame.event
    outline = frame.distance + 0.22 * frame.noise(1)
    stage = 0.03 + 0.5 * frame.patches(2) + 0.2 * outline + 0.06 * frame.noise(3, fine=True)
    arrival = frame.arrival(stage, TREES[frame.land.cover] & (outline < 1) & (frame.distance < 1.5))

    def at(time_s: float) -> Codes:
        states = (State.DIEBACK_LIGHT, State.DIEBACK_MODERATE, State.DIEBACK_SEVERE)
        return _by_damage(event.stage(time_s) - arrival, states)

    return at


def drought(frame: Frame) -> Form:
    """Grass and shrubs that fade around dry ground, pasture by pasture.

    Crops are left out: a field that browns was harvested, for all that a picture tells.
    """
    event, land = frame.event, frame.land
    outline = frame.distance + 0.22 * frame.noise(1)
    # Fields differ in soil and crop; a multiplicative hash of their number is as good as any draw.
    field = ((land.parcel.astype(np.uint32) * np.uint32(2654435761)) >> np.uint32(8)).astype(np.float32) / 2**24
    tolerance = np.where(land.parcel > 0, field, frame.patches(2))
    stage = 0.05 + 0.45 * tolerance + 0.3 * outline + 0.05 * frame.noise(3, fine=True)
    arrival = frame.arrival(stage, OPEN_PLANTS[land.cover] & (outline < 1) & (frame.distance < 1.5))

    def at(time_s: float) -> Codes:
        states = (State.DROUGHT_LIGHT, State.DROUGHT_MODERATE, State.DROUGHT_SEVERE)
        return _by_damage(event.stage(time_s) - arrival, states)

    return at


FORMS: dict[Kind, Callable[[Frame], Form]] = {
    Kind.FLOOD: flood,
    Kind.POND_DRY: pond_dry,
    Kind.POND_FILL: pond_fill,
    Kind.GLACIER_RETREAT: glacier_retreat,
    Kind.ICE_BREAKUP: ice_breakup,
    Kind.ICE_FORMATION: ice_formation,
    Kind.LAVA: lava,
    Kind.WILDFIRE: wildfire,
    Kind.BURN_SCAR: burn_scar,
    Kind.DIEBACK: dieback,
    Kind.DROUGHT: drought,
}
