"""The report of a finished run: one self-contained page, made from the files of the run folder alone."""

from __future__ import annotations

from pathlib import Path

REPORT = "report.html"


def write_report(run_folder: Path) -> Path:
    """Write ``report.html`` into a run folder; gives its path.

    The page needs no other file and no network; without its script it shows the same figures, only still.
    The same folder gives the same bytes.

    Raises
    ------
    InputError
        The folder holds no finished run, or one of its files is missing or damaged.
    """
    # Imported here because they read parquet and pictures, which `import flightsim` shall not pay for.
    from ..runfolder import write_file
    from .material import read_material
    from .page import render

    folder = Path(run_folder)
    target = folder / REPORT
    write_file(target, render(read_material(folder)).encode())
    return target


__all__ = ["REPORT", "write_report"]
