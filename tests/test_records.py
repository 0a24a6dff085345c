"""Verdict records: what goes up comes down the same, sizes add up, damage is told."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightsim import records
from flightsim.domain import SCHEMA_IDS, UnclassifiableReason, Verdict, VerdictStatus
from flightsim.errors import InputError, RunError
from flightsim.verdicts import schema_of

TILE = "g1280/r04512c00730@86400"
NULLS = [Verdict(TILE, schema, VerdictStatus.NULL) for schema in SCHEMA_IDS]
BODY = {
    "direction": "increase", "severity": "moderate", "fraction_of_tile": 0.123, "changed_area_ha": 20.2,
    "where": "north_east", "box": [0.12, 0.31, 0.55, 0.62], "water_fraction_before": 0.02, "water_fraction_after": 0.14,
}  # fmt: skip
FLOOD = Verdict(TILE, "flood_extent", VerdictStatus.EVENT, BODY, 0.931)
CLOUDED = [Verdict(TILE, schema, VerdictStatus.UNCLASSIFIABLE, reason="cloud") for schema in SCHEMA_IDS]

finite = st.floats(allow_nan=False, allow_infinity=False)
scalar = st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), finite, st.text(max_size=8))
value = st.one_of(scalar, st.lists(scalar, max_size=4), st.dictionaries(st.text(max_size=3), scalar, max_size=2))


def bodies(schema):
    """Fields of the schema with values that fit and values that do not, and names that the schema does not know."""
    known = {
        name: st.one_of(value, st.sampled_from(rule["enum"])) if "enum" in rule else value
        for name, rule in schema_of(schema)["properties"].items()
    }
    foreign = st.dictionaries(st.text(max_size=5), value, max_size=2)
    return st.builds(lambda rest, own: {**rest, **own}, foreign, st.fixed_dictionaries({}, optional=known))


@st.composite
def answers(draw, tile=TILE):
    verdicts = []
    for schema in SCHEMA_IDS:
        status = draw(st.sampled_from([None, *VerdictStatus]))
        if status is VerdictStatus.EVENT:
            confidence = draw(st.one_of(st.none(), st.integers(0, 1000).map(lambda k: k / 1000)))
            verdicts.append(Verdict(tile, schema, status, draw(bodies(schema)), confidence))
        elif status is VerdictStatus.UNCLASSIFIABLE:
            reason = draw(
                st.one_of(st.sampled_from([str(r) for r in UnclassifiableReason]), st.text("0 5c", max_size=4))
            )
            verdicts.append(Verdict(tile, schema, status, reason=reason))
        elif status is not None:
            verdicts.append(Verdict(tile, schema, status))
    return verdicts


@given(st.lists(answers(), max_size=4))
def test_a_batch_is_its_records_end_to_end_and_comes_back(batch):
    lines = [records.encode_record(TILE, verdicts) for verdicts in batch]
    data = b"".join(lines)
    assert records.decode_records(data) == [(TILE, verdicts) for verdicts in batch]
    assert len(data) == records.BATCH_HEADER_BYTES + sum(map(len, lines))


@given(st.text(), st.binary(max_size=40))
def test_a_product_gives_back_its_record_and_its_picture(tile, picture):
    verdicts = [Verdict(tile, "flood_extent", VerdictStatus.EVENT, BODY, 0.5)]
    data = records.encode_product(records.encode_record(tile, verdicts), picture)
    assert records.decode_product(data) == (tile, verdicts, picture)


@pytest.mark.parametrize("schema", SCHEMA_IDS)
def test_every_value_of_every_enum_comes_back(schema):
    for name, rule in schema_of(schema)["properties"].items():
        for choice in rule.get("enum", ()):
            verdict = Verdict(TILE, schema, VerdictStatus.EVENT, {name: choice}, 0.5)
            assert records.decode_records(records.encode_record(TILE, [verdict])) == [(TILE, [verdict])]


def test_confidence_comes_back_to_three_decimals_and_numpy_values_as_plain_ones():
    body = {"box": np.array([0.0, 0.25, 0.5, 1.0]), "fraction_of_tile": np.float64(0.125)}
    line = records.encode_record(TILE, [Verdict(TILE, "ice_extent", VerdictStatus.EVENT, body, np.float32(0.93149))])
    [(_, [verdict])] = records.decode_records(line)
    assert verdict.confidence == 0.931
    assert verdict.body == {"box": [0.0, 0.25, 0.5, 1.0], "fraction_of_tile": 0.125}


@pytest.mark.parametrize(
    ("verdicts", "most_bytes"),
    [(NULLS, 35), (CLOUDED, 50), ([Verdict(TILE, "flood_extent", VerdictStatus.EVENT, {}, 0.93)], 50)],
)
def test_records_without_fields_are_short(verdicts, most_bytes):
    assert len(records.encode_record(TILE, verdicts)) <= most_bytes


def test_a_record_with_all_fields_takes_less_than_half_of_its_plain_json():
    plain = {
        "tile": TILE,
        "verdicts": [{"schema": "flood_extent/1", "event": True, "fields": BODY, "confidence": 0.931}],
    }
    line = records.encode_record(TILE, [FLOOD])
    assert len(line) < 0.5 * len(json.dumps(plain, separators=(",", ":")))


def test_nulls_cost_at_most_two_bytes():
    one = len(records.encode_record(TILE, [FLOOD]))
    assert len(records.encode_record(TILE, [FLOOD, *(v for v in NULLS if v.schema_id != "flood_extent")])) - one <= 2


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([FLOOD, NULLS[1]], "schema 'flood_extent' is answered twice"),
        ([Verdict(TILE, "flood_extend", VerdictStatus.NULL)], "Did you mean 'flood_extent'"),
        ([Verdict(TILE, "flood_extent", VerdictStatus.EVENT, {}, float("nan"))], r"confidence is nan .* \[0, 1\]"),
        ([Verdict(TILE, "flood_extent", VerdictStatus.EVENT, {}, 93.0)], r"confidence is 93.0 .* \[0, 1\]"),
        ([Verdict(TILE, "flood_extent", VerdictStatus.EVENT, {"box": float("inf")}, 0.5)], "cannot be written as JSON"),
        ([Verdict(TILE, "flood_extent", VerdictStatus.EVENT, {"box": object()}, 0.5)], "object has no JSON form"),
    ],
)
def test_what_has_no_place_on_the_wire_is_refused(verdicts, words):
    with pytest.raises(InputError, match=words):
        records.encode_record(TILE, verdicts)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"\x00\xff", "ascii"),
        (b"", "Expecting value"),
        (b'{"t":"a"}', "no array"),
        (b"[]", "no array"),
        (b"[1]", "the tile is no text"),
        (b'["a",128]', "mask 128 has bits beyond 7"),
        (b'["a",true]', "no whole number"),
        (b'["a",1,[[0,930],[0,930]]]', "answered twice"),
        (b'["a",1,[[1,930]]]', "was not asked"),
        (b'["a",1,[[0,1001]]]', "confidence"),
        (b'["a",1,[[9,930]]]', "no schema 9"),
        (b'["a",2,[[1,930,1]]]', "1 fields are announced and 0 are there"),
        (b'["a",2,[[1,930,1,99]]]', "field direction has no value 99"),
        (b'["a",2,[[1,930,4,NaN]]]', "no finite number"),
        (b'["a",2,[[1,930,4,1e999]]]', "no finite number"),
        (b'["a",2,[[1,930,4,1,{"fraction_of_tile":2}]]]', "comes twice"),
        (b'["a",1,[],{"7":1}]', "no reason '7'"),
        (b'["a",1,[],{"0":1},1]', "answered twice"),
        (b"[" * 100_000, "no record"),
    ],
)
def test_damage_is_told_with_the_line_and_what_is_wrong(line, why):
    good = records.encode_record(TILE, NULLS)
    with pytest.raises(records.RecordError, match=r"line 2 of a verdict file is no record") as caught:
        records.decode_records(good + line + b"\n" + good)
    assert why in str(caught.value)
    assert isinstance(caught.value, RunError)


def test_a_cut_file_is_told():
    data = records.encode_record(TILE, [FLOOD]) * 3
    with pytest.raises(records.RecordError, match="is cut: its last line has no end"):
        records.decode_records(data[:-5])
    with pytest.raises(records.RecordError, match="is cut: its verdict record has no end"):
        records.decode_product(data[:20])


@given(st.binary(max_size=60), st.integers(0, 150), st.integers(0, 255))
def test_rubbish_and_flipped_bytes_give_verdicts_or_the_own_error(rubbish, at, octet):
    data = bytearray(records.encode_record(TILE, [FLOOD, *CLOUDED[2:]]))
    data[at % len(data)] = octet
    for damaged in (rubbish, bytes(data)):
        try:
            decoded = records.decode_records(damaged)
        except records.RecordError:
            continue
        assert all(isinstance(v, Verdict) for _, verdicts in decoded for v in verdicts)


#: Records name fields by their place in the schema file. A ground that knows the old order would misread a new one, so
#: a property is added at the end, and any other change needs a new version in ``$id``.
FIRST_ON_THE_WIRE = "direction severity fraction_of_tile changed_area_ha where box"
THEN_ON_THE_WIRE = {
    "construction_progress": "kind brightness_change note",
    "flood_extent": "water_fraction_before water_fraction_after note",
    "ice_extent": "ice_fraction_before ice_fraction_after front_retreat_px note",
    "thermal_hotspot": "hot_pixels hot_pixels_before note",
    "urban_delta": "built_fraction_before built_fraction_after note",
    "vegetation_stress": "ndvi_change dnbr greenness_change burned note",
    "wetland_change": "water_fraction_before water_fraction_after note",
}


@pytest.mark.parametrize("schema_id", SCHEMA_IDS)
def test_the_order_of_fields_is_part_of_the_wire_format(schema_id):
    known = f"{FIRST_ON_THE_WIRE} {THEN_ON_THE_WIRE[schema_id]}".split()
    assert list(schema_of(schema_id)["properties"])[: len(known)] == known
