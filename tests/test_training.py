"""How the shipped model is made: pairs and their truth, questions, augmentation, losses, the loop."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flightsim.domain import SCHEMA_IDS, VerdictStatus
from flightsim.rng import stream
from flightsim.scenes.synthetic import truth
from flightsim.scenes.synthetic.sampling import sample_world
from payload.tasks import change
from payload.train import pairs as training_pairs
from payload.train.batches import turned, turned_box
from payload.train.pairs import CLOUD, GRID, PREVALENCE, Pairs, PictureFile, load_pairs, make_pairs, make_shard
from payload.train.settings import StageSettings, TrainSettings
from payload.vlm.profile import load_profile

BLOCKS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("pairs")
    make_pairs(where, "train", 5, 1, BLOCKS, 1)
    return where


@pytest.fixture(scope="module")
def pairs(folder: Path) -> Pairs:
    return load_pairs(folder, "train", 5, 1)


# -------------------------------------------------------------------- pairs


def test_stored_pairs_are_those_of_the_world_with_their_true_fields(pairs: Pairs) -> None:
    source, plan, table = sample_world(BLOCKS, 5 * 100_003, region="train", prevalence=PREVALENCE, cloud_fraction=CLOUD)
    events = table.changed & table.labelled
    seen = np.array([source.hidden_fraction(row) for row in range(len(plan))]) <= training_pairs.MOST_HIDDEN
    luck = stream(5, "train/quiet/train/0").random(len(plan))
    rows = np.flatnonzero(training_pairs._kept(events, plan.area, seen, luck))
    assert len(rows) == len(pairs)
    with_events = np.flatnonzero(events[rows].any(axis=1))
    assert len(with_events) > 20
    for kept in with_events:
        row, positive = int(rows[kept]), events[rows[kept]]
        np.testing.assert_array_equal(pairs.positive[kept], positive)
        for k in np.flatnonzero(positive):
            fields = source.true_fields(row, SCHEMA_IDS[k])
            assert fields is not None
            assert pairs.share[kept, k] == pytest.approx(fields["fraction_of_tile"], abs=6e-5)
            assert change.CELLS[pairs.where[kept, k]] == fields["where"]
            assert training_pairs.SEVERITIES[pairs.severity[kept, k]] == fields["severity"]
            assert pairs.increase[kept, k] == (fields["direction"] == "increase")
            np.testing.assert_allclose(pairs.box[kept, k], fields["box"], atol=1e-4)
        after = source.pair(row).after.image
        assert after is not None
        reflectance = after.reflectance()
        assert reflectance is not None
        stored = 0.8 * (pairs.look(np.array([kept]))[0, 1].astype(float) / 255.0) ** 2
        # Half a step of the square root, which is widest at full scale.
        np.testing.assert_allclose(stored, np.clip(np.nan_to_num(reflectance), 0, 0.8), atol=0.8 / 255.0)


def test_a_file_of_pictures_gives_each_pair_its_own_and_says_when_it_is_cut(tmp_path: Path) -> None:
    stored = stream(1, "test/pictures").integers(0, 256, (5, 2, 6, 8, 8), dtype=np.uint8)
    path = tmp_path / "pictures.npy"
    np.save(path, stored)
    pictures, room = PictureFile(path), np.empty(stored.shape[1:], dtype=np.uint8)
    for row in (4, 0, 2):
        pictures.read(row, room)
        np.testing.assert_array_equal(room, stored[row])
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    pictures.read(3, room)
    with pytest.raises(OSError, match="pair 4"):
        pictures.read(4, room)


def test_a_block_gives_a_few_tiles_of_each_event_and_some_quiet_ones() -> None:
    rng = np.random.default_rng(0)
    area = np.repeat(np.arange(12), 64)
    positive = rng.random((len(area), 7)) < rng.choice([0.0, 0.02, 0.5], (12, 7))[area]
    seen, luck = rng.random(len(area)) < 0.8, rng.random(len(area))
    kept = training_pairs._kept(positive, area, seen, luck)
    assert not kept[~seen].any()
    quiet = seen & ~positive.any(axis=1)
    np.testing.assert_array_equal(kept[quiet], luck[quiet] < training_pairs.QUIET_SHARE)
    there = np.array([np.bincount(area[(seen & events)], minlength=12) for events in positive.T])
    got = np.array([np.bincount(area[(kept & events)], minlength=12) for events in positive.T])
    most = training_pairs.MOST_TILES
    assert (there > most).any()
    assert ((there > 0) & (there < most)).any()
    # Nothing that a block shows is missing; a tile may show several events, so of one there can be more.
    assert (got >= np.minimum(there, most)).all()
    assert kept[seen & positive.any(axis=1)].sum() <= np.minimum(there, most).sum()


def test_masks_and_shares_of_stored_pairs_agree(pairs: Pairs) -> None:
    shares = pairs.changed.astype(float).mean(axis=(2, 3)) / 255.0
    np.testing.assert_allclose(shares, pairs.share, atol=0.5 / 255.0)
    assert pairs.changed.shape[2:] == (GRID, GRID)


def test_a_shard_is_made_once_and_the_same_again(folder: Path, tmp_path: Path) -> None:
    stamp = (folder / "train-5-000" / "pictures.npy").stat().st_mtime_ns
    count = make_shard(folder, "train", 5, 0, BLOCKS)
    assert (folder / "train-5-000" / "pictures.npy").stat().st_mtime_ns == stamp
    assert make_shard(tmp_path, "train", 5, 0, BLOCKS) == count
    for name in ("pictures", "changed", "box"):
        first, second = (np.load(place / "train-5-000" / f"{name}.npy") for place in (folder, tmp_path))
        np.testing.assert_array_equal(first, second)


def test_a_shard_that_was_cut_short_is_made_anew(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "train-5-000").mkdir()
    (tmp_path / "train-5-000" / "pictures.npy").write_bytes(b"half")
    make_shard(tmp_path, "train", 5, 0, 1)
    assert len(np.load(tmp_path / "train-5-000" / "pictures.npy")) > 0


def test_a_shard_of_another_recipe_is_made_anew(tmp_path: Path) -> None:
    make_shard(tmp_path, "train", 5, 0, 1)
    mark = tmp_path / "train-5-000" / "done.json"
    told = json.loads(mark.read_text())
    mark.write_text(json.dumps({**told, "pairs": 10**6}))
    assert make_shard(tmp_path, "train", 5, 0, 1) == 10**6
    mark.write_text(json.dumps({**told, "pairs": 10**6, "recipe": "older"}))
    assert make_shard(tmp_path, "train", 5, 0, 1) == told["pairs"]


# -------------------------------------------------------------------- augmentation


@pytest.mark.parametrize("turn", range(8))
def test_boxes_and_places_turn_with_the_picture(turn: int) -> None:
    rng = np.random.default_rng(turn)
    for _ in range(20):
        mask = np.zeros((48, 48), dtype=bool)
        top, left = rng.integers(0, 40, 2)
        mask[top : top + rng.integers(1, 9), left : left + rng.integers(1, 9)] = True
        moved = turned(mask, turn)
        assert turned_box(np.array(truth.box(mask)), turn) == pytest.approx(truth.box(moved), abs=2e-4)


def test_eight_turns_are_all_different() -> None:
    picture = np.arange(9).reshape(3, 3)
    assert len({turned(picture, turn).tobytes() for turn in range(8)}) == 8


# -------------------------------------------------------------------- questions and answers


@pytest.fixture(scope="module")
def made(pairs: Pairs) -> Any:
    pytest.importorskip("torch", reason="training needs the extra [train]")
    from payload.train.batches import Batches
    from payload.train.tokens import build_tokenizer

    profile = load_profile("flightsim")
    tokenizer = build_tokenizer(tuple(item.name for item in profile.pictures.composites))
    settings = TrainSettings(batch=8, processes=1, bf16=False)
    return Batches(pairs, settings, profile, tokenizer), settings, tokenizer


def test_an_event_is_eight_tokens_and_no_event_is_one(made: Any) -> None:
    _, _, tokenizer = made
    body = change.rounded(
        {
            "direction": "decrease", "severity": "moderate", "fraction_of_tile": 0.11, "where": "south_east",
            "box": [0.43, 0.5, 1.0, 0.93],
        }
    )  # fmt: skip
    text = change.answer_text(body)
    assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) == 8
    assert len(tokenizer("null", add_special_tokens=False)["input_ids"]) == 1
    for schema in SCHEMA_IDS:
        answer = change.parse(text, schema)
        assert (answer.status, answer.body) == (VerdictStatus.EVENT, body)


def test_any_text_survives_the_tokenizer(made: Any) -> None:
    _, _, tokenizer = made
    for text in ("naïve çedilla 漢字 🛰", '{"direction":"increase"}', "  two  spaces\n\ttab"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_the_prompt_is_that_of_the_chat_template(made: Any) -> None:
    from payload.train.tokens import prompt_text

    _, _, tokenizer = made
    parts = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "swir nir red: FloodExtentChange?"}]
    told = tokenizer.apply_chat_template(
        [{"role": "user", "content": parts}], add_generation_prompt=True, tokenize=False
    )
    expanded = told.replace("<image>", f"<|image_start|>{'<image>' * 16}<|image_end|>")
    assert expanded == prompt_text(16, "swir nir red: FloodExtentChange?")


def test_questions_are_balanced_and_their_answers_true(made: Any, pairs: Pairs) -> None:
    batches, _, tokenizer = made
    rows, schema = batches.questions(np.random.default_rng(1), 2000)
    assert pairs.labelled[rows, schema].all()
    assert pairs.positive[rows, schema].mean() == pytest.approx(0.5, abs=0.05)
    batch = batches.batch(rows[:40], schema[:40], np.zeros(40, dtype=np.int64), "json")
    for k in range(40):
        text = tokenizer.decode(batch.targets[k][batch.targets[k] >= 0], skip_special_tokens=True)
        answer = change.parse(text, SCHEMA_IDS[schema[k]])
        assert (answer.status is VerdictStatus.EVENT) == bool(pairs.positive[rows[k], schema[k]])
        if answer.body is not None:
            assert answer.body["where"] == change.CELLS[pairs.where[rows[k], schema[k]]]
            ratio = answer.body["fraction_of_tile"] / pairs.share[rows[k], schema[k]]
            assert 0.7 < ratio < 1.5
            left, top, right, bottom = pairs.box[rows[k], schema[k]]
            # Outwards to sixteenths, told with two decimals.
            given = answer.body["box"]
            assert given[0] <= left + 0.01
            assert given[1] <= top + 0.01
            assert given[2] >= right - 0.01
            assert given[3] >= bottom - 0.01


def test_negatives_come_from_blocks_where_the_event_happens(made: Any, pairs: Pairs) -> None:
    from payload.train.batches import Batches

    _, settings, tokenizer = made
    near = settings.model_copy(update={"near_share": 1.0, "positive_share": 0.0})
    rows, schema = Batches(pairs, near, load_profile("flightsim"), tokenizer).questions(np.random.default_rng(2), 500)
    assert not pairs.positive[rows, schema].any()
    happens = {
        (block, k)
        for block, k in zip(pairs.block[np.nonzero(pairs.positive)[0]], np.nonzero(pairs.positive)[1], strict=True)
    }
    assert {(pairs.block[row], k) for row, k in zip(rows, schema, strict=True)} <= happens


@pytest.mark.parametrize("evenness", [0.0, 0.5, 1.0])
def test_blocks_are_asked_about_as_evenly_as_the_settings_say(made: Any, pairs: Pairs, evenness: float) -> None:
    from payload.train.batches import Batches

    _, settings, tokenizer = made
    one = {schema: float(schema == "flood_extent") for schema in SCHEMA_IDS}
    asked = settings.model_copy(update={"evenness": evenness, "positive_share": 1.0, "schema_weights": one})
    rows, schema = Batches(pairs, asked, load_profile("flightsim"), tokenizer).questions(np.random.default_rng(3), 8000)
    column = SCHEMA_IDS.index("flood_extent")
    assert (schema == column).all()
    there = np.flatnonzero(pairs.positive[:, column])
    blocks, many = np.unique(pairs.block[there], return_counts=True)
    assert many.max() > many.min()  # else every evenness is the same
    wanted = many ** (1.0 - evenness)
    shown, drawn = np.unique(pairs.block[rows], return_counts=True)
    assert shown.tolist() == blocks.tolist()
    assert drawn / 8000 == pytest.approx(wanted / wanted.sum(), abs=0.025)
    # Within a block no pair comes before another.
    largest = there[pairs.block[there] == blocks[many.argmax()]]
    each = np.array([np.count_nonzero(rows == row) for row in largest]) / np.isin(rows, largest).sum()
    assert each == pytest.approx(1 / len(largest), abs=0.06)


def _patch_spread(patches: Any) -> Any:
    """Standard deviation of the patches' means in each picture of each pair, shape (n, 2)."""
    return patches.reshape(len(patches) // 2, 2, patches.shape[1], -1, 3).mean(axis=3).std(axis=2).mean(axis=-1)


@pytest.mark.parametrize("kind", ["words", "json"])
def test_a_blank_picture_is_no_event(made: Any, pairs: Pairs, kind: Any) -> None:
    from payload.train.batches import Batches

    _, settings, tokenizer = made
    all_blank = settings.model_copy(update={"blank_share": 1.0, "positive_share": 1.0})
    batch = Batches(pairs, all_blank, load_profile("flightsim"), tokenizer).draw(np.random.default_rng(4), 64, kind)
    null = {"words": "No.", "json": "null"}[kind]
    told = {tokenizer.decode(row[row >= 0], skip_special_tokens=True) for row in batch.targets}
    assert told == {null}
    assert not batch.cells.any()
    # The patches of a blank are alike but for the mean of their grain; those of land are not.
    flat = _patch_spread(batch.patches) < 0.02
    assert flat.any(axis=1).all()
    one = flat.sum(axis=1) == 1
    assert one.mean() > 0.8
    assert 0.2 < flat[one].argmax(axis=1).mean() < 0.8
    land = settings.model_copy(update={"blank_share": 0.0, "positive_share": 1.0})
    shown = Batches(pairs, land, load_profile("flightsim"), tokenizer).draw(np.random.default_rng(4), 64, kind)
    assert (_patch_spread(shown.patches) < 0.02).mean() < 0.2
    some = Batches(pairs, settings.model_copy(update={"blank_share": 0.25, "positive_share": 1.0}),
                   load_profile("flightsim"), tokenizer)  # fmt: skip
    drawn = some.draw(np.random.default_rng(5), 800, kind)
    quiet = [tokenizer.decode(row[row >= 0], skip_special_tokens=True) == null for row in drawn.targets]
    assert np.mean(quiet) == pytest.approx(0.25, abs=0.05)


def test_composites_are_drawn_as_often_as_the_settings_say(made: Any) -> None:
    batches, settings, _ = made
    drawn = np.bincount(batches.composites(np.random.default_rng(0), 4000), minlength=4) / 4000
    assert drawn == pytest.approx(list(settings.composite_shares.values()), abs=0.03)


def test_a_grey_picture_is_the_mean_of_the_visible_bands() -> None:
    from payload.train.batches import shown_as

    codes = np.random.default_rng(0).integers(0, 255, (2, 2, 6, 8, 8), dtype=np.uint8)
    grey = load_profile("flightsim").pictures.composites[3]
    shown = shown_as(codes, grey, 0.0, None)
    # The mean is kept as a code of its own, as every band is: the square root of reflectance in 255 steps.
    mean = np.sqrt((codes[:, :, :3].astype(float) ** 2).mean(axis=2))
    light = 0.8 * (np.floor(mean + 0.5) / 255.0) ** 2
    np.testing.assert_allclose(shown[:, :, 0], 255 * np.clip(light / grey.top, 0, 1) ** grey.power, atol=1e-3)
    np.testing.assert_array_equal(shown[:, :, 0], shown[:, :, 2])


@pytest.mark.parametrize("display_share", [0.0, 1.0])
@pytest.mark.parametrize("number", [0, 2])
def test_uneven_light_is_one_for_a_whole_band_of_a_picture(number: int, display_share: float) -> None:
    """Within a band brighter ground is never shown darker, and equal ground is shown equal; bands and dates differ."""
    from payload.train.batches import shown_as

    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    codes = np.broadcast_to(np.concatenate([ramp, ramp], axis=1), (3, 2, 6, 16, 32))
    item = load_profile("flightsim").pictures.composites[number]
    shown = shown_as(codes, item, display_share, np.random.default_rng(1))
    np.testing.assert_array_equal(shown[..., :16], shown[..., 16:])
    values = shown[..., :16].reshape(3, 2, 3, 256)
    assert (np.diff(values, axis=-1) >= 0).all()
    assert values.min() >= 0
    assert values.max() <= 255
    middle = values[..., 100].reshape(-1)
    assert len(np.unique(middle)) == len(middle)
    still = shown_as(codes, item, display_share, None)[..., :16].reshape(3, 2, 3, 256)
    wanted = 255 * np.clip(0.8 * (np.arange(256) / 255.0) ** 2 / item.top, 0, 1) ** item.power
    np.testing.assert_allclose(still, np.broadcast_to(wanted, still.shape), atol=1e-3)


def test_training_shows_the_very_pictures_that_the_payload_shows(made: Any, pairs: Pairs) -> None:
    """Unaugmented, the first composite of a stored pair is what ``payload.vlm.pictures`` makes of the tile."""
    from payload.train.model import ModelSize, patches
    from payload.vlm.pictures import picture

    batches, _, _ = made
    source, plan, _ = sample_world(BLOCKS, 5 * 100_003, region="train", prevalence=PREVALENCE, cloud_fraction=CLOUD)
    settings = load_profile("flightsim").pictures
    for row in range(len(plan)):
        pair = source.pair(row)
        assert pair.before is not None
        assert pair.before.image is not None
        first = training_pairs._coded(pair.before.image)
        match = next((k for k in range(len(pairs)) if np.array_equal(pairs.look(np.array([k]))[0, 0], first)), None)
        if match is None:
            continue
        batch = batches.batch(np.array([match]), np.array([0]), np.array([0]), "json")
        shown = picture(pair.before.image, settings.composites[0], settings)
        np.testing.assert_allclose(batch.patches[0], patches(shown[None], ModelSize().patch_px)[0], atol=1.01 / 127.5)
        return
    pytest.fail("no stored pair was found again")


# -------------------------------------------------------------------- model, losses, loop


@pytest.fixture(scope="module")
def tiny(made: Any) -> Any:
    import torch

    from payload.train.losses import dense_head
    from payload.train.model import build_model

    _, settings, tokenizer = made
    torch.manual_seed(0)
    return build_model(settings.size, len(tokenizer)), dense_head(settings.size.text_width)


def test_the_batched_forward_pass_is_that_of_the_stock_model(made: Any, tiny: Any) -> None:
    import torch

    from payload.train.model import hidden_states

    batches, settings, _ = made
    model, _ = tiny
    batch = batches.draw(np.random.default_rng(0), 3, "json")
    ids, values = torch.from_numpy(batch.ids), torch.from_numpy(batch.patches)
    side = settings.size.patches
    with torch.no_grad():
        ours = model.lm_head(hidden_states(model, ids, values))
        stock = model(
            input_ids=ids, pixel_values=values, spatial_shapes=torch.full((6, 2), side),
            pixel_attention_mask=torch.ones(6, side * side, dtype=torch.int32),
        ).logits  # fmt: skip
    assert float((ours - stock).abs().max()) < 1e-4


def test_only_the_answer_is_learned(made: Any, tiny: Any) -> None:
    import torch

    from payload.train.losses import answer_losses

    batches, settings, _ = made
    model, head = tiny
    batch = batches.draw(np.random.default_rng(2), 6, "json")
    told, _ = answer_losses(model, head, batch, settings.size.image_tokens, 1.0, 5)
    from payload.train.model import hidden_states, logits

    with torch.no_grad():
        scores = logits(model, hidden_states(model, torch.from_numpy(batch.ids), torch.from_numpy(batch.patches)))
        chance = torch.log_softmax(scores.float(), dim=-1)
    by_hand = [
        -float(chance[i, j - 1, batch.targets[i, j]])
        for i in range(6)
        for j in range(batch.targets.shape[1])
        if batch.targets[i, j] >= 0
    ]
    assert told.item() == pytest.approx(float(np.mean(by_hand)), rel=1e-4)


def _trained(made: Any, folder: Path, steps: int, stop_at: int | None = None) -> dict[str, Any]:
    import torch

    from payload.train import loop
    from payload.train.losses import dense_head
    from payload.train.model import build_model

    batches, settings, tokenizer = made
    settings = settings.model_copy(
        update={"base": StageSettings(samples=steps * settings.batch, copy_weight=0.3, learning_rate=1e-3)}
    )
    torch.manual_seed(3)
    model = build_model(settings.size, len(tokenizer))
    head = dense_head(settings.size.text_width)
    losses: list[float] = []

    class Stopped(Exception):
        pass

    def told(progress: loop.Progress) -> None:
        losses.append(progress.answer_loss)
        if stop_at is not None and progress.step == stop_at + 1:
            raise Stopped

    with contextlib.suppress(Stopped):
        loop.train_stage(
            "base", model, head, batches, tokenizer, settings, folder / "state.safetensors", loop.Crew(), told
        )
    return {"weights": model.state_dict(), "losses": losses}


def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from payload.train import loop

    monkeypatch.setattr(loop, "_CHECKPOINT_STEPS", 2)
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = _trained(made, tmp_path / "whole", 5)
    _trained(made, tmp_path / "cut", 5, stop_at=2)
    rest = _trained(made, tmp_path / "cut", 5)
    assert len(rest["losses"]) == 3, "it went on after step 2"
    for name, value in whole["weights"].items():
        assert torch.equal(value, rest["weights"][name]), name


def test_training_lowers_the_loss(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from payload.train import loop

    monkeypatch.setattr(loop, "_WARM_UP_STEPS", 4)
    losses = _trained(made, tmp_path, 40)["losses"]
    assert losses[-1] < 0.8 * losses[0]


# -------------------------------------------------------------------- the command


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from flightsim.errors import InputError
    from payload.train.command import train

    def said(*words: str) -> str:
        found = CliRunner().invoke(train, ["--out", str(tmp_path / "model"), *words])
        assert isinstance(found.exception, InputError), found.output
        return str(found.exception)

    (tmp_path / "bad.json").write_text('{"shard": 3}')
    (tmp_path / "no.json").write_text("{")
    assert "shard: Extra inputs are not permitted" in said("--settings", str(tmp_path / "bad.json"))
    assert "is no JSON" in said("--settings", str(tmp_path / "no.json"))
    assert "is not there" in said("--settings", str(tmp_path / "none.json"))
    assert "samples" in said("--samples", "0", "5")


def test_the_settings_shown_are_those_of_the_shipped_model(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from payload.train.command import train

    found = CliRunner().invoke(train, ["--out", str(tmp_path), "--show"])
    assert found.exit_code == 0
    assert TrainSettings.model_validate(json.loads(found.output)) == TrainSettings()


def test_a_work_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs the extra [train]")
    from flightsim.errors import InputError
    from payload.train.make import make_model

    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(InputError, match="was begun with other settings"):
        make_model(TrainSettings(), tmp_path / "out", tmp_path, lambda _: None)
