"""GRPOVI's two searches of the paper: against each other, against a table by hand, and what any solution must keep."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from jfhpo.tasks.grpovi import by_enumeration, by_one_pass


def test_four_rewards_by_hand():
    """Rewards .9 .6 .5 .2 of equal weight, in [0, 1]: the sum is 2.2, so that two go to 1 and the third takes .2."""
    rewards, p = np.array([0.5, 0.9, 0.2, 0.6]), np.full(4, 0.25)
    for search in (by_enumeration, by_one_pass):
        np.testing.assert_allclose(search(rewards, p, 0.0, 1.0), [0.2, 1.0, 0.0, 1.0], atol=1e-12)


def test_unequal_weights_by_hand():
    """p = .1 .2 .7 on r = 8 6 3, in [2, 10]: c = 4.1, and 4.1 − 2 = 2.1 can pay for raising .1 by 8 and .2 by 6.5."""
    rewards, p = np.array([8.0, 6.0, 3.0]), np.array([1.0, 2.0, 7.0])  # p is normalised
    for search in (by_enumeration, by_one_pass):
        np.testing.assert_allclose(search(rewards, p, 2.0, 10.0), [10.0, 8.5, 2.0], atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_enumeration_is_the_best_of_all_monotone_rewards_on_a_grid(n):
    """Every z on a grid that keeps order, bounds and (exactly, in fractions) mean: none has a higher Σ p z²."""
    rng, levels = np.random.default_rng(n), [Fraction(i, 6) for i in range(7)]
    found = 0
    for _ in range(30):
        weights = [Fraction(int(w), 12) for w in rng.integers(1, 7, n)]
        p = [w / sum(weights) for w in weights]
        rewards = [levels[i] for i in sorted(rng.integers(0, 7, n), reverse=True)]
        c = sum(w * r for w, r in zip(p, rewards, strict=True))
        z = by_enumeration(np.array(rewards, float), np.array(p, float), 0.0, 1.0)
        best = float((np.array(p, float) * z**2).sum())
        for other in itertools.combinations_with_replacement(reversed(levels), n):
            if sum(w * r for w, r in zip(p, other, strict=True)) == c:
                assert float(sum(w * r * r for w, r in zip(p, other, strict=True))) <= best + 1e-12
                found += 1
    assert found >= 30, "the rewards themselves are on the grid, and others"


def random_groups(count: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rewards in [−1, 2] and weights; in a third of the groups rewards are levels, with ties and values at a bound."""
    rng = np.random.default_rng(seed)
    rewards = rng.uniform(-1, 2, (count, n))
    rewards[::3] = rng.choice([-1.0, 0.0, 0.5, 2.0], (len(rewards[::3]), n))
    return rewards, rng.dirichlet(np.full(n, rng.choice([0.3, 1.0, 5.0])), count)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13, 40])
def test_one_pass_finds_what_enumeration_finds(n):
    rewards, p = random_groups(4000, n, seed=n)
    expected = by_enumeration(rewards, p, -1.0, 2.0)
    found = np.array([by_one_pass(r, w, -1.0, 2.0) for r, w in zip(rewards, p, strict=True)])
    np.testing.assert_allclose((p * found**2).sum(1), (p * expected**2).sum(1), atol=1e-9)
    np.testing.assert_allclose(p * found, p * expected, atol=1e-9)  # of no weight is of no account


def test_equal_bounds_leave_nothing_to_adjust():
    for search in (by_enumeration, by_one_pass):
        assert search(np.array([3.0, 3.0]), np.array([0.2, 0.8]), 3.0, 3.0).tolist() == [3.0, 3.0]


BAD = [
    ([[0.1, 0.2], [0.3, np.nan]], [[1, 1], [1, 1]], 0, 1, r"group 1, index 1: reward nan must lie in \[0, 1\]"),
    ([[0.1, 0.2], [0.3, 1.5]], [[1, 1], [1, 1]], 0, 1, r"group 1, index 1: reward 1\.5 must lie in \[0, 1\]"),
    ([[0.1, 0.2], [0.3, 0.4]], [[1, -2], [1, 1]], 0, 1, "group 0, index 1: p -2 must be finite and not negative"),
    ([[0.1, 0.2], [0.3, 0.4]], [[1, 1], [np.inf, 1]], 0, 1, "group 1, index 0: p inf must be finite"),
    ([[0.1, 0.2], [0.3, 0.4]], [[1, 1], [0, 0]], 0, 1, "group 1, index 0: sum of p 0 must be positive"),
    ([[0.1, 0.2]], [[1, 1]], 1, 0, "m=1 and M=0 must be finite, with m ≤ M"),
    ([[0.1, 0.2]], [[1, 1, 1]], 0, 1, r"rewards \(1, 2\) and p \(1, 3\) must have one shape"),
    ([[]], [[]], 0, 1, "must have one shape, with the group last"),
]


@pytest.mark.parametrize("rewards, p, low, high, message", BAD)
def test_bad_input_names_the_group_and_the_index(rewards, p, low, high, message):
    with pytest.raises(ValueError, match=message):
        by_enumeration(np.array(rewards, float), np.array(p, float), low, high)


@pytest.mark.parametrize(
    "rewards, p, message", [([0.5, 7.0], [1, 1], "^index 1: reward 7"), ([0.5], [-1], "^index 0: p -1")]
)
def test_bad_input_of_a_single_group_names_the_index(rewards, p, message):
    with pytest.raises(ValueError, match=message):
        by_one_pass(np.array(rewards), np.array(p), 0.0, 1.0)
