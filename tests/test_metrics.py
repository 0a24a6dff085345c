"""The metrics of a run: by hand on small records, and what must hold for every run."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from flightsim.belief import DeclaredReader, make_reader
from flightsim.domain import Action, TerminalState
from flightsim.errors import ConservationError, InputError
from flightsim.evidence import Eye
from flightsim.metrics import compute_metrics, evaluate
from flightsim.quality import Ground, latency_samples
from flightsim.recorder import STATES
from flightsim.references import ReferenceSizes
from flightsim.runfolder import verdicts_table
from flightsim.scenario.models import Use
from flightsim.summary import MAX_LINES, _percent, _share, summary_lines

from .factories import DAY_S, FRAME, random_mission, record_of, sizes_of, statuses, truth_of, window

ANALYST, PERFECT = Use(use="analyst"), Use(use="perfect")
CONTEXT = {
    "scenario": "made-up", "world": "synthetic", "policy": "budgeted", "fallback": "verdicts_only", "seed": 1,
    "link": "constant", "payload_share": 0.125, "duration_s": 7 * DAY_S, "horizon_s": 8 * DAY_S, "failures": {},
    "skipped": {}, "notes": [], "eye": "liquid_space", "eye_fingerprint": "liquid_space/1", "eye_needs_truth": True,
    "clock": "profile", "isolation": "inline",
}  # fmt: skip


def metrics_of(record, reader=ANALYST, rates=(0.92, 0.01), sizes=None, **options):
    schemas = record.truth.schemas
    sizes = sizes or sizes_of(len(record.plan))
    return compute_metrics(record, sizes, dict.fromkeys(schemas, rates), reader, 1, **options)


def small():
    """Six tiles, one schema, a perfect reader: every number below can be worked out by hand.

    tile  truth  visible  verdict  sent       fate
    0     yes    yes      event    tile       delivered after 1800 s -> yes, right
    1     no     yes      event    verdict    delivered after 1800 s -> yes, wrong (the verdict is all there is)
    2     yes    yes      null     nothing    -> no, missed
    3     yes    no       event    thumbnail  delivered, hidden: the verdict alone -> yes, right
    4     no     yes      null     tile       incomplete -> no, right
    5     yes    yes      event    tile       late -> no, missed
    """
    truth = truth_of(
        [True, False, True, True, False, True], visible=[True, True, True, False, True, True],
        cluster=[0, 0, 1, 1, 2, 2], prior=0.5,
    )  # fmt: skip
    actions = [Action.TILE, Action.VERDICT, Action.NOTHING, Action.THUMBNAIL, Action.TILE, Action.TILE]
    times = np.arange(6) * 100.0
    record = record_of(
        truth, times_s=times, contacts=[window(1000.0, 500.0, 60), window(9000.0, 500.0, 20)],
        status=statuses("eenene"), actions=actions, delivered_s=[1800.0, 1900.0, np.nan, 8000.0, np.nan, 90_000.0],
    )  # fmt: skip
    record.late[5] = True
    record.state[5] = STATES.index(TerminalState.LATE)
    return record


def test_quality_by_hand():
    values = metrics_of(small(), PERFECT)["quality"]
    ground = values["ground"]
    assert [ground[k] for k in ("tp", "fp", "fn", "tn")] == [2, 1, 2, 1]
    assert ground["precision"] == pytest.approx(2 / 3)
    assert ground["recall"] == pytest.approx(0.5)
    assert ground["f1"] == pytest.approx(4 / 7)
    assert ground["f2"] == pytest.approx(5 * 2 / (5 * 2 + 4 * 2 + 1))
    assert ground["f_half"] == pytest.approx(1.25 * 2 / (1.25 * 2 + 0.25 * 2 + 1))
    assert ground["mcc"] == pytest.approx((2 * 1 - 1 * 2) / math.sqrt(3 * 4 * 2 * 3))
    onboard = values["onboard"]
    assert [onboard[k] for k in ("tp", "fp", "fn", "tn")] == [3, 1, 1, 1]
    assert onboard["processed_fraction"] == 1.0
    # Every visible tile read perfectly: only the hidden event is missed.
    assert values["bent_pipe_unlimited"]["f1"] == pytest.approx(6 / 7)
    assert values["cloud_ceiling_f1"] == pytest.approx(6 / 7)
    # With the verdicts on top, the hidden one is found as well.
    assert values["fused_unlimited"]["f1"] == 1.0
    assert values["f1_retained"] == pytest.approx((4 / 7) / (6 / 7))


def test_bytes_by_hand():
    record = small()
    values = metrics_of(record, PERFECT)["bytes"]
    # Four products of 2000 B went down, the late one too: 8000 B in 8 zones of 1105 B.
    assert values["air"] == 8 * FRAME
    assert values["delivered"] == 4 * 1800
    assert values["waste"] == 8 * FRAME - 7200
    assert values["capacity"] == 80 * FRAME
    # Six tiles of 20,000 B: 120,000 B in 109 frames; all 80 frames of the contacts are filled.
    assert values["bent_pipe_unlimited"] == 109 * FRAME
    assert values["bent_pipe_windows"] == 80 * FRAME
    assert values["saved_fraction"] == pytest.approx(1 - 8 / 80)
    assert values["volume_ratio"] == pytest.approx(10.0)
    assert values["load"] == pytest.approx(109 / 80)
    assert values["per_true_event"] == pytest.approx(8 * FRAME / 2)
    assert sum(values["by_kind"].values()) == pytest.approx(values["air"])
    # Three of the four delivered products are about a true event; four of the six tiles show one.
    assert values["value_density"] == pytest.approx(3 / 4)
    assert values["lift"] == pytest.approx((3 / 4) / (4 / 6))


def test_latency_counts_what_was_never_found():
    values = metrics_of(small(), PERFECT)["latency_s"]
    # Four positives: found after 1800 s and 8000 - 300 s, two never.
    assert values["positives"] == 4
    assert values["censored"] == 2
    assert values["median"] == pytest.approx(7700.0)
    assert values["p90"] is None
    assert (values["within_1h"], values["within_6h"], values["within_24h"]) == (0.25, 0.5, 0.5)


def test_waiting_times_of_every_positive_by_hand():
    record = small()
    reader = DeclaredReader(make_reader("perfect"), record.truth, np.zeros((6, 1)))
    _, beliefs = evaluate(record, sizes_of(6), Ground(Eye({"flood_extent": (0.92, 0.01)}), reader), 1)
    waited, censored = latency_samples(record, beliefs)
    # Tiles 0, 2, 3 and 5 are positive; the run ends after eight days, and tile 5 came too late to count.
    assert censored.tolist() == [False, True, False, True]
    assert waited.tolist() == [1800.0, 8 * DAY_S - 200.0, 7700.0, 8 * DAY_S - 500.0]
    table = verdicts_table(record, {"flood_extent": (0.92, 0.01)}, beliefs)
    known = table.column("known_s").to_numpy()
    assert known[[0, 3]].tolist() == [1800.0, 8000.0]
    assert np.isnan(known[[1, 2, 4, 5]]).all()  # tile 1 is believed, and wrongly: there is nothing to know
    assert table.column("believed").to_pylist() == [True, True, False, True, False, False]
    assert table.column("posterior").to_numpy() == pytest.approx(beliefs.policy.posterior[:, 0])
    assert "posterior" not in verdicts_table(record, {"flood_extent": (0.92, 0.01)}).column_names


def test_stages_and_funnel_by_hand():
    values = metrics_of(small(), PERFECT)
    assert set(values["stages"]) == {str(state) for state in TerminalState}
    assert {k: v for k, v in values["stages"].items() if v} == {
        "delivered": 3, "late": 1, "incomplete": 1, "not_sent": 1,
    }  # fmt: skip
    assert list(values["funnel"].items()) == [
        ("planned", 6), ("captured", 6), ("processed", 6), ("sent", 5), ("delivered_in_time", 3), ("true_positive", 2),
    ]  # fmt: skip
    assert values["population"] == {
        "tiles": 6, "questions": 6, "unlabelled": 0, "positives": 4, "clusters": 3, "positive_clusters": 3,
        "prevalence": pytest.approx(4 / 6),
    }  # fmt: skip


def test_utility_and_base_rate_by_hand():
    values = metrics_of(
        small(), PERFECT, costs={"miss": 100.0, "false_alarm": 7.0, "review_minutes": 2.0}, base_rate=0.1
    )
    # Pictures delivered in time: a tile and a thumbnail.
    assert values["utility"] == {"misses": 2, "false_alarms": 1, "reviewed_products": 2, "cost_minutes": 211.0}
    hit, alarm = 0.1 * 0.5, 0.9 * 0.5
    assert values["quality"]["ground"]["f1_at_base_rate"] == pytest.approx(2 * hit / (hit + alarm + 0.1))


def test_a_question_without_a_label_is_not_scored():
    truth = truth_of([[True, True], [False, True]], labelled=[[True, False], [True, False]])
    record = record_of(truth, status=statuses(["ee", "ne"]), actions=Action.VERDICT, delivered_s=500.0)
    values = metrics_of(record)
    assert values["population"]["questions"] == 2
    assert values["population"]["unlabelled"] == 2
    assert values["quality"]["ground"]["tp"] == 1
    assert values["quality"]["onboard"]["f1"] == 1.0
    per_schema = values["quality"]["per_schema"]
    assert per_schema["ice_extent"]["ground"]["f1"] is None
    assert values["quality"]["ground"]["macro_f1"] == per_schema["flood_extent"]["ground"]["f1"]


def test_unclassifiable_invalid_and_unasked_are_counted_apart():
    record = record_of(truth_of([True] * 5), status=statuses("euiin"), actions=Action.NOTHING)
    record.status[4] = -1
    onboard = metrics_of(record)["quality"]["onboard"]
    assert (onboard["tp"], onboard["fn"]) == (1, 0)
    assert (onboard["unclassifiable"], onboard["invalid"], onboard["not_asked"]) == (1, 2, 1)
    assert onboard["processed_fraction"] == pytest.approx(0.2)


# What holds for every run ----------------------------------------------------------------------------------------


def class_collapse():
    record = random_mission(900, 2, delivered_s=7 * DAY_S)
    record.status[:] = statuses(["n"])[0, 0]
    return record


def no_contacts():
    record = random_mission(900, actions=Action.NOTHING)
    return replace(record, contacts=[], contact_zone_bytes=np.zeros(0, int), contact_air_bytes=np.zeros(0, int))


def no_positives():
    record = random_mission(900, actions=Action.TILE)
    record.truth.changed[:] = False
    record.status[:] = statuses(["n"])[0, 0]
    return record


RUNS = {
    "small": small,
    "verdicts": lambda: random_mission(900, 3, prior=0.1),
    "tiles": lambda: random_mission(900, actions=Action.TILE, delivered_s=8 * DAY_S),
    "nothing": lambda: random_mission(900, actions=Action.NOTHING),
    "class_collapse": class_collapse,
    "no_contacts": no_contacts,
    "no_positives": no_positives,
    "all_hidden": lambda: random_mission(900, hidden=1.0),
}


def absent_paths(values, path=""):
    """Paths of every None."""
    if isinstance(values, dict):
        return [p for key, value in values.items() for p in absent_paths(value, f"{path}.{key}" if path else key)]
    return [path] if values is None else []


@pytest.fixture(scope="module", params=sorted(RUNS))
def any_run(request):
    record = RUNS[request.param]()
    return request.param, record, metrics_of(record, needs_truth=True)


def test_every_null_has_its_reason_and_every_reason_its_null(any_run):
    _, _, values = any_run
    absent = set(absent_paths({key: value for key, value in values.items() if key != "reasons"}))
    assert absent - {"quality.no_vlm.best_name"} == set(values["reasons"])
    assert all(why for why in values["reasons"].values())


def test_the_metrics_are_json_and_no_number_is_infinite(any_run):
    _, _, values = any_run
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_what_metrics_md_names_is_there(any_run):
    _, _, values = any_run
    for name in (
        "air", "delivered", "waste", "uplink", "capacity", "bent_pipe_unlimited", "bent_pipe_windows",
        "saved_fraction", "volume_ratio", "per_true_event",
    ):  # fmt: skip
        assert name in values["bytes"]
    for part in ("onboard", "ground", "bent_pipe_unlimited", "bent_pipe_windows", "fused_unlimited"):
        assert {"tp", "fp", "fn", "tn", "precision", "recall", "f1", "mcc"} <= set(values["quality"][part])
    assert {"f1_retained", "f1_gain", "regret", "cloud_ceiling_f1", "per_schema", "hindsight"} <= set(values["quality"])
    assert {"best_f1_at_bytes", "cheapest_at_f1"} <= set(values["quality"]["no_vlm"])
    assert {"median", "p90", "p95", "within_1h", "within_6h", "within_24h"} <= set(values["latency_s"])
    assert {"questions", "positives", "clusters", "prevalence"} <= set(values["population"])
    assert {"stages", "energy_j", "compute_s"} <= set(values)


def test_counts_add_up(any_run):
    _, record, values = any_run
    people, quality = values["population"], values["quality"]
    assert sum(values["stages"].values()) == len(record.plan)
    for part in ("ground", "bent_pipe_unlimited", "bent_pipe_windows", "fused_unlimited"):
        assert sum(quality[part][k] for k in ("tp", "fp", "fn", "tn")) == people["questions"]
        assert quality[part]["tp"] + quality[part]["fn"] == people["positives"]
    onboard = quality["onboard"]
    apart = onboard["unclassifiable"] + onboard["invalid"] + onboard["not_asked"]
    assert sum(onboard[k] for k in ("tp", "fp", "fn", "tn")) + apart == people["questions"]
    assert sum(part["questions"] for part in quality["per_schema"].values()) == people["questions"]
    funnel = list(values["funnel"].values())
    assert funnel == sorted(funnel, reverse=True)


def test_intervals_hold_their_estimate(any_run):
    _, _, values = any_run
    quality = values["quality"]
    for holder, names in ((values["bytes"], ["saved_fraction"]), (quality["ground"], ["f1"]), (quality, ["f1_gain"])):
        for name in names:
            interval = holder["ci95"][name]
            if interval is not None:
                assert interval[0] <= holder[name] <= interval[1]


def test_the_summary_is_short_and_starts_with_the_two_lines(any_run):
    _, _, values = any_run
    lines = summary_lines(values, CONTEXT)
    assert len(lines) <= MAX_LINES
    assert lines[0].startswith("bytes saved ")
    assert lines[1].startswith("F1 retained ")
    assert "eye liquid_space (statistical, answers from truth)" in lines[1]
    assert all("\n" not in line and "nan" not in line.split() for line in lines)
    on_file = json.loads(json.dumps(values, sort_keys=True))
    assert summary_lines(on_file, CONTEXT) == lines


# Edge cases in the same two lines --------------------------------------------------------------------------------


def test_class_collapse_saves_all_and_keeps_nothing():
    values = metrics_of(class_collapse())
    lines = summary_lines(values, CONTEXT)
    assert values["bytes"]["saved_fraction"] > 0.9
    assert values["quality"]["ground"]["f1"] == 0.0
    assert values["quality"]["onboard"]["f1"] == 0.0
    assert (
        "; bytes per true event null (no true event reached the ground); cheapest no-VLM at this F1: nothing"
        in lines[0]
    )
    assert lines[1].startswith("F1 retained 0 %: 0.00 of 0.9")


def test_no_contact_says_that_the_bent_pipe_sends_nothing_either():
    lines = summary_lines(metrics_of(no_contacts()), CONTEXT)
    assert lines[0].startswith(
        "bytes saved null (no booked contact can carry a frame, so the bent pipe sends nothing either): sent 0 B"
    )
    assert lines[1].startswith("F1 retained 0 %: 0.00 of ")


def test_no_positives_are_null_with_reasons():
    values = metrics_of(no_positives())
    lines = summary_lines(values, CONTEXT)
    assert lines[1].startswith("F1 retained null (the bent pipe with an unlimited link has no F1 above 0")
    assert "0 events in 0 clusters, prevalence 0 %" in lines[1]
    assert values["latency_s"]["median"] is None
    assert values["reasons"]["latency_s.median"] == "there is no positive"


def test_the_two_lines_have_the_form_of_metrics_md():
    record = random_mission(3000, prior=0.05, per_cluster=30)
    lines = summary_lines(metrics_of(record, needs_truth=True), CONTEXT)
    number, size = r"[\d.]+", r"[\d.]+ (?:B|kB|MB|GB)"
    assert re.fullmatch(
        rf"bytes saved {number} % \[{number}-{number}\]: sent {size}, bent pipe {size} on the same captures "
        rf"and passes; {size} per true event; cheapest no-VLM at this F1: (none|[^,]+, {size})",
        lines[0],
    )
    assert re.fullmatch(
        rf"F1 retained {number} % \[{number}-{number}\]: {number} of {number} with unlimited link; bent pipe {number}, "
        rf"best no-VLM at these bytes {number}, hindsight null \(not computed in one run\); \d+ events in \d+ "
        rf"clusters, prevalence {number} %, reader analyst .97/.998, world synthetic, "
        r"eye liquid_space \(statistical, answers from truth\)",
        lines[1],
    )


def test_failures_skipped_shots_uplink_and_notes_are_said_within_the_limit():
    record = random_mission(900)
    record.uplink_bytes = 5_000_000
    context = CONTEXT | {
        "failures": {"policy_failed": 12}, "skipped": {"dark": 40, "roll": 0},
        "notes": [f"note {k}\nwith a second line" for k in range(9)],
    }  # fmt: skip
    lines = summary_lines(metrics_of(record), context)
    assert len(lines) == MAX_LINES
    assert "failures: policy_failed 12" in lines
    assert "shots the plan left out: dark 40" in lines
    assert any(line.startswith("uplink: 5 MB") for line in lines)
    assert lines[-2] == "note: note 0 with a second line"
    assert lines[-1] == "note: and 8 more notes in run.json"


def test_what_goes_up_is_held_against_the_time_there_is():
    record = random_mission(901)
    record.uplink_bytes, record.uplink_rate_bps = 5_000_000, 1e5
    contact_s = sum(w.grid_s[-1] - w.grid_s[0] for w in record.contacts if w.booked)
    used = metrics_of(record)["bytes"]["uplink_used"]
    assert contact_s > 0
    assert used == pytest.approx(8 * 5e6 / (1e5 * contact_s))
    record.uplink_rate_bps *= 2
    assert metrics_of(record)["bytes"]["uplink_used"] == pytest.approx(used / 2)


def test_below_thirty_positive_clusters_there_is_no_headline_interval():
    record = random_mission(900, per_cluster=45)  # 20 clusters
    values = metrics_of(record)
    assert values["bytes"]["ci95"]["saved_fraction"] is None
    assert values["reasons"]["quality.ci95.f1_retained"].startswith("only 20 clusters hold a positive")
    low, high = values["quality"]["ground"]["wilson95"]["recall"]
    assert low < values["quality"]["ground"]["recall"] < high


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"), (1.0, "100 %"), (0.991, "99.10 %"), (0.9999999, ">99.9999 %"), (1e-9, "<0.0001 %"),
        (0.031, "3.1 %"), (0.43, "43 %"), (-0.125, "-12 %"), (0.99937, "99.937 %"), (0.905, "90.5 %"),
    ],
)  # fmt: skip
def test_a_share_is_never_rounded_to_all_or_nothing(value, text):
    assert _share(value) == text


def test_an_interval_has_the_decimals_of_its_estimate():
    assert _percent(0.9987, [0.99801, 0.99911], {}, "x") == "99.87 % [99.80-99.91]"
    assert _percent(0.0, [-0.00001, 0.00006], {}, "x") == "0 % [0-0]"
    assert _percent(0.05, [-0.59, 0.37], {}, "x") == "5.0 % [-59.0 to 37.0]"
    assert _percent(None, None, {"x": "because"}, "x") == "null (because)"


def test_a_full_link_has_no_interval_of_bytes():
    record = random_mission(2000, actions=Action.TILE, delivered_s=8 * DAY_S, wire_bytes=20_000)
    record.contact_air_bytes[:] = [int(c.total_bits // (8 * FRAME)) * FRAME for c in record.contacts]
    values = metrics_of(record)
    assert values["bytes"]["saved_fraction"] == 0.0
    assert values["bytes"]["ci95"]["saved_fraction"] is None
    assert "both fill the link" in values["reasons"]["bytes.ci95.saved_fraction"]


def test_a_bent_pipe_run_saves_nothing_and_gains_nothing():
    """The policy that does what the reference does gets the reference's own numbers."""
    record = random_mission(900, actions=Action.TILE, delivered_s=8 * DAY_S)
    values = metrics_of(record, rates=(0.5, 0.5))  # an eye that knows nothing
    assert values["quality"]["ground"]["f1"] == values["quality"]["bent_pipe_unlimited"]["f1"]
    assert values["quality"]["f1_retained"] == 1.0


def test_the_reader_band_brackets_the_run():
    quality = metrics_of(random_mission(4000, actions=Action.THUMBNAIL, prior=0.05))["quality"]
    band = quality["reader_band"]
    assert band["product_adds_nothing"] < quality["ground"]["f1"] < band["perfect"]


def test_the_cloud_filter_is_used_where_there_are_clouds():
    record = random_mission(900, hidden=0.4)
    sizes = sizes_of(900)
    cloud = np.where(record.truth.visible, 0.0, 0.9)
    with_clouds = ReferenceSizes(sizes.tile_wire, sizes.thumbnail_wire, sizes.raw_bytes, sizes.tile_bytes, cloud)
    names = {p["name"] for p in metrics_of(record, sizes=with_clouds)["quality"]["no_vlm"]["points"]}
    assert "tiles below 30% cloud" in names


def test_the_same_record_gives_the_same_metrics():
    assert metrics_of(random_mission(500)) == metrics_of(random_mission(500))


def test_a_tile_without_an_end_is_a_defect():
    record = small()
    record.state[2] = -1
    with pytest.raises(ConservationError, match="5 of 6 tiles have a terminal state"):
        metrics_of(record)


def test_a_reader_that_looks_needs_a_ground():
    with pytest.raises(InputError, match="has no declared rates; analyst, perfect have"):
        metrics_of(small(), Use(use="same_model"))
