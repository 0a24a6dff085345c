"""The picture archive as a scene source: labels, slices, files that are wrong, paths that lead out."""

from __future__ import annotations

import json
import math
import os
import pickle
import runpy
import struct
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from pydantic import ValidationError

import flightsim as fs
from flightsim import resources
from flightsim.boxes import box_of_mask, box_scores, overlap
from flightsim.domain import SCHEMA_IDS, Plan
from flightsim.errors import InputError
from flightsim.protocols import SceneSource
from flightsim.scenario.models import Camera, Targets
from flightsim.scenes.archive import Archive, slice_windows
from flightsim.scenes.images import Layout, band_name, band_names, layout, read
from flightsim.scenes.pictures import PictureCache

from .conftest import shared

RGB = np.arange(12 * 10 * 3, dtype=np.uint8).reshape(12, 10, 3)


def archive(folder: Path | None, **settings: object) -> Archive:
    path = None if folder is None else str(folder)
    return Archive(Archive.Config(path=path, **settings), Path("."))


def case(**changes: object) -> dict[str, object]:
    made = {
        "id": "a", "task": "change_pair", "before": "before.png", "after": "after.png",
        "bands": ["red", "green", "blue"], "gsd_m": 10, "lat": 1.0, "lon": 2.0, "change_schema": "flood_extent",
        "label": {"change": True},
    }  # fmt: skip
    return {**made, **changes}


def folder_of(tmp_path: Path, *cases: dict[str, object], version: object = 1) -> Path:
    for name in ("before.png", "after.png"):
        Image.fromarray(RGB).save(tmp_path / name)
    (tmp_path / "index.json").write_text(json.dumps({"version": version, "cases": list(cases)}))
    return tmp_path


def plan_of(source: Archive) -> Plan:
    rows = np.array([row for place in source.places() for row in place.rows], dtype=np.int64)
    n = len(rows)
    zeros, keys = np.zeros(n), np.arange(n, dtype=np.uint64)
    return Plan(
        spacecraft=("sat",), craft=np.zeros(n, np.int16), time_s=np.arange(n) * 10.0, before_s=np.full(n, -100.0),
        place_id=tuple(f"p{k}" for k in range(n)), place_key=keys, block_key=keys,
        block_row=np.zeros(n, np.int16), block_col=np.zeros(n, np.int16), lat_deg=zeros, lon_deg=zeros,
        gsd_m=zeros + 10, off_nadir_deg=zeros, sun_elevation_deg=zeros + 40, area=np.zeros(n, np.int32),
        areas=("x",), scene_row=rows,
    )  # fmt: skip


# -------------------------------------------------------------------- the shipped archive


def test_the_shipped_archive_has_both_answers_for_each_schema_and_two_unusable_pairs():
    source = archive(None)
    truth = source.all_rows_truth(SCHEMA_IDS)
    assert isinstance(source, SceneSource)
    for column in range(len(SCHEMA_IDS)):
        assert (truth.changed & truth.labelled)[:, column].any()
        assert (~truth.changed & truth.labelled)[:, column].any()
    assert np.count_nonzero(~truth.visible) == 2
    assert not truth.labelled[~truth.visible].any()
    assert not truth.changed[~truth.labelled].any()
    assert source.skipped == {}
    assert all(pair.after.image.bands == ("B02", "B03", "B04", "B08", "B11", "B12") for pair in source.pairs())


def test_the_shipped_archive_is_small_says_that_it_is_made_and_can_be_made_again(tmp_path):
    folder = resources.folder("archive")
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1.5e6
    document = json.loads((folder / "index.json").read_text())
    assert "not real" in document["about"]
    assert {entry["licence"] for entry in document["cases"]} == {"Apache-2.0"}
    tool = Path(__file__).parents[1] / "tools" / "make_archive.py"
    runpy.run_path(str(tool))["write"](tmp_path)
    # Samples, not files: compression libraries differ. The FFT of another build may round one step of 8 differently.
    for first, second in zip(archive(None).pairs(), archive(tmp_path).pairs(), strict=True):
        apart = np.abs(first.after.image.pixels().astype(int) - second.after.image.pixels().astype(int))
        assert apart.max() <= 8
        assert np.mean(apart > 0) < 0.01


def test_prepare_maps_shots_to_pictures_and_states_the_priors():
    source = archive(None)
    plan = plan_of(source)
    targets = Targets(prevalence={"flood_extent": 0.2, "default": 0.01})
    truth = source.prepare(plan, ("urban_delta", "flood_extent"), targets, Camera(), 0)
    every = source.all_rows_truth(("urban_delta", "flood_extent"))
    assert truth.prior.tolist() == [0.01, 0.2]
    assert (truth.changed == every.changed[plan.scene_row]).all()
    pair = source.pair(3)
    assert pair.after.id == plan.tile_id(3)
    assert (pair.after.captured_s, pair.before.captured_s) == (30.0, -100.0)
    assert source.raw_bytes(3) == 96 * 96 * 6 * 2
    assert pair.after.image.digest() != pair.before.image.digest()
    assert pair.after.image.digest() == source.pair(3).after.image.digest()
    with pytest.raises(InputError, match="encoded from them, not estimated"):
        source.product_bytes(0, "tile", None)


def test_a_plan_of_other_places_is_refused():
    source = archive(None)
    plan = plan_of(source)
    with pytest.raises(InputError, match="call prepare first"):
        source.pair(0)
    with pytest.raises(InputError, match=r"write targets: \{use: archive\}"):
        source.prepare(Plan(**{**vars(plan), "scene_row": np.zeros(0, np.int64)}), SCHEMA_IDS, Targets(), Camera(), 0)
    with pytest.raises(InputError, match="archive row 99; the archive has the rows 0 to 15"):
        source.prepare(Plan(**{**vars(plan), "scene_row": plan.scene_row + 84}), SCHEMA_IDS, Targets(), Camera(), 0)


# -------------------------------------------------------------------- labels and slices


@pytest.mark.parametrize(("rows", "cols", "side"), [(96, 96, None), (377, 380, 128), (128, 128, 128), (129, 16, 128)])
def test_slices_cover_every_pixel_once_and_are_near_equal(rows, cols, side):
    seen = np.zeros((rows, cols), int)
    heights, widths = set(), set()
    for top, bottom, left, right in slice_windows(rows, cols, side):
        seen[top:bottom, left:right] += 1
        heights.add(bottom - top)
        widths.add(right - left)
    assert (seen == 1).all()
    assert max(heights) - min(heights) <= 1
    assert max(widths) - min(widths) <= 1
    assert side is None or max(heights | widths) <= side


def test_a_slice_of_a_positive_is_labelled_by_its_mask(tmp_path):
    folder = folder_of(tmp_path, case(label={"change": True, "mask_after": "m.png"}))
    rng = np.random.default_rng(0)
    for name in ("before.png", "after.png"):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / name)
    mask = np.zeros((64, 64), np.uint8)
    mask[:20, :20] = 255  # 39 % of the first slice
    mask[40, 40:50] = 255  # 1 % of the last: neither
    Image.fromarray(mask).save(folder / "m.png")
    truth = archive(folder, slice_px=32).all_rows_truth(("flood_extent", "urban_delta"))
    assert truth.changed[:, 0].tolist() == [True, False, False, False]
    assert truth.labelled[:, 0].tolist() == [True, True, True, False]
    assert not truth.labelled[:, 1].any()
    assert truth.cluster.tolist() == [0, 0, 0, 0]
    ids = [pair.after.place_id for pair in archive(folder, slice_px=32).pairs()]
    assert ids == ["a/00", "a/01", "a/02", "a/03"]
    # Whole, it is simply positive; without a mask its slices are unknown.
    assert archive(folder).all_rows_truth(("flood_extent",)).changed.tolist() == [[True]]
    folder_of(tmp_path, case())
    for name in ("before.png", "after.png"):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / name)
    assert not archive(folder, slice_px=32).all_rows_truth(("flood_extent",)).labelled.any()


def test_slices_of_negatives_are_negative_and_unusable_pairs_have_no_label(tmp_path):
    no = case(id="no", label={"change": False}, also=["wetland_change"])
    bad = case(id="bad", task="quality_gate", label={"change": None, "usable": False})
    source = archive(folder_of(tmp_path, no, bad), slice_px=16)
    truth = source.all_rows_truth(("flood_extent", "wetland_change", "ice_extent"))
    assert truth.labelled.tolist() == [[True, True, False], [False, False, False]]
    assert not truth.changed.any()
    assert truth.visible.tolist() == [True, False]


def test_cases_that_are_no_pair_are_counted_with_the_reason_and_places_need_coordinates(tmp_path):
    cases = [
        case(),
        case(id="b", lat=None),
        case(id="c", task="segmentation"),
        case(id="d", before=None),
        case(id="e", change_schema=None),
    ]
    source = archive(folder_of(tmp_path, *cases))
    assert source.skipped == {
        "of task segmentation": ("c",),
        "without a before or after picture": ("d",),
        "without a change_schema": ("e",),
    }
    assert [place.name for place in source.places()] == ["a"]
    assert len(list(source.pairs())) == len(source) == 2
    assert any("1 of task segmentation (c)" in note for note in source.notes)
    assert any("without coordinates, not flown: b" in note for note in source.notes)
    assert math.isnan(list(source.pairs())[1].after.lat_deg)


def test_front_masks_mark_what_lies_between_the_lines(tmp_path):
    label = {
        "change": True,
        "mask_before": "x.png",
        "mask_after": "y.png",
        "front_row_before": 5,
        "front_row_after": 40,
    }
    folder = folder_of(tmp_path, case(change_schema="ice_extent", label=label))
    for name in ("before.png", "after.png"):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / name)
    for name, row in (("x.png", 5), ("y.png", 40)):
        line = np.zeros((64, 64), np.uint8)
        line[row, :32] = 255
        Image.fromarray(line).save(folder / name)
    truth = archive(folder, slice_px=32).all_rows_truth(("ice_extent",))
    assert truth.changed[:, 0].tolist() == [True, False, True, False]


# -------------------------------------------------------------------- pictures


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("red", "B04"), ("Green", "B03"), ("nir", "B08"), ("swir1", "B11"), ("swir16", "B11"), ("swir22", "B12"),
        ("swir", "B12"), ("b8a", "B8A"), ("B2", "B02"), ("B02", "B02"), ("sar_vv", "sar_vv"),
    ],
)  # fmt: skip
def test_band_names_follow_sentinel_2(given, known):
    assert band_name(given) == known


def test_a_described_single_band_is_pan_and_twice_the_same_is_refused():
    assert band_names(["one visible band (Landsat B2), 8-bit"]) == ("PAN",)
    with pytest.raises(InputError, match="name B12 twice"):
        band_names(["swir", "swir2"])


@pytest.mark.parametrize("first", [True, False])
def test_geotiff_is_read_with_bands_first_or_last(tmp_path, first):
    samples = np.arange(4 * 9 * 11, dtype=np.int16).reshape(4, 9, 11) - 5
    path = tmp_path / "x.tif"
    options = {"photometric": "minisblack", "metadata": None}
    if first:
        tifffile.imwrite(path, samples, planarconfig="separate", **options)
    else:
        tifffile.imwrite(path, np.moveaxis(samples, 0, 2), planarconfig="contig", **options)
    found = layout(path, 4, "x")
    assert (found.rows, found.cols, found.bits) == (9, 11, 16)
    out = read(path, found, "x")
    assert out.dtype == np.uint16
    assert (out == np.maximum(samples, 0)).all()


def test_npz_and_16_bit_grey_png_keep_all_bits(tmp_path):
    samples = (np.arange(90, dtype=np.uint16) * 700).reshape(9, 10)
    np.savez(tmp_path / "x.npz", img=np.stack([samples] * 2, axis=2), msk=samples)
    found = layout(tmp_path / "x.npz", 2, "x")
    assert (read(tmp_path / "x.npz", found, "x")[1] == samples).all()
    Image.fromarray(samples).save(tmp_path / "x.png")
    found = layout(tmp_path / "x.png", 1, "x")
    assert found == Layout(9, 10, 1, "YX", 16)
    assert (read(tmp_path / "x.png", found, "x")[0] == samples).all()


def test_alpha_hides_pixels_and_is_no_band(tmp_path):
    rgba = np.full((5, 6, 4), 200, np.uint8)
    rgba[0, 0, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "x.png")
    out = read(tmp_path / "x.png", layout(tmp_path / "x.png", 3, "x"), "x")
    assert out.shape == (3, 5, 6)
    assert out[:, 0, 0].tolist() == [0, 0, 0]
    assert (out[:, 1:] == 200).all()


def test_reflectance_is_scaled_for_16_bit_and_absent_for_display_pictures(tmp_path):
    pair = next(archive(None).pairs())
    image = pair.after.image
    assert np.allclose(image.reflectance(), image.pixels() * 1e-4, rtol=1e-6)
    edge = next(p for p in archive(None).pairs() if p.after.place_id == "made-swath-edge").after.image
    assert (np.isnan(edge.reflectance()) == (edge.pixels() == 0).all(axis=0)).all()
    assert next(archive(folder_of(tmp_path, case())).pairs()).after.image.reflectance() is None


def test_pixels_cannot_be_written_and_the_cache_drops_the_oldest(tmp_path):
    source = archive(folder_of(tmp_path, case()))
    with pytest.raises(ValueError, match="read-only"):
        next(source.pairs()).after.image.pixels()[0, 0, 0] = 1
    found = layout(tmp_path / "after.png", 3, "x")
    cache = PictureCache(limit_bytes=500)
    first = cache.get(tmp_path / "after.png", found, "x")
    assert cache.get(tmp_path / "after.png", found, "x") is first
    cache.get(tmp_path / "before.png", found, "x")
    assert cache.get(tmp_path / "after.png", found, "x") is not first


# -------------------------------------------------------------------- what users get wrong


def test_a_folder_without_index_is_named(tmp_path):
    with pytest.raises(InputError, match=r"has no index.json; scenes.with.path must name its folder"):
        archive(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON file"),
        ('{"version": 1, "cases": [{"lat": NaN}]}', "NaN is no JSON number"),
        ('{"version": 2, "cases": []}', 'must hold {"version": 1'),
        ("[]", 'must hold {"version": 1'),
        ('{"version": 1, "cases": [7]}', "case 0: "),
        ("[" * 100_000, "is no JSON file"),
    ],
)
def test_a_faulty_index_is_refused(tmp_path, text, message):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(InputError) as caught:
        archive(tmp_path)
    assert message in str(caught.value)


def test_all_faulty_cases_come_at_once(tmp_path):
    cases = [case(lat=99), case(id="b", change_schema="floods"), case(id="b"), case(id="../x")]
    with pytest.raises(InputError) as caught:
        archive(folder_of(tmp_path, *cases))
    text = str(caught.value)
    for part in ("case 0 'a': lat: ", "unknown schema 'floods'", "the id is used twice", "case 3 '../x': id: "):
        assert part in text


def test_paths_stay_in_the_folder(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    Image.fromarray(RGB).save(tmp_path / "secret.png")
    os.symlink(tmp_path / "secret.png", inner / "link.png")
    for path, message in [
        ("../secret.png", "leads out of the archive folder"),
        ("link.png", "leads out of the archive folder"),
        (str(tmp_path / "secret.png"), "must be relative"),
        ("", "must be relative"),
    ]:
        with pytest.raises(InputError, match=f"archive case 'a': path .*{message}"):
            archive(folder_of(inner, case(before=path)))
    outside = case(label={"change": True, "mask_after": "../secret.png"})
    with pytest.raises(InputError, match="leads out of the archive folder"):
        archive(folder_of(inner, outside | {"id": "a"}), slice_px=16).change_mask(0, "flood_extent")


def _png(colour: int, depth: int, rows: int, cols: int) -> bytes:
    head = struct.pack(">IIBBBBB", cols, rows, depth, colour, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no PNG file, or it is cut short"),
        (b"GIF89a" + b"0" * 50, "is no PNG file"),
        (_png(2, 16, 12, 10), "16-bit colour PNG, which loses bits"),
        (_png(2, 8, 60000, 60000), "268435456 is the most"),
        (_png(0, 8, 12, 10), "the index names 3 bands"),
        (_png(2, 8, 13, 10), "a pair must agree, and nothing is cropped or padded"),
    ],
)
def test_a_wrong_picture_is_named_before_anything_is_decoded(tmp_path, content, message):
    folder = folder_of(tmp_path, case())
    (folder / "after.png").write_bytes(content)
    with pytest.raises(InputError, match="archive case 'a'") as caught:
        archive(folder)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.npz"])
def test_a_picture_cut_short_is_one_clear_error(tmp_path, name):
    rng = np.random.default_rng(1)
    samples = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
    path = tmp_path / name
    if name.endswith("png"):
        Image.fromarray(samples).save(path)
    elif name.endswith("tif"):
        tifffile.imwrite(path, samples, photometric="rgb", compression="zlib")
    else:
        np.savez_compressed(path, img=samples)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    folder = folder_of(tmp_path, case(before=name, after=name))
    with pytest.raises(InputError, match=rf"archive case 'a': picture '{name}' cannot be read: .*cut short or damaged"):
        next(archive(folder).pairs()).after.image.pixels()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"after": "gone.png"}, "archive case 'a': picture 'gone.png' is missing"),
        ({"after": "x.bmp"}, "ends in '.bmp'; allowed are .png, .tif, .tiff and .npz"),
        ({"bands": []}, "names no bands"),
        ({"bands": ["red", "red", "blue"]}, "name B04 twice"),
        ({"task": "time_series"}, "has no pair of pictures; left out: 1 of task time_series"),
    ],
)
def test_a_wrong_case_is_named(tmp_path, changes, message):
    with pytest.raises(InputError) as caught:
        archive(folder_of(tmp_path, case(**changes)))
    assert message in str(caught.value)


def test_an_npz_with_pickles_or_without_a_clear_array_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=RGB, b=RGB)
    with pytest.raises(InputError, match="holds the arrays a, b; one of them must be named img"):
        archive(folder_of(tmp_path, case(after="x.npz")))
    np.savez(tmp_path / "x.npz", img=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="samples of type object"):
        archive(folder_of(tmp_path, case(after="x.npz")))


def test_a_mask_must_be_yes_or_no_and_of_the_same_size(tmp_path):
    folder = folder_of(tmp_path, case(label={"change": True, "mask_after": "m.png"}))
    for name in ("before.png", "after.png"):
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / name)
    Image.fromarray(np.full((40, 40), 7, np.uint8)).save(folder / "m.png")
    with pytest.raises(InputError, match="values other than 0"):
        archive(folder, slice_px=32)
    Image.fromarray(np.zeros((40, 41), np.uint8)).save(folder / "m.png")
    with pytest.raises(InputError, match="has 40 x 41 pixels; the pictures have 40 x 40"):
        archive(folder, slice_px=32)


def test_settings_are_checked():
    with pytest.raises(ValidationError, match="slice_px"):
        Archive.Config(slice_px=4)
    with pytest.raises(ValidationError, match="extra"):
        Archive.Config(slices=4)


# -------------------------------------------------------------------- the real archive


def test_the_real_archive_is_read_whole():
    source = archive(shared("data"))
    truth = source.all_rows_truth(SCHEMA_IDS)
    assert len(source) == 20
    assert sum(len(ids) for ids in source.skipped.values()) == 7
    assert np.count_nonzero(~truth.visible) == 3
    # 17 labelled pairs, of them two with a second schema.
    assert np.count_nonzero(truth.labelled) == 19
    assert np.count_nonzero(truth.changed) == 13
    for pair in source.pairs():
        assert pair.after.image.pixels().shape == pair.after.image.shape == (len(pair.after.bands), *pair.after.size_px)
        assert (pair.after.gsd_m == 0) == pair.after.place_id.startswith("ice-")


def test_masks_of_the_real_flood_give_the_published_shares():
    source = archive(shared("data"))
    number = [c.id for c in source._cases].index("flood-boadella-2020")
    before, after = (
        np.asarray(Image.open(shared("data") / "flood-boadella-2020" / name)) == 255
        for name in ("water_before.png", "water_after.png")
    )
    # index.json: water_fraction_before 0.1546, water_fraction_after 0.2048, changed_fraction 0.0613 (land to water).
    assert before.mean() == pytest.approx(0.1546, abs=1e-4)
    assert after.mean() == pytest.approx(0.2048, abs=1e-4)
    assert (after & ~before).mean() == pytest.approx(0.0613, abs=2e-4)
    assert (source.change_mask(number, "flood_extent") == before ^ after).all()
    assert source.change_mask(number, "ice_extent") is None


# -------------------------------------------------------------------- sequences, masks, boxes


SIDE = 40


def sequence(folder: Path, dates: int = 4, label: dict[str, object] | None = None, **changes: object) -> Path:
    """A place of some dates; from date 2 on a square of 4 px more a date has changed in the first quarter."""
    steps = []
    for k in range(dates):
        picture, mask = np.full((SIDE, SIDE, 3), 10 * k, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
        if k >= 2:
            mask[2 : 2 + 4 * k, 4 : 4 + 4 * k] = 255
        Image.fromarray(picture).save(folder / f"{k}.png")
        Image.fromarray(mask).save(folder / f"m{k}.png")
        steps.append({"picture": f"{k}.png", "captured": f"2026-06-0{k + 1}T10:00:00Z", "mask": f"m{k}.png"})
    made = {**case(label=label or {"change_from": 2}), "sequence": steps, **changes}
    del made["before"], made["after"]
    (folder / "index.json").write_text(json.dumps({"version": 1, "cases": [made]}))
    return folder


def visits(source: Archive, times_s: list[float], before_s: list[float]) -> Plan:
    """Shots of the first place at some times."""
    n = len(times_s)
    single = plan_of(source)
    repeated = {name: np.repeat(value[:1], n) for name, value in vars(single).items() if isinstance(value, np.ndarray)}
    repeated |= {"time_s": np.array(times_s), "before_s": np.array(before_s)}
    return Plan(**{**vars(single), **repeated, "place_id": tuple("p" for _ in range(n))})


def shown(source: Archive, row: int) -> tuple[int, int]:
    """Numbers of the two pictures of a shot, read from their pixels."""
    pair = source.pair(row)
    return tuple(int(tile.image.pixels()[0, 0, 0]) // 10 for tile in (pair.before, pair.after))


def test_a_sequence_sets_each_later_date_against_the_first(tmp_path):
    source = archive(sequence(tmp_path))
    truth = source.all_rows_truth(("flood_extent", "ice_extent"))
    assert len(source) == 3
    assert truth.changed[:, 0].tolist() == [False, True, True]
    assert truth.labelled.tolist() == [[True, False]] * 3
    assert truth.cluster.tolist() == [0, 0, 0]
    assert len({pair.after.id for pair in source.pairs()}) == 3
    assert len(source.places()) == 1
    assert [source.change_mask(row, "flood_extent").sum() for row in range(3)] == [0, 64, 144]
    assert source.change_box(0, "flood_extent") is None
    assert source.change_box(2, "flood_extent") == (4 / SIDE, 2 / SIDE, 16 / SIDE, 14 / SIDE)
    assert source.change_mask(1, "ice_extent") is None


def test_the_nth_visit_of_a_sequence_shows_the_nth_later_date_and_its_reference_the_visit_that_took_it(tmp_path):
    source = archive(sequence(tmp_path))
    # The reference of the second shot is the first shot, that of the fourth the store's own picture again.
    plan = visits(source, [10.0, 20.0, 30.0, 40.0, 50.0], [-99.0, 10.0, 10.0, -99.0, 40.0])
    truth = source.prepare(plan, ("flood_extent",), Targets(), Camera(), 0)
    assert [shown(source, row) for row in range(5)] == [(0, 1), (1, 2), (1, 3), (0, 3), (3, 3)]
    assert truth.labelled[:, 0].tolist() == [True, True, True, True, False]
    assert truth.changed[:, 0].tolist() == [False, True, True, True, False]
    assert source.change_mask(3, "flood_extent").sum() == 144
    assert source.change_mask(4, "flood_extent") is None
    assert any("1 shots of sequences show the same picture as their reference" in note for note in source.notes)
    # Between two dates after the onset only the masks can tell: 144 - 64 of 1600 pixels is 5 %.
    later = visits(source, [10.0, 20.0, 30.0], [-99.0, 10.0, 20.0])
    truth = source.prepare(later, ("flood_extent",), Targets(), Camera(), 0)
    assert shown(source, 2) == (2, 3)
    assert truth.changed[2, 0]
    assert source.change_mask(2, "flood_extent").sum() == 80


def test_a_sequence_may_be_flown_by_its_dates(tmp_path):
    source = archive(sequence(tmp_path), sequence="dates")
    undated = visits(source, [0.0, 86400.0, 9 * 86400.0], [-86400.0, 0.0, -30 * 86400.0])
    plan = replace(undated, start_unix_s=datetime(2026, 6, 2, 12, tzinfo=UTC).timestamp())
    source.prepare(plan, ("flood_extent",), Targets(), Camera(), 0)
    assert [shown(source, row) for row in range(3)] == [(0, 1), (1, 2), (0, 3)]
    early = replace(undated, start_unix_s=datetime(2026, 5, 1, tzinfo=UTC).timestamp())
    with pytest.raises(InputError, match="begins on 2026-06-01, but is imaged on 2026-05-01; start the scenario later"):
        source.prepare(early, ("flood_extent",), Targets(), Camera(), 0)
    with pytest.raises(InputError, match="the plan has no start_unix_s"):
        source.prepare(undated, ("flood_extent",), Targets(), Camera(), 0)


def test_hidden_dates_are_unlabelled_and_slices_of_sequences_follow_their_masks(tmp_path):
    folder = sequence(tmp_path)
    document = json.loads((folder / "index.json").read_text())
    document["cases"][0]["sequence"][3]["usable"] = False
    (folder / "index.json").write_text(json.dumps(document))
    truth = archive(folder, slice_px=20).all_rows_truth(("flood_extent",))
    # Dates 1, 2, 3 of four slices; the change lies in the first slice alone.
    assert truth.labelled[:, 0].tolist() == [True] * 8 + [False] * 4
    assert truth.changed[:, 0].tolist() == [False] * 4 + [True] + [False] * 7
    assert truth.visible.tolist() == [True] * 8 + [False] * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": {"change_from": 4}}, "label.change_from is 4; the last picture is 3"),
        ({"label": {"change_from": 2, "change": False}}, "label.change_from names a picture"),
        ({"label": {"mask_after": "m.png"}}, "masks and boxes of a sequence stand at its pictures"),
        ({"before": "0.png"}, "either before and after, or a sequence"),
        ({"sequence": [{"picture": "0.png", "captured": "2026-06-01T00:00:00Z"}]}, "at least two pictures"),
        ({"sequence": [{"picture": "0.png", "captured": "2026-06-01T00:00:00"}] * 2}, "has no time zone"),
        ({"sequence": [{"picture": "0.png", "captured": "2026-06-01T00:00:00Z"}] * 2}, "not after the one before it"),
        ({"sequence": [], "label": {"change_from": 1}}, "label.change_from is for a sequence"),
        ({"sequence": [], "label": {"change": True, "boxes": [[0.5, 0, 0.2, 1]]}}, "left < right"),
    ],
)
def test_a_faulty_sequence_is_refused(tmp_path, change, message):
    folder = sequence(tmp_path)
    document = json.loads((folder / "index.json").read_text())
    document["cases"][0].update(change)
    (folder / "index.json").write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        archive(folder)
    assert message in str(caught.value)


def test_boxes_of_the_index_are_truth_where_there_is_no_mask_and_are_cut_by_slices(tmp_path):
    folder = folder_of(tmp_path, case(label={"change": True, "boxes": [[0.1, 0.2, 0.3, 0.4], [0.2, 0.1, 0.6, 0.3]]}))
    source = archive(folder)
    assert source.change_box(0, "flood_extent") == pytest.approx((0.1, 0.1, 0.6, 0.4))
    assert source.change_mask(0, "flood_extent") is None
    mask = np.zeros((12, 10), np.uint8)
    mask[3:6, 5:10] = 255
    Image.fromarray(mask).save(folder / "m.png")
    masked = {"change": True, "boxes": [[0.1, 0.2, 0.3, 0.4]], "mask_after": "m.png"}
    assert archive(folder_of(tmp_path, case(label=masked))).change_box(0, "flood_extent") == (0.5, 0.25, 1.0, 0.5)


def test_a_slice_has_the_mask_and_the_box_of_its_own_pixels(tmp_path):
    folder = folder_of(tmp_path, case(label={"change": True, "mask_after": "m.png"}))
    mask = np.zeros((64, 64), np.uint8)
    mask[24:40, 0:32] = 255
    for name in ("before.png", "after.png"):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / name)
    Image.fromarray(mask).save(folder / "m.png")
    source = archive(folder, slice_px=32)
    boxes = [source.change_box(row, "flood_extent") for row in range(4)]
    assert boxes == [(0.0, 0.75, 1.0, 1.0), None, (0.0, 0.0, 1.0, 0.25), None]
    whole = np.block([[source.change_mask(0, "flood_extent"), source.change_mask(1, "flood_extent")],
                      [source.change_mask(2, "flood_extent"), source.change_mask(3, "flood_extent")]])  # fmt: skip
    assert (whole == (mask > 0)).all()


def test_the_overlap_of_boxes_is_that_of_their_pixels():
    first, second = np.zeros((2, 20, 30), dtype=bool)
    first[2:10, 3:15] = True
    second[6:14, 9:30] = True
    boxes = [box_of_mask(first), box_of_mask(second)]
    assert overlap(*boxes) == pytest.approx((first & second).sum() / (first | second).sum())
    assert overlap(boxes[0], boxes[0]) == pytest.approx(1.0)
    assert overlap((0, 0, 0.1, 0.1), (0.5, 0.5, 1, 1)) == 0.0
    assert box_of_mask(np.zeros((3, 3), dtype=bool)) is None
    scores = box_scores(
        [([0, 0, 1, 1], (0, 0, 0.5, 1)), (None, (0, 0, 1, 1)), ([0, 0, 1, 1], None), ("x", (0, 0, 1, 1))]
    )
    assert scores == {"true_boxes": 3, "n": 1, "mean_iou": 0.5, "iou50": 1.0, "iou25": 1.0}


def test_perceive_scores_the_boxes_of_real_events():
    scenario = fs.load_scenario("real-images", [f"scenes.with.path={shared('data')}"])
    result = fs.perceive(scenario)
    boxes = result.as_dict()["boxes"]
    # Ten of the positive questions have masks; floods and hot spots are hit, crossing calving fronts are not.
    assert boxes["true_boxes"] == 10
    assert 5 <= boxes["n"] <= 10
    assert boxes["iou50"] <= boxes["iou25"]
    assert boxes["per_schema"]["flood_extent"]["mean_iou"] > 0.5
    assert any(line.startswith(f"boxes: {boxes['n']} of 10") for line in result.table_lines())
    assert any("left out" in note for note in result.as_dict()["notes"])


def test_perceive_tells_answers_that_are_none_beside_the_counts(tmp_path):
    """A picture too small for the model is a fault: it reads as "no event" in the counts, so the table says so."""
    folder = folder_of(tmp_path, case(id="small", change_schema="flood_extent", label={"change": False}))
    result = fs.perceive(
        fs.load_scenario("real-images", [f"scenes.with.path={folder}", "payload.use=vlm", "payload.with={}"])
    )
    pooled = result.as_dict()["pooled"]
    assert (pooled["tn"], pooled["invalid"], pooled["unclassifiable"]) == (1, 1, 0)
    head, *rows = result.table_lines()[1:]
    told = next(row.split()[1:7] for row in rows if row.startswith("flood_extent"))
    assert dict(zip(head.split()[1:7], told, strict=True)) == {
        "tp": "0", "fp": "0", "fn": "0", "tn": "1", "abstain": "0", "invalid": "1"
    }  # fmt: skip


def test_an_archive_travels_to_another_process_without_its_pixels(tmp_path):
    source = archive(sequence(tmp_path))
    source.prepare(visits(source, [10.0, 20.0], [-99.0, 10.0]), ("flood_extent",), Targets(), Camera(), 0)
    before = [source.pair(row).after.image.digest() for row in range(2)]
    moved = pickle.loads(pickle.dumps(source))
    assert [moved.pair(row).after.image.digest() for row in range(2)] == before


# -------------------------------------------------------------------- the page about scenes


def blocks(kind: str) -> list[str]:
    """Code blocks of docs/scenes.md in a language."""
    text = (Path(__file__).parents[1] / "docs" / "scenes.md").read_text(encoding="utf-8")
    return [part.partition("```")[0] for part in text.split(f"```{kind}\n")[1:]]


def test_the_index_of_the_page_is_an_archive(tmp_path):
    (tmp_path / "index.json").write_text(blocks("json")[0])
    for name in ("reservoir/before", "reservoir/after", *(f"quarry/{k}" for k in range(4))):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(path)
    mask = np.zeros((20, 20), np.uint8)
    for name in ("reservoir/water_before", "quarry/2_changed"):
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    mask[5:10, 10:] = 255
    Image.fromarray(mask).save(tmp_path / "reservoir" / "water_after.png")
    source = archive(tmp_path)
    truth = source.all_rows_truth(("flood_extent", "wetland_change", "construction_progress"))
    assert truth.changed.tolist() == [[True, True, False], [False, False, False], *[[False, False, True]] * 2]
    assert truth.labelled.tolist() == [[True, True, False], *[[False, False, True]] * 3]
    assert source.change_box(0, "flood_extent") == (0.5, 0.25, 1.0, 0.5)
    assert source.change_box(3, "construction_progress") == pytest.approx((0.2, 0.1, 0.7, 0.6))


@pytest.mark.parametrize("scenes", blocks("yaml"))
def test_the_settings_of_the_page_are_right(tmp_path, scenes):
    text = (Path(__file__).parents[1] / "scenarios" / "real-images.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("scenes: {use: archive}\n", scenes))
    loaded = fs.load_scenario(tmp_path / "mine.yaml")
    assert loaded.scenes.use == scenes.partition("use: ")[2].partition("\n")[0].partition(",")[0]
