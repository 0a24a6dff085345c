"""The training loop: one process a core, equal weights in all, a checkpoint now and then.

A step's questions follow from (seed, stage, step, process), so an interrupted run goes on as it would have.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flightsim.rng import stream

from .batches import Batches, Kind
from .losses import answer_losses, copy_batch, copy_loss
from .optimizers import Optimizers
from .settings import Stage, StageSettings, TrainSettings

_WARM_UP_STEPS = 100
_LAST_RATE = 0.03
_CHECKPOINT_STEPS = 500
#: Text-only questions of a step; they are short.
_COPIES = 4
#: What AdamW and Muon keep of a parameter.
_MOMENTS = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")
_KINDS: dict[Stage, Kind] = {"base": "words", "adapter": "json"}


@dataclass(frozen=True)
class Progress:
    """How far a stage is. Losses are running means."""

    stage: Stage
    step: int
    steps: int
    samples: int
    answer_loss: float
    dense_loss: float


@dataclass(frozen=True)
class Crew:
    """The processes that train together: this one's rank and how many there are."""

    rank: int = 0
    count: int = 1

    def wait(self) -> None:
        """Wait until all are here."""
        if self.count > 1:
            from torch import distributed

            distributed.barrier()

    def mean(self, parameters: list[Any]) -> None:
        """Replace the gradients by their means over all processes."""
        if self.count == 1:
            return
        import torch
        from torch import distributed

        flat = torch.cat([parameter.grad.reshape(-1) for parameter in parameters])
        distributed.all_reduce(flat)
        flat /= self.count
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            parameter.grad.copy_(flat[start:end].view_as(parameter))
            start = end


@contextmanager
def crew(rank: int, count: int, meeting: Path) -> Iterator[Crew]:
    """Join the other processes through a file that all can see."""
    if count == 1:
        yield Crew()
        return
    from torch import distributed

    # The processes are on one machine: nothing needs to leave it.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
    try:
        yield Crew(rank, count)
    finally:
        distributed.destroy_process_group()


def train_stage(
    stage: Stage,
    model: Any,
    head: Any,
    batches: Batches,
    tokenizer: Any,
    settings: TrainSettings,
    checkpoint: Path,
    team: Crew,
    told: Callable[[Progress], None],
) -> None:
    """Train a model in place, from its last checkpoint on where there is one."""
    import torch

    part: StageSettings = settings.base if stage == "base" else settings.adapter
    steps = settings.steps(part)
    named = [*model.named_parameters(), *((f"dense.{name}", value) for name, value in head.named_parameters())]
    moving = [(name, value) for name, value in named if value.requires_grad]
    optimizers = Optimizers(moving, part)
    done = _resume(checkpoint, moving, optimizers)
    null = int(tokenizer("null", add_special_tokens=False)["input_ids"][0])
    means = np.zeros(2)
    # For some seventy tokens the fused kernels' backward passes take longer than plain products do.
    model.set_attn_implementation("eager")
    model.train()
    for step in range(done, steps):
        rate = part.learning_rate * _schedule(step, steps)
        optimizers.set_rate(rate)
        rng = stream(settings.seed, f"train/{stage}/{step}/{team.rank}")
        batch = batches.draw(rng, settings.batch, _KINDS[stage])
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bf16):
            answer, dense = answer_losses(model, head, batch, settings.size.image_tokens, settings.event_weight, null)
            loss = answer + part.dense_weight * dense
            if part.copy_weight:
                loss = loss + part.copy_weight * copy_loss(model, *copy_batch(rng, _COPIES, tokenizer))
        optimizers.zero_grad()
        loss.backward()
        team.mean(optimizers.parameters)
        torch.nn.utils.clip_grad_norm_(optimizers.parameters, 1.0)
        optimizers.step()
        now = np.array([answer.item(), dense.item()])
        if not np.isfinite(now).all():
            raise ArithmeticError(f"the loss of step {step} of stage {stage} is {now}; lower the learning rate")
        means = now if step == done else 0.97 * means + 0.03 * now
        if team.rank == 0:
            told(Progress(stage, step + 1, steps, (step + 1) * settings.batch * team.count, *means.tolist()))
            if (step + 1) % _CHECKPOINT_STEPS == 0:
                _save(checkpoint, step + 1, moving, optimizers)
    model.eval()


def _schedule(step: int, steps: int) -> float:
    cosine = 0.5 * (1.0 + math.cos(math.pi * step / steps))
    return min(1.0, (step + 1) / _WARM_UP_STEPS) * (_LAST_RATE + (1.0 - _LAST_RATE) * cosine)


def _save(path: Path, step: int, moving: list[tuple[str, Any]], optimizers: Optimizers) -> None:
    """A checkpoint as safetensors: weights and the moments of the optimizers."""
    import torch
    from safetensors.torch import save_file

    state = {"step": torch.tensor(step)}
    for name, value in moving:
        state[f"weights/{name}"] = value.detach()
        for key, moment in optimizers.state_of(value).items():
            state[f"{key}/{name}"] = torch.as_tensor(moment).clone()
    partial = path.with_suffix(".partial")
    save_file({name: value.contiguous() for name, value in state.items()}, partial)
    os.replace(partial, path)


def _resume(path: Path, moving: list[tuple[str, Any]], optimizers: Optimizers) -> int:
    """Load a checkpoint, if there is one, and give the steps that it has behind it."""
    if not path.is_file():
        return 0
    import torch
    from safetensors.torch import load_file

    state = load_file(path)
    with torch.no_grad():
        for name, value in moving:
            value.copy_(state[f"weights/{name}"])
            optimizers.restore(value, {key: state[f"{key}/{name}"] for key in _MOMENTS if f"{key}/{name}" in state})
    return int(state["step"])
