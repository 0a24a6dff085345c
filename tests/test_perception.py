"""Verdicts on demand: asked once, kept on disk, damage told."""

import numpy as np
import pytest

from flightsim.domain import Tile, TilePair, TruthTable, Verdict, VerdictStatus
from flightsim.errors import InputError
from flightsim.perception import VerdictBook, pair_digest
from flightsim.store import NumberCache, VerdictCache

SCHEMAS = ("flood_extent", "ice_extent")


class Picture:
    """An image that is a name."""

    bands, shape, bits = ("B04",), (1, 4, 4), 8

    def __init__(self, name):
        self.name = name

    def digest(self):
        return self.name


def pair(row):
    tile = Tile(f"p{row}@0", f"p{row}", 0.0, 0.0, 0.0, 10.0, (4, 4), ("B04",), None, Picture(f"after {row}"))
    return TilePair(None, tile)


class Eye:
    """Counts what it is asked; raises for one tile if told to."""

    needs_truth = needs_pixels = False
    fingerprint = "eye/1"

    def __init__(self, breaks_at=None):
        self.asked, self.breaks_at = [], breaks_at

    def assess_many(self, pairs, schemas, *, truth=None, keys=None, seed=0):
        assert truth is None
        assert keys is None
        assert seed == 0
        self.asked.append([p.after.place_id for p in pairs])
        if any(p.after.place_id == self.breaks_at for p in pairs):
            raise RuntimeError("broken")
        return [Verdict(p.after.id, s, VerdictStatus.EVENT, {}, 0.5) for p in pairs for s in schemas]


def book(eye, n=100, failures=None, cache=None):
    truth = TruthTable(
        SCHEMAS, np.zeros((n, 2), bool), np.ones((n, 2), bool), np.ones(n, bool), np.arange(n), np.full(2, 0.1)
    )
    told = failures if failures is not None else []
    keys = np.arange(n, dtype=np.uint64)
    return VerdictBook(eye, pair, keys, truth, 1, lambda row, why: told.append((row, why)), cache)


def test_a_batch_is_asked_once_and_no_truth_reaches_a_real_eye():
    eye = Eye()
    pages = book(eye)
    for row in (3, 4, 3, 63):
        assert [v.tile_id for v in pages.of(row, SCHEMAS)] == [f"p{row}@0"] * 2
    assert len(eye.asked) == 1
    pages.of(64, SCHEMAS)
    assert [len(batch) for batch in eye.asked] == [64, 36]
    assert pages.of(3, ()) == ()


def test_only_the_pair_that_breaks_is_lost():
    failures = []
    pages = book(Eye(breaks_at="p5"), failures=failures)
    assert {v.status for v in pages.of(4, SCHEMAS)} == {VerdictStatus.EVENT}
    broken = pages.of(5, SCHEMAS)
    assert {v.status for v in broken} == {VerdictStatus.INVALID}
    assert failures == [(5, "RuntimeError: broken")]


@pytest.mark.parametrize("answer", [[], [Verdict("other@0", "flood_extent", VerdictStatus.NULL)]])
def test_answers_to_another_question_are_invalid(answer):
    class Liar(Eye):
        def assess_many(self, pairs, schemas, **rest):
            return answer

    failures = []
    assert book(Liar(), n=1, failures=failures).of(0, ("flood_extent",))[0].status is VerdictStatus.INVALID
    assert len(failures) == 1


def test_stored_verdicts_are_used_by_the_next_run_and_not_by_another_eye(tmp_path):
    first, second = Eye(), Eye()
    cache = VerdictCache("eye/1", tmp_path)
    told = book(first, n=3, cache=cache).of(1, SCHEMAS)
    cache.save()
    assert book(second, n=3, cache=VerdictCache("eye/1", tmp_path)).of(1, SCHEMAS) == told
    assert second.asked == []
    book(second, n=3, cache=VerdictCache("eye/2", tmp_path)).of(1, SCHEMAS)
    assert len(second.asked) == 1


def test_a_failure_is_not_stored(tmp_path):
    cache = VerdictCache("eye/1", tmp_path)
    book(Eye(breaks_at="p0"), n=1, cache=cache).of(0, SCHEMAS)
    cache.save()
    eye = Eye()
    assert book(eye, n=1, cache=VerdictCache("eye/1", tmp_path)).of(0, SCHEMAS)[0].status is VerdictStatus.EVENT


def test_a_damaged_store_says_what_to_do(tmp_path):
    cache = VerdictCache("eye/1", tmp_path)
    book(Eye(), n=1, cache=cache).of(0, SCHEMAS)
    cache.save()
    path = tmp_path / "looks.sqlite3"
    path.write_bytes(b"not a database" * 400)
    with pytest.raises(InputError, match=r"damaged .*; delete it"):
        VerdictCache("eye/1", tmp_path).get("any", "flood_extent", "p@0")


def test_a_store_that_cannot_be_opened_says_what_to_set(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"cannot be opened .* set FLIGHTSIM_CACHE"):
        VerdictCache("eye/1", blocked).get("any", "flood_extent", "p@0")


def test_numbers_are_kept_by_kind_and_an_unknown_is_remembered_as_such(tmp_path):
    cover = NumberCache("cloud/eye/1", tmp_path)
    cover["a"], cover["b"] = 0.25, None
    assert "c" not in cover
    cover.save()
    again = NumberCache("cloud/eye/1", tmp_path)
    again.fetch(["a", "b", "c"])
    assert (again["a"], again["b"]) == (0.25, None)
    assert "c" not in again
    assert "a" not in NumberCache("cloud/eye/2", tmp_path)


def test_many_answers_are_fetched_in_one_go(tmp_path):
    cache = VerdictCache("eye/1", tmp_path)
    for k in range(1200):
        cache.put(f"d{k}", Verdict("t", "flood_extent", VerdictStatus.NULL, None, 0.1))
    cache.save()
    again = VerdictCache("eye/1", tmp_path)
    again.fetch([f"d{k}" for k in range(1300)])
    found = [again.get(f"d{k}", "flood_extent", "t") for k in range(1300)]
    assert sum(v is not None for v in found) == 1200


def test_a_missing_reference_is_part_of_the_digest():
    with_before = TilePair(pair(0).after, pair(0).after)
    assert pair_digest(pair(0)) != pair_digest(with_before)
