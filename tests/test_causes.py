"""Why something was missed or made up: exactly one cause each, and they add up to the metrics."""

import numpy as np
import pytest

from flightsim import causes
from flightsim.causes import AlarmCause, Fates, MissCause
from flightsim.domain import Action, TerminalState, VerdictStatus

from .factories import DAY_S, random_mission, record_of, statuses, truth_of, window
from .test_metrics import class_collapse, metrics_of, no_contacts, no_positives


def fate(**changes):
    """One tile with one question: a visible true event whose EVENT verdict was delivered alone and not believed."""
    values = {
        "status": "event", "changed": True, "labelled": True, "believed": False, "action": "verdict",
        "state": "delivered", "visible": True, "in_time": True,
    } | changes  # fmt: skip
    square = {name: np.array([[values[name]]]) for name in ("status", "changed", "labelled", "believed")}
    return Fates(**square, **{name: np.array([values[name]]) for name in ("action", "state", "visible", "in_time")})


def the_miss(**changes):
    code = int(causes.miss_causes(fate(**changes))[0, 0])
    return None if code < 0 else causes.MISS_CAUSES[code]


def the_alarm(**changes):
    code = int(causes.alarm_causes(fate(**({"changed": False, "believed": True} | changes)))[0, 0])
    return None if code < 0 else causes.ALARM_CAUSES[code]


LOST = {"in_time": False}


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"visible": False}, MissCause.HIDDEN),
        # Hidden comes first, whatever happened afterwards.
        ({"visible": False, "action": "nothing", "status": "null", **LOST}, MissCause.HIDDEN),
        ({"status": "null"}, MissCause.EYE_SAID_NO),
        ({"status": "null", "action": "nothing", "state": "not_sent", **LOST}, MissCause.EYE_SAID_NO),
        # A queue does not excuse an eye that said no to what was only to be a verdict.
        ({"status": "null", "state": "incomplete", **LOST}, MissCause.EYE_SAID_NO),
        ({"status": "unclassifiable"}, MissCause.EYE_COULD_NOT_TELL),
        ({"status": "invalid"}, MissCause.EYE_ANSWER_INVALID),
        ({"status": "not_asked"}, MissCause.NOT_ASKED),
        ({"action": "nothing", "state": "not_sent", **LOST}, MissCause.POLICY_DID_NOT_SEND),
        ({"state": "incomplete", **LOST}, MissCause.NOT_DOWN_IN_TIME),
        ({"state": "lost", **LOST}, MissCause.LOST_ON_LINK),
        ({"state": "late", **LOST}, MissCause.LATE),
        ({"state": "expired", **LOST}, MissCause.EXPIRED),
        ({"action": "tile", "state": "dropped_full", **LOST}, MissCause.STORAGE_FULL),
        ({"action": "undecided", "state": "dropped_full", "status": "not_asked", **LOST}, MissCause.STORAGE_FULL),
        ({"action": "undecided", "state": "not_processed", "status": "not_asked", **LOST}, MissCause.NOT_PROCESSED),
        ({"action": "reimage", "state": "not_processed", **LOST}, MissCause.NOT_PROCESSED),
        ({"action": "undecided", "state": "lost", "status": "not_asked", **LOST}, MissCause.LOST_ON_BOARD),
        ({"action": "undecided", "state": "refused_power", **LOST}, MissCause.LOST_ON_BOARD),
        ({"action": "thumbnail"}, MissCause.MISREAD),
        # With a picture on its way the eye's no is not what lost the event.
        ({"action": "tile", "status": "null"}, MissCause.MISREAD),
        ({"action": "tile", "status": "null", "state": "incomplete", **LOST}, MissCause.NOT_DOWN_IN_TIME),
        ({}, MissCause.TOO_WEAK),
        ({"believed": True}, None),
        ({"changed": False}, None),
        ({"labelled": False}, None),
    ],
)  # fmt: skip
def test_a_miss_is_put_down_to_the_last_step_that_could_have_saved_it(changes, cause):
    assert the_miss(**changes) is cause


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({}, AlarmCause.EYE_ALONE),
        ({"action": "thumbnail", "visible": False}, AlarmCause.EYE_ALONE),
        ({"action": "thumbnail"}, AlarmCause.EYE_NOT_REFUTED),
        ({"action": "tile", "status": "null"}, AlarmCause.READER_ALONE),
        ({"action": "nothing", "status": "null", **LOST}, AlarmCause.OTHER_PICTURE),
        ({"changed": True}, None),
        ({"labelled": False}, None),
        ({"believed": False}, None),
    ],
)
def test_a_false_alarm_is_put_down_to_who_spoke_for_it(changes, cause):
    assert the_alarm(**changes) is cause


def test_every_combination_of_fates_has_exactly_one_cause():
    kinds = (*[str(action) for action in Action], "undecided")
    answers = (*[str(status) for status in VerdictStatus], "not_asked")
    for action in kinds:
        for state in TerminalState:
            for status in answers:
                for visible in (False, True):
                    for in_time in (False, True):
                        how = {"action": action, "state": str(state), "status": status}
                        assert the_miss(visible=visible, in_time=in_time, **how) is not None
                        assert the_alarm(visible=visible, in_time=in_time, **how) is not None


def test_every_cause_has_words_of_its_own():
    assert set(causes.MISS_TEXTS) == set(MissCause)
    assert set(causes.ALARM_TEXTS) == set(AlarmCause)
    texts = [text for table in (causes.MISS_TEXTS, causes.ALARM_TEXTS) for pair in table.values() for text in pair]
    assert len(set(texts)) == len(texts)
    assert all(
        sentence.endswith(".") for table in (causes.MISS_TEXTS, causes.ALARM_TEXTS) for _, sentence in table.values()
    )


def mixed_mission():
    """Every action, some delivered, some late, some expired; two schemas."""
    generator = np.random.default_rng(5)
    n = 600
    actions = [Action(kind) for kind in generator.choice(["nothing", "verdict", "thumbnail", "tile"], n)]
    delivered = np.where(generator.random(n) < 0.6, 7 * DAY_S + 600.0, np.nan)
    return random_mission(n, 2, prior=0.2, hidden=0.3, actions=actions, delivered_s=delivered)


@pytest.mark.parametrize("make", [mixed_mission, random_mission, class_collapse, no_contacts, no_positives])
def test_the_causes_add_up_to_the_misses_and_false_alarms_of_the_metrics(make):
    values = metrics_of(make())
    ground = values["quality"]["ground"]
    assert sum(values["misses"].values()) == ground["fn"] == values["utility"]["misses"]
    assert sum(values["false_alarms"].values()) == ground["fp"] == values["utility"]["false_alarms"]
    assert set(values["misses"]) <= {str(cause) for cause in MissCause}
    assert all(values["misses"].values())
    if make is mixed_mission:
        assert len(values["misses"]) >= 4
        assert values["false_alarms"]


def test_the_summary_tells_the_causes_in_words():
    from flightsim.summary import summary_lines

    from .test_metrics import CONTEXT

    record = record_of(
        truth_of([True, True, True, False], visible=[False, True, True, True], prior=0.3),
        contacts=[window(1000.0, 500.0, 60)], status=statuses("unen"),
        actions=[Action.VERDICT, Action.VERDICT, Action.NOTHING, Action.NOTHING],
        delivered_s=[1800.0, 1800.0, np.nan, np.nan],
    )  # fmt: skip
    (line,) = [line for line in summary_lines(metrics_of(record), CONTEXT) if line.startswith("belief on the ground")]
    assert line.endswith("; missed 3 (cloud hid it 1, the eye said no 1, the policy did not send 1); false alarms 0")


def test_a_second_look_counts_by_what_it_shows():
    """Hidden in the nominal picture and visible in the second: the miss is the eye's, not the cloud's."""
    record = record_of(
        truth_of([True], visible=[False]), status=statuses("n"), actions=Action.VERDICT, delivered_s=1800.0,
        looks=np.array([2]), looked_s=np.array([9e4]), seen_visible=np.array([True]),
    )  # fmt: skip
    assert causes.count_record(record, np.array([[False]]))["misses"] == {"eye_said_no": 1}
