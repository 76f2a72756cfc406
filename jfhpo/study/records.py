"""`records.jsonl`: what happened, one JSON object per line, flushed and fsynced before anything depends on it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError

RECORDS, SUMMARY, CONFIG, LOCK = "records.jsonl", "summary.json", "config.yaml", ".lock"


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Every whole event. A last line without its newline was being written when the process died: it is left out."""
    path = folder / RECORDS
    if not path.exists():
        return []
    return [event for event, _ in _whole_lines(path)]


def _whole_lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """(event, end offset in bytes) of each whole line."""
    end = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            end += len(line)
            try:
                yield json.loads(line), end
            except json.JSONDecodeError as error:
                where = f"{path} line {number}"
                raise UsageError(f"{where} is damaged ({error.msg}); restore it or delete the folder") from error


class Recorder:
    """Appends events; holds the folder's lock so that two processes cannot write one study."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._lock = (folder / LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            reason = "is being written by another process; wait for it or choose another out="
            raise UsageError(f"{folder} {reason}") from error
        path = folder / RECORDS
        whole = max((end for _, end in _whole_lines(path)), default=0) if path.exists() else 0
        self._file = path.open("ab")
        self._file.truncate(whole)  # drop the half line of a killed process, or the next event would join it

    def write(self, event: str, **fields: Any) -> dict[str, Any]:
        entry = {"event": event, **fields}
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        return entry

    def close(self) -> None:
        self._file.close()
        self._lock.close()


class BriefRecorder:
    """Of a simulated study, which takes seconds and is run again where it was ended: events are kept in memory and
    written at once when the study is finished, unless told otherwise without the steps at which nothing was
    validated."""

    def __init__(self, folder: Path, every_step: bool = False):
        self.folder, self.every_step = folder, every_step
        self._lines: list[str] = []

    def write(self, event: str, **fields: Any) -> dict[str, Any]:
        entry = {"event": event, **fields}
        if event != "step" or self.every_step or fields["record"]["val_accuracy"] is not None:
            self._lines.append(json.dumps(entry))
        if event == "finished":
            write_atomically(self.folder / RECORDS, "\n".join(self._lines) + "\n")
        return entry

    def close(self) -> None:
        """A study that is not finished leaves nothing."""


def write_atomically(path: Path, text: str) -> None:
    """Write aside, fsync, rename: a reader sees the old file or the new one, never half of one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def read_summary(folder: Path) -> dict[str, Any] | None:
    """What a finished study left, None where there is none."""
    path = folder / SUMMARY
    return json.loads(path.read_text()) if path.exists() else None


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    write_atomically(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
