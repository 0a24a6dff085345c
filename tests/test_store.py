"""The store of looks: several processes at once, its size limit, and files of the first version."""

from __future__ import annotations

import itertools
import multiprocessing
import sqlite3

import pytest

from flightsim import store
from flightsim.domain import Verdict, VerdictStatus
from flightsim.errors import InputError
from flightsim.store import FileCache, LookStore, NumberCache, VerdictCache

DAY = 1440


def answer(text="null"):
    return {"status": "null", "body": None, "confidence": 0.9, "produced_by": text, "reason": "", "tokens": 2}


@pytest.fixture
def at(monkeypatch):
    """Sets the clock, in minutes."""

    def set_to(minute):
        monkeypatch.setattr(store, "_minute", lambda: minute)

    set_to(100 * DAY)
    return set_to


# -------------------------------------------------------------------- several processes


def _work(folder, number, start):
    start.wait()
    shared, own = NumberCache("size", folder), VerdictCache(f"eye/{number}", folder)
    for k in range(60):
        # All write the same rows and their own, and read what the others wrote.
        shared[f"d{k}"] = float(k)
        own.put(f"d{k}", Verdict("t", "flood_extent", VerdictStatus.NULL, None, 0.5, f"eye {number}"))
        if k % 5 == 0:
            shared.save()
            own.save()
            NumberCache("size", folder).fetch([f"d{j}" for j in range(60)])
            LookStore(folder).answers(f"eye/{(number + 1) % 4}", [f"d{j}" for j in range(60)])
    shared.save()
    own.save()


def test_four_processes_write_and_read_at_once_and_nothing_is_lost(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(4)
    workers = [spawn.Process(target=_work, args=(tmp_path, number, start)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    known = LookStore(tmp_path)
    digests = [f"d{k}" for k in range(60)]
    assert known.values("size", digests) == {f"d{k}": float(k) for k in range(60)}
    for number in range(4):
        found = known.answers(f"eye/{number}", digests)
        assert len(found) == 60
        assert {row["produced_by"] for row in found.values()} == {f"eye {number}"}


def _clear(folder, number, start):
    start.wait()
    for k in range(40):
        files = FileCache(f"file/{number}", folder)
        files[f"d{k}"] = bytes(20_000)
        files.save()


def test_processes_that_clear_at_once_leave_a_sound_file_within_the_limit(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv(store.LIMIT, "1")
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    workers = [spawn.Process(target=_clear, args=(tmp_path, number, start)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert LookStore(tmp_path).size_bytes() <= 1_000_000
    with sqlite3.connect(tmp_path / store.FILE) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert "outgrew its limit of 1 MB" in capfd.readouterr().err


# -------------------------------------------------------------------- the limit


def fill(folder, what, at_minute, at, limit=2_000_000, rows=20, size=20_000):
    at(at_minute)
    LookStore(folder, limit).keep_values(what, {f"{what}{k}": bytes(size) for k in range(rows)})


def kept(folder, what, rows=20):
    return len(LookStore(folder, 10**9).values(what, [f"{what}{k}" for k in range(rows)]))


def test_what_was_not_used_for_longest_goes_first_and_is_told(tmp_path, at, capsys):
    for k, what in enumerate("abcd"):
        fill(tmp_path, what, 100 * DAY + k * DAY, at)
    assert capsys.readouterr().err == ""
    fill(tmp_path, "e", 104 * DAY, at)
    told = capsys.readouterr().err
    assert [kept(tmp_path, what) for what in "abcde"] == [0, 0, 20, 20, 20] or [
        kept(tmp_path, what) for what in "abcde"
    ] == [0, 20, 20, 20, 20]
    assert "outgrew its limit of 2 MB" in told
    assert "up to 4.0 days" in told
    assert store.LIMIT in told
    assert "this run's own" not in told


def test_a_world_that_is_used_again_outlives_a_younger_one(tmp_path, at):
    for k, what in enumerate("abcd"):
        fill(tmp_path, what, 100 * DAY + k * DAY, at)
    at(104 * DAY)
    assert kept(tmp_path, "a") == 20  # reading is a use
    fill(tmp_path, "e", 105 * DAY, at)
    assert kept(tmp_path, "a") == 20
    assert kept(tmp_path, "b") == 0


def test_an_eye_that_nobody_flies_any_more_is_forgotten(tmp_path, at):
    at(100 * DAY)
    limit = 200_000
    told = answer("x" * 200)
    LookStore(tmp_path, limit).keep_answers("old/1", {(f"d{k}", "flood_extent"): told for k in range(300)})
    at(130 * DAY)
    LookStore(tmp_path, limit).keep_answers("new/1", {(f"d{k}", "flood_extent"): told for k in range(300)})
    digests = [f"d{k}" for k in range(300)]
    assert LookStore(tmp_path, limit).answers("old/1", digests) == {}
    assert len(LookStore(tmp_path, limit).answers("new/1", digests)) == 300


def test_a_run_that_is_larger_than_the_limit_is_told_so(tmp_path, at, capsys):
    fill(tmp_path, "a", 100 * DAY, at, limit=100_000)
    assert "this run's own pictures are among them" in capsys.readouterr().err
    assert LookStore(tmp_path).size_bytes() <= 100_000


def test_the_file_itself_becomes_smaller(tmp_path, at):
    fill(tmp_path, "a", 100 * DAY, at, limit=10**9, rows=200)
    assert (tmp_path / store.FILE).stat().st_size > 4_000_000
    fill(tmp_path, "b", 101 * DAY, at, limit=1_000_000)
    assert (tmp_path / store.FILE).stat().st_size < 1_000_000
    assert kept(tmp_path, "b") == 20


@pytest.mark.parametrize("given", ["none", "0", "-5", "nan", "inf", ""])
def test_a_limit_that_is_no_size_is_refused(monkeypatch, given):
    monkeypatch.setenv(store.LIMIT, given)
    with pytest.raises(InputError, match=rf"{store.LIMIT} is '{given}'; it must be a positive number of megabytes"):
        store.size_limit_bytes()


def test_the_limit_is_in_megabytes(monkeypatch):
    monkeypatch.delenv(store.LIMIT, raising=False)
    assert store.size_limit_bytes() == 1_024_000_000
    monkeypatch.setenv(store.LIMIT, "2.5")
    assert store.size_limit_bytes() == 2_500_000


# -------------------------------------------------------------------- files of the first version


def test_a_store_of_the_first_version_is_read_and_goes_on(tmp_path, at):
    path = tmp_path / store.FILE
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE verdicts (eye TEXT, pair TEXT, schema TEXT, answer TEXT, PRIMARY KEY (eye, pair, schema)) "
            "WITHOUT ROWID"
        )
        old.execute("CREATE TABLE found (what TEXT, digest TEXT, value, PRIMARY KEY (what, digest)) WITHOUT ROWID")
        old.execute("INSERT INTO found VALUES ('size', 'd0', 7.0)")
    old.close()
    known = LookStore(tmp_path)
    assert known.values("size", ["d0", "d1"]) == {"d0": 7.0}
    known.keep_values("size", {"d1": 8.0})
    assert known.values("size", ["d0", "d1"]) == {"d0": 7.0, "d1": 8.0}
    with sqlite3.connect(path) as now:
        used = dict(now.execute("SELECT digest, used FROM found"))
    now.close()
    assert used == {"d0": 100 * DAY, "d1": 100 * DAY}


def test_a_read_only_store_is_read(tmp_path, at, monkeypatch):
    LookStore(tmp_path).keep_values("size", {"d0": 7.0})
    at(200 * DAY)
    open_as_it_is = sqlite3.connect

    def read_only(path, **more):
        return open_as_it_is(f"file:{path}?mode=ro", uri=True, **more)

    monkeypatch.setattr(store.sqlite3, "connect", read_only)
    assert LookStore(tmp_path).values("size", ["d0"]) == {"d0": 7.0}


def test_reading_again_within_the_hour_writes_nothing(tmp_path, at):
    LookStore(tmp_path).keep_values("size", {"d0": 7.0})
    path = tmp_path / store.FILE
    before = path.read_bytes()
    for minutes in itertools.islice(itertools.count(0, 10), 6):
        at(100 * DAY + minutes)
        LookStore(tmp_path).values("size", ["d0"])
    assert path.read_bytes() == before
    at(100 * DAY + 70)
    LookStore(tmp_path).values("size", ["d0"])
    assert path.read_bytes() != before
