"""Encoded bytes of real 128 px tiles: what scenes without pixels take as their defaults."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from flightsim import frames, products, records
from flightsim.domain import SCHEMA_IDS, Action, Verdict, VerdictStatus
from flightsim.scenario.models import Cfdp
from flightsim.scenes.synthetic.sampling import sample_world

REAL = Path(__file__).resolve().parents[1].parent / "shared" / "data"
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
CHOSEN = ("B02", "B03", "B04", "B08", "B11", "B12")


def searched_bytes(tile: np.ndarray) -> int:
    """A tile's bands as PNG with zlib's full search, which `products.encode_tile` leaves out."""
    size = 0
    for band in tile:
        out = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(band)).save(out, "PNG", compress_level=6)
        size += len(out.getvalue())
    return size


def generated(raw: float, blocks: int = 16, seed: int = 5) -> None:
    """The same of generated tiles, clear and overcast."""
    source, plan, _ = sample_world(blocks, seed, cloud_fraction=0.3)
    hidden = np.array([source.hidden_fraction(row) for row in range(len(plan))])
    for name, rows in (("clear", hidden < 0.01), ("overcast", hidden > 0.99)):
        tiles = [source.pair(int(row)).after.image.pixels() for row in np.flatnonzero(rows)[::3]]
        started = time.perf_counter()
        sizes = [len(products.encode_tile(tile, "png16", CHOSEN)) for tile in tiles]
        line(f"generated tile, {name} ({np.mean(sizes) / raw:.2f} of raw)", sizes, time.perf_counter() - started)
        started = time.perf_counter()
        sizes = [searched_bytes(tile) for tile in tiles]
        line("the same, full search", sizes, time.perf_counter() - started)


def tiles_of(picture: np.ndarray, side: int = 128) -> list[np.ndarray]:
    """Whole tiles of a picture (bands, rows, columns)."""
    _, rows, columns = picture.shape
    return [
        picture[:, r : r + side, c : c + side]
        for r in range(0, rows - side + 1, side)
        for c in range(0, columns - side + 1, side)
    ]


def line(name: str, sizes: list[int], seconds: float) -> None:
    each = 1e3 * seconds / len(sizes)
    print(f"| {name} | {len(sizes)} | {np.mean(sizes):,.0f} | {min(sizes):,} | {max(sizes):,} | {each:.1f} |")


def main() -> None:
    if not REAL.is_dir():
        print("../shared/data is absent, SKIPPED")
        return
    stack = []
    for when in ("before", "after"):
        image = tifffile.imread(REAL / "flood-boadella-2020" / f"{when}.tif")
        image = image if image.shape[0] == len(BANDS) else np.moveaxis(image, -1, 0)
        stack += tiles_of(np.clip(image[[BANDS.index(b) for b in CHOSEN]], 0, 65535).astype(np.uint16))
    raw = 128 * 128 * 6 * 12 / 8
    print(f"Sentinel-2 L2A, 128 px, six bands, raw {raw:,.0f} B at 12 bit")
    print("| product | n | mean B | least | most | ms |")
    print("|---|---|---|---|---|---|")
    started = time.perf_counter()
    sizes = [len(products.encode_tile(tile, "png16", CHOSEN)) for tile in stack]
    line("tile, 16-bit PNG a band", sizes, time.perf_counter() - started)
    print(f"lossless over raw: {np.mean(sizes) / raw:.2f}")
    started = time.perf_counter()
    sizes = [searched_bytes(tile) for tile in stack]
    line("the same, full search", sizes, time.perf_counter() - started)
    generated(raw)
    started = time.perf_counter()
    sizes = [len(products.encode_tile(tile, "jpeg2000", CHOSEN)) for tile in stack]
    line("tile, JPEG 2000 reversible", sizes, time.perf_counter() - started)
    rgb = []
    for path in sorted(REAL.glob("*/*.png")):
        if path.stem in ("before", "after") and not path.parent.name.startswith(("quality", "ice")):
            with Image.open(path) as image:
                rgb.append(np.moveaxis(np.asarray(image.convert("RGB")), -1, 0))
    cut = [tile for picture in rgb for tile in tiles_of(picture)]
    started = time.perf_counter()
    sizes = [len(products.encode_tile(tile, "png16", ("B04", "B03", "B02"))) for tile in cut]
    line("8-bit RGB tile, PNG a band (raw 49,152 B)", sizes, time.perf_counter() - started)
    for codec, quality in (("webp", 60), ("jpeg", 75)):
        for side in (64, 128):
            started = time.perf_counter()
            sizes = [len(products.encode_thumbnail(t, ("B04", "B03", "B02"), 8, side, codec, quality)) for t in cut]
            line(f"8-bit RGB tile at {side} px, {codec} q{quality}", sizes, time.perf_counter() - started)
    for codec, quality in (("webp", 60), ("webp", 75), ("jpeg", 75)):
        for side in (64, 128, 256):
            started = time.perf_counter()
            sizes = [len(products.encode_thumbnail(p, ("B04", "B03", "B02"), 8, side, codec, quality)) for p in rgb]
            line(f"whole picture, {side} px {codec} q{quality}", sizes, time.perf_counter() - started)
    started = time.perf_counter()
    sizes = [len(products.encode_thumbnail(p, CHOSEN, 12, 128, "webp", 60)) for p in stack]
    line("128 px tile at full size, webp q60", sizes, time.perf_counter() - started)
    started = time.perf_counter()
    sizes = [len(products.encode_thumbnail(p, CHOSEN, 12, 64, "webp", 60)) for p in stack]
    line("128 px tile at 64 px, webp q60", sizes, time.perf_counter() - started)
    verdict_records()


def verdict_records() -> None:
    """Bytes of one tile's record with all seven questions asked, and on the wire alone and 64 to a file."""
    tile = "g1280/r04512c00730@86400"
    fields = {
        "direction": "increase", "severity": "moderate", "fraction_of_tile": 0.123, "changed_area_ha": 20.2,
        "where": "north_east", "box": [0.12, 0.31, 0.55, 0.62], "water_fraction_before": 0.02,
        "water_fraction_after": 0.14,
    }  # fmt: skip
    null = {schema: Verdict(tile, schema, VerdictStatus.NULL) for schema in SCHEMA_IDS}
    flood = "flood_extent"
    cases = {
        "all null": null,
        "all behind cloud": {s: Verdict(tile, s, VerdictStatus.UNCLASSIFIABLE, reason="cloud") for s in SCHEMA_IDS},
        "one event, no fields": null | {flood: Verdict(tile, flood, VerdictStatus.EVENT, {}, 0.931)},
        "one event, eight fields": null | {flood: Verdict(tile, flood, VerdictStatus.EVENT, fields, 0.931)},
    }
    print("| verdict record | B | the contract's JSON | packets alone | packets each of 64 |")
    print("|---|---|---|---|---|")
    name_bytes = len(frames.file_name(Action.VERDICT, 0))
    for name, verdicts in cases.items():
        size = len(records.encode_record(tile, list(verdicts.values())))
        alone, together = frames.wire_bytes([size, 64 * size], Cfdp(), name_bytes)
        plain = len(
            json.dumps({"tile": tile, "verdicts": [as_json(v) for v in verdicts.values()]}, separators=(",", ":"))
        )
        print(f"| {name} | {size} | {plain} | {alone} | {together / 64:.0f} |")


def as_json(verdict: Verdict) -> dict[str, object] | None:
    if verdict.status is VerdictStatus.NULL:
        return None
    schema = f"{verdict.schema_id}/1"
    if verdict.status is VerdictStatus.UNCLASSIFIABLE:
        return {"schema": schema, "unclassifiable": verdict.reason}
    return {"schema": schema, "event": True, "fields": verdict.body, "confidence": verdict.confidence}


if __name__ == "__main__":
    main()
