"""The file side of the checkpoint registry: what makes a checkpoint whole on disk, and who is still writing.

A checkpoint is a file, or a folder (verl writes folders) of files and folders; nothing else, so that its bytes
are all its own. In the folder of its scope it is called

    <key, 16 hex>.<step, 8 digits>.<writer, 16 hex>-<counter>          and, until it is whole, the same + ``.tmp``

No name is ever used twice, so a replacement never touches what it replaces. A writer holds an ``flock`` on
``.writers/<writer>.lock`` for as long as it lives; the kernel drops it at death, however sudden. That is how
leftovers of the dead are told from work in progress, without trusting process ids.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from jfhpo.core.trainer import CheckpointError

SCOPE_NAME = re.compile(r"[0-9a-f]{16}")
FILE_NAME = re.compile(r"[0-9a-f]{16}\.\d{8,}\.(?P<writer>[0-9a-f]{16})-\d+(\.tmp)?")
WRITERS = ".writers"
ASIDE = ".tmp"
BLOCK = 1 << 20


def entries(path: Path) -> Iterator[tuple[str, Path, bool]]:
    """``(relative name, path, is a folder)`` of a file or folder and all below it, parents first, names sorted.

    Raises `CheckpointError` for links (what they point to may change or stay behind) and special files."""
    pending = [("", path)]
    while pending:
        name, here = pending.pop()
        mode = os.lstat(here).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise CheckpointError(f"{name or path.name} is neither a file nor a folder (a link, perhaps)")
        yield name, here, stat.S_ISDIR(mode)
        if stat.S_ISDIR(mode):
            below = sorted(os.listdir(here), reverse=True)
            pending += [(f"{name}/{child}" if name else child, here / child) for child in below]


def size(path: Path) -> int:
    """Bytes of the file, or of all files in the folder."""
    own = os.lstat(path)
    if not stat.S_ISDIR(own.st_mode):
        return own.st_size
    return sum(os.lstat(os.path.join(here, name)).st_size for here, _, names in os.walk(path) for name in names)


def digest(path: Path) -> str:
    """SHA-256 in hex: of a file its bytes, as ``sha256sum`` prints it; of a folder every entry's kind, name and
    size, and every file's bytes, by sorted names."""
    total, block = hashlib.sha256(), memoryview(bytearray(BLOCK))
    is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
    for name, here, folder in entries(path):
        if is_folder:
            length = 0 if folder else os.lstat(here).st_size
            total.update(f"{'d' if folder else 'f'} {length} {name}\0".encode("utf-8", "surrogateescape"))
        if not folder:
            with open(here, "rb", buffering=0) as file:
                while read := file.readinto(block):
                    total.update(block[:read])
    return total.hexdigest()


def problem(path: Path, expected_bytes: int, expected_digest: str) -> str | None:
    """Why the checkpoint at `path` is not the one that was published, or None if it is.

    Only what its content says: a file that cannot be read at the moment raises `OSError`."""
    try:
        found = size(path)
        if found != expected_bytes:
            return f"has {found} bytes instead of {expected_bytes}"
        if digest(path) != expected_digest:
            return "content altered (sha256 differs)"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except CheckpointError as error:
        return f"altered: {error}"
    return None


def sync(path: Path) -> None:
    """Force a file, or a folder and all below it, to disk: contents first, then the folders that name them."""
    for _, here, _ in reversed(list(entries(path))):
        sync_one(here)


def sync_one(path: Path) -> None:
    """fsync of one file, or of one folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file or folder; one that is gone already, or goes meanwhile by another's hand, is fine."""
    while os.path.lexists(path):
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except FileNotFoundError:
            continue  # another process removes the same folder: look again, until nothing is left


class Writer:
    """A name for this registry object's files, and the lock that says it is alive."""

    def __init__(self, root: Path):
        self.pid = os.getpid()
        self.counter = 0
        folder = root / WRITERS
        folder.mkdir(exist_ok=True)
        while True:
            self.id = os.urandom(8).hex()
            self._lock = folder / f"{self.id}.lock"
            self._descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            # A collector may have taken the new, not yet locked file for a dead writer's: then try another name.
            if _try_lock(self._descriptor) and _is_at(self._descriptor, self._lock):
                return
            os.close(self._descriptor)

    def name(self, key: str, step: int) -> str:
        """A file name never used before for this key and step."""
        self.counter += 1
        return f"{key}.{step:08d}.{self.id}-{self.counter}"

    def close(self) -> None:
        self._lock.unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Let go of a lock inherited through fork; the parent still holds it."""
        os.close(self._descriptor)


def is_alive(root: Path, writer: str) -> bool:
    """Whether the writer of that id still runs. A False is final: ids are never used again."""
    try:
        descriptor = os.open(root / WRITERS / f"{writer}.lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def dead_files(root: Path) -> list[Path]:
    """Every file or folder under `root` with a checkpoint's name whose writer is dead, rows or no rows."""
    alive: dict[str, bool] = {}
    found = []
    for scope in sorted(root.iterdir()):
        if SCOPE_NAME.fullmatch(scope.name) and scope.is_dir():
            for path in sorted(scope.iterdir()):
                if match := FILE_NAME.fullmatch(path.name):
                    writer = match["writer"]
                    if writer not in alive:
                        alive[writer] = is_alive(root, writer)
                    if not alive[writer]:
                        found.append(path)
    return found


def remove_dead_locks(root: Path) -> None:
    """Delete the lock files that dead writers left."""
    for lock in (root / WRITERS).glob("*.lock"):
        try:
            descriptor = os.open(lock, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            if _try_lock(descriptor):
                lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one that lies at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
