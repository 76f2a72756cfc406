"""Hyperparameters under the keys that verl 0.9.1 acts on; the keys that it accepts and ignores are refused."""

from __future__ import annotations

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.trainers.verl.overrides import overrides

A = "actor_rollout_ref.actor"


def test_every_hyperparameter_arrives_where_verl_reads_it():
    config = {
        "lr": 1e-6, "lr_scheduler": "cosine", "clip_ratio": 0.3, "grad_clip": 0.5, "kl_loss_coef": 0.01, "rollout_n": 5,
    }  # fmt: skip
    assert overrides(config) == [
        f"{A}.optim.lr=1e-06", f"{A}.optim.lr_scheduler_type=cosine", f"{A}.clip_ratio_low=0.3",
        f"{A}.clip_ratio_high=0.3", f"{A}.optim.clip_grad=0.5", f"{A}.kl_loss_coef=0.01",
        "actor_rollout_ref.rollout.n=5", f"{A}.use_kl_loss=True",
    ]  # fmt: skip


def test_a_kl_coefficient_brings_the_switch_that_makes_it_count():
    assert f"{A}.use_kl_loss=True" in overrides({"kl_loss_coef": 0.1})
    assert not any("use_kl_loss" in word for word in overrides({"lr": 1e-6}))


def test_grpovi_is_an_estimator_that_brings_its_reference():
    assert overrides({"advantage": "grpovi"}) == ["algorithm.adv_estimator=grpovi", f"{A}.use_kl_loss=True"]
    assert overrides({"advantage": "grpo"}) == ["algorithm.adv_estimator=grpo"]


def test_a_dotted_key_is_verls_own():
    assert overrides({"data.train_batch_size": 64}) == ["data.train_batch_size=64"]


@pytest.mark.parametrize("name, live", [(f"{A}.clip_ratio", "clip_ratio_low"), (f"{A}.grad_clip", "optim.clip_grad")])
def test_keys_that_verl_ignores_are_refused_with_the_live_ones(name, live):
    with pytest.raises(UsageError, match=live):
        overrides({name: 0.1})


def test_an_unknown_name_is_refused():
    with pytest.raises(UsageError, match="'learning_rate' is no hyperparameter of verl's here; valid: lr,"):
        overrides({"learning_rate": 1e-6})
