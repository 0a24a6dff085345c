"""From safetensors to the files that llama.cpp reads: language model, projector of pictures, adapter.

llama.cpp's own converter knows neither patches of other sizes than 16 nor our tokenizer. Same input, same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flightsim.errors import InputError, MissingExtra

from ..vlm.tensors import TensorPlace, tensors_in, tensors_of


class Kind(StrEnum):
    """Numeric type of matrices; vectors and what llama.cpp wants so stay in float32."""

    F32 = "f32"
    F16 = "f16"
    Q8_0 = "q8_0"
    """Eight bits a weight, one scale for 32 of them, for what ``_EIGHT_BIT`` names; float16 for the others."""


#: Weights in a block of Q8_0 (ggml, ``QK8_0``).
BLOCK = 32
#: Matrices that Q8_0 stores in eight bits, half of a language model; the others stay in float16. llama.cpp rounds what
#: goes into an eight-bit matrix as well, which in a model this small changes fields of verdicts: see docs/model.md.
_EIGHT_BIT = ("ffn_gate", "ffn_up")
_LANGUAGE, _TOWER, _PROJECTOR = "model.language_model.", "model.vision_tower.", "model.multi_modal_projector."


def write_model(base: Path, out: Path, kind: Kind) -> None:
    """Write the language model with tokenizer and chat template of a base folder as GGUF.

    Raises
    ------
    InputError
        The folder is not complete, not of the LFM2-VL class, or its tokenizer is not a byte-level BPE.
    MissingExtra
        The package gguf is not installed.
    """
    gguf = _package()
    config, tokenizer = _json(base / "config.json"), _json(base / "tokenizer.json")
    text = _part(config, "text_config", base)
    writer = gguf.GGUFWriter(None, "lfm2")
    writer.add_name(base.resolve().parent.name if base.name == "base" else base.resolve().name)
    writer.add_file_type(_file_type(gguf, kind))
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(text["num_attention_heads"])
    heads = text["num_key_value_heads"]
    writer.add_head_count_kv([0 if layer == "conv" else heads for layer in text["layer_types"]])
    writer.add_rope_freq_base(text["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(text["norm_eps"])
    writer.add_vocab_size(text["vocab_size"])
    writer.add_shortconv_l_cache(text["conv_L_cache"])
    _add_tokenizer(gguf, writer, tokenizer, text)
    template = base / "chat_template.jinja"
    writer.add_chat_template(template.read_text(encoding="utf-8"))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LFM2, text["num_hidden_layers"])
    for name, place in tensors_in(base).items():
        if name.startswith(_LANGUAGE):
            values = place.read()
            if "conv.conv" in name:
                values = values.squeeze(1)
            _put(gguf, writer, _mapped(names, "model." + name.removeprefix(_LANGUAGE)), values, kind)
    _write(writer, out)


def write_projector(base: Path, out: Path, kind: Kind) -> None:
    """Write vision tower and projector of a base folder as GGUF.

    Raises
    ------
    InputError
        The folder is not complete or not of the LFM2-VL class.
    MissingExtra
        The package gguf is not installed.
    """
    gguf = _package()
    config = _json(base / "config.json")
    vision, text = _part(config, "vision_config", base), _part(config, "text_config", base)
    patch = vision["patch_size"]
    writer = gguf.GGUFWriter(None, "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_file_type(_file_type(gguf, kind))
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("lfm2")
    writer.add_vision_image_size(round(vision["num_patches"] ** 0.5) * patch)
    writer.add_vision_patch_size(patch)
    writer.add_vision_embedding_length(vision["hidden_size"])
    writer.add_vision_feed_forward_length(vision["intermediate_size"])
    writer.add_vision_block_count(vision["num_hidden_layers"])
    writer.add_vision_head_count(vision["num_attention_heads"])
    writer.add_vision_projection_dim(text["hidden_size"])
    writer.add_vision_attention_layernorm_eps(vision["layer_norm_eps"])
    writer.add_vision_projector_scale_factor(config["downsample_factor"])
    writer.add_vision_use_gelu(True)
    # LFM2-VL's processor maps 0..255 to -1..1.
    writer.add_vision_image_mean([0.5] * 3)
    writer.add_vision_image_std([0.5] * 3)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, vision["num_hidden_layers"])
    for name, place in tensors_in(base).items():
        if name.startswith(_TOWER):
            inner = "vision_tower.vision_model." + name.removeprefix(_TOWER).removeprefix("vision_model.")
        elif name.startswith(_PROJECTOR):
            inner = name.removeprefix("model.")
        else:
            continue
        values = place.read()
        stored = kind
        if "patch_embedding.weight" in inner:
            # Rows of a patch are (row, column, channel) here and (channel, row, column) there.
            values = np.ascontiguousarray(values.reshape(-1, patch, patch, 3).transpose(0, 3, 1, 2))
            stored = Kind.F32
        _put(gguf, writer, _mapped(names, inner), values, stored)
    _write(writer, out)


def write_adapter(adapter: Path, out: Path, kind: Kind = Kind.F32) -> None:
    """Write a LoRA adapter of peft as GGUF, for llama.cpp to add at a scale chosen per request.

    Raises
    ------
    InputError
        The folder is not complete, or the adapter changes what llama.cpp cannot adapt.
    MissingExtra
        The package gguf is not installed.
    """
    gguf = _package()
    config = _json(adapter / "adapter_config.json")
    tensors = tensors_of(_there(adapter / "adapter_model.safetensors"))
    _check_plain(config, tensors, adapter)
    blocks = 1 + max(int(name.split(".layers.")[1].split(".")[0]) for name in tensors)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LFM2, blocks)
    writer = gguf.GGUFWriter(None, "lfm2")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(config["lora_alpha"]))
    for name, place in tensors.items():
        half = "lora_a" if ".lora_A." in name else "lora_b"
        inner = "model.layers." + name.split(".layers.")[1].split(".lora_")[0]
        _put(gguf, writer, f"{_mapped(names, inner)}.weight.{half}", place.read(), kind)
    _write(writer, out)


def _check_plain(config: Mapping[str, Any], tensors: Mapping[str, TensorPlace], adapter: Path) -> None:
    odd = [name for name in tensors if "language_model" not in name or ".layers." not in name or ".lora_" not in name]
    if odd or not tensors:
        told = f"it changes '{odd[0]}'" if odd else "it is empty"
        raise InputError(
            f"adapter '{adapter}' cannot be written for llama.cpp: {told}; only LoRA on linear layers of the language "
            "model can. Train it with such targets, or fly it with the engine transformers."
        )
    for name in ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern"):
        if config.get(name):
            raise InputError(
                f"adapter '{adapter}' cannot be written for llama.cpp: its {name} is set, which llama.cpp lacks. "
                "Train it without, or fly it with the engine transformers."
            )


def _add_tokenizer(gguf: Any, writer: Any, tokenizer: Mapping[str, Any], text: Mapping[str, Any]) -> None:
    model, before = tokenizer["model"], tokenizer.get("pre_tokenizer") or {}
    if model.get("type") != "BPE" or before.get("type") != "ByteLevel" or before.get("add_prefix_space"):
        raise InputError(
            "tokenizer.json is not a byte-level BPE that splits as GPT-2 does; only the shipped model's kind is "
            "written as GGUF. Convert other models with llama.cpp's own converter."
        )
    added = {token["content"]: token for token in tokenizer["added_tokens"]}
    text_of = {number: piece for piece, number in model["vocab"].items()}
    text_of |= {token["id"]: piece for piece, token in added.items()}
    pieces = [text_of[number] for number in range(len(text_of))]
    # Added tokens that are not special are pieces of answers: found in any text and written as they stand.
    kinds = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.USER_DEFINED}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(pieces)
    writer.add_token_types(
        [kinds[added[piece]["special"]] if piece in added else gguf.TokenType.NORMAL for piece in pieces]
    )
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(text["bos_token_id"])
    writer.add_eos_token_id(text["eos_token_id"])
    writer.add_pad_token_id(text["pad_token_id"])
    # The chat template writes it.
    writer.add_add_bos_token(False)


def _put(gguf: Any, writer: Any, name: str, values: NDArray[np.float32], kind: Kind) -> None:
    whole = values.ndim < 2 or "position_embd" in name or "shortconv.conv" in name
    if whole or kind is Kind.F32:
        writer.add_tensor(name, np.ascontiguousarray(values, dtype=np.float32))
    elif kind is Kind.Q8_0 and values.shape[-1] % BLOCK == 0 and any(part in name for part in _EIGHT_BIT):
        stored = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(values, stored), raw_dtype=stored)
    else:
        writer.add_tensor(name, values.astype(np.float16))


def _write(writer: Any, out: Path) -> None:
    # Under another name first: a file that is there is whole.
    partial = out.with_name(f"{out.name}.part")
    writer.write_header_to_file(partial)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(out)


def _mapped(names: Any, name: str) -> str:
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise InputError(f"tensor '{name}' has no place in a GGUF file of the LFM2-VL class.")
    return str(found)


def _file_type(gguf: Any, kind: Kind) -> Any:
    types = gguf.LlamaFileType
    return {Kind.F32: types.ALL_F32, Kind.F16: types.MOSTLY_F16, Kind.Q8_0: types.MOSTLY_Q8_0}[kind]


def _part(config: Mapping[str, Any], name: str, base: Path) -> Mapping[str, Any]:
    if config.get("model_type") != "lfm2_vl" or name not in config:
        raise InputError(f"'{base / 'config.json'}' is of model type {config.get('model_type')!r}, not 'lfm2_vl'.")
    part: Mapping[str, Any] = config[name]
    return part


def _there(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"model folder '{path.parent}' lacks '{path.name}'.")
    return path


def _json(path: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(_there(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"'{path}' is no JSON: {error}.") from None
    return told


def _package() -> Any:
    try:
        import gguf
    except ImportError:
        raise MissingExtra("writing GGUF files needs the package gguf: pip install 'flightsim[vlm]'.") from None
    return gguf


__all__ = ["Kind", "write_adapter", "write_model", "write_projector"]
