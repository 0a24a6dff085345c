"""Questions with known answers: balanced ones about generated pairs, round by round, or those of a scenario.

A round is a small world of its own: it is made, asked and forgotten, so memory does not grow with the questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ..domain import SCHEMA_IDS, TruthTable
from ..errors import InputError
from ..rng import uniform_at
from ..scenes.synthetic.sampling import REGIONS


class Kind(StrEnum):
    """What a question's pair shows, as far as the truth knows."""

    EVENT = "event"
    """The event that is asked about."""
    OTHER = "other"
    """An event, but of another schema: the hard negative."""
    QUIET = "quiet"
    """No event of any schema."""
    UNSURE = "unsure"
    """Not the event that is asked about; other schemas have no label."""


Quotas = Mapping[tuple[str, Kind], int]

#: A round of the generated world: questions that it should give, and blocks of 64 tiles that it is made of. A round of
#: 24 blocks has some 70 positives of a common schema, of which 20 are wanted.
ROUND_QUESTIONS, ROUND_BLOCKS = 280, 24
#: Most questions of one schema and kind about tiles of one block: what one block shows is alike.
PER_BLOCK = 4
#: The world that is drawn from: share of positives of each schema, mean cloud cover of the new pictures. [-]
PREVALENCE, CLOUD = 0.06, 0.15
#: Where a rare schema is looked for once ordinary rounds did not show enough of it: glaciers and ice cover need cold
#: land, of which most lies in the north; elsewhere one block in ten can have an event of ice, here one in two. [deg]
_COLD = (58.0, 76.0)
#: Most rounds of a wave that looks for what is missing, most waves, and questions of one schema that a round may bring.
_WAVE, _WAVES, _HOPED_FOR = 4, 12, 30
#: Latitudes of the other rounds: those of ``sample_world``. [deg]
ANYWHERE = (-58.0, 76.0)
#: Rounds of one evaluation have seeds of their own.
_SEED_STEP = 100_003


@dataclass(frozen=True)
class Generated:
    """So many questions about pairs of the generated world: schemas alike, half of them about an event that is there.

    Half of the negatives show an event of another schema, the other half none at all.
    """

    count: int
    region: str = "test"
    seed: int = 3
    schemas: tuple[str, ...] = SCHEMA_IDS
    prevalence: float = PREVALENCE
    """Share of positives of each schema in the worlds that are drawn from. [-]"""
    blocks: int = ROUND_BLOCKS
    """Blocks of 64 tiles of a round's world."""

    def __post_init__(self) -> None:
        if self.region not in REGIONS:
            raise InputError(f"region is '{self.region}'; allowed are {', '.join(REGIONS)}.")
        if self.count < 4 * len(self.schemas):
            raise InputError(
                f"{self.count} questions over {len(self.schemas)} schemas are too few to have events and both kinds of "
                f"negatives of each; ask for at least {4 * len(self.schemas)}."
            )

    def quotas(self) -> dict[tuple[str, Kind], int]:
        """How many questions of each schema and kind are wanted."""
        found = {}
        for place, schema in enumerate(self.schemas):
            mine = self.count // len(self.schemas) + (place < self.count % len(self.schemas))
            # An odd number's extra question is about an event for every other schema, so that the halves are alike.
            events = (mine + place % 2) // 2
            found[schema, Kind.EVENT] = events
            found[schema, Kind.OTHER] = (mine - events + 1) // 2
            found[schema, Kind.QUIET] = (mine - events) // 2
        return found

    def rounds(self) -> list[Round]:
        """Rounds that together ask for all questions."""
        quotas = self.quotas()
        many = max(1, round(self.count / ROUND_QUESTIONS))
        return [
            self._round(k, {key: n * (k + 1) // many - n * k // many for key, n in quotas.items()}) for k in range(many)
        ]

    def more_rounds(self, missing: Quotas, wave: int) -> list[Round]:
        """A wave of rounds that look for what is missing; empty once enough waves have.

        Where only events of some schemas are missing, only these happen in the rounds' worlds, which costs less.
        """
        if wave >= _WAVES or not any(missing.values()):
            return []
        events_only = all(kind is Kind.EVENT for (_, kind), n in missing.items() if n)
        schemas = tuple(s for s in self.schemas if missing.get((s, Kind.EVENT), 0)) if events_only else self.schemas
        cold = schemas == ("ice_extent",)
        first = len(self.rounds()) + wave * _WAVE
        wanted = {key: n for key, n in missing.items() if n}
        many = min(_WAVE, -(-max(wanted.values()) // _HOPED_FOR))
        return [self._round(first + k, wanted, schemas, _COLD if cold else ANYWHERE) for k in range(many)]

    def _round(
        self,
        number: int,
        quotas: Quotas,
        schemas: tuple[str, ...] | None = None,
        lat_range_deg: tuple[float, float] = ANYWHERE,
    ) -> Round:
        return Round(
            number, self.blocks, self.seed * _SEED_STEP + number, self.region, schemas or self.schemas, self.prevalence,
            lat_range_deg,
            tuple((schema, kind, n) for (schema, kind), n in quotas.items() if n),
        )  # fmt: skip

    @property
    def text(self) -> str:
        """The set in words."""
        return (
            f"{self.count} questions about generated pairs of region '{self.region}', seed {self.seed}: half about an "
            "event that is there, a quarter about pairs with an event of another schema, a quarter about quiet pairs"
        )


@dataclass(frozen=True)
class Round:
    """A world of some blocks, and the questions that it should give."""

    number: int
    blocks: int
    seed: int
    region: str
    schemas: tuple[str, ...]
    prevalence: float
    lat_range_deg: tuple[float, float]
    wanted: tuple[tuple[str, Kind, int], ...]


@dataclass(frozen=True, slots=True)
class Pick:
    """A question: the row of a pair, the column of a schema, and what the pair shows."""

    row: int
    column: int
    kind: Kind


def kind_of(truth: TruthTable, row: int, column: int) -> Kind:
    """What a labelled question's pair shows."""
    if truth.changed[row, column]:
        return Kind.EVENT
    if (truth.changed[row] & truth.labelled[row]).any():
        return Kind.OTHER
    return Kind.QUIET if truth.labelled[row].all() else Kind.UNSURE


def labelled_questions(truth: TruthTable) -> list[Pick]:
    """All questions that have a label, pair by pair."""
    return [
        Pick(int(row), int(column), kind_of(truth, int(row), int(column)))
        for row, column in zip(*np.nonzero(truth.labelled), strict=True)
    ]


def choose(
    truth: TruthTable,
    block: NDArray[np.int64],
    wanted: Sequence[tuple[str, Kind, int]],
    seed: int,
    per_block: int = PER_BLOCK,
) -> list[Pick]:
    """Questions about visible pairs, as many of each schema and kind as wanted and there are, in a keyed order.

    Parameters
    ----------
    block
        Number of each pair's block, shape (n,).
    wanted
        Schema, kind and count.
    per_block
        Most questions of one schema and kind about one block.

    Notes
    -----
    Pairs that no question is about yet come first. Hard negatives take the schemas that their pairs show in turn.
    Negatives come from blocks where the event that is asked about happens elsewhere, as far as there are: on other
    land the old picture alone would often tell that it cannot.
    """
    n = len(truth.changed)
    order = np.argsort(uniform_at(seed, "evaluation/order", np.arange(n)), kind="stable")
    order = order[truth.visible[order]]
    sure = truth.changed & truth.labelled
    used: Counter[int] = Counter()
    found = []
    for schema, kind, count in wanted:
        column = truth.schemas.index(schema)
        lanes = _lanes(truth, sure, column, kind, order)
        near = np.isin(block, block[sure[:, column]])
        rows: list[int] = []
        for group in ([lane[near[lane]] for lane in lanes], [lane[~near[lane]] for lane in lanes]):
            rows += _in_turn([lane for lane in group if len(lane)], block, used, count - len(rows), per_block)
        for row in rows:
            used[row] += 1
            found.append(Pick(row, column, kind))
    return found


def _lanes(
    truth: TruthTable, sure: NDArray[np.bool_], column: int, kind: Kind, order: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Rows of a kind in order, parted by what they show."""
    if kind is Kind.EVENT:
        return [order[sure[order, column]]]
    calm = truth.labelled[order, column] & ~truth.changed[order, column]
    if kind is Kind.QUIET:
        return [order[calm & truth.labelled[order].all(axis=1) & ~truth.changed[order].any(axis=1)]]
    return [order[calm & sure[order, other]] for other in range(len(truth.schemas)) if other != column]


def _in_turn(
    lanes: Sequence[NDArray[np.int64]], block: NDArray[np.int64], used: Counter[int], count: int, per_block: int
) -> list[int]:
    """Rows from the lanes in turn: unused ones first, spread over blocks."""
    queues = [sorted(lane.tolist(), key=lambda row: used[row]) for lane in lanes]
    taken: dict[int, None] = {}
    full: Counter[int] = Counter()
    for most in range(1, per_block + 1):
        waiting = [iter(queue) for queue in queues]
        while waiting and len(taken) < count:
            for lane in list(waiting):
                row = next((row for row in lane if row not in taken and full[int(block[row])] < most), None)
                if row is None:
                    waiting.remove(lane)
                elif len(taken) < count:
                    taken[row] = None
                    full[int(block[row])] += 1
    return list(taken)


__all__ = [
    "ANYWHERE", "CLOUD", "PER_BLOCK", "PREVALENCE", "Generated", "Kind", "Pick", "Quotas", "Round", "choose", "kind_of",
    "labelled_questions",
]  # fmt: skip
