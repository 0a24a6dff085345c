"""Whole runs: from a shipped scenario to a run folder, and what the run says when things go wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest

import flightsim as fs
from flightsim import runfolder
from flightsim.domain import Action, TerminalState
from flightsim.errors import InputError
from flightsim.products import decode_picture
from flightsim.recorder import STATES
from flightsim.runs import with_choices
from flightsim.sizing import Sizer
from flightsim.world import prepare

from .conftest import shared

SHORT = ["duration=2d", "targets.count=12"]


@pytest.fixture(scope="module")
def short():
    scenario = fs.load_scenario("statistical", SHORT)
    return scenario, prepare(scenario)


@pytest.fixture(scope="module")
def folder(short, tmp_path_factory):
    scenario, world = short
    out = tmp_path_factory.mktemp("run") / "out"
    return fs.run(scenario, out=out, world=world)


def test_a_run_folder_holds_what_the_contract_names(folder):
    names = {path.name for path in folder.folder.iterdir()}
    assert {
        "run.json", "scenario.yaml", "events.jsonl", "tiles.parquet", "items.parquet", "contacts.parquet",
        "verdicts.parquet", "metrics.json", "ground",
    } <= names  # fmt: skip
    assert not [name for name in names if name.endswith(".tmp")]


def test_the_tables_agree_with_the_metrics_and_with_each_other(folder):
    table = pq.read_table(folder.folder / "tiles.parquet")
    column = lambda name: np.array(table.column(name).to_pylist())  # noqa: E731
    metrics = json.loads((folder.folder / "metrics.json").read_text())
    states, counts = np.unique(column("state"), return_counts=True)
    assert dict(zip(states.tolist(), counts.tolist(), strict=True)) == {k: v for k, v in metrics["stages"].items() if v}
    assert column("air_bytes").sum() == pytest.approx(metrics["bytes"]["air"])
    contacts = pq.read_table(folder.folder / "contacts.parquet")
    assert sum(contacts.column("air_bytes").to_pylist()) == metrics["bytes"]["air"]
    items = pq.read_table(folder.folder / "items.parquet")
    rows = zip(items.column("size_bytes").to_pylist(), items.column("outcome").to_pylist(), strict=True)
    assert sum(size for size, outcome in rows if outcome == "delivered") == metrics["bytes"]["delivered"]
    questions = pq.read_table(folder.folder / "verdicts.parquet")
    assert questions.num_rows == metrics["population"]["questions"]
    assert all(field.metadata[b"description"] for field in table.schema)


def test_events_tell_the_same_story_as_the_tables(folder):
    events = [json.loads(line) for line in (folder.folder / "events.jsonl").read_text().splitlines()]
    table = pq.read_table(folder.folder / "tiles.parquet")
    ended = {event["tile"]: event["state"] for event in events if event["kind"] == "tile_ended"}
    assert ended == dict(zip(table.column("tile_id").to_pylist(), table.column("state").to_pylist(), strict=True))
    assert [event["seq"] for event in events] == list(range(len(events)))
    times = [event["t_s"] for event in events]
    assert times == sorted(times)
    manifest = runfolder.read_manifest(folder.folder)
    assert sum(manifest["event_counts"].values()) == len(events)


def test_what_arrived_lies_on_the_ground(folder):
    lines = (folder.folder / "ground" / "verdicts.jsonl").read_text().splitlines()
    stages = folder.metrics["stages"]
    assert len(lines) == stages["delivered"] + stages["late"]


def test_the_manifest_names_digests_that_hold(folder):
    manifest = runfolder.read_manifest(folder.folder)
    assert manifest["outcome"] == "done"
    for name, digest in manifest["digests"].items():
        assert runfolder.file_digest(folder.folder / name) == digest


def test_the_manifest_fits_the_published_schema(folder):
    schema = json.loads((Path(__file__).resolve().parents[1] / "schemas" / "run.schema.json").read_text())
    assert schema == runfolder.manifest_schema(), "run `make schemas`"
    jsonschema.validate(json.loads((folder.folder / "run.json").read_text()), schema)


def test_the_saved_scenario_flies_again_to_the_same_bytes(folder, tmp_path):
    again = fs.run(fs.load_scenario(folder.folder / "scenario.yaml"), out=tmp_path / "again")
    assert (again.folder / "events.jsonl").read_bytes() == (folder.folder / "events.jsonl").read_bytes()
    assert (again.folder / "metrics.json").read_bytes() == (folder.folder / "metrics.json").read_bytes()


def run_cli(*arguments, cwd, **env):
    return subprocess.run(
        [sys.executable, "-m", "flightsim", *arguments], cwd=cwd, capture_output=True, text=True,
        env={**os.environ, **env}, check=False,
    )  # fmt: skip


def test_hash_randomisation_changes_no_byte(tmp_path):
    digests = set()
    for seed in ("0", "4242"):
        out = tmp_path / seed
        small = ("--set", "duration=1d", "--out", str(out))
        done = run_cli("run", "statistical", *small, cwd=tmp_path, PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        digests.add(json.dumps(runfolder.read_manifest(out)["digests"], sort_keys=True))
    assert len(digests) == 1


def test_a_killed_run_leaves_nothing_that_looks_finished(tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "flightsim", "run", "sentinel-2", "--set", "duration=20d", "--out", str(out)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    log = out / "events.jsonl.tmp"
    while not (log.exists() and log.stat().st_size > 0):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "run.json").exists()
    with pytest.raises(InputError, match="interrupted"):
        runfolder.read_manifest(out)
    report = run_cli("report", str(out), cwd=tmp_path)
    assert report.returncode == 2
    assert "interrupted" in report.stderr


def test_resume_keeps_a_finished_run_and_flies_an_interrupted_one_again(tmp_path):
    arguments = ("run", "statistical", "--set", "duration=1d", "--set", "targets.count=6", "--out", "kept")
    first = run_cli(*arguments, cwd=tmp_path)
    manifest = (tmp_path / "kept" / "run.json").read_bytes()
    again = run_cli(*arguments, "--resume", cwd=tmp_path)
    assert "nothing was flown" in again.stderr
    assert again.stdout == first.stdout
    assert (tmp_path / "kept" / "run.json").read_bytes() == manifest
    (tmp_path / "kept" / "run.json").unlink()
    flown = run_cli(*arguments, "--resume", cwd=tmp_path)
    assert flown.stdout == first.stdout
    assert (tmp_path / "kept" / "run.json").is_file()


POLICY = """
from flightsim import Action, Decision

from pydantic import BaseModel


class Mine:
    class Config(BaseModel):
        pass

    def __init__(self, config):
        pass

    def decide(self, seen):
        return Decision(Action.THUMBNAIL)
"""


def test_a_file_policy_flies_and_its_saved_scenario_flies_again(tmp_path):
    (tmp_path / "mine.py").write_text(POLICY)
    (tmp_path / "policy.py").write_text("raise RuntimeError('a stranger of that name')")
    small = ("--set", "duration=1d", "--set", "targets.count=6")
    cli = [str(Path(sys.executable).with_name("flightsim"))]
    first = subprocess.run(
        [*cli, "run", "statistical", *small, "--policy", "./mine.py:Mine", "--out", "a"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert first.returncode == 0, first.stderr
    (tmp_path / "mine.py").unlink()
    again = subprocess.run(
        [*cli, "run", "a/scenario.yaml", "--out", "b"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert "thumbnail" in first.stdout


def test_a_shipped_policy_decides_the_same_in_a_process_of_its_own(short):
    scenario, world = short
    inline = fs.run(scenario, policy="threshold", write=False, world=world)
    apart = fs.load_scenario("statistical", [*SHORT, "policy={use: threshold, isolation: process}"])
    isolated = fs.run(apart, write=False, world=world)
    assert isolated.context["isolation"] == "process"
    assert np.array_equal(inline.record.action, isolated.record.action)
    assert inline.metrics["bytes"] == isolated.metrics["bytes"]


def test_a_payload_that_does_not_open_fails_the_run_in_one_line(tmp_path):
    (tmp_path / "eye.py").write_text(
        "from payload.confusion import Confusion\n\n\nclass Eye(Confusion):\n"
        "    def open(self):\n        raise MemoryError('no room for the weights')\n"
    )
    (tmp_path / "s.yaml").write_text('name: s\nextends: statistical\npayload: {use: "./eye.py:Eye"}\n')
    done = run_cli("run", "s.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert "payload './eye.py:Eye' does not open: MemoryError: no room for the weights" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    other = tmp_path / "mine"
    other.mkdir()
    (other / "notes.txt").write_text("keep me")
    done = run_cli("run", "statistical", "--set", "duration=1d", "--out", str(other), cwd=tmp_path)
    assert done.returncode == 2
    assert "holds other files; nothing was written" in done.stderr
    assert [path.name for path in other.iterdir()] == ["notes.txt"]
    small = ("--set", "duration=1d", "--set", "targets.count=6", "--out", "a")
    assert run_cli("run", "statistical", *small, cwd=tmp_path).returncode == 0
    clash = run_cli("run", "statistical", "--seed", "8", *small, cwd=tmp_path)
    assert clash.returncode == 2
    assert "another scenario, policy or seed" in clash.stderr
    assert (tmp_path / "a" / "run.json").is_file()


def test_policies_differ_and_nothing_keeps_nothing():
    """On the whole statistical scenario, where the budget binds."""
    scenario = fs.load_scenario("statistical")
    world = prepare(scenario)
    got = {
        name: fs.run(scenario, policy=name, write=False, world=world).metrics
        for name in ("bent_pipe", "cloud_filter", "thumbnails_only", "verdicts_only", "budgeted", "nothing")
    }
    air = {name: metrics["bytes"]["air"] for name, metrics in got.items()}
    f1 = {name: metrics["quality"]["ground"]["f1"] for name, metrics in got.items()}
    assert air["nothing"] == 0
    assert f1["nothing"] == 0.0
    assert got["nothing"]["bytes"]["saved_fraction"] == 1.0
    assert 0 < air["verdicts_only"] < air["thumbnails_only"] < air["bent_pipe"]
    assert f1["budgeted"] > f1["bent_pipe"] + 0.1
    ceiling = got["budgeted"]["quality"]["fused_unlimited"]["f1"]
    assert max(value for value in f1.values() if value is not None) <= ceiling + 0.03
    # Bent pipe and cloud filter both fill the link; what differs there is what the bytes show.
    assert f1["cloud_filter"] > f1["bent_pipe"] + 0.03
    assert len({(air[name], f1[name]) for name in got}) == len(got)


def test_the_same_seed_is_the_same_world_for_every_policy(short):
    scenario, world = short
    first = fs.run(scenario, policy="verdicts_only", write=False, world=world)
    second = fs.run(scenario, policy="budgeted", write=False)
    assert np.array_equal(first.record.truth.changed, second.record.truth.changed)
    assert np.array_equal(first.record.status, second.record.status)
    assert first.metrics["bytes"]["bent_pipe_windows"] == second.metrics["bytes"]["bent_pipe_windows"]
    other = fs.run(with_choices(scenario, seed=99), policy="budgeted", write=False)
    assert len(other.record.plan) != len(first.record.plan) or not np.array_equal(
        other.record.truth.changed, first.record.truth.changed
    )


def test_class_collapse_shows_in_the_two_lines(short):
    _, world = short
    blind = [*SHORT, "payload.with={tpr: 0.0, fpr: 0.0}", "policy.use=verdicts_only"]
    scenario = fs.load_scenario("statistical", blind)
    result = fs.run(scenario, write=False, world=world)
    assert result.metrics["bytes"]["saved_fraction"] > 0.99
    assert result.metrics["quality"]["ground"]["f1"] == 0.0
    first, second = result.summary_lines()[:2]
    assert first.startswith("bytes saved")
    assert second.startswith("F1 retained")


def test_no_contact_at_all_is_a_run_that_says_so():
    scenario = fs.load_scenario("statistical", [*SHORT, "link.booking.passes_per_day=0"])
    result = fs.run(scenario, write=False)
    assert result.metrics["bytes"]["air"] == 0
    assert result.metrics["bytes"]["capacity"] == 0
    assert result.metrics["stages"]["incomplete"] > 0
    assert any("no contact" in line for line in result.summary_lines())
    json.dumps(result.metrics, allow_nan=False)


def test_a_full_store_is_told():
    scenario = fs.load_scenario("statistical", [*SHORT, "spacecraft.storage_bytes=3 MB", "policy.use=bent_pipe"])
    result = fs.run(scenario, write=False)
    assert result.metrics["stages"]["dropped_full"] > 0
    assert any("dropped_full" in line or "full" in line for line in result.summary_lines())


def test_uplinked_references_are_counted(short):
    scenario = fs.load_scenario("statistical", [*SHORT, "spacecraft.references.source=uplink"])
    result = fs.run(scenario, write=False)
    places = len(set(result.record.plan.place_id))
    assert result.metrics["bytes"]["uplink"] > 50_000 * places
    (said,) = [line for line in result.summary_lines() if line.startswith("uplink: ")]
    assert " of reference pictures, " in said
    assert fs.run(short[0], write=False, world=short[1]).metrics["bytes"]["uplink"] == 0


def test_several_spacecraft_share_one_record():
    scenario = fs.load_scenario("statistical", SHORT)
    craft = scenario.spacecraft.model_dump(by_alias=True, exclude_unset=True)
    text = {**scenario.model_dump(by_alias=True, exclude_unset=True)}
    second = {**craft, "name": "flightsim-2", "orbit": {**craft["orbit"], "ltan": "10:30"}}
    text["spacecraft"] = [craft, second]
    text["duration"], text["evaluation"]["grace"] = "2d", "24h"
    text["targets"]["event_duration"] = "10d"
    for one in text["spacecraft"]:
        one["references"]["age"] = "30d"
    from flightsim.scenario.models import Scenario

    result = fs.run(Scenario.model_validate(text), write=False)
    assert set(np.unique(result.record.plan.craft)) == {0, 1}
    assert {window.spacecraft for window in result.record.contacts if window.booked} == {"flightsim-1", "flightsim-2"}


def test_an_unlimited_link_gives_back_the_published_quality():
    """Plumbing: the counts on board follow the profile's rates within five binomial sigmas."""
    for prevalence in (0.33, 0.01):
        scenario = fs.load_scenario("liquid-space", [f"targets.prevalence.default={prevalence}"])
        quality = fs.run(scenario, write=False).metrics["quality"]["onboard"]
        positives, negatives = quality["tp"] + quality["fn"], quality["fp"] + quality["tn"]
        assert abs(quality["tp"] / positives - 213 / 231) < 5 * np.sqrt(0.92 * 0.08 / positives)
        assert abs(quality["fp"] / negatives - 4 / 469) < 5 * np.sqrt(0.0085 / negatives)


def test_real_pairs_each_get_an_answer_and_bad_pictures_are_no_events():
    scenario = fs.load_scenario("real-images", [f"scenes.with.path={shared('data')}"])
    scores = fs.perceive(scenario).as_dict()
    assert scores["payload_failures"] == []
    assert scores["pairs"] >= 19
    for row in scores["by_pair"]:
        assert set(row["verdicts"]) == set(scenario.payload.schemas)
        if not row["visible"]:
            assert not [v for v in row["verdicts"].values() if v.startswith("event")], row["pair"]


def test_with_pixels_a_policy_sees_the_clouds_that_the_gate_sees():
    scenario = fs.load_scenario("real-images", ["duration=6d", "policy={use: cloud_filter}"])
    result = fs.run(scenario, write=False)
    cloud, sent = result.record.cloud_estimate, result.record.state == STATES.index(TerminalState.DELIVERED)
    assert np.isfinite(cloud).all()
    assert (cloud > 0.5).any()
    assert (cloud < 0.1).sum() > 3
    assert not sent[cloud > 0.5].any()


def test_a_gate_that_raises_leaves_the_cloud_unknown_and_says_so(monkeypatch, tmp_path):
    from payload.spectral import Spectral

    monkeypatch.setenv("FLIGHTSIM_CACHE", str(tmp_path))  # else a gate that did not raise has answered before

    def broken(self, pair):
        raise ValueError("no thermal band")

    monkeypatch.setattr(Spectral, "cloud_fraction", broken)
    result = fs.run(fs.load_scenario("real-images", ["duration=3d"]), write=False)
    assert np.isnan(result.record.cloud_estimate).all()
    assert result.record.event_counts["payload_failed"] == len(result.record.plan)
    assert any("no thermal band" in line for line in result.summary_lines())


def test_recorded_verdicts_fly_again(folder, short, tmp_path):
    """Replay needs no truth and gives the same verdicts, decisions and bytes; what was never recorded is invalid."""
    setting = f"payload={{use: replay, with: {{path: {folder.folder}}}}}"
    again = fs.run(fs.load_scenario("statistical", [*SHORT, setting]), out=tmp_path / "again", world=short[1])
    assert again.metrics["payload_needs_truth"] is False
    assert np.array_equal(again.record.status, folder.record.status)
    assert np.array_equal(again.record.action, folder.record.action)
    assert again.metrics["bytes"]["air"] == folder.metrics["bytes"]["air"]
    assert again.metrics["quality"]["ground"]["f1"] == folder.metrics["quality"]["ground"]["f1"]
    other = fs.run(fs.load_scenario("statistical", [*SHORT, setting, "seed=99"]), write=False)
    assert other.metrics["quality"]["onboard"]["invalid"] > 0


def test_a_record_that_is_not_there_is_told(tmp_path):
    scenario = fs.load_scenario("statistical", [*SHORT, f"payload={{use: replay, with: {{path: {tmp_path}/no}}}}"])
    with pytest.raises(InputError, match="no record of verdicts at"):
        fs.run(scenario, write=False)
    (tmp_path / "rubbish.parquet").write_bytes(b"not a table")
    rubbish = fs.load_scenario(
        "statistical", [*SHORT, f"payload={{use: replay, with: {{path: {tmp_path}/rubbish.parquet}}}}"]
    )
    with pytest.raises(InputError, match="is no record of verdicts"):
        fs.run(rubbish, write=False)


def test_with_pixels_the_files_are_as_long_as_the_tables_say_and_the_pictures_come_back(tmp_path):
    """Every byte that was counted for a product exists: the file is built and the ground takes it apart."""
    result = fs.run(fs.load_scenario("real-images", ["duration=4d", "policy={use: threshold}"]), out=tmp_path / "run")
    radio = result.scenario.craft[0].radio
    sizer = Sizer(prepare(result.scenario).scenes, result.record.plan, radio)
    products = [item for item in result.record.items if item.kind is not Action.VERDICT]
    assert products
    for item in products:
        row = item.rows[0]
        sent = sizer.file(row, item.kind, result.record.specs[item.id], result.record.verdicts[row])
        assert len(sent) == item.size_bytes
    arrived = sorted((tmp_path / "run" / "ground").glob("t-*.webp"))
    assert len(arrived) == sum(
        i.kind is Action.THUMBNAIL and result.record.outcomes[i.id] == "delivered" for i in products
    )
    assert all(decode_picture(path.read_bytes()).ndim == 3 for path in arrived)
