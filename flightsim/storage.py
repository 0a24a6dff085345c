"""Mass memory with whole-file admission: what does not fit is refused, never half stored."""

from __future__ import annotations

from collections.abc import Hashable

from .errors import ConservationError


class MassMemory:
    """Named files in a store of fixed size. [B]"""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self.peak_bytes = 0
        self._files: dict[Hashable, int] = {}

    @property
    def free_bytes(self) -> int:
        """Room left. [B]"""
        return self.capacity_bytes - self.used_bytes

    def admit(self, name: Hashable, size_bytes: int) -> bool:
        """Store a file whole, or refuse it.

        Raises
        ------
        ValueError
            A file of that name is already stored.
        """
        if name in self._files:
            raise ValueError(f"mass memory already holds {name!r}")
        return self.grow(name, size_bytes)

    def grow(self, name: Hashable, more_bytes: int) -> bool:
        """Append to a file (which may be new), or refuse and change nothing.

        Raises
        ------
        ValueError
            The size is negative.
        """
        if more_bytes < 0:
            raise ValueError(f"{name!r} would grow by {more_bytes} B; sizes are never negative")
        if more_bytes > self.capacity_bytes - self.used_bytes:
            return False
        self._files[name] = self._files.get(name, 0) + more_bytes
        self.used_bytes += more_bytes
        self.peak_bytes = max(self.peak_bytes, self.used_bytes)
        return True

    def release(self, name: Hashable) -> None:
        """Free a file.

        Raises
        ------
        KeyError
            There is no such file.
        """
        self.used_bytes -= self._files.pop(name)

    def check(self) -> None:
        """Hold the books against the files.

        Raises
        ------
        ConservationError
            They disagree, or more is stored than fits: a defect of flightsim.
        """
        stored = sum(self._files.values())
        if stored != self.used_bytes or not 0 <= stored <= self.capacity_bytes:
            raise ConservationError(
                f"mass memory of {self.capacity_bytes} B counts {self.used_bytes} B in use and holds {stored} B."
            )

    def __contains__(self, name: Hashable) -> bool:
        return name in self._files

    def __len__(self) -> int:
        return len(self._files)
