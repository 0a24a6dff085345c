"""What holds for any policy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from .. import wire
from ..domain import SCHEMA_IDS, Decision, Observation
from .data import observations
from .report import Broken, CheckResult, Report


@contextmanager
def opened(make: Callable[[], Any]) -> Iterator[Any]:
    """A fresh policy, closed afterwards where it can be."""
    policy = make()
    try:
        yield policy
    finally:
        if hasattr(policy, "close"):
            policy.close()


def decisions(policy: Any, seen: Mapping[str, Observation]) -> dict[str, Decision]:
    """What a policy decides, case by case; raises Broken with the case where it raises."""
    decided: dict[str, Decision] = {}
    for case, observation in seen.items():
        try:
            decided[case] = policy.decide(observation)
        except Exception as error:  # foreign code: which case it was is the finding
            raise Broken(f"{case}: {type(error).__name__}: {error}"[:500]) from error
    return decided


def same(first: Mapping[str, Decision], second: Mapping[str, Decision], what: str) -> str:
    """How many decisions agree; raises Broken with the first that do not."""
    for case, decision in first.items():
        if decision != second[case]:
            raise Broken(f"{case}: {decision}, but {what} {second[case]}"[:800])
    return f"{len(first)} observations"


def check_policy(make: Callable[[], Any]) -> list[CheckResult]:
    """What holds for a policy; ``make`` gives a fresh one at each call. Each check makes its own observations."""
    report = Report()

    def valid() -> str:
        seen = observations()
        with opened(make) as policy:
            for case, decision in decisions(policy, seen).items():
                problem = wire.validate_decision(decision, seen[case])
                if problem is not None:
                    raise Broken(f"{case}: {problem}")
        return f"{len(seen)} observations"

    def deterministic() -> str:
        seen = observations()
        with opened(make) as policy, opened(make) as other:
            first = decisions(policy, seen)
            same(first, decisions(other, seen), "a fresh one decides")
            if hasattr(policy, "reset"):
                policy.reset()
                return same(first, decisions(policy, seen), "after reset() it decides") + ", after reset() too"
        return f"{len(first)} observations, no reset() offered"

    def no_mutation() -> str:
        seen = observations()
        with opened(make) as policy:
            for case, observation in seen.items():
                before = wire.dumps(wire.observation_to_json(observation))
                policy.decide(observation)
                if wire.dumps(wire.observation_to_json(observation)) != before:
                    raise Broken(f"{case}: decide() changed the observation")
        return ""

    def asks() -> str:
        seen = observations()
        with opened(make) as policy:
            if not hasattr(policy, "ask"):
                return "not offered: all questions are asked"
            counts = set()
            for case, observation in seen.items():
                wanted = policy.ask(replace(observation, verdicts=()))
                unknown = [schema for schema in wanted if schema not in SCHEMA_IDS]
                if unknown:
                    raise Broken(f"{case}: ask() named {unknown[0]!r}; allowed are {', '.join(SCHEMA_IDS)}")
                counts.add(len(tuple(wanted)))
        return f"{min(counts)} to {max(counts)} questions"

    def survives() -> str:
        seen = observations()
        with opened(make) as policy, opened(make) as other:
            if not hasattr(policy, "snapshot"):
                return "not offered: nothing survives a reboot"
            cases = list(seen)
            early, late = (
                {case: seen[case] for case in part} for part in (cases[: len(cases) // 2], cases[len(cases) // 2 :])
            )
            decisions(policy, early)
            state = policy.snapshot()
            if not isinstance(state, bytes):
                raise Broken(f"snapshot() gives {type(state).__name__}; it must give bytes")
            other.restore(state)
            same(decisions(policy, late), decisions(other, late), "after restore() it decides")
        return f"{len(state)} bytes"

    def travels() -> str:
        seen = observations()
        with opened(make) as policy, opened(make) as other:
            first = decisions(policy, seen)
            there = {case: wire.loads(wire.dumps(wire.observation_to_json(o))) for case, o in seen.items()}
            far = decisions(other, {case: wire.observation_from_json(data) for case, data in there.items()})
            back = {
                c: wire.decision_from_json(wire.loads(wire.dumps(wire.decision_to_json(d)))) for c, d in far.items()
            }
            return same(first, back, "over JSON it decides")

    def timed() -> str:
        seen = observations()
        with opened(make) as policy:
            decisions(policy, seen)
            repeats = 20
            begin = time.perf_counter()
            for _ in range(repeats):
                for observation in seen.values():
                    policy.decide(observation)
            mean_s = (time.perf_counter() - begin) / (repeats * len(seen))
        return f"{mean_s * 1e6:.3g} microseconds a decision on this machine"

    if report.add("decides, and only what is possible", valid):
        report.add("same observations, same decisions", deterministic)
        report.add("leaves observations as they are", no_mutation)
        report.add("asks known questions", asks)
        report.add("survives a reboot", survives)
        report.add("same decisions over JSON lines", travels)
        report.add("time of a decision (told, not judged)", timed)
    return report.results
