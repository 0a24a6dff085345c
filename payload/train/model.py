"""The shipped model's architecture: LFM2-VL at a thousandth of the size, and its forward pass for whole batches."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flightsim.protocols import PluginConfig

from .tokens import BEGIN, END, IMAGE, PAD


class ModelSize(PluginConfig):
    """Size of a model of the LFM2-VL class."""

    side_px: Annotated[int, Field(ge=32, le=256)] = 128
    """Side of a picture. [px]"""
    patch_px: Annotated[int, Field(ge=4, le=32)] = 16
    """Side of a patch of the vision tower; two by two patches make one token. [px]"""
    vision_width: Annotated[int, Field(ge=32, le=512)] = 128
    """Width of the vision tower."""
    vision_layers: Annotated[int, Field(ge=1, le=12)] = 3
    """Layers of the vision tower."""
    text_width: Annotated[int, Field(ge=32, le=512)] = 128
    """Width of the language model."""
    layers: Annotated[str, Field(pattern="^[ca]+$")] = "cacaca"
    """Layers of the language model: c a short convolution, a attention."""

    @property
    def patches(self) -> int:
        """Patches along a side."""
        return self.side_px // self.patch_px

    @property
    def image_tokens(self) -> int:
        """Tokens of one picture."""
        return (self.patches // 2) ** 2


def build_model(size: ModelSize, vocabulary: int) -> Any:
    """A ``Lfm2VlForConditionalGeneration`` of this size with random weights, from torch's generator."""
    from transformers import Lfm2Config, Lfm2VlConfig, Lfm2VlForConditionalGeneration, Siglip2VisionConfig

    vision = Siglip2VisionConfig(
        hidden_size=size.vision_width, intermediate_size=3 * size.vision_width, num_hidden_layers=size.vision_layers,
        num_attention_heads=4, patch_size=size.patch_px, num_patches=size.patches**2, num_channels=3,
        vision_use_head=False,
    )  # fmt: skip
    kinds = {"c": "conv", "a": "full_attention"}
    text = Lfm2Config(
        vocab_size=vocabulary, hidden_size=size.text_width, intermediate_size=5 * size.text_width // 2,
        block_auto_adjust_ff_dim=False, num_hidden_layers=len(size.layers), num_attention_heads=4,
        num_key_value_heads=2, layer_types=[kinds[letter] for letter in size.layers], max_position_embeddings=2048,
        rope_theta=10000.0, pad_token_id=PAD, bos_token_id=BEGIN, eos_token_id=END,
    )  # fmt: skip
    model = Lfm2VlForConditionalGeneration(
        Lfm2VlConfig(
            vision_config=vision, text_config=text, image_token_id=IMAGE, projector_hidden_size=256, downsample_factor=2
        )
    )
    model.generation_config.pad_token_id = PAD
    model.generation_config.bos_token_id = BEGIN
    model.generation_config.eos_token_id = END
    return model


def patches(pictures: NDArray[np.uint8] | NDArray[np.float32], patch_px: int) -> NDArray[np.float32]:
    """Pictures (n, rows, columns, 3) of 0 to 255 as patches (n, patches, 3 patch_px^2), from -1 to 1.

    A patch is laid out by row, column, channel, as LFM2-VL's processor does.
    """
    n, rows, cols, depth = pictures.shape
    blocks = pictures.reshape(n, rows // patch_px, patch_px, cols // patch_px, patch_px, depth)
    flat = np.array(blocks.transpose(0, 1, 3, 2, 4, 5), dtype=np.float32, order="C")
    flat /= np.float32(127.5)
    flat -= np.float32(1)
    return flat.reshape(n, -1, patch_px * patch_px * depth)


def _core(model: Any) -> Any:
    """The bare model within an adapter, or the model itself."""
    return model.base_model.model if hasattr(model, "peft_config") else model


def hidden_states(model: Any, ids: Any, patch_values: Any, attention: Any = None) -> Any:
    """Last hidden states of the language model, shape (n, tokens, width), for full square pictures.

    Equal to the stock forward pass, which loops over pictures in Python. ``patch_values`` has shape
    (2 n, patches, values); ``attention`` is 0 on padding.
    """
    core = _core(model).model
    tower, project = core.vision_tower, core.multi_modal_projector
    seen = tower.embeddings.patch_embedding(patch_values) + tower.embeddings.position_embedding.weight
    seen = tower.post_layernorm(tower.encoder(inputs_embeds=seen, attention_mask=None).last_hidden_state)
    many, count, width = seen.shape
    side = int(count**0.5)
    features = project(seen.view(many, side, side, width))
    embedded = core.language_model.embed_tokens(ids)
    spots = (ids == core.config.image_token_id)[..., None].expand_as(embedded)
    embedded = embedded.masked_scatter(spots, features.to(embedded.dtype).reshape(-1, features.shape[-1]))
    return core.language_model(inputs_embeds=embedded, attention_mask=attention, use_cache=False).last_hidden_state


def text_states(model: Any, ids: Any) -> Any:
    """Last hidden states for text without pictures."""
    core = _core(model).model
    return core.language_model(inputs_embeds=core.language_model.embed_tokens(ids), use_cache=False).last_hidden_state


def logits(model: Any, states: Any) -> Any:
    """Logits of hidden states."""
    return _core(model).lm_head(states)
