"""Model folders: which files an engine needs, whether they are whole, and a digest of what an answer depends on.

The shipped folder::

    base/      config.json, model.safetensors, tokenizer.json, ...       for transformers
    adapter/   adapter_config.json, adapter_model.safetensors             for transformers
    gguf/      model-q8_0.gguf, mmproj-f16.gguf, adapter-f32.gguf        for llama.cpp
    profile.json   what is declared about it      manifest.json   SHA-256 of every file

A folder as downloaded has the files of ``base`` or of ``gguf`` at its top and no manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from flightsim.errors import InputError

from .tensors import shards, tensors_in, tensors_of

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "flightsim-tiny"
#: What is said instead of an adapter's folder for none.
OFF = "off"
MANIFEST, FACTS = "manifest.json", "profile.json"
EngineName = Literal["llamacpp", "transformers"]

#: Files that can run code when they are read.
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_CONFIG, _TENSORS = "adapter_config.json", "adapter_model.safetensors"
#: Files beside the tensors that change answers with transformers, where they are there.
_SETTINGS = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "chat_template.json", "processor_config.json",
    "preprocessor_config.json",
)  # fmt: skip
#: Files up to this length are hashed whole. [byte] 64 MiB take some 50 ms.
_WHOLE = 64 << 20
#: Of longer ones, the first piece and this many pieces spread evenly over the rest; one of 3 GB takes 20 ms, not 3 s.
_PIECES, _PIECE = 256, 64 << 10
_HEAD = 1 << 20


@dataclass(frozen=True)
class Gguf:
    """Files for llama.cpp."""

    model: Path
    """Language model with tokenizer and chat template."""
    projector: Path
    """Vision tower and projector."""
    adapter: Path | None
    """LoRA adapter."""


@dataclass(frozen=True)
class Weights:
    """A model's files, found and checked for one engine."""

    folder: Path
    """The model folder."""
    base: Path
    """Folder of the base: ``folder/base``, or the folder itself."""
    adapter: Path | None
    """Folder of the adapter; None without one."""
    gguf: Gguf | None
    """Files for llama.cpp; None where another engine was asked for."""
    name: str
    """Name that reports use."""
    digest: str
    """Digest of the files that an answer depends on, twelve hexadecimal digits."""
    manifest: Mapping[str, Any] | None = field(compare=False)
    """Content of the manifest; None for a folder without one."""
    facts: Mapping[str, Any] = field(compare=False)
    """Content of profile.json; empty without one."""


def open_weights(
    folder: Path | None, adapter: Path | str | None, engine: EngineName, numeric_type: str | None = None
) -> Weights:
    """Find and check the files that an engine needs.

    Parameters
    ----------
    folder
        The model folder; None is the shipped model.
    adapter
        Folder of a LoRA adapter; None is the model folder's own, ``"off"`` none.
    numeric_type
        Which GGUF files are meant: ``q8_0``, ``f16``, ``f32``. None is the only one there is, or ``q8_0``.

    Notes
    -----
    Every file that is used and that a manifest lists is compared with it. The digest is over whole files up to 64 MiB;
    of longer ones over their length, their first MiB and 256 pieces of 64 KiB, for nobody waits for gigabytes to be
    hashed: other weights have another digest, a single flipped bit need not.

    Raises
    ------
    InputError
        A file is missing, damaged, of a format that can run code, or the adapter was made for another base.
    """
    top = SHIPPED if folder is None else folder
    if not top.is_dir():
        told = "the shipped model is not in this installation; reinstall flightsim" if folder is None else "no folder"
        raise InputError(f"model folder '{top}': {told}. Give the folder of a model, such as LFM2.5-VL-450M.")
    base = top / "base" if (top / "base").is_dir() else top
    tuned = _adapter_folder(top, adapter)
    manifest, facts = _json_or_none(top / MANIFEST), _json_or_none(top / FACTS)
    gguf = _find_gguf(top, tuned, numeric_type) if engine == "llamacpp" else None
    if gguf is not None:
        used = [path for path in (gguf.model, gguf.projector, gguf.adapter) if path is not None]
    else:
        used = [*_base_files(base), *_adapter_files(tuned)]
    _check_whole(used, top, manifest)
    if tuned is not None:
        if not tuned.is_relative_to(top):
            _check_whole(used, *_manifest_of(tuned))
        _check_made_for(base, tuned, manifest, top)
        if gguf is None:
            _check_shapes(base, tuned)
    named = manifest.get("name") if manifest else None
    name = str(named) if named else top.resolve().name
    if tuned is None:
        name += " without adapter" if adapter == OFF else ""
    elif adapter is not None:
        name += f" with adapter {tuned.resolve().name}"
    return Weights(top, base, tuned, gguf, name, _digest(used), manifest, facts or {})


# -------------------------------------------------------------------- finding


def _adapter_folder(top: Path, adapter: Path | str | None) -> Path | None:
    if adapter == OFF:
        return None
    if adapter is None:
        return top / "adapter" if (top / "adapter").is_dir() else None
    given = Path(adapter)
    if not given.is_dir():
        raise InputError(f"adapter '{given}' is no folder; give the folder of a LoRA adapter, or \"{OFF}\" for none.")
    return given


def _base_files(base: Path) -> Iterator[Path]:
    for name in ("config.json", "tokenizer.json"):
        if not (base / name).is_file():
            raise InputError(f"model folder '{base}' lacks '{name}'; copy or download the whole model.")
    _refuse_pickles(base, "model.safetensors", "model.safetensors.index.json")
    yield from shards(base)
    yield from (base / name for name in _SETTINGS if (base / name).is_file())


def _adapter_files(tuned: Path | None) -> Iterator[Path]:
    if tuned is None:
        return
    _refuse_pickles(tuned, _TENSORS)
    for name in (_CONFIG, _TENSORS):
        if not (tuned / name).is_file():
            raise InputError(f"adapter '{tuned}' lacks '{name}'; copy or download the whole adapter.")
        yield tuned / name


def _refuse_pickles(folder: Path, *instead: str) -> None:
    if any((folder / name).is_file() for name in instead):
        return
    for path in sorted(folder.iterdir()):
        if path.suffix in _PICKLES:
            raise InputError(
                f"'{path}' is a pickle, which can run code when it is read; safetensors only. Save the model with "
                "save_pretrained of a current transformers."
            )


def _find_gguf(top: Path, tuned: Path | None, numeric_type: str | None) -> Gguf:
    folder = top / "gguf" if (top / "gguf").is_dir() else top
    files = sorted(folder.glob("*.gguf"))
    projectors = [path for path in files if path.name.lower().startswith("mmproj")]
    adapters = [path for path in files if path.name.lower().startswith("adapter")]
    models = [path for path in files if path not in projectors and path not in adapters]
    if not files and ((top / "base").is_dir() or next(folder.glob("*.safetensors"), None)):
        raise InputError(
            f"model folder '{top}' has safetensors but no GGUF files, which llama.cpp needs. Write them with "
            "payload.train.gguf, download the model's GGUF folder, or fly it with engine: transformers."
        )
    model = _of_type("model", models, folder, numeric_type)
    projector = _of_type("projector", projectors, folder, numeric_type, instead="f16")
    if tuned is None:
        return Gguf(model, projector, None)
    # An adapter of our making has its GGUF file in the folder ``gguf`` beside it, one of others' making in its own.
    beside = tuned.resolve().parent / "gguf"
    found = sorted(tuned.glob("*.gguf")) or sorted(beside.glob("adapter*.gguf"))
    if not found:
        raise InputError(
            f"adapter '{tuned}' has no GGUF file in it or in '{beside}', which llama.cpp needs. Write one with "
            f'payload.train.gguf.write_adapter, say adapter: "{OFF}", or fly it with engine: transformers.'
        )
    return Gguf(model, projector, _of_type("adapter", found, found[0].parent, numeric_type, instead="f32"))


def _of_type(what: str, found: Sequence[Path], folder: Path, numeric_type: str | None, instead: str = "") -> Path:
    """The file of a numeric type; without a wish, or for a part that comes ``instead`` in another, the only one."""
    if not found:
        raise InputError(f"model folder '{folder}' has no GGUF file of a {what}; copy or download the whole model.")
    if len(found) == 1 and (numeric_type is None or instead):
        return found[0]
    for wanted in (numeric_type or "q8_0", instead):
        fitting = [path for path in found if wanted and path.stem.lower().endswith(wanted.lower())]
        if len(fitting) == 1:
            return fitting[0]
    names = ", ".join(path.name for path in found)
    raise InputError(
        f"model folder '{folder}' has no GGUF file of a {what} that is clearly of type {numeric_type or 'q8_0'}; it "
        f"has {names}. Choose another type, or keep only the file that is meant."
    )


# -------------------------------------------------------------------- checking


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a model folder but its manifest, by path relative to the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write a model folder's manifest: the digests of all its files, the base that its adapter fits, and ``facts``."""
    told: dict[str, Any] = {**facts, "files": file_digests(folder)}
    whole = told["files"].get("base/model.safetensors")
    if whole and (folder / "adapter").is_dir():
        told["adapter"] = {"base_sha256": whole}
    (folder / MANIFEST).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return told


def sha256(path: Path) -> str:
    """SHA-256 of a whole file, kept for as long as its length and time of change stay."""
    told = path.stat()
    return _sha256(path.resolve(), told.st_mtime_ns, told.st_size)


@lru_cache(maxsize=256)
def _sha256(path: Path, _changed_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=256)
def _sampled(path: Path, _changed_ns: int, size: int) -> str:
    total = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        total.update(file.read(_HEAD))
        for piece in range(_PIECES):
            file.seek(_HEAD + piece * (size - _HEAD - _PIECE) // (_PIECES - 1))
            total.update(file.read(_PIECE))
    return total.hexdigest()


def _digest(used: Sequence[Path]) -> str:
    total = hashlib.sha256()
    for path in used:
        told = path.stat()
        whole = told.st_size <= _WHOLE
        part = sha256(path) if whole else _sampled(path.resolve(), told.st_mtime_ns, told.st_size)
        total.update(f"{path.name} {part}\n".encode())
    return total.hexdigest()[:12]


def _check_whole(used: Sequence[Path], top: Path, manifest: Mapping[str, Any] | None) -> None:
    listed = manifest.get("files", {}) if manifest else {}
    for path in used:
        if not path.is_relative_to(top):
            continue
        name = path.relative_to(top).as_posix()
        if name in listed and listed[name] != sha256(path):
            raise InputError(
                f"'{path}' is damaged or has been changed: its SHA-256 is {sha256(path)[:12]}..., the manifest of "
                f"'{top.name}' says {str(listed[name])[:12]}... Copy the model again, or write a new manifest."
            )


def _manifest_of(tuned: Path) -> tuple[Path, Mapping[str, Any] | None]:
    """The folder whose manifest lists an adapter, its own or the model's around it, and the manifest."""
    for top in (tuned, tuned.resolve().parent):
        manifest = _json_or_none(top / MANIFEST)
        if manifest is not None:
            return top, manifest
    return tuned, None


def _check_made_for(base: Path, tuned: Path, manifest: Mapping[str, Any] | None, top: Path) -> None:
    """Compare the base with the one that an adapter's manifest names, where there is such a thing."""
    about = manifest if tuned.is_relative_to(top) else _manifest_of(tuned)[1]
    told = about or {}
    wanted = told.get("adapter", {}).get("base_sha256") or told.get("files", {}).get("base/model.safetensors")
    whole = base / "model.safetensors"
    if wanted and whole.is_file() and sha256(whole) != wanted:
        raise InputError(
            f"adapter '{tuned}' was made for another base: its manifest names one with SHA-256 {str(wanted)[:12]}..., "
            f"'{whole}' has {sha256(whole)[:12]}... Choose the adapter that belongs to this base."
        )


def _check_shapes(base: Path, tuned: Path) -> None:
    """Compare the shapes of an adapter's halves with those of the weights that they change."""
    config = _json_or_none(tuned / _CONFIG) or {}
    weights = {_tail(name): place.shape for name, place in tensors_in(base).items() if name.endswith(".weight")}
    for name, place in tensors_of(tuned / _TENSORS).items():
        layer, half, _ = name.partition(".lora_")
        if not half or place.shape[1:] == () or name.endswith(".bias"):
            continue
        shape = weights.get(_tail(layer + ".weight"))
        first = ".lora_A" in name
        if shape is None or (len(shape) == 2 and shape[1 if first else 0] != place.shape[1 if first else 0]):
            named = config.get("base_model_name_or_path") or "an unnamed one"
            told = f"has shape {list(shape)}" if shape else "is not in it"
            raise InputError(
                f"adapter '{tuned}' was made for another base ({named}): '{_tail(layer)}' of '{base}' {told}, and "
                f"half {'A' if first else 'B'} of the adapter {list(place.shape)}. Choose the adapter that belongs to "
                "this base."
            )


def _tail(name: str) -> str:
    """A layer's name from the part of the model on, which releases of transformers prefix differently."""
    for part in ("language_model.", "vision_tower.", "multi_modal_projector."):
        _, found, after = name.partition(part)
        if found:
            return part + after.removeprefix("model.").removeprefix("vision_model.")
    return name


def _json_or_none(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"'{path}' is no JSON: {error}. Copy the model again.") from None
    if not isinstance(content, dict):
        raise InputError(f"'{path}' holds no JSON object. Copy the model again.")
    return content


__all__ = [
    "FACTS", "MANIFEST", "OFF", "SHIPPED", "EngineName", "Gguf", "Weights", "file_digests", "open_weights", "sha256",
    "write_manifest",
]  # fmt: skip
