"""What can be wrong with an installation, each with what to do."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from . import registry, resources
from .perception import cache_folder


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


def findings() -> list[Finding]:
    """Python, packages, plug-ins, shipped folders, the common package names, the cache."""
    rows = [Finding("Python", sys.version_info >= (3, 11), f"{sys.version.split()[0]}; flightsim needs 3.11 or newer")]
    rows += [_requirement(text) for text in metadata.requires("flightsim") or () if "extra ==" not in text]
    rows += [_owner(name) for name in registry.COMMON_NAMES]
    rows += [_folder(name) for name in ("schemas", "scenarios", "land", "stations", "orbits", "compute", "archive")]
    count = len(registry.entries())
    detail = f"{count} found" if count else "no entry points are installed; reinstall flightsim"
    rows.append(Finding("plug-ins", count > 0, detail))
    for (kind, name), entries in registry.duplicates().items():
        owners = ", ".join(entry.distribution for entry in entries)
        rows.append(Finding(f"{kind} '{name}'", False, f"offered by {owners}; uninstall all but one"))
    rows.append(_cache())
    return rows


def _requirement(text: str) -> Finding:
    name = text.split(";")[0].strip()
    for sign in "<>=!~[ (":
        name = name.split(sign)[0]
    try:
        return Finding(name, True, f"{metadata.version(name)} (wanted: {text})")
    except metadata.PackageNotFoundError:
        return Finding(name, False, f"not installed; pip install '{text}'")


def _owner(name: str) -> Finding:
    ours = Path(__file__).resolve().parent.parent / name
    origin = registry.origin_of(name)
    if origin is not None and origin.resolve() in (ours, ours / "__init__.py"):
        return Finding(f"package '{name}'", True, "is flightsim's own")
    return Finding(
        f"package '{name}'", False, f"would be imported from {origin}; move that file away or start elsewhere"
    )


def _folder(name: str) -> Finding:
    try:
        count = sum(1 for _ in resources.folder(name).iterdir())
    except FileNotFoundError as error:
        return Finding(f"folder '{name}'", False, str(error))
    return Finding(f"folder '{name}'", True, f"{count} entries")


def _cache() -> Finding:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Finding("cache", False, f"{folder} cannot be written ({error.strerror}); set FLIGHTSIM_CACHE")
    return Finding("cache", True, str(folder))
