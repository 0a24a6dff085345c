"""How the commands print: aligned tables, JSON, a progress bar on a terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from . import units

#: A bar appears for what takes longer. [s]
_PATIENCE_S = 2.0
_WIDTH = 40


def print_json(value: Any) -> None:
    """One JSON document on stdout; NaN is refused, a program could not read it."""
    click.echo(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """A table with aligned columns.

    Parameters
    ----------
    right
        Columns of numbers, aligned to the right.
    """
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    return [
        "  ".join(cell.rjust(widths[k]) if k in right else cell.ljust(widths[k]) for k, cell in enumerate(row)).rstrip()
        for row in (head, *rows)
    ]


def passes_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Contact windows for people, one a line, and their sum."""
    if not rows:
        return ["no pass: the spacecraft never rises above the mask of a station in the scenario's duration"]
    several = len({row["spacecraft"] for row in rows}) > 1
    head = ["station", "AOS (UTC)", "TCA", "LOS", "duration", "max el.", "capacity", "booked", "truncated"]
    body = []
    for row in rows:
        cut = [end for end in ("start", "end") if row[f"truncated_{end}"]]
        body.append(
            [
                row["station"],
                row["aos"].replace("T", " ")[:19],
                row["tca"][11:19],
                row["los"][11:19],
                f"{row['duration_s']:.0f} s",
                f"{row['max_elevation_deg']:.1f} deg",
                units.bytes_text(row["capacity_bytes"]),
                "yes" if row["booked"] else "no",
                " and ".join(cut),
            ]
        )
    if several:
        head = ["spacecraft", *head]
        body = [[row["spacecraft"], *line] for row, line in zip(rows, body, strict=True)]
    numbers = [head.index(name) for name in ("duration", "max el.", "capacity")]
    booked = sum(row["booked"] for row in rows)
    capacity = units.bytes_text(sum(row["capacity_bytes"] for row in rows if row["booked"]))
    return [*table_lines(head, body, numbers), f"{len(rows)} passes, {booked} booked, {capacity} for the payload"]


class Bar:
    """A progress bar on stderr, on a terminal only and not before two seconds."""

    def __init__(self, label: str, quiet: bool = False) -> None:
        self._label = label
        self._shown = False
        self._wanted = sys.stderr.isatty() and not quiet
        self._started = time.monotonic()

    def __call__(self, share: float) -> None:
        """Tell how much is done. [-]"""
        if not self._wanted or time.monotonic() - self._started < _PATIENCE_S:
            return
        self._shown = True
        full = round(_WIDTH * min(max(share, 0.0), 1.0))
        sys.stderr.write(f"\r{self._label} [{'#' * full}{'.' * (_WIDTH - full)}] {100 * share:3.0f} %")
        sys.stderr.flush()

    def close(self) -> None:
        """Clear the line."""
        if self._shown:
            sys.stderr.write("\r" + " " * (len(self._label) + _WIDTH + 9) + "\r")
            sys.stderr.flush()
