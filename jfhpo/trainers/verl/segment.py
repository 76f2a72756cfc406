"""`Segment`: one run of ``python -m verl.trainer.main_ppo`` as a child process, held at its gate after every step.

A segment begins with a configuration, from the base model or from a checkpoint, and ends with the process. It owns a
folder with all that the run writes: verl's log, the file logger's lines (``metrics.jsonl``, opened anew by every run,
so every segment has its own), Ray's session, temporary files. With the segment the folder goes too.

Between the two processes are a socket for orders (`jfhpo.trainers.verl.gate`) and the file logger for metrics; around
the child stands `jfhpo.trainers.verl.guard`, which leaves nothing of it behind, whichever of the two goes first.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jfhpo.core.trainer import TrainingFailed
from jfhpo.trainers.verl import guard
from jfhpo.trainers.verl.failures import explain

MAIN = (sys.executable, "-m", "verl.trainer.main_ppo")
TICK = 0.5
"""Seconds between looks at whether a silent child is still there."""
LOOK = 5.0
"""Seconds between looks at what it has cost so far."""


class Segment:
    """At most one order is under way. Every method that waits raises `TrainingFailed`, with the reason from the log,
    when the child ends, and after `timeout` seconds of silence, when it is ended; `close` it in either case."""

    def __init__(self, folder: Path, timeout: float, logs: Path | None = None, host: str = "127.0.0.1"):
        """`folder` is to be made, in one that goes with the trainer."""
        folder.mkdir()
        self.folder, self.timeout, self.host = folder, timeout, host
        self.name = f"{folder.parent.name}-{folder.name}"
        self.kept = logs / f"{self.name}.log" if logs is not None else None
        if self.kept is not None:  # where it stays from the first line on: a worker may be killed
            self.kept.parent.mkdir(parents=True, exist_ok=True)
        self.log = self.kept or self.folder / "verl.log"
        self.metrics, self.gate = self.folder / "metrics.jsonl", self.folder / "gate.json"
        self.step = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: socket.socket | None = None
        self.unread = b""
        self.lines = 0
        self.spent = 0.0

    def launch(self, words: Sequence[str], environment: Mapping[str, str], main: Sequence[str] = MAIN) -> int:
        """Start the child and wait until it stands at its gate; the step that it starts from."""
        listener = socket.create_server((self.host, 0))
        key = secrets.token_hex(16)
        # A socket's path may have 107 bytes, and vLLM's lie with the temporary files: not where TMPDIR says.
        (self.folder / "tmp").mkdir()
        self.gate.touch(mode=0o600)
        self.gate.write_text(json.dumps({"host": self.host, "port": listener.getsockname()[1], "key": key}))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jfhpo.trainers.verl.guard", str(self.folder.parent), *main, *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={
                    **os.environ,
                    **environment,
                    "VERL_FILE_LOGGER_PATH": str(self.metrics),
                    "TMPDIR": str(self.folder / "tmp"),
                },
                start_new_session=True,  # Ctrl-C goes to the study, which decides what becomes of its trials
            )
        with listener:
            self._until(lambda left: bool(select.select([listener], [], [], left)[0]), "its start")
            self.connection, _ = listener.accept()
        if self._answer("its start").get("key") != key:
            raise TrainingFailed("what connected to the gate of verl's run is not that run")
        self.step = int(self._answer("its start")["done"])
        return self.step

    def next(self) -> dict[str, Any]:
        """Let the child take a step; what its file logger wrote of it."""
        due = self.step + 1
        self._order(order="go")
        done = int(self._answer(f"step {due}")["done"])
        if done != due:
            raise TrainingFailed(f"verl took step {done} where step {due} was due")
        self.step = done
        return self._logged(due)

    def _logged(self, step: int) -> dict[str, Any]:
        lines = self.metrics.read_text().splitlines() if self.metrics.exists() else []
        for line in lines[self.lines :]:
            entry = json.loads(line)
            self.lines += 1
            if entry["step"] == step:
                return entry["data"]
        raise TrainingFailed(f"verl's file logger wrote nothing of step {step} to {self.metrics.name}")

    def save(self, folder: Path) -> Path:
        """verl's checkpoint of this step, written to `folder`: its ``global_step_<N>`` there."""
        self._order(order="save", folder=str(folder))
        return Path(self._answer(f"the checkpoint of step {self.step}")["saved"])

    def evaluate(self, file: Path, k: int, greedy: bool) -> tuple[list[list[float]], int]:
        """Per prompt of a parquet file whether each of k responses is right, and the tokens sampled."""
        self._order(order="evaluate", file=str(file), k=k, greedy=greedy)
        found = self._answer(f"the evaluation at step {self.step}")
        return found["right"], int(found["tokens"])

    def waits(self) -> bool:
        """Whether the child is there, at its gate."""
        return self.process is not None and self.connection is not None and self.process.poll() is None

    def cpu_seconds(self) -> float:
        """CPU time so far of the child and all its processes."""
        if self.process is not None and self.process.poll() is None:
            self.spent = max(self.spent, guard.cpu_seconds(self.process.pid))
        return self.spent

    def close(self) -> None:
        """End the child, by its own means where it stands at its gate, and remove what it wrote."""
        if self.process is not None:
            if self.process.poll() is None and self.connection is not None:
                with contextlib.suppress(TrainingFailed):
                    self._order(order="stop")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(15)
            self.end()
        if self.connection is not None:
            self.connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def end(self) -> None:
        """End the child and all that came of it now; returns when nothing of it is left."""
        self.cpu_seconds()
        if not self.process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):  # it has ended by itself
                self.process.stdin.write(guard.NOW.encode())
                self.process.stdin.flush()
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        self.process.wait()

    # -- what the methods above share

    def _order(self, **fields: Any) -> None:
        with contextlib.suppress(OSError):  # the child is gone: the answer says how
            self.connection.sendall(json.dumps(fields).encode() + b"\n")

    def _answer(self, what: str) -> dict[str, Any]:
        """The child's next line; `what` is being waited for."""

        def arrived(left: float) -> bool:
            if b"\n" in self.unread:
                return True
            if select.select([self.connection], [], [], left)[0]:
                with contextlib.suppress(ConnectionResetError):
                    part = self.connection.recv(1 << 16)
                    if part:
                        self.unread += part
                        return b"\n" in self.unread
                time.sleep(left)  # closed: the process is about to end, and says why
            return False

        self._until(arrived, what)
        line, _, self.unread = self.unread.partition(b"\n")
        return json.loads(line)

    def _until(self, holds: Callable[[float], bool], what: str) -> None:
        """Wait in pieces of `TICK` seconds; `TrainingFailed` once the child has ended or is silent for too long."""
        deadline, looked = time.monotonic() + self.timeout, time.monotonic()
        while not holds(TICK):
            if time.monotonic() > looked + LOOK:  # of a child that ends by itself nothing can be read afterwards
                self.cpu_seconds()
                looked = time.monotonic()
            if (code := self.process.poll()) is not None:
                raise TrainingFailed(self._with_log(f"{explain(self._text(), code)}, while {what} was waited for"))
            if time.monotonic() > deadline:
                self.end()
                said = f"verl was silent for {self.timeout:g} s while {what} was waited for, and was ended"
                raise TrainingFailed(self._with_log(f"{said}; {explain(self._text(), None)}"))

    def _text(self) -> str:
        """The end of the log."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 400_000))
            return log.read().decode(errors="replace")

    def _with_log(self, reason: str) -> str:
        return f"{reason} (log: {self.kept})" if self.kept is not None else reason
