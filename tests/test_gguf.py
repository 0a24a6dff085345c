"""GGUF files from our safetensors: same bytes, same numbers, same tokens as transformers'."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="SKIPPED LOUDLY: the extra [vlm] is absent; no GGUF file was written and compared")
pytest.importorskip("gguf", reason="SKIPPED LOUDLY: the package gguf is absent; no GGUF file was written and compared")

from flightsim.errors import InputError
from payload.train import gguf as ours
from payload.train.tokens import pieces, prompt_text
from payload.vlm.llamacpp import LlamaCpp
from payload.vlm.profile import load_profile
from payload.vlm.tensors import tensors_in, tensors_of
from payload.vlm.weights import open_weights

from .vlm_models import models_root, prompts, random_folder

#: Text with pieces of verdicts and special tokens in it, for these are split off before all else.
TEXT = st.lists(st.one_of(st.text(max_size=12), st.sampled_from([*pieces(), "<|im_end|>", "<|im_start|>"])), max_size=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return random_folder(models_root(tmp_path_factory.getbasetemp()))


@pytest.fixture(scope="module")
def engine(folder):
    engine = LlamaCpp(open_weights(folder, None, "llamacpp"), load_profile("flightsim"))
    engine.open()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder / "base")


def llama_tokens(engine, text: str) -> list[int]:
    return engine._post("/tokenize", {"content": text, "parse_special": True})["tokens"]


def test_every_prompt_has_the_same_tokens_as_with_transformers(engine, tokenizer):
    for prompt in prompts():
        # Pictures stand outside: llama.cpp puts their tokens in itself.
        before, _, after = prompt_text(0, prompt).partition("<|image_start|><|image_end|>" * 2)
        for part in (before, after, prompt):
            assert llama_tokens(engine, part) == tokenizer(part, add_special_tokens=False)["input_ids"]


@settings(max_examples=150)
@given(st.text(max_size=40))
def test_any_text_has_the_same_tokens_as_with_transformers(engine, tokenizer, text):
    assert llama_tokens(engine, text) == tokenizer(text, add_special_tokens=False)["input_ids"]


@settings(max_examples=100)
@given(TEXT)
def test_text_with_pieces_of_verdicts_comes_back_as_it_was(engine, text):
    whole = "".join(text).replace("\x00", "")
    ids = llama_tokens(engine, whole)
    assert engine._post("/detokenize", {"tokens": ids})["content"] == whole


def test_each_piece_of_a_verdict_is_one_token(engine, tokenizer):
    for piece in pieces():
        assert llama_tokens(engine, piece) == [tokenizer.convert_tokens_to_ids(piece)]


def test_the_chat_template_gives_the_prompt_of_training(engine):
    mark = "@"
    asked = {"messages": [{"role": "user", "content": mark}]}
    given = engine._post("/apply-template", asked)["prompt"]
    assert given == prompt_text(0, mark).replace("<|image_start|><|image_end|>", "")


@pytest.mark.parametrize("kind", list(ours.Kind))
def test_the_same_folder_gives_the_same_bytes(folder, tmp_path, kind):
    for write, source in ((ours.write_model, "base"), (ours.write_projector, "base"), (ours.write_adapter, "adapter")):
        write(folder / source, tmp_path / "first.gguf", kind)
        write(folder / source, tmp_path / "second.gguf", kind)
        assert (tmp_path / "first.gguf").read_bytes() == (tmp_path / "second.gguf").read_bytes()
        assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("kind", "relative"), [(ours.Kind.F32, 0.0), (ours.Kind.F16, 2**-11), (ours.Kind.Q8_0, 1 / 127)]
)
def test_every_tensor_is_there_with_its_values(folder, tmp_path, kind, relative):
    """Tolerance: half a step of a float16's 11 bits; half a step of 1/127 of a block's largest, and its scale's."""
    import gguf

    ours.write_model(folder / "base", tmp_path / "model.gguf", kind)
    ours.write_projector(folder / "base", tmp_path / "projector.gguf", kind)
    read = [t for name in ("model", "projector") for t in gguf.GGUFReader(tmp_path / f"{name}.gguf").tensors]
    written = [place.read() for place in tensors_in(folder / "base").values()]
    assert len(read) == len(written)
    # By their sums: names and layouts differ, values must not.
    total = sorted(float(np.abs(t).sum()) for t in written)
    stored = sorted(float(np.abs(gguf.quants.dequantize(t.data, t.tensor_type)).sum()) for t in read)
    np.testing.assert_allclose(stored, total, rtol=max(relative, 1e-6))
    largest = max(float(np.abs(t).max()) for t in written)
    table = next(t for t in read if t.name == "token_embd.weight")
    values = gguf.quants.dequantize(table.data, table.tensor_type)
    source = tensors_in(folder / "base")["model.language_model.embed_tokens.weight"].read()
    np.testing.assert_allclose(values, source, atol=relative * largest)


def test_llama_cpp_computes_float32_as_transformers_with_patches_of_8(tmp_path_factory):
    check_first_tokens(random_folder(models_root(tmp_path_factory.getbasetemp()), 8, 64), 64)


def test_llama_cpp_computes_float32_as_transformers(folder):
    check_first_tokens(folder, 128)


def check_first_tokens(folder, side: int, count: int = 12) -> None:
    """Likeliest first tokens against stock transformers + peft, on random weights.

    Tolerance 2e-3: llama.cpp reads GELU from a table of float16.
    """
    from payload.tasks import change
    from payload.vlm.engine import Question

    from .vlm_reference import Reference

    told = {}

    class Listening(LlamaCpp):
        def _call(self, body):
            told.update(super()._call(body))
            return told

    engine, reference = (
        Listening(open_weights(folder, None, "llamacpp", "f32"), load_profile("flightsim")),
        Reference(folder),
    )
    assert engine.name == "llamacpp f32"
    rng = np.random.default_rng(5)
    seen = set()
    for prompt in prompts()[:count]:
        before, after = (
            np.repeat(np.repeat(rng.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8), 16, 0), 16, 1)
            for _ in range(2)
        )
        engine.ask_many([Question(before, after, prompt, change.answer_schema("flood_extent"))])
        _, first = reference.ask(before, after, prompt, 1)
        entry = told["choices"][0]["logprobs"]["content"][0]
        listed = {token["id"]: np.exp(token["logprob"]) for token in entry["top_logprobs"]}
        assert next(iter(listed)) == int(first.argmax())
        np.testing.assert_allclose(list(listed.values()), first[list(listed)], atol=2e-3)
        seen.add(int(first.argmax()))
    engine.close()
    assert len(seen) > 1, "pictures and questions must count, or this compares nothing"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"use_dora": True}, "its use_dora is set, which llama.cpp lacks"),
        ({"rank_pattern": {"q_proj": 4}}, "its rank_pattern is set, which llama.cpp lacks"),
    ],
)
def test_an_adapter_that_llama_cpp_cannot_add_is_refused(folder, tmp_path, change, told):
    adapter = tmp_path / "adapter"
    shutil.copytree(folder / "adapter", adapter)
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=told):
        ours.write_adapter(adapter, tmp_path / "adapter.gguf")


def test_an_adapter_of_the_vision_tower_is_refused(folder, tmp_path):
    from safetensors.numpy import load_file, save_file

    adapter = tmp_path / "adapter"
    shutil.copytree(folder / "adapter", adapter)
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(iter(tensors))
    tensors[name.replace("language_model", "vision_tower")] = tensors[name]
    save_file(tensors, path)
    with pytest.raises(InputError, match=r"only LoRA on linear layers of the language model.*engine transformers"):
        ours.write_adapter(adapter, tmp_path / "adapter.gguf")


def test_another_class_of_model_is_refused(folder, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(folder / "base", base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"model_type": "qwen2_vl"}))
    with pytest.raises(InputError, match="is of model type 'qwen2_vl', not 'lfm2_vl'"):
        ours.write_projector(base, tmp_path / "x.gguf", ours.Kind.F32)


def test_another_kind_of_tokenizer_is_refused(folder, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(folder / "base", base)
    content = json.loads((base / "tokenizer.json").read_text())
    content["pre_tokenizer"] = {"type": "Whitespace"}
    (base / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="not a byte-level BPE"):
        ours.write_model(base, tmp_path / "x.gguf", ours.Kind.F32)


def test_bfloat16_is_read_as_torch_reads_it(folder):
    from safetensors.torch import load_file

    path = folder / "base" / "model.safetensors"
    theirs, places = load_file(path), tensors_of(path)
    assert places.keys() == theirs.keys()
    assert {place.kind for place in places.values()} == {"BF16"}
    for name, place in places.items():
        np.testing.assert_array_equal(place.read(), theirs[name].float().numpy())
