"""The ``index.json`` of a picture archive: cases, their files and labels, checked as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..domain import SCHEMA_IDS
from ..errors import InputError

#: Largest index that is read. [B]
MAX_INDEX_BYTES = 16 * 2**20


class Label(BaseModel):
    """What is known about a case; masks are files beside its pictures."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
    change: bool | None = None
    usable: bool = True
    mask_before: str | None = None
    mask_after: str | None = None
    front_row_before: float | None = None
    front_row_after: float | None = None


class Case(BaseModel):
    """One entry of ``index.json``; what is not needed here is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
    id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    task: str
    before: str | None = None
    after: str | None = None
    bands: tuple[str, ...] = ()
    gsd_m: Annotated[float, Field(gt=0, le=10000)] | None = None
    lat: Annotated[float, Field(ge=-90, le=90)] | None = None
    lon: Annotated[float, Field(ge=-180, le=180)] | None = None
    change_schema: str | None = None
    also: tuple[str, ...] = ()
    label: Label = Label()


def read_index(path: Path) -> list[Case]:
    """The cases of an index.

    Raises
    ------
    InputError
        The file is no index, or has faulty cases; all faults are listed, one a line.
    """
    if path.stat().st_size > MAX_INDEX_BYTES:
        raise InputError(f"{path} has {path.stat().st_size} bytes; {MAX_INDEX_BYTES} is the most.")

    def no_constant(text: str) -> Any:
        raise ValueError(f"{text} is no JSON number")

    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON file: {error}.") from error
    if not isinstance(document, dict) or document.get("version") != 1 or not isinstance(document.get("cases"), list):
        raise InputError(f'{path} must hold {{"version": 1, "cases": [...]}}.')
    cases: list[Case] = []
    faults: list[str] = []
    for number, entry in enumerate(document["cases"]):
        name = entry.get("id") if isinstance(entry, dict) else None
        where = f"{path}: case {number}" + (f" '{name}'" if isinstance(name, str) else "")
        try:
            case = Case.model_validate(entry)
        except ValidationError as error:
            faults += [f"{where}: {'.'.join(map(str, e['loc'])) or 'entry'}: {e['msg']}" for e in error.errors()]
            continue
        if any(case.id == other.id for other in cases):
            faults.append(f"{where}: the id is used twice")
        for schema in (case.change_schema, *case.also):
            if schema is not None and schema not in SCHEMA_IDS:
                faults.append(f"{where}: unknown schema '{schema}'; allowed are {', '.join(SCHEMA_IDS)}")
        cases.append(case)
    if faults:
        raise InputError("\n".join(faults))
    return cases
