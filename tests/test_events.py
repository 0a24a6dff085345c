"""The event dictionary and the log."""

import io
import json
from pathlib import Path

import jsonschema
import pytest

from flightsim import events as ev


def test_the_published_schema_is_the_dictionary():
    path = Path(__file__).resolve().parents[1] / "schemas" / "event.schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == ev.event_schema(), "run `make schemas`"


@pytest.mark.parametrize("kind", ev.DICTIONARY.values(), ids=lambda kind: kind.name)
def test_every_kind_writes_a_line_that_fits_the_schema(kind):
    values = {ev.FieldType.TEXT: 'a "quoted" ü\n', ev.FieldType.INTEGER: 3}
    out = io.StringIO()
    log = ev.EventLog(out)
    log.emit(kind, 1.23456, *[values.get(field, 0.123456789) for _, field in kind.fields])
    log.flush()
    line = json.loads(out.getvalue())
    jsonschema.validate(line, ev.event_schema())
    assert line["t_s"] == 1.235
    assert log.counts[kind.name] == 1


def test_an_undeclared_kind_cannot_be_emitted():
    stranger = ev.EventKind("stranger", ev.Severity.ACTIVITY, (), "Nobody declared it.")
    with pytest.raises(KeyError):
        ev.EventLog().emit(stranger, 0.0)


def test_a_wrong_number_of_fields_is_refused():
    with pytest.raises(TypeError, match="tile_ended has 2 fields, 1 values"):
        ev.EventLog(io.StringIO()).emit(ev.TILE_ENDED, 0.0, "tile")


def test_each_sentence_is_its_own():
    sentences = [kind.sentence for kind in ev.DICTIONARY.values()]
    assert len(set(sentences)) == len(sentences)
