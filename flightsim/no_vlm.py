"""The best that can be had without an on-board eye: simple senders on the same captures, passes and reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .belief import GroundReader, posterior_of
from .references import References
from .rng import uniform_at
from .scoring import Counts

UNIFORM_DRAWS = 20
UNIFORM_SHARES = (0.01, 0.02, 0.05, 0.10, 0.20, 0.50, 1.0)
CLOUD_LIMITS = (0.1, 0.3, 0.6)

#: What the families are, for reports; those of METRICS that need pixels on the ground are not among them.
FAMILIES = "tiles, thumbnails, each of all shots, of shots below a cloud limit, or of a random share; and nothing"


@dataclass(frozen=True, slots=True)
class Point:
    """One no-VLM sender: what it radiated and what the ground then believed, means over the draws.

    ``f1`` is None where it is undefined. ``delivered`` counts tiles.
    """

    name: str
    air_bytes: float
    f1: float | None
    delivered: float


@dataclass(frozen=True)
class _Kind:
    """One product of every tile, and what the ground would believe of it.

    A question can be answered with yes only where the evidence speaks for it; those, m of them, are sorted by falling
    posterior once, and a sender takes the ones whose tiles it delivers.
    """

    name: str
    wire: NDArray[np.int64]
    stored: NDArray[np.int64]
    row: NDArray[np.int64]  # (m,) tile of a candidate
    posterior: NDArray[np.float64]  # (m,)
    changed: NDArray[np.bool_]  # (m,)
    expected: NDArray[np.float64]  # (n,) sum of the labelled posteriors of a tile that arrived


class NoVlm:
    """No-VLM senders of one run: what ``belief.believe`` would give, without sorting for each of them again."""

    def __init__(self, references: References, reader: GroundReader, seed: int) -> None:
        self._references, self._seed = references, seed
        self._truth = truth = references.record.truth
        sizes = references.sizes
        self._kinds = [self._kind("tiles", sizes.tile_wire, sizes.tile_bytes, reader.tiles())]
        smaller = None
        for side, wire in sorted(sizes.thumbnail_wire.items()):
            if smaller is not None and np.array_equal(smaller, wire):
                continue  # no picture is enlarged: beyond the tile's own size it is the same thumbnail again
            smaller = wire
            # In storage a thumbnail is taken as large as its packets, a few per cent too much.
            self._kinds.append(self._kind(f"thumbnails {side} px", wire, wire, reader.thumbnails(side)))
        self._unseen = (truth.prior[None, :] * truth.labelled).sum(axis=1)
        self._labelled = int(np.count_nonzero(truth.labelled))
        self._positives = int(np.count_nonzero(truth.changed & truth.labelled))

    def _kind(
        self, name: str, wire: NDArray[np.int64], stored: NDArray[np.int64], evidence: NDArray[np.float64]
    ) -> _Kind:
        truth = self._truth
        posterior = posterior_of(truth.prior[None, :], evidence)
        row, column = np.nonzero((evidence > 0.0) & truth.labelled & (posterior > 0.0))
        order = np.argsort(-posterior[row, column], kind="stable")
        row, column = row[order], column[order]
        return _Kind(
            name, wire, stored, row, posterior[row, column], truth.changed[row, column],
            (posterior * truth.labelled).sum(axis=1),
        )  # fmt: skip

    def points(self) -> list[Point]:
        """Every sender of the families."""
        everything = np.ones(len(self._references.record.plan), dtype=bool)
        found = [Point("nothing", 0.0, self._counts(None, None).f1, 0.0)]
        cloud = self._references.sizes.cloud_estimate
        for kind in self._kinds:
            found.append(self._point(kind.name, kind, everything))
            for limit in CLOUD_LIMITS if np.any(cloud > min(CLOUD_LIMITS)) else ():
                with np.errstate(invalid="ignore"):
                    clear = ~(cloud > limit)  # a tile without an estimate is sent
                found.append(self._point(f"{kind.name} below {limit:.0%} cloud", kind, clear))
        return found + list(self._uniform())

    def _uniform(self) -> Iterator[Point]:
        plan = self._references.record.plan
        second = plan.time_s.astype(np.int64)
        shares = [share for share in UNIFORM_SHARES if share < 1.0]  # all of them is "tiles" itself
        drawn: dict[str, list[Point]] = {}
        for draw in range(UNIFORM_DRAWS):
            uniform = uniform_at(self._seed, f"reference/uniform/{draw}", plan.place_key, second)
            for share in shares:
                which = uniform < share
                for kind in self._kinds:
                    name = f"uniform {share:.0%} {kind.name}"
                    drawn.setdefault(name, []).append(self._point(name, kind, which))
        for name, points in drawn.items():
            scores = [p.f1 for p in points if p.f1 is not None]
            mean = float(np.mean(scores)) if len(scores) == len(points) else None
            yield Point(
                name,
                float(np.mean([p.air_bytes for p in points])),
                mean,
                float(np.mean([p.delivered for p in points])),
            )

    def _point(self, name: str, kind: _Kind, which: NDArray[np.bool_]) -> Point:
        sent = self._references.send(name, which, kind.wire, kind.stored)
        counts = self._counts(kind, sent.delivered)
        return Point(name, float(sent.air_bytes), counts.f1, float(np.count_nonzero(sent.delivered)))

    def _counts(self, kind: _Kind | None, delivered: NDArray[np.bool_] | None) -> Counts:
        """Right and wrong answers of the ground; the same as ``belief.believe`` on the whole arrays."""
        negatives = self._labelled - self._positives
        here = delivered[kind.row] if kind is not None and delivered is not None else np.zeros(0, dtype=bool)
        if kind is None or delivered is None or not here.any():
            return Counts(0, 0, self._positives, negatives)
        posterior, changed = kind.posterior[here], kind.changed[here]
        total = float(np.where(delivered, kind.expected, self._unseen).sum())
        value = 2.0 * np.cumsum(posterior) / (np.arange(1, len(posterior) + 1) + total)
        yes = posterior >= posterior[int(np.argmax(value))]
        tp = int(np.count_nonzero(changed & yes))
        fp = int(np.count_nonzero(yes)) - tp
        return Counts(tp, fp, self._positives - tp, negatives - fp)


def best_f1_at_bytes(points: list[Point], air_bytes: float) -> Point | None:
    """The highest F1 at no more bytes; None where no point has a defined F1."""
    known = [p for p in points if p.f1 is not None and p.air_bytes <= air_bytes]
    return max(known, key=lambda p: (p.f1 or 0.0, -p.air_bytes)) if known else None


def cheapest_at_f1(points: list[Point], f1: float) -> Point | None:
    """The fewest bytes with at least this F1; None where no point reaches it."""
    reaching = [p for p in points if p.f1 is not None and p.f1 >= f1]
    return min(reaching, key=lambda p: p.air_bytes) if reaching else None


__all__ = ["FAMILIES", "NoVlm", "Point", "best_f1_at_bytes", "cheapest_at_f1"]
