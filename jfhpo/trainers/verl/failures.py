"""Why a run of verl failed, in one line, from the end of its log.

A failure shows up many times: first where it happened, then in the traceback of everyone that waited for it, with
Ray's names and colours around it. What is known is looked for first, most specific first; else the last exception that
is not merely the news of another one is quoted.
"""

from __future__ import annotations

import re

KNOWN: tuple[tuple[str, str], ...] = (
    (r"(?:torch\.)?(?:cuda\.)?OutOfMemoryError: (CUDA out of memory(?:[^\n]*?GiB)?)", "out of GPU memory"),
    (r"(Free memory on device[^\n]*less than desired GPU memory utilization[^\n]*?\))", "out of GPU memory for vLLM"),
    (r"(No available memory for the cache blocks[^\n]*)", "out of GPU memory for vLLM"),
    (r"(?:ray\.exceptions\.)?OutOfMemoryError: (Task was killed[^\n]*|[^\n]*memory[^\n]*)", "out of memory"),
    (r"((?:worker|node)[^\n]*running low on memory[^\n]*)", "out of memory"),
    (r"(?:numpy\._core\._exceptions\._Array)?MemoryError:? ?([^\n]*)", "out of memory"),
    (r"(Watchdog caught collective operation timeout: [^\n]*)", "NCCL"),
    (r"((?:NCCL error|ncclUnhandledCudaError|ncclSystemError|ncclInternalError|ncclRemoteError)[^\n]*)", "NCCL"),
    (r"(Total available GPUs [^\n]*less than total desired[^\n]*)", "Ray has too few GPUs"),
    (r"((?:Could not find any running Ray instance|Failed to connect to Ray cluster|ray\.init\(\)[^\n]*timed out|"
     r"The current node timed out during startup|Failed to get cluster ID)[^\n]*)", "Ray"),
    (r"((?:No space left on device|\[Errno 28\])[^\n]*)", "disk full"),
)  # fmt: skip
"""Pattern -> what it is. The group is quoted."""
NEWS = ("RayTaskError", "RayActorError", "ActorDiedError", "WorkerCrashedError", "EngineDeadError", "HydraException")
"""Exceptions that say that another process failed; quoted where nothing says why."""
EXCEPTION = re.compile(
    r"^(?:[\w.]+\.)?(?P<name>[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure))(?:\([^)]*\))?: ?(?P<text>.*)$"
)
PREFIX = re.compile(r"^(?:\((?:[\w.:<> -]+)(?: pid=\d+)?(?:, ip=[\d.]+)?\) )+")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LONGEST = 300


def explain(log: str, code: int | None) -> str:
    """One line.

    Args:
        log: of the run, or its end.
        code: the exit code, above 128 where a signal ended it; None while it runs.
    """
    lines = [PREFIX.sub("", COLOUR.sub("", line)).strip() for line in log.splitlines()]
    text = "\n".join(lines)
    if code == 0:
        return "verl ended by itself (exit code 0)"
    for pattern, name in KNOWN:
        if found := re.search(pattern, text):
            return _short(f"{name}: {found[1].strip()}" if found[1].strip() else name)
    if said := _exception(lines):
        return _short(f"verl failed: {said}")
    if code is None:
        return "its log names no reason"
    if code > 128:
        killer = ", as the kernel does when memory runs out" if code == 137 else ""
        return f"verl was ended by signal {code - 128}{killer}; its log names no reason"
    return f"verl ended with exit code {code}; its log names no reason"


def _exception(lines: list[str]) -> str:
    """The last exception that is not news of another, else the last one of all."""
    found = [match for line in lines if (match := EXCEPTION.match(line))]
    own = [match for match in found if match["name"] not in NEWS]
    return f"{(own or found)[-1]['name']}: {(own or found)[-1]['text']}" if found else ""


def _short(line: str) -> str:
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
