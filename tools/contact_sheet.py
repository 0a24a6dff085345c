"""Contact sheets of the generated world beside real pictures, into docs/figures.

Run: ``python tools/contact_sheet.py``. Real pictures come from ../shared/data (openly licensed, see docs/world.md for
their sources); without that folder the sheets show generated pairs alone, and say so.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.realism_generated import PROTOTYPE, Generator, Prototype, World  # noqa: E402
from benchmarks.realism_tiles import RGB, like, real_pictures, side_needed  # noqa: E402
from flightsim.domain import SCHEMA_IDS, Plan, TruthTable  # noqa: E402
from flightsim.grid import grid_of  # noqa: E402
from flightsim.rng import hash_at, uniform_at  # noqa: E402
from flightsim.scenes import images  # noqa: E402
from flightsim.scenes.synthetic import view  # noqa: E402
from flightsim.scenes.synthetic.biomes import biome_of  # noqa: E402
from flightsim.scenes.synthetic.camera import reflectance_step  # noqa: E402
from flightsim.scenes.synthetic.ground import BANDS, Biome, Block, Window  # noqa: E402
from flightsim.scenes.synthetic.landscape import Terrain  # noqa: E402
from flightsim.scenes.synthetic.sampling import sample_world  # noqa: E402
from flightsim.scenes.synthetic.source import Synthetic  # noqa: E402

FIGURES = ROOT / "docs" / "figures"
REAL = ROOT.parent / "shared" / "data"
TILE_PX, GAP_PX, CAPTION_PX, HEAD_PX = 160, 6, 15, 22
INK, PAPER, GREY, MARK = (24, 24, 27), (255, 255, 255), (110, 110, 120), (255, 60, 200)
#: Reflectance shown as white in true colour, in the SWIR composite B12, B08, B04, and wherever snow prevails. [-]
WHITE_RGB, WHITE_SWIR, WHITE_SNOW = 0.30, 0.45, 1.0


@dataclass(frozen=True)
class RealPair:
    """A real pair on a sheet: case, the rectangle shown (row, column, side) [px], and how it is captioned."""

    case: str
    window: tuple[int, int, int]
    caption: str


#: Windows were placed by eye on what changed.
REAL_PAIRS: dict[str, tuple[RealPair, ...]] = {
    "flood_extent": (RealPair("flood-boadella-2020", (60, 60, 256), "Boadella, ES"),),
    "wetland_change": (RealPair("wetland-nd-west-2009-2015", (0, 0, 448), "Kidder County, US, aerial"),),
    "ice_extent": (
        RealPair("ice-sverdrup-1998-2014", (50, 0, 200), "Sverdrup, Greenland"),
        RealPair("ice-jakobshavn-1994-2002", (30, 0, 200), "Jakobshavn, Greenland"),
    ),
    "thermal_hotspot": (RealPair("hotspot-kilauea-2025", (150, 140, 300), "Kilauea, US, SWIR"),),
    "vegetation_stress": (
        RealPair("veg-karabuk-toprakcuma-2025", (140, 250, 256), "Karabuk, TR, fire"),
        RealPair("veg-karabuk-cildikisik-2025", (140, 250, 256), "Karabuk, TR, fire"),
    ),
    "construction_progress": (RealPair("construction-blackrock-2023", (40, 40, 320), "Black Rock City, US"),),
    "urban_delta": (RealPair("urban-pucallpa-1985-2015", (0, 0, 192), "Pucallpa, PE, 1985-2015, SWIR"),),
    "quiet": (
        RealPair("season-kansas-2024", (60, 60, 256), "Kansas, US, season"),
        RealPair("nochange-kansas-2024-2025", (60, 60, 256), "Kansas, US, a year on"),
        RealPair("nochange-lausanne-2026", (120, 120, 256), "Lausanne, CH, 10 days"),
        RealPair("nochange-outback-2026", (120, 120, 256), "Outback, AU, 8 days"),
    ),
}


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def picture_of(rgb: NDArray[np.floating]) -> Image.Image:
    """An 8-bit picture of the sheet's tile size from values in [0, 1], shape (rows, columns, 3)."""
    shown = Image.fromarray((np.clip(np.nan_to_num(rgb), 0, 1) * 255).astype(np.uint8))
    return shown.resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)


def real_views(case: dict, window: tuple[int, int, int]) -> list[Image.Image]:
    """Before and after of a real case, one stretch for both where it is calibrated."""
    row, col, side = window
    names = images.band_names(case["bands"])
    planes = []
    for date in ("before", "after"):
        path = REAL / case[date]
        samples = images.read(path, images.layout(path, len(names), case["id"]), case["id"]).astype(np.float32)
        planes.append(samples[:, row : row + side, col : col + side])
    if "B04" in names and "B02" in names:
        order = [names.index(name) for name in ("B04", "B03", "B02")]
    elif len(names) == 1:
        order = [0, 0, 0]
    else:
        order = list(range(3))
    if max(part.max() for part in planes) > 255:
        return [picture_of(np.moveaxis(part[order], 0, 2) * 1e-4 / WHITE_RGB) for part in planes]
    return [picture_of(np.moveaxis(part[order], 0, 2) / 255.0) for part in planes]


def snowy(planes: NDArray[np.float32], bands: Sequence[str]) -> bool:
    """Whether more than a fifth of a picture is as bright as snow: then it is shown darker."""
    return float((planes[list(bands).index("B03")] > 0.45).mean()) > 0.2


def generated_views(planes: NDArray[np.float32], bands: Sequence[str], *, swir: bool) -> Image.Image:
    """True colour or the SWIR composite of a generated picture, on a fixed stretch."""
    names = ("B12", "B08", "B04") if swir else ("B04", "B03", "B02")
    shown = np.moveaxis(planes[[list(bands).index(name) for name in names]], 0, 2)
    white = WHITE_SWIR if swir else WHITE_RGB
    if snowy(planes, bands):
        white = WHITE_SNOW
    return picture_of((np.maximum(shown, 0.0) / white) ** 0.8)


def outlined(shown: Image.Image, mask: NDArray[np.bool_] | None) -> Image.Image:
    """The picture with the edge of the truth mask drawn in magenta."""
    if mask is None or not mask.any():
        return shown
    large = np.asarray(Image.fromarray(mask).resize((TILE_PX, TILE_PX), Image.Resampling.NEAREST))
    edge = ndimage.binary_dilation(large) & ~large
    out = np.array(shown)
    out[edge] = MARK
    return Image.fromarray(out)


@dataclass(frozen=True)
class Cell:
    """Pictures side by side under one caption."""

    pictures: tuple[Image.Image, ...]
    caption: str


def sheet(title: str, rows: Sequence[Sequence[Cell]], notes: Sequence[str]) -> Image.Image:
    """Rows of cells under a title, notes below."""
    widths = [sum(len(cell.pictures) * (TILE_PX + 2) + GAP_PX for cell in row) for row in rows]
    width = max([*widths, 640]) + GAP_PX
    lines = [line for note in notes for line in textwrap.wrap(note, width // 5)]
    height = HEAD_PX + len(rows) * (TILE_PX + CAPTION_PX + GAP_PX) + len(lines) * 14 + GAP_PX
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((GAP_PX, 4), title, fill=INK, font=font(13))
    top = HEAD_PX
    for row in rows:
        left = GAP_PX
        for cell in row:
            pen.text((left, top), cell.caption, fill=INK, font=font(10))
            for shown in cell.pictures:
                page.paste(shown, (left, top + CAPTION_PX))
                left += TILE_PX + 2
            left += GAP_PX
        top += TILE_PX + CAPTION_PX + GAP_PX
    for note in lines:
        pen.text((GAP_PX, top), note, fill=GREY, font=font(10))
        top += 14
    return page


def save(page: Image.Image, name: str) -> Path:
    path = FIGURES / f"world-{name}.webp"
    FIGURES.mkdir(parents=True, exist_ok=True)
    page.save(path, "WEBP", quality=82, method=6)
    print(f"{path.relative_to(ROOT)}: {page.width} x {page.height}, {path.stat().st_size / 1000:.0f} kB")
    return path


def real_cells(schema: str) -> tuple[list[Cell], list[str]]:
    """Real pairs of a schema and the lines that name their sources."""
    if not REAL.is_dir():
        return [], ["Real pictures: ../shared/data is absent, not shown."]
    cases = {case["id"]: case for case in json.loads((REAL / "index.json").read_text(encoding="utf-8"))["cases"]}
    cells, sources = [], []
    for pair in REAL_PAIRS[schema]:
        case = cases[pair.case]
        cells.append(Cell(tuple(real_views(case, pair.window)), f"REAL  {pair.caption}"))
        sources.append(f"{pair.case}: {case['source']}")
    return cells, ["Real: " + "; ".join(dict.fromkeys(sources))]


# -------------------------------------------------------------------- generated pairs


def display(
    planes: NDArray[np.float32], bands: Sequence[str], mask: NDArray[np.bool_] | None
) -> tuple[Image.Image, ...]:
    """True colour and SWIR of one picture, the true colour with the outline of the truth."""
    return outlined(generated_views(planes, bands, swir=False), mask), generated_views(planes, bands, swir=True)


def biome_at(plan: Plan, row: int, seed: int) -> Biome:
    """Landscape of the block of a row of a sample of 128 px at 10 m."""
    grid = grid_of(10.0, 128)
    cell = grid.cell_of(plan.lat_deg[row : row + 1], plan.lon_deg[row : row + 1])
    lat, lon = grid.block_centre_of(*cell)
    return biome_of(float(lat[0]), float(lon[0]), int(plan.block_key[row]), seed)


def pair_cell(source: Synthetic, plan: Plan, row: int, schema: str | None, seed: int) -> Cell:
    """A generated pair: before and after in true colour, with the truth outlined, then both in SWIR."""
    pair = source.pair(row)
    planes = [tile.image.reflectance() for tile in (pair.before, pair.after)]
    mask = source.change_mask(row, schema) if schema else None
    before, after = display(planes[0], pair.after.bands, None), display(planes[1], pair.after.bands, mask)
    days = (plan.time_s[row] - plan.before_s[row]) / 86400.0
    lat, lon = plan.lat_deg[row], plan.lon_deg[row]
    place = f"{abs(lat):.0f}{'NS'[int(lat < 0)]} {abs(lon):.0f}{'EW'[int(lon < 0)]}"
    share = f", changed {100 * mask.mean():.0f} %" if mask is not None else ""
    caption = f"GENERATED  {biome_at(plan, row, seed)}, {place}, {days:.0f} days{share}"
    return Cell((before[0], after[0], before[1], after[1]), caption)


def chosen(truth: TruthTable, plan: Plan, schema: str | None, count: int) -> list[int]:
    """Rows in the order of the sample, one a block: with a labelled event of the schema, or quiet for None."""
    if schema is None:
        fits = ~truth.changed.any(axis=1) & truth.labelled.all(axis=1) & truth.visible
    else:
        j = truth.schemas.index(schema)
        fits = truth.changed[:, j] & truth.labelled[:, j] & truth.visible
    order = np.argsort(uniform_at(0, "contact sheet", plan.place_key), kind="stable")
    picked, seen = [], set()
    for row in order[fits[order]]:
        if int(plan.block_key[row]) not in seen:
            seen.add(int(plan.block_key[row]))
            picked.append(int(row))
        if len(picked) == count:
            break
    return picked


def schema_sheets(blocks: int, seed: int) -> None:
    """One sheet a schema and one of quiet pairs, in places of the test regions, drawn at random, not chosen."""
    source, plan, truth = sample_world(blocks, seed, region="test", prevalence=0.05)
    for schema in (*SCHEMA_IDS, None):
        rows = chosen(truth, plan, schema, 6)
        cells = [pair_cell(source, plan, row, schema, seed) for row in rows]
        real, notes = real_cells(schema or "quiet")
        pages = [real[k : k + 4] for k in range(0, len(real), 4)] + [cells[k : k + 2] for k in range(0, len(cells), 2)]
        title = (
            f"{schema or 'quiet change'}: before, after; generated ones also in SWIR (B12, B08, B04), truth outlined"
        )
        notes.append(
            f"Generated: test regions, seed {seed}, one a landscape, in the order of a keyed draw, not chosen."
        )
        save(sheet(title, [page for page in pages if page], notes), (schema or "quiet").replace("_", "-"))


#: Real places on the sheet that sets real, prototype and generated tiles side by side.
_BESIDE = (
    "nochange-lausanne-2026", "quality-tokyo-white", "nochange-outback-2026", "single-chuquicamata-mine",
    "veg-karabuk-cildikisik-2025", "nochange-kansas-2024-2025", "flood-boadella-2020", "flood-seg-spain-2019",
)  # fmt: skip


def side_by_side(name: str = "side-by-side") -> None:
    """Real tiles and, in the same product, tiles of the prototype and of the generated world made beside them."""
    if not REAL.is_dir():
        print("side-by-side: ../shared/data is absent, SKIPPED")
        return
    generators: list[Generator] = [Prototype()] if PROTOTYPE.is_file() else []
    generators.append(World())
    rows, sources = [], []
    for picture in real_pictures(RGB, 128, 12):
        if picture.source.case not in _BESIDE or picture.date != picture.source.dates[-1]:
            continue
        picked = [int(k) for k in np.linspace(0, len(picture.tiles) - 1, 3)]
        groups = [(f"REAL  {picture.source.place}", picture.tiles[picked])]
        for generator in generators:
            tiles = generator.tiles(picture, 12, side_needed(picture.source, 128), 5)
            made = like([planes for planes, _ in tiles], generator.bands, picture)
            groups.append((generator.name.upper(), made[[0, 4, 8]]))
        rows.append(
            [Cell(tuple(picture_of(np.moveaxis(t, 0, 2) / 255.0) for t in part), text) for text, part in groups]
        )
        sources.append(picture.source.case)
    notes = [f"Real: {', '.join(sources)}; sources in docs/world.md. Tiles are not chosen: three of twelve, evenly."]
    save(sheet("Real tiles, and generated ones brought to the same product (128 px)", rows, notes), name)


def biomes(seed: int) -> None:
    """A tile and a whole block of every landscape, summer at 10:30."""
    cells = []
    for number, biome in enumerate(Biome):
        block = block_of(biome, seed)
        terrain = Terrain(block)
        whole = Window(0, 0, block.side_px, block.side_px)
        pictures = []
        for window in (whole, block.tile(3, 3), block.tile(6, 1)):
            shot = view.Shot(
                time_s=0.0, day_of_year=190.0 if block.lat_deg > 0 else 10.0, day=0, sun_elevation_deg=48.0,
                sun_azimuth_deg=130.0, off_nadir_deg=0.0, cloud_fraction=0.0,
                key=int(hash_at(seed, "contact sheet/shot", number)),
            )  # fmt: skip
            samples = view.picture(terrain, window, shot, None).samples.astype(np.float32)
            pictures.append(generated_views(samples * np.float32(reflectance_step()), BANDS, swir=False))
        cells.append(Cell(tuple(pictures), f"{biome}, {block.lat_deg:.0f} deg: block of 10 km, two tiles"))
    save(sheet("The landscapes", [cells[k : k + 2] for k in range(0, len(cells), 2)], []), "landscapes")


def block_of(biome: Biome, seed: int) -> Block:
    """A block of a landscape, at the first latitude of a list that has it."""
    for lat_deg in (3.0, 16.0, 44.0, 60.0, 72.0, -25.0):
        for attempt in range(400):
            key = int(hash_at(seed, "contact sheet/block", attempt, int(lat_deg) + 90))
            lon_deg = 134.0 if lat_deg == -25.0 else 20.0
            if biome_of(lat_deg, lon_deg, key, seed) == biome:
                return Block(key, lat_deg, lon_deg, 128, 10.0, seed)
    raise LookupError(f"no block of {biome} was found.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=70, help="landscapes to draw pairs from")
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    schema_sheets(options.blocks, options.seed)
    side_by_side()
    biomes(options.seed)


if __name__ == "__main__":
    main()
