"""The report of a finished run: one self-contained page, made from the files of the run folder alone."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..runfolder import read_manifest, write_file
from .page import render

if TYPE_CHECKING:
    from .figures import Drawing

REPORT = "report.html"
_CONTACT_COLUMNS = ("aos_s", "los_s", "booked", "capacity_bytes", "air_bytes")
_QUEUE_COLUMNS = ("time_s", "queued_bytes", "storage_bytes", "waiting_tiles")


def write_report(run_folder: Path) -> Path:
    """Write ``report.html`` into a run folder; gives its path.

    The page needs no other file, no script and no network. The same folder gives the same bytes.

    Raises
    ------
    InputError
        The folder holds no finished run, or one of its files is missing or damaged.
    """
    folder = Path(run_folder)
    manifest = read_manifest(folder)
    metrics = _read_json(folder / "metrics.json")
    contacts = _columns(folder / "contacts.parquet", _CONTACT_COLUMNS)
    queue = _columns(folder / "queue.parquet", _QUEUE_COLUMNS)
    scenario = _read(folder / "scenario.yaml").decode()
    context = manifest["context"]
    page = render(manifest, metrics, scenario, _drawings(metrics, context, contacts, queue, _start_of(scenario)))
    target = folder / REPORT
    write_file(target, page.encode())
    return target


def _drawings(
    metrics: dict[str, Any],
    context: dict[str, Any],
    contacts: dict[str, NDArray[Any]],
    queue: dict[str, NDArray[Any]],
    start: str,
) -> list[Drawing]:
    # Imported here because it draws with matplotlib, which costs half a second that `import flightsim` shall not pay.
    from . import figures

    flown_days = context["duration_s"] / 86400.0
    return [
        figures.bytes_figure(metrics),
        figures.comparison_figure(metrics),
        figures.funnel_figure(metrics),
        figures.trade_figure(metrics, flown_days),
        figures.timeline_figure(contacts, queue, start, context["horizon_s"] / 86400.0),
    ]


def _start_of(scenario: str) -> str:
    from ruamel.yaml import YAML

    values = YAML(typ="safe").load(scenario)
    start = values.get("start") if isinstance(values, dict) else None
    if isinstance(start, datetime):
        return f"{start.isoformat(sep=' ', timespec='minutes').removesuffix('+00:00')} UTC"
    return "the start" if start is None else str(start)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"'{path}' is missing: the run folder is incomplete. Run the scenario again.")
    return path.read_bytes()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise InputError(f"'{path}' is damaged ({error}). Run the scenario again.") from error
    return values


def _columns(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _read(path)
    try:
        table = pq.read_table(path, columns=list(names))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"'{path}' is damaged ({error}). Run the scenario again.") from error
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise InputError(
            f"'{path}' has no column {missing[0]}; it is no table of this version. Run the scenario again."
        )
    return {name: np.asarray(table.column(name).to_numpy()) for name in names}


__all__ = ["REPORT", "write_report"]
