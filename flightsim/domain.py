"""The types that travel between the rooms of the house.

Arrays of the world (``Plan``, ``TruthTable``) are computed before the loop. ``Truth`` goes to the recorder
and the metrics only: nothing that a policy or a real payload receives can hold it.
Times are seconds since the scenario's start, sizes int bytes, angles degrees on WGS-84.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .windows import ContactWindow as ContactWindow

#: Schema ids of the contract, sorted; the file is ``schemas/verdict/<id>.schema.json``, on the wire ``<id>/1``.
SCHEMA_IDS = (
    "construction_progress",
    "flood_extent",
    "ice_extent",
    "thermal_hotspot",
    "urban_delta",
    "vegetation_stress",
    "wetland_change",
)


class Action(StrEnum):
    """What is sent for a tile, or a wish. Every product includes the verdict record."""

    NOTHING = "nothing"
    VERDICT = "verdict"
    THUMBNAIL = "thumbnail"
    CROP = "crop"
    MASK = "mask"
    TILE = "tile"
    DEFER = "defer"
    REIMAGE = "reimage"
    NEIGHBOUR = "neighbour"


class VerdictStatus(StrEnum):
    """The outcome of one question about one tile pair."""

    EVENT = "event"
    NULL = "null"
    UNCLASSIFIABLE = "unclassifiable"
    INVALID = "invalid"


class UnclassifiableReason(StrEnum):
    """Why the quality gate gave no verdict."""

    CLOUD = "cloud"
    NO_DATA = "no_data"
    SATURATED = "saturated"
    DARK = "dark"
    MISREGISTERED = "misregistered"


class TerminalState(StrEnum):
    """How a tile's story ends; each tile has exactly one."""

    DELIVERED = "delivered"
    LATE = "late"
    INCOMPLETE = "incomplete"
    NOT_SENT = "not_sent"
    DROPPED_FULL = "dropped_full"
    NOT_PROCESSED = "not_processed"
    REFUSED_POWER = "refused_power"
    UNCLASSIFIABLE = "unclassifiable"
    INVALID = "invalid"
    POLICY_FAILED = "policy_failed"
    LOST = "lost"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ProductSpec:
    """Which thumbnail or crop; None leaves the scenario's setting."""

    size_px: int | None = None
    codec: str | None = None
    quality: int | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Plan:
    """The nominal plan's shots in time order, one row a tile image; no truth in it.

    A *place* is a cell of the ground grid, so a revisit meets the same place. A *block* is 8x8 cells
    and the unit in which the world's events and clouds live.
    """

    spacecraft: tuple[str, ...]  # names
    craft: NDArray[np.int16]  # (n,) index into ``spacecraft``
    time_s: NDArray[np.float64]  # (n,) mid-exposure of the "after" picture
    before_s: NDArray[np.float64]  # (n,) mid-exposure of the reference; negative lies before the start
    place_id: Sequence[str]  # (n,) id of the ground cell, written out only when read
    place_key: NDArray[np.uint64]  # (n,) the same as integer key for ``rng.uniform_at``
    block_key: NDArray[np.uint64]  # (n,)
    block_row: NDArray[np.int16]  # (n,) row of the cell in its block, 0..7 from the south
    block_col: NDArray[np.int16]  # (n,) column of the cell in its block, 0..7 from the west
    lat_deg: NDArray[np.float64]  # (n,)
    lon_deg: NDArray[np.float64]  # (n,)
    gsd_m: NDArray[np.float64]  # (n,)
    off_nadir_deg: NDArray[np.float64]  # (n,)
    sun_elevation_deg: NDArray[np.float64]  # (n,)
    area: NDArray[np.int32]  # (n,) index into ``areas``, -1 for none
    areas: tuple[str, ...]
    #: Shots that the plan left out, by reason (dark, agility, sea, ...): printed, never silent.
    skipped: Mapping[str, int] = field(default_factory=dict)
    #: Row of the scene source for each shot, shape (n,), where the source owns the places (archive); else empty.
    scene_row: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    #: UTC of time 0 as seconds since 1970-01-01, for what depends on season and Sun. [s]
    start_unix_s: float = 0.0

    def __len__(self) -> int:
        return len(self.time_s)

    @cached_property
    def tile_ids(self) -> tuple[str, ...]:
        """Ids of the tile images, n of them: the place, the whole second of capture, and who of several took it."""
        seconds = self.time_s.astype(np.int64).tolist()
        texts = [f"{place}@{second}" for place, second in zip(self.place_id, seconds, strict=True)]
        if len(self.spacecraft) > 1:
            texts = [f"{text}/{self.spacecraft[k]}" for text, k in zip(texts, self.craft.tolist(), strict=True)]
        return tuple(texts)

    def tile_id(self, row: int) -> str:
        """Id of one tile image."""
        return self.tile_ids[row]

    def look_id(self, row: int, time_s: float) -> str:
        """Id of another picture of the place of a row, taken by the same spacecraft."""
        text = f"{self.place_id[row]}@{int(time_s)}"
        return f"{text}/{self.spacecraft[int(self.craft[row])]}" if len(self.spacecraft) > 1 else text


@dataclass(frozen=True, slots=True)
class Look:
    """How and when a place is seen once more."""

    time_s: float  # mid-exposure
    gsd_m: float
    off_nadir_deg: float
    sun_elevation_deg: float


class ImageRef(Protocol):
    """Pixels that are read when asked for."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Band names in the order of the first axis."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, rows, columns)."""
        ...

    @property
    def bits(self) -> int:
        """Significant bits of a sample. [-]"""
        ...

    def pixels(self) -> NDArray[Any]:
        """Samples, shape (bands, rows, columns), uint8 or uint16."""
        ...

    def reflectance(self) -> NDArray[np.float32] | None:
        """Reflectance, same shape, NaN where there is no data; None if the samples are uncalibrated. [-]"""
        ...

    def digest(self) -> str:
        """SHA-256 over shape, dtype, bands and samples, as hex."""
        ...


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of one place. ``cloud_fraction`` is estimated on board, never truth."""

    id: str
    place_id: str
    captured_s: float
    lat_deg: float
    lon_deg: float
    gsd_m: float
    size_px: tuple[int, int]  # rows, columns
    bands: tuple[str, ...]
    cloud_fraction: float | None = None
    image: ImageRef | None = None


@dataclass(frozen=True, slots=True)
class TilePair:
    """The reference picture (if the store has one) and the new picture of a place."""

    before: Tile | None
    after: Tile


@dataclass(frozen=True)
class TruthTable:
    """What happened, for n shots and s schemas.

    It goes to the recorder, the metrics, and payloads that declare ``needs_truth``.
    ``labelled`` is the population: a question without a label is not scored. ``visible`` is False where
    cloud or missing data hides the place from every eye.
    """

    schemas: tuple[str, ...]
    changed: NDArray[np.bool_]  # (n, s)
    labelled: NDArray[np.bool_]  # (n, s)
    visible: NDArray[np.bool_]  # (n,)
    cluster: NDArray[np.int64]  # (n,) area x day, or case: the unit of resampling
    prior: NDArray[np.float64]  # (s,) stated prevalence, what the ground assumes

    def rows(self, rows: Sequence[int] | NDArray[np.int64]) -> TruthTable:
        """The same for some shots."""
        return TruthTable(
            self.schemas, self.changed[rows], self.labelled[rows], self.visible[rows], self.cluster[rows], self.prior
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer to one question. ``body`` holds the schema's fields for an event."""

    tile_id: str
    schema_id: str
    status: VerdictStatus
    body: Mapping[str, Any] | None = None
    confidence: float | None = None
    produced_by: str = ""
    reason: str = ""  # UnclassifiableReason, or what made the answer invalid
    tokens: int = 0
    compute_s: float = 0.0
    energy_j: float = 0.0


@dataclass(frozen=True)
class Calibration:
    """What a payload's stated probability of an event is worth, as measured on labelled pairs. [-]

    ``stated`` and ``observed`` are knots with rising values, between which the probability is linear. ``event`` and
    ``null`` are the shares of true events among EVENT and NULL answers of which nothing more is known.
    """

    source: str  # set, size and payload, for reports
    n: int
    base_rate: float  # share of true events in the set
    stated: tuple[float, ...]
    observed: tuple[float, ...]
    event: float
    null: float


class Evidence(Mapping[str, float]):
    """What the verdicts at hand are worth by their payload's profile: log likelihood ratios of an event by schema. [-]

    Computed when asked for. Positive speaks for an event, 0 says nothing.
    """

    __slots__ = ("_verdicts", "_worth")

    def __init__(self, verdicts: Sequence[Verdict], worth: Callable[[Verdict], float]) -> None:
        self._verdicts = {verdict.schema_id: verdict for verdict in verdicts}
        self._worth = worth

    def __getitem__(self, schema_id: str) -> float:
        return self._worth(self._verdicts[schema_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._verdicts)

    def __len__(self) -> int:
        return len(self._verdicts)


@dataclass(frozen=True, slots=True)
class ContactForecast:
    """A booked contact ahead, as the spacecraft knows it. [s, B]"""

    station: str
    aos_s: float
    los_s: float
    capacity_bytes: int


@dataclass(frozen=True, slots=True)
class BudgetView:
    """Payload bytes that the booked contacts can still carry, less what is queued. [B]"""

    next_contact_bytes: int
    next_day_bytes: int
    mission_bytes: int


@dataclass(frozen=True, slots=True)
class PowerView:
    """State of the battery; None where the scenario flies with ``power: off``."""

    state_of_charge: float | None = None
    in_sunlight: bool | None = None


@dataclass(frozen=True, slots=True)
class QueueView:
    """The downlink queue as the spacecraft sees it. [B, -]"""

    items: int
    wire_bytes: int
    oldest_s: float | None


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a policy may know when it decides. ``costs_bytes`` names the actions on offer.

    A cost is in bytes of the space-packet stream that the decision would add to the downlink; it is exact,
    and lazy: a product is encoded when its cost is asked. ``looks`` counts the pictures of this member so far, this one
    included; ``next_look_s`` is when REIMAGE would take the next, None where none is possible or allowed.
    ``evidence`` is what each verdict is worth by the payload's profile, a log likelihood ratio; empty if unknown.
    """

    now_s: float
    pair: TilePair
    verdicts: tuple[Verdict, ...]
    queue: QueueView
    storage_free_bytes: int
    power: PowerView
    next_contacts: tuple[ContactForecast, ...]
    allowance: BudgetView
    costs_bytes: Mapping[Action, int]
    neighbours: Mapping[str, str] = field(default_factory=dict)
    priors: Mapping[str, float] = field(default_factory=dict)
    next_look_s: float | None = None
    looks: int = 1
    evidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a tile. A smaller priority number is sent first; ``expires_s`` is absolute.

    With REIMAGE ``expires_s`` is the latest useful time of the second picture.
    """

    action: Action
    priority: int = 5
    expires_s: float | None = None
    product: ProductSpec | None = None
    reason: str = ""
    keep: bool = False
    compute_s: float = 0.0
    energy_j: float = 0.0


@dataclass(slots=True)
class QueuedItem:
    """A file in the downlink queue; ``sent_bytes`` of its ``wire_bytes`` (space packets) are already radiated.

    With acknowledged transfer the last ``closing_bytes`` of ``wire_bytes`` wait until the ground has ``finished``,
    ``repeat_bytes`` are to be sent again, and ``repeated_bytes`` were. [B]
    """

    id: str
    tile_ids: tuple[str, ...]
    rows: tuple[int, ...]
    kind: Action
    size_bytes: int
    wire_bytes: int
    priority: int
    captured_s: float
    queued_s: float
    expires_s: float | None = None
    sent_bytes: int = 0
    closing_bytes: int = 0
    finished: bool = False
    repeat_bytes: int = 0
    repeated_bytes: int = 0

    @property
    def due_bytes(self) -> int:
        """Space-packet bytes that can be sent now. [B]"""
        return self.repeat_bytes or self.wire_bytes - self.sent_bytes - (0 if self.finished else self.closing_bytes)

    def send(self, part_bytes: int) -> None:
        """Count some of the due bytes as radiated. [B]"""
        if self.repeat_bytes:
            self.repeat_bytes -= part_bytes
            self.repeated_bytes += part_bytes
        else:
            self.sent_bytes += part_bytes


#: Who answers for costs while a policy is being asked. The engine sets it, so that a ``LazyCosts`` holds no way
#: back to the engine: through an observation nothing but the observation can be reached.
COST_DESK: ContextVar[Callable[[Action], int] | None] = ContextVar("COST_DESK", default=None)


class LazyCosts(Mapping[Action, int]):
    """Costs that are computed when asked for, and once.

    Without a ``compute`` of their own they ask the ``COST_DESK``, which is open while the policy is asked.
    """

    __slots__ = ("_compute", "_known", "_offered")

    def __init__(self, offered: Sequence[Action], compute: Callable[[Action], int] | None = None) -> None:
        self._offered = tuple(offered)
        self._compute = compute
        self._known: dict[Action, int] = {}

    def __getitem__(self, action: Action) -> int:
        if action not in self._known:
            if action not in self._offered:
                raise KeyError(action)
            compute = self._compute or COST_DESK.get()
            if compute is None:
                raise LookupError("a cost can be asked only while the policy is asked; keep the number instead")
            self._known[action] = compute(action)
        return self._known[action]

    def __contains__(self, action: object) -> bool:
        # Mapping's own would ask for the cost, and so encode the product.
        return action in self._offered

    def __iter__(self) -> Iterator[Action]:
        return iter(self._offered)

    def __len__(self) -> int:
        return len(self._offered)
