"""The gallery: chosen by rule, balanced, true to the pixels and to what arrived."""

import io
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from flightsim import causes, gallery, runfolder
from flightsim.belief import Belief
from flightsim.domain import Action, Look, Tile, TilePair, TruthTable
from flightsim.gallery import Outcome, choose, composites, write_gallery
from flightsim.products import decode_tile
from flightsim.recorder import ACTIONS
from flightsim.scenario.models import Radio
from flightsim.sizing import Sizer

from .factories import DAY_S, plan_of, random_mission, record_of, statuses, truth_of
from .pictures import SIX, Picture
from .reports import mixed_mission, real_run


class Scenes:
    """Pictures whose samples are told by row and date, with the truth as a mask."""

    has_pixels = True

    def __init__(self, plan, bands=SIX, mask=True):
        self.plan, self.bands, self._mask = plan, bands, mask

    def image(self, row, shift):
        ramp = np.arange(32 * 24, dtype=np.uint16).reshape(32, 24) * 4 + row
        return Picture(np.stack([ramp + 50 * band + shift for band in range(len(self.bands))]), self.bands)

    def _tile(self, row, name, time_s, shift):
        return Tile(name, f"p{row}", time_s, 0.0, 0.0, 10.0, (32, 24), self.bands, None, self.image(row, shift))

    def pair(self, row):
        return TilePair(self._tile(row, "b", -1.0, 0), self._tile(row, "a", 0.0, 300))

    def pair_at(self, row, look):
        return TilePair(self._tile(row, "b", -1.0, 0), self._tile(row, "c", look.time_s, 600))

    def change_mask(self, row, schema_id):
        if not self._mask:
            return None
        mask = np.zeros((32, 24), dtype=bool)
        mask[4:9, 3 + row % 5 : 12] = True
        return mask


def belief_of(record, yes):
    return Belief(np.where(yes, 0.9, 0.1), yes, 0.5)


def believed(record):
    """Yes wherever something arrived and the eye said yes, and now and then without reason."""
    arrived = ~np.isnan(record.delivered_s)[:, None]
    return arrived & ((record.status == 0) | (np.arange(record.status.size).reshape(record.status.shape) % 37 == 0))


@pytest.fixture(scope="module")
def record():
    mission = mixed_mission()
    n = len(mission.plan)
    plan = replace(mission.plan, area=(np.arange(n) % 9).astype(np.int32), areas=tuple(f"area-{k}" for k in range(9)))
    return replace(mission, plan=plan)


def test_a_choice_shows_what_it_says(record):
    yes, truth = believed(record), record.truth
    missed = causes.miss_causes(causes.fates_of(record, yes))
    chosen = choose(record, yes)
    assert len(chosen) == gallery.MAX_TILES
    for choice in chosen:
        row, column = choice.row, choice.schema
        if choice.outcome is Outcome.FOUND:
            assert truth.changed[row, column]
            assert yes[row, column]
        elif choice.outcome is Outcome.MISSED:
            assert truth.changed[row, column]
            assert not yes[row, column]
            assert choice.cause == causes.MISS_CAUSES[missed[row, column]]
        elif choice.outcome is Outcome.FALSE_ALARM:
            assert not truth.changed[row, column]
            assert yes[row, column]
        elif choice.outcome is Outcome.REFUTED:
            assert record.status[row, column] == 0
            assert not truth.changed[row, column]
            assert not yes[row, column]
        else:
            assert not truth.changed[row].any()
            assert not yes[row].any()


def test_the_choice_is_balanced_and_no_tile_is_shown_twice(record):
    chosen = choose(record, believed(record))
    assert len({choice.row for choice in chosen}) == len(chosen)
    by_outcome = Counter(choice.outcome for choice in chosen)
    assert by_outcome[Outcome.MISSED] >= 8
    assert by_outcome[Outcome.FOUND] >= 6
    assert by_outcome[Outcome.FALSE_ALARM] >= 3
    found = Counter(choice.schema for choice in chosen if choice.outcome is Outcome.FOUND)
    assert max(found.values()) - min(found.values()) <= 1
    missed = [choice for choice in chosen if choice.outcome is Outcome.MISSED]
    assert len({choice.cause for choice in missed}) >= 4
    areas = Counter(int(record.plan.area[choice.row]) for choice in chosen)
    assert len(areas) == 9
    assert max(areas.values()) <= 4
    # Whoever sees only the first few has seen some of each.
    assert len({choice.outcome for choice in chosen[:4]}) >= 3


def test_finds_come_cheapest_first(record):
    yes = believed(record)
    found = [choice.row for choice in choose(record, yes) if choice.outcome is Outcome.FOUND]
    rows = np.flatnonzero((record.truth.changed & yes).any(axis=1))
    assert np.median(record.air_bytes[found]) <= np.median(record.air_bytes[rows])


def test_the_choice_is_the_same_each_time_and_keeps_to_its_limit(record):
    yes = believed(record)
    assert choose(record, yes) == choose(record, yes)
    assert len(choose(record, yes, limit=5)) == 5
    few = random_mission(10, prior=0.1)
    assert len(choose(few, np.zeros((10, 1), bool))) <= 10


def test_a_place_comes_twice_only_where_nothing_else_is_left():
    truth = truth_of([True] * 6)
    record = record_of(truth, plan=plan_of(np.arange(6) * 1e4, places=[1, 1, 1, 2, 2, 3]), status=statuses("nnnnnn"))
    first = [record.plan.place_id[choice.row] for choice in choose(record, np.zeros((6, 1), bool), limit=3)]
    assert sorted(first) == ["p1", "p2", "p3"]


def decode(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def written(tmp_path, record, yes, **scenes):
    source = Scenes(record.plan, **scenes)
    names = write_gallery(tmp_path, record, belief_of(record, yes), source, Sizer(source, record.plan, Radio()))
    return source, names, json.loads((tmp_path / "gallery" / "gallery.json").read_text())


def test_the_files_are_those_that_are_named_and_hold_the_pixels(tmp_path, record):
    yes = believed(record)
    source, names, index = written(tmp_path, record, yes)
    assert sorted(names) == sorted(f"gallery/{path.name}" for path in (tmp_path / "gallery").iterdir())
    assert index["format"] == "flightsim-gallery/1"
    rows = {record.plan.tile_id(k): k for k in range(len(record.plan))}
    for entry in index["tiles"]:
        row, pictures = rows[entry["tile_id"]], entry["pictures"]
        shown = {"before": source.image(row, 0), "after": source.image(row, 300)}
        expected = composites(shown, (("B04", "B03", "B02"),))
        for part in ("before", "after"):
            assert np.array_equal(decode(tmp_path / "gallery" / pictures[part]), expected[part])
        assert {"before-swir", "after-swir"} <= set(pictures)
        if "mask" in pictures:
            with Image.open(tmp_path / "gallery" / pictures["mask"]) as mask:
                assert mask.mode == "1"
                assert np.array_equal(np.asarray(mask), source.change_mask(row, entry["schema_id"]))
    masked = [entry for entry in index["tiles"] if "mask" in entry["pictures"]]
    assert masked
    # Only where an event is there and shown.
    assert {entry["outcome"] for entry in masked} == {"found", "missed"}


def test_an_entry_tells_verdict_truth_belief_and_bytes(tmp_path, record):
    yes = believed(record)
    _, _, index = written(tmp_path, record, yes)
    rows = {record.plan.tile_id(k): k for k in range(len(record.plan))}
    for entry in index["tiles"]:
        row = rows[entry["tile_id"]]
        assert entry["air_bytes"] == pytest.approx(record.air_bytes[row], abs=0.06)
        assert entry["action"] == str(ACTIONS[record.action[row]])
        assert entry["area"] == record.plan.areas[record.plan.area[row]]
        assert (entry["delivered_s"] is None) == bool(np.isnan(record.delivered_s[row]))
        pictured = record.action[row] in (ACTIONS.index(Action.THUMBNAIL), ACTIONS.index(Action.TILE))
        assert (entry["ground_file"] is not None) == (pictured and not np.isnan(record.delivered_s[row]))
        for column, question in enumerate(entry["questions"]):
            assert question["changed"] == record.truth.changed[row, column]
            assert question["believed"] == yes[row, column]
            assert question["posterior"] == (0.9 if yes[row, column] else 0.1)


def test_bands_that_are_not_there_give_no_short_wave_picture(tmp_path, record):
    _, names, index = written(tmp_path, record, believed(record), bands=("B04", "B03", "B02"), mask=False)
    assert not [name for name in names if "swir" in name or "mask" in name]
    assert all(set(entry["pictures"]) == {"before", "after"} for entry in index["tiles"])


def test_a_second_look_is_shown_beside_the_first(tmp_path):
    truth = TruthTable(
        ("flood_extent",), np.array([[True]]), np.array([[True]]), np.array([False]), np.array([0]), np.array([0.1])
    )
    look = Look(2 * DAY_S, 11.0, 4.0, 40.0)
    record = record_of(
        truth, status=statuses("e"), actions=Action.THUMBNAIL, delivered_s=3 * DAY_S, second_looks={0: look},
        looks=np.array([2]), looked_s=np.array([2 * DAY_S]), seen_visible=np.array([True]),
    )  # fmt: skip
    source, _, index = written(tmp_path, record, np.array([[True]]))
    (entry,) = index["tiles"]
    assert (entry["looks"], entry["looked_s"], entry["visible"]) == (2, 2 * DAY_S, True)
    shown = {"before": source.image(0, 0), "after": source.image(0, 300), "again": source.image(0, 600)}
    expected = composites(shown, (("B04", "B03", "B02"),))
    assert np.array_equal(decode(tmp_path / "gallery" / entry["pictures"]["again"]), expected["again"])


def test_pictures_of_one_tile_share_their_stretch():
    dark, bright = np.full((3, 8, 8), 800, np.uint16), np.full((3, 8, 8), 1600, np.uint16)
    shown = composites({"before": Picture(dark), "after": Picture(bright)}, (("B04", "B03", "B02"),))
    assert shown["before"].max() == 255  # the darker one sets the stretch
    half = bright.copy()
    half[:, :4] = 800
    shown = composites({"before": Picture(dark), "after": Picture(half)}, (("B04", "B03", "B02"),))
    assert (shown["after"][:4] == shown["before"][:4]).all()
    # But a nearly black picture may not blow out everything in the other.
    black = np.full((3, 8, 8), 10, np.uint16)
    shown = composites({"before": Picture(black), "after": Picture(half)}, (("B04", "B03", "B02"),))
    assert shown["before"].max() < 10


def test_eight_bit_samples_stay_as_they_are():
    samples = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8)
    shown = composites({"after": Picture(samples)}, (("B04", "B03", "B02"),))
    assert np.array_equal(shown["after"], samples.transpose(1, 2, 0))


def test_scenes_without_pixels_give_no_gallery_and_an_old_one_goes(tmp_path, record):
    written(tmp_path, record, believed(record))
    source = Scenes(record.plan)
    source.has_pixels = False
    sizer = Sizer(source, record.plan, Radio())
    assert write_gallery(tmp_path, record, belief_of(record, believed(record)), source, sizer) == []
    assert not (tmp_path / "gallery").exists()


def test_a_run_writes_its_gallery_and_the_manifest_holds_its_digests():
    folder = real_run()
    manifest = json.loads((folder / "run.json").read_text())
    index = json.loads((folder / "gallery" / "gallery.json").read_text())
    names = {name for name in manifest["digests"] if name.startswith("gallery/")}
    assert names == {f"gallery/{path.name}" for path in (folder / "gallery").iterdir()}
    assert all(manifest["digests"][name] == runfolder.file_digest(folder / name) for name in names)
    arrived = [entry["ground_file"] for entry in index["tiles"] if entry["ground_file"]]
    assert arrived
    for name in arrived:
        data = (folder / "ground" / name).read_bytes()
        if name.endswith(".tile"):
            assert decode_tile(data)[0].ndim == 3
        else:
            Image.open(io.BytesIO(data)).verify()
