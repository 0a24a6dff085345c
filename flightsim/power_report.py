"""What became of the energy of a run: accounts by spacecraft, and their part of ``metrics.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Consumer(StrEnum):
    """Who draws power."""

    BUS = "bus"
    PAYLOAD = "payload"
    CAMERA = "camera"
    TRANSMITTER = "transmitter"


@dataclass(frozen=True)
class PowerReport:
    """The energy of one spacecraft over a run; temperatures and their times are None without a thermal model."""

    spacecraft: str
    capacity_wh: float
    lowest_state_of_charge: float
    final_state_of_charge: float
    harvested_wh: float
    consumed_wh: dict[str, float]
    losses_wh: float
    spilled_wh: float
    unmet_wh: float
    full_s: float
    empty_s: float
    eclipse_share: float
    mode_s: dict[str, float]
    mode_changes: int
    highest_temperature_c: float | None = None
    lowest_temperature_c: float | None = None
    throttled_s: float | None = None
    cut_s: float | None = None
    captures_refused: int = 0
    contacts_refused: int = 0
    contact_bytes_refused: int = 0


def power_values(reports: Sequence[PowerReport]) -> dict[str, Any]:
    """The section ``power`` of the metrics: sums over spacecraft, extremes, and each spacecraft by name."""

    def total(name: str) -> Any:
        return sum(getattr(report, name) for report in reports)

    temperatures = [r.highest_temperature_c for r in reports if r.highest_temperature_c is not None]
    return {
        "lowest_state_of_charge": min(report.lowest_state_of_charge for report in reports),
        "highest_temperature_c": max(temperatures, default=None),
        **{name: total(name) for name in _SUMMED},
        "consumed_wh": {str(who): sum(report.consumed_wh[who] for report in reports) for who in Consumer},
        "mode_s": {mode: sum(report.mode_s[mode] for report in reports) for mode in reports[0].mode_s},
        "spacecraft": {report.spacecraft: asdict(report) for report in reports},
    }


def power_notes(reports: Sequence[PowerReport]) -> list[str]:
    """What the summary must say: refusals, and energy that was lacking."""
    notes = []
    for report in reports:
        if report.unmet_wh > 0.0:
            notes.append(
                f"the battery of {report.spacecraft} was empty for {report.empty_s:,.0f} s and "
                f"{report.unmet_wh:.3g} Wh of its loads were not met: no real spacecraft would have flown on"
            )
        if report.captures_refused or report.contacts_refused:
            notes.append(
                f"safe mode of {report.spacecraft} refused {report.captures_refused:,} captures and "
                f"{report.contacts_refused} contacts of {report.contact_bytes_refused:,} B; the references fly without "
                "a limit of power"
            )
    return notes


_SUMMED = (
    "harvested_wh", "losses_wh", "spilled_wh", "unmet_wh", "mode_changes", "captures_refused", "contacts_refused",
    "contact_bytes_refused",
)  # fmt: skip

__all__ = ["Consumer", "PowerReport", "power_notes", "power_values"]
