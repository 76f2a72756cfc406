"""What the surrogate proposes: the value of given candidates, and the best configuration that was not tried yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from jfhpo.core.trial import Config, Fidelity
from jfhpo.method.acquisition import log_paper_value, log_value_per_cost
from jfhpo.method.features import Features
from jfhpo.method.search import Codes, Effort, maximise
from jfhpo.method.surrogate import Surrogate

__all__ = ["Effort", "best_new", "best_new_at_any_step", "paper_values", "values"]


@torch.no_grad()
def values(
    surrogate: Surrogate, target: np.ndarray, observed: np.ndarray, best: float, costs: np.ndarray
) -> np.ndarray:
    """log α of candidates that would observe `observed` and are judged at `target`, both (n, D), at `costs` (n,)."""
    joint = surrogate.joint(torch.tensor(target), torch.tensor(observed))
    return log_value_per_cost(joint, best, torch.tensor(costs)).numpy()


def best_new(
    surrogate: Surrogate,
    features: Features,
    fidelity: Fidelity,
    best: float,
    expect: Callable[[Config], float],
    near: Sequence[Config],
    seed: int,
    effort: Effort,
) -> Config:
    """The configuration of the space that is worth most per cost when tried at `fidelity`."""
    problem, codes = features.problem, Codes(features.problem.space)
    costs = codes.costs(expect)
    s, m = features.s(fidelity.steps), features.m(fidelity.model)

    def value(rows: Tensor) -> Tensor:
        phi = codes.features(rows)
        full, tried = (phi.new_tensor(at).expand(len(phi), 2) for at in ([1.0, 1.0], [s, m]))
        joint = surrogate.joint(torch.cat([phi, full], 1), torch.cat([phi, tried], 1))
        return log_value_per_cost(joint, best, costs(rows))

    start = torch.tensor(problem.space.code(near), dtype=torch.double)
    return problem.space.decode(maximise(value, surrogate.model, codes, start, seed, effort))


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
) -> tuple[Config, int]:
    """The (φ, r) of the greatest α from scratch, r among the rungs."""
    space, levels = features.problem.space, [features.s(r) for r in rungs]
    codes = Codes(space, [levels])
    costs = [codes.costs(lambda config, r=r: expect(config, r)) for r in rungs]
    at = torch.tensor(levels, dtype=torch.double)

    def value(rows: Tensor) -> Tensor:
        mean, sd = surrogate.posterior(torch.cat([codes.features(rows), rows[:, -1:]], 1))
        rung = (rows[:, -1:].detach() - at).abs().argmin(1)
        cost = torch.stack([of(rows) for of in costs], 1).gather(1, rung[:, None]).squeeze(1)
        return log_paper_value(mean, sd, best, cost)

    start = torch.tensor(np.column_stack([space.code(near), np.full(len(near), levels[-1])]), dtype=torch.double)
    found = maximise(value, surrogate.model, codes, start, seed, effort)
    return space.decode(found[:-1]), rungs[int(np.argmin(np.abs(np.array(levels) - found[-1])))]
