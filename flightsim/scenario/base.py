"""What every part of a scenario is made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Base of every part: unknown keys forbidden, frozen, finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Use(Strict):
    """A plug-in and its settings."""

    use: str
    """Name of a plug-in, or "./file.py:Class" relative to the scenario."""
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    """Settings, checked by the plug-in's own Config."""
