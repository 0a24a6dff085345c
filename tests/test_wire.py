"""Observation and Decision over JSON: nothing changes on the way there, nothing impossible comes back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightsim import wire
from flightsim.conformance.data import observations, picture_pairs
from flightsim.domain import Action, Decision, LazyCosts, Observation, ProductSpec, Verdict, VerdictStatus
from flightsim.errors import PolicyFault

SEEN = observations()
USUAL = SEEN["one event"]


def there_and_back(seen: Observation) -> Observation:
    return wire.observation_from_json(wire.loads(wire.dumps(wire.observation_to_json(seen))))


@pytest.mark.parametrize("case", SEEN)
def test_an_observation_is_the_same_on_the_other_side(case: str) -> None:
    assert there_and_back(SEEN[case]) == SEEN[case]


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(now_s=finite, lat=finite, confidence=finite | st.none(), text=st.text(max_size=20), body=finite)
@settings(max_examples=60, deadline=None)
def test_floats_and_texts_travel_with_every_digit(
    now_s: float, lat: float, confidence: float | None, text: str, body: float
) -> None:
    verdict = Verdict("t", text, VerdictStatus.EVENT, {"area_ha": body, "where": [1, text]}, confidence)
    pair = replace(USUAL.pair, after=replace(USUAL.pair.after, lat_deg=lat))
    seen = replace(USUAL, now_s=now_s, pair=pair, verdicts=(verdict,), neighbours={text: text})
    assert there_and_back(seen) == seen


def test_pixels_stay_at_home_and_every_cost_is_computed() -> None:
    asked: list[Action] = []

    def cost(action: Action) -> int:
        asked.append(action)
        return 7

    pair = picture_pairs()["flooded"]
    seen = replace(USUAL, pair=pair, costs_bytes=LazyCosts((Action.NOTHING, Action.TILE), cost))
    far = there_and_back(seen)
    assert far.pair.after.image is None
    assert replace(far.pair.after, image=pair.after.image) == pair.after
    assert far.costs_bytes == {Action.NOTHING: 7, Action.TILE: 7}
    assert asked == [Action.NOTHING, Action.TILE]


def test_a_line_is_one_compact_line_of_ascii() -> None:
    seen = replace(USUAL, neighbours={"north": "pré\nnuit"})
    line = wire.dumps(wire.observation_to_json(seen))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert b": " not in line.replace(b"\\n", b"")


def test_numpy_numbers_and_read_only_mappings_are_written_as_what_they_hold() -> None:
    verdict = Verdict("t", "s", VerdictStatus.EVENT, MappingProxyType({"n": np.int64(3), "x": np.float32(0.5)}))
    far = there_and_back(replace(USUAL, now_s=np.float64(0.1), verdicts=(verdict,)))
    assert far.now_s == 0.1
    assert far.verdicts[0].body == {"n": 3, "x": 0.5}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_never_leaves(number: float) -> None:
    with pytest.raises(PolicyFault, match="cannot be written as JSON"):
        wire.dumps(wire.observation_to_json(replace(USUAL, now_s=number)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"now_s": "soon"}, "seen.now_s is 'soon'; it must be a finite number"),
        ({"storage_free_bytes": 1.5}, "seen.storage_free_bytes is 1.5; it must be a whole number"),
        ({"verdicts": {}}, "seen.verdicts is {}; it must be a list"),
        ({"costs_bytes": {"thumb": 3}}, "seen.costs_bytes is 'thumb'; allowed are nothing, verdict, thumbnail"),
        ({"seed": 7}, "seen has the unknown key 'seed'"),
        ({"pair": {"before": None}}, "seen.pair lacks after"),
    ],
)
def test_a_malformed_observation_is_named(change: dict[str, Any], words: str) -> None:
    data = wire.observation_to_json(USUAL) | change
    with pytest.raises(PolicyFault) as caught:
        wire.observation_from_json(data)
    assert words in str(caught.value)


def test_an_observation_lacks_no_key() -> None:
    for key in wire.observation_to_json(USUAL):
        data = wire.observation_to_json(USUAL)
        del data[key]
        with pytest.raises(PolicyFault, match=f"seen lacks {key}"):
            wire.observation_from_json(data)


DECISIONS = [
    Decision(Action.NOTHING),
    Decision(Action.VERDICT, 0, 1e-300, None, "why", True, 0.1, 2.5),
    Decision(Action.THUMBNAIL, 255, 0.1 + 0.2, ProductSpec(64, "jpeg", 80, (0.0, 0.25, 1.0, 1.0)), "é" * 500),
]


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_decision_is_the_same_on_the_other_side(decision: Decision) -> None:
    assert wire.decision_from_json(wire.loads(wire.dumps(wire.decision_to_json(decision)))) == decision


@pytest.mark.parametrize("action", Action)
def test_only_the_action_is_required(action: Action) -> None:
    assert wire.decision_from_json({"action": action.value}) == Decision(action)


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"action": "thumbnial"}, "decision.action is 'thumbnial'; allowed are nothing, verdict"),
    ({"action": "thumbnial"}, "did you mean 'thumbnail'?"),
    ({"action": ["tile"]}, "decision.action is ['tile']; allowed are"),
    ({}, "decision lacks action; allowed are nothing, verdict"),
    ({"action": "tile", "prioritY": 1}, "unknown key 'prioritY'; allowed are action, priority"),
    ({"action": "tile", "priority": -1}, "decision.priority is -1; it must be a whole number in [0, 255], 0 first"),
    ({"action": "tile", "priority": 256}, "decision.priority is 256"),
    ({"action": "tile", "priority": 1.0}, "decision.priority is 1.0"),
    ({"action": "tile", "priority": True}, "decision.priority is True"),
    ({"action": "tile", "priority": None}, "decision.priority is None"),
    ({"action": "tile", "expires_s": "tomorrow"}, "decision.expires_s is 'tomorrow'; it must be finite seconds"),
    ({"action": "tile", "expires_s": 10**400}, "decision.expires_s is 1000"),
    ({"action": "tile", "reason": "x" * 501}, "decision.reason has 501 characters; at most 500 are allowed"),
    ({"action": "tile", "reason": 5}, "decision.reason is 5; it must be a text"),
    ({"action": "tile", "reason": "\ud800"}, "decision.reason holds a lone surrogate"),
    ({"action": "tile", "keep": 1}, "decision.keep is 1; it must be true or false"),
    ({"action": "tile", "compute_s": -1}, "decision.compute_s is -1; it must be finite and not negative"),
    ({"action": "tile", "energy_j": "all"}, "decision.energy_j is 'all'"),
    ({"action": "thumbnail", "product": 128}, "decision.product is 128; it must be an object"),
    ({"action": "thumbnail", "product": {"px": 8}}, "decision.product has the unknown key 'px'"),
    ({"action": "thumbnail", "product": {"size_px": 7}}, "decision.product.size_px is 7; it must be a whole number in"),
    ({"action": "thumbnail", "product": {"codec": "gif"}}, "decision.product.codec is 'gif'; allowed are webp, jpeg"),
    ({"action": "thumbnail", "product": {"quality": 0}}, "decision.product.quality is 0"),
    ({"action": "crop", "product": {"box": [0, 0, 1]}}, "decision.product.box is (0, 0, 1); it must be four finite"),
    ({"action": "crop", "product": {"box": [0, 0, 1, "1"]}}, "it must be four finite numbers"),
]


@pytest.mark.parametrize(("data", "words"), IMPOSSIBLE)
def test_an_impossible_decision_is_named(data: dict[str, Any], words: str) -> None:
    with pytest.raises(PolicyFault) as caught:
        wire.decision_from_json(data)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "is no JSON"),
        (b"sending tile now", "is no JSON"),
        (b'["tile"]', "is no JSON object: '[\"tile\"]'"),
        (b'{"action":"tile","expires_s":NaN}', "NaN is no finite number"),
        (b'{"action":"tile","expires_s":-Infinity}', "-Infinity is no finite number"),
        (b"\xff\xfe{}", "is no JSON"),
        (b"[" * 200_000, "is no JSON"),
        (b'{"priority":' + b"9" * 5000 + b"}", "is no JSON"),
    ],
)
def test_rubbish_is_told_from_json(line: bytes, words: str) -> None:
    with pytest.raises(PolicyFault) as caught:
        wire.loads(line)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_overflowing_number_is_not_finite() -> None:
    with pytest.raises(PolicyFault, match="expires_s is inf"):
        wire.decision_from_json(wire.loads(b'{"action":"tile","expires_s":1e999}'))


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (None, "the policy returned None (NoneType); it must return a Decision"),
        ("tile", "the policy returned 'tile' (str)"),
        (Rude(), "the policy returned Rude (RuntimeError when shown)"),
        (Decision("tile"), "action is 'tile'; write a member of Action"),  # type: ignore[arg-type]
        (Decision(Action.MASK), "action is 'mask', which is not on offer; on offer are nothing, verdict, thumbnail"),
        (Decision(Action.TILE, priority=300), "priority is 300"),
        (Decision(Action.TILE, priority=10**5000), "priority is int (ValueError when shown)"),
        (Decision(Action.TILE, expires_s=math.nan), "expires_s is nan"),
        (Decision(Action.TILE, compute_s=math.inf), "compute_s is inf"),
        (Decision(Action.TILE, reason="x" * 501), "reason has 501 characters"),
        (Decision(Action.TILE, product=128), "product is 128; it must be a ProductSpec"),  # type: ignore[arg-type]
    ],
)
def test_what_is_impossible_about_a_decision_is_said_in_words(decision: object, words: str) -> None:
    problem = wire.validate_decision(decision, USUAL)
    assert problem is not None
    assert words in problem


@pytest.mark.parametrize("action", [Action.NOTHING, Action.VERDICT, Action.THUMBNAIL, Action.TILE])
def test_a_possible_decision_passes_without_asking_for_a_cost(action: Action) -> None:
    def cost(_: Action) -> int:
        raise AssertionError("a cost was asked")

    seen = replace(USUAL, costs_bytes=LazyCosts(tuple(USUAL.costs_bytes), cost))
    assert wire.validate_decision(Decision(action, expires_s=5), seen) is None
    assert wire.validate_decision(Decision(Action.MASK), seen) is not None


def test_the_published_decision_schema_is_what_is_written() -> None:
    written = json.loads(wire.dumps(wire.decision_to_json(DECISIONS[2])))
    assert list(written) == ["action", "priority", "expires_s", "product", "reason", "keep", "compute_s", "energy_j"]
    assert list(written["product"]) == ["size_px", "codec", "quality", "box"]
