"""Decoding under a grammar: what the mask lets through, with a vocabulary of 512 and one of 65,536."""

from __future__ import annotations

import json
import sys

import jsonschema
import numpy as np
import pytest

from flightsim.domain import SCHEMA_IDS
from flightsim.errors import InputError, MissingExtra
from payload.tasks import change
from payload.vlm.constrained import Grammars, SchemaMask, bounded

from . import real_class

pytest.importorskip("llguidance", reason="SKIPPED LOUDLY: decoding under a grammar needs the extra [vlm]")
pytest.importorskip("transformers", reason="SKIPPED LOUDLY: tokenizers need the extra [vlm]")


@pytest.fixture(scope="module")
def tiny():
    from payload.train.tokens import build_tokenizer

    return build_tokenizer(("swir nir red", "red green blue"))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    from payload.vlm.transformers_engine import load_tokenizer

    folder = tmp_path_factory.mktemp("large")
    real_class.build_tokenizer(folder, [change.prompt(schema, change.Prompt.FULL, "rgb") for schema in SCHEMA_IDS])
    return load_tokenizer(folder)


def grammars(tokenizer):
    return Grammars(tokenizer, len(tokenizer), [tokenizer.eos_token_id])


def taught(seed):
    draws = np.random.default_rng(seed)
    left, top = draws.uniform(0, 0.6, 2)
    body = {
        "direction": draws.choice(change.DIRECTIONS), "severity": draws.choice(["none", "low", "moderate", "severe"]),
        "fraction_of_tile": draws.choice(change.FRACTIONS), "where": draws.choice(change.CELLS),
        "box": [left, top, left + 0.3, top + 0.2],
    }  # fmt: skip
    return change.answer_text(json.loads(json.dumps(change.rounded(body), default=str)))


@pytest.mark.parametrize("schema", SCHEMA_IDS)
@pytest.mark.parametrize("text", ["null", *(taught(seed) for seed in range(5))])
def test_every_taught_answer_passes_and_nothing_follows_it(tiny, schema, text):
    mask = SchemaMask(grammars(tiny), [change.answer_schema(schema)])
    for token in tiny(text, add_special_tokens=False)["input_ids"]:
        assert mask.allowed([0])[0, token], text
        mask.advance(0, token)
        assert mask.fault(0) == ""
    assert np.flatnonzero(mask.allowed([0])[0]).tolist() == [tiny.eos_token_id]


def test_whole_pieces_of_a_verdict_are_let_through_at_once(tiny):
    # Independent of any grammar: a first token is a beginning of an answer, and all such tokens are allowed.
    starts = ["null"] + [
        f'{{"direction":"{word}","severity":"{level}' for word in change.DIRECTIONS for level in ("none", "low")
    ]
    wanted = {
        token
        for token in range(len(tiny))
        if token not in tiny.all_special_ids and any(start.startswith(tiny.decode([token])) for start in starts)
    }
    allowed = SchemaMask(grammars(tiny), [change.answer_schema("flood_extent")]).allowed([0])[0]
    assert set(np.flatnonzero(allowed).tolist()) == wanted
    assert tiny.convert_tokens_to_ids("null") in wanted
    assert len(wanted) > 4


@pytest.mark.parametrize("vocabulary", ["tiny", "large"])
@pytest.mark.parametrize("seed", range(6))
def test_a_random_walk_within_the_mask_is_a_short_answer_of_the_schema(request, vocabulary, seed):
    tokenizer = request.getfixturevalue(vocabulary)
    draws = np.random.default_rng(seed)
    schema = change.answer_schema(SCHEMA_IDS[seed % len(SCHEMA_IDS)])
    mask, written = SchemaMask(grammars(tokenizer), [schema]), []
    for _ in range(256):
        allowed = np.flatnonzero(mask.allowed([0])[0])
        token = int(draws.choice(allowed))
        mask.advance(0, token)
        assert mask.fault(0) == ""
        if token == tokenizer.eos_token_id:
            break
        written.append(token)
    else:
        pytest.fail(f"no end after {len(written)} tokens: {tokenizer.decode(written)}")
    text = tokenizer.decode(written)
    assert " " not in text
    jsonschema.validate(json.loads(text), schema)


def test_numbers_between_bounds_have_four_decimals_and_others_stay():
    given = {"a": {"type": "number", "minimum": 0, "maximum": 1}, "b": [{"type": "number"}], "c": {"type": "integer"}}
    assert bounded(given) == given | {"a": given["a"] | {"multipleOf": 1e-4}}
    kept = {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.5}
    assert bounded(kept) == kept


@pytest.mark.parametrize(("text", "passes"), [("0.0005", True), ("0.12345", False), ("0.50000", False), ("1.1", False)])
def test_shares_end(tiny, text, passes):
    mask = SchemaMask(grammars(tiny), [{"type": "number", "minimum": 0, "maximum": 1}])
    digits = [tiny.convert_tokens_to_ids(letter) for letter in text]
    for token in digits:
        mask.advance(0, token)
    assert (mask.fault(0) == "" and bool(mask.allowed([0])[0, tiny.eos_token_id])) is passes


def test_answers_do_not_touch_each_other(tiny):
    schema = change.answer_schema("ice_extent")
    mask = SchemaMask(grammars(tiny), [schema, schema, schema])
    fresh = mask.allowed([1])[0]
    mask.advance(0, tiny.convert_tokens_to_ids("null"))
    mask.advance(2, tiny.convert_tokens_to_ids("<image>"))
    both = mask.allowed([0, 1, 2])
    assert np.flatnonzero(both[0]).tolist() == [tiny.eos_token_id]
    assert (both[1] == fresh).all()
    assert not both[2].any(), "an answer whose grammar gave up is not written on"
    assert mask.fault(0) == mask.fault(1) == ""
    assert "doesn't satisfy the grammar" in mask.fault(2)
    assert "\n" not in mask.fault(2)


def test_a_schema_that_is_none_is_refused(tiny):
    with pytest.raises(InputError, match=r"JSON Schema cannot be made a grammar: .*notatype"):
        grammars(tiny).matcher({"type": "notatype"})


def test_without_llguidance_the_install_line_is_named(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    monkeypatch.setitem(sys.modules, "llguidance.hf", None)
    with pytest.raises(MissingExtra, match=r"llguidance.*pip install 'flightsim\[vlm\]'"):
        grammars(tiny)
