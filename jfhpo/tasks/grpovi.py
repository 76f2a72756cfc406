"""GRPOVI, "Accelerating RLHF Training with Reward Variance Increase" (arXiv 2505.23247): the adjustment of rewards.

The n rewards r of a prompt's responses become the rewards z of the highest variance that keeps mean, bounds and order:

    maximise Σ p_i z_i²   subject to   m ≤ z_i ≤ M,   Σ p_i z_i = Σ p_i r_i = c,   z_i ≥ z_j where r_i stands before r_j

with p_i the reference's probability of response i, normalised over the group. At an extreme point of these constraints
z is M on the first k rewards (sorted from the highest), α on the next up to the l-th, m on the rest:

    z = (M, …, M, α, …, α, m, …, m),   α = (c − M S_A − m S_C) / S_B,   S the sums of p over the three blocks.

Here are the paper's two searches for (k, l), to the letter: the references. What trainers use is the batched solution
in closed form of `jfhpo.trainers.grpovi`, which also stands probabilities that no float holds, and ties.

Both work on u = (r − m)/(M − m), which changes nothing: Σ p z² rises with Σ p u² where the mean is fixed.
"""

from __future__ import annotations

import numpy as np

ADVANTAGES = ("grpo", "grpovi")
"""What an advantage may be computed from: the rewards, or the adjusted ones."""
EQUAL, POSITION = "equal", "position"
TIES = (EQUAL, POSITION)
"""Equal rewards stay equal: what they have is shared (the same problem over distinct rewards, each with the sum of its
p). Or, as in the paper, which has no rule for them: the earlier of them comes first."""
ROUNDING = 1e-12
"""How far a block's share of the mean may lie outside its bounds and still count as on them: rewards that are m or M
give just that, and without it both searches stop short of them."""


def by_enumeration(rewards: np.ndarray, p: np.ndarray, low: float, high: float) -> np.ndarray:
    """Algorithm 1: the best of all feasible (k, l), O(n²) for each of the groups; (..., n), (..., n) -> (..., n).

    Equal rewards stand in the order given, and may become different ones: the paper has no rule for ties.

    Raises:
        ValueError: as `checked`.
    """
    r, p = checked(rewards, p, low, high)
    if low == high:
        return r
    order = np.argsort(-r, axis=-1, kind="stable")
    p = np.take_along_axis(p, order, -1)
    c = (p * (np.take_along_axis(r, order, -1) - low) / (high - low)).sum(-1, keepdims=True)
    prefix = np.concatenate([np.zeros_like(c), p.cumsum(-1)], axis=-1)  # p-sums of the first 0, …, n rewards
    n, groups = r.shape[-1], r.shape[:-1]
    best, best_k, best_l, best_alpha = (np.full(groups, start) for start in (-np.inf, 0, 0, 0.0))
    for k in range(n):
        middle = prefix[..., k + 1 :] - prefix[..., k, None]  # S_B for l = k + 1, …, n
        with np.errstate(divide="ignore", invalid="ignore"):
            alpha = (c - prefix[..., k, None]) / middle
        feasible = (alpha >= -ROUNDING) & (alpha <= 1 + ROUNDING)
        alpha = np.clip(alpha, 0.0, 1.0)
        value = np.where(feasible, prefix[..., k, None] + alpha**2 * middle, -np.inf)
        at = value.argmax(-1)
        here, its_alpha = (np.take_along_axis(a, at[..., None], -1)[..., 0] for a in (value, alpha))
        better = here > best
        best, best_alpha = np.where(better, here, best), np.where(better, its_alpha, best_alpha)
        best_k, best_l = np.where(better, k, best_k), np.where(better, k + 1 + at, best_l)
    place = np.arange(n)
    first, last, alpha = (a[..., None] for a in (best_k, best_l, low + (high - low) * best_alpha))
    z = np.where(place < first, high, np.where(place < last, alpha, low))
    return _put_back(z, order)


def by_one_pass(rewards: np.ndarray, p: np.ndarray, low: float, high: float) -> np.ndarray:
    """Algorithm 2: from k = 0 and l = n to the better strictly improving feasible neighbour of (k + 1, l) and
    (k, l − 1) until there is none, O(n) after the sort; one group, (n,), (n,) -> (n,).

    Taking w from the block of p-sum S raises Σ p u² by w S/(S − w) (1 − α)² at its upper end and w S/(S − w) α² at
    its lower one. Written so, a small improvement is not lost in the rounding of a large sum.

    Raises:
        ValueError: as `checked`.
    """
    r, p = checked(rewards, p, low, high)
    if low == high:
        return r
    order = np.argsort(-r, kind="stable")
    w = p[order].tolist()
    S, mass = 1.0, float((p * (r - low)).sum() / (high - low))  # S_B, and Σ p u over the block: α = mass / S
    first, last = 0, len(w)  # k and l
    while last - first > 1:
        alpha, up, down = mass / S, w[first], w[last - 1]
        gain_up = up * S / (S - up) * (1 - alpha) ** 2 if up < S and up <= mass + ROUNDING else 0.0
        gain_down = down * S / (S - down) * alpha**2 if down < S and down + mass <= S + ROUNDING else 0.0
        if max(gain_up, gain_down) <= 0:
            break
        if gain_up >= gain_down:
            first, S, mass = first + 1, S - up, mass - up
        else:
            last, S = last - 1, S - down
    place, alpha = np.arange(len(w)), low + (high - low) * min(max(mass / S, 0.0), 1.0)
    return _put_back(np.where(place < first, high, np.where(place < last, alpha, low)), order)


def checked(rewards: np.ndarray, p: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Rewards, and p normalised over each group, as arrays of floats.

    Raises:
        ValueError: for m > M, rewards that are NaN or outside [m, M], or a p that is negative, not finite or zero in
            sum: with the group and the index.
    """
    check_bounds(low, high)
    r, p = np.asarray(rewards, dtype=float), np.asarray(p, dtype=float)
    if r.shape != p.shape or r.ndim == 0 or r.shape[-1] == 0:
        raise ValueError(f"rewards {r.shape} and p {p.shape} must have one shape, with the group last")
    refuse(np.argwhere(~((r >= low) & (r <= high))), r, "reward", f"must lie in [{low:g}, {high:g}]")
    refuse(np.argwhere(~((p >= 0) & np.isfinite(p))), p, "p", "must be finite and not negative")
    total = p.sum(-1, keepdims=True)
    refuse(np.argwhere(total <= 0), total, "sum of p", "must be positive")
    return r, p / total


def check_bounds(low: float, high: float) -> None:
    """A `ValueError` for bounds that no reward can keep."""
    if not (np.isfinite([low, high]).all() and low <= high):
        raise ValueError(f"reward bounds m={low:g} and M={high:g} must be finite, with m ≤ M")


def refuse(places: np.ndarray, values: np.ndarray, what: str, must: str) -> None:
    """A `ValueError` for the first of the `places` (count, dimensions of `values`), if there is any."""
    if len(places):
        *group, index = places[0].tolist()
        where = f"group {group[0] if len(group) == 1 else tuple(group)}, " if group else ""
        raise ValueError(f"{where}index {index}: {what} {values[tuple(places[0])]:g} {must}")


def _put_back(z: np.ndarray, order: np.ndarray) -> np.ndarray:
    """From sorted to the order in which rewards were given."""
    out = np.empty_like(z)
    np.put_along_axis(out, order, z, -1)
    return out
