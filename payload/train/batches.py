"""Batches for training: questions about drawn pairs, augmented, with their answers and the map of what changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flightsim.domain import SCHEMA_IDS

from ..tasks import change
from ..vlm.pictures import Composite
from ..vlm.profile import Profile
from .model import patches
from .pairs import GRID, SEVERITIES, TOP, Pairs
from .settings import TrainSettings
from .tokens import END, PAD, caption, prompt_text

Kind = Literal["words", "json"]
#: Cells of the dense target along a side of one token's square: a token answers for two by two of them.
SUB_CELLS = 2
_BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
#: Share of a cell from which on it counts as changed; a hot spot is a few pixels. Up to a sixth of it, unclear pixels
#: included, a cell counts as unchanged; between the two it is left out. [-]
_CELL_SHARE = np.array([0.02 if schema == "thermal_hotspot" else 0.12 for schema in SCHEMA_IDS])[:, None, None]
_NINE = np.arange(9).reshape(3, 3)
#: Reflectance of each stored code. [-]
_REFLECTANCE = np.float32(TOP) * (np.arange(256, dtype=np.float32) / np.float32(255.0)) ** 2
#: Nothing is asked of these tokens.
IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Ids (n, tokens), patches (2 n, patches, values) and targets.

    ``targets`` (n, tokens) holds the ids of the answers where they stand, IGNORED elsewhere. ``cells``
    (n, image tokens, 7 x 4) is 1 for changed, 0 for unchanged, -1 for left out.
    """

    ids: NDArray[np.int64]
    patches: NDArray[np.float32]
    targets: NDArray[np.int64]
    cells: NDArray[np.float32]


@dataclass(frozen=True)
class Pool:
    """Rows to draw from, and the chances of each and all before it."""

    rows: NDArray[np.int64]
    upto: NDArray[np.float64]

    @classmethod
    def of(cls, rows: NDArray[np.int64], block: NDArray[np.int32], evenness: float) -> Pool:
        """Some rows, each drawn with a chance of the power ``-evenness`` of how many of them its block has."""
        _, group, count = np.unique(block[rows], return_inverse=True, return_counts=True)
        upto = np.cumsum(count[group] ** -float(evenness))
        return cls(rows, upto / upto[-1] if len(rows) else upto)

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, where: float) -> int:
        """The row at a place from 0 to 1."""
        return int(self.rows[np.searchsorted(self.upto, where, side="right")])


class Batches:
    """Draws questions about pairs; everything follows from the generators that are handed in."""

    def __init__(self, pairs: Pairs, settings: TrainSettings, profile: Profile, tokenizer: Any) -> None:
        self._pairs, self._settings = pairs, settings
        self._tokenizer = tokenizer
        self._composites = profile.pictures.composites
        self._shares = _shares(self._composites, settings)
        self._prompts = [
            [
                self._encode(prompt_text(settings.size.image_tokens, change.prompt(schema, profile.prompt, item.name)))
                for schema in SCHEMA_IDS
            ]
            for item in self._composites
        ]
        positive, labelled = pairs.positive & pairs.labelled, pairs.labelled
        others = positive.any(axis=1)
        self._lists = []
        for k in range(len(SCHEMA_IDS)):
            negative = labelled[:, k] & ~positive[:, k]
            near = np.isin(pairs.block, pairs.block[positive[:, k]])
            kinds = (positive[:, k], negative & others, negative & ~others)
            self._lists.append([(self._pool(kind & near), self._pool(kind)) for kind in kinds])
        # A schema that has no pair of a kind is not asked for at all: its answers would be a giveaway.
        weights = np.array([settings.weight_of(schema) for schema in SCHEMA_IDS], dtype=float)
        weights *= [all(len(anywhere) for _, anywhere in kinds) for kinds in self._lists]
        if not weights.any():
            raise ValueError("no schema has both events and quiet pairs among the training pairs")
        self._weights = weights / weights.sum()

    def _pool(self, wanted: NDArray[np.bool_]) -> Pool:
        return Pool.of(np.flatnonzero(wanted), self._pairs.block, self._settings.evenness)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    # ---------------------------------------------------------------- questions

    def questions(self, rng: np.random.Generator, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of pairs and numbers of schemas, shape (count,) each, balanced as the settings say."""
        settings = self._settings
        schema = rng.choice(len(SCHEMA_IDS), count, p=self._weights)
        hard = rng.random(count) < settings.hard_share
        kind = np.where(rng.random(count) < settings.positive_share, 0, np.where(hard, 1, 2))
        near, where = rng.random(count) < settings.near_share, rng.random(count)
        rows = np.empty(count, dtype=np.int64)
        for i, (k, j) in enumerate(zip(schema, kind, strict=True)):
            close, anywhere = self._lists[k][j]
            rows[i] = (close if near[i] and len(close) else anywhere).at(float(where[i]))
        return rows, schema

    def draw(self, rng: np.random.Generator, count: int, kind: Kind) -> Batch:
        """An augmented batch."""
        rows, schema = self.questions(rng, count)
        blank = rng.random(count) < self._settings.blank_share
        return self.batch(rows, schema, self.composites(rng, count), kind, rng, blank)

    def composites(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Numbers of composites, shape (count,), drawn as the settings say."""
        return np.asarray(rng.choice(len(self._composites), count, p=self._shares), dtype=np.int64)

    def batch(
        self,
        rows: NDArray[np.int64],
        schema: NDArray[np.int64],
        composite: NDArray[np.int64],
        kind: Kind,
        rng: np.random.Generator | None = None,
        blank: NDArray[np.bool_] | None = None,
    ) -> Batch:
        """A batch of given questions; turned, mirrored and unevenly lit where a generator is given.

        ``composite`` holds numbers of the profile's composites, shape (n,). With a generator, one picture of each
        ``blank`` question (n,) is made to show nothing, and the answer is that there is no event.
        """
        turn = int(rng.integers(8)) if rng is not None else 0
        quiet = np.zeros(len(rows), dtype=np.bool_) if blank is None or rng is None else blank
        shown = np.empty((len(rows), 2, 3, *self._pairs.pictures[0].shape[-2:]), dtype=np.float32)
        codes = self._pairs.look(rows)
        if rng is not None:
            for row in np.flatnonzero(quiet):
                codes[row, rng.integers(2)] = _blank(rng, codes.shape[2:])
        for number, item in enumerate(self._composites):
            some = np.flatnonzero(composite == number)
            if len(some):
                shown[some] = shown_as(codes[some], item, self._settings.display_share, rng)
        shown = turned(shown, turn)
        size = self._settings.size
        both = np.moveaxis(shown, 2, -1).reshape(2 * len(rows), *shown.shape[-2:], 3)
        both = _at_side(both, size.side_px)
        shows = self._pairs.positive[rows, schema] & ~quiet
        texts = [
            self._answer(int(row), int(k), turn, kind, bool(event))
            for row, k, event in zip(rows, schema, shows, strict=True)
        ]
        ids, targets = self._tokens(schema, composite, texts)
        cells = self._cells(rows, turn)
        cells[quiet] = 0.0
        return Batch(ids, patches(both, size.patch_px), targets, cells)

    def _tokens(
        self, schema: NDArray[np.int64], composite: NDArray[np.int64], texts: list[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        prompts = [self._prompts[item][k] for item, k in zip(composite, schema, strict=True)]
        return padded([(prompt, [*self._encode(text), END]) for prompt, text in zip(prompts, texts, strict=True)])

    def _answer(self, row: int, schema: int, turn: int, kind: Kind, event: bool) -> str:
        body = self.body(row, schema, turn) if event else None
        return change.answer_text(body) if kind == "json" else caption(body)

    def body(self, row: int, schema: int, turn: int = 0) -> dict[str, Any]:
        """The true fields of an event in a turned picture, in the steps that the model is taught."""
        pairs = self._pairs
        return change.rounded(
            {
                "direction": change.DIRECTIONS[0 if pairs.increase[row, schema] else 1],
                "severity": SEVERITIES[pairs.severity[row, schema]],
                "fraction_of_tile": float(pairs.share[row, schema]),
                "where": change.CELLS[_turned_cells(turn)[pairs.where[row, schema]]],
                "box": turned_box(pairs.box[row, schema], turn),
            }
        )

    def shares(self, rows: NDArray[np.int64], schema: NDArray[np.int64]) -> NDArray[np.float32]:
        """Share of the tile that events of these pairs and schemas take, shape (n,); 0 where there is none. [-]"""
        return np.asarray(self._pairs.share[rows, schema])

    def _cells(self, rows: NDArray[np.int64], turn: int) -> NDArray[np.float32]:
        along = self._settings.size.patches // 2
        fine = along * SUB_CELLS
        step = GRID // fine
        if step * fine != GRID:
            raise ValueError(f"masks of {GRID} cells a side do not fit {along} tokens a side")
        shares = []
        for stored in (self._pairs.changed, self._pairs.unclear):
            part = turned(stored[rows].astype(np.float32) / 255.0, turn)
            shares.append(part.reshape(len(rows), -1, fine, step, fine, step).mean(axis=(3, 5)))
        changed, unclear = shares
        cells = np.where(changed > _CELL_SHARE, 1.0, np.where(changed + unclear < _CELL_SHARE / 6, 0.0, -1.0))
        blocks = cells.reshape(len(rows), -1, along, SUB_CELLS, along, SUB_CELLS).transpose(0, 2, 4, 1, 3, 5)
        return np.ascontiguousarray(blocks.reshape(len(rows), along * along, -1), dtype=np.float32)


def _shares(composites: tuple[Composite, ...], settings: TrainSettings) -> NDArray[np.float64]:
    unknown = set(settings.composite_shares) - {item.name for item in composites}
    if unknown:
        raise ValueError(f"composite_shares names '{min(unknown)}', which is no composite of the profile")
    shares = np.array([settings.composite_shares.get(item.name, 0.0) for item in composites])
    return np.asarray(shares / shares.sum())


def padded(answers: list[tuple[list[int], list[int]]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and targets of prompts with their answers, padded on the right, shape (n, tokens) each."""
    longest = max(len(prompt) + len(answer) for prompt, answer in answers)
    ids = np.full((len(answers), longest), PAD, dtype=np.int64)
    targets = np.full_like(ids, IGNORED)
    for k, (prompt, answer) in enumerate(answers):
        end = len(prompt) + len(answer)
        ids[k, :end] = prompt + answer
        targets[k, len(prompt) : end] = answer
    return ids, targets


# -------------------------------------------------------------------- augmentation


def turned(planes: NDArray[Any], turn: int) -> NDArray[Any]:
    """One of the eight turns and reflections of the last two axes; 0 leaves them."""
    found = np.rot90(planes, turn % 4, (-2, -1))
    return np.flip(found, -1) if turn >= 4 else found


def _turned_cells(turn: int) -> NDArray[np.int64]:
    """Where each of the nine cells goes, shape (9,)."""
    place = np.empty(9, dtype=np.int64)
    place[turned(_NINE, turn).ravel()] = np.arange(9)
    return place


def turned_box(box: NDArray[np.float32], turn: int) -> list[float]:
    """A box (left, top, right, bottom) after a turn. [-]"""
    left, top, right, bottom = (float(value) for value in box)
    for _ in range(turn % 4):
        left, top, right, bottom = top, 1.0 - right, bottom, 1.0 - left
    if turn >= 4:
        left, right = 1.0 - right, 1.0 - left
    return [left, top, right, bottom]


def shown_as(
    codes: NDArray[np.uint8], composite: Composite, display_share: float, rng: np.random.Generator | None
) -> NDArray[np.float32]:
    """What a model sees of stored pictures (n, 2, 6, rows, columns), from 0 to 255, shape (n, 2, 3, rows, columns).

    Calibrated pictures differ by up to 8 % of light between scenes, 3 % between dates and bands. Pictures without
    calibration come with anybody's stretch, with haze, and with a little of both from date to date: so are shown all in
    true colour or grey, for which the world's cameras have no calibration, and a share of the others.
    """
    curve = np.broadcast_to(_REFLECTANCE, (len(codes), 2, 3, 1, 256))
    # A shown value follows from its code alone, so it is looked up: powers of whole pictures took a third of a step.
    tables = np.empty(curve.shape, dtype=np.float32)
    if rng is None:
        tables[:] = _stretched(curve, np.float32(composite.top), np.float32(composite.power))
    else:
        display = rng.random(len(codes)) < (display_share if _calibrated(composite) else 1.0)
        for flag in (False, True):
            some = np.flatnonzero(display == flag)
            if len(some):
                tables[some] = (_as_display if flag else _as_calibrated)(curve[some], composite, rng)
    planes = _planes(codes, composite)
    shown = np.empty(planes.shape, dtype=np.float32)
    for place in np.ndindex(*shown.shape[:3]):
        np.take(tables[place][0], planes[place], out=shown[place], mode="clip")
    return shown


def _blank(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Codes of a picture (bands, rows, columns) that shows nothing: one grey, dark or pale, with more or less grain."""
    grey = rng.uniform(0.02, 0.5) * rng.uniform(0.9, 1.1, (shape[0], 1, 1))
    grain = 1.0 + rng.uniform(0.0, 0.4) * rng.uniform(-1.0, 1.0, shape[1:])
    return np.asarray(np.sqrt(np.clip(grey * grain / TOP, 0.0, 1.0)) * 255.0 + 0.5, dtype=np.uint8)


def _calibrated(composite: Composite) -> bool:
    return (composite.top, composite.power) == (TOP, 0.5)


def _planes(codes: NDArray[np.uint8], composite: Composite) -> NDArray[np.uint8]:
    """Codes of a composite's bands, shape (n, 2, 3, rows, columns); ``PAN`` is the mean of the visible reflectances."""
    if composite.bands == ("PAN",) * 3:
        mean = (codes[:, :, :3].astype(np.float32) ** 2).mean(axis=2, keepdims=True)
        grey = np.asarray(np.sqrt(mean) + np.float32(0.5), dtype=np.uint8)
        return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:2], 3, *grey.shape[3:])))
    return codes[:, :, [_BANDS.index(band) for band in composite.bands]]


def _stretched(planes: NDArray[np.float32], top: Any, power: Any) -> NDArray[np.float32]:
    return np.asarray(np.float32(255.0) * np.clip(planes / top, 0.0, 1.0) ** power, dtype=np.float32)


def _as_calibrated(planes: NDArray[np.float32], composite: Composite, rng: np.random.Generator) -> NDArray[np.float32]:
    n = len(planes)
    gain = rng.uniform(0.92, 1.08, (n, 1, 3, 1, 1)) * rng.uniform(0.97, 1.03, (n, 2, 3, 1, 1))
    # The gain is one of shown values, so it goes under the power.
    return _stretched(
        planes, np.float32(composite.top) / np.asarray(gain ** (1 / composite.power), dtype=np.float32), composite.power
    )


def _as_display(planes: NDArray[np.float32], composite: Composite, rng: np.random.Generator) -> NDArray[np.float32]:
    n, each = len(planes), (len(planes), 1, 1, 1, 1)
    top = composite.top * rng.uniform(*((0.35, 1.1) if _calibrated(composite) else (0.6, 1.5)), each)
    power = rng.uniform(*((0.5, 1.0) if _calibrated(composite) else (0.6, 1.1)), each)
    light = rng.uniform(0.92, 1.08, (n, 2, 1, 1, 1)) * rng.uniform(0.96, 1.04, (n, 2, 3, 1, 1))
    haze = rng.uniform(-0.01, 0.02, (n, 2, 1, 1, 1))
    lit = planes * light.astype(np.float32) + haze.astype(np.float32)
    return _stretched(lit, top.astype(np.float32), power.astype(np.float32))


def _at_side(pictures: NDArray[np.float32], side_px: int) -> NDArray[np.float32]:
    n, rows, _, depth = pictures.shape
    if rows == side_px:
        return pictures
    step = rows // side_px
    blocks = pictures.reshape(n, side_px, step, side_px, step, depth)
    return np.asarray(blocks.mean(axis=(2, 4)), dtype=np.float32)
