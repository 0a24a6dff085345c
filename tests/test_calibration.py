"""What a confidence is worth: the fit, the scores on pairs it has not seen, and its use by the ground."""

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

import flightsim as fs
from flightsim import rng
from flightsim.calibration import (
    LEAST,
    answers_of,
    brier,
    calibrate,
    expected_error,
    fit,
    rates_of,
    reliability_bins,
    rising_shares,
    write,
)
from flightsim.cli import main
from flightsim.domain import Calibration, VerdictStatus
from flightsim.errors import InputError
from flightsim.evidence import Eye, calibrated, verdict_evidence
from flightsim.recorder import STATUSES
from payload.calibrations import CalibrationBlock, read_block
from payload.confusion import Confusion
from payload.spectral import Spectral

from .factories import statuses, truth_of

EVENT, NULL = STATUSES.index(VerdictStatus.EVENT), STATUSES.index(VerdictStatus.NULL)
ENRICHED = [
    "duration=4d", "targets.count=30", "targets.prevalence.default=0.3", "targets.event_tiles=1",
    "targets.clouds.mean_fraction=0", "payload.schemas=[flood_extent, urban_delta]",
]  # fmt: skip


@pytest.fixture(scope="module")
def block():
    return calibrate(fs.load_scenario("statistical", ENRICHED))


# The fit ---------------------------------------------------------------------------------------------------------


def test_a_forecaster_that_is_right_is_left_as_it_is():
    draws = rng.stream(3, "tests/calibration")
    stated = np.round(draws.random(20_000), 2)
    true = draws.random(20_000) < stated
    at, observed, n = rising_shares(stated, true)
    assert np.all(np.diff(at) > 0)
    assert np.all(np.diff(observed) >= 0)
    assert n.sum() == 20_000
    # Blocks of the fit hold several hundred answers: four standard errors of a share are below 0.1.
    assert np.abs(np.interp(stated, at, observed) - stated).max() < 0.1
    assert expected_error(stated, true) < 0.02


def test_an_overconfident_forecaster_is_drawn_in():
    draws = rng.stream(4, "tests/calibration")
    really = draws.random(20_000)
    stated = np.round(really**3 / (really**3 + (1 - really) ** 3), 2)
    true = draws.random(20_000) < really
    half = np.arange(20_000) < 10_000
    at, observed, _ = rising_shares(stated[half], true[half])
    after = np.interp(stated[~half], at, observed)
    assert expected_error(stated[~half], true[~half]) > 0.1
    assert expected_error(after, true[~half]) < 0.02
    assert brier(after, true[~half]) < brier(stated[~half], true[~half])


def test_the_knots_by_hand():
    # 0.2 and 0.4 violate the order and are pooled: 1 of 3; then 0.9: 2 of 2; base rate 3/5, one observation of it each.
    at, observed, n = rising_shares(np.array([0.2, 0.4, 0.4, 0.9, 0.9]), np.array([True, False, False, True, True]))
    assert at == pytest.approx([(0.2 + 0.8) / 3, 0.9])
    assert observed == pytest.approx([(1 + 0.6) / 4, (2 + 0.6) / 3])
    assert n.tolist() == [3, 2]


def test_brier_and_expected_error_by_hand():
    stated, true = np.array([0.1, 0.1, 0.9, 1.0]), np.array([False, True, True, True])
    assert brier(stated, true) == pytest.approx((0.01 + 0.81 + 0.01 + 0.0) / 4)
    assert reliability_bins(stated, true) == [
        {"stated": 0.1, "k": 1, "n": 2},
        {"stated": 0.95, "k": 2, "n": 2},
    ]
    assert expected_error(stated, true) == pytest.approx((2 * 0.4 + 2 * 0.05) / 4)


def test_no_cluster_is_in_both_halves_and_unanswered_questions_in_neither():
    truth = truth_of(np.arange(60) % 3 == 0, cluster=np.arange(60) // 5)
    status = np.where(np.arange(60)[:, None] % 2 == 0, EVENT, NULL).astype(np.int8)
    status[7] = -1
    answers = answers_of(status, np.full((60, 1), 0.8), truth, 1)
    assert len(answers.true) == 59
    cluster = np.delete(truth.cluster, 7)
    assert not set(cluster[answers.fitted]) & set(cluster[~answers.fitted])
    assert abs(np.count_nonzero(answers.fitted) - 29.5) <= 5
    # The confidence of a NULL speaks for no event.
    assert set(np.round(answers.stated[~answers.event], 3)) == {0.2}


@pytest.mark.parametrize(
    ("confidence", "changed"), [(math.nan, [True, False]), (0.8, [False, False]), (0.8, [True, True])]
)
def test_what_cannot_be_fitted_is_told(confidence, changed):
    answers = answers_of(statuses(["e", "e"]), np.full((2, 1), confidence), truth_of(changed), 1)
    with pytest.raises(InputError, match="some about true events and some not; there are"):
        fit(answers, "two pairs")


def test_rates_by_product_are_kept_off_certainty():
    truth = truth_of([True] * 4 + [False] * 8)
    status = statuses("eeee" + "n" * 8)
    assert rates_of(status, truth)["flood_extent"] == {
        "tp": 4, "fp": 0, "fn": 0, "tn": 8, "tpr": pytest.approx(0.9), "fpr": pytest.approx(1 / 18, abs=1e-5),
    }  # fmt: skip
    assert rates_of(status[:4], truth_of([True] * 4)) == {}


# A payload that is calibrated by its making --------------------------------------------------------------------


def test_confusion_is_recovered(block):
    """Its confidence is a posterior at one third; so evidence is the stated odds over those of one third."""
    assert block["payload"] == Confusion(Confusion.Config(profile="liquid_space")).fingerprint
    pooled = CalibrationBlock(block, "the test").of("ice_extent")
    assert pooled.base_rate == pytest.approx(0.3, abs=0.08)
    for stated in (0.1, 0.3, 0.5, 0.7, 0.9):
        seen = float(calibrated(pooled, np.array(stated)))
        evidence = math.log(seen / (1 - seen)) - math.log(pooled.base_rate / (1 - pooled.base_rate))
        expected = math.log(stated / (1 - stated)) - math.log(0.33 / 0.67)
        # Few answers lie in the middle: two units of log odds hold the noise, and not a forgotten prior of 3.3 %.
        assert evidence == pytest.approx(expected, abs=1.6), stated
    assert block["ece"] < 0.03
    assert block["n"] + block["held_out"] <= 2 * block["pairs"]
    assert set(block["per_schema"]) == {"flood_extent", "urban_delta"}
    assert block["per_schema"]["flood_extent"]["n"] >= 2 * LEAST
    assert block["products"]["thumbnail"] == {}  # no pictures, no thumbnails
    counts = block["products"]["tile"]["flood_extent"]
    assert counts["tpr"] == pytest.approx(29 / 33, abs=0.05)


def test_the_command_writes_into_a_profile_and_the_payload_reads_it(block, tmp_path):
    file = tmp_path / "profile.json"
    file.write_text('{"name": "mine", "rates": {}}')
    write(file, block)
    content = json.loads(file.read_text())
    assert content["name"] == "mine"
    assert content["calibration"] == block
    payload = Confusion(Confusion.Config(profile="liquid_space", calibration="profile.json"), tmp_path)
    assert payload.calibration("flood_extent").n == block["per_schema"]["flood_extent"]["n"]
    assert payload.calibration("ice_extent").n == block["n"]
    assert payload.fingerprint == block["payload"]  # what a confidence is worth changes no answer


def test_the_command_line_fits(tmp_path):
    out = tmp_path / "fitted.json"
    sets = [part for text in ENRICHED for part in ("--set", text)]
    done = CliRunner().invoke(main, ["perceive", "statistical", *sets, "--calibrate", str(out)])
    assert done.exit_code == 0, done.output
    assert "calibration of confusion/liquid_space" in done.output
    assert "held out: Brier" in done.output
    read_block(out, "fitted.json")
    out.write_text("[]")
    again = CliRunner().invoke(main, ["perceive", "statistical", *sets, "--calibrate", str(out)])
    assert again.exit_code == 2
    assert "holds no JSON object" in again.output


def test_a_calibration_of_other_settings_is_refused(block, tmp_path):
    write(tmp_path / "fit.json", block)
    for payload in (
        Confusion(Confusion.Config(tpr=0.9, fpr=0.1, calibration="fit.json"), tmp_path),
        Spectral(Spectral.Config(calibration="fit.json"), tmp_path),
    ):
        with pytest.raises(InputError, match=r"'fit.json' was fitted for confusion/liquid_space/.*fit it anew"):
            payload.calibration("flood_extent")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other/9"}, "format 'other/9'"),
        ({"knots": []}, "the knots do not rise"),
        ({"base_rate": 1.0}, "not between 0 and 1"),
        ({"per_schema": None}, "is damaged"),
    ],
)
def test_a_damaged_block_is_told(block, change, message):
    with pytest.raises(InputError, match=message):
        CalibrationBlock(block | change, "the profile")


def test_files_that_hold_none_are_told(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").write_text("{")
    for name, message in (("a.json", "holds no calibration"), ("b.json", "is no JSON"), ("c.json", "cannot be read")):
        with pytest.raises(InputError, match=message):
            read_block(tmp_path / name, name)


def test_the_shipped_calibration_is_of_the_shipped_rules():
    """After a change of the rules: `flightsim perceive SCENARIO --calibrate payload/profiles/spectral.json`."""
    payload = Spectral(Spectral.Config())
    assert payload.calibration_note == ""
    other = Spectral(Spectral.Config(confidence_slope=3.0))
    if "calibration" in payload._profile:
        assert other.calibration_note.endswith("its declared rates count")
    assert other.calibration("flood_extent") is None


# Its use ---------------------------------------------------------------------------------------------------------


def test_evidence_by_hand():
    eye = Eye(
        {"flood_extent": (0.9, 0.1), "ice_extent": (0.9, 0.1)},
        {"flood_extent": Calibration("by hand", 100, 0.2, (0.0, 1.0), (0.1, 0.7), 0.6, 0.05)},
    )
    status, confidence = (
        statuses(["ee", "ne", "nu", "en"]),
        np.array([[0.5, 0.5], [0.9, 0.9], [np.nan, 0.5], [np.nan, 0.2]]),
    )

    def bits(p):
        return math.log(p / (1 - p)) - math.log(0.2 / 0.8)

    found = verdict_evidence(status, ("flood_extent", "ice_extent"), eye, confidence)
    # EVENT at 0.5 is worth 0.4; a NULL's confidence stays on board; an EVENT without one is worth 0.6.
    assert found[:, 0] == pytest.approx([bits(0.4), bits(0.05), bits(0.05), bits(0.6)])
    assert found[:, 1] == pytest.approx([math.log(9), math.log(9), 0.0, math.log(0.1 / 0.9)])
    # A reader on the ground knows what it stated for a NULL: one less 0.9 is worth 0.16.
    known = verdict_evidence(status, ("flood_extent", "ice_extent"), eye, confidence, of_nulls=True)
    assert known[:, 0] == pytest.approx([bits(0.4), bits(0.16), bits(0.05), bits(0.6)])


def test_a_run_with_a_calibration_says_so_and_tells_sure_from_unsure(block, tmp_path):
    write(tmp_path / "fit.json", block)
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nextends: statistical\npayload: {use: confusion, with: {profile: liquid_space, "
        "calibration: fit.json}}\npolicy: {use: verdicts_only}\n"
    )
    sets = [*ENRICHED, "seed=8"]
    with_it = fs.run(fs.load_scenario(tmp_path / "mine.yaml", sets), write=False)
    without = fs.run(fs.load_scenario("statistical", sets), policy="verdicts_only", write=False)
    told = with_it.metrics["calibration"]
    assert told["flood_extent"]["source"] == block["set"]
    assert without.metrics["calibration"] == {}
    spread = []
    for result in (with_it, without):
        event = (result.record.status[:, 0] == EVENT) & result.ground.delivered
        posterior, confidence = result.ground.policy.posterior[event, 0], result.record.confidence[event, 0]
        order = np.argsort(confidence)
        assert np.all(np.diff(posterior[order]) >= -1e-12)
        spread.append(float(np.ptp(posterior)))
    # By rates alone every event is as sure as the next; a calibration tells sure answers from unsure ones.
    assert spread[1] < 1e-12
    assert spread[0] > 0.1


# Pairs of the generated world ------------------------------------------------------------------------------------


def test_sampled_pairs_are_of_the_regions_for_training():
    from flightsim.perceived import sample
    from flightsim.scenes.synthetic.biomes import region_of

    scenario = fs.load_scenario("statistical", ["scenes.use=synthetic", "payload={use: spectral}"])
    pairs = sample(scenario, 3)
    assert len(pairs) == 3 * 64
    assert len(np.unique(pairs.truth.cluster)) == 3
    tiles = [pairs.pair(row).after for row in range(0, 192, 64)]
    assert {region_of(tile.lat_deg, tile.lon_deg) for tile in tiles} == {"train"}
    with pytest.raises(InputError, match="from scenes 'synthetic'; the scenario has 'sizes'"):
        sample(fs.load_scenario("statistical"), 3)


def test_sampling_is_refused_without_a_fit():
    done = CliRunner().invoke(main, ["perceive", "statistical", "--sample", "4"])
    assert done.exit_code == 2
    assert "--sample goes with --calibrate" in done.output


def test_a_side_that_could_not_be_measured_counts_for_nothing(block):
    products = {"tile": {}, "thumbnail": {"64": {"urban_delta": {"tpr": 0.4, "fpr": 0.1}}}}
    found = CalibrationBlock(block | {"products": products}, "the test")
    assert found.thumbnail_rates("urban_delta") == {64: (0.4, 0.1)}
    assert found.thumbnail_rates("ice_extent") == {64: (0.5, 0.5)}
    assert CalibrationBlock(block, "the test").thumbnail_rates("ice_extent") == {}
