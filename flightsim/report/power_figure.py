"""The figure of power: charge, modes and temperature over time, with eclipses behind them."""

from __future__ import annotations

from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plotting
from ..units import duration_text
from .drawing import described, draw, figure
from .material import Columns, Material
from .timeline import axis_ticks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Spacecraft that are drawn, those with the least charge first.
_MOST_CRAFT = 6
_WIDTH_IN = 11.0
_HOUR_S = 3600.0
#: Runs up to this long have hours on their axis. [h]
_SHORT_H = 96.0


def power(material: Material) -> str:
    """A drawing for each spacecraft with a power model; nothing for a run without."""
    if not material.power:
        return ""
    values = material.metrics["power"]
    crafts = sorted(values["spacecraft"], key=lambda name: (values["spacecraft"][name]["lowest_state_of_charge"], name))
    parts, shaded = [], True
    for number, name in enumerate(crafts[:_MOST_CRAFT]):
        mine = material.power["spacecraft"] == name
        rows = {key: column[mine] for key, column in material.power.items()}
        head = f"<p><b>{escape(name)}</b></p>" if len(crafts) > 1 else ""
        shaded &= plotting.eclipses((), rows["time_s"], rows["sunlit"].astype(bool))
        parts.append(head + _drawing(material, name, rows, f"power{number or ''}"))
    rest = len(crafts) - _MOST_CRAFT
    warm = values["highest_temperature_c"] is not None
    caption = (
        "From the top: state of charge of the battery"
        + (", mode, and temperature of the box of payload computer and battery" if warm else " and mode")
        + f". Grey: eclipse{'' if shaded else ', where few enough to be told apart'}. Dashed: where the mode changes"
        + (", the payload computer slows or switches off, and the battery takes charge" if warm else "")
        + ". In low power pictures wait raw and the payload computer is off; in safe mode no picture is taken and "
        "nothing is sent."
        + (f" The {_MOST_CRAFT} spacecraft with the least charge; {rest} more are in power.parquet." * (rest > 0))
        + (" The limits are not drawn, for scenario.yaml cannot be loaded." if material.scenario is None else "")
    )
    drawn = "".join(f"<div class='scroll' tabindex='0' role='region' aria-label='Power'>{part}</div>" for part in parts)
    title = "Charge, modes and temperature" if warm else "Charge and modes"
    return figure("power", title, drawn, caption, "power.parquet", "metrics.json power")


def _drawing(material: Material, name: str, rows: Columns, key: str) -> str:
    charge_limits, heat_limits = _limits(material, name)
    time_s, warm = rows["time_s"], bool(np.isfinite(rows["temperature_c"]).all())
    told = material.metrics["power"]["spacecraft"][name]

    def paint(canvas: Figure) -> None:
        ratios = [3.0, 0.45, 2.0] if warm else [3.0, 0.45]
        axes: Any = canvas.subplots(len(ratios), sharex=True, height_ratios=ratios)
        plotting.charge(axes[0], time_s, rows["state_of_charge"], charge_limits)
        plotting.modes(axes[1], time_s, rows["mode"])
        shaded = [axes[0]]
        if warm:
            plotting.temperature(axes[2], time_s, rows["temperature_c"], heat_limits)
            shaded.append(axes[2])
        plotting.eclipses(shaded, time_s, rows["sunlit"].astype(bool))
        end_h = float(time_s[-1]) / _HOUR_S
        axes[-1].set_xlim(0.0, end_h)
        at, texts = zip(*_time_ticks(material.start, end_h), strict=True)
        axes[-1].set_xticks(at, texts)
        axes[-1].set_xlabel("time since the start" if material.start is None else "time [UTC]")

    modes = ", ".join(f"{mode.replace('_', ' ')} {duration_text(s)}" for mode, s in told["mode_s"].items() if s)
    words = f"Power of {name}: lowest state of charge {told['lowest_state_of_charge']:.2f}; {modes}" + (
        f"; up to {told['highest_temperature_c']:.0f} °C" if warm else ""
    )
    return described(draw(key, 5.0 if warm else 3.3, paint, _WIDTH_IN), key, words)


def _limits(material: Material, name: str) -> tuple[dict[str, float], dict[str, float]]:
    """States of charge and temperatures by what happens there. [-, deg C]"""
    if material.scenario is None:
        return {}, {}
    (craft,) = [craft for craft in material.scenario.craft if craft.name == name]
    charge: dict[str, float] = {}
    heat: dict[str, float] = {}
    if craft.power != "off":
        modes = craft.power.modes
        charge = {
            "low power below": modes.low_power_below, "nominal again above": modes.nominal_above,
            "safe below": modes.safe_below, "safe ends above": modes.low_power_above,
        }  # fmt: skip
    if craft.thermal != "off":
        heat = {
            "slower above": craft.thermal.throttle_c, "off above": craft.thermal.cut_c,
            "charging above": craft.thermal.charge_above_c,
        }  # fmt: skip
    return charge, heat


def _time_ticks(start: datetime | None, end_h: float) -> list[tuple[float, str]]:
    """Hours of a short run, days of a long one. [h]"""
    if end_h > _SHORT_H:
        return axis_ticks(start, end_h)
    step = next(step for step in (1, 2, 3, 6, 12) if end_h / step <= 10)
    if start is None:
        return [(float(k), f"{k} h") for k in range(0, int(end_h) + 1, step)]
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    found: list[tuple[float, str]] = []
    for k in range(0, 24 + int(end_h) + 1, step):
        moment = midnight + timedelta(hours=k)
        at_h = (moment - start).total_seconds() / _HOUR_S
        if 0.0 <= at_h <= end_h:
            # The day stands at midnight and at the first tick.
            day = f"\n{moment.day} {moment:%b}" if not found or moment.hour == 0 else ""
            found.append((at_h, f"{moment:%H:%M}{day}"))
    return found


__all__ = ["power"]
