"""Flights whose eye is a model behind a server: one that is well, one that dies midway, one that was never there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import flightsim as fs
from flightsim import registry
from flightsim.cli import main
from flightsim.domain import SCHEMA_IDS, TerminalState
from payload.vlm.dialects import DIALECTS
from payload.vlm.server import Server

from . import vlm_server as stands
from .vlm_server import stand_in

pytest.importorskip("httpx", reason="SKIPPED LOUDLY: the extra [server] is absent; no flight asked a model server")
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

OBJECT = '{"direction":"increase","severity":"low","fraction_of_tile":0.02,"where":"north","box":[0.0,0.0,0.5,0.5]}'


@pytest.fixture
def server():
    with stand_in() as running:
        yield running


def scenario(folder: Path, url: str) -> Path:
    rate = {"tpr": 0.9, "fpr": 0.05}
    facts = {"decoding": "flightsim", "rates": dict.fromkeys(SCHEMA_IDS, rate), "seconds_per_question": 0.05}
    (folder / "declared.json").write_text(json.dumps(facts))
    path = folder / "mine.yaml"
    path.write_text(
        "name: mine\nextends: real-images\nduration: 3d\n"
        f"payload: {{use: server, with: {{base_url: '{url}', declared: declared.json, retries: 1, backoff_s: 0}}}}\n"
        "policy: {use: threshold, fallback: verdicts_only}\n"
    )
    return path


def fresh(monkeypatch, folder: Path) -> None:
    """A cache of its own: what one flight has learnt the next must not know."""
    monkeypatch.setenv("FLIGHTSIM_CACHE", str(folder / "cache"))


def test_a_flight_asks_the_server_and_says_whose_verdicts_they_are(server, tmp_path, monkeypatch):
    fresh(monkeypatch, tmp_path)
    server.behave = lambda stand, body, number: stand.complete(OBJECT if number % 3 == 0 else "null")
    result = fs.run(fs.load_scenario(scenario(tmp_path, server.url)), write=False, jobs=1)
    asked = server.questions
    assert asked > 0
    assert not [note for note in result.context["notes"] if "got no answer" in note]
    # What was answered once is not asked again.
    fs.run(fs.load_scenario(scenario(tmp_path, server.url)), write=False, jobs=1)
    assert server.questions == asked
    assert result.context["eye"] == "server"


def test_a_flight_whose_server_dies_midway_goes_on_counts_it_and_says_so(server, tmp_path, monkeypatch):
    fresh(monkeypatch, tmp_path)
    healthy = 30

    def dies(stand, body, number):
        if number < healthy:
            stand.complete("null")
        else:
            stand.server.served["/health"] = stands.resets
            stands.resets(stand, body, number)

    server.behave = dies
    result = fs.run(fs.load_scenario(scenario(tmp_path, server.url)), write=False, jobs=1)
    [note] = [note for note in result.context["notes"] if "got no answer" in note]
    assert note.startswith("payload 'server': ")
    assert "(broken " in note
    assert note.endswith("their verdicts are INVALID")
    assert any(note[:60] in line for line in result.summary_lines())
    states = result.tiles.column("state").to_pylist()
    assert states.count(str(TerminalState.INVALID)) > 0
    # The next flight asks those questions again, and those alone.
    server.behave, server.served["/health"] = None, (200, {})
    before = server.questions
    again = fs.run(fs.load_scenario(scenario(tmp_path, server.url)), write=False, jobs=1)
    assert server.questions > before
    assert str(TerminalState.INVALID) not in again.tiles.column("state").to_pylist()


def test_a_server_that_is_down_ends_the_run_before_it_begins(tmp_path, monkeypatch):
    fresh(monkeypatch, tmp_path)
    done = CliRunner().invoke(
        main, ["run", str(scenario(tmp_path, "http://127.0.0.1:9")), "--out", str(tmp_path / "r")]
    )
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    [line] = done.stderr.strip().splitlines()
    assert "no model server answers at http://127.0.0.1:9 (unreachable: " in line
    assert "start it, or name its address with payload.with.base_url" in line


def blocks() -> list[str]:
    """Scenario lines of docs/server.md."""
    text = (Path(__file__).parents[1] / "docs" / "server.md").read_text(encoding="utf-8")
    return [part.partition("```")[0] for part in text.split("```yaml\n")[1:]]


@pytest.mark.parametrize("block", blocks())
def test_the_settings_of_the_page_are_right(block, tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_KEY", "k")
    (tmp_path / "profile.json").write_text('{"decoding": "flightsim"}')
    (tmp_path / "mine.yaml").write_text(f"name: mine\nextends: real-images\n{block}")
    loaded = fs.load_scenario(tmp_path / "mine.yaml")
    payload = registry.build("payloads", loaded.payload.use, loaded.payload.with_, tmp_path)
    # The dialect can say what profile and adapter want; nobody is asked yet.
    assert payload.make_engine() is not None


def test_every_setting_and_dialect_is_on_the_page():
    text = (Path(__file__).parents[1] / "docs" / "server.md").read_text(encoding="utf-8")
    assert [name for name in Server.Config.model_fields if f"`{name}`" not in text] == []
    assert [name for name in DIALECTS if f"`{name}`" not in text] == []
