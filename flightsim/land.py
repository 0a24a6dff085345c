"""Land or sea, from a raster that flightsim ships (Natural Earth, public domain; see ``_data/land/origin.json``)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from . import resources


@lru_cache(maxsize=1)
def _raster() -> NDArray[np.bool_]:
    with Image.open(resources.file("land/land.png")) as picture:
        raster = np.asarray(picture, dtype=np.bool_)
    raster.setflags(write=False)
    return raster


def is_land(lat_deg: ArrayLike, lon_deg: ArrayLike) -> NDArray[np.bool_]:
    """Whether points lie on land, in the broadcast shape of the arguments. [-]

    Parameters
    ----------
    lat_deg, lon_deg
        WGS-84 geodetic latitude and longitude; any longitude is wrapped. [deg]

    Notes
    -----
    The answer of the nearest raster point, 0.05 deg apart (5.6 km at the equator), of Natural Earth's coastline at
    1:50m. Lakes count as land, the Caspian Sea and ice shelves as sea; islands smaller than a raster cell may be
    missing.

    References
    ----------
    Natural Earth 4.1.0, "land", 1:50m, naturalearthdata.com.
    """
    raster = _raster()
    rows, columns = raster.shape
    lat = np.asarray(lat_deg, dtype=np.float64)
    lon = np.asarray(lon_deg, dtype=np.float64)
    row = np.clip(((90.0 - lat) * (rows / 180.0)).astype(np.int64), 0, rows - 1)
    col = np.minimum((np.mod(lon + 180.0, 360.0) * (columns / 360.0)).astype(np.int64), columns - 1)
    return np.asarray(raster[row, col])
