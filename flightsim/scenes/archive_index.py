"""The ``index.json`` of a picture archive: cases, their files and labels, checked as a whole."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..boxes import is_box
from ..domain import SCHEMA_IDS
from ..errors import InputError
from ..scenario.quantities import Utc

#: Largest index that is read. [B]
MAX_INDEX_BYTES = 16 * 2**20


#: Left, top, right and bottom as fractions of a picture. [-]
Edges = tuple[float, float, float, float]


def _boxes(value: tuple[Edges, ...]) -> tuple[Edges, ...]:
    for box in value:
        if not is_box(box):
            raise ValueError(
                f"box {list(box)} must be [left, top, right, bottom] in [0, 1], left < right, top < bottom"
            )
    return value


class Label(BaseModel):
    """What is known about a case; masks are files beside its pictures."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
    change: bool | None = None
    """Whether something happened between before and after; of a sequence: whether anything ever did."""
    change_from: Annotated[int, Field(ge=1)] | None = None
    """Of a sequence: number of the first picture that shows the change; the first of all is 0."""
    usable: bool = True
    mask_before: str | None = None
    mask_after: str | None = None
    front_row_before: float | None = None
    front_row_after: float | None = None
    boxes: tuple[Edges, ...] = ()
    """Where it changed; a mask, where there is one, says it better."""

    _check_boxes = field_validator("boxes")(_boxes)


class Step(BaseModel):
    """One date of a sequence; its mask and boxes say what changed since the first."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
    picture: str
    captured: Utc
    usable: bool = True
    """False where cloud or missing data hides the place."""
    mask: str | None = None
    boxes: tuple[Edges, ...] = ()

    _check_boxes = field_validator("boxes")(_boxes)


class Case(BaseModel):
    """One entry of ``index.json``; what is not needed here is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
    id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    task: str
    before: str | None = None
    after: str | None = None
    sequence: tuple[Step, ...] = ()
    bands: tuple[str, ...] = ()
    gsd_m: Annotated[float, Field(gt=0, le=10000)] | None = None
    lat: Annotated[float, Field(ge=-90, le=90)] | None = None
    lon: Annotated[float, Field(ge=-180, le=180)] | None = None
    change_schema: str | None = None
    also: tuple[str, ...] = ()
    label: Label = Label()

    @property
    def pictures(self) -> tuple[str, ...]:
        """Paths of its pictures in time order; none where a pair lacks one."""
        if self.sequence:
            return tuple(step.picture for step in self.sequence)
        return (self.before, self.after) if self.before is not None and self.after is not None else ()

    @model_validator(mode="after")
    def _sequence_fits(self) -> Case:
        steps, label = self.sequence, self.label
        if not steps:
            if label.change_from is not None:
                raise ValueError("label.change_from is for a sequence; a pair has label.change")
            return self
        if self.before is not None or self.after is not None:
            raise ValueError("a case has either before and after, or a sequence")
        if len(steps) < 2:
            raise ValueError("a sequence has at least two pictures")
        for number, (early, late) in enumerate(pairwise(steps), start=1):
            if not early.captured < late.captured:
                raise ValueError(f"sequence.{number} was captured at {late.captured}, not after the one before it")
        if label.change_from is not None and label.change_from >= len(steps):
            raise ValueError(f"label.change_from is {label.change_from}; the last picture is {len(steps) - 1}")
        if label.change_from is not None and label.change is False:
            raise ValueError("label.change is false, but label.change_from names a picture")
        if label.mask_before or label.mask_after or label.boxes:
            raise ValueError("masks and boxes of a sequence stand at its pictures (sequence.K.mask, sequence.K.boxes)")
        return self


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
