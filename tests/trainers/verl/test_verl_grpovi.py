"""The advantage estimator for verl as a plain function, and how it is made known to verl.

verl itself is not installed where these tests run: its modules are stood in for by ones with the names, signatures and
dispatch of verl 0.9.1's ``core_algos`` and ``compute_advantage``.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from jfhpo.core.errors import UsageError
from jfhpo.tasks.grpovi import by_enumeration
from jfhpo.trainers.verl import grpovi as grpovi_verl
from jfhpo.trainers.verl.grpovi import compute_grpovi_outcome_advantage, register

CONFIG = {"grpovi": {"low": 0.0, "high": 1.0, "ties": "position"}}


def grpo(rewards: torch.Tensor, index, by_std: bool = True) -> torch.Tensor:
    """verl's `compute_grpo_outcome_advantage` for one reward a response: (bs,) -> (bs,)."""
    out = torch.empty_like(rewards)
    for i, group in enumerate(index):
        same = rewards[[j for j, other in enumerate(index) if other == group]]
        mean, std = (same.mean(), same.std()) if len(same) > 1 else (torch.tensor(0.0), torch.tensor(1.0))
        out[i] = (rewards[i] - mean) / (std + 1e-6) if by_std else rewards[i] - mean
    return out


@pytest.fixture
def batch():
    """Two prompts with 4 responses and one with 2, shuffled; rewards on the last token; rubbish in the padding."""
    generator = torch.Generator().manual_seed(0)
    index = np.array(["a", "b", "a", "c", "b", "a", "b", "c", "a", "b"], dtype=object)
    lengths = torch.randint(1, 7, (10,), generator=generator)
    mask = (torch.arange(7) < lengths[:, None]).long()
    rewards = torch.randint(0, 5, (10,), generator=generator) / 4
    token_level = torch.zeros(10, 7)
    token_level[torch.arange(10), lengths - 1] = rewards
    logp = torch.where(mask.bool(), -torch.rand(10, 7, generator=generator), torch.tensor(55.0))
    return token_level, mask, index, logp, rewards


@pytest.mark.parametrize("by_std", [True, False])
def test_it_is_verls_grpo_of_the_adjusted_rewards(batch, by_std):
    token_level, mask, index, logp, rewards = batch
    adjusted = torch.empty(10)
    for group in set(index):
        rows = [i for i in range(10) if index[i] == group]
        p = (logp * mask).sum(1)[rows].softmax(0).numpy()
        adjusted[rows] = torch.tensor(by_enumeration(rewards[rows].numpy(), p, 0.0, 1.0), dtype=torch.float32)
    advantages, returns = compute_grpovi_outcome_advantage(
        token_level, mask, index, ref_log_prob=logp, config={**CONFIG, "norm_adv_by_std_in_grpo": by_std}
    )
    assert not torch.allclose(adjusted, rewards)
    torch.testing.assert_close(advantages, grpo(adjusted, index, by_std)[:, None] * mask, atol=1e-4, rtol=1e-4)
    assert torch.equal(advantages, returns)


def test_on_rewards_of_zero_and_one_it_is_verls_grpo(batch):
    token_level, mask, index, logp, _ = batch
    right = (token_level > 0.4).float()
    advantages, _ = compute_grpovi_outcome_advantage(right, mask, index, ref_log_prob=logp, config=CONFIG)
    torch.testing.assert_close(advantages, grpo(right.sum(1), index)[:, None] * mask)


def test_a_lone_response_keeps_its_reward_as_in_verl(batch):
    token_level, mask, _, logp, rewards = batch
    advantages, _ = compute_grpovi_outcome_advantage(token_level, mask, range(10), ref_log_prob=logp, config=CONFIG)
    torch.testing.assert_close(advantages, rewards[:, None] * mask)


def test_what_is_missing_is_named(batch):
    token_level, mask, index, logp, _ = batch
    with pytest.raises(UsageError, match=r"algorithm\.grpovi\.low=None and algorithm\.grpovi\.high=None"):
        compute_grpovi_outcome_advantage(token_level, mask, index, ref_log_prob=logp, config={})
    with pytest.raises(UsageError, match="use_kl_loss=True"):
        compute_grpovi_outcome_advantage(token_level, mask, index, config=CONFIG)
    with pytest.raises(ValueError, match=r"index \d: reward (1\.5|2) must lie in \[0, 1\]"):
        compute_grpovi_outcome_advantage(2 * token_level, mask, index, ref_log_prob=logp, config=CONFIG)


@pytest.fixture
def verl(monkeypatch):
    """`register_adv_est` and `compute_advantage` as in verl 0.9.1, in modules of verl's names."""
    estimators: dict = {}

    def register_adv_est(name):
        def decorator(function):
            if name in estimators and estimators[name] != function:
                raise ValueError(f"Adv estimator {name} has already been registered")
            estimators[name] = function
            return function

        return decorator

    def compute_advantage(data, adv_estimator, gamma=1.0, config=None):
        settings = {"token_level_rewards": data.batch["token_level_rewards"], "config": config}
        settings |= {"response_mask": data.batch["response_mask"], "index": data.non_tensor_batch["uid"]}
        data.batch["advantages"], data.batch["returns"] = estimators[adv_estimator](**settings)
        return data

    names = ["verl", "verl.trainer", "verl.trainer.ppo", "verl.trainer.ppo.core_algos", *grpovi_verl.HOLDERS]
    for name in [*names, "verl.trainer.ppo.v1"]:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["verl.trainer.ppo.core_algos"].register_adv_est = register_adv_est
    for holder in grpovi_verl.HOLDERS:
        sys.modules[holder].compute_advantage = compute_advantage
    return estimators


def test_once_registered_verl_hands_over_the_references_log_probabilities(verl, batch):
    token_level, mask, index, logp, _ = batch
    register()
    register()
    assert verl["grpovi"] is compute_grpovi_outcome_advantage
    expected, _ = compute_grpovi_outcome_advantage(token_level, mask, index, ref_log_prob=logp, config=CONFIG)
    for holder in grpovi_verl.HOLDERS:
        tensors = {"token_level_rewards": token_level, "response_mask": mask, "ref_log_prob": logp}
        data = SimpleNamespace(batch=tensors, non_tensor_batch={"uid": index})
        done = sys.modules[holder].compute_advantage(data, adv_estimator="grpovi", gamma=1.0, config=CONFIG)
        assert torch.equal(done.batch["advantages"], expected)

    without = SimpleNamespace(batch={k: v for k, v in tensors.items() if k != "ref_log_prob"},
                              non_tensor_batch={"uid": index})  # fmt: skip
    with pytest.raises(UsageError, match="needs the reference's log-probabilities"):
        sys.modules[holder].compute_advantage(without, adv_estimator="grpovi", config=CONFIG)


def test_other_estimators_run_as_before(verl, batch):
    token_level, mask, index, logp, _ = batch
    verl["own"] = lambda token_level_rewards, response_mask, **rest: (token_level_rewards, response_mask)
    register()
    tensors = {"token_level_rewards": token_level, "response_mask": mask, "ref_log_prob": logp}
    data = SimpleNamespace(batch=tensors, non_tensor_batch={"uid": index})
    done = sys.modules[grpovi_verl.HOLDERS[0]].compute_advantage(data, adv_estimator="own")
    assert done.batch["advantages"] is token_level


def test_without_verl_it_says_what_to_install():
    if "verl" in sys.modules:
        pytest.skip("verl is installed here")
    with pytest.raises(UsageError, match=r"pip install -e '\.\[verl\]'"):
        register()
