"""The course of charge and temperature of one spacecraft, kept where it bends."""

from __future__ import annotations

from array import array

from .modes import Heat, Mode

#: Longest time between two rows: of a time constant of 30 min, a straight line over it misses the exponential by
#: (1/6)^2 / 8 = 0.35 % of the distance to the steady temperature. [s]
STEP_S = 300.0


class PowerTrace:
    """Rows in time order; mode, heat and sunlight hold from a row to the next, charge and temperature run between.

    Attributes
    ----------
    time_s, state_of_charge, temperature_c
        Since the start [s]; 0 to 1 [-]; not a number without a thermal model [deg C].
    mode, heat, sunlit
        Numbers of ``Mode`` and ``Heat``, and 1 in sunlight.
    """

    def __init__(self) -> None:
        self.time_s, self.state_of_charge, self.temperature_c = array("d"), array("d"), array("d")
        self.mode, self.heat, self.sunlit = array("b"), array("b"), array("b")

    def add(
        self, time_s: float, state_of_charge: float, temperature_c: float, mode: Mode, heat: Heat, sunlit: bool
    ) -> None:
        """Append a row."""
        self.time_s.append(time_s)
        self.state_of_charge.append(state_of_charge)
        self.temperature_c.append(temperature_c)
        self.mode.append(mode)
        self.heat.append(heat)
        self.sunlit.append(sunlit)


__all__ = ["STEP_S", "PowerTrace"]
