"""A small siamese network in the payload's slot: what a detector without language gets from the same pictures.

A class in a file, as anybody may bring one: ``flightsim evaluate benchmarks/siamese.py:Siamese --generated 3000``.
``python -m benchmarks siamese_training`` makes its weights.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flightsim.domain import SCHEMA_IDS, TilePair, TruthTable, Verdict, VerdictStatus
from flightsim.errors import InputError, MissingExtra
from flightsim.protocols import PluginConfig
from payload.declared import Declared
from payload.indices import cell_of, corners_of
from payload.rules import by_share
from payload.vlm.backend import VlmGate, code_digest
from payload.vlm.gated import PairGate, Refusal, Shown
from payload.vlm.profile import load_profile

WEIGHTS = "siamese.safetensors"
#: Side of the pictures that it is trained on, and cells of its map along a side. [px], [-]
SIDE_PX, MAP_CELLS = 128, 8
#: The pictures of the shipped model: the very same that it is shown.
PROFILE = "flightsim"
#: Pairs that go through the network together.
_BATCH = 32
#: No answer is stated with more than this, as with ``vlm`` and ``spectral``. [-]
_SUREST = 0.99


class Siamese:
    """One encoder on both pictures, their features beside each other and subtracted, one output a schema.

    Notes
    -----
    Gate, pictures and confidence are those of ``vlm``. The probability is that of the balanced questions that it was
    trained on. Where an event lies and how large it is are read from a map of changed cells that the network is
    trained with as well; direction is an output of its own.
    """

    class Config(PluginConfig):
        """Weights and limits."""

        weights: str = WEIGHTS
        """File of the weights, relative to this file."""
        threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
        """Probability from which on it says event. [-]"""
        gate: VlmGate = VlmGate()
        """Limits of the quality gate."""

    needs_truth: ClassVar[bool] = False
    needs_pixels: ClassVar[bool] = True

    def __init__(self, config: Config, base_folder: Path = Path(".")) -> None:
        self._config = config
        self._path = Path(__file__).parent / config.weights
        self._gate = PairGate("siamese", config.gate, load_profile(PROFILE).pictures)
        self._network: Any = None

    def open(self) -> None:
        """Load the weights.

        Raises
        ------
        InputError
            The file of weights is not there.
        MissingExtra
            torch or safetensors are not installed.
        """
        if self._network is None:
            self._network = load_network(self._path)

    def close(self) -> None:
        """Let the weights go."""
        self._network = None

    @cached_property
    def _facts(self) -> Mapping[str, Any]:
        return facts_of(self._path)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of weights, code and settings."""
        parts = (self._path.read_bytes(), Path(__file__).read_bytes(), self._config.model_dump_json().encode())
        text = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest() + code_digest()
        return f"siamese/{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @cached_property
    def _declared(self) -> Declared:
        return Declared("siamese", self._facts, self.fingerprint, None, Path("."))

    def rates(self, schema_id: str) -> tuple[float, float]:
        """True- and false-positive rate of an EVENT verdict on the validation regions. [-]"""
        return self._declared.rates(schema_id)

    @property
    def seconds_per_question(self) -> float:
        """Declared time of one question; 0, for nobody has timed it. [s]"""
        return self._declared.seconds(None)

    @property
    def clock(self) -> str:
        """Whose seconds these are."""
        return self._declared.clock(None)

    def cloud_fraction(self, pair: TilePair) -> float | None:
        """Cloud cover of the new picture as the quality gate sees it. [-]"""
        return self._gate.cloud_fraction(pair)

    def assess_many(
        self,
        pairs: Sequence[TilePair],
        schemas: Sequence[str],
        *,
        truth: TruthTable | None = None,
        keys: NDArray[np.uint64] | None = None,
        seed: int = 0,
    ) -> list[Verdict]:
        """Verdicts pair by pair, schema by schema.

        Raises
        ------
        InputError
            A tile has no pixels, or a schema is unknown.
        """
        for schema in schemas:
            if schema not in SCHEMA_IDS:
                raise InputError(f"payload 'siamese' knows no schema '{schema}'; it has {', '.join(SCHEMA_IDS)}.")
        looked = [self._gate.look(pair) for pair in pairs]
        seen = iter(self._answers([shown for shown in looked if isinstance(shown, Shown)]))
        found: list[Verdict] = []
        for pair, shown in zip(pairs, looked, strict=True):
            if isinstance(shown, Refusal):
                found += [_refused(pair, schema, shown) for schema in schemas]
            else:
                out = next(seen)
                found += [self._verdict(pair, schema, out) for schema in schemas]
        return found

    def _answers(self, shown: Sequence[Shown]) -> list[tuple[NDArray[np.float64], ...]]:
        """Probabilities of event and of increase, shape (7,), and of changed cells, shape (7, 8, 8), for each pair."""
        if not shown:
            return []
        self.open()
        import torch

        torch.set_num_threads(1)
        found: list[tuple[NDArray[np.float64], ...]] = []
        for start in range(0, len(shown), _BATCH):
            part = shown[start : start + _BATCH]
            both = [np.stack([_square(getattr(item, name)) for item in part]) for name in ("before", "after")]
            with torch.inference_mode():
                out = self._network(*(torch.from_numpy(inputs(pictures)) for pictures in both))
                parts = [torch.sigmoid(value.double()).numpy() for value in out]
            found += list(zip(*parts, strict=True))
        return found

    def _verdict(self, pair: TilePair, schema: str, out: tuple[NDArray[np.float64], ...]) -> Verdict:
        tile, k = pair.after.id, SCHEMA_IDS.index(schema)
        event, increase, cells = float(out[0][k]), float(out[1][k]), out[2][k]
        if not math.isfinite(event):
            # Broken weights must not read as "no event".
            return Verdict(tile, schema, VerdictStatus.INVALID, None, None, "siamese", "numeric: NaN from the network")
        if event < self._config.threshold:
            return Verdict(tile, schema, VerdictStatus.NULL, None, min(round(1 - event, 3), _SUREST), "siamese")
        mask = cells >= min(0.5, float(cells.max()))
        share = float(np.clip(cells[mask].sum() / cells.size, 0.0005, 1.0))
        body = {
            "direction": "increase" if increase >= 0.5 else "decrease",
            "severity": by_share(share),
            "fraction_of_tile": round(share, 4),
            "where": cell_of(mask),
            "box": list(corners_of(mask)),
        }
        return Verdict(tile, schema, VerdictStatus.EVENT, body, min(round(event, 3), _SUREST), "siamese")


def _refused(pair: TilePair, schema: str, why: Refusal) -> Verdict:
    return Verdict(pair.after.id, schema, why.status, None, why.confidence, "siamese", why.reason)


def _square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture of the network's own size; other shapes are stretched to it."""
    if picture.shape[:2] == (SIDE_PX, SIDE_PX):
        return picture
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR))


def inputs(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pictures (n, rows, columns, 3) of 0 to 255 as the network takes them, (n, 3, rows, columns) of -1 to 1."""
    planes = np.moveaxis(pictures, -1, 1).astype(np.float32)
    return np.ascontiguousarray(planes / np.float32(127.5) - np.float32(1))


# -------------------------------------------------------------------- the network


def build_network() -> Any:
    """The network with random weights, from torch's generator.

    ``network(before, after)`` gives logits of event (n, 7), of increase (n, 7) and of changed cells (n, 7, 8, 8).
    """
    import torch
    from torch import nn

    def step(wide: int, deep: int, stride: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(wide, deep, 3, stride, 1, bias=False), nn.BatchNorm2d(deep), nn.ReLU(inplace=True)
        )

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(
                nn.Conv2d(3, 32, 4, 4), nn.ReLU(inplace=True), step(32, 32, 1), step(32, 64, 2), step(64, 64, 1)
            )
            self.joined = nn.Sequential(step(4 * 64, 96, 1), step(96, 128, 2), step(128, 128, 1))
            self.cells = nn.Conv2d(128, len(SCHEMA_IDS), 1)
            self.head = nn.Sequential(
                nn.Linear(2 * 128, 128), nn.ReLU(inplace=True), nn.Linear(128, 2 * len(SCHEMA_IDS))
            )

        def forward(self, before: Any, after: Any) -> Any:
            first, second = self.encoder(torch.cat([before, after])).chunk(2)
            seen = self.joined(torch.cat([first, second, second - first, (second - first).abs()], 1))
            pooled = torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], 1)
            event, increase = self.head(pooled).chunk(2, 1)
            return event, increase, self.cells(seen)

    return Network()


def load_network(path: Path) -> Any:
    """The trained network, ready to be asked.

    Raises
    ------
    InputError
        The file is not there or holds other weights.
    MissingExtra
        torch or safetensors are not installed.
    """
    facts_of(path)
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtra(f"payload 'siamese' needs {error.name}: pip install 'flightsim[vlm]'.") from None
    network = build_network()
    try:
        state = {name: value.float() for name, value in load_file(path).items()}
        lacking = [
            name for name in network.load_state_dict(state, strict=False).missing_keys if "num_batches" not in name
        ]
    except RuntimeError as error:
        raise InputError(f"'{path.name}' holds weights of another network: {str(error)[:200]}") from None
    if lacking:
        raise InputError(f"'{path.name}' holds weights of another network: it lacks {', '.join(lacking[:3])}.")
    return network.eval().requires_grad_(False)


def facts_of(path: Path) -> Mapping[str, Any]:
    """What the file of weights says of itself: how it was made, rates by schema.

    Raises
    ------
    InputError
        It is not there.
    """
    if not path.is_file():
        raise InputError(f"weights '{path.name}' are not there; make them with: python -m benchmarks siamese_training.")
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    facts: dict[str, Any] = json.loads(header.get("__metadata__", {}).get("facts", "{}"))
    return facts


__all__ = [
    "MAP_CELLS",
    "PROFILE",
    "SIDE_PX",
    "WEIGHTS",
    "Siamese",
    "build_network",
    "facts_of",
    "inputs",
    "load_network",
]
