"""Make the small picture archive that flightsim ships: `python tools/make_archive.py [FOLDER]`.

Everything in it is made here from noise and a table of reflectances; none of it is a picture of the Earth. It serves
newcomers and plumbing: sizes, bands, labels and file kinds are like those of a real archive, labels are exact, and a
payload that does well on it has shown nothing. Deterministic: the same NumPy gives the same samples.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from flightsim.domain import SCHEMA_IDS
from flightsim.rng import stream

SIZE_PX = 96
GSD_M = 10.0
BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
#: Typical surface reflectance in those bands, rounded engineering values after the ASTER/ECOSTRESS spectral library.
COVER = {
    "forest": (0.03, 0.05, 0.03, 0.30, 0.15, 0.07),
    "crop": (0.05, 0.09, 0.06, 0.38, 0.22, 0.12),
    "dry_grass": (0.08, 0.11, 0.14, 0.25, 0.32, 0.24),
    "soil": (0.12, 0.16, 0.21, 0.28, 0.36, 0.32),
    "water": (0.06, 0.06, 0.04, 0.025, 0.012, 0.008),
    "mud_water": (0.09, 0.12, 0.14, 0.06, 0.015, 0.010),
    "ice": (0.72, 0.72, 0.70, 0.62, 0.10, 0.07),
    "dirty_ice": (0.45, 0.46, 0.46, 0.42, 0.08, 0.06),
    "rock": (0.11, 0.13, 0.15, 0.19, 0.23, 0.21),
    "roof": (0.24, 0.26, 0.28, 0.30, 0.36, 0.34),
    "street": (0.10, 0.11, 0.12, 0.14, 0.19, 0.18),
    "char": (0.045, 0.05, 0.055, 0.10, 0.16, 0.17),
    "lava": (0.08, 0.08, 0.14, 0.25, 0.80, 1.30),
    "cloud": (0.55, 0.55, 0.55, 0.58, 0.42, 0.32),
}
Field = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Made:
    """One place: cover fractions before and after, drawn with its own stream."""

    def __init__(self, name: str) -> None:
        self.rng = stream(1, f"archive/{name}")
        shape = (SIZE_PX, SIZE_PX)
        self.rows, self.cols = (axis.astype(float) for axis in np.indices(shape))
        self.relief = self.noise(1.8)
        self.grain = self.noise(1.0)

    def noise(self, slope: float) -> Field:
        """Fractal noise, zero mean, unit deviation: white noise with amplitude falling as frequency to ``slope``."""
        white = self.rng.standard_normal((SIZE_PX, SIZE_PX))
        frequency = np.hypot(np.fft.fftfreq(SIZE_PX)[:, None], np.fft.rfftfreq(SIZE_PX)[None, :])
        frequency[0, 0] = 1.0
        field = np.fft.irfft2(np.fft.rfft2(white) / frequency**slope, s=white.shape)
        field -= field.mean()
        return np.asarray(field / field.std())

    def disc(self, row: float, col: float, radius_px: float, ragged: float = 0.15) -> Mask:
        """A blob with a ragged rim."""
        distance = np.hypot(self.rows - row, self.cols - col)
        return np.asarray(distance < radius_px * (1 + ragged * self.relief))

    def lowest(self, share: float) -> Mask:
        """The lowest ground, so that water fills valleys."""
        return np.asarray(self.relief <= np.quantile(self.relief, share))

    def fields(self, covers: tuple[str, ...], side_px: int = 16) -> NDArray[np.object_]:
        """A patchwork of fields."""
        count = SIZE_PX // side_px + 1
        choice = self.rng.integers(len(covers), size=(count, count))
        index = choice[(self.rows // side_px).astype(int), (self.cols // side_px).astype(int)]
        return np.array(covers, dtype=object)[index]

    def town(self, place: Mask, block_px: int = 6) -> tuple[Mask, Mask]:
        """Roofs and streets within a place."""
        street = (self.rows % block_px < 2) | (self.cols % block_px < 2)
        return place & ~street, place & street


def covered(made: Made, base: str) -> NDArray[np.object_]:
    """A picture of one cover."""
    return np.full((SIZE_PX, SIZE_PX), base, dtype=object)


def render(made: Made, cover: NDArray[np.object_], gain: float = 1.0, haze: float = 0.0) -> NDArray[np.uint16]:
    """Digital numbers (reflectance x 10000) of a cover map, shape (bands, rows, columns)."""
    light = 1 + 0.06 * made.relief.clip(-3, 3) + 0.04 * made.grain.clip(-3, 3)
    planes = []
    for k in range(len(BANDS)):
        plane = np.zeros((SIZE_PX, SIZE_PX))
        for name, values in COVER.items():
            plane[cover == name] = values[k]
        plane = gain * plane * light
        # Haze is scattered light: it falls with wavelength.
        plane += haze * (1.0, 0.8, 0.6, 0.3, 0.1, 0.05)[k]
        # The optics see a little of the neighbours.
        for axis in (0, 1):
            plane = 0.25 * np.roll(plane, 1, axis) + 0.5 * plane + 0.25 * np.roll(plane, -1, axis)
        plane += made.rng.normal(0, 0.0010, plane.shape)
        planes.append(plane)
    numbers = np.clip(np.round(np.stack(planes) * 1250) * 8, 8, 16000)
    return numbers.astype(np.uint16)


Pair = tuple[NDArray[np.uint16], NDArray[np.uint16], Mask | None, Mask | None]


def put(cover: NDArray[np.object_], *layers: tuple[Mask, str]) -> NDArray[np.object_]:
    """A cover map with more on top."""
    made = cover.copy()
    for mask, name in layers:
        made[mask] = name
    return made


def flood(m: Made) -> Pair:
    """A river plain under muddy water."""
    land = put(m.fields(("crop", "dry_grass", "soil")), (m.lowest(0.08), "water"))
    first, second = m.lowest(0.08), m.lowest(0.30)
    return render(m, land), render(m, put(land, (second, "mud_water")), 0.95, 0.02), first, second


def flood_quiet(m: Made) -> Pair:
    """The same lake, another colour of water."""
    land, lake = covered(m, "forest"), m.lowest(0.2)
    return render(m, put(land, (lake, "water"))), render(m, put(land, (lake, "mud_water")), 1.05), None, None


def wetland(m: Made) -> Pair:
    """Ponds that shrink to a third."""
    land, first, second = m.fields(("dry_grass", "crop")), m.lowest(0.30), m.lowest(0.10)
    return (
        render(m, put(land, (first, "water"))),
        render(m, put(land, (first, "dry_grass"), (second, "water"))),
        first,
        second,
    )


def wetland_quiet(m: Made) -> Pair:
    """Other field colours around the same ponds."""
    pond = m.lowest(0.15)
    first, second = m.fields(("dry_grass", "soil")), m.fields(("dry_grass", "soil"))
    return render(m, put(first, (pond, "water"))), render(m, put(second, (pond, "water")), 1.03), None, None


def ice(m: Made) -> Pair:
    """A glacier that gave way to water."""
    valley = np.abs(m.cols - SIZE_PX / 2 + 4 * m.relief) < 26
    first, second = valley & (m.rows > 30 + 2 * m.grain), valley & (m.rows > 62 + 2 * m.grain)
    base = put(covered(m, "rock"), (valley, "water"))
    return render(m, put(base, (first, "ice"))), render(m, put(base, (second, "ice")), 0.9), first, second


def ice_quiet(m: Made) -> Pair:
    """The same ice under another Sun."""
    valley = np.abs(m.cols - SIZE_PX / 2 + 4 * m.relief) < 26
    front = valley & (m.rows > 44 + 2 * m.grain)
    cover = put(covered(m, "rock"), (valley, "water"), (front, "ice"), (front & (m.grain > 1), "dirty_ice"))
    return render(m, cover), render(m, cover, 0.8), None, None


def hotspot(m: Made) -> Pair:
    """Lava on rock."""
    hot = m.disc(50, 40, 9, 0.3)
    land = put(covered(m, "rock"), (m.relief > 0.8, "forest"))
    return render(m, land), render(m, put(land, (hot, "lava"))), np.zeros_like(hot), hot


def hotspot_quiet(m: Made) -> Pair:
    """Hot dry ground that does not glow."""
    land = m.fields(("soil", "dry_grass"))
    return render(m, land), render(m, land, 1.15), None, None


def burn(m: Made) -> Pair:
    """A fire in a forest."""
    scar = m.disc(42, 56, 20, 0.25)
    land = put(covered(m, "forest"), (m.relief > 1.2, "dry_grass"))
    return render(m, land), render(m, put(land, (scar, "char")), 0.97), np.zeros_like(scar), scar


def autumn(m: Made) -> Pair:
    """Grassland that dries as a whole."""
    trees = m.relief > 1.3
    return (
        render(m, put(covered(m, "crop"), (trees, "forest"))),
        render(m, put(covered(m, "dry_grass"), (trees, "forest"))),
        None,
        None,
    )


def works(m: Made) -> Pair:
    """A site cleared in a forest."""
    site = (np.abs(m.rows - 55) < 17) & (np.abs(m.cols - 38) < 21)
    land = covered(m, "forest")
    return render(m, land), render(m, put(land, (site, "soil")), 1.03), np.zeros_like(site), site


def works_quiet(m: Made) -> Pair:
    """A quarry that stays as it is, behind haze."""
    land = put(covered(m, "forest"), (m.disc(40, 60, 18), "soil"))
    return render(m, land), render(m, land, 0.95, 0.03), None, None


def town(m: Made) -> Pair:
    """A town that doubles on bare steppe."""
    first, second = m.disc(48, 30, 16), m.disc(48, 30, 16) | m.disc(46, 62, 22)
    land = covered(m, "dry_grass")
    layers = []
    for place in (first, second):
        roofs, streets = m.town(place)
        layers.append(put(land, (roofs, "roof"), (streets, "street")))
    return render(m, layers[0]), render(m, layers[1], 0.98), first, second


def town_quiet(m: Made) -> Pair:
    """The same town in clearer air."""
    roofs, streets = m.town(m.disc(48, 48, 30))
    land = put(covered(m, "crop"), (roofs, "roof"), (streets, "street"))
    return render(m, land, 0.95, 0.03), render(m, land), None, None


def clouded(m: Made) -> Pair:
    """Cloud over two thirds of the new picture."""
    land = m.fields(("crop", "forest", "soil"))
    cloud = m.noise(1.6) > -0.45
    return render(m, land), render(m, put(land, (cloud, "cloud"))), None, None


def swath_edge(m: Made) -> Pair:
    """A new picture that lies mostly outside the swath."""
    land = put(covered(m, "forest"), (m.lowest(0.2), "water"))
    after = render(m, land)
    after[:, m.cols - 0.3 * m.rows > 25] = 0
    return render(m, land), after, None, None


Maker = Callable[[Made], Pair]
#: id, schema, change (None: unusable), further schemas that fit, maker, latitude and longitude to fly over. [deg]
CASES: tuple[tuple[str, str, bool | None, tuple[str, ...], Maker, float, float], ...] = (
    ("made-flood", "flood_extent", True, ("wetland_change",), flood, 45.0, 10.5),
    ("made-lake-colour", "flood_extent", False, (), flood_quiet, 46.5, 27.0),
    ("made-ponds-shrink", "wetland_change", True, ("flood_extent",), wetland, 50.5, -104.0),
    ("made-fields-change", "wetland_change", False, (), wetland_quiet, 48.0, -99.0),
    ("made-glacier-retreat", "ice_extent", True, (), ice, 61.0, -45.5),
    ("made-glacier-stable", "ice_extent", False, (), ice_quiet, 62.5, -143.0),
    ("made-lava", "thermal_hotspot", True, (), hotspot, 64.0, -19.0),
    ("made-hot-desert", "thermal_hotspot", False, (), hotspot_quiet, 24.0, 12.0),
    ("made-forest-fire", "vegetation_stress", True, (), burn, 39.5, -121.5),
    ("made-autumn", "vegetation_stress", False, (), autumn, 41.0, 69.0),
    ("made-clearing", "construction_progress", True, ("vegetation_stress",), works, -3.0, -60.5),
    ("made-quarry-haze", "construction_progress", False, (), works_quiet, 22.5, 103.0),
    ("made-town-grows", "urban_delta", True, ("construction_progress",), town, 33.0, 44.0),
    ("made-town-stays", "urban_delta", False, (), town_quiet, -33.0, 147.0),
    ("made-cloud", "vegetation_stress", None, (), clouded, 0.5, 24.0),
    ("made-swath-edge", "flood_extent", None, (), swath_edge, 20.5, 78.5),
)


def entry(case: tuple[Any, ...], made: Pair) -> dict[str, Any]:
    """The case as index.json tells it."""
    name, schema, change, also, maker, lat, lon = case
    _, _, first, second = made
    label: dict[str, Any] = {"change": change, "origin": "exact: the picture was made from it", "note": maker.__doc__}
    if change is None:
        label["usable"] = False
    if second is not None and first is not None:
        label |= {"mask_before": "mask_before.png", "mask_after": "mask_after.png"}
    if change is False:
        # Nothing changed at all, so the case is a negative for every question.
        also = tuple(other for other in SCHEMA_IDS if other != schema)
    return {
        "id": name,
        "task": "quality_gate" if change is None else "change_pair",
        "before": f"{name}/before.tif",
        "after": f"{name}/after.tif",
        "bands": list(BANDS),
        "gsd_m": GSD_M,
        "lat": lat,
        "lon": lon,
        "change_schema": schema,
        "also": list(also),
        "label": label,
        "source": "made by tools/make_archive.py; no picture of the Earth, the coordinates only say where to fly",
        "licence": "Apache-2.0",
    }


def write(folder: Path) -> None:
    """Write pictures, masks and index."""
    cases = []
    for case in CASES:
        made = case[4](Made(case[0]))
        place = folder / case[0]
        place.mkdir(parents=True, exist_ok=True)
        for name, picture in (("before", made[0]), ("after", made[1])):
            tifffile.imwrite(
                place / f"{name}.tif", picture, photometric="minisblack", planarconfig="separate",
                compression="zlib", compressionargs={"level": 9}, predictor=True, metadata=None, software=False,
                rowsperstrip=SIZE_PX,
            )  # fmt: skip
        for name, mask in (("mask_before", made[2]), ("mask_after", made[3])):
            if mask is not None:
                Image.fromarray(mask.astype(np.uint8) * 255).save(place / f"{name}.png", optimize=True)
        cases.append(entry(case, made))
    text = json.dumps(
        {
            "version": 1,
            "about": "Made pictures for newcomers and tests, not real ones; see tools/make_archive.py. Apache-2.0.",
            "cases": cases,
        },
        indent=1,
    )
    (folder / "index.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "flightsim" / "_data" / "archive"
    write(target)
    files = [path for path in target.rglob("*") if path.is_file()]
    print(f"{target}: {len(CASES)} cases, {len(files)} files, {sum(p.stat().st_size for p in files) / 1e6:.2f} MB")
