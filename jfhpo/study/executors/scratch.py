"""Folders for the temporary files of worker processes, which nobody's death leaves behind for long.

Libraries write to the temporary folder when they are imported, and what they mean to remove at their end stays there
when they are killed. So every worker gets a temporary folder of its own, and whoever started it removes that after it.
A folder whose owner was killed, too, goes when the next one is made: an owner holds an ``flock`` on it, which the
kernel drops at death, however sudden. That is how the folders of the dead are told from those in use.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "jfhpo-worker-"


class Scratch:
    """One folder, there until `remove`."""

    def __init__(self) -> None:
        sweep()
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._descriptor = _locked(self.path)
            if self._descriptor is not None:  # or a sweeper took the new, not yet locked folder for a dead owner's
                return

    def remove(self) -> None:
        """The folder and all that is in it; a second time, nothing."""
        if self._descriptor is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._descriptor)
            self._descriptor = None


def sweep() -> None:
    """Remove the folders of dead owners."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        descriptor = _locked(path)
        if descriptor is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)


def _locked(path: Path) -> int | None:
    """An open descriptor that holds the folder's lock; None where another holds it, or the folder is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except OSError:  # locked by another, or removed by one
        pass
    os.close(descriptor)
    return None
