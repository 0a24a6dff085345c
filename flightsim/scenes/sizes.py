"""Scenes without pixels: places, truth and realistic product sizes, for studies of orbit, link and policy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..domain import Look, Plan, Tile, TilePair, TruthTable
from ..protocols import PluginConfig
from ..rng import uniform_at
from ..scenario.models import Camera, Targets
from ..scenario.quantities import Bytes
from . import happenings

#: Mean WebP bytes at quality 60 of 20 real pictures by longer side, and lossless 16-bit PNG over raw 12-bit samples of
#: eight real six-band Sentinel-2 tiles of 128 px; `python -m benchmarks product_bytes` prints both. Between the points
#: the logarithms are interpolated.
_THUMBNAIL_BYTES = {64: 638.0, 128: 2179.0, 256: 7549.0}
_LOSSLESS_RATIO = 0.66
#: Above this cover a tile counts as hidden from every eye.
HIDDEN_CLOUD_FRACTION = 0.6
#: Share of a product's bytes that a fully clouded tile still needs, engineering values: a blank white thumbnail
#: shrinks to a few hundred bytes, lossless coding keeps the sensor's noise.
_CLOUD_SHRINK = {"thumbnail": 0.35, "tile": 0.7}


class Sizes:
    """Places with truth and sizes, no pictures."""

    class Config(PluginConfig):
        """Sizes in bytes; what is absent is a measured mean, varied from tile to tile by ``spread``."""

        raw_bytes: Annotated[Bytes, Field(gt=0)] | None = None
        """Raw capture in storage. [B] Default: tile_px squared x bands x bits / 8."""
        tile_bytes: Annotated[Bytes, Field(gt=0)] | None = None
        """Lossless tile. [B] Default: 0.66 of the raw capture."""
        thumbnail_bytes: dict[Annotated[int, Field(gt=0)], Annotated[Bytes, Field(gt=0)]] | None = None
        """Thumbnail by longer side in pixels. [B] Default: measured WebP sizes."""
        verdict_bytes: Annotated[Bytes, Field(gt=0)] | None = None
        """A tile's verdict record. [B] Default: the record is really encoded."""
        spread: Annotated[float, Field(ge=0, le=1)] = 0.25
        """Standard deviation of the logarithm of sizes that are not given. [-]"""

    has_pixels: ClassVar[bool] = False

    def __init__(self, config: Config, base_folder: Path = Path(".")) -> None:
        self._config = config
        self._sizes: dict[tuple[str, int | None], NDArray[np.int64]] = {}

    @property
    def verdict_bytes(self) -> int | None:
        """Fixed size of a verdict record, if the scenario gives one. [B]"""
        return self._config.verdict_bytes

    def prepare(self, plan: Plan, schemas: Sequence[str], targets: Targets, camera: Camera, seed: int) -> TruthTable:
        """Truth of every shot, from events and clouds keyed by place and time."""
        self._plan, self._camera, self._seed = plan, camera, seed
        n = len(plan)
        self._clouds = targets.clouds
        self._true_cloud = happenings.cloud_fraction(plan, targets.clouds.mean_fraction, seed)
        self._estimate: list[float] = self._estimates(self._true_cloud, plan.place_key, plan.time_s).tolist()
        self._places = list(plan.place_id)
        self._size_px = (camera.tile_px, camera.tile_px)
        self._pair = lru_cache(maxsize=256)(self._make_pair)
        self._time: list[float] = plan.time_s.tolist()
        self._before: list[float] = plan.before_s.tolist()
        self._lat: list[float] = plan.lat_deg.tolist()
        self._lon: list[float] = plan.lon_deg.tolist()
        self._gsd: list[float] = plan.gsd_m.tolist()
        truth = np.zeros((n, len(schemas)), dtype=bool)
        for column, schema in enumerate(schemas):
            truth[:, column] = happenings.changed(
                plan, schema, targets.prevalence_of(schema), targets.event_duration, targets.event_tiles, seed
            )
        day = np.floor(plan.time_s / 86400.0).astype(np.int64)
        _, cluster = np.unique(np.stack([plan.block_key.view(np.int64), day], axis=1), axis=0, return_inverse=True)
        return TruthTable(
            schemas=tuple(schemas),
            changed=truth,
            labelled=np.ones_like(truth),
            visible=self._true_cloud <= HIDDEN_CLOUD_FRACTION,
            cluster=cluster.ravel().astype(np.int64),
            prior=np.array([targets.prevalence_of(schema) for schema in schemas]),
        )

    def pair(self, row: int) -> TilePair:
        """Both tiles of a shot, without images."""
        # Asked by the payload and again by the policy: the last few are kept.
        return self._pair(row)

    def _make_pair(self, row: int) -> TilePair:
        place, size, bands = self._places[row], self._size_px, self._camera.bands
        lat, lon, gsd, before_s = self._lat[row], self._lon[row], self._gsd[row], self._before[row]
        before = Tile(f"{place}@{int(before_s)}", place, before_s, lat, lon, gsd, size, bands)
        after = Tile(self._plan.tile_ids[row], place, self._time[row], lat, lon, gsd, size, bands, self._estimate[row])
        return TilePair(before, after)

    def pair_at(self, row: int, look: Look) -> TilePair:
        """The row's reference and another tile of its place, without images; clouds are those of the later day."""
        before, place = self.pair(row).before, self._places[row]
        cloud = self._cloud_at(row, look)
        (estimate,) = self._estimates(cloud, self._plan.place_key[row : row + 1], np.array([look.time_s])).tolist()
        after = Tile(
            self._plan.look_id(row, look.time_s), place, look.time_s, self._lat[row], self._lon[row], look.gsd_m,
            self._size_px, self._camera.bands, estimate,
        )  # fmt: skip
        return TilePair(before, after)

    def visible_at(self, row: int, look: Look) -> bool:
        """Whether the clouds of that day leave the place visible; truth."""
        return bool(self._cloud_at(row, look)[0] <= HIDDEN_CLOUD_FRACTION)

    def product_bytes_at(self, row: int, look: Look, kind: str, size_px: int | None) -> int:
        """Encoded bytes of a ``thumbnail`` or ``tile`` of another picture. [B]"""
        second = np.array([int(look.time_s)])
        key = self._plan.place_key[row : row + 1]
        return int(self._sized(kind, size_px, key, second, self._cloud_at(row, look))[0])

    def _cloud_at(self, row: int, look: Look) -> NDArray[np.float64]:
        """True cloud cover of a row's place at another time, shape (1,). [-]"""
        plan, one = self._plan, slice(row, row + 1)
        return happenings.cloud_fraction_at(
            plan.block_key[one], plan.place_key[one], np.array([look.time_s]), self._clouds.mean_fraction, self._seed
        )

    def _estimates(
        self, true_cloud: NDArray[np.float64], place_key: NDArray[np.uint64], time_s: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Cloud cover as estimated on board, shape (n,). [-]"""
        if self._clouds.mean_fraction <= 0:
            return np.zeros(len(true_cloud))
        noise = self._normal("cloud/estimate", place_key, time_s.astype(np.int64)) * self._clouds.estimate_sd
        return np.asarray(np.round(np.clip(true_cloud + noise, 0.0, 1.0), 3))

    def cloud_estimates(self) -> NDArray[np.float64]:
        """Cloud cover of every shot as estimated on board, shape (n,). [-]"""
        return np.array(self._estimate)

    def raw_bytes(self, row: int) -> int:
        """Raw capture: all samples at the camera's bits. [B]"""
        if self._config.raw_bytes is not None:
            return self._config.raw_bytes
        camera = self._camera
        return -(-(camera.tile_px**2) * len(camera.bands) * camera.bits // 8)

    def product_bytes(self, row: int, kind: str, size_px: int | None) -> int:
        """Encoded bytes of a ``thumbnail`` or ``tile``. [B]"""
        return int(self.product_bytes_all(kind, size_px)[row])

    def product_bytes_all(self, kind: str, size_px: int | None) -> NDArray[np.int64]:
        """The same for every shot, shape (n,). [B]"""
        key = (kind, size_px if kind == "thumbnail" else None)
        if key not in self._sizes:
            second = self._plan.time_s.astype(np.int64)
            self._sizes[key] = self._sized(*key, self._plan.place_key, second, self._true_cloud)
        return self._sizes[key]

    def _sized(
        self,
        kind: str,
        size_px: int | None,
        place_key: NDArray[np.uint64],
        second: NDArray[np.int64],
        true_cloud: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        if kind == "tile":
            given: int | None = self._config.tile_bytes
            mean = _LOSSLESS_RATIO * self.raw_bytes(0)
        elif kind == "thumbnail" and size_px is not None:
            size_px = min(size_px, self._camera.tile_px)  # a picture is never enlarged
            table = self._config.thumbnail_bytes or {}
            given = table.get(size_px)
            points = {k: float(v) for k, v in table.items()} or _THUMBNAIL_BYTES
            sides = sorted(points)
            mean = float(np.exp(np.interp(np.log(size_px), np.log(sides), np.log([points[s] for s in sides]))))
            if not sides[0] <= size_px <= sides[-1]:
                nearest = min(sides, key=lambda side: abs(side - size_px))
                mean = points[nearest] * (size_px / nearest) ** 1.75  # slope of the measured sizes
        else:
            raise ValueError(f"no size for a product of kind '{kind}'")
        if given is not None:
            return np.full(len(second), given, dtype=np.int64)
        sigma = self._config.spread
        factor = np.exp(sigma * self._normal(f"size/{kind}", place_key, second) - 0.5 * sigma**2)
        shrink = 1.0 - (1.0 - _CLOUD_SHRINK[kind]) * true_cloud
        return np.maximum(64, np.round(mean * factor * shrink)).astype(np.int64)

    def _normal(self, name: str, place_key: NDArray[np.uint64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """Standard normal number of each picture, keyed by place and whole second, shape (n,). [-]"""
        from scipy.special import ndtri

        uniform = uniform_at(self._seed, name, place_key, second)
        return np.asarray(ndtri(np.clip(uniform, 1e-12, 1.0 - 1e-12)))
