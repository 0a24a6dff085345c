"""Model folders: what is found, what is refused and in which words, and what the digest follows."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from flightsim.errors import InputError
from payload.vlm import weights as module
from payload.vlm.tensors import tensors_in, tensors_of
from payload.vlm.weights import OFF, open_weights, write_manifest

ENGINES = ("llamacpp", "transformers")


@pytest.fixture
def model(tiny_folder, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def save_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Written by hand from the format's README: length of the header, header, values."""
    header, at = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(v.tobytes() for v in tensors.values()))


def shard(base: Path) -> None:
    """Split a base's safetensors into two files with an index, as large models come."""
    tensors = {name: place.read() for name, place in tensors_in(base).items()}
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in parts.items():
        save_safetensors(base / file, {name: tensors[name] for name in part})
    (base / "model.safetensors").unlink()
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))


# ---------------------------------------------------------------- what is found


def test_the_shipped_layout_is_found(model):
    flown = open_weights(model, None, "llamacpp")
    assert flown.gguf is not None
    assert flown.gguf.model.name == "model-q8_0.gguf"
    assert flown.gguf.projector.name == "mmproj-f16.gguf"
    assert flown.gguf.adapter is not None
    assert flown.gguf.adapter.name.startswith("adapter-")
    trained = open_weights(model, None, "transformers")
    assert (trained.base, trained.adapter, trained.gguf) == (model / "base", model / "adapter", None)
    assert trained.manifest is not None
    assert trained.facts["decoding"] == "flightsim"
    assert flown.name == trained.manifest["name"]


@pytest.mark.parametrize("engine", ENGINES)
def test_without_an_adapter_it_is_another_model(model, engine):
    plain, adapted = open_weights(model, OFF, engine), open_weights(model, None, engine)
    assert plain.adapter is None
    assert plain.name == f"{adapted.name} without adapter"
    assert plain.digest != adapted.digest


@pytest.mark.parametrize("engine", ENGINES)
def test_an_adapter_elsewhere_is_the_same_where_its_files_are(model, tmp_path, engine):
    elsewhere = tmp_path / "mine"
    shutil.copytree(model / "adapter", elsewhere)
    shutil.copy(next((model / "gguf").glob("adapter-*.gguf")), elsewhere)
    given, own = open_weights(model, elsewhere, engine), open_weights(model, None, engine)
    assert given.digest == own.digest
    assert given.name == f"{own.name} with adapter mine"


def test_a_folder_as_downloaded_has_its_base_at_the_top(model):
    found = open_weights(model / "base", None, "transformers")
    assert (found.base, found.adapter, found.manifest, dict(found.facts)) == (model / "base", None, None, {})
    files = open_weights(model / "gguf", None, "llamacpp")
    assert files.gguf is not None
    assert files.gguf.model.parent == model / "gguf"


def test_shards_are_read_as_one(model):
    whole = {name: place.shape for name, place in tensors_in(model / "base").items()}
    shard(model / "base")
    (model / "manifest.json").unlink()
    assert {name: place.shape for name, place in tensors_in(model / "base").items()} == whole
    assert open_weights(model, None, "transformers").adapter is not None


# ---------------------------------------------------------------- the digest


def test_the_digest_follows_what_answers_depend_on_and_nothing_else(model):
    before = {engine: open_weights(model, None, engine).digest for engine in ENGINES}
    assert all(len(digest) == 12 and int(digest, 16) >= 0 for digest in before.values())
    (model / "profile.json").write_text('{"decoding": "other"}')
    (model / "MODEL_CARD.md").write_text("words")
    write_manifest(model, {"name": "renamed"})
    assert {engine: open_weights(model, None, engine).digest for engine in ENGINES} == before
    path = model / "base" / "generation_config.json"
    path.write_text(path.read_text().replace("}", ', "x": 1}'))
    write_manifest(model, {})
    assert open_weights(model, None, "transformers").digest != before["transformers"]
    assert open_weights(model, None, "llamacpp").digest == before["llamacpp"]


def test_the_digest_does_not_depend_on_where_the_folder_lies(model, tmp_path):
    moved = shutil.copytree(model, tmp_path / "elsewhere" / "other")
    for engine in ENGINES:
        assert open_weights(moved, None, engine).digest == open_weights(model, None, engine).digest


def test_a_file_is_hashed_once_until_it_changes(model, monkeypatch):
    path = model / "gguf" / "model-q8_0.gguf"
    first = module.sha256(path)
    hashed = []
    real = module.hashlib.file_digest
    monkeypatch.setattr(module.hashlib, "file_digest", lambda file, kind: hashed.append(file.name) or real(file, kind))
    assert module.sha256(path) == first
    assert not hashed
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    assert module.sha256(path) != first
    assert len(hashed) == 1


def test_of_a_large_file_other_weights_have_another_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WHOLE", 1000)
    path = tmp_path / "large.gguf"
    content = np.random.default_rng(1).integers(0, 256, 40 << 20, dtype=np.uint8)
    content.tofile(path)
    first = module._digest([path])
    # A fine-tuning changes whole tensors; one of 1 MiB anywhere is seen.
    for place in (0, 13 << 20, 39 << 20):
        changed = content.copy()
        changed[place : place + (1 << 20)] ^= 1
        changed.tofile(path)
        os.utime(path, ns=(place + 5, place + 5))
        assert module._digest([path]) != first
    content.tofile(path)
    assert module._digest([path]) == first


# ---------------------------------------------------------------- what is refused


def refused(model: Path, adapter, engine: str) -> str:
    with pytest.raises(InputError) as caught:
        open_weights(model, adapter, engine)
    return str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_folder(tmp_path, engine):
    assert "model folder" in (told := refused(tmp_path / "nowhere", None, engine))
    assert "no folder. Give the folder of a model" in told


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_base_file(model, name):
    (model / "base" / name).unlink()
    assert f"'{name}'" in refused(model, None, "transformers")


@pytest.mark.parametrize(("name", "what"), [("model-*.gguf", "model"), ("mmproj-*.gguf", "projector")])
def test_a_missing_gguf_file(model, name, what):
    for path in (model / "gguf").glob(name):
        path.unlink()
    assert f"no GGUF file of a {what}" in refused(model, None, "llamacpp")


def test_safetensors_without_gguf(model):
    shutil.rmtree(model / "gguf")
    for folder in (model, model / "base"):
        told = refused(folder, None, "llamacpp")
        assert "has safetensors but no GGUF files" in told
        assert "engine: transformers" in told


def test_several_gguf_files_and_none_of_the_type(model):
    folder = model / "gguf"
    for path in folder.glob("model-*.gguf"):
        if not path.name.endswith("q8_0.gguf"):
            path.unlink()
    for name in ("model-q4_k_m.gguf", "model-q5_0.gguf"):
        shutil.copy(folder / "model-q8_0.gguf", folder / name)
    (folder / "model-q8_0.gguf").unlink()
    told = refused(model, None, "llamacpp")
    assert "model-q4_k_m.gguf, model-q5_0.gguf" in told
    assert "no GGUF file of a model that is clearly of type q8_0" in told
    (folder / "mmproj-f32.gguf").unlink(missing_ok=True)
    assert open_weights(model, None, "llamacpp", "q5_0").gguf.model.name == "model-q5_0.gguf"


def test_a_type_that_was_asked_for_is_never_another(model):
    for path in (model / "gguf").glob("*-f32.gguf"):
        if not path.name.startswith("adapter"):
            path.unlink()
    with pytest.raises(InputError, match=r"no GGUF file of a model that is clearly of type f32; it has model-q8_0"):
        open_weights(model, None, "llamacpp", "f32")
    assert open_weights(model, None, "llamacpp", "q8_0") == open_weights(model, None, "llamacpp")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_adapter(model, tmp_path, engine):
    told = refused(model, tmp_path / "nowhere", engine)
    assert "is no folder; give the folder of a LoRA adapter" in told
    empty = tmp_path / "empty"
    empty.mkdir()
    told = refused(model, empty, engine)
    assert "lacks 'adapter_config.json'" in told or "has no GGUF file in it" in told


def test_an_adapter_of_another_shape_of_base(model, tmp_path):
    adapter = tmp_path / "adapter"
    shutil.copytree(model / "adapter", adapter)
    tensors = {name: place.read() for name, place in tensors_of(adapter / "adapter_model.safetensors").items()}
    name = next(name for name in tensors if "lora_A" in name)
    save_safetensors(adapter / "adapter_model.safetensors", tensors | {name: np.zeros((16, 2048), dtype=np.float32)})
    told = refused(model, adapter, "transformers")
    assert "was made for another base (../base)" in told
    assert "of the adapter [16, 2048]" in told
    save_safetensors(
        adapter / "adapter_model.safetensors", {name.replace("layers.0", "layers.77"): np.zeros((16, 8), np.float32)}
    )
    assert "is not in it" in refused(model, adapter, "transformers")


@pytest.mark.parametrize("engine", ENGINES)
def test_an_adapter_of_another_training_of_the_same_shape(model, tmp_path, engine):
    other = tmp_path / "other"
    shutil.copytree(model, other)
    path = other / "base" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    manifest = write_manifest(other, {"name": "other"})
    assert manifest["adapter"]["base_sha256"] == manifest["files"]["base/model.safetensors"]
    told = refused(model, other / "adapter", engine)
    assert "was made for another base: its manifest names one with SHA-256" in told
    # A manifest that says nothing of the adapter's base lists the base that it lies beside.
    del manifest["adapter"]
    (other / "manifest.json").write_text(json.dumps(manifest))
    assert refused(model, other / "adapter", engine) == told
    assert open_weights(other, None, engine).adapter == other / "adapter"


@pytest.mark.parametrize("suffix", ["bin", "pt", "pth", "ckpt", "pkl"])
def test_pickles_are_refused_by_name(model, suffix):
    (model / "manifest.json").unlink()
    weights = model / "base" / "model.safetensors"
    weights.rename(weights.with_name(f"pytorch_model.{suffix}"))
    told = refused(model, None, "transformers")
    assert f"pytorch_model.{suffix}' is a pickle, which can run code" in told
    assert "safetensors only" in told


def test_a_pickled_adapter_is_refused_by_name(model):
    path = model / "adapter" / "adapter_model.safetensors"
    path.rename(path.with_suffix(".bin"))
    assert "adapter_model.bin' is a pickle" in refused(model, None, "transformers")


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("llamacpp", "gguf/model-q8_0.gguf"),
        ("llamacpp", "gguf/mmproj-f16.gguf"),
        ("transformers", "base/model.safetensors"),
        ("transformers", "base/tokenizer.json"),
        ("transformers", "adapter/adapter_model.safetensors"),
    ],
)
def test_a_damaged_file_is_named(model, engine, name):
    path = model / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    told = refused(model, None, engine)
    assert name in told
    assert "is damaged or has been changed" in told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "its header claims 0 bytes in a file of 0"),
        (b"\xff" * 100, "bytes in a file of 100"),
        ((9).to_bytes(8, "little") + b"not json!", "its header cannot be read"),
        ((2).to_bytes(8, "little") + b"[]", "its header cannot be read"),
        (
            (62).to_bytes(8, "little") + b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}  ' + b"1234",
            "it ends within tensor 'a'",
        ),
        (
            (62).to_bytes(8, "little")
            + b'{"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 8]}}  '
            + b"12345678",
            "offsets 0 to 8 do not fit shape",
        ),
    ],
)
def test_what_is_no_whole_safetensors_file(tmp_path, content, told):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=told):
        tensors_of(path)


def test_an_index_that_leads_out_of_the_folder(model):
    base = model / "base"
    shard(base)
    (base / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../elsewhere.safetensors"}}')
    with pytest.raises(InputError, match=r"lacks '\.\./\.\./elsewhere\.safetensors'"):
        tensors_in(base)


@pytest.mark.parametrize("name", ["manifest.json", "profile.json"])
def test_a_broken_json_is_named(model, name):
    (model / name).write_text("{")
    assert f"{name}' is no JSON" in refused(model, None, "llamacpp")
    (model / name).write_text("[]")
    assert f"{name}' holds no JSON object" in refused(model, None, "llamacpp")
