"""Make flightsim/_data/land/land.png: which cells of a regular grid have their centre on land.

Source: npm package ``world-atlas`` 2.0.2, file ``land-50m.json`` (TopoJSON), which redistributes Natural Earth 4.1.0,
"land", 1:50m. Natural Earth is in the public domain; the package is under the ISC licence. Get it with
``npm pack world-atlas@2.0.2`` and unpack it. SHA-256 of ``land-50m.json``:
619477ff690c086885e45cb91707d783805561bd75ae8e437b7d4694b0204e0f

Run: ``python tools/make_land_raster.py package/land-50m.json``. The result is the same to the pixel every time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHA256 = "619477ff690c086885e45cb91707d783805561bd75ae8e437b7d4694b0204e0f"
TARGET = Path(__file__).resolve().parents[1] / "flightsim" / "_data" / "land"


def rings_of(topology: dict[str, Any]) -> list[NDArray[np.float64]]:
    """All rings of the land object, each shape (n, 2) as longitude, latitude. [deg]"""
    scale, shift = np.array(topology["transform"]["scale"]), np.array(topology["transform"]["translate"])
    arcs = [np.cumsum(np.array(arc, dtype=np.int64), axis=0) * scale + shift for arc in topology["arcs"]]
    rings = []
    for shape in topology["objects"]["land"]["geometries"]:
        for polygon in shape["arcs"]:
            for ring in polygon:
                # ~i means arc i backwards (TopoJSON specification, section 2.1.4); arcs share their end points.
                parts = [arcs[i] if i >= 0 else arcs[~i][::-1] for i in ring]
                rings.append(np.concatenate([parts[0], *(part[1:] for part in parts[1:])]))
    return rings


def closed(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ring with continuous longitude; one that goes round the Earth is closed over the south pole. [deg]"""
    lon = np.degrees(np.unwrap(np.radians(ring[:, 0])))
    out = np.column_stack([lon, ring[:, 1]])
    if abs(lon[-1] - lon[0]) > 180.0:
        out = np.concatenate([out, [[lon[-1], -90.0], [lon[0], -90.0], out[0]]])
    return out


def rasterise(rings: list[NDArray[np.float64]], rows: int) -> NDArray[np.bool_]:
    """Cells whose centre lies inside an odd number of rings, shape (rows, 2 rows), north first."""
    step = 180.0 / rows
    land = np.zeros((rows, 2 * rows), dtype=np.bool_)
    for ring in rings:
        x0, y0, x1, y1 = ring[:-1, 0], ring[:-1, 1], ring[1:, 0], ring[1:, 1]
        first = max(0, int((90.0 - ring[:, 1].max()) / step) - 1)
        last = min(rows, int((90.0 - ring[:, 1].min()) / step) + 2)
        for row in range(first, last):
            lat = 90.0 - (row + 0.5) * step
            hit = (y0 <= lat) != (y1 <= lat)
            if not hit.any():
                continue
            lon = np.sort(x0[hit] + (lat - y0[hit]) * (x1[hit] - x0[hit]) / (y1[hit] - y0[hit]))
            edges = np.ceil((lon + 180.0) / step - 0.5).astype(int)
            for west, east in zip(edges[0::2], edges[1::2], strict=True):
                columns = np.arange(west, east) % (2 * rows)
                land[row, columns] ^= True
    return land


def main() -> None:
    """Read the TopoJSON file, write the raster and the note on its origin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("topojson", type=Path, help="land-50m.json of world-atlas 2.0.2")
    parser.add_argument("--rows", type=int, default=3600, help="rows from pole to pole")
    parser.add_argument("--out", type=Path, default=TARGET, help="folder to write to")
    options = parser.parse_args()
    raw = options.topojson.read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{options.topojson} has SHA-256 {digest}; {SHA256} (world-atlas 2.0.2) is wanted.")
    land = rasterise([closed(ring) for ring in rings_of(json.loads(raw))], options.rows)
    options.out.mkdir(parents=True, exist_ok=True)
    picture = options.out / "land.png"
    Image.fromarray(land).save(picture, optimize=True)
    weight = np.cos(np.radians(90.0 - (np.arange(options.rows) + 0.5) * 180.0 / options.rows))
    fraction = float((land.mean(axis=1) * weight).sum() / weight.sum())
    note = {
        "file": picture.name,
        "sha256": hashlib.sha256(picture.read_bytes()).hexdigest(),
        "content": "1 where the centre of the cell is on land; lakes count as land, the Caspian Sea as sea",
        "layout": f"{options.rows} rows from north, {2 * options.rows} columns from 180 deg west, "
        f"{180.0 / options.rows:g} deg a cell, WGS-84 latitude and longitude",
        "land_fraction_of_the_sphere": round(fraction, 4),
        "source": "Natural Earth 4.1.0, land, 1:50m, as land-50m.json of the npm package world-atlas 2.0.2",
        "source_sha256": SHA256,
        "source_url": "https://registry.npmjs.org/world-atlas/-/world-atlas-2.0.2.tgz",
        "licence": "Natural Earth: public domain. world-atlas: ISC, copyright 2013-2019 Michael Bostock.",
        "made_by": "tools/make_land_raster.py",
    }
    (options.out / "origin.json").write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    print(f"{picture.name}: {picture.stat().st_size} bytes, land fraction {fraction:.4f}")


if __name__ == "__main__":
    main()
