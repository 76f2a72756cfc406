"""The batched adjustment in closed form: the paper's enumeration, and what it keeps on any group there may be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jfhpo.core.errors import UsageError
from jfhpo.tasks.grpovi import TIES, by_enumeration
from jfhpo.trainers.grpovi import adjusted_rewards

LOW, HIGH = -1.0, 2.0
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def random_groups(count: int, n: int, seed: int, tied: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    levels = [LOW, 0.0, 0.25, 0.5, HIGH]
    rewards = rng.choice(levels, (count, n)) if tied else rng.uniform(LOW, HIGH, (count, n))
    return rewards, np.maximum(rng.dirichlet(np.full(n, rng.choice([0.3, 1.0, 5.0])), count), 1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 8, 12, 16, 32, 64])
def test_it_is_the_enumeration_on_ten_thousand_groups_of_each_size(n, device):
    """Ten sizes, 10⁵ groups in all, half of them with ties and rewards at the bounds."""
    for tied in (False, True):
        rewards, p = random_groups(5000, n, n, tied)
        expected = by_enumeration(rewards, p, LOW, HIGH)
        found = adjusted_rewards(
            torch.tensor(rewards, device=device), torch.tensor(p, device=device).log(), LOW, HIGH, "position"
        )
        p = p / p.sum(1, keepdims=True)
        np.testing.assert_allclose(p * found.cpu().numpy(), p * expected, atol=1e-11)


def of_distinct(rewards: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The enumeration over the distinct rewards of a group, each with the sum of its p."""
    distinct, place = np.unique(rewards, return_inverse=True)
    return by_enumeration(distinct, np.bincount(place, p), LOW, HIGH)[place]


@pytest.mark.parametrize("n", [2, 4, 8])
def test_equal_rewards_are_one_reward_of_all_their_weight(n):
    rewards, p = random_groups(1000, n, 100 + n, tied=True)
    expected = np.array([of_distinct(r, w) for r, w in zip(rewards, p, strict=True)])
    found = adjusted_rewards(torch.tensor(rewards), torch.tensor(p).log(), LOW, HIGH, "equal").numpy()
    np.testing.assert_allclose(p * found, p * expected, atol=1e-11)
    by_position = adjusted_rewards(torch.tensor(rewards), torch.tensor(p).log(), LOW, HIGH, "position").numpy()
    assert (abs(by_position - found) > 0.1).any(), "the two rules differ on some group"


GROUP = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.one_of(st.floats(LOW, HIGH), st.sampled_from([LOW, 0.0, 0.5, HIGH])), min_size=n, max_size=n),
        st.lists(
            st.one_of(st.floats(-3, 0), st.floats(-2000, 0), st.sampled_from([0.0, -1e6, -torch.inf])),
            min_size=n,
            max_size=n,
        ),
    )
)


@settings(max_examples=600, deadline=None)
@given(group=GROUP, ties=st.sampled_from(TIES), at=st.integers(0, 11))
def test_what_any_group_keeps(group, ties, at):
    """Order, mean under p and bounds are kept, and the variance is never smaller; however extreme the
    log-probabilities, and whatever the order in which the group is given."""
    rewards, logp = (torch.tensor(values, dtype=torch.float64) for values in group)
    logp[at % len(logp)] = -0.5  # not all of them zero
    z = adjusted_rewards(rewards, logp, LOW, HIGH, ties)
    p = logp.softmax(-1)

    assert z.min() >= LOW and z.max() <= HIGH
    above = rewards[:, None] > rewards
    assert bool((z[:, None] >= z)[above].all())
    assert float((p * z).sum()) == pytest.approx(float((p * rewards).sum()), abs=1e-9)
    assert float((p * z**2).sum()) >= float((p * rewards**2).sum()) - 1e-9
    assert torch.equal(z[(rewards == HIGH)], rewards[rewards == HIGH])
    assert torch.equal(z[(rewards == LOW)], rewards[rewards == LOW])
    if ties == "equal":
        same = rewards[:, None] == rewards
        assert bool((z[:, None] == z)[same].all())
        turned = torch.randperm(len(z), generator=torch.Generator().manual_seed(at))
        torch.testing.assert_close(adjusted_rewards(rewards[turned], logp[turned], LOW, HIGH), z[turned])


@settings(max_examples=200, deadline=None)
@given(group=GROUP, shift=st.floats(-1e4, 1e4))
def test_the_normalisation_of_the_log_probabilities_is_of_no_account(group, shift):
    rewards, logp = (torch.tensor(values, dtype=torch.float64) for values in group)
    logp[0] = -0.5
    here, there = (adjusted_rewards(rewards, values, LOW, HIGH) for values in (logp, logp + shift))
    p = logp.softmax(-1)
    torch.testing.assert_close(p * here, p * there, atol=1e-8, rtol=0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(-1e5, 0)), min_size=1, max_size=16), st.sampled_from(TIES))
def test_rewards_of_zero_and_one_are_left_alone_to_the_last_bit(group, ties):
    rewards = torch.tensor([float(right) for right, _ in group])
    z = adjusted_rewards(rewards, torch.tensor([logp for _, logp in group]), 0.0, 1.0, ties)
    assert z.dtype == torch.float32
    assert torch.equal(z, rewards)


@pytest.mark.parametrize("gap", [50.0, 800.0, 1e5])
def test_a_response_that_has_all_the_probability_keeps_its_reward_and_divides_the_others(gap):
    """In the limit of a one-hot p: what is better goes to M, what is worse to m, whatever it was."""
    rewards = torch.tensor([0.4, 0.6, 0.5, 0.1, 0.9], dtype=torch.float64)
    logp = torch.tensor([-2 * gap, -gap, 0.0, -3 * gap, -gap], dtype=torch.float64)
    expected = torch.tensor([0.0, 1.0, 0.5, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(adjusted_rewards(rewards, logp, 0.0, 1.0), expected, atol=1e-12, rtol=0)


def test_a_probability_of_zero_is_the_limit_of_small_ones():
    rewards, none = torch.tensor([0.4, 0.6, 0.5]), -torch.inf
    assert adjusted_rewards(rewards, torch.tensor([none, none, 0.0]), 0.0, 1.0).tolist() == [0.0, 1.0, 0.5]
    ends = torch.tensor([1.0, 0.0])
    for logp in ([0.0, none], [none, 0.0]):
        assert torch.equal(adjusted_rewards(ends, torch.tensor(logp), 0.0, 1.0), ends)


@pytest.mark.parametrize("reward", [0.0, 0.3, 1.0])
def test_one_response_and_a_group_that_agrees_are_left_alone(reward):
    for n in (1, 4):
        rewards = torch.full((2, n), reward)
        assert torch.equal(adjusted_rewards(rewards, torch.randn(2, n), 0.0, 1.0), rewards)


def test_groups_do_not_see_each_other():
    generator = torch.Generator().manual_seed(0)
    rewards, logp = torch.rand(3, 5, 8, generator=generator), 9 * torch.randn(3, 5, 8, generator=generator)
    together = adjusted_rewards(rewards, logp, 0.0, 1.0)
    for i in range(3):
        for j in range(5):
            assert torch.equal(together[i, j], adjusted_rewards(rewards[i, j], logp[i, j], 0.0, 1.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_bounds_mean_what_they_are_in_the_precision_of_the_rewards(dtype):
    """0.1 in single precision is above 0.1; it is still the bound."""
    low, high = (0, 1) if dtype is torch.int64 else (-0.3, 0.1)
    rewards = torch.tensor([low, high, high], dtype=dtype)
    z = adjusted_rewards(rewards, torch.zeros(3), low, high)
    assert torch.equal(z, rewards.to(z.dtype)) and z.is_floating_point()


BAD = [
    ([[0.1, 0.2], [0.3, torch.nan]], [[0, 0], [0, 0]], 0, 1, r"group 1, index 1: reward nan must lie in \[0, 1\]"),
    ([[0.1, 0.2], [-3, 0.4]], [[0, 0], [0, 0]], 0, 1, r"group 1, index 0: reward -3 must lie in \[0, 1\]"),
    ([[0.1, 0.2], [0.3, 0.4]], [[0, torch.nan], [0, 0]], 0, 1, "group 0, index 1: log-probability nan must be finite"),
    ([[0.1, 0.2]], [[0, torch.inf]], 0, 1, "group 0, index 1: log-probability inf must be finite"),
    ([[0.1, 0.2], [0.3, 0.4]], [[0, 0], [-torch.inf] * 2], 0, 1, "group 1, index 0: .*probabilities sum to zero"),
    ([[0.1, 0.2]], [[0, 0]], 1, 0, "m=1 and M=0 must be finite, with m ≤ M"),
    ([[0.1, 0.2]], [[0.0]], 0, 1, r"rewards \(1, 2\) and log-probabilities \(1, 1\) must have one shape"),
    ([[[0.1, 2.0]]], [[[0.0, 0.0]]], 0, 1, r"group \(0, 0\), index 1: reward 2"),
]


@pytest.mark.parametrize("rewards, logp, low, high, message", BAD)
def test_bad_input_names_the_group_and_the_index(rewards, logp, low, high, message):
    with pytest.raises(ValueError, match=message):
        adjusted_rewards(torch.tensor(rewards), torch.tensor(logp, dtype=torch.float32), low, high)


def test_an_unknown_rule_for_ties_names_the_valid_ones():
    with pytest.raises(UsageError, match=r"GRPOVI ties 'equall' \(did you mean 'equal'.*position"):
        adjusted_rewards(torch.tensor([0.5]), torch.tensor([0.0]), 0.0, 1.0, "equall")
