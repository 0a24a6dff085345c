"""Controls: the same questions with pictures that do not hold the answer. A payload that looks does badly on them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import rng
from ..domain import ImageRef, Tile, TilePair
from ..rng import uniform_at

#: Reflectance of a blank picture, and the spread of its grain. A quality gate takes what is perfectly even for missing
#: data, what is paler for cloud and what is darker for night; then the model behind it would never be asked. [-]
GREY, GRAIN = 0.12, 0.03
#: Reflectance of one digital number where a picture's own samples do not tell it.
_STEP = 1e-4


class Control(StrEnum):
    """A way of asking that leaves a payload nothing, or the wrong thing, to look at."""

    CONTEXT_ONLY = "context_only"
    """Both pictures are blank."""
    BLANK_AFTER = "blank_after"
    """The new picture is blank."""
    SWAPPED = "swapped"
    """The pictures change places: what came has gone."""
    SHUFFLED = "shuffled"
    """The new picture is that of another pair of which the same was asked: the label is not its own."""


#: What each control means, for people.
TEXTS: Mapping[str, str] = {
    "context_only": "two blank pictures: only the words of the question are left",
    "blank_after": "a blank new picture",
    "swapped": "before and after exchanged; a change is still there, but backwards",
    "shuffled": "the new picture of another place of the same list; the old one's own hints remain",
    "always_yes": "answers yes without looking",
    "always_null": "answers no without looking",
}


@dataclass(frozen=True)
class Blank:
    """A grey picture in the layout of another, with a faint grain that is the same in all of them."""

    like: ImageRef

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands of the picture that it stands for."""
        return self.like.bands

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, rows, columns)."""
        return self.like.shape

    @property
    def bits(self) -> int:
        """Significant bits of a sample. [-]"""
        return self.like.bits

    def pixels(self) -> NDArray[Any]:
        """Grey samples in the type of the other's; display values have ``GREY`` as a share of full scale."""
        samples, values = self.like.pixels(), self.like.reflectance()
        grey = _grain(self.shape)
        scale = float(np.iinfo(samples.dtype).max) if values is None else 1.0 / _step_of(samples, values)
        return np.maximum(np.round(grey * scale), 1).astype(samples.dtype)

    def reflectance(self) -> NDArray[np.float32] | None:
        """``GREY`` but for the grain; None where the other's samples are uncalibrated. [-]"""
        return None if self.like.reflectance() is None else _grain(self.shape).astype(np.float32)

    def digest(self) -> str:
        """SHA-256 over layout and grey, as hex: blanks of one layout are one picture."""
        text = f"blank/{GREY}/{GRAIN}/{self.shape}/{self.bits}/{','.join(self.bands)}/{self.like.reflectance() is None}"
        return hashlib.sha256(text.encode()).hexdigest()


def _grain(shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Grey with grain, the same for every picture of a shape, and the same in all of its bands."""
    grain = rng.stream(0, f"evaluation/blank/{shape[1]}x{shape[2]}").uniform(-1.0, 1.0, shape[1:])
    return np.broadcast_to(GREY * (1.0 + GRAIN * grain), shape)


def _step_of(samples: NDArray[Any], values: NDArray[np.float32]) -> float:
    """Reflectance of one digital number of a calibrated picture. [-]"""
    bright = np.isfinite(values) & (samples > 0) & (values > 0)
    return float(np.median(values[bright] / samples[bright])) if bright.any() else _STEP


def altered(
    control: Control, pairs: Sequence[TilePair], seed: int, keys: NDArray[np.uint64]
) -> tuple[list[TilePair], list[int]]:
    """Altered pairs, and the numbers of the pairs that they stand for; pairs that cannot be altered are left out.

    Tiles keep their names, dates and places; only the pictures are others. Left out are pairs without a reference
    picture and, when shuffled, those without a partner of the same layout from another place.

    Parameters
    ----------
    keys
        Of the pairs, shape (n,); a partner is drawn with them.
    """
    usable = [k for k, pair in enumerate(pairs) if pair.before is not None and _image(pair.before) is not None]
    if control is Control.SHUFFLED:
        return _shuffled(pairs, usable, seed, keys)
    found = []
    for k in usable:
        before, after = pairs[k].before, pairs[k].after
        assert before is not None
        first, second = _image(before), _image(after)
        if control is Control.CONTEXT_ONLY:
            first, second = Blank(first), Blank(second)
        elif control is Control.BLANK_AFTER:
            second = Blank(second)
        else:
            first, second = second, first
        found.append(TilePair(_with(before, first), _with(after, second)))
    return found, usable


def _image(tile: Tile) -> Any:
    return tile.image


def _with(tile: Tile, image: ImageRef) -> Tile:
    return replace(tile, image=image, bands=image.bands, size_px=image.shape[1:], cloud_fraction=None)


def _shuffled(
    pairs: Sequence[TilePair], usable: Sequence[int], seed: int, keys: NDArray[np.uint64]
) -> tuple[list[TilePair], list[int]]:
    drawn = uniform_at(seed, "evaluation/shuffled", keys) if len(keys) else np.zeros(0)
    ring = sorted(usable, key=lambda k: (float(drawn[k]), k))
    found, numbers = [], []
    for at, k in enumerate(ring):
        mine = pairs[k].after
        others = (pairs[ring[(at + step) % len(ring)]].after for step in range(1, len(ring)))
        partner = next((other for other in others if _fits(mine, other)), None)
        if partner is not None:
            found.append(TilePair(pairs[k].before, _with(mine, _image(partner))))
            numbers.append(k)
    return found, numbers


def _fits(mine: Tile, other: Tile) -> bool:
    first, second = _image(mine), _image(other)
    same = first.shape == second.shape and first.bands == second.bands and first.bits == second.bits
    return bool(same and mine.place_id != other.place_id)


__all__ = ["GRAIN", "GREY", "TEXTS", "Blank", "Control", "altered"]
