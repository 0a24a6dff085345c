"""What can be said of a pair before a model is asked: nothing to compare, nothing to see, or pictures to be shown."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from flightsim.domain import ImageRef, TilePair, UnclassifiableReason, VerdictStatus
from flightsim.errors import InputError

from ..indices import View
from ..prefilter import Gate, GateConfig, gate
from ..tasks.change import Fault
from .engine import Picture
from .pictures import PictureError, PictureSettings, picture

#: Pairs whose gate is kept, each with a mask of a byte a pixel.
_KEPT = 128
#: Verdicts whose reason says that there was nothing to decide from carry the confidence of a coin. [-]
NO_EVIDENCE = 0.5


@dataclass(frozen=True)
class Refusal:
    """The one answer to every question about a pair that is not shown to the model."""

    status: VerdictStatus
    reason: str
    confidence: float | None = None


@dataclass(frozen=True)
class Shown:
    """A pair as the model is shown it."""

    before: Picture
    after: Picture
    composite: str


class PairGate:
    """The quality gate and the model's pictures, for one profile.

    Notes
    -----
    Every picture that the model cannot be shown (too small, too large, without a band of any composite) is INVALID
    with reason ``picture``: a fault that is counted, not a NULL. No reference picture is NULL with reason
    ``no_reference`` and confidence 0.5, and two pictures of different size are ``misregistered``, as with ``spectral``.
    """

    def __init__(self, payload: str, config: GateConfig, pictures: PictureSettings) -> None:
        self._payload, self._config, self._pictures = payload, config, pictures
        self._known: OrderedDict[tuple[str, str], Gate] = OrderedDict()

    def cloud_fraction(self, pair: TilePair) -> float | None:
        """Cloud cover of the new picture; None where there are no two pictures that the gate can compare. [-]"""
        images = self._images(pair)
        if images is None or images[0].shape[1:] != images[1].shape[1:] or self._fault(images) is not None:
            return None
        return self._gated(*images).cloud_after

    def look(self, pair: TilePair) -> Shown | Refusal:
        """The pair as the model is shown it, or why it is not shown.

        Raises
        ------
        InputError
            The new tile has no pixels.
        """
        if pair.after.image is None:
            raise InputError(f"payload '{self._payload}' looks at pixels; tile '{pair.after.id}' has none.")
        images = self._images(pair)
        if images is None:
            return Refusal(VerdictStatus.NULL, "no_reference", NO_EVIDENCE)
        fault = self._fault(images)
        if fault is not None:
            return Refusal(VerdictStatus.INVALID, f"{Fault.PICTURE}: {fault}")
        if images[0].shape[1:] != images[1].shape[1:]:
            return Refusal(VerdictStatus.UNCLASSIFIABLE, str(UnclassifiableReason.MISREGISTERED))
        seen = self._gated(*images)
        if seen.reason is not None:
            return Refusal(VerdictStatus.UNCLASSIFIABLE, str(seen.reason))
        composite = self._pictures.choose(_common(*images))
        assert composite is not None  # else it were a fault
        before, after = (picture(image, composite, self._pictures) for image in images)
        return Shown(before, after, composite.name)

    def _images(self, pair: TilePair) -> tuple[ImageRef, ImageRef] | None:
        if pair.before is None or pair.before.image is None or pair.after.image is None:
            return None
        return pair.before.image, pair.after.image

    def _fault(self, images: tuple[ImageRef, ImageRef]) -> str | None:
        """Why the model cannot be shown the pictures, before any of their pixels is read."""
        for image in images:
            try:
                self._pictures.check_size(image.shape[1:])
            except PictureError as error:
                return str(error)
        if self._pictures.choose(_common(*images)) is not None:
            return None
        wanted = " or ".join(", ".join(dict.fromkeys(item.bands)) for item in self._pictures.composites)
        return (
            f"both pictures have bands {', '.join(_common(*images)) or 'none in common'}; the model is shown {wanted}"
        )

    def _gated(self, before: ImageRef, after: ImageRef) -> Gate:
        """What the gate says; kept for the last pairs, for cloud cover and answers are asked one after the other."""
        key = (before.digest(), after.digest())
        if key not in self._known:
            self._known[key] = gate(View.of(before), View.of(after), self._config)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._known[key]


def _common(before: ImageRef, after: ImageRef) -> tuple[str, ...]:
    return tuple(band for band in after.bands if band in before.bands)


__all__ = ["NO_EVIDENCE", "PairGate", "Refusal", "Shown"]
