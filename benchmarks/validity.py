"""Writes the measured errors into docs/models: ``python -m benchmarks.validity``. Needs the reference and itur.

The words of a page are written by hand; the table between the two marks, and that of README.md, is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .accuracy import PAGES, cells
from .measured import Absent, Figure

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "models"
BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"
#: Unit of what was drawn at random.
DRAWN = "standard errors"
HEAD = "| quantity | against | n | worst error | allowed |\n|---|---|---|---|---|"
INDEX_HEAD = (
    "| model | source | worst error, nearest to what is allowed | allowed | n | all met |\n|---|---|---|---|---|---|"
)


def row(figure: Figure) -> str:
    return "| " + " | ".join(cells(figure)) + " |"


def table(figures: Sequence[Figure]) -> str:
    return "\n".join([HEAD, *map(row, figures)])


def measured_rows(text: str) -> list[list[str]]:
    """Cells of the rows between the marks of a page, without the head."""
    inner = text.split(BEGIN)[1].split(END)[0]
    lines = [line for line in inner.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def with_table(text: str, rows: str) -> str:
    """A page with another table between its marks.

    Raises
    ------
    ValueError
        The page has not exactly one pair of marks.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"a page needs {BEGIN} and {END} once each")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{rows}\n{END}{rest.split(END)[1]}"


def line_of(text: str, label: str) -> str:
    """What a page says in its line ``**label:** ...``."""
    return next(line for line in text.splitlines() if line.startswith(f"**{label}:**")).split(":**")[1].strip()


def index_row(page: str, text: str, figures: Sequence[Figure]) -> str:
    """A model in one line: of its figures the one that is nearest to what is allowed.

    Draws are not among them: their error is of the order of one standard error whatever the code.
    """
    title = text.splitlines()[0].removeprefix("# ")
    nearest = max((figure for figure in figures if figure.unit != DRAWN), key=lambda figure: figure.share)
    what, _, n, worst, allowed = cells(nearest)
    met = f"{sum(figure.met for figure in figures)} of {len(figures)}"
    return f"| [{title}]({page}.md) | {line_of(text, 'In short')} | {what}: {worst} | {allowed} | {n} | {met} |"


def main() -> int:
    index = []
    for page, measures in PAGES.items():
        path = FOLDER / f"{page}.md"
        text = path.read_text(encoding="utf-8")
        try:
            figures = [figure for measure in measures for figure in measure()]
        except Absent as error:
            print(f"nothing is written: {error}", file=sys.stderr)
            return 2
        missed = [figure.what for figure in figures if not figure.met]
        if missed:
            print(f"nothing is written: {page}: {', '.join(missed)} beyond what is allowed", file=sys.stderr)
            return 1
        index.append((path, with_table(text, table(figures)), index_row(page, text, figures)))
        print(f"{page}: {len(figures)} figures", flush=True)
    for path, text, _ in index:
        path.write_text(text, encoding="utf-8")
    readme = FOLDER / "README.md"
    rows = "\n".join([INDEX_HEAD, *(line for _, _, line in index)])
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
