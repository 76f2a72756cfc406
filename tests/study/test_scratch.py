"""Folders of workers' temporary files: gone with the worker, or with the next study where all were killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from jfhpo.study.executors.scratch import Scratch, sweep

HOLDS = "from jfhpo.study.executors.scratch import Scratch; s = Scratch(); print(s.path, flush=True); input()"
STUDY = """
import sys
from jfhpo.study.executors.local import Worker
from jfhpo.study.executors.protocol import TrainerSpec
worker = Worker(TrainerSpec("curves", "tests.fakes.curve_trainer:CurveTrainer", {}, "v1"), 60.0)
(worker.scratch.path / "left").write_text("by a library")
worker.call("overhead")
print(worker.process.pid, flush=True)
input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def process(code: str) -> subprocess.Popen:
    root = str(Path(__file__).parents[2])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], cwd=root, env=os.environ | {"PYTHONPATH": root}, **pipes)


def test_a_folder_is_there_until_it_is_removed_and_once_only(temporary):
    one, other = Scratch(), Scratch()
    (one.path / "below").mkdir()
    (one.path / "below" / "file").write_text("x")
    assert set(temporary.iterdir()) == {one.path, other.path}
    one.remove()
    one.remove()
    assert list(temporary.iterdir()) == [other.path]
    other.remove()


def test_the_folder_of_a_killed_owner_goes_and_that_of_a_living_one_stays(temporary):
    living, dead = process(HOLDS), process(HOLDS)
    paths = [Path(p.stdout.readline().decode().strip()) for p in (living, dead)]
    dead.kill()
    dead.wait()
    sweep()
    assert list(temporary.iterdir()) == [paths[0]]
    living.communicate(b"\n")
    mine = Scratch()
    assert list(temporary.iterdir()) == [mine.path]
    mine.remove()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_of_a_study_that_dies_end_by_themselves_and_take_their_folders_along(temporary, how):
    study = process(STUDY)
    worker = int(study.stdout.readline())
    assert len(list(temporary.iterdir())) == 1
    pidfd = os.pidfd_open(worker)
    study.send_signal(how)
    study.wait()
    wait_for(pidfd)
    assert list(temporary.iterdir()) == []


def wait_for(pidfd: int) -> None:
    """Until a process has ended that is not one's own child."""
    ended, _, _ = select.select([pidfd], [], [], 30)
    os.close(pidfd)
    assert ended


def test_other_files_in_the_temporary_folder_are_left_alone(temporary):
    (temporary / "jfhpo-notes").mkdir()
    (temporary / "jfhpo-worker-file").write_text("not a folder")
    sweep()
    assert {p.name for p in temporary.iterdir()} == {"jfhpo-notes", "jfhpo-worker-file"}
