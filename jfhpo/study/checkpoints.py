"""The checkpoint registry: which trial was trained how far, and the file to go on from.

One SQLite database (WAL) and the checkpoints it names, in one folder, for all processes of one machine. A row is
written only after its file lies whole, hashed and fsynced under its final name, and a file is deleted only after
the commit that takes its row away is on disk: a crash at any moment, power loss included, leaves the old state or
the new one, and at worst a file without a row, which `gc` removes once its writer is dead. A lookup hashes what it
returns; a checkpoint that was truncated, altered or lost is marked bad, and the next lower step answers.

What happens to the files is in `checkpoint_files`, the tables are in `checkpoint_database`. No torch here: a
checkpoint is whatever file or folder a callback writes. Use one registry object per thread; one that came through
fork or pickle opens its own connection. The folder must be on a local disk: neither SQLite's WAL nor flock is safe
over a network.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import CheckpointError
from jfhpo.study import checkpoint_files as files
from jfhpo.study.checkpoint_database import Database

log = logging.getLogger(__name__)

LONGEST = -1
"""In a pin's step: whichever checkpoint of the key is the longest good one."""
COLUMNS = "scope, config_key, model, seed, task, code_version, step, path, bytes, sha256, created, meta, bad"

STEP_PINNED = "EXISTS (SELECT 1 FROM pins WHERE pins.key = c.key AND pins.step = c.step)"
KEY_PINNED = f"EXISTS (SELECT 1 FROM pins WHERE pins.key = c.key AND pins.step = {LONGEST})"
RELEASED = "EXISTS (SELECT 1 FROM released WHERE released.scope = c.scope)"
# When a checkpoint may go. `gc` checks these again inside the transaction that takes the row away, against
# whatever other processes did since it looked.
IS_BAD = f"c.bad IS NOT NULL AND NOT {STEP_PINNED}"
IS_FREE = f"c.path = ? AND NOT {STEP_PINNED} AND NOT {KEY_PINNED} AND {RELEASED}"
IS_SUPERSEDED = (
    f"c.path = ? AND NOT {STEP_PINNED} AND EXISTS (SELECT 1 FROM checkpoints AS longer WHERE longer.path = ? "
    "AND longer.bad IS NULL AND longer.key = c.key AND longer.step > c.step)"
)


@dataclass(frozen=True)
class CheckpointKey:
    """Whose training it is: equal keys, and only those, may go on from each other's checkpoints."""

    scope: str
    """The study. Methods under comparison have scopes of their own, so that they never share compute."""
    config_key: str
    """`jfhpo.core.space.config_key` of the configuration."""
    model: str
    seed: int
    task: str
    code_version: str
    """What must be equal for a checkpoint to mean the same: the trainer, its version and its settings."""

    @property
    def digest(self) -> str:
        """A short name of the key, for the database and for file names."""
        return _digest(json.dumps(dataclasses.astuple(self)))


@dataclass(frozen=True)
class Checkpoint:
    """One row of the registry."""

    key: CheckpointKey
    step: int
    path: Path
    """The file or folder. Its content is for ever the same: a replacement has another path."""
    bytes: int
    sha256: str
    created: float
    """Seconds since 1970."""
    meta: dict[str, Any] = field(default_factory=dict, hash=False)
    """What its publisher wanted kept beside it; plain JSON."""
    bad: str | None = None
    """Why it must not be used, from the moment that was noticed; None for a good one."""


@dataclass(frozen=True)
class Removed:
    """What `gc` deleted, and why."""

    path: Path
    bytes: int
    reason: str


@final
class CheckpointRegistry:
    """Publish, find, pin and collect checkpoints below `root`, which is made where missing.

    `quota_bytes` is what `gc` brings the checkpoints down to as far as it may (None: no limit). Every method
    raises `UsageError`, one line, on a folder that cannot be written and on a database that is corrupt or that
    another process keeps locked for over `timeout` seconds."""

    def __init__(self, root: Path | str, quota_bytes: int | None = None, timeout: float = 30.0):
        self.root = Path(root).absolute()
        self.quota_bytes = _checked_quota(quota_bytes)
        self.timeout = timeout
        self._writer: files.Writer | None = None
        with self._disk():
            self.root.mkdir(parents=True, exist_ok=True)
        self._database = Database(self.root, timeout)

    def publish(
        self, key: CheckpointKey, step: int, write: Callable[[Path], Any], meta: Mapping[str, Any] | None = None
    ) -> Checkpoint:
        """Have ``write(path)`` make a file or folder at `path`, and register it once it is whole and on disk.

        The same (key, step) again replaces: the old file goes after the new one is registered, and not before it
        is unpinned. A released scope is live again. What `write` raises passes through and leaves nothing behind;
        `CheckpointError` says that it wrote nothing, or a link."""
        if step < 1:
            raise UsageError(f"checkpoint step={step} must be at least 1")
        note, name, scope = json.dumps(dict(meta or {})), key.digest, self.root / _digest(key.scope)[:16]
        with self._disk():
            writer = self._own_writer()
            if not scope.is_dir():
                scope.mkdir(exist_ok=True)
                files.sync_one(self.root)
        path = scope / writer.name(name[:16], step)
        aside = path.with_name(path.name + files.ASIDE)
        maybe_registered = False
        try:
            write(aside)
            if not os.path.lexists(aside):
                raise CheckpointError(f"checkpoint of step {step}: nothing was written to {aside}")
            with self._disk():
                size = files.size(aside)
                files.sync(aside)
                sha256 = files.digest(aside)
                os.replace(aside, path)
                files.sync_one(scope)
            made = Checkpoint(key, step, path, size, sha256, time.time(), json.loads(note))
            row = (name, *dataclasses.astuple(key), step, self._stored(path), size, sha256, made.created, note)
            with self._database.transaction() as db:
                maybe_registered = True
                replaced = self._doom(db, f"replaced by {path.name}", "c.key = ? AND c.step = ?", name, step)
                db.execute(f"INSERT INTO checkpoints (key, {COLUMNS}) VALUES (?{', ?' * 12}, NULL)", row)
                db.execute("DELETE FROM released WHERE scope = ?", (key.scope,))
        except BaseException:
            if not maybe_registered:  # else a failing commit might have come through all the same
                files.remove(aside)
                files.remove(path)
            raise
        if replaced:
            self._bury()
        return made

    def longest_prefix(self, key: CheckpointKey, max_step: int, owner: str | None = None) -> Checkpoint | None:
        """The good checkpoint with the greatest step up to `max_step`, its content verified; None where none is.

        With an `owner` it is pinned in the same breath, so that no other process's `gc` or replacement takes it
        away before it is loaded: pass one wherever several processes share the registry. Bad ones are marked. One
        that cannot be read at present (permissions, too many open files) is passed over but not marked."""
        tried: set[Path] = set()
        while True:
            rows = self._select("WHERE key = ? AND step <= ? AND bad IS NULL ORDER BY step DESC", key.digest, max_step)
            found = next((row for row in rows if row.path not in tried), None)
            if found is None:
                return None
            tried.add(found.path)
            if self._check(found) is None and (owner is None or self._pin_if_there(found, owner)):
                return found

    def pin(self, key: CheckpointKey, step: int | None = None, *, owner: str) -> None:
        """Keep `gc` away for the sake of `owner`, e.g. a pending or promotable trial, until ``unpin(owner)``.

        With a step: that checkpoint, there yet or not. Without: whichever is the key's longest good one, so the
        pin follows a trial that trains on. Pins are rows: they outlive a crash, so give owners lasting names."""
        if step is not None and step < 1:
            raise UsageError(f"pinned step={step} must be at least 1, or None for the longest")
        with self._database.transaction() as db:
            self._insert_pin(db, owner, key.digest, LONGEST if step is None else step)

    def unpin(self, owner: str) -> None:
        """Drop all pins of `owner`."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM pins WHERE owner = ?", (owner,))

    def pinned_by(self, checkpoint: Checkpoint) -> list[str]:
        """The owners whose pins keep this checkpoint from being collected."""
        name = checkpoint.key.digest
        good = self._select("WHERE key = ? AND bad IS NULL ORDER BY step DESC LIMIT 1", name)
        steps = (checkpoint.step, LONGEST if good and good[0].path == checkpoint.path else checkpoint.step)
        query = "SELECT DISTINCT owner FROM pins WHERE key = ? AND step IN (?, ?) ORDER BY owner"
        return [owner for (owner,) in self._database.read(query, name, *steps)]

    def release(self, scope: str) -> None:
        """The study is finished: `gc` may take all of its checkpoints that are not pinned. Publishing revokes it."""
        with self._database.transaction() as db:
            db.execute("INSERT OR IGNORE INTO released VALUES (?)", (scope,))

    def ls(self) -> list[Checkpoint]:
        """All checkpoints, bad ones too, oldest first."""
        return self._select("ORDER BY id")

    def verify(self) -> list[tuple[Checkpoint, str | None]]:
        """Hash every checkpoint: each with its problem or None. Bad ones are marked; one that another process
        takes away meanwhile is left out."""
        found = []
        for row in self.ls():
            problem = row.bad or self._check(row)
            if problem is None or self._select("WHERE path = ?", self._stored(row.path)):
                found.append((row, problem))
        return found

    def gc(self, quota_bytes: int | None = None) -> list[Removed]:
        """Delete leftovers of dead writers and bad checkpoints, then what is over the quota (the registry's own,
        unless given: 0 deletes all that may go).

        Over the quota, checkpoints of released scopes go first, then superseded ones (a lower step of a key that
        has a longer good one, verified here), oldest first each. A pinned one never goes, and of a key that is
        not released the longest good one never does: so more than the quota may stay."""
        quota = self.quota_bytes if quota_bytes is None else _checked_quota(quota_bytes)
        with self._disk():
            removed = self._sweep()
        self._doom_bad()
        if quota is not None:
            self._shrink(quota)
        return removed + self._bury()

    def _shrink(self, quota: int) -> None:
        """Doom checkpoints until the others are within the quota, or none may go."""
        rows = self._select("WHERE bad IS NULL ORDER BY id")
        released = {row.path for row in self._select(f"AS c WHERE {RELEASED}")}
        free = {row.path for row in self._select(f"AS c WHERE {RELEASED} AND NOT {KEY_PINNED}")}
        top = {row.key: row.step for row in sorted(rows, key=lambda row: row.step)}
        longest: dict[CheckpointKey, Checkpoint | None] = {}
        for row in sorted(rows, key=lambda row: row.path not in released):  # a stable sort: still oldest first
            if self._total() <= quota:
                return
            if row.path in free:
                reason, condition, paths = "released", IS_FREE, [row.path]
            elif row.step < top[row.key]:
                if row.key not in longest:  # hashed first: a longer one that is broken supersedes nothing
                    longest[row.key] = self.longest_prefix(row.key, sys.maxsize)
                    self._doom_bad()
                above = longest[row.key]
                if above is None or above.step <= row.step:
                    continue
                reason, condition, paths = f"superseded by step {above.step}", IS_SUPERSEDED, [row.path, above.path]
            else:
                continue
            if self._total() > quota:  # still: broken ones found just now went first
                with self._database.transaction() as db:
                    self._doom(db, reason, condition, *map(self._stored, paths))

    def _total(self) -> int:
        """Bytes of all checkpoints that have rows."""
        return self._database.read("SELECT COALESCE(SUM(bytes), 0) FROM checkpoints")[0][0]

    def _sweep(self) -> list[Removed]:
        """Delete files without rows whose writers are dead."""
        # The order matters: a writer found dead adds no row any more, so rows read after that are all there are.
        leftovers = files.dead_files(self.root)
        known = {p for (p,) in self._database.read("SELECT path FROM checkpoints UNION SELECT path FROM doomed")}
        removed = []
        for path in leftovers:
            if self._stored(path) not in known:
                try:
                    size = files.size(path)
                except FileNotFoundError:
                    continue  # a gc in another process was faster
                files.remove(path)
                removed.append(Removed(path, size, "left by a dead writer"))
        files.remove_dead_locks(self.root)
        return removed

    def _doom_bad(self) -> None:
        with self._database.transaction() as db:
            self._doom(db, "bad", IS_BAD)

    @staticmethod
    def _doom(db: sqlite3.Connection, reason: str, condition: str, *values: Any) -> int:
        """Take rows away and note their files for deletion; how many."""
        chosen = (
            f"SELECT path, key, step, bytes, ? || COALESCE(': ' || bad, '') FROM checkpoints AS c WHERE {condition}"
        )
        db.execute(f"INSERT INTO doomed {chosen}", (reason, *values))
        return db.execute("DELETE FROM checkpoints WHERE path IN (SELECT path FROM doomed)").rowcount

    def _bury(self) -> list[Removed]:
        """Delete doomed files, except those of pinned steps: whoever pinned one may be reading it."""
        query = f"SELECT path, bytes, reason FROM doomed AS c WHERE NOT {STEP_PINNED} ORDER BY rowid"
        doomed = self._database.read(query)
        removed = []
        for stored, size, reason in doomed:
            try:
                files.remove(self.root / stored)
            except OSError as error:
                log.warning("cannot delete checkpoint %s (%s); the next gc tries again", stored, error)
            else:
                removed.append(Removed(self.root / stored, size, reason))
        if removed:
            with self._database.transaction() as db:
                db.executemany("DELETE FROM doomed WHERE path = ?", [(self._stored(r.path),) for r in removed])
        return removed

    def _check(self, row: Checkpoint) -> str | None:
        """The problem of a checkpoint thought good; it is marked, unless it only cannot be read at present."""
        try:
            problem = files.problem(row.path, row.bytes, row.sha256)
        except OSError as error:
            problem = f"cannot be read at present ({error.strerror or error})"
            log.warning("checkpoint %s %s", row.path, problem)
            return problem
        if problem:
            with self._database.transaction() as db:
                statement = "UPDATE checkpoints SET bad = ? WHERE path = ? AND bad IS NULL"
                if db.execute(statement, (problem, self._stored(row.path))).rowcount:
                    log.warning("checkpoint %s is bad: %s", row.path, problem)
        return problem

    def _pin_if_there(self, row: Checkpoint, owner: str) -> bool:
        """Pin a checkpoint if no other process took its row away; a file whose row is there was not deleted."""
        with self._database.transaction() as db:
            if db.execute("SELECT 1 FROM checkpoints WHERE path = ?", (self._stored(row.path),)).fetchone() is None:
                return False
            self._insert_pin(db, owner, row.key.digest, row.step)
            return True

    @staticmethod
    def _insert_pin(db: sqlite3.Connection, owner: str, key: str, step: int) -> None:
        db.execute("INSERT OR IGNORE INTO pins VALUES (?, ?, ?)", (owner, key, step))

    def _select(self, clause: str, *values: Any) -> list[Checkpoint]:
        rows = self._database.read(f"SELECT {COLUMNS} FROM checkpoints {clause}", *values)
        return [self._checkpoint(row) for row in rows]

    def _checkpoint(self, row: tuple[Any, ...]) -> Checkpoint:
        *key, step, stored, size, sha256, created, note, bad = row
        return Checkpoint(CheckpointKey(*key), step, self.root / stored, size, sha256, created, json.loads(note), bad)

    def _stored(self, path: Path) -> str:
        """Paths are stored relative to the root, so that the folder can be moved."""
        return path.relative_to(self.root).as_posix()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Turn the disk's refusals into one line that says what to do."""
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"checkpoint folder {self.root}: {error.strerror or error} ({error.filename}); make it a "
                "writable folder with free space, choose another out=, or go on without it: checkpoints=false"
            ) from error

    def _own_writer(self) -> files.Writer:
        """This process's writer; one inherited through fork stays the parent's."""
        if self._writer is not None and self._writer.pid != os.getpid():
            self._writer.abandon()
            self._writer = None
        self._writer = self._writer or files.Writer(self.root)
        return self._writer

    def close(self) -> None:
        """Close this process's connection. Pins and checkpoints stay."""
        self._database.close()
        if self._writer is not None and self._writer.pid == os.getpid():
            self._writer.close()
            self._writer = None

    def __enter__(self) -> CheckpointRegistry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.root, self.quota_bytes, self.timeout)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _checked_quota(quota: int | None) -> int | None:
    if quota is not None and quota < 0:
        raise UsageError(f"checkpoint quota={quota} bytes must be 0 or more, or None for no limit")
    return quota
