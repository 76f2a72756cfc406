"""A process that outlives nobody: it runs a command, and ends every process that came of it.

    python -m jfhpo.trainers.verl.guard FOLDER COMMAND…     (standard input: a pipe that its starter holds open)

verl's driver starts Ray, Ray starts workers in sessions of their own, and those start vLLM's engines; a signal to the
driver reaches few of them. The guard is their subreaper (prctl(2)): whoever loses its parent becomes its child, so it
finds all of them at any time, and nothing can slip away. It ends them when the command has ended, when it is told to
(`END`, or `NOW` on standard input), and when its starter has gone, however: a pipe closes with the process that held
it, with SIGKILL too. Nobody is left then to remove the starter's FOLDER, so the guard does. Linux only, as verl.

What processes had mapped in /dev/shm, where verl hands weights to vLLM, is removed with them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <sys/prctl.h>
END, NOW = "end\n", "now\n"
"""What the starter can write: end, by SIGTERM first, or at once."""
GRACE = 5.0
"""Seconds that the command has to end by itself after SIGTERM."""
LOOK = 5.0
"""Seconds between looks at what is mapped in /dev/shm."""
TICKS = os.sysconf("SC_CLK_TCK")


def guard(folder: Path, command: list[str]) -> int:
    """Run the command to its end or the starter's; its exit code, or 128 + the signal that ended it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
    )
    asked, looked, shared = False, 0.0, set()
    while child.poll() is None and not asked:
        if time.monotonic() > looked + LOOK:  # a process that has ended maps nothing any more
            shared |= shared_memory(descendants(os.getpid()))
            looked = time.monotonic()
        asked = bool(select.select([sys.stdin], [], [], 0.2)[0])
    # A command that sees its starter gone may end before the pipe was looked at.
    asked = asked or bool(select.select([sys.stdin], [], [], 0)[0])
    order = sys.stdin.readline() if asked else NOW
    if order == END and child.poll() is None:
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
    shared |= end_descendants()
    code = child.wait()
    reap()
    for path in shared:
        with contextlib.suppress(OSError):
            os.unlink(path)
    if not order:  # the pipe was closed
        shutil.rmtree(folder, ignore_errors=True)
    return code if code >= 0 else 128 - code


def end_descendants(patience: float = 30.0) -> set[str]:
    """SIGKILL to every descendant, again until there is none: one may fork while others are being ended. Returns the
    shared memory that they had mapped.

    After `patience` seconds what is left cannot be ended: it waits in the kernel for a device that does not answer."""
    shared: set[str] = set()
    until = time.monotonic() + patience
    while (alive := list(descendants(os.getpid()))) and time.monotonic() < until:
        shared |= shared_memory(alive)
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return shared


def reap(patience: float = 30.0) -> None:
    """Wait for all that have been ended: a process whose first thread is a zombie may have others that are still
    letting go of its memory. What is not waited for would pass on to init, which in a container may never ask."""
    until = time.monotonic() + patience
    with contextlib.suppress(ChildProcessError):  # there is none any more
        while time.monotonic() < until:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(0.02)


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


def shared_memory(pids: Iterable[int]) -> set[str]:
    """Files in /dev/shm that these processes have mapped: verl's weights, vLLM's blocks, and locks."""
    found = set()
    for pid in pids:
        try:
            maps = Path(f"/proc/{pid}/maps").read_text()
        except OSError:  # ended meanwhile
            continue
        for line in maps.splitlines():
            name = line.partition(" /dev/shm/")[2]
            if name.startswith(("verl_weights_", "psm_", "sem.loky-")) and not name.endswith("(deleted)"):
                found.add(f"/dev/shm/{name}")
    return found


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the starter decides, by its pipe
    sys.exit(guard(Path(sys.argv[1]), sys.argv[2:]))
