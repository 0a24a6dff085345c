"""Readers that really look: pictures as they arrived, evidence that is not counted twice, one look for all."""

import textwrap
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

import flightsim as fs
from flightsim import products, readers
from flightsim.belief import PERFECT, DeclaredReader
from flightsim.domain import Action, ProductSpec, Verdict, VerdictStatus
from flightsim.errors import InputError, ScenarioError
from flightsim.protocols import EmptyConfig
from flightsim.readers import ModelConfig, ModelReader, Thumbnail, as_arrived, settings_of, statuses_of
from flightsim.recorder import STATUSES
from payload.spectral import Spectral

from .factories import record_of, statuses, truth_of
from .pictures import SIX, Picture, ground, pair_of

THUMBNAIL = {128: {"sensitivity": 0.6, "specificity": 0.9}}
DEFAULT = (128, "webp", 60)
SCHEMAS = ("flood_extent", "ice_extent")
EVENT, NULL = STATUSES.index(VerdictStatus.EVENT), STATUSES.index(VerdictStatus.NULL)


def six(seed, covers, size_px=96):
    return Picture(ground(seed, covers, size_px), SIX)


DRY, WET = {"forest": 0.6, "soil": 0.4}, {"forest": 0.5, "water": 0.5}


class Looker:
    """Says EVENT where the new picture is darker than the old one by more than a tenth, and counts its looks."""

    Config: ClassVar = EmptyConfig
    needs_truth = False
    needs_pixels = True
    seconds_per_question = 0.0

    def __init__(self, name="looker/1", thumbnails=None):
        self.fingerprint, self.pairs, self.opened, self.closed = name, [], 0, 0
        self._thumbnails = {64: (0.5, 0.2), 128: (0.6, 0.1)} if thumbnails is None else thumbnails

    def open(self):
        self.opened += 1

    def close(self):
        self.closed += 1

    def rates(self, schema_id):
        return 0.9, 0.05

    def thumbnail_rates(self, schema_id):
        return self._thumbnails

    def assess_many(self, pairs, schemas, *, truth=None, keys=None, seed=0):
        assert truth is None
        self.pairs += pairs
        answers = []
        for pair in pairs:
            before, after = (tile.image.pixels().astype(float).mean() for tile in (pair.before, pair.after))
            status = VerdictStatus.EVENT if after < 0.9 * before else VerdictStatus.NULL
            answers += [Verdict(pair.after.id, schema, status, confidence=0.8) for schema in schemas]
        return answers


def scenes_of(pairs):
    return SimpleNamespace(has_pixels=True, pair=pairs.__getitem__)


def many(n):
    """Pairs that differ from row to row; every third place is darker afterwards."""
    found = []
    for k in range(n):
        before = np.full((3, 40, 48), 100 + k, np.uint8)
        after = (before * (0.5 if k % 3 == 0 else 1.0)).astype(np.uint8)
        found.append(pair_of(Picture(before), Picture(after)))
    return found


def reader_of(n=12, dependent=True, payload=None, config=None, **made):
    truth = truth_of(np.stack([np.arange(n) % 3 == 0, np.zeros(n, bool)], axis=1))
    payload = payload or Looker()
    scenes = scenes_of(many(n))
    return ModelReader("same_model", payload, config or ModelConfig(), scenes, truth, DEFAULT, dependent=dependent)


# Pictures as they arrived ----------------------------------------------------------------------------------------


def test_a_thumbnail_is_what_the_decoder_gives_and_both_pictures_are_alike():
    before, after = six("b", DRY, 200), six("a", WET, 200)
    seen = as_arrived(pair_of(before, after), (64, "webp", 60))
    sent = products.encode_thumbnail(after.pixels(), SIX, 16, 64, "webp", 60)
    assert np.array_equal(seen.after.image.pixels(), products.decode_picture(sent).transpose(2, 0, 1))
    for tile in (seen.before, seen.after):
        image = tile.image
        assert image.bands == tile.bands == ("B04", "B03", "B02")
        assert image.shape == image.pixels().shape == (3, 64, 64)
        assert image.pixels().dtype == np.uint8
        assert (image.bits, image.reflectance(), tile.size_px) == (8, None, (64, 64))
        assert tile.gsd_m == pytest.approx(10 * 200 / 64)


@pytest.mark.parametrize("size", [(33, 200), (200, 33), (64, 64), (100, 101)])
@pytest.mark.parametrize("side", [16, 64, 128, 500])
def test_the_shape_is_known_without_decoding(size, side):
    image = Thumbnail(Picture(np.full((3, *size), 90, np.uint8)), side, "jpeg", 80)
    assert image.shape == image.pixels().shape


@pytest.mark.parametrize(
    ("bands", "shown"),
    [
        (("PAN",), ("PAN",)),
        (("B11", "B08", "B05"), ("B11", "B08", "B05")),
        (("B02", "B03", "B04"), ("B04", "B03", "B02")),
    ],
)
def test_bands_keep_their_names_and_order(bands, shown):
    samples = np.stack([np.full((32, 32), 40 * (k + 1), np.uint8) for k in range(len(bands))])
    image = Thumbnail(Picture(samples, bands), 32, "webp", 90)
    assert image.bands == shown
    levels = [40 * (bands.index(name) + 1) for name in shown]
    # WebP codes chroma coarsely; flat colours come back within a few levels.
    assert image.pixels().mean(axis=(1, 2)) == pytest.approx(levels, abs=6)


def test_the_digest_tells_pictures_and_encoders_apart_without_encoding():
    picture = Picture(np.full((3, 32, 32), 7, np.uint8))
    other = Picture(np.full((3, 32, 32), 8, np.uint8))
    made = [
        Thumbnail(picture, *how) for how in ((16, "webp", 60), (32, "webp", 60), (16, "jpeg", 60), (16, "webp", 61))
    ]
    digests = {image.digest() for image in (*made, Thumbnail(other, 16, "webp", 60), picture)}
    assert len(digests) == 6
    assert Thumbnail(picture, 16, "webp", 60).digest() == made[0].digest()
    assert "_decoded" not in made[0].__dict__


def test_a_pair_without_a_reference_stays_without_and_a_tile_stays_whole():
    alone = pair_of(None, six("a", WET))
    assert as_arrived(alone, DEFAULT).before is None
    assert as_arrived(alone, None) is alone
    with pytest.raises(InputError, match="has no pixels; a reader that looks needs them"):
        as_arrived(pair_of(None, None), None)


def test_a_lossless_tile_gives_the_verdict_that_was_made_on_board():
    """Through the codec and back, and the same payload again."""
    eye = Spectral(Spectral.Config())
    for seed in range(3):
        pair = pair_of(six(f"b{seed}", DRY), six(f"a{seed}", WET))
        sent = products.encode_tile(pair.after.image.pixels(), "png16", SIX)
        samples, bands = products.decode_tile(sent)
        back = pair_of(pair.before.image, Picture(samples, bands))
        assert eye.assess_many([back], SCHEMAS) == eye.assess_many([as_arrived(pair, None)], SCHEMAS)


# Evidence --------------------------------------------------------------------------------------------------------


def test_the_model_is_really_run_and_weighed_by_the_rates_of_the_product():
    reader = reader_of()
    tiles, small, smaller = reader.tiles(), reader.thumbnails(128), reader.thumbnails(64)
    dark = np.arange(12) % 3 == 0
    for evidence, (tpr, fpr) in ((tiles, (0.9, 0.05)), (small, (0.6, 0.1)), (smaller, (0.5, 0.2))):
        assert evidence[dark] == pytest.approx(np.log(tpr / fpr))
        assert evidence[~dark] == pytest.approx(np.log((1 - tpr) / (1 - fpr)))


def test_rates_of_the_scenario_come_before_those_of_the_payload():
    config = ModelConfig.model_validate(
        {
            "tile": {"sensitivity": 0.7, "specificity": 0.8},
            "thumbnail": {128: {"sensitivity": 0.5, "specificity": 0.75}},
        }
    )
    reader = reader_of(config=config)
    assert reader.tiles()[0, 0] == pytest.approx(np.log(0.7 / 0.2))
    assert reader.thumbnails(128)[0, 0] == pytest.approx(np.log(0.5 / 0.25))


def test_a_payload_without_rates_on_thumbnails_is_told_what_to_give():
    with pytest.raises(
        InputError, match=r"'looker/1' declares no rates on thumbnails .*evaluation.reader.with.thumbnail"
    ):
        reader_of(payload=Looker(thumbnails={}))


def test_a_null_from_nothing_is_no_evidence():
    def said(status, reason="", confidence=0.5):
        return Verdict("t", "flood_extent", status, confidence=confidence, reason=reason)

    rows = [
        (said(VerdictStatus.NULL),), (said(VerdictStatus.NULL, "bands"),), (said(VerdictStatus.EVENT, "words", None),),
        (said(VerdictStatus.UNCLASSIFIABLE, "cloud"),), (said(VerdictStatus.INVALID),),
    ]  # fmt: skip
    status, confidence = statuses_of(rows, 1)
    assert status.ravel().tolist() == [NULL, -1, EVENT, -1, -1]
    assert np.isnan(confidence.ravel()).tolist() == [False, True, True, True, True]


def test_one_mind_is_not_heard_twice():
    """Tile before verdict before thumbnail: of one model only the answer on the best rendition counts."""
    same, other = reader_of(dependent=True), reader_of(dependent=False, payload=Looker("other/1"))
    verdicts = np.array([[2.0, -1.0], [2.0, 0.0], [0.0, 0.0]])
    read = np.array([[3.0, 0.0], [-0.5, 0.5], [0.7, 0.0]])
    whole = np.array([True, False, False])
    assert same.fused(verdicts, read, whole).tolist() == [[3.0, -1.0], [2.0, 0.5], [0.7, 0.0]]
    assert np.array_equal(other.fused(verdicts, read, whole), verdicts + read)
    assert np.array_equal(DeclaredReader(PERFECT, same._truth, read).fused(verdicts, read, whole), verdicts + read)


def test_what_arrived_is_read_as_it_was_sent_and_nothing_else_is():
    n = 6
    payload = Looker()
    reader = reader_of(n, payload=payload)
    actions = [Action.TILE, Action.THUMBNAIL, Action.THUMBNAIL, Action.VERDICT, Action.NOTHING, Action.THUMBNAIL]
    delivered = [500.0, 500.0, 500.0, 500.0, np.nan, np.nan]
    record = record_of(reader._truth, status=statuses(["nn"] * n), actions=actions, delivered_s=delivered)
    record.specs["i2"] = ProductSpec(size_px=64)
    found = reader.arrived(record)
    assert found[0] == pytest.approx(np.log(0.9 / 0.05))
    assert found[1] == pytest.approx(np.log(0.4 / 0.9))
    assert found[2] == pytest.approx(np.log(0.5 / 0.8))
    assert np.all(found[3:] == 0.0)


def test_a_product_that_it_cannot_read_is_refused():
    record = record_of(truth_of([[True, True]] * 12), actions=Action.CROP, delivered_s=1.0)
    with pytest.raises(InputError, match="reader 'same_model' cannot read product 'crop'"):
        reader_of().arrived(record)


def test_a_second_look_is_read_instead_of_the_first_picture():
    n = 3
    reader = reader_of(n)
    record = record_of(reader._truth, actions=Action.TILE, delivered_s=500.0)
    dark = pair_of(Picture(np.full((3, 40, 48), 200, np.uint8)), Picture(np.full((3, 40, 48), 50, np.uint8)))
    assert reader.arrived(record)[1, 0] < 0
    record.second_looks[1] = "a later look"
    reader._scenes.pair_at = lambda row, look: dark if (row, look) == (1, "a later look") else None
    found = reader.arrived(record)
    assert found[1, 0] == pytest.approx(np.log(0.9 / 0.05))
    assert found[2, 0] < 0


def test_answers_are_stored_and_shared():
    first = Looker("shared/1")
    one = reader_of(payload=first)
    everything = [one.tiles(), one.thumbnails(128)]
    one.tiles()
    assert len(first.pairs) == 24
    one.close()
    assert first.closed == 0  # the flight's own payload is the flight's to close
    second = Looker("shared/1")
    two = reader_of(payload=second, dependent=False)
    assert all(np.array_equal(a, b) for a, b in zip(everything, [two.tiles(), two.thumbnails(128)], strict=True))
    assert not second.pairs
    two.close()
    assert (second.opened, second.closed) == (1, 1)


def test_a_model_that_raises_brings_nothing_and_is_told():
    class Raises(Looker):
        def assess_many(self, pairs, schemas, **more):
            if any(pair.after.image.pixels().max() > 108 for pair in pairs):
                raise ValueError("too bright for me")
            return super().assess_many(pairs, schemas, **more)

    reader = reader_of(payload=Raises("raises/1"))
    found = reader.tiles()
    assert np.all(found[10] == 0)
    assert np.all(found[1] != 0)
    assert reader.notes[0].startswith("reader 'same_model' failed on 2 pictures")
    assert "too bright for me" in reader.notes[0]
    assert reader_of().notes == ()


# In a scenario ---------------------------------------------------------------------------------------------------


def test_an_unknown_reader_gets_the_nearest_name():
    with pytest.raises(
        InputError, match=r"'same_modell'; allowed are analyst, larger, perfect, same_model; did you mean"
    ):
        settings_of("same_modell")


@pytest.mark.parametrize(
    ("use", "given", "message"),
    [
        ("same_model", {"payload": {"use": "spectral"}}, "with.payload: Extra inputs"),
        ("larger", {}, "with.payload: Field required"),
        ("larger", {"payload": {"use": "spectral"}, "thumbnail": {0: {}}}, "with.thumbnail.0"),
        ("same_model", {"tile": {"sensitivity": 0.2, "specificity": 0.3}}, "add up to less than 1"),
    ],
)
def test_bad_settings_say_which_and_why(use, given, message):
    with pytest.raises(InputError, match=message):
        settings_of(use, given)


def test_bad_settings_are_told_when_the_scenario_is_checked():
    with pytest.raises(ScenarioError, match=r"evaluation.reader.*with.payload: Field required"):
        fs.load_scenario("real-images", ["evaluation.reader.use=larger"])


@pytest.mark.parametrize(
    ("scenario", "sets", "why"),
    [
        ("statistical", [], "scenes 'sizes' have none"),
        ("real-images", ["payload.use=confusion"], "payload 'confusion' answers from the truth"),
    ],
)
def test_without_pictures_the_reader_is_refused_and_the_analyst_named(scenario, sets, why):
    loaded = fs.load_scenario(scenario, [*sets, "evaluation.reader.use=same_model"])
    with pytest.raises(InputError, match=rf"'same_model', which runs a model .*but {why}.*; use reader analyst"):
        fs.run(loaded, write=False)


def flown(reader, policy="budgeted", *sets):
    text = f"evaluation.reader={reader}"
    return fs.run(fs.load_scenario("real-images", [text, *sets]), policy=policy, write=False)


SAME = "{use: same_model, with: {thumbnail: {128: {sensitivity: 0.6, specificity: 0.9}}}}"
LARGER = (
    "{use: larger, with: {payload: {use: spectral, with: {confidence_slope: 5}}, "
    "thumbnail: {128: {sensitivity: 0.6, specificity: 0.9}}}}"
)


def test_the_same_model_on_tiles_is_the_eye_on_board():
    """Whatever lies on the ground as a tile is believed as on board.

    By rates alone: with a calibration the ground weighs the confidence of each NULL too, and may say yes to a doubtful
    one. Other settings than those that the calibration was fitted for leave the rates.
    """
    quality = flown(SAME, "budgeted", "payload.with={confidence_slope: 2.1}").metrics["quality"]
    onboard = quality["onboard"]
    for name in ("bent_pipe_unlimited", "fused_unlimited"):
        assert [quality[name][k] for k in ("tp", "fp")] == [onboard[k] for k in ("tp", "fp")], name
    assert quality["bent_pipe_unlimited"] == quality["fused_unlimited"]


def test_thumbnails_of_the_same_model_add_nothing_to_its_verdicts():
    result = flown(SAME, "budgeted")
    assert result.metrics["bytes"]["by_kind"]["thumbnail"] > 0
    quality = result.metrics["quality"]
    assert quality["ground"]["f1"] == quality["reader_band"]["product_adds_nothing"] > 0
    # A policy that asks nothing on board has only the thumbnails.
    blind = flown(SAME, "thumbnails_only").metrics["quality"]
    assert blind["reader_band"]["product_adds_nothing"] == 0 < blind["ground"]["f1"]


def test_a_run_names_the_model_and_its_rates():
    result = flown(LARGER)
    told = result.metrics["reader"]
    assert told["description"] == "larger (spectral)"
    assert told["model"] != result.context["eye_fingerprint"]
    assert told["independent_of_the_eye"]
    assert told["per_schema"]["flood_extent"]["thumbnail"]["128"] == {"sensitivity": 0.6, "specificity": 0.9}
    assert "reader larger (spectral)" in result.summary_lines()[1]


def test_policies_share_the_looks_and_the_world(monkeypatch):
    flown(SAME, "bent_pipe")
    monkeypatch.setattr(Spectral, "_assess", lambda self, pair, schemas: pytest.fail("looked again"))
    again = flown(SAME, "bent_pipe")
    assert again.metrics["quality"]["bent_pipe_windows"]["f1"] is not None


def test_a_larger_model_of_ones_own(tmp_path):
    (tmp_path / "eye.py").write_text(
        textwrap.dedent(
            """
            from typing import ClassVar
            from flightsim.domain import Verdict, VerdictStatus
            from flightsim.protocols import EmptyConfig

            class Always:
                Config = EmptyConfig
                needs_truth: ClassVar[bool] = False
                needs_pixels: ClassVar[bool] = True
                fingerprint = "always/1"
                seconds_per_question = 0.0
                def __init__(self, config): pass
                def open(self): pass
                def close(self): pass
                def rates(self, schema_id): return (0.5, 0.5)
                def thumbnail_rates(self, schema_id): return {64: (0.5, 0.5)}
                def assess_many(self, pairs, schemas, *, truth=None, keys=None, seed=0):
                    return [Verdict(p.after.id, s, VerdictStatus.EVENT) for p in pairs for s in schemas]
            """
        )
    )
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nextends: real-images\n"
        "evaluation: {reader: {use: larger, with: {payload: {use: './eye.py:Always'}}}}\n"
    )
    quality = fs.run(fs.load_scenario(tmp_path / "mine.yaml"), write=False).metrics["quality"]
    # Rates of a coin: its yes to everything is no evidence for anything.
    assert quality["bent_pipe_unlimited"]["tp"] == 0
    assert quality["ground"]["f1"] == quality["reader_band"]["product_adds_nothing"]


def test_names_of_readers_are_all_there():
    assert readers.NAMES == ("analyst", "larger", "perfect", "same_model")
