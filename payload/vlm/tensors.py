"""Safetensors files without torch: names, shapes and values of their tensors, as NumPy arrays."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flightsim.errors import InputError

#: Longest header that is read, as the format's own reader sets it. [byte] (safetensors, README, "Format")
LARGEST_HEADER = 100_000_000
#: Numeric types of the format and how NumPy reads them; bfloat16 is the upper half of a float32.
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1", "I8": "i1"}


@dataclass(frozen=True)
class TensorPlace:
    """Where one tensor lies."""

    path: Path
    kind: str
    """Numeric type as the format names it, such as ``BF16``."""
    shape: tuple[int, ...]
    first: int
    """First byte of its values in the file."""
    size: int
    """Length of its values. [byte]"""

    def read(self) -> NDArray[np.float32]:
        """Its values, in float32.

        Raises
        ------
        InputError
            The numeric type is one that weights are not stored in.
        """
        if self.kind not in _TYPES:
            raise InputError(f"'{self.path}' stores a tensor as {self.kind}; allowed are {', '.join(_TYPES)}.")
        with self.path.open("rb") as file:
            file.seek(self.first)
            raw = np.frombuffer(file.read(self.size), dtype=_TYPES[self.kind])
        if self.kind == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        return raw.astype(np.float32).reshape(self.shape)


def tensors_of(path: Path) -> dict[str, TensorPlace]:
    """Places of all tensors of one safetensors file, by name.

    Raises
    ------
    InputError
        The file is no safetensors file, or is cut short.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        size = int.from_bytes(head, "little")
        if len(head) < 8 or size > min(LARGEST_HEADER, length - 8):
            raise _damaged(path, f"its header claims {size} bytes in a file of {length}")
        try:
            header = json.loads(file.read(size))
            found = {
                name: _place(path, told, 8 + size) for name, told in sorted(header.items()) if name != "__metadata__"
            }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _damaged(path, f"its header cannot be read: {error}") from None
    for name, place in found.items():
        if place.first + place.size > length:
            raise _damaged(path, f"it ends within tensor '{name}'")
    return found


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"'{path}' is no whole safetensors file: {why}. Copy or download it again.")


def _place(path: Path, told: Mapping[str, object], start: int) -> TensorPlace:
    shape = tuple(int(side) for side in told["shape"])  # type: ignore[attr-defined]
    first, last = (int(end) for end in told["data_offsets"])  # type: ignore[attr-defined]
    kind = str(told["dtype"])
    width = np.dtype(_TYPES[kind]).itemsize if kind in _TYPES else 0
    if first < 0 or last < first or (width and math.prod(shape) * width != last - first):
        raise ValueError(f"offsets {first} to {last} do not fit shape {list(shape)}")
    return TensorPlace(path, kind, shape, start + first, last - first)


def tensors_in(folder: Path) -> dict[str, TensorPlace]:
    """Places of all tensors of a model folder, whole or in shards, by name.

    Raises
    ------
    InputError
        There are no safetensors files, a shard of the index is missing, or a file is damaged.
    """
    found: dict[str, TensorPlace] = {}
    for path in shards(folder):
        found |= tensors_of(path)
    return found


def shards(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a model folder: ``model.safetensors``, or all that the index names.

    Raises
    ------
    InputError
        There are none, or one that the index names is missing.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return (whole,)
    if not index.is_file():
        raise InputError(f"model folder '{folder}' has neither '{whole.name}' nor '{index.name}'.")
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"'{index}' is no index of safetensors files: {error}. Copy or download it again.") from None
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise InputError(f"model folder '{folder}' lacks '{name}', which '{index.name}' names. Download it again.")
    return tuple(folder / name for name in names)
