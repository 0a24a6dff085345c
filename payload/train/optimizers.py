"""Optimizers of a stage: Muon or AdamW for the matrices, AdamW for everything else; their state for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .settings import StageSettings


class Optimizers:
    """The optimizers of a stage's moving parameters, stepped together.

    Notes
    -----
    Muon replaces a matrix's averaged gradient by the nearest matrix with equal singular values, scaled to the size that
    AdamW's steps have, so one learning rate serves both. At 40,000 questions the shipped model's losses were a tenth
    lower with it. Embeddings, convolutions and vectors stay with AdamW.

    References
    ----------
    Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024). Liu et al., "Muon is scalable for
    LLM training" (2025), arXiv 2502.16982: the scale of the steps.
    """

    def __init__(self, moving: list[tuple[str, Any]], part: StageSettings) -> None:
        from torch import optim

        embedding = {name for name, _ in moving if "emb" in name}
        plain = [value for name, value in moving if value.ndim < 2 or name in embedding]
        decayed = [(name, value) for name, value in moving if value.ndim >= 2 and name not in embedding]
        by_muon = [value for _, value in decayed if part.optimizer == "muon" and value.ndim == 2]
        rest = [value for _, value in decayed if part.optimizer != "muon" or value.ndim != 2]
        rate = part.learning_rate
        self._parts: list[Any] = [
            optim.AdamW(
                [{"params": rest, "weight_decay": part.weight_decay}, {"params": plain, "weight_decay": 0.0}],
                lr=rate, betas=(0.9, 0.98),
            )
        ]  # fmt: skip
        if by_muon:
            self._parts.append(
                optim.Muon(by_muon, lr=rate, weight_decay=part.weight_decay, adjust_lr_fn="match_rms_adamw")
            )
        self.parameters: list[Any] = by_muon + rest + plain

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of all."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = rate

    def zero_grad(self) -> None:
        """Set all gradients to zero, where there are any."""
        for part in self._parts:
            part.zero_grad(set_to_none=False)

    def step(self) -> None:
        """Move all parameters."""
        for part in self._parts:
            part.step()

    def state_of(self, parameter: Any) -> Mapping[str, Any]:
        """Moments of a parameter, by name; empty before the first step."""
        return next((part.state[parameter] for part in self._parts if parameter in part.state), {})

    def restore(self, parameter: Any, moments: Mapping[str, Any]) -> None:
        """Put back what ``state_of`` gave."""
        for part in self._parts:
            if any(parameter is other for group in part.param_groups for other in group["params"]):
                part.state[parameter] = dict(moments)
