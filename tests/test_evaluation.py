"""Questions, scores and controls of an evaluation, against scikit-learn, other commands and hand-made cases."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightsim.domain import SCHEMA_IDS, Calibration, Verdict, VerdictStatus
from flightsim.errors import InputError
from flightsim.evaluation import scores
from flightsim.evaluation.asking import Row, Told, hidden_share
from flightsim.evaluation.cards import Candidate, Outcome, candidates, chosen, outcome_of
from flightsim.evaluation.controls import GRAIN, GREY, Blank, Control, altered
from flightsim.evaluation.evaluating import evaluate
from flightsim.evaluation.fields import FIELDS, field_scores, field_table, fields_of_mask
from flightsim.evaluation.outputs import answer_of, lines_of, write
from flightsim.evaluation.questions import Generated, Kind, choose, labelled_questions
from flightsim.evaluation.worth import carried_over, fresh_calibration
from flightsim.perceived import perceive
from flightsim.scenario import load_scenario
from flightsim.scenes.synthetic.biomes import region_of
from flightsim.scenes.synthetic.sampling import sample_world

from .factories import truth_of
from .pictures import SIX, Picture, ground, pair_of
from .test_parquet import row as parquet_row
from .test_parquet import write as write_parquet

FEW = ("flood_extent", "vegetation_stress", "wetland_change")
BODY = {
    "direction": "increase", "severity": "low", "fraction_of_tile": 0.02, "where": "north", "box": [0.2, 0.1, 0.6, 0.4],
}  # fmt: skip


def a_row(
    schema: str, event: bool, status: str, confidence: float | None = None, cluster: int = 0, **more: object
) -> Row:
    verdict = Verdict(
        "t", schema, VerdictStatus(status), more.pop("body", None), confidence, reason=more.pop("reason", "")
    )
    made = Row(
        schema, Kind.EVENT if event else Kind.QUIET, event, (schema,) if event else (), True, "t", "p", 0.0, 0.0, 0.0,
        None, 0, 0, cluster, verdict, None,
    )  # fmt: skip
    return replace(made, **more)


# fields ---------------------------------------------------------------------------------------------------------------


def test_a_body_that_is_the_truth_has_every_field_right() -> None:
    assert field_scores(BODY, BODY) == dict.fromkeys(FIELDS, True)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"direction": "decrease"}, {"direction"}),
        ({"severity": "severe"}, {"severity"}),
        ({"where": "north_east"}, {"where", "where_and_area"}),
        ({"fraction_of_tile": 0.041}, {"area", "where_and_area"}),
        ({"fraction_of_tile": 0.0099}, {"area", "where_and_area"}),
        ({"box": [0.4, 0.1, 0.8, 0.4]}, {"box"}),  # overlap 1/3
        ({"box": [0.6, 0.1, 0.2, 0.4]}, {"box"}),
        ({"box": "all of it"}, {"box"}),
        ({"fraction_of_tile": "much"}, {"area", "where_and_area"}),
        ({"fraction_of_tile": True}, {"area", "where_and_area"}),
    ],
)
def test_one_changed_field_is_wrong_and_no_other(change: dict[str, object], wrong: set[str]) -> None:
    found = field_scores({**BODY, **change}, BODY)
    assert {name for name, right in found.items() if not right} == wrong


@given(st.floats(1e-5, 0.5), st.floats(0.01, 100.0))
def test_an_area_is_right_within_a_factor_of_two_either_way(true: float, ratio: float) -> None:
    right = field_scores({"fraction_of_tile": true * ratio}, {"fraction_of_tile": true})["area"]
    if not any(math.isclose(ratio, limit, rel_tol=1e-9) for limit in (0.5, 2.0)):
        assert right == (0.5 < ratio < 2.0)


def test_what_the_truth_does_not_know_is_not_scored_and_what_the_answer_leaves_out_is_wrong() -> None:
    assert field_scores(BODY, {"box": BODY["box"]}) == {"box": True}
    assert field_scores({"where": "north"}, BODY) == {
        "direction": False, "severity": False, "where": True, "area": False, "box": False, "where_and_area": False,
    }  # fmt: skip
    table = field_table([({"where": "north"}, BODY), (BODY, BODY), (BODY, None)])
    assert (table["where"]["right"], table["where"]["n"]) == (2, 2)
    assert (table["box"]["right"], table["box"]["n"], table["box"]["stated"]) == (1, 2, 1)
    never = field_table([({}, BODY)])["box"]
    assert never == {"right": 0, "n": 1, "stated": 0, "share": None, "ci95": None}


def test_fields_of_a_mask() -> None:
    mask = np.zeros((30, 60), dtype=bool)
    mask[:6, 45:] = True
    assert fields_of_mask(mask) == {"fraction_of_tile": 0.05, "where": "north_east", "box": [0.75, 0.0, 1.0, 0.2]}
    assert fields_of_mask(np.zeros((4, 4), dtype=bool)) is None


# questions ------------------------------------------------------------------------------------------------------------


@given(st.integers(28, 5000), st.integers(1, 7))
def test_questions_are_balanced_whatever_their_number(count: int, many: int) -> None:
    asked = Generated(count, schemas=SCHEMA_IDS[:many])
    quotas = asked.quotas()
    assert sum(quotas.values()) == count
    kinds = {kind: sum(n for (_, k), n in quotas.items() if k is kind) for kind in Kind}
    assert abs(kinds[Kind.EVENT] - count / 2) <= many / 2
    assert abs(kinds[Kind.OTHER] - kinds[Kind.QUIET]) <= many
    each = [sum(n for (s, _), n in quotas.items() if s == schema) for schema in asked.schemas]
    assert max(each) - min(each) <= 1
    rounds = asked.rounds()
    assert sum(n for part in rounds for *_, n in part.wanted) == count
    assert len({part.seed for part in rounds}) == len(rounds)


def test_too_few_questions_and_an_unknown_region_are_told() -> None:
    with pytest.raises(InputError, match="ask for at least 28"):
        Generated(27)
    with pytest.raises(InputError, match="region is 'mars'; allowed are train, validation, test, any"):
        Generated(100, "mars")


def test_what_is_missing_is_looked_for_where_it_can_happen_and_not_for_ever() -> None:
    asked = Generated(700)
    nothing = dict.fromkeys(asked.quotas(), 0)
    assert asked.more_rounds(nothing, 0) == []
    ice = asked.more_rounds({**nothing, ("ice_extent", Kind.EVENT): 31}, 0)
    assert [(r.schemas, r.lat_range_deg[0] > 50) for r in ice] == 2 * [(("ice_extent",), True)]
    both = asked.more_rounds({**nothing, ("ice_extent", Kind.OTHER): 1}, 0)
    assert [r.schemas for r in both] == [SCHEMA_IDS]
    assert {r.seed for r in ice} & {r.seed for r in asked.rounds()} == set()
    assert asked.more_rounds({**nothing, ("ice_extent", Kind.EVENT): 1}, 99) == []


def test_chosen_questions_are_of_their_kind_visible_and_spread_over_blocks() -> None:
    generator = np.random.default_rng(5)
    n = 640
    changed = generator.random((n, 3)) < 0.15
    truth = truth_of(changed, labelled=generator.random((n, 3)) < 0.9, visible=generator.random(n) < 0.8)
    block = np.arange(n) // 64
    wanted = [(schema, kind, 12) for schema in truth.schemas for kind in (Kind.EVENT, Kind.OTHER, Kind.QUIET)]
    picks = choose(truth, block, wanted, seed=4, per_block=2)
    assert picks == choose(truth, block, wanted, seed=4, per_block=2)
    assert picks != choose(truth, block, wanted, seed=5, per_block=2)
    assert len(picks) == 12 * len(wanted)
    known = {(pick.row, pick.column): pick.kind for pick in labelled_questions(truth)}
    for schema, kind, count in wanted:
        column = truth.schemas.index(schema)
        mine = [pick for pick in picks if pick.kind is kind and pick.column == column]
        assert len({pick.row for pick in mine}) == len(mine) == count
        assert all(truth.visible[pick.row] and known[pick.row, pick.column] is kind for pick in mine)
        assert np.bincount(block[[pick.row for pick in mine]]).max() <= 2
    others = [pick for pick in picks if pick.kind is Kind.OTHER and pick.column == 0]
    shown = changed[[pick.row for pick in others]][:, 1:].sum(axis=0)
    assert shown.min() >= 6  # both other schemas in turn


def test_negatives_lie_where_the_event_happens_as_far_as_there_are() -> None:
    generator = np.random.default_rng(6)
    n = 640
    block = np.arange(n) // 64
    # The first schema's event happens in three blocks of ten, the second's everywhere.
    changed = generator.random((n, 2)) < 0.15
    changed[block >= 3, 0] = False
    truth = truth_of(changed)
    wanted = [(truth.schemas[0], kind, 12) for kind in (Kind.OTHER, Kind.QUIET)]
    assert {int(block[pick.row]) for pick in choose(truth, block, wanted, 0, per_block=4)} == {0, 1, 2}
    more = choose(truth, block, wanted, 0, per_block=3)
    for kind in (Kind.OTHER, Kind.QUIET):
        lain = [int(block[pick.row]) for pick in more if pick.kind is kind]
        assert len(lain) == 12
        assert sum(number < 3 for number in lain) == 9


def test_no_more_is_chosen_than_there_is() -> None:
    truth = truth_of([[True, False], [False, False]])
    picks = choose(truth, np.array([0, 0]), [("flood_extent", Kind.EVENT, 5), ("ice_extent", Kind.OTHER, 5)], 0)
    assert [(pick.row, pick.column, pick.kind) for pick in picks] == [(0, 0, Kind.EVENT), (0, 1, Kind.OTHER)]


# scores ---------------------------------------------------------------------------------------------------------------


def random_rows(n: int = 900, seed: int = 2) -> list[Row]:
    generator = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        event = bool(generator.random() < 0.5)
        stated = float(np.round(np.clip(0.35 + 0.3 * event + 0.25 * generator.standard_normal(), 0.01, 0.99), 2))
        said = stated >= 0.5
        status, sure = ("event", stated) if said else ("null", 1.0 - stated)
        if generator.random() < 0.04:
            status, sure = ("unclassifiable", None) if generator.random() < 0.5 else ("invalid", None)
        rows.append(a_row(SCHEMA_IDS[k % 3], event, status, sure, cluster=k // 5, reason="empty: x" * (sure is None)))
    return rows


def test_scores_agree_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="SKIPPED LOUDLY: scikit-learn is the independent source")
    rows = random_rows()
    found = scores.scores_of(scores.table_of(rows, 0))
    true, said = [row.event for row in rows], [row.verdict.status is VerdictStatus.EVENT for row in rows]
    assert found["f1"] == pytest.approx(metrics.f1_score(true, said), abs=1e-12)
    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(true, said), abs=1e-12)
    assert found["precision"] == pytest.approx(metrics.precision_score(true, said), abs=1e-12)
    assert found["recall"] == pytest.approx(metrics.recall_score(true, said), abs=1e-12)
    answered = [(r.event, r.verdict) for r in rows if r.verdict.confidence is not None]
    stated = [v.confidence if v.status is VerdictStatus.EVENT else 1 - v.confidence for _, v in answered]
    assert found["auc"] == pytest.approx(metrics.roc_auc_score([event for event, _ in answered], stated), abs=1e-12)
    for name in ("precision", "recall", "specificity", "f1", "mcc", "auc"):
        low, high = found["ci95"][name]
        assert low < found[name] < high, name
    assert found["unclassifiable"] + found["invalid"] == len(rows) - len(answered)


def test_intervals_are_wider_when_places_repeat_their_answers() -> None:
    rows = random_rows(600)
    apart = [replace(row, cluster=k) for k, row in enumerate(rows)]
    # The same answers four times over, as if each place had been asked four times: no new information.
    again = [replace(row, cluster=k % 600) for k, row in enumerate(4 * rows)]
    widths = [
        np.diff(scores.scores_of(scores.table_of(part, 0))["ci95"]["f1"])[0] for part in (apart, again, 4 * apart)
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)
    naive = scores.scores_of(scores.table_of([replace(r, cluster=k) for k, r in enumerate(4 * rows)], 0))
    assert np.diff(naive["ci95"]["f1"])[0] < 0.65 * widths[1]


def test_below_thirty_clusters_there_is_no_interval_but_a_reason() -> None:
    rows = [replace(row, cluster=k % 29) for k, row in enumerate(random_rows(300))]
    found = scores.scores_of(scores.table_of(rows, 0))
    assert found["ci95"]["f1"] is None
    assert found["reasons"]["ci95.f1"] == "29 clusters have an event; 30 are needed"
    assert found["ci95"]["recall"] is not None


@pytest.mark.parametrize(("stated", "true", "area"), [([0.1, 0.9], [0, 1], 1.0), ([0.9, 0.1], [0, 1], 0.0),
                                                      ([0.5, 0.5], [0, 1], 0.5), ([0.5, 0.5], [1, 1], None),
                                                      ([math.nan, 0.5], [0, 1], None)])  # fmt: skip
def test_area_under_the_curve_by_hand(stated: list[float], true: list[int], area: float | None) -> None:
    assert scores.auc(np.array(stated), np.array(true, dtype=bool)) == area


def test_answers_that_bring_nothing_are_counted_apart_with_their_reasons() -> None:
    rows = [a_row("flood_extent", k % 2 == 0, "null", 0.9) for k in range(97)]
    rows += [a_row("flood_extent", True, "invalid", reason="truncated: no end after 24 characters")] * 2
    rows += [a_row("flood_extent", True, "invalid", reason="not_json: Expecting value in 'x'")]
    found = scores.faults_of(rows, VerdictStatus.INVALID)
    assert found["count"] == 3
    assert found["rate"] == 0.03
    assert found["reasons"] == {"truncated": 2, "not_json": 1}
    assert found["ci95"][0] < 0.03 < found["ci95"][1] == found["upper95"]
    assert scores.faults_of(rows, VerdictStatus.UNCLASSIFIABLE)["count"] == 0


@pytest.mark.parametrize("n", [100, 3000])
def test_none_of_many_bounds_the_rate_by_three_over_their_number(n: int) -> None:
    rows = [a_row("flood_extent", False, "null", 0.9)] * n
    upper = scores.faults_of(rows, VerdictStatus.INVALID)["upper95"]
    # With this rate, none of n happens in one case of twenty: the definition of the bound.
    assert (1 - upper) ** n == pytest.approx(0.05)
    assert upper == pytest.approx(3 / n, rel=0.02)


def test_confusion_counts_what_was_asked_against_what_is_shown() -> None:
    rows = [
        a_row("flood_extent", True, "event", 0.9),
        a_row("flood_extent", False, "event", 0.6, kind=Kind.OTHER, shown=("wetland_change", "urban_delta")),
        a_row("flood_extent", False, "null", 0.6, kind=Kind.OTHER, shown=("wetland_change",)),
        a_row("urban_delta", False, "invalid", kind=Kind.QUIET),
    ]
    found = scores.confusion_of(rows)
    assert found["by_kind"]["other"] == {"event": 1, "null": 1, "unclassifiable": 0, "invalid": 0}
    assert found["asked_shown"]["flood_extent"] == {
        "flood_extent": {"n": 1, "said": 1}, "wetland_change": {"n": 2, "said": 1}, "urban_delta": {"n": 1, "said": 1},
    }  # fmt: skip
    assert found["asked_shown"]["urban_delta"] == {"quiet": {"n": 1, "said": 0}}


# calibration ----------------------------------------------------------------------------------------------------------


def test_a_calibration_is_carried_to_another_base_rate_by_the_odds() -> None:
    fitted = Calibration("set", 100, 0.1, (0.0, 1.0), (0.0, 1.0), 0.8, 0.05)
    stated = np.array([0.1, 0.3, 0.7])
    assert carried_over(fitted, stated, 0.1) == pytest.approx(stated)
    # Bayes by hand: likelihood ratio (0.3/0.7) / (0.1/0.9), then prior odds 1.
    ratio = (0.3 / 0.7) / (0.1 / 0.9)
    assert carried_over(fitted, stated, 0.5)[1] == pytest.approx(ratio / (1 + ratio))
    assert carried_over(fitted, stated, 0.5)[0] == pytest.approx(0.5)  # no evidence stays at the base rate


@pytest.mark.parametrize("pair", [("test", "test"), ("any", "test"), ("train", "any")])
def test_a_calibration_is_never_scored_where_it_was_fitted(pair: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"fits on region '{pair[0]}' and the questions are of region '{pair[1]}'"):
        fresh_calibration(load_scenario("default"), tmp_path / "c.json", 2, *pair)
    assert not list(tmp_path.iterdir())


# controls -------------------------------------------------------------------------------------------------------------


def some_pairs(n: int = 6):
    pairs = []
    for k in range(n):
        pictures = [
            Picture(ground(f"{name}{k}", covers), SIX)
            for name, covers in (("b", {"forest": 0.6, "soil": 0.4}), ("a", {"forest": 0.5, "soil": 0.5}))
        ]
        one = pair_of(*pictures)
        tiles = [replace(tile, place_id=f"place-{k}", id=f"tile-{k}") for tile in (one.before, one.after)]
        pairs.append(replace(one, before=tiles[0], after=tiles[1]))
    return pairs, np.arange(n, dtype=np.uint64)


def digests(pair) -> tuple[str, str]:
    return pair.before.image.digest(), pair.after.image.digest()


def test_blank_pictures_tell_nothing_and_have_digests_of_their_own() -> None:
    pairs, keys = some_pairs(3)
    blank, _ = altered(Control.CONTEXT_ONLY, pairs, 0, keys)
    assert len({digests(pair) for pair in blank}) == 1
    half, _ = altered(Control.BLANK_AFTER, pairs, 0, keys)
    for whole, first, second in zip(pairs, blank, half, strict=True):
        assert second.before.image is whole.before.image
        for picture in (first.before.image, first.after.image, second.after.image):
            values, samples = picture.reflectance(), picture.pixels()
            assert np.all(np.abs(values / GREY - 1) <= GRAIN + 1e-6)
            assert np.all(values == values[:1])  # grey: all bands alike
            assert samples.dtype == whole.after.image.pixels().dtype
            assert samples.shape == picture.shape == whole.after.image.shape
            assert samples.min() > 0  # 0 would be missing data
            assert samples * 1e-4 == pytest.approx(values, abs=0.6e-4)  # a digital number of these pictures
            assert picture.digest() not in digests(whole)
        assert (first.after.id, first.after.place_id) == (whole.after.id, whole.after.place_id)


def test_swapping_twice_gives_the_pair_again() -> None:
    pairs, keys = some_pairs(2)
    once, numbers = altered(Control.SWAPPED, pairs, 0, keys)
    assert numbers == [0, 1]
    assert [digests(pair) for pair in once] == [digests(pair)[::-1] for pair in pairs]
    assert [digests(pair) for pair in altered(Control.SWAPPED, once, 0, keys)[0]] == [digests(pair) for pair in pairs]


def test_shuffled_pairs_get_the_new_picture_of_another_place() -> None:
    pairs, keys = some_pairs()
    found, numbers = altered(Control.SHUFFLED, pairs, 1, keys)
    assert sorted(numbers) == list(range(6))
    own = [pair.after.image.digest() for pair in pairs]
    given_away = [pair.after.image.digest() for pair in found]
    assert sorted(given_away) == sorted(own)
    for pair, number in zip(found, numbers, strict=True):
        assert pair.before.image.digest() == pairs[number].before.image.digest()
        assert pair.after.image.digest() != own[number]
    one_place = [replace(pair, after=replace(pair.after, place_id="same")) for pair in pairs]
    assert altered(Control.SHUFFLED, one_place, 1, keys) == ([], [])


def test_pairs_without_a_reference_are_left_out_of_controls() -> None:
    pairs, keys = some_pairs(3)
    pairs[1] = replace(pairs[1], before=None)
    for control in Control:
        assert 1 not in altered(control, pairs, 0, keys)[1]


def test_a_blank_of_a_display_picture_is_grey_too() -> None:
    class Display:
        bands, shape, bits = ("red", "green", "blue"), (3, 4, 4), 8

        def pixels(self):
            return np.zeros((3, 4, 4), dtype=np.uint8)

        def reflectance(self):
            return None

    assert Blank(Display()).reflectance() is None
    assert np.all(np.abs(Blank(Display()).pixels() - GREY * 255.0) <= GREY * GRAIN * 255 + 0.5)


def test_controls_state_what_chance_would_get() -> None:
    told = {str(c): Told("event", "increase") for c in Control}
    rows = [
        a_row("flood_extent", k < 30, "event", 0.9, controls=told, body={"direction": "decrease"}) for k in range(60)
    ]
    pooled = scores.score(scores.table_of(rows, 0).status, scores.table_of(rows, 0).truth).pooled
    found = scores.controls_of(rows, tuple(Control), pooled)
    assert set(found) == {*map(str, Control), "always_yes", "always_null"}
    assert found["context_only"]["f1"] == found["context_only"]["chance_f1"] == pytest.approx(2 / 3)
    assert found["always_yes"]["f1"] == pytest.approx(2 / 3)
    assert found["always_null"]["f1"] == 0.0
    # All say increase and nothing is known of the true direction.
    assert found["swapped"]["directed"] is None
    assert (found["swapped"]["direction_reversed"]["reversed"], found["swapped"]["direction_reversed"]["n"]) == (30, 30)


def directed_rows(swapped: str) -> list[Row]:
    """Sixty questions answered rightly, 20 about an increase and 10 about a decrease; and what is said backwards."""
    found = []
    for k in range(60):
        way = "increase" if k < 20 else "decrease"
        other = {"increase": "decrease", "decrease": "increase"}[way] if swapped == "turned" else way
        told = Told("event", other) if k < 30 else Told("null", None)
        found.append(
            a_row(
                "flood_extent", k < 30, "event" if k < 30 else "null", 0.9, controls={"swapped": told},
                body={"direction": way} if k < 30 else None, true={"direction": way} if k < 30 else None,
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize(("swapped", "f1"), [("turned", 0.0), ("not turned", 1.0)])
def test_swapped_pairs_are_below_chance_where_the_direction_counts_if_it_is_turned(swapped: str, f1: float) -> None:
    rows = directed_rows(swapped)
    pooled = scores.score(scores.table_of(rows, 0).status, scores.table_of(rows, 0).truth).pooled
    found = scores.controls_of(rows, (Control.SWAPPED,), pooled)["swapped"]
    assert found["f1"] == 1.0  # a change run backwards is a change
    assert found["directed"]["f1"] == f1
    assert scores.directed_of(rows) == {"f1": 1.0, "chance_f1": pytest.approx((20 * 20 + 10 * 10) / 60 / 30)}


def test_the_chance_of_a_directed_answer_is_that_of_answers_dealt_out_at_random() -> None:
    rows = directed_rows("turned")
    draw = np.random.default_rng(0)
    dealt = []
    for _ in range(2000):
        order = draw.permutation(len(rows))
        mixed = [replace(row, verdict=rows[k].verdict) for row, k in zip(rows, order, strict=True)]
        dealt.append(scores.directed_of(mixed)["f1"])
    assert np.mean(dealt) == pytest.approx(scores.directed_of(rows)["chance_f1"], abs=0.01)


def test_a_direction_that_nobody_states_gives_no_directed_score() -> None:
    rows = directed_rows("turned")
    silent = [replace(row, verdict=replace(row.verdict, body=None)) for row in rows]
    assert scores.directed_of(silent) is None
    assert scores.directed_of([replace(row, true=None) for row in rows]) is None


def test_what_is_hidden_of_an_event_is_what_cloud_and_missing_data_hide_in_either_picture() -> None:
    source, plan, _ = sample_world(1, 5, region="validation", cloud_fraction=0.5)
    some = 0
    for row in range(0, len(plan), 8):
        pair = source.pair(row)
        seen = [tile.image.source.picture(tile.image.row, tile.image.shot) for tile in (pair.before, pair.after)]
        veil = np.logical_or.reduce([part for picture in seen for part in (picture.cloud, picture.no_data)])
        half = np.zeros_like(veil)
        half[: len(veil) // 2] = True
        assert hidden_share(pair, half) == pytest.approx(veil[half].mean())
        assert hidden_share(pair, veil) == (1.0 if veil.any() else None)
        assert hidden_share(pair, ~veil) == (0.0 if not veil.all() else None)
        some += veil.any()
    assert some
    assert hidden_share(pair, None) is None
    other = Picture(np.zeros((6, *half.shape), dtype=np.uint16), SIX)
    assert hidden_share(pair_of(other, other), half) is None  # such pictures do not know it


def test_recall_is_told_by_what_is_hidden() -> None:
    hidden = [0.0, 0.1, 0.11, 0.5, 0.9, 0.95, 1.0, None]
    rows = [
        a_row("flood_extent", True, "event" if k in (0, 2, 6) else "null", 0.5, hidden=share)
        for k, share in enumerate(hidden)
    ]
    told = scores.sight_of([*rows, a_row("flood_extent", False, "event", 0.5, hidden=0.0)])
    assert [(part["hidden"], part["n"], part["found"]) for part in told] == [
        ([0.0, 0.1], 2, 1), ([0.1, 0.5], 2, 1), ([0.5, 0.9], 1, 0), ([0.9, 1.0], 2, 1),
    ]  # fmt: skip
    assert scores.sight_of([rows[-1]]) == []


# what is shown --------------------------------------------------------------------------------------------------------


def test_every_outcome_is_shown_with_schemas_in_turn() -> None:
    kinds = [(True, False), (False, True), (True, True), (False, False)]
    rows = [
        Candidate(schema, event, said, BODY if said else None, BODY if event else None)
        for _ in range(9) for schema in SCHEMA_IDS for event, said in kinds
    ]  # fmt: skip
    rows.append(Candidate("flood_extent", True, True, {**BODY, "where": "south"}, BODY))
    cards = chosen(rows, candidates(rows))
    assert list(cards) == list(Outcome)
    assert {rows[k].schema for k in cards[Outcome.MISSED]} == set(SCHEMA_IDS)
    assert cards[Outcome.WRONG_PLACE] == [len(rows) - 1]
    assert all(outcome_of(rows[k]) is outcome for outcome, numbers in cards.items() for k in numbers)


# whole evaluations ----------------------------------------------------------------------------------------------------


def small(count: int, schemas: tuple[str, ...] = FEW) -> Generated:
    """Questions about small worlds with many events, which are quick to make."""
    return Generated(count, schemas=schemas, prevalence=0.25, blocks=6)


@pytest.fixture(scope="module")
def spectral():
    return evaluate("spectral", asked=small(36), controls=True, jobs=1)


def test_generated_questions_are_as_many_balanced_and_of_the_region(spectral) -> None:
    results = spectral.results
    assert (results["n"], results["positives"]) == (36, 18)
    assert {schema: part["n"] for schema, part in results["per_schema"].items()} == dict.fromkeys(FEW, 12)
    assert {region_of(row.lat_deg, row.lon_deg) for row in spectral.rows} == {"test"}
    assert all(row.visible for row in spectral.rows)
    assert len({(row.round, row.row, row.schema) for row in spectral.rows}) == 36
    for row in spectral.rows:
        assert row.event == (row.schema in row.shown) == (row.true is not None)
        assert (row.kind is Kind.QUIET) == (row.shown == ())
    assert results["tp"] + results["fn"] == 18
    # A payload that measures beats chance; blank pictures leave it nothing to measure.
    assert results["mcc"] > 0.3
    blank = results["controls"]["context_only"]
    assert (blank["said_yes"], blank["no_answer"]) == (0.0, 0)  # they pass the gate, and there is nothing to see
    assert {name: part["n"] for name, part in results["controls"].items()}["swapped"] == 36


def test_the_results_have_the_shape_of_the_contract_and_are_json(spectral) -> None:
    wanted = {"n", "precision", "recall", "f1", "mcc", "per_schema", "parse_failures", "latency_s", "ci95"}
    assert wanted <= set(spectral.results)
    assert json.loads(json.dumps(spectral.results, allow_nan=False))["latency_s"]["median"] > 0
    assert "the mission's clock, which is another: 0.005 s" in "\n".join(lines_of(spectral.results))


def test_the_folder_holds_every_answer_and_a_page_that_asks_nothing(spectral, tmp_path: Path) -> None:
    page, results, answers = write(tmp_path / "out", spectral)
    assert json.loads(results.read_text())["n"] == 36
    told = [json.loads(line) for line in answers.read_text().splitlines()]
    assert told == [answer_of(row) for row in spectral.rows]
    assert sum(answer["label"] for answer in told) == 18
    text = page.read_text()
    assert "http" not in text.replace("http://www.w3.org", "").replace("http-equiv", "")
    assert "<script" not in text
    assert text.count("<article") == sum(map(len, spectral.cards.values()))
    assert text.index("Missed") < text.index(">Found<")
    assert "class='truth'" in text


def test_the_same_seed_asks_the_same_and_processes_do_not_matter() -> None:
    """Two rounds in two processes against one process: the same questions, answers and scores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flightsim.evaluation.questions.ROUND_QUESTIONS", 10)
        asked = small(20, ("flood_extent", "wetland_change"))
        assert len(asked.rounds()) == 2
        one, two = (evaluate("spectral", asked=asked, jobs=jobs) for jobs in (1, 2))
    assert [answer_of(row) for row in one.rows] == [answer_of(row) for row in two.rows]
    timed = {"latency_s", "wall_s"}
    assert {k: v for k, v in one.results.items() if k not in timed} == {
        k: v for k, v in two.results.items() if k not in timed
    }
    assert one.cards == two.cards


PAYLOAD = """\
from flightsim.domain import Verdict, VerdictStatus
from flightsim.protocols import PluginConfig


class Fake:
    class Config(PluginConfig):
        pass

    needs_truth, needs_pixels = False, True
    fingerprint, seconds_per_question = "fake/1", 1.0
    owner = "a fake"
    notes = ("this payload is a fake",)

    def __init__(self, config):
        self.asked = 0

    def open(self):
        pass

    def close(self):
        pass

    def rates(self, schema_id):
        return 0.9, 0.1

    def assess_many(self, pairs, schemas, *, truth=None, keys=None, seed=0):
        assert truth is None and keys is None, "truth reached a payload"
        if any(pair.after.place_id == "made-flood" for pair in pairs):
            raise RuntimeError("no floods please")
        fault = "truncated: no end after 24 characters"
        return [
            Verdict(pair.after.id, schema, VerdictStatus.INVALID, reason=fault, tokens=24)
            for pair in pairs for schema in schemas
        ]
"""


def test_a_payload_that_cannot_answer_is_told_and_never_taken_for_no_event(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PAYLOAD)
    scenario = load_scenario("real-images")
    found = evaluate("./mine.py:Fake", asked=scenario, folder=tmp_path)
    results = found.results
    assert results["parse_failures"]["count"] == results["n"] == len(found.rows)
    assert results["f1_answered"] is None
    assert results["auc"] is None
    assert set(results["parse_failures"]["reasons"]) == {"truncated", "RuntimeError"}
    floods = [row for row in found.rows if row.place_id == "made-flood"]
    assert len(results["payload_failures"]) == len(floods) > 0
    assert "RuntimeError: no floods please" in results["payload_failures"][0]
    assert results["tokens"]["most"] == 24
    assert results["calibration"]["reason"] == "no answer states how sure it is"
    text = "\n".join(lines_of(results))
    assert "note: this payload is a fake" in text
    assert "answers by: a fake" in text


def test_a_scenario_is_scored_as_perceive_scores_it() -> None:
    scenario = load_scenario("real-images")
    other = perceive(scenario).as_dict()
    found = evaluate("spectral", asked=scenario)
    for name in ("tp", "fp", "fn", "tn", "unclassifiable", "invalid", "f1", "mcc"):
        assert found.results[name] == other["pooled"][name], name
    for schema, part in found.results["per_schema"].items():
        assert part["tp"] == other["per_schema"][schema]["tp"]
    assert found.results["n"] == other["n"]
    assert any(row.true for row in found.rows if row.event)
    assert found.results["sight"] == []  # nobody knows what is hidden in an archive


def test_what_is_hidden_is_known_of_a_flight_over_the_generated_world() -> None:
    scenario = load_scenario("weak-eye", ["duration=6h", "targets.clouds.mean_fraction=0.5"])
    results = evaluate("perfect_eye", asked=scenario, jobs=1).results
    assert sum(part["n"] for part in results["sight"]) == results["positives"] > 0
    assert sum(part["n"] for part in results["sight"][1:]) > 0
    assert sum(part["found"] for part in results["sight"]) == results["tp"]


def test_parquet_pairs_are_scored(tmp_path: Path) -> None:
    target = json.dumps({"direction": "increase"})
    write_parquet(
        tmp_path / "pairs.parquet",
        parquet_row(1, 2, "flood_extent", target), parquet_row(3, 4, "flood_extent", "null"),
        parquet_row(1, 2, "ice_extent", "null"),
    )  # fmt: skip
    scenario = load_scenario(
        "real-images", [f"scenes={json.dumps({'use': 'parquet', 'with': {'path': str(tmp_path)}})}"]
    )
    found = evaluate("spectral", asked=scenario)
    assert (found.results["n"], found.results["positives"]) == (3, 1)
    kinds = sorted((row.schema, row.kind) for row in found.rows)
    assert kinds == [("flood_extent", "event"), ("flood_extent", "unsure"), ("ice_extent", "other")]


def test_controls_of_a_payload_that_answers_from_truth_are_refused() -> None:
    with pytest.raises(InputError, match="answers from truth and looks at no picture"):
        evaluate("perfect_eye", asked=Generated(28), controls=True)


def test_a_perfect_eye_is_perfect_and_said_to_be_declared() -> None:
    found = evaluate("perfect_eye", asked=small(24), jobs=1)
    assert found.results["f1"] == found.results["mcc"] == 1.0
    assert found.results["controls"]["always_yes"]["f1"] == pytest.approx(2 / 3)
    assert "declared, not earned" in "\n".join(lines_of(found.results))
