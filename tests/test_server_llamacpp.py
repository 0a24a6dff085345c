"""The engine that asks a server against llama.cpp's real one, and against the same weights in this process."""

from __future__ import annotations

import urllib.request

import numpy as np
import pytest

from flightsim.domain import SCHEMA_IDS
from flightsim.errors import InputError
from payload.tasks import change
from payload.vlm.client import Patience
from payload.vlm.dialects import Adapter
from payload.vlm.engine import Finish, Question
from payload.vlm.llamacpp import LlamaCpp
from payload.vlm.profile import Sampling, load_profile
from payload.vlm.server_engine import ServerEngine
from payload.vlm.weights import open_weights

from .llama_server import running

for package, extra in (("httpx", "[server]"), ("xllamacpp", "the core")):
    pytest.importorskip(
        package, reason=f"SKIPPED LOUDLY: {package} of {extra} is absent; no real llama.cpp server was asked"
    )
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PROFILE = load_profile("flightsim")
GRAMMAR = PROFILE.model_copy(update={"constraint": "json_schema"})
ON, OFF = Adapter("0", 1.0), Adapter("0", 0.0)
PATIENCE = Patience(concurrency=2, timeout_s=30, deadline_s=60)


@pytest.fixture(scope="module")
def address(tiny_folder):
    with running(tiny_folder) as url:
        yield url


@pytest.fixture
def engine_of(address):
    made = []

    def make(profile=PROFILE, adapter=ON, patience=PATIENCE, **settings):
        made.append(ServerEngine(address, profile, adapter=adapter, patience=patience, **settings))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def questions(count: int, seed: int = 7) -> list[Question]:
    """Made-up pairs of smooth land with a block that changes, each with another schema."""
    rng = np.random.default_rng(seed)
    asked = []
    for k in range(count):
        coarse = rng.integers(0, 256, (8, 8, 3))
        before = np.repeat(np.repeat(coarse, 16, axis=0), 16, axis=1).astype(np.uint8)
        after = before.copy()
        row, col = rng.integers(0, 96, 2)
        after[row : row + 32, col : col + 32] = rng.integers(0, 256, 3)
        schema = SCHEMA_IDS[k % len(SCHEMA_IDS)]
        text = change.prompt(schema, PROFILE.prompt, "swir nir red")
        asked.append(Question(before, after, text, change.answer_schema(schema)))
    return asked


def told(replies) -> list[tuple[str, str]]:
    return [(reply.text, str(reply.finish)) for reply in replies]


@pytest.mark.parametrize("profile", [PROFILE, GRAMMAR], ids=["free", "grammar"])
def test_a_served_model_answers_as_the_same_weights_do_in_this_process(engine_of, tiny_folder, profile, monkeypatch):
    # To the bit: the same llama.cpp with the server's own parser, one question at a time, each prompt in one piece. In
    # the pieces that the engine makes of it, products in float16 are summed in another order: the same texts.
    settings_of = LlamaCpp._settings

    def as_served(engine, xllamacpp):
        settings = settings_of(engine, xllamacpp)
        settings.force_pure_content_parser = False
        return settings

    asked, answers = questions(28), []
    for whole in (False, True):
        if whole:
            monkeypatch.setattr(LlamaCpp, "_settings", as_served)
        inside = LlamaCpp(open_weights(tiny_folder, None, "llamacpp"), profile)
        inside.open()
        inside._filler = None if whole else inside._filler
        try:
            # What a prompt has in common with the one before is not computed again: the first is the same everywhere.
            answers.append(inside.ask_many([asked[-1], *asked])[1:])
        finally:
            inside.close()
    in_pieces, wanted = answers
    assert told(in_pieces) == told(wanted)
    found = engine_of(profile).ask_many([asked[-1], *asked])[1:]
    assert told(found) == told(wanted)
    assert {reply.finish for reply in found} <= {Finish.STOP, Finish.LENGTH}
    assert len({reply.text for reply in found}) > 5  # else equal answers would tell little
    assert [reply.tokens for reply in found] == [reply.tokens for reply in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        if theirs.event_probability is not None:
            assert ours.event_probability == pytest.approx(theirs.event_probability, abs=1e-6)


def test_the_adapter_is_switched_with_each_question_on_a_running_server(engine_of):
    asked = questions(14)
    on, off = engine_of(adapter=ON), engine_of(adapter=OFF)
    first = on.ask_many(asked)
    without = off.ask_many(asked)
    assert told(first) != told(without)
    assert told(on.ask_many(asked)) == told(first)
    # Questions of both kinds side by side disturb each other in nothing.
    mixed = [(on if k % 2 else off).ask_many([question])[0] for k, question in enumerate(asked)]
    assert told(mixed) == told([(first if k % 2 else without)[k] for k in range(len(asked))])
    assert len({on.fingerprint, off.fingerprint}) == 2


def test_questions_that_wait_for_a_slot_are_answered_as_if_alone_and_in_order(engine_of):
    asked = questions(14)
    alone = engine_of(patience=PATIENCE.model_copy(update={"concurrency": 1})).ask_many(asked)
    crowd = engine_of(patience=PATIENCE.model_copy(update={"concurrency": 8}))
    assert crowd.ask_many(asked) == alone
    assert crowd.ask_many(asked[::-1]) == alone[::-1]


def test_a_server_with_two_slots_mixes_no_questions_though_near_ties_may_fall_otherwise(tiny_folder, engine_of):
    asked = questions(28)
    alone = engine_of().ask_many(asked)
    with running(tiny_folder, parallel=2) as url:
        engine = ServerEngine(url, PROFILE, adapter=ON, patience=PATIENCE)
        together = engine.ask_many(asked)
        engine.close()
    # Two questions computed together round otherwise than one: 26 of 28 answers of random weights were equal.
    same = sum(first.text == second.text for first, second in zip(together, alone, strict=True))
    assert same >= 20
    # A question that got another's answer would show here: the first token's probability hangs on the pictures.
    for ours, theirs in zip(together, alone, strict=True):
        if ours.event_probability is not None and theirs.event_probability is not None:
            assert ours.event_probability == pytest.approx(theirs.event_probability, abs=0.02)


def test_a_grammar_makes_every_whole_answer_one_of_the_schema(engine_of):
    for question, reply in zip(questions(14), engine_of(GRAMMAR).ask_many(questions(14)), strict=True):
        if reply.finish is Finish.STOP:
            schema = next(s for s in SCHEMA_IDS if change.answer_schema(s) == question.schema)
            answer = change.parse(reply.text, schema)
            assert answer.status != "invalid" or answer.reason.startswith("schema: box"), answer.reason


def test_every_sampling_field_is_taken(engine_of):
    sampling = Sampling(do_sample=True, temperature=0.7, min_p=0.1, top_p=0.9, top_k=30, repetition_penalty=1.1, seed=3)
    drawn = PROFILE.model_copy(update={"sampling": sampling})
    first = engine_of(drawn).ask_many(questions(7))
    assert {reply.fault for reply in first} == {""}
    # The same seed draws the same.
    assert told(engine_of(drawn).ask_many(questions(7))) == told(first)


def test_the_server_tells_its_model_and_adapter(engine_of, address):
    engine = engine_of()
    assert engine.name == "llama.cpp flightsim-tiny with 0 at 1"
    assert engine.model == "flightsim-tiny"
    assert engine.counts["requests"] == 4  # health, models, props, adapters: no question
    [reply] = engine.ask_many(questions(1))
    assert reply.prompt_tokens > 2 * PROFILE.image_tokens[0]
    assert reply.tokens >= 1
    with pytest.raises(InputError, match=r"knows no adapter 'fire'; it has adapter-.*\.gguf\. Start llama-server with"):
        engine_of(adapter=Adapter("fire")).open()
    with pytest.raises(InputError, match=r"payload.with.model is 'other'; .* serves flightsim-tiny"):
        engine_of(model="other").open()


def test_a_prompt_that_does_not_fit_is_a_fault_in_the_servers_words(engine_of):
    long = questions(1)[0]
    [reply] = engine_of().ask_many([Question(long.before, long.after, "flood " * 3000, long.schema)])
    assert (reply.finish, reply.text) == (Finish.ERROR, "")
    assert reply.fault.startswith("refused: status 400, ")
    assert "context" in reply.fault


def test_a_server_that_is_killed_midway_leaves_faults_and_no_answers(tiny_folder):
    with running(tiny_folder) as url:
        engine = ServerEngine(url, PROFILE, patience=Patience(retries=1, backoff_s=0.01, concurrency=2))
        assert engine.ask_many(questions(2))[0].finish is not Finish.ERROR
        urllib.request.urlopen(f"{url}/health", timeout=5).close()
    replies = engine.ask_many(questions(6))
    assert {(reply.finish, reply.text) for reply in replies} == {(Finish.ERROR, "")}
    assert all(reply.fault.startswith(("unreachable: ", "broken: ")) for reply in replies)
    assert sum(count for name, count in engine.counts.items() if name.startswith("lost.")) == 6
    engine.close()
