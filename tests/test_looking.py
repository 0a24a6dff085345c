"""The first look at all pictures: the same flight however it was looked at, and nothing looked at twice."""

import json

import numpy as np
import pytest

import flightsim as fs
from flightsim import looking
from flightsim.domain import Action
from flightsim.runs import reference_sides
from flightsim.sizing import Sizer
from flightsim.store import NumberCache, VerdictCache
from flightsim.world import prepare
from payload.spectral import Spectral


@pytest.fixture(scope="module")
def world():
    return prepare(fs.load_scenario("real-images", ["duration=4d"]))


def look(world, payload, jobs):
    sizer = Sizer(world.scenes, world.plan, world.scenario.craft[0].radio)
    looking.look_at_all(
        world.scenario, world.plan, world.scenes, payload, False, reference_sides(sizer), jobs=jobs
    )  # fmt: skip


def seen(world, payload):
    """What the store holds about every shot."""
    pairs = [world.scenes.pair(row) for row in range(len(world.plan))]
    cache, clouds = VerdictCache(payload.fingerprint), NumberCache(looking.cloud_kind(payload))
    digests = [looking.pair_digest(pair) for pair in pairs]
    clouds.fetch(digests)
    verdicts = [
        cache.get(digest, schema, pair.after.id)
        for digest, pair in zip(digests, pairs, strict=True)
        for schema in world.scenario.payload.schemas
    ]
    sizer = Sizer(world.scenes, world.plan, world.scenario.craft[0].radio)
    return verdicts, [clouds[d] for d in digests], sizer.known(Action.TILE), sizer.picture_bytes_all(Action.TILE)


def test_two_processes_store_what_one_does(world, tmp_path, monkeypatch):
    monkeypatch.setattr(looking, "WORTH_WORKERS", 1)
    monkeypatch.setattr(looking, "_CHUNK", 4)
    answers = []
    for jobs in (1, 2):
        monkeypatch.setenv("FLIGHTSIM_CACHE", str(tmp_path / str(jobs)))
        look(world, Spectral(Spectral.Config()), jobs)
        answers.append(seen(world, Spectral(Spectral.Config())))
    first, second = answers
    assert first[0] == second[0]
    assert None not in first[0]
    assert first[1] == second[1]
    assert first[2].all()
    assert second[2].all()
    assert np.array_equal(first[3], second[3])


def test_a_second_look_asks_nothing(world, tmp_path, monkeypatch):
    monkeypatch.setenv("FLIGHTSIM_CACHE", str(tmp_path))
    look(world, Spectral(Spectral.Config()), 1)

    class Blind(Spectral):
        def assess_many(self, *args, **kwargs):
            raise AssertionError("asked again")

        cloud_fraction = assess_many

    look(world, Blind(Spectral.Config()), 1)


def test_a_run_is_the_same_from_a_cold_and_from_a_warm_store(tmp_path, monkeypatch):
    monkeypatch.setenv("FLIGHTSIM_CACHE", str(tmp_path / "cache"))
    scenario = fs.load_scenario("real-images", ["duration=3d"])
    cold, warm = (fs.run(scenario, out=tmp_path / name) for name in ("cold", "warm"))
    names = ("events.jsonl", "metrics.json")
    assert [(cold.folder / n).read_bytes() for n in names] == [(warm.folder / n).read_bytes() for n in names]


def test_a_payload_that_raises_is_left_to_the_flight_which_tells_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FLIGHTSIM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "eye.py").write_text(
        "from payload.spectral import Spectral\n"
        "class Eye(Spectral):\n"
        "    def assess_many(self, pairs, schemas, **more):\n"
        "        if any(pair.after.place_id == 'made-flood' for pair in pairs):\n"
        "            raise RuntimeError('cannot look at water')\n"
        "        return super().assess_many(pairs, schemas, **more)\n"
    )
    (tmp_path / "mine.yaml").write_text("extends: real-images\nduration: 10d\npayload: {use: './eye.py:Eye'}\n")
    result = fs.run(fs.load_scenario(tmp_path / "mine.yaml"), out=tmp_path / "out")
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    faults = [event for event in events if event["kind"] == "payload_failed"]
    flown = sum(place == "made-flood" for place in result.record.plan.place_id)
    assert flown > 0
    assert len(faults) == flown
    assert all("cannot look at water" in json.dumps(fault) for fault in faults)


@pytest.mark.parametrize("payload", ["perfect_eye", "confusion"])
def test_an_eye_that_answers_from_truth_flies_over_pictures_too(payload):
    settings = ["duration=1d", "targets.count=6", "spacecraft.camera.tile_px=64", f"payload.use={payload}"]
    quality = fs.run(fs.load_scenario("default", settings), write=False).metrics["quality"]["onboard"]
    assert quality["tp"] + quality["tn"] > 0.9 * (quality["fp"] + quality["fn"])
    if payload == "perfect_eye":
        assert quality["fp"] == 0
