"""What cannot run is refused before anything is launched, naming file, row or key."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.trainers.verl import engine
from jfhpo.trainers.verl.engine import extremes, read_settings
from jfhpo.trainers.verl.settings import VerlSettings
from jfhpo.trainers.verl.words import PADDED, Place, segment_words, shape

A, R = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
SPACE = {"lr": {"type": "float", "low": "1e-5", "high": 1e-3}, "rollout_n": {"type": "ordinal", "values": [4, 8, 16]}}


def problem(**changes):
    plain = {
        "task": "last_digit", "models": {}, "proxy": "xs", "target": "xs", "extra_models": [], "pretrain": {},
        "data": {}, "max_steps": 10, "trainer_settings": {"device": "cpu"}, "space": SPACE,
    }  # fmt: skip
    return plain | changes


@pytest.fixture
def with_verl(monkeypatch):
    """As if verl were there: what its own composition finds is tested in test_compose.py."""
    monkeypatch.setattr(engine, "installed", lambda: True)
    monkeypatch.setattr(engine, "compose", lambda words: None)


def test_a_problem_that_can_run(with_verl):
    found = engine.arguments(problem())
    assert found["task"] == "last_digit" and list(found["models"]) == ["xs"] and found["max_steps"] == 10


@pytest.mark.skipif(engine.installed(), reason="verl is installed")
def test_without_verl_the_extra_is_named():
    with pytest.raises(UsageError, match=r"pip install -e '.\[verl\]', or ./run_all.sh setup verl-cpu"):
        engine.check(problem())


ROWS = [{"question": f"what is {i}+1?", "answer": f"{i}+1={i + 1}\n#### {i + 1}"} for i in range(40)]
GSM8K = {"task": "gsm8k", "trainer_settings": {"device": "cpu", "max_completion_length": 64}}


def write(folder, **splits):
    for split, rows in splits.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"source": str(folder)}


def test_a_row_without_its_column_is_named(with_verl, tmp_path):
    data = write(tmp_path, train=[*ROWS, {"question": "and now?"}], test=ROWS[:2])
    with pytest.raises(UsageError, match=r"train.jsonl, line 41: .*answer"):
        engine.arguments(problem(**GSM8K, data=data))


def test_a_data_set_without_a_validation_split_is_named(with_verl, tmp_path):
    rows = [{"question_stem": "?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"}]
    changes = {**GSM8K, "task": "openbookqa", "data": write(tmp_path, train=rows, test=rows)}
    with pytest.raises(UsageError, match=r"openbookqa from .* has no split validation .*carve one from train"):
        engine.arguments(problem(**changes))


def test_a_batch_larger_than_the_data_is_named(with_verl, tmp_path):
    data = write(tmp_path, train=ROWS, test=[{"question": "else?", "answer": "#### 1"}])
    settings = GSM8K["trainer_settings"] | {"prompts_per_step": 64}
    with pytest.raises(UsageError, match=r"data.train_batch_size=64 is more than the 36 training prompts of gsm8k"):
        engine.arguments(problem(**GSM8K | {"trainer_settings": settings}, data=data))


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"trainer_settings": {"minibatches": 3}}, "minibatches=3 does not divide prompts_per_step=16"),
        ({"trainer_settings": {"micro_batch": 12}}, "does not divide the 32 responses of a minibatch"),
        ({"trainer_settings": {"gpus": 7}}, "responses do not divide among 7 GPUs"),
        ({"trainer_settings": {"device": "tpu"}}, "device 'tpu' (did you mean 'cpu'?); valid: auto, cpu, cuda"),
        ({"trainer_settings": {"timeout": 0}}, "timeout=0 must be seconds, above 0"),
        ({"trainer_settings": {"promts_per_step": 8}}, "promts_per_step"),
        ({"trainer_settings": {"overrides": ["trainer.save_freq=5"]}}, "trainer.save_freq is decided by the trainer"),
        ({"trainer_settings": {"overrides": f"{R}.top_k=3"}}, "must be a list of words"),
        ({"trainer_settings": {"overrides": [f"{A}.grad_clip=0.3"]}}, f"use {A}.optim.clip_grad"),
        ({"trainer_settings": {"overrides": [f"{R}.temperature=-1"]}}, "temperature=-1 must be a number above 0"),
        ({"space": {"rollout_n": {"type": "ordinal", "values": [1, 4]}}}, "n=1 must be at least 2"),
        ({"space": {f"{A}.clip_ratio": {"type": "float", "low": 0.1, "high": 0.3}}}, "clip_ratio_low"),
        ({"space": {"learning_rate": {"type": "float", "low": 0.1, "high": 0.3}}}, "'learning_rate' is no hyperparam"),
        ({"space": {"lr": {"type": "float", "low": -1.0, "high": 0.3}}}, "optim.lr=-1.0 must be a number above 0"),
        ({"space": {"advantage": {"type": "categorical", "values": ["gae"]}}}, "space.advantage 'gae'; valid: grpo"),
        ({"task": "gsm9k"}, "gsm9k"),
        ({"task": "gsm8k"}, "max_completion_length is missing"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(with_verl, changes, said):
    with pytest.raises(UsageError) as error:
        engine.arguments(problem(**changes))
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "files, said",
    [
        (None, "there is no such folder"),
        ([], "has no config.json"),
        (["config.json", "tokenizer.json"], "has no weights"),
    ],
)
def test_a_model_that_cannot_be_read_is_named(tmp_path, files, said):
    for name in files or ():
        (tmp_path / name).write_text("{}")
    path = str(tmp_path / "gone" if files is None else tmp_path)
    with pytest.raises(UsageError, match=f"problem.models.small.path={path}.*{said}"):
        engine.family(problem(models={"small": {"path": path, "parameters": 1e6, "width": 64}}))


def test_every_value_of_the_space_is_looked_at():
    assert list(extremes(SPACE)) == [
        {"lr": 1e-5, "rollout_n": 4}, {"lr": 1e-3, "rollout_n": 8}, {"lr": 1e-5, "rollout_n": 16},
    ]  # fmt: skip
    assert list(extremes({})) == [{}]


def words(config, settings, place):
    found = {}
    for word in segment_words(config, settings, place):
        key, _, value = word.partition("=")
        found[key.lstrip("+")] = value
    return found


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, "/m", tmp_path / "t", tmp_path / "v", 10, 26, 50, on_cpu=True, seed=3)


def test_the_words_of_a_segment(place):
    found = words({"lr": 1e-3, "clip_ratio": 0.3, "grad_clip": 0.5, "rollout_n": 4}, VerlSettings(), place)
    assert found[f"{A}.clip_ratio_low"] == found[f"{A}.clip_ratio_high"] == "0.3"
    assert found[f"{A}.optim.clip_grad"] == "0.5" and f"{A}.grad_clip" not in found
    assert found["data.train_batch_size"] == "16" and found[f"{A}.ppo_mini_batch_size"] == "8"
    assert found[f"{A}.ppo_micro_batch_size_per_gpu"] == "32"
    assert found["trainer.total_training_steps"] == "50"  # the problem's horizon, which the schedule depends on
    assert found[f"{A}.use_kl_loss"] == "True" and found[f"{A}.kl_loss_coef"] == "0.0"  # measured, not acted on
    assert found["trainer.resume_mode"] == "disable" and found["trainer.device"] == "cpu"


def test_what_the_study_searches_wins_over_what_the_problem_sets(place):
    settings = VerlSettings(overrides=(f"{R}.temperature=0.7", "data.train_batch_size=32", f"{R}.n=6"))
    found = words({"temperature": 0.9}, settings, place)
    assert found[f"{R}.temperature"] == "0.9" and found["data.train_batch_size"] == "32"
    assert found[f"{A}.ppo_mini_batch_size"] == "16" and found[f"{A}.ppo_micro_batch_size_per_gpu"] == "96"


def test_what_the_problem_sets_in_verls_words_is_what_a_step_is():
    """The trainer lays out prompts and counts tokens by it."""
    settings = VerlSettings(
        overrides=("data.train_batch_size=32", f"{R}.n=6", f"{A}.ppo_epochs=3", f"{A}.optim.lr=2e-6")
    )
    found = shape({}, settings)
    assert (found["data.train_batch_size"], found[f"{R}.n"]) == (32, 6)
    assert (found[f"{A}.ppo_epochs"], found[f"{A}.optim.lr"]) == (3, 2e-6)
    assert shape({"lr": 1e-5}, settings)[f"{A}.optim.lr"] == 1e-5
    with pytest.raises(UsageError, match=r"overrides: data.train_batch_size=many must be a whole number"):
        shape({}, VerlSettings(overrides=("data.train_batch_size=many",)))


def test_grpovi_in_verls_words_takes_its_bounds_along_too(place):
    settings = VerlSettings(overrides=("algorithm.adv_estimator=grpovi",), reward_bounds=(-1.0, 1.0))
    found = words({}, settings, place)
    assert found["algorithm.grpovi.low"] == "-1.0" and found["trainer.jfhpo.grpovi"] == "True"


def test_a_segment_goes_on_from_a_checkpoint_with_the_same_horizon(place, tmp_path):
    found = words({}, VerlSettings(), replace(place, checkpoint=tmp_path / "global_step_12"))
    assert found["trainer.resume_mode"] == "resume_path"
    assert found["trainer.resume_from_path"].strip("'").endswith("global_step_12")
    assert found["trainer.total_training_steps"] == "50"


@pytest.mark.parametrize(
    ("installed", "overrides", "padded"),
    [
        ((), (), False),  # on another machine than the one that would run it
        (("verl",), (), True),
        (("verl", "flash_attn"), (), False),
        (("verl", "kernels"), (), False),
        (("verl",), ("+actor_rollout_ref.model.override_config.attn_implementation=eager",), False),
    ],
)
def test_on_a_gpu_without_flash_attention_models_can_still_be_loaded(place, installed, overrides, padded, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name in installed or None)
    found = segment_words({}, VerlSettings(overrides=overrides), replace(place, on_cpu=False))
    assert [word in found for word in PADDED] == [padded] * 2
    assert len({word.partition("=")[0] for word in found}) == len(found)


def test_a_cluster_of_its_own_whatever_the_environment_says(place):
    assert words({}, VerlSettings(), place)["ray_kwargs.ray_init.address"] == "local"


def test_a_given_cluster_is_joined_and_told_the_environment(place):
    found = words({}, VerlSettings(ray_address="auto"), place)
    assert found["ray_kwargs.ray_init.address"] == "auto" and "ray_kwargs.ray_init.num_cpus" not in found
    assert found["ray_kwargs.ray_init.runtime_env.env_vars.VERL_PLATFORM"] == "cpu"


def test_grpovi_takes_its_bounds_along(place):
    found = words({"advantage": "grpovi"}, VerlSettings(reward_bounds=(-1.0, 1.0)), place)
    assert found["algorithm.adv_estimator"] == "grpovi" and found["algorithm.grpovi.low"] == "-1.0"
    assert found["trainer.jfhpo.grpovi"] == "True"


def test_settings_from_a_study_are_plain_data():
    settings = read_settings({"overrides": [f"{R}.top_k=3"], "epochs": 2})
    assert settings == VerlSettings.of({"overrides": [f"{R}.top_k=3"], "epochs": 2})
