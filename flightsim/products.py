"""Pictures as products: thumbnails that are really encoded, tiles that come back to the last bit."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from .errors import InputError, RunError

#: Bands shown as red, green, blue, in order of preference.
_TRUE_COLOUR = (("B04", "B03", "B02"), ("red", "green", "blue"))
_MAGIC = b"FST1"
#: Full scale of a thumbnail over the median of its samples, at most: under half a cloud the ground still shows. [-]
_BRIGHTEST = 5.0
#: Pillow's format, its feature and how it is asked for no loss, by the scenario's name of the codec. The JPEG 2000
#: codestream goes without the JP2 box around it.
_TILE_CODECS: dict[str, tuple[str, str, dict[str, Any]]] = {
    # Noisy samples repeat nothing but runs: looking for these alone takes a quarter of a full search's time, and fewer
    # bytes on real Sentinel-2 tiles.
    "png16": ("PNG", "zlib", {"compress_type": zlib.Z_RLE}),
    "jpeg2000": ("JPEG2000", "jpg_2000", {"irreversible": False, "no_jp2": True}),
}
_THUMBNAIL_CODECS = {"webp": ("WEBP", "webp"), "jpeg": ("JPEG", "jpg")}
#: Longer side of a picture that a decoder accepts: a damaged header must not ask for gigabytes. [px]
_MAX_SIDE_PX = 16384


class ProductError(RunError):
    """Bytes that should be a product are not."""


@cache
def encoders() -> str:
    """What encoded bytes depend on beside the picture: Pillow, its codecs and this module. Changes with any of them."""
    codecs = "/".join(f"{name} {features.version(name)}" for name in ("zlib", "webp", "jpg", "jpg_2000"))
    text = f"{PIL.__version__}/{codecs}/".encode() + Path(__file__).read_bytes()
    return hashlib.sha256(text).hexdigest()[:12]


def _check_samples(pixels: NDArray[Any]) -> None:
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"a picture has samples of type {pixels.dtype}; products take uint8 or uint16.")
    if pixels.ndim != 3 or 0 in pixels.shape or max(pixels.shape[1:]) > _MAX_SIDE_PX:
        raise InputError(
            f"a picture has the shape {pixels.shape}; products take (bands, rows, columns), each at least 1 and "
            f"no side above {_MAX_SIDE_PX}."
        )


def _check_feature(feature: str, key: str, codec: str, others: str) -> None:
    if not features.check(feature):
        raise InputError(f"{key} is '{codec}', which the installed Pillow lacks; use {others}, or Pillow's own wheel.")


def _open(data: bytes, *formats: str) -> NDArray[Any]:
    """Samples of an encoded picture as Pillow gives them.

    Raises
    ------
    ValueError
        The bytes are no picture of these formats, are cut or too large.
    """
    try:
        with Image.open(io.BytesIO(data), formats=formats) as image:
            if max(image.size) > _MAX_SIDE_PX:
                raise ValueError(f"a side of {max(image.size)} px is above {_MAX_SIDE_PX}")
            return np.asarray(image)
    # SyntaxError is what Pillow's PNG reader raises for a broken chunk.
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(str(error)) from error


def shown_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """Names of the bands that a thumbnail shows, three or one, in the order of its channels."""
    chosen = next((names for names in _TRUE_COLOUR if set(names) <= set(bands)), None)
    return chosen or tuple(bands[:3] if len(bands) >= 3 else bands[:1])


def thumbnail_shape(shape: tuple[int, int], size_px: int) -> tuple[int, int]:
    """Rows and columns of a thumbnail of a picture with so many. [px]"""
    scale = min(1.0, size_px / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def true_colour(pixels: NDArray[Any], bands: Sequence[str]) -> NDArray[np.uint8]:
    """8-bit picture for people, shape (rows, columns, 3) or (rows, columns) for a single band.

    Notes
    -----
    Red, green and blue where the bands have these names, else the first three, else the first one. 8-bit samples stay
    as they are. Others are stretched linearly from 0 to the 99.5th percentile of all shown samples together, but to 5
    times their median at most: the colours keep their balance, and neither bright roofs nor a cloud darken the rest.
    """
    names = list(bands) or [str(number) for number in range(len(pixels))]
    shown = pixels[[names.index(name) for name in shown_bands(names)]]
    if shown.dtype != np.uint8:
        middle, bright = np.percentile(shown, (50.0, 99.5))
        top = max(1.0, min(float(bright), _BRIGHTEST * float(middle)))
        shown = np.clip(shown.astype(np.float32) * (255.0 / top), 0, 255).round().astype(np.uint8)
    return shown[0] if len(shown) == 1 else np.ascontiguousarray(shown.transpose(1, 2, 0))


def encode_thumbnail(
    pixels: NDArray[Any], bands: Sequence[str], bits: int, size_px: int, codec: str, quality: int
) -> bytes:
    """A picture whose longer side is ``size_px``, as WebP or JPEG; smaller pictures are not enlarged.

    Parameters
    ----------
    pixels
        Samples, shape (bands, rows, columns), uint8 or uint16.
    bits
        Significant bits of a sample. [-] The stretch of ``true_colour`` follows the samples themselves.

    Raises
    ------
    InputError
        The codec is not on offer, or the samples are not uint8 or uint16.
    """
    _check_samples(pixels)
    if codec not in _THUMBNAIL_CODECS:
        raise InputError(f"thumbnail codec is '{codec}'; allowed are {', '.join(_THUMBNAIL_CODECS)}.")
    container, feature = _THUMBNAIL_CODECS[codec]
    _check_feature(feature, "thumbnail codec", codec, " or ".join(set(_THUMBNAIL_CODECS) - {codec}))
    image = Image.fromarray(true_colour(pixels, bands))
    rows, cols = thumbnail_shape((image.height, image.width), size_px)
    if (cols, rows) != image.size:
        image = image.resize((cols, rows), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    if codec == "webp":
        image.convert("RGB").save(out, container, quality=quality, method=4)
    else:
        image.save(out, container, quality=quality, optimize=True)
    return out.getvalue()


def decode_picture(data: bytes) -> NDArray[np.uint8]:
    """A thumbnail as it arrived, shape (rows, columns, 3).

    Raises
    ------
    ProductError
        The bytes are no picture.
    """
    try:
        seen = _open(data, "WEBP", "JPEG")
    except ValueError as error:
        raise ProductError(f"{len(data)} bytes are no picture: {error}") from error
    return np.repeat(seen[:, :, None], 3, axis=2) if seen.ndim == 2 else seen[:, :, :3]


def encode_tile(pixels: NDArray[Any], codec: str, bands: Sequence[str] = ()) -> bytes:
    """A tile without loss: one grey picture a band (16-bit, or 8-bit for uint8 samples), one behind the other.

    Layout: magic ``FST1``, length of a JSON header (4 bytes, big-endian), the header with band names and the length
    of each picture, the pictures.

    Parameters
    ----------
    codec
        ``png16`` or ``jpeg2000`` (reversible 5/3 wavelet).

    Raises
    ------
    InputError
        The codec is not on offer, or the samples are not uint8 or uint16.
    """
    if codec not in _TILE_CODECS:
        raise InputError(f"radio.tile_codec is '{codec}'; allowed are {', '.join(_TILE_CODECS)}.")
    _check_samples(pixels)
    container, feature, settings = _TILE_CODECS[codec]
    _check_feature(feature, "radio.tile_codec", codec, " or ".join(set(_TILE_CODECS) - {codec}))
    pictures = []
    for band in pixels:
        out = io.BytesIO()
        # Pillow writes uint16 arrays as 16-bit grey ("I;16").
        Image.fromarray(np.ascontiguousarray(band)).save(out, container, **settings)
        pictures.append(out.getvalue())
    header = json.dumps({"bands": list(bands), "sizes": [len(p) for p in pictures]}, separators=(",", ":")).encode()
    return _MAGIC + struct.pack(">I", len(header)) + header + b"".join(pictures)


def decode_tile(data: bytes) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Samples, shape (bands, rows, columns), and band names of an encoded tile.

    Raises
    ------
    ProductError
        The bytes are no tile, are cut, or something follows them.
    """
    if data[:4] != _MAGIC or len(data) < 8:
        raise ProductError(f"{len(data)} bytes are no tile: the magic is missing")
    (length,) = struct.unpack(">I", data[4:8])
    try:
        header = json.loads(data[8 : 8 + length])
        bands, sizes = tuple(header["bands"]), [int(size) for size in header["sizes"]]
        if not all(isinstance(band, str) for band in bands) or len(bands) not in (0, len(sizes)):
            raise ValueError(f"{len(bands)} band names stand for {len(sizes)} pictures")
        expected = 8 + length + sum(sizes)
        if min(sizes, default=0) <= 0 or expected != len(data):
            raise ValueError(f"it is cut, or more than a tile; its header tells {expected} bytes")
        offset, planes = 8 + length, []
        for size in sizes:
            plane = _open(data[offset : offset + size], "PNG", "JPEG2000")
            if plane.ndim != 2:
                raise ValueError("a picture has colours where grey was written")
            planes.append(plane if plane.dtype == np.uint8 else plane.astype(np.uint16))
            offset += size
        return np.stack(planes), bands
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProductError(f"{len(data)} bytes are no tile: {error}") from error
