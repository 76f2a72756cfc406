"""A process that outlives nobody: it runs a command, and ends every process that came of it.

    python -m jfhpo.trainers.verl.guard COMMAND…     (standard input: a pipe that its starter holds open)

verl's driver starts Ray, Ray starts workers in sessions of their own, and those start vLLM's engines; a signal to the
driver reaches few of them. The guard is their subreaper (prctl(2)): whoever loses its parent becomes its child, so it
finds all of them at any time, and nothing can slip away. It ends them when the command has ended, when it is told to
(a line on standard input), and when its starter has gone, however: a pipe closes with the process that held it, with
SIGKILL too. Linux only, as verl.

What processes had mapped in /dev/shm, where verl hands weights to vLLM, is removed with them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <sys/prctl.h>
GRACE = 5.0
"""Seconds that the command has to end by itself once its starter asks for it."""
TICKS = os.sysconf("SC_CLK_TCK")


def guard(command: list[str]) -> int:
    """Run the command to its end or the starter's; its exit code, or 128 + the signal that ended it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
    )
    asked = False
    while child.poll() is None and not asked:
        asked = bool(select.select([sys.stdin], [], [], 0.2)[0])
    if asked and sys.stdin.readline():  # an empty line means that the pipe was closed: nobody waits for a clean end
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
    end_descendants()
    code = child.wait()
    return code if code >= 0 else 128 - code


def end_descendants(patience: float = 30.0) -> None:
    """SIGKILL to every descendant, again until there is none: one may fork while others are being ended.

    After `patience` seconds what is left cannot be ended: it waits in the kernel for a device that does not answer."""
    shared: set[str] = set()
    until = time.monotonic() + patience
    while (alive := list(descendants(os.getpid()))) and time.monotonic() < until:
        for pid in alive:
            shared |= set(shared_memory(pid))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    for path in shared:
        with contextlib.suppress(OSError):
            os.unlink(path)


Process = tuple[int, str, float]
"""Parent, state, and the CPU seconds of itself and of those that it has waited for."""


def descendants(root: int) -> list[int]:
    """Every living process that came of `root`, itself excluded."""
    processes = _processes()
    return [pid for pid in _below(root, processes) if processes[pid][1] != "Z"]


def cpu_seconds(root: int) -> float:
    """CPU time so far of `root` and of all that came of it, those included that have ended: a process counts for
    whoever waited for it, or is still there as a zombie."""
    processes = _processes()
    return sum(processes[pid][2] for pid in (root, *_below(root, processes)) if pid in processes)


def _below(root: int, processes: Mapping[int, Process]) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in processes.items():
        children.setdefault(parent, []).append(pid)
    waiting = list(children.get(root, ()))
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, ())


def _processes() -> dict[int, Process]:
    """All of this machine (proc(5))."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        found[int(entry.name)] = (int(fields[1]), fields[0], sum(map(int, fields[11:15])) / TICKS)
    return found


def shared_memory(pid: int) -> Iterator[str]:
    """Files in /dev/shm with weights in them that a process has mapped: verl's, and Python's shared memory."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return
    for line in maps.splitlines():
        path = line.partition("/dev/shm/")[2]
        if path.startswith(("verl_weights_", "psm_")) and not path.endswith("(deleted)"):
            yield f"/dev/shm/{path}"


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the starter decides, by its pipe
    sys.exit(guard(sys.argv[1:]))
