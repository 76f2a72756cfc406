"""The best new configuration for an acquisition function, by BoTorch's optimisation of mixed spaces.

Numbers move along gradients (L-BFGS), ordinals, integers and categoricals by local search over their own values, in
turns, from the best of many starting points (`optimize_acqf_mixed_alternating`; Daulton et al. 2022 motivate why
rounding afterwards is worse). The function is handed rows of `SearchSpace.code`: one column per hyperparameter.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from botorch.acquisition import AcquisitionFunction
from botorch.models.model import Model
from botorch.optim.optimize_mixed import optimize_acqf_mixed_alternating
from botorch.utils.transforms import t_batch_mode_transform
from torch import Tensor

from jfhpo.core.cost_model import ROLLOUTS
from jfhpo.core.space import SearchSpace
from jfhpo.core.trial import Config


@dataclass(frozen=True)
class Effort:
    """How hard to look: bounded, so that asking stays fast."""

    raw_samples: int = 256
    """Starting points drawn from the space, a quarter as many near the best configurations besides."""
    restarts: int = 4
    """The best of them, from which it climbs."""
    turns: int = 3
    """Turns of local search over lists and gradient steps over numbers."""


class Codes:
    """A search space as BoTorch's mixed optimisation wants it; `extra` columns of given values may follow, for a
    fidelity that is chosen together with φ."""

    def __init__(self, space: SearchSpace, extra: Sequence[Sequence[float]] = ()):
        self.space, width = space, len(space.names)
        allowed = space.allowed_codes()
        kinds = [space.specs[name]["type"] for name in space.names]
        self._values = {c: len(values) for c, values in allowed.items() if kinds[c] == "categorical"}
        """Column of a categorical -> number of its values."""
        self.categorical = {c: allowed[c] for c, count in self._values.items() if count > 2}
        self.discrete = {c: values for c, values in allowed.items() if c not in self.categorical}
        self.discrete |= {width + i: sorted(values) for i, values in enumerate(extra)}
        lists = {**self.discrete, **self.categorical}
        ends = [(lists[c][0], lists[c][-1]) if c in lists else (0.0, 1.0) for c in range(width + len(extra))]
        self.bounds = torch.tensor(ends, dtype=torch.double).T  # (2, H)
        self.fixed = {c: values[0] for c, values in lists.items() if len(values) == 1}
        self.discrete = {c: values for c, values in self.discrete.items() if c not in self.fixed}

        self._active_with = {
            column: (parent, [allowed[parent].index(code) for code in codes], own)
            for column, (parent, codes, own) in space.conditional_codes().items()
        }
        """Column of a hyperparameter with a condition -> (its parent's, which of the parent's values, own stand-in)."""
        self._parents = {
            parent: torch.tensor(allowed[parent], dtype=torch.double) for parent, *_ in self._active_with.values()
        }

    def active(self, codes: Tensor) -> dict[int, Tensor]:
        """Column of a hyperparameter with a condition -> whether it is active in each of the rows (b, H): (b,)."""
        found: dict[int, Tensor] = {}
        for column, (parent, wanted, _) in self._active_with.items():
            at = (codes[..., parent, None].detach() - self._parents[parent]).abs().argmin(-1)
            found[column] = torch.isin(at, torch.tensor(wanted))
            if parent in found:
                found[column] &= found[parent]
        return found

    def features(self, codes: Tensor) -> Tensor:
        """φ (b, ·) of rows (b, H): what `SearchSpace.encode` gives for their configurations. What a row says of
        inactive hyperparameters changes nothing, or the surrogate would seem to be uncertain about it."""
        active, columns = self.active(codes), []
        for column in range(len(self.space.names)):
            value, count = codes[..., column : column + 1], self._values.get(column, 2)
            if column in active:
                value = torch.where(active[column][..., None], value, self._active_with[column][2])
            columns += [value] if count == 2 else [(value == i).to(codes) for i in range(count)]
        return torch.cat(columns, dim=-1)

    def costs(self, expect: Callable[[Config], float]) -> Callable[[Tensor], Tensor]:
        """Rows (b, H) -> their expected costs (b,). Of φ, only the rollouts matter: `expect` is asked once for each
        of their values, and once for configurations without them."""
        if ROLLOUTS not in self.space.names:
            only = expect({})
            return lambda codes: codes.new_full((len(codes),), only)
        column = self.space.names.index(ROLLOUTS)
        grid = torch.tensor(self.space.allowed_codes()[column], dtype=torch.double)
        values = [self.space.decode_value(ROLLOUTS, code) for code in grid.tolist()]
        known = torch.tensor([expect({ROLLOUTS: value}) for value in values], dtype=torch.double)
        without = expect({}) if column in self._active_with else math.nan

        def cost(codes: Tensor) -> Tensor:
            found = known[(codes[:, column : column + 1].detach() - grid).abs().argmin(dim=1)]
            active = self.active(codes).get(column)
            return found if active is None else torch.where(active, found, without)

        return cost


class _Function(AcquisitionFunction):
    """A function of rows (b, H) as BoTorch calls it: on (b, 1, H)."""

    def __init__(self, model: Model, function: Callable[[Tensor], Tensor], baseline: Tensor):
        super().__init__(model=model)
        self.function, self.X_baseline = function, baseline

    @t_batch_mode_transform(expected_q=1, assert_output_shape=False)
    def forward(self, X: Tensor) -> Tensor:
        return self.function(X.squeeze(-2))


def maximise(
    function: Callable[[Tensor], Tensor], model: Model, codes: Codes, near: Tensor, seed: int, effort: Effort
) -> list[float]:
    """The row of codes where `function` of rows (b, H) -> (b,) is greatest, as far as was found. `near` (k, H): rows
    around which it starts too. Everything drawn comes from `seed`; the global generators are left as they were."""
    options = {
        "initialization_strategy": "random",
        "maxiter_alternating": effort.turns,
        "maxiter_continuous": 8,
        "maxiter_discrete": 2,
        "num_spray_points": effort.raw_samples // 4 if len(near) else 0,
        "std_cont_perturbation": 0.1,
        "batch_limit": effort.restarts,
        "init_batch_limit": 2 * effort.raw_samples,
    }
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(seed)
        # Stopping at the iteration limit is intended; BoTorch reports it as a warning.
        warnings.filterwarnings("ignore", module="botorch|gpytorch|linear_operator")
        best, _ = optimize_acqf_mixed_alternating(
            _Function(model, function, near),
            bounds=codes.bounds,
            discrete_dims=codes.discrete,
            cat_dims=codes.categorical,
            fixed_features=codes.fixed,
            options=options,
            raw_samples=effort.raw_samples,
            num_restarts=effort.restarts,
        )
    return best.squeeze(0).tolist()
