"""The helper process of `math_check`: compares LaTeX answers by math-verify, one JSON line in, one out.

The system's limits on CPU time and memory hold whatever sympy is busy with, a C function included: a process that
goes over the first is killed, and its parent starts another.
"""

from __future__ import annotations

import json
import logging
import math
import resource
import signal
import sys


def limit_memory(megabytes: int) -> None:
    if sys.platform == "linux":  # macOS knows the limit but does not keep it
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))


def limit_cpu(seconds: int) -> None:
    """Allow this many more seconds of CPU time; then the process is killed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime) + seconds
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def same(gold: str, given: str) -> bool:
    """Whether math-verify takes `given` (text that holds the answer) for `gold` (LaTeX): sympy's algebra, sets and
    intervals, six digits for decimals. What cannot be parsed is compared as text."""
    from math_verify import parse, verify

    golds = parse(f"\\boxed{{{gold}}}", parsing_timeout=None)
    answers = parse(given, parsing_timeout=None)
    return bool(verify(golds, answers, timeout_seconds=None))


def main(cpu_seconds: int, megabytes: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent; this process ends when its input does
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it warns that its own time limit is off
    same("1", "\\boxed{1}")  # sympy and the parser are loaded before the limits begin to count
    limit_memory(megabytes)
    print("ready", flush=True)
    for line in sys.stdin:
        limit_cpu(cpu_seconds)
        try:
            answer = same(*json.loads(line))
        except (MemoryError, RecursionError):
            answer = False
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
