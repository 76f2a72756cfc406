"""kill -9 in the middle of a real GRPO trial: the same command again ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jfhpo.study.records import read_records
from tests.study.study_parts import without_times

REPOSITORY = Path(__file__).parents[2]
WORDS = [
    "scale=smoke",
    "problem.pretrain.max_steps=5",
    "problem.pretrain.polluted_steps=2",
    "budget_unit=flops",
    "budget=2.5e10",
    "checkpoint_every=2",
    "test_k=1",
    "tracking=none",
    "seed=3",
]


def command(out: Path, method: str) -> list[str]:
    return [sys.executable, "-m", "experiments.run", *WORDS, f"method={method}", f"out={out}"]


def study_folder(out: Path, method: str) -> Path:
    return out / "main" / "last_digit" / method / "seed=3"


def finish(out: Path, method: str) -> dict:
    done = subprocess.run(command(out, method), cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return without_times(json.loads((study_folder(out, method) / "summary.json").read_text()))


def kill_after(out: Path, method: str, steps: int) -> int:
    """Start the study, kill it and its worker with SIGKILL after so many recorded steps; returns the trial hit."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command(out, method), cwd=REPOSITORY, start_new_session=True, **quiet)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        seen = [e for e in read_records(study_folder(out, method)) if e["event"] == "step"]
        if len(seen) >= steps:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return seen[-1]["trial"]
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    raise AssertionError("no steps were recorded")


@pytest.mark.parametrize(("method", "kills"), [("random_search", [5]), ("jfhpo", [3, 13])])
def test_a_study_killed_with_sigkill_continues_to_the_same_end(tmp_path, method, kills):
    whole = finish(tmp_path / "whole", method)
    for steps in kills:
        kill_after(tmp_path / "killed", method, steps)
    assert finish(tmp_path / "killed", method) == whole

    def course(out: str) -> list:
        events = read_records(study_folder(tmp_path / out, method))
        return [without_times(e) for e in events if e["event"] in ("asked", "told")]

    assert course("killed") == course("whole"), "every proposal and every result is the same"
