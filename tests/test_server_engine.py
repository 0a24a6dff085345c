"""The engine that asks a model server, against a stand-in that is slow, broken, wrong or silent."""

from __future__ import annotations

import base64
import io
import json
import logging
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from flightsim.domain import SCHEMA_IDS, Tile, TilePair, VerdictStatus
from flightsim.errors import InputError
from flightsim.protocols import PayloadBackend
from payload.tasks import change
from payload.vlm.chat import event_probability, reply_of, request_body
from payload.vlm.client import Cause, Lost, Patience, document
from payload.vlm.dialects import DIALECTS, Adapter
from payload.vlm.engine import Finish, Question
from payload.vlm.lines import Lines
from payload.vlm.profile import Sampling, load_profile
from payload.vlm.server import Server, ServerEngine
from payload.vlm.server_engine import short

from . import vlm_server as stands
from .pictures import Picture
from .vlm_server import completion, fine, listing, stand_in

pytest.importorskip("httpx", reason="SKIPPED LOUDLY: the extra [server] is absent; no model server could be asked")
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PROFILE = load_profile("flightsim")
DRAWN = load_profile("lfm2.5-vl")
OBJECT = '{"direction":"increase","severity":"low","fraction_of_tile":0.02,"where":"north","box":[0.0,0.0,0.5,0.5]}'
QUICK = Patience(timeout_s=5, deadline_s=5, retries=2, backoff_s=0)


def question(seed: int = 0, text: str = "swir nir red: Flood?") -> Question:
    rng = np.random.default_rng(seed)
    before, after = (rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(2))
    return Question(before, after, text, change.answer_schema("flood_extent"))


@pytest.fixture
def server():
    with stand_in() as running:
        yield running


@pytest.fixture
def engine_of(server):
    """Makes engines for the stand-in, and closes them."""
    made = []

    def make(profile=PROFILE, patience=QUICK, **settings):
        pauses: list[float] = []
        engine = ServerEngine(server.url, profile, patience=patience, sleep=pauses.append, **settings)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


# -------------------------------------------------------------------- what is asked


def test_a_question_is_two_pictures_without_loss_and_then_the_text(server, engine_of):
    asked = question()
    engine_of().ask_many([asked])
    [body] = server.bodies
    [message] = body["messages"]
    kinds = [part["type"] for part in message["content"]]
    assert (message["role"], kinds) == ("user", ["image_url", "image_url", "text"])
    for part, picture in zip(message["content"], (asked.before, asked.after), strict=False):
        head, _, data = part["image_url"]["url"].partition(",")
        assert head == "data:image/png;base64"
        assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) == picture).all()
    assert message["content"][2]["text"] == asked.prompt
    assert body["max_tokens"] == PROFILE.max_tokens
    assert (body["n"], body["stream"], body["logprobs"]) == (1, False, True)
    assert "response_format" not in body


def test_a_grammar_is_asked_for_where_the_profile_says_so():
    body = request_body(question(), DRAWN, DIALECTS["vllm"], {"model": "x"})
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "verdict", "strict": True, "schema": change.answer_schema("flood_extent")},
    }


#: What each dialect must say for the profiles "flightsim" (greedy) and "lfm2.5-vl" (drawn).
GREEDY = {
    "llama.cpp": {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0, "seed": 0},
    "vllm": {"temperature": 0.0, "top_k": -1, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0, "seed": 0},
    "sglang": {"temperature": 0.0, "top_k": -1, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0, "seed": 0},
    "openai": {"temperature": 0.0, "top_p": 1.0, "seed": 0},
}
CHANGED = {
    "llama.cpp": {"temperature": 0.1, "min_p": 0.15, "repeat_penalty": 1.05},
    "vllm": {"temperature": 0.1, "min_p": 0.15, "repetition_penalty": 1.05},
    "sglang": {"temperature": 0.1, "min_p": 0.15, "repetition_penalty": 1.05},
}
FIXED = {"messages", "max_tokens", "n", "stream", "logprobs", "top_logprobs", "model"}


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_every_dialect_says_every_sampling_field_in_its_own_spelling(dialect):
    def said(sampling: Sampling) -> dict:
        body = request_body(question(), PROFILE.model_copy(update={"sampling": sampling}), DIALECTS[dialect], {})
        return {key: value for key, value in body.items() if key not in FIXED}

    extra = {
        "repeat_last_n": 8192, "cache_prompt": False,
        "samplers": ["penalties", "temperature", "top_k", "top_p", "min_p"],
    } if dialect == "llama.cpp" else {}  # fmt: skip
    assert said(PROFILE.sampling) == {**GREEDY[dialect], **extra}
    if dialect != "openai":
        assert said(DRAWN.sampling) == {**GREEDY[dialect], **extra, **CHANGED[dialect]}
    top = Sampling(do_sample=True, temperature=0.7, top_k=40, top_p=0.9, seed=5)
    if dialect != "openai":
        assert said(top) == {**GREEDY[dialect], **extra, "temperature": 0.7, "top_k": 40, "top_p": 0.9, "seed": 5}


def test_what_a_dialect_has_no_field_for_is_an_error_and_not_left_out():
    with pytest.raises(InputError, match=r"dialect openai cannot ask for min_p, repetition_penalty, which the profile"):
        ServerEngine("http://127.0.0.1:1", DRAWN, dialect="openai")
    with pytest.raises(InputError, match="dialect openai knows no adapters; serve the adapted model under a name"):
        ServerEngine("http://127.0.0.1:1", PROFILE, dialect="openai", adapter=Adapter("a"))
    for dialect in ("vllm", "sglang", "openai"):
        with pytest.raises(InputError, match=f"dialect {dialect} takes no adapter_scale"):
            ServerEngine("http://127.0.0.1:1", PROFILE, dialect=dialect, adapter=Adapter(scale=0.0))


@pytest.mark.parametrize(
    ("dialect", "adapter", "fields"),
    [
        ("llama.cpp", Adapter(), {"model": "tiny"}),
        ("llama.cpp", Adapter("fire.gguf"), {"model": "tiny", "lora": [{"id": 1, "scale": 1.0}]}),
        ("llama.cpp", Adapter("0", 0.5), {"model": "tiny", "lora": [{"id": 0, "scale": 0.5}]}),
        ("vllm", Adapter(), {"model": "tiny"}),
        ("vllm", Adapter("fire.gguf"), {"model": "fire.gguf"}),
        ("sglang", Adapter(), {"model": "tiny"}),
        ("sglang", Adapter("fire.gguf"), {"model": "tiny", "lora_path": "fire.gguf"}),
        ("openai", Adapter(), {"model": "tiny"}),
    ],
)
def test_each_dialect_chooses_an_adapter_in_its_own_way(server, engine_of, dialect, adapter, fields):
    parents = {"flood.gguf": "tiny", "fire.gguf": "tiny"} if dialect in ("vllm", "sglang") else {}
    server.served["/v1/models"] = (200, listing("tiny", *parents, parents=parents))
    server.served["/lora-adapters"] = (
        200, [{"id": 1, "path": "/x/fire.gguf", "scale": 1.0}, {"id": 0, "path": "/x/flood.gguf", "scale": 1.0}],
    )  # fmt: skip
    [reply] = engine_of(dialect=dialect, adapter=adapter).ask_many([question()])
    assert reply.text == "null"
    [body] = server.bodies
    assert {key: body[key] for key in ("model", "lora", "lora_path") if key in body} == fields


@pytest.mark.parametrize("dialect", ["llama.cpp", "vllm", "sglang"])
def test_an_unknown_adapter_is_told_with_those_that_there_are(server, engine_of, dialect):
    server.served["/v1/models"] = (200, listing("tiny", "fire", parents={"fire": "tiny"}))
    server.served["/lora-adapters"] = (200, [{"id": 0, "path": "/x/fire", "scale": 1.0}])
    with pytest.raises(InputError, match=r"knows no adapter 'fier'; it has fire\. Start .*"):
        engine_of(dialect=dialect, adapter=Adapter("fier")).open()


def test_a_scale_without_a_name_needs_exactly_one_adapter(server, engine_of):
    with pytest.raises(InputError, match=r"adapter_scale is 0, and the server has 0 adapters \(none\); name one"):
        engine_of(adapter=Adapter(scale=0.0)).open()
    server.served["/lora-adapters"] = (200, [{"id": 0, "path": "/x/fire", "scale": 1.0}])
    engine_of(adapter=Adapter(scale=0.0)).ask_many([question()])
    assert server.bodies[-1]["lora"] == [{"id": 0, "scale": 0.0}]


# -------------------------------------------------------------------- what counts as an answer


def told(*tops: tuple[str, float | None]) -> dict:
    first = {"token": tops[0][0], "logprob": tops[0][1]} if tops else {}
    return {"content": [{**first, "top_logprobs": [{"token": t, "logprob": p} for t, p in tops]}]}


def test_the_probability_of_an_event_is_that_of_objects_against_null():
    logs = [(f' {{"direction":"{way}"', math.log(p)) for way, p in (("increase", 0.3), ("decrease", 0.1))]
    assert event_probability(told(*logs, ("nu", math.log(0.1)), ("\n", math.log(0.4)))) == pytest.approx(0.8)
    assert event_probability(told(("null", -0.1))) == 0.0
    assert event_probability(told(('{"', -0.1))) == 1.0
    for nothing in (None, {}, {"content": None}, {"content": []}, told(("The", -0.1), ("", -3.0), ("nullify", -3.0))):
        assert event_probability(nothing) is None


@pytest.mark.parametrize("broken", [None, math.nan, math.inf, "x", True])
def test_log_probabilities_that_are_no_numbers_are_a_broken_model_and_no_answer(broken):
    logprobs = told(("null", -0.1), ("{", broken))
    found = completion("null")
    found["choices"][0]["logprobs"] = logprobs
    reply = reply_of(found)
    assert (reply.finish, reply.text) == (Finish.NUMERIC, "")
    assert "log probability is" in reply.fault


def test_a_good_answer_brings_text_end_and_tokens():
    reply = reply_of(completion("  null\n"))
    assert (reply.text, reply.finish, reply.prompt_tokens, reply.tokens) == ("  null\n", Finish.STOP, 53, 2)
    assert reply_of(completion("nul", "length")).finish is Finish.LENGTH
    # No usage, or nonsense there, changes no answer.
    for usage in (None, {}, {"prompt_tokens": -1, "completion_tokens": True}):
        reply = reply_of(completion("null", usage=usage))
        assert (reply.text, reply.prompt_tokens, reply.tokens) == ("null", 0, 0)


def _message(**fields: object) -> dict:
    found = completion()
    found["choices"][0]["message"] = fields
    return found


@pytest.mark.parametrize(
    ("found", "cause", "detail"),
    [
        ({}, Cause.CHOICES, "there are none"),
        ({"choices": None}, Cause.CHOICES, "there are none"),
        ({"choices": []}, Cause.CHOICES, "there are 0 of them"),
        ({"choices": completion()["choices"] * 2}, Cause.CHOICES, "there are 2 of them"),
        ({"choices": ["null"]}, Cause.CHOICES, "1 of them"),
        ({"choices": [{"finish_reason": "stop", "text": "null"}]}, Cause.CHOICES, "no message"),
        (completion(None), Cause.NO_CONTENT, "content is null; nothing instead"),
        (_message(role="assistant"), Cause.NO_CONTENT, "content is null"),
        (_message(content=None, refusal="no"), Cause.NO_CONTENT, "refusal instead"),
        (_message(content=[{"type": "text", "text": "null"}]), Cause.NO_CONTENT, "content is \\["),
        (completion("null", None), Cause.FINISH, "ended with 'None'"),
        (completion("null", "abort"), Cause.FINISH, "ended with 'abort'"),
        (completion("null", "tool_calls"), Cause.FINISH, "tool_calls"),
        (completion("null", "content_filter"), Cause.FINISH, "content_filter"),
    ],
)
def test_what_is_no_usable_answer_has_a_cause(found, cause, detail):
    with pytest.raises(Lost, match=detail) as caught:
        reply_of(found)
    assert caught.value.cause is cause


# -------------------------------------------------------------------- over real sockets


def answers(body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> stands.Behaviour:
    return lambda stand, asked, number: stand.answer(body, status, kind, **headers)


#: What a server does, what it is called, and how often it is asked with two retries.
FAULTS = {
    "500 always": (answers(b"{}", 500), Cause.SERVER_ERROR, 3),
    "429 always": (answers(b"", 429, Retry_After="0"), Cause.BUSY, 3),
    "reset": (stands.resets, Cause.BROKEN, 3),
    "hangs up": (stands.hangs_up, Cause.BROKEN, 3),
    "html": (answers(b"<html>Sign in</html>", kind="text/html"), Cause.HTML, 1),
    "empty body": (answers(b""), Cause.EMPTY_BODY, 1),
    "cut json": (answers(json.dumps(completion()).encode()[:-9]), Cause.NOT_JSON, 1),
    "json null": (answers(b"null"), Cause.NOT_JSON, 1),
    "json list": (answers(b"[]"), Cause.NOT_JSON, 1),
    "no content type": (answers(b"{}", kind=""), Cause.WRONG_TYPE, 1),
    "gzip": (answers(b"{}", Content_Encoding="gzip"), Cause.WRONG_TYPE, 1),
    "error object": (answers(b'{"error": {"message": "no"}}'), Cause.ERROR_OBJECT, 1),
    "moved": (answers(b"", 307, Location="http://127.0.0.1:1/"), Cause.REFUSED, 1),
    "400": (answers(b'{"error": {"message": "context"}}', 400), Cause.REFUSED, 1),
    "too large": (answers(b" " * 70_000), Cause.TOO_LARGE, 1),
    "no choice": (lambda s, b, n: s.complete(choices=[]), Cause.CHOICES, 1),
    "two choices": (lambda s, b, n: s.complete(choices=completion()["choices"] * 2), Cause.CHOICES, 1),
    "null content": (lambda s, b, n: s.complete(None), Cause.NO_CONTENT, 1),
    "aborted": (lambda s, b, n: s.complete("null", "abort"), Cause.FINISH, 1),
}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_of_the_server_is_a_counted_reply_without_text_and_never_no_event(server, engine_of, name):
    server.behave, cause, requests = FAULTS[name]
    engine = engine_of(patience=QUICK.model_copy(update={"max_body_bytes": 65_536}))
    replies = engine.ask_many([question()])
    assert [(reply.finish, reply.text) for reply in replies] == [(Finish.ERROR, "")]
    assert replies[0].fault.startswith(f"{cause}")
    assert server.questions == requests
    assert engine.counts[f"lost.{cause}"] == engine.counts["questions"] == 1
    assert engine.counts["retries"] == requests - 1
    assert engine.counts["answers"] == 0


@pytest.mark.parametrize("behave", [stands.trickles, stands.header_trickles, stands.streams, stands.silent])
def test_an_answer_that_never_ends_is_cut_at_the_deadline(server, engine_of, behave):
    server.behave = behave
    patience = Patience(timeout_s=30, deadline_s=0.3, retries=5, backoff_s=0.1)
    engine = engine_of(patience=patience)
    [reply] = engine.ask_many([question()])
    assert (reply.finish, reply.text) == (Finish.ERROR, "")
    # Silence is met by either of two watches.
    assert reply.fault.startswith("timeout: ")
    assert server.questions == 1


@pytest.mark.parametrize("behave", [stands.trickles, stands.header_trickles, stands.streams, stands.silent])
def test_a_line_that_was_cut_is_usable_again(server, behave):
    lines = Lines(server.url, Patience(concurrency=1))
    for _ in range(2):
        server.behave = behave
        with pytest.raises(Lost, match="timeout: "):
            lines("/v1/chat/completions", b"{}", 0.2)
        server.behave = None
        for _ in range(2):
            assert document(lines("/v1/chat/completions", b"{}", 60.0)) == completion()
    # Kept open after an answer, so the second cut meets a connection that was used before; made anew after a cut.
    assert len(server.ports) == 3
    lines.close()
    assert document(lines("/v1/chat/completions", b"{}", 60.0)) == completion()
    lines.close()


def test_a_silent_server_is_asked_again_while_there_is_time(server, engine_of):
    server.behave = lambda stand, body, number: (stands.silent if number < 2 else fine)(stand, body, number)
    engine = engine_of(patience=Patience(timeout_s=0.15, deadline_s=20, retries=2, backoff_s=0))
    assert [reply.text for reply in engine.ask_many([question()])] == ["null"]
    assert engine.counts["met.timeout"] == engine.counts["retries"] == 2


def test_what_fails_once_is_mended_by_asking_again(server, engine_of):
    def moody(stand, body, number):
        if number == 0:
            stand.answer(b"{}", 500)
        elif number == 1:
            stands.resets(stand, body, number)
        else:
            fine(stand, body, number)

    server.behave = moody
    engine = engine_of()
    assert [reply.text for reply in engine.ask_many([question()])] == ["null"]
    assert engine.counts == {
        "requests": 7, "retries": 2, "met.server_error": 1, "met.broken": 1, "questions": 1, "answers": 1,
    }  # fmt: skip


def test_a_slow_server_within_its_time_is_waited_for(server, engine_of):
    def slow(stand, body, number):
        stand.server.stop.wait(0.2)
        fine(stand, body, number)

    server.behave = slow
    assert engine_of().ask_many([question()])[0].text == "null"


def test_replies_stand_in_the_order_of_the_questions_whatever_order_they_come_in(server, engine_of):
    now, most, lock = [0], [0], threading.Lock()

    def later_first(stand, body, number):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        text = body["messages"][0]["content"][2]["text"]
        stand.server.stop.wait(0.03 * (3 - int(text) % 4))
        with lock:
            now[0] -= 1
        stand.complete(text)

    server.behave = later_first
    engine = engine_of(patience=QUICK.model_copy(update={"concurrency": 4}))
    assert [r.text for r in engine.ask_many([question(text=str(k)) for k in range(16)])] == [str(k) for k in range(16)]
    assert 2 <= most[0] <= 4
    # Connections are kept: no more of them than questions at a time.
    assert len(server.ports) <= 4


def test_one_lost_question_takes_no_other_with_it(server, engine_of):
    def third(stand, body, number):
        text = body["messages"][0]["content"][2]["text"]
        stand.answer(b"<html>", kind="text/html") if text == "2" else stand.complete(text)

    server.behave = third
    replies = engine_of().ask_many([question(text=str(k)) for k in range(5)])
    assert [reply.text for reply in replies] == ["0", "1", "", "3", "4"]
    assert [reply.finish is Finish.ERROR for reply in replies] == [k == 2 for k in range(5)]


def test_another_model_behind_the_same_address_is_no_answer(server, engine_of):
    server.behave = lambda stand, body, number: stand.complete(model="tiny" if number < 2 else "other")
    engine = engine_of(patience=QUICK.model_copy(update={"concurrency": 1}))
    replies = engine.ask_many([question()] * 3)
    assert [reply.finish for reply in replies] == [Finish.STOP, Finish.STOP, Finish.ERROR]
    assert replies[2].fault == "model: 'other' answered, and 'tiny' before"


@pytest.mark.parametrize("shape", [(32, 32, 4), (32, 32), (0, 32, 3), (32, 32, 1)])
def test_a_picture_of_another_kind_is_not_sent(server, engine_of, shape):
    asked = replace(question(), after=np.zeros(shape, np.uint8))
    [reply] = engine_of().ask_many([asked])
    assert reply.finish is Finish.ERROR
    assert f"picture 'after' has shape {shape} of uint8" in reply.fault
    assert server.questions == 0
    [reply] = engine_of().ask_many([replace(question(), before=np.zeros((32, 32, 3), np.uint16))])
    assert "picture 'before' has shape (32, 32, 3) of uint16" in reply.fault


def test_the_key_goes_to_the_server_and_into_no_log(server, engine_of, caplog):
    with caplog.at_level(logging.DEBUG):
        engine_of(key="s3cret").ask_many([question()])
    assert set(server.keys) == {"Bearer s3cret"}
    assert "s3cret" not in caplog.text
    engine_of().ask_many([question()])
    assert server.keys[-1] == ""


# -------------------------------------------------------------------- what is served


def test_opening_sees_whether_the_server_is_there():
    engine = ServerEngine("http://127.0.0.1:9", PROFILE, patience=QUICK, sleep=lambda s: None)
    with pytest.raises(
        InputError,
        match=r"no model server answers at http://127\.0\.0\.1:9 \(unreachable: .*refused.*\); start it, or name its "
        r"address with payload\.with\.base_url\. docs/server\.md has the lines",
    ):
        engine.open()
    engine.close()


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/health", (503, {"error": {"message": "Loading"}}), "is there but not ready .*503, Loading.*; wait"),
        ("/health", (404, {}), "does not answer as a llama.cpp server .*status 404.*; check payload.with.base_url and"),
        ("/v1/models", (401, {"error": "who are you"}), "wants a key .*; name the environment variable"),
        ("/v1/models", (200, {}), "/v1/models lists no models"),
        ("/v1/models", (200, {"data": [{}]}), "/v1/models lists no models"),
        ("/v1/models", (200, {"data": []}), r"serves 0 models \(none\); name one with payload.with.model"),
        ("/v1/models", (200, listing("a", "b")), r"serves 2 models \(a, b\); name one with payload.with.model"),
        ("/props", (200, {"modalities": {"vision": False}}), "takes no pictures; start llama-server with --mmproj"),
    ],
)  # fmt: skip
def test_a_server_that_is_not_what_is_wanted_is_told(server, engine_of, path, answer, message):
    server.served[path] = answer
    with pytest.raises(InputError, match=message):
        engine_of().open()


def test_html_at_the_address_is_told(server, engine_of):
    server.served["/v1/models"] = lambda stand, body, number: stand.answer(b"<html>", kind="text/html")
    with pytest.raises(InputError, match=r"does not answer as a llama.cpp server .*a page for people"):
        engine_of().open()


def test_a_model_that_is_not_served_is_told_with_the_nearest(server, engine_of):
    server.served["/v1/models"] = (200, listing("/models/lfm-450m.gguf", "other"))
    with pytest.raises(InputError, match=r"model is 'lfm-450'; http.* serves .*other\. Did you mean 'lfm-450m.gguf'"):
        engine_of(model="lfm-450").open()
    # The last part of a path is enough.
    engine = engine_of(model="lfm-450m.gguf")
    engine.ask_many([question()])
    assert server.bodies[-1]["model"] == "/models/lfm-450m.gguf"
    assert engine.name == "llama.cpp lfm-450m.gguf"


@pytest.mark.parametrize(
    ("name", "told"),
    [("LiquidAI/LFM2.5-VL-450M", "LiquidAI/LFM2.5-VL-450M"), ("/x/y.gguf", "y.gguf"), ("C:\\x\\y.gguf", "y.gguf"),
     ("./y.gguf", "y.gguf"), ("tiny", "tiny")],
)  # fmt: skip
def test_a_served_path_is_called_by_its_last_part(name, told):
    assert short(name) == told


def test_the_fingerprint_changes_with_all_that_is_told_and_with_nothing_else(server, engine_of):
    def fingerprint(profile=PROFILE, **settings) -> str:
        return engine_of(profile, **settings).fingerprint

    first = fingerprint()
    server.served["/v1/models"] = (200, listing("tiny"))  # another time of creation
    server.served["/props"][1]["is_sleeping"] = True
    assert fingerprint() == first
    assert fingerprint(patience=Patience(retries=0), key="k") == first
    seen = {first, fingerprint(PROFILE.model_copy(update={"constraint": "json_schema"}))}
    with stand_in() as other:
        elsewhere = ServerEngine(other.url, PROFILE)
        assert elsewhere.fingerprint == first  # the address counts for nothing
        elsewhere.close()
    server.served["/lora-adapters"] = (200, [{"id": 0, "path": "/x/a", "scale": 1.0}])
    seen |= {fingerprint(), fingerprint(adapter=Adapter("a")), fingerprint(adapter=Adapter("a", 0.0))}
    server.served["/lora-adapters"] = (200, [{"id": 0, "path": "/y/a", "scale": 1.0}])
    seen |= {fingerprint(), fingerprint(adapter=Adapter("a"))}
    server.served["/props"] = (200, {"model_path": "larger.gguf"})
    seen.add(fingerprint())
    server.served["/v1/models"] = (200, listing("other"))
    seen |= {fingerprint(), fingerprint(dialect="vllm"), fingerprint(dialect="sglang"), fingerprint(dialect="openai")}
    assert len(seen) == 12


@pytest.mark.parametrize("dialect", ["vllm", "sglang"])
def test_a_server_that_tells_nothing_of_itself_is_asked_all_the_same(server, engine_of, dialect):
    del server.served["/props"], server.served["/lora-adapters"]
    engine = engine_of(dialect=dialect)
    assert engine.ask_many([question()])[0].text == "null"
    assert engine.name == f"{dialect} tiny"


# -------------------------------------------------------------------- the payload


def pair(seed: int = 0) -> TilePair:
    rng = np.random.default_rng(seed)
    bands = ("B04", "B03", "B02", "B08", "B11", "B12")
    land = rng.integers(800, 2400, (6, 32, 32))
    images = [Picture((land + rng.integers(0, 40, land.shape)).astype(np.uint16), bands) for _ in range(2)]
    before, after = (
        Tile(f"t{seed}/{k}", f"p{seed}", 1e5 * k, 46.0, 7.0, 10.0, (32, 32), bands, None, image)
        for k, image in enumerate(images)
    )
    return TilePair(before, after)


@pytest.fixture
def payload_of(server, tmp_path):
    made = []

    def make(**settings):
        given = {
            "base_url": server.url,
            "profile": "flightsim",
            "timeout_s": 5,
            "retries": 1,
            "backoff_s": 0,
            **settings,
        }
        payload = Server(Server.Config(**given), tmp_path)
        made.append(payload)
        return payload

    yield make
    for payload in made:
        payload.close()


#: What comes back, what the verdict is, and how its reason begins.
ANSWERED = {
    "null": (lambda s, b, n: s.complete("null"), VerdictStatus.NULL, ""),
    "event": (lambda s, b, n: s.complete(OBJECT), VerdictStatus.EVENT, ""),
    "fenced": (lambda s, b, n: s.complete(f"```json\n{OBJECT}\n```"), VerdictStatus.INVALID, "not_json: "),
    "no event in words": (lambda s, b, n: s.complete("No event."), VerdictStatus.INVALID, "not_json: "),
    "empty": (lambda s, b, n: s.complete(""), VerdictStatus.INVALID, "empty: "),
    "cut": (lambda s, b, n: s.complete(OBJECT[:30], "length"), VerdictStatus.INVALID, "truncated: "),
    "cut but whole": (lambda s, b, n: s.complete("null", "length"), VerdictStatus.INVALID, "truncated: "),
    "other fields": (lambda s, b, n: s.complete('{"flood": true}'), VerdictStatus.INVALID, "schema: "),
    "json null": (lambda s, b, n: s.complete(None), VerdictStatus.INVALID, "engine: no_content: content is null"),
    "500": (answers(b"{}", 500), VerdictStatus.INVALID, "engine: server_error: status 500"),
    "html": (answers(b"<html>", kind="text/html"), VerdictStatus.INVALID, "engine: html: "),
    "nan": (
        lambda s, b, n: s.complete(choices=[{**completion()["choices"][0], "logprobs": told(("null", None))}]),
        VerdictStatus.INVALID, "numeric: a token's log probability is null",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ANSWERED))
def test_a_verdict_is_made_of_an_answer_only(server, payload_of, name):
    server.behave, status, reason = ANSWERED[name]
    payload = payload_of()
    assert isinstance(payload, PayloadBackend)
    [verdict] = payload.assess_many([pair()], ["flood_extent"])
    assert verdict.status is status, verdict.reason
    assert verdict.reason.startswith(reason)
    assert bool(verdict.reason) is (status is VerdictStatus.INVALID)
    assert verdict.produced_by.startswith("server llama.cpp tiny ")
    assert verdict.produced_by.endswith(" flightsim")


def test_a_confidence_is_the_first_tokens_probability(server, payload_of):
    logprobs = told(("null", math.log(0.6)), ('{"', math.log(0.2)))
    server.behave = lambda s, b, n: s.complete(choices=[{**completion()["choices"][0], "logprobs": logprobs}])
    [verdict] = payload_of().assess_many([pair()], ["flood_extent"])
    assert verdict.confidence == 0.75


def test_the_answers_come_back_pair_by_pair_and_schema_by_schema(server, payload_of):
    server.behave = lambda s, b, n: s.complete(OBJECT if "lood" in b["messages"][0]["content"][2]["text"] else "null")
    verdicts = payload_of(concurrency=8).assess_many([pair(k) for k in range(4)], SCHEMA_IDS)
    assert [v.tile_id for v in verdicts] == [f"t{k}/1" for k in range(4) for _ in SCHEMA_IDS]
    assert [v.schema_id for v in verdicts] == list(SCHEMA_IDS) * 4
    assert {v.schema_id for v in verdicts if v.status is VerdictStatus.EVENT} == {"flood_extent"}


def test_a_server_that_dies_midway_leaves_counted_faults_and_the_run_goes_on(server, payload_of):
    payload = payload_of(concurrency=1)
    assert payload.assess_many([pair()], ["flood_extent"])[0].status is VerdictStatus.NULL
    server.behave = stands.resets
    server.served["/health"] = stands.resets
    verdicts = payload.assess_many([pair(k) for k in range(5)], ["flood_extent"])
    assert [v.status for v in verdicts] == [VerdictStatus.INVALID] * 5
    assert all(v.reason.startswith("engine: broken: ") for v in verdicts)
    # The first of them had its retry; then it was only seen whether the server is back.
    assert server.questions == 1 + 2
    assert payload.engine.counts["lost.broken"] == 5
    server.behave, server.served["/health"] = None, (200, {})
    assert payload.assess_many([pair()], ["flood_extent"])[0].status is VerdictStatus.NULL


def test_the_payload_says_that_weights_are_not_verified(payload_of):
    payload = payload_of(constraint="json_schema")
    payload.open()
    assert payload.owner.startswith("llama.cpp tiny as served (weights not verified; what the server says of itself: ")
    assert payload.owner.endswith("; profile flightsim, under a grammar)")
    assert payload.model_name == "tiny"
    assert payload.fingerprint.startswith("server/")


def test_settings_of_patience_change_no_fingerprint_and_the_adapter_does(server, payload_of):
    server.served["/lora-adapters"] = (200, [{"id": 0, "path": "/x/a", "scale": 1.0}])
    first = payload_of().fingerprint
    assert payload_of(concurrency=9, retries=0, base_url=f"{server.url}/v1").fingerprint == first
    assert payload_of(adapter=0, adapter_scale=0).fingerprint != first
    assert payload_of(profile="liquid-space").fingerprint != first


def test_rates_are_those_of_the_file_that_is_declared_or_nobodys(payload_of, tmp_path):
    with pytest.raises(InputError, match=r"payload 'server' has no rates for schema 'flood_extent'.*perceive SCENARIO"):
        payload_of().rates("flood_extent")
    facts = {"decoding": "flightsim", "rates": {"flood_extent": {"tpr": 0.9, "fpr": 0.01}}, "seconds_per_question": 2}
    (tmp_path / "profile.json").write_text(json.dumps(facts))
    payload = payload_of(profile=None, declared="profile.json")
    assert payload.rates("flood_extent") == (0.9, 0.01)
    assert payload.seconds_per_question == 2
    assert payload.profile.name == "flightsim"
    for text, message in (("[]", "holds no JSON object"), ("{", "is no JSON")):
        (tmp_path / "profile.json").write_text(text)
        with pytest.raises(InputError, match=f"payload.with.declared 'profile.json' {message}"):
            payload_of(declared="profile.json").facts()
    with pytest.raises(InputError, match=r"payload.with.declared 'gone.json' cannot be read: No such file"):
        payload_of(declared="gone.json").facts()


def test_a_payload_without_a_profile_is_told_so(payload_of):
    with pytest.raises(InputError, match=r"names no decoding profile; choose one with payload.with.profile"):
        payload_of(profile=None).open()


def test_a_key_comes_from_the_environment_only(server, payload_of, monkeypatch):
    monkeypatch.delenv("MODEL_KEY", raising=False)
    with pytest.raises(InputError, match="api_key_env is 'MODEL_KEY', and this environment variable is empty; set it"):
        payload_of(api_key_env="MODEL_KEY").open()
    monkeypatch.setenv("MODEL_KEY", "bad\tkey")
    with pytest.raises(InputError, match="the key in environment variable 'MODEL_KEY' holds characters") as caught:
        payload_of(api_key_env="MODEL_KEY").open()
    assert "bad" not in str(caught.value)
    monkeypatch.setenv("MODEL_KEY", " s3cret\n")
    payload = payload_of(api_key_env="MODEL_KEY")
    payload.assess_many([pair()], ["flood_extent"])
    assert server.keys == ["Bearer s3cret"]
    assert "s3cret" not in repr(payload._config) + payload.fingerprint + payload.owner
    with pytest.raises(ValueError, match="api_key_env"):
        payload_of(api_key_env="sk-not a name")


def test_a_wrong_address_is_a_fault_of_the_settings(payload_of):
    with pytest.raises(ValueError, match="write http://host:port"):
        payload_of(base_url="localhost:8080")
