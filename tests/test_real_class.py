"""A random model of LFM2.5-VL-450M's class and structure: loads, sees two pictures, answers, is adapted; offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from flightsim.domain import SCHEMA_IDS
from payload.tasks import change

from . import real_class

for _name in ("torch", "transformers", "peft", "llguidance"):
    pytest.importorskip(_name, reason="SKIPPED LOUDLY: the real class needs the extra [vlm]")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """What came out, from a process of its own: offline, without torchvision, every warning an error."""
    folder = tmp_path_factory.mktemp("real")
    settings = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.real_class", str(folder)],
        capture_output=True, text=True, env=settings, cwd=Path(__file__).resolve().parents[1], check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout) | {"stderr": ran.stderr, "folder": folder}


def test_the_structure_is_that_of_the_450m(done):
    told = json.loads((done["folder"] / "LFM2.5-VL-450M" / "config.json").read_text())
    text, vision = told["text_config"], told["vision_config"]
    assert (told["architectures"], told["model_type"]) == (["Lfm2VlForConditionalGeneration"], "lfm2_vl")
    assert (told["image_token_id"], told["downsample_factor"], text["vocab_size"]) == (396, 2, 65_536)
    assert text["layer_types"].count("conv") == 10
    assert [number for number, kind in enumerate(text["layer_types"]) if kind != "conv"] == [2, 5, 8, 10, 12, 14]
    assert (vision["patch_size"], vision["num_hidden_layers"], vision["num_patches"]) == (16, 12, 256)
    names = real_class.specials()
    assert [names.index(name) for name in ("<|im_end|>", "<image>", "<|img_thumbnail|>", "<|image_end|>")] == [
        7, 396, 497, 499,
    ]  # fmt: skip
    assert (done["torchvision"], done["name"]) == (False, "transformers float32 cpu")


def test_nothing_is_said_on_the_way(done):
    assert done["stderr"] == ""


@pytest.mark.parametrize("which", ["bare", "together", "adapted", "reloaded"])
def test_answers_under_a_grammar_have_the_form(done, which):
    for reply in done[which]:
        assert reply["finish"] == "stop"
        jsonschema.validate(json.loads(reply["text"]), change.answer_schema(SCHEMA_IDS[0]))
    assert any(reply["text"] != "null" for reply in done[which])


def test_prompts_hold_the_tokens_of_both_pictures(done):
    """A picture of 128 px is 6 x 6 tokens, one of 600 px 16 x 16, one of 768 x 704 four tiles of 256 and 16 x 15."""
    pictures = [2 * 36, 2 * 256, 2 * (4 * 256 + 16 * 15)]
    marks = [2 * 2, 2 * 2, 2 * (2 + 5)]
    words = [
        reply["prompt"] - picture - mark for reply, picture, mark in zip(done["bare"], pictures, marks, strict=True)
    ]
    assert all(100 < count < 500 for count in words), words


def test_questions_together_are_answered_as_alone(done):
    assert [reply["text"] for reply in done["together"]] == [reply["text"] for reply in done["bare"][:2]]


def test_an_adapter_changes_answers_and_survives_the_disk(done):
    texts = {name: [reply["text"] for reply in done[name]] for name in ("bare", "adapted", "reloaded")}
    assert texts["adapted"] != texts["bare"]
    assert texts["reloaded"] == texts["adapted"]
    assert done["reload_off"] == 0.0


def test_a_merged_adapter_gives_the_same_logits(done):
    assert done["logit_range"] > 1, "else any two logits are alike"
    assert done["merge_off"] < 1e-4
