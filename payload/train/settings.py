"""Settings of a training run, and which of them the shipped model was made with: the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from flightsim.domain import SCHEMA_IDS
from flightsim.protocols import PluginConfig

from .model import ModelSize

Share = Annotated[float, Field(ge=0, le=1)]
Stage = Literal["base", "adapter"]


class StageSettings(PluginConfig):
    """One stage: the base learns to see and to answer in words, the adapter to answer in JSON."""

    samples: Annotated[int, Field(ge=1)]
    """Questions looked at."""
    learning_rate: Annotated[float, Field(gt=0, le=0.1)] = 2e-3
    """Largest learning rate; 100 steps of warm-up, then a cosine down to 3 %."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """Optimizer of the matrices; everything else is AdamW's."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Decay of matrices, embeddings of positions left out."""
    dense_weight: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Weight of the dense auxiliary loss: which cells of the new picture changed, by schema."""
    copy_weight: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Weight of repeating a verdict's text, which shows the base every token that the adapter will need."""


class LoraSettings(PluginConfig):
    """The adapter. Its targets lie in the language model only: llama.cpp's adapters cover nothing else."""

    rank: Annotated[int, Field(ge=1, le=256)] = 32
    """Rank of the update."""
    alpha: Annotated[int, Field(gt=0, le=1024)] = 64
    """Scale of the update is alpha / rank."""
    targets: str = r".*language_model.*\.(q_proj|k_proj|v_proj|out_proj|in_proj|w1|w2|w3)"
    """Pattern of the layers' names."""


class TrainSettings(PluginConfig):
    """Everything that the weights follow from, beside the version of the world."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of pairs, weights, questions and augmentation."""
    size: ModelSize = ModelSize()
    """Size of the model."""
    shards: Annotated[int, Field(ge=1)] = 100
    """Shards of training pairs."""
    shard_blocks: Annotated[int, Field(ge=1)] = 20
    """Blocks of 64 tiles in a shard; some 16 tiles of a block are kept."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 32
    """Questions of a step in each process."""
    bf16: bool = True
    """Whether matrix products run in bfloat16."""
    base: StageSettings = StageSettings(samples=480_000, learning_rate=3e-3, copy_weight=0.3)
    """The base model."""
    adapter: StageSettings = StageSettings(samples=240_000, optimizer="adamw", dense_weight=0.5)
    """The adapter on the finished base."""
    lora: LoraSettings = LoraSettings()
    """Shape of the adapter."""
    positive_share: Share = 0.5
    """Share of questions whose answer is an event. [-]"""
    hard_share: Share = 0.5
    """Share of the negatives that show an event of another schema. [-]"""
    schema_weights: Mapping[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=lambda: {
            "vegetation_stress": 1.6, "construction_progress": 1.4, "urban_delta": 1.3, "ice_extent": 0.8,
            "flood_extent": 0.7, "thermal_hotspot": 0.5,
        }
    )  # fmt: skip
    """How often a schema is asked for, relative to the others: more often what is harder to tell. Others: 1."""
    event_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of an event's tokens in the loss, relative to those of ``null``."""
    near_share: Share = 0.7
    """Share of the negatives from blocks of land where the event that is asked about happens elsewhere, so that the
    kind of place alone tells little. [-]"""
    evenness: Share = 0.75
    """0: every pair is asked about as often as any other of its kind; 1: every block of land is, however many pairs of
    the kind it has. An event that many tiles of a block show is the easier one to tell. [-]"""
    blank_share: Share = 0.02
    """Share of the questions of which one picture, the old one or the new, is made blank: a frame that shows nothing
    is no change, and the answer is that there is no event. [-]"""
    composite_shares: Mapping[str, Share] = Field(
        default_factory=lambda: {
            "swir nir red": 0.7, "swir1 nir red": 0.05, "red green blue": 0.15, "grey": 0.1,
        }
    )  # fmt: skip
    """How often each composite of the profile is shown, relative to the others; one that is not named is not. [-]"""
    display_share: Share = 0.15
    """Share of the short-wave infrared composites that are shown as somebody's display would, uncalibrated. [-]"""
    processes: Annotated[int, Field(ge=1, le=64)] = 2
    """Processes, one thread each, that share the questions of a step. Other numbers give other weights."""

    def weight_of(self, schema_id: str) -> float:
        """How often a schema is asked for."""
        return self.schema_weights.get(schema_id, 1.0)

    def steps(self, stage: StageSettings) -> int:
        """Steps of a stage."""
        return max(1, stage.samples // (self.batch * self.processes))


def unknown_schemas(settings: TrainSettings) -> list[str]:
    """Names in ``schema_weights`` that are no schemas."""
    return [name for name in settings.schema_weights if name not in SCHEMA_IDS]
