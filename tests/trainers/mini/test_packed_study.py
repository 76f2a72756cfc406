"""A study whose four workers are slots of one packed trainer: the trials of the study with one worker process."""

from __future__ import annotations

from pathlib import Path

import pytest

from jfhpo.core.problem import ModelSize, Problem
from jfhpo.core.space import SearchSpace
from jfhpo.study.checkpoints import CheckpointRegistry
from jfhpo.study.executors.protocol import TrainerSpec
from jfhpo.study.loop import Study
from jfhpo.study.methods import method
from jfhpo.study.records import read_records
from jfhpo.study.settings import StudySettings
from jfhpo.trainers.mini.engine import ENGINE

SPACE = {
    "lr": {"type": "float", "low": 1e-3, "high": 1e-2, "log": True},
    "lr_scheduler": {"type": "categorical", "values": ["constant", "cosine"]},
    "rollout_n": {"type": "ordinal", "values": [2, 4]},
}
TRIALS = 6


class Killed(Exception):
    pass


def study(folder: Path, base: Path, observers=(), **settings) -> Study:
    arguments = {"task": "last_digit", "bases": {"xs": str(base)}, "max_steps": 4, "settings": {"prompts_per_step": 8}}
    of = Problem(
        name="tiny", task="last_digit", space=SearchSpace(SPACE), family=(ModelSize("xs", 10_000, 32, 1.0),),
        proxy="xs", target="xs", max_steps=4, rungs=(2, 4), recipe={"lr": 2e-3, "lr_scheduler": "cosine",
        "rollout_n": 4}, cost_unit="flops",
    )  # fmt: skip
    home, cls = folder / "study", method("random_search")
    home.mkdir(parents=True, exist_ok=True)
    given = {"budget": 1e13, "max_trials": TRIALS, "checkpoint_every": 2, "test_k": 1} | settings
    return Study(
        home, of, cls(of, seed=0, settings=cls.Settings()),
        TrainerSpec("mini", ENGINE.trainer, arguments, "v1", packed=ENGINE.packed),
        CheckpointRegistry(folder / "checkpoints"), StudySettings("test", "test", 0, **given), observers,
    )  # fmt: skip


def results(folder: Path) -> dict[int, dict]:
    """By trial, what was told."""
    events = [e["result"] for e in read_records(folder / "study") if e["event"] == "told"]
    return {e["trial"]: e for e in events}


def assert_same_trials(folder: Path, expected: Path) -> None:
    found, alone = results(folder), results(expected)
    assert found.keys() == alone.keys() and len(found) >= TRIALS
    for number, result in alone.items():
        assert found[number]["status"] == result["status"] == "completed"
        assert found[number]["score"] == pytest.approx(result["score"], abs=1e-6)
        for unit in ("tokens", "flops"):
            assert found[number]["cost"][unit] == result["cost"][unit]
    steps = {}
    for name in (folder, expected):
        every = [e for e in read_records(name / "study") if e["event"] == "step"]
        steps[name] = {(e["trial"], e["record"]["step"]): e["record"] for e in every}
    assert steps[folder].keys() == steps[expected].keys()
    for key, record in steps[expected].items():
        for metric in ("reward_mean", "kl", "entropy", "loss", "grad_norm"):
            assert steps[folder][key][metric] == pytest.approx(record[metric], rel=1e-3, abs=1e-4), (key, metric)
        assert steps[folder][key]["reward_mean"] == pytest.approx(record["reward_mean"], abs=1e-6)
    assert len({r["reward_mean"] for r in steps[expected].values()}) > 2, "it really trains"
    assert max(r["grad_norm"] for r in steps[expected].values()) > 0.1


@pytest.fixture(scope="module")
def alone(guessing_base, tmp_path_factory) -> Path:
    """The study as it always was: one worker process."""
    folder = tmp_path_factory.mktemp("alone")
    assert study(folder, guessing_base).run()["executor"] == "local"
    return folder


def test_a_packed_study_has_the_trials_of_one_worker(guessing_base, alone, tmp_path):
    summary = study(tmp_path, guessing_base, workers=4, executor="packed", device="cpu").run()
    assert summary["executor"] == "packed"
    assert_same_trials(tmp_path, alone)
    assert summary["test"]["mean_at_k"] == pytest.approx(
        study(alone, guessing_base).run()["test"]["mean_at_k"], abs=1e-6
    )


def test_a_packed_study_that_was_killed_goes_on_to_the_same_trials(guessing_base, alone, tmp_path):
    seen = []

    def kill(event: dict) -> None:
        seen.append(event["event"])
        if seen.count("step") == 11:  # the first four trials are in their third step
            raise Killed

    with pytest.raises(Killed):
        study(tmp_path, guessing_base, [kill], workers=4, executor="packed", device="cpu").run()
    assert "told" not in seen
    study(tmp_path, guessing_base, workers=4, executor="packed", device="cpu").run()
    resumed = [e["resumed_from"] for e in read_records(tmp_path / "study") if e["event"] == "started"]
    assert resumed.count(2) == 4, "from their checkpoints"
    assert_same_trials(tmp_path, alone)
