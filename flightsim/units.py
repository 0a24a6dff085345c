"""Reading and printing of quantities: durations, sizes, rates, UTC.

Inside flightsim time is float seconds since the scenario's start, sizes are int bytes, rates float bit/s.
Units appear only where text is read or written: here.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

_NUMBER = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-zµ/%]+)?\s*$")

DURATION_S = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
SIZE_BYTES = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
RATE_BPS = {
    "bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9,
    "B/s": 8.0, "kB/s": 8e3, "MB/s": 8e6, "GB/s": 8e9,
}  # fmt: skip
FREQUENCY_HZ = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9}
POWER_W = {"mW": 1e-3, "W": 1.0, "kW": 1e3}
SYMBOL_RATE_SPS = {"sym/s": 1.0, "ksym/s": 1e3, "Msym/s": 1e6, "Gsym/s": 1e9}


def _parse(text: object, table: dict[str, float], what: str, bare: bool) -> float:
    units = ", ".join(table)
    if isinstance(text, bool) or not isinstance(text, (int, float, str)):
        raise ValueError(f"{what} is {text!r}; write a number with a unit ({units})")
    match = _NUMBER.match(str(text))
    if match is None:
        raise ValueError(f"{what} is {text!r}; write a number with a unit ({units})")
    value, unit = float(match[1]), match[2]
    if unit is None and not bare:
        raise ValueError(f"{what} is {text!r} without a unit; add one of {units}")
    if unit is not None and unit not in table:
        raise ValueError(f"{what} is {text!r}: unknown unit '{unit}'; allowed are {units}")
    value *= table[unit] if unit is not None else 1.0
    if not math.isfinite(value):
        raise ValueError(f"{what} is {text!r}; it must be finite")
    return value


def parse_duration_s(text: object, *, bare: bool = False) -> float:
    """Seconds from text such as ``7d``, ``36h``, ``90min``, ``600s``. [s]

    A number without a unit is taken as seconds only where ``bare`` says that the key names the unit.

    Raises
    ------
    ValueError
        The text is no number with a known unit.
    """
    return _parse(text, DURATION_S, "duration", bare)


def parse_size_bytes(text: object, *, bare: bool = True) -> int:
    """Bytes from a number or from text such as ``2 GiB``; whole bytes only. [B]"""
    value = _parse(text, {k: float(v) for k, v in SIZE_BYTES.items()}, "size", bare)
    if abs(value - round(value)) > 1e-6 * max(1.0, abs(value)):
        raise ValueError(f"size is {text!r}; it must be a whole number of bytes")
    return round(value)


def parse_rate_bps(text: object, *, bare: bool = True) -> float:
    """Bits per second from a number or from text such as ``4.8 Mbit/s``. [bit/s]"""
    return _parse(text, RATE_BPS, "rate", bare)


def parse_frequency_hz(text: object, *, bare: bool = True) -> float:
    """Hertz from a number or from text such as ``8.15 GHz``. [Hz]"""
    return _parse(text, FREQUENCY_HZ, "frequency", bare)


def parse_power_w(text: object, *, bare: bool = True) -> float:
    """Watts from a number or from text such as ``2 W``. [W]"""
    return _parse(text, POWER_W, "power", bare)


def parse_symbol_rate_sps(text: object, *, bare: bool = True) -> float:
    """Symbols a second from a number or from text such as ``30 Msym/s``. [sym/s]"""
    return _parse(text, SYMBOL_RATE_SPS, "symbol rate", bare)


def utc_text(start: datetime, time_s: float) -> str:
    """UTC in ISO 8601 with milliseconds and ``Z``, for a time since ``start``. [s]"""
    moment = start + timedelta(milliseconds=round(time_s * 1000.0))
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def bytes_text(size_bytes: float) -> str:
    """Size for people, decimal prefixes, three significant digits."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(size_bytes) >= scale:
            return f"{size_bytes / scale:.3g} {unit}"
    return f"{size_bytes:.0f} B"


def duration_text(time_s: float) -> str:
    """Duration for people: the largest unit that keeps the number above one."""
    for unit, scale in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if abs(time_s) >= scale:
            return f"{time_s / scale:.3g} {unit}"
    return f"{time_s:.3g} s"
