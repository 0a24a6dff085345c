"""How checks report what they find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str = ""


class Broken(Exception):
    """A check found something wrong; the text says what."""


class Report:
    """Collects results; a check that raises has failed, and the next one still runs."""

    def __init__(self) -> None:
        self.results: list[CheckResult] = []

    def add(self, name: str, check: Callable[[], str]) -> bool:
        """Whether the check passed; its text, or what it raised, becomes the detail."""
        try:
            result = CheckResult(name, True, check())
        except Broken as error:
            result = CheckResult(name, False, str(error))
        except Exception as error:  # foreign code may raise anything: that is a finding, and told
            result = CheckResult(name, False, f"{type(error).__name__}: {error}"[:500])
        self.results.append(result)
        return result.ok
