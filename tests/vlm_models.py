"""Model folders of the shipped layout for tests: a random one made with torch, or the shipped one."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import warnings
from pathlib import Path

import pytest

from flightsim.domain import SCHEMA_IDS
from payload.tasks import change
from payload.train.tokens import END, pieces

SHIPPED = Path(__file__).resolve().parents[1] / "payload" / "models" / "flightsim-tiny"
COMPOSITES = ("swir nir red", "red green blue")
#: What peft trains: linear layers of the language model alone, for llama.cpp adapts nothing else.
TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|out_proj|in_proj|w1|w2|w3)"


def has_torch() -> bool:
    """Whether the extra [vlm] is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers", "peft", "safetensors"))


@functools.cache
def random_folder(root: Path, patch_px: int = 16, side_px: int = 128, seed: int = 4) -> Path:
    """Write a random model of the shipped layout into ``root`` and give its folder. Same seed, same weights."""
    import peft
    import torch
    import transformers

    from payload.train.model import ModelSize, build_model
    from payload.train.tokens import build_tokenizer

    folder = root / f"random-{patch_px}-{side_px}-{seed}"
    size = ModelSize(side_px=side_px, patch_px=patch_px)
    tokenizer = build_tokenizer(COMPOSITES)
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    with torch.random.fork_rng(), warnings.catch_warnings():
        # peft still asks transformers by the old name.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        torch.manual_seed(seed)
        model = build_model(size, len(tokenizer))
        # Initial weights are so small that all answers are nearly ties; five times as large, pictures count.
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:
                    weight.mul_(5.0)
            _favour_answers(model, tokenizer)
        config = peft.LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS, lora_dropout=0.0)
        base = folder / "base"
        model.to(torch.bfloat16).save_pretrained(base)
        tokenizer.save_pretrained(base)
        _settings(base, size)
        tuned = peft.get_peft_model(model.to(torch.float32), config)
        with torch.no_grad():
            for name, weight in tuned.named_parameters():
                if "lora_B" in name:
                    weight.normal_(0.0, 0.03)
        tuned.save_pretrained(folder / "adapter")
    settings = folder / "adapter" / "adapter_config.json"
    told = json.loads(settings.read_text()) | {"base_model_name_or_path": "../base"}
    settings.write_text(json.dumps(told, indent=2, sort_keys=True))
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    (folder / "profile.json").write_text(json.dumps({"decoding": "flightsim"}))
    _write_gguf(folder)
    write_manifest(folder, seed=seed)
    return folder


def _favour_answers(model, tokenizer) -> None:
    # Answers are made of the pieces of verdicts, begin with ``null`` or an object, and end, as trained ones do.
    table = model.get_input_embeddings().weight
    written = tokenizer.convert_tokens_to_ids(pieces())
    likely = [
        END,
        *tokenizer.convert_tokens_to_ids([text for text in pieces() if text == "null" or "direction" in text]),
    ]
    others = sorted(set(range(len(table))) - set(written) - set(likely))
    table[others] *= 0.3
    table[likely] *= 2.0
    table[END] *= 0.6


def _settings(base: Path, size) -> None:
    # As LFM2-VL's own files say it, at this model's size.
    (base / "processor_config.json").write_text(
        json.dumps(
            {
                "processor_class": "Lfm2VlProcessor",
                "image_processor": {
                    "image_processor_type": "Lfm2VlImageProcessor",
                    "encoder_patch_size": size.patch_px,
                    "downsample_factor": 2,
                    "tile_size": size.side_px,
                    "do_image_splitting": False,
                    "min_image_tokens": size.image_tokens,
                    "max_image_tokens": size.image_tokens,
                    "max_num_patches": size.patches**2,
                    "image_mean": [0.5, 0.5, 0.5],
                    "image_std": [0.5, 0.5, 0.5],
                },
            },
            indent=2,
        )
    )


def _write_gguf(folder: Path) -> None:
    if importlib.util.find_spec("payload.train.gguf") is None:
        return
    from payload.train import gguf

    out = folder / "gguf"
    out.mkdir(exist_ok=True)
    for kind in (gguf.Kind.F32, gguf.Kind.Q8_0):
        gguf.write_model(folder / "base", out / f"model-{kind}.gguf", kind)
        tower = gguf.Kind.F32 if kind is gguf.Kind.F32 else gguf.Kind.F16
        gguf.write_projector(folder / "base", out / f"mmproj-{tower}.gguf", tower)
    gguf.write_adapter(folder / "adapter", out / "adapter-f32.gguf")


def write_manifest(folder: Path, **facts) -> None:
    """Write ``manifest.json`` with the digests of all files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    told = {
        "name": folder.name,
        "made_by": "tests/vlm_models.py",
        **facts,
        "files": {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "adapter": {"base_sha256": hashlib.sha256((folder / "base" / "model.safetensors").read_bytes()).hexdigest()},
    }
    (folder / "manifest.json").write_text(json.dumps(told, indent=2, sort_keys=True))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A random model folder of the shipped layout (base, adapter, GGUF); without torch the shipped one."""
    if has_torch():
        return random_folder(models_root(tmp_path_factory.getbasetemp()))
    if SHIPPED.is_dir():
        return SHIPPED
    pytest.skip("SKIPPED LOUDLY: neither the extra [vlm] nor a shipped model is there; no model could be tested")


def models_root(basetemp: Path) -> Path:
    """Where the models of one test session lie, given ``tmp_path_factory.getbasetemp()``."""
    root = basetemp / "models"
    root.mkdir(exist_ok=True)
    return root


def prompts() -> list[str]:
    """Questions of all schemas and composites, as the shipped model is asked."""
    return [change.prompt(schema, change.Prompt.SHORT, name) for schema in SCHEMA_IDS for name in COMPOSITES]


__all__ = [
    "COMPOSITES",
    "SHIPPED",
    "has_torch",
    "models_root",
    "prompts",
    "random_folder",
    "tiny_folder",
    "write_manifest",
]
