"""Worst errors of every model, beside what is allowed: ``python -m benchmarks.accuracy [PAGE ...]``.

Pages are those of docs/models. ``python -m benchmarks.validity`` writes the same figures into them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from . import accuracy_board as board
from . import accuracy_link as link
from . import accuracy_orbit as orbit
from .measured import Absent, Figure

Measure = Callable[[], list[Figure]]
#: What is measured for each page. A function that needs the reference or a package raises ``Absent`` without it.
PAGES: dict[str, tuple[Measure, ...]] = {
    "orbit": (orbit.ground, orbit.access),
    "passes": (orbit.passes,),
    "sunlight": (orbit.sunlight, orbit.shadows_of_our_own),
    "anomaly": (orbit.anomaly,),
    "link": (link.published, link.budgets, link.modcods, link.volumes, link.uncoded),
    "weather": (link.weather_table, link.weather_maker, link.weather_in_time),
    "wire": (link.wire,),
    "frame-loss": (link.losses,),
    "power": (board.battery, board.energy),
    "thermal": (board.node, board.flights),
    "storage-compute": (board.storage, board.queue),
}


def digits(value: float) -> str:
    """An error to two digits; 0 is exact, and what is rounding of doubles is called so."""
    if value == 0.0:
        return "0"
    return f"{value:.2g}" if value >= 1e-10 else "below 1e-10"


def cells(figure: Figure) -> tuple[str, str, str, str, str]:
    """Quantity, against, n, worst error, what is allowed."""
    unit = f" {figure.unit}" if figure.unit else ""
    exact = figure.allowed == 0.0
    worst = "none" if exact and figure.worst == 0.0 else digits(figure.worst) + unit
    return figure.what, figure.against, f"{figure.n:,}", worst, "exact" if exact else f"{figure.allowed:g}{unit}"


def main(pages: Sequence[str] = ()) -> None:
    for page in pages or PAGES:
        for measure in PAGES[page]:
            try:
                for figure in measure():
                    what, against, n, worst, allowed = cells(figure)
                    told = "" if figure.met else "  NOT MET"
                    print(f"{page}: {what}, {against}, n = {n}: {worst} ({allowed}){told}", flush=True)
            except Absent as error:
                print(f"{page}: {measure.__name__} SKIPPED, {error}", flush=True)


if __name__ == "__main__":
    if unknown := [name for name in sys.argv[1:] if name not in PAGES]:
        sys.exit(f"no page '{unknown[0]}'; there are {', '.join(PAGES)}")
    main(sys.argv[1:])
