"""Whether two LaTeX answers are the same, by math-verify, in bounded time and from any thread.

math-verify's own limit is ``signal.alarm``, which works in a main thread only, and verl calls rewards from worker
threads. Here helper processes (`math_worker`) do the comparing. They are killed when they go over a limit of CPU time
(so that a busy machine changes no reward) or of wall time, and the answer then counts as wrong.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import json
import logging
import os
import queue
import re
import subprocess
import sys
import threading

from jfhpo.core.errors import UsageError
from jfhpo.tasks.datasets.answers import LONGEST_BOX, last_box

logger = logging.getLogger(__name__)
HELPERS = min(4, os.cpu_count() or 1)
"""Helper processes per process that asks, started when needed: about 70 MB each."""
FLEXIBLE_LOOKED_AT = 2000
"""Characters from the end in which `flexible` lets math-verify look for an answer."""
_BASE = re.compile(r"(?<=[0-9A-Fa-f])_\{?(\d+)\}?$")


class _Helper:
    def __init__(self, cpu_seconds: int, wall_seconds: float, megabytes: int):
        if importlib.util.find_spec("math_verify") is None:
            raise UsageError(
                "checking MATH answers needs math-verify, which is not installed: pip install -e '.[data]'"
            )
        command = [sys.executable, "-m", "jfhpo.tasks.datasets.math_worker", str(cpu_seconds), str(megabytes)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
        self.wall_seconds = wall_seconds
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, encoding="utf-8"
        )
        if self.process.stdout.readline() != "ready\n":
            self.close()
            raise RuntimeError(f"the helper process that checks MATH answers did not start: {' '.join(command)}")

    def ask(self, gold: str, given: str) -> bool | None:
        """The verdict, or None where the helper went over a limit and is gone."""
        watchdog = threading.Timer(self.wall_seconds, self.process.kill)
        watchdog.start()
        try:
            self.process.stdin.write(json.dumps([gold, given]) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watchdog.cancel()
        return json.loads(line) if line.endswith("\n") else None

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # a question that it never read
            self.process.stdin.close()


class MathChecker:
    """Compares answers on up to `helpers` processes; any number of threads may ask at once."""

    def __init__(self, helpers: int = HELPERS, cpu_seconds: int = 3, wall_seconds: float = 60.0, megabytes: int = 1024):
        self.limits = (cpu_seconds, wall_seconds, megabytes)
        self._idle: queue.LifoQueue[_Helper | None] = queue.LifoQueue()  # None: not started, or killed
        for _ in range(helpers):
            self._idle.put(None)

    def same(self, gold: str, given: str) -> bool:
        """Whether `given`, a text that holds an answer, answers `gold`; False where finding out takes too long."""
        helper, verdict = self._idle.get(), None
        try:
            if helper is not None and helper.process.poll() is not None:  # it died since, and not of this answer
                helper.close()
                helper = None
            helper = helper or _Helper(*self.limits)
            verdict = helper.ask(gold, given)
            if verdict is None:
                logger.info("counted as wrong, for it went over the limits of time or memory: %.80s", given)
        finally:
            if verdict is None and helper is not None:
                helper.close()
            self._idle.put(helper if verdict is not None else None)
        return bool(verdict)

    def close(self) -> None:
        """End the idle helpers; another question starts new ones."""
        for _ in range(self._idle.qsize()):
            if helper := self._idle.get():
                helper.close()
            self._idle.put(None)


@functools.lru_cache(maxsize=1)
def checker() -> MathChecker:
    """The process's own."""
    made = MathChecker()
    atexit.register(made.close)
    return made


os.register_at_fork(after_in_child=checker.cache_clear)  # a forked process must not talk to its parent's helpers


def math_right(completion: str, gold: str, extraction: str = "strict") -> bool:
    """Whether a completion answers `gold` (LaTeX).

    strict: its last ``\\boxed{...}`` is the answer. flexible: where there is no box, what math-verify finds.
    """
    given = last_box(completion)
    if given is None:
        if extraction != "flexible" or "\\boxed" in completion:
            return False
        return checker().same(gold, completion[-FLEXIBLE_LOOKED_AT:])
    gold, given = _bare(gold), _bare(given)
    if "".join(given.split()) == "".join(gold.split()):
        return True
    bases = [found[1] for text in (gold, given) if (found := _BASE.search(text))]
    if len(set(bases)) == 2:  # math-verify drops the base: to it 11_2 is 11_3
        return False
    return len(given) <= LONGEST_BOX and checker().same(gold, f"\\boxed{{{given}}}")


def _bare(answer: str) -> str:
    """Without what math-verify cannot parse at the end of a boxed answer: a full stop, and the percent sign, which
    MATH's own comparison (Hendrycks et al. 2021) drops too."""
    return re.sub(r"(?:\\?%|\.|\s)+$", "", answer.strip().strip("$"))
