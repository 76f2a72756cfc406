"""One run of NOMAD 4 from one starting point, as far as its answers are known.

PyNomad wants a function that returns the objective, and keeps its cache, counters and random state in the process: no
two runs can be under way at a time, and none could be left waiting for hours. But MADS is a function of its seed and of
what it was answered. So a run is made again for every proposal: points whose answers are known are answered at once,
and the first point that has none is the proposal. This takes about 5 ms per answer, and no thread, process or file.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import PyNomad

from baselines.nomad_space import Encoding
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config

MAX_CACHE_HITS = 2000
"""NOMAD's own limit where all variables are discrete, given so that it need not print it."""
ONE_AT_A_TIME = threading.Lock()


class NomadRun:
    """MADS from a starting configuration.

    Args:
        answers: by `config_key`, the objective, which is minimised, or None for a failed evaluation. Not copied.
        parameters: lines of a NOMAD parameter file. A wrong one is a segmentation fault: none may come from a user.
    """

    def __init__(
        self,
        encoding: Encoding,
        start: Config,
        answers: Mapping[str, float | None],
        parameters: Sequence[str],
        seed: int,
    ):
        self.encoding, self.start, self.answers = encoding, dict(start), answers
        bounds = [v.bounds for v in encoding.variables]
        self.x0 = encoding.point(start)
        self.low, self.high = [low for low, _ in bounds], [high for _, high in bounds]
        self.parameters = [
            f"BB_INPUT_TYPE ( {' '.join(v.letter for v in encoding.variables)} )",
            "BB_OUTPUT_TYPE OBJ",
            "DISPLAY_DEGREE 0",
            f"SEED {seed}",
            *parameters,
        ]
        if all(v.letter != "R" for v in encoding.variables):
            self.parameters.append(f"MAX_EVAL {MAX_CACHE_HITS}")
        self.limit = 1
        """Evaluations after which NOMAD is to stop: one more than had answers so far."""

    def proposal(self) -> Config | None:
        """The first configuration on NOMAD's way without an answer; None where the way ends, because the mesh is at its
        finest or the starting point failed."""
        while True:
            evaluated, unknown, reason = self._again()
            if unknown is not None:
                self.limit = evaluated + 1
                return unknown
            if "Ctrl-C" in reason:
                signal.raise_signal(signal.SIGINT)  # NOMAD took it for itself
            elif evaluated < self.limit:
                return None
            else:
                self.limit *= 2  # more points had answers than this run knew of: an earlier one had been there

    def _again(self) -> tuple[int, Config | None, str]:
        """(points evaluated, the last of them if it has no answer, why NOMAD stopped)."""
        evaluated, unknown, error = 0, None, None

        def blackbox(x: PyNomad.PyNomadEvalPoint) -> int:
            nonlocal evaluated, unknown, error
            if unknown is not None or error is not None:
                return 0
            try:
                evaluated += 1
                config = self._config([x.get_coord(i) for i in range(x.size())], first=evaluated == 1)
                key = config_key(config)
                if key not in self.answers:
                    unknown = config
                elif self.answers[key] is not None:
                    x.setBBO(repr(float(self.answers[key])).encode())
                    return 1
            except Exception as caught:  # PyNomad would print it and go on
                error = caught
            return 0

        with ONE_AT_A_TIME, _interrupts_kept():
            PyNomad.setSeed(0)  # a SEED equal to the last one is passed over, and the default's numbers are drawn
            parameters = [*self.parameters, f"MAX_BB_EVAL {self.limit}"]
            done = PyNomad.optimize(blackbox, self.x0, self.low, self.high, parameters)
        if error is not None:
            raise error
        return evaluated, unknown, done["stop_reason"]

    def _config(self, point: list[float], first: bool) -> dict[str, Any]:
        """The starting point is the configuration that was passed, to the last digit."""
        return self.start if first else self.encoding.config(point)


_get_signal = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_int)(("PyOS_getsig", ctypes.pythonapi))
_set_signal = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(("PyOS_setsig", ctypes.pythonapi))


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """NOMAD puts its own handler of SIGINT below Python's and leaves it there: Ctrl-C would do nothing any more."""
    handler = _get_signal(signal.SIGINT)
    try:
        yield
    finally:
        _set_signal(signal.SIGINT, handler)
