"""Figures: each function draws on the axes that it is given and returns them; ``paper()`` sets a column's style.

Matplotlib is imported where it is used, so this package loads without it.
"""

from __future__ import annotations

from .flight import (
    FUNNEL_LABELS,
    bytes_by_kind,
    bytes_compared,
    bytes_over_time,
    contact_use,
    funnel,
    timeline,
    waiting_tiles,
)
from .ground import ground_map
from .knowing import confusion_matrix, latency, per_schema_f1, prevalence, reliability
from .power import charge, eclipses, modes, temperature
from .style import COLUMN_MM, INK, KIND_COLOURS, byte_scale, paper, size_in
from .trade import bytes_and_f1

__all__ = [
    "COLUMN_MM",
    "FUNNEL_LABELS",
    "INK",
    "KIND_COLOURS",
    "byte_scale",
    "bytes_and_f1",
    "bytes_by_kind",
    "bytes_compared",
    "bytes_over_time",
    "charge",
    "confusion_matrix",
    "contact_use",
    "eclipses",
    "funnel",
    "ground_map",
    "latency",
    "modes",
    "paper",
    "per_schema_f1",
    "prevalence",
    "reliability",
    "size_in",
    "temperature",
    "timeline",
    "waiting_tiles",
]
