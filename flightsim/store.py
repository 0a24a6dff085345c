"""What was computed from pixels, kept between runs: verdicts, cloud estimates, sizes and thumbnails in a SQLite file.

SQLite because several runs may write at the same time and a killed one must leave the rest readable. All is keyed by
digests of pictures and of what looked at them, so a stored value can be old but never wrong.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from .domain import Verdict, VerdictStatus
from .errors import InputError

Value = TypeVar("Value", float, bytes)

FILE = "looks.sqlite3"
_TABLES = (
    "CREATE TABLE IF NOT EXISTS verdicts (eye TEXT, pair TEXT, schema TEXT, answer TEXT, "
    "PRIMARY KEY (eye, pair, schema)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS found (what TEXT, digest TEXT, value, PRIMARY KEY (what, digest)) WITHOUT ROWID",
)
#: SQLite takes at most 999 variables in a statement of its oldest builds.
_ASK = 500
_BUSY_S = 60.0


def cache_folder() -> Path:
    """Where what was computed is kept between runs; ``FLIGHTSIM_CACHE`` overrides it."""
    given = os.environ.get("FLIGHTSIM_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else (Path(base) if base else Path.home() / ".cache") / "flightsim"


class LookStore:
    """The file of looks, opened for each batch; nothing is held between calls.

    Raises
    ------
    InputError
        By every method: the file is damaged, or its folder cannot be written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = (folder or cache_folder()) / FILE

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
            with connection:
                for table in _TABLES:
                    connection.execute(table)
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
                    f"SELECT pair, schema, answer FROM verdicts WHERE eye = ? AND pair IN ({marks})", (eye, *part)
                )
                for pair, schema, answer in rows:
                    found[pair, schema] = json.loads(answer)
        return found

    def keep_answers(self, eye: str, answers: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
        """Store answers of one eye."""
        rows = [(eye, pair, schema, json.dumps(answer)) for (pair, schema), answer in answers.items()]
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?)", rows)

    def values(self, what: str, digests: Sequence[str]) -> dict[str, Any]:
        """Stored values of one kind by digest; None is a stored "unknown"."""
        found: dict[str, Any] = {}
        with self._open() as connection:
            for part, marks in _parts(digests):
                sql = f"SELECT digest, value FROM found WHERE what = ? AND digest IN ({marks})"
                found.update(connection.execute(sql, (what, *part)).fetchall())
        return found

    def keep_values(self, what: str, values: Mapping[str, Any]) -> None:
        """Store values of one kind."""
        rows = [(what, digest, value) for digest, value in values.items()]
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?)", rows)


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
