"""The change task: what is asked, and that nothing a model writes is trusted before it fits."""

from __future__ import annotations

import json
import math
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightsim.domain import SCHEMA_IDS, VerdictStatus
from flightsim.errors import InputError
from flightsim.verdicts import schema_of
from payload.tasks import change
from payload.tasks.change import Fault, Prompt

BODY: dict[str, Any] = {
    "direction": "increase",
    "severity": "low",
    "fraction_of_tile": 0.02,
    "where": "north_west",
    "box": [0.06, 0.19, 0.44, 1.0],
}


@pytest.mark.parametrize("schema", SCHEMA_IDS)
def test_an_answer_as_taught_is_an_event_of_every_schema(schema: str) -> None:
    answer = change.parse(change.answer_text(BODY), schema)
    assert (answer.status, answer.body, answer.reason) == (VerdictStatus.EVENT, BODY, "")


def test_only_the_literal_null_is_no_event() -> None:
    assert change.parse("null", "flood_extent").status is VerdictStatus.NULL
    assert change.parse(" null\n", "flood_extent").status is VerdictStatus.NULL


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", Fault.EMPTY),
        ("   \n", Fault.EMPTY),
        ("No.", Fault.NOT_JSON),
        ("NULL", Fault.NOT_JSON),
        ("None", Fault.NOT_JSON),
        ("```json\nnull\n```", Fault.NOT_JSON),
        ("<html><body>502</body></html>", Fault.NOT_JSON),
        (change.answer_text(BODY)[:-1], Fault.NOT_JSON),
        (change.answer_text(BODY) + " and more", Fault.NOT_JSON),
        ("[" * 100_000, Fault.NOT_JSON),
        ('{"direction":"increase","direction":"decrease"}', Fault.NOT_JSON),
        (change.answer_text(BODY).replace("0.02", "NaN"), Fault.NOT_JSON),
        (change.answer_text(BODY).replace("0.02", "1e999"), Fault.SCHEMA),
        ("{}", Fault.SCHEMA),
        ("[]", Fault.SCHEMA),
        ("false", Fault.SCHEMA),
        ('"null"', Fault.SCHEMA),
        ("0", Fault.SCHEMA),
        (json.dumps({**BODY, "where": "up"}), Fault.SCHEMA),
        (json.dumps({**BODY, "fraction_of_tile": 1.5}), Fault.SCHEMA),
        (json.dumps({**BODY, "colour": "blue"}), Fault.SCHEMA),
        (json.dumps({**BODY, "box": [0.5, 0.5, 0.5, 0.9]}), Fault.SCHEMA),
        (json.dumps({**BODY, "box": [0.9, 0.1, 0.2, 0.3]}), Fault.SCHEMA),
    ],
)
def test_everything_else_is_invalid_with_its_fault(text: str, fault: Fault) -> None:
    answer = change.parse(text, "flood_extent")
    assert (answer.status, answer.body) == (VerdictStatus.INVALID, None)
    assert answer.reason.startswith(f"{fault}: ")


def test_a_cut_answer_is_invalid_even_where_it_could_be_read() -> None:
    for text in ("null", change.answer_text(BODY)):
        answer = change.parse(text, "flood_extent", complete=False)
        assert (answer.status, answer.reason.split(":")[0]) == (VerdictStatus.INVALID, "truncated")


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_fail(text: str) -> None:
    answer = change.parse(text, "ice_extent")
    assert (answer.status is VerdictStatus.NULL) == (text.strip() == "null")


def test_an_unknown_schema_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'flood_extent'"):
        change.parse("null", "flod_extent")
    with pytest.raises(InputError, match="allowed are"):
        change.prompt("lava", Prompt.SHORT, "red green blue")


@pytest.mark.parametrize("schema", SCHEMA_IDS)
def test_questions_name_the_schema_and_the_full_one_every_field(schema: str) -> None:
    title = schema_of(schema)["title"]
    assert change.prompt(schema, Prompt.SHORT, "swir nir red") == f"swir nir red: {title}?"
    told = change.prompt(schema, Prompt.FULL, "red green blue")
    assert title in told
    assert all(f'"{name}"' in told for name in change.STATED)
    assert "null" in told


def test_questions_of_different_schemas_differ() -> None:
    for version in Prompt:
        assert len({change.prompt(schema, version, "x") for schema in SCHEMA_IDS}) == len(SCHEMA_IDS)


@pytest.mark.parametrize("schema", SCHEMA_IDS)
def test_the_grammar_lets_through_what_the_schema_does(schema: str) -> None:
    grammar = jsonschema.Draft202012Validator(change.answer_schema(schema))
    assert grammar.is_valid(None)
    assert grammar.is_valid(BODY)
    assert not grammar.is_valid({**BODY, "note": "x"}), "a model states the required fields alone"
    assert not grammar.is_valid({"direction": "increase"})
    assert set(change.STATED) == set(schema_of(schema)["required"])


def test_the_area_is_worked_out_on_board() -> None:
    fields = change.derived(BODY, (128, 128), 10.0)
    assert fields["changed_area_ha"] == pytest.approx(0.02 * 128 * 128 * 100 / 1e4, abs=0.01)
    assert list(fields)[:4] == ["direction", "severity", "fraction_of_tile", "changed_area_ha"]
    assert "changed_area_ha" not in change.derived(BODY, (128, 128), 0.0)
    assert "changed_area_ha" not in change.derived(BODY, (128, 128), math.nan)
    assert change.derived({**BODY, "changed_area_ha": 3.0}, (128, 128), 10.0)["changed_area_ha"] == 3.0


_EDGE = st.floats(0, 1)


@given(st.floats(1e-4, 1.0), _EDGE, _EDGE, _EDGE, _EDGE)
def test_rounding_stays_near_and_never_loses_the_box(share: float, a: float, b: float, c: float, d: float) -> None:
    left, right = sorted((a, b))
    top, bottom = sorted((c, d))
    body = change.rounded({**BODY, "fraction_of_tile": share, "box": [left, top, right, bottom]})
    assert change.parse(change.answer_text(body), "flood_extent").status is VerdictStatus.EVENT
    if share >= change.FRACTIONS[0]:
        assert 0.7 < body["fraction_of_tile"] / share < 1.45
    given_box = body["box"]
    # Two decimals of a sixteenth are off by 0.005 at most.
    assert given_box[0] <= left + 0.006
    assert given_box[1] <= top + 0.006
    assert given_box[2] >= right - 0.006
    assert given_box[3] >= bottom - 0.006
    assert given_box[2] - given_box[0] <= right - left + 2 / change.BOX_STEPS + 0.011
