"""``jfhpo tune``: from a file to a study, run for real on TRL, and everything that is refused before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.config import build_problem, study_folder
from experiments.tune.engines import SIZES
from experiments.tune.file import read_tune_file
from experiments.tune.study import study_config
from jfhpo.cli import main
from jfhpo.trainers.trl.arguments import TrlSettings, grpo_arguments, grpo_defaults


def config_of(path: Path):
    return study_config(read_tune_file(path))


def tune(path: Path, *more: str) -> int:
    return main(["tune", "--config", str(path), *more])


# ---- from a file to a study


def test_the_study_is_the_users_job(job, tmp_path):
    config = config_of(job(proxy="proxy"))
    problem, trainer = build_problem(config)
    assert (problem.proxy, problem.target, problem.max_steps, problem.rungs) == ("proxy", "target", 4, (1, 2, 4))
    assert problem.model("target").parameters > problem.model("proxy").parameters
    assert dict(problem.recipe) == {"lr": 1e-3, "rollout_n": 4, "weight_decay": 0.1}
    assert config.budget == pytest.approx(7.2) and trainer.name == "trl"
    assert trainer.arguments["models"]["target"] == str(tmp_path / "target")
    assert trainer.arguments["data"]["reward"] == f"{tmp_path / 'reward.py'}:score"
    assert study_folder(config) == tmp_path / "results/main/my/jfhpo/seed=0"


def test_without_a_proxy_steps_are_the_only_fidelity_and_there_is_one_rung_more(job):
    problem, _ = build_problem(config_of(job(steps=40)))
    assert problem.models == ("target",)
    assert problem.rungs == (5, 10, 20, 40)


def test_keys_of_the_engine_are_known_by_our_names_where_there_is_one(job):
    space = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "beta": [0.001, 0.01], "top_p": [0.9, 1.0]}
    problem, _ = build_problem(config_of(job(space=space, start={"learning_rate": 2e-3})))
    assert set(problem.space.names) == {"lr", "kl_loss_coef", "top_p"}
    assert dict(problem.recipe) == {"lr": 2e-3, "kl_loss_coef": 0.001, "top_p": 0.9}, "the recipe's, then the first"


def test_settings_are_ours_or_grpoconfigs(job):
    config = config_of(
        job(settings={"minibatches": 4, "max_completion_length": 8, "temperature": 0.9, "clip_ratio": 0.3})
    )
    theirs = {
        "gradient_checkpointing": True, "loss_type": "dapo", "lr_scheduler_type": "linear", "scale_rewards": "group",
        "use_bias_correction_kl": True,
    }  # fmt: skip
    assert config.problem.trainer_settings == {
        "minibatches": 4, "max_completion_length": 8, "weight_decay": 0.0,
        "arguments": {**theirs, "temperature": 0.9, "epsilon": 0.3, "epsilon_high": 0.3},
    }  # fmt: skip


def test_what_the_file_leaves_out_is_as_trl_has_it(job):
    settings = TrlSettings(**config_of(job()).problem.trainer_settings)
    found, defaults = grpo_arguments({}, settings, 4), grpo_defaults()
    decided = {"max_steps", "beta", *SIZES}  # ours to lay out; a KL coefficient of 0 would leave KL unmeasured
    assert {name: found[name] for name in found.keys() - decided} == {
        name: defaults[name] for name in found.keys() - decided
    }


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ({"per_device_train_batch_size": 16, "gradient_accumulation_steps": 4}, (8, 1, 16, 1)),
        ({"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "steps_per_generation": 8}, (4, 4, 4, 1)),
        ({"generation_batch_size": 64, "num_iterations": 2}, (8, 8, 8, 2)),
        ({"per_device_train_batch_size": 8, "num_generations": 4}, (2, 1, 8, 1)),
    ],
)
def test_batches_in_trls_words_are_the_same_batches(job, given, ours):
    space = {"lr": {"low": 1e-4, "high": 1e-2, "log": True}}
    config = config_of(job(space=space, start={"lr": 1e-3}, settings={"max_completion_length": 8, **given}))
    settings = TrlSettings(**config.problem.trainer_settings)
    assert (settings.prompts_per_step, settings.minibatches, settings.micro_batch, settings.epochs) == ours
    built = grpo_arguments({}, settings, 4)
    expected = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1} | given
    largest = expected.pop("generation_batch_size", None)
    assert {name: built[name] for name in expected} == expected
    if largest is not None:
        assert built["per_device_train_batch_size"] * built["steps_per_generation"] == largest


def test_by_default_the_papers_six_hyperparameters_are_searched(job):
    problem, _ = build_problem(config_of(job(space=None, start=None)))
    assert set(problem.space.names) == {"lr", "lr_scheduler", "clip_ratio", "grad_clip", "kl_loss_coef", "rollout_n"}
    assert problem.recipe["rollout_n"] == 5 and problem.recipe["lr"] != 1e-6, "its rate is carried by width, or clipped"


# ---- for real


def test_a_job_is_searched_on_trl_and_the_same_command_shows_it_again(job, tmp_path, capsys):
    path = job(proxy="proxy", test_k=1)
    assert tune(path) == 0
    said = capsys.readouterr().out
    assert "GRPOConfig(\n    learning_rate=" in said and "num_generations=" in said and "weight_decay=" in said
    pasted = eval(said[said.index("GRPOConfig(") :], {"GRPOConfig": dict})
    assert pasted["max_completion_length"] == 8 and pasted["max_steps"] == 8, "four steps of two updates"
    assert pasted["per_device_train_batch_size"] == 4 * pasted["num_generations"]
    assert "loss_type" not in pasted, "TRL's own"
    assert "on validation, on which it was chosen (the file names no test split)" in said
    folder = tmp_path / "results/main/my/jfhpo/seed=0"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["trials"]["failed"] == 0 and summary["trials"]["completed"] >= 1
    assert summary["final"]["model"] == "target" and summary["test"]["prompts"] == 48
    records = (folder / "records.jsonl").read_bytes()
    asked = [json.loads(line)["trial"] for line in records.splitlines() if b'"asked"' in line]
    assert asked[0]["fidelity"] == {"model": "proxy", "steps": 1}
    assert asked[0]["config"] == {"lr": pytest.approx(1e-3 * 48 / 32), "rollout_n": 4, "weight_decay": 0.1}
    assert tune(path) == 0
    again = capsys.readouterr().out
    assert (folder / "records.jsonl").read_bytes() == records
    assert again[again.index("GRPOConfig") :] == said[said.index("GRPOConfig") :]


def test_a_dry_run_says_what_would_be_launched_and_writes_nothing(job, tmp_path, capsys):
    path = job(proxy="proxy")
    before = sorted(p for p in tmp_path.rglob("*") if "__pycache__" not in p.parts)
    assert tune(path, "--dry-run") == 0
    said = capsys.readouterr().out
    assert sorted(p for p in tmp_path.rglob("*") if "__pycache__" not in p.parts) == before
    assert "first trial: the recipe on proxy, 1 steps" in said
    assert "target ← proxy" in said and "1,2,4" in said and "4·N/G" in said


# ---- refused before anything is launched


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"engin": "trl"}, "unknown key 'engin' (did you mean 'engine'?)"),
        ({"engine": "trll"}, "unknown engine 'trll' (did you mean 'trl'?)"),
        ({"steps": None}, "steps is missing"),
        ({"steps": "forty"}, "steps='forty' must be a whole number"),
        ({"steps": 0}, "steps=0 must be at least 1"),
        ({"budget_hours": 0}, "budget_hours=0 must be above 0"),
        ({"reward": None}, "reward is missing"),
        ({"reward": "reward.py"}, "must name the function too"),
        ({"reward": "rewrad.py:score"}, "no file"),
        ({"reward": "reward.py:scores"}, "holds no function scores; it has score"),
        ({"reward": "gsm9k"}, "must be file.py:function, or a check of ours"),
        ({"data": {"validation": "validation.jsonl"}}, "data.train is missing"),
        ({"data": {"train": "train.jsonl"}}, "comes without a validation split"),
        ({"data": {"train": "tarin.jsonl", "validation_share": 0.1}}, "data.train: no file"),
        ({"data": {"train": "train.jsonl", "shares": 0.1}}, "unknown key of data 'shares'"),
        ({"target": "nowhere/at/all"}, "target=nowhere/at/all: no such folder"),
        ({"target": "."}, "holds no config.json: it is no model folder"),
        ({"proxy": "target", "target": "proxy"}, "is larger than"),
        ({"space": {"lr": {"low": 1e-2, "high": 1e-4}}, "start": None}, "low=0.01 must be below high=0.0001"),
        ({"space": {"lr": "default", "learning_rat": [1, 2]}, "start": None},
         "unknown key of GRPOConfig 'learning_rat' (did you mean 'learning_rate'?)"),
        ({"space": {"weight_decay": "default"}, "start": None}, "space.weight_decay: there is no default range"),
        ({"start": {"lr": 1.0}}, "start.lr=1.0 is not in its range: 0.0001 to 0.01"),
        ({"start": {"beta": 1.0}}, "start.beta is not searched"),
        ({"settings": {"weight_decay": 0.1, "max_completion_length": 8}}, "weight_decay is in space and in settings"),
        ({"settings": {"learning_rate": 0.1, "max_completion_length": 8}}, "search it or fix it"),
        ({"settings": {"max_completion_length": 8, "topp": 0.1}}, "unknown key of GRPOConfig 'topp'"),
        ({"settings": {"max_completion_length": 8, "seed": 0}}, "settings.seed is decided by the study"),
        ({"settings": {"prompts_per_step": 8}}, "settings.max_completion_length is missing"),
        ({"settings": {"per_device_train_batch_size": 8}}, "where num_generations is searched, each number would have"),
        ({"settings": {"generation_batch_size": 8, "num_generations": "8"}, "space": {"lr": "default"}, "start": None},
         "settings.num_generations=8 must be a whole number"),
        ({"settings": {"generation_batch_size": 8, "minibatches": 2}}, "both say how large a batch is; leave one out"),
        ({"settings": {"gradient_accumulation_steps": 0}}, "settings.gradient_accumulation_steps=0 must be a whole"),
        ({"settings": {"generation_batch_size": 12}, "space": {"lr": "default"}, "start": None},
         "settings: num_generations = 8 does not divide the 12 completions of a generation"),
        ({"settings": {"generation_batch_size": 8, "gradient_accumulation_steps": 3}, "space": {"lr": "default"},
          "start": None}, "gradient_accumulation_steps = 24 does not divide the 8 completions of a generation"),
        ({"settings": {"prompts_per_step": 5, "minibatches": 3, "max_completion_length": 8}},
         "settings.minibatches=3 does not divide the 20 completions of a step (5 prompts × rollout_n=4)"),
        ({"rungs": [1, 2]}, "rungs must end at steps=4"),
        ({"method": "jfhop"}, "unknown method 'jfhop' (did you mean 'jfhpo'?)"),
        ({"method": {"initial": 3}}, "must have a name"),
        ({"method": {"name": "jfhpo", "initials": 3}}, "method.initial"),
        ({"method": "recipe", "early_stopping": "robust"}, "method recipe has no such setting"),
        ({"early_stopping": "rubost"}, "rubost"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_the_file_and_exit_code_2(job, tmp_path, capsys, changes, said):
    path = job(**changes)
    assert tune(path) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith(f"error: {path}: ") and error.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_bad_row_is_named_by_file_line_and_column(job, tmp_path, capsys):
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write(json.dumps({"answer": "3"}) + "\n")
    assert tune(job()) == 2
    assert "train.jsonl, line 65: no column 'prompt'; it has answer" in capsys.readouterr().err


def test_a_model_without_weights_is_named(job, tmp_path, capsys):
    (tmp_path / "target/model.safetensors").unlink()
    assert tune(job()) == 2
    assert "target holds no weights" in capsys.readouterr().err.replace(f"{tmp_path}/", "")


def test_a_reward_that_breaks_is_refused(job, tmp_path, capsys):
    (tmp_path / "reward.py").write_text("def score(completions, **columns):\n    return [1 / 0]\n")
    assert tune(job()) == 2
    assert "fails on an empty completion of the first rows: ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("text, said", [("a: [1\n", "is not YAML"), ("- a\n", "must hold key: value lines")])
def test_a_file_that_is_no_yaml_is_said_so(tmp_path, capsys, text, said):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    assert tune(path) == 2
    assert said in capsys.readouterr().err
    assert tune(tmp_path / "gone.yaml") == 2
    assert "no file" in capsys.readouterr().err
