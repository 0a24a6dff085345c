"""Whose verdicts and whose seconds: the accuracy of one system is never shown with the speed of another in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import compute
from .domain import Verdict, VerdictStatus
from .protocols import PayloadBackend
from .scenario.models import Compute

#: What a payload calls its clock where a scenario states the seconds.
STATED = "the scenario's setting"
#: Longest first word of a reason that is taken for the fault's name. [characters]
_WORD = 24


@dataclass(frozen=True)
class Clock:
    """Whose service time a spacecraft flies with."""

    name: str
    """What tables call it."""
    whose: str
    """The system that it was measured or estimated for."""
    seconds: float
    """Time of one question. [s]"""
    payloads_own: bool
    """Whether the payload declares it of itself, so that verdicts and seconds belong to one system."""


def clock_of(payload: PayloadBackend, name: str, settings: Compute) -> Clock:
    """The clock of a spacecraft: what the scenario says, else the named compute profile, else the payload.

    Parameters
    ----------
    name
        What the scenario calls the payload.
    """
    resolved = compute.resolve(settings)
    if settings.seconds_per_question is not None:
        where = f"{STATED}, beside compute profile {settings.use}" if settings.use else "scenario's compute"
        return Clock(where, STATED, settings.seconds_per_question, False)
    if resolved.seconds_per_question is not None:
        told = f"compute profile {settings.use} ({compute.title(str(settings.use))})"
        return Clock(f"compute profile {settings.use}", told, resolved.seconds_per_question, False)
    whose = str(getattr(payload, "clock", name))
    return Clock(whose, whose, payload.seconds_per_question, whose != STATED)


def owners(payload: PayloadBackend, clocks: Sequence[Clock]) -> dict[str, Any]:
    """For a run's context: ``verdicts_of``, ``seconds_of`` and whether the two are ``one_system``."""
    eye = payload.fingerprint.rpartition("/")[0] or payload.fingerprint
    told = [f"{clock.whose}, {clock.seconds:g} s a question" for clock in clocks]
    return {
        "verdicts_of": str(getattr(payload, "owner", "") or eye),
        "seconds_of": " and ".join(dict.fromkeys(told)),
        "one_system": all(clock.payloads_own for clock in clocks),
    }


def lines(context: Mapping[str, Any]) -> tuple[str, str]:
    """Whose verdicts and seconds in a sentence, and a warning where they are two systems'; empty for older runs."""
    if "verdicts_of" not in context:
        return "", ""
    told = f"verdicts of {context['verdicts_of']}; seconds of {context['seconds_of']}"
    return told, "" if context["one_system"] else "two systems: nobody has flown these verdicts at this speed"


def faults(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """Invalid answers by the first word of their reason, the most frequent first."""
    counts: Counter[str] = Counter()
    for verdict in verdicts:
        if verdict.status is VerdictStatus.INVALID:
            word = verdict.reason.partition(":")[0].strip()
            counts[word if 0 < len(word) <= _WORD else "other"] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


__all__ = ["STATED", "Clock", "clock_of", "faults", "lines", "owners"]
