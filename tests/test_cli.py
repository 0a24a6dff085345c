"""The commands: what they print where, their exit codes, and that nothing of a user's is overwritten."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flightsim import cli
from flightsim.errors import ConservationError, MissingExtra, RunError
from flightsim.scenario import load_scenario, shipped_scenarios

from .test_broken_scenarios import GOOD, flightsim

POLICY = """\
from flightsim.domain import Action, Decision
from flightsim.protocols import PluginConfig


class Mine:
    class Config(PluginConfig):
        level: float = 0.5

    def __init__(self, config):
        self.config = config

    def decide(self, seen):
        return Decision(Action.VERDICT)
"""
SHORT = ["--set", "duration=1d", "--set", "targets.count=8"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLIGHTSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, list(arguments), prog_name="flightsim")


def test_every_command_has_a_help_with_one_sentence() -> None:
    assert set(cli.main.commands) == {
        "check", "doctor", "new", "passes", "perceive", "plugins", "report", "run", "validate",
    }  # fmt: skip
    for name in cli.main.commands:
        done = call(name, "--help")
        assert done.exit_code == 0
        assert f"Usage: flightsim {name}" in done.output


def test_version() -> None:
    assert "0.1.0" in call("--version").stdout


@pytest.mark.parametrize("arguments", [["bogus"], ["run"], ["validate"], ["run", "default", "--sed", "3"], ["new"]])
def test_a_wrong_command_line_is_exit_code_2(arguments: list[str]) -> None:
    done = call(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr


# new ------------------------------------------------------------------------------------------------------------------


def test_new_copies_a_shipped_scenario_with_its_comments_and_never_overwrites(here: Path) -> None:
    assert call("new", "mine", "--from", "liquid-space").exit_code == 0
    text = (here / "mine.yaml").read_text()
    assert text == shipped_scenarios()["liquid-space"].read_text()
    assert text.startswith("# ")
    (here / "mine.yaml").write_text("precious")
    done = call("new", "mine")
    assert done.exit_code == 2
    assert "mine.yaml exists already" in done.stderr
    assert (here / "mine.yaml").read_text() == "precious"


@pytest.mark.parametrize("name", shipped_scenarios())
def test_what_new_copies_is_right(name: str, here: Path) -> None:
    assert call("new", "copy.yaml", "--from", name).exit_code == 0
    assert load_scenario("copy.yaml").model_dump() == load_scenario(name).model_dump()


def test_new_list_tells_each_scenario_with_its_question() -> None:
    lines = call("new", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_scenarios())
    assert all(line.rstrip().endswith("?") for line in lines)


def test_new_from_an_unknown_scenario_names_the_nearest(here: Path) -> None:
    done = call("new", "mine", "--from", "defautl")
    assert done.exit_code == 2
    assert "'default'" in done.stderr
    assert not list(here.iterdir())


# validate, passes -----------------------------------------------------------------------------------------------------


def test_validate_tells_what_is_right_on_stdout_and_what_is_wrong_on_stderr(here: Path) -> None:
    (here / "good.yaml").write_text(GOOD)
    (here / "bad.yaml").write_text(GOOD.replace("78.2", "95"))
    done = call("validate", "good.yaml", "bad.yaml", "gone.yaml")
    assert done.exit_code == 2
    assert done.stdout.startswith("good.yaml")
    assert "bad.yaml" not in done.stdout
    assert "bad.yaml:11: stations.0.lat_deg" in done.stderr
    assert "'gone.yaml' does not exist. Did you mean 'good.yaml'" in done.stderr


def test_validate_json_has_the_shape_of_the_contract(here: Path) -> None:
    (here / "good.yaml").write_text(GOOD)
    assert json.loads(call("validate", "good.yaml", "--json").stdout) == {"ok": True, "faults": []}
    done = call("validate", "gone.yaml", "--json")
    assert done.exit_code == 2
    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    assert set(answer["faults"][0]) == {"file", "line", "path", "message"}


def test_passes_json_and_table_tell_the_same(here: Path) -> None:
    (here / "good.yaml").write_text(GOOD)
    rows = json.loads(call("passes", "good.yaml", "--json").stdout)
    assert set(rows[0]) == {
        "spacecraft", "station", "aos", "tca", "los", "duration_s", "max_elevation_deg", "capacity_bytes", "booked",
        "truncated_start", "truncated_end", "not_booked",
    }  # fmt: skip
    assert all(row["aos"] < row["tca"] < row["los"] and row["aos"].endswith("Z") for row in rows)
    table = call("passes", "good.yaml").stdout.splitlines()
    assert [word in table[0] for word in ("station", "AOS", "TCA", "LOS", "booked", "truncated")] == [True] * 6
    assert len(table) == len(rows) + 1
    for line, row in zip(table[1:], rows, strict=True):
        assert row["station"] in line
        assert row["aos"] in line or row["aos"][:10] in line


def test_set_reaches_the_passes(here: Path) -> None:
    (here / "good.yaml").write_text(GOOD)
    low = json.loads(call("passes", "good.yaml", "--json").stdout)
    high = json.loads(
        call("passes", "good.yaml", "--json", "--set", "stations.0.elevation_mask_deg=40",
             "--set", "stations.1.elevation_mask_deg=40").stdout
    )  # fmt: skip
    assert 0 < len(high) < len(low)
    assert all(row["max_elevation_deg"] >= 40 for row in high)


# run, report, perceive ------------------------------------------------------------------------------------------------


def test_run_prints_the_two_lines_and_writes_a_folder_that_report_reads(here: Path) -> None:
    done = call("run", "statistical", *SHORT, "--policy", "verdicts_only", "--seed", "3", "--out", "out")
    assert done.exit_code == 0, done.stderr
    first, second = done.stdout.splitlines()[:2]
    assert first.startswith("bytes saved")
    assert second.startswith("F1 retained")
    assert str(here) not in done.stdout
    saved = load_scenario(here / "out" / "scenario.yaml")
    assert (saved.policy.use, saved.seed) == ("verdicts_only", 3)
    report = call("report", "out")
    assert report.exit_code == 0, report.stderr
    assert (here / report.stdout.strip()).is_file()


def test_run_json_is_the_metrics_and_the_folder(here: Path) -> None:
    done = call("run", "statistical", *SHORT, "--policy", "nothing", "--out", "out", "--json")
    answer = json.loads(done.stdout)
    assert answer.pop("run_folder") == "out"
    assert answer == json.loads((here / "out" / "metrics.json").read_text())


def test_a_strangers_policy_beside_the_user_flies_on_a_shipped_scenario(here: Path) -> None:
    (here / "policy.py").write_text(POLICY)
    done = call("run", "statistical", *SHORT, "--policy", "./policy.py:Mine", "--out", "out")
    assert done.exit_code == 0, done.stderr
    assert "Mine" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "default", "--policy", "budgetted"], "did you mean 'budgeted'"),
        (["run", "default", "--policy", "./gone.py:Mine"], "gone.py"),
        (["run", "defautl"], "Did you mean 'default'"),
        (["run", "default", "--set", "sed=3"], "--set:1: sed: unknown key; did you mean 'seed'"),
        (["passes", "default", "--set", "duration=forever"], "--set:1: duration"),
        (["perceive", "gone.yaml"], "does not exist"),
        (["report", "gone"], "gone"),
        (["check", "treshold"], "threshold"),
        (["check", "threshold", "--with", "{min_confidence"], "--with"),
    ],
)
def test_wrong_input_is_exit_code_2_with_the_way_out(arguments: list[str], words: str, here: Path) -> None:
    done = call(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert words in done.stderr
    assert not (here / "runs").exists() or not list((here / "runs").glob("*/run.json"))


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RunError("the link is cut"), 1, "the link is cut"),
        (ConservationError("12 tiles are missing"), 1, "12 tiles are missing"),
        (MissingExtra("torch is missing; pip install 'flightsim[vlm]'"), 2, "pip install"),
        (PermissionError(13, "Permission denied", "out"), 2, "Permission denied"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_error_has_its_exit_code_and_no_traceback(
    error: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flightsim import runs

    def raising(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(runs, "run", raising)
    done = call("run", "default")
    assert done.exit_code == code
    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.output


def test_control_c_ends_a_run_with_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flightsim", "run", "sentinel-2", "--set", "duration=20d", "--out", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "scenario.yaml").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "interrupted" in err


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m flightsim passes default | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_perceive_looks_at_the_shipped_pictures(here: Path) -> None:
    done = call("perceive", "real-images", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["pairs"] > 10
    assert "schema" in call("perceive", "real-images").stdout


# plugins, check, doctor -----------------------------------------------------------------------------------------------


def test_plugins_names_each_with_its_distribution() -> None:
    done = call("plugins")
    lines = {tuple(line.split()[:2]): line for line in done.stdout.splitlines()[1:]}
    assert "policy.threshold:Threshold" in lines["policies", "threshold"]
    assert "flightsim" in lines["policies", "threshold"]
    rows = json.loads(call("plugins", "--json").stdout)["rows"]
    assert len(rows) == len(lines)
    assert {"kind", "name", "target", "distribution"} <= set(rows[0])


def test_check_passes_a_good_plugin_and_fails_a_bad_one(here: Path) -> None:
    (here / "mine.py").write_text(POLICY)
    assert call("check", "./mine.py:Mine").exit_code == 0
    (here / "mine.py").write_text(POLICY.replace("Decision(Action.VERDICT)", "'rubbish'"))
    done = call("check", "./mine.py:Mine", "--json")
    assert done.exit_code == 1
    assert any(not row["ok"] for row in json.loads(done.stdout)["rows"])


def test_doctor_finds_this_installation_sound(tmp_path: Path) -> None:
    done = flightsim("doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    for words in ("Python", "numpy", "package 'policy'", "folder 'scenarios'", "policies: ", "cache"):
        assert words in done.stdout


def test_doctor_tells_a_cache_that_cannot_be_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "file").write_text("")
    monkeypatch.setenv("FLIGHTSIM_CACHE", str(here / "file" / "cache"))
    done = call("doctor")
    assert done.exit_code == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert "FLIGHTSIM_CACHE" in line


def test_json_goes_to_stdout_alone(here: Path) -> None:
    done = flightsim("passes", "default", "--json", "--set", "duration=1d", cwd=here)
    assert json.loads(done.stdout)
    assert done.returncode == 0
    assert os.linesep.join(done.stderr.splitlines()) == done.stderr.strip()
