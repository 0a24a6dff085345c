"""Every error that flightsim raises on purpose.

FlightsimError
├── InputError            what the user gave is wrong (exit code 2)
│   ├── ScenarioError     a scenario file has faults; carries all of them
│   ├── OrbitError        orbital elements are malformed, stale or not propagatable
│   └── PluginError       a plug-in cannot be found, loaded or configured
├── RunError              the run itself failed (exit code 1)
│   ├── ConservationError tiles or bytes do not add up: a defect of flightsim
│   ├── PolicyFault       a policy gave no usable decision; the fallback decides and the run goes on
│   ├── PolicyHung        a policy process gave no answer and was killed
│   ├── RecordError       bytes that should be verdict records are not (records.py)
│   └── ProductError      bytes that should be a picture or a tile are not (products.py)
└── MissingExtra          an optional package is not installed; names the install line

Each error can be rebuilt from its ``args`` (one message, the rest optional): SimPy does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class FlightsimError(Exception):
    """Anything that flightsim raises on purpose."""


class InputError(FlightsimError):
    """What the user gave is wrong; the message says what, where and what is allowed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a scenario file, with the place where it stands."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}: {where}{self.message}"


class ScenarioError(InputError):
    """A scenario file has faults; all of them are listed."""

    def __init__(self, message: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)

    @classmethod
    def from_faults(cls, faults: Sequence[Fault]) -> ScenarioError:
        """Build the error whose message is one line per fault."""
        return cls("\n".join(str(fault) for fault in faults), faults)


class OrbitError(InputError):
    """Orbital elements are malformed, stale or cannot be propagated."""


class PluginError(InputError):
    """A plug-in cannot be found, loaded or configured."""


class RunError(FlightsimError):
    """The run itself failed."""


class ConservationError(RunError):
    """Tiles or bytes do not add up at the end of a run."""


class PolicyFault(RunError):
    """A policy gave no usable decision; recoverable: the named fallback decides."""


class PolicyHung(RunError):
    """A policy process gave no answer within the wall-clock limit and was killed."""

    def __init__(self, message: str, watchdog_s: float = 0.0) -> None:
        super().__init__(message)
        self.watchdog_s = watchdog_s


class MissingExtra(FlightsimError):
    """An optional package is not installed; the message names the install line."""
