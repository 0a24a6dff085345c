"""How a model folder is made: pairs, tokenizer, base, adapter, llama.cpp files, manifest. Each stage can be resumed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flightsim.errors import InputError

from ..vlm.profile import Profile, load_profile
from .batches import Batches
from .gguf import Kind, write_adapter, write_model, write_projector
from .loop import Crew, Progress, crew, train_stage
from .losses import dense_head
from .model import build_model
from .pairs import load_pairs, make_pairs
from .settings import TrainSettings, unknown_schemas
from .tokens import build_tokenizer

#: How often the leading process tells its progress. [steps]
_TELL_STEPS = 50

#: Files that say what a model is worth, written after it is whole.
_MEASURED = ("manifest.json", "MODEL_CARD.md", "profile.json", "evaluation.json")

Told = Callable[[str], None]


def make_model(settings: TrainSettings, out: Path, work: Path, told: Told) -> None:
    """Make a model folder.

    Parameters
    ----------
    out
        Where the finished model goes; an old one is replaced at the very end.
    work
        Pairs and checkpoints; a second call with equal settings goes on where the first was.

    Raises
    ------
    InputError
        The settings name unknown schemas, or ``work`` was begun with other settings.
    """
    wrong = unknown_schemas(settings)
    if wrong:
        raise InputError(f"schema_weights names '{wrong[0]}', which is no schema.")
    work.mkdir(parents=True, exist_ok=True)
    _claim(work, settings)
    pairs = work / "pairs"

    def shard_done(done: int) -> None:
        told(f"pairs: shard {done} of {settings.shards}")

    total = make_pairs(
        pairs, "train", settings.seed, settings.shards, settings.shard_blocks, settings.processes, shard_done
    )
    told(f"pairs: {total} of the training regions")
    if settings.processes == 1:
        _work(0, settings, work, told)
    else:
        _work_together(settings, work, told)
    _finish(settings, work, out, total)
    told(f"model: {out}")


def _claim(work: Path, settings: TrainSettings) -> None:
    path, text = work / "settings.json", settings.model_dump_json(indent=2)
    if path.is_file() and path.read_text() != text:
        raise InputError(f"'{work}' was begun with other settings; give another folder, or remove it to start anew.")
    path.write_text(text)


def _work_together(settings: TrainSettings, work: Path, told: Told) -> None:
    from multiprocessing import get_context

    meeting = work / "meeting"
    meeting.unlink(missing_ok=True)
    # Spawned, not forked: torch's threads do not survive a fork.
    context = get_context("spawn")
    others = [
        context.Process(target=_work, args=(rank, settings, work, None), daemon=True)
        for rank in range(1, settings.processes)
    ]
    for process in others:
        process.start()
    try:
        _work(0, settings, work, told)
        for process in others:
            process.join(60)
    finally:
        for process in others:
            if process.is_alive():
                process.terminate()
    if any(process.exitcode for process in others):
        raise RuntimeError("a training process failed; its message is above")


def _work(rank: int, settings: TrainSettings, work: Path, told: Told | None) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ["HF_HUB_OFFLINE"] = "1"
    profile = load_profile("flightsim")
    pairs = load_pairs(work / "pairs", "train", settings.seed, settings.shards)
    tokenizer = build_tokenizer(tuple(item.name for item in profile.pictures.composites))
    batches = Batches(pairs, settings, profile, tokenizer)
    with crew(rank, settings.processes, work / "meeting") as team:

        def tell(progress: Progress) -> None:
            if told is not None and (progress.step % _TELL_STEPS == 0 or progress.step == progress.steps):
                told(
                    f"{progress.stage}: step {progress.step} of {progress.steps}, {progress.samples} questions, "
                    f"loss of answers {progress.answer_loss:.3f}, of maps {progress.dense_loss:.3f}"
                )

        _train(settings, work, profile, batches, tokenizer, team, tell)


def _train(
    settings: TrainSettings, work: Path, profile: Profile, batches: Batches, tokenizer: Any, team: Crew,
    tell: Callable[[Progress], None],
) -> None:  # fmt: skip
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(settings.seed)
    base, head_file = work / "base", work / "dense.safetensors"
    model = build_model(settings.size, len(tokenizer))
    head = dense_head(settings.size.text_width)
    if not (base / "done").is_file():
        train_stage("base", model, head, batches, tokenizer, settings, work / "base.safetensors", team, tell)
        if team.rank == 0:
            model.to(torch.bfloat16).save_pretrained(base)
            tokenizer.save_pretrained(base)
            save_file(head.state_dict(), head_file)
            (base / "done").touch()
        team.wait()
    # The adapter is fitted to the weights as they ship, rounding and all.
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    head.load_state_dict(load_file(head_file))
    lora = settings.lora
    torch.manual_seed(settings.seed + 1)
    model = get_peft_model(
        model, LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=lora.targets)
    )
    train_stage("adapter", model, head, batches, tokenizer, settings, work / "adapter.safetensors", team, tell)
    if team.rank == 0:
        model.save_pretrained(str(work / "adapter"))


def _finish(settings: TrainSettings, work: Path, out: Path, pairs: int) -> None:
    """Put the finished files together under a temporary name, then move them into place."""
    new = out.with_name(out.name + ".partial")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(work / "base", new / "base", ignore=shutil.ignore_patterns("done"))
    processor = {
        "processor_class": "Lfm2VlProcessor",
        "image_processor": {
            "image_processor_type": "Lfm2VlImageProcessor", "encoder_patch_size": settings.size.patch_px,
            "downsample_factor": 2, "min_image_tokens": settings.size.image_tokens,
            "max_image_tokens": settings.size.image_tokens, "tile_size": 512, "do_image_splitting": False,
            "use_thumbnail": False, "do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255,
            "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        },
    }  # fmt: skip
    (new / "base" / "processor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    (new / "adapter").mkdir()
    shutil.copy(work / "adapter" / "adapter_model.safetensors", new / "adapter")
    config = json.loads((work / "adapter" / "adapter_config.json").read_text())
    # peft writes the path of the base on this machine.
    config["base_model_name_or_path"] = "../base"
    (new / "adapter" / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (new / "gguf").mkdir()
    write_model(new / "base", new / "gguf" / "model-q8_0.gguf", Kind.Q8_0)
    write_projector(new / "base", new / "gguf" / "mmproj-f16.gguf", Kind.F16)
    write_adapter(new / "adapter", new / "gguf" / "adapter-f32.gguf")
    write_manifest(new, settings, pairs)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(new, out)


def _parameters(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as tensors:
        return sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118


def write_manifest(folder: Path, settings: TrainSettings, pairs: int) -> None:
    """Digests of all files of a model folder, and what it was made with."""
    from importlib.metadata import version

    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in _MEASURED
    }
    packages = ("flightsim", "torch", "transformers", "peft", "tokenizers", "gguf", "numpy")
    told = {
        "name": "flightsim-tiny",
        "made_by": "flightsim train",
        "parameters": _parameters(folder / "base" / "model.safetensors"),
        "adapter_parameters": _parameters(folder / "adapter" / "adapter_model.safetensors"),
        "settings": settings.model_dump(mode="json"),
        "pairs": pairs,
        "versions": {"python": sys.version.split()[0], **{name: version(name) for name in packages}},
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(told, indent=2) + "\n")
