"""Generated tiles to set beside the real ones: the rough prototype and the generated world."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flightsim import rng
from flightsim.scenes.synthetic import view
from flightsim.scenes.synthetic.biomes import biome_of
from flightsim.scenes.synthetic.camera import reflectance_step
from flightsim.scenes.synthetic.ground import BANDS, Block, Window
from flightsim.scenes.synthetic.landscape import Terrain
from flightsim.scenes.synthetic.sun import sun_angles

from .realism_tiles import GENERATED_GSD_M, RGB, Picture, whole_pictures

PROTOTYPE = Path(__file__).resolve().parents[1].parent / "shared" / "prototypes" / "vlm" / "gen.py"


class Generator(Protocol):
    """Gives tiles at 10 m to set beside a real picture: its biomes, latitude and season, where the world has such."""

    bands: tuple[str, ...]
    name: str

    def tiles(self, picture: Picture, count: int, side_px: int, seed: int) -> list[tuple[NDArray[np.float32], int]]:
        """Planes of shape (bands, side, side) and the number of the landscape, ``count`` of them."""
        ...


class Prototype:
    """The rough RGB generator; it knows no biomes. Its display curve is undone, so that tones are linear."""

    bands = ("B04", "B03", "B02")
    name = "prototype"

    def __init__(self) -> None:
        spec = importlib.util.spec_from_file_location("prototype_gen", PROTOTYPE)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(PROTOTYPE)
        self._module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._module)

    def tiles(self, picture: Picture, count: int, side_px: int, seed: int) -> list[tuple[NDArray[np.float32], int]]:
        """A landscape a pair; both dates are used."""
        random = np.random.default_rng(seed)
        side = -(-side_px // 4) * 4  # its settlements need a multiple of four
        made = []
        while len(made) < count:
            before, after, _, _ = self._module.sample(random, side)
            for shown in (before, after)[: count - len(made)]:
                linear = (shown.astype(np.float32) / 255.0) ** np.float32(1 / 0.65) * np.float32(0.34)
                made.append((np.moveaxis(linear, 2, 0)[:, :side_px, :side_px], seed * 1000 + len(made) // 2))
        return made


class OtherPlaces:
    """The control: real tiles of other places, put through the product pipeline as if they were generated.

    A classifier that tells these from real tiles sees the pipeline, not the landscape.
    """

    bands = RGB
    name = "real tiles of other places"

    def __init__(self) -> None:
        self._planes = {
            source.place: planes
            for source, planes in whole_pictures(RGB)
            if source.gsd_m == GENERATED_GSD_M and source.repeat_rows == source.repeat_cols == source.average == 1
        }

    def tiles(self, picture: Picture, count: int, side_px: int, seed: int) -> list[tuple[NDArray[np.float32], int]]:
        """Windows at random of pictures at random, none of the place itself."""
        random = np.random.default_rng(seed)
        places = sorted(
            place
            for place, planes in self._planes.items()
            if place != picture.source.place and min(planes.shape[1:]) >= side_px
        )
        made = []
        for _ in range(count):
            number = int(random.integers(len(places)))
            planes = self._planes[places[number]]
            top, left = (int(random.integers(size - side_px + 1)) for size in planes.shape[1:])
            made.append((planes[:, top : top + side_px, left : left + side_px], number))
        return made


class World:
    """The generated world: the real place's latitude, its season and its kinds of landscape, without events."""

    bands = BANDS
    name = "generated world"

    def __init__(self, blocks: int = 4) -> None:
        self._blocks = blocks

    def tiles(self, picture: Picture, count: int, side_px: int, seed: int) -> list[tuple[NDArray[np.float32], int]]:
        """Tiles from a few landscapes, as those of a real picture come from one; both dates show the same places."""
        made = []
        blocks = self._places(picture, seed)
        for k, block in enumerate(blocks):
            key, terrain = block.key, Terrain(block)
            mine = count // len(blocks) + (k < count % len(blocks))
            for number, (top, left) in enumerate(self._corners(block.side_px - side_px, mine, seed, key)):
                window = Window(top, left, side_px, side_px)
                shown = view.picture(terrain, window, self._shot(picture, key, number), None)
                planes = shown.samples.astype(np.float32) * np.float32(reflectance_step())
                made.append((planes, key))
        return made

    def _places(self, picture: Picture, seed: int) -> list[Block]:
        """Blocks whose landscape is one of the source's, the kinds in turn, as near the real place as there is one."""
        found = []
        for number in range(self._blocks):
            wanted = picture.source.biomes[number % len(picture.source.biomes)]
            name = f"realism/{picture.source.case}/{number}"
            for attempt in range(5000):
                key = int(rng.hash_at(seed, name, attempt))
                # A zone may lack a landscape that the place has in truth; then its neighbours are asked.
                lat_deg = picture.lat_deg + (0.0, 2.5, -2.5, 5.0, -5.0)[attempt // 1000]
                if biome_of(lat_deg, picture.lon_deg, key, seed) == wanted:
                    found.append(Block(key, lat_deg, picture.lon_deg, 128, 10.0, seed))
                    break
            else:
                raise LookupError(f"no block of {wanted} near {picture.lat_deg:.1f} deg, {picture.lon_deg:.1f} deg.")
        return found

    @staticmethod
    def _corners(free_px: int, count: int, seed: int, key: int) -> list[tuple[int, int]]:
        draws = rng.uniform_at(seed, "realism/corner", key, np.arange(2 * count)).reshape(count, 2)
        return [(int(row * free_px) // 2 * 2, int(col * free_px) // 2 * 2) for row, col in draws]

    @staticmethod
    def _shot(picture: Picture, key: int, number: int) -> view.Shot:
        """The day of the real picture at about 10:30 local solar time, with cloud only where the real one has it."""
        moment = datetime.fromisoformat(picture.day).replace(tzinfo=UTC)
        unix_s = moment.timestamp() + 3600.0 * (10.5 - picture.lon_deg / 15.0)
        elevation, azimuth = sun_angles(np.array([unix_s]), np.array([picture.lat_deg]), np.array([picture.lon_deg]))
        return view.Shot(
            time_s=0.0,
            day_of_year=float(moment.timetuple().tm_yday),
            day=moment.toordinal(),
            sun_elevation_deg=float(elevation[0]),
            sun_azimuth_deg=float(azimuth[0]),
            off_nadir_deg=0.0,
            cloud_fraction=picture.source.cloud_fraction,
            key=int(rng.hash_at(key & 0xFFFF, f"realism/shot/{picture.day}", number)),
        )
