"""Events drawn onto the ground: which state each pixel is in at an instant, and the surface that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .events import Event, Kind
from .forms import FORMS, Form, Frame
from .ground import Block, Codes, Land, Surface, Window
from .noise import fractal, sample
from .states import COVER, HEAT, INSTEAD, KEEPS, TURBIDITY, VIGOUR
from .works import WORKS

_ALL: dict[Kind, Callable[[Frame], Form]] = {**FORMS, **WORKS}
#: Kinds that give off smoke, and its largest optical thickness at B02. [-] A dense plume hides the ground; aerosol
#: optical depth of 2 to 5 is seen near fires (Eck et al., "Columnar aerosol optical properties at AERONET sites in
#: central eastern Asia and aerosol transport to the tropical mid-Pacific", Journal of Geophysical Research 110, 2005).
_SMOKE = {Kind.WILDFIRE: 2.2, Kind.LAVA: 1.0}
#: Length of a plume in radii of its event. [-] Engineering value.
_PLUME = 3.0


def touches(event: Event, window: Window, reach_px: float | None = None) -> bool:
    """Whether a pixel of the window can lie within reach of the event."""
    reach = event.reach_px if reach_px is None else reach_px
    bottom, right = window.top + window.rows * window.step, window.left + window.cols * window.step
    down = max(window.top - event.row_px, 0.0, event.row_px - bottom)
    east = max(window.left - event.col_px, 0.0, event.col_px - right)
    return down * down + east * east <= reach * reach


def _span(first: int, count: int, step: int, low: float, high: float) -> slice:
    """Indices of the samples of an axis between two positions."""
    start = min(max(int(np.ceil((low - first) / step)), 0), count)
    stop = min(max(int(np.floor((high - first) / step)) + 1, start), count)
    return slice(start, stop)


def crop(land: Land, rows: slice, cols: slice) -> Land:
    """A part of a land, by indices into its arrays."""
    window = land.window
    part = Window(
        window.top + rows.start * window.step,
        window.left + cols.start * window.step,
        rows.stop - rows.start,
        cols.stop - cols.start,
        window.step,
    )
    planes = ("elevation_m", "slope_east", "slope_north", "above_water_m", "cover", "parcel", "settled")
    cut = {name: getattr(land, name)[rows, cols] for name in planes}
    return replace(land, window=part, grain=land.grain[:, rows, cols], **cut)


class Scene:
    """The events of one window with their forms worked out, to be asked for any instant."""

    def __init__(self, events: Sequence[Event], land: Land, block: Block) -> None:
        """Take the events of a block and the land of a window of it; events out of reach are left aside."""
        self._shape = land.window.shape
        self._parts: list[tuple[Event, slice, slice, Form]] = []
        window = land.window
        # Later events lie over earlier ones; the key settles a tie.
        for event in sorted(events, key=lambda one: (one.onset_s, one.key)):
            if not touches(event, window):
                continue
            reach = event.reach_px
            rows = _span(window.top, window.rows, window.step, event.row_px - reach, event.row_px + reach)
            cols = _span(window.left, window.cols, window.step, event.col_px - reach, event.col_px + reach)
            if rows.start == rows.stop or cols.start == cols.stop:
                continue
            frame = Frame(event, crop(land, rows, cols), block.gsd_m)
            self._parts.append((event, rows, cols, _ALL[event.kind](frame)))

    def codes(self, time_s: float) -> Codes:
        """State of each pixel at an instant, 0 where untouched."""
        codes = np.zeros(self._shape, dtype=np.uint8)
        for event, rows, cols, form in self._parts:
            if event.stage(time_s) <= 0.0:
                continue
            own = form(time_s)
            np.copyto(codes[rows, cols], own, where=own > 0)
        return codes


def paint(events: Sequence[Event], land: Land, block: Block, time_s: float, surface: Surface) -> Codes:
    """Alter the surface in place as the events have left it at ``time_s``; gives the state of each pixel.

    Notes
    -----
    The surface changes where the state is not 0 and nowhere else, but for smoke, which drifts over untouched ground.
    """
    alive = [event for event in events if event.stage(time_s) > 0.0]
    if not alive:
        return np.zeros(land.window.shape, dtype=np.uint8)
    for event in alive:
        if event.kind in _SMOKE:
            _smoke(event, land.window, time_s, surface)
    codes = Scene(alive, land, block).codes(time_s)
    where = np.flatnonzero(codes)
    if not len(where):
        return codes
    code = codes.ravel()[where]
    here = surface.cover.ravel()[where]
    cover = np.where(KEEPS[code], here, np.where(here == COVER[code], INSTEAD[code], COVER[code]))
    surface.cover.ravel()[where] = cover
    surface.vigour.ravel()[where] *= VIGOUR[code]
    stirred = TURBIDITY[code]
    surface.turbidity.ravel()[where] = np.where(stirred >= 0, stirred, surface.turbidity.ravel()[where])
    # Flames flicker: the glowing share differs from pixel to pixel.
    flicker = np.float32(0.75) + np.float32(0.25) * np.clip(land.grain[3].ravel()[where], -1, 1)
    hot = HEAT[code] > 0
    surface.heat.ravel()[where[hot]] = (HEAT[code] * flicker)[hot]
    return codes


def _smoke(event: Event, window: Window, time_s: float, surface: Surface) -> None:
    """A plume that widens and thins downwind of what burns."""
    strength = _SMOKE[event.kind] * event.activity(time_s) * min(1.0, 3.0 * event.stage(time_s))
    radius = event.radius_px
    if strength < 0.02 or not touches(event, window, (_PLUME + 1.0) * radius):
        return
    wind = event.angle_rad if event.kind is Kind.WILDFIRE else 6.28 * event.draw("wind")
    down = (window.top + window.step * np.arange(window.rows) - event.row_px).astype(np.float32)[:, None] / radius
    east = (window.left + window.step * np.arange(window.cols) - event.col_px).astype(np.float32)[None, :] / radius
    along = np.asarray(east * np.float32(np.cos(wind)) + down * np.float32(np.sin(wind)), dtype=np.float32)
    across = np.asarray(down * np.float32(np.cos(wind)) - east * np.float32(np.sin(wind)), dtype=np.float32)
    run = np.clip(along + 0.4, 0.0, None)
    width = 0.18 + 0.28 * run
    billow = sample(fractal("event", 2.7, 160.0, 5.0), window, (1024.0 * event.draw("smoke"), 0.0))
    plume = np.exp(-((across + 0.10 * billow * run) ** 2) / (2 * width**2)) * np.clip(1.0 - run / _PLUME, 0.0, 1.0)
    plume *= np.clip(run * 4.0, 0.0, 1.0) * np.clip(0.75 + 0.45 * billow, 0.0, None)
    surface.smoke += np.float32(strength) * plume.astype(np.float32)
