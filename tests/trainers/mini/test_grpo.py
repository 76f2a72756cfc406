"""The GRPO objective, its schedule and its prompt order, against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jfhpo.trainers.mini.grpo import (
    GRPOSettings,
    Hyperparameters,
    PromptOrder,
    entropy,
    group_advantages,
    grpo_loss,
    grpo_step,
    scheduled_lr,
    step_flops,
)
from tests.trainers.mini.tiny import copy_of, encoded, random_model

HP = Hyperparameters(lr=1e-3, lr_scheduler="constant", clip_ratio=0.2, grad_clip=1.0, kl_loss_coef=0.0, rollout_n=4)


def test_advantages_by_hand():
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    # One in four: mean 1/4, sample variance (9 + 3)/16/3 = 1/4. Two in four: mean 1/2, variance 1/3.
    expected = [1.5, -0.5, -0.5, -0.5, *[0.5 * 3**0.5] * 2, *[-0.5 * 3**0.5] * 2]
    torch.testing.assert_close(group_advantages(rewards, 4), torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_a_group_that_agrees_has_no_advantage(reward):
    assert group_advantages(torch.full((8,), reward), 4).tolist() == [0.0] * 8


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=8, max_size=8), st.integers(0, 7))
def test_advantages_compare_within_the_group_only(rewards, flipped):
    before = group_advantages(torch.tensor(rewards), 4)
    rewards[flipped] = 1 - rewards[flipped]
    after = group_advantages(torch.tensor(rewards), 4)
    other = slice(4, 8) if flipped < 4 else slice(0, 4)
    assert torch.equal(before[other], after[other])
    assert abs(float(after[:4].sum())) < 1e-5


def loss_of(ratio, advantage, kl_coef=0.0, logp_ref=None, clip=0.2):
    """`grpo_loss` with logp_old = -1 everywhere and logp = -1 + log ρ."""
    logp = (torch.tensor(ratio).log() - 1).requires_grad_()
    logp_old = torch.full_like(logp, -1.0).detach()
    logp_ref = logp.detach() if logp_ref is None else torch.tensor(logp_ref)
    loss, metrics = grpo_loss(logp, logp_old, logp_ref, torch.tensor(advantage), clip, kl_coef)
    loss.backward()
    return float(loss.detach()), logp.grad.tolist(), {name: float(value) for name, value in metrics.items()}


def test_loss_of_three_tokens_by_hand():
    """ρ = 1.5 with Â = 2 is clipped at 1.2; ρ = 0.5 with Â = −1 is clipped at 0.8; ρ = 1 is not."""
    loss, gradient, metrics = loss_of([1.5, 0.5, 1.0], [2.0, -1.0, 3.0])
    assert loss == pytest.approx(-(1.2 * 2 - 0.8 * 1 + 1.0 * 3) / 3)
    assert gradient == pytest.approx([0.0, 0.0, -1.0])  # d/dlogp of −ρÂ/3 = −ρÂ/3; none where clipped
    assert metrics["clip_fraction"] == pytest.approx(2 / 3)
    assert metrics["kl"] == 0.0


def test_clipping_only_ever_takes_the_lower_bound():
    """A ratio beyond the range *against* the advantage is not clipped: the pull back must stay."""
    loss, gradient, metrics = loss_of([0.5, 1.5], [2.0, -1.0])
    assert loss == pytest.approx(-(0.5 * 2 - 1.5 * 1) / 2)
    assert gradient == pytest.approx([-0.5, 0.75])
    assert metrics["clip_fraction"] == 0.0


def test_kl_is_k3_to_the_reference_and_its_penalty_raises_the_loss():
    """δ = log π_ref − log π; k3 = e^δ − δ − 1; the descent direction −∂/∂logp = e^δ − 1 points to the reference."""
    delta = [1.0, -2.0, 0.0]
    k3 = [math.exp(d) - d - 1 for d in delta]
    loss, gradient, metrics = loss_of([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], 0.3, [-1.0 + d for d in delta])
    assert metrics["kl"] == pytest.approx(sum(k3) / 3)
    assert loss == pytest.approx(0.3 * sum(k3) / 3)
    assert gradient == pytest.approx([0.3 * (1 - math.exp(d)) / 3 for d in delta])
    assert gradient[0] < 0 < gradient[1]  # more likely under the reference: raise logp, and the other way round


def test_on_policy_the_gradient_is_the_policy_gradient():
    _, gradient, _ = loss_of([1.0, 1.0], [1.5, -0.5])
    assert gradient == pytest.approx([-0.75, 0.25])


def test_every_token_weighs_the_same_however_long_its_completion():
    """Token-mean: a completion of three tokens counts three times one of a single token."""
    loss, _, _ = loss_of([1.0] * 4, [1.0, 1.0, 1.0, -1.0])
    assert loss == pytest.approx(-(3 - 1) / 4)


@pytest.mark.parametrize("step, expected", [(0, 2e-3), (10, 2e-3), (49, 2e-3)])
def test_constant_schedule(step, expected):
    assert scheduled_lr(Hyperparameters(2e-3, "constant", 0.2, 1.0, 0.0, 4), step, 50) == expected


@pytest.mark.parametrize("step, share", [(0, 1.0), (10, 0.5 * (1 + math.cos(math.pi / 5))), (25, 0.5), (50, 0.0)])
def test_cosine_schedule_falls_from_lr_to_zero_at_the_horizon(step, share):
    assert scheduled_lr(Hyperparameters(2e-3, "cosine", 0.2, 1.0, 0.0, 4), step, 50) == pytest.approx(2e-3 * share)


def test_prompt_order_deals_every_prompt_once_an_epoch_in_a_new_order():
    order = PromptOrder(12, torch.Generator().manual_seed(0))
    epochs = [torch.cat([order.next(4) for _ in range(3)]).tolist() for _ in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_prompt_order_never_repeats_a_prompt_within_an_epoch_that_does_not_divide():
    order = PromptOrder(10, torch.Generator().manual_seed(0))
    for _ in range(4):
        epoch = torch.cat([order.next(4) for _ in range(2)]).tolist()
        assert len(set(epoch)) == 8


def test_prompt_order_is_its_seeds():
    one, same, other = (PromptOrder(64, torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    dealt = [[o.next(16).tolist() for _ in range(9)] for o in (one, same, other)]
    assert dealt[0] == dealt[1] != dealt[2]


def test_entropy_by_hand():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, math.log(3.0), -1e9, -1e9]])
    assert float(entropy(logits)) == pytest.approx((math.log(4) + (math.log(4) - 0.75 * math.log(3))) / 2)


def test_step_flops_by_hand():
    """xs over 19 characters: two layers of qkv 3·32², out 32², gate and up 2·32·80, down 80·32, their biases and
    gains, the head and the last gain; 16 prompts of 10 characters and 500 sampled tokens. Per token: 2W to sample,
    2W for the reference, 2W forward and 4W backward for the policy."""
    layer = 3 * 32 * 32 + 3 * 32 + 32 * 32 + 3 * 32 * 80 + 2 * 32
    weights = 2 * layer + 32 * 19 + 32
    read = 16 * 10 + 500
    assert step_flops(random_model(), 16, 128, 500, 10, epochs=1) == (2 + 2 + 2 + 4) * weights * read
    assert step_flops(random_model(), 16, 128, 500, 10, epochs=3) == (2 + 3 * (2 + 2 + 4)) * weights * read


def run_step(policy, reference, *, reward=None, settings=None, hp=HP, step=0):
    data = encoded()
    if reward is not None:
        data.reward = reward
    settings = settings or GRPOSettings(prompts_per_step=4)
    optimizer = torch.optim.AdamW([policy.flat], lr=1.0, weight_decay=0.0)
    order = PromptOrder(len(data), torch.Generator().manual_seed(0))
    sampling = torch.Generator().manual_seed(1)
    return grpo_step(policy, reference, optimizer, data, order, sampling, hp, settings, step, 8)


def test_the_first_update_of_a_step_is_on_policy():
    """One minibatch at the reference: every ratio is 1, nothing is clipped, KL is 0, and with standardised
    advantages the objective itself is 0 per equally long group."""
    base = random_model()
    metrics = run_step(copy_of(base), base, settings=GRPOSettings(prompts_per_step=4, minibatches=1))
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["clip_fraction"] == 0.0


def test_what_is_rewarded_becomes_likelier_and_what_is_not_does_not():
    """Reward completions that start with an even id: their share rises in a few steps."""
    base = random_model()
    policy = copy_of(base)

    def reward(which, completions):
        return (completions[:, 0] % 2 == 0).float()

    data, order = encoded(), PromptOrder(64, torch.Generator().manual_seed(0))
    data.reward = reward
    optimizer, sampling = torch.optim.AdamW([policy.flat], lr=1.0), torch.Generator().manual_seed(1)
    settings = GRPOSettings(prompts_per_step=8)
    hp = Hyperparameters(3e-3, "constant", 0.2, 1.0, 1e-3, 8)
    rewards = [
        grpo_step(policy, base, optimizer, data, order, sampling, hp, settings, step, 3)["reward_mean"]
        for step in range(12)
    ]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.2


def test_no_gradient_is_carried_from_one_update_to_the_next():
    """A step that learns, then one that has nothing to learn from: it must not move."""
    base, policy, data = random_model(), copy_of(random_model()), encoded()
    optimizer = torch.optim.SGD([policy.flat], lr=1.0)
    order, sampling = PromptOrder(64, torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)
    norms = []
    for reward in (lambda which, c: (c[:, 0] % 2).float(), lambda which, c: torch.zeros(len(c))):
        data.reward, before = reward, policy.state()
        grpo_step(policy, base, optimizer, data, order, sampling, HP, GRPOSettings(prompts_per_step=4), 0, 8)
        norms.append(float((policy.flat - before).norm()))
    assert norms[0] > 1e-5 and norms[1] == 0.0


def test_the_reference_stays_frozen_and_the_policy_moves():
    base, policy = random_model(), copy_of(random_model())
    before = base.state()
    metrics = run_step(policy, base, reward=lambda which, c: (c[:, 0] % 2).float())
    assert torch.equal(base.flat, before)
    assert not torch.equal(policy.flat, before)
    assert not base.flat.grad.any()
    assert metrics["grad_norm"] > 0


def test_a_penalty_pulls_a_strayed_policy_back():
    base = random_model()
    strayed = copy_of(base, noise=0.05)
    data, order = encoded(), PromptOrder(64, torch.Generator().manual_seed(0))
    data.reward = lambda which, c: torch.zeros(len(c))
    optimizer, sampling = torch.optim.AdamW([strayed.flat], lr=1.0, weight_decay=0.0), torch.Generator().manual_seed(1)
    hp = Hyperparameters(1e-3, "constant", 0.2, 10.0, 0.5, 4)
    kl = [
        grpo_step(strayed, base, optimizer, data, order, sampling, hp, GRPOSettings(), step, 6)["kl"]
        for step in range(10)
    ]
    assert kl[-1] < 0.5 * kl[0]


def test_gradient_clip_bounds_the_update_and_the_recorded_norm_is_from_before():
    base = random_model()
    norms = {}
    for clip in (1e-3, 1e3):
        policy = copy_of(base)
        hp = Hyperparameters(1.0, "constant", 0.2, clip, 0.0, 4)
        data = encoded()
        data.reward = lambda which, c: (c[:, 0] % 2).float()
        optimizer = torch.optim.SGD([policy.flat], lr=1.0)
        order = PromptOrder(64, torch.Generator().manual_seed(0))
        settings = GRPOSettings(prompts_per_step=4, minibatches=1)
        metrics = grpo_step(policy, base, optimizer, data, order, torch.Generator().manual_seed(1), hp, settings, 0, 8)
        norms[clip] = (metrics["grad_norm"], float((policy.flat - base.flat).norm()))
    assert norms[1e-3][0] == norms[1e3][0] > 1e-2
    assert norms[1e-3][1] == pytest.approx(1e-3, rel=1e-2)
    assert norms[1e3][1] == pytest.approx(norms[1e3][0], rel=1e-2)
