"""A model folder with the structure of LFM2.5-VL-450M and random weights, and what must work on one.

Kept: class, 16 layers of the language model in their order of convolution and attention, convolutions of length 3,
grouped queries, feed-forward widths that adjust themselves, tied embeddings, 65,536 tokens with the family's special
names and ids, 12 layers of the tower, patches of 16 px, a 16 x 16 table of positions that is resized, pixel unshuffle
by two, tiles of 512 px with thumbnail, files as the hub has them, bfloat16 on disk. Narrowed for tests: the widths of
language model, tower and projector, and the heads. The vocabulary's pieces are made up.

``python -m tests.real_class FOLDER [--true-size]`` builds one and exercises it, then prints what came out as JSON.
"""

from __future__ import annotations

import itertools
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

VOCABULARY = 65_536
#: Layers of the language model as in LFM2-350M and LFM2.5-350M: ten short convolutions, six attentions.
LAYERS = ["conv", "conv", "full_attention"] * 3 + ["conv", "full_attention"] * 3 + ["conv"]
#: Widths: true ones of the 450M, and narrow ones for tests. All else is the same for both.
TRUE = {
    "text": {"hidden_size": 1024, "block_ff_dim": 6656, "intermediate_size": 6656, "num_attention_heads": 16,
             "num_key_value_heads": 8},
    "vision": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    "projector": 2560,
}  # fmt: skip
NARROW = {
    "text": {"hidden_size": 64, "block_ff_dim": 256, "intermediate_size": 256, "num_attention_heads": 4,
             "num_key_value_heads": 2},
    "vision": {"hidden_size": 48, "intermediate_size": 96, "num_attention_heads": 4},
    "projector": 96,
}  # fmt: skip
#: Linear layers of the language model alone, as adapters of the shipped model have them.
TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|out_proj|in_proj|w1|w2|w3)"


def specials() -> list[str]:
    """Special tokens by id, as LFM2-VL numbers them: 396 stands for a picture, 397 to 496 for places in the grid."""
    names = ["<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|fim_pre|>", "<|fim_mid|>", "<|fim_suf|>"]
    names += ["<|im_start|>", "<|im_end|>", "<|tool_list_start|>", "<|tool_list_end|>", "<|tool_call_start|>"]
    names += ["<|tool_call_end|>", "<|tool_response_start|>", "<|tool_response_end|>"]
    names += [f"<|reserved_{number}|>" for number in range(len(names), 396)]
    names += ["<image>", *(f"<|img_row_{row}_col_{col}|>" for row in range(1, 11) for col in range(1, 11))]
    return [*names, "<|img_thumbnail|>", "<|image_start|>", "<|image_end|>"]


def build_tokenizer(folder: Path, texts: list[str]) -> None:
    """Write a byte-level BPE of 65,536 tokens: pieces of ``texts``, then syllables that nobody needs."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learnt.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, show_progress=False)
    )
    merges = [tuple(pair) for pair in json.loads(learnt.to_str())["model"]["merges"]]
    names = specials()
    known = dict.fromkeys([*names, *alphabet, *("".join(pair) for pair in merges)])
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pairs = itertools.chain(
        itertools.product(letters, letters),
        itertools.product(map("".join, itertools.product(letters, letters)), letters),
        itertools.product(map("".join, itertools.product(letters, letters, letters)), letters),
    )
    for pair in pairs:
        if len(known) == VOCABULARY:
            break
        if "".join(pair) not in known:
            known["".join(pair)] = None
            merges.append(pair)
    core = Tokenizer(models.BPE(vocab={name: number for number, name in enumerate(known)}, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    core.save(str(folder / "tokenizer.json"))
    marks = {"image_end_token": "<|image_end|>", "image_start_token": "<|image_start|>", "image_token": "<image>",
             "image_thumbnail": "<|img_thumbnail|>"}  # fmt: skip
    told = {
        "backend": "tokenizers", "bos_token": "<|startoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>",
        "clean_up_tokenization_spaces": True, "is_local": True, "legacy": False, "padding_side": "right",
        "model_max_length": 1000000000000000019884624838656, "model_specific_special_tokens": marks, **marks,
        "processor_class": "Lfm2VlProcessor", "return_token_type_ids": False, "sp_model_kwargs": {},
        "spaces_between_special_tokens": False, "tokenizer_class": "TokenizersBackend", "use_fast": True,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(told, indent=2))


def build(folder: Path, widths: dict, seed: int = 11) -> None:
    """Write base files at the top of ``folder``, as the hub has them: no manifest, no profile."""
    import torch
    from transformers import Lfm2Config, Lfm2VlConfig, Lfm2VlForConditionalGeneration, Siglip2VisionConfig

    from flightsim.domain import SCHEMA_IDS
    from payload.tasks import change
    from payload.train.tokens import CHAT_TEMPLATE
    from payload.vlm.transformers_engine import quiet

    folder.mkdir(parents=True)
    whole = '{{"direction":"{}","severity":"{}","fraction_of_tile":0.25,"where":"{}","box":[0.5,0.75]}} null'
    severities = ("none", "low", "moderate", "severe")
    answers = [whole.format(*words) for words in itertools.product(change.DIRECTIONS, severities, change.CELLS)]
    questions = [change.prompt(schema, change.Prompt.FULL, "red green blue") for schema in SCHEMA_IDS]
    build_tokenizer(folder, (answers + questions + ["user\nassistant\nsystem\n"]) * 20)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    text = Lfm2Config(
        vocab_size=VOCABULARY, num_hidden_layers=len(LAYERS), layer_types=LAYERS, block_auto_adjust_ff_dim=True,
        block_multiple_of=256, block_ffn_dim_multiplier=1.0, conv_bias=False, conv_L_cache=3, norm_eps=1e-5,
        max_position_embeddings=128_000, rope_theta=1_000_000.0, bos_token_id=1, eos_token_id=7, pad_token_id=0,
        **widths["text"],
    )  # fmt: skip
    vision = Siglip2VisionConfig(
        num_hidden_layers=12, patch_size=16, num_patches=256, num_channels=3, vision_use_head=False, **widths["vision"]
    )
    config = Lfm2VlConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=396,
        projector_hidden_size=widths["projector"],
        downsample_factor=2,
    )
    torch.manual_seed(seed)
    model = Lfm2VlForConditionalGeneration(config)
    # Initial weights are so small that every answer is a near tie; three times as large, pictures count.
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(3.0)
    model.to(torch.bfloat16)
    model.generation_config.bos_token_id, model.generation_config.eos_token_id = 1, 7
    model.generation_config.pad_token_id = 0
    with quiet():
        model.save_pretrained(folder)
    settings = {
        "data_format": "channels_first", "do_image_splitting": True, "do_normalize": True, "do_pad": True,
        "do_rescale": True, "do_resize": True, "downsample_factor": 2, "encoder_patch_size": 16,
        "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "Lfm2VlImageProcessorFast", "image_std": [0.5, 0.5, 0.5],
        "max_image_tokens": 256, "max_num_patches": 1024, "max_pixels_tolerance": 2.0, "max_tiles": 10,
        "min_image_tokens": 32, "min_tiles": 2, "resample": 2, "rescale_factor": 1 / 255, "return_row_col_info": True,
        "size": {"height": 512, "width": 512}, "tile_size": 512, "use_thumbnail": True,
    }  # fmt: skip
    whole = {"processor_class": "Lfm2VlProcessor", "use_image_special_tokens": True, "image_processor": settings}
    (folder / "processor_config.json").write_text(json.dumps(whole, indent=2))


def questions() -> list:
    """Pairs of 128 px, of 600 px, and of 768 x 704 px, which are cut into four tiles and a thumbnail."""
    from payload.tasks import change
    from payload.vlm.engine import Question

    draws = np.random.default_rng(11)
    asked = []
    for schema, size in (("flood_extent", (128, 128)), ("ice_extent", (600, 600)), ("urban_delta", (768, 704))):
        before, after = (draws.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(2))
        text = change.prompt(schema, change.Prompt.FULL, "red green blue")
        asked.append(Question(before, after, text, change.answer_schema(schema)))
    return asked


def adapt(model, seed: int = 3):
    """The model with a random LoRA of rank 8 around its language model."""
    import peft
    import torch

    from payload.vlm.transformers_engine import quiet

    torch.manual_seed(seed)
    with quiet():
        tuned = peft.get_peft_model(model, peft.LoraConfig(r=8, lora_alpha=16, target_modules=TARGETS))
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, 0.05)
    return tuned.eval()


def first_logits(model, folder: Path, asked) -> np.ndarray:
    """Logits of the token after a prompt, by transformers' own forward pass with two pictures, shape (vocabulary,)."""
    import torch

    from payload.vlm.processor import open_processor
    from payload.vlm.transformers_engine import load_tokenizer

    seen = open_processor(folder)([asked.before, asked.after])
    tiles = [tile for one in seen for tile in one.tiles]
    longest = max(tile.size for tile in tiles)
    values, mask = (
        np.zeros((len(tiles), longest, tiles[0].values.shape[1]), np.float32),
        np.zeros((len(tiles), longest), np.int32),
    )
    for row, tile in enumerate(tiles):
        values[row, : tile.size], mask[row, : tile.size] = tile.values, 1
    text = f"<|startoftext|><|im_start|>user\n{seen[0].text}{seen[1].text}{asked.prompt}<|im_end|>\n"
    text += "<|im_start|>assistant\n"
    ids = torch.tensor([load_tokenizer(folder)(text, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        told = model(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=torch.from_numpy(values).to(model.dtype),
            spatial_shapes=torch.tensor([tile.shape for tile in tiles]), pixel_attention_mask=torch.from_numpy(mask),
        )  # fmt: skip
    return told.logits[0, -1].float().numpy()


def main(folder: Path, true_size: bool = False) -> dict:
    """Load, ask, adapt, save, reload and merge a model of the real class; what came out."""
    # An import of torchvision now fails as if it were not installed.
    sys.modules["torchvision"] = None
    import torch

    from payload.vlm.decoding import Decoder
    from payload.vlm.processor import has_torchvision, open_processor
    from payload.vlm.profile import load_profile
    from payload.vlm.transformers_engine import Transformers, load_model, load_tokenizer, with_adapter
    from payload.vlm.weights import open_weights

    torch.set_num_threads(1)
    base, adapter, dtype = folder / "LFM2.5-VL-450M", folder / "adapter", "bfloat16" if true_size else "float32"
    build(base, TRUE if true_size else NARROW)
    profile, asked = load_profile("lfm2.5-vl"), questions()

    def told(replies) -> list[dict]:
        return [
            {"text": r.text, "finish": str(r.finish), "prompt": r.prompt_tokens, "p": r.event_probability}
            for r in replies
        ]

    start = time.perf_counter()
    engine = Transformers(open_weights(base, None, "transformers"), profile, "cpu", dtype, batch=2)
    engine.open()
    out: dict = {"torchvision": has_torchvision(), "name": engine.name, "load_s": time.perf_counter() - start}
    alone, out["seconds"] = [], []
    for question in asked:
        start = time.perf_counter()
        alone += engine.ask_many([question])
        out["seconds"].append(round(time.perf_counter() - start, 2))
    out["tokens"] = [reply.tokens for reply in alone]
    out["bare"], out["together"] = told(alone), told(engine.ask_many(asked[:2]))
    engine.close()

    tuned = adapt(load_model(base, None, getattr(torch, dtype), "cpu"))
    out["parameters"] = sum(weight.numel() for name, weight in tuned.named_parameters() if "lora_" not in name)
    asker = Decoder(tuned, load_tokenizer(base), open_processor(base, profile.image_tokens), profile)
    out["adapted"] = told(reply for question in asked[:2] for reply in asker.answer([question]))
    tuned.save_pretrained(adapter)
    engine = Transformers(open_weights(base, adapter, "transformers"), profile, "cpu", dtype, batch=1)
    out["reloaded"] = told(engine.ask_many(asked[:2]))
    engine.close()

    logits = [first_logits(tuned, base, question) for question in asked[:2]]
    del tuned, asker
    again = with_adapter(load_model(base, None, getattr(torch, dtype), "cpu"), adapter, base).eval()
    out["reload_off"] = _off(again, base, asked[:2], logits)
    out["merge_off"] = _off(again.merge_and_unload(), base, asked[:2], logits)
    out["logit_range"] = float(np.ptp(logits[0]))
    out["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return out


def _off(model, base: Path, asked, logits) -> float:
    return max(float(np.abs(first_logits(model, base, q) - was).max()) for q, was in zip(asked, logits, strict=True))


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), "--true-size" in sys.argv)))
