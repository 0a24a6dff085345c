"""``flightsim evaluate`` on the command line, and commands that are loaded only when they are called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flightsim import cli

QUESTIONS = ["--generated", "28", "--jobs", "1"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, list(arguments), prog_name="flightsim")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "evaluate needs questions: either --generated N or --scenario FILE."),
        (("spectral", "--generated", "30", "--scenario", "default"), "either --generated N or --scenario FILE"),
        (("spectral", "--generated", "5"), "ask for at least 28"),
        (("spectrall", "--generated", "30"), "unknown payload 'spectrall'; did you mean 'spectral'?"),
        (("spectral", "--generated", "30", "--set", "seed=3"), "it goes with --scenario FILE"),
        (("--generated", "30", "--with", "{}"), "name it: flightsim evaluate PAYLOAD --with JSON"),
        (("spectral", "--generated", "30", "--with", "{"), "--with is no JSON"),
        (("spectral", "--generated", "30", "--with", '{"gat": 1}'), "with.gat"),
        (("--scenario", "defautl"), "Did you mean"),
        (("--scenario", "default", "--calibrate", "c.json"), "flightsim perceive default --calibrate c.json"),
        (
            ("spectral", "--generated", "30", "--calibrate", "c.json", "--calibrate-region", "test"),
            "a calibration is scored on another region than it was fitted on",
        ),
        (("spectral", "--scenario", "liquid-space"), "looks at pixels"),
    ],
)
def test_wrong_input_is_exit_code_2_with_one_clear_message(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("evaluate", *arguments)
    assert done.exit_code == 2, done.output
    assert message.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_json_on_stdout_has_the_names_of_the_contract_and_files_are_told_on_stderr(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = call("evaluate", "--scenario", "real-images", "--json", "--out", str(out))
    assert done.exit_code == 0, done.stderr
    results = json.loads(done.stdout)
    assert {"n", "precision", "recall", "f1", "mcc", "per_schema", "parse_failures", "latency_s", "ci95"} <= set(
        results
    )
    assert done.stderr.splitlines() == [str(out / name) for name in ("index.html", "results.json", "answers.jsonl")]
    stored = json.loads((out / "results.json").read_text())
    assert stored == results


def test_a_scenario_is_asked_with_another_payload(tmp_path: Path) -> None:
    done = call("evaluate", "perfect_eye", "--scenario", "real-images")
    assert done.exit_code == 0, done.stderr
    assert "payload perfect_eye" in done.stdout
    assert "declared, not earned" in done.stdout
    assert "mission's clock, which is another" in done.stdout


def test_a_calibration_is_fitted_elsewhere_written_and_scored(tmp_path: Path) -> None:
    """An eye that answers from truth with stated rates needs no pictures, so this is quick."""
    file = tmp_path / "c.json"
    done = call(
        "evaluate", "confusion", "--with", '{"tpr": 0.8, "fpr": 0.1}', *QUESTIONS, "--calibrate", str(file),
        "--calibrate-blocks", "8", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    block = json.loads(file.read_text())["calibration"]
    assert "8 blocks of the regions for validation" in block["set"]
    results = json.loads(done.stdout)
    assert results["calibration"]["sources"] == [block["set"]]
    assert results["calibration"]["calibrated"]["n"] == results["calibration"]["stated"]["n"] > 0


# commands that are loaded when they are called ------------------------------------------------------------------------


def test_the_list_of_commands_loads_nothing_heavy() -> None:
    code = (
        "import sys, json\nfrom click.testing import CliRunner\nfrom flightsim import cli\n"
        "done = CliRunner().invoke(cli.main, ['--help'])\nassert done.exit_code == 0, done.output\n"
        "assert 'evaluate' in done.output and 'Score a payload' in done.output, done.output\n"
        "done = CliRunner().invoke(cli.main, ['evaluate', '--help'])\nassert done.exit_code == 0, done.output\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    heavy = {"torch", "transformers", "numpy", "scipy", "matplotlib", "pyarrow", "payload.train.command", "pydantic"}
    assert not loaded & heavy


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An installed distribution that offers commands: its metadata and its module, as an installer leaves them."""

    def offer(points: str, module: str, extras: str = "") -> None:
        info = tmp_path / "orchard-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: orchard\nVersion: 1.0\n{extras}")
        (info / "entry_points.txt").write_text(f"[flightsim.commands]\n{points}\n")
        (tmp_path / "orchard_commands.py").write_text(module)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "orchard_commands", raising=False)

    yield offer
    sys.modules.pop("orchard_commands", None)


COMMANDS = """\
import click
from flightsim.errors import InputError, MissingExtra

@click.command()
@click.option("--how", default="by hand")
def graft(how):
    \"\"\"Graft a branch.

    Not shown in the list.
    \"\"\"
    if how == "badly":
        raise InputError("how is 'badly'; allowed is by hand.")
    if how == "far":
        import a_package_that_is_not_there
    click.echo(f"grafted {how}")

nothing = 3
"""


def test_another_package_adds_a_command_that_the_list_does_not_import(offered) -> None:
    offered("graft = orchard_commands:graft", COMMANDS)
    done = call("--help")
    assert "graft" in done.stdout
    assert "Graft a branch." in done.stdout
    assert "orchard_commands" not in sys.modules
    assert call("graft").stdout == "grafted by hand\n"
    assert "--how" in call("graft", "--help").stdout


def test_errors_of_such_a_command_are_told_as_ours_are(offered) -> None:
    offered("graft = orchard_commands:graft", COMMANDS)
    done = call("graft", "--how", "badly")
    assert (done.exit_code, done.stderr) == (2, "how is 'badly'; allowed is by hand.\n")


def test_a_missing_package_names_the_line_that_installs_it(offered) -> None:
    offered("graft = orchard_commands:graft", COMMANDS, "Provides-Extra: graft\n")
    done = call("graft", "--how", "far")
    assert done.exit_code == 2
    assert done.stderr == (
        "flightsim graft needs the package 'a_package_that_is_not_there', which is not installed: "
        "pip install 'orchard[graft]'\n"
    )


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--how", "far", "more"]])
def test_a_command_whose_module_needs_a_missing_package_is_listed_and_says_so(offered, arguments: list[str]) -> None:
    offered("graft = orchard_commands:graft", "import not_there_either\n" + COMMANDS)
    assert "Graft a branch." in call("--help").stdout
    done = call("graft", *arguments)
    assert done.exit_code == 2
    assert "needs the package 'not_there_either', which is not installed: pip install not_there_either" in done.stderr


@pytest.mark.parametrize(
    ("point", "module", "message"),
    [
        ("nothing = orchard_commands:nothing", COMMANDS, "is offered as orchard_commands:nothing, which is no click"),
        ("graft = orchard_commands:graft", "from json import nobody\n", "does not load: ImportError"),
    ],
)
def test_what_is_no_command_or_does_not_load_is_told(offered, point: str, module: str, message: str) -> None:
    offered(point, module)
    assert call("--help").exit_code == 0
    done = call(point.split()[0])
    assert done.exit_code == 2
    assert message in done.stderr


def test_an_unknown_command_is_still_unknown() -> None:
    done = call("evaluat")
    assert done.exit_code == 2
    assert "No such command" in done.stderr
