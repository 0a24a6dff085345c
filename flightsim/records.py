"""The verdict record on the wire: one line of compact JSON a tile, so that a batch is its records end to end.

A record is an array whose empty tail is left out::

    ["g1280/r04512c00730@86400",127,[[1,930,63,0,2,0.12,12.5,8,[0.1,0,0.4,0.5]]],{"0":12},1]
      tile                      asked  events                                    hidden invalid

- *asked*, *invalid* and the values of *hidden* are bit masks over ``SCHEMA_IDS``. What was asked and stands in none
  of the other parts was answered null, so nulls cost nothing.
- An event is schema number, confidence in thousandths (null for none), and, where it has fields, a bit mask over the
  schema's properties followed by their values in the order of the schema file. A value out of an ``enum`` of texts is
  its number; any other value of such a property stands in brackets. Fields unknown to the schema follow as an object.
- *hidden* gives the unclassifiable answers by reason: the number of an ``UnclassifiableReason``, or a blank
  and the text.

Sizes add up: a record costs the same alone and in a batch, which is why nothing is compressed across records. That a
file is complete is CFDP's business: its EOF carries size and checksum.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NoReturn

from .domain import SCHEMA_IDS, UnclassifiableReason, Verdict, VerdictStatus
from .errors import InputError, RunError
from .verdicts import schema_of

#: A batch file has no header of its own.
BATCH_HEADER_BYTES = 0

_INDEX = {schema: k for k, schema in enumerate(SCHEMA_IDS)}
_REASONS = tuple(str(reason) for reason in UnclassifiableReason)
_REASON_CODE = {reason: str(k) for k, reason in enumerate(_REASONS)}
_Codes = tuple[tuple[str, dict[str, int], tuple[str, ...]], ...]


class RecordError(RunError):
    """Bytes that should be verdict records are not."""


@cache
def _codes(schema_id: str) -> _Codes:
    """For each property of a schema: its name, and the numbers and texts of its enum, if it is one of texts."""
    codes = []
    for name, rule in schema_of(schema_id)["properties"].items():
        enum = rule.get("enum", ())
        texts = tuple(enum) if all(isinstance(value, str) for value in enum) else ()
        codes.append((name, {text: k for k, text in enumerate(texts)}, texts))
    return tuple(codes)


def _plain(value: Any) -> Any:
    """Value of NumPy scalars and arrays and of read-only mappings, which ``json`` does not know."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=_plain).encode


def _fields(schema_id: str, body: Mapping[str, Any]) -> list[Any]:
    if not body:
        return []
    mask, values, known = 0, [], set()
    for k, (name, numbers, texts) in enumerate(_codes(schema_id)):
        if name not in body:
            continue
        value = body[name]
        mask |= 1 << k
        known.add(name)
        if texts:
            value = numbers[value] if isinstance(value, str) and value in numbers else [value]
        values.append(value)
    rest = {name: value for name, value in body.items() if name not in known}
    return [mask, *values, rest] if rest else [mask, *values]


def _confidence(verdict: Verdict) -> int | None:
    if verdict.confidence is None:
        return None
    confidence = float(verdict.confidence)
    if not 0.0 <= confidence <= 1.0:  # also NaN
        raise InputError(
            f"confidence is {confidence} for {verdict.schema_id} of tile {verdict.tile_id}; it must lie in [0, 1]."
        )
    return math.floor(1000.0 * confidence + 0.5)


def encode_record(tile_id: str, verdicts: Sequence[Verdict]) -> bytes:
    """One tile's verdicts as a line; confidence of events to three decimals.

    A null's confidence and why an answer is invalid stay on board.

    Raises
    ------
    InputError
        A payload answered what has no place on the wire: an unknown schema, one schema twice, a confidence outside
        [0, 1], fields that are no finite JSON.
    """
    asked = invalid = 0
    events: list[list[Any]] = []
    hidden: dict[str, int] = {}
    for verdict in verdicts:
        index = _INDEX.get(verdict.schema_id)
        if index is None:
            near = difflib.get_close_matches(verdict.schema_id, SCHEMA_IDS, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise InputError(f"schema is '{verdict.schema_id}'; allowed are {', '.join(SCHEMA_IDS)}.{hint}")
        bit = 1 << index
        if asked & bit:
            raise InputError(f"schema '{verdict.schema_id}' is answered twice for tile {tile_id}; once is allowed.")
        asked |= bit
        if verdict.status is VerdictStatus.EVENT:
            events.append([index, _confidence(verdict), *_fields(verdict.schema_id, verdict.body or {})])
        elif verdict.status is VerdictStatus.UNCLASSIFIABLE:
            reason = str(verdict.reason)
            code = _REASON_CODE.get(reason, f" {reason}")
            hidden[code] = hidden.get(code, 0) | bit
        elif verdict.status is VerdictStatus.INVALID:
            invalid |= bit
    record: list[Any] = [tile_id, asked, events, hidden, invalid]
    while not record[-1] and len(record) > 1:
        record.pop()
    try:
        return (_encode(record) + "\n").encode("ascii")
    except (TypeError, ValueError) as error:
        raise InputError(f"a verdict of tile {tile_id} cannot be written as JSON: {error}.") from error


def decode_records(data: bytes) -> list[tuple[str, list[Verdict]]]:
    """Tiles and verdicts of a batch, in order; the verdicts of a tile in the order of ``SCHEMA_IDS``.

    Raises
    ------
    RecordError
        A line is cut, is no record, or names an unknown schema; says which line.
    """
    if data and not data.endswith(b"\n"):
        raise RecordError(f"a verdict file of {len(data)} bytes is cut: its last line has no end.")
    return [_decode(line, number) for number, line in enumerate(data.split(b"\n")[:-1], start=1)]


def encode_product(record: bytes, picture: bytes) -> bytes:
    """The file of a product: the verdict record and, after it, the encoded picture."""
    return record + picture


def decode_product(data: bytes) -> tuple[str, list[Verdict], bytes]:
    """Tile, verdicts and encoded picture of a product file.

    Raises
    ------
    RecordError
        The file does not begin with a whole record.
    """
    line, end, picture = data.partition(b"\n")
    if not end:
        raise RecordError(f"a product file of {len(data)} bytes is cut: its verdict record has no end.")
    tile_id, verdicts = _decode(line, 1)
    return tile_id, verdicts, picture


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no finite number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def _decode(line: bytes, number: int) -> tuple[str, list[Verdict]]:
    try:
        record = json.loads(line.decode("ascii"), parse_constant=_no_constant, parse_float=_float)
        _want(isinstance(record, list) and 1 <= len(record) <= 5, "it is no array of one to five parts")
        tile_id, asked, events, hidden, invalid = record + [0, [], {}, 0][len(record) - 1 :]
        _want(isinstance(tile_id, str), "the tile is no text")
        return tile_id, _verdicts(tile_id, _mask(asked), events, hidden, _mask(invalid))
    except (ValueError, RecursionError) as error:
        raise RecordError(f"line {number} of a verdict file is no record ({error}): {line[:60]!r}.") from error


def _want(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _mask(value: Any, bits: int = len(SCHEMA_IDS)) -> int:
    _want(isinstance(value, int) and not isinstance(value, bool), "a mask is no whole number")
    _want(0 <= value < 1 << bits, f"mask {value} has bits beyond {bits}")
    return int(value)


def _verdicts(tile_id: str, asked: int, events: Any, hidden: Any, invalid: int) -> list[Verdict]:
    _want(isinstance(events, list) and isinstance(hidden, dict), "events are no array or hidden answers no object")
    found: dict[int, Verdict] = {}

    def add(index: int, verdict: Verdict) -> None:
        _want(index not in found and bool(asked >> index & 1), f"schema {index} is answered twice or was not asked")
        found[index] = verdict

    for event in events:
        _want(isinstance(event, list) and len(event) >= 2, "an event is no array of two or more parts")
        index, thousandths, *fields = event
        _want(isinstance(index, int) and 0 <= index < len(SCHEMA_IDS), f"there is no schema {index}")
        whole = isinstance(thousandths, int) and not isinstance(thousandths, bool)
        _want(thousandths is None or (whole and 0 <= thousandths <= 1000), "a confidence is not in [0, 1000]")
        schema = SCHEMA_IDS[index]
        confidence = None if thousandths is None else thousandths / 1000.0
        add(index, Verdict(tile_id, schema, VerdictStatus.EVENT, _body(schema, fields), confidence))
    for code, value in hidden.items():
        mask = _mask(value)
        _want(code[:1] == " " or code in _REASON_CODE.values(), f"there is no reason {code!r:.20}")
        reason = code[1:] if code[:1] == " " else _REASONS[int(code)]
        for index in _bits(mask):
            add(index, Verdict(tile_id, SCHEMA_IDS[index], VerdictStatus.UNCLASSIFIABLE, reason=reason))
    for index in _bits(invalid):
        add(index, Verdict(tile_id, SCHEMA_IDS[index], VerdictStatus.INVALID))
    return [found.get(k, Verdict(tile_id, SCHEMA_IDS[k], VerdictStatus.NULL)) for k in _bits(asked)]


def _bits(mask: int) -> list[int]:
    return [k for k in range(mask.bit_length()) if mask >> k & 1]


def _body(schema_id: str, fields: list[Any]) -> dict[str, Any]:
    if not fields:
        return {}
    codes = _codes(schema_id)
    present = _bits(_mask(fields[0], len(codes)))
    values, rest = fields[1 : 1 + len(present)], fields[1 + len(present) :]
    _want(len(values) == len(present), f"{len(present)} fields are announced and {len(values)} are there")
    _want(not rest or (len(rest) == 1 and isinstance(rest[0], dict)), "something follows the fields")
    body: dict[str, Any] = {}
    for k, value in zip(present, values, strict=True):
        name, _, texts = codes[k]
        if texts and isinstance(value, list):
            _want(len(value) == 1, f"field {name} is no single value")
            value = value[0]
        elif texts:
            _want(isinstance(value, int) and 0 <= value < len(texts), f"field {name} has no value {value!r:.20}")
            value = texts[value]
        body[name] = value
    if rest:
        clash = [name for name in rest[0] if name in body]
        _want(not clash, f"field {clash[:1]} comes twice")
        body |= rest[0]
    return body
