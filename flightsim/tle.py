"""Two-line element sets as text: reading, and the checks that SGP4 libraries do not make."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from . import resources
from .errors import OrbitError
from .scenario.models import Orbit

# Columns of the two lines (CelesTrak, "NORAD Two-Line Element Set Format"); the last column is the checksum.
_CATALOGUE = r"([ 0-9A-Z][ 0-9]{4})"
_LINE_1 = re.compile(
    rf"1 {_CATALOGUE}[A-Z ] .{{8}} (\d\d)([ \d]{{3}}\.[ \d]{{8}}) [ +-]\.[ \d]{{8}} "
    r"[ +-][ \d]{5}[+-]\d [ +-][ \d]{5}[+-]\d [ \d] [ \d]{4}\d"
)
_LINE_2 = re.compile(
    rf"2 {_CATALOGUE} ([ \d]{{3}}\.[ \d]{{4}}) [ \d]{{3}}\.[ \d]{{4}} [ \d]{{7}} [ \d]{{3}}\.[ \d]{{4}} "
    r"[ \d]{3}\.[ \d]{4} [ \d]{2}\.[ \d]{8}[ \d]{5}\d"
)
_LENGTH = 69


@dataclass(frozen=True, slots=True)
class ElementSet:
    """A checked two-line element set."""

    name: str
    line1: str
    line2: str
    epoch: datetime


def checksum(line: str) -> int:
    """Checksum of a line: the digits of its first 68 columns, and 1 for each minus sign, modulo 10. [-]"""
    return sum(int(c) if c.isdigit() else int(c == "-") for c in line[: _LENGTH - 1]) % 10


def checked(line1: str, line2: str, name: str = "") -> ElementSet:
    """Element set made of two lines, after all checks of their form.

    Raises
    ------
    OrbitError
        A line has the wrong length, form or checksum, or the two lines belong to different objects.
    """
    line1, line2 = line1.rstrip(), line2.rstrip()
    whose = f" of element set '{name}'" if name else ""
    matches = []
    for number, line, pattern in ((1, line1, _LINE_1), (2, line2, _LINE_2)):
        if len(line) != _LENGTH or not line.isascii():
            raise OrbitError(
                f"line {number}{whose} has {len(line)} characters; a two-line element set has {_LENGTH} ASCII "
                "characters a line: copy the set again, with its inner spaces."
            )
        match = pattern.fullmatch(line)
        if match is None:
            raise OrbitError(
                f"line {number}{whose} is not in the columns of a two-line element set: {line!r}; "
                "copy the set again, with its inner spaces."
            )
        if int(line[-1]) != checksum(line):
            raise OrbitError(
                f"the checksum of line {number}{whose} is {line[-1]}, but its digits give {checksum(line)}: "
                "a character is wrong; copy the set again."
            )
        matches.append(match)
    first, second = matches
    if first[1] != second[1]:
        raise OrbitError(
            f"the lines{whose} carry two catalogue numbers, {first[1].strip()} and {second[1].strip()}; "
            "both lines must belong to one object."
        )
    inclination_deg = float(second[2].replace(" ", "0"))
    if inclination_deg > 180.0:
        raise OrbitError(f"the inclination{whose} is {inclination_deg} deg; it must lie in [0, 180].")
    year = int(first[2])
    # Two-digit years: 57..99 are 1957..1999, the convention of the format.
    year += 1900 if year >= 57 else 2000
    day = float(first[3].replace(" ", "0"))
    if not 1.0 <= day < 367.0:
        raise OrbitError(f"the epoch{whose} is day {day} of {year}; it must lie in [1, 367).")
    return ElementSet(name, line1, line2, datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day - 1.0))


def _sets(text: str, file: str) -> dict[str, tuple[str, str]]:
    """Unchecked line pairs of a file by name; a set without a name line gets its catalogue number."""
    found: dict[str, tuple[str, str]] = {}
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    name = ""
    k = 0
    while k < len(lines):
        if lines[k].startswith("1 ") and k + 1 < len(lines) and lines[k + 1].startswith("2 "):
            key = name or lines[k][2:7].strip()
            if key in found:
                raise OrbitError(f"{file} holds two element sets named '{key}'; rename or remove one.")
            found[key] = (lines[k], lines[k + 1])
            name = ""
            k += 2
            continue
        if name:
            raise OrbitError(f"{file} names '{name}' without two lines of elements after it.")
        name = lines[k].removeprefix("0 ").strip()
        k += 1
    if name:
        raise OrbitError(f"{file} names '{name}' without two lines of elements after it.")
    if not found:
        raise OrbitError(f"{file} holds no two-line element set.")
    return found


def _from_file(tle_file: str, name: str | None, folder: Path) -> ElementSet:
    path = folder / tle_file
    if not path.is_file():
        shipped = resources.folder("orbits")
        known = sorted(p.stem for p in shipped.glob("*.tle"))
        if tle_file.removesuffix(".tle") not in known:
            near = difflib.get_close_matches(tle_file, known, n=1)
            raise OrbitError(
                f"tle_file '{tle_file}' is neither a file beside the scenario nor a shipped one ({', '.join(known)})"
                + (f"; did you mean '{near[0]}'?" if near else ".")
            )
        path = shipped / f"{tle_file.removesuffix('.tle')}.tle"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OrbitError(f"tle_file '{tle_file}' cannot be read: {error}") from error
    sets = _sets(text, tle_file)
    if name is None and len(sets) == 1:
        name = next(iter(sets))
    if name is None:
        raise OrbitError(f"tle_file '{tle_file}' holds {len(sets)} sets; add name: one of {', '.join(sets)}.")
    if name not in sets:
        folded = {key.casefold(): key for key in sets}
        near = difflib.get_close_matches(name.casefold(), list(folded), n=1)
        hint = f"; did you mean '{folded[near[0]]}'?" if near else "."
        raise OrbitError(f"tle_file '{tle_file}' holds no set named '{name}', only {', '.join(sets)}{hint}")
    return checked(*sets[name], name=name)


def read(orbit: Orbit, folder: Path) -> ElementSet | None:
    """Checked element set of an orbit, None where the orbit is given by altitude, inclination and LTAN.

    Light: no propagator is loaded.

    Parameters
    ----------
    orbit
        As in a scenario.
    folder
        Where ``tle_file`` is looked for first; then among the shipped sets.

    Raises
    ------
    OrbitError
        The file or the name in it does not exist, or the set is malformed.
    """
    if orbit.tle is not None:
        name = orbit.tle[0].strip() if len(orbit.tle) == 3 else ""
        return checked(orbit.tle[-2], orbit.tle[-1], name.removeprefix("0 "))
    if orbit.tle_file is not None:
        return _from_file(orbit.tle_file, orbit.name, folder)
    return None


def check_age(elements: ElementSet, start: datetime, duration_s: float, max_age_s: float) -> None:
    """Refuse elements whose epoch is too far from any instant of the run. [s]

    Raises
    ------
    OrbitError
        The distance is larger than ``max_age_s``; the message gives it for the start and for the end.
    """
    at_start_s = (start - elements.epoch).total_seconds()
    at_end_s = at_start_s + duration_s
    if max(abs(at_start_s), abs(at_end_s)) > max_age_s:
        whose = f"'{elements.name}'" if elements.name else elements.line1[2:7].strip()
        raise OrbitError(
            f"the elements of {whose} (epoch {elements.epoch:%Y-%m-%dT%H:%M:%SZ}) are {at_start_s / 86400.0:.1f} d old "
            f"at the start and {at_end_s / 86400.0:.1f} d at the end of the run; allowed are "
            f"{max_age_s / 86400.0:g} d: take a newer set, move start, or raise orbit.max_element_age."
        )
