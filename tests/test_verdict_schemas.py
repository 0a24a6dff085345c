"""The seven verdict schemas and the check of a verdict's fields."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from flightsim import resources
from flightsim.domain import SCHEMA_IDS
from flightsim.errors import InputError
from flightsim.verdicts import faults_of, schema_of, validate_body, wire_id

TITLES = {
    "construction_progress": "ConstructionProgress",
    "flood_extent": "FloodExtentChange",
    "ice_extent": "IceExtentChange",
    "thermal_hotspot": "ThermalHotspot",
    "urban_delta": "UrbanChangeDelta",
    "vegetation_stress": "VegetationStress",
    "wetland_change": "WetlandChange",
}
BODY = {
    "direction": "increase",
    "severity": "low",
    "fraction_of_tile": 0.1,
    "where": "centre",
    "box": [0.1, 0.2, 0.3, 0.4],
}


def test_there_is_one_file_a_schema_and_no_other():
    files = sorted(path.name for path in (resources.folder("schemas") / "verdict").iterdir())
    assert files == [f"{schema}.schema.json" for schema in SCHEMA_IDS]


@pytest.mark.parametrize("schema", SCHEMA_IDS)
def test_a_schema_is_sound_named_and_described(schema):
    document = schema_of(schema)
    Draft202012Validator.check_schema(document)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$id"] == wire_id(schema) == f"{schema}/1"
    assert (document["title"], document["version"]) == (TITLES[schema], 1)
    assert document["additionalProperties"] is False
    for name, rule in document["properties"].items():
        assert rule["description"], name
        if rule.get("type") in ("number", "integer"):
            assert {"minimum", "maximum"} <= rule.keys(), name
            assert "[" in rule["description"], f"{schema}.{name} has no unit in brackets"


@pytest.mark.parametrize("schema", SCHEMA_IDS)
def test_the_least_body_fits_and_json_keeps_it(schema):
    validate_body(schema, BODY)
    validate_body(schema, json.loads(json.dumps({**BODY, "note": "x" * 200, "changed_area_ha": 3.5})))


@pytest.mark.parametrize("schema", SCHEMA_IDS)
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"direction": "up"}, "direction: 'up' is not one of"),
        ({"severity": "huge"}, "severity: 'huge' is not one of"),
        ({"fraction_of_tile": 1.2}, "fraction_of_tile: 1.2 is greater than the maximum of 1"),
        ({"fraction_of_tile": float("nan")}, "fraction_of_tile: nan is no finite number"),
        ({"box": [0, 0, 1]}, "box: "),
        ({"box": [0, 0, 1, float("inf")]}, "box.3: "),
        ({"where": "middle"}, "where: 'middle' is not one of"),
        ({"note": "x" * 201}, "note: "),
        ({"colour": "red"}, r"'colour' was unexpected"),
        ({"changed_area_ha": -1}, "changed_area_ha: -1 is less than the minimum of 0"),
    ],
)
def test_a_wrong_field_is_named(schema, change, text):
    with pytest.raises(InputError, match=f"fields of a {schema}/1 verdict do not fit its schema: .*{text}"):
        validate_body(schema, {**BODY, **change})


@pytest.mark.parametrize("missing", sorted(BODY))
def test_a_missing_field_is_named(missing):
    body = {key: value for key, value in BODY.items() if key != missing}
    with pytest.raises(InputError, match=f"'{missing}' is a required property"):
        validate_body("flood_extent", body)


def test_all_faults_come_at_once():
    assert len(faults_of("flood_extent", {**BODY, "severity": "huge", "water_fraction_after": 2})) == 2
    assert faults_of("flood_extent", None) == ("fields: None is not of type 'object'",)


def test_an_unknown_schema_lists_the_right_ones():
    with pytest.raises(InputError, match=r"schema is 'flood_extend'; allowed are .* Did you mean 'flood_extent'\?"):
        schema_of("flood_extend")
