"""Scenes from a SimSat server: real Sentinel-2 pictures of the places and times that the orbit meets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..domain import Plan, Tile, TilePair, TruthTable
from ..errors import InputError, RunError
from ..protocols import PluginConfig
from ..scenario.models import Camera, Targets
from ..scenario.quantities import Duration
from ..store import cache_folder
from . import pictures
from .place_labels import PlaceLabel, label_table, read_labels
from .regrid import area_mean
from .simsat_answers import BAND_NAMES, NATIVE_GSD_M, Cause, Request
from .simsat_client import Client, Http, Outcome
from .visits import start_of

#: A pair counts as hidden from every eye where a picture has less data than this, engineering value. [-]
VISIBLE_DATA_SHARE = 0.5
#: A picture counts as saturated where more of it than this is at its ceiling in all bands, engineering value. [-]
SATURATED_SHARE = 0.5
#: Ceiling of a sample: white of a display picture, reflectance 1 of a digital number.
_CEILING = {8: 255, 16: 10_000}
#: A picture with less data than this is told as partly black. [-]
_WHOLE_DATA_SHARE = 0.99
#: What a count means, in the words of a note.
_SAID = {
    "partial_no_data": "pictures partly without data (edge of a scene)",
    "saturated": "pictures more than half saturated",
    "resampled": "pictures brought from another size to the tile's by area means",
    "same_acquisition": "shots whose reference is the same acquisition, so that nothing new is seen",
    "no_metadata": "pictures without metadata: place and time could not be checked",
    "bad_metadata": "pictures with impossible metadata (cloud cover outside 0 to 100 %, broken time or footprint)",
    "cloud_unit_unclear": "pictures whose cloud cover may be a percentage or a fraction (it is used for nothing)",
    "cache_damaged": "kept pictures that were damaged and fetched anew",
    "retries": "requests that had to be repeated",
}


@dataclass(frozen=True)
class _Picture:
    """What is known about one picture that was asked for."""

    request: Request
    lost: Cause | None
    metadata: Mapping[str, Any]
    data_share: float
    saturated_share: float


class SimSat:
    """Real pictures from a server that speaks DPhi SimSat's HTTP interface, one request a place and time.

    Notes
    -----
    A request covers the tile's ground (``tile_px`` times ``gsd_m``); what comes is a few per cent larger or smaller,
    for the server cuts in UTM, and is brought to ``tile_px`` by area means: nothing is cropped or padded.
    The picture of a time is the newest acquisition of the ``window`` before it, so it may be days old, and clouded.
    The server's cloud cover is that of a whole scene; it is kept as metadata and decides nothing. What share of a
    picture is without data or saturated is measured on its pixels.
    There is no truth: all questions are unlabelled unless ``labels`` names a file.
    With ``strict`` the first picture that cannot be had ends the run. Without, its shot shows no data at all and is
    not visible, so that an eye must abstain; it is counted by cause and told in the notes.
    """

    class Config(PluginConfig):
        """Which server, how patiently, and what to do about pictures that cannot be had."""

        base_url: str = "http://localhost:9005"
        """Address of the server."""
        return_type: Literal["array", "png"] = "array"
        """array: digital numbers of any bands; png: a display picture of exactly three."""
        window: Annotated[Duration, Field(gt=0)] = 864_000.0
        """How old the newest acquisition may be."""
        strict: bool = True
        """Whether a picture that cannot be had ends the run."""
        labels: str | None = None
        """JSON file of labels by area or place, relative to the scenario."""
        connect_timeout_s: Annotated[float, Field(gt=0, le=600)] = 5.0
        """Longest wait for a connection. [s]"""
        timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
        """Longest wait for a whole answer. [s]"""
        retries: Annotated[int, Field(ge=0, le=10)] = 3
        """Further attempts after a server error, a time-out or a broken answer."""
        backoff_s: Annotated[float, Field(ge=0, le=600)] = 1.0
        """Pause before the first of them; it doubles each time, up to 30 s. [s]"""
        parallel: Annotated[int, Field(ge=1, le=8)] = 2
        """Requests at a time."""
        max_pictures: Annotated[int, Field(ge=1)] = 500
        """Most pictures that one run may fetch; those kept from earlier runs do not count."""
        max_body_bytes: Annotated[int, Field(ge=1024)] = 64 * 2**20
        """Longest answer that is read. [B]"""
        cache: str | None = None
        """Folder for pictures, relative to the scenario. Default: simsat in flightsim's cache folder."""
        cache_bytes: Annotated[int, Field(ge=0)] = pictures.CACHE_BYTES
        """Decoded pictures kept in memory. [B]"""

    has_pixels: ClassVar[bool] = True

    def __init__(self, config: Config, base_folder: Path = Path(".")) -> None:
        self._config = config
        transport = Http(config.base_url, config.connect_timeout_s, config.timeout_s, config.max_body_bytes)
        folder = cache_folder() / "simsat" if config.cache is None else base_folder / config.cache
        self._client = Client(
            config.base_url, transport, folder,
            retries=config.retries, backoff_s=config.backoff_s, parallel=config.parallel,
        )  # fmt: skip
        self._labels: tuple[PlaceLabel, ...] = () if config.labels is None else read_labels(base_folder / config.labels)
        self._unmet_labels = 0
        self._memory = pictures.PictureCache(config.cache_bytes)
        self._counts: Counter[str] = Counter()
        self._plan: Plan | None = None
        self._images: dict[Request, pictures.KeptPicture] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """Requests, pictures and defects by name; ``lost.<cause>`` are pictures, ``lost_shots`` shots."""
        return dict(sorted(self._counts.items()))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report must say about the pictures."""
        counts = self._counts
        told = []
        if counts["pictures"]:
            told.append(
                f"simsat: {counts['pictures']} pictures of {self._config.base_url}, {counts['fetched']} fetched, "
                f"{counts['from_cache']} kept from before"
            )
        causes = [f"{number} {name.removeprefix('lost.')}" for name, number in counts.items() if "lost." in name]
        if causes:
            told.append(
                f"simsat: pictures that could not be had: {', '.join(sorted(causes))}; {counts['lost_shots']} shots "
                "show no data at all"
            )
        told += [f"simsat: {text}: {counts[name]}" for name, text in _SAID.items() if counts[name]]
        if self._unmet_labels:
            told.append(f"simsat: labels that met no shot: {self._unmet_labels}")
        return tuple(told)

    # ---------------------------------------------------------------- before the run

    def prepare(self, plan: Plan, schemas: Sequence[str], targets: Targets, camera: Camera, seed: int) -> TruthTable:
        """Fetch every picture of a plan; truth is unlabelled but for ``labels``.

        Raises
        ------
        InputError
            The camera or the plan asks for what SimSat does not have, or no server answers.
        RunError
            ``strict``, and a picture cannot be had; place, time and cause are told.
        """
        if len(plan.scene_row):
            raise InputError("scenes 'simsat' fly over areas; write targets: {use: world}, or a GeoJSON file.")
        self._check_camera(camera)
        self._camera, self._plan, self._start = camera, plan, start_of(plan)
        requests = [
            [self._request(plan, row, float(when[row])) for row in range(len(plan))]
            for when in (plan.before_s, plan.time_s)
        ]
        asked = {request: row for rows in requests for row, request in reversed(list(enumerate(rows)))}
        missing = sum(not self._client.is_kept(request) for request in asked)
        if missing > self._config.max_pictures:
            raise InputError(
                f"the plan needs {missing} pictures that are not kept yet; scenes.with.max_pictures is "
                f"{self._config.max_pictures}. Fly shorter (duration) or over less (targets), or raise it."
            )
        outcomes = self._client.get_all(list(asked), self._config.strict)
        if self._config.strict and outcomes and outcomes[-1].lost is not None:
            self._give_up(outcomes[-1], asked[outcomes[-1].request])
        looked = {outcome.request: self._look(outcome) for outcome in outcomes}
        self._before, self._after = ([looked[request] for request in rows] for rows in requests)
        return self._truth(plan, schemas, targets)

    def _check_camera(self, camera: Camera) -> None:
        unknown = [band for band in camera.bands if band not in BAND_NAMES]
        if unknown:
            raise InputError(f"camera.bands has {unknown[0]}; SimSat has {', '.join(BAND_NAMES)}.")
        if self._config.return_type == "png" and len(camera.bands) != 3:
            raise InputError(
                f"camera.bands has {len(camera.bands)} bands; return_type: png goes with exactly three, "
                "such as [B04, B03, B02]."
            )
        if camera.gsd_m < NATIVE_GSD_M:
            raise InputError(
                f"camera.gsd_m is {camera.gsd_m:g} m; SimSat's pictures have {NATIVE_GSD_M:g} m, and no finer detail."
            )

    def _request(self, plan: Plan, row: int, time_s: float) -> Request:
        return Request(
            lat_deg=round(float(plan.lat_deg[row]), 6),
            lon_deg=round(float(plan.lon_deg[row]), 6),
            when=self._start + timedelta(seconds=math.floor(time_s)),
            size_km=self._camera.tile_px * self._camera.gsd_m / 1000.0,
            window_s=int(self._config.window),
            bands=self._camera.bands,
            return_type=self._config.return_type,
        )

    def _give_up(self, outcome: Outcome, row: int) -> None:
        assert self._plan is not None
        request = outcome.request
        raise RunError(
            f"SimSat gave no picture of {self._plan.place_id[row]} ({request.lat_deg:.4f}, {request.lon_deg:.4f} deg) "
            f"at {request.when:%Y-%m-%dT%H:%M:%SZ}: {outcome.lost}. Fly elsewhere or at another time, widen "
            "scenes.with.window, or write scenes.with.strict: false to count such shots as lost."
        )

    def _look(self, outcome: Outcome) -> _Picture:
        """Measure a picture, and count what is odd about it."""
        request, counts = outcome.request, self._counts
        counts["pictures"] += 1
        counts.update(outcome.counts)
        side = self._camera.tile_px
        bits = 8 if self._config.return_type == "png" else 16
        if outcome.lost is not None or outcome.answer is None:
            cause = outcome.lost.cause if outcome.lost is not None else Cause.NO_IMAGE
            counts[f"lost.{cause}"] += 1
            make = partial(np.zeros, (len(request.bands), side, side), np.uint8 if bits == 8 else np.uint16)
            self._images[request] = self._kept(request, bits, make)
            return _Picture(request, cause, {}, 0.0, 0.0)
        counts.update(outcome.answer.counts)
        samples = self._client.samples(request).samples
        bits = 8 * samples.dtype.itemsize
        counts["resampled"] += samples.shape[1:] != (side, side)
        image = self._images[request] = self._kept(request, bits, partial(self._tile, request))
        pixels = image.pixels()
        data = pixels.any(axis=0)
        found = _Picture(
            request, None, outcome.answer.metadata, float(data.mean()),
            float((pixels >= _CEILING[bits]).all(axis=0).mean()),
        )  # fmt: skip
        counts["partial_no_data"] += found.data_share < _WHOLE_DATA_SHARE
        counts["saturated"] += found.saturated_share > SATURATED_SHARE
        return found

    def _kept(self, request: Request, bits: int, make: Any) -> pictures.KeptPicture:
        side = self._camera.tile_px
        return pictures.KeptPicture(request, request.bands, side, side, bits, make, self._memory)

    def _tile(self, request: Request) -> NDArray[Any]:
        side = self._camera.tile_px
        tile = np.array(area_mean(self._client.samples(request).samples, side, side))
        tile.flags.writeable = False
        return tile

    def _truth(self, plan: Plan, schemas: Sequence[str], targets: Targets) -> TruthTable:
        changed, labelled, self._unmet_labels = label_table(self._labels, plan, self._start, schemas)
        pairs = list(zip(self._before, self._after, strict=True))
        visible = [
            all(
                p.lost is None and p.data_share >= VISIBLE_DATA_SHARE and p.saturated_share <= SATURATED_SHARE
                for p in pair
            )
            for pair in pairs
        ]
        self._counts["lost_shots"] += sum(any(p.lost is not None for p in pair) for pair in pairs)
        self._counts["same_acquisition"] += sum(
            first.lost is None and second.lost is None and first.metadata.get("datetime") is not None
            and first.metadata.get("datetime") == second.metadata.get("datetime")
            for first, second in pairs
        )  # fmt: skip
        day = np.floor(plan.time_s / 86400.0).astype(np.int64)
        _, cluster = np.unique(np.stack([plan.block_key.view(np.int64), day], axis=1), axis=0, return_inverse=True)
        prior = np.array([targets.prevalence_of(schema) for schema in schemas], dtype=np.float64)
        return TruthTable(
            tuple(schemas), changed, labelled, np.array(visible, dtype=np.bool_),
            cluster.ravel().astype(np.int64), prior,
        )  # fmt: skip

    # ---------------------------------------------------------------- pictures

    def _prepared(self) -> Plan:
        if self._plan is None:
            raise InputError("the simsat scenes have no plan yet; call prepare first.")
        return self._plan

    def pair(self, row: int) -> TilePair:
        """Pictures of one shot of the prepared plan; all no data where a picture was lost."""
        plan = self._prepared()

        def tile(name: str, found: _Picture, captured_s: float) -> Tile:
            image = self._images[found.request]
            return Tile(
                id=name,
                place_id=plan.place_id[row],
                captured_s=captured_s,
                lat_deg=float(plan.lat_deg[row]),
                lon_deg=float(plan.lon_deg[row]),
                gsd_m=self._camera.gsd_m,
                size_px=image.shape[1:],
                bands=image.bands,
                image=image,
            )

        tile_id = plan.tile_id(row)
        before = tile(f"{tile_id}/before", self._before[row], float(plan.before_s[row]))
        return TilePair(before, tile(tile_id, self._after[row], float(plan.time_s[row])))

    def metadata(self, row: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """What the server told about the two pictures of a shot; empty where one was lost."""
        self._prepared()
        return self._before[row].metadata, self._after[row].metadata

    def raw_bytes(self, row: int) -> int:
        """Bytes of the tile as it is stored: all samples of all bands. [B]"""
        self._prepared()
        image = self._images[self._after[row].request]
        return math.ceil(math.prod(image.shape) * image.bits / 8)

    def product_bytes(self, row: int, kind: str, size_px: int | None) -> int:
        """Not for scenes with pixels: their products are really encoded."""
        raise InputError("simsat scenes have pixels; products are encoded from them, not estimated.")
