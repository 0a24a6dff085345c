"""Why the ground missed a true event, and why it believed a false one: one cause for each.

A miss is put down to the last step that could still have saved it. Read from the left; the first that holds counts::

    hidden by cloud -> never decided on -> a picture was on its way -> the eye's answer -> the verdict's way down
                       (storage, power,     (not down in time, late,    (no, unusable,     (not sent, not down in
                        processor)           expired, lost, misread)     invalid, not asked) time, lost, too weak)

So a policy that sends pictures blindly is never excused by its eye, and an eye that said no is not excused by a queue
in which nothing was waiting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .domain import Action, TerminalState, VerdictStatus

if TYPE_CHECKING:
    from .recorder import RunRecord


class MissCause(StrEnum):
    """Why a true event is not known on the ground."""

    HIDDEN = "hidden"
    EYE_SAID_NO = "eye_said_no"
    EYE_COULD_NOT_TELL = "eye_could_not_tell"
    EYE_ANSWER_INVALID = "eye_answer_invalid"
    NOT_ASKED = "not_asked"
    POLICY_DID_NOT_SEND = "policy_did_not_send"
    NOT_DOWN_IN_TIME = "not_down_in_time"
    LOST_ON_LINK = "lost_on_link"
    LATE = "late"
    EXPIRED = "expired"
    STORAGE_FULL = "storage_full"
    NOT_PROCESSED = "not_processed"
    LOST_ON_BOARD = "lost_on_board"
    MISREAD = "misread"
    TOO_WEAK = "too_weak"


class AlarmCause(StrEnum):
    """Why the ground believes an event that is not there."""

    EYE_ALONE = "eye_alone"
    EYE_NOT_REFUTED = "eye_not_refuted"
    READER_ALONE = "reader_alone"
    OTHER_PICTURE = "other_picture"


#: A few words for a bar's label and one sentence for each cause.
MISS_TEXTS: Mapping[MissCause, tuple[str, str]] = {
    MissCause.HIDDEN: (
        "cloud hid it", "Cloud or missing data hid the place in this picture: no eye and no reader could see the event."
    ),
    MissCause.EYE_SAID_NO: (
        "the eye said no", "The eye on board looked at the picture and answered 'no event'; no picture came down."
    ),
    MissCause.EYE_COULD_NOT_TELL: (
        "the eye could not use the picture",
        "The eye's quality gate gave no answer although the place was visible; no picture came down.",
    ),
    MissCause.EYE_ANSWER_INVALID: (
        "the eye's answer was invalid", "The eye failed or gave an answer that fits no schema; no picture came down."
    ),
    MissCause.NOT_ASKED: ("the eye was not asked", "The policy asked the eye nothing; no picture came down."),
    MissCause.POLICY_DID_NOT_SEND: (
        "the policy did not send", "The eye said yes, and the policy still decided to send nothing."
    ),
    MissCause.NOT_DOWN_IN_TIME: (
        "queued but not down in time", "It was waiting for the link, or half sent, when the run ended."
    ),
    MissCause.LOST_ON_LINK: ("lost on the link", "It was sent, and frames of it never reached the ground."),
    MissCause.LATE: ("down too late", "It reached the ground after its useful age, which the scenario states."),
    MissCause.EXPIRED: ("expired in the queue", "Its time to live, set by the policy, ended before a contact came."),
    MissCause.STORAGE_FULL: ("storage was full", "Mass memory had no room for the picture or for its product."),
    MissCause.NOT_PROCESSED: (
        "never processed", "The picture was still waiting for the processor when the run ended; nothing was decided."
    ),
    MissCause.LOST_ON_BOARD: ("lost on board", "The picture was lost, or refused for lack of power, undecided."),
    MissCause.MISREAD: (
        "read wrongly on the ground",
        "A picture of the visible place arrived, and the reader, weighing it with the verdict, still said no.",
    ),
    MissCause.TOO_WEAK: (
        "the verdict alone was too weak",
        "The eye's yes arrived, but such an eye is wrong too often for the ground to believe it without a picture.",
    ),
}  # fmt: skip
ALARM_TEXTS: Mapping[AlarmCause, tuple[str, str]] = {
    AlarmCause.EYE_ALONE: (
        "the eye was wrong and nothing showed it",
        "The eye said yes where nothing had happened, and no picture arrived that could be read.",
    ),
    AlarmCause.EYE_NOT_REFUTED: (
        "the eye was wrong and the picture did not refute it",
        "The eye said yes, a picture arrived, and the ground still believed the event.",
    ),
    AlarmCause.READER_ALONE: (
        "the reader saw what was not there",
        "The eye did not say yes to this; the reader took the picture for an event.",
    ),
    AlarmCause.OTHER_PICTURE: (
        "another picture spoke for it", "Nothing about this picture said yes; what spoke for the event was another one."
    ),
}  # fmt: skip

MISS_CAUSES: tuple[MissCause, ...] = tuple(MissCause)
ALARM_CAUSES: tuple[AlarmCause, ...] = tuple(AlarmCause)
_PICTURES = (Action.THUMBNAIL, Action.CROP, Action.MASK, Action.TILE)


@dataclass(frozen=True)
class Fates:
    """What happened to n tiles and their s questions, as names; from a record or from the tables of a run folder.

    Arrays of shape (n, s): ``status`` ("not_asked" where there is no answer), ``changed``, ``labelled``, ``believed``.
    Arrays of shape (n,): ``action`` ("undecided" for none), ``state``, ``visible`` (in the picture that counted, the
    last one), and ``in_time``: whether what was sent lay complete on the ground within the run and its useful age.
    """

    status: NDArray[Any]
    changed: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    believed: NDArray[np.bool_]
    action: NDArray[Any]
    state: NDArray[Any]
    visible: NDArray[np.bool_]
    in_time: NDArray[np.bool_]


def fates_of(record: RunRecord, believed: NDArray[np.bool_]) -> Fates:
    """The fates in a record, with the ground's yes answers, shape (n, s)."""
    from .recorder import ACTIONS, STATES, STATUSES

    def names(codes: NDArray[np.int8], known: Sequence[StrEnum], none: str) -> NDArray[Any]:
        return np.array([*[str(name) for name in known], none])[codes]  # -1 takes the last one

    with np.errstate(invalid="ignore"):
        in_time = (record.delivered_s <= record.horizon_s) & ~record.late
    truth = record.truth
    return Fates(
        names(record.status, STATUSES, "not_asked"), truth.changed, truth.labelled, believed,
        names(record.action, ACTIONS, "undecided"), names(record.state, STATES, "open"), record.seen_visible, in_time,
    )  # fmt: skip


def miss_causes(fates: Fates) -> NDArray[np.int8]:
    """Cause of each miss, shape (n, s): index into ``MISS_CAUSES``, -1 where nothing was missed."""
    missed = fates.changed & fates.labelled & ~fates.believed
    found = np.full(missed.shape, -1, dtype=np.int8)
    action, state, status = fates.action[:, None], fates.state[:, None], fates.status
    picture = np.isin(action, [str(kind) for kind in _PICTURES])
    verdict = action == str(Action.VERDICT)
    arrived = fates.in_time[:, None]

    def put(cause: MissCause, where: NDArray[np.bool_]) -> None:
        found[missed & (found < 0) & np.broadcast_to(where, missed.shape)] = MISS_CAUSES.index(cause)

    def put_link(where: NDArray[np.bool_]) -> None:
        lost = where & ~arrived
        put(MissCause.LATE, lost & (state == str(TerminalState.LATE)))
        put(MissCause.EXPIRED, lost & (state == str(TerminalState.EXPIRED)))
        put(MissCause.STORAGE_FULL, lost & (state == str(TerminalState.DROPPED_FULL)))
        put(MissCause.LOST_ON_LINK, lost & (state == str(TerminalState.LOST)))
        put(MissCause.NOT_DOWN_IN_TIME, lost)

    put(MissCause.HIDDEN, ~fates.visible[:, None])
    # A second look that was asked for and never looked at leaves its wish as the last decision.
    undecided = (action == "undecided") | (action == str(Action.REIMAGE))
    put(MissCause.STORAGE_FULL, undecided & (state == str(TerminalState.DROPPED_FULL)))
    put(MissCause.NOT_PROCESSED, undecided & (state == str(TerminalState.NOT_PROCESSED)))
    put(MissCause.LOST_ON_BOARD, undecided)
    put_link(picture)
    put(MissCause.MISREAD, picture & arrived)
    put(MissCause.EYE_SAID_NO, status == str(VerdictStatus.NULL))
    put(MissCause.EYE_COULD_NOT_TELL, status == str(VerdictStatus.UNCLASSIFIABLE))
    put(MissCause.EYE_ANSWER_INVALID, status == str(VerdictStatus.INVALID))
    put(MissCause.NOT_ASKED, status == "not_asked")
    put(MissCause.POLICY_DID_NOT_SEND, ~verdict)
    put_link(verdict)
    put(MissCause.TOO_WEAK, verdict & arrived)
    return found


def alarm_causes(fates: Fates) -> NDArray[np.int8]:
    """Cause of each false alarm, shape (n, s): index into ``ALARM_CAUSES``, -1 where there is none."""
    false = ~fates.changed & fates.labelled & fates.believed
    found = np.full(false.shape, -1, dtype=np.int8)
    arrived = fates.in_time[:, None]
    said_yes = (fates.status == str(VerdictStatus.EVENT)) & arrived
    picture = np.isin(fates.action[:, None], [str(kind) for kind in _PICTURES])
    read = picture & arrived & fates.visible[:, None]
    for cause, where in (
        (AlarmCause.EYE_NOT_REFUTED, said_yes & read),
        (AlarmCause.EYE_ALONE, said_yes),
        (AlarmCause.READER_ALONE, read),
        (AlarmCause.OTHER_PICTURE, np.ones_like(false)),
    ):
        found[false & (found < 0) & np.broadcast_to(where, false.shape)] = ALARM_CAUSES.index(cause)
    return found


def count_causes(fates: Fates) -> dict[str, dict[str, int]]:
    """``misses`` and ``false_alarms`` by cause, zeros left out; they add up to FN and FP. [-]"""

    def counts(codes: NDArray[np.int8], causes: Sequence[StrEnum]) -> dict[str, int]:
        found = {str(cause): int(np.count_nonzero(codes == k)) for k, cause in enumerate(causes)}
        return {name: count for name, count in found.items() if count}

    return {
        "misses": counts(miss_causes(fates), MISS_CAUSES),
        "false_alarms": counts(alarm_causes(fates), ALARM_CAUSES),
    }


def count_record(record: RunRecord, believed: NDArray[np.bool_]) -> dict[str, dict[str, int]]:
    """``count_causes`` of a record, with the ground's yes answers, shape (n, s). [-]"""
    return count_causes(fates_of(record, believed))


__all__ = [
    "ALARM_CAUSES", "ALARM_TEXTS", "MISS_CAUSES", "MISS_TEXTS", "AlarmCause", "Fates", "MissCause", "alarm_causes",
    "count_causes", "count_record", "fates_of", "miss_causes",
]  # fmt: skip
