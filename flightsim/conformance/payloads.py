"""What holds for any payload."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import resources
from ..domain import SCHEMA_IDS, UnclassifiableReason, Verdict, VerdictStatus
from ..errors import InputError
from .data import picture_pairs, truth_for
from .report import Broken, CheckResult, Report


def check_payload(make: Callable[[], Any]) -> list[CheckResult]:
    """What holds for a payload on small synthetic pairs; ``make`` gives a fresh one at each call."""
    report = Report()
    payload = make()

    def opened() -> str:
        payload.open()
        if not isinstance(payload.needs_truth, bool) or not isinstance(payload.needs_pixels, bool):
            raise Broken("needs_truth and needs_pixels must be True or False")
        return "answers from truth, and reports will say so" if payload.needs_truth else "sees no truth"

    if not report.add("opens", opened):
        return report.results
    pairs = picture_pairs()
    names = list(pairs)

    def schemas() -> tuple[str, ...]:
        """Those that the payload has figures for."""
        known = []
        for schema in SCHEMA_IDS:
            try:
                payload.rates(schema)
            except InputError:
                continue
            known.append(schema)
        return tuple(known)

    asked: tuple[str, ...] = ()

    def answers(cases: Sequence[str]) -> list[Verdict]:
        extra: dict[str, Any] = {}
        if payload.needs_truth:
            rows = np.array([names.index(case) for case in cases], dtype=np.int64)
            table, keys = truth_for(names, asked)
            extra = {"truth": table.rows(rows), "keys": keys[rows]}
        return list(payload.assess_many([pairs[case] for case in cases], asked, **extra))

    def rates() -> str:
        nonlocal asked
        asked = schemas()
        if not asked:
            raise Broken("rates() refuses every schema")
        for schema in asked:
            if not all(0.0 <= rate <= 1.0 for rate in payload.rates(schema)):
                raise Broken(f"rates({schema!r}) are {payload.rates(schema)}; both must lie in [0, 1]")
        seconds = payload.seconds_per_question
        if not (math.isfinite(seconds) and seconds >= 0.0):
            raise Broken(f"seconds_per_question is {seconds!r}; it must be finite and not negative")
        return f"{len(asked)} of {len(SCHEMA_IDS)} schemas, {seconds:g} s a question declared"

    def fingerprint() -> str:
        first, again, other = payload.fingerprint, payload.fingerprint, make().fingerprint
        if not isinstance(first, str) or not first or len({first, again, other}) != 1:
            raise Broken(f"fingerprint changes: {first!r}, {again!r}, another object {other!r}")
        return first[:120]

    def complete() -> str:
        given = answers(names)
        wanted = [(pairs[case].after.id, schema) for case in names for schema in asked]
        got = [(verdict.tile_id, verdict.schema_id) for verdict in given]
        if got != wanted:
            raise Broken(f"{len(got)} answers for {len(wanted)} questions, or out of order: pair by pair, then schema")
        for verdict in given:
            _check_verdict(verdict, payload.needs_pixels)
        counts = {status.value: sum(v.status is status for v in given) for status in VerdictStatus}
        return ", ".join(f"{count} {status}" for status, count in counts.items())

    def any_order() -> str:
        wanted = {(v.tile_id, v.schema_id): v for v in answers(names)}
        runs = {"in reverse order": answers(names[::-1]), "one by one": [v for case in names for v in answers([case])]}
        for how, given in runs.items():
            for verdict in given:
                if verdict != wanted[verdict.tile_id, verdict.schema_id]:
                    raise Broken(f"{how}: {verdict} instead of {wanted[verdict.tile_id, verdict.schema_id]}"[:800])
        return "in reverse order and one by one"

    def nothing() -> str:
        if answers([]):
            raise Broken("answers for no pairs")
        return ""

    def abstains() -> str:
        if payload.needs_truth:
            return "skipped: it does not look at pixels"
        events = [v for v in answers(["no data"]) if v.status is VerdictStatus.EVENT]
        if events:
            raise Broken(f"an all-zero picture is called {events[0].schema_id} (confidence {events[0].confidence})")
        return ""

    if report.add("declares rates and time", rates):
        report.add("fingerprint is stable", fingerprint)
        if report.add("answers every question, in order, as its schema says", complete):
            report.add("same answers in any order and batch", any_order)
        report.add("no answers for no pairs", nothing)
        report.add("sees no event where there is no data", abstains)
    report.add("closes", lambda: payload.close() or "")
    return report.results


def _check_verdict(verdict: Verdict, has_pixels: bool) -> None:
    where = f"{verdict.schema_id} of {verdict.tile_id}"
    if not isinstance(verdict.status, VerdictStatus):
        raise Broken(f"{where}: status is {verdict.status!r}; use VerdictStatus")
    if verdict.confidence is not None and not 0.0 <= verdict.confidence <= 1.0:
        raise Broken(f"{where}: confidence is {verdict.confidence!r}; it must lie in [0, 1]")
    if verdict.status is VerdictStatus.UNCLASSIFIABLE and verdict.reason not in set(UnclassifiableReason):
        raise Broken(f"{where}: reason is {verdict.reason!r}; allowed are {', '.join(UnclassifiableReason)}")
    if verdict.status is VerdictStatus.INVALID and not verdict.reason:
        raise Broken(f"{where}: an invalid answer must say why in its reason")
    if verdict.status is not VerdictStatus.EVENT and verdict.body is not None:
        raise Broken(f"{where}: only an event has fields")
    # A payload without pixels has nothing to fill fields from; what it does fill must be right.
    if verdict.status is VerdictStatus.EVENT and (verdict.body or has_pixels):
        _check_fields(verdict, where)


def _check_fields(verdict: Verdict, where: str) -> None:
    import jsonschema  # heavy; needed only here

    path = resources.folder("schemas") / "verdict" / f"{verdict.schema_id}.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    fault = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(schema).iter_errors(dict(verdict.body or {}))
    )
    if fault is not None:
        place = ".".join(map(str, fault.absolute_path)) or "its fields"
        raise Broken(f"{where}: {place}: {fault.message}"[:500])
