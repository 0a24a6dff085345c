"""Observation and Decision as JSON, in both directions: what a policy in another process sees and answers.

The form is published in ``docs/policies.md``. Floats are written with all their digits, so a round trip changes
nothing; pixels do not travel (``image`` is None on the far side) and all costs are computed before sending.
What comes back from a policy is data to distrust: a closed set of keys and actions, finite numbers, bounded texts.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast

from .domain import (
    Action,
    BudgetView,
    ContactForecast,
    Decision,
    Observation,
    PowerView,
    ProductSpec,
    QueueView,
    Tile,
    TilePair,
    Verdict,
    VerdictStatus,
)
from .errors import PolicyFault

#: Version of the JSON-lines protocol; a change that an older policy would misread raises it.
PROTOCOL = 1
#: Longest line that a policy may answer. [B]
MAX_LINE_BYTES = 2**20
#: Longest reason of a decision. [characters]
MAX_REASON = 500
#: Largest priority number; 0 is sent first.
MAX_PRIORITY = 255
CODECS = ("webp", "jpeg")

_DECISION_KEYS = ("action", "priority", "expires_s", "product", "reason", "keep", "compute_s", "energy_j")
_PRODUCT_KEYS = ("size_px", "codec", "quality", "box")


def _plain(value: Any) -> Any:
    """Value of NumPy scalars and read-only mappings, which ``json`` does not know."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=True, default=_plain).encode


def dumps(message: Mapping[str, Any]) -> bytes:
    """One line of the protocol, with its line feed.

    Raises
    ------
    PolicyFault
        The message holds a number that is not finite, or an object without JSON form.
    """
    try:
        return _encode(message).encode("ascii") + b"\n"
    except (TypeError, ValueError) as error:
        raise PolicyFault(f"the message cannot be written as JSON: {error}") from error


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no finite number")


_decode = json.JSONDecoder(parse_constant=_no_constant).decode


def loads(line: bytes) -> dict[str, Any]:
    """The JSON object of one line.

    Raises
    ------
    PolicyFault
        The line is no JSON object, is not UTF-8, or holds NaN or an infinity.
    """
    try:
        message = _decode(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise PolicyFault(f"the line is no JSON: {str(error)[:120]}: {_shown(line)}") from error
    if not isinstance(message, dict):
        raise PolicyFault(f"the line is no JSON object: {_shown(line)}")
    return message


def _shown(line: bytes) -> str:
    text = ascii(line[:80].decode("utf-8", "replace"))
    return text if len(line) <= 80 else f"{text}... ({len(line)} bytes)"


def _show(value: object) -> str:
    try:
        return f"{value!r:.80}"
    except Exception as error:  # a foreign object's own repr, or an integer of more than 4,300 digits
        return f"{type(value).__name__} ({type(error).__name__} when shown)"


def _text(value: Any, what: str, longest: int = 4096) -> str:
    if not isinstance(value, str):
        raise PolicyFault(f"{what} is {_show(value)}; it must be a text")
    if len(value) > longest:
        raise PolicyFault(f"{what} has {len(value)} characters; at most {longest} are allowed")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise PolicyFault(f"{what} holds a lone surrogate, which is no UTF-8") from error
    return value


def _number(value: Any, what: str) -> float:
    if not _finite(value):
        raise PolicyFault(f"{what} is {_show(value)}; it must be a finite number")
    return cast(float, value)


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise PolicyFault(f"{what} is {_show(value)}; it must be a whole number")
    return value


def _truth_value(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise PolicyFault(f"{what} is {_show(value)}; it must be true or false")
    return value


def _list(value: Any, what: str, longest: int = 100_000) -> list[Any]:
    if not isinstance(value, list):
        raise PolicyFault(f"{what} is {_show(value)}; it must be a list")
    if len(value) > longest:
        raise PolicyFault(f"{what} has {len(value)} entries; at most {longest} are allowed")
    return value


def _object(value: Any, what: str, keys: Sequence[str] | None = None) -> dict[str, Any]:
    """A JSON object; with ``keys`` exactly these."""
    if not isinstance(value, dict):
        raise PolicyFault(f"{what} is {_show(value)}; it must be an object")
    if keys is not None:
        missing = [key for key in keys if key not in value]
        if missing:
            raise PolicyFault(f"{what} lacks {', '.join(missing)}")
        _known_keys(value, what, keys)
    return value


def _known_keys(value: Mapping[str, Any], what: str, keys: Sequence[str]) -> None:
    for key in value:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise PolicyFault(f"{what} has the unknown key {_show(key)}; allowed are {', '.join(keys)}{hint}")


def _optional(value: Any, what: str, check: Callable[[Any, str], Any]) -> Any:
    return None if value is None else check(value, what)


_TILE_KEYS = (
    "id", "place_id", "captured_s", "lat_deg", "lon_deg", "gsd_m", "size_px", "bands", "cloud_fraction",
)  # fmt: skip
_VERDICT_KEYS = (
    "tile_id", "schema_id", "status", "body", "confidence", "produced_by", "reason", "tokens", "compute_s", "energy_j",
)  # fmt: skip
_OBSERVATION_KEYS = (
    "now_s", "pair", "verdicts", "queue", "storage_free_bytes", "power", "next_contacts", "allowance", "costs_bytes",
    "neighbours", "priors", "next_look_s", "looks", "evidence",
)  # fmt: skip
_CONTACT_KEYS = ("station", "aos_s", "los_s", "capacity_bytes")
_BUDGET_KEYS = ("next_contact_bytes", "next_day_bytes", "mission_bytes")


def _tile_to_json(tile: Tile | None) -> dict[str, Any] | None:
    if tile is None:
        return None
    data = {key: getattr(tile, key) for key in _TILE_KEYS}
    return data | {"size_px": list(tile.size_px), "bands": list(tile.bands)}


def _tile_from_json(value: Any, what: str) -> Tile:
    data = _object(value, what, _TILE_KEYS)
    size = _list(data["size_px"], f"{what}.size_px", 2)
    if len(size) != 2:
        raise PolicyFault(f"{what}.size_px is {size!r}; it must be [rows, columns]")
    return Tile(
        id=_text(data["id"], f"{what}.id"),
        place_id=_text(data["place_id"], f"{what}.place_id"),
        captured_s=_number(data["captured_s"], f"{what}.captured_s"),
        lat_deg=_number(data["lat_deg"], f"{what}.lat_deg"),
        lon_deg=_number(data["lon_deg"], f"{what}.lon_deg"),
        gsd_m=_number(data["gsd_m"], f"{what}.gsd_m"),
        size_px=(_whole(size[0], f"{what}.size_px"), _whole(size[1], f"{what}.size_px")),
        bands=tuple(_text(band, f"{what}.bands", 64) for band in _list(data["bands"], f"{what}.bands", 1000)),
        cloud_fraction=_optional(data["cloud_fraction"], f"{what}.cloud_fraction", _number),
    )


def _verdict_from_json(value: Any, what: str) -> Verdict:
    data = _object(value, what, _VERDICT_KEYS)
    return Verdict(
        tile_id=_text(data["tile_id"], f"{what}.tile_id"),
        schema_id=_text(data["schema_id"], f"{what}.schema_id"),
        status=_member(VerdictStatus, data["status"], f"{what}.status"),
        body=_optional(data["body"], f"{what}.body", _object),
        confidence=_optional(data["confidence"], f"{what}.confidence", _number),
        produced_by=_text(data["produced_by"], f"{what}.produced_by"),
        reason=_text(data["reason"], f"{what}.reason"),
        tokens=_whole(data["tokens"], f"{what}.tokens"),
        compute_s=_number(data["compute_s"], f"{what}.compute_s"),
        energy_j=_number(data["energy_j"], f"{what}.energy_j"),
    )


def _member(kind: Any, value: Any, what: str) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        names = [member.value for member in kind]
        near = difflib.get_close_matches(str(value)[:60], names, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise PolicyFault(f"{what} is {_show(value)}; allowed are {', '.join(names)}{hint}") from error


def contact_to_json(contact: ContactForecast) -> dict[str, Any]:
    """A booked contact as a JSON object."""
    return {
        "station": contact.station,
        "aos_s": contact.aos_s,
        "los_s": contact.los_s,
        "capacity_bytes": contact.capacity_bytes,
    }


def contact_from_json(value: Any, what: str = "contact") -> ContactForecast:
    """A booked contact from its JSON object; raises PolicyFault."""
    data = _object(value, what, _CONTACT_KEYS)
    return ContactForecast(
        station=_text(data["station"], f"{what}.station"),
        aos_s=_number(data["aos_s"], f"{what}.aos_s"),
        los_s=_number(data["los_s"], f"{what}.los_s"),
        capacity_bytes=_whole(data["capacity_bytes"], f"{what}.capacity_bytes"),
    )


def observation_to_json(seen: Observation) -> dict[str, Any]:
    """All that a policy may know, as a JSON object; computes every cost on offer."""
    return {
        "now_s": seen.now_s,
        "pair": {"before": _tile_to_json(seen.pair.before), "after": _tile_to_json(seen.pair.after)},
        "verdicts": [{key: getattr(verdict, key) for key in _VERDICT_KEYS} for verdict in seen.verdicts],
        "queue": {
            "items": seen.queue.items,
            "wire_bytes": seen.queue.wire_bytes,
            "oldest_s": seen.queue.oldest_s,
        },
        "storage_free_bytes": seen.storage_free_bytes,
        "power": {"state_of_charge": seen.power.state_of_charge, "in_sunlight": seen.power.in_sunlight},
        "next_contacts": [contact_to_json(contact) for contact in seen.next_contacts],
        "allowance": {key: getattr(seen.allowance, key) for key in _BUDGET_KEYS},
        "costs_bytes": {action.value: seen.costs_bytes[action] for action in seen.costs_bytes},
        "neighbours": dict(seen.neighbours),
        "priors": dict(seen.priors),
        "next_look_s": seen.next_look_s,
        "looks": seen.looks,
        "evidence": dict(seen.evidence),
    }


def observation_from_json(value: Any) -> Observation:
    """The observation of a JSON object; ``image`` is None, costs are a plain dict.

    Raises
    ------
    PolicyFault
        A key is missing or unknown, or a value has the wrong kind; the message names it.
    """
    data = _object(value, "seen", _OBSERVATION_KEYS)
    pair = _object(data["pair"], "seen.pair", ("before", "after"))
    queue = _object(data["queue"], "seen.queue", ("items", "wire_bytes", "oldest_s"))
    power = _object(data["power"], "seen.power", ("state_of_charge", "in_sunlight"))
    allowance = _object(data["allowance"], "seen.allowance", _BUDGET_KEYS)
    return Observation(
        now_s=_number(data["now_s"], "seen.now_s"),
        pair=TilePair(
            before=_optional(pair["before"], "seen.pair.before", _tile_from_json),
            after=_tile_from_json(pair["after"], "seen.pair.after"),
        ),
        verdicts=tuple(_verdict_from_json(v, "seen.verdicts") for v in _list(data["verdicts"], "seen.verdicts")),
        queue=QueueView(
            items=_whole(queue["items"], "seen.queue.items"),
            wire_bytes=_whole(queue["wire_bytes"], "seen.queue.wire_bytes"),
            oldest_s=_optional(queue["oldest_s"], "seen.queue.oldest_s", _number),
        ),
        storage_free_bytes=_whole(data["storage_free_bytes"], "seen.storage_free_bytes"),
        power=PowerView(
            state_of_charge=_optional(power["state_of_charge"], "seen.power.state_of_charge", _number),
            in_sunlight=_optional(power["in_sunlight"], "seen.power.in_sunlight", _truth_value),
        ),
        next_contacts=tuple(
            contact_from_json(c, "seen.next_contacts") for c in _list(data["next_contacts"], "seen.next_contacts")
        ),
        allowance=BudgetView(**{key: _whole(allowance[key], f"seen.allowance.{key}") for key in _BUDGET_KEYS}),
        costs_bytes={
            _member(Action, name, "seen.costs_bytes"): _whole(cost, f"seen.costs_bytes.{name}")
            for name, cost in _object(data["costs_bytes"], "seen.costs_bytes").items()
        },
        neighbours={
            key: _text(text, "seen.neighbours") for key, text in _object(data["neighbours"], "seen.neighbours").items()
        },
        priors={key: _number(prior, "seen.priors") for key, prior in _object(data["priors"], "seen.priors").items()},
        next_look_s=_optional(data["next_look_s"], "seen.next_look_s", _number),
        looks=_whole(data["looks"], "seen.looks"),
        evidence={key: _number(v, "seen.evidence") for key, v in _object(data["evidence"], "seen.evidence").items()},
    )


def decision_to_json(decision: Decision) -> dict[str, Any]:
    """A decision as a JSON object, with all its keys."""
    data = {key: getattr(decision, key) for key in _DECISION_KEYS}
    if decision.product is not None:
        box = decision.product.box
        data["product"] = {key: getattr(decision.product, key) for key in _PRODUCT_KEYS}
        data["product"]["box"] = None if box is None else list(box)
    return data


def decision_from_json(value: Any) -> Decision:
    """The decision of a JSON object; only ``action`` is required.

    Raises
    ------
    PolicyFault
        An unknown key or action, a number that is not finite or out of range, a text that is too long.
    """
    data = _object(value, "decision")
    _known_keys(data, "decision", _DECISION_KEYS)
    if "action" not in data:
        raise PolicyFault(f"decision lacks action; allowed are {', '.join(Action)}")
    product = None
    if data.get("product") is not None:
        spec = _object(data["product"], "decision.product")
        _known_keys(spec, "decision.product", _PRODUCT_KEYS)
        box = spec.get("box")
        product = ProductSpec(
            size_px=spec.get("size_px"),
            codec=spec.get("codec"),
            quality=spec.get("quality"),
            box=None if box is None else tuple(_list(box, "decision.product.box", 4)),
        )
    decision = Decision(
        action=_member(Action, data["action"], "decision.action"),
        priority=data.get("priority", 5),
        expires_s=data.get("expires_s"),
        product=product,
        reason=data.get("reason", ""),
        keep=data.get("keep", False),
        compute_s=data.get("compute_s", 0.0),
        energy_j=data.get("energy_j", 0.0),
    )
    problem = _impossible(decision)
    if problem is not None:
        raise PolicyFault(f"decision.{problem}")
    return decision


def validate_decision(decision: object, seen: Observation) -> str | None:
    """What is impossible about a decision, in words; None if nothing. Asks for no cost."""
    if not isinstance(decision, Decision):
        return f"the policy returned {_show(decision)} ({type(decision).__name__}); it must return a Decision"
    if not isinstance(decision.action, Action):
        return f"action is {_show(decision.action)}; write a member of Action, such as Action.VERDICT"
    if decision.action not in seen.costs_bytes:
        why = ""
        if decision.action is Action.REIMAGE and seen.next_look_s is None:
            why = f" (next_look_s is None after {seen.looks} of this member's pictures)"
        return f"action is '{decision.action}', which is not on offer{why}; on offer are {', '.join(seen.costs_bytes)}"
    impossible = _impossible(decision)
    if impossible is None and decision.action is Action.REIMAGE:
        return _too_late(decision, seen)
    return impossible


def _too_late(decision: Decision, seen: Observation) -> str | None:
    """Whether the next look comes too late for the decision."""
    if decision.expires_s is None or seen.next_look_s is None or seen.next_look_s <= decision.expires_s:
        return None
    return (
        f"expires_s is {decision.expires_s:.0f} s, and the next look is at {seen.next_look_s:.0f} s; "
        "choose REIMAGE only where next_look_s is early enough"
    )


def _impossible(decision: Decision) -> str | None:
    """What is impossible about the numbers and texts of a decision."""
    priority = decision.priority
    if type(priority) is not int or not 0 <= priority <= MAX_PRIORITY:
        return f"priority is {_show(priority)}; it must be a whole number in [0, {MAX_PRIORITY}], 0 first"
    if decision.expires_s is not None and not _finite(decision.expires_s):
        return f"expires_s is {_show(decision.expires_s)}; it must be finite seconds since the start, or none"
    for name, value in (("compute_s", decision.compute_s), ("energy_j", decision.energy_j)):
        if not _finite(value) or value < 0:
            return f"{name} is {_show(value)}; it must be finite and not negative"
    if type(decision.keep) is not bool:
        return f"keep is {_show(decision.keep)}; it must be true or false"
    try:
        _text(decision.reason, "reason", MAX_REASON)
    except PolicyFault as error:
        return str(error)
    return None if decision.product is None else _impossible_product(decision.product)


def _impossible_product(product: object) -> str | None:
    if not isinstance(product, ProductSpec):
        return f"product is {_show(product)}; it must be a ProductSpec"
    if product.size_px is not None and (type(product.size_px) is not int or not 8 <= product.size_px <= 2048):
        return f"product.size_px is {_show(product.size_px)}; it must be a whole number in [8, 2048]"
    if product.codec is not None and product.codec not in CODECS:
        return f"product.codec is {_show(product.codec)}; allowed are {', '.join(CODECS)}"
    if product.quality is not None and (type(product.quality) is not int or not 1 <= product.quality <= 100):
        return f"product.quality is {_show(product.quality)}; it must be a whole number in [1, 100]"
    if product.box is not None and (len(product.box) != 4 or not all(_finite(edge) for edge in product.box)):
        return f"product.box is {_show(product.box)}; it must be four finite numbers"
    return None


def _finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond the largest float
        return False


__all__ = [
    "CODECS", "MAX_LINE_BYTES", "MAX_PRIORITY", "MAX_REASON", "PROTOCOL", "contact_from_json", "contact_to_json",
    "decision_from_json", "decision_to_json", "dumps", "loads", "observation_from_json", "observation_to_json",
    "validate_decision",
]  # fmt: skip
