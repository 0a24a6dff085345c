"""The scenario's settings of power, modes and temperature.

Defaults are engineering values for a 6U imaging cubesat: deployed array 20 to 45 W, bus 5 to 10 W with attitude control
2 to 5 W, imager 5 to 15 W, X-band transmitter 12 to 40 W, payload computer 10 to 25 W; charge only above 0 C; time
constant of a payload computer 20 to 40 min, throttle at 70 C, cut at 85 C.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from .base import Strict
from .quantities import Seconds, Share

Watts = Annotated[float, Field(ge=0, le=1e6)]
Celsius = Annotated[float, Field(ge=-150, le=200)]
#: Limits of the state of charge; neither empty nor full can be one, since there it may stay.
Limit = Annotated[float, Field(gt=0, lt=1)]


class Loads(Strict):
    """What draws power, at the bus."""

    bus_w: Watts = 10.0
    """Bus and attitude control, always on. [W]"""
    safe_bus_w: Watts = 6.0
    """The same in safe mode. [W]"""
    payload_idle_w: Watts = 2.0
    """Payload computer while it waits, in nominal mode. [W]"""
    payload_w: Watts = 15.0
    """Payload computer while it works. [W]"""
    camera_w: Watts = 10.0
    """Imager while it is on. [W]"""
    camera_s: Annotated[Seconds, Field(ge=0)] = 10.0
    """How long the imager is on for one picture; pictures taken meanwhile prolong it. [s]"""
    transmitter_w: Watts = 25.0
    """Transmitter during a contact. [W]"""


class ModeLimits(Strict):
    """States of charge at which the mode changes; below a limit the next lower mode, back up at the better one."""

    low_power_below: Limit = 0.6
    """Low power: pictures are taken and wait raw, the payload computer is off. [-]"""
    nominal_above: Limit = 0.7
    """From low power back to nominal. [-]"""
    safe_below: Limit = 0.45
    """Safe: no picture, no inference, no payload data in contacts. [-]"""
    low_power_above: Limit = 0.6
    """From safe back to low power. [-]"""

    @model_validator(mode="after")
    def _in_order(self) -> ModeLimits:
        if not (self.low_power_below < self.nominal_above and self.safe_below < self.low_power_above):
            raise ValueError(
                "a mode must be left at a higher state of charge than it is entered: low_power_below under "
                "nominal_above, safe_below under low_power_above"
            )
        if not (self.safe_below < self.low_power_below and self.low_power_above <= self.nominal_above):
            raise ValueError("safe_below lies under low_power_below, low_power_above at most at nominal_above")
        return self


class Power(Strict):
    """Array, battery, loads and modes."""

    array_w: Watts = 35.0
    """Power of the array at the bus, in full sunlight at normal incidence. [W]"""
    pointing: Literal["sun", "axis", "side"] = "sun"
    """sun: at the Sun; axis: turns about the orbit's normal, cos(beta); side: fixed on the sunny side, sin(beta)."""
    battery_wh: Annotated[float, Field(gt=0, le=1e7)] = 80.0
    """Capacity of the battery. [Wh]"""
    initial_state_of_charge: Share = 0.9
    """Charge at the start. [-]"""
    max_charge_w: Annotated[float, Field(gt=0, le=1e6)] = 40.0
    """Largest power into the battery; half a capacity an hour spares the cells. [W]"""
    charge_efficiency: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Stored over taken. [-]"""
    discharge_efficiency: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Given over drawn. [-]"""
    loads: Loads = Loads()
    """What draws power."""
    modes: ModeLimits = ModeLimits()
    """Nominal, low power and safe, by the state of charge."""


class Thermal(Strict):
    """One temperature: the box of payload computer and battery."""

    initial_c: Celsius = 15.0
    """Temperature at the start. [deg C]"""
    heat_capacity_j_per_k: Annotated[float, Field(gt=0, le=1e7)] = 540.0
    """Heat capacity; 600 g of aluminium. [J/K]"""
    conductance_w_per_k: Annotated[float, Field(gt=0, le=1e4)] = 0.3
    """To the sink; with the capacity a time constant of 30 min. [W/K]"""
    sunlit_sink_c: Celsius = 20.0
    """Sink in sunlight. [deg C]"""
    eclipse_sink_c: Celsius = 0.0
    """Sink in eclipse. [deg C]"""
    background_w: Watts = 2.0
    """Heat in the box from what is not the payload computer. [W]"""
    throttle_c: Celsius = 70.0
    """From here the payload computer works slower. [deg C]"""
    throttle_speed: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Speed then, over full speed; power above idle falls alike. [-]"""
    cut_c: Celsius = 85.0
    """Here the payload computer switches off; what it was doing waits. [deg C]"""
    hysteresis_k: Annotated[float, Field(gt=0, le=100)] = 5.0
    """So far below a limit it is undone. [K]"""
    charge_above_c: Celsius = 0.0
    """Below this the battery takes no charge. [deg C]"""

    @model_validator(mode="after")
    def _in_order(self) -> Thermal:
        if not self.throttle_c < self.cut_c:
            raise ValueError(f"throttle_c is {self.throttle_c:g}; it must lie below cut_c, {self.cut_c:g}")
        return self


def _off_or_on(value: object) -> str:
    return "[off]" if isinstance(value, str) else "[on]"


_Off = Annotated[Literal["off"], Tag("[off]")]
PowerChoice = Annotated[_Off | Annotated[Power, Tag("[on]")], Discriminator(_off_or_on)]
ThermalChoice = Annotated[_Off | Annotated[Thermal, Tag("[on]")], Discriminator(_off_or_on)]

__all__ = ["Loads", "ModeLimits", "Power", "PowerChoice", "Thermal", "ThermalChoice"]
