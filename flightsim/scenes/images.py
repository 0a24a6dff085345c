"""Reading of pictures as (bands, rows, columns), 8 or 16 bit, without guessing in silence.

Files are PNG, GeoTIFF or NPZ; bytes in memory PNG, JPEG or TIFF. Both are untrusted: sizes are checked from the header
before anything is decoded, nothing is unpickled, and whatever a decoder raises becomes one InputError that names the
case and the file.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

#: Largest picture that is read: samples over all bands. 256 Mi samples of 16 bit are 512 MiB.
MAX_SAMPLES = 2**28

#: Sentinel-2 names of bands that other sources call otherwise. ``swir`` alone is ambiguous (1.6 or 2.2 um): it is
#: taken as B12, because the composites that use the word are the SWIR composite B12, B8A, B4 of the Sentinel Hub.
BAND_NAMES = {
    "coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "nir": "B08", "nir08": "B08", "nir1": "B08",
    "nir09": "B09", "cirrus": "B10", "rededge1": "B05", "rededge2": "B06", "rededge3": "B07", "rededge": "B05",
    "swir": "B12", "swir1": "B11", "swir16": "B11", "swir2": "B12", "swir22": "B12",
    "pan": "PAN", "gray": "PAN", "grey": "PAN", "alpha": "ALPHA",
}  # fmt: skip
#: First bytes of the encodings that are read from memory.
_MARKS = {"png": (b"\x89PNG\r\n\x1a\n",), "jpeg": (b"\xff\xd8\xff",), "tiff": (b"II*\x00", b"MM\x00*")}
_SENTINEL = re.compile(r"^b0?(\d{1,2}a?)$")


def band_name(name: str) -> str:
    """Sentinel-2 spelling of a band's name where it is known, else the name as it is."""
    plain = name.strip().lower().replace(" ", "").replace("_", "").replace("-", "")
    match = _SENTINEL.match(plain)
    if match:
        number = match[1].upper()
        return f"B{number}" if number == "8A" else f"B{number:0>2}"
    return BAND_NAMES.get(plain, name.strip())


def band_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of all bands of a picture. A single band that is described in a sentence is ``PAN``, one visible band.

    Raises
    ------
    InputError
        Two bands come out with one name.
    """
    if len(names) == 1 and " " in names[0].strip():
        return ("PAN",)
    known = tuple(band_name(name) for name in names)
    for name in known:
        if known.count(name) > 1:
            raise InputError(f"bands {list(names)} name {name} twice; give each band a name of its own.")
    return known


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file's header says. ``axes`` is ``YX``, ``YXS`` (bands last) or ``SYX`` (bands first)."""

    rows: int
    cols: int
    bands: int
    axes: str
    bits: int


def layout(path: Path, bands: int, what: str) -> Layout:
    """Size and order of axes of a picture, from its header.

    Parameters
    ----------
    path
        File that ends in .png, .tif, .tiff or .npz.
    bands
        Bands that the index promises; they tell which axis is which.
    what
        Case and file, for messages.

    Raises
    ------
    InputError
        The file is missing, broken, too large or of another kind, or has another number of bands.
    """
    shape, dtype = _header(path, what)
    return _arranged(shape, dtype, bands, path.suffix.lower() == ".png", what)


def layout_of_bytes(data: bytes, bands: int, what: str) -> Layout:
    """Size and order of axes of an encoded picture (PNG, JPEG or TIFF), from its header.

    Raises
    ------
    InputError
        The bytes are broken, too large a picture or of another kind, or have another number of bands.
    """
    kind = kind_of(data, what)
    try:
        shape, dtype = _header_of_bytes(data, kind, what)
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever they like on broken bytes
        raise InputError(f"{what} cannot be read: {_brief(error)}; is it cut short or damaged?") from error
    return _arranged(shape, dtype, bands, kind == "png", what)


def kind_of(data: bytes, what: str) -> str:
    """``png``, ``jpeg`` or ``tiff``, by the first bytes.

    Raises
    ------
    InputError
        It is none of them.
    """
    for kind, marks in _MARKS.items():
        if data.startswith(marks):
            return kind
    raise InputError(f"{what} is no PNG, JPEG or TIFF picture; it begins with {data[:8]!r}.")


def _arranged(shape: tuple[int, ...], dtype: str, bands: int, alpha: bool, what: str) -> Layout:
    if np.prod(shape, dtype=np.float64) > MAX_SAMPLES:
        raise InputError(f"{what} has {' x '.join(map(str, shape))} samples; {MAX_SAMPLES} is the most: tile it first.")
    if dtype not in ("uint8", "uint16", "int16", "bool"):
        raise InputError(f"{what} has samples of type {dtype}; allowed are uint8, uint16 and int16.")
    bits = 8 if dtype in ("uint8", "bool") else 16
    if len(shape) == 2 and bands == 1:
        return Layout(shape[0], shape[1], 1, "YX", bits)
    if len(shape) == 3:
        # A PNG or GeoTIFF may carry an alpha channel that the band list does not name.
        extra = (bands, bands + 1) if alpha else (bands,)
        if shape[2] in extra and shape[0] != bands:
            return Layout(shape[0], shape[1], bands, "YXS", bits)
        if shape[0] == bands and shape[2] != bands:
            return Layout(shape[1], shape[2], bands, "SYX", bits)
        if shape[0] == shape[2] == bands:
            raise InputError(
                f"{what} has shape {shape} and {bands} bands: which axis holds the bands cannot be told; "
                "pictures must have more rows and columns than bands."
            )
    raise InputError(f"{what} has shape {shape}; the index names {bands} bands.")


def _header(path: Path, what: str) -> tuple[tuple[int, ...], str]:
    kind = path.suffix.lower()
    if kind not in (".png", ".tif", ".tiff", ".npz"):
        raise InputError(f"{what} ends in '{kind}'; allowed are .png, .tif, .tiff and .npz.")
    if not path.is_file():
        raise InputError(f"{what} is missing.")
    try:
        if kind == ".png":
            return _png_header(path, what)
        if kind == ".npz":
            return _npz_header(path, what)
        import tifffile

        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            return tuple(series.shape), str(series.dtype)
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever they like on a broken file
        raise InputError(f"{what} cannot be read: {_brief(error)}; is it cut short or damaged?") from error


def _png_header(path: Path, what: str) -> tuple[tuple[int, ...], str]:
    with path.open("rb") as file:
        return _png_head(file.read(33), what)


def _png_head(head: bytes, what: str) -> tuple[tuple[int, ...], str]:
    if len(head) < 33 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        raise InputError(f"{what} is no PNG file, or it is cut short.")
    cols, rows = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    depth, colour = head[24], head[25]
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour)
    if channels is None:
        raise InputError(f"{what} is a PNG of unknown colour type {colour}.")
    if depth == 16 and channels > 1:
        # Pillow would read it as 8 bit and say nothing.
        raise InputError(f"{what} is a 16-bit colour PNG, which loses bits when read; write GeoTIFF or NPZ instead.")
    return ((rows, cols) if channels == 1 else (rows, cols, channels)), "uint16" if depth == 16 else "uint8"


def _header_of_bytes(data: bytes, kind: str, what: str) -> tuple[tuple[int, ...], str]:
    if kind == "png":
        return _png_head(data[:33], what)
    if kind == "tiff":
        import tifffile

        with tifffile.TiffFile(io.BytesIO(data)) as file:
            return tuple(file.series[0].shape), str(file.series[0].dtype)
    return _jpeg_head(data, what)


def _jpeg_head(data: bytes, what: str) -> tuple[tuple[int, ...], str]:
    """Shape that the frame header gives (ITU-T T.81, B.1.1.3 and B.2.2)."""
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            rows, cols = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            return ((rows, cols) if data[at + 9] == 1 else (rows, cols, data[at + 9])), "uint8"
        at += 1 if marker == 0xFF else 2 + length
    raise InputError(f"{what} is a JPEG without a frame header; is it cut short?")


def _npz_name(names: Sequence[str], what: str) -> str:
    arrays = [name.removesuffix(".npy") for name in names]
    for name in ("img", "image"):
        if name in arrays:
            return name
    if len(arrays) == 1:
        return arrays[0]
    raise InputError(f"{what} holds the arrays {', '.join(arrays)}; one of them must be named img.")


def _npz_header(path: Path, what: str) -> tuple[tuple[int, ...], str]:
    with zipfile.ZipFile(path) as archive:
        name = _npz_name(archive.namelist(), what)
        with archive.open(f"{name}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
    return tuple(shape), str(dtype)


def read(path: Path, found: Layout, what: str) -> NDArray[Any]:
    """All samples of a picture, shape (bands, rows, columns), uint8 or uint16.

    Negative samples of int16 pictures become 0, which means no data. Pixels that an alpha channel hides become 0.

    Raises
    ------
    InputError
        The file is damaged.
    """
    return _ordered(lambda: _decode(path, what), found, what)


def read_bytes(data: bytes, found: Layout, what: str) -> NDArray[Any]:
    """All samples of an encoded picture, as ``read`` gives them.

    Raises
    ------
    InputError
        The bytes are damaged.
    """
    return _ordered(lambda: _decode_bytes(data, what), found, what)


def _ordered(decode: Callable[[], NDArray[Any]], found: Layout, what: str) -> NDArray[Any]:
    try:
        samples = decode()
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever they like on a broken file
        raise InputError(f"{what} cannot be read: {_brief(error)}; is it cut short or damaged?") from error
    if found.axes == "YX":
        samples = samples[None, :, :] if samples.ndim == 2 else samples[None, :, :, 0]
    elif found.axes == "YXS":
        samples = np.moveaxis(samples, 2, 0)
    if len(samples) == found.bands + 1:
        samples = np.where(samples[-1] > 0, samples[:-1], 0).astype(samples.dtype)
    if samples.shape != (found.bands, found.rows, found.cols):
        raise InputError(f"{what} gave shape {samples.shape} where its header promised another; is it damaged?")
    if samples.dtype == np.int16:
        samples = np.maximum(samples, 0).astype(np.uint16)
    elif samples.dtype == bool:
        samples = samples.astype(np.uint8) * 255
    samples = np.ascontiguousarray(samples)
    samples.flags.writeable = False
    return samples


def _decode(path: Path, what: str) -> NDArray[Any]:
    kind = path.suffix.lower()
    if kind == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[_npz_name(arrays.files, what)])
    if kind in (".tif", ".tiff"):
        import tifffile

        return np.asarray(tifffile.imread(path))
    return _with_pillow(path)


def _decode_bytes(data: bytes, what: str) -> NDArray[Any]:
    if kind_of(data, what) == "tiff":
        import tifffile

        return np.asarray(tifffile.imread(io.BytesIO(data)))
    return _with_pillow(io.BytesIO(data))


def _with_pillow(source: Path | io.BytesIO) -> NDArray[Any]:
    from PIL import Image

    with Image.open(source, formats=("PNG", "JPEG")) as picture:
        picture.load()
        if picture.mode == "P":
            return np.asarray(picture.convert("RGBA" if "transparency" in picture.info else "RGB"))
        if picture.mode == "1":
            return np.asarray(picture.convert("L"))
        samples = np.asarray(picture)
    if samples.dtype == np.int32:  # how older Pillow gives 16-bit grey
        samples = samples.astype(np.uint16)
    return samples


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:160]
