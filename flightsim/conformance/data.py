"""Made-up observations and pictures for the conformance checks: small, fixed, and at the edges of what can happen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import rng
from ..domain import (
    SCHEMA_IDS,
    Action,
    BudgetView,
    ContactForecast,
    Observation,
    PowerView,
    QueueView,
    Tile,
    TilePair,
    TruthTable,
    Verdict,
    VerdictStatus,
)

_BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
_COSTS = {Action.NOTHING: 0, Action.VERDICT: 96, Action.THUMBNAIL: 4_700, Action.TILE: 131_000}


def _verdicts(tile: str, statuses: Sequence[VerdictStatus], confidence: float | None) -> tuple[Verdict, ...]:
    reasons = {VerdictStatus.UNCLASSIFIABLE: "cloud", VerdictStatus.INVALID: "no JSON"}
    answered = (VerdictStatus.EVENT, VerdictStatus.NULL)
    return tuple(
        Verdict(
            tile, schema, status, {} if status is VerdictStatus.EVENT else None,
            confidence if status in answered else None, "conformance/1", reasons.get(status, ""),
        )
        for schema, status in zip(SCHEMA_IDS, statuses, strict=False)
    )  # fmt: skip


def observations() -> dict[str, Observation]:
    """Observations by what is special about them, in time order. [s, B, deg]"""
    null, event = VerdictStatus.NULL, VerdictStatus.EVENT
    unclear, invalid = VerdictStatus.UNCLASSIFIABLE, VerdictStatus.INVALID
    day = 86400.0
    contacts = tuple(ContactForecast("svalbard", k * 6000.0, k * 6000.0 + 420.0, 6_000_000) for k in range(1, 9))
    tile = Tile("0012:0345@600", "0012:0345", 600.0, 61.5, 10.25, 10.0, (128, 128), _BANDS, 0.1)
    before = replace(tile, id="0012:0345@-2592000", captured_s=-30 * day)
    usual = Observation(
        600.0, TilePair(before, tile), _verdicts(tile.id, [null, event, *[null] * 5], 0.9), QueueView(3, 14_000, 12.5),
        2**30, PowerView(0.8, True), contacts, BudgetView(5_900_000, 48_000_000, 300_000_000), dict(_COSTS), {},
        dict.fromkeys(SCHEMA_IDS, 0.03),
    )  # fmt: skip
    changes: dict[str, dict[str, Any]] = {
        "one event": {},
        "no verdicts": {"verdicts": ()},
        "all nulls": {"verdicts": _verdicts(tile.id, [null] * 7, 0.97)},
        "all events": {"verdicts": _verdicts(tile.id, [event] * 7, 0.99)},
        "events without confidence": {"verdicts": _verdicts(tile.id, [event, null, event], None)},
        "confidence 0": {"verdicts": _verdicts(tile.id, [event, null], 0.0)},
        "confidence 1": {"verdicts": _verdicts(tile.id, [event, null], 1.0)},
        "all unclassifiable": {"verdicts": _verdicts(tile.id, [unclear] * 7, None)},
        "all invalid": {"verdicts": _verdicts(tile.id, [invalid] * 7, None)},
        "a bit of everything": {"verdicts": _verdicts(tile.id, [event, unclear, invalid, null], 0.6)},
        "no contacts": {"next_contacts": (), "allowance": BudgetView(0, 0, 0)},
        "zero allowance": {"allowance": BudgetView(0, 0, 0)},
        "one byte left": {"allowance": BudgetView(1, 1, 1)},
        "no storage": {"storage_free_bytes": 0},
        "huge queue": {"queue": QueueView(10**7, 10**13, 0.0), "allowance": BudgetView(0, 0, 10**9)},
        "empty queue": {"queue": QueueView(0, 0, None)},
        "ample link": {"allowance": BudgetView(10**10, 10**12, 10**13), "queue": QueueView(0, 0, None)},
        "no reference": {"pair": TilePair(None, tile)},
        "cloud unknown": {"pair": TilePair(before, replace(tile, cloud_fraction=None))},
        "all cloud": {"pair": TilePair(before, replace(tile, cloud_fraction=1.0))},
        "no priors": {"priors": {}},
        "priors 0 and 1": {"priors": {SCHEMA_IDS[0]: 0.0, SCHEMA_IDS[1]: 1.0}},
        "no battery in view": {"power": PowerView()},
        "empty battery": {"power": PowerView(0.0, False)},
        "can look again": {"next_look_s": 86_000.0, "costs_bytes": {**_COSTS, Action.REIMAGE: 0}},
        "hidden, can look again": {
            "verdicts": _verdicts(tile.id, [unclear] * 7, None),
            "next_look_s": 40_000.0,
            "costs_bytes": {**_COSTS, Action.REIMAGE: 0},
        },
        "looked again": {"looks": 2},
        "late in the mission": {"now_s": 366 * day, "next_contacts": contacts[:1]},
    }
    seen: dict[str, Observation] = {}
    for k, (case, change) in enumerate(changes.items()):
        made = replace(usual, **change)
        # Another tile and moment each, so that a policy with a memory meets a sequence and not one tile again.
        after = replace(
            made.pair.after, id=f"0012:{k:04d}@{600 + 9 * k}", place_id=f"0012:{k:04d}", captured_s=600.0 + 9 * k
        )
        verdicts = tuple(replace(verdict, tile_id=after.id) for verdict in made.verdicts)
        now_s = max(made.now_s, after.captured_s)
        own: dict[str, Any] = {"costs_bytes": dict(made.costs_bytes), "neighbours": {}, "priors": dict(made.priors)}
        seen[case] = replace(made, now_s=now_s, pair=replace(made.pair, after=after), verdicts=verdicts, **own)
    return seen


@dataclass(frozen=True)
class Picture:
    """An image in memory, 12-bit reflectance scaled by 4000."""

    samples: NDArray[np.uint16]
    bands: tuple[str, ...] = _BANDS
    bits: int = 12

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, rows, columns)."""
        b, r, c = self.samples.shape
        return b, r, c

    def pixels(self) -> NDArray[Any]:
        """Samples, shape (bands, rows, columns). [-]"""
        return self.samples

    def reflectance(self) -> NDArray[np.float32]:
        """Reflectance, NaN where all bands are zero, same shape. [-]"""
        values = self.samples.astype(np.float32) / np.float32(4000.0)
        values[:, ~self.samples.any(axis=0)] = np.nan
        return values

    def digest(self) -> str:
        """SHA-256 over shape, dtype, bands and samples, as hex."""
        head = f"{self.samples.shape}{self.samples.dtype}{self.bands}".encode()
        return hashlib.sha256(head + self.samples.tobytes()).hexdigest()


#: Typical surface reflectance in the bands above, for contrast only; no check depends on the values. [-]
_SURFACES = {
    "field": (0.05, 0.08, 0.06, 0.40, 0.22, 0.12),
    "water": (0.06, 0.05, 0.03, 0.02, 0.01, 0.01),
    "snow": (0.80, 0.80, 0.79, 0.70, 0.10, 0.08),
    "soil": (0.10, 0.14, 0.19, 0.27, 0.35, 0.30),
    "burnt": (0.05, 0.06, 0.07, 0.12, 0.25, 0.28),
}


def _picture(name: str, left: str, right: str, size_px: int) -> Picture:
    """Two surfaces side by side with a little texture, the same at each call."""
    texture = rng.stream(0, f"conformance/{name}").normal(1.0, 0.03, (len(_BANDS), size_px, size_px))
    surface = np.empty_like(texture)
    surface[:, :, : size_px // 2] = np.array(_SURFACES[left])[:, None, None]
    surface[:, :, size_px // 2 :] = np.array(_SURFACES[right])[:, None, None]
    return Picture(np.clip(np.round(surface * texture * 4000.0), 1, 4095).astype(np.uint16))


def picture_pairs() -> dict[str, TilePair]:
    """Small pairs with pixels, by what they show; the one called ``no data`` is zero everywhere."""
    cases = {
        "quiet": (("field", "soil"), ("field", "soil")),
        "flooded": (("field", "soil"), ("water", "soil")),
        "thawed": (("snow", "water"), ("water", "water")),
        "burnt": (("field", "field"), ("burnt", "field")),
        "cleared": (("field", "field"), ("field", "soil")),
    }
    pairs: dict[str, TilePair] = {}
    for k, (case, (old, new)) in enumerate(cases.items()):
        size = 64 if k % 2 else 48
        pairs[case] = _pair(case, k, _picture(f"{case}/old", *old, size), _picture(f"{case}/new", *new, size))
    blank = Picture(np.zeros((len(_BANDS), 64, 64), dtype=np.uint16))
    pairs["no data"] = _pair("no data", len(pairs), _picture("no data/old", "field", "soil", 64), blank)
    return pairs


def _pair(case: str, k: int, old: Picture, new: Picture) -> TilePair:
    place = f"conformance-{case.replace(' ', '-')}"
    after = Tile(
        f"{place}@{1000 + k}", place, 1000.0 + k, 45.0, 7.0 + 0.01 * k, 10.0, new.shape[1:], _BANDS, 0.0, new
    )  # fmt: skip
    before = replace(after, id=f"{place}@0", captured_s=0.0, image=old)
    return TilePair(before, after)


def truth_for(cases: Sequence[str], schemas: Sequence[str]) -> tuple[TruthTable, NDArray[np.uint64]]:
    """A made-up truth for pairs, and keys for draws, for payloads that declare ``needs_truth``."""
    n, s = len(cases), len(schemas)
    changed = (np.arange(n * s).reshape(n, s) % 3) == 0
    visible = np.array([case != "no data" for case in cases], dtype=np.bool_)
    table = TruthTable(
        tuple(schemas), changed, np.ones((n, s), dtype=np.bool_), visible, np.arange(n, dtype=np.int64),
        np.full(s, 0.33),
    )  # fmt: skip
    return table, rng.keys_of([f"conformance/{case}" for case in cases])


__all__ = ["Picture", "observations", "picture_pairs", "truth_for"]
