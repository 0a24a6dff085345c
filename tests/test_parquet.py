"""Parquet files with embedded picture pairs as a scene source: labels, bad rows, places, memory."""

from __future__ import annotations

import io
import json
import pickle
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image

import flightsim as fs
from flightsim.domain import SCHEMA_IDS
from flightsim.errors import InputError
from flightsim.protocols import SceneSource
from flightsim.scenario.models import Camera, Targets
from flightsim.scenes.parquet import Parquet
from flightsim.verdicts import schema_of

from .pictures import COVER, SIX, ground
from .test_archive import blocks, plan_of, visits

EVENT = json.dumps({"direction": "increase", "box": [0.25, 0.5, 0.75, 1.0]})


def picture(seed: int, side: int = 24, kind: str = "PNG") -> bytes:
    samples = np.random.default_rng(seed).integers(1, 255, (side, side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(samples).save(out, kind)
    return out.getvalue()


def row(before: int | bytes, after: int | bytes, schema: str, target: str | None, **more: object) -> dict[str, object]:
    pictures = {
        name: {"bytes": value if isinstance(value, bytes) else picture(value), "path": None}
        for name, value in (("before", before), ("after", after))
    }
    return {**pictures, "schema": schema, "target": target, **more}


def write(path: Path, *rows: dict[str, object], **options: object) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path, **options)
    return path


def source_of(path: Path, **settings: object) -> Parquet:
    return Parquet(Parquet.Config.model_validate({"path": str(path), **settings}), Path("."))


# -------------------------------------------------------------------- labels


def test_rows_about_the_same_pictures_become_one_pair_with_several_labels(tmp_path):
    path = write(
        tmp_path / "x.parquet",
        row(1, 2, "FloodExtentChange", EVENT),
        row(3, 4, "urban_delta", "null"),
        row(1, 2, "wetland_change/1", "null"),
        row(1, 4, "UrbanChangeDelta", '{"schema": "urban_delta/1", "event": true, "fields": {"box": [0, 0, 1, 1]}}'),
    )
    source = source_of(path)
    truth = source.all_rows_truth(("flood_extent", "urban_delta", "wetland_change"))
    assert isinstance(source, SceneSource)
    assert len(source) == 3
    assert truth.labelled.tolist() == [[True, False, True], [False, True, False], [False, True, False]]
    assert truth.changed.tolist() == [[True, False, False], [False, False, False], [False, True, False]]
    assert source.change_box(0, "flood_extent") == (0.25, 0.5, 0.75, 1.0)
    assert source.change_box(2, "urban_delta") == (0, 0, 1, 1)
    assert source.change_box(1, "urban_delta") is None
    assert source.change_mask(0, "flood_extent") is None
    assert source.change_mask(1, "flood_extent") is None
    assert source.change_mask(1, "urban_delta").shape == (24, 24)
    assert source.bad_rows == {}


@pytest.mark.parametrize("schema", SCHEMA_IDS)
def test_a_schema_goes_by_id_wire_id_and_public_title(tmp_path, schema):
    names = (schema, f"{schema}/1", schema_of(schema)["title"])
    path = write(tmp_path / "x.parquet", *(row(k, k + 10, name, "null") for k, name in enumerate(names)))
    assert source_of(path).all_rows_truth((schema,)).labelled.all()


def test_pictures_come_back_sample_by_sample_in_any_order(tmp_path):
    rows = [row(2 * k, 2 * k + 1, "flood_extent", "null") for k in range(150)]
    source = source_of(write(tmp_path / "x.parquet", *rows, row_group_size=70), cache_bytes=0)
    pairs = list(source.pairs())
    for k in (0, 149, 69, 70, 3, 100, 2):
        for tile, seed in ((pairs[k].after, 2 * k + 1), (pairs[k].before, 2 * k)):
            wanted = np.moveaxis(np.asarray(Image.open(io.BytesIO(picture(seed)))), 2, 0)
            assert (tile.image.pixels() == wanted).all()
            assert tile.image.shape == wanted.shape
    assert pairs[0].after.bands == ("B04", "B03", "B02")
    assert len({pair.after.id for pair in pairs}) == 150


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_binary_columns_of_other_names_and_encodings_are_read(tmp_path, kind):
    table = pa.table(
        {
            "image_a": pa.array([picture(1, kind=kind)], pa.large_binary()),
            "image_b": pa.array([picture(2, kind=kind)], pa.binary()),
            "question": pa.array(["IceExtentChange"]).dictionary_encode(),
            "answer": ["null"],
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    columns = {"before": "image_a", "after": "image_b", "schema": "question", "target": "answer"}
    source = source_of(tmp_path / "x.parquet", columns=columns)
    assert next(source.pairs()).after.image.pixels().shape == (3, 24, 24)
    assert source.all_rows_truth(("ice_extent",)).labelled.tolist() == [[True]]


def test_sixteen_bit_tiff_of_six_bands_keeps_its_reflectance(tmp_path):
    samples = ground("p", {"forest": 0.5, "water": 0.5}, 32)
    out = io.BytesIO()
    tifffile.imwrite(out, samples, photometric="minisblack", planarconfig="separate")
    path = write(tmp_path / "x.parquet", row(out.getvalue(), out.getvalue(), "flood_extent", "null"))
    image = next(source_of(path, bands=list(SIX), gsd_m=10).pairs()).after.image
    assert (image.pixels() == samples).all()
    assert image.reflectance().max() == pytest.approx(max(COVER["forest"]), rel=0.3)


def test_a_folder_is_read_file_by_file_and_may_be_cut(tmp_path):
    for name, seed in (("train-0", 1), ("train-1", 5), ("val-0", 9)):
        write(tmp_path / f"{name}.parquet", row(seed, seed + 1, "flood_extent", "null"))
    assert len(source_of(tmp_path)) == 3
    assert len(source_of(tmp_path, pattern="train-*.parquet")) == 2
    cut = source_of(tmp_path, rows=2)
    assert len(cut) == 2
    assert "parquet rows looked at: the first 2" in cut.notes


# -------------------------------------------------------------------- rows that cannot be used


def test_every_row_that_cannot_be_used_is_counted_and_named(tmp_path):
    good, png = row(1, 2, "flood_extent", EVENT), picture(7)
    path = write(
        tmp_path / "x.parquet",
        good,
        row(3, 4, "Floods", "null"),
        row(3, 4, "flood_extent", "{"),
        row(3, 4, "flood_extent", "[1]"),
        row(3, 4, "flood_extent", None),
        row(png[: len(png) // 2], 4, "flood_extent", "null"),
        row(b"GIF89a not ours", 4, "flood_extent", "null"),
        {**good, "before": {"bytes": None, "path": "a.png"}},
        {**good, "before": {"bytes": None, "path": None}},
        row(3, picture(5, side=30), "flood_extent", "null"),
        row(1, 2, "flood_extent", "null"),
        row(1, 2, "urban_delta", "null"),
        row(1, 2, "urban_delta", "null"),
    )
    source = source_of(path)
    assert {reason: len(names) for reason, names in source.bad_rows.items()} == {
        "unknown schema 'Floods'": 1,
        "malformed target": 2,
        "no target (an empty cell is not the text null)": 1,
        "undecodable picture (damaged or cut short)": 1,
        "undecodable picture (neither PNG, JPEG nor TIFF)": 1,
        "picture not embedded (only its path is given)": 1,
        "no picture": 1,
        "before and after of different size": 1,
        "contradicts an earlier row about the same pictures; the question is left unlabelled": 1,
    }
    assert source.bad_rows["unknown schema 'Floods'"] == ("x.parquet:1",)
    assert len(source) == 1
    # The contradicted question is nobody's; the repeated one stays.
    assert source.all_rows_truth(("flood_extent", "urban_delta")).labelled.tolist() == [[False, True]]
    notes = " ".join(source.notes)
    assert "parquet rows left out, 10 of 13" in notes
    assert "2 malformed target (x.parquet:2, x.parquet:3)" in notes
    assert "repeat an earlier one: 1" in notes


def test_a_file_without_a_usable_row_is_refused(tmp_path):
    path = write(tmp_path / "x.parquet", row(1, 2, "Floods", "null"))
    with pytest.raises(InputError, match=r"has no usable row: 1 unknown schema 'Floods' \(x.parquet:0\)"):
        source_of(path)


def test_a_picture_too_large_is_told_by_its_header_alone(tmp_path):
    from .test_archive import _png

    path = write(
        tmp_path / "x.parquet",
        row(1, 2, "flood_extent", "null"),
        row(_png(2, 8, 60000, 60000), 2, "flood_extent", "null"),
    )
    assert source_of(path).bad_rows == {"picture too large": ("x.parquet:1",)}


def test_without_decoding_at_the_start_a_damaged_picture_is_one_clear_error(tmp_path):
    png = picture(7)
    path = write(tmp_path / "x.parquet", row(1, png[: len(png) // 2], "flood_extent", "null"))
    source = source_of(path, decode=False)
    with pytest.raises(InputError, match="picture 'after' of parquet pair 0 cannot be read"):
        next(source.pairs()).after.image.pixels()


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (lambda p: p, {}, "find no file or folder"),
        (lambda p: p.mkdir(), {}, r"find no file \*.parquet in folder"),
        (lambda p: p.write_bytes(b"PAR1 not really"), {}, "is no parquet file"),
        (lambda p: write(p, {"x": 1}), {}, "no column 'before' for scenes.with.columns.before; it has x"),
        (
            lambda p: write(p, {**row(1, 2, "flood_extent", "null"), "before": "text"}), {},
            "column 'before' of 'x.parquet' holds string; pictures are binary",
        ),
        (
            lambda p: write(p, row(1, 2, "flood_extent", "null")), {"columns": {"lat": "latitude"}},
            "no column 'latitude' for scenes.with.columns.lat",
        ),
        (lambda p: write(p, row(1, 2, "flood_extent", "null")), {"bands": ["red", "B04", "blue"]}, "name B04 twice"),
    ],
)  # fmt: skip
def test_files_that_are_not_ours_are_told(tmp_path, make, settings, message):
    path = tmp_path / "x.parquet"
    make(path)
    with pytest.raises(InputError, match=message):
        source_of(path, **settings)


# -------------------------------------------------------------------- places


def test_pairs_with_coordinates_are_places_and_their_dates_its_visits(tmp_path):
    here = {"lat": 10.0, "lon": 20.0}
    path = write(
        tmp_path / "x.parquet",
        row(1, 3, "flood_extent", EVENT, captured="2026-06-09T00:00:00Z", **here),
        row(1, 2, "flood_extent", "null", captured="2026-06-01T00:00:00Z", **here),
        row(5, 6, "flood_extent", "null", captured=None, lat=-1.0, lon=2.0),
        row(7, 8, "flood_extent", "null", captured=None, lat=None, lon=None),
        row(9, 10, "flood_extent", "null", captured="yesterday", **here),
        row(11, 12, "flood_extent", "null", captured=None, lat=95.0, lon=2.0),
    )
    source = source_of(path, gsd_m=10)
    assert {reason: len(names) for reason, names in source.bad_rows.items()} == {
        "malformed capture time": 1, "malformed coordinates": 1,
    }  # fmt: skip
    assert [(place.name, place.lat_deg, place.rows) for place in source.places()] == [
        ("place-00000", 10.0, (1,)), ("place-00001", -1.0, (2,)),
    ]  # fmt: skip
    assert any("without coordinates, not flown: 1 of 4" in note for note in source.notes)
    assert source.all_rows_truth(SCHEMA_IDS).cluster.tolist() == [0, 0, 1, 5]
    truth = source.prepare(visits(source, [1.0, 2.0, 3.0], [-9.0] * 3), ("flood_extent",), Targets(), Camera(), 0)
    assert truth.changed[:, 0].tolist() == [False, True, True]
    assert source.change_box(1, "flood_extent") is not None
    assert source.raw_bytes(0) == 24 * 24 * 3
    assert source.pair(0).after.gsd_m == 10


def test_naive_timestamps_are_utc(tmp_path):
    moments = [datetime(2026, 1, 2), datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)]
    rows = [
        row(k, k + 10, "flood_extent", "null", lat=1.0, lon=1.0, captured=moment) for k, moment in enumerate(moments)
    ]
    assert source_of(write(tmp_path / "x.parquet", *rows)).places()[0].rows == (1,)


def test_a_plan_of_other_places_is_refused(tmp_path):
    source = source_of(write(tmp_path / "x.parquet", row(1, 2, "flood_extent", "null", lat=1.0, lon=1.0)))
    with pytest.raises(InputError, match="call prepare first"):
        source.pair(0)
    plan = plan_of(source)
    other = type(plan)(**{**vars(plan), "scene_row": plan.scene_row + 7})
    with pytest.raises(InputError, match=r"write targets: \{use: archive\}"):
        source.prepare(other, SCHEMA_IDS, Targets(), Camera(), 0)


# -------------------------------------------------------------------- whole


def test_only_a_batch_is_held_however_large_the_row_group(tmp_path):
    """One row group of several batches: what is held stays near one batch (16 MB), not near the file (63 MB).

    The writer is told to end a page after few rows; no reader can hold less than a page.
    """
    rng = np.random.default_rng(0)
    path = tmp_path / "x.parquet"
    encoded = []
    for _ in range(160):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)).save(out, "PNG", compress_level=0)
        encoded.append(out.getvalue())
    rows = [row(encoded[k], encoded[k + 1], "flood_extent", "null") for k in range(0, 160, 2)]
    write(path, *rows, *rows, row_group_size=1000, compression="none", use_dictionary=False, write_batch_size=8)
    del rows, encoded
    pool = pa.system_memory_pool()
    usual = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        tracemalloc.start()
        source = source_of(path, cache_bytes=0)
        for pair in source.pairs():
            pair.after.image.pixels()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(usual)
    assert len(source) == 80
    assert path.stat().st_size > 60e6
    assert peak < 12e6
    assert pool.max_memory() < 45e6


def test_perceive_scores_pairs_without_coordinates(tmp_path):
    def tiff(name: str, covers: dict[str, float]) -> bytes:
        out = io.BytesIO()
        tifffile.imwrite(out, ground(name, covers), photometric="minisblack", planarconfig="separate")
        return out.getvalue()

    dry, wet = tiff("a", {"crop": 0.8, "soil": 0.2}), tiff("a", {"crop": 0.4, "soil": 0.2, "mud_water": 0.4})
    write(
        tmp_path / "x.parquet",
        row(dry, wet, "FloodExtentChange", EVENT),
        row(dry, tiff("a/2", {"crop": 0.8, "soil": 0.2}), "FloodExtentChange", "null"),
        row(dry, wet, "Nonsense", "null"),
    )
    text = (Path(__file__).parents[1] / "scenarios" / "real-images.yaml").read_text()
    scenes = "scenes: {use: parquet, with: {path: x.parquet, gsd_m: 10, bands: [B02, B03, B04, B08, B11, B12]}}"
    (tmp_path / "mine.yaml").write_text(text.replace("scenes: {use: archive}", scenes))
    result = fs.perceive(fs.load_scenario(tmp_path / "mine.yaml"))
    scores = result.as_dict()
    assert scores["pairs"] == scores["n"] == 2
    assert scores["boxes"]["true_boxes"] == 1
    assert any("1 unknown schema 'Nonsense'" in line for line in result.table_lines())


def test_a_file_with_places_flies(tmp_path):
    rows = [
        row(2 * k, 2 * k + 1, "flood_extent", "null", lat=60.0 - 8 * k, lon=25.0 * k, captured=None) for k in range(6)
    ]
    write(tmp_path / "x.parquet", *rows)
    text = (Path(__file__).parents[1] / "scenarios" / "real-images.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(
        text.replace("scenes: {use: archive}", "scenes: {use: parquet, with: {path: x.parquet}}")
    )
    result = fs.run(fs.load_scenario(tmp_path / "mine.yaml", ["duration=4d"]), write=False)
    assert result.metrics["population"]["tiles"] > 0
    assert set(result.record.plan.place_id) <= {f"place-{k:05d}" for k in range(6)}


def test_it_travels_to_another_process(tmp_path):
    source = source_of(write(tmp_path / "x.parquet", row(1, 2, "flood_extent", "null", lat=1.0, lon=1.0)))
    source.prepare(plan_of(source), ("flood_extent",), Targets(), Camera(), 0)
    digest = source.pair(0).after.image.digest()
    assert pickle.loads(pickle.dumps(source)).pair(0).after.image.digest() == digest


def test_the_code_of_the_page_about_scenes_writes_what_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name, seed in (("before", 1), ("after", 2)):
        (tmp_path / f"{name}.png").write_bytes(picture(seed))
    exec(blocks("python")[0], {})
    source = source_of(
        tmp_path / "data", pattern="val-*.parquet", columns={"before": "image_before", "after": "image_after"}
    )
    truth = source.all_rows_truth(("flood_extent", "urban_delta", "ice_extent"))
    assert truth.changed.tolist() == [[True, False, False]]
    assert truth.labelled.tolist() == [[True, True, False]]
    assert source.change_box(0, "flood_extent") == (0.2, 0.1, 0.7, 0.6)
