"""Training pairs of the generated world, kept on disk: pictures, masks and true fields.

A pair costs some 25 ms to make and is looked at many times, so pairs are made once, in shards, on all cores asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from flightsim.domain import SCHEMA_IDS
from flightsim.rng import stream
from flightsim.scenes.sizes import HIDDEN_CLOUD_FRACTION

from ..tasks.change import CELLS

#: Reflectance is kept as its square root in 8 bits, full scale at 0.8: finer than the sensor's noise where it is dark.
TOP = 0.8
#: Cells of the stored masks along a side.
GRID = 16
#: Stated share of positives of each schema, mean cloud cover of the new pictures, and the most that may be hidden, as
#: in the definition of a visible place. [-]
PREVALENCE, CLOUD, MOST_HIDDEN = 0.10, 0.15, HIDDEN_CLOUD_FRACTION
#: Share of the tiles without any event that is kept. [-]
QUIET_SHARE = 0.15
#: Most tiles of a block that are kept for an event of one schema: what one block shows is alike.
MOST_TILES = 4

#: Ground sample distance [m] and range of the references' age [d] of a shard, in turn: mostly those of a mission that
#: looks every few weeks, some of archives with years between the pictures, some of coarser cameras.
VIEWS = (
    *((10.0, (10.0, 90.0)),) * 3, (10.0, (200.0, 1400.0)), (10.0, (10.0, 90.0)), (20.0, (10.0, 400.0)),
    *((10.0, (10.0, 90.0)),) * 2, (10.0, (10.0, 400.0)), (40.0, (10.0, 1400.0)),
)  # fmt: skip

_SCHEMAS = len(SCHEMA_IDS)
_LAYOUT: dict[str, tuple[tuple[int, ...], str]] = {
    "pictures": ((2, 6, 128, 128), "uint8"),
    "changed": ((_SCHEMAS, GRID, GRID), "uint8"),
    "unclear": ((_SCHEMAS, GRID, GRID), "uint8"),
    "block": ((), "int32"),
    "positive": ((_SCHEMAS,), "bool"),
    "labelled": ((_SCHEMAS,), "bool"),
    "increase": ((_SCHEMAS,), "bool"),
    "severity": ((_SCHEMAS,), "uint8"),
    "share": ((_SCHEMAS,), "float32"),
    "where": ((_SCHEMAS,), "uint8"),
    "box": ((_SCHEMAS, 4), "float32"),
}
#: Severities in the order of their numbers.
SEVERITIES = ("none", "low", "moderate", "severe")


class PictureFile:
    """Pictures of a shard on disk. They are read, not mapped: a mapped page's first touch can take longer than that."""

    def __init__(self, path: Path) -> None:
        mapped = np.load(path, mmap_mode="r")
        self._start, self.count, self.shape = mapped.offset, len(mapped), mapped.shape[1:]
        self._file = path.open("rb", buffering=0)
        finalize(self, self._file.close)

    def read(self, row: int, room: NDArray[np.uint8]) -> None:
        """Read the pictures of a pair into an array of their shape."""
        self._file.seek(self._start + row * room.nbytes)
        if self._file.readinto(room.data) != room.nbytes:
            raise OSError(
                f"'{self._file.name}' ends within the pictures of pair {row}; remove its shard to make it anew"
            )


@dataclass(frozen=True)
class Pairs:
    """Pairs with their truth; the first axis of every array is the pair.

    ``pictures`` (n, 2, 6, rows, columns): before and after, bands B02 B03 B04 B08 B11 B12, square root of
    reflectance / 0.8 in 255 steps. ``changed``, ``unclear`` (n, 7, 16, 16): share of each cell's pixels in 255 steps.
    ``block`` (n,): number of the block of land, no two alike in all shards. ``positive``, ``labelled``, ``increase``,
    ``severity``, ``share``, ``where`` (n, 7) and ``box`` (n, 7, 4): fields.
    """

    pictures: Sequence[PictureFile]
    offsets: NDArray[np.int64]
    changed: NDArray[np.uint8]
    unclear: NDArray[np.uint8]
    block: NDArray[np.int32]
    positive: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    increase: NDArray[np.bool_]
    severity: NDArray[np.uint8]
    share: NDArray[np.float32]
    where: NDArray[np.uint8]
    box: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.positive)

    def look(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures of some pairs, shape (len(rows), 2, 6, rows, columns)."""
        shard = np.searchsorted(self.offsets, rows, side="right") - 1
        seen = np.empty((len(rows), *self.pictures[0].shape), dtype=np.uint8)
        for room, k, row in zip(seen, shard, rows, strict=True):
            self.pictures[k].read(int(row - self.offsets[k]), room)
        return seen


def make_shard(folder: Path, region: str, seed: int, number: int, blocks: int) -> int:
    """Make a shard of some blocks unless it is there, and give its number of pairs. Equal arguments, equal pairs.

    One that an older world or recipe made is made anew.
    """
    done = folder / f"{region}-{seed}-{number:03d}"
    mark = done / "done.json"
    if mark.is_file() and (told := json.loads(mark.read_text())).get("recipe") == recipe(blocks):
        return int(told["pairs"])
    mark.unlink(missing_ok=True)
    rows = list(_sampled(region, seed, number, blocks))
    done.mkdir(parents=True, exist_ok=True)
    for name, (shape, dtype) in _LAYOUT.items():
        array = np.array([row[name] for row in rows], dtype=dtype).reshape(len(rows), *shape)
        np.save(done / f"{name}.npy", array, allow_pickle=False)
    partial = done / "done.json.partial"
    partial.write_text(json.dumps({"pairs": len(rows), "recipe": recipe(blocks)}))
    os.replace(partial, done / "done.json")
    return len(rows)


def recipe(blocks: int) -> str:
    """Digest of what pairs follow from, beside region, seed and number of the shard."""
    from flightsim.scenes.synthetic.source import code_digest

    said = (code_digest(), blocks, PREVALENCE, CLOUD, MOST_HIDDEN, QUIET_SHARE, MOST_TILES, GRID, TOP, VIEWS)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def _sampled(region: str, seed: int, number: int, blocks: int) -> Iterator[dict[str, Any]]:
    from flightsim.scenes.synthetic import truth
    from flightsim.scenes.synthetic.sampling import sample_world

    gsd_m, age_days = VIEWS[number % len(VIEWS)]
    source, plan, table = sample_world(
        blocks, seed * 100_003 + number, region=region, prevalence=PREVALENCE, cloud_fraction=CLOUD,
        gsd_m=gsd_m, age_days=age_days,
    )  # fmt: skip
    positive = table.changed & table.labelled
    hidden = np.array([source.hidden_fraction(row) for row in range(len(plan))])
    luck = stream(seed, f"train/quiet/{region}/{number}").random(len(plan))
    for row in np.flatnonzero(_kept(positive, plan.area, hidden <= MOST_HIDDEN, luck)).tolist():
        pair = source.pair(row)
        assert pair.before is not None
        found = source.change(row)
        yield {
            "pictures": np.stack([_coded(tile.image) for tile in (pair.before, pair.after)]),
            "changed": _cells(found.changed),
            "unclear": _cells(found.unclear),
            "block": number * blocks + int(plan.area[row]),
            "positive": positive[row],
            "labelled": table.labelled[row],
            **_fields(found, truth),
        }


def _kept(
    positive: NDArray[np.bool_], area: NDArray[np.integer[Any]], seen: NDArray[np.bool_], luck: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tiles to keep (n,): the luckiest MOST_TILES of a block for each schema with events (n, 7), some quiet ones."""
    kept = seen & ~positive.any(axis=1) & (luck < QUIET_SHARE)
    for events in positive.T:
        for block in np.unique(area[events & seen]):
            rows = np.flatnonzero(events & seen & (area == block))
            kept[rows[np.argsort(luck[rows])[:MOST_TILES]]] = True
    return kept


def _coded(image: Any) -> NDArray[np.uint8]:
    share = np.clip(np.nan_to_num(image.reflectance()) / np.float32(TOP), 0, 1)
    return np.asarray(np.sqrt(share) * 255.0 + 0.5, dtype=np.uint8)


def _cells(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    count, rows, cols = masks.shape
    blocks = masks.reshape(count, GRID, rows // GRID, GRID, cols // GRID)
    return np.asarray(blocks.mean(axis=(2, 4)) * 255.0 + 0.5, dtype=np.uint8)


def _fields(found: Any, truth: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: np.zeros(shape, dtype=dtype)
        for name, (shape, dtype) in _LAYOUT.items()
        if name in ("increase", "severity", "share", "where", "box")
    }
    for k, schema in enumerate(SCHEMA_IDS):
        mask = found.masks[schema]
        count = int(np.count_nonzero(mask))
        if not count:
            continue
        share = count / mask.size
        fields["increase"][k] = found.direction(schema) == "increase"
        fields["severity"][k] = SEVERITIES.index(truth.severity(schema, share, count))
        fields["share"][k] = share
        fields["where"][k] = CELLS.index(truth.where(mask))
        fields["box"][k] = truth.box(mask)
    return fields


def make_pairs(
    folder: Path,
    region: str,
    seed: int,
    shards: int,
    blocks: int,
    processes: int,
    told: Callable[[int], None] | None = None,
) -> int:
    """Make the shards that are missing, on some processes, and give the number of pairs.

    ``told`` gets the number of finished shards.
    """
    from joblib import Parallel, delayed

    jobs = (delayed(make_shard)(folder, region, seed, number, blocks) for number in range(shards))
    total = 0
    # One at a time: shards that are there already would have joblib hand out many together, to one process.
    for done, count in enumerate(Parallel(n_jobs=processes, return_as="generator", batch_size=1)(jobs), 1):
        total += count
        if told is not None:
            told(done)
    return total


def load_pairs(folder: Path, region: str, seed: int, shards: int) -> Pairs:
    """Pairs of finished shards; pictures stay on disk until they are looked at."""
    places = [folder / f"{region}-{seed}-{number:03d}" for number in range(shards)]
    pictures = [PictureFile(place / "pictures.npy") for place in places]
    counts = np.array([part.count for part in pictures])
    rest = {
        name: np.concatenate([np.load(place / f"{name}.npy") for place in places])
        for name in _LAYOUT
        if name != "pictures"
    }
    return Pairs(pictures, np.concatenate([[0], np.cumsum(counts)[:-1]]), **rest)
