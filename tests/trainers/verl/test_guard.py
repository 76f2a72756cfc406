"""No process outlives its guard: whatever the command started, and however the guard's own starter goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import shared_memory
from pathlib import Path

import pytest

from jfhpo.trainers.verl import guard

GUARD = [sys.executable, "-m", "jfhpo.trainers.verl.guard"]
PYTHON = [sys.executable, "-c"]
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


def start(code, folder="/nowhere", **settings):
    return subprocess.Popen(
        [*GUARD, str(folder), *PYTHON, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **settings
    )


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


@pytest.mark.parametrize("told", [True, False])
def test_the_end_of_the_pipe_ends_everything(tmp_path, told):
    process = start(STARTS_ONE + "time.sleep(600)", tmp_path / "folder")
    (tmp_path / "folder").mkdir()
    daemon = int(process.stdout.readline())
    process.stdin.write(guard.NOW if told else "")
    process.stdin.close()
    assert process.wait(20) == 137 and not is_alive(daemon)
    assert (tmp_path / "folder").exists() == told  # where nobody is left to read or remove it, the guard does


def test_a_word_on_the_pipe_lets_the_command_end_by_itself():
    process = start(ENDS_ITSELF)
    process.stdout.readline()
    process.stdin.write(guard.END)
    process.stdin.flush()
    assert process.wait(20) == 7


def test_a_starter_killed_with_sigkill_leaves_nothing_behind(tmp_path):
    command = [*PYTHON, STARTER, *GUARD, str(tmp_path / "folder"), *PYTHON, STARTS_ONE + "time.sleep(600)"]
    (tmp_path / "folder").mkdir()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    daemon = int(process.stdout.readline())
    family = guard.descendants(process.pid)
    assert daemon in family and len(family) == 3  # guard, command and daemon
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert all(map(gone, family)) and not [pid for pid in family[1:] if Path(f"/proc/{pid}").exists()]  # nor as zombies
    assert not (tmp_path / "folder").exists()


def test_cpu_seconds_count_those_that_have_ended():
    process = start(BURNS)
    process.stdout.readline()
    assert 0.5 <= guard.cpu_seconds(process.pid) < 5
    process.stdin.close()
    process.wait(20)


SHARES = """
import os, sys
from multiprocessing import resource_tracker, shared_memory
resource_tracker.register = lambda *_: None  # or Python would remove the block by itself
memory = shared_memory.SharedMemory(name=f"psm_test{os.getpid()}", create=True, size=4096)
print(os.getpid(), flush=True)
sys.stdin.read()
time.sleep(SECONDS)
os._exit(0)
"""


@pytest.mark.parametrize("told", [True, False])
def test_shared_memory_goes_with_the_processes_that_mapped_it(told):
    other = shared_memory.SharedMemory(name=f"psm_other{os.getpid()}", create=True, size=4096)
    try:
        process = start("import time\n" + SHARES.replace("SECONDS", "600" if told else str(1.5 * guard.LOOK)))
        block = Path(f"/dev/shm/psm_test{process.stdout.readline().strip()}")
        assert block.exists() and guard.shared_memory(guard.descendants(process.pid)) == {str(block)}
        if told:
            process.stdin.write(guard.NOW)
            process.stdin.close()
        process.wait(20)
        assert not block.exists() and Path(f"/dev/shm/{other.name}").exists()
    finally:
        other.close()
        other.unlink()


def test_the_folder_goes_too_where_the_command_ends_before_its_starter_is_missed(tmp_path):
    (tmp_path / "folder").mkdir()
    process = start("print(1, flush=True); import time; time.sleep(0.01)", tmp_path / "folder")
    process.stdin.close()
    process.wait(20)
    assert not (tmp_path / "folder").exists()
