"""Short trainings that differ in one choice: what differs, and how they are judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="SKIPPED LOUDLY: torch is not installed; the trials of the recipe were not tested")
pytest.importorskip(
    "transformers", reason="SKIPPED LOUDLY: transformers is not installed; the trials of the recipe were not tested"
)

from benchmarks import training_trials
from payload.train.settings import TrainSettings

from .test_siamese import squares


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(training_trials, "load_pairs", lambda *where: squares(tmp_path, 140))


def test_a_trial_differs_from_the_shipped_recipe_in_its_choice_alone() -> None:
    shipped = TrainSettings().model_dump()
    for name, changed in training_trials.TRIALS.items():
        told = training_trials.settings_of(name, 48_000).model_dump()
        base = {**shipped["base"], "samples": 48_000, **changed.get("base", {})}
        assert told == {**shipped, "processes": 1, **changed, "base": base}


@pytest.mark.parametrize(("word", "recall"), [("Yes", 1.0), ("No.", 0.0)])
def test_a_base_that_always_says_one_word_is_judged_so(
    pairs: None, monkeypatch: pytest.MonkeyPatch, word: str, recall: float
) -> None:
    import torch

    from payload.train import loop, model
    from payload.train.tokens import build_tokenizer
    from payload.vlm.profile import load_profile

    tokenizer = build_tokenizer(tuple(item.name for item in load_profile("flightsim").pictures.composites))
    said = int(tokenizer(word, add_special_tokens=False)["input_ids"][0])

    def one_word(_: Any, states: Any) -> Any:
        return torch.nn.functional.one_hot(torch.full((len(states),), said), len(tokenizer))

    monkeypatch.setattr(loop, "train_stage", lambda *given: None)
    monkeypatch.setattr(model, "logits", one_word)
    told = training_trials.trial("as it is", Path(), 1, 32, asked=100)
    assert told.counts.total == 100
    assert told.counts.recall == recall
    assert told.small[0] == recall * told.small[1]
    assert told.small[1] == told.counts.tp + told.counts.fn > 0  # the squares' share is not stated, so all are small


def test_equal_trials_are_equal_and_a_choice_trains_another_model(pairs: None) -> None:
    first, again, other = (
        training_trials.trial(name, Path(), 1, 64, asked=50).loss for name in ("as it is", "as it is", "no map")
    )
    assert again == first
    assert other != first
