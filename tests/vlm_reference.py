"""An independent reference for engines: transformers' own ``generate`` and peft, one question at a time."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np

from payload.train.model import patches
from payload.train.tokens import END, PAD, prompt_text


class Reference:
    """Base and adapter of a model folder in float32."""

    def __init__(self, folder: Path, adapter: bool = True) -> None:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForImageTextToText, AutoTokenizer

        torch.set_num_threads(1)
        base = folder / "base"
        config = json.loads((base / "config.json").read_text())
        self.patch_px = config["vision_config"]["patch_size"]
        self.side = round(config["vision_config"]["num_patches"] ** 0.5)
        self.tokenizer = AutoTokenizer.from_pretrained(base)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            model = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
            self.model = (PeftModel.from_pretrained(model, folder / "adapter") if adapter else model).eval()

    def ask(self, before, after, prompt: str, max_tokens: int) -> tuple[str, np.ndarray]:
        """The greedy answer's text, special tokens left out, and the probabilities of the first token."""
        import torch

        ids = self.tokenizer(prompt_text(self.side**2 // 4, prompt), add_special_tokens=False, return_tensors="pt")
        values = torch.from_numpy(patches(np.stack([before, after]), self.patch_px))
        with torch.no_grad():
            out = self.model.generate(
                **ids,
                pixel_values=values,
                pixel_attention_mask=torch.ones(values.shape[:2], dtype=torch.long),
                spatial_shapes=torch.tensor([[self.side, self.side]] * 2),
                max_new_tokens=max_tokens,
                do_sample=False,
                eos_token_id=END,
                pad_token_id=PAD,
                return_dict_in_generate=True,
                output_logits=True,
            )
        written = out.sequences[0, ids["input_ids"].shape[1] :]
        text = self.tokenizer.decode(written[written != END], skip_special_tokens=True)
        return text, torch.softmax(out.logits[0][0], dim=-1).numpy()

    def event_probability(self, first: np.ndarray) -> float:
        """Probability of a beginning object as first token, of it and a beginning ``null`` alone."""
        texts = [self.tokenizer.decode([token]).strip() for token in range(len(first))]
        event = sum(p for p, text in zip(first, texts, strict=True) if text.startswith("{"))
        null = sum(p for p, text in zip(first, texts, strict=True) if text and "null".startswith(text))
        return float(event / (event + null))
