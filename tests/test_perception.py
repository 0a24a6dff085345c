"""Verdicts on demand: asked once, kept on disk, damage told."""

import numpy as np
import pytest

from flightsim.domain import Tile, TilePair, TruthTable, Verdict, VerdictStatus
from flightsim.errors import InputError
from flightsim.perception import VerdictBook, VerdictCache, pair_digest

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
    (path,) = (tmp_path / "verdicts").iterdir()
    path.write_text(path.read_text()[:-30])
    with pytest.raises(InputError, match=r"damaged .*; delete it"):
        VerdictCache("eye/1", tmp_path)


def test_a_missing_reference_is_part_of_the_digest():
    with_before = TilePair(pair(0).after, pair(0).after)
    assert pair_digest(pair(0)) != pair_digest(with_before)
