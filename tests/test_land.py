from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from flightsim import resources
from flightsim.land import is_land

from .conftest import shared

LAND = {
    "Munich": (48.14, 11.58), "Nairobi": (-1.286, 36.817), "Moscow": (55.75, 37.62), "Denver": (39.74, -104.99),
    "Brasilia": (-15.79, -47.88), "Alice Springs": (-23.70, 133.88), "Ulaanbaatar": (47.89, 106.91),
    "Timbuktu": (16.77, -3.01), "Greenland's ice": (72.6, -38.5), "South Pole": (-90.0, 0.0), "Delhi": (28.61, 77.21),
    "Chukotka, beyond 180 deg": (66.5, -175.0),
}  # fmt: skip
SEA = {
    "Gulf of Guinea": (0.0, 0.0), "Pacific": (0.0, -150.0), "North Pole": (90.0, 0.0), "Indian Ocean": (-30.0, 80.0),
    "Mediterranean": (35.0, 18.0), "Caspian": (41.5, 51.0), "Hudson Bay": (60.0, -85.0), "North Sea": (56.0, 3.0),
    "Drake Passage": (-59.0, -65.0), "antimeridian": (10.0, 180.0), "Black Sea": (43.0, 34.0),
}  # fmt: skip


def test_cities_are_land_and_oceans_are_sea() -> None:
    for where, (lat, lon) in LAND.items():
        assert is_land(lat, lon), where
    for where, (lat, lon) in SEA.items():
        assert not is_land(lat, lon), where


def test_land_is_29_percent_of_the_sphere() -> None:
    """CIA World Factbook: 148.94 of 510.072 million km2, 29.2 %; ice shelves and the Caspian are sea here."""
    number = np.arange(200_000)
    lat = np.degrees(np.arcsin(2.0 * (number + 0.5) / len(number) - 1.0))
    lon = 360.0 * np.mod(number * 0.6180339887498949, 1.0) - 180.0
    assert np.mean(is_land(lat, lon)) == pytest.approx(0.29, abs=0.015)


def test_any_longitude_is_wrapped() -> None:
    lat, lon = np.meshgrid(np.linspace(-90, 90, 41), np.linspace(-179.99, 179.99, 57))
    assert np.array_equal(is_land(lat, lon), is_land(lat, lon + 360.0))
    assert np.array_equal(is_land(lat, lon), is_land(lat, lon - 360.0))
    assert is_land(lat, lon).shape == lat.shape


def test_agrees_with_another_map() -> None:
    """Natural Earth's relief picture (Debian's python-cartopy-data), 0.5 deg a pixel: water is blue there.

    The two differ at coasts, and where the picture paints lakes and ice shelves: 5 % of area is allowed.
    """
    from PIL import Image

    with Image.open(shared("data/geo/natural_earth_720x360.png")) as picture:
        colour = np.asarray(picture.convert("RGB"), dtype=np.int64)
    rows, columns = colour.shape[:2]
    lat = 90.0 - (np.arange(rows) + 0.5) * 180.0 / rows
    lon = -180.0 + (np.arange(columns) + 0.5) * 360.0 / columns
    water = (colour[..., 2] > colour[..., 0] + 20) & (colour[..., 2] >= colour[..., 1])
    differ = is_land(lat[:, None], lon[None, :]) == water
    inner = np.abs(lat) < 60.0
    weight = np.cos(np.radians(lat[inner]))
    assert np.sum(differ[inner].mean(axis=1) * weight) / weight.sum() < 0.05


def test_the_raster_is_the_one_its_note_describes() -> None:
    note = json.loads(resources.file("land/origin.json").read_text(encoding="utf-8"))
    raw = resources.file("land/land.png").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == note["sha256"]
    assert len(raw) < 150_000
    assert "public domain" in note["licence"]
