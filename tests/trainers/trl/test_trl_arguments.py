"""From hyperparameters to `GRPOConfig`: every one where TRL reads it, and what does not divide refused before a run."""

from __future__ import annotations

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.trainers.trl import engine
from jfhpo.trainers.trl.arguments import LEAST_BETA, TrlSettings, batches, grpo_arguments

CONFIG = {
    "lr": 3e-5, "lr_scheduler": "cosine", "clip_ratio": 0.3, "grad_clip": 0.5, "kl_loss_coef": 0.02, "rollout_n": 4,
}  # fmt: skip


def test_hyperparameters_arrive_where_trl_reads_them():
    found = grpo_arguments(CONFIG, TrlSettings(prompts_per_step=8, minibatches=4), max_steps=50)
    assert found["learning_rate"] == 3e-5 and found["lr_scheduler_type"] == "cosine"
    assert found["epsilon"] == found["epsilon_high"] == 0.3  # epsilon alone would leave the upper bound to a default
    assert found["max_grad_norm"] == 0.5 and found["beta"] == 0.02 and found["num_generations"] == 4
    assert found["max_steps"] == 200  # TRL counts updates
    assert (found["loss_type"], found["use_bias_correction_kl"], found["scale_rewards"]) == ("bnpo", False, "group")


def test_the_advantage_is_a_trainer_and_no_argument():
    assert "advantage" not in grpo_arguments(CONFIG | {"advantage": "grpovi"}, TrlSettings(), max_steps=50)


def test_any_other_name_is_trls_own():
    found = grpo_arguments({"temperature": 0.8, "warmup_steps": 3}, TrlSettings(), max_steps=10)
    assert found["temperature"] == 0.8 and found["warmup_steps"] == 3
    settings = TrlSettings(arguments={"loss_type": "dapo", "top_p": 0.9})
    assert grpo_arguments({}, settings, 10)["loss_type"] == "dapo"


def test_a_kl_coefficient_of_zero_still_has_kl_measured():
    assert grpo_arguments({"kl_loss_coef": 0.0}, TrlSettings(), 10)["beta"] == LEAST_BETA > 0


@pytest.mark.parametrize(
    "settings, n, expected",
    [
        (TrlSettings(16, 2), 8, (64, 1, 2, 1)),
        (TrlSettings(16, 4, epochs=2), 4, (16, 1, 4, 2)),
        (TrlSettings(16, 2, micro_batch=16), 8, (16, 4, 8, 1)),
    ],
)
def test_a_step_in_trls_four_numbers(settings, n, expected):
    found = batches(settings, n)
    names = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "num_iterations")
    assert tuple(found[name] for name in names) == expected
    micro, accumulated, rounds, _ = expected
    assert micro * rounds == settings.prompts_per_step * n  # every completion is used once per pass
    assert rounds // accumulated * settings.epochs == settings.updates


def problem(**changes):
    plain = {
        "task": "last_digit", "models": {}, "proxy": "xs", "target": "xs", "extra_models": [], "pretrain": {},
        "data": {}, "max_steps": 10, "trainer_settings": {},
        "space": {"lr": {"type": "float", "low": 1e-5, "high": 1e-3}},
    }  # fmt: skip
    return plain | changes


DECLARED = {"small": {"path": "org/small", "parameters": 5e8, "width": 896}}


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"space": {"rollout_n": {"type": "ordinal", "values": [3, 8]}}, "trainer_settings": {"minibatches": 5}},
         "minibatches=5 does not divide the 48 completions of a step (16 prompts × rollout_n=3)"),
        ({"trainer_settings": {"micro_batch": 7}}, "micro_batch=7 does not divide the 64 completions of a minibatch"),
        ({"space": {"rollout_n": {"type": "ordinal", "values": [1, 4]}}}, "rollout_n=1 must be at least 2"),
        ({"space": {"learning_rat": {}}}, "learning_rat"),
        ({"trainer_settings": {"minibatchs": 2}}, "minibatchs"),
        ({"trainer_settings": {"arguments": {"seed": 3}}}, "arguments.seed is decided by the study"),
        ({"trainer_settings": {"advantage": "grpoiv"}}, "advantage 'grpoiv' (did you mean 'grpovi'"),
        ({"space": {"advantage": {"type": "categorical", "values": ["gae"]}}}, "space.advantage 'gae'; valid: grpo"),
        ({"trainer_settings": {"reward": "partial"}}, "reward 'partial'; valid: exact, graded"),
        ({"trainer_settings": {"reward": "graded", "max_completion_length": 9}, "task": "gsm8k", "models": DECLARED},
         "task with a graded reward (problem.trainer_settings.reward=graded) 'gsm8k'; valid: four_choices"),
        ({"trainer_settings": {"epochs": 0}}, "epochs=0 must be a whole number from 1 on"),
        ({"trainer_settings": {"micro_batch": 0}}, "micro_batch=0 must be a whole number from 1 on, or null"),
        ({"trainer_settings": {"minibatches": 5, "arguments": {"num_generations": 4}}},
         "minibatches=5 does not divide the 64 completions of a step (16 prompts × rollout_n=4)"),
        ({"task": "gsm9k", "models": DECLARED}, "gsm9k"),
        ({"task": "gsm8k", "models": DECLARED}, "max_completion_length is missing"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_before_anything_is_loaded(changes, said):
    with pytest.raises(UsageError) as error:
        engine.arguments(problem(**changes))
    assert said in str(error.value)


def test_the_miniature_family_needs_one_of_its_tasks():
    with pytest.raises(UsageError, match="cannot do task gsm8k"):
        engine.ENGINE.family(problem(task="gsm8k"))


def test_declared_models_are_a_family():
    sizes = engine.ENGINE.family(
        problem(models={"big": {"path": "org/big", "parameters": 8e9, "width": 4096, "relative_cost": 20}} | DECLARED)
    )
    assert [(s.name, s.parameters, s.width, s.relative_cost) for s in sizes] == [
        ("small", 500_000_000, 896, 1.0), ("big", 8_000_000_000, 4096, 20.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "model, said",
    [
        ({"path": "a", "parameters": 1e9}, "small.width is missing"),
        ({"path": "a", "parameters": -1, "width": 8}, "small.parameters=-1 must be a number above 0"),
        ({"path": "a", "parameters": 1, "width": 8, "hidden": 8}, "hidden"),
        ("org/small", "must be a group"),
    ],
)
def test_a_model_that_is_not_declared_whole_is_named(model, said):
    with pytest.raises(UsageError) as error:
        engine.ENGINE.family(problem(models={"small": model}))
    assert said in str(error.value)
