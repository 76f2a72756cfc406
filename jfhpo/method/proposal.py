"""What the surrogate proposes: the most valuable of given candidates, and the best configuration not tried yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from jfhpo.core.space import SearchSpace
from jfhpo.core.trial import Config, Fidelity
from jfhpo.method.acquisition import log_cost, log_expected_improvement, log_paper_value, log_value_per_cost
from jfhpo.method.features import Features
from jfhpo.method.search import Codes, Effort, maximise
from jfhpo.method.surrogate import Surrogate

__all__ = ["Effort", "best_new", "best_new_at_any_step", "most_valuable", "paper_values"]


LOOK = 64
"""Candidates that `most_valuable` values at once."""


@torch.no_grad()
def most_valuable(
    surrogate: Surrogate, target: np.ndarray, observed: np.ndarray, best: float, costs: np.ndarray
) -> int:
    """The candidate of the greatest α among n that would observe `observed` and are judged at `target`, both (n, D), at
    `costs` (n,).

    No trial can tell more than all, |ρ| = 1, and EI grows with the standard deviation: log EI(μ_T, σ_T; f*) − log C
    bounds log α from above. Candidates are valued in the order of that bound until it falls to the best value found,
    so that ρ, which costs n² a candidate, is asked for a few of them only.
    """
    seen, costs = torch.tensor(observed), torch.tensor(costs)
    points, at = np.unique(target, axis=0, return_inverse=True)  # a configuration on two models has one target
    mean, sd = (of[torch.tensor(at.reshape(-1))] for of in surrogate.posterior(torch.tensor(points)))
    bound = log_expected_improvement(mean, sd, best) - log_cost(costs)
    winner, value = -1, -torch.inf
    for some in torch.argsort(bound, descending=True, stable=True).split(LOOK):
        if bound[some[0]] <= value and winner >= 0:
            break
        joint = surrogate.joint(torch.tensor(target)[some], seen[some])
        alpha = log_value_per_cost(joint, best, costs[some])
        top = int(alpha.argmax())
        if winner < 0 or alpha[top] > value:
            winner, value = int(some[top]), float(alpha[top])
    return winner


def best_new(
    surrogate: Surrogate,
    features: Features,
    fidelity: Fidelity,
    best: float,
    expect: Callable[[Config], float],
    near: Sequence[Config],
    seed: int,
    effort: Effort,
    tried: Collection[str] = (),
) -> Config | None:
    """The configuration of the space that is worth most per cost when tried at `fidelity`. Of a finite space all that
    are not in `tried` (by `config_key`) are valued, and None is the answer where none is left."""
    problem, codes = features.problem, Codes(features.problem.space)
    costs = codes.costs(expect)
    ends = [[features.s(at.steps), features.m(at.model)] for at in (problem.full, fidelity)]

    def value(rows: Tensor) -> Tensor:
        phi = codes.features(rows)
        full, tried = (phi.new_tensor(end).expand(len(phi), 2) for end in ends)
        joint = surrogate.joint(torch.cat([phi, full], 1), torch.cat([phi, tried], 1))
        return log_value_per_cost(joint, best, costs(rows))

    if problem.space.listed is not None:
        return _best_listed(value, problem.space.untried(tried), problem.space)
    start = torch.tensor(problem.space.code(near), dtype=torch.double)
    return problem.space.decode(maximise(value, surrogate.model, codes, start, seed, effort))


@torch.no_grad()
def _best_listed(value: Callable[[Tensor], Tensor], left: Sequence[Config], space: SearchSpace) -> Config | None:
    if not left:
        return None
    return left[int(value(torch.tensor(space.code(left), dtype=torch.double)).argmax())]


@torch.no_grad()
def paper_values(surrogate: Surrogate, x: np.ndarray, best: float, costs: np.ndarray) -> np.ndarray:
    """log of the paper's α of candidates that would observe `x` (n, D) at `costs` (n,)."""
    mean, sd = surrogate.posterior(torch.tensor(x))
    return log_paper_value(mean, sd, best, torch.tensor(costs)).numpy()


def best_new_at_any_step(
    surrogate: Surrogate,
    features: Features,
    rungs: Sequence[int],
    best: float,
    expect: Callable[[Config, int], float],
    near: Sequence[Config],
    seed: int,
    effort: Effort,
    tried: Collection[str] = (),
) -> tuple[Config, int] | None:
    """The (φ, r) of the greatest α from scratch, r among the rungs; `tried` as in `best_new`."""
    space, levels = features.problem.space, [features.s(r) for r in rungs]
    codes = Codes(space, [levels])
    costs = [codes.costs(lambda config, r=r: expect(config, r)) for r in rungs]
    at = torch.tensor(levels, dtype=torch.double)

    def value(rows: Tensor) -> Tensor:
        mean, sd = surrogate.posterior(torch.cat([codes.features(rows), rows[:, -1:]], 1))
        rung = (rows[:, -1:].detach() - at).abs().argmin(1)
        cost = torch.stack([of(rows) for of in costs], 1).gather(1, rung[:, None]).squeeze(1)
        return log_paper_value(mean, sd, best, cost)

    if space.listed is not None:
        if not (left := space.untried(tried)):
            return None
        codes_at = [torch.tensor(np.column_stack([space.code(left), np.full(len(left), s)])) for s in levels]
        with torch.no_grad():
            values = torch.stack([value(rows) for rows in codes_at])  # (rungs, configurations)
        rung, which = divmod(int(values.argmax()), len(left))
        return left[which], rungs[rung]
    start = torch.tensor(np.column_stack([space.code(near), np.full(len(near), levels[-1])]), dtype=torch.double)
    found = maximise(value, surrogate.model, codes, start, seed, effort)
    return space.decode(found[:-1]), rungs[int(np.argmin(np.abs(np.array(levels) - found[-1])))]
