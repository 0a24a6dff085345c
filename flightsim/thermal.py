"""Temperature of one box: a node with heat capacity, coupled to a sink that depends on sunlight."""

from __future__ import annotations

import math


class Node:
    """One temperature, exact under power and sink that are constant between calls.

    Attributes
    ----------
    temperature_c, highest_c, lowest_c
        Now, and the extremes since the start. [deg C]

    Notes
    -----
    C dT/dt = P - G (T - T_sink), so T runs exponentially towards T_sink + P / G with the time constant C / G. One
    temperature for the whole box, radiation linearised in G: good for tens of kelvins around where G was taken.

    References
    ----------
    D. G. Gilmore (ed.), Spacecraft Thermal Control Handbook, vol. 1, 2nd ed., 2002 (lumped parameters).
    """

    def __init__(self, temperature_c: float, heat_capacity_j_per_k: float, conductance_w_per_k: float) -> None:
        self.temperature_c = self.highest_c = self.lowest_c = temperature_c
        self._conductance = conductance_w_per_k
        self._tau_s = heat_capacity_j_per_k / conductance_w_per_k

    def steady_c(self, power_w: float, sink_c: float) -> float:
        """Temperature that is approached. [deg C]"""
        return sink_c + power_w / self._conductance

    def time_to_s(self, temperature_c: float, power_w: float, sink_c: float) -> float:
        """Time until a temperature is reached, infinity for never. [s]"""
        steady_c = self.steady_c(power_w, sink_c)
        away_k, left_k = self.temperature_c - steady_c, temperature_c - steady_c
        if away_k == left_k:
            return 0.0
        # Reached only on the way to the steady temperature, and that itself never.
        if left_k == 0.0 or away_k / left_k <= 1.0:
            return math.inf
        return self._tau_s * math.log(away_k / left_k)

    def advance(self, seconds: float, power_w: float, sink_c: float) -> None:
        """Let time pass under constant power and sink."""
        steady_c = self.steady_c(power_w, sink_c)
        self.temperature_c = steady_c + (self.temperature_c - steady_c) * math.exp(-seconds / self._tau_s)
        self.highest_c = max(self.highest_c, self.temperature_c)
        self.lowest_c = min(self.lowest_c, self.temperature_c)
