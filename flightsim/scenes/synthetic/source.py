"""The generated world as a scene source: pictures, cloud and truth of the shots of a plan."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...domain import Look, Plan, Tile, TilePair, TruthTable
from ...errors import InputError
from ...grid import grid_of
from ...protocols import PluginConfig
from ...rng import hash_at
from ...scenario.models import Camera, Targets
from .. import happenings
from ..sizes import HIDDEN_CLOUD_FRACTION
from . import clouds, truth, view
from .camera import reflectance_step
from .ground import BANDS, Block, Land, Surface, Window
from .history import History
from .landscape import Terrain
from .painting import paint
from .sun import sun_angles

Share = Annotated[float, Field(gt=0, le=1)]
#: Terrains, lands of tiles and pictures kept in memory; of 128 px they have some 1, 1 and 0.2 MB.
_TERRAINS, _LANDS, _PICTURES = 24, 24, 192
#: Pairs without their pixels, some 2 kB each: asked for many times a tile.
_PAIRS = 16384


@cache
def code_digest() -> str:
    """Digest of the modules that pixels depend on, and of NumPy's version."""
    here = Path(__file__).parent
    sources = [*sorted(here.glob("*.py")), here.parent / "happenings.py"]
    text = b"".join(path.read_bytes() for path in sources)
    return hashlib.sha256(text + np.__version__.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Generated:
    """A picture that is made when its pixels are asked for; its digest is that of its recipe, not of its pixels."""

    recipe: str
    bands: tuple[str, ...]
    shape: tuple[int, int, int]
    bits: int
    source: Synthetic = field(compare=False, repr=False)
    shot: view.Shot = field(compare=False, repr=False)
    row: int = field(compare=False, repr=False)

    def pixels(self) -> NDArray[np.uint16]:
        """Digital numbers, shape (bands, rows, columns); 0 is no data."""
        return self.source.picture(self.row, self.shot).samples[self.source.band_rows]

    def reflectance(self) -> NDArray[np.float32]:
        """Reflectance, same shape, NaN where there is no data. [-]"""
        samples = self.pixels()
        values = samples.astype(np.float32) * np.float32(reflectance_step(self.bits))
        values[samples == 0] = np.nan
        return values

    def digest(self) -> str:
        """SHA-256 of generator, world, place, time and view, as hex: equal recipes give equal pixels."""
        return self.recipe


class Synthetic:
    """Places with a history, generated from the seed; every revisit shows the same place.

    Notes
    -----
    A reference picture from the store (``before_s`` below 0) was chosen on the ground: it is free of cloud, and was
    taken at the time of day of the shot. With ``references.refresh: visit`` the reference is the previous nominal
    picture, cloud and all. A place counts as visible where neither picture hides more than 0.6 of the tile.
    """

    class Config(PluginConfig):
        """From which changed share of a tile on a question is positive."""

        positive_fraction: Share = 0.01
        """Changed share of a tile from which on it is positive. [-]"""
        negative_fraction: Share = 0.002
        """Changed share of a tile up to which it is negative; between the two it is unlabelled. [-]"""
        clear_references: bool = False
        """Whether every reference is free of cloud: a store that keeps clear pictures only, dated as the plan says."""

    has_pixels: ClassVar[bool] = True

    def __init__(self, config: Config, base_folder: Path = Path(".")) -> None:
        if config.negative_fraction > config.positive_fraction:
            raise InputError(
                f"scenes.with.negative_fraction is {config.negative_fraction:g}; it must not exceed "
                f"positive_fraction, {config.positive_fraction:g}."
            )
        self._config = config
        self._plan: Plan | None = None

    # ---------------------------------------------------------------- before the run

    def prepare(self, plan: Plan, schemas: Sequence[str], targets: Targets, camera: Camera, seed: int) -> TruthTable:
        """Truth of every shot, from the history of its block and the clouds of its day.

        Raises
        ------
        InputError
            The camera has bands or bits that the world has not, or the plan's places are not cells of its grid.
        """
        self._check(plan, camera)
        self._plan, self._schemas, self._camera, self._seed = plan, tuple(schemas), camera, seed
        self._mean_cloud = targets.clouds.mean_fraction
        self.band_rows = [BANDS.index(band) for band in camera.bands]
        self._blocks, self._block_of = _blocks(plan, camera, seed)
        self._memory()
        self._world = hashlib.sha256(
            "/".join(
                [code_digest(), str(seed), camera.model_dump_json(), targets.model_dump_json(), ",".join(schemas)]
            ).encode()
            + plan.time_s.tobytes() + plan.before_s.tobytes() + plan.place_key.tobytes()
            + repr(plan.start_unix_s).encode()
        ).hexdigest()  # fmt: skip
        self._after, self._before = self._shots(plan)
        seen_s = np.array([shot.time_s for shot in self._before])
        self.history = History(
            plan, self._blocks, self._block_of, targets, self._schemas, seed, epoch_s=float(seen_s.min())
        )
        changed, labelled = truth.plan_truth(
            plan, self.history, self._terrain, self._config.positive_fraction, self._config.negative_fraction, seen_s
        )
        day = np.floor(plan.time_s / 86400.0).astype(np.int64)
        _, cluster = np.unique(np.stack([plan.block_key.view(np.int64), day], axis=1), axis=0, return_inverse=True)
        visible = np.array(
            [self.hidden_fraction(row) <= HIDDEN_CLOUD_FRACTION for row in range(len(plan))], dtype=np.bool_
        )
        return TruthTable(
            self._schemas, changed, labelled, visible, cluster.ravel().astype(np.int64),
            np.array([targets.prevalence_of(schema) for schema in schemas]),
        )  # fmt: skip

    @staticmethod
    def _check(plan: Plan, camera: Camera) -> None:
        unknown = [band for band in camera.bands if band not in BANDS]
        if unknown:
            raise InputError(f"camera.bands has '{unknown[0]}'; scenes 'synthetic' have {', '.join(BANDS)}.")
        if not 8 <= camera.bits <= 16:
            raise InputError(f"camera.bits is {camera.bits}; scenes 'synthetic' are made with 8 to 16 bits.")
        if not 32 <= camera.tile_px <= 512:
            raise InputError(f"camera.tile_px is {camera.tile_px}; scenes 'synthetic' are made with 32 to 512 px.")
        if not 3.0 <= camera.gsd_m <= 60.0:
            raise InputError(
                f"camera.gsd_m is {camera.gsd_m:g} m; scenes 'synthetic' are made for 3 to 60 m, fields and streets "
                "would be wrong outside."
            )
        if len(plan.scene_row):
            raise InputError("scenes 'synthetic' fly over cells of the grid; write targets: {use: world} or a GeoJSON.")

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report must say about the world."""
        short = self.history.shortfall
        if not short:
            return ()
        told = ", ".join(f"{schema} {met:.3g}" for schema, met in short.items())
        return (f"stated prevalence cannot be reached where events can happen; expected instead: {told}",)

    def _memory(self) -> None:
        """Caches, which do not travel to other processes."""
        self._terrain = lru_cache(maxsize=_TERRAINS)(self._new_terrain)
        self._land = lru_cache(maxsize=_LANDS)(self._new_land)
        self._pictures = lru_cache(maxsize=_PICTURES)(self._new_picture)
        self._pairs = lru_cache(maxsize=_PAIRS)(self._new_pair)

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_terrain", "_land", "_pictures", "_pairs")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._memory()

    def _new_terrain(self, block: int) -> Terrain:
        return Terrain(self._blocks[block])

    def _new_land(self, block: int, window: Window) -> Land:
        return self._terrain(block).land(window)

    def _shots(self, plan: Plan) -> tuple[list[view.Shot], list[view.Shot]]:
        """Shots of the new pictures and of the references, in the order of the plan."""
        loaded = plan.before_s < 0
        # A picture from the store was taken in daylight: at the shot's time of day.
        days_back = np.ceil((plan.time_s - plan.before_s) / 86400.0 - 1e-9)
        before_s = np.where(loaded, plan.time_s - 86400.0 * days_back, plan.before_s)
        after_cloud = self._cloud(plan.time_s, plan.block_key)
        clear = loaded | self._config.clear_references
        before_cloud = np.where(clear, 0.0, self._cloud(before_s, plan.block_key))
        return self._make_shots(plan, plan.time_s, after_cloud), self._make_shots(plan, before_s, before_cloud)

    def _cloud(self, time_s: NDArray[np.float64], block_key: NDArray[np.uint64]) -> NDArray[np.float64]:
        day = np.floor(time_s / 86400.0).astype(np.int64)
        return happenings.block_cloud_fraction(block_key, day, self._mean_cloud, self._seed)

    def _make_shots(self, plan: Plan, time_s: NDArray[np.float64], cloud: NDArray[np.float64]) -> list[view.Shot]:
        unix_s = plan.start_unix_s + time_s
        elevation, azimuth = sun_angles(unix_s, plan.lat_deg, plan.lon_deg)
        keys = hash_at(self._seed, "synthetic/shot", plan.place_key, time_s.astype(np.int64))
        return [
            view.Shot(
                time_s=float(time_s[k]),
                day_of_year=_day_of_year(float(unix_s[k])),
                day=int(time_s[k] // 86400.0),
                # Whatever the orbit says, a reference needs light.
                sun_elevation_deg=max(float(elevation[k]), 5.0),
                sun_azimuth_deg=float(azimuth[k]),
                off_nadir_deg=float(plan.off_nadir_deg[k]),
                cloud_fraction=float(cloud[k]),
                key=int(keys[k]),
            )
            for k in range(len(time_s))
        ]

    def hidden_fraction(self, row: int) -> float:
        """Largest share of the tile that cloud or missing data hides in either picture; truth, never on board. [-]"""
        return max(self._hidden_in(row, self._before[row]), self._hidden_in(row, self._after[row]))

    def _hidden_in(self, row: int, shot: view.Shot) -> float:
        block, window = self._place(row)
        missing = view.no_data_share(block, window, shot)
        return missing + (1.0 - missing) * clouds.share(block, window, shot.day, shot.cloud_fraction)

    def _place(self, row: int) -> tuple[Block, Window]:
        plan = self._prepared()
        block = self._blocks[int(self._block_of[row])]
        return block, block.tile(int(plan.block_row[row]), int(plan.block_col[row]))

    def _prepared(self) -> Plan:
        if self._plan is None:
            raise InputError("the generated world has no plan yet; call prepare first.")
        return self._plan

    # ---------------------------------------------------------------- pictures

    def picture(self, row: int, shot: view.Shot) -> view.Picture:
        """One picture of the place of a row, all bands."""
        return self._pictures(row, shot)

    def _new_picture(self, row: int, shot: view.Shot) -> view.Picture:
        block, window = self._place(row)
        index = int(self._block_of[row])
        events = self.history.events(index)

        def happen(land: Land, surface: Surface) -> None:
            paint(events, land, block, shot.time_s, surface)

        land = self._land(index, view.padded(window))
        return view.picture(
            self._terrain(index), window, shot, happen if events else None, land=land, bits=self._camera.bits
        )

    def _image(self, row: int, shot: view.Shot, name: str) -> Generated:
        plan, camera = self._prepared(), self._camera
        recipe = hashlib.sha256(f"{self._world}/{int(plan.place_key[row])}/{shot}/{name}".encode()).hexdigest()
        shape = (len(camera.bands), camera.tile_px, camera.tile_px)
        return Generated(recipe, tuple(camera.bands), shape, camera.bits, self, shot, row)

    def _tile(self, row: int, shot: view.Shot, captured_s: float, tile_id: str, gsd_m: float) -> Tile:
        plan, camera = self._prepared(), self._camera
        return Tile(
            id=tile_id,
            place_id=plan.place_id[row],
            captured_s=captured_s,
            lat_deg=float(plan.lat_deg[row]),
            lon_deg=float(plan.lon_deg[row]),
            gsd_m=gsd_m,
            size_px=(camera.tile_px, camera.tile_px),
            bands=tuple(camera.bands),
            image=self._image(row, shot, "picture"),
        )

    def pair(self, row: int) -> TilePair:
        """Both pictures of a shot of the prepared plan; pixels are made when asked for."""
        self._prepared()
        return self._pairs(row)

    def _new_pair(self, row: int) -> TilePair:
        plan = self._prepared()
        return TilePair(
            self._reference(row),
            self._tile(row, self._after[row], float(plan.time_s[row]), plan.tile_id(row), float(plan.gsd_m[row])),
        )

    def _reference(self, row: int) -> Tile:
        plan = self._prepared()
        before_s = float(plan.before_s[row])
        name = f"{plan.place_id[row]}@{int(before_s)}"
        return self._tile(row, self._before[row], before_s, name, float(plan.gsd_m[row]))

    def pair_at(self, row: int, look: Look) -> TilePair:
        """The reference and another picture of the place of a row."""
        plan, shot = self._prepared(), self._shot_at(row, look)
        name = plan.look_id(row, look.time_s)
        return TilePair(self._reference(row), self._tile(row, shot, look.time_s, name, look.gsd_m))

    def visible_at(self, row: int, look: Look) -> bool:
        """Whether cloud leaves the place visible in the reference and in another picture; truth, never on board."""
        hidden = max(self._hidden_in(row, self._before[row]), self._hidden_in(row, self._shot_at(row, look)))
        return hidden <= HIDDEN_CLOUD_FRACTION

    def _shot_at(self, row: int, look: Look) -> view.Shot:
        plan = self._prepared()
        one = replace_rows(plan, row)
        time_s = np.array([look.time_s])
        (shot,) = self._make_shots(one, time_s, self._cloud(time_s, one.block_key))
        return replace(shot, off_nadir_deg=look.off_nadir_deg)

    def raw_bytes(self, row: int) -> int:
        """Raw capture: all samples at the camera's bits. [B]"""
        camera = self._camera
        return math.ceil(camera.tile_px**2 * len(camera.bands) * camera.bits / 8)

    def product_bytes(self, row: int, kind: str, size_px: int | None) -> int:
        """Not for scenes with pixels: their products are really encoded."""
        raise InputError("synthetic scenes have pixels; products are encoded from them, not estimated.")

    # ---------------------------------------------------------------- truth

    def change(self, row: int) -> truth.Change:
        """What changed between the two pictures of a row; truth, for the ground's report alone."""
        block, window = self._place(row)
        land = self._terrain(int(self._block_of[row])).land(window)
        events = self.history.events(int(self._block_of[row]))
        return truth.change(events, land, block, self._before[row].time_s, self._after[row].time_s)

    def change_mask(self, row: int, schema_id: str) -> NDArray[np.bool_] | None:
        """Which pixels show an event of the schema, shape (rows, columns); truth, for the ground's report alone."""
        return self.change(row).masks.get(schema_id)

    def true_fields(self, row: int, schema_id: str) -> dict[str, Any] | None:
        """The true fields of a schema's verdict about a row; None where nothing of it changed. For the ground alone."""
        block, window = self._place(row)
        land = self._terrain(int(self._block_of[row])).land(window)
        return truth.fields(schema_id, self.change(row), land, block.gsd_m)


def replace_rows(plan: Plan, row: int) -> Plan:
    """The arrays of one row that a shot is made from."""
    part = slice(row, row + 1)
    names = ("place_key", "block_key", "lat_deg", "lon_deg", "off_nadir_deg")
    return replace(plan, **{name: getattr(plan, name)[part] for name in names})


def _day_of_year(unix_s: float) -> float:
    moment = datetime.fromtimestamp(unix_s, UTC)
    start = datetime(moment.year, 1, 1, tzinfo=UTC)
    return (moment - start).total_seconds() / 86400.0


def _blocks(plan: Plan, camera: Camera, seed: int) -> tuple[tuple[Block, ...], NDArray[np.int64]]:
    """Blocks that the plan meets, and the index of each shot's block, shape (n,)."""
    grid = grid_of(camera.gsd_m, camera.tile_px)
    keys, first, block_of = np.unique(plan.block_key, return_index=True, return_inverse=True)
    row, col = grid.cell_of(plan.lat_deg[first], plan.lon_deg[first])
    if not np.array_equal(grid.block_keys(row, col), keys):
        raise InputError(
            "spacecraft with different camera.gsd_m or camera.tile_px fly over different grids; "
            "scenes 'synthetic' need the same for all."
        )
    lat, lon = grid.block_centre_of(row, col)
    blocks = tuple(
        Block(int(keys[k]), float(lat[k]), float(lon[k]), camera.tile_px, camera.gsd_m, seed) for k in range(len(keys))
    )
    return blocks, block_of.ravel().astype(np.int64)
