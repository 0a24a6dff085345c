"""Asks a payload, batch by batch, in workers: every question through the path that a flight takes, and timed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import registry
from ..domain import TilePair, TruthTable, Verdict, VerdictStatus
from ..errors import FlightsimError
from ..perception import VerdictBook
from ..protocols import PayloadBackend
from ..runs import open_payload
from ..scenes.synthetic.sampling import sample_world
from ..scenes.synthetic.source import Generated
from . import questions
from .cards import Candidate, Shown, candidates, picture_of
from .controls import Control, altered
from .questions import Kind, Pick, Round

Clock = Callable[[], float]

#: Pairs of one schema that a payload gets at a time. A flight asks as many.
BATCH = 64
#: Questions that are asked once more, one at a time, for the time of a single one.
SINGLES = 24


@dataclass(frozen=True)
class Eye:
    """How a payload is made, in any process."""

    use: str
    settings: str  # JSON
    folder: Path

    @classmethod
    def of(cls, use: str, settings: Mapping[str, Any], folder: Path) -> Eye:
        """From the settings of a scenario or a command line."""
        return cls(use, json.dumps(dict(settings), default=str, sort_keys=True), folder)

    def build(self) -> PayloadBackend:
        """A payload that is not opened yet.

        Raises
        ------
        PluginError
            It cannot be found or configured.
        """
        payload: PayloadBackend = registry.build("payloads", self.use, json.loads(self.settings), self.folder)
        return payload


class Opened:
    """A payload that is open, and how long it took from nothing to its first answer. [s]

    A payload may load its model with its first question, so that one is asked here and not counted.
    """

    def __init__(self, eye: Eye, clock: Clock) -> None:
        self.payload, self._clock = eye.build(), clock
        begin = clock()
        open_payload(self.payload, eye.use)
        self._open_s = clock() - begin
        self.first_answer_s = 0.0
        self.first_fault = ""

    def warm(self, pair: TilePair, schema: str, truth: TruthTable, keys: NDArray[np.uint64], seed: int) -> None:
        """Ask a first question, once."""
        if self.first_answer_s:
            return
        _ready(pair)
        begin = self._clock()
        knows = self.payload.needs_truth
        try:
            self.payload.assess_many(
                [pair], (schema,), truth=truth if knows else None, keys=keys if knows else None,
                seed=seed if knows else 0,
            )  # fmt: skip
        except FlightsimError:
            # Such as a package that is missing: no answer will ever come.
            raise
        except Exception as error:
            # Foreign code may raise anything. The question is asked again in its batch, which counts it as invalid.
            self.first_fault = f"{type(error).__name__}: {error}"[:300]
        self.first_answer_s = self._open_s + self._clock() - begin


#: Payloads of this process that are open.
_OPEN: dict[tuple[Eye, Clock], Opened] = {}


def opened(eye: Eye, clock: Clock) -> Opened:
    """The payload of this process, loaded once.

    Raises
    ------
    InputError
        It cannot be opened.
    """
    if (eye, clock) not in _OPEN:
        release()
        _OPEN[eye, clock] = Opened(eye, clock)
    return _OPEN[eye, clock]


def release() -> None:
    """Let the payloads of this process go."""
    while _OPEN:
        _OPEN.popitem()[1].payload.close()


@dataclass(frozen=True, slots=True)
class Told:
    """An answer to a question with altered pictures."""

    status: str
    direction: str | None


@dataclass(frozen=True)
class Row:
    """One question, what is true and what was answered."""

    schema: str
    kind: Kind
    event: bool
    shown: tuple[str, ...]
    """Schemas of which the pair shows an event."""
    visible: bool
    tile_id: str
    place_id: str
    lat_deg: float
    lon_deg: float
    captured_s: float
    before_s: float | None
    round: int
    row: int
    cluster: int
    verdict: Verdict
    true: Mapping[str, Any] | None
    hidden: float | None = None
    """Share of the event's pixels that cloud or missing data hides in either picture; None where not known. [-]"""
    controls: Mapping[str, Told] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """A call of the payload: how many questions, and how long it took. [s]"""

    questions: int
    wall_s: float


@dataclass(frozen=True)
class Part:
    """What a worker brings back."""

    rows: tuple[Row, ...]
    batches: tuple[Batch, ...]
    singles_s: tuple[float, ...]
    first_answer_s: float
    """From nothing to this process's first answer. [s]"""
    failures: tuple[str, ...]
    shown: Mapping[int, Shown]
    """Pictures of a few rows, by their place in ``rows``."""


@dataclass(frozen=True)
class How:
    """How the questions are asked."""

    eye: Eye
    seed: int
    controls: tuple[Control, ...] = ()
    clock: Clock = time.perf_counter


@dataclass
class Pairs:
    """Pairs with their truth, from which questions are picked."""

    truth: TruthTable
    keys: NDArray[np.uint64]
    pair: Callable[[int], TilePair]
    true_fields: Callable[[int, str], Mapping[str, Any] | None]
    mask: Callable[[int, str], NDArray[np.bool_] | None]
    round: int = 0
    cluster: NDArray[np.int64] | None = None
    """Shape (n,); by default the truth's own."""


def ask_round(how: How, wanted: Round, singles: bool) -> Part:
    """Make the world of a round, pick its questions and ask them."""
    source, plan, truth = sample_world(
        wanted.blocks, wanted.seed, region=wanted.region, schemas=wanted.schemas, prevalence=wanted.prevalence,
        cloud_fraction=questions.CLOUD, lat_range_deg=wanted.lat_range_deg,
    )  # fmt: skip
    picks = questions.choose(truth, plan.area.astype(np.int64), wanted.wanted, wanted.seed)
    keys = np.asarray(plan.place_key, dtype=np.uint64)
    block = plan.block_key.view(np.int64)
    pairs = Pairs(truth, keys, source.pair, source.true_fields, source.change_mask, wanted.number, block)
    return ask(how, pairs, picks, singles)


def ask(how: How, pairs: Pairs, picks: Sequence[Pick], singles: bool) -> Part:
    """Ask questions about pairs, in batches of one schema, and with altered pictures where controls are wanted."""
    eye = opened(how.eye, how.clock)
    payload = eye.payload
    if picks:
        first = [picks[0].row]
        schema = pairs.truth.schemas[picks[0].column]
        eye.warm(pairs.pair(first[0]), schema, pairs.truth.rows(first), pairs.keys[first], how.seed)
    rows: list[Row] = []
    batches: list[Batch] = []
    failures: list[str] = []
    for column, schema in enumerate(pairs.truth.schemas):
        mine = [pick for pick in picks if pick.column == column]
        for at in range(0, len(mine), BATCH):
            batch = mine[at : at + BATCH]
            desk = _Desk(how, pairs, payload, schema, [pick.row for pick in batch], failures)
            verdicts, wall_s = desk.timed(desk.pairs, range(len(batch)))
            batches.append(Batch(len(batch), wall_s))
            told = desk.controlled()
            rows += [
                _row(pairs, pick, verdict, extra) for pick, verdict, extra in zip(batch, verdicts, told, strict=True)
            ]
    alone = _singles(how, pairs, payload, rows[:SINGLES]) if singles else ()
    shown = {}
    for at in candidates([_candidate(row) for row in rows]):
        row = rows[at]
        picture = picture_of(pairs.pair(row.row), pairs.mask(row.row, row.schema) if row.event else None)
        if picture is not None:
            shown[at] = picture
    return Part(tuple(rows), tuple(batches), alone, eye.first_answer_s, tuple(failures), shown)


class _Desk:
    """One schema asked about some pairs."""

    def __init__(
        self, how: How, pairs: Pairs, payload: PayloadBackend, schema: str, rows: Sequence[int], failures: list[str]
    ) -> None:
        self._how, self._payload, self._schema, self._failures = how, payload, schema, failures
        self._truth, self._keys = pairs.truth.rows(list(rows)), pairs.keys[list(rows)]
        self.pairs = [pairs.pair(row) for row in rows]

    def timed(self, pairs: Sequence[TilePair], numbers: Sequence[int]) -> tuple[list[Verdict], float]:
        """Verdicts about pairs that stand for those of these numbers, and the wall time of asking. [s]"""
        for pair in pairs:
            _ready(pair)
        which = list(numbers)
        book = VerdictBook(
            self._payload, pairs.__getitem__, self._keys[which], self._truth.rows(which), self._how.seed,
            lambda _, why: self._failures.append(why),
        )  # fmt: skip
        begin = self._how.clock()
        verdicts = [book.of(k, (self._schema,))[0] for k in range(len(pairs))]
        return verdicts, self._how.clock() - begin

    def controlled(self) -> list[dict[str, Told]]:
        """Answers to the same questions with altered pictures, by control, for each pair."""
        told: list[dict[str, Told]] = [{} for _ in self.pairs]
        for control in self._how.controls:
            pairs, numbers = altered(control, self.pairs, self._how.seed, self._keys)
            if not pairs:
                continue
            for k, verdict in zip(numbers, self.timed(pairs, numbers)[0], strict=True):
                direction = (verdict.body or {}).get("direction")
                told[k][control] = Told(str(verdict.status), direction if isinstance(direction, str) else None)
        return told


def _ready(pair: TilePair) -> None:
    """Read or make the pictures, so that this is not taken for the payload's time."""
    for tile in (pair.before, pair.after):
        if tile is not None and tile.image is not None:
            tile.image.pixels()


def _singles(how: How, pairs: Pairs, payload: PayloadBackend, rows: Sequence[Row]) -> tuple[float, ...]:
    """Wall time of some questions asked one at a time, after a first one that warms up. [s]"""
    times = []
    for row in rows:
        desk = _Desk(how, pairs, payload, row.schema, [row.row], [])
        times.append(desk.timed(desk.pairs, [0])[1])
    return tuple(times[1:])


def _row(pairs: Pairs, pick: Pick, verdict: Verdict, told: Mapping[str, Told]) -> Row:
    truth, pair = pairs.truth, pairs.pair(pick.row)
    schema, event = truth.schemas[pick.column], bool(truth.changed[pick.row, pick.column])
    sure = truth.changed[pick.row] & truth.labelled[pick.row]
    cluster = truth.cluster if pairs.cluster is None else pairs.cluster
    return Row(
        schema, pick.kind, event, tuple(s for s, there in zip(truth.schemas, sure, strict=True) if there),
        bool(truth.visible[pick.row]), pair.after.id, pair.after.place_id, pair.after.lat_deg, pair.after.lon_deg,
        pair.after.captured_s, None if pair.before is None else pair.before.captured_s, pairs.round, pick.row,
        int(cluster[pick.row]), verdict, pairs.true_fields(pick.row, schema) if event else None,
        hidden_share(pair, pairs.mask(pick.row, schema)) if event else None, told,
    )  # fmt: skip


def hidden_share(pair: TilePair, mask: NDArray[np.bool_] | None) -> float | None:
    """Share of a mask's pixels that cloud or missing data hides in either picture of a pair of the generated world.

    None for pairs of other sources, which do not know it, and without a mask. [-]
    """
    images = [None if tile is None else tile.image for tile in (pair.before, pair.after)]
    if mask is None or not mask.any():
        return None
    hidden = np.zeros(mask.shape, dtype=np.bool_)
    for image in images:
        if not isinstance(image, Generated):
            return None
        seen = image.source.picture(image.row, image.shot)
        hidden |= seen.cloud | seen.no_data
    return float(hidden[mask].mean())


def _candidate(row: Row) -> Candidate:
    return Candidate(row.schema, row.event, row.verdict.status is VerdictStatus.EVENT, row.verdict.body, row.true)


__all__ = [
    "BATCH",
    "Batch",
    "Eye",
    "How",
    "Opened",
    "Pairs",
    "Part",
    "Row",
    "Told",
    "ask",
    "ask_round",
    "opened",
    "release",
]
