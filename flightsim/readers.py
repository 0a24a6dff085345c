"""Readers that really look: a payload run on the ground, on pictures as they arrived.

The ground holds the same reference pictures as the spacecraft. A tile comes back to the last bit, so the reader gets
the very pair that the payload had on board. For a thumbnail the reference picture goes through the same encoder, so
that both pictures of the pair have one grid, one set of bands and one kind of loss.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from . import products, registry, sizing
from .belief import (
    DECLARED,
    DeclaredReader,
    GroundReader,
    Rates,
    Reader,
    delivered_in_time,
    make_reader,
    reader_draws,
)
from .domain import Action, Calibration, ImageRef, Look, Plan, Tile, TilePair, TruthTable, Verdict, VerdictStatus
from .errors import InputError
from .evidence import Eye, verdict_evidence
from .perception import VerdictBook
from .protocols import PayloadBackend, PluginConfig, SceneSource
from .quality import Ground
from .recorder import ACTIONS, STATUSES, RunRecord
from .scenario.models import Scenario, Use
from .store import VerdictCache

MODELS = ("larger", "same_model")
NAMES = tuple(sorted((*DECLARED, *MODELS)))
_TILE, _THUMBNAIL = ACTIONS.index(Action.TILE), ACTIONS.index(Action.THUMBNAIL)
#: How a thumbnail is made: longer side [px], codec, quality; None for a lossless tile.
How = tuple[int, str, int] | None


class ModelConfig(PluginConfig):
    """Rates of a model that reads pictures on the ground; what is absent is the payload's own declaration."""

    tile: Rates | None = None
    """On a full lossless tile. Default: the payload's calibration, else its rates."""
    thumbnail: dict[Annotated[int, Field(gt=0)], Rates] = Field(default_factory=dict)
    """On a thumbnail, by its longer side in pixels. Default: the payload's profile."""


class LargerConfig(ModelConfig):
    """A model of its own on the ground."""

    payload: Use
    """Name and settings of a payload that looks at pixels."""


def settings_of(use: str, settings: Mapping[str, Any] | None = None) -> Reader | ModelConfig:
    """The checked settings of ``evaluation.reader``.

    Raises
    ------
    InputError
        No reader has this name, or its settings are refused.
    """
    if use in DECLARED:
        return make_reader(use, settings)
    if use not in NAMES:
        near = difflib.get_close_matches(use, NAMES, 1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise InputError(f"evaluation.reader.use is '{use}'; allowed are {', '.join(NAMES)}{hint}")
    try:
        return (LargerConfig if use == "larger" else ModelConfig).model_validate(dict(settings or {}))
    except ValidationError as error:
        faults = "; ".join(
            f"evaluation.reader.with{''.join('.' + str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors()
        )
        raise InputError(f"reader '{use}': {faults}.") from error


class Thumbnail:
    """A picture as it comes out of the decoder on the ground: an ``ImageRef`` that is made when its pixels are asked.

    Its digest is that of the picture and of how it was encoded, so a stored answer is found without encoding.
    """

    def __init__(self, image: ImageRef, size_px: int, codec: str, quality: int) -> None:
        self._image, self._how = image, (size_px, codec, quality)
        self.bands = products.shown_bands(image.bands)
        self.bits = 8

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, rows, columns)."""
        return (len(self.bands), *products.thumbnail_shape(self._image.shape[1:], self._how[0]))

    @cached_property
    def _decoded(self) -> NDArray[np.uint8]:
        image = self._image
        sent = products.encode_thumbnail(image.pixels(), image.bands, image.bits, *self._how)
        return np.ascontiguousarray(products.decode_picture(sent)[:, :, : len(self.bands)].transpose(2, 0, 1))

    def pixels(self) -> NDArray[Any]:
        """Samples, shape (bands, rows, columns), uint8."""
        return self._decoded

    def reflectance(self) -> NDArray[np.float32] | None:
        """None: what is shown to people has no absolute scale."""
        return None

    def digest(self) -> str:
        """SHA-256 over the picture's digest and the encoder."""
        text = "/".join(["thumbnail", products.encoders(), *map(str, self._how), self._image.digest()])
        return hashlib.sha256(text.encode()).hexdigest()


def as_arrived(pair: TilePair, how: How) -> TilePair:
    """The pair that a reader sees when the new picture was sent so.

    Raises
    ------
    InputError
        The new tile has no pixels.
    """
    if pair.after.image is None:
        raise InputError(f"tile '{pair.after.id}' has no pixels; a reader that looks needs them.")
    if how is None:
        return pair
    size_px, codec, quality = how

    def small(tile: Tile) -> Tile:
        assert tile.image is not None
        image = Thumbnail(tile.image, size_px, codec, quality)
        rows, cols = image.shape[1:]
        scale = max(tile.image.shape[1:]) / max(rows, cols)
        return replace(tile, image=image, bands=image.bands, size_px=(rows, cols), gsd_m=tile.gsd_m * scale)

    before = None if pair.before is None or pair.before.image is None else small(pair.before)
    return TilePair(before, small(pair.after))


def answered(verdict: Verdict) -> bool:
    """Whether a verdict says yes or no from something that was seen; a NULL with a reason was decided from nothing."""
    return verdict.status is VerdictStatus.EVENT or (verdict.status is VerdictStatus.NULL and not verdict.reason)


class ModelReader:
    """A payload on the ground.

    Notes
    -----
    ``dependent``: the payload is the one that flew. Its answer on a lossless tile is the answer it gave on board, and
    on a thumbnail it is a second opinion of the same mind about a worse rendition of the same picture. So the evidence
    of the best rendition that was answered counts, and none is added: tile, then the picture on board (the verdict),
    then thumbnail. Any other model adds, as if its errors were independent given the truth.
    """

    def __init__(
        self,
        name: str,
        payload: PayloadBackend,
        config: ModelConfig,
        scenes: SceneSource,
        truth: TruthTable,
        thumbnail: tuple[int, str, int],
        *,
        dependent: bool,
    ) -> None:
        self._name, self._payload, self._scenes, self._truth = name, payload, scenes, truth
        self._thumbnail, self._dependent = thumbnail, dependent
        self._open = dependent  # the payload of the flight is open already
        self._rates = {schema: _rates_of(name, payload, schema, config) for schema in truth.schemas}
        calibrations = {} if config.tile is not None else calibrations_of(payload, truth.schemas)
        self._tile_eye = Eye({s: (r.tile[0], 1.0 - r.tile[1]) for s, r in self._rates.items()}, calibrations)
        self._cache = VerdictCache(payload.fingerprint)
        self._books: dict[How, VerdictBook] = {}
        self._known: dict[How, NDArray[np.float64]] = {}
        self._failures: dict[tuple[int, str], None] = {}

    @property
    def notes(self) -> Sequence[str]:
        """How often the model raised, with the first words it said."""
        if not self._failures:
            return ()
        first = next(iter(self._failures))[1]
        return (f"reader '{self._name}' failed on {len(self._failures)} pictures and brought nothing there: {first}",)

    def close(self) -> None:
        """Store the answers, and let go of a model that is not the flight's."""
        self._cache.save()
        if self._open and not self._dependent:
            self._payload.close()
            self._open = False

    def tiles(self) -> NDArray[np.float64]:
        """Evidence if every tile lay on the ground without loss, shape (n, s). [-]"""
        return self._everywhere(None)

    def thumbnails(self, side_px: int) -> NDArray[np.float64]:
        """Evidence if a thumbnail of every tile lay there, with the scenario's codec, shape (n, s). [-]"""
        return self._everywhere((side_px, *self._thumbnail[1:]))

    def arrived(self, record: RunRecord) -> NDArray[np.float64]:
        """Evidence of the pictures that a run delivered in time, shape (n, s). [-]

        Raises
        ------
        InputError
            A product arrived that the reader cannot read.
        """
        evidence = np.zeros(self._truth.changed.shape)
        kind = np.where(delivered_in_time(record), record.action, -1)
        for code, action in enumerate(ACTIONS):
            if action in (Action.CROP, Action.MASK) and np.any(kind == code):
                raise InputError(f"reader '{self._name}' cannot read product '{action}'; it reads thumbnail, tile.")
        groups: dict[How, list[int]] = {}
        for item in record.items:
            if item.kind is Action.THUMBNAIL and kind[item.rows[0]] == _THUMBNAIL:
                how = sizing.thumbnail_spec(record.specs.get(item.id), self._thumbnail)
                groups.setdefault(how, []).append(item.rows[0])
        tiles = np.flatnonzero(kind == _TILE)
        if len(tiles):
            evidence[tiles] = self._evidence(None, tiles.tolist())
        for spec, rows in groups.items():
            evidence[rows] = self._evidence(spec, rows)
        hows: dict[int, How] = dict.fromkeys(tiles.tolist()) | {
            row: spec for spec, rows in groups.items() for row in rows
        }
        for row in sorted(hows.keys() & record.second_looks.keys()):
            evidence[row] = self._evidence_of_look(hows[row], row, record.second_looks[row])[0]
        return evidence

    def fused(
        self, verdicts: NDArray[np.float64], read: NDArray[np.float64], whole: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Evidence of verdicts and pictures together, shape (n, s); see the notes of the class. [-]"""
        if not self._dependent:
            return verdicts + read
        of_tile = whole[:, None] & (read != 0.0)
        return np.where(of_tile, read, np.where(verdicts != 0.0, verdicts, read))

    def describe(self) -> str:
        """Name with the model's."""
        return f"{self._name} ({self._payload.fingerprint.rpartition('/')[0] or self._payload.fingerprint})"

    def as_dict(self) -> dict[str, Any]:
        """Name, model and rates for ``metrics.json``."""
        return {
            "use": self._name,
            "description": self.describe(),
            "model": self._payload.fingerprint,
            "independent_of_the_eye": not self._dependent,
            "per_schema": {schema: _without_names(rates) for schema, rates in self._rates.items()},
        }

    def _everywhere(self, how: How) -> NDArray[np.float64]:
        if how not in self._known:
            self._known[how] = self._evidence(how, range(len(self._truth.visible)))
        return self._known[how]

    def _evidence(self, how: How, rows: Sequence[int]) -> NDArray[np.float64]:
        """Evidence of the model's answers on some pictures, shape (len(rows), s). [-]"""
        if how in self._known:
            return np.asarray(self._known[how][list(rows)])
        return self._weighed(how, *self._answers(how, rows))

    def _weighed(self, how: How, status: NDArray[np.int8], confidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evidence of answers, shape (n, s), by the rates of the product that they are about. [-]"""
        if how is None:
            return verdict_evidence(status, self._truth.schemas, self._tile_eye, confidence, of_nulls=True)
        rates = {s: reader.rates(Action.THUMBNAIL, how[0]) for s, reader in self._rates.items()}
        return verdict_evidence(status, self._truth.schemas, Eye({s: (t, 1.0 - n) for s, (t, n) in rates.items()}))

    def _evidence_of_look(self, how: How, row: int, look: Look) -> NDArray[np.float64]:
        """Evidence of the answer on a later picture of a shot's place, shape (1, s). [-]"""
        pair = as_arrived(self._scenes.pair_at(row, look), how)  # type: ignore[attr-defined]
        verdicts = self._book(how).of_look(row, pair, self._truth.schemas, np.zeros(1, np.uint64), True)
        return self._weighed(how, *statuses_of([verdicts], len(self._truth.schemas)))

    def _answers(self, how: How, rows: Sequence[int]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        schemas, book = self._truth.schemas, self._book(how)
        return statuses_of([book.of(row, schemas) for row in rows], len(schemas))

    def _book(self, how: How) -> VerdictBook:
        if not self._open:
            self._payload.open()
            self._open = True
        if how not in self._books:
            self._books[how] = VerdictBook(
                self._payload, self._seen(how), np.zeros(len(self._truth.visible), np.uint64), self._truth, 0,
                lambda row, detail: self._failures.setdefault((row, detail)), self._cache,
            )  # fmt: skip
        return self._books[how]

    def _seen(self, how: How) -> Callable[[int], TilePair]:
        return lambda row: as_arrived(self._scenes.pair(row), how)


def statuses_of(verdicts: Sequence[Sequence[Verdict]], schemas: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Codes of statuses, -1 for what was decided from nothing, and confidences, both of shape (n, s)."""
    status = np.full((len(verdicts), schemas), -1, dtype=np.int8)
    confidence = np.full(status.shape, np.nan)
    for i, row in enumerate(verdicts):
        for j, verdict in enumerate(row):
            if answered(verdict):
                status[i, j] = STATUSES.index(verdict.status)
                confidence[i, j] = np.nan if verdict.confidence is None else verdict.confidence
    return status, confidence


def _without_names(reader: Reader) -> dict[str, Any]:
    found = reader.as_dict()
    return {"tile": found["tile"], "thumbnail": found["thumbnail"]}


def _rates_of(name: str, payload: PayloadBackend, schema: str, config: ModelConfig) -> Reader:
    """Rates of a model by product, from the scenario where it states them, else from the payload."""
    tpr, fpr = payload.rates(schema)
    tile = (tpr, 1.0 - fpr) if config.tile is None else (config.tile.sensitivity, config.tile.specificity)
    stated = {side: (r.sensitivity, r.specificity) for side, r in config.thumbnail.items()}
    declared = getattr(payload, "thumbnail_rates", None)
    if not stated and declared is not None:
        stated = {side: (seen, 1.0 - alarm) for side, (seen, alarm) in declared(schema).items()}
    if not stated:
        raise InputError(
            f"reader '{name}': payload '{payload.fingerprint}' declares no rates on thumbnails for schema '{schema}'; "
            "give them in evaluation.reader.with.thumbnail, such as {128: {sensitivity: 0.6, specificity: 0.95}}, or "
            "measure them with flightsim perceive SCENARIO --calibrate FILE."
        )
    return Reader(name, tile, tuple((side, *rates) for side, rates in sorted(stated.items())))


def calibrations_of(payload: PayloadBackend, schemas: Sequence[str]) -> dict[str, Calibration]:
    """The payload's calibrations by schema, for those that have one."""
    ask = getattr(payload, "calibration", None)
    found = {} if ask is None else {schema: ask(schema) for schema in schemas}
    return {schema: calibration for schema, calibration in found.items() if calibration is not None}


def _refuse_blind(scenario: Scenario, use: str, what: str, payload: PayloadBackend, scenes: SceneSource) -> None:
    why = ""
    if not scenes.has_pixels:
        why = f"scenes '{scenario.scenes.use}' have none"
    elif payload.needs_truth:
        why = f"{what} answers from the truth and cannot read a picture"
    if why:
        raise InputError(
            f"evaluation.reader.use is '{use}', which runs a model on decoded pictures, but {why}; use reader analyst, "
            "whose rates by product are settings (evaluation.reader.with.tile and .thumbnail)."
        )


def eye_of(payload: PayloadBackend, schemas: tuple[str, ...]) -> Eye:
    """What a payload's profile says its verdicts are worth."""
    return Eye({schema: payload.rates(schema) for schema in schemas}, calibrations_of(payload, schemas))


def ground_of(
    scenario: Scenario, payload: PayloadBackend, scenes: SceneSource, plan: Plan, truth: TruthTable
) -> Ground:
    """Who makes up the ground's mind in a scenario. Its reader may hold a model: close it with ``close_reader``.

    Raises
    ------
    InputError
        The reader is unknown, its settings are refused, or it cannot look at these scenes.
    """
    eye = eye_of(payload, truth.schemas)
    use = scenario.evaluation.reader
    config = settings_of(use.use, use.with_)
    if isinstance(config, Reader):
        return Ground(eye, DeclaredReader(config, truth, reader_draws(plan, truth.schemas, scenario.seed)))
    model, what, folder = payload, f"payload '{scenario.payload.use}'", scenario.folder
    if isinstance(config, LargerConfig):
        model, what = _built(config.payload, folder), f"payload '{config.payload.use}'"
    _refuse_blind(scenario, use.use, what, model, scenes)
    default = scenario.craft[0].radio.thumbnail
    thumbnail = (default.size_px, default.codec, default.quality)
    same = not isinstance(config, LargerConfig)
    return Ground(eye, ModelReader(use.use, model, config, scenes, truth, thumbnail, dependent=same))


def _built(use: Use, folder: Path) -> PayloadBackend:
    payload: PayloadBackend = registry.build("payloads", use.use, use.with_, folder)
    return payload


def close_reader(reader: GroundReader) -> None:
    """Let go of what a reader holds."""
    closing = getattr(reader, "close", None)
    if closing is not None:
        closing()


__all__ = [
    "MODELS", "NAMES", "LargerConfig", "ModelConfig", "ModelReader", "Thumbnail", "answered", "as_arrived",
    "calibrations_of", "close_reader", "ground_of", "settings_of", "statuses_of",
]  # fmt: skip
