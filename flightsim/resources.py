"""The one place that knows where shipped data files lie."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
#: Folders that lie at the top of a source tree and inside ``flightsim/_data`` of a wheel.
_FORCED = ("schemas", "scenarios")


def folder(name: str) -> Path:
    """Folder of shipped files, from a wheel, an sdist or an editable install alike.

    Parameters
    ----------
    name
        ``schemas``, ``scenarios``, or a folder of ``flightsim/_data``.

    Raises
    ------
    FileNotFoundError
        The installation is incomplete.
    """
    inside = _PACKAGE / "_data" / name
    if inside.is_dir():
        return inside
    beside = _PACKAGE.parent / name
    if name in _FORCED and beside.is_dir():
        return beside
    raise FileNotFoundError(f"flightsim's own folder '{name}' is missing; reinstall flightsim.")


def file(name: str) -> Path:
    """Path of one shipped file, given as ``folder/name``."""
    head, _, tail = name.partition("/")
    path = folder(head) / tail
    if not path.is_file():
        raise FileNotFoundError(f"flightsim's own file '{name}' is missing; reinstall flightsim.")
    return path
