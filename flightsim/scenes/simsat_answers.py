"""What DPhi SimSat answers over HTTP, taken apart and checked: pictures, metadata, and every way in which it is wrong.

SimSat (github.com/DPhi-Space/SimSat) serves the newest Sentinel-2 L2A scene of a time window around a point. Facts that
matter here: a PNG comes with its metadata as JSON in the response header ``sentinel_metadata``; an array comes as JSON
with base64 samples, bands first; an empty body with status 200 means that there is no picture; ``cloud_cover`` is that
of the whole scene, in percent; tiles at the edge of a scene come back partly black.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .images import layout_of_bytes, read_bytes

#: SimSat resamples all bands to this. [m]
NATIVE_GSD_M = 10.0
#: Sentinel-2 bands by the names that SimSat takes (Element 84 Earth Search v1, collection sentinel-2-l2a, eo:bands).
BAND_NAMES = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge1", "B06": "rededge2",
    "B07": "rededge3", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B11": "swir16", "B12": "swir22",
}  # fmt: skip
#: 5 km came as 501 to 543 px where 500 were asked, for the box is cut in UTM: up to 9 % more. Beyond this it is not
#: the picture that was asked for. [-]
SHAPE_TOLERANCE = 0.12
#: An acquisition may lie so far outside the window; SimSat's clock and the catalogue's round differently. [s]
TIME_SLACK_S = 60.0
#: Rounding of the footprint. [deg]
PLACE_SLACK_DEG = 1e-4
#: A picture with at most this share of data shows nothing. [-]
EMPTY_DATA_SHARE = 0.001
_DTYPES = {"uint8": "<u1", "uint16": "<u2", "int16": "<i2", "float32": "<f4", "float64": "<f8"}


class Cause(StrEnum):
    """Why a picture could not be had."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    REFUSED = "refused"
    BROKEN = "broken_body"
    HTML = "html"
    TOO_LARGE = "too_large"
    NO_IMAGE = "no_image"
    WRONG_BANDS = "wrong_bands"
    WRONG_SHAPE = "wrong_shape"
    WRONG_SAMPLES = "wrong_samples"
    WRONG_PLACE = "wrong_place"
    WRONG_TIME = "wrong_time"
    ALL_NO_DATA = "all_no_data"


#: What may be right the next time it is asked.
RETRIED = frozenset({Cause.UNREACHABLE, Cause.TIMEOUT, Cause.SERVER_ERROR, Cause.BROKEN, Cause.HTML})


class Lost(Exception):
    """A picture that could not be had."""

    def __init__(self, cause: Cause, detail: str = "") -> None:
        super().__init__(cause, detail)
        self.cause, self.detail = cause, detail

    def __str__(self) -> str:
        return f"{self.cause}: {self.detail}" if self.detail else str(self.cause)


@dataclass(frozen=True)
class Request:
    """One picture that is asked for. Times are UTC, to the second."""

    lat_deg: float
    lon_deg: float
    when: datetime
    size_km: float
    window_s: int
    bands: tuple[str, ...]
    """Sentinel-2 names, in the order wanted."""
    return_type: Literal["array", "png"] = "array"

    @property
    def path(self) -> str:
        """Path and query; ``spectral_bands`` is repeated once a band."""
        query: list[tuple[str, str]] = [("spectral_bands", BAND_NAMES[band]) for band in self.bands]
        query += [
            ("lon", f"{self.lon_deg:.6f}"),
            ("lat", f"{self.lat_deg:.6f}"),
            ("timestamp", f"{self.when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"),
            ("size_km", f"{self.size_km:g}"),
            ("window_seconds", str(self.window_s)),
            ("return_type", self.return_type),
        ]
        return f"/data/image/sentinel?{urlencode(query)}"


@dataclass(frozen=True)
class Reply:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True)
class Answer:
    """A picture, shape (bands, rows, columns), uint8 or uint16 with 0 in all bands where there is no data."""

    samples: NDArray[Any]
    metadata: Mapping[str, Any]
    counts: Counter[str] = field(default_factory=Counter)
    """Defects that do not make it useless, by name."""


def taken_apart(request: Request, reply: Reply) -> Answer:
    """The picture in an answer.

    Raises
    ------
    Lost
        There is none, or it is not what was asked for; the cause says which.
    """
    if reply.status >= 500:
        raise Lost(Cause.SERVER_ERROR, f"status {reply.status}")
    if reply.status != 200:
        raise Lost(Cause.REFUSED, f"status {reply.status}: {_brief(reply.body)}")
    if not reply.body.strip():
        raise Lost(Cause.NO_IMAGE, "empty body")
    if reply.body.lstrip()[:1] == b"<" or "html" in reply.headers.get("content-type", ""):
        raise Lost(Cause.HTML, _brief(reply.body))
    samples, metadata = (_array if request.return_type == "array" else _png)(request, reply)
    counts = Counter(_odd_metadata(metadata))
    _check_place(request, metadata, counts)
    _check_time(request, metadata, counts)
    _check_shape(request, samples)
    if samples.any(axis=0).mean() <= EMPTY_DATA_SHARE:
        raise Lost(Cause.ALL_NO_DATA, "every pixel is black")
    return Answer(samples, metadata, counts)


# Bodies ---------------------------------------------------------------------------------------------------------------


def _json(text: bytes | str, what: str) -> Any:
    def no_constant(name: str) -> float:
        return math.nan  # SimSat is written in Python, whose encoder writes NaN; told apart later

    try:
        return json.loads(text, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise Lost(Cause.BROKEN, f"{what} is no JSON: {error}") from error


def _array(request: Request, reply: Reply) -> tuple[NDArray[Any], Mapping[str, Any]]:
    document = _json(reply.body, "the body")
    if not isinstance(document, dict) or "image" not in document:
        raise Lost(Cause.BROKEN, "the JSON has no image")
    metadata, image = document.get("sentinel_metadata"), document["image"]
    metadata = metadata if isinstance(metadata, dict) else {}
    if image is None or metadata.get("image_available") is False:
        raise Lost(Cause.NO_IMAGE, "image_available is false" if image is not None else "image is null")
    about = image.get("metadata") if isinstance(image, dict) else None
    if not isinstance(about, dict) or not isinstance(image.get("image"), str):
        raise Lost(Cause.BROKEN, "the image has no metadata or no base64 text")
    kind = _DTYPES.get(str(about.get("dtype")))
    if kind is None:
        raise Lost(Cause.WRONG_SAMPLES, f"samples of type {about.get('dtype')!r:.40}; known are {', '.join(_DTYPES)}")
    shape = about.get("shape")
    if not (isinstance(shape, list) and len(shape) == 3 and all(isinstance(n, int) and 0 < n < 10**5 for n in shape)):
        raise Lost(Cause.WRONG_SHAPE, f"shape is {shape!r:.60}; bands, rows and columns are wanted")
    _check_bands(request, about.get("bands"), shape[0])
    try:
        data = base64.b64decode(image["image"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Lost(Cause.BROKEN, f"the base64 text is damaged: {error}") from error
    if len(data) != math.prod(shape) * int(kind[-1]):
        raise Lost(
            Cause.BROKEN, f"{len(data)} bytes of samples; shape and type need {math.prod(shape) * int(kind[-1])}"
        )
    return _as_unsigned(np.frombuffer(data, dtype=kind).reshape(shape)), metadata


def _as_unsigned(samples: NDArray[Any]) -> NDArray[Any]:
    """Digital numbers as uint8 or uint16, no data as 0."""
    if samples.dtype.kind == "f":
        known = np.where(np.isfinite(samples), samples, 0.0)
        if 0 < known.max() <= 2.0:
            raise Lost(Cause.WRONG_SAMPLES, f"decimal samples up to {known.max():g}; digital numbers are wanted")
        samples = np.rint(np.clip(known, 0, 65535))
    return samples if samples.dtype == np.uint8 else np.maximum(samples, 0).astype(np.uint16)


def _png(request: Request, reply: Reply) -> tuple[NDArray[Any], Mapping[str, Any]]:
    text = reply.headers.get("sentinel_metadata")
    metadata = _json(text, "the header sentinel_metadata") if text is not None else {}
    if not isinstance(metadata, dict):
        raise Lost(Cause.BROKEN, "the header sentinel_metadata holds no object")
    if metadata.get("image_available") is False:
        raise Lost(Cause.NO_IMAGE, "image_available is false")
    if metadata.get("spectral_bands") is not None:
        _check_bands(request, metadata["spectral_bands"], len(request.bands))
    try:
        found = layout_of_bytes(reply.body, len(request.bands), "the picture")
        return read_bytes(reply.body, found, "the picture"), metadata
    except InputError as error:
        bands = "the index names" in str(error)
        raise Lost(Cause.WRONG_BANDS if bands else Cause.BROKEN, str(error)) from error


# Checks ---------------------------------------------------------------------------------------------------------------


def _check_bands(request: Request, given: object, planes: int) -> None:
    wanted = [BAND_NAMES[band] for band in request.bands]
    if planes != len(wanted) or (given is not None and given != wanted):
        raise Lost(Cause.WRONG_BANDS, f"{planes} planes named {given!r:.80}; asked were {', '.join(wanted)}")


def _check_shape(request: Request, samples: NDArray[Any]) -> None:
    wanted = request.size_km * 1000.0 / NATIVE_GSD_M
    rows, cols = samples.shape[1:]
    # A pixel or two of rounding must not lose a small tile.
    if any(abs(side - wanted) > max(SHAPE_TOLERANCE * wanted, 2.0) for side in (rows, cols)):
        raise Lost(
            Cause.WRONG_SHAPE,
            f"{rows} x {cols} px; {request.size_km:g} km at {NATIVE_GSD_M:g} m are {wanted:.0f} px, give or take "
            f"{100 * SHAPE_TOLERANCE:.0f} %",
        )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _odd_metadata(metadata: Mapping[str, Any]) -> Sequence[str]:
    """Defects of what is told beside the picture. Cloud cover is looked at here and used nowhere."""
    if not metadata:
        return ["no_metadata"]
    odd = []
    cloud = metadata.get("cloud_cover")
    percent = _number(cloud)
    if cloud is not None and (percent is None or not 0 <= percent <= 100):
        odd.append("bad_metadata")
    elif percent is not None and 0 < percent <= 1:
        # A nearly clear scene in percent, or any scene as a fraction: the number does not say.
        odd.append("cloud_unit_unclear")
    return odd


def _check_place(request: Request, metadata: Mapping[str, Any], counts: Counter[str]) -> None:
    box = metadata.get("footprint")
    if box is None:
        return
    edges = [_number(edge) for edge in box] if isinstance(box, list) else []
    if len(edges) != 4 or any(edge is None or not math.isfinite(edge) for edge in edges):
        counts["bad_metadata"] += 1
        return
    west, south, east, north = (float(edge) for edge in edges if edge is not None)
    slack = PLACE_SLACK_DEG
    inside = any(west - slack <= request.lon_deg + turn <= east + slack for turn in (-360.0, 0.0, 360.0))
    if not (inside and south - slack <= request.lat_deg <= north + slack):
        raise Lost(Cause.WRONG_PLACE, f"the footprint {box} does not hold the point asked for")


def _check_time(request: Request, metadata: Mapping[str, Any], counts: Counter[str]) -> None:
    text = metadata.get("datetime")
    if text is None:
        return
    try:
        taken = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        counts["bad_metadata"] += 1
        return
    if taken.tzinfo is None:
        counts["bad_metadata"] += 1
        taken = taken.replace(tzinfo=UTC)
    slack = timedelta(seconds=TIME_SLACK_S)
    if not request.when - timedelta(seconds=request.window_s) - slack <= taken <= request.when + slack:
        raise Lost(
            Cause.WRONG_TIME,
            f"taken {taken:%Y-%m-%dT%H:%M:%SZ}; asked was the {request.window_s / 86400:g} days "
            f"before {request.when:%Y-%m-%dT%H:%M:%SZ}",
        )


def _brief(body: bytes) -> str:
    return " ".join(body[:200].decode("utf-8", "replace").split())[:80]
