"""The siamese network in the payload's slot: what it is trained on, what it learns, what it never says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="SKIPPED LOUDLY: torch is not installed; the siamese network was not tested")
pytest.importorskip(
    "safetensors", reason="SKIPPED LOUDLY: safetensors is not installed; the siamese network was not tested"
)

import torch

from benchmarks import siamese, siamese_training
from benchmarks.siamese import MAP_CELLS, Siamese
from benchmarks.vlm_parity import compare
from benchmarks.vlm_real import Answers, interval, places, resampled
from flightsim import registry
from flightsim.domain import SCHEMA_IDS, Verdict, VerdictStatus
from flightsim.errors import InputError
from flightsim.verdicts import faults_of
from payload.train.batches import Batch
from payload.train.model import patches
from payload.train.pairs import GRID, Pairs, PictureFile
from payload.train.settings import TrainSettings

from .pictures import SIX, Picture, ground, pair_of

FOLDER = Path(siamese.__file__).parent


def squares(folder: Path, count: int, seed: int = 0) -> Pairs:
    """Pairs of grey noise; an event of the first schema is a bright square in the new picture, any other a dark one."""
    rng = np.random.default_rng(seed)
    pictures = np.repeat(rng.integers(60, 110, (count, 1, 6, 128, 128), dtype=np.uint8), 2, axis=1)
    changed = np.zeros((count, len(SCHEMA_IDS), GRID, GRID), dtype=np.uint8)
    positive = np.zeros((count, len(SCHEMA_IDS)), dtype=bool)
    for k in range(count):
        schema = k % 14
        if schema < 7:
            row, col = rng.integers(0, GRID - 4, 2)
            pictures[k, 1, :, 8 * row : 8 * row + 32, 8 * col : 8 * col + 32] = 250 if schema == 0 else 5
            changed[k, schema, row : row + 4, col : col + 4] = 255
            positive[k, schema] = True
    zeros = np.zeros((count, 7))
    stored = folder / f"{count}-{seed}.npy"
    np.save(stored, pictures)
    return Pairs(
        [PictureFile(stored)], np.zeros(1, dtype=np.int64), changed, np.zeros_like(changed),
        np.arange(count, dtype=np.int32), positive, np.ones_like(positive), positive.copy(),
        zeros.astype(np.uint8), zeros.astype(np.float32), zeros.astype(np.uint8),
        np.tile(np.array([0, 0, 0.25, 0.25], dtype=np.float32), (count, 7, 1)),
    )  # fmt: skip


def weights(path: Path, change: Any = lambda state: None, rates: dict[str, Any] | None = None) -> Path:
    torch.manual_seed(3)
    network = siamese.build_network()
    with torch.no_grad():
        change(network)
    siamese_training.save(network, path, {"rates": rates or {}})
    return path


def payload(path: Path, **settings: Any) -> Siamese:
    return Siamese(Siamese.Config(weights=str(path), **settings))


def lake(seed: str = "a") -> Picture:
    return Picture(ground(seed, {"forest": 0.6, "water": 0.4}, 128), SIX)


def always(said: float) -> Any:
    """Makes the network give one logit of an event, whatever it sees."""

    def change(network: Any) -> None:
        network.head[-1].weight.zero_()
        network.head[-1].bias.fill_(said)

    return change


# -------------------------------------------------------------------- what it is trained on


def test_it_is_shown_the_pictures_that_the_language_model_is_shown() -> None:
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (6, 128, 128, 3), dtype=np.uint8)
    batch = Batch(np.zeros((3, 4), dtype=np.int64), patches(pictures, 16), np.zeros((3, 4)), np.zeros((3, 16, 28)))
    before, after = siamese_training._pictures(batch, TrainSettings())
    np.testing.assert_array_equal(before, siamese.inputs(pictures[0::2]))
    np.testing.assert_array_equal(after, siamese.inputs(pictures[1::2]))


def test_the_map_of_changed_cells_lies_over_the_picture(tmp_path: Path) -> None:
    pairs = squares(tmp_path, 56)
    questions = siamese_training.Questions(pairs, TrainSettings())
    _, after, schema, event, _, cells = questions.draw(np.random.default_rng(0), 64, augment=False)
    assert event.any()
    for k in np.flatnonzero(event):
        apart = np.abs(after[k].mean(axis=0) - np.median(after[k]))
        share = (apart > 0.3).reshape(MAP_CELLS, 16, MAP_CELLS, 16).mean(axis=(1, 3))
        assert (share == 1).any()
        assert (cells[k, schema[k]][share == 1] == 1).all()
        assert (cells[k, schema[k]][share == 0] == 0).all()


def test_augmented_and_plain_questions_have_the_same_answers(tmp_path: Path) -> None:
    questions = siamese_training.Questions(squares(tmp_path, 56), TrainSettings())
    for augment in (False, True):
        before, after, schema, event, *_ = questions.draw(np.random.default_rng(0), 64, augment=augment)
        # A square is an event in any light and any turn, bright for the first schema.
        apart = after.mean(axis=1) - np.median(after, axis=(1, 2, 3))[:, None, None]
        lit, dim = (apart > 0.3).mean(axis=(1, 2)) > 0.03, (apart < -0.3).mean(axis=(1, 2)) > 0.03
        np.testing.assert_array_equal(np.where(schema == 0, lit, dim)[event], True)
        assert before.shape == after.shape == (64, 3, 128, 128)
        assert before.min() >= -1
        assert after.max() <= 1


def test_training_finds_what_there_is_to_find_and_is_the_same_again(tmp_path: Path) -> None:
    # Asked about the first schema alone, whose squares are bright; those of the others are dark.
    settings = TrainSettings(schema_weights=dict.fromkeys(SCHEMA_IDS[1:], 0.0))
    questions = siamese_training.Questions(squares(tmp_path, 280), settings)
    lines: list[str] = []
    network = siamese_training.train(questions, 32 * 30, 0, lines.append)
    counts = siamese_training.measured(
        network, siamese_training.Questions(squares(tmp_path, 140, seed=9), settings), 40, 0
    )
    found = counts[SCHEMA_IDS[0]]
    assert found.total == 256
    assert found.f1 is not None
    assert found.f1 > 0.9
    assert lines[-1].startswith("step 30 of 30")
    twice = [siamese_training.train(questions, 32 * 2, 0, lines.append).state_dict() for _ in range(2)]
    for name, value in twice[0].items():
        assert torch.equal(value, twice[1][name]), name


# -------------------------------------------------------------------- in the slot


def test_it_is_small_and_found_as_a_class_in_a_file(tmp_path: Path) -> None:
    count = sum(value.numel() for value in siamese.build_network().parameters())
    assert 300_000 < count < 1_000_000
    path = weights(tmp_path / "w.safetensors")
    assert path.stat().st_size < 1.5e6
    found = registry.build("payloads", "./siamese.py:Siamese", {"weights": str(path)}, FOLDER)
    assert found.needs_pixels
    assert not found.needs_truth
    assert len(found.assess_many([pair_of(lake(), lake("b"))], SCHEMA_IDS)) == 7


def test_events_fit_their_schema_and_answers_come_in_order(tmp_path: Path) -> None:
    eye = payload(weights(tmp_path / "w.safetensors", always(1.0)))
    pairs = [pair_of(lake(), lake(name)) for name in "bcd"]
    verdicts = eye.assess_many(pairs, SCHEMA_IDS)
    assert [verdict.schema_id for verdict in verdicts] == 3 * list(SCHEMA_IDS)
    for verdict in verdicts:
        assert verdict.status is VerdictStatus.EVENT
        assert verdict.body is not None
        assert not faults_of(verdict.schema_id, dict(verdict.body))
        # The logistic function of 1.
        assert verdict.confidence == pytest.approx(0.731, abs=1e-3)


@pytest.mark.parametrize(
    ("logit", "threshold", "status"), [(1.0, 0.5, "event"), (1.0, 0.8, "null"), (-2.0, 0.1, "event")]
)
def test_the_threshold_decides(tmp_path: Path, logit: float, threshold: float, status: str) -> None:
    eye = payload(weights(tmp_path / "w.safetensors", always(logit)), threshold=threshold)
    assert str(eye.assess_many([pair_of(lake(), lake("b"))], ["flood_extent"])[0].status) == status


def test_broken_weights_are_invalid_and_never_null(tmp_path: Path) -> None:
    eye = payload(weights(tmp_path / "w.safetensors", always(float("nan"))))
    verdict = eye.assess_many([pair_of(lake(), lake("b"))], ["flood_extent"])[0]
    assert verdict.status is VerdictStatus.INVALID
    assert verdict.reason.startswith("numeric")


def test_what_it_cannot_be_shown_is_told_as_with_the_language_model(tmp_path: Path) -> None:
    eye = payload(weights(tmp_path / "w.safetensors", always(9.0)))
    grey = Picture(np.full((1, 64, 64), 90, dtype=np.uint8), ("B08",))
    verdicts = eye.assess_many([pair_of(None, lake()), pair_of(grey, grey)], ["flood_extent"])
    assert [(v.status, v.confidence) for v in verdicts] == [(VerdictStatus.NULL, 0.5), (VerdictStatus.INVALID, None)]
    assert verdicts[1].reason.startswith("picture")
    wide = Picture(ground("w", {"forest": 0.5, "water": 0.5}, 192)[:, :96], SIX)
    assert eye.assess_many([pair_of(wide, wide)], ["flood_extent"])[0].status is VerdictStatus.EVENT


def test_weights_that_are_missing_or_of_another_network_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'gone.safetensors' are not there.*python -m benchmarks siamese_training"):
        payload(tmp_path / "gone.safetensors").open()
    from safetensors.torch import save_file

    save_file({"encoder.0.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="weights of another network"):
        payload(tmp_path / "other.safetensors").open()
    save_file({"encoder.0.bias": torch.zeros(32)}, tmp_path / "half.safetensors")
    with pytest.raises(InputError, match="weights of another network"):
        payload(tmp_path / "half.safetensors").open()
    with pytest.raises(InputError, match="knows no schema 'floods'"):
        payload(weights(tmp_path / "w.safetensors")).assess_many([], ["floods"])


def test_fingerprint_and_declared_rates_follow_the_weights(tmp_path: Path) -> None:
    rates = {"flood_extent": {"tpr": 0.9, "fpr": 0.04}}
    one = payload(weights(tmp_path / "a.safetensors", rates=rates))
    two = payload(weights(tmp_path / "b.safetensors", always(1.0), rates))
    assert one.fingerprint != two.fingerprint
    assert one.fingerprint == payload(tmp_path / "a.safetensors").fingerprint
    assert one.rates("flood_extent") == (0.9, 0.04)
    with pytest.raises(InputError, match="no rates for schema 'ice_extent'"):
        one.rates("ice_extent")


def test_the_weights_that_are_kept_are_those_of_the_recipe() -> None:
    path = FOLDER / siamese.WEIGHTS
    if not path.is_file():
        pytest.skip(
            "SKIPPED LOUDLY: benchmarks/siamese.safetensors is absent; make it with benchmarks siamese_training"
        )
    facts = siamese.facts_of(path)
    assert (facts["samples"], facts["seed"]) == (siamese_training.SAMPLES, siamese_training.SEED)
    assert path.stat().st_size < 1.5e6
    siamese.load_network(path)


# -------------------------------------------------------------------- the table of real pairs


def test_cases_that_lie_near_each_other_are_one_place() -> None:
    where = np.array([[10.0, 20.0], [40.0, 3.0], [10.1, 20.1], [10.0, 20.5], [40.0, 3.0]])
    assert places(where).tolist() == [0, 1, 0, 2, 1]


def test_metrics_of_answers_and_their_intervals() -> None:
    true = np.array([True, True, False, False] * 10)
    said = np.array([True, False, True, False] * 10)
    stated = np.where(said, 0.9, 0.1)
    f1, mcc, area = Answers(true, said, stated, 0, 0).metrics()
    assert (f1, mcc, area) == (0.5, 0.0, 0.5)
    sure = Answers(true, true, np.where(true, 0.8, np.nan), 0, 0)
    assert np.isnan(sure.metrics()[2])  # what was not answered has no place in the curve
    place = np.arange(40) // 4
    drawn = resampled({"sure": Answers(true, true, true * 0.8, 0, 0), "half": Answers(true, said, stated, 0, 0)}, place)
    assert drawn["sure"].shape == (2000, 3)
    np.testing.assert_array_equal(drawn["sure"], 1.0)
    # Every place has the same four answers, so resampling places changes nothing.
    np.testing.assert_allclose(drawn["half"], [[0.5, 0.0, 0.5]] * 2000, atol=1e-12)


def test_an_interval_holds_the_middle_of_the_resamples_or_is_none() -> None:
    values = np.linspace(0.0, 4.0, 1001)
    assert interval(values) == " [0.10, 3.90]"
    values[:100] = np.nan
    assert interval(values) == " [0.49, 3.91]"
    values[:300] = np.nan
    assert interval(values) == ""


def test_parity_counts_what_is_the_same_and_shows_what_is_not() -> None:
    def answer(status: VerdictStatus, body: Any = None, confidence: float | None = 0.9) -> Verdict:
        return Verdict("t", "flood_extent", status, body, confidence)

    event, null = VerdictStatus.EVENT, VerdictStatus.NULL
    first = [answer(null), answer(event, {"a": 1}), answer(event, {"a": 1}), answer(null)]
    second = [answer(null, confidence=0.8), answer(event, {"a": 1}), answer(event, {"a": 2}), answer(event, {"a": 1})]
    lines = compare("other", first, second)
    assert "identical in 2 of 4, 50.00%" in lines[0]
    assert "status in 3, 75.00%" in lines[0]
    # 0.1 against 0.2 for the first, 0.1 against 0.9 for the last.
    assert "at most 0.800 apart, mean 0.2250" in lines[1]
    assert len(lines) == 4
