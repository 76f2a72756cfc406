"""No process outlives its guard: whatever the command started, and however the guard's own starter goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from jfhpo.trainers.verl import guard

GUARD = [sys.executable, "-m", "jfhpo.trainers.verl.guard", sys.executable, "-c"]
DAEMON = "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nprint(os.getpid(), flush=True)\ntime.sleep(600)"
STARTS_ONE = f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {DAEMON!r}])\n"

ENDS_ITSELF = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print(1, flush=True)
time.sleep(600)
"""
BURNS = """
import subprocess, sys, time
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.5: pass"])
print(1, flush=True)
time.sleep(600)
"""
STARTER = """
import subprocess, sys
subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE).wait()
"""


def start(code, **settings):
    return subprocess.Popen([*GUARD, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **settings)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid, within=10.0):
    until = time.monotonic() + within
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_alive(pid)


@pytest.mark.parametrize("code, expected", [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_it_exits_as_its_command_does(code, expected):
    process = start(code)
    assert process.wait(20) == expected


def test_a_process_in_a_session_of_its_own_ends_with_the_command():
    process = start(STARTS_ONE + "time.sleep(1)")
    daemon = int(process.stdout.readline())
    assert is_alive(daemon) and daemon in guard.descendants(process.pid)
    assert process.wait(20) == 0
    assert not is_alive(daemon)


def test_closing_the_pipe_ends_everything():
    process = start(STARTS_ONE + "time.sleep(600)")
    daemon = int(process.stdout.readline())
    process.stdin.close()
    assert process.wait(20) == 137 and not is_alive(daemon)


def test_a_word_on_the_pipe_lets_the_command_end_by_itself():
    process = start(ENDS_ITSELF)
    process.stdout.readline()
    process.stdin.write("end\n")
    process.stdin.flush()
    assert process.wait(20) == 7


def test_a_starter_killed_with_sigkill_leaves_nothing_behind():
    command = [sys.executable, "-c", STARTER, *GUARD, STARTS_ONE + "time.sleep(600)"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    daemon = int(process.stdout.readline())
    family = guard.descendants(process.pid)
    assert daemon in family and len(family) == 3  # guard, command and daemon
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert all(map(gone, family))


def test_cpu_seconds_count_those_that_have_ended():
    process = start(BURNS)
    process.stdout.readline()
    assert 0.5 <= guard.cpu_seconds(process.pid) < 5
    process.stdin.close()
    process.wait(20)


def test_shared_memory_with_weights_is_found(tmp_path):
    from multiprocessing import shared_memory

    memory = shared_memory.SharedMemory(name=f"verl_weights_test{os.getpid()}", create=True, size=4096)
    try:
        assert list(guard.shared_memory(os.getpid())) == [f"/dev/shm/verl_weights_test{os.getpid()}"]
    finally:
        memory.close()
        memory.unlink()
