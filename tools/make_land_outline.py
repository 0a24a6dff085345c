"""Draw the coastline of the report's map from the raster that flightsim ships: `python tools/make_land_outline.py`.

The raster is averaged to half a degree, its 50 % contour simplified to 0.2 deg, and what is smaller than 3 square
degrees left out. Writes `flightsim/report/land.json`: one SVG path in degrees, longitude east, latitude downwards.
"""

import json
from pathlib import Path

import contourpy
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
RASTER = ROOT / "flightsim/_data/land/land.png"
TARGET = ROOT / "flightsim/report/land.json"
CELL_DEG, TOLERANCE_DEG, SMALLEST_DEG2 = 0.5, 0.2, 3.0


def simplified(line: np.ndarray) -> np.ndarray:
    """Douglas and Peucker's simplification of an open line, shape (n, 2). [deg]"""
    keep = np.zeros(len(line), dtype=bool)
    keep[[0, -1]] = True
    stack = [(0, len(line) - 1)]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        start, along = line[first], line[last] - line[first]
        rest = line[first + 1 : last] - start
        length = np.hypot(*along)
        off = np.hypot(*rest.T) if length == 0 else np.abs(rest[:, 0] * along[1] - rest[:, 1] * along[0]) / length
        worst = int(np.argmax(off))
        if off[worst] > TOLERANCE_DEG:
            keep[first + 1 + worst] = True
            stack += [(first, first + 1 + worst), (first + 1 + worst, last)]
    return line[keep]


def main() -> None:
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(RASTER) as picture:
        raster = np.asarray(picture, dtype=np.float32)
    block = round(CELL_DEG / (180.0 / raster.shape[0]))
    coarse = raster.reshape(raster.shape[0] // block, block, -1, block).mean(axis=(1, 3))
    rows, cols = coarse.shape
    # A frame of sea closes every outline; what it cuts lies on the edge of the map.
    framed = np.pad(coarse, 1)
    lat = np.clip(90.0 - CELL_DEG * (np.arange(-1, rows + 1) + 0.5), -90.0, 90.0)
    lon = np.clip(-180.0 + CELL_DEG * (np.arange(-1, cols + 1) + 0.5), -180.0, 180.0)
    parts = []
    for line in contourpy.contour_generator(lon, lat, framed).lines(0.5):
        x, y = line.T
        if abs(0.5 * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) < SMALLEST_DEG2:
            continue
        half = len(line) // 2  # a closed line has no ends to start from
        kept = np.concatenate([simplified(line[: half + 1])[:-1], simplified(line[half:])[:-1]])
        points = np.round(np.column_stack([kept[:, 0], -kept[:, 1]]), 1) + 0.0
        parts.append("M" + "L".join(f"{a:g},{b:g}" for a, b in points) + "Z")
    origin = json.loads((RASTER.parent / "origin.json").read_text(encoding="utf-8"))
    document = {
        "path": "".join(parts), "source": origin["source"], "made_by": "tools/make_land_outline.py",
        "made_from_sha256": origin["sha256"],
    }  # fmt: skip
    TARGET.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {len(parts)} outlines, {len(document['path'])} characters")


if __name__ == "__main__":
    main()
