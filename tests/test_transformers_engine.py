"""transformers as engine: equal to the stock forward pass, each question as if it were alone, no answer of nothing."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from flightsim.domain import SCHEMA_IDS, VerdictStatus
from flightsim.errors import InputError, MissingExtra
from payload.tasks import change
from payload.vlm import transformers_engine
from payload.vlm.engine import Finish, Question
from payload.vlm.profile import Sampling, load_profile
from payload.vlm.transformers_engine import Transformers
from payload.vlm.weights import OFF, open_weights

from .vlm_models import prompts, write_manifest

for _name in ("torch", "transformers", "peft", "safetensors"):
    pytest.importorskip(_name, reason="SKIPPED LOUDLY: the engine transformers needs the extra [vlm]")

PROFILE = load_profile("flightsim")
GRAMMAR = PROFILE.model_copy(update={"constraint": "json_schema", "max_tokens": 96})


def picture(seed, size=(128, 128)):
    """Blocks of colour with noise on them."""
    draws = np.random.default_rng(seed)
    coarse = draws.integers(0, 256, (size[0] // 16, size[1] // 16, 3)).repeat(16, 0).repeat(16, 1)
    return np.clip(coarse + draws.integers(-20, 20, (*size, 3)), 0, 255).astype(np.uint8)


def questions(count=12, seed=0):
    """Questions of different length, some about the same pair."""
    texts = [*prompts()[::3], "What?", "Say at length what has changed between the first picture and the second."]
    return [
        Question(
            picture(seed + place // 2), picture(100 + seed + place // 2), texts[place % len(texts)],
            change.answer_schema(SCHEMA_IDS[place % len(SCHEMA_IDS)]),
        )
        for place in range(count)
    ]  # fmt: skip


def engine(folder, profile=PROFILE, adapter=None, **settings):
    return Transformers(open_weights(folder, adapter, "transformers"), profile, "cpu", **settings)


@pytest.fixture(scope="module")
def opened(tiny_folder):
    found = engine(tiny_folder)
    found.open()
    yield found
    found.close()


@pytest.fixture(scope="module")
def replies(opened):
    return opened.ask_many(questions())


# -------------------------------------------------------------------- equal to the stock forward pass


def stock_inputs(decoder, question):
    import torch

    seen = decoder._processor([question.before, question.after])
    tiles = [tile for one in seen for tile in one.tiles]
    ids = torch.tensor([decoder.prompt_ids(question, *seen)])
    return {
        "input_ids": ids, "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.from_numpy(np.stack([tile.values for tile in tiles])),
        "spatial_shapes": torch.tensor([tile.shape for tile in tiles]),
        "pixel_attention_mask": torch.ones(len(tiles), tiles[0].size, dtype=torch.int32),
    }  # fmt: skip


def test_answers_are_those_of_generate(opened, replies):
    """The reference is transformers' own loop and forward pass, one question at a time, without padding."""
    import torch

    decoder = opened._decoder
    assert len({reply.prompt_tokens for reply in replies}) > 2, "else nothing was padded"
    for question, reply in zip(questions(), replies, strict=True):
        inputs = stock_inputs(decoder, question)
        told = decoder._core.generate(
            **inputs,
            max_new_tokens=decoder._profile.max_tokens,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        written = told.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        assert len(written) == reply.tokens
        assert inputs["input_ids"].shape[1] == reply.prompt_tokens
        ended = written[-1] == decoder._tokenizer.eos_token_id
        assert reply.finish is (Finish.STOP if ended else Finish.LENGTH)
        assert reply.text == decoder._tokenizer.decode(written[:-1] if ended else written)
        shares = torch.softmax(told.logits[0][0].double(), -1)
        texts = [decoder._tokenizer.decode([token]).strip() for token in range(len(decoder._tokenizer))]
        event = sum(float(share) for share, text in zip(shares, texts, strict=False) if text.startswith("{"))
        null = sum(
            float(share) for share, text in zip(shares, texts, strict=False) if text in ("n", "nu", "nul", "null")
        )
        assert reply.event_probability == pytest.approx(event / (event + null), abs=1e-5)


def test_the_prompt_is_the_one_that_was_trained(opened):
    from payload.train.tokens import prompt_text

    question = questions(1)[0]
    decoder = opened._decoder
    ids = decoder.prompt_ids(question, *decoder._processor([question.before, question.after]))
    text = prompt_text(16, question.prompt)
    assert ids == decoder._tokenizer(text, add_special_tokens=False)["input_ids"]
    assert decoder._tokenizer.decode(ids) == text


@pytest.mark.parametrize("sizes", [[(128, 128)] * 3, [(64, 256), (128, 128), (256, 64), (96, 128), (128, 128)]])
def test_features_are_those_of_the_stock_tower(opened, sizes):
    """The stock pass pads pictures of different shape and loops over them."""
    import torch

    decoder = opened._decoder
    seen = decoder._processor([picture(seed, size) for seed, size in enumerate(sizes)])
    tiles = [one.tiles[0] for one in seen]
    longest = max(tile.size for tile in tiles)
    values, mask = (
        np.zeros((len(tiles), longest, tiles[0].values.shape[1]), np.float32),
        np.zeros((len(tiles), longest)),
    )
    for row, tile in enumerate(tiles):
        values[row, : tile.size], mask[row, : tile.size] = tile.values, 1
    with torch.no_grad():
        stock = decoder._core.get_image_features(
            pixel_values=torch.from_numpy(values), spatial_shapes=torch.tensor([tile.shape for tile in tiles]),
            pixel_attention_mask=torch.from_numpy(mask).int(), return_dict=True,
        ).pooler_output  # fmt: skip
        own = decoder.features(seen)
    for mine, theirs in zip(own, stock, strict=True):
        assert mine.shape == theirs.shape
        assert float((mine - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


def test_a_picture_goes_through_the_tower_once(opened, monkeypatch):
    decoder = opened._decoder
    tower, count = decoder._tower, []
    monkeypatch.setattr(decoder, "_tower", lambda values, shape: count.append(len(values)) or tower(values, shape))
    pair = picture(1), picture(2)
    opened.ask_many([Question(*pair, text, {}) for text in prompts()[:6]])
    assert sum(count) == 2


# -------------------------------------------------------------------- each question as if it were alone


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_what_is_asked_beside_it_changes_no_answer(tiny_folder, replies, batch):
    asked = questions()
    order = np.random.default_rng(batch).permutation(len(asked))
    again = engine(tiny_folder, batch=batch).ask_many([asked[place] for place in order])
    for place, reply in zip(order, again, strict=True):
        was = replies[place]
        assert (reply.text, reply.finish, reply.tokens) == (was.text, was.finish, was.tokens)
        assert reply.event_probability == pytest.approx(was.event_probability, abs=1e-5)


SAMPLED = {"do_sample": True, "temperature": 1.0, "min_p": 0.02, "repetition_penalty": 1.05}


def test_drawn_answers_belong_to_the_question(tiny_folder):
    def ask(asked, batch, **sampling):
        profile = PROFILE.model_copy(update={"sampling": Sampling(**SAMPLED | sampling)})
        return [reply.text for reply in engine(tiny_folder, profile, batch=batch).ask_many(asked)]

    asked = questions()
    first = ask(asked, 16)
    assert ask(asked[::-1], 5) == first[::-1]
    assert len(set(first)) > len(first) // 2
    assert ask(asked, 16, seed=1) != first
    cold = ask(asked, 16, temperature=0.0, repetition_penalty=1.0)
    assert cold == [reply.text for reply in engine(tiny_folder).ask_many(asked)]


def test_draws_follow_the_probabilities():
    """4,000 draws of known shares; the tolerance is four standard deviations."""
    import torch

    from payload.vlm.choosing import Chooser

    shares = np.array([0.5, 0.3, 0.15, 0.05])
    chooser = Chooser(Sampling(do_sample=True, temperature=1.0))
    drawn = chooser.take(
        torch.from_numpy(np.log(shares)).repeat(4000, 1), [np.random.default_rng([9, row]) for row in range(4000)]
    )
    found = np.bincount(drawn, minlength=4) / 4000
    assert (np.abs(found - shares) < 4 * np.sqrt(shares * (1 - shares) / 4000)).all()
    # min_p 0.2 of the likeliest leaves what has at least 0.1; top_k and top_p leave the first two.
    for kept, setting in ((3, {"min_p": 0.2}), (2, {"top_k": 2}), (2, {"top_p": 0.75})):
        some = Chooser(Sampling(do_sample=True, temperature=1.0, **setting)).take(
            torch.from_numpy(np.log(shares)).repeat(500, 1), [np.random.default_rng([9, row]) for row in range(500)]
        )
        assert sorted(set(some)) == list(range(kept)), setting


def test_the_penalty_falls_on_what_stands_in_prompt_or_answer():
    import torch

    from payload.vlm.choosing import Chooser

    scores = torch.tensor([[2.0, -1.0, 4.0, 1.0], [2.0, -1.0, 4.0, 1.0]])
    told = Chooser(Sampling(repetition_penalty=2.0)).penalised(scores, [[2], [3, 1, 1]])
    # Positive scores are divided, negative ones multiplied; the shorter row is not filled up with another's token.
    assert told.tolist() == [[2.0, -1.0, 2.0, 1.0], [2.0, -2.0, 4.0, 0.5]]


def test_adapter_on_and_off_differ(tiny_folder, replies):
    without = engine(tiny_folder, adapter=OFF).ask_many(questions())
    off = [abs(a.event_probability - b.event_probability) for a, b in zip(without, replies, strict=True)]
    assert max(off) > 1e-3
    assert [reply.text for reply in without] != [reply.text for reply in replies]


def test_bfloat16_answers_much_the_same(tiny_folder, replies):
    low = engine(tiny_folder, dtype="bfloat16")
    assert low.name == "transformers bfloat16 cpu"
    off = [
        abs(a.event_probability - b.event_probability)
        for a, b in zip(low.ask_many(questions()), replies, strict=True)
    ]  # fmt: skip
    assert 0 < max(off) < 0.1


# -------------------------------------------------------------------- no answer of nothing


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (np.zeros((128, 128, 4), np.uint8), r"'before' has shape \(128, 128, 4\); .*red, green, blue"),
        (np.zeros((128, 128), np.uint8), r"'before' has shape \(128, 128\)"),
        (np.zeros((0, 128, 3), np.uint8), r"'before' has shape \(0, 128, 3\)"),
        (np.zeros((128, 128, 3), np.uint16), "'before' has samples of type uint16; a model is shown uint8"),
        (np.zeros((128, 128, 3), np.float32), "'before' has samples of type float32"),
        (None, "'before' has samples of type NoneType"),
    ],
    ids=["rgba", "one band", "empty", "16 bit", "float", "missing"],
)
def test_a_picture_that_is_none_is_refused_and_the_others_are_answered(opened, replies, wrong, told):
    asked = questions(3)
    mixed = opened.ask_many([asked[0], dataclasses.replace(asked[1], before=wrong), asked[2]])
    assert (mixed[0].text, mixed[2].text) == (replies[0].text, replies[2].text)
    assert mixed[1].finish is Finish.ERROR
    assert (mixed[1].text, mixed[1].event_probability) == ("", None)
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(mixed[1].fault)


def test_a_prompt_with_a_third_picture_is_refused(opened):
    reply = opened.ask_many([dataclasses.replace(questions(1)[0], prompt="and <image>?")])[0]
    assert (reply.finish, reply.fault) == (
        Finish.ERROR,
        "the question's text holds '<image>', which stands for a picture",
    )


PLACES = {
    "tower": "model.vision_tower.embeddings.patch_embedding.weight",
    "projector": "model.multi_modal_projector.linear_1.weight",
    "layer": "model.language_model.layers.1.feed_forward.w1.weight",
    "one token": "model.language_model.embed_tokens.weight",
}


@pytest.mark.parametrize("profile", [PROFILE, GRAMMAR], ids=["free", "grammar"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", PLACES)
def test_one_broken_weight_leaves_no_answer(tiny_folder, profile, value, place):
    """A grammar would make well-formed answers of such logits."""
    import torch

    broken = engine(tiny_folder, profile)
    broken.open()
    with torch.no_grad():
        # The last row of the embedding is a token that no prompt holds; its logit alone is broken.
        dict(broken._decoder._core.named_parameters())[PLACES[place]][-1, 3] = value
    for reply in broken.ask_many(questions(5)):
        assert (reply.text, reply.finish, reply.event_probability) == ("", Finish.NUMERIC, None)
        assert reply.fault == "the logits of token 1 are NaN or infinite"


def test_one_broken_row_leaves_the_others():
    import torch

    from payload.vlm.choosing import is_finite

    logits = torch.zeros(5, 7)
    logits[1, 2], logits[2, 0], logits[4, 6] = float("nan"), float("inf"), -float("inf")
    assert is_finite(logits) == [True, False, False, True, False]


def test_under_a_grammar_every_answer_has_the_form_and_without_few(tiny_folder):
    asked = questions(28, seed=50)
    drawn = {"sampling": Sampling(do_sample=True, temperature=2.0)}
    status = {}
    for name, profile in (("free", PROFILE), ("grammar", GRAMMAR)):
        told = engine(tiny_folder, profile.model_copy(update=drawn)).ask_many(asked)
        bodies = [_body(reply) for reply in told]
        status[name] = Counter(body is not None for body in bodies)
        if name == "grammar":
            events = [body for body in bodies if body]
            assert len(events) > 3, "else only null was tried"
            assert all(list(body) == list(change.STATED) for body in events)
    assert status["grammar"][True] == len(asked)
    assert status["free"][True] < len(asked) / 2


def _body(reply):
    """The answer as JSON; an empty object for null, None for what is none."""
    if reply.finish is not Finish.STOP:
        return None
    try:
        told = json.loads(reply.text)
    except ValueError:
        return None
    return {} if told is None else told


def test_an_answer_without_end_is_cut_and_told(tiny_folder):
    short = engine(tiny_folder, GRAMMAR.model_copy(update={"max_tokens": 1}))
    for reply in short.ask_many(questions(4)):
        assert (reply.finish, reply.tokens) == (Finish.LENGTH, 1)
        assert reply.text
        status = change.parse(reply.text, SCHEMA_IDS[0], complete=reply.finish is Finish.STOP).status
        assert status is VerdictStatus.INVALID


def test_special_tokens_within_an_answer_are_seen(opened):
    pieces = opened._decoder._tokenizer.convert_tokens_to_ids(["null", "<image>"])
    assert opened._decoder._text(pieces) == "null<image>"


def test_no_question_no_work(tiny_folder):
    assert engine(tiny_folder).ask_many([]) == []


# -------------------------------------------------------------------- opening


@pytest.fixture
def copied(tiny_folder, tmp_path):
    """A copy that may be damaged: without manifest, which would find any damage first."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / "manifest.json").unlink(missing_ok=True)
    return folder


def edited(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def without_tensor(path, part):
    from safetensors.numpy import load_file, save_file

    kept = {name: value for name, value in load_file(path).items() if part not in name}
    save_file(kept, path, metadata={"format": "pt"})


DAMAGES = {
    "class": (lambda f: edited(f / "base" / "config.json", model_type="qwen2_vl"), "model_type is 'qwen2_vl'; this"),
    "adapter": (
        lambda f: without_tensor(f / "adapter" / "adapter_model.safetensors", "layers.2"),
        "does not fit base .*of its layers have no weights",
    ),
    "template": (lambda f: (f / "base" / "chat_template.jinja").unlink(), "no chat template"),
    "one picture": (
        lambda f: (f / "base" / "chat_template.jinja").write_text("{{ bos_token }}<image>{{ messages[0].role }}"),
        "chat template shows 1 of two pictures",
    ),
    "image token": (lambda f: edited(f / "base" / "config.json", image_token_id=9), "not the model's image token 9"),
    "settings": (lambda f: (f / "base" / "processor_config.json").unlink(), "has no picture settings"),
    "tokenizer": (lambda f: (f / "base" / "tokenizer.json").write_text("{}"), "the model cannot be loaded: "),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_does_not_fit_is_named(copied, damage):
    spoil, told = DAMAGES[damage]
    spoil(copied)
    with pytest.raises(InputError, match=told):
        engine(copied).ask_many(questions(1))


def test_weights_that_are_not_there_are_not_drawn_at_random(copied):
    import torch
    from safetensors.torch import load_file, save_file

    path = copied / "base" / "model.safetensors"
    kept = {name: value for name, value in load_file(path).items() if "layers.3.feed_forward.w1" not in name}
    assert all(value.dtype == torch.bfloat16 for value in kept.values())
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"weights do not fit config.json \(missing_keys\): .*layers.3.feed_forward.w1"
    ):
        engine(copied, adapter=OFF).open()


def test_settings_are_checked(tiny_folder):
    weights = open_weights(tiny_folder, None, "transformers")
    with pytest.raises(InputError, match="device is 'tpu'; allowed are auto, cuda, mps, cpu"):
        Transformers(weights, PROFILE, "tpu")
    with pytest.raises(InputError, match="dtype is 'int8'; allowed are auto, float32, bfloat16, float16"):
        Transformers(weights, PROFILE, dtype="int8")
    with pytest.raises(InputError, match="batch is 0; it must be 1 or more"):
        Transformers(weights, PROFILE, batch=0)


def test_a_device_that_is_not_there_is_named(tiny_folder):
    import torch

    if torch.cuda.is_available():
        pytest.skip("SKIPPED LOUDLY: there is a GPU, so its absence cannot be tested")
    with pytest.raises(InputError, match=r"device is 'cuda', which torch .* does not find here; there is .*cpu"):
        Transformers(open_weights(tiny_folder, None, "transformers"), PROFILE, "cuda").open()


def test_a_missing_extra_names_the_install_line(tiny_folder, monkeypatch):
    monkeypatch.setattr(transformers_engine, "PACKAGES", ("torch", "no_such_package"))
    with pytest.raises(MissingExtra, match=r"needs no_such_package\. Install it with: pip install 'flightsim\[vlm\]'"):
        Transformers(open_weights(tiny_folder, None, "transformers"), PROFILE)


def test_the_fingerprint_tells_what_an_answer_depends_on(tiny_folder):
    told = {
        engine(tiny_folder).fingerprint,
        engine(tiny_folder, dtype="bfloat16").fingerprint,
        engine(tiny_folder, adapter=OFF).fingerprint,
        engine(tiny_folder, GRAMMAR).fingerprint,
    }
    assert len(told) == 4
    assert engine(tiny_folder, batch=3).fingerprint in told
    assert engine(tiny_folder).weights != engine(tiny_folder, adapter=OFF).weights


def test_naming_an_engine_loads_no_torch(tiny_folder):
    """A flight whose answers are all stored needs the fingerprint alone; torch takes seconds to import."""
    code = (
        "import sys; from pathlib import Path\n"
        "from payload.vlm import choosing, constrained, decoding, processor\n"
        "from payload.vlm.transformers_engine import Transformers\n"
        "from payload.vlm.profile import load_profile; from payload.vlm.weights import open_weights\n"
        f"weights = open_weights(Path({str(tiny_folder)!r}), None, 'transformers')\n"
        "engine = Transformers(weights, load_profile('flightsim'), 'cpu')\n"
        "assert engine.fingerprint and engine.name\n"
        "print([name for name in ('torch', 'transformers', 'peft', 'llguidance') if name in sys.modules])\n"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


def test_closing_lets_go_and_asking_opens_again(copied, replies):
    write_manifest(copied)
    again = engine(copied)
    first = again.ask_many(questions(2))
    again.close()
    assert again._decoder is None
    assert [reply.text for reply in again.ask_many(questions(2))] == [reply.text for reply in first]
    assert [reply.text for reply in first] == [reply.text for reply in replies[:2]]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_gpu_answers_as_the_cpu_does(tiny_folder, replies, dtype):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("SKIPPED LOUDLY: no GPU; its answers were not compared with the CPU's")
    found = Transformers(open_weights(tiny_folder, None, "transformers"), PROFILE, "cuda", dtype)
    told = found.ask_many(questions())
    off = max(abs(a.event_probability - b.event_probability) for a, b in zip(told, replies, strict=True))
    assert off < (1e-3 if dtype == "float32" else 0.1)
