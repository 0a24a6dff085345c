"""Electrical energy on board: what the array gives by sunlight and beta, and the battery that stores it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from . import light
from .orbit import Propagator

_HOUR_S = 3600.0
#: Longest stretch of sunlight with one beta. [s] About an orbit, in which beta turns by less than 0.1 deg.
_STRETCH_S = 6000.0


class Pointing(StrEnum):
    """How the solar array faces the Sun."""

    SUN = "sun"
    """Always at the Sun: a drive with two axes, or a spacecraft that turns. Factor 1."""
    AXIS = "axis"
    """A drive about the orbit's normal, on a spacecraft that looks down. Factor cos(beta)."""
    SIDE = "side"
    """Fixed on the side of a spacecraft that looks down, on the sunny side of the orbital plane. Factor sin(|beta|)."""


@dataclass(frozen=True)
class SolarInput:
    """Power of the array in consecutive stretches of time, constant in each.

    Stretch k lasts from ``edges_s[k]`` to ``edges_s[k + 1]``; there is one edge more than stretches.
    """

    edges_s: tuple[float, ...]
    power_w: tuple[float, ...]
    sunlit: tuple[bool, ...]

    def energy_wh(self, end_s: float) -> float:
        """All that the array gives between the first edge and a time. [Wh]"""
        return float(np.dot(self._lengths_s(end_s), self.power_w)) / _HOUR_S

    def eclipse_share(self, end_s: float) -> float:
        """Share of the time in eclipse between the first edge and a later time. [-]"""
        lengths_s = self._lengths_s(end_s)
        return float(lengths_s[~np.array(self.sunlit)].sum() / lengths_s.sum())

    def _lengths_s(self, end_s: float) -> NDArray[np.float64]:
        return np.diff(np.minimum(self.edges_s, end_s))


def stretches(
    eclipses: Sequence[tuple[float, float]], start_s: float, end_s: float
) -> tuple[tuple[float, ...], tuple[bool, ...]]:
    """Edges of eclipse and sunlight in a span, n + 1 of them, and whether each of the n stretches is sunlit. [s]

    Long sunlight is cut into stretches of equal length, an orbit at most, so that beta can change from one to the next.
    """
    cuts = [start_s, *(edge for span in eclipses for edge in span), end_s]
    edges, sunlit = [start_s], []
    for k, (begin, end) in enumerate(pairwise(cuts)):
        if end <= begin:
            continue
        lit = k % 2 == 0
        parts = int(np.ceil((end - begin) / _STRETCH_S)) if lit else 1
        edges.extend(np.linspace(begin, end, parts + 1)[1:].tolist())
        sunlit.extend([lit] * parts)
    return tuple(edges), tuple(sunlit)


def solar_input(propagator: Propagator, end_s: float, array_w: float, pointing: Pointing) -> SolarInput:
    """Power of the array from the scenario's start to ``end_s``.

    Parameters
    ----------
    array_w
        Power at the bus in full sunlight at normal incidence. [W]

    Notes
    -----
    Eclipse as in ``light.ShadowModel.POINT_SUN``, where half of the Sun's disc is gone: what the penumbra takes before
    that instant it gives after it. Beta is taken in the middle of each stretch. Left out: albedo, the
    Sun's distance (3.4 % over the year), temperature and ageing of the cells, shadows of the spacecraft on itself.

    References
    ----------
    J. R. Wertz, W. J. Larson (eds.), Space Mission Analysis and Design, 3rd ed., 1999, section 11.4.
    """
    edges, sunlit = stretches(light.eclipses(propagator, 0.0, end_s), 0.0, end_s)
    middle_s = (np.array(edges[:-1]) + np.array(edges[1:])) / 2.0
    factor = np.ones(len(middle_s))
    if pointing is not Pointing.SUN:
        beta_rad = np.radians(light.beta_deg(propagator, middle_s))
        factor = np.cos(beta_rad) if pointing is Pointing.AXIS else np.abs(np.sin(beta_rad))
    return SolarInput(edges, tuple((array_w * factor * np.array(sunlit)).tolist()), sunlit)


class Battery:
    """Charge of a battery under power that is constant between calls, and where every watt-hour went.

    Attributes
    ----------
    stored_wh, lowest_wh
        Energy now and at its lowest. [Wh]
    harvested_wh, consumed_wh, spilled_wh, unmet_wh
        What the array gave; what the loads got; what the array gave and nothing could take; what the loads
        lacked because the battery was empty. [Wh]
    losses_wh
        What charging and discharging turned into heat. [Wh]
    full_s, empty_s
        Time full with energy to spare, and empty with loads unmet. [s]

    Notes
    -----
    A bucket with one efficiency each way. Charging takes no more than ``max_charge_w`` at its input; discharging is
    not limited. Left out: voltage, self-discharge, fading with cycles, capacity by temperature. Conservation:
    harvested = stored at the end - stored at the start + consumed + losses + spilled.
    """

    def __init__(
        self, capacity_wh: float, state_of_charge: float, charge_efficiency: float, discharge_efficiency: float,
        max_charge_w: float = float("inf"),
    ) -> None:  # fmt: skip
        self.capacity_wh = capacity_wh
        self.initial_wh = self.stored_wh = self.lowest_wh = state_of_charge * capacity_wh
        self._in, self._out, self._max_charge_w = charge_efficiency, discharge_efficiency, max_charge_w
        self.harvested_wh = self.consumed_wh = self.spilled_wh = self.unmet_wh = self.losses_wh = 0.0
        self.full_s = self.empty_s = 0.0

    @property
    def state_of_charge(self) -> float:
        """Energy over capacity, 0 to 1. [-]"""
        return self.stored_wh / self.capacity_wh

    def rate_w(self, harvest_w: float, load_w: float, may_charge: bool = True) -> float:
        """Change of the stored energy, as if the battery were neither full nor empty. [W]"""
        net_w = harvest_w - load_w
        if net_w > 0.0:
            return self._in * min(net_w, self._max_charge_w) if may_charge else 0.0
        return net_w / self._out

    def time_to_s(self, state_of_charge: float, rate_w: float) -> float:
        """Time until a state of charge is reached at a constant rate, infinity for never. [s]"""
        missing_wh = state_of_charge * self.capacity_wh - self.stored_wh
        if missing_wh * rate_w <= 0.0:
            return 0.0 if missing_wh == 0.0 else float("inf")
        return missing_wh / rate_w * _HOUR_S

    def advance(self, seconds: float, harvest_w: float, load_w: float, may_charge: bool = True) -> float:
        """Let time pass under constant power; gives the share of the loads' energy that was met. [-]"""
        hours = seconds / _HOUR_S
        rate_w = self.rate_w(harvest_w, load_w, may_charge)
        self.harvested_wh += harvest_w * hours
        if rate_w >= 0.0:
            # What does not fit is refused at the input: the array gives it, nothing takes it.
            wanted_wh = rate_w * hours
            stored_wh = min(wanted_wh, self.capacity_wh - self.stored_wh)
            refused_wh = (wanted_wh - stored_wh) / self._in
            taken_w = rate_w / self._in
            self.full_s += seconds * (1.0 - stored_wh / wanted_wh) if refused_wh else 0.0
            self.stored_wh = min(self.capacity_wh, self.stored_wh + stored_wh)
            self.losses_wh += taken_w * hours - refused_wh - stored_wh
            # Exactly 0 where all is taken, not what division and multiplication by the efficiency leave.
            whole = may_charge and harvest_w - load_w <= self._max_charge_w
            self.spilled_wh += refused_wh + (0.0 if whole else (harvest_w - load_w - taken_w) * hours)
            self.consumed_wh += load_w * hours
            return 1.0
        wanted_wh = -rate_w * hours
        drawn_wh = min(wanted_wh, self.stored_wh)
        unmet_wh = (wanted_wh - drawn_wh) * self._out
        given_wh = (load_w - harvest_w) * hours - unmet_wh
        self.empty_s += seconds * (1.0 - drawn_wh / wanted_wh) if unmet_wh else 0.0
        self.stored_wh -= drawn_wh
        self.lowest_wh = min(self.lowest_wh, self.stored_wh)
        self.losses_wh += drawn_wh - given_wh
        self.unmet_wh += unmet_wh
        self.consumed_wh += load_w * hours - unmet_wh
        return max(0.0, 1.0 - unmet_wh / (load_w * hours)) if unmet_wh else 1.0

    def imbalance_wh(self) -> float:
        """What conservation of energy leaves over; 0 up to rounding. [Wh]"""
        kept_wh = self.stored_wh - self.initial_wh
        return self.harvested_wh - (kept_wh + self.consumed_wh + self.losses_wh + self.spilled_wh)
