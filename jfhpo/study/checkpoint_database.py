"""The database of the checkpoint registry: its tables, its transactions, and one clear line when it fails.

SQLite in WAL mode, for many processes of one machine. One connection per object and process: an object that came
through fork opens its own (SQLite's must not be used across a fork, nor closed there).
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError

NAME = "registry.sqlite"
VERSION = 1
SCHEMA = """
CREATE TABLE checkpoints (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL,
    scope TEXT NOT NULL, config_key TEXT NOT NULL, model TEXT NOT NULL, seed INTEGER NOT NULL, task TEXT NOT NULL,
    code_version TEXT NOT NULL, step INTEGER NOT NULL, path TEXT NOT NULL UNIQUE, bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL, created REAL NOT NULL, meta TEXT NOT NULL, bad TEXT, UNIQUE (key, step));
CREATE TABLE pins (owner TEXT, key TEXT, step INTEGER, PRIMARY KEY (owner, key, step));
CREATE TABLE released (scope TEXT PRIMARY KEY);
CREATE TABLE doomed (path TEXT PRIMARY KEY, key TEXT, step INTEGER, bytes INTEGER, reason TEXT)
"""
# `key` is a digest of the six columns from scope to code_version; a path is relative to the registry's folder;
# doomed are files to delete whose rows are gone.

WITHOUT = "or go on without it: checkpoints=false"
WRITABLE = f"it cannot be written; make the file and its folder writable, choose another out=, {WITHOUT}"
CORRUPT = (
    "it is corrupt; end the runs that use it, move it away with its -wal and -shm files, and run again (what it "
    f"listed is then trained anew), choose another out=, {WITHOUT}"
)
LOCKED = (
    "another process held it for over {timeout:g} s; end that process (`fuser` on the file names it), choose another "
    f"out=, {WITHOUT}"
)
REMEDIES = (
    ("locked", LOCKED),
    ("readonly", WRITABLE),
    ("unable to open", WRITABLE),
    ("is full", f"the disk is full; free space, run `jfhpo checkpoints gc` with a lower quota, {WITHOUT}"),
    ("i/o error", f"the disk fails; check it, choose another out=, {WITHOUT}"),
    ("", CORRUPT),
)
"""What SQLite's message contains -> what to tell the user."""


class Database:
    """``registry.sqlite`` in a folder, made where missing.

    Raises `UsageError` where the folder cannot be written, and where the file is corrupt, made by another version
    or locked by another process for over `timeout` seconds."""

    def __init__(self, root: Path, timeout: float):
        self.path = root / NAME
        self.timeout = timeout
        self._inherited: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        self._connection = self._open()

    def read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query, outside of any transaction."""
        with self._explained():
            return self._own().execute(query, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and nothing of other processes in between; on disk when it is left."""
        with self._explained():
            connection = self._own()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        if self._pid == os.getpid():
            self._connection.close()

    def _own(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            self._inherited.append(self._connection)  # kept, since the collector would close it
            self._connection = self._open()
            self._pid = os.getpid()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        with self._explained():
            connection = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if self._switch_to_wal(connection) != "wal":
            raise UsageError(
                f"checkpoint registry {self.path} cannot use SQLite's WAL mode; choose an out= on a local disk, "
                f"{WITHOUT}"
            )
        # Every commit is on disk when it returns, since files are deleted on its word. It costs 0.15 ms.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")  # fails at once where nothing can be written
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
        if version not in (0, VERSION):
            raise UsageError(
                f"checkpoint registry {self.path} has format {version}, this code writes {VERSION}; run the code "
                f"that made it, choose another out=, {WITHOUT}"
            )
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)

    def _switch_to_wal(self, connection: sqlite3.Connection) -> str:
        """The journal mode that results. SQLite does not itself wait where several processes switch a new file."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                return connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's troubles with the file into one line that says what to do; misuse passes through."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.DataError)):
                raise
            remedy = next(text for sign, text in REMEDIES if sign in str(error).lower())
            text = " ".join(str(error).split())
            raise UsageError(
                f"checkpoint registry {self.path}: {remedy.format(timeout=self.timeout)} [{text}]"
            ) from error


def glance(root: Path) -> dict[str, tuple[int, int]]:
    """Scope -> its good checkpoints and their bytes, without writing anything: no lock, no log, no folder. Beside a run
    that is under way the numbers may be a moment old; a file that cannot be read counts as none."""
    path = root / NAME
    if not path.is_file():
        return {}
    beside_a_run = path.with_name(f"{NAME}-shm").exists()
    mode = "mode=ro" if beside_a_run else "immutable=1"  # without a -shm file SQLite would make one
    query = "SELECT scope, count(*), sum(bytes) FROM checkpoints WHERE bad IS NULL GROUP BY scope"
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True)
        try:
            return {scope: (count, size) for scope, count, size in connection.execute(query)}
        finally:
            connection.close()
    except sqlite3.Error:
        return {}
