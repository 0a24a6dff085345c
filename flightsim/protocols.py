"""What a plug-in must offer. One class, one ``Config`` (pydantic, unknown keys forbidden), one entry point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from .domain import Decision, Observation, Plan, TilePair, TruthTable, Verdict


class PluginConfig(BaseModel):
    """Base of every plug-in's ``Config``: unknown keys forbidden, frozen, finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class EmptyConfig(PluginConfig):
    """For plug-ins without settings."""


@runtime_checkable
class Policy(Protocol):
    """Decides what is sent for a tile. Constructed as ``Policy(config)``.

    Optional methods: ``ask(seen) -> tuple[schema_id, ...]`` (questions worth the compute; default all; called
    before the verdicts exist), ``reset()``, ``snapshot() -> bytes``, ``restore(bytes)``, ``on_contact(forecast)``.
    """

    Config: ClassVar[type[BaseModel]]

    def decide(self, seen: Observation) -> Decision:
        """Decision for the tile in ``seen.pair.after``."""
        ...


@runtime_checkable
class PayloadBackend(Protocol):
    """Answers questions about tile pairs. Constructed as ``Payload(config)``.

    ``needs_truth``: it answers from the world's truth and every report says so; ``assess_many`` then gets
    ``truth`` (rows as ``pairs``) and ``keys`` (shape (n,), for keyed draws), and None otherwise.
    ``needs_pixels``: it reads ``pair.after.image``; a scenario that has none is refused.
    Optional methods: ``cloud_fraction(pair) -> float | None``, the quality gate's estimate for scenes with pixels,
    which policies then see as ``pair.after.cloud_fraction``; ``calibration(schema_id) -> Calibration | None``, what a
    stated confidence is worth on the ground; ``thumbnail_rates(schema_id) -> Mapping[int, tuple[float, float]]``, the
    rates by longer side in pixels when the payload reads a decoded thumbnail on the ground.
    Optional attributes: ``owner: str``, whose verdicts these are (model, engine, weights, decoding profile);
    ``clock: str``, whose ``seconds_per_question`` are; ``pairs_together: int``, pairs that it likes to be asked about
    at a time, 1 where absent.
    A confidence is that of the answer given. A NULL that gives a reason was decided from nothing. An INVALID answer
    says why in its reason; it is stored as any other, unless the reason begins with ``engine:``, which may pass.
    """

    Config: ClassVar[type[BaseModel]]
    needs_truth: ClassVar[bool]
    needs_pixels: ClassVar[bool]

    def open(self) -> None:
        """Load what is heavy. Raises InputError or MissingExtra with one clear message."""
        ...

    def close(self) -> None:
        """Let it go."""
        ...

    def assess_many(
        self,
        pairs: Sequence[TilePair],
        schemas: Sequence[str],
        *,
        truth: TruthTable | None = None,
        keys: NDArray[np.uint64] | None = None,
        seed: int = 0,
    ) -> list[Verdict]:
        """Verdicts in the order pair by pair, schema by schema: length len(pairs) * len(schemas)."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever an answer could change (code version, settings, weights)."""
        ...

    def rates(self, schema_id: str) -> tuple[float, float]:
        """Declared true- and false-positive rate of an EVENT verdict, for the ground's belief. [-]"""
        ...

    @property
    def seconds_per_question(self) -> float:
        """Declared compute time when the scenario's ``compute`` does not say. [s]"""
        ...


@runtime_checkable
class LinkModel(Protocol):
    """Rate of the link. ``rate_bps`` is information rate of transfer-frame bits before coding.

    Constructed as ``Model(config)``. Optional attributes: ``acquisition_s`` after AOS and ``release_s`` before LOS,
    in which nothing is carried (0 where absent). [s] Optional method: ``frame_loss``, with the arguments of
    ``rate_bps``, the share of transfer frames lost, shape (n,); nothing is lost where absent. [-]
    """

    Config: ClassVar[type[BaseModel]]

    def rate_bps(self, elevation_deg: NDArray[np.float64], range_km: NDArray[np.float64]) -> NDArray[np.float64]:
        """Information rate, shape (n,). [bit/s] One call holds the samples of one pass, in time order."""
        ...


@runtime_checkable
class SceneSource(Protocol):
    """Pictures, sizes and truth for the shots of a plan. Constructed as ``Source(config, base_folder)``.

    ``has_pixels`` says whether tiles carry an image. ``encoded_bytes`` answers for sources without pixels.

    Optional, for second looks (REIMAGE is not on offer without the first):

    - ``pair_at(row, look: Look) -> TilePair``: the row's own "before" picture and another picture of its place, taken
      at ``look``; its id is ``plan.look_id(row, look.time_s)``. It shows the world of that time, keyed by place
      and time alone. Asked several times in a row for the same look.
    - ``visible_at(row, look) -> bool``: whether cloud or missing data leaves the place visible in that picture. It is
      truth, for payloads that declare ``needs_truth`` and for the ground's readers. Without it a second picture is
      taken to be as visible as the nominal one.
    - ``product_bytes_at(row, look, kind, size_px) -> int``: as ``product_bytes``; required without pixels.
    """

    Config: ClassVar[type[BaseModel]]
    has_pixels: ClassVar[bool]

    def prepare(self, plan: Plan, schemas: Sequence[str], targets: Any, camera: Any, seed: int) -> TruthTable:
        """Truth of every shot; called once, before the run."""
        ...

    def pair(self, row: int) -> TilePair:
        """Pictures of one shot of the prepared plan."""
        ...

    def raw_bytes(self, row: int) -> int:
        """Bytes that the raw capture occupies in storage. [B]"""
        ...

    def product_bytes(self, row: int, kind: str, size_px: int | None) -> int:
        """Encoded bytes of a ``thumbnail`` or ``tile`` of a shot without pixels. [B]"""
        ...


@runtime_checkable
class FaultModel(Protocol):
    """Draws faults before the run."""

    Config: ClassVar[type[BaseModel]]

    def draw(self, rng: np.random.Generator, horizon_s: float) -> Sequence[Any]:
        """Faults with their times. [s]"""
        ...
