"""The SimSat client and scene source against a stand-in server that is slow, broken, wrong or silent."""

from __future__ import annotations

import json
import math
import pickle
import socket
import struct
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import flightsim as fs
from flightsim.domain import SCHEMA_IDS, Plan, VerdictStatus
from flightsim.errors import InputError, RunError
from flightsim.protocols import SceneSource
from flightsim.scenario.models import Camera, Targets
from flightsim.scenes.place_labels import read_labels
from flightsim.scenes.regrid import area_mean, overlaps
from flightsim.scenes.simsat import SimSat
from flightsim.scenes.simsat_answers import BAND_NAMES, Cause, Lost, Reply, Request, taken_apart
from flightsim.scenes.simsat_client import Client, Http

from .simsat_server import array_body, fine, metadata, png_body, scene, stand_in
from .test_archive import blocks

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

START = datetime(2026, 6, 10, tzinfo=UTC)
REQUEST = Request(46.5, 7.25, START, 0.32, 864000, ("B04", "B03", "B08"))
QUERY = {
    "lat": ["46.500000"], "lon": ["7.250000"], "timestamp": ["2026-06-10T00:00:00Z"], "size_km": ["0.32"],
    "spectral_bands": ["red", "green", "nir"],
}  # fmt: skip
GOOD = scene(QUERY)


@pytest.fixture
def server():
    with stand_in() as running:
        yield running


def client_of(server, folder: Path, timeout_s: float = 20.0, **settings: object) -> tuple[Client, list[float]]:
    """A client that notes its pauses instead of making them."""
    pauses: list[float] = []
    http = Http(server.url, 5.0, timeout_s, 2**20)
    return Client(server.url, http, folder, sleep=pauses.append, **settings), pauses


def reply(body: bytes, status: int = 200, **headers: str) -> Reply:
    return Reply(status, headers, body)


def cause_of(request: Request, answer: Reply) -> Cause:
    with pytest.raises(Lost) as caught:
        taken_apart(request, answer)
    return caught.value.cause


# -------------------------------------------------------------------- what is asked, what is taken apart


def test_a_request_repeats_the_band_parameter_and_names_all_else(server, tmp_path):
    client, _ = client_of(server, tmp_path)
    outcome = client.get(REQUEST)
    assert (outcome.answer.samples == GOOD).all()
    assert server.paths == [
        "/data/image/sentinel?spectral_bands=red&spectral_bands=green&spectral_bands=nir&lon=7.250000&lat=46.500000"
        "&timestamp=2026-06-10T00%3A00%3A00Z&size_km=0.32&window_seconds=864000&return_type=array"
    ]


def test_a_png_brings_its_metadata_in_the_header(server, tmp_path):
    request = Request(46.5, 7.25, START, 0.32, 864000, ("B04", "B03", "B02"), "png")
    answer = client_of(server, tmp_path)[0].get(request).answer
    wanted = np.clip(scene({**QUERY, "spectral_bands": ["red", "green", "blue"]}) / 3000 * 255, 0, 255).astype(np.uint8)
    assert (answer.samples == wanted).all()
    assert answer.metadata["source"] == "sentinel-2a"
    # Some proxies drop headers with an underscore: the picture stays, and that nothing could be checked is counted.
    assert taken_apart(request, reply(png_body(GOOD))).counts == {"no_metadata": 1}


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
def test_samples_of_any_type_become_digital_numbers(dtype):
    samples = GOOD.astype(dtype)
    samples[:, 0, 0] = np.nan if samples.dtype.kind == "f" else 0
    found = taken_apart(REQUEST, reply(array_body(QUERY, samples))).samples
    assert found.dtype == np.uint16
    assert (found[:, 1:] == GOOD[:, 1:]).all()
    assert (found[:, 0, 0] == 0).all()


def _changed(**changes: object) -> bytes:
    document = json.loads(array_body(QUERY, GOOD))
    document["image"].update(changes)
    return json.dumps(document).encode()


BLACK = np.zeros_like(GOOD)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (reply(b"", 500), Cause.SERVER_ERROR),
        (reply(b"not found", 404), Cause.REFUSED),
        (reply(b"", 302, location="http://elsewhere"), Cause.REFUSED),
        (reply(b""), Cause.NO_IMAGE),
        (reply(b"  \n"), Cause.NO_IMAGE),
        (reply(b"<!DOCTYPE html><title>Bad gateway</title>"), Cause.HTML),
        (reply(b"{}", **{"content-type": "text/html"}), Cause.HTML),
        (reply(array_body(QUERY, GOOD)[:-50]), Cause.BROKEN),
        (reply(b"[" * 100_000), Cause.BROKEN),
        (reply(b"{}"), Cause.BROKEN),
        (reply(b'{"image": null, "sentinel_metadata": {"image_available": false}}'), Cause.NO_IMAGE),
        (reply(array_body(QUERY, GOOD, metadata(QUERY, image_available=False))), Cause.NO_IMAGE),
        (reply(_changed(image="@@@")), Cause.BROKEN),
        (reply(_changed(image=None)), Cause.BROKEN),
        (reply(_changed(image="AAAA")), Cause.BROKEN),
        (reply(array_body(QUERY, GOOD, dtype="object")), Cause.WRONG_SAMPLES),
        (reply(array_body(QUERY, (GOOD / 10000).astype("float32"))), Cause.WRONG_SAMPLES),
        (reply(array_body(QUERY, GOOD, shape=[3, 32])), Cause.WRONG_SHAPE),
        (reply(array_body(QUERY, GOOD, shape=[3, -32, -32])), Cause.WRONG_SHAPE),
        (reply(array_body(QUERY, scene(QUERY, 32, 64))), Cause.WRONG_SHAPE),
        (reply(array_body(QUERY, GOOD[:2])), Cause.WRONG_BANDS),
        (reply(array_body(QUERY, GOOD, bands=["red", "green", "swir22"])), Cause.WRONG_BANDS),
        (reply(array_body(QUERY, GOOD, metadata(QUERY, footprint=[10.0, 46.0, 11.0, 47.0]))), Cause.WRONG_PLACE),
        (reply(array_body(QUERY, GOOD, metadata(QUERY, datetime="2026-06-10T01:00:00Z"))), Cause.WRONG_TIME),
        (reply(array_body(QUERY, GOOD, metadata(QUERY, datetime="2026-05-01T00:00:00Z"))), Cause.WRONG_TIME),
        (reply(array_body(QUERY, BLACK)), Cause.ALL_NO_DATA),
    ],
)
def test_an_answer_that_is_no_picture_has_a_cause(answer, cause):
    assert cause_of(REQUEST, answer) is cause


def test_a_png_cut_short_or_of_other_bands_has_a_cause():
    request = Request(46.5, 7.25, START, 0.32, 864000, ("B04", "B03", "B02"), "png")
    whole = png_body(GOOD)
    assert cause_of(request, reply(whole[: len(whole) // 2])) is Cause.BROKEN
    assert cause_of(request, reply(b"GIF89a")) is Cause.BROKEN
    assert cause_of(request, reply(whole, sentinel_metadata='{"spectral_bands": ["red"]}')) is Cause.WRONG_BANDS
    assert cause_of(request, reply(whole, sentinel_metadata="no json")) is Cause.BROKEN
    narrow = Request(46.5, 7.25, START, 0.32, 864000, ("B04", "B03", "B02", "B08"), "png")
    assert cause_of(narrow, reply(whole)) is Cause.WRONG_BANDS


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, {}),
        ({"cloud_cover": None}, {}),
        ({"cloud_cover": 0.0}, {}),
        ({"cloud_cover": 100}, {}),
        ({"cloud_cover": 0.447}, {"cloud_unit_unclear": 1}),
        ({"cloud_cover": 1}, {"cloud_unit_unclear": 1}),
        ({"cloud_cover": -1}, {"bad_metadata": 1}),
        ({"cloud_cover": 4470}, {"bad_metadata": 1}),
        ({"cloud_cover": math.nan}, {"bad_metadata": 1}),
        ({"cloud_cover": "12 %"}, {"bad_metadata": 1}),
        ({"footprint": [1, 2]}, {"bad_metadata": 1}),
        ({"footprint": None}, {}),
        ({"datetime": "yesterday"}, {"bad_metadata": 1}),
        ({"datetime": "2026-06-09T00:00:00"}, {"bad_metadata": 1}),
    ],
)
def test_impossible_metadata_are_counted_and_the_picture_stays(changes, counts):
    answer = taken_apart(REQUEST, reply(array_body(QUERY, GOOD, metadata(QUERY, **changes))))
    assert answer.counts == counts
    assert (answer.samples == GOOD).all()


def test_a_footprint_across_the_antimeridian_holds_its_points():
    request = Request(46.5, -179.99, START, 0.32, 864000, ("B04", "B03", "B08"))
    about = metadata(QUERY, footprint=[179.98, 46.4, 180.02, 46.6])
    assert taken_apart(request, reply(array_body(QUERY, GOOD, about))).counts == {}


# -------------------------------------------------------------------- patience and memory


def test_what_fails_once_is_asked_again_with_growing_pauses(server, tmp_path):
    def moody(stand, query, number):
        if number < 2:
            stand.answer(b"stac hiccup", 500)
        else:
            fine(stand, query, number)

    server.behave = moody
    client, pauses = client_of(server, tmp_path, backoff_s=1.5, backoff_limit_s=2.0)
    outcome = client.get(REQUEST)
    assert (outcome.answer.samples == GOOD).all()
    assert pauses == [1.5, 2.0]
    assert outcome.counts == {"requests": 3, "retries": 2, "met.server_error": 2, "fetched": 1}


@pytest.mark.parametrize(
    ("behave", "cause", "requests"),
    [
        (lambda stand, q, n: stand.answer(b"", 500), Cause.SERVER_ERROR, 3),
        (lambda stand, q, n: stand.answer(b"<html>gateway</html>", kind="text/html"), Cause.HTML, 3),
        (lambda stand, q, n: stand.answer(array_body(q, GOOD)[:-9]), Cause.BROKEN, 3),
        (lambda stand, q, n: stand.answer(b""), Cause.NO_IMAGE, 1),
        (lambda stand, q, n: stand.answer(b"", 404), Cause.REFUSED, 1),
        (lambda stand, q, n: stand.answer(array_body(q, GOOD[:2])), Cause.WRONG_BANDS, 1),
        (lambda stand, q, n: stand.answer(b"x" * (2**20 + 1)), Cause.TOO_LARGE, 1),
    ],
)
def test_what_keeps_failing_is_lost_with_its_cause_and_not_asked_again_in_this_session(
    server, tmp_path, behave, cause, requests
):
    server.behave = behave
    client, _ = client_of(server, tmp_path, retries=2)
    for _ in range(2):
        assert client.get(REQUEST).lost.cause is cause
        assert len(server.paths) == requests
    # Nothing of it is on disk: the next session asks again.
    server.behave = None
    assert client_of(server, tmp_path)[0].get(REQUEST).answer is not None


def reset(stand, query, number):
    """Half a body, then the connection is reset."""
    stand.send_response(200)
    stand.send_header("Content-Length", "100000")
    stand.end_headers()
    stand.wfile.write(b"{")
    stand.wfile.flush()
    stand.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stand.connection.close()


def hangs_up(stand, query, number):
    """Half a body, then an orderly end: without looking at the length it would seem whole."""
    stand.send_response(200)
    stand.send_header("Content-Length", "100000")
    stand.end_headers()
    stand.wfile.write(b"{")


@pytest.mark.parametrize("behave", [reset, hangs_up])
def test_a_connection_that_breaks_off_is_a_broken_body(server, tmp_path, behave):
    server.behave = behave
    client, pauses = client_of(server, tmp_path, retries=1)
    assert client.get(REQUEST).lost.cause is Cause.BROKEN
    assert len(pauses) == 1


def trickles(stand, query, number):
    """A body without end, some bytes at a time: each restarts a plain socket time-out."""
    stand.send_response(200)
    stand.end_headers()
    while not stand.server.stop.wait(0.02):
        stand.wfile.write(b" ")
        stand.wfile.flush()


def header_trickles(stand, query, number):
    """Not even the header ends."""
    stand.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
    while not stand.server.stop.wait(0.02):
        stand.wfile.write(b"a")
        stand.wfile.flush()


def silent(stand, query, number):
    """Nothing at all."""
    stand.server.stop.wait(30)


@pytest.mark.parametrize("behave", [trickles, header_trickles, silent])
def test_a_server_that_never_ends_is_cut_at_the_deadline(server, tmp_path, behave):
    server.behave = behave
    client, _ = client_of(server, tmp_path, timeout_s=0.25, retries=1)
    outcome = client.get(REQUEST)
    assert outcome.lost.cause is Cause.TIMEOUT
    assert "no whole answer within 0.25 s" in str(outcome.lost)
    assert len(server.paths) == 2


def test_a_slow_server_within_the_deadline_is_waited_for(server, tmp_path):
    def slow(stand, query, number):
        stand.server.stop.wait(0.2)
        fine(stand, query, number)

    server.behave = slow
    assert client_of(server, tmp_path)[0].get(REQUEST).answer is not None


def test_an_answer_is_kept_on_disk_and_a_damaged_one_is_fetched_anew(server, tmp_path):
    client_of(server, tmp_path)[0].get(REQUEST)
    again, _ = client_of(server, tmp_path)
    outcome = again.get(REQUEST)
    assert outcome.counts == {"from_cache": 1}
    assert (outcome.answer.samples == GOOD).all()
    assert outcome.answer.metadata["source"] == "sentinel-2a"
    assert len(server.paths) == 1
    [kept] = list(tmp_path.rglob("*.simsat"))
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1
    kept.write_bytes(data)
    outcome = client_of(server, tmp_path)[0].get(REQUEST)
    assert outcome.counts == {"cache_damaged": 1, "requests": 1, "fetched": 1}
    assert (outcome.answer.samples == GOOD).all()
    assert not list(tmp_path.rglob("*.tmp"))


def test_no_more_requests_run_at_a_time_than_allowed(server, tmp_path):
    now, most, lock = [0], [0], threading.Lock()

    def counted(stand, query, number):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        stand.server.stop.wait(0.02)
        with lock:
            now[0] -= 1
        fine(stand, query, number)

    server.behave = counted
    requests = [Request(46.5, float(k), START, 0.32, 864000, ("B04", "B03", "B08")) for k in range(12)]
    outcomes = client_of(server, tmp_path, parallel=3)[0].get_all(requests, stop_at_loss=True)
    assert [outcome.request for outcome in outcomes] == requests
    assert all(outcome.answer is not None for outcome in outcomes)
    assert 2 <= most[0] <= 3


def test_where_nobody_listens_patience_is_spent_once(tmp_path):
    asked = []

    def down(path):
        asked.append(path)
        raise Lost(Cause.UNREACHABLE, "connection refused")

    client = Client("http://localhost:1", down, tmp_path, retries=2, sleep=lambda s: None)
    requests = [Request(46.5, float(k), START, 0.32, 864000, ("B04",)) for k in range(4)]
    with pytest.raises(
        InputError, match=r"no SimSat server answers at http://localhost:1 \(connection refused\); start"
    ):
        client.get_all(requests, stop_at_loss=False)
    assert len(asked) == 3
    for request in requests[1:]:
        assert client.get(request).lost.cause is Cause.UNREACHABLE
    assert len(asked) == 6


@pytest.mark.parametrize(
    "url", ["localhost:9005", "ftp://x", "http://", "http://u:p@x", "http://x?y=1", "http://x:99999"]
)
def test_a_base_url_that_is_none_is_told(url):
    with pytest.raises(InputError, match="base_url is"):
        Http(url)


# -------------------------------------------------------------------- sizes


def test_area_means_keep_the_mean_and_invent_nothing():
    samples = np.random.default_rng(0).integers(100, 5000, (2, 35, 33), dtype=np.uint16)
    made = area_mean(samples, 32, 32)
    assert made.shape == (2, 32, 32)
    assert np.allclose(made.mean(axis=(1, 2)), samples.mean(axis=(1, 2)), rtol=0.01)
    assert samples.min() <= made.min()
    assert made.max() <= samples.max()
    assert np.allclose(overlaps(35, 32).sum(axis=1), 1.0)
    assert (area_mean(samples, 35, 33) == samples).all()
    constant = np.full((1, 30, 31), 777, np.uint16)
    assert (area_mean(constant, 32, 32) == 777).all()


def test_area_means_do_not_mix_no_data_into_the_picture():
    samples = np.full((2, 35, 35), 1000, np.uint16)
    samples[:, :, 20:] = 0
    made = area_mean(samples, 32, 32)
    assert set(np.unique(made)) == {0, 1000}
    assert (made.any(axis=0)).mean() == pytest.approx(20 / 35, abs=1 / 32)


# -------------------------------------------------------------------- the scene source


def plan_of(points: list[tuple[float, float]], time_s: list[float], before_s: list[float]) -> Plan:
    n = len(points)
    keys = np.array([hash(point) % 2**32 for point in points], dtype=np.uint64)
    zeros = np.zeros(n)
    return Plan(
        spacecraft=("sat",), craft=np.zeros(n, np.int16), time_s=np.array(time_s), before_s=np.array(before_s),
        place_id=tuple(f"cell{lat:g}/{lon:g}" for lat, lon in points), place_key=keys, block_key=keys,
        block_row=np.zeros(n, np.int16), block_col=np.zeros(n, np.int16),
        lat_deg=np.array([p[0] for p in points]), lon_deg=np.array([p[1] for p in points]), gsd_m=zeros + 10,
        off_nadir_deg=zeros, sun_elevation_deg=zeros + 40, area=np.arange(n, dtype=np.int32) % 2,
        areas=("alps", "coast"), start_unix_s=START.timestamp(),
    )  # fmt: skip


CAMERA = Camera(tile_px=32, bands=("B04", "B03", "B08"))
PLAN = plan_of([(46.5, 7.25), (10.0, 20.0), (46.5, 7.25)], [1000.0, 2000.5, 90000.0], [-86400.0, -86400.0, 1000.0])


def source_of(server, folder: Path, **settings: object) -> SimSat:
    given = {"base_url": server.url, "cache": str(folder / "cache"), "backoff_s": 0, "retries": 1, **settings}
    return SimSat(SimSat.Config(**given), folder)


def prepared(source: SimSat, plan: Plan = PLAN, camera: Camera = CAMERA):
    return source.prepare(plan, SCHEMA_IDS, Targets(), camera, 0)


def test_each_place_and_time_is_asked_once_and_a_second_run_asks_nothing(server, tmp_path):
    source = source_of(server, tmp_path)
    assert isinstance(source, SceneSource)
    assert server.paths == []
    truth = prepared(source)
    # The reference of the third shot is the first shot's own picture.
    assert len(server.paths) == 5
    assert not truth.labelled.any()
    assert truth.visible.all()
    pair = source.pair(1)
    assert pair.after.image.shape == (3, 32, 32)
    assert pair.after.image.bits == 16
    assert pair.after.id == PLAN.tile_id(1)
    assert np.nanmax(pair.after.image.reflectance()) < 1
    assert source.pair(2).before.image.digest() == source.pair(0).after.image.digest()
    assert source.raw_bytes(0) == 3 * 32 * 32 * 2
    assert source.metadata(0)[1]["cloud_cover"] == 12.5
    assert pair.after.cloud_fraction is None
    assert "timestamp=2026-06-10T00%3A33%3A20Z" in server.paths[2] + server.paths[3] + server.paths[4]
    digest = source.pair(0).after.image.digest()
    again = source_of(server, tmp_path)
    prepared(again)
    assert len(server.paths) == 5
    assert again.pair(0).after.image.digest() == digest
    assert again.counts["from_cache"] == 5
    assert any("5 pictures of http://127.0.0.1" in note and "0 fetched" in note for note in again.notes)
    assert pickle.loads(pickle.dumps(again)).pair(0).after.image.digest() == digest


def test_strict_names_place_time_and_cause(server, tmp_path):
    def one_missing(stand, query, number):
        if query["lat"] == ["10.000000"]:
            stand.answer(b"")
        else:
            fine(stand, query, number)

    server.behave = one_missing
    with pytest.raises(RunError) as caught:
        prepared(source_of(server, tmp_path))
    text = str(caught.value)
    for part in (
        "cell10/20 (10.0000, 20.0000 deg)",
        "at 2026-06-09T00:00:00Z",
        "no_image: empty body",
        "strict: false",
    ):
        assert part in text


def test_not_strict_counts_what_is_lost_and_never_takes_it_for_quiet(server, tmp_path):
    from payload.spectral import Spectral

    def one_missing(stand, query, number):
        if query["lat"] == ["10.000000"]:
            stand.answer(b"")
        else:
            fine(stand, query, number)

    server.behave = one_missing
    source = source_of(server, tmp_path, strict=False)
    truth = prepared(source)
    assert truth.visible.tolist() == [True, False, True]
    assert source.counts["lost.no_image"] == 2
    assert source.counts["lost_shots"] == 1
    assert any("could not be had: 2 no_image; 1 shots show no data" in note for note in source.notes)
    assert not source.pair(1).after.image.pixels().any()
    verdicts = Spectral(Spectral.Config()).assess_many([source.pair(1)], SCHEMA_IDS)
    assert {(v.status, v.reason) for v in verdicts} == {(VerdictStatus.UNCLASSIFIABLE, "no_data")}


@pytest.mark.parametrize("return_type", ["array", "png"])
def test_a_lost_picture_of_either_kind_makes_the_eye_abstain(server, tmp_path, return_type):
    from payload.spectral import Spectral

    def after_missing(stand, query, number):
        if "06-09" in query["timestamp"][0]:
            fine(stand, query, number)
        else:
            stand.answer(b"")

    server.behave = after_missing
    source = source_of(server, tmp_path, strict=False, return_type=return_type)
    camera = Camera(tile_px=32, bands=("B04", "B03", "B02"))
    assert not prepared(source, camera=camera).visible.any()
    payload = Spectral(Spectral.Config())
    verdicts = payload.assess_many([source.pair(row) for row in range(3)], SCHEMA_IDS)
    assert {(v.status, v.reason) for v in verdicts} == {(VerdictStatus.UNCLASSIFIABLE, "no_data")}


def test_half_black_and_white_tiles_are_measured_on_their_pixels(server, tmp_path):
    def odd(stand, query, number):
        samples = scene(query)
        if query["lat"] == ["10.000000"]:
            samples[:, :, 12:] = 0
        else:
            samples[:] = 12000
        # The scene's own figure says clear; it decides nothing.
        stand.answer(array_body(query, samples, metadata(query, cloud_cover=0.2)))

    server.behave = odd
    source = source_of(server, tmp_path)
    truth = prepared(source)
    assert truth.visible.tolist() == [False, False, False]
    assert source.counts["partial_no_data"] == 2
    assert source.counts["saturated"] == 3
    assert source.counts["cloud_unit_unclear"] == 5
    assert np.isnan(source.pair(1).after.image.reflectance()).mean() == pytest.approx(20 / 32)
    notes = " ".join(source.notes)
    for part in ("partly without data (edge of a scene): 2", "more than half saturated: 3", "used for nothing): 5"):
        assert part in notes


def test_a_picture_of_a_few_pixels_more_is_brought_to_the_tile_and_told(server, tmp_path):
    server.behave = lambda stand, query, number: stand.answer(array_body(query, scene(query, 32, 35)))
    source = source_of(server, tmp_path)
    prepared(source)
    assert source.pair(0).after.image.pixels().shape == (3, 32, 32)
    assert source.pair(0).after.size_px == (32, 32)
    assert source.counts["resampled"] == 5
    assert any("brought from another size to the tile's by area means: 5" in note for note in source.notes)


def test_the_same_acquisition_twice_is_told(server, tmp_path):
    about = "2026-06-05T10:00:00Z"
    server.behave = lambda stand, query, number: stand.answer(
        array_body(query, scene(query), metadata(query, datetime=about))
    )
    source = source_of(server, tmp_path)
    prepared(source)
    assert source.counts["same_acquisition"] == 3
    assert any("the same acquisition, so that nothing new is seen: 3" in note for note in source.notes)


@pytest.mark.parametrize(
    ("settings", "camera", "message"),
    [
        ({}, {"bands": ("B04", "B10")}, "camera.bands has B10; SimSat has B01"),
        ({"return_type": "png"}, {"bands": ("B04", "B08")}, "return_type: png goes with exactly three"),
        ({}, {"gsd_m": 5}, "camera.gsd_m is 5 m; SimSat's pictures have 10 m"),
        ({"max_pictures": 4}, {}, "the plan needs 5 pictures that are not kept yet; scenes.with.max_pictures is 4"),
    ],
)
def test_what_simsat_does_not_have_is_refused_before_anything_is_asked(server, tmp_path, settings, camera, message):
    made = Camera(**{"tile_px": 32, "bands": ("B04", "B03", "B08"), **camera})
    with pytest.raises(InputError, match=message):
        prepared(source_of(server, tmp_path, **settings), camera=made)
    assert server.paths == []


def test_a_source_without_plan_or_start_says_so(server, tmp_path):
    with pytest.raises(InputError, match="no plan yet; call prepare first"):
        source_of(server, tmp_path).pair(0)
    with pytest.raises(InputError, match="the plan has no start_unix_s"):
        prepared(source_of(server, tmp_path), replace(PLAN, start_unix_s=0.0))
    archived = replace(PLAN, scene_row=np.zeros(3, np.int64))
    with pytest.raises(InputError, match=r"write targets: \{use: world\}"):
        prepared(source_of(server, tmp_path), archived)


def test_every_band_of_sentinel_2_that_simsat_has_is_named():
    assert set(BAND_NAMES) == {
        "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12",
    }  # fmt: skip
    assert len(set(BAND_NAMES.values())) == len(BAND_NAMES)


# -------------------------------------------------------------------- labels


def labelled(server, tmp_path, *entries: dict[str, object]) -> SimSat:
    (tmp_path / "labels.json").write_text(json.dumps({"version": 1, "labels": list(entries)}))
    return source_of(server, tmp_path, labels="labels.json")


def test_labels_are_truth_by_area_place_and_moment(server, tmp_path):
    moment = "2026-06-10T12:00:00Z"  # after the first two shots, before the third, whose reference is the first
    source = labelled(
        server, tmp_path,
        {"area": "alps", "schema": "flood_extent", "changed_at": moment},
        {"place": "cell10/20", "schema": "ice_extent", "change": False},
        {"place": "cell99/99", "schema": "ice_extent", "change": True},
    )  # fmt: skip
    truth = prepared(source)
    flood, ice = SCHEMA_IDS.index("flood_extent"), SCHEMA_IDS.index("ice_extent")
    assert truth.labelled[:, flood].tolist() == [True, False, True]
    assert truth.changed[:, flood].tolist() == [False, False, True]
    assert truth.labelled[:, ice].tolist() == [False, True, False]
    assert not truth.changed[:, ice].any()
    assert truth.labelled.sum() == 3
    assert any("labels that met no shot: 1" in note for note in source.notes)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"area": "alp", "schema": "flood_extent", "change": True}], "unknown area 'alp'.*alps"),
        ([{"schema": "flood_extent", "change": True}], "exactly one of area and place"),
        ([{"area": "alps", "schema": "flood_extent"}], "exactly one of change and changed_at"),
        ([{"area": "alps", "schema": "floods", "change": True}], "unknown schema 'floods'"),
        (
            [{"area": "alps", "schema": "flood_extent", "change": value} for value in (True, False)],
            "disagree about flood_extent at 'alps'",
        ),
    ],
)
def test_faulty_labels_are_told(server, tmp_path, entries, message):
    with pytest.raises(InputError, match=message):
        prepared(labelled(server, tmp_path, *entries))
    assert list(tmp_path.glob("*.json"))
    with pytest.raises(InputError, match="must be a JSON file"):
        source_of(server, tmp_path, labels="gone.json")


# -------------------------------------------------------------------- whole


def scenario_of(server, tmp_path, *more: str):
    settings = [
        f"scenes.with.base_url={server.url}", f"scenes.with.cache={tmp_path / 'cache'}", "scenes.with.backoff_s=0",
        "spacecraft.camera.tile_px=32", "targets.count=6", "duration=2d", "scenes.with.parallel=4",
        "policy={use: verdicts_only, with: {send_nulls: true}}", *more,
    ]  # fmt: skip
    return fs.load_scenario("simsat", settings)


def test_a_whole_run_over_a_server_and_again_from_the_cache(server, tmp_path):
    result = fs.run(scenario_of(server, tmp_path), out=tmp_path / "run")
    assert not result.failed
    tiles = result.metrics["population"]["tiles"]
    assert tiles > 10
    asked = len(server.paths)
    assert 0 < asked <= 2 * tiles
    assert any("simsat:" in note for note in result.context["notes"])
    # Nobody knows what really happened: quality is absent with a reason, never 0 or 1.
    assert result.metrics["quality"]["ground"]["f1"] is None
    assert "quality.ground.f1" in result.metrics["reasons"]
    assert result.metrics["bytes"]["air"] > 0
    again = fs.run(scenario_of(server, tmp_path), write=False)
    assert len(server.paths) == asked
    assert again.metrics["bytes"] == result.metrics["bytes"]
    assert np.array_equal(again.record.status, result.record.status)


def test_a_server_that_fails_now_and_then_flies_without_quiet_holes(server, tmp_path):
    """Every fifth place is never served: not strict, those shots are unclassifiable and none of them is quiet."""

    def patchy(stand, query, number):
        if int(float(query["lat"][0]) * 1e3) % 5 == 0:
            stand.answer(b"")
        else:
            fine(stand, query, number)

    server.behave = patchy
    result = fs.run(scenario_of(server, tmp_path, "scenes.with.strict=false"), write=False)
    lost = ~result.record.truth.visible
    assert 0 < lost.sum() < len(lost)
    for row in np.flatnonzero(lost).tolist():
        for verdict in result.record.verdicts.get(row, ()):
            assert verdict.status is VerdictStatus.UNCLASSIFIABLE
    assert any(f"{lost.sum()} shots show no data at all" in note for note in result.context["notes"])


def test_the_shipped_scenario_validates_without_a_server_and_says_when_none_answers(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    fs.load_scenario("simsat")
    settings = [f"scenes.with.base_url={url}", "scenes.with.backoff_s=0", f"scenes.with.cache={tmp_path}"]
    with pytest.raises(InputError, match=f"no SimSat server answers at {url} .*start SimSat, or name its address"):
        fs.run(fs.load_scenario("simsat", settings), write=False)


def test_the_labels_of_the_page_about_scenes_are_read(tmp_path):
    (tmp_path / "labels.json").write_text(blocks("json")[1])
    labels = read_labels(tmp_path / "labels.json")
    assert [label.area for label in labels] == ["world-001", "world-002"]
