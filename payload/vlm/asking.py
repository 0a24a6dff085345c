"""From a pair that is shown to questions, and from replies to verdicts. What a model writes is never trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flightsim.domain import TilePair, Verdict, VerdictStatus

from ..tasks import change
from ..tasks.change import Fault
from .engine import Finish, Question, Reply
from .gated import Refusal, Shown
from .profile import Profile

#: No answer is stated with more than this, as with ``spectral``. [-]
_SUREST = 0.99
#: Longest reason of an invalid answer that is kept. [characters]
_REASON = 300


def questions_about(shown: Shown, schemas: Sequence[str], profile: Profile) -> list[Question]:
    """One question a schema, in their order.

    Raises
    ------
    InputError
        There is no such schema.
    """
    return [
        Question(
            shown.before,
            shown.after,
            change.prompt(schema, profile.prompt, shown.composite),
            change.answer_schema(schema),
        )
        for schema in schemas
    ]


def verdict_of(pair: TilePair, schema: str, reply: Reply, produced_by: str) -> Verdict:
    """What a reply says about a pair; a fault of any kind is INVALID, with a reason that begins with its name.

    The confidence of an event is the probability that the answer begins as one, that of NULL one less that; None where
    the engine does not tell.
    """
    answer = _read(reply, schema)
    probability = None if answer.status is VerdictStatus.INVALID else reply.event_probability
    if probability is None:
        confidence = None
    else:
        stated = probability if answer.status is VerdictStatus.EVENT else 1.0 - probability
        confidence = min(round(stated, 3), _SUREST)
    body = None
    if answer.status is VerdictStatus.EVENT and answer.body is not None:
        body = change.derived(answer.body, pair.after.size_px, pair.after.gsd_m)
    return Verdict(pair.after.id, schema, answer.status, body, confidence, produced_by, answer.reason, reply.tokens)


def verdict_without(pair: TilePair, schema: str, why: Refusal, produced_by: str) -> Verdict:
    """The verdict about a pair that the model was not asked about."""
    return Verdict(pair.after.id, schema, why.status, None, why.confidence, produced_by, why.reason)


def _read(reply: Reply, schema: str) -> change.Answer:
    if reply.finish is Finish.ERROR:
        return _fault(Fault.ENGINE, reply.fault or "the engine gave no answer and no reason")
    probability = reply.event_probability
    broken = probability is not None and not (math.isfinite(probability) and -1e-6 <= probability <= 1 + 1e-6)
    if reply.finish is Finish.NUMERIC or broken:
        said = f"the probability of an event is {probability}" if broken else "the model's logits are not finite"
        return _fault(Fault.NUMERIC, reply.fault or said)
    return change.parse(reply.text, schema, complete=reply.finish is Finish.STOP)


def _fault(fault: Fault, detail: str) -> change.Answer:
    return change.Answer(VerdictStatus.INVALID, reason=f"{fault}: {detail}"[:_REASON])


__all__ = ["questions_about", "verdict_of", "verdict_without"]
