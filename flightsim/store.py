"""What was computed from pixels, kept between runs: verdicts, cloud estimates, sizes and thumbnails in a SQLite file.

SQLite because several runs may write at the same time and a killed one must leave the rest readable. All is keyed by
digests of pictures and of what looked at them, so a stored value can be old but never wrong.

The file has a size limit. Each row knows the minute of its last use, to the hour; what was not used for longest goes
first, which is whole worlds and whole eyes.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from .domain import Verdict, VerdictStatus
from .errors import InputError

Value = TypeVar("Value", float, bytes)

FILE = "looks.sqlite3"
#: Version of the tables; the first had no ``used``, the minute of the last use since 1970. [min]
_VERSION = 2
_TABLES = {
    "verdicts": "CREATE TABLE verdicts (eye TEXT, pair TEXT, schema TEXT, answer TEXT, "
    "used INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (eye, pair, schema)) WITHOUT ROWID",
    "found": "CREATE TABLE found (what TEXT, digest TEXT, value, used INTEGER NOT NULL DEFAULT 0, "
    "PRIMARY KEY (what, digest)) WITHOUT ROWID",
}
#: Bytes of a row beside its values, roughly. [B]
_ROW_BYTES = 16
#: A use is marked again after so long, so that reading seldom writes. [min]
_MARK_MIN = 60
#: Share of the limit that is left when the store has been cleared. [-]
_CLEARED = 0.8
#: Size limit where the environment names none; a week of `default` takes some 25 MB. [MB]
MAX_MB = 1024.0
LIMIT = "FLIGHTSIM_CACHE_MAX_MB"
#: SQLite takes at most 999 variables in a statement of its oldest builds.
_ASK = 500
_BUSY_S = 60.0


def cache_folder() -> Path:
    """Where what was computed is kept between runs; ``FLIGHTSIM_CACHE`` overrides it."""
    given = os.environ.get("FLIGHTSIM_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else (Path(base) if base else Path.home() / ".cache") / "flightsim"


def size_limit_bytes() -> int:
    """Most bytes that the store may hold; ``FLIGHTSIM_CACHE_MAX_MB`` overrides the default. [B]

    Raises
    ------
    InputError
        The environment names no positive number.
    """
    given = os.environ.get(LIMIT)
    try:
        limit = MAX_MB if given is None else float(given)
    except ValueError:
        limit = math.nan
    if not (math.isfinite(limit) and limit > 0):
        raise InputError(f"{LIMIT} is '{given}'; it must be a positive number of megabytes, such as {MAX_MB:g}.")
    return int(limit * 1e6)


def _minute() -> int:
    """Now, in minutes since 1970. [min]"""
    return int(time.time() // 60)


class LookStore:
    """The file of looks, opened for each batch; nothing is held between calls.

    Parameters
    ----------
    limit_bytes
        Most bytes that are kept; by default ``size_limit_bytes``.

    Raises
    ------
    InputError
        By every method: the file is damaged, or its folder cannot be written.
    """

    def __init__(self, folder: Path | None = None, limit_bytes: int | None = None) -> None:
        self._path = (folder or cache_folder()) / FILE
        self._limit_bytes = size_limit_bytes() if limit_bytes is None else limit_bytes

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=_BUSY_S)
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f"the store of looks {self._path} cannot be opened ({error}); set FLIGHTSIM_CACHE to a folder that "
                "can be written."
            ) from error
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
                _make_tables(connection)
            with connection:
                yield connection
        except sqlite3.Error as error:
            raise InputError(
                f"the store of looks {self._path} is damaged or locked ({error}); delete it, it is made anew."
            ) from error
        finally:
            connection.close()

    def answers(self, eye: str, pairs: Sequence[str]) -> dict[tuple[str, str], dict[str, Any]]:
        """Stored answers of one eye by (pair digest, schema id)."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        with self._open() as connection:
            for part, marks in _parts(pairs):
                rows = connection.execute(
                    f"SELECT pair, schema, answer, used FROM verdicts WHERE eye = ? AND pair IN ({marks})", (eye, *part)
                ).fetchall()
                for pair, schema, answer, _ in rows:
                    found[pair, schema] = json.loads(answer)
                if any(used < _minute() - _MARK_MIN for *_, used in rows):
                    _mark(connection, f"UPDATE verdicts SET used = ? WHERE eye = ? AND pair IN ({marks})", eye, part)
        return found

    def keep_answers(self, eye: str, answers: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
        """Store answers of one eye."""
        now = _minute()
        rows = [(eye, pair, schema, json.dumps(answer), now) for (pair, schema), answer in answers.items()]
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?)", rows)
        self._clear()

    def values(self, what: str, digests: Sequence[str]) -> dict[str, Any]:
        """Stored values of one kind by digest; None is a stored "unknown"."""
        found: dict[str, Any] = {}
        with self._open() as connection:
            for part, marks in _parts(digests):
                sql = f"SELECT digest, value, used FROM found WHERE what = ? AND digest IN ({marks})"
                rows = connection.execute(sql, (what, *part)).fetchall()
                found.update((digest, value) for digest, value, _ in rows)
                if any(used < _minute() - _MARK_MIN for *_, used in rows):
                    _mark(connection, f"UPDATE found SET used = ? WHERE what = ? AND digest IN ({marks})", what, part)
        return found

    def keep_values(self, what: str, values: Mapping[str, Any]) -> None:
        """Store values of one kind."""
        now = _minute()
        rows = [(what, digest, value, now) for digest, value in values.items()]
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?, ?)", rows)
        self._clear()

    @property
    def limit_bytes(self) -> int:
        """Most bytes that are kept. [B]"""
        return self._limit_bytes

    def size_bytes(self) -> int:
        """What is kept at present, without the file's free pages; 0 without a file. [B]"""
        if not self._path.is_file():
            return 0
        with self._open() as connection:
            return _kept(connection)

    def _clear(self) -> None:
        """Drop what was not used for longest, if the store has outgrown its limit, and say so."""
        with self._open() as connection:
            if _kept(connection) <= self._limit_bytes:
                return
            # Who comes second finds nothing left to do.
            connection.execute("BEGIN IMMEDIATE")
            before = _kept(connection)
            if before <= self._limit_bytes:
                return
            oldest, newest = _drop(connection, 1 - _CLEARED * self._limit_bytes / before)
            after = _kept(connection)
        days = (_minute() - oldest) / 1440
        own = "; this run's own pictures are among them and will be looked at again" if newest >= _minute() - 2 else ""
        sys.stderr.write(
            f"The store of looks outgrew its limit of {self._limit_bytes / 1e6:g} MB: {(before - after) / 1e6:.3g} MB "
            f"that were not used for longest (up to {days:.1f} days) were dropped{own}. {LIMIT} sets the limit.\n"
        )
        self._give_back()

    def _give_back(self) -> None:
        """Make the file as small as what it holds; where others are busy with it, its free pages are used up later."""
        try:
            connection = sqlite3.connect(self._path, timeout=1.0)
        except sqlite3.Error:
            return
        try:
            connection.execute("VACUUM")
        except sqlite3.OperationalError:
            return
        finally:
            connection.close()


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables, or give those of the first version their mark of use."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] >= _VERSION:
            return
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table, sql in _TABLES.items():
            old = f"ALTER TABLE {table} ADD COLUMN used INTEGER NOT NULL DEFAULT 0"
            connection.execute(old if table in there else sql)
        connection.execute(f"PRAGMA user_version = {_VERSION}")


def _kept(connection: sqlite3.Connection) -> int:
    """Bytes of the pages in use. [B]"""
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in
                         ("page_count", "freelist_count", "page_size"))  # fmt: skip
    return int((pages - free) * size)


def _mark(connection: sqlite3.Connection, sql: str, key: str, part: tuple[str, ...]) -> None:
    try:
        with connection:
            connection.execute(sql, (_minute(), key, *part))
    except sqlite3.OperationalError:
        # Locked or read-only: the values are read all the same, they only count as unused for longer.
        return


def _drop(connection: sqlite3.Connection, share: float) -> tuple[int, int]:
    """Delete the rows that were not used for longest, at least this share of all; their first and last minute."""
    groups = connection.execute(
        "SELECT used, SUM(size) FROM ("
        f"SELECT used, {_ROW_BYTES} + length(eye) + length(pair) + length(schema) + length(answer) AS size "
        "FROM verdicts UNION ALL "
        f"SELECT used, {_ROW_BYTES} + length(what) + length(digest) + coalesce(length(value), 0) FROM found"
        ") GROUP BY used ORDER BY used"
    ).fetchall()
    oldest = last = groups[0][0] if groups else 0
    gone, wanted = 0, share * sum(size for _, size in groups)
    for used, size in groups:
        if gone >= wanted:
            break
        last, gone = used, gone + size
    for table in _TABLES:
        connection.execute(f"DELETE FROM {table} WHERE used <= ?", (last,))
    return oldest, last


def _parts(keys: Iterable[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    wanted = tuple(dict.fromkeys(keys))
    for k in range(0, len(wanted), _ASK):
        part = wanted[k : k + _ASK]
        yield part, ", ".join("?" * len(part))


class VerdictCache:
    """Verdicts by (pair digest, schema) of one payload fingerprint: read in batches, written by ``save``."""

    def __init__(self, fingerprint: str, folder: Path | None = None) -> None:
        self._store, self._fingerprint = LookStore(folder), fingerprint
        self._known: dict[tuple[str, str], dict[str, Any]] = {}
        self._new: dict[tuple[str, str], dict[str, Any]] = {}
        self._fetched: set[str] = set()

    def fetch(self, digests: Sequence[str]) -> None:
        """Read what is stored about pairs, so that ``get`` finds it."""
        wanted = [digest for digest in digests if digest not in self._fetched]
        if wanted:
            self._fetched.update(wanted)
            self._known.update(self._store.answers(self._fingerprint, wanted))
            self._known.update(self._new)

    def get(self, digest: str, schema: str, tile_id: str) -> Verdict | None:
        """The stored answer under the tile's present id, or None."""
        self.fetch((digest,))
        row = self._known.get((digest, schema))
        if row is None:
            return None
        return Verdict(tile_id, schema, VerdictStatus(row["status"]), **{k: v for k, v in row.items() if k != "status"})

    def put(self, digest: str, verdict: Verdict) -> None:
        """Remember an answer."""
        row = {
            "status": str(verdict.status),
            "body": verdict.body,
            "confidence": verdict.confidence,
            "produced_by": verdict.produced_by,
            "reason": verdict.reason,
            "tokens": verdict.tokens,
        }
        self._known[digest, verdict.schema_id] = self._new[digest, verdict.schema_id] = row

    def save(self) -> None:
        """Write what is new."""
        if self._new:
            self._store.keep_answers(self._fingerprint, self._new)
            self._new = {}


class ValueCache(Generic[Value]):
    """Values of one kind by digest: read in batches, written by ``save``."""

    def __init__(self, what: str, folder: Path | None = None) -> None:
        self._store, self._what = LookStore(folder), what
        self._known: dict[str, Value | None] = {}
        self._new: dict[str, Value | None] = {}
        self._fetched: set[str] = set()

    def fetch(self, digests: Sequence[str]) -> None:
        """Read what is stored about digests."""
        wanted = [digest for digest in digests if digest not in self._fetched]
        if wanted:
            self._fetched.update(wanted)
            self._known.update(self._store.values(self._what, wanted))
            self._known.update(self._new)

    def __contains__(self, digest: str) -> bool:
        self.fetch((digest,))
        return digest in self._known

    def __getitem__(self, digest: str) -> Value | None:
        return self._known[digest]

    def get(self, digest: str) -> Value | None:
        """The stored value; None where it is unknown or not stored."""
        return self._known.get(digest)

    def __setitem__(self, digest: str, value: Value | None) -> None:
        self._known[digest] = self._new[digest] = value

    def save(self) -> None:
        """Write what is new."""
        if self._new:
            self._store.keep_values(self._what, self._new)
            self._new = {}


class NumberCache(ValueCache[float]):
    """Numbers, such as sizes and cloud covers; None is a stored "unknown"."""


class FileCache(ValueCache[bytes]):
    """Small encoded files, such as thumbnails."""
