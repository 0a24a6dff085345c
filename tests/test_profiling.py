"""``flightsim profile``: seconds that a stated clock makes exact, memory, files, and what is told when it cannot be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flightsim import profiling
from flightsim.cli import main
from flightsim.domain import SCHEMA_IDS, TilePair, Verdict, VerdictStatus
from flightsim.errors import InputError, RunError
from flightsim.profiling import Meters, lines_of, measure, sample, write
from flightsim.protocols import EmptyConfig

from .pictures import SIX, Picture, ground, pair_of

NULL_S, EVENT_S, ENCODE_S, LOAD_S = 0.1, 0.7, 0.5, 30.0


class Hours:
    """A clock that stands still unless somebody works, and a memory that grows when a model is loaded."""

    def __init__(self) -> None:
        self.now_s, self.worked_s, self.resident = 1000.0, 0.0, 100_000_000

    def work(self, seconds: float) -> None:
        self.now_s += seconds
        self.worked_s += seconds / 2

    def meters(self) -> Meters:
        return Meters(lambda: self.now_s, lambda: self.worked_s, lambda: self.resident, lambda: 777)


class Slow:
    """Loads with its first question, encodes a pair once, and takes seven times as long to write an event."""

    Config = EmptyConfig
    needs_truth = False
    needs_pixels = True
    fingerprint = "slow/1"
    seconds_per_question = 0.0

    def __init__(self, hours: Hours, events: Sequence[str] = ("flood_extent",), refused: Sequence[str] = ()) -> None:
        self.hours, self.events, self.refused = hours, events, refused
        self.loaded, self.last, self.closed = False, "", False

    def open(self) -> None:
        self.hours.work(1.0)

    def close(self) -> None:
        self.closed = True

    def rates(self, schema_id: str) -> tuple[float, float]:
        return 0.9, 0.1

    def assess_many(self, pairs: Sequence[TilePair], schemas: Sequence[str], **_: Any) -> list[Verdict]:
        if not self.loaded:
            self.loaded = True
            self.hours.work(LOAD_S)
            self.hours.resident += 50_000_000
        return [self._one(pair, schema) for pair in pairs for schema in schemas]

    def _one(self, pair: TilePair, schema: str) -> Verdict:
        tile = pair.after.id
        if tile in self.refused:
            self.hours.work(0.001)
            return Verdict(tile, schema, VerdictStatus.UNCLASSIFIABLE, reason="cloud")
        if tile != self.last:
            self.hours.work(ENCODE_S)
            self.last = tile
        event = schema in self.events
        self.hours.work(EVENT_S if event else NULL_S)
        status = VerdictStatus.EVENT if event else VerdictStatus.NULL
        return Verdict(tile, schema, status, {"a": 1} if event else None, 0.9, tokens=9 if event else 2)


def pairs(*names: str) -> list[TilePair]:
    from dataclasses import replace

    image = Picture(ground("p", {"forest": 0.6, "water": 0.4}), SIX)
    found = []
    for name in names:
        pair = pair_of(image, image)
        found.append(TilePair(pair.before, replace(pair.after, id=name)))
    return found


def test_seconds_are_those_of_the_clock_by_ending_and_by_place_in_the_pair() -> None:
    hours = Hours()
    eye = Slow(hours)
    found = measure(lambda: eye, pairs("a", "b", "c"), meters=hours.meters())
    assert eye.closed
    # The first question of all has encoded pair a; it warms up and is not counted.
    encoded = 2
    total = 3 * (6 * NULL_S + EVENT_S) + encoded * ENCODE_S
    assert found["seconds"]["all"]["n"] == 21
    assert found["seconds_per_question"] == pytest.approx(total / 21, rel=0.005)
    assert found["cpu_seconds_per_question"] == pytest.approx(total / 42, rel=0.005)
    assert found["seconds"]["event"] == {"n": 3, "mean": EVENT_S, "median": EVENT_S, "p90": EVENT_S}
    assert found["seconds"]["null"]["median"] == NULL_S
    assert found["seconds"]["first_of_pair"]["median"] == pytest.approx(NULL_S + ENCODE_S)
    assert found["seconds"]["further"]["n"] == 18
    assert found["tokens"] == {"per_event": 9, "per_null": 2, "most": 9, "total": 3 * (9 + 12)}
    # From nothing to the first answer, less one first question of a pair.
    assert found["load_s"] == pytest.approx(1.0 + LOAD_S, rel=0.005)
    assert found["ram_bytes"] == 50_000_000
    assert found["memory_bytes"]["peak"] == 777


def test_what_the_gate_refuses_is_counted_apart_and_not_timed() -> None:
    hours = Hours()
    found = measure(lambda: Slow(hours, refused=("b",)), pairs("a", "b"), meters=hours.meters())
    assert found["questions"] == {"pairs": 2, "asked": 7, "refused_by_gate": 7, "invalid": {}}
    assert found["seconds"]["all"]["n"] == 7
    with pytest.raises(InputError, match="refused every pair"):
        measure(lambda: Slow(hours, refused=("b",)), pairs("b"), meters=hours.meters())


def test_invalid_answers_are_told_with_their_reasons() -> None:
    class Broken(Slow):
        def _one(self, pair: TilePair, schema: str) -> Verdict:
            self.hours.work(1.0)
            return Verdict(pair.after.id, schema, VerdictStatus.INVALID, reason="truncated: no end")

    hours = Hours()
    found = measure(lambda: Broken(hours), pairs("a"), meters=hours.meters())
    assert found["questions"]["invalid"] == {"truncated": 7}
    assert found["tokens"]["per_null"] is None
    told = {"seconds_per_question": 1.0, "clock": "x", "timing": {**found, "machine": {"load": None, "cores": 1}}}
    assert "INVALID answers: 7 truncated of 7" in lines_of(told)


def test_progress_is_told_pair_by_pair_and_a_payload_that_raises_is_closed() -> None:
    hours, shares = Hours(), []
    measure(lambda: Slow(hours), pairs("a", "b"), meters=hours.meters(), progress=shares.append)
    assert shares == [0.5, 1.0]

    class Raises(Slow):
        def open(self) -> None:
            raise OSError("no such device")

    eye = Raises(hours)
    with pytest.raises(RunError, match="no such device"):
        measure(lambda: eye, pairs("a"), meters=hours.meters())
    assert eye.closed


def test_a_payload_that_knows_the_truth_is_not_timed() -> None:
    class Knows(Slow):
        needs_truth = True

    with pytest.raises(InputError, match="'slow/1' answers from truth and computes nothing"):
        measure(lambda: Knows(Hours()), pairs("a"))


def test_pairs_to_be_timed_on_are_clear_made_and_the_same_again() -> None:
    first = sample(30)
    assert len({pair.after.id for pair in first}) == 30
    assert all(pair.before is not None for pair in first)
    blocks = {(round(pair.after.lat_deg), round(pair.after.lon_deg)) for pair in first}
    assert len(blocks) >= 4
    assert [pair.after.id for pair in first] == [pair.after.id for pair in sample(30)]
    with pytest.raises(InputError, match="0 pairs are too few"):
        sample(0)


def test_this_process_is_smaller_than_it_has_ever_been() -> None:
    now, peak = profiling.resident_bytes(), profiling.peak_bytes()
    if now is None or peak is None:
        pytest.skip("SKIPPED LOUDLY: this system does not tell the memory of a process")
    held = bytearray(40_000_000)
    more = profiling.resident_bytes()
    assert more is not None
    assert more - now > 0.9 * len(held)
    # The kernel counts pages lazily, some hundred of them.
    assert profiling.peak_bytes() >= 0.99 * more  # type: ignore[operator]


def test_a_profile_is_merged_into_a_file_and_other_entries_stay(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text('{"decoding": "flightsim", "seconds_per_question": 9, "rates": {}}')
    write(path, {"seconds_per_question": 0.5, "clock": "mine", "timing": {}})
    kept = json.loads(path.read_text())
    assert kept == {"decoding": "flightsim", "seconds_per_question": 0.5, "rates": {}, "clock": "mine", "timing": {}}
    assert list(tmp_path.iterdir()) == [path]
    for text, said in (("[1]", "holds no JSON object"), ("{", "is no JSON")):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            write(path, {})
        assert path.read_text() == text


PLUGIN = """
from flightsim.domain import Verdict, VerdictStatus
from flightsim.protocols import PluginConfig


class Eye:
    class Config(PluginConfig):
        model: str = "none"

    needs_truth = False
    needs_pixels = True
    fingerprint = "eye/1"
    seconds_per_question = 0.0
    owner = "a model of ours"

    def __init__(self, config):
        self.config = config

    def open(self):
        pass

    def close(self):
        pass

    def rates(self, schema_id):
        return 0.9, 0.1

    def assess_many(self, pairs, schemas, *, truth=None, keys=None, seed=0):
        assert self.config.model.endswith("tiny")
        return [Verdict(p.after.id, s, VerdictStatus.NULL, None, 0.9, tokens=2) for p in pairs for s in schemas]
"""


def test_the_command_writes_a_file_and_names_no_folder_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("eye.py").write_text(PLUGIN)
    model = tmp_path / "deep" / "tiny"
    out = CliRunner().invoke(
        main, ["profile", "./eye.py:Eye", "--model", str(model), "--pairs", "1", "--out", "p.json", "--json"]
    )
    assert out.exit_code == 0, out.output
    told, kept = json.loads(out.stdout), json.loads(Path("p.json").read_text())
    assert told == kept
    assert kept["timing"]["with"] == {"model": "tiny"}
    assert str(tmp_path) not in Path("p.json").read_text()
    assert kept["timing"]["questions"]["asked"] == len(SCHEMA_IDS)
    assert kept["clock"].startswith("measured with flightsim profile: 7 questions on ")
    assert kept["timing"]["load_s"] >= 0
    lines = "\n".join(lines_of(kept))
    assert lines.startswith("a model of ours\n")
    assert "ending in null       n    7" in lines
    assert "tokens written: 2 a null, at most 2" in lines


def test_the_command_says_what_is_wrong() -> None:
    runner = CliRunner()
    wrong = runner.invoke(main, ["profile", "spectrl"])
    assert wrong.exit_code == 2
    assert "spectral" in wrong.stderr
    truth = runner.invoke(main, ["profile", "perfect_eye", "--pairs", "1"])
    assert truth.exit_code == 2
    assert "answers from truth" in truth.stderr
    assert runner.invoke(main, ["profile", "spectral", "--with", "[1]"]).exit_code == 2
