"""How a model server is asked: what counts as a document, retries, deadlines and order, without any network."""

from __future__ import annotations

import json
import threading

import pytest

from flightsim.errors import InputError
from payload.vlm.client import RETRIED, Cause, Client, Lost, Patience, Raw, document, in_order
from payload.vlm.lines import root_of

from .vlm_server import completion

JSON = {"content-type": "application/json; charset=utf-8"}


@pytest.mark.parametrize(
    ("raw", "cause", "detail"),
    [
        (Raw(200, JSON, b""), Cause.EMPTY_BODY, "status 200 and nothing else"),
        (Raw(200, {}, b" \n"), Cause.EMPTY_BODY, ""),
        (Raw(200, JSON, b"<!DOCTYPE html>"), Cause.HTML, "is this the address of a model server"),
        (Raw(200, {"content-type": "text/html"}, b"{}"), Cause.HTML, ""),
        (Raw(200, {"content-type": "text/plain"}, b"{}"), Cause.WRONG_TYPE, "'text/plain', not application/json"),
        (Raw(200, {}, b"{}"), Cause.WRONG_TYPE, ""),
        (Raw(200, {"content-type": "text/event-stream"}, b"data: {}"), Cause.WRONG_TYPE, "event-stream"),
        (Raw(200, {**JSON, "content-encoding": "gzip"}, b"{}"), Cause.WRONG_TYPE, "encoded as gzip"),
        (Raw(200, JSON, b'{"choices": ['), Cause.NOT_JSON, ""),
        (Raw(200, JSON, b"\xff\xfe"), Cause.NOT_JSON, ""),
        (Raw(200, JSON, b"[" * 100_000), Cause.NOT_JSON, "recursion"),
        (Raw(200, JSON, b'{"error": {"message": "out of memory"}}'), Cause.ERROR_OBJECT, "out of memory"),
        (Raw(200, JSON, b'{"object": "error", "message": "no such LoRA"}'), Cause.ERROR_OBJECT, "no such LoRA"),
        (Raw(302, {"location": "http://elsewhere"}, b""), Cause.REFUSED, "sends us to http://elsewhere"),
        (Raw(204, {}, b""), Cause.REFUSED, "status 204"),
        (Raw(400, JSON, b'{"error": {"message": "too long"}}'), Cause.REFUSED, "status 400, too long"),
        (Raw(404, JSON, b'{"detail": "Not Found"}'), Cause.REFUSED, "status 404, Not Found"),
        (Raw(404, {"content-type": "text/html"}, b"<html>"), Cause.REFUSED, "status 404$"),
        (Raw(408, {}, b""), Cause.BUSY, "status 408"),
        (Raw(429, {"retry-after": "7"}, b""), Cause.BUSY, "status 429"),
        (Raw(500, JSON, b'{"error": "slot failed"}'), Cause.SERVER_ERROR, "status 500, slot failed"),
        (Raw(502, {"content-type": "text/html"}, b"<html>"), Cause.SERVER_ERROR, "status 502$"),
    ],
)
def test_what_is_no_document_has_a_cause(raw, cause, detail):
    with pytest.raises(Lost, match=detail or None) as caught:
        document(raw)
    assert caught.value.cause is cause
    assert caught.value.retry_after_s == (7.0 if raw.status == 429 else 0.0)


def test_every_cause_reads_as_a_word_and_its_detail():
    for cause in Cause:
        assert str(Lost(cause)) == cause.value
        assert str(Lost(cause, "so")) == f"{cause.value}: so"


# -------------------------------------------------------------------- patience, without a network


class World:
    """A transport, a clock and a sleep that agree about the time."""

    def __init__(self, *answers: Raw | Lost, takes_s: float = 0.0) -> None:
        self.answers, self.takes_s, self.now_s = list(answers), takes_s, 0.0
        self.asked: list[tuple[str, float]] = []
        self.pauses: list[float] = []

    def __call__(self, path: str, body: bytes | None, limit_s: float) -> Raw:
        self.asked.append((path, limit_s))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.now_s += min(self.takes_s, limit_s)
        if isinstance(answer, Lost):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    def client(self, secret: str = "", **patience: float) -> Client:
        return Client(self, Patience(**patience), secret=secret, clock=lambda: self.now_s, sleep=self.sleep)


GOOD = Raw(200, JSON, json.dumps(completion()).encode())


@pytest.mark.parametrize("cause", sorted(Cause))
def test_what_may_pass_is_asked_again_with_growing_pauses_and_nothing_else(cause):
    world = World(Lost(cause), Lost(cause), Lost(cause), GOOD)
    client = world.client(retries=3, backoff_s=1, backoff_limit_s=3)
    if cause in RETRIED:
        assert client.post("/x", {}) == completion()
        assert world.pauses == [1.0, 2.0, 3.0]
        assert client.counts == {"requests": 4, "retries": 3, f"met.{cause}": 3}
    else:
        with pytest.raises(Lost):
            client.post("/x", {})
        assert client.counts == {"requests": 1, f"met.{cause}": 1}


def test_the_number_of_retries_is_bounded():
    world = World(Lost(Cause.SERVER_ERROR, "status 503"))
    client = world.client(retries=2)
    for k in range(1, 4):
        with pytest.raises(Lost, match="server_error: status 503"):
            client.post("/x", {})
        assert client.counts == {"requests": 3 * k, "retries": 2 * k, "met.server_error": 3 * k}


def test_a_server_that_asks_for_a_pause_gets_it_as_far_as_the_deadline_allows():
    busy = Lost(Cause.BUSY, "status 429", 429, 7.0)
    world = World(busy, GOOD)
    assert world.client(deadline_s=10).post("/x", {}) == completion()
    assert world.pauses == [7.0]
    world = World(busy, GOOD)
    with pytest.raises(Lost, match="busy: status 429"):
        world.client(deadline_s=5).post("/x", {})
    assert world.pauses == []


def test_a_question_ends_at_its_deadline_with_all_its_retries():
    world = World(Lost(Cause.TIMEOUT, "silent"), takes_s=4.0)
    with pytest.raises(Lost, match="timeout: silent"):
        world.client(deadline_s=10, retries=20, backoff_s=1).post("/x", {})
    # 4 s, a pause of 1 s, 4 s more; a pause of 2 s would reach beyond the end.
    assert [limit for _, limit in world.asked] == [10.0, 5.0]
    assert world.now_s <= 10.0


def test_a_server_that_has_fallen_silent_costs_patience_once():
    world = World(Lost(Cause.UNREACHABLE, "refused"))
    client = world.client(retries=3, backoff_s=1, connect_timeout_s=2)
    for _ in range(3):
        with pytest.raises(Lost, match="unreachable: refused"):
            client.post("/x", {})
    assert world.asked[4:] == [("/health", 2.0)] * 2
    assert len(world.pauses) == 3
    # Once it answers again, all is as before.
    world.answers = [GOOD]
    assert client.post("/x", {}) == completion()
    world.answers = [Lost(Cause.BUSY), GOOD]
    assert client.post("/x", {}) == completion()
    assert len(world.pauses) == 4


def test_a_question_whose_time_is_spent_on_seeing_whether_the_server_is_back_is_not_asked():
    world = World(Lost(Cause.UNREACHABLE), takes_s=3.0)
    client = world.client(deadline_s=2, connect_timeout_s=5, retries=0)
    with pytest.raises(Lost):
        client.post("/x", {})
    world.answers = [GOOD]
    with pytest.raises(Lost, match="timeout: the deadline passed before it could be asked"):
        client.post("/x", {})
    assert world.asked[1:] == [("/health", 2.0)]


def test_the_key_is_in_no_message_though_the_server_repeats_it():
    said = json.dumps({"error": {"message": "Incorrect API key provided: s3cret-key. " + "x" * 500}}).encode()
    world = World(Raw(401, JSON, said))
    with pytest.raises(Lost) as caught:
        world.client(secret="s3cret-key").post("/x", {})
    assert "provided: ***." in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_results_stand_in_the_order_of_the_items_and_no_more_run_at_a_time():
    now, most, lock = [0], [0], threading.Lock()
    gate = threading.Barrier(3)

    def work(item: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        gate.wait(5)  # three are in here together, or this breaks
        with lock:
            now[0] -= 1
        return -item

    assert in_order(work, range(12), 3) == [-k for k in range(12)]
    assert most[0] == 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("questions")]


def test_an_error_of_ours_is_not_swallowed_by_the_threads():
    with pytest.raises(ZeroDivisionError):
        in_order(lambda item: 1 // item, [1, 0, 1], 2)


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("https://host/v1", "https://host"),
        ("https://host/api/v1/", "https://host/api"),
    ],
)
def test_an_address_is_read_with_and_without_its_version(given, root):
    assert root_of(given) == root


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://x?y=1", "http://x:99999", "http://[x"])
def test_an_address_that_is_none_is_told(url):
    with pytest.raises(InputError, match=r"base_url is '.*'; write http://host:port or https://host"):
        root_of(url)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(InputError, match="base_url holds a user or password") as caught:
        root_of("http://me:hunter2@host")
    assert "hunter2" not in str(caught.value)
