"""Whole studies on the verl trainer, in worker processes as always, over the stand-in for verl."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.config import build_problem, load
from jfhpo.core.trial import Fidelity, Trial
from jfhpo.study.checkpoints import CheckpointRegistry
from jfhpo.study.executors.local import LocalExecutor
from jfhpo.study.loop import Study
from jfhpo.study.methods import method
from jfhpo.study.records import read_records
from jfhpo.study.settings import StudySettings
from jfhpo.trainers.verl import engine, guard
from tests.trainers.verl.test_guard import gone
from tests.trainers.verl.test_trainer import CONFIG, FAKE

WORDS = (
    "problem=last_digit", "problem.trainer=verl", "problem.proxy=xs", "problem.target=xs", "problem.max_steps=4",
    "problem.rungs=[2,4]", "+problem.trainer_settings.device=cpu", "+problem.trainer_settings.timeout=60",
)  # fmt: skip


@pytest.fixture
def parts(monkeypatch, hf_folder):
    """The problem and the trainer that ``jfhpo run`` would make of these words, verl itself aside."""
    monkeypatch.setattr(engine, "installed", lambda: True)
    monkeypatch.setattr(engine, "compose", lambda words: None)
    problem, spec = build_problem(load(WORDS))
    return problem, replace(spec, arguments={**spec.arguments, "models": {"xs": str(hf_folder)}, "main": FAKE})


def run(folder, parts, name, trials):
    problem, spec = parts
    folder.mkdir()
    settings = StudySettings(
        experiment="main", scale="mini", label=name, seed=0, budget=1e5, max_trials=trials, workers=1,
        checkpoint_every=10, step_timeout=120.0, test_k=2,
    )  # fmt: skip
    cls = method(name)
    registry = CheckpointRegistry(folder.parent / "checkpoints")
    return Study(folder, problem, cls(problem, seed=0, settings=cls.Settings()), spec, registry, settings).run()


def test_a_study_from_its_words_to_its_test_evaluation(parts, tmp_path):
    summary = run(tmp_path / "study", parts, "asha", 4)
    events = read_records(tmp_path / "study")
    told = [event["result"] for event in events if event["event"] == "told"]
    assert {result["status"] for result in told} == {"completed"} and summary["test"]["mean_at_k"] == 0.5
    resumed = [event["resumed_from"] for event in events if event["event"] == "started"]
    assert resumed == [0, 0, 0, 1]  # rungs 1 and 4: the best of three goes on from its checkpoint
    assert [event["record"]["step"] for event in events if event["event"] == "step"] == [1, 1, 1, 2, 3, 4]


def test_a_worker_killed_with_sigkill_leaves_no_process_and_no_file(parts, monkeypatch):
    monkeypatch.setenv("FAKE_VERL", "hang@2")
    worker = LocalExecutor(parts[1], timeout=300).worker()
    try:
        worker.call("start", Trial(0, CONFIG, Fidelity("xs", 4), seed=1), None)
        assert worker.call("next").value.step == 1
        family = guard.descendants(worker.process.pid)
        assert len(family) == 2  # the guard and the run
        folder = Path(
            next(w for w in Path(f"/proc/{family[0]}/cmdline").read_text().split("\0") if "/jfhpo-verl-" in w)
        )
        assert folder.is_dir()
        worker.send("next")
        os.kill(worker.process.pid, signal.SIGKILL)
        assert all(map(gone, family)) and not folder.exists()
    finally:
        worker.close()
