"""A vision-language model as payload, with an engine made up at the outside edge; what it runs is tested elsewhere."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flightsim import owners
from flightsim.conformance.payloads import check_payload
from flightsim.domain import SCHEMA_IDS, TilePair, VerdictStatus
from flightsim.errors import InputError, MissingExtra
from flightsim.perception import PASSING, VerdictBook, lasting
from flightsim.scenes.archive import Archive
from flightsim.store import VerdictCache
from flightsim.verdicts import faults_of
from payload.declared import Declared
from payload.tasks.change import Fault, Prompt, prompt
from payload.vlm.backend import Vlm, VlmConfig, VlmPayload
from payload.vlm.engine import Finish, Reply
from payload.vlm.pictures import picture, resample
from payload.vlm.profile import load_profile

from .factories import truth_of
from .pictures import SIX, Picture, ground, pair_of

EVENT = '{"direction":"increase","severity":"low","fraction_of_tile":0.02,"where":"north","box":[0.1,0.1,0.4,0.4]}'
FLOOD, URBAN = "flood_extent", "urban_delta"


class Engine:
    """Gives prepared replies, and remembers what it was asked."""

    name, fingerprint, weights = "made-up q0", "made-up/1", "0123456789ab"

    def __init__(self, reply=None):
        self.reply = reply or (lambda question: Reply("null", Finish.STOP, 60, 2, 0.1))
        self.batches, self.opened = [], 0

    def open(self):
        self.opened += 1

    def close(self):
        self.opened -= 1

    def ask_many(self, questions):
        self.batches.append(list(questions))
        return [self.reply(question) for question in questions]


class Eye(VlmPayload):
    """The payload around it."""

    name = "eye"

    def __init__(self, config=None, base_folder=Path("."), reply=None, facts=None):
        super().__init__(config or VlmConfig(), base_folder)
        self.made, self.told = Engine(reply), {"decoding": "flightsim"} if facts is None else facts

    def make_engine(self):
        return self.made

    def facts(self):
        return self.told


def says(text, finish=Finish.STOP, probability=None, fault=""):
    return lambda question: Reply(text, finish, 60, 9, probability, fault)


def six(seed, covers=None, size_px=96):
    return Picture(ground(seed, covers or {"forest": 0.6, "soil": 0.4}, size_px), SIX)


@pytest.fixture(scope="module")
def clear():
    return pair_of(six("a"), six("b"))


def one(reply, pair, schema=FLOOD, **more):
    return Eye(reply=reply, **more).assess_many([pair], [schema])[0]


# -------------------------------------------------------------------- questions


def test_the_questions_of_all_clear_pairs_are_asked_together_and_answered_in_order(clear):
    other = pair_of(six("c"), six("d"))
    dark = pair_of(Picture(np.zeros((6, 96, 96), np.uint16), SIX), six("b"))
    eye = Eye(reply=lambda q: Reply(EVENT if "flood" in q.prompt.lower() else "null", Finish.STOP, 60, 9, 0.7))
    told = eye.assess_many([clear, dark, other], [URBAN, FLOOD])
    assert [(v.schema_id, v.status) for v in told] == [
        (URBAN, VerdictStatus.NULL), (FLOOD, VerdictStatus.EVENT),
        (URBAN, VerdictStatus.UNCLASSIFIABLE), (FLOOD, VerdictStatus.UNCLASSIFIABLE),
        (URBAN, VerdictStatus.NULL), (FLOOD, VerdictStatus.EVENT),
    ]  # fmt: skip
    assert told[2].reason == "no_data"
    (batch,) = eye.made.batches
    assert [q.prompt for q in batch] == [prompt(s, Prompt.SHORT, "swir nir red") for s in (URBAN, FLOOD)] * 2
    assert batch[0].before.shape == batch[0].after.shape == (128, 128, 3)
    assert not np.array_equal(batch[0].before, batch[0].after)


def test_a_verdict_says_who_made_it_with_how_many_tokens(clear):
    told = one(says(EVENT, probability=0.8766), clear)
    assert told.produced_by == "eye made-up q0 0123456789ab flightsim"
    assert (told.tokens, told.confidence) == (9, 0.877)
    assert told.body["changed_area_ha"] == pytest.approx(0.02 * 96 * 96 * 100 / 1e4, abs=0.005)
    assert faults_of(FLOOD, told.body) == ()


@pytest.mark.parametrize(
    ("text", "probability", "confidence"),
    [("null", 0.2, 0.8), ("null", 0.0, 0.99), (EVENT, 1.0, 0.99), (EVENT, 0.3, 0.3), (EVENT, None, None)],
)
def test_the_confidence_is_that_of_the_answer_given(clear, text, probability, confidence):
    assert one(says(text, probability=probability), clear).confidence == confidence


def test_an_unknown_schema_is_refused_even_where_nothing_can_be_asked(clear):
    with pytest.raises(InputError, match="Did you mean 'flood_extent'"):
        Eye().assess_many([TilePair(None, clear.after)], ["flood_extend"])


def test_a_tile_without_pixels_is_refused(clear):
    with pytest.raises(InputError, match="payload 'eye' looks at pixels; tile 't' has none"):
        Eye().assess_many([pair_of(six("a"), None)], [FLOOD])


def test_other_settings_of_the_profile_are_asked_otherwise(clear):
    eye = Eye(VlmConfig(profile="lfm2.5-vl", constraint="none"))
    assert eye.profile.constraint == "none"
    eye.assess_many([clear], [FLOOD])
    question = eye.made.batches[0][0]
    assert question.prompt == prompt(FLOOD, Prompt.FULL, "red green blue")
    assert question.before.shape == (96, 96, 3)


# -------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (says(""), Fault.EMPTY),
        (says("  \n "), Fault.EMPTY),
        (says(EVENT[:50]), Fault.NOT_JSON),
        (says(EVENT, Finish.LENGTH), Fault.TRUNCATED),
        (says("null", Finish.LENGTH), Fault.TRUNCATED),
        (says("No."), Fault.NOT_JSON),
        (says("<html><body>null</body></html>"), Fault.NOT_JSON),
        (says("false"), Fault.SCHEMA),
        (says("[]"), Fault.SCHEMA),
        (says("{}"), Fault.SCHEMA),
        (says(EVENT.replace("north", "up")), Fault.SCHEMA),
        (says("", Finish.NUMERIC), Fault.NUMERIC),
        (says("null", Finish.NUMERIC), Fault.NUMERIC),
        (says("null", probability=math.nan), Fault.NUMERIC),
        (says(EVENT, probability=math.inf), Fault.NUMERIC),
        (says("null", probability=1.5), Fault.NUMERIC),
        (says("", Finish.ERROR, fault="the server is down"), Fault.ENGINE),
        (says("null", Finish.ERROR), Fault.ENGINE),
    ],
)
def test_what_is_no_answer_is_invalid_with_its_fault_and_never_no_event(clear, reply, fault):
    told = one(reply, clear)
    assert told.status is VerdictStatus.INVALID
    assert told.reason.startswith(f"{fault}: ")
    assert len(told.reason) > len(f"{fault}: ")
    assert (told.body, told.confidence) == (None, None)
    assert lasting(told) is (fault is not Fault.ENGINE)


def test_the_faults_that_pass_are_the_engines():
    assert f"{Fault.ENGINE}:" == PASSING


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_engine_that_gives_another_number_of_replies_is_not_believed(clear, count):
    eye = Eye()
    eye.made.ask_many = lambda questions: [Reply("null", Finish.STOP)] * count
    with pytest.raises(ValueError, match=f"gave {count} replies to 2 questions"):
        eye.assess_many([clear], [FLOOD, URBAN])


def book_of(eye, pairs, folder, failures):
    truth = truth_of(np.zeros((len(pairs), 1), bool))  # of flood_extent
    cache = VerdictCache(eye.fingerprint, folder)
    keys = np.zeros(len(pairs), np.uint64)
    return VerdictBook(eye, pairs.__getitem__, keys, truth, 0, lambda row, why: failures.append(why), cache), cache


def test_what_a_model_cannot_say_is_stored_and_what_a_server_could_not_is_asked_again(clear, tmp_path):
    for reply, again in ((says("nonsense"), 0), (says("", Finish.ERROR, fault="down"), 1)):
        first, second = Eye(reply=reply), Eye(reply=reply)
        for eye in (first, second):
            book, cache = book_of(eye, [clear], tmp_path / str(again), [])
            assert book.of(0, (FLOOD,))[0].status is VerdictStatus.INVALID
            cache.save()
        assert (len(first.made.batches), len(second.made.batches)) == (1, again)


def test_a_missing_extra_stops_the_flight_instead_of_becoming_invalid_answers(clear, tmp_path):
    eye = Eye()

    def missing():
        raise MissingExtra("torch is missing: pip install 'flightsim[vlm]'.")

    eye.made.open = missing
    failures = []
    book, _ = book_of(eye, [clear], tmp_path, failures)
    with pytest.raises(MissingExtra, match=r"flightsim\[vlm\]"):
        book.of(0, (FLOOD,))
    assert failures == []


# -------------------------------------------------------------------- pictures


def test_without_a_reference_there_is_nothing_to_compare(clear):
    eye = Eye()
    told = eye.assess_many([TilePair(None, clear.after)], [FLOOD])[0]
    assert (told.status, told.reason, told.confidence) == (VerdictStatus.NULL, "no_reference", 0.5)
    assert eye.made.batches == []
    assert eye.cloud_fraction(TilePair(None, clear.after)) is None


def test_two_sizes_are_misregistered(clear):
    told = Eye().assess_many([pair_of(six("a", size_px=64), six("b"))], [FLOOD])[0]
    assert (told.status, told.reason) == (VerdictStatus.UNCLASSIFIABLE, "misregistered")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ((3, 1, 1), (3, 1, 1), "1 x 1 px; the model takes 32 to 1024 px"),
        ((3, 4000, 4000), (3, 4000, 4000), "4000 x 4000 px"),
        ((3, 64, 64), (3, 4000, 64), "4000 x 64 px"),
        (
            (1, 64, 64),
            (1, 64, 64),
            "have bands B08; the model is shown B12, B08, B04 or B11, B08, B04 or B04, B03, B02 or PAN",
        ),
        ((1, 64, 64), (3, 64, 64), "have bands none in common"),
    ],
)
def test_a_picture_that_cannot_be_shown_is_a_counted_fault_before_its_pixels_are_read(before, after, words):
    class Unread(Picture):
        def pixels(self):
            raise AssertionError("read")

        reflectance = digest = pixels

    def made(shape):
        return Unread(np.zeros(shape, np.uint8), ("B08",) if shape[0] == 1 else ("B04", "B03", "B02"))

    eye, pair = Eye(), pair_of(made(before), made(after))
    told = eye.assess_many([pair], [FLOOD, URBAN])
    assert {v.status for v in told} == {VerdictStatus.INVALID}
    assert all(v.reason.startswith(f"{Fault.PICTURE}: ") and words in v.reason for v in told)
    assert eye.cloud_fraction(pair) is None
    assert eye.made.batches == []


def test_half_hidden_pictures_are_shown_and_the_limit_can_be_set():
    calm = ground("half", {"forest": 1.0})
    cloudy = ground("half", {"forest": 0.6, "cloud": 0.4})
    pair = pair_of(Picture(calm, SIX), Picture(cloudy, SIX))
    assert 0.3 < Eye().cloud_fraction(pair) < 0.5
    assert Eye().assess_many([pair], [FLOOD])[0].status is not VerdictStatus.UNCLASSIFIABLE
    strict = Eye(VlmConfig(gate={"max_cloud": 0.3}))
    told = strict.assess_many([pair], [FLOOD])[0]
    assert (told.status, told.reason) == (VerdictStatus.UNCLASSIFIABLE, "cloud")
    hidden = pair_of(Picture(calm, SIX), Picture(ground("half", {"forest": 0.2, "cloud": 0.8}), SIX))
    told = Eye().assess_many([hidden], [FLOOD])[0]
    assert (told.status, told.reason) == (VerdictStatus.UNCLASSIFIABLE, "cloud")


def test_pictures_become_squares_of_the_models_size():
    wide = np.zeros((3, 64, 256), dtype=np.float32)
    wide[:, :, 128:] = 1.0
    for side, shape in ((32, (3, 32, 32)), (128, (3, 128, 128)), (100, (3, 100, 100))):
        square = resample(wide, side)
        assert square.shape == shape
        # Its halves stay halves, and nothing is cut off.
        assert square[:, :, : side // 2 - 1].max() < 0.01
        assert square[:, :, side // 2 + 1 :].min() > 0.99
    assert resample(wide, None) is wide


def test_one_grey_band_is_shown_three_times():
    grey = Picture(np.full((1, 64, 64), 90, dtype=np.uint8), ("PAN",))
    pictures = load_profile("flightsim").pictures
    chosen = pictures.choose(("PAN",))
    assert chosen.name == "grey"
    shown = picture(grey, chosen, pictures)
    assert shown.shape == (128, 128, 3)
    assert (shown == 90).all()


def scene(folder, before, after, bands, **more):
    for name, seen in (("before", before), ("after", after)):
        if isinstance(seen, bytes):
            (folder / f"{name}.png").write_bytes(seen)
        elif seen is not None:
            Image.fromarray(seen).save(folder / f"{name}.png")
    case = {
        "id": "a", "task": "change_pair", "before": "before.png", "after": "after.png", "bands": bands, "gsd_m": 10,
        "lat": 1.0, "lon": 2.0, "change_schema": FLOOD, "label": {"change": True}, **more,
    }  # fmt: skip
    (folder / "index.json").write_text(json.dumps({"version": 1, "cases": [case]}))
    return next(iter(Archive(Archive.Config(path=str(folder)), Path(".")).pairs()))


def shown(size, seed, alpha=False):
    rng = np.random.default_rng(seed)
    fine = rng.integers(20, 120, (*size, 3), dtype=np.uint8)
    return np.dstack([fine, np.full(size, 255, np.uint8)]) if alpha else fine


@pytest.mark.parametrize(
    ("case", "size", "alpha", "status", "reason"),
    [
        ("rgb", (64, 64), False, VerdictStatus.EVENT, ""),
        ("rgba", (64, 64), True, VerdictStatus.EVENT, ""),
        ("4000 px", (4000, 100), False, VerdictStatus.INVALID, "picture: the picture has 4000 x 100 px"),
        ("1 px", (1, 1), False, VerdictStatus.INVALID, "picture: the picture has 1 x 1 px"),
    ],
)
def test_files_of_all_kinds_are_shown_or_counted(tmp_path, case, size, alpha, status, reason):
    bands = ["red", "green", "blue", "alpha"] if alpha else ["red", "green", "blue"]
    pair = scene(tmp_path, shown(size, 1, alpha), shown(size, 2, alpha), bands)
    told = one(says(EVENT, probability=0.9), pair)
    assert told.status is status
    assert told.reason.startswith(reason)


def test_files_of_one_band_are_a_counted_fault(tmp_path):
    pair = scene(tmp_path, shown((64, 64), 1)[..., 0], shown((64, 64), 2)[..., 0], ["red"])
    told = one(says("null"), pair)
    assert (told.status, told.reason[:9]) == (VerdictStatus.INVALID, "picture: ")


def test_files_of_16_bit_are_stretched_by_the_profile(tmp_path):
    from flightsim.scenes.archive import Archive as Scenes

    rng = np.random.default_rng(3)
    for name in ("before", "after"):
        np.savez(tmp_path / f"{name}.npz", rng.integers(200, 2400, (3, 64, 64), dtype=np.uint16))
    case = {
        "id": "a", "task": "change_pair", "before": "before.npz", "after": "after.npz",
        "bands": ["red", "green", "blue"], "gsd_m": 10, "lat": 1.0, "lon": 2.0, "change_schema": FLOOD,
        "label": {"change": True},
    }  # fmt: skip
    (tmp_path / "index.json").write_text(json.dumps({"version": 1, "cases": [case]}))
    pair = next(iter(Scenes(Scenes.Config(path=str(tmp_path)), Path(".")).pairs()))
    eye = Eye(reply=says("null"))
    told = eye.assess_many([pair], [FLOOD])[0]
    assert told.status is VerdictStatus.NULL
    picture = eye.made.batches[0][0].after
    reflectance = pair.after.image.reflectance()[0].reshape(-1)
    # The composite "red green blue": reflectance 0.3 is white, exponent 0.8; side 128 px doubles every pixel.
    assert picture.shape == (128, 128, 3)
    expected = 255 * np.clip(reflectance / 0.3, 0, 1).mean() ** 0.8
    assert abs(float(picture[..., 0].mean()) - expected) < 8


def test_a_file_that_is_cut_short_or_missing_is_one_clear_error(tmp_path):
    whole = tmp_path / "whole.png"
    Image.fromarray(shown((64, 64), 1)).save(whole)
    cut = whole.read_bytes()[:2000]
    with pytest.raises(InputError, match=r"before\.png.*cut short"):
        one(says("null"), scene(tmp_path, cut, shown((64, 64), 2), ["red", "green", "blue"]))
    (tmp_path / "before.png").unlink()
    with pytest.raises(InputError, match=r"before\.png"):
        one(says("null"), scene(tmp_path, None, shown((64, 64), 2), ["red", "green", "blue"]))


# -------------------------------------------------------------------- what is loaded, and when


def test_a_model_is_loaded_with_the_first_question_and_once(clear):
    eye = Eye()
    eye.open()
    assert eye.made.opened == 0
    eye.assess_many([TilePair(None, clear.after)], [FLOOD])
    assert eye.made.opened == 0
    eye.assess_many([clear], [FLOOD])
    eye.assess_many([clear], [URBAN])
    assert eye.made.opened == 1
    eye.close()
    eye.close()
    assert eye.made.opened == 0
    eye.assess_many([clear], [FLOOD])
    assert eye.made.opened == 1


def test_a_payload_travels_without_its_model(tiny_folder):
    eye = Vlm(Vlm.Config(model=str(tiny_folder)))
    first = eye.fingerprint
    again = pickle.loads(pickle.dumps(eye))
    assert again.fingerprint == first
    assert "engine" in vars(eye)
    assert set(pickle.loads(pickle.dumps(eye)).__dict__) == {"_config", "_folder", "_opened"}


def test_neither_import_nor_fingerprint_loads_an_engine(tiny_folder):
    code = (
        "import sys; from payload.vlm.backend import Vlm\n"
        f"eye = Vlm(Vlm.Config(model={str(tiny_folder)!r})); eye.open(); assert eye.fingerprint and eye.owner\n"
        "heavy = {'torch', 'transformers', 'peft', 'xllamacpp'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_fingerprint_follows_what_changes_answers_and_nothing_else(tmp_path):
    plain = Eye().fingerprint
    for same in (
        VlmConfig(seconds_per_question=3.0),
        VlmConfig(profile="flightsim"),
        VlmConfig(constraint="none"),  # what the profile says anyway
    ):
        assert Eye(same).fingerprint == plain
    gate = {"max_cloud": 0.1}
    changed = [
        Eye(VlmConfig(profile="lfm2.5-vl")).fingerprint,
        Eye(VlmConfig(constraint="json_schema")).fingerprint,
        Eye(VlmConfig(gate=gate)).fingerprint,
    ]
    other = Eye()
    other.made.fingerprint = "made-up/2"
    changed.append(other.fingerprint)
    assert len({plain, *changed}) == len(changed) + 1
    assert plain.startswith("eye/")


def test_a_model_without_a_profile_must_be_given_one():
    with pytest.raises(InputError, match=r"model 'eye' names no decoding profile; choose one with payload\.with\.prof"):
        Eye(facts={}).open()
    with pytest.raises(InputError, match="Did you mean 'flightsim'"):
        Eye(VlmConfig(profile="flightsym")).open()


# -------------------------------------------------------------------- what is declared

RATES = {schema: {"tpr": 0.9, "fpr": 0.05} for schema in SCHEMA_IDS}


def block(payload, schema=FLOOD):
    return {
        "format": "flightsim-calibration/1", "payload": payload, "set": "made up", "n": 10, "base_rate": 0.1,
        "event": 0.8, "null": 0.01, "knots": [{"confidence": 0.1, "probability": 0.05}], "per_schema": {},
        "products": {"tile": {schema: {"tpr": 0.7, "fpr": 0.1}}, "thumbnail": {"64": {}}},
    }  # fmt: skip


def test_rates_and_seconds_are_those_of_the_model():
    eye = Eye(facts={"decoding": "flightsim", "rates": RATES, "seconds_per_question": 0.3, "clock": "measured"})
    assert eye.rates(FLOOD) == (0.9, 0.05)
    assert (eye.seconds_per_question, eye.clock) == (0.3, "measured")
    stated = Eye(VlmConfig(seconds_per_question=17.0), facts=eye.told)
    assert (stated.seconds_per_question, stated.clock) == (17.0, owners.STATED)


def test_nobody_guesses_the_rates_of_a_model_that_was_not_measured():
    with pytest.raises(
        InputError, match=r"no rates for schema 'flood_extent': nobody has measured .* --calibrate FILE"
    ):
        Eye().rates(FLOOD)


def test_a_calibration_counts_for_the_very_settings_that_it_was_fitted_for():
    facts = {"decoding": "flightsim", "rates": RATES, "calibration": block(Eye().fingerprint)}
    eye = Eye(facts=facts)
    assert eye.calibration(FLOOD).source == "made up"
    assert eye.thumbnail_rates(URBAN) == {64: (0.5, 0.5)}
    assert eye.calibration_note == ""
    other = Eye(VlmConfig(constraint="json_schema"), facts=facts)
    assert other.calibration(FLOOD) is None
    assert other.thumbnail_rates(FLOOD) == {}
    assert "other settings than its calibration" in other.calibration_note


def test_a_file_of_the_user_brings_calibration_and_rates(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps({"calibration": block(Eye().fingerprint)}))
    eye = Eye(VlmConfig(calibration="mine.json"), tmp_path)
    assert eye.rates(FLOOD) == (0.7, 0.1)
    assert eye.calibration(URBAN).n == 10
    with pytest.raises(InputError, match=r"'mine.json' has no rates for schema 'urban_delta'"):
        eye.rates(URBAN)
    other = Eye(VlmConfig(calibration="mine.json", constraint="json_schema"), tmp_path)
    with pytest.raises(InputError, match=r"was fitted for eye/\w+; the payload is now eye/\w+: fit it anew"):
        other.rates(FLOOD)


def test_the_declared_rates_of_a_model_are_not_those_of_another_adapter(tiny_folder):
    own = Vlm(Vlm.Config(model=str(tiny_folder)))
    off = Vlm(Vlm.Config(model=str(tiny_folder), adapter="off"))
    assert own.facts_fault() == ""
    assert off.model_name.endswith("without adapter")
    assert off.fingerprint != own.fingerprint
    with pytest.raises(InputError, match="declared rates are those of the model's own adapter, not of adapter 'off'"):
        off.rates(FLOOD)
    other = Vlm(Vlm.Config(model=str(tiny_folder), profile="lfm2.5-vl"))
    assert "another decoding profile than 'lfm2.5-vl'" in other.facts_fault()


def test_facts_that_do_not_hold_say_why():
    declared = Declared("vlm", {"rates": RATES}, "vlm/1", None, Path("."), "it flies another adapter")
    with pytest.raises(
        InputError, match="payload 'vlm' has no rates for schema 'flood_extent': it flies another adapt"
    ):
        declared.rates(FLOOD)


# -------------------------------------------------------------------- the whole


def test_any_engine_makes_a_payload_that_keeps_the_contract():
    facts = {"decoding": "flightsim", "rates": RATES}

    def by_pixels(question):
        if int(question.after.sum()) % 3:
            return Reply("null", Finish.STOP, 60, 2, 0.25)
        return Reply(EVENT, Finish.STOP, 60, 9, 0.75)

    results = check_payload(lambda: Eye(reply=by_pixels, facts=facts))
    assert [r for r in results if not r.ok] == []


def test_the_model_in_llama_cpp_keeps_the_contract(tiny_folder, tmp_path):
    calibrated = tmp_path / "rates.json"
    eye = Vlm(Vlm.Config(model=str(tiny_folder)))
    made = block(eye.fingerprint)
    made["products"]["tile"] = {schema: {"tpr": 0.5, "fpr": 0.1} for schema in (FLOOD, URBAN)}
    calibrated.write_text(json.dumps({"calibration": made}))
    config = Vlm.Config(model=str(tiny_folder), calibration=str(calibrated))
    results = check_payload(lambda: Vlm(config))
    assert [r for r in results if not r.ok] == []
    assert eye.owner.startswith(f"{eye.model_name} (llamacpp q8_0, weights ")


def test_a_pair_at_which_a_payload_raises_costs_the_others_of_its_batch_nothing(clear):
    from flightsim.looking import _answers

    broken = pair_of(six("e"), six("f"))

    class Fragile(Eye):
        def assess_many(self, pairs, schemas, **more):
            if any(pair is broken for pair in pairs):
                raise RuntimeError("cannot look at this")
            return super().assess_many(pairs, schemas, **more)

    told = _answers(Fragile(), [clear, broken, clear], (FLOOD, URBAN))
    assert [len(part) for part in told] == [2, 0, 2]
    assert told[0] == told[2]
