"""Labels that people wrote about places, for scenes that bring no truth: a JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..domain import SCHEMA_IDS, Plan
from ..errors import InputError
from ..scenario.quantities import Utc
from ..scenario.suggest import hint

#: Largest file of labels that is read. [B]
MAX_BYTES = 16 * 2**20


class PlaceLabel(BaseModel):
    """One answer to one question about an area or a place."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    area: str | None = None
    """All tiles of an area of the plan."""
    place: str | None = None
    """One ground cell, by its id in tiles.parquet."""
    schema_id: str = Field(alias="schema")
    change: bool | None = None
    """What holds for every pair of the place, whatever its dates."""
    changed_at: Utc | None = None
    """When it changed: pairs that span the moment are positive, pairs before it negative, later ones unlabelled."""

    @model_validator(mode="after")
    def _one_of(self) -> PlaceLabel:
        if (self.area is None) == (self.place is None):
            raise ValueError("needs exactly one of area and place")
        if (self.change is None) == (self.changed_at is None):
            raise ValueError("needs exactly one of change and changed_at")
        if self.schema_id not in SCHEMA_IDS:
            raise ValueError(f"unknown schema '{self.schema_id}'; allowed are {', '.join(SCHEMA_IDS)}")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    version: Literal[1]
    labels: tuple[PlaceLabel, ...]


def read_labels(path: Path) -> tuple[PlaceLabel, ...]:
    """Labels of a file ``{"version": 1, "labels": [...]}``.

    Raises
    ------
    InputError
        The file is missing or faulty; all faults are listed, one a line.
    """
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise InputError(f"labels '{path}' must be a JSON file of at most {MAX_BYTES} bytes.")
    try:
        return _File.model_validate(json.loads(path.read_text(encoding="utf-8"))).labels
    except ValidationError as error:
        faults = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise InputError("\n".join(faults)) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON file: {error}.") from error


def label_table(
    labels: Sequence[PlaceLabel], plan: Plan, start: datetime, schemas: Sequence[str]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], int]:
    """Whether something changed and whether that is known, shape (n, s) each, and how many labels met no shot.

    Raises
    ------
    InputError
        A label names an area that the scenario does not have, or two disagree about a shot.
    """
    changed, labelled = np.zeros((2, len(plan), len(schemas)), dtype=np.bool_)
    places = np.array(list(plan.place_id))
    unmet = 0
    for label in labels:
        if label.area is not None and label.area not in plan.areas:
            raise InputError(f"labels: unknown area '{label.area}'; {hint(label.area, plan.areas)}.")
        if label.schema_id not in schemas:
            continue
        meant = places == label.place if label.area is None else plan.area == plan.areas.index(label.area)
        says, knows = np.full(len(plan), bool(label.change)), meant.copy()
        if label.changed_at is not None:
            at_s = (label.changed_at - start) / timedelta(seconds=1)
            says = plan.time_s >= at_s
            knows &= plan.before_s < at_s
        unmet += not knows.any()
        column = list(schemas).index(label.schema_id)
        if (knows & labelled[:, column] & (changed[:, column] != says)).any():
            name = label.area if label.area is not None else label.place
            raise InputError(f"labels: two of them disagree about {label.schema_id} at '{name}'.")
        changed[knows, column] = says[knows]
        labelled[knows, column] = True
    return changed, labelled, unmet
