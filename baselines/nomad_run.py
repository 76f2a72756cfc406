"""One run of NOMAD 4 from one starting point, in a process of its own.

PyNomad wants a function that returns the objective, and keeps its cache, counters, random state and a SIGINT handler in
the process; an exception within it is the end of that process. So every run has its own, which waits in the objective
until the next proposal is asked for (`baselines.nomad_worker`), and ends when the run is let go, with the interpreter,
or when its parent is killed.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from baselines.nomad_space import Encoding
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config

WORKER = Path(__file__).with_name("nomad_worker.py")
MAX_CACHE_HITS = 2000
"""NOMAD's own limit where all variables are discrete: it may then go round in circles on an exhausted mesh."""


class NomadRun:
    """MADS from a starting configuration, or without one from the best of a `cache` of configurations and scores.

    Args:
        answers: by `config_key`, the objective, which is minimised, or None for a failed evaluation. Not copied: an
            answer is to be there when the next proposal is asked for.
        parameters: lines of a NOMAD parameter file. A wrong one is a segmentation fault: none may come from a user.
    """

    def __init__(
        self,
        encoding: Encoding,
        start: Config | None,
        answers: Mapping[str, float | None],
        parameters: Sequence[str],
        seed: int,
        cache: Sequence[tuple[Config, float]] = (),
    ):
        self.encoding, self.start, self.answers = encoding, start and dict(start), answers
        self.folder = tempfile.TemporaryDirectory(prefix="jfhpo-nomad-") if start is None else None
        """Of the cache, which NOMAD reads and at its end writes."""
        bounds = [v.bounds for v in encoding.variables]
        letters = [v.letter for v in encoding.variables]
        self.problem = {
            "x0": encoding.point(start) if start is not None else [],
            "low": [low for low, _ in bounds],
            "high": [high for _, high in bounds],
            "parameters": [
                f"BB_INPUT_TYPE ( {' '.join(letters)} )",
                "BB_OUTPUT_TYPE OBJ",
                "DISPLAY_DEGREE 0",
                f"SEED {seed}",
                *parameters,
                *([] if "R" in letters else [f"MAX_EVAL {MAX_CACHE_HITS}"]),
                *([] if self.folder is None else [f"CACHE_FILE {self._write(cache)}"]),
            ],
        }
        self.process: subprocess.Popen | None = None
        self.waiting: Config | None = None
        """The configuration whose answer NOMAD waits for."""
        self.over = False

    def _write(self, cache: Sequence[tuple[Config, float]]) -> Path:
        """NOMAD's cache file: a point and its objective per line. Points that are equal to NOMAD stand there once."""
        values = {tuple(self.encoding.point(config)): 1.0 - score for config, score in cache}
        lines = [f"( {' '.join(map(repr, point))} ) EVAL_OK ( {value!r} )" for point, value in values.items()]
        path = Path(self.folder.name) / "cache.txt"
        path.write_text("\n".join(["CACHE_HITS 0", "BB_OUTPUT_TYPE OBJ", *lines, ""]))
        return path

    def proposal(self) -> Config | None:
        """The next configuration without an answer; None where the run has ended: the mesh is at its finest, the
        starting point failed, or NOMAD did."""
        if self.over:
            return None
        if self.process is None:
            self._begin()
        while True:
            if self.waiting is not None:
                self._say(self.answers[config_key(self.waiting)])
            point = self._hear()
            if point is None:
                self.end()
                if self.waiting is None and self.start is not None:
                    raise RuntimeError(f"NOMAD ended before its starting point, of {self.problem}; run {WORKER}")
                return None
            # The starting point is the configuration that was passed, to the last digit.
            first = self.waiting is None and self.start is not None
            self.waiting = self.start if first else self.encoding.config(point)
            if config_key(self.waiting) not in self.answers:
                return self.waiting

    def end(self) -> None:
        """Let go of its process. There are no more proposals."""
        self.over = True
        if self.process is not None:
            self._finish()

    def _begin(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C is for the study, which ends its runs by itself
        )
        self._finish = weakref.finalize(self, _finish, self.process)
        self._say(self.problem)

    def _say(self, message: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended, and so has its output
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def _hear(self) -> list[float] | None:
        line = self.process.stdout.readline()
        return json.loads(line) if line else None


def _finish(process: subprocess.Popen) -> None:
    """Its input ends, and so does it."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    process.wait()
