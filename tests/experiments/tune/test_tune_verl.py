"""``jfhpo tune`` on verl, up to the composed command; and the two worked examples."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path

import pytest

from experiments.config import build_problem
from experiments.tune.file import read_tune_file
from experiments.tune.study import study_config
from jfhpo.cli import main
from jfhpo.trainers.verl.compose import check_words
from jfhpo.trainers.verl.dry_run import words

ROOT = Path(__file__).parents[3]
A = "actor_rollout_ref.actor"
ROWS = [
    {
        "data_source": "sums",
        "prompt": [{"role": "user", "content": f"{n}+1="}],
        "reward_model": {"ground_truth": str(n)},
    }
    for n in range(64)
]
REWARD = "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n    return 0.0\n"


@pytest.fixture
def on_verl(job, tmp_path):
    """`job` with verl's rows, reward and keys."""
    for split, rows in (("rows", ROWS), ("held_out", ROWS[:8])):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "score.py").write_text(REWARD)
    usual = {
        "engine": "verl",
        "data": {"train": "rows.jsonl", "validation": "held_out.jsonl"},
        "reward": "score.py:compute_score",
        "space": {"lr": {"low": 1e-6, "high": 1e-4, "log": True}, f"{A}.entropy_coeff": [0, 0.1], "rollout_n": [4, 8]},
        "start": {"lr": 1e-5, f"{A}.entropy_coeff": 0, "rollout_n": 4},
        "settings": {
            "data.train_batch_size": 16, "data.max_prompt_length": 64, "data.max_response_length": 32,
            f"{A}.ppo_mini_batch_size": 8, "trainer.n_gpus_per_node": 4, "kl_loss_coef": 0.001,
        },
    }  # fmt: skip

    def write(settings=None, **changes):
        return job(**usual | changes | {"settings": usual["settings"] | (settings or {})})

    return write


def test_the_command_is_the_users_job(on_verl, tmp_path):
    config = study_config(read_tune_file(on_verl()))
    problem, trainer = build_problem(config)
    values = check_words(words(trainer.arguments, problem.recipe, "target", seed=3))
    assert values["data.train_batch_size"] == 16 and values[f"{A}.ppo_mini_batch_size"] == 8
    assert values[f"{A}.entropy_coeff"] == 0 and values[f"{A}.optim.lr"] == 1e-5
    assert values[f"{A}.kl_loss_coef"] == 0.001 and values[f"{A}.use_kl_loss"] is True
    assert (values["trainer.n_gpus_per_node"], values["trainer.device"]) == (4, "cuda")
    assert values["trainer.total_training_steps"] == 4
    assert trainer.arguments["settings"]["timeout"] == pytest.approx(0.9 * config.step_timeout)
    assert values["actor_rollout_ref.model.path"] == str(tmp_path / "target")
    at = "reward.custom_reward_function"
    assert values[f"{at}.path"] == "pkg://jfhpo.tasks.datasets.own_reward"
    assert values[f"{at}.reward_kwargs.reward"] == f"{tmp_path / 'score.py'}:compute_score"


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"data": {"train": "rows.jsonl"}}, "comes without a validation split"),
        ({"data": {"train": "train.jsonl", "validation": "held_out.jsonl"}}, "line 1: no column 'data_source'"),
        ({"reward": "reward.py:score"}, "cannot take what it will be called with"),
        ({"reward": "gsm8k"}, "reward=gsm8k is for rows with data_source=openai/gsm8k"),
        ({"settings": {f"{A}.ppo_mini_batch_size": 5}}, "mini_batch_size=5 does not divide data.train_batch_size=16"),
        ({"settings": {"trainer.n_gpus_per_node": 5}}, "do not divide among 5 GPUs"),
        ({"settings": {f"{A}.grad_clip": 1.0}}, f"does not act on it; use {A}.optim.clip_grad"),
        ({"settings": {"data.train_files": "x"}}, "data.train_files is decided by the trainer"),
        ({"settings": {"micro_bach": 5}}, "unknown key of settings 'micro_bach' (did you mean 'micro_batch'?)"),
        ({"settings": {"data.train_batch_size": 128}}, "train_batch_size=128 is more than the 64 training prompts"),
        ({"settings": {f"{A}.optim.lr": 1e-5}}, f"{A}.optim.lr is in settings, and in space as lr"),
        ({"space": {"lr": "default", "entropy": [0, 0.1]}, "start": None}, "'entropy' is no hyperparameter of verl's"),
        ({"space": {"lr": "default", f"{A}.clip_ratio": [0.1, 0.2]}, "start": None}, "does not act on it"),
        ({"target": {"path": "x/y", "parameters": 1e9}}, "target.width is missing"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_before_anything_is_launched(on_verl, tmp_path, capsys, changes, said):
    path = on_verl(**changes)
    for dry in ([], ["--dry-run"]):
        assert main(["tune", "--config", str(path), *dry]) == 2
        error = capsys.readouterr().err
        assert said in error and error.startswith(f"error: {path}: ") and error.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_fewer_gpus_than_the_job_needs(on_verl, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("experiments.run.visible_gpus", lambda: 1)
    assert main(["tune", "--config", str(on_verl())]) == 2
    assert "needs 4 GPUs, and this machine has 1" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


# ---- the examples, as their READMEs have them


@pytest.fixture
def example(tmp_path):
    def made(name: str) -> Path:
        folder = tmp_path / name
        ignored = shutil.ignore_patterns("made", "__pycache__")
        shutil.copytree(ROOT / "examples" / name, folder, ignore=ignored, dirs_exist_ok=True)
        runpy.run_path(str(folder / "make.py"), run_name="__main__")
        return folder / "tune.yaml"

    return made


def test_the_verl_example_plans_on_any_machine(example, capsys):
    path = example("tune_verl")
    assert main(["tune", "--config", str(path), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert (
        "python -m verl.trainer.main_ppo" in said and "actor_rollout_ref.model.path=Qwen/Qwen2.5-0.5B-Instruct" in said
    )
    assert "24 h of trainer time, 192 GPU-hours" in said and "first trial: the recipe on proxy, 15 steps" in said


def test_the_trl_example_plans_on_what_it_makes(example, models, tmp_path, capsys):
    for name in ("proxy", "target"):  # what make.py then need not train
        shutil.copytree(models / name, tmp_path / "tune_trl/made" / name)
    assert main(["tune", "--config", str(example("tune_trl")), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "first trial: the recipe on proxy, 6 steps" in said and "target ← proxy" in said
