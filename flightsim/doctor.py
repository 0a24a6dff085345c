"""What can be wrong with an installation, each with what to do."""

from __future__ import annotations

import platform
import re
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from . import registry, resources
from .errors import InputError, MissingExtra, PluginError
from .store import LIMIT, LookStore, cache_folder
from .units import bytes_text

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)\s*(?:(>=|==)\s*([0-9.]+))?")
#: What Linux says of its processors.
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


def findings() -> list[Finding]:
    """Python, packages, the processor, plug-ins, shipped folders, the common package names, the cache."""
    rows = [Finding("Python", sys.version_info >= (3, 11), f"{sys.version.split()[0]}; flightsim needs 3.11 or newer")]
    try:
        wanted = metadata.requires("flightsim") or []
    except metadata.PackageNotFoundError:
        rows.append(Finding("flightsim", False, "has no package metadata; run `pip install -e .`"))
        wanted = []
    rows += [_requirement(text) for text in wanted if "extra ==" not in text]
    rows.append(processor())
    rows += [_owner(name) for name in registry.COMMON_NAMES]
    rows += [_folder(name) for name in ("schemas", "scenarios", "land", "stations", "orbits", "compute", "archive")]
    rows += _plugins()
    rows.append(_cache())
    return rows


def _requirement(text: str) -> Finding:
    match = _REQUIREMENT.match(text)
    name, how, least = (match[1], match[2], match[3]) if match is not None else (text, None, None)
    try:
        have = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, False, f"not installed; pip install '{text}'")
    if least is not None and _numbers(have) < _numbers(least):
        return Finding(name, False, f"{have} is too old; pip install '{text}'")
    if how == "==" and _numbers(have) != _numbers(least or ""):
        return Finding(name, False, f"{have} is another version than the one that is tested; pip install '{text}'")
    return Finding(name, True, f"{have} (wanted: {text})")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def processor(machine: str | None = None, told: Path = _CPU_INFO) -> Finding:
    """Whether the processor has what the wheel of llama.cpp was built for: AVX2 on x86-64, nothing elsewhere."""
    machine = (machine or platform.machine()).lower()
    if machine not in ("x86_64", "amd64"):
        return Finding("processor", True, machine or "unknown")
    try:
        flags = re.search(r"^flags\s*:(.*)$", told.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        flags = None
    if flags is None:
        return Finding("processor", True, f"{machine}; whether it has AVX2, which llama.cpp needs, could not be seen")
    if "avx2" in flags[1].split():
        return Finding("processor", True, f"{machine} with AVX2, as llama.cpp needs")
    return Finding(
        "processor", False,
        f"{machine} without AVX2: llama.cpp's wheel does not run; fly payload vlm with engine: transformers",
    )  # fmt: skip


def _owner(name: str) -> Finding:
    """Whether the package is ours, and whether a second owner waits further down the module path."""
    home = Path(__file__).resolve().parent.parent
    what = f"package '{name}'"
    try:
        registry.guard(name)
    except PluginError as error:
        return Finding(what, False, str(error))
    others = []
    for entry in dict.fromkeys(Path(entry or ".").resolve() for entry in sys.path):
        for candidate in (entry / name / "__init__.py", entry / f"{name}.py"):
            if candidate.is_file() and candidate != home / name / "__init__.py":
                others.append(str(candidate))
    if others:
        detail = f"has two owners, {home / name} and {', '.join(others)}: rename or uninstall the other"
        return Finding(what, False, detail)
    return Finding(what, True, "is flightsim's own")


def _plugins() -> list[Finding]:
    """Every entry point is loaded, so that a broken one is told here and not in the middle of a run."""
    rows = []
    for kind in registry.KINDS:
        names = registry.names(kind)
        broken = []
        for name in names:
            try:
                registry.find(kind, name)
            except (PluginError, MissingExtra) as error:
                broken.append(str(error))
        if broken:
            rows.append(Finding(kind, False, " ".join(dict.fromkeys(broken))))
        elif not names and kind in ("policies", "payloads", "links", "scenes"):
            rows.append(Finding(kind, False, "no entry points are installed; run `pip install -e .`"))
        else:
            rows.append(Finding(kind, True, ", ".join(names) or "none installed"))
    return rows


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
    try:
        store = LookStore(folder)
        kept, limit = store.size_bytes(), store.limit_bytes
    except InputError as error:
        return Finding("cache", False, str(error))
    size = f"{bytes_text(kept)} of at most {bytes_text(limit)} ({LIMIT})"
    return Finding("cache", True, f"{folder}, {size}; what was not used for longest goes first")
